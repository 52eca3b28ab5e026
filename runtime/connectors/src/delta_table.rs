//! A Delta table as people look at it: what it holds, which pipelines write it, its first rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use deltalake::DeltaTable;
use deltalake::datafile::DataFileReader;
use deltalake::datafile::reader::ParquetFileReader;
use deltalake::kernel::LogicalFileView;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use futures::TryStreamExt;

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

/// Describes the table in a folder or at a URI. Creates nothing.
///
/// Errors: there is no table.
pub async fn describe(table: &str, storage: &BTreeMap<String, String>) -> Result<TableDescription> {
    let (location, loaded) = load(table, storage).await?;
    let snapshot = loaded.snapshot()?;
    let (mut rows, mut files, mut bytes) = (Some(0), 0, 0);
    for file in snapshot.log_data().iter() {
        let records = file.num_records().and_then(|records| u64::try_from(records).ok());
        rows = rows.zip(records).map(|(sum, records)| sum + records);
        files += 1;
        bytes += u64::try_from(file.size()).unwrap_or(0);
    }
    let version = snapshot.version();
    let transactions = delta_log::read_transactions(location.log_store.as_ref(), version).await?;
    let ours = transactions.into_iter().filter(|(app_id, _)| app_id.starts_with("gristmill:"));
    Ok(TableDescription {
        version,
        rows,
        files,
        bytes,
        schema: schema(&loaded)?,
        partition_columns: snapshot.metadata().partition_columns().to_vec(),
        cursors: ours.collect(),
    })
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
    let (_, loaded) = load(table, storage).await?;
    // A partition column that is never null is not in the files: all are nullable while reading.
    let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
    let fields: Vec<_> = schema(&loaded)?.fields().iter().map(nullable).collect();
    let schema = Arc::new(Schema::new(fields));
    let snapshot = loaded.snapshot()?;
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
        let rows = read_file(&loaded, file, &schema, wanted).await;
        for rows in rows.with_context(|| format!("cannot read the data file `{name}`"))? {
            wanted -= rows.num_rows();
            batches.push(rows);
        }
    }
    Ok(batches)
}

async fn load(table: &str, storage: &BTreeMap<String, String>) -> Result<(Location, DeltaTable)> {
    let location = Location::existing(table, storage)?;
    let mut loaded = DeltaTable::new(location.log_store.clone());
    loaded.load().await.with_context(|| format!("cannot open the Delta table `{table}`"))?;
    Ok((location, loaded))
}

fn schema(table: &DeltaTable) -> Result<SchemaRef> {
    let schema: Schema = table.snapshot()?.schema().as_ref().try_into_arrow()?;
    Ok(Arc::new(schema))
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
    let partition_values = file.partition_values_map();
    let partition_columns = table.snapshot()?.metadata().partition_columns();
    let mut batches = Vec::new();
    for rows in read {
        let fit = delta_schema::fit(&rows.schema(), schema)
            .map_err(|differences| anyhow::anyhow!("{}", differences.conflicts.join("; ")))?;
        batches.push(with_partition_values(
            &fit.apply(&rows)?,
            partition_columns,
            &partition_values,
        )?);
    }
    Ok(batches)
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
