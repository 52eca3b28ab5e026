//! What the fuzz targets in `tests/fuzz` do with their bytes. Here, so that the kept inputs also run
//! as an ordinary test.
//!
//! A panic is the finding.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

use crate::clock::{Clock, ManualClock};
use crate::connection::{Connection, Transport};
use crate::disk::faults::FaultDisk;
use crate::disk::{Disk, OsDisk};
use crate::listener::Listener;
use crate::log::batch_builder::BatchBuilder;
use crate::log::record_batch::{HEADER_BYTES, Header};
use crate::log::{
    CompactionLimits, Durability, FlusherHandle, Isolation, Log, LogConfig, Recovery,
};
use crate::session::Session;
use crate::{Broker, BrokerConfig};

const NOW_MS: i64 = 1_700_000_000_000;
/// An answer that takes longer is a long poll.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(20);
/// An answer to a simple request takes no longer, however busy the machine is.
const PROBE_TIME_MAX: Duration = Duration::from_secs(20);
/// Highest code and version that are tried, and a few that nobody knows.
const API_CODES: u8 = 80;
const VERSIONS: u8 = 20;

fn open(disk: &FaultDisk, was_clean: bool) -> (Log, Recovery) {
    let config = LogConfig {
        segment_bytes_max: 2000,
        index_interval_bytes: 100,
        cleanup_compact: true,
        delete_retention_ms: 0,
        ..LogConfig::default()
    };
    let seam: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW_MS));
    let flusher = FlusherHandle::inline(Durability::PageCache);
    Log::open(seam, clock, folder(), config, flusher, was_clean).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from("/data/orders-0")
}

/// All offsets from the beginning on; also looks inside the batches, as a compaction does.
fn walk(log: &Log) {
    let mut offset = log.log_start_offset();
    while let Ok(fetched) = log.read(offset, 1 << 20, true, Isolation::ReadCommitted) {
        let mut rest = &fetched.records[..];
        while let Ok(header) = Header::parse(rest) {
            offset = offset.max(header.next_offset());
            rest = rest.get(header.size_bytes..).unwrap_or_default();
        }
        if fetched.records.is_empty() {
            break;
        }
    }
    let _ = log.offset_for_timestamp(NOW_MS);
    let _ = log.offset_of_max_timestamp();
    let _ = log.compact(&CompactionLimits { keys_max: 3, pace: &|_| true });
}

fn one_record() -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(NOW_MS, Some(b"key"), Some(b"value"));
    builder.build()
}

/// Any bytes as the records of a producer, and as records whose length and checksum are right: they
/// are refused, or stored, read, searched and compacted.
pub fn record_batch(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let mut batch = data.to_vec();
    if choice & 1 == 1 && batch.len() >= HEADER_BYTES {
        let length = (batch.len() - 12) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = 2;
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let disk = FaultDisk::default();
    let (log, _) = open(&disk, false);
    let batch = Bytes::from(batch);
    let appended = match choice & 2 {
        0 => log.append(batch),
        _ => log.append_internal(batch),
    };
    for _ in 0..30 {
        log.append(one_record()).unwrap();
    }
    walk(&log);
    let end = log.log_end_offset();
    assert_eq!(end, appended.map_or(0, |appended| appended.end_offset) + 30);
    let (again, recovery) = open(&disk, false);
    assert_eq!((again.log_end_offset(), &recovery.repairs[..]), (end, &[][..]));
    walk(&again);
}

/// Names of files in a partition's folder.
const FILES: [&str; 12] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000003.log",
    "00000000000000000003.index",
    "00000000000000000003.snapshot",
    "00000000000000000000.log.cleaned",
    "00000000000000000000.index.cleaned",
    "log-checkpoint",
    "compaction-swap",
    "00000000000000000009.log",
];

/// Any bytes as the files of a partition: the log opens, takes a record, and opens again with it.
///
/// The bytes are a row of files: one byte for the name (and whether the checksums of batches are put
/// right), two for the length, and the content.
pub fn segment_recovery(data: &[u8]) {
    let disk = FaultDisk::default();
    disk.create_directory(&folder()).unwrap();
    let Some((choice, mut rest)) = data.split_first() else { return };
    while let [name, high, low, behind @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (content, next) = behind.split_at(len);
        let mut content = content.to_vec();
        if name & 0x80 != 0 {
            mend_batches(&mut content);
        }
        disk.put(&folder().join(FILES[usize::from(name & 0x7f) % FILES.len()]), content);
        rest = next;
    }
    let (log, _) = open(&disk, choice & 1 == 1);
    let end = log.log_end_offset();
    walk(&log);
    if log.append(one_record()).is_err() {
        return; // offsets at the end of all numbers
    }
    walk(&log);
    if choice & 2 == 2 {
        log.close().unwrap();
    }
    let (again, _) = open(&disk, choice & 2 == 2);
    assert_eq!(again.log_end_offset(), end + 1, "the record is gone");
    walk(&again);
}

/// Gives each batch the checksum of its bytes, so that what lies behind the check is reached.
fn mend_batches(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..) {
        let Ok(header) = Header::parse(rest) else { return };
        let Some(batch) = rest.get_mut(..header.size_bytes) else { return };
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        at += header.size_bytes;
    }
}

/// One broker for all inputs, so that requests meet the traces of others.
struct Target {
    runtime: Runtime,
    broker: Arc<Broker>,
    listener: TcpListener,
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let place = std::env::temp_dir().join(format!("gristmill-fuzz-{}", std::process::id()));
    OsDisk.create_directory(&place).unwrap(); // for its lock; all else is in memory
    let config = BrokerConfig {
        data_dir: place,
        partitions_max: 32,
        request_bytes_max: 1 << 20,
        ..BrokerConfig::default()
    };
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let disk = Arc::new(FaultDisk::default());
    let broker = Arc::new(Broker::open_with(config, disk, clock).unwrap());
    broker.create_topic("t", Some(2), Default::default()).unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    Target { runtime, broker, listener }
});

/// Any bytes as requests on a connection: they are answered or the connection closes, and the
/// broker goes on answering others.
///
/// The bytes are a row of requests: one byte for the code, one for the version, two for the length,
/// and the rest behind the correlation id. A code of 0xff sends what follows as it is.
pub fn requests(data: &[u8]) {
    let target = &*TARGET;
    target.runtime.block_on(async {
        exchange(target, &frames(data), ANSWER_TIME_MAX).await;
        let probe = frame(18, 0, &[0xff, 0xff]);
        let answer = exchange(target, &probe, PROBE_TIME_MAX).await;
        assert!(answer.len() > 8, "the broker doesn't answer any more");
    });
}

fn frames(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = data;
    while let [code, version, high, low, behind @ ..] = rest {
        if *code == 0xff {
            bytes.extend_from_slice(behind);
            break;
        }
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (body, next) = behind.split_at(len);
        bytes.extend(frame(i16::from(code % API_CODES), i16::from(version % VERSIONS), body));
        rest = next;
    }
    bytes
}

fn frame(code: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + 8) as i32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&1i32.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Sends the bytes on a connection of their own and returns what came back.
async fn exchange(target: &Target, bytes: &[u8], time_max: Duration) -> Vec<u8> {
    let address = target.listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), target.listener.accept());
    let (mut client, (stream, peer)) = (client.unwrap(), accepted.unwrap());
    let (broker, listener) = (Arc::clone(&target.broker), Arc::new(Listener::plaintext(address)));
    let session = Session::new(peer, address, listener, Arc::clone(broker.authorizer()));
    let connection = Connection::new(broker, Transport::Plain(stream), session).unwrap();
    let served = tokio::spawn(connection.run(Instant::now() + time_max));
    let _ = client.write_all(bytes).await;
    let _ = client.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(time_max, client.read_to_end(&mut answer)).await;
    drop(client);
    served.abort();
    if let Err(error) = served.await {
        assert!(!error.is_panic(), "a connection panicked: {error}");
    }
    answer
}

/// Runs every kept input of a target.
#[cfg(test)]
fn replay(target: &str, run: fn(&[u8])) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/corpus")
        .join(target);
    let inputs = OsDisk.list(&corpus).unwrap();
    assert!(!inputs.is_empty(), "no inputs in {}", corpus.display());
    for input in inputs {
        let disk: &dyn Disk = &OsDisk;
        let bytes = disk.read_small(&corpus.join(&input.name), 1 << 20).unwrap().unwrap();
        println!("{target}/{}", input.name);
        run(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_record_batches_are_stored_or_refused() {
        replay("record_batch", record_batch);
    }

    #[test]
    fn the_kept_files_open_as_a_log() {
        replay("segment_recovery", segment_recovery);
    }

    #[test]
    fn the_kept_requests_are_answered_or_close_their_connection() {
        replay("requests", requests);
    }
}
