//! Records that a stage could not process, on their way to where people look at them.
//!
//! A dead letter is the original record, byte for byte, with what is known about the failure. Letters have a cursor of
//! their own, stored with them: a restart writes none of them twice. docs/dead-letters.md
//! lists the headers.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ListArray, RecordBatch, types};
use async_trait::async_trait;

use crate::offsets::{Offsets, TopicPartition};

/// A record's headers, in order; names may repeat.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// The first of the headers that are added to the record's own.
pub const TOPIC: &str = "gristmill.topic";
pub const PARTITION: &str = "gristmill.partition";
pub const OFFSET: &str = "gristmill.offset";
/// In ms since 1970 UTC; empty: the record has none.
pub const TIMESTAMP: &str = "gristmill.timestamp";
pub const PIPELINE: &str = "gristmill.pipeline";
pub const STAGE: &str = "gristmill.stage";
pub const MODULE: &str = "gristmill.module";
pub const KIND: &str = "gristmill.kind";
pub const REASON: &str = "gristmill.reason";

/// How often a record was sent through again: on a record that a replay produced, and with the record's own headers on
/// its letter if it fails again.
pub const REPLAYS: &str = "gristmill.replays";

/// A longer reason is cut: some brokers limit a record to 1 MiB, and the record itself goes before.
const REASON_BYTES_MAX: usize = 8 << 10;

/// One record that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The record's own headers.
    pub headers: Headers,
    /// Where the record stands in the source.
    pub partition: TopicPartition,
    pub offset: i64,
    /// The record's own time, in ms since 1970 UTC; absent if it has none.
    pub timestamp_ms: Option<i64>,
    pub pipeline: Arc<str>,
    /// The stage that failed.
    pub stage: Arc<str>,
    /// Hash of that stage's module, in hex.
    pub module_hash: Arc<str>,
    /// In what way it failed, in one word: `rejected`, `trap`, `time-out`, …
    pub kind: Arc<str>,
    /// Why, in the stage's words or the host's.
    pub reason: String,
}

/// Takes dead letters. Implemented for topics in `connectors`, where the transaction of the topic sinks holds them too.
#[async_trait]
pub trait DeadLetterSink: Send + Sync {
    /// The cursors stored with the letters: letters of records below them are there already. Partitions without one are
    /// left out.
    async fn cursors(&self, partitions: &[TopicPartition]) -> anyhow::Result<Offsets>;

    /// Takes one letter; it counts from the next commit on. Called from lanes, on threads that may block.
    ///
    /// Errors: the letters can no longer be stored.
    fn write(&self, letter: DeadLetter) -> anyhow::Result<()>;
}

impl DeadLetter {
    /// The record in row `row` as it was produced, byte for byte; who failed on it and why is not filled in yet.
    pub(crate) fn of_record(
        records: &RecordBatch,
        row: usize,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<DeadLetter> {
        let column = |name: &str| {
            records.column_by_name(name).with_context(|| format!("column `{name}` was not read"))
        };
        let bytes = |name: &str| -> Result<Option<Vec<u8>>> {
            let column = column(name)?;
            Ok(column.is_valid(row).then(|| column.as_binary::<i32>().value(row).to_vec()))
        };
        let timestamp = column("timestamp")?.as_primitive::<types::TimestampMicrosecondType>();
        Ok(DeadLetter {
            key: bytes("key")?,
            value: bytes("value")?,
            headers: own_headers(column("headers")?.as_list::<i32>(), row),
            partition: partition.clone(),
            offset,
            timestamp_ms: timestamp.is_valid(row).then(|| timestamp.value(row).div_euclid(1_000)),
            pipeline: "".into(),
            stage: "".into(),
            module_hash: "".into(),
            kind: "".into(),
            reason: String::new(),
        })
    }

    /// The headers of the letter: the record's own, then ours, which begin with [`TOPIC`].
    pub fn letter_headers(&self) -> Headers {
        let ours = [
            (TOPIC, self.partition.topic.to_string()),
            (PARTITION, self.partition.partition.to_string()),
            (OFFSET, self.offset.to_string()),
            (TIMESTAMP, self.timestamp_ms.map_or(String::new(), |time_ms| time_ms.to_string())),
            (PIPELINE, self.pipeline.to_string()),
            (STAGE, self.stage.to_string()),
            (MODULE, self.module_hash.to_string()),
            (KIND, self.kind.to_string()),
            (REASON, cut(&self.reason).to_string()),
        ];
        let ours = ours.map(|(name, text)| (name.to_string(), Some(text.into_bytes())));
        self.headers.iter().cloned().chain(ours).collect()
    }

    /// Reads a letter back from its record.
    ///
    /// # Errors
    /// What is missing: the record was not written as a dead letter.
    pub fn of_letter(
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        mut headers: Headers,
    ) -> Result<DeadLetter> {
        let begin = headers.iter().rposition(|(name, _)| name == TOPIC);
        let ours = headers.split_off(begin.with_context(|| format!("no header `{TOPIC}`"))?);
        let text = |name: &str| {
            let value = ours.iter().find(|(is, _)| is == name)?.1.as_ref()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let number = |name: &str| -> Result<i64> {
            let text = text(name).with_context(|| format!("no header `{name}`"))?;
            text.parse().with_context(|| format!("header `{name}` is `{text}`"))
        };
        let named = |name: &str| -> Arc<str> { text(name).unwrap_or_default().into() };
        let partition = i32::try_from(number(PARTITION)?).context("partition out of range")?;
        Ok(DeadLetter {
            key,
            value,
            headers,
            partition: TopicPartition::new(named(TOPIC), partition),
            offset: number(OFFSET)?,
            timestamp_ms: text(TIMESTAMP).and_then(|text| text.parse().ok()),
            pipeline: named(PIPELINE),
            stage: named(STAGE),
            module_hash: named(MODULE),
            kind: named(KIND),
            reason: text(REASON).unwrap_or_default(),
        })
    }

    /// How often the record was sent through again before it failed this time.
    pub fn replays(&self) -> u32 {
        let header = self.headers.iter().rev().find(|(name, _)| name == REPLAYS);
        let text = header.and_then(|(_, value)| std::str::from_utf8(value.as_ref()?).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The headers of the record when it is sent through again: its own, and one replay more.
    pub fn replay_headers(&self) -> Headers {
        let replays = self.replays().saturating_add(1).to_string();
        let own = self.headers.iter().filter(|(name, _)| name != REPLAYS).cloned();
        own.chain([(REPLAYS.to_string(), Some(replays.into_bytes()))]).collect()
    }
}

fn own_headers(headers: &ListArray, row: usize) -> Headers {
    if headers.is_null(row) {
        return Vec::new();
    }
    let entries = headers.value(row);
    let entries = entries.as_struct();
    let (keys, values) =
        (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
    let value = |i: usize| values.is_valid(i).then(|| values.value(i).to_vec());
    (0..keys.len()).map(|i| (keys.value(i).to_string(), value(i))).collect()
}

/// At most [`REASON_BYTES_MAX`], between two characters.
fn cut(reason: &str) -> &str {
    let ends = reason.char_indices().map(|(at, character)| at + character.len_utf8());
    let end = ends.take_while(|end| *end <= REASON_BYTES_MAX).last().unwrap_or(0);
    &reason[..end]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            key: None,
            value: Some(vec![0, 255]),
            headers: vec![("trace".into(), None), ("trace".into(), Some(b"2".to_vec()))],
            partition: TopicPartition::new("orders", 3),
            offset: 42,
            timestamp_ms: None,
            pipeline: "lake".into(),
            stage: "parse".into(),
            module_hash: "ab12".into(),
            kind: "rejected".into(),
            reason: "not JSON".into(),
        }
    }

    #[test]
    fn a_letter_says_where_its_record_came_from_behind_the_records_own_headers() {
        let headers = letter().letter_headers();
        assert_eq!(headers[1], ("trace".to_string(), Some(b"2".to_vec())));
        assert_eq!(headers[2], (TOPIC.to_string(), Some(b"orders".to_vec())));
        assert!(headers.contains(&(OFFSET.to_string(), Some(b"42".to_vec()))));
        assert!(headers.contains(&(TIMESTAMP.to_string(), Some(Vec::new()))));
    }

    #[test]
    fn a_letter_is_read_back_as_it_was_written() {
        let written = DeadLetter { timestamp_ms: Some(-1), ..letter() };
        let (key, value) = (written.key.clone(), written.value.clone());
        let read = DeadLetter::of_letter(key, value, written.letter_headers()).unwrap();
        assert_eq!(read, written);
    }

    /// A pipeline may read a dead letter topic, and fail on what it finds there.
    #[test]
    fn the_letter_of_a_letter_keeps_the_first_ones_headers_as_the_records_own() {
        let first = letter();
        let again = DeadLetter { headers: first.letter_headers(), offset: 7, ..letter() };
        let read = DeadLetter::of_letter(None, None, again.letter_headers()).unwrap();
        assert_eq!((read.offset, read.headers), (7, first.letter_headers()));
    }

    #[test]
    fn a_record_that_is_no_letter_says_what_it_lacks() {
        let refused = |headers| {
            let error = DeadLetter::of_letter(None, None, headers).unwrap_err();
            format!("{error:#}")
        };
        assert_eq!(refused(Vec::new()), "no header `gristmill.topic`");
        let mut headers = letter().letter_headers();
        headers.retain(|(name, _)| name != OFFSET);
        assert_eq!(refused(headers.clone()), "no header `gristmill.offset`");
        headers.push((OFFSET.to_string(), Some(b"x".to_vec())));
        assert!(refused(headers).starts_with("header `gristmill.offset` is `x`"));
    }

    #[test]
    fn replays_are_counted_in_one_header() {
        let first = letter();
        assert_eq!(first.replays(), 0);
        let second = DeadLetter { headers: first.replay_headers(), ..letter() };
        assert_eq!(second.replays(), 1);
        let third = second.replay_headers();
        assert_eq!(third.len(), first.headers.len() + 1);
        assert_eq!(third.last().unwrap(), &(REPLAYS.to_string(), Some(b"2".to_vec())));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let long = DeadLetter { reason: format!("a{}", "é".repeat(REASON_BYTES_MAX)), ..letter() };
        let headers = long.letter_headers();
        let reason = headers.last().unwrap().1.as_ref().unwrap();
        assert_eq!(reason.len(), REASON_BYTES_MAX - 1);
        assert!(std::str::from_utf8(reason).is_ok());
    }
}
