//! InitProducerId (api code 22, v0-v5): an id and an epoch for an idempotent or transactional
//! producer.
//!
//! - Without a transactional id every call gives a new id with epoch 0, also to a producer that
//!   names its old one (v3+, KIP-360).
//! - With one, the epoch rises by one and every earlier incarnation is fenced. What the last one
//!   had open is aborted first, and the answer waits for that: Kafka answers
//!   CONCURRENT_TRANSACTIONS and lets the client ask again.
//! - Left out: v6 (two-phase commit, KIP-939).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::transaction::Producer;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let initialized = match &request.transactional_id {
        None => idempotent(&broker, &session).await,
        Some(id) => {
            let kind = ResourceType::TransactionalId;
            if let Err(error) = session.authorize(Operation::Write, kind, id) {
                return failed(error);
            }
            let transactions = broker.transactions();
            let claimed = (session.version >= 3 && request.producer_id.0 >= 0)
                .then_some(Producer { id: request.producer_id.0, epoch: request.producer_epoch });
            let timeout_ms = request.transaction_timeout_ms;
            let initialized = transactions.init(id, timeout_ms, claimed).await;
            initialized.map_err(|error| super::fencing_error(error, session.version >= 4))
        }
    };
    match initialized {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(error) => failed(error),
    }
}

fn failed(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

/// Who may write some topic may do it idempotently (KIP-679).
async fn idempotent(broker: &Arc<Broker>, session: &Session) -> Result<Producer, ResponseError> {
    if !session.may_some(Operation::Write, ResourceType::Topic) {
        session.authorize_cluster(Operation::IdempotentWrite)?;
    }
    let broker = Arc::clone(broker);
    let next = tokio::task::spawn_blocking(move || broker.producer_ids().next()).await;
    let next = next.map_err(|_| ResponseError::UnknownServerError)?;
    next.map(|id| Producer { id, epoch: 0 }).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "cannot give out a producer id");
        ResponseError::CoordinatorNotAvailable
    })
}
