//! Opens the table of a Delta sink: makes it if it is absent, checks that an append by us leaves it
//! right, adds the columns that it lacks if the pipeline says so, and reads what the table knows
//! about us.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use arrow_schema::{Schema, SchemaRef};
use deltalake::BlindDeltaTable;
use deltalake::kernel::{MetadataExt, StructField, StructType, new_metadata};
use gristmill_engine::config::{DeltaSinkConfig, SchemaEvolution};
use serde_json::{Value, json};

use crate::delta_commit::{CommitError, Committer, Entry};
use crate::delta_location::Location;
use crate::delta_log::{self, Transactions};
use crate::delta_schema::{self, Differences, Fit};

/// Commits between two checkpoints of a table that we make, and of one that does not say.
pub(crate) const CHECKPOINT_EVERY_COMMITS: u64 = 100;

/// How often a table is looked at again because somebody changed its schema meanwhile.
const CHANGES_MAX: u32 = 10;

/// What is written into `commitInfo` as the engine.
pub(crate) const ENGINE: &str = concat!("Gristmill/", env!("CARGO_PKG_VERSION"));

/// A table at one version, fit for the rows of a sink.
pub(crate) struct OpenTable {
    pub(crate) location: Location,
    pub(crate) version: u64,
    pub(crate) schema: SchemaRef,
    pub(crate) fit: Fit,
    pub(crate) handle: BlindDeltaTable,
    pub(crate) transactions: Transactions,
    /// Commits between two checkpoints; absent: the table has checkpoints of a kind that we do not
    /// write.
    pub(crate) checkpoint_every: Option<u64>,
}

/// Opens the table for rows of this schema, making or widening it where the pipeline allows that.
pub(crate) async fn open(config: &DeltaSinkConfig, rows: &Schema) -> Result<OpenTable> {
    let location = Location::prepare(&config.table, &config.storage).await?;
    if !is_there(&location).await? {
        create(&location, config, rows).await?;
    }
    open_there(location, config, rows).await
}

/// Looks again at a table that is open. One that has gone meanwhile is not made anew: an empty table
/// in its place would be filled from the start.
pub(crate) async fn reopen(
    location: &Location,
    config: &DeltaSinkConfig,
    rows: &Schema,
) -> Result<OpenTable> {
    if !is_there(location).await? {
        bail!("table `{}` is gone: it was there when the pipeline started", config.table);
    }
    open_there(location.clone(), config, rows).await
}

async fn is_there(location: &Location) -> Result<bool> {
    let there = location.log_store.is_delta_table_location().await;
    there.with_context(|| format!("cannot look for a table at `{}`", location.written))
}

async fn open_there(
    location: Location,
    config: &DeltaSinkConfig,
    rows: &Schema,
) -> Result<OpenTable> {
    for _ in 0..CHANGES_MAX {
        let handle = load(&location).await?;
        let table = handle.arrow_schema()?;
        match delta_schema::fit(rows, &table) {
            Ok(fit) => return describe(location, handle, table, fit, config).await,
            Err(differences) => widen(&location, &handle, &differences, config).await?,
        }
    }
    bail!("table `{}`: others change its schema again and again", config.table)
}

/// Whether [`open`] would take rows of this schema. Changes nothing but that the folder of a new local table is made.
pub(crate) async fn check(config: &DeltaSinkConfig, rows: &Schema) -> Result<()> {
    let location = Location::prepare(&config.table, &config.storage).await?;
    if !is_there(&location).await? {
        delta_schema::table_columns(rows)?;
        return delta_schema::check_partition_columns(&config.partition_by, rows);
    }
    let handle = load(&location).await?;
    check_partitioning(&handle, config)?;
    match delta_schema::fit(rows, &handle.arrow_schema()?) {
        Ok(_) => Ok(()),
        Err(differences) => columns_to_add(&differences, config).map(drop),
    }
}

/// The table's newest version, checked for features and properties that we cannot keep right.
async fn load(location: &Location) -> Result<BlindDeltaTable> {
    let name = &location.written;
    let handle = BlindDeltaTable::try_new_with_log_store(location.log_store.clone())
        .await
        .with_context(|| format!("cannot open the Delta table `{name}`"))?;
    delta_schema::check_table(handle.protocol(), handle.metadata())
        .with_context(|| format!("cannot write to the Delta table `{name}`"))?;
    Ok(handle)
}

async fn describe(
    location: Location,
    handle: BlindDeltaTable,
    schema: SchemaRef,
    fit: Fit,
    config: &DeltaSinkConfig,
) -> Result<OpenTable> {
    check_partitioning(&handle, config)?;
    let version = handle.version();
    let transactions = delta_log::read_transactions(location.log_store.as_ref(), version)
        .await
        .with_context(|| format!("cannot read the log of table `{}`", config.table))?;
    let interval = handle.metadata().configuration().get("delta.checkpointInterval");
    let interval = interval.and_then(|text| text.parse().ok()).unwrap_or(CHECKPOINT_EVERY_COMMITS);
    let checkpoint_every =
        delta_schema::has_classic_checkpoints(handle.protocol()).then_some(interval.max(1));
    Ok(OpenTable { location, version, schema, fit, handle, transactions, checkpoint_every })
}

fn check_partitioning(handle: &BlindDeltaTable, config: &DeltaSinkConfig) -> Result<()> {
    let partition_columns = handle.metadata().partition_columns();
    let same = partition_columns.len() == config.partition_by.len()
        && partition_columns
            .iter()
            .zip(&config.partition_by)
            .all(|(a, b)| delta_schema::same_name(a, b));
    if !config.partition_by.is_empty() && !same {
        bail!(
            "table `{}` is partitioned by [{}], the pipeline says [{}]; a table keeps the \
             partitioning it was made with",
            config.table,
            partition_columns.join(", "),
            config.partition_by.join(", ")
        );
    }
    Ok(())
}

/// Makes the table as version 0, or leaves it to somebody who was faster.
async fn create(location: &Location, config: &DeltaSinkConfig, rows: &Schema) -> Result<()> {
    let name = &config.table;
    let columns = delta_schema::table_columns(rows)
        .and_then(|columns| {
            delta_schema::check_partition_columns(&config.partition_by, rows)?;
            Ok(columns)
        })
        .with_context(|| format!("cannot make the Delta table `{name}`"))?;
    let partition_by = table_names(&config.partition_by, &columns);
    let properties = [("delta.checkpointInterval", CHECKPOINT_EVERY_COMMITS.to_string())];
    let metadata = new_metadata(&StructType::try_new(columns)?, partition_by, properties)?;
    let actions = [
        json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
        json!({ "metaData": metadata }),
    ];
    let made = Committer::create(location, &actions, commit_info("CREATE TABLE", json!({}))).await;
    made.with_context(|| format!("cannot make the Delta table `{name}`"))?;
    Ok(())
}

/// The columns by their names in the table, whose case may be another.
fn table_names(wanted: &[String], columns: &[StructField]) -> Vec<String> {
    let named = |name: &String| {
        let column = columns.iter().find(|column| delta_schema::same_name(column.name(), name));
        column.map_or_else(|| name.clone(), |column| column.name().to_string())
    };
    wanted.iter().map(named).collect()
}

/// Adds the columns that the table lacks, or says why the rows do not fit.
async fn widen(
    location: &Location,
    handle: &BlindDeltaTable,
    differences: &Differences,
    config: &DeltaSinkConfig,
) -> Result<()> {
    let added = columns_to_add(differences, config)?;
    let names: Vec<_> = added.iter().map(|column| column.name().to_string()).collect();
    let schema = handle.metadata().parse_schema()?;
    let widened = StructType::try_new(schema.fields().cloned().chain(added))?;
    let metadata = handle.metadata().clone().with_schema(&widened)?;
    let info = commit_info("ADD COLUMNS", json!({ "columns": json!(names).to_string() }));
    let mut committer = Committer { location: location.clone(), version: handle.version() };
    let actions = [json!({ "metaData": metadata })];
    let entry = Entry { actions: &actions, commit_info: info, app_ids: &BTreeSet::new() };
    match committer.append(entry).await {
        Ok(version) => {
            tracing::info!(table = %config.table, version, columns = ?names, "columns added");
            Ok(())
        }
        // The caller looks again: the columns may be there by now.
        Err(CommitError::TableChanged { .. }) => Ok(()),
        Err(CommitError::Fenced { .. } | CommitError::FileGone { .. }) => {
            bail!("a change of columns has no application id and takes out no file")
        }
        Err(CommitError::Failed(error)) => Err(error),
    }
}

/// The columns that the table lacks.
///
/// Errors: they may not be added, or more than that stands between the rows and the table.
fn columns_to_add(differences: &Differences, config: &DeltaSinkConfig) -> Result<Vec<StructField>> {
    if !differences.conflicts.is_empty() || config.schema_evolution == SchemaEvolution::Refuse {
        return Err(misfit(&config.table, differences));
    }
    differences.missing.iter().map(delta_schema::table_column).collect()
}

fn misfit(table: &str, differences: &Differences) -> anyhow::Error {
    let missing = differences.missing.iter().map(|field| {
        let kind = delta_schema::type_name(field.data_type());
        format!(
            "column `{}` ({kind}) is not in the table: set schema_evolution = \"add\" to add it, \
             or leave it out by `columns`",
            field.name()
        )
    });
    let lines: Vec<_> = missing.chain(differences.conflicts.iter().cloned()).collect();
    anyhow!("the rows do not fit the Delta table `{table}`:\n  {}", lines.join("\n  "))
}

/// A `commitInfo` action's content, but for the time.
pub(crate) fn commit_info(operation: &str, parameters: Value) -> Value {
    json!({
        "operation": operation,
        "operationParameters": parameters,
        "isBlindAppend": true,
        "engineInfo": ENGINE,
    })
}
