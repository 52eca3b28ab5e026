//! Fetch sessions (KIP-227): the broker remembers which partitions a consumer fetches, so that each
//! request names the changes only, and each answer the partitions with news only.
//!
//! | session id | epoch | meaning |
//! |---|---|---|
//! | 0 | -1 | no session wanted |
//! | 0 | 0 | a new session, all partitions named |
//! | n | 0, -1 | session n ends; then as above |
//! | n | 1, 2, … | session n goes on: partitions added, changed and forgotten |
//!
//! Sessions live in memory only; a consumer whose session is gone starts a new one. Partitions are
//! looked at in turn, beginning after the last one that gave records, so that a busy one cannot
//! starve the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, TopicName};
use uuid::Uuid;

use crate::lock::lock;

/// Sessions kept (`max.incremental.fetch.session.cache.slots`). Consumers beyond that go without.
const SESSIONS_MAX: usize = 1000;
/// A consumer with more partitions goes without a session.
const PARTITIONS_MAX: usize = 20_000;
/// A full cache forgets sessions that were silent for so long, in ms, as Kafka does.
const IDLE_MS: i64 = 120_000;

/// Topic name (empty when ids are in use), topic id (nil when names are) and partition.
type Key = (TopicName, Uuid, i32);

#[derive(Debug, Default)]
pub(crate) struct FetchSessions {
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    by_id: HashMap<i32, Session>,
    last_id: i32,
}

#[derive(Debug)]
struct Session {
    /// The epoch that the next request must have.
    next_epoch: i32,
    uses_topic_ids: bool,
    partitions: BTreeMap<Key, Cached>,
    /// The last partition that gave records.
    turn: Option<Key>,
    used_ms: i64,
}

#[derive(Debug)]
struct Cached {
    asked: FetchPartition,
    /// High watermark and log start offset as last told.
    told: Option<(i64, i64)>,
}

/// What one request asks for, with its session resolved.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// 0: no session.
    pub(crate) session_id: i32,
    /// Partitions without news are left out of the answer.
    incremental: bool,
    /// All partitions to look at.
    pub(crate) topics: Vec<FetchTopic>,
}

impl FetchSessions {
    /// Finds or makes the session of a request, and takes its partitions over.
    pub(crate) fn begin(
        &self,
        request: &FetchRequest,
        uses_topic_ids: bool,
        now_ms: i64,
    ) -> Result<Plan, ResponseError> {
        let mut cache = lock(&self.cache);
        match (request.session_id, request.session_epoch) {
            (id, epoch @ (0 | -1)) => {
                cache.by_id.remove(&id);
                let topics = request.topics.clone();
                let session_id = match epoch {
                    0 => cache.create(&topics, uses_topic_ids, now_ms),
                    _ => 0,
                };
                Ok(Plan { session_id, incremental: false, topics })
            }
            (id, epoch) => cache.resume(id, epoch, request, uses_topic_ids, now_ms),
        }
    }

    /// Leaves out of an answer what the consumer knows, and notes what it is told now.
    pub(crate) fn finish(
        &self,
        plan: &Plan,
        topics: Vec<FetchableTopicResponse>,
    ) -> Vec<FetchableTopicResponse> {
        let mut cache = lock(&self.cache);
        let Some(session) = cache.by_id.get_mut(&plan.session_id) else { return topics };
        let mut answered = Vec::with_capacity(topics.len());
        for mut topic in topics {
            let (name, id) = (topic.topic.clone(), topic.topic_id);
            let is_news = |answer: &PartitionData| session.tell(&name, id, answer);
            let mut news: Vec<_> = std::mem::take(&mut topic.partitions);
            let is_news: Vec<bool> = news.iter().map(is_news).collect();
            let mut told = is_news.into_iter();
            news.retain(|_| told.next() == Some(true) || !plan.incremental);
            if !news.is_empty() {
                answered.push(topic.with_partitions(news));
            }
        }
        answered
    }
}

impl Cache {
    /// The id of a new session, or 0 when there is no room.
    fn create(&mut self, topics: &[FetchTopic], uses_topic_ids: bool, now_ms: i64) -> i32 {
        let count: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
        if count == 0 || count > PARTITIONS_MAX {
            return 0;
        }
        if self.by_id.len() >= SESSIONS_MAX {
            self.by_id.retain(|_, session| now_ms - session.used_ms < IDLE_MS);
        }
        if self.by_id.len() >= SESSIONS_MAX {
            return 0;
        }
        let mut session = Session {
            next_epoch: 1,
            uses_topic_ids,
            partitions: BTreeMap::new(),
            turn: None,
            used_ms: now_ms,
        };
        session.add(topics);
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.by_id.contains_key(&self.last_id) {
                self.by_id.insert(self.last_id, session);
                return self.last_id;
            }
        }
    }

    fn resume(
        &mut self,
        id: i32,
        epoch: i32,
        request: &FetchRequest,
        uses_topic_ids: bool,
        now_ms: i64,
    ) -> Result<Plan, ResponseError> {
        let not_found = ResponseError::FetchSessionIdNotFound;
        let session = self.by_id.get_mut(&id).ok_or(not_found)?;
        if session.uses_topic_ids != uses_topic_ids {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        if session.next_epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        session.next_epoch = epoch.checked_add(1).unwrap_or(1);
        session.used_ms = now_ms;
        for forgotten in &request.forgotten_topics_data {
            for partition in &forgotten.partitions {
                let key = (forgotten.topic.clone(), forgotten.topic_id, *partition);
                session.partitions.remove(&key);
            }
        }
        session.add(&request.topics);
        if session.partitions.is_empty() || session.partitions.len() > PARTITIONS_MAX {
            // Nothing to remember, or too much: the consumer starts over.
            let topics = session.in_turn();
            self.by_id.remove(&id);
            return Ok(Plan { session_id: 0, incremental: false, topics });
        }
        Ok(Plan { session_id: id, incremental: true, topics: session.in_turn() })
    }
}

impl Session {
    fn add(&mut self, topics: &[FetchTopic]) {
        for topic in topics {
            for asked in &topic.partitions {
                let key = (topic.topic.clone(), topic.topic_id, asked.partition);
                let told = self.partitions.get(&key).and_then(|cached| cached.told);
                self.partitions.insert(key, Cached { asked: asked.clone(), told });
            }
        }
    }

    /// All partitions, beginning after the last one that gave records.
    fn in_turn(&self) -> Vec<FetchTopic> {
        let is_behind = |key: &Key| self.turn.as_ref().is_none_or(|turn| key > turn);
        let behind = self.partitions.iter().filter(|(key, _)| is_behind(key));
        let before = self.partitions.iter().filter(|(key, _)| !is_behind(key));
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((name, id, _), cached) in behind.chain(before) {
            match topics.last_mut().filter(|last| last.topic == *name && last.topic_id == *id) {
                Some(last) => last.partitions.push(cached.asked.clone()),
                None => topics.push(
                    FetchTopic::default()
                        .with_topic(name.clone())
                        .with_topic_id(*id)
                        .with_partitions(vec![cached.asked.clone()]),
                ),
            }
        }
        topics
    }

    /// Notes what an answer says of a partition. True: the consumer doesn't know it yet.
    fn tell(&mut self, name: &TopicName, id: Uuid, answer: &PartitionData) -> bool {
        let key = (name.clone(), id, answer.partition_index);
        let has_records = answer.records.as_ref().is_some_and(|records| !records.is_empty());
        let Some(cached) = self.partitions.get_mut(&key) else { return true };
        let offsets = (answer.high_watermark, answer.log_start_offset);
        let failed = answer.error_code != 0;
        let news = has_records || failed || cached.told != Some(offsets);
        cached.told = (!failed).then_some(offsets);
        if has_records {
            self.turn = Some(key);
        }
        news
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kafka_protocol::messages::fetch_request::ForgottenTopic;
    use kafka_protocol::protocol::StrBytes;

    fn name() -> TopicName {
        TopicName(StrBytes::from_static_str("t"))
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest {
        let asked = |number: &i32| FetchPartition::default().with_partition(*number);
        let partitions: Vec<_> = partitions.iter().map(asked).collect();
        let topic = FetchTopic::default().with_topic(name()).with_partitions(partitions);
        let topics = if topic.partitions.is_empty() { vec![] } else { vec![topic] };
        let request = FetchRequest::default().with_session_id(session_id);
        request.with_session_epoch(session_epoch).with_topics(topics)
    }

    fn numbers(topics: &[FetchTopic]) -> Vec<i32> {
        topics.iter().flat_map(|topic| topic.partitions.iter().map(|it| it.partition)).collect()
    }

    /// An answer for each partition: its number, high watermark and records.
    fn answer(partitions: &[(i32, i64, &'static [u8])]) -> Vec<FetchableTopicResponse> {
        let one = |(number, high_watermark, records): &(i32, i64, &'static [u8])| {
            PartitionData::default()
                .with_partition_index(*number)
                .with_high_watermark(*high_watermark)
                .with_records(Some(Bytes::from_static(records)))
        };
        let partitions = partitions.iter().map(one).collect();
        vec![FetchableTopicResponse::default().with_topic(name()).with_partitions(partitions)]
    }

    fn answered(topics: &[FetchableTopicResponse]) -> Vec<i32> {
        let partitions = topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.partition_index).collect()
    }

    #[test]
    fn a_session_names_changes_only_and_tells_news_only() {
        let sessions = FetchSessions::default();
        let plan = sessions.begin(&request(0, 0, &[0, 1, 2]), false, 0).unwrap();
        assert!(plan.session_id > 0);
        let id = plan.session_id;
        let all = sessions.finish(&plan, answer(&[(0, 5, b""), (1, 5, b"x"), (2, 5, b"")]));
        assert_eq!(answered(&all), [0, 1, 2], "the first answer is full");

        let plan = sessions.begin(&request(id, 1, &[]), false, 0).unwrap();
        assert_eq!(numbers(&plan.topics), [2, 0, 1], "whoever gave records is last");
        let news = sessions.finish(&plan, answer(&[(2, 6, b""), (0, 5, b"y"), (1, 5, b"")]));
        assert_eq!(answered(&news), [2, 0], "partition 1 has no news");

        let mut change = request(id, 2, &[3]);
        change.forgotten_topics_data =
            vec![ForgottenTopic::default().with_topic(name()).with_partitions(vec![0])];
        let plan = sessions.begin(&change, false, 0).unwrap();
        assert_eq!(numbers(&plan.topics), [1, 2, 3]);
        let news = sessions.finish(&plan, answer(&[(1, 5, b""), (2, 6, b""), (3, 0, b"")]));
        assert_eq!(answered(&news), [3], "never told before");
        let plan = sessions.begin(&request(id, 3, &[]), false, 0).unwrap();
        let none = sessions.finish(&plan, answer(&[(1, 5, b""), (2, 6, b""), (3, 0, b"")]));
        assert_eq!(none, []);
    }

    #[test]
    fn errors_are_told_each_time() {
        let sessions = FetchSessions::default();
        let id = sessions.begin(&request(0, 0, &[0]), false, 0).unwrap().session_id;
        for epoch in 1..4 {
            let plan = sessions.begin(&request(id, epoch, &[]), false, 0).unwrap();
            let mut failed = answer(&[(0, -1, b"")]);
            failed[0].partitions[0].error_code = 3;
            assert_eq!(answered(&sessions.finish(&plan, failed)), [0]);
        }
    }

    #[test]
    fn unknown_ids_wrong_epochs_and_closed_sessions_are_refused() {
        let sessions = FetchSessions::default();
        let begin = |request: &FetchRequest, uses_topic_ids| {
            sessions.begin(request, uses_topic_ids, 0).map(|plan| plan.session_id)
        };
        let not_found = Err(ResponseError::FetchSessionIdNotFound);
        assert_eq!(begin(&request(77, 1, &[]), false), not_found);
        assert_eq!(begin(&request(0, 1, &[]), false), not_found);
        let id = begin(&request(0, 0, &[0]), false).unwrap();
        let wrong = Err(ResponseError::InvalidFetchSessionEpoch);
        assert_eq!(begin(&request(id, 2, &[]), false), wrong);
        let mixed = Err(ResponseError::FetchSessionTopicIdError);
        assert_eq!(begin(&request(id, 1, &[]), true), mixed);
        assert_eq!(begin(&request(id, 1, &[]), false), Ok(id));
        assert_eq!(begin(&request(id, 1, &[]), false), wrong, "used up");
        assert_eq!(begin(&request(id, -1, &[0]), false), Ok(0), "closed");
        assert_eq!(begin(&request(id, 2, &[]), false), not_found);
    }

    #[test]
    fn a_full_cache_makes_room_from_silent_sessions_only() {
        let sessions = FetchSessions::default();
        let begin = |now_ms| sessions.begin(&request(0, 0, &[0]), false, now_ms).unwrap();
        for _ in 0..SESSIONS_MAX {
            assert_ne!(begin(0).session_id, 0);
        }
        assert_eq!(begin(IDLE_MS - 1).session_id, 0, "goes without");
        assert_ne!(begin(IDLE_MS).session_id, 0);
        let too_many: Vec<i32> = (0..=PARTITIONS_MAX as i32).collect();
        let plan = sessions.begin(&request(0, 0, &too_many), false, IDLE_MS).unwrap();
        assert_eq!((plan.session_id, plan.topics.len()), (0, 1));
    }
}
