//! What each sink really promises, and why, as far as its configuration tells: for `explain`, without opening anything.

use gristmill_engine::config::{SinkConfig, SinkKind, SourceConfig};

/// One line: the guarantee, then what it rests on.
pub fn of_sink(sink: &SinkConfig, source: &SourceConfig) -> String {
    let topic = match &sink.kind {
        SinkKind::Delta(_) => {
            return "exactly once: the rows and the source offsets are in the same commit of the table".into();
        }
        SinkKind::Topic(topic) => topic,
    };
    let order = "records are delivered before the source offsets are committed, a crash in between sends them again";
    match topic.brokers == source.brokers {
        true => format!("at least once: {order}"),
        false => format!("at least once: no transaction spans two clusters; {order}"),
    }
}
