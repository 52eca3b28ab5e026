//! DescribeAcls (api code 29, v1-v3): the ACLs that a filter matches, by resource.
//!
//! - Needs Describe on the cluster.
//! - A filter may leave any part open; `MATCH` finds the rules that cover a resource.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::{Acl, AclFilter, Operation, PatternFilter, Permission, ResourceType, Rule};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::session::Session;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeAclsRequest,
) -> DescribeAclsResponse {
    let filter = session
        .authorize_cluster(Operation::Describe)
        .map_err(|error| Refusal::new(error, "Request is not authorized."))
        .and_then(|()| {
            FilterParts {
                resource_type: request.resource_type_filter,
                name: request.resource_name_filter,
                pattern_type: request.pattern_type_filter,
                principal: request.principal_filter,
                host: request.host_filter,
                operation: request.operation,
                permission: request.permission_type,
            }
            .read()
        });
    match filter {
        Ok(filter) => DescribeAclsResponse::default()
            .with_error_message(None)
            .with_resources(by_resource(broker, &filter)),
        Err(refusal) => DescribeAclsResponse::default()
            .with_error_code(refusal.error.code())
            .with_error_message(refusal.text()),
    }
}

fn by_resource(broker: &Broker, filter: &AclFilter) -> Vec<DescribeAclsResource> {
    let acls = broker.authorizer().acls();
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    let mut last = None;
    for Acl { pattern, rule } in acls.iter().filter(|acl| filter.matches(acl)) {
        if last.as_ref() != Some(&pattern) {
            resources.push(
                DescribeAclsResource::default()
                    .with_resource_type(pattern.resource_type as i8)
                    .with_resource_name(StrBytes::from_string(pattern.name.clone()))
                    .with_pattern_type(pattern.pattern_type as i8),
            );
            last = Some(pattern);
        }
        if let Some(resource) = resources.last_mut() {
            resource.acls.push(described(rule));
        }
    }
    resources
}

fn described(rule: Rule) -> AclDescription {
    AclDescription::default()
        .with_principal(StrBytes::from_string(rule.principal.to_string()))
        .with_host(StrBytes::from_string(rule.host))
        .with_operation(rule.operation as i8)
        .with_permission_type(rule.permission as i8)
}

/// A filter as DescribeAcls and DeleteAcls carry it.
pub(super) struct FilterParts {
    pub(super) resource_type: i8,
    pub(super) name: Option<StrBytes>,
    pub(super) pattern_type: i8,
    pub(super) principal: Option<StrBytes>,
    pub(super) host: Option<StrBytes>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

/// Kafka's number for "whatever it is", in each of the enumerations.
const ANY: i8 = 1;

impl FilterParts {
    /// INVALID_REQUEST for numbers that mean nothing.
    pub(super) fn read(self) -> Result<AclFilter, Refusal> {
        let text = |text: Option<StrBytes>| text.map(|text| text.to_string());
        let principal = self.principal.map(|text| text.parse()).transpose();
        Ok(AclFilter {
            resource_type: part(self.resource_type, ResourceType::from_code, "resource type")?,
            name: text(self.name),
            pattern_type: PatternFilter::from_code(self.pattern_type)
                .ok_or_else(|| unknown("pattern type", self.pattern_type))?,
            principal: principal
                .map_err(|error| Refusal::new(ResponseError::InvalidRequest, error))?,
            host: text(self.host),
            operation: part(self.operation, Operation::from_code, "operation")?,
            permission: part(self.permission, Permission::from_code, "permission type")?,
        })
    }
}

fn part<T>(
    code: i8,
    from_code: fn(i8) -> Option<T>,
    what: &'static str,
) -> Result<Option<T>, Refusal> {
    match code {
        ANY => Ok(None),
        code => from_code(code).map(Some).ok_or_else(|| unknown(what, code)),
    }
}

/// INVALID_REQUEST for a number that means nothing here.
pub(super) fn unknown(what: &str, code: i8) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, format!("Invalid {what} {code}"))
}
