//! Consumer groups that a visitor sees, of any cluster: of the built-in broker without asking it over the network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_broker::{Operation, Principal, ResourceType};
use gristmill_connectors::groups::GroupProgress;
use gristmill_connectors::viewer::{OffsetRange, Viewer};
use gristmill_engine::offsets::TopicPartition;
use tokio::time::timeout;

use super::site::{BuiltIn, NamedCluster, Site};
use super::visitor::Visitor;

/// For so long a page waits for what another cluster tells slowly; the next one shows it.
pub const WAIT_MAX: Duration = Duration::from_millis(500);

/// A group as it stands to one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicGroup {
    pub id: String,
    pub state: String,
    pub members: usize,
    /// Partitions of which it has committed an offset.
    pub partitions: usize,
    pub lag: u64,
}

/// The groups that the visitor may see.
///
/// # Errors
/// Why they are not told, in words.
pub async fn visible(
    site: &Site,
    visitor: &Visitor,
    named: &NamedCluster,
    viewer: &Arc<Viewer>,
) -> Result<Arc<Vec<GroupProgress>>, String> {
    if let Some(built_in) = site.built_in(named) {
        return Ok(Arc::new(of_built_in(built_in, visitor)));
    }
    match timeout(WAIT_MAX, viewer.groups()).await {
        Ok(groups) => groups.map_err(|error| format!("{error:#}")),
        Err(_) => {
            Err("The cluster has not told its groups yet: look again in a moment.".to_string())
        }
    }
}

fn of_built_in(built_in: &BuiltIn, visitor: &Visitor) -> Vec<GroupProgress> {
    let mut groups = built_in.broker.group_progress();
    if let Visitor::Key { key, .. } = visitor {
        let principal = Principal::user(key);
        groups.retain(|group| {
            built_in.broker.may(&principal, Operation::Describe, ResourceType::Group, &group.id)
        });
    }
    let progress = |group: gristmill_broker::GroupProgress| GroupProgress {
        id: group.id,
        state: group.state.to_string(),
        members: group.members,
        committed: group
            .committed
            .into_iter()
            .map(|((topic, partition), offset)| (TopicPartition::new(topic, partition), offset))
            .collect(),
    };
    groups.into_iter().map(progress).collect()
}

/// Those of them that have committed offsets of a topic; `held`: what its partitions hold.
pub fn of_topic(
    groups: &[GroupProgress],
    topic: &str,
    held: &BTreeMap<i32, OffsetRange>,
) -> Vec<TopicGroup> {
    let of_topic = |group: &GroupProgress| {
        let partitions = group.of_topic(topic).len();
        (partitions > 0).then(|| TopicGroup {
            id: group.id.clone(),
            state: group.state.clone(),
            members: group.members,
            partitions,
            lag: group.lag(topic, held),
        })
    };
    groups.iter().filter_map(of_topic).collect()
}
