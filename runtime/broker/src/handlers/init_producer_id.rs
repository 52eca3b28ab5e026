//! InitProducerId (api code 22, v0-v5): an id for an idempotent producer.
//!
//! - Every call gives a new id with epoch 0, also to a producer that names its old one (v3+,
//!   KIP-360).
//! - Left out: transactional ids are refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which
//!   clients take as final; v6 (two-phase commit, KIP-939).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::broker::Broker;
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    _: Session,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if let Some(transactional_id) = &request.transactional_id {
        let error = match transactional_id.as_str() {
            "" => ResponseError::InvalidRequest,
            _ => ResponseError::TransactionalIdAuthorizationFailed,
        };
        return refused(error);
    }
    let next = tokio::task::spawn_blocking(move || broker.producer_ids().next()).await;
    match next {
        Ok(Ok(id)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "cannot give out a producer id");
            refused(ResponseError::CoordinatorNotAvailable)
        }
        Err(_) => refused(ResponseError::UnknownServerError),
    }
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
