//! The ends of all pipelines, opened: many at a time, in waves, since what one pipeline writes another may read.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use gristmill_connectors::Process;
use gristmill_engine::config::{Pipeline, SinkKind, Topics};
use gristmill_engine::control::Control;
use gristmill_engine::reload::Reloading;
use gristmill_engine::run::Run;
use gristmill_host::Host;
use tokio_util::sync::CancellationToken;

use gristmill_cli::shipped::SHIPPED;

use crate::local::LocalBroker;
use crate::user_error::UserError;

/// Pipelines whose ends are opened at one time: to open one is mostly to wait for answers.
const OPENED_AT_ONCE: usize = 16;

/// What pipelines are opened with.
pub struct Opening<'a> {
    pub host: &'a Host,
    pub broker: Option<&'a LocalBroker>,
    pub process: Process,
    /// Topics that are read and not there are made.
    pub create_topics: bool,
    pub stop: CancellationToken,
}

impl Opening<'_> {
    /// In the order of `controls`.
    ///
    /// # Errors
    /// The first end that cannot be opened. What ends have made until then stays.
    pub async fn open_all(&self, controls: &[Control]) -> Result<Vec<Run>> {
        let mut opened = BTreeMap::new();
        while opened.len() < controls.len() {
            let waiting =
                controls.iter().enumerate().filter(|(index, _)| !opened.contains_key(index));
            let waiting: Vec<_> = waiting.map(|(index, it)| self.waiting(index, it)).collect();
            let wave = next_wave(&waiting);
            for waiting in wave.iter().map(|place| &waiting[*place]) {
                self.make_or_refuse(&controls[waiting.index], &waiting.missing)?;
            }
            let indexes: Vec<_> = wave.iter().map(|place| waiting[*place].index).collect();
            let open = |index: usize| async move {
                anyhow::Ok((index, self.open(&controls[index]).await?))
            };
            let runs = stream::iter(indexes).map(open).buffered(OPENED_AT_ONCE);
            opened.extend(runs.try_collect::<Vec<_>>().await?);
        }
        Ok(opened.into_values().collect())
    }

    async fn open(&self, control: &Control) -> Result<Run> {
        let plan = control.plan();
        let opened = gristmill_connectors::open_to_reload(&plan, &self.process).await;
        let (connected, ends) =
            opened.with_context(|| format!("pipeline `{}`", control.pipeline()))?;
        let reloading = Reloading {
            host: self.host.clone(),
            shipped: SHIPPED,
            environment: Arc::new(|name| std::env::var(name).ok()),
            ends,
        };
        Ok(Run::opened(control.clone(), connected, self.stop.clone()).reloading(reloading))
    }

    fn waiting(&self, index: usize, control: &Control) -> Waiting {
        let plan = control.plan();
        let missing = self.broker.map(|broker| broker.missing(topics_read(&plan.pipeline)));
        let writes = topics_written(&plan.pipeline);
        Waiting { index, missing: missing.unwrap_or_default(), writes }
    }

    /// The built-in broker runs within this command, so that nobody else could make the topics meanwhile.
    fn make_or_refuse(&self, control: &Control, missing: &[String]) -> Result<()> {
        let (Some(broker), Some(topic)) = (self.broker, missing.first()) else { return Ok(()) };
        if self.create_topics {
            // Another pipeline of the wave may read the same topic.
            return broker.create_topics(&broker.missing(missing.to_vec()));
        }
        let there = match broker.topics() {
            topics if topics.is_empty() => "it has none".to_string(),
            topics => format!("it has {}", topics.join(", ")),
        };
        let pipeline = control.pipeline();
        bail!(UserError::new(format!(
            "pipeline `{pipeline}`: the built-in broker has no topic `{topic}` ({there}); add --create-topics to have it \
             made with one partition, or choose partitions with `gristmill topic create {topic} --partitions N` while \
             `gristmill broker` runs on this data folder"
        )))
    }
}

/// A pipeline that is not open yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Among all pipelines.
    index: usize,
    /// Topics of the built-in broker that it reads and that are not there.
    missing: Vec<String>,
    /// Topics of the built-in broker that it makes, if need be, when it is opened.
    writes: Vec<String>,
}

/// Those that do not wait for another one to make what they read; if all do, the first.
fn next_wave(waiting: &[Waiting]) -> Vec<usize> {
    let will_be_made = |place: usize, topic: &String| {
        let mut others = waiting.iter().enumerate().filter(|(other, _)| *other != place);
        others.any(|(_, other)| other.writes.contains(topic))
    };
    let ready =
        |place: &usize| waiting[*place].missing.iter().all(|topic| !will_be_made(*place, topic));
    let wave: Vec<_> = (0..waiting.len()).filter(ready).collect();
    if wave.is_empty() { vec![0] } else { wave }
}

/// The topics that a pipeline reads by name from the built-in broker.
fn topics_read(pipeline: &Pipeline) -> Vec<String> {
    match (&pipeline.source.brokers, &pipeline.source.topics) {
        (None, Topics::Names(names)) => names.clone(),
        _ => Vec::new(),
    }
}

/// The topics of the built-in broker that a pipeline writes.
fn topics_written(pipeline: &Pipeline) -> Vec<String> {
    if pipeline.source.brokers.is_some() {
        return Vec::new();
    }
    let sinks = pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
        SinkKind::Topic(topic) if topic.brokers.is_none() => Some(topic.topic.clone()),
        _ => None,
    });
    sinks.chain(pipeline.dead_letter.iter().map(|letters| letters.topic.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(missing: &[&str], writes: &[&str]) -> Waiting {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Waiting { index: 0, missing: owned(missing), writes: owned(writes) }
    }

    #[test]
    fn who_reads_what_another_one_makes_comes_after_it() {
        let chain = [waiting(&["b"], &["c"]), waiting(&["a"], &["b"]), waiting(&[], &["d"])];
        assert_eq!(next_wave(&chain), [1, 2], "`a` is nobody's to make");
        assert_eq!(next_wave(&chain[..1]), [0]);
    }

    #[test]
    fn a_ring_is_begun_somewhere() {
        let ring = [waiting(&["a"], &["b"]), waiting(&["b"], &["a"])];
        assert_eq!(next_wave(&ring), [0]);
        assert_eq!(next_wave(&[waiting(&["a"], &["a"])]), [0], "its own topic is not made for it");
    }
}
