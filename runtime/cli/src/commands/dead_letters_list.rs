//! `gristmill dead-letters list`: how many letters there are, by stage and reason.

use std::collections::BTreeMap;

use anyhow::Result;
use gristmill_connectors::replay::{self, Letters, ReplaySetup, StoredLetter};
use gristmill_connectors::stored_records::Begin;
use gristmill_connectors::{ReplayProgress, admin};
use gristmill_engine::config::timestamp_text;
use serde_json::{Value, json};

use crate::letters::{LettersFlags, PickFlags};
use crate::output::Output;
use crate::table::Table;
use crate::user_error::UserError;

/// Longer reasons are cut in the table.
const REASON_CHARS_MAX: usize = 100;
/// Groups of one topic; letters beyond are counted together.
const GROUPS_MAX: usize = 1_000;

#[derive(clap::Args)]
pub struct DeadLettersListFlags {
    #[command(flatten)]
    letters: LettersFlags,

    #[command(flatten)]
    pick: PickFlags,
}

/// Letters that failed at the same stage in the same way. Numbers in their reasons do not tell them apart.
#[derive(Debug, Default)]
struct Group {
    letters: u64,
    replayed: u64,
    /// Letters of records that had been sent through again before.
    failed_again: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    /// Of the first letter.
    reason: String,
    /// Whether all have the same, numbers included.
    same_reason: bool,
}

type Groups = BTreeMap<(String, String, String), Group>;

/// Reads the whole topic and prints a line per group.
pub async fn run(flags: &DeadLettersListFlags, output: Output) -> Result<()> {
    let setup = flags.letters.setup(false)?;
    let described = admin::describe_topic(&setup.cluster, &setup.topic).await;
    let described = described.map_err(UserError::from_error)?;
    let partitions: Vec<i32> = described.partitions.iter().map(|at| at.partition).collect();
    let progress = tokio::task::block_in_place(|| replay::progress(&setup, &partitions))?;
    let letters = Letters::open(&setup.cluster, &setup.topic, |_| Begin::Earliest).await?;
    let (groups, others) =
        tokio::task::block_in_place(|| grouped(flags, &setup, letters, &progress))?;
    output.answer(text(&setup, &groups, others), &document(&setup, &groups, others))
}

/// The groups, and how many records are no letters.
fn grouped(
    flags: &DeadLettersListFlags,
    setup: &ReplaySetup,
    mut letters: Letters,
    progress: &BTreeMap<i32, ReplayProgress>,
) -> Result<(Groups, u64)> {
    let (mut groups, mut others) = (Groups::new(), 0);
    while let Some(next) = letters.read()? {
        let Ok(stored) = next else {
            others += 1;
            continue;
        };
        if !setup.means(&stored.letter) || !flags.pick.picks(&stored) {
            continue;
        }
        let progress = progress.get(&stored.partition);
        let replayed = progress.is_some_and(|progress| progress.is_sent(stored.offset));
        add(&mut groups, &stored, replayed);
    }
    Ok((groups, others))
}

fn add(groups: &mut Groups, stored: &StoredLetter, replayed: bool) {
    let letter = &stored.letter;
    let mut id =
        (letter.stage.to_string(), letter.kind.to_string(), without_numbers(&letter.reason));
    if groups.len() >= GROUPS_MAX && !groups.contains_key(&id) {
        id = (String::new(), String::new(), "others".to_string());
    }
    let group = groups.entry(id).or_insert_with(|| Group {
        reason: letter.reason.clone(),
        same_reason: true,
        ..Group::default()
    });
    group.letters += 1;
    group.replayed += u64::from(replayed);
    group.failed_again += u64::from(letter.replays() > 0);
    group.same_reason &= group.reason == letter.reason;
    // An absent time is below every other.
    group.first_ms = [group.first_ms, stored.written_ms].into_iter().flatten().min();
    group.last_ms = group.last_ms.max(stored.written_ms);
}

/// Runs of digits as `#`: `byte 17` and `byte 18` are one reason.
fn without_numbers(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len());
    for c in reason.chars() {
        match c.is_ascii_digit() {
            true if text.ends_with('#') => {}
            true => text.push('#'),
            false => text.push(c),
        }
    }
    text
}

fn text(setup: &ReplaySetup, groups: &Groups, others: u64) -> String {
    let count: u64 = groups.values().map(|group| group.letters).sum();
    let mut text = format!("topic `{}`: {count} dead letters", setup.topic);
    if others > 0 {
        text.push_str(&format!(", {others} records that are none"));
    }
    if groups.is_empty() {
        return text;
    }
    let names = ["stage", "kind", "letters", "replayed", "again", "first", "last", "reason"];
    let mut table = Table::new(names);
    for ((stage, kind, masked), group) in groups {
        let reason = if group.same_reason { &group.reason } else { masked };
        table.push([
            stage.clone(),
            kind.clone(),
            group.letters.to_string(),
            group.replayed.to_string(),
            group.failed_again.to_string(),
            time(group.first_ms),
            time(group.last_ms),
            one_line(reason),
        ]);
    }
    text.push_str(&format!("\n\n{}", table.render()));
    text
}

fn one_line(reason: &str) -> String {
    let line = reason.replace(|c: char| c.is_control(), " ");
    match line.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn time(time_ms: Option<i64>) -> String {
    time_ms.map_or(String::new(), |time_ms| timestamp_text(time_ms.saturating_mul(1_000), true))
}

fn document(setup: &ReplaySetup, groups: &Groups, others: u64) -> Value {
    let groups: Vec<Value> = groups
        .iter()
        .map(|((stage, kind, masked), group)| {
            let reason = if group.same_reason { &group.reason } else { masked };
            json!({
                "stage": stage,
                "kind": kind,
                "reason": reason,
                "letters": group.letters,
                "replayed": group.replayed,
                "failed_again": group.failed_again,
                "first_ms": group.first_ms,
                "last_ms": group.last_ms,
            })
        })
        .collect();
    json!({ "topic": setup.topic, "groups": groups, "no_letters": others })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_tell_reasons_apart() {
        assert_eq!(without_numbers("byte 17 of line 2: 0x1f"), "byte # of line #: #x#f");
    }
}
