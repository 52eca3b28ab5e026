//! DescribeGroups (api code 15, v0-v5): state and members of groups.
//!
//! - An unknown group is answered with state Dead and no error, as in Kafka.
//! - Left out: v6 (GROUP_ID_NOT_FOUND instead, KIP-1043).

use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::group::{GroupDescription, MemberDescription};
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let with_instances = session.version >= 4;
    let one = |id: GroupId| {
        if let Err(error) = session.authorize(Operation::Describe, ResourceType::Group, &id) {
            return DescribedGroup::default().with_group_id(id).with_error_code(error.code());
        }
        let mut group = match broker.groups().describe(&id) {
            Some(description) => described(description, with_instances),
            None => DescribedGroup::default().with_group_state(StrBytes::from_static_str("Dead")),
        };
        if request.include_authorized_operations {
            group.authorized_operations = session.operations(ResourceType::Group, &id);
        }
        group.with_group_id(id)
    };
    DescribeGroupsResponse::default().with_groups(request.groups.into_iter().map(one).collect())
}

fn described(group: GroupDescription, with_instances: bool) -> DescribedGroup {
    let member = |member: MemberDescription| {
        let instance_id = member.instance_id.filter(|_| with_instances);
        DescribedGroupMember::default()
            .with_member_id(StrBytes::from_string(member.id))
            .with_group_instance_id(instance_id.map(StrBytes::from_string))
            .with_client_id(StrBytes::from_string(member.client_id))
            .with_client_host(StrBytes::from_string(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    };
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state))
        .with_protocol_type(StrBytes::from_string(group.protocol_type))
        .with_protocol_data(StrBytes::from_string(group.protocol))
        .with_members(group.members.into_iter().map(member).collect())
}
