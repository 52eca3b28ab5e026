//! Many small files of a Delta table made into few: nothing is added to the table and nothing lost.
//!
//! One commit takes the small files out and puts the large ones in (`dataChange` false), so that readers see the same
//! rows before and after. Pipelines may write meanwhile: appends conflict with nothing here. A file that somebody else
//! takes out first stops us before the commit. Rows keep their order within a file, files the order of their time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use arrow_array::RecordBatch;
use deltalake::datafile::DataFileReader;
use deltalake::datafile::reader::ParquetFileReader;
use deltalake::kernel::{Action, Add, LogicalFileView};
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use deltalake::{BlindDeltaTable, DeltaTable};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::delta_commit::{CommitError, Committer, Entry};
use crate::delta_location::Location;
use crate::delta_open::commit_info;
use crate::delta_schema;
use crate::delta_sink;
use crate::delta_table::{self, fitted};

/// What an optimization did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Optimized {
    pub files_before: usize,
    pub bytes_before: u64,
    pub files_after: usize,
    pub bytes_after: u64,
    /// Files that were large enough, or alone in their partition.
    pub files_left: usize,
    /// The commit; absent if there was nothing to do.
    pub version: Option<u64>,
}

/// Makes files of about `target_bytes` of those that have less than half of it.
///
/// Errors: there is no table, it has features that we cannot keep right, or others changed the files meanwhile; the
/// table is as it was then.
pub async fn optimize(
    table: &str,
    storage: &BTreeMap<String, String>,
    target_bytes: u64,
) -> Result<Optimized> {
    let (location, loaded) = delta_table::load(table, storage).await?;
    let handle = BlindDeltaTable::try_new_with_log_store(location.log_store.clone()).await?;
    delta_schema::check_table(handle.protocol(), handle.metadata())
        .with_context(|| format!("cannot write to the Delta table `{table}`"))?;
    let snapshot = loaded.snapshot()?;
    let files: Vec<LogicalFileView> = snapshot.log_data().iter().collect();
    let bins = bins(&files, target_bytes);
    let merged: usize = bins.iter().map(Vec::len).sum();
    let mut done = Optimized { files_left: files.len() - merged, ..Optimized::default() };
    if bins.is_empty() {
        return Ok(done);
    }
    let mut actions = Vec::new();
    for bin in &bins {
        let added = merge(&loaded, &handle, bin).await?;
        done.files_before += bin.len();
        done.bytes_before += bin.iter().map(bytes).sum::<u64>();
        done.files_after += added.len();
        done.bytes_after +=
            added.iter().map(|add| u64::try_from(add.size).unwrap_or(0)).sum::<u64>();
        for file in bin {
            actions.push(serde_json::to_value(Action::Remove(file.remove_action(false)))?);
        }
        for add in added {
            actions.push(serde_json::to_value(Action::Add(Add { data_change: false, ..add }))?);
        }
    }
    done.version = Some(commit(location, snapshot.version(), &actions, &done, target_bytes).await?);
    Ok(done)
}

/// Small files of one partition that make a file of about the wanted size together; at least two.
fn bins(files: &[LogicalFileView], target_bytes: u64) -> Vec<Vec<LogicalFileView>> {
    let mut partitions: BTreeMap<Vec<(String, Option<String>)>, Vec<&LogicalFileView>> =
        BTreeMap::new();
    for file in files {
        let is_small = bytes(file) < target_bytes / 2;
        if is_small && file.deletion_vector_descriptor().is_none() {
            let mut values: Vec<_> = file.partition_values_map().into_iter().collect();
            values.sort();
            partitions.entry(values).or_default().push(file);
        }
    }
    let mut bins = Vec::new();
    for mut files in partitions.into_values() {
        files.sort_by_key(|file| (file.modification_time(), file.path().into_owned()));
        let sizes: Vec<u64> = files.iter().map(|file| bytes(file)).collect();
        for range in pack(&sizes, target_bytes) {
            bins.push(files[range].iter().map(|file| (*file).clone()).collect());
        }
    }
    bins
}

/// Neighbours whose sizes together stay within the target; at least two of them.
fn pack(sizes: &[u64], target: u64) -> Vec<std::ops::Range<usize>> {
    let (mut ranges, mut start, mut sum) = (Vec::new(), 0, 0);
    for (index, size) in sizes.iter().enumerate() {
        if sum + size > target && index > start {
            ranges.push(start..index);
            (start, sum) = (index, 0);
        }
        sum += size;
    }
    ranges.push(start..sizes.len());
    ranges.retain(|range| range.len() > 1);
    ranges
}

fn bytes(file: &LogicalFileView) -> u64 {
    u64::try_from(file.size()).unwrap_or(0)
}

/// Writes the rows of the files into one (or some, if they turn out larger).
async fn merge(
    table: &DeltaTable,
    handle: &BlindDeltaTable,
    files: &[LogicalFileView],
) -> Result<Vec<Add>> {
    let (schema, written) = (delta_table::nullable_schema(table)?, delta_table::schema(table)?);
    let mut writer: RecordBatchWriter = delta_sink::file_writer(handle)?;
    let reader = ParquetFileReader::new(table.object_store());
    let mut rows_read = 0;
    for file in files {
        let name = file.path().into_owned();
        let opened = reader.read_file(file.object_store_path()).await;
        let mut rows = opened.with_context(|| format!("cannot read the data file `{name}`"))?;
        while let Some(rows) = rows.try_next().await? {
            rows_read += rows.num_rows() as u64;
            let fitted = fitted(table, file, &rows, &schema)?;
            let fitted = RecordBatch::try_new(written.clone(), fitted.columns().to_vec())?;
            writer.write(fitted).await.context("cannot write a data file")?;
        }
    }
    let added = writer.flush().await.context("cannot complete a data file")?;
    delta_sink::check_rows(&added, rows_read)?;
    Ok(added)
}

async fn commit(
    location: Location,
    version: u64,
    actions: &[Value],
    done: &Optimized,
    target_bytes: u64,
) -> Result<u64> {
    let path = |kind: &str| {
        let paths =
            actions.iter().filter_map(move |action| action.get(kind)?.get("path")?.as_str());
        paths.map(str::to_owned).collect::<Vec<_>>()
    };
    let (added, removed) = (path("add"), path("remove").into_iter().collect::<BTreeSet<_>>());
    let place = location.clone();
    let files = added.clone();
    tokio::task::spawn_blocking(move || place.sync_data_files(&files)).await??;
    let mut info = commit_info("OPTIMIZE", json!({ "targetSize": target_bytes.to_string() }));
    info["isBlindAppend"] = json!(false);
    info["operationMetrics"] = json!({
        "numRemovedFiles": done.files_before.to_string(),
        "numRemovedBytes": done.bytes_before.to_string(),
        "numAddedFiles": done.files_after.to_string(),
        "numAddedBytes": done.bytes_after.to_string(),
    });
    let mut committer = Committer { location, version };
    let entry = Entry { actions, commit_info: info, app_ids: &BTreeSet::new() };
    match committer.replace(entry, &removed).await {
        Ok(version) => Ok(version),
        Err(CommitError::TableChanged { version } | CommitError::Fenced { version, .. }) => bail!(
            "others changed the table's columns at version {version} meanwhile; it is as it was, run this again"
        ),
        Err(CommitError::FileGone { version, path }) => bail!(
            "others took the file `{path}` out of the table at version {version} meanwhile; it is as it was, run this \
             again"
        ),
        Err(CommitError::Failed(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_packed_up_to_the_target() {
        assert_eq!(pack(&[4, 4, 4, 4, 4], 10), [0..2, 2..4]);
        assert_eq!(pack(&[4, 4, 4], 100).first(), Some(&(0..3)));
        assert!(pack(&[9, 9], 10).is_empty());
        assert!(pack(&[1], 10).is_empty());
        assert!(pack(&[], 10).is_empty());
    }
}
