//! DescribeTransactions (api code 65, v0): where transactional ids stand.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::transaction::Description;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let one = |id: TransactionalId| {
        let (operation, kind) = (Operation::Describe, ResourceType::TransactionalId);
        let found = session.authorize(operation, kind, &id).and_then(|()| {
            let description = broker.transactions().describe(&id);
            description.ok_or(ResponseError::TransactionalIdNotFound)
        });
        let state = match found {
            Ok(description) => described(session, description),
            Err(error) => TransactionState::default()
                .with_error_code(error.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        };
        state.with_transactional_id(id)
    };
    let states = request.transactional_ids.into_iter().map(one).collect();
    DescribeTransactionsResponse::default().with_transaction_states(states)
}

/// Topics that the client may not know of are left out.
fn described(session: &Session, description: Description) -> TransactionState {
    let topic = |(topic, numbers): (String, std::collections::BTreeSet<i32>)| {
        TopicData::default()
            .with_topic(TopicName(StrBytes::from_string(topic)))
            .with_partitions(numbers.into_iter().collect())
    };
    let may = |name: &str| session.may(Operation::Describe, ResourceType::Topic, name);
    let known = description.partitions.into_iter().filter(|(name, _)| may(name));
    TransactionState::default()
        .with_transaction_state(StrBytes::from_static_str(description.state.name()))
        .with_transaction_timeout_ms(description.timeout_ms)
        .with_transaction_start_time_ms(description.started_ms)
        .with_producer_id(ProducerId(description.producer.id))
        .with_producer_epoch(description.producer.epoch)
        .with_topics(known.map(topic).collect())
}
