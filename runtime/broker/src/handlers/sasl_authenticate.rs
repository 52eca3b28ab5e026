//! SaslAuthenticate (api code 36, v0-v2): one token of a SASL exchange.
//!
//! - Answered by the connection after SaslHandshake; see `connection/authentication`. At any other
//!   time: ILLEGAL_SASL_STATE, which is here.
//! - v1+ tells how long the session lives (KIP-368).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    _: &Broker,
    _: &Session,
    _: SaslAuthenticateRequest,
) -> SaslAuthenticateResponse {
    let message = "SaslAuthenticate request received after successful authentication";
    SaslAuthenticateResponse::default()
        .with_error_code(ResponseError::IllegalSaslState.code())
        .with_error_message(Some(StrBytes::from_static_str(message)))
}
