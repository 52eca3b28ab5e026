//! The dead letters of a pipeline: where they are, the newest of them, and how they are sent through again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use gristmill_broker::Operation;
use gristmill_connectors::message_page::{Filter, PageRequest, RangeEnd, ShownRecord};
use gristmill_connectors::replay::{self, ReplaySetup, Replayed};
use gristmill_engine::dead_letter;

use super::failure::Failure;
use super::site::Site;
use super::visitor::Visitor;
use super::watched::Watched;

/// How long who asked waits for the end of a replay; it goes on without them.
const REPLAY_WAIT_MAX: Duration = Duration::from_secs(30);

/// A letter as it is shown.
#[derive(Debug, Clone)]
pub struct ShownLetter {
    pub record: ShownRecord,
    pub stage: String,
    pub kind: String,
    pub reason: String,
    /// `orders-0 17`: the record's place in the source.
    pub place: String,
}

/// Where a pipeline's letters are: the name of the cluster, the topic; `None`: it writes none.
pub fn topic(site: &Site, pipeline: &Watched) -> Option<(String, String)> {
    let plan = pipeline.control.plan();
    let letters = plan.pipeline.dead_letter.as_ref()?;
    let cluster = site.source_cluster(&plan.pipeline)?;
    Some((cluster.name.clone(), letters.topic.clone()))
}

/// The newest letters of a pipeline, at most so many.
pub async fn newest(
    site: &Site,
    visitor: &Visitor,
    pipeline: &Watched,
    count: usize,
) -> Result<Vec<ShownLetter>, Failure> {
    let Some((cluster, topic)) = topic(site, pipeline) else { return Ok(Vec::new()) };
    let viewer = site.viewer(&cluster, visitor, Operation::Describe).await?;
    // A topic that no letter was ever written to is not there yet.
    let Some(partitions) = viewer.partitions(&topic).await? else { return Ok(Vec::new()) };
    let request = PageRequest {
        topic,
        ranges: partitions.iter().map(|view| (view.partition, view.offsets)).collect(),
        from: RangeEnd::Newest,
        rows_max: count,
        filter: Filter::default(),
    };
    let records = viewer.page(request).await?.records;
    let letters = records.into_iter().filter_map(shown);
    let ours = |letter: &(String, ShownLetter)| letter.0.is_empty() || letter.0 == pipeline.name();
    Ok(letters.filter(ours).map(|(_, letter)| letter).collect())
}

/// With the pipeline that wrote it; `None`: the record is no letter.
fn shown(record: ShownRecord) -> Option<(String, ShownLetter)> {
    let texts: BTreeMap<&str, String> = record
        .headers
        .iter()
        .map(|(name, value)| {
            let bytes = value.as_ref().map_or(&[][..], |cut| &cut.bytes);
            (name.as_str(), String::from_utf8_lossy(bytes).into_owned())
        })
        .collect();
    let text = |name: &str| texts.get(name).cloned().unwrap_or_default();
    let stage = texts.get(dead_letter::STAGE)?.clone();
    let place = format!(
        "{}-{} {}",
        text(dead_letter::TOPIC),
        text(dead_letter::PARTITION),
        text(dead_letter::OFFSET)
    );
    let (kind, reason) = (text(dead_letter::KIND), text(dead_letter::REASON));
    let pipeline = text(dead_letter::PIPELINE);
    Some((pipeline, ShownLetter { stage, kind, reason, place, record }))
}

/// Sends the letters' records through again, each letter once. `None`: it takes long, and goes on.
///
/// # Errors
/// There are no letters, or the cluster does not take the records.
pub async fn replay(
    site: &Arc<Site>,
    pipeline: &str,
    stage: Option<String>,
) -> Result<Option<Replayed>, Failure> {
    let watched = site.pipeline(pipeline)?;
    let plan = watched.control.plan();
    let none = || Failure::not_found(format!("pipeline `{pipeline}` writes no dead letters"));
    let topic = plan.pipeline.dead_letter.as_ref().ok_or_else(none)?.topic.clone();
    let cluster = site.source_cluster(&plan.pipeline).ok_or_else(none)?.cluster.clone();
    let (group, name) = (format!("gristmill-{pipeline}-replay"), Some(pipeline.to_string()));
    let setup = ReplaySetup { cluster, topic, group, pipeline: name, dry_run: false };
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let picks = |stored: &replay::StoredLetter| {
            stage.as_ref().is_none_or(|stage| **stage == *stored.letter.stage)
        };
        runtime.block_on(replay::replay(&setup, picks))
    };
    let replaying = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(REPLAY_WAIT_MAX, replaying).await {
        Err(_) => Ok(None),
        Ok(Ok(Ok(replayed))) => Ok(Some(replayed)),
        Ok(Ok(Err(error))) => Err(Failure::new(StatusCode::CONFLICT, format!("{error:#}"))),
        Ok(Err(error)) => Err(Failure::from(anyhow::Error::from(error))),
    }
}
