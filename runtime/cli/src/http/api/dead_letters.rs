//! `/api/v1/pipelines/{name}/dead-letters`: the newest of them, and sending them through again.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gristmill_broker::Operation;
use serde::Deserialize;
use serde_json::{Value, json};

use super::message_json;
use crate::http::body::Body;
use crate::http::dead_letters::{self, ShownLetter};
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::visitor::Visitor;

/// Letters of one answer.
const LETTERS: usize = 100;

pub fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/pipelines/{name}/dead-letters", get(list))
        .route("/pipelines/{name}/dead-letters/replay", post(replay))
}

async fn list(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    let pipeline = site.pipeline(&name)?;
    let letters = dead_letters::newest(&site, &visitor, pipeline, LETTERS).await?;
    let json = |letter: &ShownLetter| {
        json!({
            "stage": letter.stage,
            "kind": letter.kind,
            "reason": letter.reason,
            "source": letter.place,
            "message": message_json(&letter.record),
        })
    };
    Ok(Json(letters.iter().map(json).collect()))
}

/// Which letters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Picked {
    /// Absent: those of all stages.
    stage: Option<String>,
}

/// 202: it takes long, and goes on.
async fn replay(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Body(picked): Body<Picked>,
) -> Result<(StatusCode, Json<Value>), Failure> {
    site.demand(&visitor, Operation::Alter)?;
    tracing::info!(pipeline = name, by = visitor.name(), "a replay of dead letters was asked for");
    let Some(replayed) = dead_letters::replay(&site, &name, picked.stage).await? else {
        return Ok((StatusCode::ACCEPTED, Json(json!({ "said": "The replay goes on." }))));
    };
    let sent: u64 = replayed.sent.values().sum();
    let answer = json!({
        "said": format!("{sent} records were sent through again."),
        "sent": replayed.sent,
        "sent_before": replayed.sent_before,
        "left": replayed.left,
        "complete": !replayed.stopped_full,
    });
    Ok((StatusCode::OK, Json(answer)))
}
