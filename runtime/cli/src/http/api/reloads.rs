//! `/api/v1/pipelines/{name}`: changes while it runs: reloads with their receipts, candidates of stages, and rows seen
//! as they pass.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gristmill_broker::Operation;
use gristmill_engine::reload::{Receipt, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::body::Body;
use crate::http::failure::Failure;
use crate::http::page::live;
use crate::http::site::Site;
use crate::http::visitor::Visitor;

/// Rows per second of a tap, unless asked for otherwise.
const TAP_ROWS_PER_SECOND: u32 = 10;

type Answer = Result<Json<Value>, Failure>;

pub fn routes() -> Router<Arc<Site>> {
    let stage = "/pipelines/{name}/stages/{stage}";
    Router::new()
        .route("/pipelines/{name}/reload", post(reload))
        .route("/pipelines/{name}/receipts", get(receipts))
        .route(&format!("{stage}/tap"), get(tap))
        .route(&format!("{stage}/shadow"), get(shadow).put(set_shadow).delete(remove_shadow))
        .route(&format!("{stage}/promote"), post(promote))
}

/// Answers when the change holds, or 409 with why it does not.
async fn reload(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Answer {
    site.demand(&visitor, Operation::Alter)?;
    tracing::info!(pipeline = name, by = visitor.name(), "a reload was asked for");
    answer(site.pipeline(&name)?.control.reload().await)
}

async fn receipts(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Answer {
    site.demand(&visitor, Operation::Describe)?;
    let control = &site.pipeline(&name)?.control;
    Ok(Json(json!({ "receipts": control.receipts(), "last_refusal": control.last_refusal() })))
}

#[derive(Debug, Deserialize)]
struct TapQuery {
    rate: Option<u32>,
}

async fn tap(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((name, stage)): Path<(String, String)>,
    Query(asked): Query<TapQuery>,
) -> Result<Response, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    let rate = asked.rate.unwrap_or(TAP_ROWS_PER_SECOND);
    live::tap(&site, &name, &stage, rate, |row| Event::default().json_data(row).ok())
}

async fn shadow(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((name, stage)): Path<(String, String)>,
) -> Answer {
    site.demand(&visitor, Operation::Describe)?;
    let control = &site.pipeline(&name)?.control;
    control.plan().stage_index(&stage).map_err(|error| Failure::not_found(error.to_string()))?;
    let report = control.shadow(&stage);
    let none =
        || Failure::not_found(format!("stage `{stage}` of pipeline `{name}` has no candidate"));
    let report = serde_json::to_value(report.ok_or_else(none)?);
    report.map(Json).map_err(|error| Failure::from(anyhow::Error::from(error)))
}

/// A candidate; its path begins at the folder of the pipeline file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    module: PathBuf,
}

async fn set_shadow(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((name, stage)): Path<(String, String)>,
    Body(candidate): Body<Candidate>,
) -> Answer {
    site.demand(&visitor, Operation::Alter)?;
    answer(site.pipeline(&name)?.control.set_shadow(&stage, Some(candidate.module)).await)
}

async fn remove_shadow(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((name, stage)): Path<(String, String)>,
) -> Answer {
    site.demand(&visitor, Operation::Alter)?;
    answer(site.pipeline(&name)?.control.set_shadow(&stage, None).await)
}

async fn promote(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((name, stage)): Path<(String, String)>,
) -> Answer {
    site.demand(&visitor, Operation::Alter)?;
    answer(site.pipeline(&name)?.control.promote(&stage).await)
}

fn answer(done: Result<Receipt, Refusal>) -> Answer {
    match done {
        Ok(receipt) => Ok(Json(json!(receipt))),
        Err(refusal) => {
            let mut body = json!(refusal);
            body["error"] = json!(refusal.reason);
            Err(Failure::with_body(StatusCode::CONFLICT, body))
        }
    }
}
