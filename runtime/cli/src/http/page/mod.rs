//! The page: HTML made here, escaped by maud; what is live comes as server-sent events (`live`).
//!
//! One file for each page. Nothing changes by these addresses: forms and buttons call the API.

mod clusters;
mod file_listing;
mod format;
mod graph;
mod layout;
mod letters;
pub mod live;
mod message_rows;
mod messages;
mod overview;
mod pipeline;
mod pipelines;
mod plot;
mod receipts;
mod rows;
mod tables;
mod topic;
mod topics;

use std::sync::Arc;

use axum::Router;

use super::site::Site;

pub fn routes() -> Router<Arc<Site>> {
    Router::new()
        .merge(overview::routes())
        .merge(clusters::routes())
        .merge(topics::routes())
        .merge(topic::routes())
        .merge(messages::routes())
        .merge(pipelines::routes())
        .merge(pipeline::routes())
        .merge(rows::routes())
        .merge(tables::routes())
}
