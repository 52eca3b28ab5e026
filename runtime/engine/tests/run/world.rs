//! A cluster and a store in memory, which tests change and break while a pipeline runs between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow_schema::Schema;
use async_trait::async_trait;
use gristmill_engine::config::{LoadContext, Start, parse};
use gristmill_engine::cursors::Cursors;
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{OffsetRange, Offsets, TopicPartition};
use gristmill_engine::plan::Plan;
use gristmill_engine::run::{Connected, Run};
use gristmill_engine::sink::{
    Commit, Committed, Provenance, Sink, SinkRows, SinkWriter, Unsettled, When,
};
use gristmill_engine::source::{self, Rebalance, Source, SourceBatch, SourceReader};
use gristmill_engine::status::Snapshot;
use gristmill_host::{Host, HostConfig};
use tokio_util::sync::CancellationToken;

/// How long anything in a test may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(60);

pub fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

/// The topic `orders`; a record is nothing but its offset.
#[derive(Clone, Default)]
pub struct Topic(Arc<Mutex<Partitions>>);

#[derive(Default)]
struct Partitions {
    ranges: BTreeMap<TopicPartition, OffsetRange>,
    /// Happens at the next looks for what is there, one after the other.
    looks: VecDeque<Happens>,
}

type Happens = Box<dyn FnOnce(&Topic) + Send>;

impl Topic {
    pub fn of(sizes: &[i64]) -> Topic {
        let topic = Topic::default();
        (0..).zip(sizes).for_each(|(partition, size)| topic.append(partition, *size));
        topic
    }

    pub fn append(&self, partition: i32, count: i64) {
        let mut partitions = self.partitions();
        let range = partitions.ranges.entry(at(partition));
        range.or_insert(OffsetRange { begin: 0, end: 0 }).end += count;
    }

    /// Retention.
    pub fn delete_below(&self, partition: i32, begin: i64) {
        self.partitions().ranges.get_mut(&at(partition)).unwrap().begin = begin;
    }

    /// Something that happens when the source is asked for what is there, before it answers.
    pub fn at_next_look(&self, happens: impl FnOnce(&Topic) + Send + 'static) {
        self.partitions().looks.push_back(Box::new(happens));
    }

    fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.0.lock().unwrap()
    }

    fn ranges(&self) -> BTreeMap<TopicPartition, OffsetRange> {
        self.partitions().ranges.clone()
    }
}

/// One process's share of a topic.
#[derive(Clone)]
pub struct MemorySource {
    topic: Topic,
    /// Absent: all partitions.
    share: Option<BTreeSet<i32>>,
    rebalance: Arc<Mutex<Option<Rebalance>>>,
}

impl MemorySource {
    pub fn new(topic: &Topic) -> MemorySource {
        MemorySource { topic: topic.clone(), share: None, rebalance: Arc::default() }
    }

    /// As a process whose group has given it one partition.
    pub fn of_one(topic: &Topic, partition: i32) -> MemorySource {
        MemorySource { share: Some([partition].into()), ..MemorySource::new(topic) }
    }

    /// The group has taken a partition away from a process that it did not hear of.
    pub fn lose(&self, partition: i32) {
        *self.rebalance.lock().unwrap() = Some(Rebalance::Lost([at(partition)].into()));
    }

    /// The group takes a partition away and waits for its release.
    pub fn revoke(&self, partition: i32) {
        *self.rebalance.lock().unwrap() = Some(Rebalance::Revoked([at(partition)].into()));
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn available(&self) -> Result<BTreeMap<TopicPartition, OffsetRange>> {
        let happens = self.topic.partitions().looks.pop_front();
        if let Some(happens) = happens {
            happens(&self.topic);
        }
        let mut ranges = self.topic.ranges();
        if let Some(share) = &self.share {
            ranges.retain(|at, _| share.contains(&at.partition));
        }
        Ok(ranges)
    }

    async fn partitions(&self) -> Result<Vec<TopicPartition>> {
        Ok(self.topic.ranges().into_keys().collect())
    }

    fn rebalance(&self) -> Option<Rebalance> {
        self.rebalance.lock().unwrap().clone()
    }

    fn released(&self) {
        *self.rebalance.lock().unwrap() = None;
    }

    async fn start_offsets(&self, start: &Start, partitions: &[TopicPartition]) -> Result<Offsets> {
        let ranges = self.topic.ranges();
        let offset = |at: &TopicPartition| {
            let range = ranges[at];
            let offset = match start {
                Start::Earliest => range.begin,
                Start::Latest => range.end,
                Start::Timestamp(_) => unreachable!("records without a time"),
                Start::Offsets(chosen) => chosen[at.topic.as_ref()][&at.partition],
            };
            ensure!((range.begin..=range.end).contains(&offset), "start says {offset} for {at}");
            Ok((at.clone(), offset))
        };
        partitions.iter().map(offset).collect()
    }

    async fn reader(
        &self,
        partition: &TopicPartition,
        begin: i64,
        columns: &[&'static str],
    ) -> Result<Box<dyn SourceReader>> {
        let (partition, columns) = (partition.partition, columns.to_vec());
        Ok(Box::new(MemoryReader { partition, next: begin, columns }))
    }
}

struct MemoryReader {
    partition: i32,
    next: i64,
    columns: Vec<&'static str>,
}

impl SourceReader for MemoryReader {
    fn choose_columns(&mut self, columns: &[&'static str]) -> Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn next(&mut self, end: i64, rows_max: usize, _: usize) -> Result<Option<SourceBatch>> {
        let offsets: Vec<i64> = (self.next..end).take(rows_max).collect();
        let Some(last) = offsets.last() else { return Ok(None) };
        self.next = last + 1;
        let column = |name: &&str| -> ArrayRef {
            match *name {
                "offset" => Arc::new(Int64Array::from(offsets.clone())),
                "partition" => Arc::new(Int32Array::from(vec![self.partition; offsets.len()])),
                name => panic!("{name} is not needed here"),
            }
        };
        let all = source::schema();
        let fields = self.columns.iter().map(|name| all.field_with_name(name).unwrap().clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let records = RecordBatch::try_new(schema, self.columns.iter().map(column).collect())?;
        Ok(Some(SourceBatch { records, offsets }))
    }
}

/// A sink in memory. Its clones are handles of other processes on the same store, with rows of their own on the way.
#[derive(Default)]
pub struct MemorySink {
    /// Which sink of the plan it is.
    index: usize,
    stored: Arc<Mutex<Stored>>,
    pending: Arc<Mutex<Vec<(TopicPartition, i64)>>>,
}

/// What survives a process.
#[derive(Default)]
pub struct Stored {
    pub rows: Vec<(TopicPartition, i64)>,
    pub cursors: Offsets,
    /// Rows of each commit.
    pub commits: Vec<usize>,
    /// Of the next commits.
    pub faults: VecDeque<Fault>,
    /// Happens with the first of them.
    pub at_fault: Option<Box<dyn FnOnce() + Send>>,
    /// Commits only when told to.
    pub hold: bool,
    /// Another process holds a transaction over these.
    pub unsettled: BTreeSet<TopicPartition>,
}

/// How a commit fails.
#[derive(Clone, Copy)]
pub enum Fault {
    Before(Option<Rewind>),
    /// It has happened, and says that it has not.
    After(Rewind),
}

impl MemorySink {
    pub fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap()
    }

    /// The same store, seen from another process.
    pub fn elsewhere(&self) -> MemorySink {
        MemorySink { stored: self.stored.clone(), pending: Arc::default(), index: self.index }
    }

    /// A handle of the same process.
    fn handle(&self, index: usize) -> MemorySink {
        MemorySink { stored: self.stored.clone(), pending: self.pending.clone(), index }
    }

    /// Offsets of a partition, in the order in which they were stored.
    pub fn offsets(&self, partition: i32) -> Vec<i64> {
        let stored = self.stored();
        let of_it = stored.rows.iter().filter(|(place, _)| *place == at(partition));
        of_it.map(|(_, offset)| *offset).collect()
    }

    /// Rows that are written and not committed.
    pub fn pending(&self) -> usize {
        self.pending.lock().unwrap().len()
    }

    pub async fn wait_until(&self, what: &str, holds: impl Fn(&Stored) -> bool) {
        let begun = Instant::now();
        while !holds(&self.stored()) {
            assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn cursors(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        let stored = self.stored();
        let unsettled: BTreeSet<_> =
            partitions.iter().filter(|at| stored.unsettled.contains(at)).cloned().collect();
        if !unsettled.is_empty() {
            return Err(Unsettled(unsettled).into());
        }
        let known = |at: &TopicPartition| Some((at.clone(), *stored.cursors.get(at)?));
        Ok(partitions.iter().filter_map(known).collect())
    }

    async fn older(&self, _: &[TopicPartition]) -> Result<BTreeSet<TopicPartition>> {
        Ok(BTreeSet::new())
    }

    async fn begin(&self, starts: &Offsets) -> Result<()> {
        let mut stored = self.stored();
        if !stored.cursors.is_empty() {
            return Err(anyhow!("another process was faster").context(Rewind::Fenced));
        }
        stored.cursors = starts.clone();
        Ok(())
    }

    fn writer(&self) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(MemoryWriter { pending: self.pending.clone() }))
    }

    fn made_by(&self, _: &Arc<Provenance>) {}
}

struct MemoryWriter {
    pending: Arc<Mutex<Vec<(TopicPartition, i64)>>>,
}

impl SinkWriter for MemoryWriter {
    fn write(&mut self, rows: &SinkRows) -> Result<()> {
        let rows = rows.offsets.iter().map(|offset| (rows.partition.clone(), *offset));
        self.pending.lock().unwrap().extend(rows);
        Ok(())
    }
}

#[async_trait]
impl Commit for MemorySink {
    async fn commit(&self, cursors: &Cursors, when: When) -> Result<Vec<(usize, Committed)>> {
        let (mut stored, mut pending) = (self.stored(), self.pending.lock().unwrap());
        let next = cursors.of_sink(self.index);
        let moved = next.iter().any(|(at, next)| stored.cursors.get(at) != Some(next));
        if (pending.is_empty() && !moved) || (stored.hold && when == When::Due) {
            return Ok(Vec::new());
        }
        let fault = stored.faults.pop_front();
        let happens = fault.and_then(|_| stored.at_fault.take());
        happens.into_iter().for_each(|happens| happens());
        if let Some(Fault::Before(rewind)) = fault {
            let error = anyhow!("the store is away");
            return Err(rewind.map_or(error, |rewind| anyhow!("the store is away").context(rewind)));
        }
        let rows = pending.len();
        stored.rows.append(&mut pending);
        stored.cursors.extend(next);
        stored.commits.push(rows);
        if let Some(Fault::After(rewind)) = fault {
            return Err(anyhow!("no answer").context(rewind));
        }
        let cursors = stored.cursors.clone();
        Ok(vec![(self.index, Committed { rows: rows as u64, cursors, detail: String::new() })])
    }

    async fn abort(&self) -> Result<()> {
        self.pending.lock().unwrap().clear();
        Ok(())
    }
}

/// A pipeline from the topic into the sink. `settings`: lines of `[source]`.
pub fn pipeline(source: &MemorySource, sink: &MemorySink, settings: &str) -> Run {
    pipeline_into(source, &[sink], settings)
}

/// A pipeline from the topic into these sinks.
pub fn pipeline_into(source: &MemorySource, sinks: &[&MemorySink], settings: &str) -> Run {
    let tables = (0..sinks.len()).map(|number| {
        format!(
            "[[sink]]\nname = \"rows-{number}\"\ndelta = \"./rows-{number}\"\n\
             columns = [\"partition\", \"offset\"]\n"
        )
    });
    let tables: String = tables.collect();
    let text = format!("name = \"p\"\n[source]\ntopics = [\"orders\"]\n{settings}\n{tables}");
    let context = LoadContext { shipped: &[], environment: &|_| None };
    let loaded = parse(&text, Path::new("p.toml"), &context).unwrap();
    let host = Host::new(HostConfig { cache_dir: None, ..HostConfig::default() }).unwrap();
    let plan = Plan::new(&host, loaded.pipeline, &[]).unwrap();
    let sinks: Vec<_> =
        sinks.iter().enumerate().map(|(index, sink)| Arc::new(sink.handle(index))).collect();
    let connected = Connected {
        source: Arc::new(source.clone()),
        sinks: sinks.iter().map(|sink| sink.clone() as Arc<dyn Sink>).collect(),
        commits: sinks.into_iter().map(|sink| sink as Arc<dyn Commit>).collect(),
        dead_letters: None,
    };
    Run::new(plan, connected, CancellationToken::new())
}

/// Runs it to its end.
pub async fn finish(run: Run) -> Result<Snapshot> {
    tokio::time::timeout(DEADLINE, run.run()).await.expect("the run ends")
}

/// A pipeline that runs until it is stopped.
pub struct Running {
    stop: CancellationToken,
    run: tokio::task::JoinHandle<Result<Snapshot>>,
}

impl Running {
    pub fn start(run: Run) -> Running {
        Running { stop: run.stop_token(), run: tokio::spawn(run.run()) }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.run).await.expect("a stop is heard").unwrap().unwrap();
    }
}
