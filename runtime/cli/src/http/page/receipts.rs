//! What changed a pipeline while it ran: the receipts of its reloads, and why the newest change was refused.

use gristmill_engine::reload::{Receipt, Refusal};
use maud::{Markup, html};

use super::format;
use super::layout::nothing;
use crate::http::time_text;

/// Receipts that are shown.
const RECEIPTS_SHOWN: usize = 20;

/// Why what stands in the files is not what runs.
pub fn refusal(refusal: Option<&Refusal>) -> Markup {
    html! {
        @if let Some(refusal) = refusal {
            div.alert role="alert" {
                p { b {
                    @if refusal.needs_restart { "The change holds after a restart." } @else { "The change was refused; what ran before runs on." }
                } " " span.hint { (time_text::ago(ms(refusal.at_ms))) } }
                pre { (refusal.reason) }
            }
        }
    }
}

pub fn table(receipts: &[Receipt]) -> Markup {
    html! {
        @if receipts.is_empty() { (nothing("Nothing has changed since the start.", html! {})) } @else {
            div.scroll tabindex="0" role="region" aria-label="Reloads" {
                table {
                    thead {
                        tr {
                            th.number scope="col" { "Generation" } th scope="col" { "Time (UTC)" } th scope="col" { "What changed" }
                            th scope="col" { "Holds from" } th.number scope="col" { "Made ready in" }
                            th.number scope="col" { "Stood still" }
                        }
                    }
                    tbody { @for receipt in receipts.iter().take(RECEIPTS_SHOWN) { (row(receipt)) } }
                }
            }
        }
    }
}

fn row(receipt: &Receipt) -> Markup {
    html! {
        tr {
            th.number scope="row" { (receipt.generation) }
            td { (time_text::shown(ms(receipt.at_ms))) }
            td { ul.plain { @for change in &receipt.changes { li { (change) } } } }
            td.mono { (offsets(receipt)) }
            td.number { (format::milliseconds(receipt.prepare_ms)) }
            td.number { (format::milliseconds(receipt.pause_ms)) }
        }
    }
}

/// `orders 0:17 1:4`.
fn offsets(receipt: &Receipt) -> String {
    let topic = |(topic, partitions): (&String, &std::collections::BTreeMap<i32, i64>)| {
        let places = partitions.iter().map(|(partition, offset)| format!(" {partition}:{offset}"));
        format!("{topic}{}", places.collect::<String>())
    };
    receipt.offsets.iter().map(topic).collect::<Vec<_>>().join(", ")
}

fn ms(at_ms: u64) -> i64 {
    i64::try_from(at_ms).unwrap_or(i64::MAX)
}
