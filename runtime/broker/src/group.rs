//! Consumer groups: who is a member, who reads which partition, and how far each group has read.

mod coordinator;
mod offsets_log;
mod record;
mod state;

pub(crate) use coordinator::{
    CommitRequest, Coordinator, GroupDescription, GroupListing, GroupSettings, MemberDescription,
};
pub(crate) use record::CommittedOffset;
pub(crate) use state::{JoinAnswer, JoinRequest, JoinedMember, SyncRequest};
