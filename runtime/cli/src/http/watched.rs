//! A pipeline as the page sees it: its handle, and what follows from its file.

use std::path::{Path, PathBuf};

use gristmill_connectors::Cluster;
use gristmill_engine::config::{Pipeline, SinkKind, TopicSinkConfig};
use gristmill_engine::control::{Control, RunState};
use gristmill_engine::status::Snapshot;
use serde_json::{Value, json};

/// See the module's documentation.
pub struct Watched {
    pub control: Control,
    pub file: PathBuf,
}

impl Watched {
    pub fn new(control: Control) -> Watched {
        let file = control.file().to_path_buf();
        Watched { control, file }
    }

    pub fn name(&self) -> &str {
        self.control.pipeline()
    }

    pub fn path(&self) -> &Path {
        &self.file
    }

    pub fn snapshot(&self) -> Snapshot {
        self.control.snapshot()
    }

    /// `starting`, `running`, `paused`, `stopped` or `failed`.
    pub fn state_name(&self) -> &'static str {
        state_name(&self.control.state())
    }

    /// Clusters other than the built-in broker that the pipeline reads from or writes to.
    pub fn external_clusters(&self) -> Vec<Cluster> {
        let plan = self.control.plan();
        let source = source_cluster(&plan.pipeline);
        let sinks = plan.pipeline.sinks.iter().filter_map(|sink| match &sink.kind {
            SinkKind::Topic(topic) => sink_cluster(&plan.pipeline, topic),
            SinkKind::Delta(_) => None,
        });
        source.into_iter().chain(sinks).collect()
    }

    /// As `GET /api/v1/pipelines/{name}` answers.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name(),
            "file": self.file,
            "state": self.state_name(),
            "error": error(&self.control.state()),
            "generation": self.control.generation(),
            "snapshot": self.snapshot(),
            "last_receipt": self.control.receipts().into_iter().next(),
            "last_refusal": self.control.last_refusal(),
        })
    }
}

pub fn state_name(state: &RunState) -> &'static str {
    match state {
        RunState::Starting => "starting",
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::Stopped => "stopped",
        RunState::Failed { .. } => "failed",
    }
}

/// Why a pipeline has failed.
pub fn error(state: &RunState) -> Option<&str> {
    match state {
        RunState::Failed { error } => Some(error),
        _ => None,
    }
}

/// The cluster that a pipeline reads from; `None`: the built-in broker.
pub fn source_cluster(pipeline: &Pipeline) -> Option<Cluster> {
    let source = &pipeline.source;
    let properties = source.connection_properties();
    source.brokers.as_ref().map(|brokers| Cluster {
        bootstrap: brokers.clone(),
        properties: properties.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}

/// The cluster that a sink writes to; `None`: the built-in broker.
pub fn sink_cluster(pipeline: &Pipeline, sink: &TopicSinkConfig) -> Option<Cluster> {
    if sink.brokers == pipeline.source.brokers {
        return source_cluster(pipeline);
    }
    let connection = |name: &str| {
        ["security.", "sasl.", "ssl.", "enable.ssl."].iter().any(|prefix| name.starts_with(prefix))
    };
    let properties = sink.kafka.iter().filter(|(name, _)| connection(name));
    sink.brokers.as_ref().map(|brokers| Cluster {
        bootstrap: brokers.clone(),
        properties: properties.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}
