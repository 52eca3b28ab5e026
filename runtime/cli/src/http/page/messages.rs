//! The Messages tab of a topic: a page of records, found by place, time, key or text; the live tail; the dialog that
//! produces one; and one record whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{Html, Response};
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use gristmill_connectors::message_page::{Cut, PageReader, ShownRecord};
use gristmill_connectors::viewer::PartitionView;
use maud::{Markup, html};
use tokio::sync::mpsc;

use super::format;
use super::layout::{Frame, NoPage, Section, crumbs, nothing, query, segment};
use super::topic::{Tab, heading};
use super::topics::topic_path;
use super::{live, message_rows};
use crate::http::api;
use crate::http::failure::Failure;
use crate::http::message_query::{MessageQuery, Messages};
use crate::http::site::Site;
use crate::http::time_text;
use crate::http::visitor::Visitor;

/// Records that a tail shows per second; the others are counted.
const TAIL_ROWS_PER_SECOND: u32 = 50;
/// Records on their way to one reader.
const TAIL_QUEUE: usize = 200;
/// Bytes of a value that the page of one record shows.
const WHOLE_BYTES_MAX: usize = 2 << 20;

pub fn routes() -> Router<Arc<Site>> {
    let topic = "/clusters/{cluster}/topics/{topic}/messages";
    Router::new()
        .route(topic, get(show))
        .route(&format!("{topic}/{{partition}}/{{offset}}"), get(one))
        .route(&format!("/live{topic}"), get(tail))
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
    Query(asked): Query<MessageQuery>,
) -> Result<Html<String>, NoPage> {
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let partitions = api::existing(&viewer, &topic).await?;
    let answer = asked.read(&viewer, &topic).await;
    let title = format!("Messages of {topic}");
    let frame = Frame { title: &title, section: Section::Topics, live: None };
    let place = Place { cluster: &cluster, topic: &topic, asked: &asked };
    let actions = html! {
        button.primary type="button" data-opens="produce" { "Produce new message" }
    };
    Ok(frame.around(html! {
        (heading(&cluster, &topic, Tab::Messages, actions))
        (place.search(&partitions))
        @match answer {
            Ok(messages) => (place.list(&messages)),
            Err(failure) => p.alert role="alert" { (failure.message()) },
        }
        (produce_dialog(&cluster, &topic, &partitions))
    }))
}

/// What the page is about.
struct Place<'a> {
    cluster: &'a str,
    topic: &'a str,
    asked: &'a MessageQuery,
}

impl Place<'_> {
    fn path(&self) -> String {
        topic_path(self.cluster, self.topic) + "/messages"
    }

    fn search(&self, partitions: &[PartitionView]) -> Markup {
        let asked = self.asked;
        let field = |name: &str, label: &str, value: &str, hint: &str| {
            html! { label { (label) input name=(name) value=(value) placeholder=(hint) autocomplete="off" spellcheck="false"; } }
        };
        html! {
            form.bar method="get" action=(self.path()) role="search" aria-label="Find messages" {
                label { "Partition"
                    select name="partition" {
                        option value="" { "all" }
                        @for view in partitions {
                            @let number = view.partition.to_string();
                            option value=(number) selected[asked.partition == number] { (number) }
                        }
                    }
                }
                (field("offset", "Offset", &asked.offset, "newest"))
                (field("time", "Up to time (UTC)", &asked.time, "2026-11-01 12:00:00"))
                (field("since", "Not before (UTC)", &asked.since, "2026-11-01 12:00:00"))
                (field("key", "Key is", &asked.key, ""))
                (field("text", "Holds text", &asked.text, ""))
                button type="submit" { "Show" }
                @if !asked.parts().is_empty() { a.button href=(self.path()) { "Newest" } }
            }
        }
    }

    fn list(&self, messages: &Messages) -> Markup {
        let page = &messages.page;
        let searched = !self.asked.key.is_empty() || !self.asked.text.is_empty();
        html! {
            div.bar.spread {
                p.muted role="status" {
                    (page.records.len()) @if page.records.len() == 1 { " message" } @else { " messages" } ", newest first"
                    @if searched { ", found among " (format::count(page.searched)) " that were looked at" }
                    @if searched && !page.is_complete { "; there is more to look through" }
                }
                button type="button" aria-pressed="false" data-tail="messages"
                    data-stream={ "/live" (self.path()) (query(&self.filters())) } { "Live tail" }
                span #tail-said .muted role="status" {}
            }
            @if page.records.is_empty() { (nothing("No message here.", html! {})) }
            div.scroll tabindex="0" role="region" aria-label="Messages" {
                table.messages {
                    thead {
                        tr {
                            th scope="col" { "Time (UTC)" } th.number scope="col" { "Partition" }
                            th.number scope="col" { "Offset" } th scope="col" { "Key" } th scope="col" { "Value" }
                        }
                    }
                    tbody #messages {
                        @for record in &page.records { (message_rows::row(self.cluster, self.topic, record)) }
                    }
                }
            }
            nav.pager aria-label="Pages of messages" {
                @if self.has_newer(messages) { a rel="prev" href=(self.link("after", &page.newer_begin)) { "Newer" } }
                @if !page.is_complete || !self.asked.after.is_empty() {
                    a rel="next" href=(self.link("before", &page.older_end)) { "Older" }
                }
            }
        }
    }

    fn has_newer(&self, messages: &Messages) -> bool {
        messages.partitions.iter().any(|view| {
            let shown = messages.page.newer_begin.get(&view.partition);
            shown.is_some_and(|begin| *begin < view.offsets.end)
        })
    }

    /// The same question, from other offsets on.
    fn link(&self, name: &'static str, offsets: &BTreeMap<i32, i64>) -> String {
        let bound = MessageQuery::bound_text(offsets);
        // Where to begin is said by the bound; what is looked for stays.
        let parts = self.asked.parts().into_iter();
        let mut parts: Vec<_> =
            parts.filter(|(name, _)| !["offset", "time"].contains(name)).collect();
        parts.push((name, &bound));
        self.path() + &query(&parts)
    }

    fn filters(&self) -> Vec<(&'static str, &str)> {
        let parts = self.asked.parts().into_iter();
        parts.filter(|(name, _)| ["partition", "key", "text"].contains(name)).collect()
    }
}

/// One record, all of it.
async fn one(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic, partition, offset)): Path<(String, String, i32, i64)>,
) -> Result<Html<String>, NoPage> {
    let record = api::record(&site, &visitor, &cluster, &topic, partition, offset).await?;
    let title = format!("{topic}, partition {partition}, offset {offset}");
    let messages = topic_path(&cluster, &topic) + "/messages";
    let download = format!(
        "/api/v1/clusters/{}/topics/{}/messages/{partition}/{offset}/value",
        segment(&cluster),
        segment(&topic)
    );
    let above = [
        (cluster.as_str(), format!("/clusters/{}/topics", segment(&cluster))),
        (topic.as_str(), topic_path(&cluster, &topic)),
        ("Messages", messages.clone()),
    ];
    let frame = Frame { title: &title, section: Section::Topics, live: None };
    let part = |bytes: &Vec<u8>| message_rows::unfolded(&Cut::new(bytes, WHOLE_BYTES_MAX));
    let null = || html! { p.muted { "null" } };
    Ok(frame.around(html! {
        (crumbs(&above))
        div.head {
            h1 { "Partition " (partition) ", offset " (offset) }
            div.actions {
                a.button href={ (messages) "?partition=" (partition) "&offset=" (offset) } { "In its place" }
                @if record.value.is_some() { a.button href=(download) download { "Download value" } }
            }
        }
        dl.figures {
            @if let Some(ms) = record.timestamp_ms { (super::layout::figure("Time (UTC)", html! { (time_text::shown(ms)) })) }
            (super::layout::figure("Value", html! { (format::bytes(record.value.as_ref().map_or(0, Vec::len) as u64)) }))
            (super::layout::figure("Headers", html! { (record.headers.len()) }))
        }
        section { h2 { "Key" } @match &record.key { Some(key) => (part(key)), None => (null()) } }
        @if !record.headers.is_empty() {
            section { h2 { "Headers" }
                dl.pairs {
                    @for (name, value) in &record.headers {
                        dt.mono { (name) } dd { @match value { Some(value) => (part(value)), None => (null()) } }
                    }
                }
            }
        }
        section { h2 { "Value" } @match &record.value { Some(value) => (part(value)), None => (null()) } }
    }))
}

/// Records as they come, as rows.
async fn tail(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
    Query(asked): Query<MessageQuery>,
) -> Result<Response, Failure> {
    let place = site.stream_place()?;
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let partitions = api::existing(&viewer, &topic).await?;
    let chosen = partitions
        .iter()
        .filter(|view| asked.partition.is_empty() || asked.partition == view.partition.to_string());
    let begins = chosen.map(|view| (view.partition, view.offsets.end)).collect();
    let filter = asked.filter()?;
    let reader = PageReader::open_to_follow(viewer.cluster())?;
    let (sender, receiver) = mpsc::channel(TAIL_QUEUE);
    let (name, stop) = (topic.clone(), site.stop.clone());
    tokio::task::spawn_blocking(move || {
        let mut pace = Pace::new(TAIL_ROWS_PER_SECOND);
        let followed = reader.follow(&name, &begins, &filter, |record| {
            if let Some(record) = record {
                pace.send(&sender, record);
            }
            !sender.is_closed() && !stop.is_cancelled()
        });
        if let Err(error) = followed {
            tracing::debug!(topic = name, "a live tail has ended: {error:#}");
        }
    });
    let state = (receiver, place, site.stop.clone());
    let rows = futures::stream::unfold(state, move |(mut receiver, place, stop)| {
        let (cluster, topic) = (cluster.clone(), topic.clone());
        async move {
            let (record, skipped): (ShownRecord, u64) = tokio::select! {
                row = receiver.recv() => row?,
                () = stop.cancelled() => return None,
            };
            let row = message_rows::row(&cluster, &topic, &record).into_string();
            let row = serde_json::json!({ "row": row, "skipped": skipped });
            let event = Event::default().event("row").json_data(row).ok()?;
            Some((Ok(event), (receiver, place, stop)))
        }
    });
    Ok(live::response(rows))
}

/// Lets so many rows through in a second, and counts the others: a browser can show no more, and nobody read it.
struct Pace {
    rows_per_second: u32,
    second: Instant,
    sent: u32,
    skipped: u64,
}

impl Pace {
    fn new(rows_per_second: u32) -> Pace {
        Pace { rows_per_second, second: Instant::now(), sent: 0, skipped: 0 }
    }

    fn send(&mut self, sender: &mpsc::Sender<(ShownRecord, u64)>, record: ShownRecord) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.sent) = (Instant::now(), 0);
        }
        let room = self.sent < self.rows_per_second;
        if room && sender.try_send((record, self.skipped)).is_ok() {
            (self.sent, self.skipped) = (self.sent + 1, 0);
        } else {
            self.skipped += 1;
        }
    }
}

fn produce_dialog(cluster: &str, topic: &str, partitions: &[PartitionView]) -> Markup {
    let api = format!("/api/v1/clusters/{}/topics/{}/messages", segment(cluster), segment(topic));
    html! {
        dialog #produce .wide aria-labelledby="produce-title" {
            form data-api=(api) data-method="POST" data-then="produced" data-draft={ "produce-" (cluster) "-" (topic) } {
                h2 #produce-title { "Produce new message" }
                div.two {
                    label { "Key" input.mono name="key" data-as="optional" autocomplete="off" spellcheck="false"; }
                    label { "Partition"
                        select name="partition" data-as="number" {
                            option value="" { "by the key" }
                            @for view in partitions { option value=(view.partition) { (view.partition) } }
                        }
                    }
                }
                label { "Value"
                    textarea.mono name="value" data-as="value" rows="10" spellcheck="false" {}
                }
                div.two {
                    label.check { input type="checkbox" name="json" data-as="flag" checked; "Must be JSON" }
                    label.check { input type="checkbox" name="null" data-as="null"; "Without a value (tombstone)" }
                }
                label { "Headers"
                    textarea.mono name="headers" data-as="headers" rows="2" spellcheck="false" placeholder="name: value"
                        aria-describedby="produce-headers" {}
                }
                p.hint #produce-headers { "One a line, as name: value." }
                p.answer role="alert" {}
                div.actions {
                    button type="button" data-closes { "Close" }
                    button.primary type="submit" { "Produce" }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_counts_what_it_does_not_show() {
        let (sender, mut receiver) = mpsc::channel(TAIL_QUEUE);
        let mut pace = Pace::new(2);
        let record = ShownRecord {
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
            headers_left_out: 0,
        };
        for _ in 0..5 {
            pace.send(&sender, record.clone());
        }
        pace.second = Instant::now() - Duration::from_secs(2);
        pace.send(&sender, record);
        let skipped: Vec<u64> =
            std::iter::from_fn(|| receiver.try_recv().ok()).map(|(_, skipped)| skipped).collect();
        assert_eq!(skipped, [0, 0, 3]);
    }
}
