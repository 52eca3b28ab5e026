//! `gristmill table show`: what a Delta table holds, where its pipelines are, and its first rows.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use gristmill_connectors::delta_table::{self, TableDescription};
use serde_json::{Map, Value, json};

use crate::output::Output;
use crate::table::{self, Table};
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TableShowFlags {
    /// A folder, or a URI such as s3://bucket/table
    table: String,

    /// Rows to print
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,

    #[command(flatten)]
    storage: StorageFlags,
}

/// How the object store of a table is reached.
#[derive(clap::Args)]
pub struct StorageFlags {
    /// An option of the object store; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::topic_create::key_value)]
    storage: Vec<(String, String)>,
}

impl StorageFlags {
    pub fn options(&self) -> BTreeMap<String, String> {
        self.storage.iter().cloned().collect()
    }
}

/// Reads the newest version of the table; changes nothing.
pub async fn run(flags: &TableShowFlags, output: Output) -> Result<()> {
    let storage = flags.storage.options();
    let table = &flags.table;
    let described = delta_table::describe(table, &storage).await.map_err(UserError::from_error)?;
    let rows = delta_table::first_rows(table, &storage, flags.limit).await?;
    output.answer(text(table, &described, &rows)?, &document(table, &described, &rows)?)
}

fn text(table: &str, described: &TableDescription, rows: &[RecordBatch]) -> Result<String> {
    let count = described.rows.map_or("an unknown number of".to_owned(), |rows| rows.to_string());
    let mut text = format!(
        "Delta table {table}, version {}\n{count} rows in {} files, {}",
        described.version,
        described.files,
        indicatif::BinaryBytes(described.bytes),
    );
    if !described.partition_columns.is_empty() {
        text.push_str(&format!(", partitioned by {}", described.partition_columns.join(", ")));
    }
    if !described.cursors.is_empty() {
        let mut cursors = Table::new(["cursor", "next offset"]);
        for (id, offset) in &described.cursors {
            cursors.push([id.clone(), offset.to_string()]);
        }
        text.push_str(&format!("\n\n{}", cursors.render()));
    }
    if rows.iter().any(|batch| batch.num_rows() > 0) {
        text.push_str(&format!("\n\n{}", table::of_record_batches(rows)?.render()));
    }
    Ok(text)
}

fn document(table: &str, described: &TableDescription, rows: &[RecordBatch]) -> Result<Value> {
    let columns: Vec<Value> = described
        .schema
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": field.data_type().to_string() }))
        .collect();
    let shown: Vec<Value> =
        rows.iter().map(rows_as_json).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    Ok(json!({
        "table": table,
        "version": described.version,
        "rows": described.rows,
        "files": described.files,
        "bytes": described.bytes,
        "partitioned_by": described.partition_columns,
        "columns": columns,
        "cursors": described.cursors,
        "first_rows": shown,
    }))
}

/// Every value as its text; null stays null.
fn rows_as_json(batch: &RecordBatch) -> Result<Vec<Value>> {
    let options = FormatOptions::default();
    let schema = batch.schema();
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        for (index, row) in rows.iter_mut().enumerate() {
            let value = match arrow_array::Array::is_null(column, index) {
                true => Value::Null,
                false => formatter.value(index).to_string().into(),
            };
            row.insert(field.name().clone(), value);
        }
    }
    Ok(rows.into_iter().map(Value::Object).collect())
}
