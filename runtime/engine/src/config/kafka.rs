//! What Kafka itself asks of names and addresses, and the properties that are not the user's to
//! set.

use std::collections::BTreeMap;

use super::document::{Property, Written};
use super::report::Report;
use super::secret::{Expander, Visibility};
use super::shape::TOPIC_CHARS_MAX;

/// A property that the engine sets, and why it is refused.
type Owned = (&'static str, &'static str);

const BROKERS: &str = "the cluster is named by `brokers`";
const GROUP: &str = "the engine keeps its cursors under names of its own";
const CURSORS: &str = "the engine moves its cursors itself, with what the sinks have stored";
const ISOLATION: &str = "only committed records are read, exactly once rests on it";
const IDEMPOTENCE: &str = "every producer is idempotent, exactly once rests on it";

const SOURCE_OWNED: [Owned; 12] = [
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("group.id", GROUP),
    ("group.instance.id", GROUP),
    ("group.protocol", GROUP),
    ("enable.auto.commit", CURSORS),
    ("enable.auto.offset.store", CURSORS),
    ("auto.commit.interval.ms", CURSORS),
    ("auto.offset.reset", "where a pipeline begins is said by `start`"),
    ("isolation.level", ISOLATION),
    ("enable.partition.eof", "the engine needs it to know the end of a partition"),
    ("topic.blacklist", "which topics are read is said by `topics` or `topic_pattern`"),
];

const SINK_OWNED: [Owned; 9] = [
    ("bootstrap.servers", BROKERS),
    ("metadata.broker.list", BROKERS),
    ("group.id", GROUP),
    ("transactional.id", "the engine names its transactions, so that a zombie is fenced"),
    ("enable.idempotence", IDEMPOTENCE),
    ("acks", IDEMPOTENCE),
    ("request.required.acks", IDEMPOTENCE),
    ("enable.gapless.guarantee", IDEMPOTENCE),
    ("dr_cb", "the engine listens for every delivery"),
];

/// Properties of `[source.kafka]`.
pub(super) fn source_properties(
    properties: &[Property],
    expander: &Expander,
    report: &Report,
) -> Option<BTreeMap<String, String>> {
    refuse_owned(properties, &SOURCE_OWNED, report);
    expand_properties(properties, expander, report)
}

/// Properties of `[sink.kafka]`.
pub(super) fn sink_properties(
    properties: &[Property],
    expander: &Expander,
    report: &Report,
) -> Option<BTreeMap<String, String>> {
    refuse_owned(properties, &SINK_OWNED, report);
    expand_properties(properties, expander, report)
}

fn refuse_owned(properties: &[Property], owned: &[Owned], report: &Report) {
    for Property { name, .. } in properties {
        if let Some((_, why)) = owned.iter().find(|(owned, _)| *owned == name.value) {
            let message = format!("the property `{}` cannot be set: {why}", name.value);
            report.error_with_help(name.span.clone(), message, "take it away");
        }
    }
}

/// Puts secrets in. `None` if one is missing, which is reported.
pub(super) fn expand_properties(
    properties: &[Property],
    expander: &Expander,
    report: &Report,
) -> Option<BTreeMap<String, String>> {
    let expand = |Property { name, value }: &Property| {
        let value = expander.expand(value, Visibility::Hidden, report)?;
        Some((name.value.clone(), value))
    };
    let expanded: Vec<_> = properties.iter().map(expand).collect();
    expanded.into_iter().collect()
}

/// `host:port,…`; `None` if it is not, which is reported. The message shows what is written, not
/// what was put in.
pub(super) fn brokers(
    written: &Written<String>,
    expander: &Expander,
    report: &Report,
) -> Option<String> {
    let brokers = expander.expand(written, Visibility::Shown, report)?;
    let mut addresses = brokers.split(',');
    if addresses.all(|address| is_address(address.trim())) {
        return Some(brokers);
    }
    let message = format!("`{}` is not a list of addresses", written.value);
    let help = "write `host:port`, several with commas between them: `kafka-1:9092,kafka-2:9092`";
    report.error_with_help(written.span.clone(), message, help);
    None
}

/// `host:port`, `[::1]:9092`, and librdkafka's `PROTOCOL://host:port`.
fn is_address(address: &str) -> bool {
    let address = address.split_once("://").map_or(address, |(_, address)| address);
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host_is_right = match host.strip_prefix('[') {
        Some(inner) => inner.ends_with(']'),
        None => !host.contains(':'),
    };
    let has_blank = host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
    let port_is_right = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty() && host_is_right && !has_blank && port_is_right
}

/// A topic's name; `None` if Kafka would refuse it, which is reported.
pub(super) fn topic(
    written: &Written<String>,
    expander: &Expander,
    report: &Report,
) -> Option<String> {
    let topic = expander.expand(written, Visibility::Shown, report)?;
    let is_right = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name_is_right = !matches!(topic.as_str(), "" | "." | "..") && topic.chars().all(is_right);
    let (message, help) = if !name_is_right {
        let help = "a topic's name has letters, digits, `.`, `_` and `-`, and is not `.` or `..`";
        (format!("`{}` cannot be a topic", written.value), help.to_string())
    } else if topic.len() > TOPIC_CHARS_MAX {
        let message = "the name of this topic is too long".to_string();
        (message, format!("a topic's name has at most {TOPIC_CHARS_MAX} characters"))
    } else {
        return Some(topic);
    };
    report.error_with_help(written.span.clone(), message, help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for right in ["a:1", "kafka-1.example:9092", "10.0.0.1:65535", "[::1]:9092", "SSL://a:1"] {
            assert!(is_address(right), "{right}");
        }
        for wrong in ["", "a", "a:", ":1", "a:0", "a:65536", "a:+1", "a b:1", "::1:9092", "u@h:1"] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}
