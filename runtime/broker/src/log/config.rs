//! The settings of one log, named after Kafka's topic configs.

use super::record_batch::Codec;

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, set on append.
    LogAppendTime,
}

/// Every field stands under Kafka's config of the same meaning. Changes take effect with the next
/// append or retention pass.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow above is rolled. At most `i32::MAX`, as in Kafka.
    pub segment_bytes_max: u64,
    /// `segment.ms`: a segment whose first record is older than the next one by more is rolled.
    pub segment_ms: i64,
    /// `index.interval.bytes`: log bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`: largest record batch, compressed as it came.
    pub message_bytes_max: u32,
    /// `retention.ms`: -1 keeps records however old.
    pub retention_ms: i64,
    /// `retention.bytes`: -1 keeps records however many.
    pub retention_bytes: i64,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's time may lie behind the broker's.
    pub timestamp_before_ms_max: i64,
    /// `message.timestamp.after.max.ms`: how far it may lie ahead.
    pub timestamp_after_ms_max: i64,
    /// `cleanup.policy` contains `delete`: retention applies.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`: records need a key, and of each key the last one stays.
    pub cleanup_compact: bool,
    /// `compression.type`: the codec in which records are kept; None: as the producer sent them.
    pub compression: Option<Codec>,
    /// `min.cleanable.dirty.ratio`: share of bytes that no compaction has seen, above which the
    /// next one begins; 0 to 1.
    pub dirty_ratio_min: f64,
    /// `min.compaction.lag.ms`: younger records are left alone.
    pub compaction_lag_ms_min: i64,
    /// `max.compaction.lag.ms`: records that have waited for longer are compacted whatever their
    /// share.
    pub compaction_lag_ms_max: i64,
    /// `delete.retention.ms`: how long compaction keeps a tombstone, so that consumers that are
    /// behind learn of it.
    pub delete_retention_ms: i64,
    /// `producer.id.expiration.ms`: how long a silent producer is remembered.
    pub producer_expiration_ms: i64,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes_max: 1 << 30,
            segment_ms: 7 * DAY_MS,
            index_interval_bytes: 4096,
            message_bytes_max: 1_048_588,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_ms_max: i64::MAX,
            timestamp_after_ms_max: i64::MAX,
            cleanup_delete: true,
            cleanup_compact: false,
            compression: None,
            dirty_ratio_min: 0.5,
            compaction_lag_ms_min: 0,
            compaction_lag_ms_max: i64::MAX,
            delete_retention_ms: DAY_MS,
            producer_expiration_ms: DAY_MS,
        }
    }
}

impl LogConfig {
    /// The size at which a segment is rolled; positions in an index have 32 bits, and Kafka's an
    /// int.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes_max.clamp(1, i32::MAX as u64)
    }

    /// The age at which a segment is rolled: records that must be compacted by a time have to
    /// leave the active segment before, as in Kafka.
    pub(super) fn segment_age_ms(&self) -> i64 {
        match self.cleanup_compact {
            true => self.segment_ms.min(self.compaction_lag_ms_max),
            false => self.segment_ms,
        }
    }
}
