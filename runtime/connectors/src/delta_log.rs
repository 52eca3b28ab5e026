//! What the transaction log of a Delta table says about us: the `txn` actions of every application
//! in one pass.
//!
//! The `deltalake` crate answers for one application id at a time and replays the log for each.
//! Here the newest checkpoint and the commits after it are read once, whatever the number of
//! partitions. Delta protocol, sections "Checkpoints" and "Transaction Identifiers".

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use deltalake::logstore::LogStore;
use deltalake::parquet::arrow::ProjectionMask;
use deltalake::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use deltalake::{ObjectStore, Path};
use futures::{StreamExt, TryStreamExt};

/// Log entries that are asked for at the same time: an object store takes tens of ms for each.
const READS_AT_ONCE: usize = 16;

/// Application id → version of its newest `txn` action.
pub(crate) type Transactions = BTreeMap<String, i64>;

/// The newest `txn` of every application as of table version `version`.
pub(crate) async fn read_transactions(log: &dyn LogStore, version: u64) -> Result<Transactions> {
    let store = log.object_store(None);
    let files: Vec<Path> =
        store.list(Some(log.log_path())).map_ok(|meta| meta.location).try_collect().await?;
    let checkpoint = newest_checkpoint(&files, version);
    let mut found = Transactions::new();
    for file in checkpoint.iter().flat_map(|checkpoint| &checkpoint.files) {
        read_checkpoint(store.clone(), file, &mut found)
            .await
            .with_context(|| format!("cannot read the checkpoint `{file}`"))?;
    }
    let first = checkpoint.map_or(0, |checkpoint| checkpoint.version + 1);
    let read = |version| async move {
        let entry = log.read_commit_entry(version).await?;
        entry.with_context(|| format!("log entry {version} is missing"))
    };
    let mut entries = futures::stream::iter(first..=version).map(read).buffered(READS_AT_ONCE);
    while let Some(entry) = entries.try_next().await? {
        for line in entry.split(|byte| *byte == b'\n') {
            if let Some(transaction) = transaction(line)? {
                found.insert(transaction.0, transaction.1);
            }
        }
    }
    Ok(found)
}

/// The version of the newest checkpoint; absent if the table has none.
pub(crate) async fn checkpoint_version(log: &dyn LogStore, version: u64) -> Result<Option<u64>> {
    let store = log.object_store(None);
    let files: Vec<Path> =
        store.list(Some(log.log_path())).map_ok(|meta| meta.location).try_collect().await?;
    Ok(newest_checkpoint(&files, version).map(|checkpoint| checkpoint.version))
}

/// The files of one checkpoint that can hold `txn` actions.
#[derive(Debug, PartialEq, Eq)]
struct Checkpoint {
    version: u64,
    files: Vec<Path>,
}

/// The newest complete checkpoint at or below `version`: in one file, in parts, or of the second
/// kind (with an id).
fn newest_checkpoint(files: &[Path], version: u64) -> Option<Checkpoint> {
    let mut parts: BTreeMap<(u64, String), Vec<Path>> = BTreeMap::new();
    for file in files {
        let pieces: Vec<_> = file.filename()?.split('.').collect();
        let [number, "checkpoint", rest @ ..] = pieces.as_slice() else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        let kind = match rest {
            ["parquet"] => "1".to_string(),
            [_, count, "parquet"] => count.trim_start_matches('0').to_string(),
            [id, "parquet" | "json"] => format!("id {id}"),
            _ => continue,
        };
        if number <= version {
            parts.entry((number, kind)).or_default().push(file.clone());
        }
    }
    let whole = |((version, kind), files): ((u64, String), Vec<Path>)| {
        let expected = kind.parse().unwrap_or(1);
        (files.len() == expected).then_some(Checkpoint { version, files })
    };
    parts.into_iter().rev().find_map(whole)
}

async fn read_checkpoint(
    store: std::sync::Arc<dyn ObjectStore>,
    file: &Path,
    found: &mut Transactions,
) -> Result<()> {
    let bytes = store.get_opts(file, Default::default()).await?.bytes().await?;
    if file.as_ref().ends_with(".json") {
        for line in bytes.split(|byte| *byte == b'\n') {
            found.extend(transaction(line)?);
        }
        return Ok(());
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    for batch in builder.with_projection(columns).build()? {
        collect(&batch?, found);
    }
    Ok(())
}

/// Takes the `txn` rows of a checkpoint.
fn collect(batch: &RecordBatch, found: &mut Transactions) {
    let column = |of: &arrow_array::StructArray, name| of.column_by_name(name).cloned();
    let Some(actions) = batch.column_by_name("txn").and_then(|txn| txn.as_struct_opt()) else {
        return;
    };
    let (Some(ids), Some(versions)) = (column(actions, "appId"), column(actions, "version")) else {
        return;
    };
    let ids = arrow_cast::cast(&ids, &arrow_schema::DataType::Utf8).unwrap_or(ids);
    let (Some(ids), Some(versions)) =
        (ids.as_string_opt::<i32>(), versions.as_primitive_opt::<Int64Type>())
    else {
        return;
    };
    for row in (0..actions.len()).filter(|row| actions.is_valid(*row) && ids.is_valid(*row)) {
        found.insert(ids.value(row).to_string(), versions.value(row));
    }
}

/// The `txn` action on this line of a log entry, if it holds one.
fn transaction(line: &[u8]) -> Result<Option<(String, i64)>> {
    // Most lines are long `add` actions: look before parsing.
    if !line.trim_ascii_start().starts_with(b"{\"txn\"") && !contains(line, b"\"txn\"") {
        return Ok(None);
    }
    let action: serde_json::Value =
        serde_json::from_slice(line).context("a log entry is not JSON: it may be torn")?;
    let Some(txn) = action.get("txn") else { return Ok(None) };
    let id = txn.get("appId").and_then(serde_json::Value::as_str);
    let version = txn.get("version").and_then(serde_json::Value::as_i64);
    Ok(id.map(str::to_string).zip(version))
}

fn contains(line: &[u8], mark: &[u8]) -> bool {
    line.windows(mark.len()).any(|window| window == mark)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn newest(names: &[&str], version: u64) -> Option<(u64, usize)> {
        let files: Vec<_> =
            names.iter().map(|name| Path::from(format!("_delta_log/{name}"))).collect();
        newest_checkpoint(&files, version).map(|found| (found.version, found.files.len()))
    }

    #[test]
    fn the_newest_complete_checkpoint_counts() {
        let names = [
            "00000000000000000100.checkpoint.parquet",
            "00000000000000000200.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000200.checkpoint.0000000002.0000000002.parquet",
            "00000000000000000300.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000300.json",
            "_last_checkpoint",
        ];
        assert_eq!(newest(&names, 400), Some((200, 2)));
        assert_eq!(newest(&names, 150), Some((100, 1)));
        assert_eq!(newest(&names, 99), None);
    }

    #[test]
    fn a_txn_is_found_on_its_line_only() {
        let line = br#"{"txn":{"appId":"a","version":7}}"#;
        assert_eq!(transaction(line).unwrap(), Some(("a".to_string(), 7)));
        assert_eq!(transaction(br#"{"add":{"path":"x"}}"#).unwrap(), None);
        assert_eq!(transaction(br#"{"commitInfo":{"note":"txn"}}"#).unwrap(), None);
        assert!(transaction(br#"{"txn":{"appId":"#).is_err());
    }
}
