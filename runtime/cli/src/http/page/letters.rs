//! The dead letters of a pipeline, on its page.

use maud::{Markup, html};

use super::layout::{nothing, segment};
use super::message_rows;
use super::topics::topic_path;
use crate::http::dead_letters::ShownLetter;
use crate::http::failure::Failure;
use crate::http::time_text;

/// Letters that are shown.
pub const LETTERS_SHOWN: usize = 20;

/// `place`: cluster and topic of the letters.
pub fn section(
    pipeline: &str,
    place: &(String, String),
    letters: Result<Vec<ShownLetter>, Failure>,
    may_change: bool,
) -> Markup {
    let (cluster, topic) = place;
    let api = format!("/api/v1/pipelines/{}/dead-letters/replay", segment(pipeline));
    html! {
        section #dead-letters {
            div.head {
                h2 { "Dead letters" }
                @if may_change {
                    div.actions {
                        button type="button" data-api=(api) data-method="POST" data-body="{}" data-then="said" { "Replay all" }
                        span.answer role="alert" {}
                    }
                }
            }
            p.muted { "In topic " a href={ (topic_path(cluster, topic)) "/messages" } { (topic) } ", the newest first. Each is replayed once." }
            @match letters {
                Ok(letters) if letters.is_empty() => (nothing("None.", html! {})),
                Ok(letters) => (table(cluster, topic, &letters)),
                Err(failure) => p.alert { (failure.message()) },
            }
        }
    }
}

fn table(cluster: &str, topic: &str, letters: &[ShownLetter]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Dead letters" {
            table.messages.letters {
                thead {
                    tr {
                        th scope="col" { "Time (UTC)" } th scope="col" { "Stage" } th scope="col" { "Why" }
                        th scope="col" { "Record" } th scope="col" { "Value" }
                    }
                }
                tbody { @for letter in letters { (row(cluster, topic, letter)) } }
            }
        }
    }
}

fn row(cluster: &str, topic: &str, letter: &ShownLetter) -> Markup {
    let record = &letter.record;
    let whole =
        format!("{}/messages/{}/{}", topic_path(cluster, topic), record.partition, record.offset);
    html! {
        tr {
            td.time { @if let Some(ms) = record.timestamp_ms { time datetime=(time_text::machine(ms)) { (time_text::shown(ms)) } } }
            td { (letter.stage) }
            td.why { span.bad-text { (letter.kind) } " " (letter.reason) }
            td.mono.place { a href=(whole) { (letter.place) } }
            td.mono.value { (message_rows::short(record.value.as_ref())) }
        }
    }
}
