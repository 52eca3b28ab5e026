//! `/api/v1/pipelines`: how they are, and what can be done with them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use gristmill_broker::Operation;
use gristmill_engine::control::Control;
use serde_json::{Value, json};

use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::visitor::Visitor;

type Answer = Result<Json<Value>, Failure>;

pub fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/pipelines", get(list))
        .route("/pipelines/{name}", get(show))
        .route("/pipelines/{name}/pause", post(pause))
        .route("/pipelines/{name}/resume", post(resume))
}

async fn list(State(site): State<Arc<Site>>, Extension(visitor): Extension<Visitor>) -> Answer {
    site.demand(&visitor, Operation::Describe)?;
    Ok(Json(site.pipelines.iter().map(|pipeline| pipeline.json()).collect()))
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Answer {
    site.demand(&visitor, Operation::Describe)?;
    Ok(Json(site.pipeline(&name)?.json()))
}

/// Takes effect between two micro-batches: the answer does not wait for that, `state` tells.
async fn pause(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Answer {
    steer(&site, &visitor, &name, "pause", Control::pause)
}

async fn resume(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Answer {
    steer(&site, &visitor, &name, "resume", Control::resume)
}

fn steer(site: &Site, visitor: &Visitor, name: &str, asked: &str, act: fn(&Control)) -> Answer {
    site.demand(visitor, Operation::Alter)?;
    act(&site.pipeline(name)?.control);
    tracing::info!(pipeline = name, by = visitor.name(), "{asked} was asked for");
    Ok(Json(json!({ "name": name, "asked": asked })))
}
