//! A pipeline file as written: every value with its place, each right in itself.
//!
//! What two values say to each other (a `from` and a stage's name, say) is for `resolve`. A part
//! that is absent and one that is wrong are both `None` here: what is wrong has been reported.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::entry::{Entry, integer_value, type_name, written};
use super::pipeline::{
    CommitEvery, Delivery, MaxFailures, OnDataLoss, OnFailure, RecordHeaders, SchemaEvolution,
    StageLimits, Start, TestRecord, Trigger, Watch,
};
use super::quantity::hex_bytes;
use super::report::Report;
use super::shape;
use super::table::TableReader;

/// A value and the bytes of the file that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// A property that is passed through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub name: Written<String>,
    pub value: Written<String>,
}

/// The file.
pub(super) struct Document {
    pub name: Option<Written<String>>,
    pub source: Option<SourceTable>,
    pub stages: Vec<StageTable>,
    pub sinks: Vec<SinkTable>,
    pub delivery: Option<Delivery>,
    pub watch: Option<Watch>,
    pub dead_letter: Option<DeadLetterTable>,
    pub tests: Vec<TestTable>,
}

/// `[source]`.
pub(super) struct SourceTable {
    pub topics: Option<Vec<Written<String>>>,
    pub topic_pattern: Option<Written<String>>,
    pub brokers: Option<Written<String>>,
    pub start: Option<Written<StartWritten>>,
    pub trigger: Option<Trigger>,
    pub max_offsets_per_trigger: Option<u64>,
    pub on_data_loss: Option<OnDataLoss>,
    pub kafka: Vec<Property>,
}

/// A start with the places of the topics that it names.
pub(super) struct StartWritten {
    pub start: Start,
    pub topics: Vec<Written<String>>,
}

/// `[[stage]]`.
pub(super) struct StageTable {
    pub name: Option<Written<String>>,
    pub from: Option<Written<String>>,
    pub module: Option<Written<String>>,
    pub shadow: Option<Written<String>>,
    pub with: With,
    pub on_failure: Option<Written<OnFailure>>,
    pub max_failures: Option<Written<MaxFailures>>,
    pub limits: StageLimits,
    pub grant: GrantTable,
}

/// `[stage.grant]`.
#[derive(Default)]
pub(super) struct GrantTable {
    pub env: Vec<Written<String>>,
    pub clock: bool,
    pub random: bool,
}

/// A stage's settings.
pub(super) struct With {
    pub value: serde_json::Value,
    /// Empty where it is absent.
    pub span: Range<usize>,
    pub places: BTreeMap<String, Range<usize>>,
}

/// `[[sink]]`.
pub(super) struct SinkTable {
    pub name: Option<Written<String>>,
    pub from: Option<Written<String>>,
    pub topic: Option<Written<String>>,
    pub delta: Option<Written<String>>,
    pub columns: Option<Vec<Written<String>>>,
    pub partition_by: Vec<Written<String>>,
    pub commit_every: CommitEvery,
    pub schema_evolution: Option<SchemaEvolution>,
    pub storage: Vec<Property>,
    pub value: Option<Written<String>>,
    pub key: Option<Written<String>>,
    pub partitions: Option<i32>,
    pub headers: Option<RecordHeaders>,
    pub brokers: Option<Written<String>>,
    pub kafka: Vec<Property>,
}

/// `[dead_letter]`.
pub(super) struct DeadLetterTable {
    pub header: Range<usize>,
    pub topic: Option<Written<String>>,
}

/// `[[test]]`.
pub(super) struct TestTable {
    pub name: Option<Written<String>>,
    pub input: Vec<TestRecord>,
    pub expect: Vec<(Written<String>, Vec<serde_json::Value>)>,
    pub expect_dead_letters: Option<Vec<serde_json::Value>>,
    pub expect_stop: Option<String>,
}

/// Keys of a sink that only a table has, and those that only a topic has.
const TABLE_KEYS: [&str; 4] = ["partition_by", "commit_every", "schema_evolution", "storage"];
const TOPIC_KEYS: [&str; 6] = ["value", "key", "partitions", "headers", "brokers", "kafka"];

const OFFSETS_EXAMPLE: &str = "write for example `offsets = { orders = { 0 = 23 } }`";

/// Reads a file that is TOML.
pub(super) fn read(root: &DeTable<'_>, report: &Report<'_>) -> Document {
    let root = TableReader::new(&shape::PIPELINE, root, 0..0, report);
    Document {
        name: root.text("name"),
        source: root.table("source").map(|table| read_source(&table)),
        stages: root.tables("stage").iter().map(read_stage).collect(),
        sinks: root.tables("sink").iter().map(read_sink).collect(),
        delivery: root.choice("delivery", delivery).map(|choice| choice.value),
        watch: root.choice("watch", watch).map(|choice| choice.value),
        dead_letter: root.table("dead_letter").map(|table| DeadLetterTable {
            header: table.span.clone(),
            topic: table.text("topic"),
        }),
        tests: root.tables("test").iter().map(|table| read_test(table, report)).collect(),
    }
}

fn read_source(table: &TableReader<'_, '_>) -> SourceTable {
    table.expect_one_of(["topics", "topic_pattern"]);
    SourceTable {
        topics: table.texts("topics"),
        topic_pattern: table.text("topic_pattern"),
        brokers: table.text("brokers"),
        start: read_start(table),
        trigger: read_trigger(table),
        max_offsets_per_trigger: table.count("max_offsets_per_trigger").map(|count| count.value),
        on_data_loss: table.choice("on_data_loss", on_data_loss).map(|choice| choice.value),
        kafka: table.properties("kafka"),
    }
}

fn read_start(source: &TableReader<'_, '_>) -> Option<Written<StartWritten>> {
    let entry = source.entry("start")?;
    if let DeValue::String(_) = entry.value.get_ref() {
        let start = entry.word(&entry.string()?, start_word)?;
        let value = StartWritten { start: start.value, topics: Vec::new() };
        return Some(Written { value, span: start.span });
    }
    let table = source.table("start")?;
    table.expect_one_of(["timestamp", "offsets"]);
    let value = match table.timestamp("timestamp") {
        Some(time) => StartWritten { start: Start::Timestamp(time.value), topics: Vec::new() },
        None => read_offsets(&table)?,
    };
    Some(Written { value, span: table.span })
}

fn read_offsets(start: &TableReader<'_, '_>) -> Option<StartWritten> {
    let entry = start.entry("offsets")?;
    let DeValue::Table(topics) = entry.value.get_ref() else { return entry.wrong_type() };
    let read = |(topic, partitions): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        Some((topic.get_ref().to_string(), read_partitions(partitions, entry.report)?))
    };
    // All are read before the first wrong one counts, so that all mistakes are told.
    let offsets: Vec<_> = topics.iter().map(read).collect();
    let offsets = offsets.into_iter().collect::<Option<_>>()?;
    let topics = topics.keys().map(written).collect();
    Some(StartWritten { start: Start::Offsets(offsets), topics })
}

fn read_partitions(value: &Spanned<DeValue<'_>>, report: &Report) -> Option<BTreeMap<i32, i64>> {
    let DeValue::Table(partitions) = value.get_ref() else {
        let message =
            format!("expected partitions and offsets, not {}", type_name(value.get_ref()));
        report.error_with_help(value.span(), message, OFFSETS_EXAMPLE);
        return None;
    };
    let read = |(partition, offset): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let partition = read_partition(&written(partition), report);
        let offset = read_offset(offset, report);
        Some((partition?, offset?))
    };
    let partitions: Vec<_> = partitions.iter().map(read).collect();
    partitions.into_iter().collect()
}

fn read_partition(written: &Written<String>, report: &Report) -> Option<i32> {
    let is_number = written.value.bytes().all(|byte| byte.is_ascii_digit());
    let number = written.value.parse().ok().filter(|_| is_number);
    if number.is_none() {
        let message = format!("`{}` is not the number of a partition", written.value);
        report.error_with_help(written.span.clone(), message, OFFSETS_EXAMPLE);
    }
    number
}

/// -2 stands for the earliest offset, -1 for the latest, as in Spark.
fn read_offset(value: &Spanned<DeValue<'_>>, report: &Report) -> Option<i64> {
    let number = value.get_ref().as_integer().and_then(integer_value);
    let offset = number.and_then(|n| i64::try_from(n).ok()).filter(|offset| *offset >= -2);
    if offset.is_none() {
        let help = "write a number from 0, -2 for the earliest or -1 for the latest";
        report.error_with_help(value.span(), "this is not an offset", help);
    }
    offset
}

fn read_trigger(source: &TableReader<'_, '_>) -> Option<Trigger> {
    let entry = source.entry("trigger")?;
    let text = entry.string()?;
    if text.value.starts_with(|c: char| c.is_ascii_digit()) {
        return entry.duration(&text).map(|interval| Trigger::Every(interval.value));
    }
    entry.word(&text, trigger_word).map(|trigger| trigger.value)
}

fn read_stage(table: &TableReader<'_, '_>) -> StageTable {
    StageTable {
        name: table.text("name"),
        from: table.text("from"),
        module: table.text("module"),
        shadow: table.text("shadow"),
        with: read_with(table),
        on_failure: table.choice("on_failure", on_failure),
        max_failures: read_max_failures(table),
        limits: table.table("limits").map(|limits| read_limits(&limits)).unwrap_or_default(),
        grant: table.table("grant").map(|grant| read_grant(&grant)).unwrap_or_default(),
    }
}

fn read_grant(table: &TableReader<'_, '_>) -> GrantTable {
    GrantTable {
        env: table.texts("env").unwrap_or_default(),
        clock: table.flag("clock").unwrap_or_default(),
        random: table.flag("random").unwrap_or_default(),
    }
}

fn read_with(stage: &TableReader<'_, '_>) -> With {
    match stage.object("with") {
        Some((with, reader)) => With { value: with.value, span: with.span, places: reader.places },
        None => With {
            value: serde_json::Value::Object(serde_json::Map::new()),
            span: 0..0,
            places: BTreeMap::new(),
        },
    }
}

fn read_max_failures(stage: &TableReader<'_, '_>) -> Option<Written<MaxFailures>> {
    let entry = stage.entry("max_failures")?;
    let span = entry.value.span();
    let value = match entry.value.get_ref() {
        DeValue::Integer(_) => MaxFailures { count: entry.count()?.value, window_rows: None },
        DeValue::String(_) => {
            share_of(&entry, &entry.share(&entry.string()?)?, shape::FAILURE_WINDOW_ROWS)?
        }
        _ => read_max_failures_table(&stage.table("max_failures")?)?,
    };
    Some(Written { value, span })
}

fn read_max_failures_table(table: &TableReader<'_, '_>) -> Option<MaxFailures> {
    table.expect_one_of(["count", "share"]);
    let window_rows = table.count("window_rows").map(|rows| rows.value);
    if let Some(count) = table.count("count") {
        return Some(MaxFailures { count: count.value, window_rows });
    }
    let entry = table.entry("share")?;
    let share = entry.share(&entry.string()?)?;
    share_of(&entry, &share, window_rows.unwrap_or(shape::FAILURE_WINDOW_ROWS))
}

/// `share`: in parts of a million.
fn share_of(entry: &Entry<'_, '_>, share: &Written<u32>, window_rows: u64) -> Option<MaxFailures> {
    let count = window_rows.saturating_mul(u64::from(share.value)) / 1_000_000;
    if count == 0 {
        let message = format!("this share of {window_rows} rows is less than one row");
        let help = "write a larger share or a larger `window_rows`; where nothing may fail, take \
                    `max_failures` away and write `on_failure = \"stop\"`";
        entry.report.error_with_help(share.span.clone(), message, help);
        return None;
    }
    Some(MaxFailures { count, window_rows: Some(window_rows) })
}

fn read_limits(table: &TableReader<'_, '_>) -> StageLimits {
    StageLimits {
        memory_bytes_max: table.size("memory").map(|size| size.value),
        batch_time_max: table.duration("batch_time").map(|time| time.value),
        isolation_time_max: table.duration("isolation_time").map(|time| time.value),
        output_rows_max: table.count("output_rows").map(|count| count.value),
        output_bytes_max: table.size("output_bytes").map(|size| size.value),
    }
}

fn read_sink(table: &TableReader<'_, '_>) -> SinkTable {
    refuse_what_does_not_fit(table);
    SinkTable {
        name: table.text("name"),
        from: table.text("from"),
        topic: table.text("topic"),
        delta: table.text("delta"),
        columns: table.texts("columns"),
        partition_by: table.texts("partition_by").unwrap_or_default(),
        commit_every: read_commit_every(table).unwrap_or_default(),
        schema_evolution: table
            .choice("schema_evolution", schema_evolution)
            .map(|choice| choice.value),
        storage: table.properties("storage"),
        value: table.text("value"),
        key: table.text("key"),
        partitions: table.count("partitions").and_then(|count| i32::try_from(count.value).ok()),
        headers: table.choice("headers", record_headers).map(|choice| choice.value),
        brokers: table.text("brokers"),
        kafka: table.properties("kafka"),
    }
}

fn refuse_what_does_not_fit(sink: &TableReader<'_, '_>) {
    sink.expect_one_of(["delta", "topic"]);
    match (sink.has("delta"), sink.has("topic")) {
        (true, false) => sink.refuse(
            &TOPIC_KEYS,
            "belongs to a topic, and this sink writes to a table",
            "take it away, or write `topic` in place of `delta`",
        ),
        (false, true) => sink.refuse(
            &TABLE_KEYS,
            "belongs to a table, and this sink writes to a topic",
            "take it away, or write `delta` in place of `topic`",
        ),
        _ => {}
    }
    if sink.has("value") && sink.has("columns") {
        sink.refuse(
            &["columns"],
            "has no meaning beside `value`, which is the whole record",
            "take one of them away",
        );
    }
}

fn read_commit_every(sink: &TableReader<'_, '_>) -> Option<CommitEvery> {
    let entry = sink.entry("commit_every")?;
    let default = CommitEvery::default();
    if let DeValue::String(_) = entry.value.get_ref() {
        let time = entry.duration(&entry.string()?)?;
        return Some(CommitEvery { time: time.value, ..default });
    }
    let table = sink.table("commit_every")?;
    Some(CommitEvery {
        time: table.duration("time").map_or(default.time, |time| time.value),
        rows: table.count("rows").map_or(default.rows, |rows| rows.value),
        bytes: table.size("bytes").map_or(default.bytes, |bytes| bytes.value),
    })
}

fn read_test(table: &TableReader<'_, '_>, report: &Report) -> TestTable {
    let expects = ["expect", "expect_dead_letters", "expect_stop"];
    if !table.is_broken() && !expects.iter().any(|key| table.has(key)) {
        let help = "add `expect = { … }`, the rows of each sink";
        report.error_with_help(table.span.clone(), "[[test]] expects nothing", help);
    }
    TestTable {
        name: table.text("name"),
        input: table.tables("input").iter().map(read_test_record).collect(),
        expect: table.objects_by_sink("expect").unwrap_or_default(),
        expect_dead_letters: table.objects("expect_dead_letters"),
        expect_stop: table.text("expect_stop").map(|text| text.value),
    }
}

fn read_test_record(table: &TableReader<'_, '_>) -> TestRecord {
    let header = |property: Property| (property.name.value, property.value.value);
    TestRecord {
        key: read_bytes(table, "key"),
        value: read_bytes(table, "value"),
        topic: table.text("topic").map(|topic| topic.value),
        partition: table.count("partition").and_then(|count| i32::try_from(count.value).ok()),
        offset: table.count("offset").and_then(|count| i64::try_from(count.value).ok()),
        timestamp_ms: table.timestamp("timestamp").map(|time| time.value),
        headers: table.properties("headers").into_iter().map(header).collect(),
    }
}

/// Text as it is, or `{ hex = "00ff" }`.
fn read_bytes(record: &TableReader<'_, '_>, key: &str) -> Option<Vec<u8>> {
    let entry = record.entry(key)?;
    if let DeValue::String(text) = entry.value.get_ref() {
        return Some(text.as_bytes().to_vec());
    }
    let hex = record.table(key)?.text("hex")?;
    let bytes = hex_bytes(&hex.value);
    if bytes.is_none() {
        let help = "write two of the digits 0 to 9 and a to f for each byte";
        entry.report.error_with_help(hex.span, "this is not hexadecimal", help);
    }
    bytes
}

fn start_word(word: &str) -> Option<Start> {
    match word {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        _ => None,
    }
}

fn trigger_word(word: &str) -> Option<Trigger> {
    match word {
        "continuous" => Some(Trigger::Continuous),
        "available-now" => Some(Trigger::AvailableNow),
        _ => None,
    }
}

fn delivery(word: &str) -> Option<Delivery> {
    match word {
        "exactly-once" => Some(Delivery::ExactlyOnce),
        "at-least-once" => Some(Delivery::AtLeastOnce),
        _ => None,
    }
}

fn watch(word: &str) -> Option<Watch> {
    match word {
        "notify" => Some(Watch::Notify),
        "poll" => Some(Watch::Poll),
        "off" => Some(Watch::Off),
        _ => None,
    }
}

fn record_headers(word: &str) -> Option<RecordHeaders> {
    match word {
        "none" => Some(RecordHeaders::None),
        "modules" => Some(RecordHeaders::Modules),
        _ => None,
    }
}

fn on_data_loss(word: &str) -> Option<OnDataLoss> {
    match word {
        "stop" => Some(OnDataLoss::Stop),
        "continue" => Some(OnDataLoss::Continue),
        _ => None,
    }
}

fn on_failure(word: &str) -> Option<OnFailure> {
    match word {
        "stop" => Some(OnFailure::Stop),
        "skip" => Some(OnFailure::Skip),
        "dead-letter" => Some(OnFailure::DeadLetter),
        _ => None,
    }
}

fn schema_evolution(word: &str) -> Option<SchemaEvolution> {
    match word {
        "refuse" => Some(SchemaEvolution::Refuse),
        "add" => Some(SchemaEvolution::Add),
        _ => None,
    }
}
