//! Rows seen as they pass behind a stage, on the pipeline's page.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::response::sse::Event;
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use gristmill_connectors::message_page::Cut;
use gristmill_engine::plan::Plan;
use gristmill_engine::tap::{SOURCE, TapRow};
use maud::{Markup, html};

use super::layout::segment;
use super::{live, message_rows};
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::visitor::Visitor;

/// As many as somebody can follow.
const ROWS_PER_SECOND: u32 = 5;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/live/pipelines/{name}/stages/{stage}", get(tap))
}

async fn tap(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((name, stage)): Path<(String, String)>,
) -> Result<Response, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    live::tap(&site, &name, &stage, ROWS_PER_SECOND, |row| {
        let row = serde_json::json!({ "row": row_html(&row).into_string(), "skipped": 0 });
        Event::default().event("row").json_data(row).ok()
    })
}

fn row_html(row: &TapRow) -> Markup {
    let json = serde_json::to_vec(&row.row).unwrap_or_default();
    html! {
        tr {
            td.mono { (row.topic) "-" (row.partition) " " (row.offset) }
            td { (message_rows::unfolded(&Cut::new(&json, usize::MAX))) }
        }
    }
}

/// The stage whose rows are wanted, if it is one of the plan's.
pub fn chosen<'a>(plan: &Plan, wanted: &'a str) -> Option<&'a str> {
    let known = wanted == SOURCE || plan.stages.iter().any(|stage| stage.name == wanted);
    known.then_some(wanted)
}

/// Stages to choose from, and the rows of the one that is chosen.
pub fn section(pipeline: &str, plan: &Plan, chosen: Option<&str>) -> Markup {
    let stages = [SOURCE].into_iter().chain(plan.stages.iter().map(|stage| stage.name.as_str()));
    html! {
        section #rows {
            h2 { "Rows as they pass" }
            nav.tabs aria-label="After which stage" {
                @for stage in stages {
                    a href={ "?rows=" (segment(stage)) "#rows" } aria-current=[(chosen == Some(stage)).then_some("true")] {
                        @if stage == SOURCE { "Source" } @else { "After " (stage) }
                    }
                }
            }
            @if let Some(stage) = chosen {
                div.bar.spread {
                    p.muted { "A sample: at most " (ROWS_PER_SECOND) " rows a second, the newest first. The flow never waits for it." }
                    button type="button" aria-pressed="false" data-tail="tapped" data-starts
                        data-stream={ "/live/pipelines/" (segment(pipeline)) "/stages/" (segment(stage)) } { "Show rows" }
                    span #tail-said .muted role="status" {}
                }
                div.scroll tabindex="0" role="region" aria-label={ "Rows after " (stage) } {
                    table.messages {
                        thead { tr { th scope="col" { "Record" } th scope="col" { "Row" } } }
                        tbody #tapped {}
                    }
                }
            } @else { p.muted { "Choose a stage here or in the graph." } }
        }
    }
}
