//! `/`: what is here, at a glance.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures::future::join_all;
use gristmill_broker::Operation;
use gristmill_connectors::viewer::ClusterView;
use maud::{Markup, html};
use tokio::time::timeout;

use super::format;
use super::layout::{Frame, NoPage, Section, figure, nothing, segment};
use super::live::{self, Values};
use super::pipelines;
use crate::http::failure::Failure;
use crate::http::groups;
use crate::http::process;
use crate::http::site::{NamedCluster, Site};
use crate::http::visitor::Visitor;

/// A cluster, or why nothing is told of it.
type Look = Result<Arc<ClusterView>, String>;

/// Pipelines that are listed here; the others stand on their own page.
const PIPELINES_SHOWN: usize = 10;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/", get(show)).route("/live/overview", get(stream))
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Html<String>, NoPage> {
    let sees_pipelines = site.may(&visitor, Operation::Describe);
    let seen = site.clusters.iter().filter(|it| it.is_built_in() || sees_pipelines);
    let (ours, who) = (&*site, &visitor);
    let looks = seen.map(|named| async move { (named, look(ours, who, named).await) });
    let clusters = join_all(looks).await;
    let values = if sees_pipelines { values(&site) } else { Values::default() };
    let live = sees_pipelines.then(|| "/live/overview".to_string());
    let frame = Frame { title: "Overview", section: Section::Overview, live };
    Ok(frame.around(html! {
        h1 { "Overview" }
        (figures(&site, &clusters, &values))
        section {
            h2 { "Clusters" }
            @if clusters.is_empty() {
                (nothing("No cluster here.", html! {}))
            }
            div.cards {
                @for (named, view) in &clusters { (cluster_card(&site, named, view)) }
            }
            @if sees_pipelines && site.shows_profiles() {
                p { a href="/clusters" { "Clusters of your environments" } }
            }
        }
        @if sees_pipelines { (pipelines_section(&site, &values)) }
    }))
}

async fn stream(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    live::stream(site, values)
}

async fn look(site: &Site, visitor: &Visitor, named: &NamedCluster) -> Look {
    let viewer = site.viewer(&named.name, visitor, Operation::Describe).await;
    let viewer = viewer.map_err(|failure| failure.message().to_string())?;
    if named.is_built_in() {
        return viewer.recent_view().await.map_err(|error| format!("{error:#}"));
    }
    // A cluster that is away must not hold up what is told of the others.
    match timeout(groups::WAIT_MAX, viewer.recent_view()).await {
        Ok(view) => view.map_err(|error| format!("{error:#}")),
        Err(_) => Err("The cluster has not answered yet: look again in a moment.".to_string()),
    }
}

fn values(site: &Site) -> Values {
    let mut values = Values::default();
    let (mut rate, mut lag, mut running) = (0.0, 0, 0);
    for (index, pipeline) in site.pipelines.iter().enumerate() {
        rate += site.history.rates(index).records;
        lag += pipeline.snapshot().lag;
        running += usize::from(pipeline.state_name() == "running");
        if index < PIPELINES_SHOWN {
            pipelines::row_values(site, index, &mut values);
        }
    }
    values.set("running", format!("{running} of {}", site.pipelines.len()));
    values.set("rate", format::rate(rate));
    values.set("lag", format::count(lag));
    if let Some(resident_bytes) = process::resident() {
        values.set("memory", format::bytes(resident_bytes));
    }
    values
}

fn figures(site: &Site, clusters: &[(&NamedCluster, Look)], values: &Values) -> Markup {
    let views = clusters.iter().filter_map(|(_, view)| view.as_ref().ok());
    let topics: usize =
        views.map(|view| view.topics.iter().filter(|it| !it.internal).count()).sum();
    html! {
        dl.figures {
            @if !site.pipelines.is_empty() {
                (figure("Pipelines running", values.span("running")))
                (figure("Records read", values.span("rate")))
                (figure("Records behind", values.span("lag")))
            }
            (figure("Topics", html! { (format::count(topics as u64)) }))
            (figure("Memory", values.span("memory")))
        }
    }
}

fn cluster_card(site: &Site, named: &NamedCluster, view: &Look) -> Markup {
    let addresses = site.broker.as_ref().filter(|_| named.is_built_in()).map(|it| &it.addresses);
    html! {
        article.card {
            h3 { a href={ "/clusters/" (segment(&named.name)) "/topics" } { (named.name) } }
            p.muted {
                @if named.is_built_in() { "Built-in broker, environment local" } @else { "Kafka cluster" }
            }
            dl.pairs {
                dt { "Address" }
                dd.mono {
                    @match addresses {
                        Some(addresses) => { @for address in addresses { div { (address) } } },
                        None => { (named.cluster.bootstrap) },
                    }
                }
                @match view {
                    Ok(view) => {
                        dt { "Brokers" } dd { (view.brokers.len()) }
                        dt { "Topics" } dd { (view.topics.iter().filter(|it| !it.internal).count()) }
                        dt { "Partitions" }
                        dd { (view.topics.iter().map(|it| i64::from(it.partitions)).sum::<i64>()) }
                    },
                    Err(_) => {},
                }
                @if let Some(built_in) = site.broker.as_ref().filter(|_| named.is_built_in()) {
                    dt { "Cluster id" } dd.mono { (built_in.broker.cluster_id()) }
                    dt { "Keys" }
                    dd { @if built_in.keyed.is_some() { "API keys are asked for" } @else { "Open to this machine" } }
                }
            }
            @if let Err(reason) = view { p.alert { (reason) } }
        }
    }
}

fn pipelines_section(site: &Site, values: &Values) -> Markup {
    let more = site.pipelines.len().saturating_sub(PIPELINES_SHOWN);
    html! {
        section {
            h2 { "Pipelines" }
            @if site.pipelines.is_empty() {
                (nothing("No pipeline runs in this process.", html! {
                    p { "Start some with " code { "gristmill run PIPELINE.toml" } "." }
                }))
            } @else {
                (pipelines::table(site, 0..site.pipelines.len().min(PIPELINES_SHOWN), values))
            }
            @if more > 0 { p { a href="/pipelines" { "All " (site.pipelines.len()) " pipelines" } } }
        }
    }
}
