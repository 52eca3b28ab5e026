//! `gristmill topic update`: settings and the number of partitions of a topic that is there.

use anyhow::{Result, bail};
use gristmill_connectors::admin;
use serde_json::json;

use super::topic_create::PARTITIONS_MAX;
use crate::flags::BootstrapFlags;
use crate::output::{Output, counted};
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TopicUpdateFlags {
    topic: String,

    /// A setting of the topic, such as retention.ms=86400000; may be given again; the others stay
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::topic_create::key_value)]
    config: Vec<(String, String)>,

    /// A setting that goes back to the cluster's default; may be given again
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,

    /// How many partitions the topic has then, more than now; keys may meet other partitions from now on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    partitions: Option<i32>,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// Changes what was asked for, and nothing if the cluster refuses a part of it.
pub async fn run(flags: &TopicUpdateFlags, output: Output) -> Result<()> {
    let TopicUpdateFlags { topic, config, delete_config, partitions, broker } = flags;
    let set = config.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let settings: Vec<_> = set.chain(delete_config.iter().map(|key| (key.clone(), None))).collect();
    if settings.is_empty() && partitions.is_none() {
        bail!(UserError::new(format!(
            "nothing to change of topic `{topic}`: give --config KEY=VALUE, --delete-config KEY or --partitions N"
        )));
    }
    let cluster = broker.cluster()?;
    let described = admin::describe_topic(&cluster, topic).await.map_err(UserError::from_error)?;
    if let Some(count) = partitions {
        let now = described.partitions.len();
        if usize::try_from(*count).is_ok_and(|count| count <= now) {
            let now = counted(now, "partition");
            bail!(UserError::new(format!(
                "topic `{topic}` has {now}: --partitions takes a larger number"
            )));
        }
    }
    if !settings.is_empty() {
        let altered = admin::alter_settings(&cluster, topic, settings.clone()).await;
        altered.map_err(UserError::from_error)?;
    }
    if let Some(count) = partitions {
        let added = admin::add_partitions(&cluster, topic, *count).await;
        added.map_err(UserError::from_error)?;
    }
    let mut done: Vec<String> = settings.iter().map(change).collect();
    done.extend(partitions.map(|count| format!("{count} partitions")));
    output.answer(
        format!("topic `{topic}`: {}", done.join(", ")),
        &json!({
            "topic": topic,
            "settings": settings.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "partitions": partitions,
        }),
    )
}

fn change((key, value): &(String, Option<String>)) -> String {
    match value {
        Some(value) => format!("{key}={value}"),
        None => format!("{key} as the cluster has it"),
    }
}
