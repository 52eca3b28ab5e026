//! `gristmill table history`: who did what to a Delta table, newest first.

use anyhow::Result;
use gristmill_connectors::delta_upkeep::{self, HistoryEntry};
use gristmill_engine::config::timestamp_text;
use serde_json::{Value, json};

use super::table_show::StorageFlags;
use crate::output::Output;
use crate::table::Table;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TableHistoryFlags {
    /// A folder, or a URI such as s3://bucket/table
    table: String,

    /// Versions to print: the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    #[command(flatten)]
    storage: StorageFlags,
}

/// Reads the log; changes nothing.
pub async fn run(flags: &TableHistoryFlags, output: Output) -> Result<()> {
    let entries = delta_upkeep::history(&flags.table, &flags.storage.options(), flags.limit).await;
    let entries = entries.map_err(UserError::from_error)?;
    let mut table = Table::new(["version", "time", "operation", "rows", "by"]);
    for entry in &entries {
        table.push([
            entry.version.to_string(),
            entry.timestamp_ms.map_or_else(String::new, time),
            entry.operation.clone(),
            entry.rows().unwrap_or_default(),
            entry.by(),
        ]);
    }
    let json: Vec<Value> = entries.iter().map(document).collect();
    output.answer(table.render(), &json.into())
}

/// To the second.
fn time(timestamp_ms: i64) -> String {
    timestamp_text(timestamp_ms.div_euclid(1_000).saturating_mul(1_000_000), true)
}

fn document(entry: &HistoryEntry) -> Value {
    json!({
        "version": entry.version,
        "timestamp": entry.timestamp_ms,
        "operation": entry.operation,
        "engine": entry.engine,
        "commit_info": entry.info,
    })
}
