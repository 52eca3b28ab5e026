//! `/pipelines/{name}`: one pipeline: its graph with what passes now, what it did lately, its file.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{Html, Response};
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use gristmill_engine::config::{Pipeline, SinkConfig, SinkKind};
use gristmill_engine::guarantee::Guarantee;
use gristmill_engine::plan::Plan;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Frame, NoPage, Section, badge, crumbs, figure, segment};
use super::live::{self, Values};
use super::pipelines::{failures, state};
use super::{file_listing, format, graph, letters, plot, receipts, rows};
use crate::http::dead_letters;
use crate::http::failure::Failure;
use crate::http::site::Site;
use crate::http::time_text;
use crate::http::visitor::Visitor;
use crate::http::watched::{self, Watched};

/// Points of a plot: every other reading of ten minutes.
const PLOT_POINTS_MAX: usize = 150;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/pipelines/{name}", get(show)).route("/live/pipelines/{name}", get(stream))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PipelineQuery {
    /// The stage behind which rows are seen.
    rows: String,
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Query(asked): Query<PipelineQuery>,
) -> Result<Html<String>, NoPage> {
    site.demand(&visitor, Operation::Describe)?;
    let pipeline = site.pipeline(&name)?;
    let plan = pipeline.control.plan();
    let values = values(&site, &name);
    let chosen = rows::chosen(&plan, &asked.rows);
    let live = Some(format!("/live/pipelines/{}", segment(&name)));
    let frame = Frame { title: &name, section: Section::Pipelines, live };
    let may_change = site.may(&visitor, Operation::Alter);
    let letters = match dead_letters::topic(&site, pipeline) {
        Some(place) => {
            let newest =
                dead_letters::newest(&site, &visitor, pipeline, letters::LETTERS_SHOWN).await;
            letters::section(&name, &place, newest, may_change)
        }
        None => html! {},
    };
    Ok(frame.around(html! {
        (crumbs(&[("Pipelines", "/pipelines".to_string())]))
        div.head {
            h1 { (name) " " (values.span("state")) }
            @if may_change { (actions(&name)) }
        }
        div #trouble { (values.inner("trouble")) }
        (figures(&values))
        section { h2 { "Flow" } (graph::draw(&plan, &values, chosen)) (plots(&values)) }
        (rows::section(&name, &plan, chosen))
        section { h2 { "Stages" } (stages_table(&plan, &values)) }
        section { h2 { "Sinks" } (sinks_table(&plan, &values)) }
        section { h2 { "Reloads" } div #receipts { (values.inner("receipts")) } }
        (letters)
        section { h2 { "File" } p.muted.mono { (pipeline.path().display()) } div #file { (values.inner("file")) } }
    }))
}

async fn stream(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    site.pipeline(&name)?;
    live::stream(site, move |site| values(site, &name))
}

fn actions(name: &str) -> Markup {
    let api = format!("/api/v1/pipelines/{}", segment(name));
    html! {
        div.actions role="group" aria-label="Actions" {
            button type="button" data-api={ (api) "/pause" } data-method="POST" { "Pause" }
            button type="button" data-api={ (api) "/resume" } data-method="POST" { "Resume" }
            button type="button" data-api={ (api) "/reload" } data-method="POST" { "Reload" }
            p.answer role="alert" {}
        }
    }
}

fn values(site: &Site, name: &str) -> Values {
    let mut values = Values::default();
    let Some(index) = site.pipelines.iter().position(|it| it.name() == name) else { return values };
    let pipeline = &site.pipelines[index];
    let (snapshot, track) = (pipeline.snapshot(), site.history.track(index));
    values.set("state", state(pipeline.state_name()));
    values.set("trouble", trouble(pipeline, snapshot.rewinds, snapshot.last_failure.as_deref()));
    values.set("file", file_listing::render(pipeline.path()));
    values.set("receipts", receipts::table(&pipeline.control.receipts()));
    values.set("rate", format::rate(track.rates.records));
    values.set("records", format::count(snapshot.records));
    values.set("lag", format::count(snapshot.lag));
    values.set("generation", pipeline.control.generation());
    let failed: u64 = snapshot.stages.iter().map(|stage| stage.counts.rows_failed).sum();
    values.set("failed", failures(failed));
    graph::values(&pipeline.control.plan(), &snapshot, &track.rates, &mut values);
    let points = |of: fn(&crate::http::history::Point) -> f64| {
        let step = track.points.len().div_ceil(PLOT_POINTS_MAX).max(1);
        track.points.iter().rev().step_by(step).map(of).collect::<Vec<_>>().into_iter().rev()
    };
    values.set("plot-rate", plot::draw(&points(|point| point.rate).collect::<Vec<_>>()));
    values.set("plot-lag", plot::draw(&points(|point| point.lag as f64).collect::<Vec<_>>()));
    for (index, stage) in snapshot.stages.iter().enumerate() {
        values.set(format!("in-{index}"), format::count(stage.counts.rows_in));
        values.set(format!("out-{index}"), format::count(stage.counts.rows_out));
        values.set(format!("filtered-{index}"), format::count(stage.counts.rows_filtered));
        values.set(format!("failed-{index}"), failures(stage.counts.rows_failed));
        values.set(format!("memory-{index}"), format::bytes(stage.memory_bytes));
        let busy = track.rates.stages_busy.get(index).copied().unwrap_or(0.0);
        values.set(format!("busy-{index}"), format!("{:.0}%", busy * 100.0));
    }
    for (index, sink) in snapshot.sinks.iter().enumerate() {
        let last = sink.last_commit_ms.and_then(|ms| i64::try_from(ms).ok());
        values.set(format!("committed-{index}"), format::count(sink.rows_committed));
        values.set(format!("commits-{index}"), format::count(sink.commits));
        values.set(format!("last-{index}"), last.map_or("—".to_string(), time_text::ago));
        values.set(format!("detail-{index}"), sink.last_commit.as_str());
    }
    values
}

/// Why it stands still, or what it got over.
fn trouble(pipeline: &Watched, rewinds: u64, last_failure: Option<&str>) -> Markup {
    let state = pipeline.control.state();
    html! {
        @if let Some(error) = watched::error(&state) { p.alert { (error) } }
        (receipts::refusal(pipeline.control.last_refusal().as_ref()))
        @if rewinds > 0 {
            p.note {
                "Went back to what is committed " (rewinds) @if rewinds == 1 { " time" } @else { " times" }
                @if let Some(reason) = last_failure { ", the last time because: " (reason) }
            }
        }
    }
}

fn figures(values: &Values) -> Markup {
    html! {
        dl.figures {
            (figure("Reading", values.span("rate")))
            (figure("Behind", values.span("lag")))
            (figure("Records so far", values.span("records")))
            (figure("Failed rows", values.span("failed")))
            (figure("Generation", values.span("generation")))
        }
    }
}

fn plots(values: &Values) -> Markup {
    let plot = |name: &str, id: &str| {
        html! {
            figure.plot {
                figcaption { span { (name) } span { "last ten minutes" } }
                div id=(id) { (values.inner(id)) }
            }
        }
    };
    html! { div.plots { (plot("Records read per second", "plot-rate")) (plot("Records behind", "plot-lag")) } }
}

fn stages_table(plan: &Plan, values: &Values) -> Markup {
    let value = |name: &str, index: usize| values.span(&format!("{name}-{index}"));
    html! {
        @if plan.stages.is_empty() { p.muted { "None: records go to the sinks as they are." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Stages" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Stage" } th scope="col" { "Module" } th scope="col" { "Rows that fail" }
                            th.number scope="col" { "In" } th.number scope="col" { "Out" }
                            th.number scope="col" { "Filtered" } th.number scope="col" { "Failed" }
                            th.number scope="col" { "Busy" } th.number scope="col" { "Memory" }
                        }
                    }
                    tbody {
                        @for (index, stage) in plan.stages.iter().enumerate() {
                            @let (named, version) = stage.stage.described_as();
                            tr {
                                th scope="row" { (stage.name) }
                                td {
                                    @if named.is_empty() { "—" } @else { (named) " " span.muted { (version) } }
                                    span.hint.mono title="SHA-256 of the module" { (stage.stage.module().hash().chars().take(12).collect::<String>()) }
                                }
                                td { (on_failure(stage.on_failure)) }
                                td.number { (value("in", index)) } td.number { (value("out", index)) }
                                td.number { (value("filtered", index)) } td.number { (value("failed", index)) }
                                td.number { (value("busy", index)) } td.number { (value("memory", index)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn on_failure(on_failure: gristmill_engine::config::OnFailure) -> &'static str {
    use gristmill_engine::config::OnFailure;
    match on_failure {
        OnFailure::Stop => "stop the pipeline",
        OnFailure::Skip => "are skipped",
        OnFailure::DeadLetter => "are dead letters",
    }
}

fn sinks_table(plan: &Plan, values: &Values) -> Markup {
    let value = |name: &str, index: usize| values.span(&format!("{name}-{index}"));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Sinks" {
            table {
                thead {
                    tr {
                        th scope="col" { "Sink" } th scope="col" { "Writes to" } th scope="col" { "Promise" }
                        th.number scope="col" { "Rows" } th.number scope="col" { "Commits" }
                        th.number scope="col" { "Last" } th scope="col" { "Last commit" }
                    }
                }
                tbody {
                    @for (index, sink) in plan.pipeline.sinks.iter().enumerate() {
                        tr {
                            th scope="row" { (sink.name) }
                            td { (target(&plan.pipeline, sink)) }
                            td { (promise(&plan.pipeline, sink)) }
                            td.number { (value("committed", index)) } td.number { (value("commits", index)) }
                            td.number { (value("last", index)) } td.muted { (value("detail", index)) }
                        }
                    }
                }
            }
        }
    }
}

fn target(pipeline: &Pipeline, sink: &SinkConfig) -> Markup {
    match &sink.kind {
        SinkKind::Topic(topic) => html! { "topic " (topic.topic) },
        SinkKind::Delta(delta) => html! {
            "table "
            a href={ "/tables/" (segment(&pipeline.name)) "/" (segment(&sink.name)) } { (delta.table) }
        },
    }
}

fn promise(pipeline: &Pipeline, sink: &SinkConfig) -> Markup {
    let guarantee = Guarantee::of(pipeline, sink);
    let (kind, word) = match guarantee.is_exactly_once() {
        true => ("good", "exactly once"),
        false => ("wait", "at least once"),
    };
    html! { span title=(guarantee) { (badge(kind, word)) } }
}
