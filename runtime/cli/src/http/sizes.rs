//! Bytes that topics take on disk, of any cluster: of the built-in broker without asking it over the network.

use std::sync::Arc;

use gristmill_connectors::LogSizes;
use gristmill_connectors::viewer::Viewer;
use gristmill_engine::offsets::{self, TopicPartition};
use tokio::time::timeout;

use super::groups::WAIT_MAX;
use super::site::{NamedCluster, Site};

/// By partition, of topics that the visitor sees; what is not told is left out.
pub async fn of_topics(
    site: &Site,
    named: &NamedCluster,
    viewer: &Arc<Viewer>,
    topics: &[String],
) -> LogSizes {
    let mut sizes = LogSizes::new();
    if let Some(built_in) = site.built_in(named) {
        for topic in topics.iter().filter_map(|name| built_in.broker.topic(name)) {
            let name: Arc<str> = topic.name().into();
            let logs = topic.partitions().iter().zip(0..);
            sizes.extend(logs.map(|(log, number)| {
                (TopicPartition::new(name.clone(), number), log.size_bytes())
            }));
        }
        return sizes;
    }
    // Not every cluster tells them, and none is waited for.
    if let Ok(Ok(told)) = timeout(WAIT_MAX, viewer.sizes()).await {
        let wanted = topics.iter().flat_map(|topic| offsets::of_topic(&told, topic));
        sizes.extend(wanted.map(|(at, bytes)| (at.clone(), *bytes)));
    }
    sizes
}

/// Of all partitions of a topic; `None`: not of all of them.
pub fn of_topic(sizes: &LogSizes, topic: &str, partitions: i32) -> Option<u64> {
    let size = |number| sizes.get(&TopicPartition::new(topic, number));
    (0..partitions).map(size).sum()
}
