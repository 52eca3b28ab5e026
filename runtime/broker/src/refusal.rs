//! A request that cannot be granted: Kafka's error code and a sentence for the person behind it.

use std::fmt;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

/// Why something was refused. The message is for people; clients decide by the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Kafka's error.
    pub error: ResponseError,
    /// What was wrong, and with what.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    /// The message as responses carry it.
    pub(crate) fn text(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.error)
    }
}

impl std::error::Error for Refusal {}

/// What the disk refused.
impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Refusal {
        Refusal::new(ResponseError::KafkaStorageError, format!("{error:#}"))
    }
}
