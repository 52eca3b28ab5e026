//! ListTransactions (api code 66, v0-v1): the transactional ids, by state, producer or age.
//!
//! - v1+ (KIP-994) asks for those whose transaction has been open for longer than so many ms.
//! - Left out: v2 (a pattern for ids, KIP-1152).

use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;
use crate::transaction::{Description, State};

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let names = &request.state_filters;
    let unknown = names.iter().filter(|name| State::from_name(name).is_none()).cloned();
    let now_ms = broker.clock().now_ms();
    let is_wanted = |it: &Description| {
        let by_state =
            names.is_empty() || names.iter().any(|name| name.as_str() == it.state.name());
        let ids = &request.producer_id_filters;
        let by_producer = ids.is_empty() || ids.contains(&ProducerId(it.producer.id));
        let no_age = session.version < 1 || request.duration_filter < 0;
        let open = it.state == State::Ongoing;
        let by_age = no_age || (open && now_ms - it.started_ms > request.duration_filter);
        by_state && by_producer && by_age
    };
    let (operation, kind) = (Operation::Describe, ResourceType::TransactionalId);
    let all = broker.transactions().list().into_iter().filter(is_wanted);
    let listed = all.filter(|it| session.may(operation, kind, &it.id)).map(|it| {
        TransactionState::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(it.id)))
            .with_producer_id(ProducerId(it.producer.id))
            .with_transaction_state(StrBytes::from_static_str(it.state.name()))
    });
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown.collect())
        .with_transaction_states(listed.collect())
}
