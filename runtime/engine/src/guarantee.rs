//! What each sink of a pipeline really promises, and why. Said by `validate` and `explain`.

use std::fmt;

use crate::config::{Delivery, Pipeline, SinkConfig, SinkKind};

/// How often a record that was read once is there in the sink, whatever crashes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    ExactlyOnce { because: &'static str },
    AtLeastOnce { because: &'static str },
}

impl Guarantee {
    /// The promise of one sink of `pipeline`.
    pub fn of(pipeline: &Pipeline, sink: &SinkConfig) -> Guarantee {
        match &sink.kind {
            SinkKind::Delta(_) => Guarantee::ExactlyOnce {
                because: "the rows and the source offsets are in the same commit of the Delta table",
            },
            SinkKind::Topic(topic) if topic.brokers != pipeline.source.brokers => {
                Guarantee::AtLeastOnce {
                    because: "the topic is on another Kafka cluster than the source, and no Kafka transaction spans two \
                              clusters: records are delivered, then the source offsets are committed, and a crash in \
                              between sends the last micro-batch again",
                }
            }
            SinkKind::Topic(_) => match pipeline.delivery {
                Delivery::ExactlyOnce => Guarantee::ExactlyOnce {
                    because: "one Kafka transaction holds the records, the dead letters and the source offsets; consumers \
                              that read committed records only see each once",
                },
                Delivery::AtLeastOnce => Guarantee::AtLeastOnce {
                    because: "`delivery = \"at-least-once\"`: records are delivered, then the source offsets are \
                              committed, and a crash in between sends the last micro-batch again",
                },
            },
        }
    }

    pub fn is_exactly_once(&self) -> bool {
        matches!(self, Guarantee::ExactlyOnce { .. })
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guarantee::ExactlyOnce { because } => write!(f, "exactly once: {because}"),
            Guarantee::AtLeastOnce { because } => write!(f, "at least once: {because}"),
        }
    }
}
