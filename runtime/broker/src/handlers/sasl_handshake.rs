//! SaslHandshake (api code 17, v0-v1): which mechanism a client wants to authenticate by.
//!
//! - Answered by the connection before the client has authenticated, and again when its session
//!   lifetime is set; see `connection/authentication`. At any other time, and on listeners without
//!   SASL: ILLEGAL_SASL_STATE, which is here.
//! - After v0 tokens come bare, after v1 in SaslAuthenticate.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(_: &Broker, _: &Session, _: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse::default().with_error_code(ResponseError::IllegalSaslState.code())
}
