//! Sends records as fast as the broker takes them, or as their pace says; counts what arrives and what doesn't.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gristmill_connectors::Cluster;
use gristmill_connectors::admin::RecordProducer;
use indicatif::ProgressBar;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::progress;
use crate::local::stop_signal;
use crate::records::{Header, Pace, Record, Records};
use crate::user_error::UserError;

/// How often the progress bar says what has arrived.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// How often a slow pace looks whether it is to stop.
const PACE_WAIT_MAX: Duration = Duration::from_millis(100);

/// What is sent, and how.
pub struct Shipment {
    pub records: Records,
    pub headers: Vec<Header>,
    pub pace: Pace,
    /// The bar counts records; else the input moves it.
    pub counts_records: bool,
    pub bar: ProgressBar,
}

/// What became of it.
pub struct Sent {
    /// Those that were acknowledged.
    pub records: u64,
    pub failed: u64,
    /// Why the first of them failed.
    pub reason: Option<String>,
    pub time: Duration,
}

impl Sent {
    /// Records per second.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// Sends everything, or what came before Ctrl-C; returns when every record is acknowledged or given up.
///
/// # Errors
/// There is no such topic, the input cannot be read further, or a second Ctrl-C ended the wait.
pub async fn send(cluster: &Cluster, topic: &str, shipment: Shipment) -> Result<Sent> {
    let producer = RecordProducer::open_tolerant(cluster, topic).await;
    let producer = Arc::new(producer.map_err(UserError::from_error)?);
    let (bar, counts_records) = (shipment.bar.clone(), shipment.counts_records);
    let (count, stop, began) =
        (Arc::new(AtomicU64::new(0)), CancellationToken::new(), Instant::now());
    let take = {
        let (producer, count) = (producer.clone(), count.clone());
        move |record: &Record, headers: &[Header]| {
            producer.send(record.key.as_deref(), Some(&record.value), headers)?;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    };
    let mut pumped = start(shipment, stop.clone(), take)?;
    let settled = || {
        let (failed, reason) = producer.undelivered();
        let settled = count.load(Ordering::Relaxed).saturating_sub(producer.in_flight() as u64);
        (settled.saturating_sub(failed), failed, reason)
    };
    let mut ticks = tokio::time::interval(BAR_EVERY);
    let mut interrupted = std::pin::pin!(stop_signal());
    let result = loop {
        tokio::select! {
            result = &mut pumped => break result.context("the thread that sends has panicked")?,
            () = &mut interrupted => break Ok(()),
            _ = ticks.tick() => {
                let (acknowledged, failed, _) = settled();
                bar.set_message(progress::message(acknowledged, failed, began.elapsed()));
                if counts_records {
                    bar.set_position(count.load(Ordering::Relaxed));
                }
            }
        }
    };
    stop.cancel();
    let drained = tokio::select! {
        drained = producer.drain() => drained,
        () = stop_signal() => Err(anyhow::anyhow!("stopped; {} records were on their way", producer.in_flight())),
    };
    bar.finish_and_clear();
    let (records, failed, reason) = settled();
    drained.and(result).with_context(|| format!("stopped after {records} records"))?;
    Ok(Sent { records, failed, reason, time: began.elapsed() })
}

/// Reads and hands over on a thread of its own: reading waits for the input (a terminal), handing over waits for room.
pub fn start(
    shipment: Shipment,
    stop: CancellationToken,
    take: impl FnMut(&Record, &[Header]) -> Result<()> + Send + 'static,
) -> Result<oneshot::Receiver<Result<()>>> {
    let (done, result) = oneshot::channel();
    let run = move || {
        // The receiver is gone after Ctrl-C.
        let _ = done.send(pump(shipment, &stop, take));
    };
    std::thread::Builder::new().name("records".into()).spawn(run)?;
    Ok(result)
}

fn pump(
    mut shipment: Shipment,
    stop: &CancellationToken,
    mut take: impl FnMut(&Record, &[Header]) -> Result<()>,
) -> Result<()> {
    let (began, mut count) = (Instant::now(), 0);
    while let Some(record) = shipment.records.next()? {
        let due = shipment.pace.due(count, &record.value, shipment.records.rounds())?;
        wait_until(began, due, stop);
        if stop.is_cancelled() {
            return Ok(());
        }
        take(&record, &shipment.headers)?;
        count += 1;
    }
    Ok(())
}

fn wait_until(began: Instant, due: Duration, stop: &CancellationToken) {
    while let Some(early) = due.checked_sub(began.elapsed())
        && !early.is_zero()
        && !stop.is_cancelled()
    {
        std::thread::park_timeout(early.min(PACE_WAIT_MAX));
    }
}
