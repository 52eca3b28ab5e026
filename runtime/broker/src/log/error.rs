//! What can go wrong with a log, as the callers tell it apart, and Kafka's error code for each.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::record_batch::Malformed;

/// Why a log could not be opened, synced, searched or closed.
#[derive(Clone, Debug)]
pub enum LogError {
    /// The operating system refused. `action` names what was tried: "cannot sync".
    Io { action: &'static str, path: PathBuf, error: Arc<io::Error> },
    /// An earlier write or sync failed: the log takes no more appends until the broker is started
    /// again.
    StorageFailed(Arc<str>),
    /// Bytes that were durable are no record batch any more.
    Damaged { path: PathBuf, position: u64, why: Malformed },
    /// An offset outside of what the log holds.
    OffsetOutOfRange { offset: i64, log_start_offset: i64, high_watermark: i64 },
    /// The log was closed or its partition deleted.
    Closed,
}

impl LogError {
    /// An error of the operating system with the name of the file.
    pub(super) fn io(action: &'static str, path: &Path, error: io::Error) -> LogError {
        LogError::Io { action, path: path.to_owned(), error: Arc::new(error) }
    }

    /// True if there was no room on the disk, by its size, a quota or a limit of the process: what
    /// passes when there is room again.
    pub fn is_full_disk(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            LogError::Io { error, .. } => {
                matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
            }
            _ => false,
        }
    }

    /// The code that a client gets.
    pub fn kafka_error(&self) -> ResponseError {
        match self {
            LogError::Io { .. } | LogError::StorageFailed(_) => ResponseError::KafkaStorageError,
            LogError::Damaged { .. } => ResponseError::CorruptMessage,
            LogError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            LogError::Closed => ResponseError::UnknownTopicOrPartition,
        }
    }
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogError::Io { action, path, error } => {
                write!(f, "{action} `{}`: {error}", path.display())
            }
            LogError::StorageFailed(why) => {
                write!(f, "the log takes no more records until the broker restarts: {why}")
            }
            LogError::Damaged { path, position, why } => {
                write!(f, "`{}` is damaged at byte {position}: {why}", path.display())
            }
            LogError::OffsetOutOfRange { offset, log_start_offset, high_watermark } => {
                write!(f, "offset {offset} is outside of {log_start_offset} to {high_watermark}")
            }
            LogError::Closed => write!(f, "the log is closed"),
        }
    }
}

impl std::error::Error for LogError {}

/// Why records were not appended. Nothing of the request is in the log then.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// Not a record batch, or its bytes changed on the way.
    Malformed(Malformed),
    /// A record batch that breaks a rule of the protocol or of the topic.
    Invalid(String),
    /// Records without a key, by their place in the batch, for a topic that is compacted.
    WithoutKey { places: Vec<i32> },
    /// One batch above `max.message.bytes`.
    TooLarge { size_bytes: usize, size_max: u32 },
    /// All batches together above `segment.bytes`.
    RequestTooLarge { size_bytes: usize, size_max: u64 },
    /// A record time outside of what the topic takes, or a time type that only the broker sets.
    InvalidTimestamp(String),
    /// A gap or a step back in a producer's sequence numbers.
    OutOfOrderSequence { producer_id: i64, expected: i32, got: i32 },
    /// A producer that a newer one with the same id has replaced.
    InvalidProducerEpoch { producer_id: i64, current: i16, got: i16 },
    /// A record outside of a transaction from a producer with one open in this partition.
    InvalidTransactionState { producer_id: i64 },
    /// A marker from a transaction coordinator that a newer one has replaced.
    CoordinatorFenced { current: i32, got: i32 },
    /// The disk.
    Storage(LogError),
}

impl AppendError {
    /// The code that the producer gets.
    pub fn kafka_error(&self) -> ResponseError {
        match self {
            AppendError::Malformed(
                Malformed::Magic(_) | Malformed::Count { .. } | Malformed::Offset(_),
            ) => ResponseError::InvalidRecord,
            AppendError::Malformed(Malformed::Codec(_)) => {
                ResponseError::UnsupportedCompressionType
            }
            AppendError::Malformed(_) => ResponseError::CorruptMessage,
            AppendError::Invalid(_) | AppendError::WithoutKey { .. } => {
                ResponseError::InvalidRecord
            }
            AppendError::TooLarge { .. } => ResponseError::MessageTooLarge,
            AppendError::RequestTooLarge { .. } => ResponseError::RecordListTooLarge,
            AppendError::InvalidTimestamp(_) => ResponseError::InvalidTimestamp,
            AppendError::OutOfOrderSequence { .. } => ResponseError::OutOfOrderSequenceNumber,
            AppendError::InvalidProducerEpoch { .. } => ResponseError::InvalidProducerEpoch,
            AppendError::InvalidTransactionState { .. } => ResponseError::InvalidTxnState,
            AppendError::CoordinatorFenced { .. } => ResponseError::TransactionCoordinatorFenced,
            AppendError::Storage(error) => error.kafka_error(),
        }
    }
}

impl From<Malformed> for AppendError {
    fn from(malformed: Malformed) -> AppendError {
        AppendError::Malformed(malformed)
    }
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> AppendError {
        AppendError::Storage(error)
    }
}

impl std::fmt::Display for AppendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AppendError::Malformed(why) => write!(f, "not a record batch: {why}"),
            AppendError::Invalid(why) => write!(f, "{why}"),
            AppendError::WithoutKey { places } => {
                let count = places.len();
                write!(f, "a compacted topic takes no record without a key; {count} have none")
            }
            AppendError::TooLarge { size_bytes, size_max } => {
                write!(f, "a record batch of {size_bytes} bytes, max.message.bytes is {size_max}")
            }
            AppendError::RequestTooLarge { size_bytes, size_max } => {
                write!(f, "{size_bytes} bytes of records at once, segment.bytes is {size_max}")
            }
            AppendError::InvalidTimestamp(why) => write!(f, "{why}"),
            AppendError::OutOfOrderSequence { producer_id, expected, got } => {
                write!(f, "producer {producer_id} sent sequence {got} where {expected} was due")
            }
            AppendError::InvalidProducerEpoch { producer_id, current, got } => {
                write!(f, "producer {producer_id} came with epoch {got}, its epoch is {current}")
            }
            AppendError::InvalidTransactionState { producer_id } => {
                write!(f, "producer {producer_id} has a transaction open and sent a record outside")
            }
            AppendError::CoordinatorFenced { current, got } => {
                write!(f, "a marker of coordinator epoch {got}, the epoch is {current}")
            }
            AppendError::Storage(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for AppendError {}

/// Why a fetch has no records to give.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// Below the log start offset or above the end: the client resets itself by
    /// `auto.offset.reset`.
    OffsetOutOfRange { offset: i64, log_start_offset: i64, log_end_offset: i64 },
    /// The disk, or a closed log.
    Storage(LogError),
}

impl ReadError {
    /// The code that the consumer gets.
    pub fn kafka_error(&self) -> ResponseError {
        match self {
            ReadError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            ReadError::Storage(error) => error.kafka_error(),
        }
    }
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> ReadError {
        ReadError::Storage(error)
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset } => {
                write!(f, "offset {offset} is outside of {log_start_offset} to {log_end_offset}")
            }
            ReadError::Storage(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ReadError {}
