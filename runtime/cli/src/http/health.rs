//! `/health/live` and `/health/ready`: for whoever restarts the process and whoever sends it work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use gristmill_engine::control::RunState;
use serde_json::{Value, json};

use super::site::Site;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready))
}

/// The process answers.
async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// Every pipeline works or has done its work; 503 while one is starting or if one has failed. A pipeline that somebody
/// paused is ready.
async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, Json<Value>) {
    let states: Vec<_> = site.pipelines.iter().map(|pipeline| pipeline.control.state()).collect();
    let count = |is: fn(&RunState) -> bool| states.iter().filter(|state| is(state)).count();
    let failed = count(|state| matches!(state, RunState::Failed { .. }));
    let starting = count(|state| matches!(state, RunState::Starting));
    let stopping = site.stop.is_cancelled();
    let ready = failed + starting == 0 && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let answer = json!({
        "ready": ready,
        "stopping": stopping,
        "pipelines_starting": starting,
        "pipelines_failed": failed,
    });
    (status, Json(answer))
}
