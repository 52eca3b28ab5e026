//! The broker over a real socket, spoken to with the codec's client side.
//!
//! - `client`: a connection that sends one request and reads one answer.
//! - `records`: produce and fetch, offsets, long polls, limits.
//! - `topics`: creation, deletion, settings, names.
//! - `groups`: members, generations, committed offsets.
//! - `transactions`: commit, abort, fencing, time-outs, offsets.
//! - `settings`: what administrators change.
//! - `restart`: what is there after a clean and a hard stop; what a start says when it can't.
//! - `formats`: old message sets, codecs, single records at fault.
//! - `hostile`: bytes that are no requests.
//! - `sasl`: the client's side of SASL; `authentication`: who comes in, and who doesn't.
//! - `authorization`: who may do what, and the requests that change it.
//! - `tls`: certificates of the broker and of clients.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod authentication;
mod authorization;
mod client;
mod formats;
mod groups;
mod hostile;
mod quotas;
mod records;
mod restart;
mod sasl;
mod settings;
mod tls;
mod topics;
mod transactions;
