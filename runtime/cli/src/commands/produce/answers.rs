//! Sends records and answers each with its partition and offset, in the order of the input.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gristmill_connectors::Cluster;
use gristmill_connectors::answered_producer::{Answer, AnsweredProducer};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pump::{self, Sent, Shipment};
use crate::local::stop_signal;
use crate::output::Output;
use crate::records::{Header, Record};
use crate::user_error::{UserError, told};

/// Records on their way whose answers are awaited.
const AWAITED_MAX: usize = 1_000;

/// After Ctrl-C, what is on its way has this long to arrive.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// As [`pump::send`], with an answer printed for each record.
pub async fn send(
    cluster: &Cluster,
    topic: &str,
    shipment: Shipment,
    output: Output,
) -> Result<Sent> {
    let producer = AnsweredProducer::open(cluster, topic).await.map_err(UserError::from_error)?;
    // Answers come as long as somebody holds it.
    let producer = Arc::new(producer);
    let sending = producer.clone();
    let (began, stop) = (Instant::now(), CancellationToken::new());
    let (sender, mut answers) = mpsc::channel(AWAITED_MAX);
    let take = move |record: &Record, headers: &[Header]| {
        let answer = sending.send(record.key.as_deref(), Some(&record.value), headers)?;
        // Nobody listens any more: the command has ended.
        let _ = sender.blocking_send(answer);
        Ok(())
    };
    let pumped = pump::start(shipment, stop.clone(), take)?;
    let mut sent = Sent { records: 0, failed: 0, reason: None, time: Duration::ZERO };
    tokio::select! {
        printed = print_all(&mut answers, &mut sent, output) => printed?,
        () = stop_signal() => {
            stop.cancel();
            answers.close();
            let rest = print_all(&mut answers, &mut sent, output);
            tokio::time::timeout(DRAIN_TIME_MAX, rest).await.context("records were still on their way")??;
            sent.time = began.elapsed();
            return Ok(sent);
        }
    }
    pumped.await.context("the thread that sends has panicked")??;
    sent.time = began.elapsed();
    drop(producer);
    Ok(sent)
}

async fn print_all(
    answers: &mut mpsc::Receiver<Answer>,
    sent: &mut Sent,
    output: Output,
) -> Result<()> {
    while let Some(answer) = answers.recv().await {
        match answer.place().await {
            Ok(place) => {
                sent.records += 1;
                output.answer(
                    format!("partition {} offset {}", place.partition, place.offset),
                    &json!({ "partition": place.partition, "offset": place.offset }),
                )?;
            }
            Err(error) => {
                sent.failed += 1;
                let reason = told(&error);
                output.answer(&reason, &json!({ "error": reason }))?;
                sent.reason.get_or_insert(reason);
            }
        }
    }
    Ok(())
}
