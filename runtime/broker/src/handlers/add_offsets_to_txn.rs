//! AddOffsetsToTxn (api code 25, v0-v4): a transaction is about to commit offsets of a group.
//!
//! - The group's offsets lie in `__consumer_offsets`, which becomes part of the transaction.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::transaction::Producer;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let added = add(&broker, &session, &request).await;
    let added = added.map_err(|error| super::fencing_error(error, session.version >= 2));
    AddOffsetsToTxnResponse::default().with_error_code(super::error_code(&added))
}

async fn add(
    broker: &Arc<Broker>,
    session: &Session,
    request: &AddOffsetsToTxnRequest,
) -> Result<(), ResponseError> {
    let id = &request.transactional_id;
    session.authorize(Operation::Write, ResourceType::TransactionalId, id)?;
    session.authorize(Operation::Read, ResourceType::Group, &request.group_id)?;
    if request.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    broker.ready_groups().await?;
    let producer = Producer { id: request.producer_id.0, epoch: request.producer_epoch };
    broker.transactions().add_offsets(id, producer).await
}
