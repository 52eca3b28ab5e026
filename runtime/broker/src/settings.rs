//! The settings of the broker: those of its start, and those that clients have changed since, kept
//! in `broker-configs.json`.
//!
//! Kafka has two levels of the latter, one broker and all brokers; what was set for the broker
//! counts first. Most are what topics get that say nothing (`topic_config`). Settings of things that
//! this broker doesn't have (threads of this and that, Kerberos) are accepted as in Kafka, kept and
//! described, and change nothing. Listeners, certificates and mechanisms are given at the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use crate::config::BrokerConfig;
use crate::kept::{Content, Kept};
use crate::refusal::Refusal;
use crate::topic_config::{self, Kind, Source, Value};

/// Settings by name.
pub(crate) type Configs = BTreeMap<String, String>;

/// For whom a setting is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Broker,
    AllBrokers,
}

/// One setting that clients may change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrokerSetting {
    pub(crate) name: &'static str,
    /// The value without any configuration.
    default: &'static str,
    pub(crate) kind: Kind,
    /// What it does, for `DescribeConfigs`.
    pub(crate) documentation: &'static str,
}

const fn setting(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    documentation: &'static str,
) -> BrokerSetting {
    BrokerSetting { name, default, kind, documentation }
}

const NO_EFFECT: &str = "no effect: this broker has no such thing";
pub(crate) const CONNECTIONS_PER_ADDRESS: &str = "max.connections.per.ip";
const COMPACTION_MEMORY: &str = "log.cleaner.dedupe.buffer.size";
const COMPACTION_RATE: &str = "log.cleaner.io.max.bytes.per.second";

/// Those that are not what topics get. Defaults are those of Apache Kafka 3.9 but for limits that
/// `config` gives reasons for.
const OWN: &[BrokerSetting] = &[
    setting(
        CONNECTIONS_PER_ADDRESS,
        "2147483647",
        Kind::Int(0),
        "connections from one address; one more is closed as soon as it comes",
    ),
    setting(COMPACTION_MEMORY, "16777216", Kind::Long(1 << 20), "bytes for keys of a compaction"),
    setting(COMPACTION_RATE, "67108864", Kind::Double, "bytes of compaction per second"),
    setting("background.threads", "10", Kind::Int(1), NO_EFFECT),
    setting("compression.gzip.level", "-1", Kind::Int(-1), "no effect: the codec's default level"),
    setting("compression.lz4.level", "9", Kind::Int(1), "no effect: the codec's default level"),
    setting("compression.zstd.level", "3", Kind::Int(-131_072), "no effect: the default level"),
    setting("log.cleaner.io.buffer.load.factor", "0.9", Kind::Double, NO_EFFECT),
    setting("log.cleaner.io.buffer.size", "524288", Kind::Int(0), NO_EFFECT),
    setting("log.cleaner.threads", "1", Kind::Int(0), NO_EFFECT),
    setting("num.io.threads", "8", Kind::Int(1), NO_EFFECT),
    setting("num.network.threads", "3", Kind::Int(1), NO_EFFECT),
    setting("num.recovery.threads.per.data.dir", "1", Kind::Int(1), NO_EFFECT),
    setting("num.replica.fetchers", "1", Kind::Int(1), NO_EFFECT),
    setting("sasl.kerberos.kinit.cmd", "/usr/bin/kinit", Kind::Text, NO_EFFECT),
    setting("sasl.kerberos.min.time.before.relogin", "60000", Kind::Long(0), NO_EFFECT),
    setting("sasl.kerberos.ticket.renew.jitter", "0.05", Kind::Double, NO_EFFECT),
    setting("sasl.kerberos.ticket.renew.window.factor", "0.8", Kind::Double, NO_EFFECT),
    setting("sasl.login.refresh.buffer.seconds", "300", Kind::Int(0), NO_EFFECT),
    setting("sasl.login.refresh.min.period.seconds", "60", Kind::Int(0), NO_EFFECT),
    setting("sasl.login.refresh.window.factor", "0.8", Kind::Double, NO_EFFECT),
    setting("sasl.login.refresh.window.jitter", "0.05", Kind::Double, NO_EFFECT),
];

/// Every setting that clients may change.
pub(crate) fn changeable() -> impl Iterator<Item = BrokerSetting> {
    let of_topics = topic_config::SETTINGS.iter().filter_map(|it| {
        let name = it.broker_name?;
        Some(setting(name, it.default, it.kind, it.documentation))
    });
    of_topics.chain(OWN.iter().copied())
}

/// The setting of that name that clients may change.
pub(crate) fn find(name: &str) -> Option<BrokerSetting> {
    changeable().find(|setting| setting.name == name)
}

/// Settings that are given at the start, for `DescribeConfigs`: name, value, type.
pub(crate) fn given(config: &BrokerConfig) -> Vec<(&'static str, String, Kind)> {
    let initial_delay = config.group_initial_rebalance_delay_ms.to_string();
    vec![
        ("auto.create.topics.enable", config.auto_create_topics.to_string(), Kind::Boolean),
        ("broker.id", crate::broker::NODE_ID.0.to_string(), Kind::Int(0)),
        ("connections.max.idle.ms", config.idle_ms_max.to_string(), Kind::Long(0)),
        ("default.replication.factor", "1".to_owned(), Kind::Int(1)),
        ("fetch.max.bytes", config.fetch_bytes_max.to_string(), Kind::Int(0)),
        ("group.initial.rebalance.delay.ms", initial_delay, Kind::Int(0)),
        (
            "group.max.session.timeout.ms",
            config.group_session_timeout_ms_max.to_string(),
            Kind::Int(0),
        ),
        (
            "group.min.session.timeout.ms",
            config.group_session_timeout_ms_min.to_string(),
            Kind::Int(0),
        ),
        ("log.cleaner.backoff.ms", config.compaction_check_ms.to_string(), Kind::Long(0)),
        ("max.connections", config.connections_max.to_string(), Kind::Int(0)),
        ("num.partitions", config.default_partitions.to_string(), Kind::Int(1)),
        (
            "offsets.retention.minutes",
            (config.offsets_retention_ms / 60_000).to_string(),
            Kind::Int(1),
        ),
    ]
}

/// What clients have changed. Names and values have passed [`check`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    version: u32,
    broker: Configs,
    all_brokers: Configs,
}

impl Changed {
    pub(crate) fn of(&self, level: Level) -> &Configs {
        match level {
            Level::Broker => &self.broker,
            Level::AllBrokers => &self.all_brokers,
        }
    }

    fn of_mut(&mut self, level: Level) -> &mut Configs {
        match level {
            Level::Broker => &mut self.broker,
            Level::AllBrokers => &mut self.all_brokers,
        }
    }
}

impl Content for Changed {
    const FILE: &'static str = "broker-configs.json";

    fn parse(content: &[u8]) -> Result<Changed> {
        let changed: Changed = serde_json::from_slice(content)?;
        ensure!(changed.version == 1, "version {} is not known", changed.version);
        for level in [Level::Broker, Level::AllBrokers] {
            check(changed.of(level)).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        }
        Ok(changed)
    }

    fn serialize(&self) -> Result<Vec<u8>> {
        let stored = Changed { version: 1, ..self.clone() };
        serde_json::to_vec_pretty(&stored).context("cannot write the settings as JSON")
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Settings {
    start: BrokerConfig,
    changed: Kept<Changed>,
}

impl Settings {
    pub(crate) fn new(start: BrokerConfig, changed: Kept<Changed>) -> Settings {
        Settings { start, changed }
    }

    /// The settings of the start.
    pub(crate) fn start(&self) -> &BrokerConfig {
        &self.start
    }

    /// What clients have changed, as it is now.
    pub(crate) fn changed(&self) -> Arc<Changed> {
        self.changed.get()
    }

    /// Everything that holds now.
    pub(crate) fn values(&self) -> Values<'_> {
        Values { start: &self.start, changed: self.changed() }
    }

    /// Replaces the settings of one level by what `change` makes of them. Blocks.
    pub(crate) fn change(
        &self,
        level: Level,
        validate_only: bool,
        change: impl FnOnce(&Configs) -> Result<Configs, Refusal>,
    ) -> Result<(), Refusal> {
        let next = |present: &Configs| {
            let next = change(present)?;
            check(&next).map(|()| next)
        };
        if validate_only {
            return next(self.changed().of(level)).map(|_| ());
        }
        self.changed.change(|changed| {
            *changed.of_mut(level) = next(changed.of(level))?;
            Ok(())
        })
    }
}

/// INVALID_REQUEST with the reason, for the first name or value that is wrong.
fn check(configs: &Configs) -> Result<(), Refusal> {
    for (name, value) in configs {
        let refuse = |why| Err(Refusal::new(ResponseError::InvalidRequest, why));
        let Some(setting) = find(name) else {
            return refuse(format!("Cannot update these configs dynamically: Set({name})"));
        };
        if let Err(why) = setting.kind.check(value) {
            return refuse(format!("Invalid value {value} for configuration {name}: {why}"));
        }
    }
    Ok(())
}

/// What holds at one moment.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    start: &'a BrokerConfig,
    changed: Arc<Changed>,
}

impl<'a> Values<'a> {
    /// What holds before anything was changed.
    #[cfg(test)]
    pub(crate) fn of_start(start: &'a BrokerConfig) -> Values<'a> {
        Values { start, changed: Arc::default() }
    }

    /// The values of a setting, the one that counts first and the default last.
    pub(crate) fn of(&self, setting: BrokerSetting) -> Vec<Value> {
        let mut values = Vec::new();
        let mut push = |value: String, source| values.push(Value::new(setting.name, value, source));
        for (level, source) in
            [(Level::Broker, Source::Broker), (Level::AllBrokers, Source::AllBrokers)]
        {
            if let Some(value) = self.changed.of(level).get(setting.name) {
                push(value.clone(), source);
            }
        }
        if let Some(value) = self.at_start(setting.name).filter(|it| it != setting.default) {
            push(value, Source::Start);
        }
        push(setting.default.to_owned(), Source::Default);
        values
    }

    /// What the start says of it; None: such a setting is only made later.
    fn at_start(&self, name: &str) -> Option<String> {
        let start = self.start;
        Some(match name {
            "log.retention.bytes" => start.retention_bytes.to_string(),
            "log.retention.ms" => start.retention_ms.to_string(),
            "log.segment.bytes" => start.segment_bytes_max.to_string(),
            "message.max.bytes" => start.message_bytes_max.to_string(),
            COMPACTION_MEMORY => start.compaction_memory_bytes.to_string(),
            COMPACTION_RATE => start.compaction_bytes_per_second_max.to_string(),
            CONNECTIONS_PER_ADDRESS => {
                start.connections_per_address_max.min(i32::MAX as usize).to_string()
            }
            _ => return None,
        })
    }

    /// As a number; a fraction is cut off.
    fn number(&self, name: &str) -> u64 {
        let values = find(name).map(|setting| self.of(setting)).unwrap_or_default();
        values.first().and_then(|it| it.value.trim().parse::<f64>().ok()).unwrap_or(0.0) as u64
    }

    pub(crate) fn connections_per_address_max(&self) -> usize {
        self.number(CONNECTIONS_PER_ADDRESS) as usize
    }

    pub(crate) fn compaction_memory_bytes(&self) -> usize {
        self.number(COMPACTION_MEMORY) as usize
    }

    pub(crate) fn compaction_bytes_per_second_max(&self) -> u64 {
        self.number(COMPACTION_RATE)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::faults::FaultDisk;
    use std::path::Path;

    fn open(disk: &FaultDisk) -> Settings {
        let changed = Kept::open(Arc::new(disk.clone()), Path::new("/data")).unwrap();
        Settings::new(BrokerConfig { retention_ms: 5, ..BrokerConfig::default() }, changed)
    }

    fn set(settings: &Settings, level: Level, name: &str, value: &str) -> Result<(), Refusal> {
        settings.change(level, false, |present| {
            let mut configs = present.clone();
            configs.insert(name.to_owned(), value.to_owned());
            Ok(configs)
        })
    }

    fn values(settings: &Settings, name: &str) -> Vec<(String, Source)> {
        let values = settings.values().of(find(name).unwrap());
        values.into_iter().map(|it| (it.value, it.source)).collect()
    }

    #[test]
    fn every_default_passes_its_own_check_and_every_name_is_there_once() {
        let mut names = std::collections::BTreeSet::new();
        for setting in changeable() {
            assert_eq!(setting.kind.check(setting.default), Ok(()), "{}", setting.name);
            assert!(names.insert(setting.name), "{} twice", setting.name);
        }
        for (name, ..) in given(&BrokerConfig::default()) {
            assert!(names.insert(name), "{name} twice");
        }
    }

    #[test]
    fn the_broker_counts_before_all_brokers_before_the_start_over_a_power_cut() {
        let disk = FaultDisk::default();
        let settings = open(&disk);
        let name = "log.retention.ms";
        let (start, default) =
            (("5".to_owned(), Source::Start), ("604800000".to_owned(), Source::Default));
        assert_eq!(values(&settings, name), [start.clone(), default.clone()]);
        set(&settings, Level::AllBrokers, name, "6").unwrap();
        set(&settings, Level::Broker, name, "7").unwrap();
        let expected = [
            ("7".to_owned(), Source::Broker),
            ("6".to_owned(), Source::AllBrokers),
            start,
            default,
        ];
        assert_eq!(values(&settings, name), expected);
        assert_eq!(values(&open(&disk.power_cut(None)), name), expected);
    }

    #[test]
    fn settings_of_the_start_and_wrong_values_are_refused() {
        let settings = open(&FaultDisk::default());
        for (name, value) in [
            ("num.partitions", "3"),
            ("listeners", "PLAINTEXT://0.0.0.0:9092"),
            ("log.retention.ms", "soon"),
            ("log.retention.ms", "-2"),
            ("log.cleanup.policy", "burn"),
            (COMPACTION_RATE, "0"),
            (COMPACTION_RATE, "NaN"),
        ] {
            let refusal = set(&settings, Level::Broker, name, value).unwrap_err();
            assert_eq!(refusal.error, ResponseError::InvalidRequest, "{name}={value}");
        }
        assert_eq!(*settings.changed(), Changed::default());
    }

    #[test]
    fn numbers_are_what_was_set() {
        let settings = open(&FaultDisk::default());
        assert_eq!(settings.values().connections_per_address_max(), i32::MAX as usize);
        set(&settings, Level::Broker, CONNECTIONS_PER_ADDRESS, "3").unwrap();
        set(&settings, Level::Broker, COMPACTION_RATE, "1.5E6").unwrap();
        assert_eq!(settings.values().connections_per_address_max(), 3);
        assert_eq!(settings.values().compaction_bytes_per_second_max(), 1_500_000);
        assert_eq!(settings.values().compaction_memory_bytes(), 16 << 20);
    }
}
