//! Consumer groups: who is a member, who reads which partition, and how far each group has read.

mod coordinator;
mod exchange;
mod member;
mod offsets_log;
mod record;
mod state;
mod subscription;

pub(crate) use coordinator::offsets::CommitRequest;
pub(crate) use coordinator::{
    Coordinator, GroupDescription, GroupListing, GroupSettings, MemberDescription,
};
pub(crate) use exchange::{JoinAnswer, JoinRequest, JoinedMember, SyncRequest};
pub(crate) use offsets_log::OffsetsMarker;
pub(crate) use record::CommittedOffset;
