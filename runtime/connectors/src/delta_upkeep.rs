//! What was done to a Delta table, and the removal of files that it no longer needs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use deltalake::operations::vacuum::VacuumMode;

use crate::delta_table::{LoadedTable, load};

pub use crate::delta_table::HistoryEntry;

/// Readers and writers that began before a file was taken out may still need it for so long.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The newest versions, newest first; those whose log entries were cleaned up are not told.
///
/// Errors: there is no table.
pub async fn history(
    table: &str,
    storage: &BTreeMap<String, String>,
    limit: usize,
) -> Result<Vec<HistoryEntry>> {
    LoadedTable::load(table, storage).await?.history(limit).await
}

/// Deletes files that no version younger than `retention` needs, those of crashed writers among them; says which.
/// `dry_run`: only says.
///
/// Errors: there is no table, or a file cannot be deleted.
pub async fn vacuum(
    table: &str,
    storage: &BTreeMap<String, String>,
    retention: Duration,
    dry_run: bool,
) -> Result<Vec<String>> {
    let (location, loaded) = load(table, storage).await?;
    let retention = chrono::Duration::from_std(retention).context("a time that is too long")?;
    let (_, metrics) = loaded
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(retention)
        // Who may go below the table's own limit is the caller's affair.
        .with_enforce_retention_duration(false)
        .with_dry_run(dry_run)
        .await
        .with_context(|| format!("cannot vacuum the Delta table `{table}`"))?;
    if !dry_run {
        tokio::task::spawn_blocking(move || location.sync_log()).await??;
    }
    let mut files = metrics.files_deleted;
    files.sort();
    Ok(files)
}
