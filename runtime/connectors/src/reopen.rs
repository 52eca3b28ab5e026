//! Opens the ends of a running pipeline anew, when its file names other topics or tables than before, or rows come with
//! other columns. The process stays the member of the group that it is.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use gristmill_engine::config::SinkKind;
use gristmill_engine::plan::Plan;
use gristmill_engine::reload::Reopen;
use gristmill_engine::run::Connected;
use gristmill_engine::source::Source;

use crate::delta_open;
use crate::kafka_group::Membership;
use crate::open::{Opening, Process};

/// The hold of a pipeline's ends that outlives them.
pub(crate) struct Reopener {
    pub process: Process,
    pub member: Arc<Membership>,
}

#[async_trait]
impl Reopen for Reopener {
    async fn check(&self, now: &Plan, next: &Plan) -> Result<()> {
        let opening = Opening::new(next, &self.process)?;
        for (config, planned) in next.pipeline.sinks.iter().zip(&next.sinks) {
            let is_as_before = now.pipeline.sinks.iter().zip(&now.sinks).any(|(old, was)| {
                old.name == config.name && old.kind == config.kind && was.schema == planned.schema
            });
            if is_as_before {
                continue;
            }
            let checked = match &config.kind {
                SinkKind::Delta(delta) => delta_open::check(delta, &planned.schema).await,
                SinkKind::Topic(topic) => opening.check_topic(topic).await,
            };
            checked.with_context(|| format!("sink `{}`", config.name))?;
        }
        if let Some(letters) = &next.pipeline.dead_letter
            && now.pipeline.dead_letter.as_ref() != Some(letters)
        {
            opening.check_letters(letters).await.context("dead letters")?;
        }
        if now.pipeline.source.topics != next.pipeline.source.topics {
            let source = opening.source().await.context("source")?;
            tokio::task::spawn_blocking(move || drop(source)).await?;
        }
        opening.check_together()
    }

    async fn reopen(
        &self,
        next: &Plan,
        connected: &Connected,
        source_too: bool,
    ) -> Result<Connected> {
        let opening = Opening::new(next, &self.process)?;
        let source: Arc<dyn Source> = match source_too {
            true => {
                let source = opening.source().await.context("source")?;
                Arc::new(source.shared_with(self.member.clone()))
            }
            false => connected.source.clone(),
        };
        opening.connect(source, &self.member).await
    }
}
