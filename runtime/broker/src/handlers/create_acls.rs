//! CreateAcls (api code 30, v1-v3): new rules about who may do what, each with its own outcome.
//!
//! - Needs Alter on the cluster. On disk and in force when answered; a rule that is there already
//!   is no error.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::describe_acls::unknown;
use crate::auth::acl::{
    Acl, CLUSTER_NAME, Operation, Pattern, PatternType, Permission, ResourceType, Rule,
};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;

/// Bytes of a principal, a host or a resource name in a rule.
const NAME_BYTES_MAX: usize = 4096;

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: CreateAclsRequest,
) -> CreateAclsResponse {
    let allowed = session.authorize_cluster(Operation::Alter);
    let allowed = allowed.map_err(|error| Refusal::new(error, "Request is not authorized."));
    let read = |creation| allowed.clone().and_then(|()| read(creation));
    let asked: Vec<_> = request.creations.iter().map(read).collect();
    let valid: Vec<Acl> = asked.iter().filter_map(|acl| acl.as_ref().ok()).cloned().collect();
    for acl in &valid {
        tracing::info!(by = session.principal.to_string(), "new ACL: {acl}");
    }
    let working = tokio::task::spawn_blocking(move || broker.authorizer().create(valid));
    let stored = working.await.unwrap_or_else(|error| Err(error.into())).map_err(not_stored);
    let result = |acl: Result<Acl, Refusal>| {
        let result = AclCreationResult::default().with_error_message(None);
        match acl.and_then(|_| stored.clone()) {
            Ok(()) => result,
            Err(refusal) => {
                result.with_error_code(refusal.error.code()).with_error_message(refusal.text())
            }
        }
    };
    CreateAclsResponse::default().with_results(asked.into_iter().map(result).collect())
}

/// For a change that could not be put on disk.
pub(super) fn not_stored(error: anyhow::Error) -> Refusal {
    let message = format!("{error:#}");
    tracing::error!(error = message, "cannot store who may do what");
    Refusal::new(ResponseError::KafkaStorageError, message)
}

fn read(asked: &AclCreation) -> Result<Acl, Refusal> {
    let invalid = |message: String| Refusal::new(ResponseError::InvalidRequest, message);
    let resource_type = ResourceType::from_code(asked.resource_type)
        .ok_or_else(|| unknown("resourceType", asked.resource_type))?;
    let name = asked.resource_name.as_str();
    if name.is_empty() {
        return Err(invalid("Invalid empty resource name".to_owned()));
    }
    if resource_type == ResourceType::Cluster && name != CLUSTER_NAME {
        let message = format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}");
        return Err(invalid(message));
    }
    let pattern_type = PatternType::from_code(asked.resource_pattern_type)
        .ok_or_else(|| unknown("patternType", asked.resource_pattern_type))?;
    let (principal, host) = (asked.principal.as_str(), asked.host.as_str());
    if [name, principal, host].iter().any(|text| text.len() > NAME_BYTES_MAX) {
        return Err(invalid(format!("A name is longer than {NAME_BYTES_MAX} bytes")));
    }
    Ok(Acl {
        pattern: Pattern { resource_type, name: name.to_owned(), pattern_type },
        rule: Rule {
            principal: principal.parse().map_err(invalid)?,
            host: host.to_owned(),
            operation: Operation::from_code(asked.operation)
                .ok_or_else(|| unknown("operation", asked.operation))?,
            permission: Permission::from_code(asked.permission_type)
                .ok_or_else(|| unknown("permissionType", asked.permission_type))?,
        },
    })
}
