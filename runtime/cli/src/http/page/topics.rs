//! `/clusters/{cluster}/topics`: the topics of a cluster, so many at a time; and the dialog that makes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use gristmill_connectors::admin::TopicSummary;
use gristmill_connectors::viewer::{OffsetRange, Setting, Viewer};
use gristmill_engine::offsets::{self, TopicPartition};
use maud::{Markup, html};
use serde::Deserialize;

use super::format;
use super::layout::{Frame, NoPage, Section, nothing, query, segment};
use crate::http::groups::{self, TopicGroup};
use crate::http::site::{NamedCluster, Site};
use crate::http::sizes;
use crate::http::visitor::Visitor;

/// Topics of one page.
const ROWS: usize = 50;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/topics", get(first)).route("/clusters/{cluster}/topics", get(show))
}

/// Those of the first cluster.
async fn first(State(site): State<Arc<Site>>) -> Response {
    match site.clusters.first() {
        Some(named) => {
            Redirect::to(&format!("/clusters/{}/topics", segment(&named.name))).into_response()
        }
        None => {
            let frame = Frame { title: "Topics", section: Section::Topics, live: None };
            let none = nothing("No pipeline of this process reads or writes topics.", html! {});
            frame.around(html! { h1 { "Topics" } (none) }).into_response()
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopicsQuery {
    filter: String,
    /// From 1.
    page: String,
    internal: String,
}

/// What is shown of a topic.
struct Row {
    topic: TopicSummary,
    records: u64,
    bytes: Option<u64>,
    retention: Option<String>,
    /// Absent: not told.
    groups: Option<Vec<TopicGroup>>,
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path(cluster): Path<String>,
    Query(asked): Query<TopicsQuery>,
) -> Result<Html<String>, NoPage> {
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let view = viewer.recent_view().await?;
    let (filter, with_internal) = (asked.filter.trim().to_lowercase(), !asked.internal.is_empty());
    let fits = |topic: &&TopicSummary| {
        (with_internal || !topic.internal) && topic.name.to_lowercase().contains(&filter)
    };
    let fitting: Vec<TopicSummary> = view.topics.iter().filter(fits).cloned().collect();
    let pages = fitting.len().div_ceil(ROWS).max(1);
    let page = asked.page.parse().unwrap_or(1).clamp(1, pages);
    let shown: Vec<_> = fitting.iter().skip((page - 1) * ROWS).take(ROWS).cloned().collect();
    let named = site.cluster(&cluster)?;
    let rows = rows(&site, &visitor, &named, &viewer, shown).await?;
    let frame = Frame { title: "Topics", section: Section::Topics, live: None };
    let pager = Pager { cluster: &cluster, asked: &asked, page, pages, count: fitting.len() };
    Ok(frame.around(html! {
        div.head {
            h1 { "Topics" }
            div.actions {
                button.primary type="button" data-opens="create-topic" { "Create topic" }
            }
        }
        (cluster_tabs(&site, &cluster))
        (search(&cluster, &asked))
        @if rows.is_empty() {
            (nothing(if filter.is_empty() { "No topic yet." } else { "No topic with this in its name." }, html! {}))
        } @else {
            (table(&cluster, &rows))
            (pager.render())
        }
        (create_dialog(&cluster))
    }))
}

async fn rows(
    site: &Site,
    visitor: &Visitor,
    named: &NamedCluster,
    viewer: &Arc<Viewer>,
    topics: Vec<TopicSummary>,
) -> Result<Vec<Row>, NoPage> {
    let places = topics.iter().flat_map(|topic| {
        let name: Arc<str> = topic.name.as_str().into();
        (0..topic.partitions).map(move |number| TopicPartition::new(name.clone(), number))
    });
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let (ranges, settings, groups, sizes) = tokio::join!(
        viewer.offsets(places.collect()),
        viewer.settings(&names),
        groups::visible(site, visitor, named, viewer),
        sizes::of_topics(site, named, viewer, &names),
    );
    let (ranges, settings) = (ranges?, settings.unwrap_or_default());
    let row = |topic: TopicSummary| {
        let held: BTreeMap<i32, OffsetRange> = offsets::of_topic(&ranges, &topic.name)
            .map(|(at, range)| (at.partition, *range))
            .collect();
        Row {
            records: held.values().map(|range| range.len().unsigned_abs()).sum(),
            bytes: sizes::of_topic(&sizes, &topic.name, topic.partitions),
            retention: retention(&settings, &topic.name),
            groups: groups.as_ref().ok().map(|all| groups::of_topic(all, &topic.name, &held)),
            topic,
        }
    };
    Ok(topics.into_iter().map(row).collect())
}

fn retention(settings: &BTreeMap<String, Vec<Setting>>, topic: &str) -> Option<String> {
    let of = |name: &str| {
        let setting = settings.get(topic)?.iter().find(|setting| setting.name == name)?;
        setting.value.clone()
    };
    match of("cleanup.policy") {
        Some(policy) if policy == "compact" => Some("compacted".to_string()),
        _ => of("retention.ms").map(|value| format::retention(&value)),
    }
}

/// Those of this process, and the one that was chosen.
fn cluster_tabs(site: &Site, cluster: &str) -> Markup {
    let mut names: Vec<&str> = site.clusters.iter().map(|named| named.name.as_str()).collect();
    if !names.contains(&cluster) {
        names.push(cluster);
    }
    html! {
        @if names.len() > 1 {
            nav.tabs aria-label="Clusters" {
                @for name in names {
                    a href={ "/clusters/" (segment(name)) "/topics" }
                        aria-current=[(name == cluster).then_some("page")] { (name) }
                }
            }
        }
    }
}

fn search(cluster: &str, asked: &TopicsQuery) -> Markup {
    html! {
        form.bar method="get" action={ "/clusters/" (segment(cluster)) "/topics" } role="search" {
            label { "Name contains" input type="search" name="filter" value=(asked.filter) autocomplete="off"; }
            label.check { input type="checkbox" name="internal" value="1" checked[!asked.internal.is_empty()]; "Internal topics" }
            button type="submit" { "Filter" }
        }
    }
}

fn table(cluster: &str, rows: &[Row]) -> Markup {
    let unknown = || "—".to_string();
    let number = |groups: &Vec<TopicGroup>| groups.len().to_string();
    let lag = |groups: &Vec<TopicGroup>| {
        format::count(groups.iter().map(|group| group.lag).max().unwrap_or(0))
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Topics" {
            table {
                thead {
                    tr {
                        th scope="col" { "Name" } th.number scope="col" { "Partitions" }
                        th.number scope="col" { "Replication" } th.number scope="col" { "Records" }
                        th.number scope="col" { "Size" } th.number scope="col" { "Kept" }
                        th.number scope="col" { "Groups" } th.number scope="col" { "Largest lag" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { a href=(topic_path(cluster, &row.topic.name)) { (row.topic.name) } }
                            td.number { (row.topic.partitions) }
                            td.number { (row.topic.replication_factor) }
                            td.number { (format::count(row.records)) }
                            td.number { (row.bytes.map_or_else(unknown, format::bytes)) }
                            td.number { (row.retention.as_deref().unwrap_or("—")) }
                            td.number { (row.groups.as_ref().map_or_else(unknown, number)) }
                            td.number { (row.groups.as_ref().map_or_else(unknown, lag)) }
                        }
                    }
                }
            }
        }
    }
}

pub fn topic_path(cluster: &str, topic: &str) -> String {
    format!("/clusters/{}/topics/{}", segment(cluster), segment(topic))
}

/// The way through many topics.
struct Pager<'a> {
    cluster: &'a str,
    asked: &'a TopicsQuery,
    page: usize,
    pages: usize,
    count: usize,
}

impl Pager<'_> {
    fn render(&self) -> Markup {
        html! {
            nav.pager aria-label="Pages of topics" {
                span.muted { (format::count(self.count as u64)) @if self.count == 1 { " topic" } @else { " topics" } ", page " (self.page) " of " (self.pages) }
                @if self.page > 1 { a rel="prev" href=(self.path(self.page - 1)) { "Previous" } }
                @if self.page < self.pages { a rel="next" href=(self.path(self.page + 1)) { "Next" } }
            }
        }
    }

    fn path(&self, page: usize) -> String {
        let page = page.to_string();
        let parts = [
            ("filter", self.asked.filter.as_str()),
            ("internal", self.asked.internal.as_str()),
            ("page", page.as_str()),
        ];
        let given: Vec<_> = parts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        format!("/clusters/{}/topics{}", segment(self.cluster), query(&given))
    }
}

/// Times for which records are kept, as people choose them; in ms.
const RETENTIONS: [(&str, &str); 6] = [
    ("", "7 days, or as the cluster is set"),
    ("3600000", "1 hour"),
    ("86400000", "1 day"),
    ("604800000", "7 days"),
    ("2592000000", "30 days"),
    ("-1", "For ever"),
];

fn create_dialog(cluster: &str) -> Markup {
    html! {
        dialog #create-topic aria-labelledby="create-topic-title" {
            form data-api={ "/api/v1/clusters/" (segment(cluster)) "/topics" } data-method="POST"
                data-goto={ "/clusters/" (segment(cluster)) "/topics/{name}" } data-draft={ "create-topic-" (cluster) } {
                h2 #create-topic-title { "Create topic" }
                label { "Name"
                    input name="name" required maxlength="249" pattern="[A-Za-z0-9._\\-]+" autocomplete="off"
                        spellcheck="false" aria-describedby="create-topic-name";
                }
                p.hint #create-topic-name { "Letters, digits, “.”, “_” and “-”, at most 249." }
                label { "Partitions"
                    input name="partitions" type="number" data-as="number" min="1" max="10000" value="1" required
                        aria-describedby="create-topic-partitions";
                }
                p.hint #create-topic-partitions { "Can be raised later, never lowered." }
                label { "Records are kept for"
                    select name="retention_ms" data-as="number" {
                        @for (value, name) in RETENTIONS { option value=(value) { (name) } }
                    }
                }
                p.answer role="alert" {}
                div.actions {
                    button type="button" data-closes { "Cancel" }
                    button.primary type="submit" { "Create topic" }
                }
            }
        }
    }
}
