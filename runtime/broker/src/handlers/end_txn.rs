//! EndTxn (api code 26, v0-v4): commits or aborts a transaction.
//!
//! - Answered when the outcome is durable and all markers are written. The next transaction waits
//!   for their sync inside the broker; in Kafka it may meet CONCURRENT_TRANSACTIONS and ask again.
//! - Asked again after it is done, it says so again.
//! - Left out: v5 (an epoch per transaction, KIP-890).

use std::sync::Arc;

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::transaction::Producer;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    let id = &request.transactional_id;
    let ended = match session.authorize(Operation::Write, ResourceType::TransactionalId, id) {
        Ok(()) => broker.transactions().end(id, producer, request.committed).await,
        Err(error) => Err(error),
    };
    let ended = ended.map_err(|error| super::fencing_error(error, session.version >= 2));
    EndTxnResponse::default().with_error_code(super::error_code(&ended))
}
