//! Checkpoints of a Delta table, written beside the commits. Nothing is lost without them, but a
//! log without checkpoints becomes slow to read. A checkpoint also removes log entries that the
//! table no longer wants to keep.

use std::time::Duration;

use anyhow::{Context, Result};
use deltalake::{DeltaTable, checkpoints};
use tokio::task::JoinHandle;

use crate::delta_location::Location;
use crate::delta_log;
use crate::delta_open::OpenTable;

/// A stop waits this long for a checkpoint that is being written.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The checkpoints of one table, one at a time.
pub(crate) struct Checkpoints {
    running: Option<JoinHandle<()>>,
    /// Version of the newest checkpoint that is there or being written.
    newest: u64,
}

impl Checkpoints {
    /// One that a crash left out is made up for by the next commit.
    pub(crate) async fn new(table: &OpenTable) -> Result<Checkpoints> {
        let log = table.location.log_store.as_ref();
        let newest = delta_log::checkpoint_version(log, table.version).await?;
        Ok(Checkpoints { running: None, newest: newest.unwrap_or(0) })
    }

    /// Begins a checkpoint if it is time for one. A failure is logged: the next one makes up for
    /// it.
    pub(crate) fn after_commit(&mut self, table: &OpenTable, version: u64) {
        let Some(every) = table.checkpoint_every else { return };
        let behind = version.saturating_sub(self.newest);
        // With several writers, the one that makes the round version writes the checkpoint.
        let due = version.is_multiple_of(every) || behind >= 2 * every;
        if !due || self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.newest = version;
        let location = table.location.clone();
        let runtime = tokio::runtime::Handle::current();
        self.running = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = runtime.block_on(write(&location, version)) {
                tracing::warn!(table = %location.written, version, "checkpoint failed: {error:#}");
            }
        }));
    }

    /// At a stop: lets a checkpoint that is being written come to its end.
    pub(crate) async fn wait_if(&mut self, stopping: bool) {
        if stopping && let Some(running) = self.running.take() {
            let _ = tokio::time::timeout(WAIT_MAX, running).await;
        }
    }
}

async fn write(location: &Location, version: u64) -> Result<()> {
    let mut table = DeltaTable::new(location.log_store.clone());
    table.load_version(version).await.context("cannot read the table")?;
    checkpoints::create_checkpoint(&table, None).await.context("cannot write the checkpoint")?;
    location.sync_checkpoint(version)?;
    if table.snapshot()?.table_config().enable_expired_log_cleanup.unwrap_or(true) {
        checkpoints::cleanup_metadata(&table, None).await.context("cannot clean up the log")?;
    }
    Ok(())
}
