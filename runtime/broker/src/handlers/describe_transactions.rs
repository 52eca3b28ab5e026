//! DescribeTransactions (api code 65, v0): where transactional ids stand.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::session::Session;
use crate::transaction::Description;

pub(super) fn handle(
    broker: &Broker,
    _: &Session,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let one = |id: TransactionalId| {
        let state = match broker.transactions().describe(&id) {
            Some(description) => described(description),
            None => TransactionState::default()
                .with_error_code(ResponseError::TransactionalIdNotFound.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        };
        state.with_transactional_id(id)
    };
    let states = request.transactional_ids.into_iter().map(one).collect();
    DescribeTransactionsResponse::default().with_transaction_states(states)
}

fn described(description: Description) -> TransactionState {
    let topic = |(topic, numbers): (String, std::collections::BTreeSet<i32>)| {
        TopicData::default()
            .with_topic(TopicName(StrBytes::from_string(topic)))
            .with_partitions(numbers.into_iter().collect())
    };
    TransactionState::default()
        .with_transaction_state(StrBytes::from_static_str(description.state.name()))
        .with_transaction_timeout_ms(description.timeout_ms)
        .with_transaction_start_time_ms(description.started_ms)
        .with_producer_id(ProducerId(description.producer.id))
        .with_producer_epoch(description.producer.epoch)
        .with_topics(description.partitions.into_iter().map(topic).collect())
}
