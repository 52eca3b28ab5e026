//! One member of a group, and a group as it is saved.

use bytes::Bytes;

use super::exchange::{JoinRequest, Ticket};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// The member counts as dead after this, unless one of its requests waits here.
    pub(crate) deadline_ms: i64,
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
    /// Has sent SyncGroup in this generation.
    pub(super) synced: bool,
    /// Has never finished a join.
    pub(super) is_new: bool,
}

impl Member {
    /// A member of which only the id is known yet.
    pub(crate) fn named(id: String) -> Member {
        Member { id, ..Member::default() }
    }

    /// The member's metadata for one assignment strategy.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub(super) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    /// Takes over what a join says.
    pub(super) fn update(&mut self, join: &JoinRequest) {
        self.client_id.clone_from(&join.client_id);
        self.client_host.clone_from(&join.client_host);
        self.session_timeout_ms = join.session_timeout_ms;
        self.rebalance_timeout_ms = join.rebalance_timeout_ms;
        self.protocols.clone_from(&join.protocols);
    }
}

/// What a restart needs of a group; the offsets topic holds it in Kafka's own encoding.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SavedGroup {
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) state_since_ms: i64,
    pub(crate) members: Vec<Member>,
}
