//! DeleteGroups (api code 42, v0-v2): forgets empty groups and their committed offsets.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use crate::auth::acl::{Operation, ResourceType};
use crate::broker::Broker;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let delete = |id: GroupId| {
        let allowed = session.authorize(Operation::Delete, ResourceType::Group, &id);
        let outcome = allowed.and_then(|()| broker.groups().delete(&id));
        DeletableGroupResult::default()
            .with_error_code(super::error_code(&outcome))
            .with_group_id(id)
    };
    let results = request.groups_names.into_iter().map(delete).collect();
    DeleteGroupsResponse::default().with_results(results)
}
