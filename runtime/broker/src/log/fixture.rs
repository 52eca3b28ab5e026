//! What the tests of the log share: a log on a disk in memory, with a clock that stands still.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, ManualClock};
use crate::disk::Disk;
use crate::disk::faults::FaultDisk;

use super::batch_builder::{BatchBuilder, BatchProducer};
use super::flusher::Flush;
use super::{Appended, Durability, FlusherHandle, Isolation, Log, LogConfig, Recovery};

/// A log and what it stands on.
pub(super) struct Fixture {
    pub disk: FaultDisk,
    pub clock: Arc<ManualClock>,
    pub config: LogConfig,
    pub durability: Durability,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture::with(LogConfig::default())
    }

    pub(super) fn with(config: LogConfig) -> Fixture {
        Fixture {
            disk: FaultDisk::default(),
            clock: Arc::new(ManualClock::at(1_700_000_000_000)),
            config,
            durability: Durability::Fsync,
        }
    }

    /// The same on another disk.
    pub(super) fn on(&self, disk: FaultDisk) -> Fixture {
        let (clock, config) = (Arc::clone(&self.clock), self.config.clone());
        Fixture { disk, clock, config, durability: self.durability }
    }

    pub(super) fn directory() -> PathBuf {
        PathBuf::from("/data/orders-0")
    }

    pub(super) fn path(base_offset: i64, suffix: &str) -> PathBuf {
        super::segment::file_path(&Fixture::directory(), base_offset, suffix)
    }

    /// Opens the log; whatever is wrong with it is repaired.
    pub(super) fn open(&self) -> Log {
        self.open_and_tell(false).0
    }

    pub(super) fn open_and_tell(&self, was_clean: bool) -> (Log, Recovery) {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let flusher = FlusherHandle::inline(self.durability);
        Log::open(disk, clock, Fixture::directory(), self.config.clone(), flusher, was_clean)
            .unwrap()
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Makes all visible.
    pub(super) fn sync(&self, log: &Log) {
        log.shared.flush();
    }

    /// Appends `count` small records as one batch, synced, and returns its size.
    pub(super) fn append(&self, log: &Log, count: usize) -> usize {
        let mut builder = BatchBuilder::new();
        (0..count).for_each(|n| builder.push(self.now_ms(), Some(b"k"), Some(&[n as u8; 8])));
        let size = builder.size_bytes();
        log.append(builder.build()).unwrap();
        self.sync(log);
        size
    }

    /// Appends one record with this value, synced.
    pub(super) fn append_value(&self, log: &Log, value: &[u8]) -> Appended {
        let mut builder = BatchBuilder::new();
        builder.push(self.now_ms(), Some(b"k"), Some(value));
        let appended = log.append(builder.build()).unwrap();
        self.sync(log);
        appended
    }

    /// A batch of an idempotent producer.
    pub(super) fn produced(
        &self,
        producer_id: i64,
        base_sequence: i32,
        count: i32,
    ) -> BatchBuilder {
        self.produced_in(producer_id, base_sequence, count, false)
    }

    /// The same, inside a transaction if so wished.
    pub(super) fn produced_in(
        &self,
        producer_id: i64,
        base_sequence: i32,
        count: i32,
        is_transactional: bool,
    ) -> BatchBuilder {
        let mut builder = BatchBuilder::with_producer(BatchProducer {
            producer_id,
            producer_epoch: 0,
            base_sequence,
            is_transactional,
        });
        for n in 0..count {
            let value = format!("{producer_id}:{}", base_sequence + n);
            builder.push(self.now_ms(), None, Some(value.as_bytes()));
        }
        builder
    }
}

/// All visible bytes of a log from an offset on.
pub(super) fn read_all(log: &Log, from: i64) -> Vec<u8> {
    let mut all = Vec::new();
    let mut offset = from;
    loop {
        let fetched = log.read(offset, 1 << 20, true, Isolation::ReadUncommitted).unwrap();
        if fetched.records.is_empty() {
            return all;
        }
        let mut rest = &fetched.records[..];
        while !rest.is_empty() {
            let header = super::record_batch::Header::parse_whole(rest).unwrap();
            offset = header.next_offset();
            rest = &rest[header.size_bytes..];
        }
        all.extend_from_slice(&fetched.records);
    }
}

/// Segments of a few batches, with several index entries each.
pub(super) fn small() -> LogConfig {
    LogConfig { segment_bytes_max: 1500, index_interval_bytes: 200, ..LogConfig::default() }
}

/// A log of `count` batches in small segments, and its bytes.
pub(super) fn filled(count: usize) -> (Fixture, Vec<u8>) {
    let fixture = Fixture::with(small());
    let log = fixture.open();
    for n in 0..count {
        fixture.append(&log, n % 4 + 1);
    }
    let bytes = read_all(&log, 0);
    (fixture, bytes)
}
