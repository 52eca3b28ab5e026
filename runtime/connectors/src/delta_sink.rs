//! A Delta table at the end of a pipeline, exactly once.
//!
//! Invariant: one commit holds the files and, per source partition, a `txn` action with the next
//! offset. A restart reads those `txn`s; there is no other state. A crash between a file and the
//! commit leaves a file that nobody refers to; a crash after the commit loses nothing.
//!
//! The order of one commit: files complete and on disk → log entry on disk, made only if nobody was
//! faster → cursors in memory. Lanes encode parquet on their own threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use deltalake::BlindDeltaTable;
use deltalake::kernel::{Action, Add};
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use gristmill_engine::config::{CommitEvery, DeltaSinkConfig};
use gristmill_engine::cursors::Cursors;
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{Offsets, TopicPartition};
use gristmill_engine::sink::{Commit, Committed, Provenance, Sink, SinkRows, SinkWriter, When};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::delta_checkpoint::Checkpoints;
use crate::delta_commit::{CommitError, Committer, Entry};
use crate::delta_location;
use crate::delta_log::Transactions;
use crate::delta_open::{self, ENGINE, OpenTable, commit_info};
use crate::delta_schema;

/// A data file is closed and the next one begun at this many encoded bytes.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Most files that are written at a time: one per core up to this many.
const ENCODERS_MAX: usize = 8;

/// A stretch of offsets without rows is committed at most this often while the pipeline runs.
const ROWLESS_COMMIT_EVERY: Duration = Duration::from_secs(60);

/// What a Delta sink is made from.
#[derive(Debug, Clone)]
pub struct DeltaSinkSetup {
    pub pipeline: String,
    pub sink: String,
    /// Which sink of the plan this is.
    pub index: usize,
    pub config: DeltaSinkConfig,
    /// The columns of the rows to come.
    pub rows: SchemaRef,
}

/// See the module documentation.
pub struct DeltaSink {
    setup: DeltaSinkSetup,
    lanes: Arc<Lanes>,
    state: tokio::sync::Mutex<CommitState>,
    /// Written with each commit.
    code: RwLock<Arc<Provenance>>,
}

/// What only one commit at a time touches.
struct CommitState {
    committer: Committer,
    checkpoints: Checkpoints,
    /// Commits of this process.
    sequence: u64,
    /// Since when cursors have moved without a row being there.
    rowless_since: Option<Instant>,
}

/// What the lanes share.
struct Lanes {
    runtime: Handle,
    table: RwLock<Arc<OpenTable>>,
    encoders: Vec<Mutex<Encoder>>,
    window: Mutex<Window>,
    /// Cursors that the table holds: rows below them are not written again.
    stored: RwLock<Offsets>,
    /// Why the sink cannot go on; set once.
    failed: Mutex<Option<String>>,
}

/// Writes the files of some lanes; a lane stays with its encoder, so that its rows keep their order
/// in the file.
#[derive(Default)]
struct Encoder {
    writer: Option<RecordBatchWriter>,
}

/// What has been written since the last commit.
#[derive(Default)]
struct Window {
    rows: u64,
    /// Encoded bytes, by encoder.
    bytes: Vec<AtomicU64>,
    first_row_at: Option<Instant>,
    partitions: BTreeSet<TopicPartition>,
}

impl DeltaSink {
    /// Opens the table, making it if it is absent.
    ///
    /// Errors, before anything is written: a folder that cannot be written or holds something else,
    /// rows that do not fit, a table that an append by us would not leave right.
    pub async fn open(setup: DeltaSinkSetup) -> Result<DeltaSink> {
        let table = delta_open::open(&setup.config, &setup.rows)
            .await
            .with_context(|| format!("sink `{}`", setup.sink))?;
        let encoders =
            std::thread::available_parallelism().map_or(1, usize::from).min(ENCODERS_MAX);
        let committer = Committer { location: table.location.clone(), version: table.version };
        let checkpoints = Checkpoints::new(&table).await?;
        let lanes = Lanes {
            runtime: Handle::current(),
            stored: RwLock::new(cursors_in(&table.transactions, &app_prefix(&setup))),
            table: RwLock::new(Arc::new(table)),
            encoders: (0..encoders).map(|_| Mutex::default()).collect(),
            window: Mutex::new(Window::new(encoders)),
            failed: Mutex::default(),
        };
        let state = CommitState { committer, checkpoints, sequence: 0, rowless_since: None };
        Ok(DeltaSink {
            setup,
            lanes: Arc::new(lanes),
            state: tokio::sync::Mutex::new(state),
            code: RwLock::default(),
        })
    }

    /// The cursors that the table holds, as far as this process knows.
    pub(crate) fn stored(&self) -> Offsets {
        read(&self.lanes.stored).clone()
    }

    /// Reads the table anew: another process may have stored cursors since, but not of partitions
    /// `held`.
    async fn refresh(&self, state: &mut CommitState, held: BTreeSet<TopicPartition>) -> Result<()> {
        let location = self.lanes.table().location.clone();
        let table = delta_open::reopen(&location, &self.setup.config, &self.setup.rows).await?;
        let stored = cursors_in(&table.transactions, &app_prefix(&self.setup));
        let before = read(&self.lanes.stored).clone();
        let moved = |partition: &&TopicPartition| stored.get(partition) != before.get(partition);
        if let Some(partition) = held.iter().find(moved) {
            return Err(self.fenced(table.version, &partition.to_string()));
        }
        state.committer.version = table.version;
        *write(&self.lanes.stored) = stored;
        *write(&self.lanes.table) = Arc::new(table);
        Ok(())
    }

    /// Completes the files of every lane and gets them onto the disk.
    async fn complete_files(&self) -> Result<Vec<Add>> {
        let flush = |index: usize| {
            let lanes = self.lanes.clone();
            tokio::task::spawn_blocking(move || lanes.flush(index))
        };
        let tasks: Vec<_> = (0..self.lanes.encoders.len()).map(flush).collect();
        let mut adds = Vec::new();
        for task in tasks {
            adds.extend(task.await??);
        }
        let location = self.lanes.table().location.clone();
        let paths: Vec<_> = adds.iter().map(|add| add.path.clone()).collect();
        tokio::task::spawn_blocking(move || location.sync_data_files(&paths)).await??;
        Ok(adds)
    }

    /// One commit of everything written so far and of the cursors that moved.
    async fn store(&self, state: &mut CommitState, moved: &Offsets) -> Result<Committed> {
        let rows = self.lanes.window().rows;
        let adds = self.complete_files().await?;
        check_rows(&adds, rows)?;
        let prefix = app_prefix(&self.setup);
        let transactions = moved.iter().map(|(partition, next)| {
            json!({ "txn": { "appId": app_id(&prefix, partition), "version": next } })
        });
        let files = adds.iter().cloned().map(|add| Ok(serde_json::to_value(Action::Add(add))?));
        let actions = transactions.map(Ok).chain(files).collect::<Result<Vec<Value>>>()?;
        state.sequence += 1;
        let version = self.append(state, &actions, moved, rows).await?;
        write(&self.lanes.stored).extend(moved.clone());
        *self.lanes.window() = Window::new(self.lanes.encoders.len());
        state.rowless_since = None;
        state.checkpoints.after_commit(&self.lanes.table(), version);
        let cursors = read(&self.lanes.stored).clone();
        Ok(Committed { rows, cursors, detail: format!("version {version}") })
    }

    /// Makes the log entry; a table whose schema others changed meanwhile is looked at again.
    async fn append(
        &self,
        state: &mut CommitState,
        actions: &[Value],
        moved: &Offsets,
        rows: u64,
    ) -> Result<u64> {
        let prefix = app_prefix(&self.setup);
        let mut held = self.lanes.window().partitions.clone();
        held.extend(moved.keys().cloned());
        let app_ids = held.iter().map(|partition| app_id(&prefix, partition)).collect();
        let mut changes = 0;
        loop {
            let commit_info = self.commit_info(state.sequence, actions, rows);
            let entry = Entry { actions, commit_info, app_ids: &app_ids };
            match state.committer.append(entry).await {
                Ok(version) => return Ok(version),
                Err(CommitError::TableChanged { version }) if changes < 10 => {
                    changes += 1;
                    self.accept_change(state, version, held.clone()).await?;
                }
                Err(CommitError::TableChanged { version }) => {
                    bail!("others change the table again and again, last at version {version}")
                }
                Err(CommitError::Fenced { version, app_id }) => {
                    return Err(self.fenced(version, &app_id));
                }
                Err(CommitError::FileGone { path, .. }) => {
                    bail!("an append takes out no file, and not `{path}`")
                }
                Err(CommitError::Failed(error)) => return Err(error),
            }
        }
    }

    /// Others changed the table's metadata: files that we have written stay good if their columns
    /// are still there.
    async fn accept_change(
        &self,
        state: &mut CommitState,
        version: u64,
        held: BTreeSet<TopicPartition>,
    ) -> Result<()> {
        let old = self.lanes.table().schema.clone();
        self.refresh(state, held)
            .await
            .with_context(|| format!("the table changed at version {version}"))?;
        let new = self.lanes.table().schema.clone();
        if let Err(differences) = delta_schema::fit(&old, &new) {
            bail!(
                "the table changed at version {version} so that rows already written do not fit: \
                 {} columns are gone, {}",
                differences.missing.len(),
                differences.conflicts.join("; ")
            );
        }
        Ok(())
    }

    fn commit_info(&self, sequence: u64, actions: &[Value], rows: u64) -> Value {
        let setup = &self.setup;
        let parameters = json!({
            "outputMode": "Append",
            "queryId": app_prefix(setup),
            "epochId": sequence.to_string(),
        });
        let files = actions.iter().filter(|action| action.get("add").is_some()).count();
        let mut info = commit_info("STREAMING UPDATE", parameters);
        info["operationMetrics"] =
            json!({ "numOutputRows": rows.to_string(), "numAddedFiles": files.to_string() });
        let code = read(&self.code);
        let modules: BTreeMap<_, _> = code.modules.iter().cloned().collect();
        info["gristmill"] = json!({
            "pipeline": setup.pipeline,
            "sink": setup.sink,
            "generation": code.generation,
            "modules": modules,
            "rows": rows,
        });
        info
    }

    fn fenced(&self, version: u64, what: &str) -> anyhow::Error {
        anyhow!(
            "another process committed {what} for sink `{}` of pipeline `{}` at version {version} of \
             table `{}`: what this one holds back would be there twice",
            self.setup.sink,
            self.setup.pipeline,
            self.setup.config.table
        )
        .context(Rewind::Fenced)
    }
}

#[async_trait]
impl Sink for DeltaSink {
    async fn cursors(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        let mut state = self.state.lock().await;
        let held = self.lanes.window().partitions.clone();
        let refreshed = self.refresh(&mut state, held).await;
        refreshed.map_err(with_rewind).with_context(|| format!("sink `{}`", self.setup.sink))?;
        let stored = read(&self.lanes.stored);
        let known = |partition: &TopicPartition| {
            stored.get(partition).map(|cursor| (partition.clone(), *cursor))
        };
        Ok(partitions.iter().filter_map(known).collect())
    }

    async fn older(&self, _: &[TopicPartition]) -> Result<BTreeSet<TopicPartition>> {
        Ok(BTreeSet::new())
    }

    async fn begin(&self, starts: &Offsets) -> Result<()> {
        self.commit_one(starts, When::Last).await.map(drop)
    }

    fn writer(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(DeltaSinkWriter { lanes: self.lanes.clone() }))
    }

    fn made_by(&self, code: &Arc<Provenance>) {
        *write(&self.code) = code.clone();
    }
}

#[async_trait]
impl Commit for DeltaSink {
    /// Nothing new since the last commit: nothing if it is not wanted, or a [`Committed`] of no rows; the
    /// table is not touched.
    async fn commit(&self, cursors: &Cursors, when: When) -> Result<Vec<(usize, Committed)>> {
        let committed = self.commit_one(&cursors.of_sink(self.setup.index), when).await?;
        Ok(committed.into_iter().map(|committed| (self.setup.index, committed)).collect())
    }

    /// Files that are complete and not committed stay where they are; nobody refers to them.
    async fn abort(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        for encoder in &self.lanes.encoders {
            *lock(encoder) = Encoder::default();
        }
        *self.lanes.window() = Window::new(self.lanes.encoders.len());
        write(&self.lanes.stored).clear();
        *lock(&self.lanes.failed) = None;
        state.rowless_since = None;
        Ok(())
    }
}

impl DeltaSink {
    async fn commit_one(&self, cursors: &Offsets, when: When) -> Result<Option<Committed>> {
        let mut state = self.state.lock().await;
        self.lanes.check()?;
        let moved: Offsets = {
            let stored = read(&self.lanes.stored);
            let ahead = |(partition, next): &(&TopicPartition, &i64)| {
                stored.get(*partition).is_none_or(|stored| stored < next)
            };
            cursors
                .iter()
                .filter(ahead)
                .map(|(partition, next)| (partition.clone(), *next))
                .collect()
        };
        let (rows, bytes, first_row_at) = self.lanes.window().measure();
        if rows == 0 && moved.is_empty() {
            state.checkpoints.wait_if(when == When::Last).await;
            let cursors = read(&self.lanes.stored).clone();
            let detail = format!("version {}", state.committer.version);
            return Ok((when != When::Due).then_some(Committed { rows: 0, cursors, detail }));
        }
        if rows == 0 && state.rowless_since.is_none() {
            state.rowless_since = Some(Instant::now());
        }
        let since = first_row_at.or(state.rowless_since);
        if when == When::Due
            && !is_due(&self.setup.config.commit_every, Instant::now(), rows, bytes, since)
        {
            return Ok(None);
        }
        let committed = self.store(&mut state, &moved).await;
        let context = || {
            format!(
                "sink `{}`: cannot commit to table `{}`",
                self.setup.sink, self.setup.config.table
            )
        };
        let committed = committed
            .map_err(with_rewind)
            .with_context(context)
            .inspect_err(|error| self.lanes.fail(error))?;
        state.checkpoints.wait_if(when == When::Last).await;
        Ok(Some(committed))
    }
}

/// Writes the rows of one lane into the file of its encoder.
struct DeltaSinkWriter {
    lanes: Arc<Lanes>,
}

impl SinkWriter for DeltaSinkWriter {
    /// Rows that the table already holds, by their source offset, are left out.
    fn write(&mut self, rows: &SinkRows) -> Result<()> {
        self.lanes.check()?;
        let stored = read(&self.lanes.stored).get(&rows.partition).copied().unwrap_or(i64::MIN);
        let known = rows.offsets.partition_point(|offset| *offset < stored);
        let count = rows.rows.num_rows();
        if known >= count {
            return Ok(());
        }
        let fitted = self.lanes.table().fit.apply(&rows.rows.slice(known, count - known))?;
        let written = self.lanes.encode(&rows.partition, fitted).map_err(with_rewind);
        written.inspect_err(|error| self.lanes.fail(error))
    }
}

impl Lanes {
    fn encode(&self, partition: &TopicPartition, rows: RecordBatch) -> Result<()> {
        let index = usize::try_from(partition.partition).unwrap_or(0) % self.encoders.len();
        let count = rows.num_rows() as u64;
        let mut encoder = lock(&self.encoders[index]);
        let writer = match &mut encoder.writer {
            Some(writer) => writer,
            vacant => vacant.insert(self.table().writer()?),
        };
        self.runtime.block_on(writer.write(rows)).context("cannot write a data file")?;
        let bytes = writer.buffer_len() as u64;
        let mut window = self.window();
        window.rows += count;
        window.bytes[index].store(bytes, Ordering::Relaxed);
        window.first_row_at.get_or_insert_with(Instant::now);
        if !window.partitions.contains(partition) {
            window.partitions.insert(partition.clone());
        }
        Ok(())
    }

    /// Completes the files of one encoder. Blocks.
    fn flush(&self, index: usize) -> Result<Vec<Add>> {
        match lock(&self.encoders[index]).writer.take() {
            Some(mut writer) => {
                self.runtime.block_on(writer.flush()).context("cannot complete a data file")
            }
            None => Ok(Vec::new()),
        }
    }

    fn table(&self) -> Arc<OpenTable> {
        read(&self.table).clone()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// Errors: the sink failed before; what it had collected is gone.
    fn check(&self) -> Result<()> {
        match &*lock(&self.failed) {
            Some(reason) => bail!("the sink has failed before: {reason}"),
            None => Ok(()),
        }
    }

    fn fail(&self, error: &anyhow::Error) {
        lock(&self.failed).get_or_insert_with(|| format!("{error:#}"));
    }
}

impl OpenTable {
    fn writer(&self) -> Result<RecordBatchWriter> {
        file_writer(&self.handle)
    }
}

/// A writer of data files: zstd 1, which costs a tenth of the speed and halves the files;
/// dictionaries and statistics stay on, since Delta's minima and maxima come from them.
pub(crate) fn file_writer(table: &BlindDeltaTable) -> Result<RecordBatchWriter> {
    let properties = WriterProperties::builder()
        .set_created_by(ENGINE.to_string())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    Ok(RecordBatchWriter::for_blind_appends(table)?
        .with_writer_properties(properties)
        .with_target_file_size(FILE_BYTES_MAX))
}

impl Window {
    fn new(encoders: usize) -> Window {
        Window { bytes: (0..encoders).map(|_| AtomicU64::new(0)).collect(), ..Window::default() }
    }

    fn measure(&self) -> (u64, u64, Option<Instant>) {
        let bytes = self.bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        (self.rows, bytes, self.first_row_at)
    }
}

/// Whether a commit is due; `since`: the first row, or without rows the first offset, that waits
/// for it.
fn is_due(
    every: &CommitEvery,
    now: Instant,
    rows: u64,
    bytes: u64,
    since: Option<Instant>,
) -> bool {
    let waited = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    if rows == 0 {
        return waited >= every.time.max(ROWLESS_COMMIT_EVERY);
    }
    waited >= every.time || rows >= every.rows || bytes >= every.bytes
}

/// Marks an error of a disk or an object store that may be another one next time.
fn with_rewind(error: anyhow::Error) -> anyhow::Error {
    if Rewind::of(&error).is_some() {
        return error;
    }
    match error.chain().any(delta_location::may_pass) {
        true => error.context(Rewind::MayPass),
        false => error,
    }
}

/// Our own mistakes must not reach the log: the files hold the rows that the lanes wrote.
pub(crate) fn check_rows(adds: &[Add], expected: u64) -> Result<()> {
    let mut found = 0;
    for stats in adds.iter().filter_map(|add| add.stats.as_deref()) {
        let stats: Value = serde_json::from_str(stats)?;
        found += stats.get("numRecords").and_then(Value::as_u64).unwrap_or(0);
    }
    if found != expected {
        bail!("the data files hold {found} rows, {expected} were written");
    }
    Ok(())
}

/// What the application ids of one sink begin with.
fn app_prefix(setup: &DeltaSinkSetup) -> String {
    format!("gristmill:{}:{}", setup.pipeline, setup.sink)
}

fn app_id(prefix: &str, partition: &TopicPartition) -> String {
    format!("{prefix}:{}:{}", partition.topic, partition.partition)
}

/// The cursors among a table's transactions. Topic names have no colon.
fn cursors_in(transactions: &Transactions, prefix: &str) -> Offsets {
    let cursor = |(app_id, version): (&String, &i64)| {
        let (topic, partition) =
            app_id.strip_prefix(prefix)?.strip_prefix(':')?.rsplit_once(':')?;
        Some((TopicPartition::new(topic, partition.parse().ok()?), *version))
    };
    transactions.iter().filter_map(cursor).collect()
}

// A lane that panicked has failed the pipeline already; its locks are still good to read.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(value: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    value.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(value: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    value.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "delta_sink_tests.rs"]
mod tests;
