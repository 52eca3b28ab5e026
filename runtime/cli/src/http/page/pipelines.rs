//! `/pipelines`: all of them, with what they do now.

use std::ops::Range;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, Response};
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use maud::{Markup, html};

use super::format;
use super::layout::{Frame, NoPage, Section, badge, nothing, segment};
use super::live::{self, Values};
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::time_text;
use crate::http::visitor::Visitor;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/pipelines", get(show)).route("/live/pipelines", get(stream))
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Html<String>, NoPage> {
    site.demand(&visitor, Operation::Describe)?;
    let live = Some("/live/pipelines".to_string());
    let frame = Frame { title: "Pipelines", section: Section::Pipelines, live };
    let values = values(&site);
    Ok(frame.around(html! {
        h1 { "Pipelines" }
        @if site.pipelines.is_empty() {
            (nothing("No pipeline runs in this process.", html! {
                p { "A pipeline is a TOML file. Check one with " code { "gristmill validate" } ", start it with "
                    code { "gristmill run PIPELINE.toml" } "." }
            }))
        } @else {
            (table(&site, 0..site.pipelines.len(), &values))
        }
    }))
}

async fn stream(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    live::stream(site, values)
}

fn values(site: &Site) -> Values {
    let mut values = Values::default();
    for index in 0..site.pipelines.len() {
        row_values(site, index, &mut values);
    }
    values
}

/// What changes in a pipeline's row.
pub fn row_values(site: &Site, index: usize, values: &mut Values) {
    let pipeline = &site.pipelines[index];
    let (snapshot, rates) = (pipeline.snapshot(), site.history.rates(index));
    let failed: u64 = snapshot.stages.iter().map(|stage| stage.counts.rows_failed).sum();
    let last_ms = snapshot.sinks.iter().filter_map(|sink| sink.last_commit_ms).max();
    let last = last_ms.and_then(|ms| i64::try_from(ms).ok()).map(time_text::ago);
    values.set(format!("state-{index}"), state(pipeline.state_name()));
    values.set(format!("rate-{index}"), format::rate(rates.records));
    values.set(format!("lag-{index}"), format::count(snapshot.lag));
    values.set(format!("failed-{index}"), failures(failed));
    values.set(format!("last-{index}"), last.unwrap_or_else(|| "—".to_string()));
    values.set(format!("generation-{index}"), pipeline.control.generation());
}

pub fn state(name: &str) -> Markup {
    let kind = match name {
        "running" => "good",
        "failed" => "bad",
        "starting" | "paused" => "wait",
        _ => "calm",
    };
    badge(kind, name)
}

pub fn failures(count: u64) -> Markup {
    html! { span class=[(count > 0).then_some("bad-text")] { (format::count(count)) } }
}

/// The pipelines of `range`.
pub fn table(site: &Site, range: Range<usize>, values: &Values) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Pipelines" {
            table {
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "State" }
                        th.number scope="col" { "Records" } th.number scope="col" { "Behind" }
                        th.number scope="col" { "Failed rows" } th.number scope="col" { "Last commit" }
                        th.number scope="col" { "Generation" } th scope="col" { "File" }
                    }
                }
                tbody {
                    @for index in range {
                        @let pipeline = &site.pipelines[index];
                        tr {
                            th scope="row" { a href={ "/pipelines/" (segment(pipeline.name())) } { (pipeline.name()) } }
                            td { (values.span(&format!("state-{index}"))) }
                            td.number { (values.span(&format!("rate-{index}"))) }
                            td.number { (values.span(&format!("lag-{index}"))) }
                            td.number { (values.span(&format!("failed-{index}"))) }
                            td.number { (values.span(&format!("last-{index}"))) }
                            td.number { (values.span(&format!("generation-{index}"))) }
                            td.mono.muted { (pipeline.path().display()) }
                        }
                    }
                }
            }
        }
    }
}
