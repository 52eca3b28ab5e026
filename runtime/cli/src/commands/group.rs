//! `gristmill group list | describe | reset-offsets | delete`: consumer groups of any cluster.

use std::collections::BTreeMap;

use anyhow::Result;
use gristmill_connectors::groups::{self, GroupDescription, Moved, Target};
use gristmill_engine::offsets::TopicPartition;
use serde_json::{Value, json};

use crate::flags::BootstrapFlags;
use crate::output::{Output, counted};
use crate::table::Table;
use crate::terminal;
use crate::time;
use crate::user_error::UserError;

/// Groups of pipelines are named so.
const PIPELINE_PREFIX: &str = "gristmill-";

#[derive(clap::Args)]
pub struct GroupListFlags {
    #[command(flatten)]
    broker: BootstrapFlags,
}

#[derive(clap::Args)]
pub struct GroupDescribeFlags {
    group: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

#[derive(clap::Args)]
pub struct GroupResetFlags {
    group: String,

    /// Move the offsets of this topic; may be given again [default: every topic that the group has read]
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,

    /// Move this partition alone
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    #[command(flatten)]
    target: TargetFlags,

    /// Say where the offsets would go, and move none
    #[arg(long)]
    dry_run: bool,

    /// Do not ask on a terminal; scripts are never asked
    #[arg(long, short)]
    force: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Where the offsets go.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct TargetFlags {
    /// To the oldest record
    #[arg(long)]
    to_earliest: bool,

    /// To the next record that comes
    #[arg(long)]
    to_latest: bool,

    /// To this offset, or the nearest that is there
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,

    /// Forwards by so many offsets, or back if negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,

    /// To the first record of this time or later, such as 2026-11-01T09:30:00Z, or in ms since 1970
    #[arg(long, value_name = "TIME", value_parser = time::parse_ms)]
    to_timestamp: Option<i64>,
}

#[derive(clap::Args)]
pub struct GroupDeleteFlags {
    group: String,

    /// Do not ask on a terminal; scripts are never asked
    #[arg(long, short)]
    force: bool,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints the groups, by name.
pub async fn list(flags: &GroupListFlags, output: Output) -> Result<()> {
    let groups = groups::list(&flags.broker.cluster()?).await.map_err(UserError::from_error)?;
    let mut table = Table::new(["group", "state"]);
    for group in &groups {
        table.push([group.name.clone(), group.state.clone()]);
    }
    let text = if groups.is_empty() { "no groups".to_owned() } else { table.render() };
    let json: Vec<Value> =
        groups.iter().map(|group| json!({ "group": group.name, "state": group.state })).collect();
    output.answer(text, &json.into())
}

/// Prints offsets and lag of every partition, and who reads it.
pub async fn describe(flags: &GroupDescribeFlags, output: Output) -> Result<()> {
    let described = groups::describe(&flags.broker.cluster()?, &flags.group).await;
    let described = described.map_err(UserError::from_error)?;
    output.answer(text(&described), &document(&described))
}

fn text(group: &GroupDescription) -> String {
    let members = counted(group.members.len(), "member");
    let lag: i64 = group.offsets.values().filter_map(groups::GroupOffset::lag).sum();
    let mut text = format!("group `{}`: {}, {members}, lag {lag}", group.name, group.state);
    let mut table =
        Table::new(["topic", "partition", "offset", "end offset", "lag", "member", "host"]);
    for (at, offset) in &group.offsets {
        let reader = group.members.iter().find(|member| member.partitions.contains(at));
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |it| it.to_string());
        table.push([
            at.topic.to_string(),
            at.partition.to_string(),
            number(offset.committed),
            offset.end.to_string(),
            number(offset.lag()),
            reader.map_or_else(String::new, |member| member.client_id.clone()),
            reader.map_or_else(String::new, |member| member.host.clone()),
        ]);
    }
    if !group.offsets.is_empty() {
        text += &format!("\n\n{}", table.render());
    }
    text
}

fn document(group: &GroupDescription) -> Value {
    let offsets: Vec<Value> = group
        .offsets
        .iter()
        .map(|(at, offset)| {
            let reader = group.members.iter().find(|member| member.partitions.contains(at));
            json!({
                "topic": at.topic.as_ref(),
                "partition": at.partition,
                "offset": offset.committed,
                "start": offset.earliest,
                "end": offset.end,
                "lag": offset.lag(),
                "member": reader.map(|member| &member.member_id),
            })
        })
        .collect();
    let members: Vec<Value> = group
        .members
        .iter()
        .map(|member| {
            json!({ "member": member.member_id, "client": member.client_id, "host": member.host })
        })
        .collect();
    json!({ "group": group.name, "state": group.state, "members": members, "offsets": offsets })
}

/// Shows where the offsets go, asks on a terminal, and moves them.
pub async fn reset(flags: &GroupResetFlags, output: Output) -> Result<()> {
    let (cluster, group) = (flags.broker.cluster()?, &flags.group);
    let target = flags.target.target();
    let moves = groups::plan_reset(&cluster, group, &flags.topic, flags.partition, target).await;
    let moves = moves.map_err(UserError::from_error)?;
    let table = moved(&moves).render();
    if !flags.dry_run {
        if !flags.force {
            terminal::confirm(&format!("{table}\nMove the offsets of group `{group}`?"))?;
        }
        groups::reset(&cluster, group, &moves).await.map_err(UserError::from_error)?;
    }
    let verb = if flags.dry_run { "would move" } else { "moved" };
    let mut text = format!("{table}\n{verb} {} of group `{group}`", counted(moves.len(), "offset"));
    if group.starts_with(PIPELINE_PREFIX) && !flags.dry_run {
        text += "\nnote: the topic sinks of the pipeline follow; a Delta table keeps its own cursor and does not";
    }
    let json: Vec<Value> = moves
        .iter()
        .map(|(at, moved)| {
            json!({
                "topic": at.topic.as_ref(),
                "partition": at.partition,
                "before": moved.before,
                "after": moved.after,
            })
        })
        .collect();
    output.answer(text, &json!({ "group": group, "dry_run": flags.dry_run, "offsets": json }))
}

impl TargetFlags {
    /// Clap has seen to it that one of them is given.
    fn target(&self) -> Target {
        match (self.to_offset, self.shift_by, self.to_timestamp) {
            (Some(offset), _, _) => Target::Offset(offset),
            (_, Some(by), _) => Target::Shift(by),
            (_, _, Some(time_ms)) => Target::Timestamp(time_ms),
            _ if self.to_latest => Target::Latest,
            _ => Target::Earliest,
        }
    }
}

fn moved(moves: &BTreeMap<TopicPartition, Moved>) -> Table {
    let mut table = Table::new(["topic", "partition", "offset", "new offset"]);
    for (at, moved) in moves {
        table.push([
            at.topic.to_string(),
            at.partition.to_string(),
            moved.before.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            moved.after.to_string(),
        ]);
    }
    table
}

/// Deletes the group and what it remembers.
pub async fn delete(flags: &GroupDeleteFlags, output: Output) -> Result<()> {
    let (cluster, group) = (flags.broker.cluster()?, &flags.group);
    if !flags.force {
        terminal::confirm(&format!("Delete group `{group}` and its offsets?"))?;
    }
    groups::delete(&cluster, group).await.map_err(UserError::from_error)?;
    output.answer(format!("deleted group `{group}`"), &json!({ "deleted": group }))
}
