//! `/api/v1`: what the page shows and does, for programs. docs/http-api.md lists it.

mod dead_letters;
mod messages;
mod pipelines;
mod reloads;
mod topics;

use std::sync::Arc;

use axum::Router;

use super::site::Site;

pub use messages::{message_json, record};
pub use topics::existing;

pub fn routes() -> Router<Arc<Site>> {
    Router::new()
        .merge(pipelines::routes())
        .merge(reloads::routes())
        .merge(dead_letters::routes())
        .merge(topics::routes())
        .merge(messages::routes())
}
