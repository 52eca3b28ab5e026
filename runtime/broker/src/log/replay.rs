//! Logs that hold the state of a part of the broker: every change is appended, and the last record
//! of a key counts. A start replays them from the beginning.
//!
//! Kafka compacts such topics. Here they are kept short another way: once a log has outgrown the
//! living state, that state is written again at the end, synced, and all before it is dropped.

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use super::record_batch::Header;
use super::records::{self, RecordView};
use super::{Isolation, Log};

/// Bytes per read.
const READ_BYTES: usize = 1 << 20;
/// A log smaller than this is never written again.
pub(crate) const REWRITE_BYTES_MIN: u64 = 16 << 20;
/// A log this many times larger than what is alive is written again.
const REWRITE_FACTOR: u64 = 4;

/// What a log holds, in its order.
#[derive(Debug)]
pub(crate) enum Replayed<'a> {
    Record {
        record: RecordView<'a>,
        /// Whose transaction it is part of.
        producer_id: Option<i64>,
    },
    /// The end of a producer's transaction.
    Marker { producer_id: i64, commit: bool },
}

/// Hands everything in the log to `take`. What is unreadable, or what `take` refuses, is left out
/// and comes back in sentences; a batch that is damaged ends it.
pub(crate) fn replay(
    log: &Log,
    topic: &str,
    mut take: impl FnMut(Replayed<'_>) -> Result<()>,
) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    let mut offset = log.log_start_offset();
    while offset < log.high_watermark() {
        let fetched = log
            .read(offset, READ_BYTES, true, Isolation::ReadUncommitted)
            .with_context(|| format!("cannot read `{topic}` at offset {offset}"))?;
        let mut batches = fetched.records;
        if batches.is_empty() {
            break;
        }
        while !batches.is_empty() {
            let header = Header::parse_whole(&batches)
                .map_err(|why| anyhow!("a damaged batch in `{topic}`: {why}"))?;
            offset = header.next_offset();
            let batch = batches.split_to(header.size_bytes);
            let refused = replay_batch(&header, &batch, &mut take);
            let said = |why| format!("{topic}-0 from offset {}: {why:#}", header.base_offset);
            left_out.extend(refused.into_iter().map(said));
        }
    }
    Ok(left_out)
}

fn replay_batch(
    header: &Header,
    batch: &Bytes,
    take: &mut impl FnMut(Replayed<'_>) -> Result<()>,
) -> Vec<anyhow::Error> {
    let unreadable = |why: String| vec![anyhow!("{why}")];
    let producer_id = header.producer_id;
    if header.is_control() {
        let taken = match records::commits(header, batch) {
            Ok(Some(commit)) => take(Replayed::Marker { producer_id, commit }),
            Ok(None) => Ok(()),
            Err(why) => Err(anyhow!("{why}")),
        };
        return taken.err().into_iter().collect();
    }
    let payload = match records::payload(header, batch) {
        Ok(payload) => payload,
        Err(why) => return unreadable(why.to_string()),
    };
    let producer_id = header.is_transactional().then_some(producer_id);
    let taken = records::iter(&payload).map(|record| {
        let record = record.map_err(|why| anyhow!("{why}"))?;
        take(Replayed::Record { record, producer_id })
    });
    taken.filter_map(Result::err).collect()
}

/// True when the log is much larger than `alive_bytes` of living state.
pub(crate) fn is_overgrown(log: &Log, alive_bytes: u64) -> bool {
    log.size_bytes() > REWRITE_BYTES_MIN.max(alive_bytes.saturating_mul(REWRITE_FACTOR))
}
