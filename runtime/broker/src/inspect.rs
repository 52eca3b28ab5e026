//! What others in the same process ask of the broker: who a client is, what it may do, how far groups are.
//!
//! For those who show or measure the broker; clients ask by requests (`handlers`).

use std::collections::BTreeMap;

use crate::auth::Principal;
use crate::auth::acl::{Asker, CLUSTER_NAME, Operation, ResourceType};
use crate::broker::Broker;

/// A consumer group, as far as whoever looks on needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProgress {
    /// The group's id.
    pub id: String,
    /// Kafka's name of its state, such as `Stable`.
    pub state: &'static str,
    /// Members at this moment.
    pub members: usize,
    /// Topic and partition → the next offset that the group reads.
    pub committed: BTreeMap<(String, i32), i64>,
}

impl Broker {
    /// Who has that name and secret; `None`: nobody. Takes milliseconds of computing.
    pub fn authenticate(&self, user: &str, secret: &str) -> Option<Principal> {
        self.credentials().is_secret(user, secret).then(|| Principal::user(user))
    }

    /// True if the principal, on this machine, may do that to the broker as a whole.
    pub fn may_cluster(&self, principal: &Principal, operation: Operation) -> bool {
        self.may(principal, operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// True if the principal, on this machine, may do that to the resource of that name.
    pub fn may(
        &self,
        principal: &Principal,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> bool {
        let asker = Asker { principal, host: "127.0.0.1" };
        self.authorizer().may(asker, operation, resource_type, name)
    }

    /// All groups, by id.
    pub fn group_progress(&self) -> Vec<GroupProgress> {
        let groups = self.groups();
        let progress = |listing: crate::group::GroupListing| {
            let committed = groups.all_committed(&listing.id).into_iter();
            let described = groups.describe(&listing.id);
            GroupProgress {
                state: listing.state,
                members: described.map_or(0, |group| group.members.len()),
                committed: committed.map(|(place, committed)| (place, committed.offset)).collect(),
                id: listing.id,
            }
        };
        groups.list().into_iter().map(progress).collect()
    }
}
