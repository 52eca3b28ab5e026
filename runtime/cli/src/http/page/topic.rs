//! `/clusters/{cluster}/topics/{topic}`: partitions, settings, groups; and the end of a topic.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Html;
use axum::routing::get;
use axum::{Extension, Router};
use gristmill_broker::Operation;
use gristmill_connectors::LogSizes;
use gristmill_connectors::viewer::{PartitionView, Setting};
use gristmill_engine::offsets::TopicPartition;
use maud::{Markup, html};

use super::format;
use super::layout::{Frame, NoPage, Section, crumbs, figure, nothing, segment};
use super::topics::topic_path;
use crate::http::api;
use crate::http::groups::{self, TopicGroup};
use crate::http::site::Site;
use crate::http::sizes;
use crate::http::visitor::Visitor;

/// Partitions that are listed.
const PARTITIONS_SHOWN: usize = 1_000;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/clusters/{cluster}/topics/{topic}", get(show))
}

/// A tab of a topic's pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Details,
    Messages,
}

/// What stands above every page of a topic.
pub fn heading(cluster: &str, topic: &str, tab: Tab, actions: Markup) -> Markup {
    let path = topic_path(cluster, topic);
    let current = |is: Tab| (is == tab).then_some("page");
    html! {
        (crumbs(&[(cluster, format!("/clusters/{}/topics", segment(cluster)))]))
        div.head { h1 { (topic) } div.actions { (actions) } }
        nav.tabs aria-label="Topic" {
            a href=(path) aria-current=[current(Tab::Details)] { "Details" }
            a href={ (path) "/messages" } aria-current=[current(Tab::Messages)] { "Messages" }
        }
    }
}

async fn show(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
    Path((cluster, topic)): Path<(String, String)>,
) -> Result<Html<String>, NoPage> {
    let viewer = site.viewer(&cluster, &visitor, Operation::Describe).await?;
    let names = [topic.clone()];
    let (partitions, settings) =
        tokio::join!(api::existing(&viewer, &topic), viewer.settings(&names));
    let (partitions, settings) = (partitions?, settings.unwrap_or_default());
    let settings = settings.get(&topic).map_or(&[][..], Vec::as_slice);
    let named = site.cluster(&cluster)?;
    let (groups, sizes) = tokio::join!(
        groups::visible(&site, &visitor, &named, &viewer),
        sizes::of_topics(&site, &named, &viewer, &names),
    );
    let held = partitions.iter().map(|view| (view.partition, view.offsets)).collect();
    let groups = groups.map(|groups| groups::of_topic(&groups, &topic, &held));
    let frame = Frame { title: &topic, section: Section::Topics, live: None };
    let delete = html! { button.danger type="button" data-opens="delete-topic" { "Delete topic" } };
    Ok(frame.around(html! {
        (heading(&cluster, &topic, Tab::Details, delete))
        (figures(&topic, &partitions, &sizes, groups.as_deref().ok()))
        section { h2 { "Partitions" } (partitions_table(&cluster, &topic, &partitions, &sizes)) }
        section {
            h2 { "Consumer groups" }
            @match &groups { Ok(groups) => (groups_table(groups)), Err(why) => p.note { (why) } }
        }
        section { h2 { "Settings" } (settings_table(&cluster, &topic, settings)) }
        (delete_dialog(&cluster, &topic))
    }))
}

fn figures(
    topic: &str,
    partitions: &[PartitionView],
    sizes: &LogSizes,
    groups: Option<&[TopicGroup]>,
) -> Markup {
    let bytes = sizes::of_topic(sizes, topic, i32::try_from(partitions.len()).unwrap_or(0));
    let records: i64 = partitions.iter().map(|view| view.offsets.len()).sum();
    let replicas = partitions.iter().map(|view| view.replicas.len()).min().unwrap_or(0);
    html! {
        dl.figures {
            (figure("Records", html! { (format::count(records.unsigned_abs())) }))
            (figure("Partitions", html! { (partitions.len()) }))
            (figure("Replication factor", html! { (replicas) }))
            @if let Some(bytes) = bytes { (figure("Size", html! { (format::bytes(bytes)) })) }
            @if let Some(groups) = groups { (figure("Groups", html! { (groups.len()) })) }
        }
    }
}

fn partitions_table(
    cluster: &str,
    topic: &str,
    partitions: &[PartitionView],
    sizes: &LogSizes,
) -> Markup {
    let size = |number| sizes.get(&TopicPartition::new(topic, number)).copied().map(format::bytes);
    let list = |numbers: &[i32]| numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
    html! {
        div.scroll tabindex="0" role="region" aria-label="Partitions" {
            table {
                thead {
                    tr {
                        th.number scope="col" { "Partition" } th.number scope="col" { "First offset" }
                        th.number scope="col" { "Next offset" } th.number scope="col" { "Records" }
                        th.number scope="col" { "Size" } th.number scope="col" { "Leader" } th.number scope="col" { "Replicas" }
                        th.number scope="col" { "In sync" } th scope="col" { "Messages" }
                    }
                }
                tbody {
                    @for view in partitions.iter().take(PARTITIONS_SHOWN) {
                        tr {
                            th.number scope="row" { (view.partition) }
                            td.number { (view.offsets.begin) } td.number { (view.offsets.end) }
                            td.number { (format::count(view.offsets.len().unsigned_abs())) }
                            td.number { (size(view.partition).as_deref().unwrap_or("—")) }
                            td.number { @if view.leader < 0 { span.bad-text { "none" } } @else { (view.leader) } }
                            td.number { (list(&view.replicas)) } td.number { (list(&view.in_sync)) }
                            td {
                                a href={ (topic_path(cluster, topic)) "/messages?partition=" (view.partition) }
                                    aria-label={ "Look at the messages of partition " (view.partition) } { "Look" }
                            }
                        }
                    }
                }
            }
        }
        @if partitions.len() > PARTITIONS_SHOWN {
            p.muted { (partitions.len() - PARTITIONS_SHOWN) " more partitions are not listed." }
        }
    }
}

fn groups_table(groups: &[TopicGroup]) -> Markup {
    html! {
        @if groups.is_empty() { (nothing("No group has committed offsets of this topic.", html! {})) } @else {
            div.scroll tabindex="0" role="region" aria-label="Consumer groups" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Group" } th scope="col" { "State" }
                            th.number scope="col" { "Members" } th.number scope="col" { "Partitions" }
                            th.number scope="col" { "Lag" }
                        }
                    }
                    tbody {
                        @for group in groups {
                            tr {
                                th scope="row" { (group.id) } td { (group.state) }
                                td.number { (group.members) } td.number { (group.partitions) }
                                td.number { (format::count(group.lag)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn settings_table(cluster: &str, topic: &str, settings: &[Setting]) -> Markup {
    html! {
        @if settings.is_empty() { (nothing("The cluster does not tell them.", html! {})) } @else {
            div.scroll tabindex="0" role="region" aria-label="Settings" {
                table.settings {
                    thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } th scope="col" { "From" } } }
                    tbody { @for setting in settings { (setting_row(cluster, topic, setting)) } }
                }
            }
        }
    }
}

/// Edited in place: the value is a field, and what changes it stands beside it.
fn setting_row(cluster: &str, topic: &str, setting: &Setting) -> Markup {
    let api = format!("/api/v1/clusters/{}/topics/{}/settings", segment(cluster), segment(topic));
    let value = setting.value.as_deref().unwrap_or_default();
    html! {
        tr {
            th.mono scope="row" { (setting.name) @if let Some(words) = in_words(&setting.name, value) { span.hint { (words) } } }
            td {
                @if setting.is_read_only || setting.value.is_none() { code { (value) } } @else {
                    form.inline data-api=(api) data-method="PUT" data-then="reload" {
                        input.mono name=(setting.name) value=(value) aria-label=(setting.name) autocomplete="off" spellcheck="false";
                        button type="submit" aria-label={ "Save " (setting.name) } { "Save" }
                        @if !setting.is_default {
                            button type="button" data-api=(api) data-method="PUT" data-then="reload"
                                data-body=(serde_json::json!({ setting.name.as_str(): null }))
                                aria-label={ "Take the default for " (setting.name) } { "Default" }
                        }
                        span.answer role="alert" {}
                    }
                }
            }
            td { @if setting.is_default { span.muted { "default" } } @else { "topic" } }
        }
    }
}

fn in_words(name: &str, value: &str) -> Option<String> {
    let number = value.parse::<i64>().ok()?;
    let words = match name.rsplit_once('.')?.1 {
        "ms" if number < 0 => "no limit".to_string(),
        "ms" if number > 86_400_000_000_000 => return None,
        "ms" => format::retention(value),
        "bytes" if number < 0 => "no limit".to_string(),
        "bytes" if number > 1_000_000_000_000_000 => return None,
        "bytes" => format::bytes(number.unsigned_abs()),
        _ => return None,
    };
    Some(words)
}

fn delete_dialog(cluster: &str, topic: &str) -> Markup {
    html! {
        dialog #delete-topic aria-labelledby="delete-topic-title" {
            form data-api={ "/api/v1/clusters/" (segment(cluster)) "/topics/" (segment(topic)) } data-method="DELETE"
                data-goto={ "/clusters/" (segment(cluster)) "/topics" } data-must-equal=(topic) {
                h2 #delete-topic-title { "Delete topic " (topic) "?" }
                p { "All its records and the groups’ offsets in it go, and do not come back." }
                label { "Type its name to confirm"
                    input name="name" data-as="confirmation" required autocomplete="off" spellcheck="false";
                }
                p.answer role="alert" {}
                div.actions {
                    button type="button" data-closes { "Cancel" }
                    button.danger type="submit" { "Delete topic" }
                }
            }
        }
    }
}
