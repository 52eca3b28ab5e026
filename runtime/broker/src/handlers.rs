//! The table of requests: for each, its versions, the shape of its body, and its handler.
//!
//! A handler answers with Kafka error codes inside its response; it never fails. `Err` in this file
//! means that the connection closes: what arrived isn't a request that we offer.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_user_scram_credentials;
mod api_versions;
mod commit_offsets;
mod config_resource;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod produce_versions;
mod sasl_authenticate;
mod sasl_handshake;
mod sync_group;
mod txn_offset_commit;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use crate::broker::Broker;
use crate::quotas::FetchMemory;
use crate::reply::Reply;
use crate::request_shape::Shape;
use crate::session::Session;

/// One request that the broker offers.
pub(crate) struct Handler {
    pub(crate) api: ApiKey,
    /// The lowest version that ApiVersions offers.
    pub(crate) version_min: i16,
    pub(crate) version_max: i16,
    /// See [`crate::request_shape`].
    shape: &'static str,
    call: fn(Call) -> Result<Answer>,
}

const fn handler(
    api: ApiKey,
    version_min: i16,
    version_max: i16,
    shape: &'static str,
    call: fn(Call) -> Result<Answer>,
) -> Handler {
    Handler { api, version_min, version_max, shape, call }
}

/// Every request that the broker answers; all others close the connection, as in Kafka.
#[rustfmt::skip]
pub(crate) const HANDLERS: &[Handler] = &[
    handler(ApiKey::Produce, 0, 12, "s@3 2 4 [s [4 b]]", |call| call.later(produce::handle)),
    handler(
        ApiKey::Fetch, 4, 17,
        "4@-14 4 4 4 1 4@7 4@7 [s@-12 16@13 [4 4@9 8 4@12 8@5 4 #0 16@17]] \
         [s@-12 16@13 {4}]@7 s@11 #0 s@12 #1 (4 8)@15",
        |call| call.with_records(fetch::handle),
    ),
    handler(
        ApiKey::ListOffsets, 1, 9, "4 1@2 [s [4 4@4 8]]", |call| call.now(list_offsets::handle),
    ),
    handler(
        ApiKey::Metadata, 0, 12, "[16@10 s] 1@4 1@8-10 1@8", |call| call.later(metadata::handle),
    ),
    handler(
        ApiKey::OffsetCommit, 2, 9, "s 4 s s@7 8@-4 [s [4 8 4@6 s]]",
        |call| call.later(offset_commit::handle),
    ),
    handler(
        ApiKey::OffsetFetch, 1, 9, "s@-7 [s {4}]@-7 [s s@9 4@9 [s {4}]]@8 1@7",
        |call| call.now(offset_fetch::handle),
    ),
    handler(
        ApiKey::FindCoordinator, 0, 6, "s@-3 1@1 {s}@4",
        |call| call.later(find_coordinator::handle),
    ),
    handler(
        ApiKey::JoinGroup, 0, 9, "s 4 4@1 s s@5 s [s b] s@8", |call| call.later(join_group::handle),
    ),
    handler(ApiKey::Heartbeat, 0, 4, "s 4 s s@3", |call| call.now(heartbeat::handle)),
    handler(ApiKey::LeaveGroup, 0, 5, "s s@-2 [s s s@5]@3", |call| call.now(leave_group::handle)),
    handler(
        ApiKey::SyncGroup, 0, 5, "s 4 s s@3 s@5 s@5 [s b]", |call| call.later(sync_group::handle),
    ),
    handler(ApiKey::DescribeGroups, 0, 5, "{s} 1@3", |call| call.now(describe_groups::handle)),
    handler(ApiKey::ListGroups, 0, 5, "{s}@4 {s}@5", |call| call.now(list_groups::handle)),
    handler(ApiKey::SaslHandshake, 0, 1, "s", |call| call.now(sasl_handshake::handle)),
    handler(ApiKey::ApiVersions, 0, 4, "s@3 s@3", |call| call.now(api_versions::handle)),
    handler(
        ApiKey::CreateTopics, 2, 7, "[s 4 2 [4 {4}] [s s]] 4 1",
        |call| call.later(create_topics::handle),
    ),
    handler(
        ApiKey::DeleteTopics, 1, 6, "[s 16]@6 {s}@-5 4", |call| call.later(delete_topics::handle),
    ),
    handler(
        ApiKey::DeleteRecords, 0, 2, "[s [4 8]] 4", |call| call.later(delete_records::handle),
    ),
    handler(
        ApiKey::InitProducerId, 0, 5, "s 4 8@3 2@3", |call| call.later(init_producer_id::handle),
    ),
    handler(
        ApiKey::AddPartitionsToTxn, 0, 3, "s 8 2 [s {4}]",
        |call| call.later(add_partitions_to_txn::handle),
    ),
    handler(
        ApiKey::AddOffsetsToTxn, 0, 4, "s 8 2 s", |call| call.later(add_offsets_to_txn::handle),
    ),
    handler(ApiKey::EndTxn, 0, 4, "s 8 2 1", |call| call.later(end_txn::handle)),
    handler(
        ApiKey::TxnOffsetCommit, 0, 4, "s s 8 2 4@3 s@3 s@3 [s [4 8 4@2 s]]",
        |call| call.later(txn_offset_commit::handle),
    ),
    handler(
        ApiKey::OffsetForLeaderEpoch, 2, 4, "4@3 [s [4 4 4]]",
        |call| call.now(offset_for_leader_epoch::handle),
    ),
    handler(
        ApiKey::DescribeAcls, 1, 3, "1 s 1 s s 1 1", |call| call.now(describe_acls::handle),
    ),
    handler(
        ApiKey::CreateAcls, 1, 3, "[1 s 1 s s 1 1]", |call| call.later(create_acls::handle),
    ),
    handler(
        ApiKey::DeleteAcls, 1, 3, "[1 s 1 s s 1 1]", |call| call.later(delete_acls::handle),
    ),
    handler(
        ApiKey::DescribeConfigs, 1, 4, "[1 s {s}] 1 1@3", |call| call.now(describe_configs::handle),
    ),
    handler(
        ApiKey::AlterConfigs, 0, 2, "[1 s [s s]] 1", |call| call.later(alter_configs::handle),
    ),
    handler(
        ApiKey::DescribeLogDirs, 1, 4, "[s {4}]", |call| call.now(describe_log_dirs::handle),
    ),
    handler(
        ApiKey::SaslAuthenticate, 0, 2, "b", |call| call.now(sasl_authenticate::handle),
    ),
    handler(
        ApiKey::CreatePartitions, 0, 3, "[s 4 [{4}]] 4 1",
        |call| call.later(create_partitions::handle),
    ),
    handler(ApiKey::DeleteGroups, 0, 2, "{s}", |call| call.now(delete_groups::handle)),
    handler(ApiKey::ElectLeaders, 0, 2, "1@1 [s {4}] 4", |call| call.now(elect_leaders::handle)),
    handler(
        ApiKey::IncrementalAlterConfigs, 0, 1, "[1 s [s 1 s]] 1",
        |call| call.later(incremental_alter_configs::handle),
    ),
    handler(
        ApiKey::AlterPartitionReassignments, 0, 0, "4 [s [4 {4}]]",
        |call| call.now(alter_partition_reassignments::handle),
    ),
    handler(
        ApiKey::ListPartitionReassignments, 0, 0, "4 [s {4}]",
        |call| call.now(list_partition_reassignments::handle),
    ),
    handler(ApiKey::OffsetDelete, 0, 0, "s [s [4]]", |call| call.now(offset_delete::handle)),
    handler(
        ApiKey::DescribeProducers, 0, 0, "[s {4}]", |call| call.now(describe_producers::handle),
    ),
    handler(
        ApiKey::DescribeTransactions, 0, 0, "{s}", |call| call.now(describe_transactions::handle),
    ),
    handler(
        ApiKey::ListTransactions, 0, 1, "{s} {8} 8@1", |call| call.now(list_transactions::handle),
    ),
    handler(
        ApiKey::DescribeClientQuotas, 0, 1, "[s 1 s] 1",
        |call| call.now(describe_client_quotas::handle),
    ),
    handler(
        ApiKey::AlterClientQuotas, 0, 1, "[[s s] [s 8 1]] 1",
        |call| call.later(alter_client_quotas::handle),
    ),
    handler(
        ApiKey::DescribeUserScramCredentials, 0, 0, "[s]",
        |call| call.now(describe_user_scram_credentials::handle),
    ),
    handler(
        ApiKey::AlterUserScramCredentials, 0, 0, "[s 1] [s 1 4 b b]",
        |call| call.later(alter_user_scram_credentials::handle),
    ),
    handler(ApiKey::DescribeCluster, 0, 1, "1 1@1", |call| call.now(describe_cluster::handle)),
];

static SHAPES: LazyLock<Vec<Shape>> =
    LazyLock::new(|| HANDLERS.iter().map(|handler| Shape::parse(handler.shape)).collect());

/// An answer on its way. `Ok(None)`: the client wants none.
pub(crate) type LaterAnswer = Pin<Box<dyn Future<Output = Result<Option<Reply>>> + Send>>;

pub(crate) enum Answer {
    Now(Reply),
    Later(LaterAnswer),
}

/// One request, ready to be decoded and handled.
pub(crate) struct Call {
    handler: &'static Handler,
    broker: Arc<Broker>,
    session: Session,
    correlation_id: i32,
    body: Bytes,
}

/// What the bytes of a request turned out to be.
pub(crate) enum Read {
    Call(Call),
    /// A question that is answered without being understood.
    Answered(Reply),
}

/// Starts the request in `frame`, the bytes after the size. What the handler does at once is done
/// when this returns, so requests of one connection take effect in their order.
pub(crate) fn dispatch(
    broker: &Arc<Broker>,
    session: &mut Session,
    frame: Bytes,
) -> Result<Answer> {
    match read(broker, session, frame)? {
        Read::Call(call) => call.start(),
        Read::Answered(reply) => Ok(Answer::Now(reply)),
    }
}

/// Finds out what is asked for in `frame` and checks its lengths.
pub(crate) fn read(broker: &Arc<Broker>, session: &mut Session, mut frame: Bytes) -> Result<Read> {
    ensure!(frame.len() >= 8, "a request of {} bytes", frame.len());
    let mut fixed = &frame[..8];
    let (api_code, version, correlation_id) = (fixed.get_i16(), fixed.get_i16(), fixed.get_i32());
    if let Some(client_id) = client_id(&frame) {
        session.client_id = client_id.to_owned(); // for the log, whatever becomes of the request
    }
    let found = HANDLERS.iter().zip(&*SHAPES).find(|(handler, _)| handler.api as i16 == api_code);
    let Some((handler, shape)) = found else { bail!("unknown request {api_code}") };
    let api = handler.api;
    if !(handler.version_min..=handler.version_max).contains(&version) {
        if api == ApiKey::ApiVersions {
            return unsupported_api_versions(correlation_id).map(Read::Answered);
        }
        bail!("{api:?} of version {version}, which is not offered");
    }
    let header_version = api.request_header_version(version);
    let header = RequestHeader::decode(&mut frame, header_version)
        .with_context(|| format!("a malformed header of {api:?} version {version}"))?;
    shape
        .check(&frame, version, header_version >= 2)
        .with_context(|| format!("a malformed {api:?} of version {version}"))?;
    session.version = version;
    session.request_bytes = frame.len();
    session.client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
    let (broker, session) = (Arc::clone(broker), session.clone());
    Ok(Read::Call(Call { handler, broker, session, correlation_id, body: frame }))
}

/// The client's name, which stands at the same place in all headers but the oldest.
fn client_id(frame: &[u8]) -> Option<&str> {
    let mut rest = frame.get(8..).filter(|rest| rest.len() >= 2)?;
    let length = usize::try_from(rest.get_i16()).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// True if `frame` begins as a SaslHandshake does.
pub(crate) fn is_sasl_handshake(frame: &[u8]) -> bool {
    frame.starts_with(&(ApiKey::SaslHandshake as i16).to_be_bytes())
}

/// KIP-511: a client that asks in a version that we don't know learns which one we do, in the one
/// form that all clients can read.
fn unsupported_api_versions(correlation_id: i32) -> Result<Reply> {
    let response = api_versions::unsupported();
    let header_version = ApiVersionsResponse::header_version(0);
    Reply::encode(correlation_id, header_version, &response, 0, VecDeque::new())
}

impl Call {
    pub(crate) fn api(&self) -> ApiKey {
        self.handler.api
    }

    pub(crate) fn version(&self) -> i16 {
        self.session.version
    }

    /// Hands the request to its handler.
    pub(crate) fn start(self) -> Result<Answer> {
        let (handler, version) = (self.handler, self.session.version);
        let answer = (handler.call)(self);
        answer.with_context(|| format!("{:?} of version {version}", handler.api))
    }

    /// The answer to it, for those who handle it themselves.
    pub(crate) fn answer<R: Encodable + HeaderVersion>(&self, response: R) -> Result<Reply> {
        self.encode(response, VecDeque::new())
    }

    /// For a handler that never waits.
    fn now<Q, R>(mut self, handle: fn(&Broker, &Session, Q) -> R) -> Result<Answer>
    where
        Q: Decodable,
        R: Encodable + HeaderVersion,
    {
        let request = self.decode::<Q>()?;
        let response = handle(&self.broker, &self.session, request);
        self.encode(response, VecDeque::new()).map(Answer::Now)
    }

    /// For a handler that may wait. What it does before it returns the future happens in the order
    /// of the requests; the future then runs beside those of later requests.
    fn later<Q, R, F>(mut self, handle: fn(Arc<Broker>, Session, Q) -> F) -> Result<Answer>
    where
        Q: Decodable,
        R: IntoResponse,
        F: Future<Output = R> + Send + 'static,
    {
        let request = self.decode::<Q>()?;
        let response = handle(Arc::clone(&self.broker), self.session.clone(), request);
        Ok(Answer::Later(Box::pin(async move {
            match response.await.into_response()? {
                Some(response) => self.encode(response, VecDeque::new()).map(Some),
                None => Ok(None),
            }
        })))
    }

    /// As [`Call::later`], for responses with record bytes that are sent from where they lie.
    fn with_records<Q, R, F>(mut self, handle: fn(Arc<Broker>, Session, Q) -> F) -> Result<Answer>
    where
        Q: Decodable,
        R: Encodable + HeaderVersion,
        F: Future<Output = WithRecords<R>> + Send + 'static,
    {
        let request = self.decode::<Q>()?;
        let response = handle(Arc::clone(&self.broker), self.session.clone(), request);
        Ok(Answer::Later(Box::pin(async move {
            let WithRecords { response, records, memory } = response.await;
            self.encode(response, records).map(|reply| Some(reply.hold(memory)))
        })))
    }

    /// Lets go of the frame: while an answer waits it holds what it needs and not the whole request.
    pub(crate) fn decode<Q: Decodable>(&mut self) -> Result<Q> {
        Q::decode(&mut std::mem::take(&mut self.body), self.session.version)
    }

    fn encode<R: Encodable + HeaderVersion>(
        &self,
        response: R,
        records: VecDeque<Bytes>,
    ) -> Result<Reply> {
        let version = self.session.version;
        let header_version = R::header_version(version);
        Reply::encode(self.correlation_id, header_version, &response, version, records)
    }
}

/// A response, its byte fields that are sent from where they lie, and the memory that they take.
pub(crate) struct WithRecords<R> {
    response: R,
    records: VecDeque<Bytes>,
    memory: Option<FetchMemory>,
}

/// What a waiting handler may come back with: a response, none, or the end of the connection.
trait IntoResponse {
    type Response: Encodable + HeaderVersion + Send;
    fn into_response(self) -> Result<Option<Self::Response>>;
}

impl<R: Encodable + HeaderVersion + Send> IntoResponse for R {
    type Response = R;
    fn into_response(self) -> Result<Option<R>> {
        Ok(Some(self))
    }
}

/// The answer to a Produce request; with acks=0 there is none, and an error closes the connection,
/// the only way to tell such a producer.
pub(crate) struct Acknowledged<R>(Result<Option<R>>);

impl<R: Encodable + HeaderVersion + Send> IntoResponse for Acknowledged<R> {
    type Response = R;
    fn into_response(self) -> Result<Option<R>> {
        self.0
    }
}

/// Kafka's number for an outcome: 0 when all is well.
fn error_code<T>(result: &Result<T, kafka_protocol::ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, kafka_protocol::ResponseError::code)
}

/// Clients before KIP-588 know a fenced producer by INVALID_PRODUCER_EPOCH alone.
fn fencing_error(
    error: kafka_protocol::ResponseError,
    knows_fenced: bool,
) -> kafka_protocol::ResponseError {
    match error {
        kafka_protocol::ResponseError::ProducerFenced if !knows_fenced => {
            kafka_protocol::ResponseError::InvalidProducerEpoch
        }
        error => error,
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
