//! DeleteAcls (api code 31, v1-v3): removes the rules that filters match and says which they were.
//!
//! - Needs Alter on the cluster. Gone from disk and out of force when answered.

use std::sync::Arc;

use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl,
};
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::create_acls::not_stored;
use super::describe_acls::FilterParts;
use crate::auth::acl::{Acl, AclFilter, Operation};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: DeleteAclsRequest,
) -> DeleteAclsResponse {
    let allowed = session.authorize_cluster(Operation::Alter);
    let allowed = allowed.map_err(|error| Refusal::new(error, "Request is not authorized."));
    let read = |filter| allowed.clone().and_then(|()| read(filter));
    let asked: Vec<Result<AclFilter, Refusal>> = request.filters.into_iter().map(read).collect();
    let valid: Vec<AclFilter> = asked.iter().filter_map(|it| it.as_ref().ok()).cloned().collect();
    let working = tokio::task::spawn_blocking(move || broker.authorizer().delete(&valid));
    let removed = working.await.unwrap_or_else(|error| Err(error.into())).map_err(not_stored);
    for acl in removed.iter().flatten().flatten() {
        tracing::info!(by = session.principal.to_string(), "ACL removed: {acl}");
    }
    let mut removed = removed.map(Vec::into_iter);
    let result = |filter: Result<AclFilter, Refusal>| {
        let result = DeleteAclsFilterResult::default().with_error_message(None);
        let matching = filter.and_then(|_| match &mut removed {
            Ok(removed) => Ok(removed.next().unwrap_or_default()),
            Err(refusal) => Err(refusal.clone()),
        });
        match matching {
            Ok(acls) => result.with_matching_acls(acls.into_iter().map(matching_acl).collect()),
            Err(refusal) => {
                result.with_error_code(refusal.error.code()).with_error_message(refusal.text())
            }
        }
    };
    let results = asked.into_iter().map(result).collect();
    DeleteAclsResponse::default().with_filter_results(results)
}

fn read(filter: DeleteAclsFilter) -> Result<AclFilter, Refusal> {
    FilterParts {
        resource_type: filter.resource_type_filter,
        name: filter.resource_name_filter,
        pattern_type: filter.pattern_type_filter,
        principal: filter.principal_filter,
        host: filter.host_filter,
        operation: filter.operation,
        permission: filter.permission_type,
    }
    .read()
}

fn matching_acl(Acl { pattern, rule }: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_error_message(None)
        .with_resource_type(pattern.resource_type as i8)
        .with_resource_name(StrBytes::from_string(pattern.name))
        .with_pattern_type(pattern.pattern_type as i8)
        .with_principal(StrBytes::from_string(rule.principal.to_string()))
        .with_host(StrBytes::from_string(rule.host))
        .with_operation(rule.operation as i8)
        .with_permission_type(rule.permission as i8)
}
