//! A pipeline as it runs: every option decided, nothing optional left but what may truly be absent.
//!
//! `document` reads a file as it was written; `resolve` turns it into these types or into
//! diagnostics.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use gristmill_host::Grant;

/// One pipeline file, resolved.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Identity: cursors are kept under it. Renaming a pipeline starts it anew.
    pub name: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// SHA-256 of the file's text, in hexadecimal.
    pub file_hash: String,
    /// How changes of the file and its modules are noticed while it runs.
    pub watch: Watch,
    /// Where the rows come from.
    pub source: SourceConfig,
    /// In an order in which every stage comes after the one it reads from.
    pub stages: Vec<StageConfig>,
    pub sinks: Vec<SinkConfig>,
    /// What holds for the topic sinks after a crash.
    pub delivery: Delivery,
    /// Where rejected records go; present if any stage says `on_failure = "dead-letter"`.
    pub dead_letter: Option<DeadLetterConfig>,
    /// `[[test]]` tables, run by `gristmill test`.
    pub tests: Vec<TestConfig>,
}

/// How a running pipeline notices that its file or a module has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The system tells.
    Notify,
    /// By looking every second: for file systems of other machines, which tell nothing.
    Poll,
    /// Only when asked to reload.
    Off,
}

/// What feeds a stage or a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Upstream {
    /// The records of the source.
    Source,
    /// The output of the stage with this index in [`Pipeline::stages`].
    Stage(usize),
}

/// `[source]`.
#[derive(Clone)]
pub struct SourceConfig {
    pub topics: Topics,
    /// `host:port,…` of an external cluster; absent: the built-in broker.
    pub brokers: Option<String>,
    pub start: Start,
    pub trigger: Trigger,
    /// Most records of one micro-batch over all partitions; absent: no limit.
    pub max_offsets_per_trigger: Option<u64>,
    /// What to do when offsets that were not yet read are gone (retention, a topic made anew).
    pub on_data_loss: OnDataLoss,
    /// librdkafka properties, passed through. May hold secrets: never shown.
    pub kafka: BTreeMap<String, String>,
}

impl SourceConfig {
    /// The properties of [`SourceConfig::kafka`] that say how to reach the cluster, for every other
    /// client of it.
    pub fn connection_properties(&self) -> impl Iterator<Item = (&String, &String)> {
        let is_connection = |name: &str| {
            [
                "security.",
                "sasl.",
                "ssl.",
                "enable.ssl.",
                "https.",
                "broker.address.",
                "client.dns.",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        };
        self.kafka.iter().filter(move |(name, _)| is_connection(name))
    }
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceConfig")
            .field("topics", &self.topics)
            .field("brokers", &self.brokers)
            .field("start", &self.start)
            .field("trigger", &self.trigger)
            .field("max_offsets_per_trigger", &self.max_offsets_per_trigger)
            .field("on_data_loss", &self.on_data_loss)
            .field("kafka", &WithoutValues(&self.kafka))
            .finish()
    }
}

/// Shows the names of properties alone: any value may be a secret.
struct WithoutValues<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for WithoutValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    Names(Vec<String>),
    /// A regular expression that a topic's whole name must match.
    Pattern(String),
}

/// Where a pipeline without a cursor begins; new partitions always begin at the earliest offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// The earliest offset whose timestamp is at or after this one, in ms since 1970 UTC.
    Timestamp(i64),
    /// Topic → partition → offset (-2 earliest, -1 latest, as in Spark); unnamed partitions:
    /// earliest.
    Offsets(BTreeMap<String, BTreeMap<i32, i64>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The next micro-batch begins as soon as the last one is committed.
    Continuous,
    /// Everything that is there at the start, then exit.
    AvailableNow,
    /// A micro-batch begins every interval.
    Every(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Records, dead letters and source offsets in one Kafka transaction.
    ExactlyOnce,
    /// Records first, then the offsets; what lies between is sent again.
    AtLeastOnce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDataLoss {
    Stop,
    Continue,
}

/// `[[stage]]`.
#[derive(Debug, Clone)]
pub struct StageConfig {
    pub name: String,
    pub from: Upstream,
    pub module: ModuleRef,
    /// A candidate that gets the same rows, without effect.
    pub shadow: Option<ModuleRef>,
    /// `with`, as JSON; `{}` if absent.
    pub with: serde_json::Value,
    pub on_failure: OnFailure,
    /// Absent: no limit.
    pub max_failures: Option<MaxFailures>,
    pub limits: StageLimits,
    /// What the module may see of the world outside; its values are never shown.
    pub grant: Grant,
    /// Places in the file, for diagnostics that arise after reading (a module's own errors).
    pub place: StagePlace,
}

/// Byte ranges in the pipeline file.
#[derive(Debug, Clone, Default)]
pub struct StagePlace {
    pub name: std::ops::Range<usize>,
    pub module: std::ops::Range<usize>,
    /// Empty where it is absent.
    pub shadow: std::ops::Range<usize>,
    /// The whole `with` value.
    pub with: std::ops::Range<usize>,
    /// Dotted key of `with` → its key in the file.
    pub with_keys: BTreeMap<String, std::ops::Range<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleRef {
    /// A stage inside the binary, by name.
    Shipped(String),
    /// A file, made absolute against the pipeline file's folder.
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Stop,
    Skip,
    DeadLetter,
}

/// Rows that a stage may fail; one more stops the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxFailures {
    pub count: u64,
    /// Of the last so many rows that the stage was given; absent: of all since the run began.
    pub window_rows: Option<u64>,
}

/// `[stage.limits]`; absent values take the host's defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageLimits {
    pub memory_bytes_max: Option<u64>,
    pub batch_time_max: Option<Duration>,
    pub isolation_time_max: Option<Duration>,
    pub output_rows_max: Option<u64>,
    pub output_bytes_max: Option<u64>,
}

/// `[[sink]]`.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    pub name: String,
    pub from: Upstream,
    /// Columns to store, in this order; absent: every column but `value` and `headers`.
    pub columns: Option<Vec<String>>,
    pub kind: SinkKind,
    /// Byte range of the sink's name in the file.
    pub place: std::ops::Range<usize>,
    /// Byte ranges of `columns`' entries, `value`, `key`, `partition_by`: by what was written
    /// there.
    pub column_places: BTreeMap<String, std::ops::Range<usize>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SinkKind {
    Topic(TopicSinkConfig),
    Delta(DeltaSinkConfig),
}

#[derive(Clone, PartialEq)]
pub struct TopicSinkConfig {
    pub topic: String,
    /// `host:port,…`, the source's if the file names none; absent: the built-in broker, as for the
    /// source.
    pub brokers: Option<String>,
    /// A column whose bytes are the record's value; absent: a JSON object of the columns.
    pub value: Option<String>,
    /// A column whose bytes are the record's key; absent: no key. Default `key` where that column
    /// is there.
    pub key: Option<String>,
    /// Partitions of the topic if it has to be made (built-in broker only).
    pub partitions: Option<i32>,
    pub headers: RecordHeaders,
    /// librdkafka properties, passed through, with the source's of the connection where the cluster
    /// is the source's. May hold secrets: never shown.
    pub kafka: BTreeMap<String, String>,
}

impl fmt::Debug for TopicSinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicSinkConfig")
            .field("topic", &self.topic)
            .field("brokers", &self.brokers)
            .field("value", &self.value)
            .field("key", &self.key)
            .field("partitions", &self.partitions)
            .field("headers", &self.headers)
            .field("kafka", &WithoutValues(&self.kafka))
            .finish()
    }
}

/// Which headers a topic sink adds to its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordHeaders {
    None,
    /// The generation, and the hash of every module that the record came through.
    Modules,
}

#[derive(Clone, PartialEq)]
pub struct DeltaSinkConfig {
    /// A URI with a scheme, or an absolute path.
    pub table: String,
    pub partition_by: Vec<String>,
    pub commit_every: CommitEvery,
    /// Add columns that the table lacks; otherwise they are refused.
    pub schema_evolution: SchemaEvolution,
    /// Options of the object store. May hold secrets: never shown.
    pub storage: BTreeMap<String, String>,
}

impl fmt::Debug for DeltaSinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaSinkConfig")
            .field("table", &self.table)
            .field("partition_by", &self.partition_by)
            .field("commit_every", &self.commit_every)
            .field("schema_evolution", &self.schema_evolution)
            .field("storage", &WithoutValues(&self.storage))
            .finish()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaEvolution {
    Refuse,
    Add,
}

/// A table transaction is due when any of these is reached, and when the pipeline stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitEvery {
    pub time: Duration,
    pub rows: u64,
    pub bytes: u64,
}

impl Default for CommitEvery {
    fn default() -> CommitEvery {
        CommitEvery { time: Duration::from_secs(5), rows: u64::MAX, bytes: 128 << 20 }
    }
}

/// `[dead_letter]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterConfig {
    pub topic: String,
}

/// `[[test]]`: records in, rows expected per sink.
#[derive(Debug, Clone)]
pub struct TestConfig {
    pub name: String,
    pub input: Vec<TestRecord>,
    /// Sink name → rows, each a JSON object whose members must be met.
    pub expect: BTreeMap<String, Vec<serde_json::Value>>,
    /// Expected dead letters, as records' keys and values; absent: not checked.
    pub expect_dead_letters: Option<Vec<serde_json::Value>>,
    /// The pipeline stops, with this text in the error.
    pub expect_stop: Option<String>,
    /// Byte range of the test's name in the file.
    pub place: std::ops::Range<usize>,
}

#[derive(Debug, Clone, Default)]
pub struct TestRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub timestamp_ms: Option<i64>,
    pub headers: BTreeMap<String, String>,
}
