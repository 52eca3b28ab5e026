//! `gristmill topic describe`.

use anyhow::Result;
use serde_json::json;

use crate::cluster::{Cluster, Offsets};
use crate::flags::BootstrapFlags;
use crate::output::Output;
use crate::table::Table;

#[derive(clap::Args)]
pub struct TopicDescribeFlags {
    topic: String,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Prints the offsets of every partition. Their difference counts the markers of transactions and
/// what compaction has dropped too, so `records` is the most that can be there.
pub async fn run(flags: &TopicDescribeFlags, output: Output) -> Result<()> {
    let cluster = Cluster::connect(&flags.broker.bootstrap)?;
    let topic = cluster.topic(&flags.topic)?;
    let partitions = cluster.offsets(&topic)?;
    let records: i64 = partitions.iter().map(Offsets::records).sum();
    let mut table = Table::new(["partition", "start offset", "end offset", "records"]);
    for offsets in &partitions {
        let Offsets { partition, start, end } = *offsets;
        table.push([i64::from(partition), start, end, offsets.records()].map(|n| n.to_string()));
    }
    let json: Vec<_> = partitions
        .iter()
        .map(|offsets| {
            json!({ "partition": offsets.partition, "start": offsets.start, "end": offsets.end })
        })
        .collect();
    output.answer(
        format!("topic `{}`: {records} records\n{}", topic.name, table.render()),
        &json!({ "topic": topic.name, "records": records, "partitions": json }),
    )
}
