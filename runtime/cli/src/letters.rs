//! Which dead letters a command is about: those of a pipeline or of a topic, picked by stage, reason and place.

use std::path::Path;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use gristmill_connectors::replay::{ReplaySetup, StoredLetter};
use gristmill_engine::tree::kind_text;
use gristmill_host::FailureKind;

use crate::flags::BootstrapFlags;
use crate::pipelines;
use crate::user_error::UserError;

/// Whose letters.
#[derive(clap::Args)]
pub struct LettersFlags {
    /// A pipeline file with a [dead_letter] table, or a dead letter topic
    #[arg(value_name = "PIPELINE|TOPIC")]
    target: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Which of them.
#[derive(clap::Args)]
pub struct PickFlags {
    /// Only letters of this stage
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,

    /// Only letters whose reason contains this
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Only letters of this kind
    #[arg(long, value_name = "KIND", value_parser = kinds())]
    kind: Option<String>,

    /// Only letters of this partition of the dead letter topic
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,

    /// Only the letter at this offset of the dead letter topic, or those of a range
    #[arg(long, value_name = "N|FIRST-LAST", value_parser = offsets)]
    offset: Option<(i64, i64)>,
}

fn kinds() -> PossibleValuesParser {
    use FailureKind::{BadOutput, MemoryLimit, OutputLimit, Refused, Rejected, TimedOut, Trapped};
    let kinds = [Rejected, Refused, Trapped, TimedOut, MemoryLimit, OutputLimit, BadOutput];
    PossibleValuesParser::new(kinds.map(kind_text))
}

fn offsets(text: &str) -> Result<(i64, i64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no offset"));
    match (number(first)?, number(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        (first, last) => Err(format!("{first} is behind {last}")),
    }
}

impl LettersFlags {
    /// Errors: the pipeline file is wrong, or sends no dead letters.
    pub fn setup(&self, dry_run: bool) -> Result<ReplaySetup> {
        let path = Path::new(&self.target);
        let is_file = path.exists() || path.extension().is_some_and(|ending| ending == "toml");
        if !is_file {
            let (cluster, topic) = (self.broker.cluster()?, self.target.clone());
            let group = format!("gristmill-{topic}-replay");
            return Ok(ReplaySetup { cluster, topic, group, pipeline: None, dry_run });
        }
        let pipeline = pipelines::load(path)?;
        let Some(dead_letter) = &pipeline.dead_letter else {
            let message = format!("pipeline `{}` has no [dead_letter] table", pipeline.name);
            return Err(UserError::new(message).into());
        };
        Ok(ReplaySetup {
            cluster: pipelines::cluster(&pipeline.source, &self.broker)?,
            topic: dead_letter.topic.clone(),
            group: format!("gristmill-{}-replay", pipeline.name),
            pipeline: Some(pipeline.name.clone()),
            dry_run,
        })
    }
}

impl PickFlags {
    pub fn picks(&self, stored: &StoredLetter) -> bool {
        let letter = &stored.letter;
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == text)
        };
        is(&self.stage, &letter.stage)
            && is(&self.kind, &letter.kind)
            && self.reason.as_ref().is_none_or(|part| letter.reason.contains(part.as_str()))
            && self.partition.is_none_or(|partition| partition == stored.partition)
            && self.offset.is_none_or(|(first, last)| (first..=last).contains(&stored.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_one_or_a_range() {
        assert_eq!(offsets("7"), Ok((7, 7)));
        assert_eq!(offsets("7-9"), Ok((7, 9)));
        for text in ["", "-1", "9-7", "7-", "x"] {
            assert!(offsets(text).is_err(), "{text}");
        }
    }
}
