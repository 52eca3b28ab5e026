//! Who a client is and what it may do.
//!
//! - Who: `sasl` runs the exchange of one connection by `plain` or `scram` against the credentials
//!   in `credentials`; `tls` takes the subject of a client's certificate (`distinguished_name`).
//! - What: `acl` has the rules and how they are weighed, `authorizer` keeps them and answers
//!   handlers.
//! - `api_keys` makes, lists and removes pairs of key and secret: a credential and its rights.
//! - With what: `tls` makes rustls' settings from the user's certificate or from a development one.
//!
//! Not here: which requests a connection may send before it has authenticated (`authentication`),
//! and which right a request needs (its handler).

pub(crate) mod acl;
pub(crate) mod api_keys;
pub(crate) mod authorizer;
pub(crate) mod credentials;
mod development_certificate;
mod distinguished_name;
mod plain;
mod principal;
pub(crate) mod sasl;
pub(crate) mod scram;
pub(crate) mod tls;

pub use principal::Principal;
