//! What is other in a plan than in the one that runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{ModuleRef, Pipeline, SinkConfig, SinkKind, StageConfig, Upstream};
use crate::plan::{Plan, PlannedSink};

/// Digits of a hash that people are shown.
const HASH_SHOWN: usize = 12;

/// One thing that is other than before. Hashes are SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// The text of the pipeline file.
    File {
        old: String,
        new: String,
    },
    /// A stage has another module.
    Module {
        stage: String,
        old: String,
        new: String,
    },
    StageAdded {
        stage: String,
        module: String,
    },
    StageRemoved {
        stage: String,
        module: String,
    },
    /// Keys of a stage: `with`, `limits`, `from`, …
    StageSettings {
        stage: String,
        keys: Vec<String>,
    },
    /// A stage's candidate; absent: none.
    Shadow {
        stage: String,
        old: Option<String>,
        new: Option<String>,
    },
    Sink {
        sink: String,
        change: SinkChange,
    },
    /// Keys of the file that belong to no stage and no sink.
    Settings {
        keys: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkChange {
    Added,
    Removed,
    /// It is written to in another way, or gets other columns.
    Settings,
}

/// Which ends have to be opened anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EndsChange {
    pub source: bool,
    pub sinks: bool,
}

impl EndsChange {
    pub fn any(self) -> bool {
        self.source || self.sinks
    }
}

/// Why a change of a file needs a restart; nothing: it does not.
pub(super) fn only_by_restart(now: &Pipeline, next: &Pipeline) -> Option<&'static str> {
    if now.name != next.name {
        return Some("`name` is the pipeline's identity, its cursors are kept under it");
    }
    if now.source.brokers != next.source.brokers {
        return Some(
            "`brokers` of [source]: the cursors are kept on the cluster that is read from",
        );
    }
    if now.source.kafka != next.source.kafka {
        return Some(
            "`kafka` of [source]: the connection that the pipeline is a member of its group by",
        );
    }
    None
}

/// Everything that is other, in the order of the file.
pub(super) fn between(now: &Plan, next: &Plan) -> (Vec<Change>, EndsChange) {
    let (old, new) = (&now.pipeline, &next.pipeline);
    let mut changes = Vec::new();
    if old.file_hash != new.file_hash {
        let (old, new) = (old.file_hash.clone(), new.file_hash.clone());
        changes.push(Change::File { old, new });
    }
    let keys = settings(old, new);
    if !keys.is_empty() {
        changes.push(Change::Settings { keys });
    }
    stages(now, next, &mut changes);
    let sinks_before = changes.len();
    sinks(now, next, &mut changes);
    let others = old.delivery != new.delivery || old.dead_letter != new.dead_letter;
    let order = |plan: &Plan| plan.sinks.iter().map(|sink| sink.name.clone()).collect::<Vec<_>>();
    let ends = EndsChange {
        source: old.source.topics != new.source.topics
            || old.source.on_data_loss != new.source.on_data_loss,
        sinks: others || changes.len() > sinks_before || order(now) != order(next),
    };
    (changes, ends)
}

fn settings(old: &Pipeline, new: &Pipeline) -> Vec<String> {
    let (source, next) = (&old.source, &new.source);
    let all = [
        ("topics", source.topics != next.topics),
        ("start", source.start != next.start),
        ("trigger", source.trigger != next.trigger),
        ("max_offsets_per_trigger", source.max_offsets_per_trigger != next.max_offsets_per_trigger),
        ("on_data_loss", source.on_data_loss != next.on_data_loss),
        ("delivery", old.delivery != new.delivery),
        ("dead_letter", old.dead_letter != new.dead_letter),
        ("watch", old.watch != new.watch),
    ];
    changed(&all)
}

fn stages(now: &Plan, next: &Plan, changes: &mut Vec<Change>) {
    let hash = |plan: &Plan, index: usize| plan.stages[index].stage.module().hash().to_string();
    let shadow = |plan: &Plan, index: usize| {
        plan.stages[index].shadow.as_ref().map(|stage| stage.module().hash().to_string())
    };
    for (index, stage) in next.pipeline.stages.iter().enumerate() {
        let name = stage.name.clone();
        let Some(before) = now.pipeline.stages.iter().position(|old| old.name == name) else {
            changes.push(Change::StageAdded { stage: name, module: hash(next, index) });
            continue;
        };
        let (old, new) = (hash(now, before), hash(next, index));
        if old != new {
            changes.push(Change::Module { stage: name.clone(), old, new });
        }
        let keys = stage_keys(now, next, &now.pipeline.stages[before], stage);
        if !keys.is_empty() {
            changes.push(Change::StageSettings { stage: name.clone(), keys });
        }
        let (old, new) = (shadow(now, before), shadow(next, index));
        if old != new {
            changes.push(Change::Shadow { stage: name, old, new });
        }
    }
    for (index, stage) in now.pipeline.stages.iter().enumerate() {
        if !next.pipeline.stages.iter().any(|new| new.name == stage.name) {
            changes
                .push(Change::StageRemoved { stage: stage.name.clone(), module: hash(now, index) });
        }
    }
}

fn stage_keys(now: &Plan, next: &Plan, old: &StageConfig, new: &StageConfig) -> Vec<String> {
    let all = [
        ("from", from(now, old.from) != from(next, new.from)),
        ("module", path(&old.module) != path(&new.module)),
        ("with", old.with != new.with),
        ("on_failure", old.on_failure != new.on_failure),
        ("max_failures", old.max_failures != new.max_failures),
        ("limits", old.limits != new.limits),
        ("grant", old.grant != new.grant),
    ];
    changed(&all)
}

/// The keys that are other.
fn changed(keys: &[(&str, bool)]) -> Vec<String> {
    keys.iter().filter(|(_, changed)| *changed).map(|(key, _)| (*key).to_string()).collect()
}

/// What a module is called: the same code may stand elsewhere.
fn path(module: &ModuleRef) -> String {
    match module {
        ModuleRef::Shipped(name) => name.clone(),
        ModuleRef::File(path) => path.display().to_string(),
    }
}

fn from(plan: &Plan, from: Upstream) -> &str {
    match from {
        Upstream::Source => "source",
        Upstream::Stage(index) => &plan.pipeline.stages[index].name,
    }
}

fn sinks(now: &Plan, next: &Plan, changes: &mut Vec<Change>) {
    let find = |plan: &Plan, name: &str| plan.sinks.iter().position(|sink| sink.name == name);
    let change = |name: &str, change| Change::Sink { sink: name.to_string(), change };
    for (index, sink) in next.pipeline.sinks.iter().enumerate() {
        match find(now, &sink.name) {
            None => changes.push(change(&sink.name, SinkChange::Added)),
            Some(before) => {
                let old = (&now.pipeline.sinks[before], &now.sinks[before]);
                if !is_same_sink(old, (sink, &next.sinks[index])) {
                    changes.push(change(&sink.name, SinkChange::Settings));
                }
            }
        }
    }
    for sink in &now.sinks {
        if find(next, &sink.name).is_none() {
            changes.push(change(&sink.name, SinkChange::Removed));
        }
    }
}

/// A sink that is opened for the one writes what comes for the other.
fn is_same_sink(
    (old, was): (&SinkConfig, &PlannedSink),
    (new, is): (&SinkConfig, &PlannedSink),
) -> bool {
    let same_columns = match old.kind {
        // What a record is made of, a topic's writer sees from the rows.
        SinkKind::Topic(_) => true,
        SinkKind::Delta(_) => was.schema == is.schema,
    };
    old.kind == new.kind && was.layout == is.layout && same_columns
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |hash: &str| hash.chars().take(HASH_SHOWN).collect::<String>();
        let candidate = |hash: &Option<String>| hash.as_deref().map_or("none".to_string(), short);
        match self {
            Change::File { .. } => f.write_str("file"),
            Change::Module { stage, old, new } => {
                write!(f, "module of `{stage}` {} -> {}", short(old), short(new))
            }
            Change::StageAdded { stage, module } => {
                write!(f, "stage `{stage}` added, module {}", short(module))
            }
            Change::StageRemoved { stage, .. } => write!(f, "stage `{stage}` removed"),
            Change::StageSettings { stage, keys } => {
                write!(f, "{} of stage `{stage}`", keys.join(", "))
            }
            Change::Shadow { stage, old, new } => {
                write!(f, "shadow of `{stage}` {} -> {}", candidate(old), candidate(new))
            }
            Change::Sink { sink, change } => {
                let what = match change {
                    SinkChange::Added => "added",
                    SinkChange::Removed => "removed",
                    SinkChange::Settings => "changed",
                };
                write!(f, "sink `{sink}` {what}")
            }
            Change::Settings { keys } => f.write_str(&keys.join(", ")),
        }
    }
}
