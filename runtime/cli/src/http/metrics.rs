//! `/metrics`: what the process counts, for Prometheus. The same readings go out by OpenTelemetry (`telemetry`).

use std::sync::Arc;
use std::time::SystemTime;

use axum::Extension;
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use gristmill_broker::{Broker, Counter, Operation};

use super::exposition::{self, Family};
use super::failure::Failure;
use super::process;
use super::site::Site;
use super::visitor::Visitor;
use super::watched::Watched;

pub fn routes() -> Router<Arc<Site>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<impl IntoResponse, Failure> {
    site.demand(&visitor, Operation::Describe)?;
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    Ok(([content_type], exposition::text(&readings(&site))))
}

/// Everything that is measured, at this moment.
pub fn readings(site: &Site) -> Vec<Family> {
    let mut families = of_process(site.started);
    families.extend(of_pipelines(&site.pipelines));
    families.extend(of_stages(&site.pipelines));
    families.extend(of_sinks(&site.pipelines));
    if let Some(built_in) = &site.broker {
        families.extend(of_broker(&built_in.broker));
        families.extend(of_topics(&built_in.broker));
        families.extend(of_groups(&built_in.broker));
    }
    families
}

fn of_process(started: SystemTime) -> Vec<Family> {
    let mut build = Family::gauge("gristmill_build_info", "Version of the program; always 1.");
    build.add([("version", env!("CARGO_PKG_VERSION"))], 1_u64);
    let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut families = vec![
        build,
        Family::gauge("process_start_time_seconds", "Start of the process since 1970 UTC.")
            .with(since.as_secs_f64()),
    ];
    if let Some(usage) = process::usage() {
        families.extend([
            Family::counter(
                "process_cpu_seconds_total",
                "CPU time of the process, user and system.",
            )
            .with(usage.cpu.as_secs_f64()),
            Family::gauge("process_resident_memory_bytes", "Memory that the process holds.")
                .with(usage.resident_bytes),
            Family::gauge("process_open_fds", "Files and sockets that are open.")
                .with(usage.open_files),
        ]);
    }
    families
}

const STATES: [&str; 5] = ["starting", "running", "paused", "stopped", "failed"];

fn of_pipelines(pipelines: &[Watched]) -> Vec<Family> {
    let mut state =
        Family::gauge("gristmill_pipeline_state", "1 for the state that the pipeline is in.");
    let mut records =
        Family::counter("gristmill_pipeline_records_total", "Records read from the source.");
    let mut batches =
        Family::counter("gristmill_pipeline_micro_batches_total", "Micro-batches done.");
    let mut rewinds = Family::counter(
        "gristmill_pipeline_rewinds_total",
        "Failures that may pass and sent the pipeline back to its cursors.",
    );
    let mut lag = Family::gauge(
        "gristmill_pipeline_lag_records",
        "Records that are in the source and not yet committed by every sink.",
    );
    let mut generation = Family::gauge(
        "gristmill_pipeline_generation",
        "Which plan runs: 1 at the start, one more with every reload.",
    );
    let mut refusals = Family::counter(
        "gristmill_pipeline_reloads_refused_total",
        "Changes of the pipeline's files that were refused: what ran before runs on.",
    );
    for pipeline in pipelines {
        let (name, snapshot) = ([("pipeline", pipeline.name())], pipeline.snapshot());
        for known in STATES {
            let is = u64::from(pipeline.state_name() == known);
            state.add([("pipeline", pipeline.name()), ("state", known)], is);
        }
        records.add(name, snapshot.records);
        batches.add(name, snapshot.micro_batches);
        rewinds.add(name, snapshot.rewinds);
        lag.add(name, snapshot.lag);
        generation.add(name, pipeline.control.generation());
        refusals.add(name, pipeline.control.refusals());
    }
    vec![state, records, batches, rewinds, lag, generation, refusals]
}

fn of_stages(pipelines: &[Watched]) -> Vec<Family> {
    let mut rows_in = Family::counter("gristmill_stage_rows_in_total", "Rows given to the stage.");
    let mut rows_out =
        Family::counter("gristmill_stage_rows_out_total", "Rows that the stage gave.");
    let mut filtered =
        Family::counter("gristmill_stage_rows_filtered_total", "Rows that the stage left out.");
    let mut failed =
        Family::counter("gristmill_stage_rows_failed_total", "Rows that the stage did not take.");
    let mut busy = Family::counter(
        "gristmill_stage_busy_seconds_total",
        "Time of all lanes in the stage: its module, and what it takes to get there and back.",
    );
    let mut memory = Family::gauge(
        "gristmill_stage_memory_bytes",
        "Linear memory that the module's instances of all lanes hold.",
    );
    for pipeline in pipelines {
        for stage in pipeline.snapshot().stages {
            let labels = [("pipeline", pipeline.name()), ("stage", stage.name.as_str())];
            rows_in.add(labels, stage.counts.rows_in);
            rows_out.add(labels, stage.counts.rows_out);
            filtered.add(labels, stage.counts.rows_filtered);
            failed.add(labels, stage.counts.rows_failed);
            busy.add(labels, stage.busy_ms / 1e3);
            memory.add(labels, stage.memory_bytes);
        }
    }
    vec![rows_in, rows_out, filtered, failed, busy, memory]
}

fn of_sinks(pipelines: &[Watched]) -> Vec<Family> {
    let mut written =
        Family::counter("gristmill_sink_rows_written_total", "Rows handed to the sink.");
    let mut committed =
        Family::counter("gristmill_sink_rows_committed_total", "Rows that are durable.");
    let mut commits = Family::counter("gristmill_sink_commits_total", "Commits of the sink.");
    let mut last = Family::gauge(
        "gristmill_sink_last_commit_timestamp_seconds",
        "When the last commit was, since 1970 UTC.",
    );
    let mut latency = Family::gauge(
        "gristmill_sink_last_commit_latency_seconds",
        "How long the oldest row of the last commit had waited between stages and durable.",
    );
    for pipeline in pipelines {
        for sink in pipeline.snapshot().sinks {
            let labels = [("pipeline", pipeline.name()), ("sink", sink.name.as_str())];
            written.add(labels, sink.rows_written);
            committed.add(labels, sink.rows_committed);
            commits.add(labels, sink.commits);
            if let Some(at_ms) = sink.last_commit_ms {
                last.add(labels, at_ms as f64 / 1e3);
                latency.add(labels, sink.last_commit_latency_ms / 1e3);
            }
        }
    }
    vec![written, committed, commits, last, latency]
}

fn of_broker(broker: &Broker) -> Vec<Family> {
    let counted = broker.metrics();
    let counter = |name, help, counter: &Counter| Family::counter(name, help).with(counter.get());
    let open = counted.connections_accepted.get().saturating_sub(counted.connections_closed.get());
    vec![
        Family::gauge(
            "gristmill_broker_connections",
            "Connections of Kafka clients that are open.",
        )
        .with(open),
        counter(
            "gristmill_broker_connections_refused_total",
            "Connections closed because of what they sent.",
            &counted.connections_refused,
        ),
        counter(
            "gristmill_broker_authentications_failed_total",
            "Clients that did not prove who they are.",
            &counted.authentications_failed,
        ),
        counter(
            "gristmill_broker_requests_total",
            "Requests read, of any kind.",
            &counted.requests,
        ),
        counter(
            "gristmill_broker_request_bytes_total",
            "Bytes of requests.",
            &counted.request_bytes,
        ),
        counter(
            "gristmill_broker_response_bytes_total",
            "Bytes of answers.",
            &counted.response_bytes,
        ),
        counter(
            "gristmill_broker_produced_bytes_total",
            "Bytes of record batches appended by producers.",
            &counted.produced_bytes,
        ),
        counter(
            "gristmill_broker_produce_errors_total",
            "Record batches that were refused.",
            &counted.produce_errors,
        ),
        counter(
            "gristmill_broker_fetched_bytes_total",
            "Bytes of record batches sent to consumers.",
            &counted.fetched_bytes,
        ),
    ]
}

fn of_topics(broker: &Broker) -> Vec<Family> {
    let mut partitions = Family::gauge("gristmill_topic_partitions", "Partitions of the topic.");
    let mut size =
        Family::gauge("gristmill_topic_size_bytes", "Bytes of the topic's logs on disk.");
    let mut start =
        Family::gauge("gristmill_topic_start_offset", "First offset that the partition holds.");
    let mut end =
        Family::gauge("gristmill_topic_end_offset", "Offset of the partition's next record.");
    for topic in broker.topics() {
        let name = topic.name();
        partitions.add([("topic", name)], topic.partitions().len());
        size.add(
            [("topic", name)],
            topic.partitions().iter().map(|log| log.size_bytes()).sum::<u64>(),
        );
        for (number, log) in topic.partitions().iter().enumerate().filter(|_| !topic.is_internal())
        {
            let number = number.to_string();
            let labels = [("topic", name), ("partition", number.as_str())];
            start.add(labels, log.log_start_offset());
            end.add(labels, log.high_watermark());
        }
    }
    vec![partitions, size, start, end]
}

fn of_groups(broker: &Broker) -> Vec<Family> {
    let mut members = Family::gauge("gristmill_group_members", "Members of the consumer group.");
    let mut lag = Family::gauge(
        "gristmill_group_lag_records",
        "Offsets between what the group has committed and the end of the partition.",
    );
    for group in broker.group_progress() {
        members.add([("group", group.id.as_str())], group.members);
        for ((topic, partition), committed) in &group.committed {
            let Some(log) = broker.log(topic, *partition) else { continue };
            let partition = partition.to_string();
            let labels = [
                ("group", group.id.as_str()),
                ("topic", topic.as_str()),
                ("partition", partition.as_str()),
            ];
            lag.add(labels, (log.high_watermark() - committed).max(0));
        }
    }
    vec![members, lag]
}
