//! The settings of a topic: names, types and limits as in Kafka, and what they mean for its logs.
//!
//! Settings that a single broker has no use for (replica throttles, remote storage, …) are accepted
//! where Kafka accepts them, kept and described, and change nothing; their documentation says so.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

use crate::log::record_batch::Codec;
use crate::log::{LogConfig, TimestampType};
use crate::refusal::Refusal;
use crate::settings::{self, Values};

/// What a topic was given at creation or since; absent settings follow the broker.
pub type TopicConfigs = BTreeMap<String, String>;

/// One setting that a topic can have.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    /// The broker's setting that holds where the topic says nothing.
    pub(crate) broker_name: Option<&'static str>,
    /// The value without any configuration of topic or broker.
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    /// What it does, for `DescribeConfigs`.
    pub(crate) documentation: &'static str,
}

/// The type of a value, and which values are allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    /// 32 bits, from the given minimum.
    Int(i64),
    /// 64 bits, from the given minimum.
    Long(i64),
    /// A number from 0 to 1.
    Ratio,
    /// A number above 0.
    Double,
    Text,
    Choice(&'static [&'static str]),
    /// A version of Kafka, as `2.8` or `3.0-IV1`.
    Version,
    /// Names joined by commas.
    List(&'static [&'static str]),
}

impl Kind {
    /// Kafka's number of the type in `DescribeConfigs` answers (`ConfigType`).
    pub(crate) fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Choice(_) | Kind::Version | Kind::Text => 2,
            Kind::Int(_) => 3,
            Kind::Long(_) => 5,
            Kind::Ratio | Kind::Double => 6,
            Kind::List(_) => 7,
        }
    }

    /// Err with the reason for a value that is none.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        let whole = |minimum: i64, maximum: i64| match value.trim().parse::<i64>() {
            Ok(number) if (minimum..=maximum).contains(&number) => Ok(()),
            Ok(_) => Err(format!("Value must be from {minimum} to {maximum}")),
            Err(_) => Err("Not a number".to_owned()),
        };
        match self {
            Kind::Boolean if matches!(value, "true" | "false") => Ok(()),
            Kind::Boolean => Err("Expected value to be either true or false".to_owned()),
            Kind::Int(minimum) => whole(minimum, i32::MAX.into()),
            Kind::Long(minimum) => whole(minimum, i64::MAX),
            Kind::Ratio => match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("Value must be from 0 to 1".to_owned()),
            },
            Kind::Double => match value.trim().parse::<f64>() {
                Ok(number) if number > 0.0 => Ok(()),
                _ => Err("Value must be above 0".to_owned()),
            },
            Kind::Text => Ok(()),
            Kind::Version if is_version(value) => Ok(()),
            Kind::Version => Err("Not a version".to_owned()),
            Kind::Choice(names) if names.contains(&value) => Ok(()),
            Kind::List(names) if value.split(',').all(|name| names.contains(&name.trim())) => {
                Ok(())
            }
            Kind::Choice(names) | Kind::List(names) => {
                Err(format!("String must be one of: {}", names.join(", ")))
            }
        }
    }
}

const fn setting(
    name: &'static str,
    broker_name: Option<&'static str>,
    default: &'static str,
    kind: Kind,
    documentation: &'static str,
) -> Setting {
    Setting { name, broker_name, default, kind, documentation }
}

const LONG_MAX: &str = "9223372036854775807";

/// Every setting, by name. Defaults are those of Apache Kafka 3.9.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "cleanup.policy",
        Some("log.cleanup.policy"),
        "delete",
        Kind::List(&["delete", "compact"]),
        "what happens to old records: delete, compact, or both",
    ),
    setting(
        "compression.type",
        Some("compression.type"),
        "producer",
        Kind::Choice(&["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"]),
        "the codec of stored records; producer: as they came, which costs least",
    ),
    setting(
        "delete.retention.ms",
        Some("log.cleaner.delete.retention.ms"),
        "86400000",
        Kind::Long(0),
        "how long a compacted topic keeps the removal of a key",
    ),
    setting(
        "file.delete.delay.ms",
        Some("log.segment.delete.delay.ms"),
        "60000",
        Kind::Long(0),
        "no effect: files go at once",
    ),
    setting(
        "flush.messages",
        Some("log.flush.interval.messages"),
        LONG_MAX,
        Kind::Long(1),
        "no effect: see the broker's durability",
    ),
    setting(
        "flush.ms",
        Some("log.flush.interval.ms"),
        LONG_MAX,
        Kind::Long(0),
        "no effect: see the broker's durability",
    ),
    setting(
        "index.interval.bytes",
        Some("log.index.interval.bytes"),
        "4096",
        Kind::Int(0),
        "bytes of log per index entry",
    ),
    setting(
        "max.compaction.lag.ms",
        Some("log.cleaner.max.compaction.lag.ms"),
        LONG_MAX,
        Kind::Long(1),
        "how long a record may wait for compaction",
    ),
    setting(
        "max.message.bytes",
        Some("message.max.bytes"),
        "1048588",
        Kind::Int(0),
        "largest record batch in bytes",
    ),
    setting(
        "message.downconversion.enable",
        Some("log.message.downconversion.enable"),
        "true",
        Kind::Boolean,
        "no effect",
    ),
    setting("message.format.version", None, "3.0-IV1", Kind::Version, "no effect: always format 2"),
    setting(
        "message.timestamp.after.max.ms",
        Some("log.message.timestamp.after.max.ms"),
        LONG_MAX,
        Kind::Long(0),
        "how far a record's time may lie ahead of the broker's",
    ),
    setting(
        "message.timestamp.before.max.ms",
        Some("log.message.timestamp.before.max.ms"),
        LONG_MAX,
        Kind::Long(0),
        "how far a record's time may lie behind the broker's",
    ),
    setting(
        "message.timestamp.type",
        Some("log.message.timestamp.type"),
        "CreateTime",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
        "whether records keep the producer's time or get the broker's",
    ),
    setting(
        "min.cleanable.dirty.ratio",
        Some("log.cleaner.min.cleanable.ratio"),
        "0.5",
        Kind::Ratio,
        "share of records that no compaction has seen, above which the next one begins",
    ),
    setting(
        "min.compaction.lag.ms",
        Some("log.cleaner.min.compaction.lag.ms"),
        "0",
        Kind::Long(0),
        "how long compaction leaves a record alone",
    ),
    setting(
        "min.insync.replicas",
        Some("min.insync.replicas"),
        "1",
        Kind::Int(1),
        "no effect: there is one replica",
    ),
    setting("preallocate", Some("log.preallocate"), "false", Kind::Boolean, "no effect"),
    setting(
        "retention.bytes",
        Some("log.retention.bytes"),
        "-1",
        Kind::Long(-1),
        "bytes kept per partition, -1: no limit",
    ),
    setting(
        "retention.ms",
        Some("log.retention.ms"),
        "604800000",
        Kind::Long(-1),
        "how long records are kept, -1: ever",
    ),
    setting(
        "segment.bytes",
        Some("log.segment.bytes"),
        "1073741824",
        Kind::Int(14),
        "largest segment in bytes",
    ),
    setting(
        "segment.index.bytes",
        Some("log.index.size.max.bytes"),
        "10485760",
        Kind::Int(4),
        "no effect: indexes grow as needed",
    ),
    setting("segment.jitter.ms", Some("log.roll.jitter.ms"), "0", Kind::Long(0), "no effect"),
    setting(
        "segment.ms",
        Some("log.roll.ms"),
        "604800000",
        Kind::Long(1),
        "a segment is closed after that time",
    ),
    setting(
        "unclean.leader.election.enable",
        Some("unclean.leader.election.enable"),
        "false",
        Kind::Boolean,
        "no effect",
    ),
];

/// The setting of that name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// INVALID_CONFIG with the reason, for the first name or value that is wrong.
pub(crate) fn check(configs: &TopicConfigs) -> Result<(), Refusal> {
    for (name, value) in configs {
        let refuse = |why: String| Refusal::new(ResponseError::InvalidConfig, why);
        let setting =
            find(name).ok_or_else(|| refuse(format!("Unknown topic config name: {name}")))?;
        if let Err(why) = setting.kind.check(value) {
            return Err(refuse(format!("Invalid value {value} for configuration {name}: {why}")));
        }
    }
    Ok(())
}

/// Numbers between dots, and perhaps `-IV` with a number.
fn is_version(value: &str) -> bool {
    let (numbers, internal) = value.split_once("-IV").unwrap_or((value, "0"));
    let is_number = |text: &str| text.parse::<u8>().is_ok();
    (2..=4).contains(&numbers.split('.').count())
        && numbers.split('.').all(is_number)
        && is_number(internal)
}

/// Where a value comes from, in Kafka's numbers (`ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Source {
    /// Set for the topic.
    Topic = 1,
    /// Set for this broker while it ran.
    Broker = 2,
    /// Set for all brokers while they ran.
    AllBrokers = 3,
    /// Given to the broker at its start.
    Start = 4,
    /// Nobody set it.
    Default = 5,
}

/// A value and who gave it, under the name that it was given by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) source: Source,
}

impl Value {
    pub(crate) fn new(name: &'static str, value: String, source: Source) -> Value {
        Value { name, value, source }
    }
}

/// The values of a topic's setting, the one that counts first and the default last.
pub(crate) fn values(setting: &Setting, configs: &TopicConfigs, broker: &Values<'_>) -> Vec<Value> {
    let own = configs.get(setting.name);
    let own = own.map(|value| Value::new(setting.name, value.clone(), Source::Topic));
    let others = match setting.broker_name.and_then(settings::find) {
        Some(of_broker) => broker.of(of_broker),
        None => vec![Value::new(setting.name, setting.default.to_owned(), Source::Default)],
    };
    own.into_iter().chain(others).collect()
}

/// The value that counts.
pub(crate) fn value(setting: &Setting, configs: &TopicConfigs, broker: &Values<'_>) -> Value {
    values(setting, configs, broker).swap_remove(0)
}

/// What these settings mean for the logs of the topic. Values that [`check`] would refuse count as
/// absent: a topic must open even if its file was edited by hand.
pub(crate) fn log_config(configs: &TopicConfigs, broker: &Values<'_>) -> LogConfig {
    let text = |name: &str| {
        find(name).map(|setting| value(setting, configs, broker).value).unwrap_or_default()
    };
    let number = |name: &str| {
        let own = text(name).trim().parse::<i64>().ok();
        own.or_else(|| find(name)?.default.parse().ok()).unwrap_or(0)
    };
    let size = |name: &str| u32::try_from(number(name)).unwrap_or(u32::MAX);
    let policy = text("cleanup.policy");
    let has_policy = |wanted: &str| policy.split(',').any(|name| name.trim() == wanted);
    LogConfig {
        segment_bytes_max: size("segment.bytes").into(),
        index_interval_bytes: size("index.interval.bytes"),
        message_bytes_max: size("max.message.bytes"),
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        segment_ms: number("segment.ms"),
        timestamp_type: match text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_ms_max: number("message.timestamp.before.max.ms"),
        timestamp_after_ms_max: number("message.timestamp.after.max.ms"),
        compression: match text("compression.type").as_str() {
            "uncompressed" => Some(Codec::None),
            "gzip" => Some(Codec::Gzip),
            "snappy" => Some(Codec::Snappy),
            "lz4" => Some(Codec::Lz4),
            "zstd" => Some(Codec::Zstd),
            _ => None,
        },
        cleanup_delete: has_policy("delete"),
        cleanup_compact: has_policy("compact"),
        dirty_ratio_min: text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5),
        compaction_lag_ms_min: number("min.compaction.lag.ms"),
        compaction_lag_ms_max: number("max.compaction.lag.ms"),
        delete_retention_ms: number("delete.retention.ms"),
        ..LogConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    fn configs(pairs: &[(&str, &str)]) -> TopicConfigs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for setting in SETTINGS {
            assert_eq!(setting.kind.check(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn wrong_names_and_values_are_refused_with_the_reason() {
        for (name, value, reason) in [
            ("retention.hours", "1", "Unknown topic config name"),
            ("retention.ms", "soon", "Not a number"),
            ("retention.ms", "-2", "Value must be from -1"),
            ("segment.bytes", "4294967296", "Value must be from 14"),
            ("cleanup.policy", "delete,burn", "must be one of"),
            ("min.cleanable.dirty.ratio", "2", "from 0 to 1"),
            ("preallocate", "yes", "true or false"),
            ("compression.type", "brotli", "must be one of"),
            ("message.format.version", "newest", "Not a version"),
        ] {
            let refusal = check(&configs(&[(name, value)])).expect_err(name);
            assert_eq!(refusal.error, ResponseError::InvalidConfig);
            assert!(refusal.message.contains(reason), "{name}: {}", refusal.message);
        }
    }

    #[test]
    fn a_topic_overrides_the_broker() {
        let broker = BrokerConfig { retention_ms: 5, ..BrokerConfig::default() };
        let broker = Values::of_start(&broker);
        assert_eq!(log_config(&configs(&[]), &broker).retention_ms, 5);
        let own = configs(&[("retention.ms", "7"), ("message.timestamp.type", "LogAppendTime")]);
        let config = log_config(&own, &broker);
        assert_eq!(config.retention_ms, 7);
        assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
    }

    #[test]
    fn a_topic_that_only_compacts_keeps_its_records() {
        let broker = BrokerConfig::default();
        let own = configs(&[("cleanup.policy", "compact")]);
        let config = log_config(&own, &Values::of_start(&broker));
        assert!(config.cleanup_compact && !config.cleanup_delete);
        assert_eq!((config.dirty_ratio_min, config.delete_retention_ms), (0.5, 86_400_000));
    }
}
