//! What members ask of a group and what they are told, apart from the wire.

use bytes::Bytes;
use kafka_protocol::ResponseError;

/// Names one waiting request; chosen by the caller, returned in an [`Action`].
pub(crate) type Ticket = u64;

/// What the caller must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    AnswerJoin(Ticket, JoinAnswer),
    AnswerSync(Ticket, SyncAnswer),
    /// Write the group to the offsets topic, so that it survives a restart.
    Persist,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JoinRequest {
    /// Empty for a member that has none yet.
    pub(crate) member_id: String,
    /// The name of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: String,
    /// Assignment strategies in order of preference, each with the member's metadata for it.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// The id that this member gets if it has none.
    pub(crate) new_member_id: String,
    /// JoinGroup v4+: an unknown member is told its id first and joins with it (KIP-394).
    pub(crate) must_know_member_id: bool,
    /// JoinGroup v9+: the leader may be told to skip the assignment (KIP-814).
    pub(crate) may_skip_assignment: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct JoinAnswer {
    pub(crate) error: Option<ResponseError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// For the leader: every member with its metadata. Empty for the others.
    pub(crate) members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) metadata: Bytes,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SyncRequest {
    pub(crate) generation: i32,
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// SyncGroup v5+.
    pub(crate) protocol_type: Option<String>,
    /// SyncGroup v5+.
    pub(crate) protocol: Option<String>,
    /// From the leader only.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SyncAnswer {
    pub(crate) error: Option<ResponseError>,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

impl SyncAnswer {
    pub(crate) fn refused(error: ResponseError) -> SyncAnswer {
        SyncAnswer { error: Some(error), ..SyncAnswer::default() }
    }
}

impl JoinAnswer {
    pub(crate) fn refused(error: ResponseError, member_id: &str) -> JoinAnswer {
        JoinAnswer {
            error: Some(error),
            generation: -1,
            member_id: member_id.to_owned(),
            ..JoinAnswer::default()
        }
    }
}
