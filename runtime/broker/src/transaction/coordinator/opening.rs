//! What a start does: the ids of the log come back, and what nobody would ever end is aborted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use kafka_protocol::ResponseError;

use super::{COORDINATOR_EPOCH, Tracked, Transactions};
use crate::group::OffsetsMarker;
use crate::lock::{lock, write};
use crate::log::batch_builder::BatchBuilder;
use crate::log::{Log, ProducerInfo};
use crate::refusal::Refusal;
use crate::topic::{CONSUMER_OFFSETS, NewTopic, TRANSACTION_STATE, Topic};
use crate::transaction::state::Partitions;
use crate::transaction::state_log::StateLog;

impl Transactions {
    /// Loads all ids if there are any. Returns what could not be read, in sentences. Blocks.
    pub(crate) fn load(&self) -> Result<Vec<String>> {
        let _opening = lock(&self.opening);
        let Some(log) = self.topics.log(TRANSACTION_STATE, 0).filter(|_| self.log.get().is_none())
        else {
            return Ok(Vec::new());
        };
        let log = StateLog::new(log);
        let loaded = log.load()?;
        let tracked = |(id, transaction)| (id, Arc::new(Mutex::new(Tracked::new(transaction))));
        *write(&self.by_id) = loaded.transactions.into_iter().map(tracked).collect();
        self.log.set(log).ok().context("transactions were loaded twice")?;
        Ok(loaded.skipped)
    }

    /// Aborts what is open in a log and was never announced, or whose announcement a power cut has
    /// taken: nobody else would ever end it. Nothing of it was acknowledged. To be called once, at
    /// the start; returns what was done, in sentences. Blocks.
    pub(crate) fn abort_unannounced(&self) -> Vec<String> {
        let mut announced: BTreeMap<i64, Partitions> = BTreeMap::new();
        for (_, entry) in self.entries() {
            let transaction = lock(&entry).transaction.clone();
            announced.insert(transaction.producer.id, transaction.partitions);
        }
        let mut said = Vec::new();
        for topic in self.topics.all() {
            let logs = (0..).map_while(|partition| Some((partition, topic.partition(partition)?)));
            for (partition, log) in logs {
                let open =
                    log.producers().into_iter().filter(|it| it.transaction_start_offset >= 0);
                for producer in open {
                    let known = announced
                        .get(&producer.producer_id)
                        .and_then(|partitions| partitions.get(topic.name()))
                        .is_some_and(|numbers| numbers.contains(&partition));
                    if !known {
                        said.push(self.abort_one(topic.name(), partition, log, &producer));
                    }
                }
            }
        }
        said
    }

    fn abort_one(&self, topic: &str, partition: i32, log: &Log, producer: &ProducerInfo) -> String {
        let ProducerInfo { producer_id, producer_epoch, .. } = *producer;
        let coordinator_epoch = COORDINATOR_EPOCH.max(producer.coordinator_epoch);
        let written = if topic == CONSUMER_OFFSETS {
            let commit = false;
            let marker = OffsetsMarker { producer_id, producer_epoch, commit, coordinator_epoch };
            self.groups.end_transaction(&marker).map(drop)
        } else {
            let now_ms = self.clock.now_ms();
            let marker =
                BatchBuilder::marker(producer_id, producer_epoch, false, coordinator_epoch, now_ms);
            log.append_internal(marker).map(drop)
        };
        let place = format!("{topic}-{partition}: a transaction of producer {producer_id}");
        match written {
            Ok(()) => format!("{place} was never announced and is aborted"),
            Err(error) => format!("{place} was never announced and cannot be aborted: {error}"),
        }
    }

    /// Makes sure that transactions have a place to be written to. Blocks.
    pub(crate) fn create_topic(&self) -> Result<Arc<Topic>, Refusal> {
        let storage = |error: String| Refusal::new(ResponseError::KafkaStorageError, error);
        // The coordinator keeps the log short itself, in whole segments: hence small ones, that
        // hold a transaction over every partition that a broker can have all the same.
        let configs = [("cleanup.policy", "compact"), ("segment.bytes", "16777216")];
        let new = NewTopic {
            name: TRANSACTION_STATE.to_owned(),
            partitions: 1,
            configs: configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        };
        let created = match self.topics.get(TRANSACTION_STATE) {
            Some(topic) => Ok(topic),
            None => self.topics.create(&new),
        };
        let topic = match created {
            Err(refusal) if refusal.error == ResponseError::TopicAlreadyExists => {
                self.topics.get(TRANSACTION_STATE).ok_or(refusal)?
            }
            created => created?,
        };
        for sentence in self.load().map_err(|error| storage(format!("{error:#}")))? {
            tracing::warn!("{sentence}");
        }
        Ok(topic)
    }
}
