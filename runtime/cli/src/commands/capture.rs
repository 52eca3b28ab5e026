//! `gristmill capture PIPELINE`: the newest records of a pipeline's topics and what its stages make of them, as a
//! `[[test]]` to be put into its file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use gristmill_connectors::Cluster;
use gristmill_connectors::admin;
use gristmill_connectors::stored_records::{Begin, StoredRecord, StoredRecords};
use gristmill_engine::config::{SourceConfig, TestRecord, Topics, timestamp_text};
use gristmill_engine::plan::Plan;
use gristmill_engine::test::{self, Outcome, bytes_value};
use gristmill_engine::tree::StageTree;

use serde_json::{Map, Value, json};

use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::pipelines;
use crate::toml_text::{inline_table, string};
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct CaptureFlags {
    /// A pipeline file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,

    /// How many records: the newest
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,

    /// Name of the test
    #[arg(long, value_name = "TEXT", default_value = "captured records")]
    name: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Reads, runs the stages here, prints. Nothing is written, and a pipeline that runs does not notice.
pub async fn run(flags: &CaptureFlags, output: Output) -> Result<()> {
    let host = pipelines::host()?;
    let plan = Arc::new(pipelines::plan_one(&host, &flags.pipeline)?);
    let records = newest(flags, &plan.pipeline.source).await?;
    let input: Vec<TestRecord> = records.iter().map(test_record).collect();
    let mut tree = StageTree::new(plan.clone());
    let outcome = tokio::task::block_in_place(|| test::outcome(&plan, &mut tree, &input));
    let text = test_text(&flags.name, &plan, &records, &outcome);
    output.answer(&text, &json!({ "records": records.len(), "test": text }))
}

/// The newest records of all partitions by their time, in the order of it.
///
/// Offsets are more than records: transactions and compaction leave some empty. So it is looked back further until there
/// are enough, within bounds.
async fn newest(flags: &CaptureFlags, source: &SourceConfig) -> Result<Vec<StoredRecord>> {
    const LOOK_BACK: [i64; 4] = [2, 8, 32, 128];
    let cluster = pipelines::cluster(source, &flags.broker)?;
    let topics = topics(&cluster, &source.topics).await?;
    let count = usize::from(flags.count);
    let mut records = Vec::new();
    for factor in LOOK_BACK {
        records = last_offsets(&cluster, &topics, factor * i64::from(flags.count)).await?;
        if records.len() >= count {
            break;
        }
    }
    // Stable: records of one time stay in the order of their offsets.
    records.sort_by_key(|record| record.timestamp_ms);
    records.drain(..records.len().saturating_sub(count));
    if records.is_empty() {
        return Err(
            UserError::new("the topics hold no records: there is nothing to capture").into()
        );
    }
    Ok(records)
}

/// The records of the last `offsets` offsets of each partition.
async fn last_offsets(
    cluster: &Cluster,
    topics: &[String],
    offsets: i64,
) -> Result<Vec<StoredRecord>> {
    let mut records = Vec::new();
    for topic in topics {
        let opened = StoredRecords::open(cluster, topic, |_| Begin::BeforeEnd(offsets)).await;
        let mut stored = opened.map_err(UserError::from_error)?;
        tokio::task::block_in_place(|| -> Result<()> {
            while let Some(record) = stored.read()? {
                records.push(record);
            }
            Ok(())
        })?;
    }
    Ok(records)
}

async fn topics(cluster: &Cluster, topics: &Topics) -> Result<Vec<String>> {
    if let Topics::Names(names) = topics {
        return Ok(names.clone());
    }
    let all = admin::list_topics(cluster).await.map_err(UserError::from_error)?;
    let read = all.into_iter().filter(|topic| !topic.internal && topics.has(&topic.name));
    Ok(read.map(|topic| topic.name).collect())
}

fn test_record(record: &StoredRecord) -> TestRecord {
    let text = |(name, value): &(String, Option<Vec<u8>>)| {
        Some((name.clone(), String::from_utf8(value.clone()?).ok()?))
    };
    TestRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        topic: Some(record.partition.topic.to_string()),
        partition: Some(record.partition.partition),
        offset: Some(record.offset),
        timestamp_ms: record.timestamp_ms,
        headers: record.headers.iter().filter_map(text).collect(),
    }
}

fn test_text(name: &str, plan: &Plan, records: &[StoredRecord], outcome: &Outcome) -> String {
    let input: Vec<String> = records.iter().map(|record| input_line(plan, record)).collect();
    let mut text = format!("[[test]]\nname = {}\n{}", string(name), list("input", &input));
    if let Some(error) = &outcome.stopped {
        text.push_str(&format!("\nexpect_stop = {}", string(error)));
        return text;
    }
    if !outcome.letters.is_empty() {
        let letters: Vec<String> = outcome
            .letters
            .iter()
            .map(|letter| {
                let mut members = bytes_members(&letter.key, &letter.value);
                members.insert("stage".to_string(), letter.stage.as_ref().into());
                row_line(&members)
            })
            .collect();
        text.push_str(&format!("\n{}", list("expect_dead_letters", &letters)));
    }
    text.push_str("\n\n[test.expect]");
    for (sink, rows) in plan.sinks.iter().zip(&outcome.sinks) {
        let rows: Vec<String> = rows.iter().map(row_line).collect();
        text.push_str(&format!("\n{}", list(&sink.name, &rows)));
    }
    text
}

/// Key and value first; a time as TOML's own, which JSON has not.
fn input_line(plan: &Plan, record: &StoredRecord) -> String {
    let (first, topic) = (first_topic(plan), record.partition.topic.as_ref());
    let mut members = bytes_members(&record.key, &record.value);
    let mut parts: Vec<String> = ["key", "value"]
        .into_iter()
        .filter_map(|name| Some(member(name, &members.remove(name)?)))
        .collect();
    if first != Some(topic) {
        parts.push(member("topic", &topic.into()));
    }
    parts.push(member("partition", &record.partition.partition.into()));
    parts.push(member("offset", &record.offset.into()));
    if let Some(time_ms) = record.timestamp_ms {
        let time = timestamp_text(time_ms.saturating_mul(1_000), true);
        parts.push(format!("timestamp = {time}"));
    }
    let headers = test_record(record).headers;
    let all_written = headers.len() == record.headers.len();
    if !headers.is_empty() {
        parts.push(member("headers", &json!(headers)));
    }
    let comment = if all_written { "" } else { " # without headers that are repeated or no text" };
    format!("{{ {} }},{comment}", parts.join(", "))
}

fn member(name: &str, value: &Value) -> String {
    let table = inline_table(&Map::from_iter([(name.to_string(), value.clone())]));
    let inside = table.strip_prefix("{ ").and_then(|table| table.strip_suffix(" }"));
    inside.unwrap_or_default().to_string()
}

fn first_topic(plan: &Plan) -> Option<&str> {
    match &plan.pipeline.source.topics {
        Topics::Names(names) => names.first().map(String::as_str),
        Topics::Pattern(_) => None,
    }
}

fn row_line(row: &Map<String, Value>) -> String {
    format!("{},", inline_table(row))
}

fn bytes_members(key: &Option<Vec<u8>>, value: &Option<Vec<u8>>) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, bytes) in [("key", key), ("value", value)] {
        if let Some(bytes) = bytes {
            members.insert(name.to_string(), bytes_value(bytes));
        }
    }
    members
}

fn list(name: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return format!("{name} = []");
    }
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{name} = [\n{lines}]")
}
