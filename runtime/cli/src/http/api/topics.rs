//! `/api/v1/clusters`: clusters and their topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use gristmill_broker::Operation;
use gristmill_connectors::NotAllowed;
use gristmill_connectors::admin::TopicSummary;
use gristmill_connectors::viewer::{self, PartitionView, Setting, Viewer};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::body::Body;
use crate::http::environments;
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::visitor::Visitor;

/// Partitions that one topic may be made with here; Kafka's own tools have no limit.
const PARTITIONS_MAX: i32 = 10_000;

type Answer = Result<Json<Value>, Failure>;

pub fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/clusters", get(clusters))
        .route("/clusters/{cluster}/topics", get(list).post(create))
        .route("/clusters/{cluster}/topics/{topic}", get(show).delete(delete))
        .route("/clusters/{cluster}/topics/{topic}/settings", put(change_settings))
}

async fn clusters(State(site): State<Arc<Site>>, Extension(visitor): Extension<Visitor>) -> Answer {
    let seen = site
        .clusters
        .iter()
        .filter(|cluster| cluster.is_built_in() || site.may(&visitor, Operation::Describe));
    let json = |cluster: &crate::http::site::NamedCluster| {
        json!({
            "name": cluster.name,
            "bootstrap": cluster.cluster.bootstrap,
            "built_in": cluster.is_built_in(),
            "environment": null,
        })
    };
    let mut clusters: Vec<_> = seen.map(json).collect();
    if site.shows_profiles() && site.may(&visitor, Operation::Describe) {
        clusters.extend(of_environments()?);
    }
    Ok(Json(Value::from(clusters)))
}

/// The clusters of the user's profiles; no secret of theirs.
fn of_environments() -> Result<Vec<Value>, Failure> {
    let profiles = environments::read()?;
    let mut clusters = Vec::new();
    for (environment, known) in &profiles.environments {
        clusters.extend(known.clusters.iter().map(|(name, profile)| {
            json!({
                "name": environments::address_name(environment, name),
                "bootstrap": profile.bootstrap,
                "built_in": false,
                "environment": environment,
            })
        }));
    }
    Ok(clusters)
}

async fn list(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(cluster): Path<String>,
) -> Answer {
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let topics = viewer.view().await?.topics.into_iter();
    let json = |topic: TopicSummary| {
        json!({
            "name": topic.name,
            "partitions": topic.partitions,
            "replication_factor": topic.replication_factor,
            "internal": topic.internal,
        })
    };
    Ok(Json(topics.map(json).collect()))
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
) -> Answer {
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let partitions = existing(&viewer, &topic).await?;
    let settings = viewer.settings(std::slice::from_ref(&topic)).await?.remove(&topic);
    let partition = |view: PartitionView| {
        json!({
            "partition": view.partition,
            "leader": view.leader,
            "replicas": view.replicas,
            "in_sync": view.in_sync,
            "earliest": view.offsets.begin,
            "end": view.offsets.end,
        })
    };
    let setting = |setting: Setting| {
        let is_default = setting.is_default;
        (setting.name, json!({ "value": setting.value, "is_default": is_default }))
    };
    Ok(Json(json!({
        "name": topic,
        "partitions": partitions.into_iter().map(partition).collect::<Vec<_>>(),
        "settings": settings.unwrap_or_default().into_iter().map(setting).collect::<serde_json::Map<_, _>>(),
    })))
}

/// The partitions of a topic that must be there.
pub async fn existing(viewer: &Viewer, topic: &str) -> Result<Vec<PartitionView>, Failure> {
    let partitions = viewer.partitions(topic).await?;
    partitions.ok_or_else(|| Failure::not_found(format!("there is no topic `{topic}` here")))
}

/// A topic to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTopic {
    name: String,
    /// Absent: 1.
    partitions: Option<i32>,
    /// Absent: the cluster's default.
    replication_factor: Option<i32>,
    /// How long records are kept, in ms; -1: for ever; absent: the cluster's default.
    retention_ms: Option<i64>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
}

async fn create(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(cluster): Path<String>,
    Body(new): Body<NewTopic>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let partitions = new.partitions.unwrap_or(1);
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        let message = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {partitions}");
        return Err(Failure::bad_request(message));
    }
    let mut settings = new.settings;
    if let Some(retention_ms) = new.retention_ms {
        settings.insert("retention.ms".to_string(), retention_ms.to_string());
    }
    let viewer = site.viewer(&cluster, &visitor, Operation::Alter).await?;
    let (name, replication_factor) = (new.name, new.replication_factor);
    let new = viewer::NewTopic { name: name.clone(), partitions, replication_factor, settings };
    viewer.create_topic(new).await.map_err(refused)?;
    tracing::info!(topic = name, partitions, by = visitor.name(), "made on the page");
    Ok((StatusCode::CREATED, Json(json!({ "name": name, "partitions": partitions }))))
}

async fn delete(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
) -> Answer {
    let viewer = site.viewer(&cluster, &visitor, Operation::Alter).await?;
    existing(&viewer, &topic).await?;
    viewer.delete_topic(&topic).await.map_err(refused)?;
    tracing::info!(topic, by = visitor.name(), "deleted on the page");
    Ok(Json(json!({ "deleted": topic })))
}

/// `null` takes the topic's own value away; settings that are not named stay.
async fn change_settings(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
    Body(changes): Body<BTreeMap<String, Option<String>>>,
) -> Answer {
    let viewer = site.viewer(&cluster, &visitor, Operation::Alter).await?;
    existing(&viewer, &topic).await?;
    let changed: Vec<_> = changes.keys().cloned().collect();
    viewer.change_settings(&topic, changes).await.map_err(refused)?;
    tracing::info!(topic, ?changed, by = visitor.name(), "settings changed on the page");
    Ok(Json(json!({ "topic": topic, "changed": changed })))
}

/// What the cluster does not accept is a mistake of who asked, unless it is a right that is missing.
pub fn refused(error: anyhow::Error) -> Failure {
    match error.is::<NotAllowed>() {
        true => Failure::from(error),
        false => Failure::bad_request(format!("{error:#}")),
    }
}
