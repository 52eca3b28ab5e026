//! ListGroups (api code 16, v0-v5): every group, if wanted only those in given states or of given
//! types.
//!
//! - States and types are compared without regard to case. Every group is of type classic.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::GroupListing;
use crate::session::Session;

const CLASSIC: &str = "classic";

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let passes = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let listed = |group: GroupListing| {
        let answer = ListedGroup::default()
            .with_group_id(GroupId(StrBytes::from_string(group.id)))
            .with_protocol_type(StrBytes::from_string(group.protocol_type));
        match session.version {
            ..=3 => answer,
            4 => answer.with_group_state(StrBytes::from_static_str(group.state)),
            _ => answer
                .with_group_state(StrBytes::from_static_str(group.state))
                .with_group_type(StrBytes::from_static_str(CLASSIC)),
        }
    };
    let all = session.may_cluster(Operation::Describe);
    let may = |id: &str| all || session.may(Operation::Describe, ResourceType::Group, id);
    let groups = broker.groups().list().into_iter();
    let groups = groups
        .filter(|group| may(&group.id))
        .filter(|group| passes(&request.states_filter, group.state))
        .filter(|_| passes(&request.types_filter, CLASSIC));
    ListGroupsResponse::default().with_groups(groups.map(listed).collect())
}
