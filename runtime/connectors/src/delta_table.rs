//! A Delta table as people look at it: what it holds, which pipelines write it, its first rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use deltalake::DeltaTable;
use deltalake::datafile::DataFileReader;
use deltalake::datafile::reader::ParquetFileReader;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{CommitInfo, LogicalFileView};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use crate::delta_location::Location;
use crate::delta_log;
use crate::delta_schema;

/// A table at its newest version.
#[derive(Debug, Clone)]
pub struct TableDescription {
    pub version: u64,
    /// From the files' statistics; absent if a file has none.
    pub rows: Option<u64>,
    pub files: usize,
    pub bytes: u64,
    pub schema: SchemaRef,
    pub partition_columns: Vec<String>,
    /// Application id (`gristmill:PIPELINE:SINK:TOPIC:PARTITION`) → next offset.
    pub cursors: BTreeMap<String, i64>,
}

/// Whether there is a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Table { version: u64 },
    Absent,
}

/// Looks for a table that a pipeline writes, or will make. Creates nothing.
///
/// Errors: the place holds something else, cannot be reached, or the table cannot be written by us.
pub async fn look(table: &str, storage: &BTreeMap<String, String>) -> Result<Look> {
    let Some(location) = Location::to_be_made(table, storage)? else { return Ok(Look::Absent) };
    let there = location.log_store.is_delta_table_location().await;
    if !there.with_context(|| format!("cannot look for a table at `{table}`"))? {
        return Ok(Look::Absent);
    }
    let (_, loaded) = load(table, storage).await?;
    let snapshot = loaded.snapshot()?;
    delta_schema::check_table(snapshot.protocol(), snapshot.metadata())
        .with_context(|| format!("cannot write to the Delta table `{table}`"))?;
    Ok(Look::Table { version: snapshot.version() })
}

/// Describes the table in a folder or at a URI. Creates nothing.
///
/// Errors: there is no table.
pub async fn describe(table: &str, storage: &BTreeMap<String, String>) -> Result<TableDescription> {
    LoadedTable::load(table, storage).await?.describe().await
}

/// The first `count` rows, oldest files first, in the table's schema.
///
/// Errors: there is no table; it has deletion vectors or mapped columns, which this simple reader
/// does not apply.
pub async fn first_rows(
    table: &str,
    storage: &BTreeMap<String, String>,
    count: usize,
) -> Result<Vec<RecordBatch>> {
    LoadedTable::load(table, storage).await?.first_rows(count).await
}

/// A table whose log has been read once, for all questions about that version.
pub struct LoadedTable {
    name: String,
    location: Location,
    loaded: DeltaTable,
}

/// A data file of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// From the table's folder.
    pub path: String,
    pub bytes: u64,
    /// From its statistics.
    pub rows: Option<u64>,
    /// When it was written, in ms since 1970 UTC.
    pub modified_ms: i64,
    /// Partition column → value, as the log writes it.
    pub partition: BTreeMap<String, Option<String>>,
}

impl LoadedTable {
    /// The newest version of the table in a folder or at a URI. Creates nothing.
    ///
    /// Errors: there is no table.
    pub async fn load(table: &str, storage: &BTreeMap<String, String>) -> Result<LoadedTable> {
        let (location, loaded) = load(table, storage).await?;
        Ok(LoadedTable { name: table.to_string(), location, loaded })
    }

    pub async fn describe(&self) -> Result<TableDescription> {
        let snapshot = self.loaded.snapshot()?;
        let (mut rows, mut files, mut bytes) = (Some(0), 0, 0);
        for file in snapshot.log_data().iter() {
            rows = rows.zip(rows_of(&file)).map(|(sum, records)| sum + records);
            files += 1;
            bytes += u64::try_from(file.size()).unwrap_or(0);
        }
        let version = snapshot.version();
        let log = self.location.log_store.as_ref();
        let transactions = delta_log::read_transactions(log, version).await?;
        let ours = transactions.into_iter().filter(|(app_id, _)| app_id.starts_with("gristmill:"));
        Ok(TableDescription {
            version,
            rows,
            files,
            bytes,
            schema: schema(&self.loaded)?,
            partition_columns: snapshot.metadata().partition_columns().to_vec(),
            cursors: ours.collect(),
        })
    }

    /// The newest data files, at most so many, newest first.
    pub fn newest_files(&self, count: usize) -> Result<Vec<TableFile>> {
        let snapshot = self.loaded.snapshot()?;
        let mut files: Vec<_> = snapshot.log_data().iter().collect();
        files.sort_by_cached_key(|file| {
            std::cmp::Reverse((file.modification_time(), file.path().into_owned()))
        });
        files.truncate(count);
        let file = |file: &LogicalFileView| TableFile {
            path: file.path().into_owned(),
            bytes: u64::try_from(file.size()).unwrap_or(0),
            rows: rows_of(file),
            modified_ms: file.modification_time(),
            partition: file.partition_values_map().into_iter().collect(),
        };
        Ok(files.iter().map(file).collect())
    }

    /// As [`first_rows`].
    pub async fn first_rows(&self, count: usize) -> Result<Vec<RecordBatch>> {
        let table = &self.name;
        let schema = nullable_schema(&self.loaded)?;
        let snapshot = self.loaded.snapshot()?;
        if snapshot.metadata().configuration().contains_key("delta.columnMapping.mode") {
            bail!("table `{table}` has mapped columns, which cannot be shown yet");
        }
        let mut files: Vec<_> = snapshot.log_data().iter().collect();
        files.sort_by_key(|file| (file.modification_time(), file.path().into_owned()));
        let (mut batches, mut wanted) = (Vec::new(), count);
        for file in &files {
            if wanted == 0 {
                break;
            }
            if file.deletion_vector_descriptor().is_some() {
                bail!("table `{table}` has deletion vectors, which cannot be shown yet");
            }
            let name = file.path().into_owned();
            let rows = read_file(&self.loaded, file, &schema, wanted).await;
            for rows in rows.with_context(|| format!("cannot read the data file `{name}`"))? {
                wanted -= rows.num_rows();
                batches.push(rows);
            }
        }
        Ok(batches)
    }

    /// The newest versions, newest first; those whose log entries were cleaned up are not told.
    pub async fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>> {
        let newest = self.loaded.snapshot()?.version();
        let infos: Vec<_> = self.loaded.history(Some(limit)).take(limit).try_collect().await?;
        (0..=newest).rev().zip(infos).map(HistoryEntry::new).collect()
    }
}

fn rows_of(file: &LogicalFileView) -> Option<u64> {
    file.num_records().and_then(|records| u64::try_from(records).ok())
}

/// One version of a table.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    pub version: u64,
    /// In ms since 1970 UTC.
    pub timestamp_ms: Option<i64>,
    /// In Delta's words: `WRITE`, `STREAMING UPDATE` and so on.
    pub operation: String,
    pub engine: Option<String>,
    /// The whole `commitInfo`.
    pub info: Value,
}

impl HistoryEntry {
    fn new((version, info): (u64, CommitInfo)) -> Result<HistoryEntry> {
        Ok(HistoryEntry {
            version,
            timestamp_ms: info.timestamp,
            operation: info.operation.clone().unwrap_or_else(|| "unknown".to_string()),
            engine: info.engine_info.clone(),
            info: serde_json::to_value(&info)?,
        })
    }

    /// Rows that were written, where the writer says.
    pub fn rows(&self) -> Option<String> {
        let metrics = self.info.get("operationMetrics")?;
        match metrics.get("numOutputRows")? {
            Value::String(rows) => Some(rows.clone()),
            rows => Some(rows.to_string()),
        }
    }

    /// The pipeline and the sink, else the engine.
    pub fn by(&self) -> String {
        let ours = |name: &str| self.info.get("gristmill")?.get(name)?.as_str();
        match ours("pipeline").zip(ours("sink")) {
            Some((pipeline, sink)) => format!("pipeline `{pipeline}`, sink `{sink}`"),
            None => self.engine.clone().unwrap_or_default(),
        }
    }
}

pub(crate) async fn load(
    table: &str,
    storage: &BTreeMap<String, String>,
) -> Result<(Location, DeltaTable)> {
    let location = Location::existing(table, storage).await?;
    let mut loaded = DeltaTable::new(location.log_store.clone());
    loaded.load().await.with_context(|| format!("cannot open the Delta table `{table}`"))?;
    Ok((location, loaded))
}

pub(crate) fn schema(table: &DeltaTable) -> Result<SchemaRef> {
    let schema: Schema = table.snapshot()?.schema().as_ref().try_into_arrow()?;
    Ok(Arc::new(schema))
}

/// A partition column that is never null is not in the files: all are nullable while reading.
pub(crate) fn nullable_schema(table: &DeltaTable) -> Result<SchemaRef> {
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let fields: Vec<_> = schema(table)?.fields().iter().map(nullable).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// At most `limit` rows of one file. Partition columns stand in the log, not in the file.
async fn read_file(
    table: &DeltaTable,
    file: &LogicalFileView,
    schema: &SchemaRef,
    limit: usize,
) -> Result<Vec<RecordBatch>> {
    let reader = ParquetFileReader::new(table.object_store());
    let mut stream = reader.read_file(file.object_store_path()).await?;
    let (mut read, mut wanted) = (Vec::new(), limit);
    while wanted > 0
        && let Some(rows) = stream.try_next().await?
    {
        let rows = rows.slice(0, rows.num_rows().min(wanted));
        wanted -= rows.num_rows();
        read.push(rows);
    }
    read.iter().map(|rows| fitted(table, file, rows, schema)).collect()
}

/// Rows of a file as `schema` has them: columns that the file lacks are null, those of the partition are as the log says.
pub(crate) fn fitted(
    table: &DeltaTable,
    file: &LogicalFileView,
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let partition_columns = table.snapshot()?.metadata().partition_columns();
    let fit = delta_schema::fit(&rows.schema(), schema)
        .map_err(|differences| anyhow::anyhow!("{}", differences.conflicts.join("; ")))?;
    with_partition_values(&fit.apply(rows)?, partition_columns, &file.partition_values_map())
}

fn with_partition_values(
    rows: &RecordBatch,
    names: &[String],
    values: &std::collections::HashMap<String, Option<String>>,
) -> Result<RecordBatch> {
    let columns = rows.schema_ref().fields().iter().zip(rows.columns()).map(|(field, column)| {
        if !names.contains(field.name()) {
            return Ok(column.clone());
        }
        let value = values.get(field.name()).and_then(Option::as_deref);
        repeated(value, field.data_type(), rows.num_rows())
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// A partition value as the log writes it, in every row. Empty means null (Delta protocol,
/// "Partition Value Serialization").
fn repeated(value: Option<&str>, data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    match value.filter(|text| !text.is_empty()) {
        Some(text) => {
            let text = StringArray::from(vec![text; rows]);
            Ok(arrow_cast::cast(&text, data_type)?)
        }
        None => Ok(new_null_array(data_type, rows)),
    }
}
