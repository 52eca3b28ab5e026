//! DescribeClientQuotas (api code 48, v0-v1, KIP-546): the quotas of users and client ids.
//!
//! - Needs DescribeConfigs on the cluster. A filter names parts of an entity: by name, the default,
//!   or any; strict: the entity has no other part.
//! - Quotas of addresses (`ip`) are not offered: none is found.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::client_quotas::{Entity, EntityType, Rates};
use crate::refusal::Refusal;
use crate::session::Session;

const MATCH_NAME: i8 = 0;
const MATCH_DEFAULT: i8 = 1;
const MATCH_ANY: i8 = 2;
const ADDRESS: &str = "ip";

/// What a part of an entity must be.
enum Wanted {
    Name(Option<String>),
    Any,
}

/// By part. None: no entity that we have can be meant.
type Filter = Option<BTreeMap<EntityType, Wanted>>;

pub(super) fn handle(
    broker: &Broker,
    session: &Session,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default().with_error_message(None);
    let allowed = session.authorize_cluster(Operation::DescribeConfigs);
    let allowed = allowed.map_err(|error| Refusal::new(error, "Cluster authorization failed."));
    let filter = match allowed.and_then(|()| parse(&request.components)) {
        Ok(filter) => filter,
        Err(refusal) => {
            let response = response.with_error_code(refusal.error.code());
            return response.with_error_message(refusal.text()).with_entries(None);
        }
    };
    let table = broker.client_quotas().table();
    let found = table.iter().filter(|(entity, _)| matches(&filter, request.strict, entity));
    response.with_entries(Some(found.map(|(entity, rates)| described(entity, rates)).collect()))
}

fn parse(components: &[ComponentData]) -> Result<Filter, Refusal> {
    let invalid = |message| Err(Refusal::new(ResponseError::InvalidRequest, message));
    let mut wanted = BTreeMap::new();
    let mut has_address = false;
    for component in components {
        let name = component.entity_type.as_str();
        let wants = match (component.match_type, &component._match) {
            (MATCH_NAME, Some(name)) => Wanted::Name(Some(name.to_string())),
            (MATCH_DEFAULT, None) => Wanted::Name(None),
            (MATCH_ANY, None) => Wanted::Any,
            (other, _) => return invalid(format!("Unexpected match type {other} for {name}")),
        };
        let again = match EntityType::ALL.into_iter().find(|it| it.name() == name) {
            Some(part) => wanted.insert(part, wants).is_some(),
            None if name == ADDRESS => std::mem::replace(&mut has_address, true),
            None => {
                let message = format!("Unsupported entity type {name}");
                return Err(Refusal::new(ResponseError::UnsupportedVersion, message));
            }
        };
        if again {
            return invalid(format!(
                "Entity type {name} cannot appear more than once in the filter."
            ));
        }
    }
    if has_address && !wanted.is_empty() {
        let message = "Invalid entity filter component combination. IP filter component should \
                       not be used with user or clientId filter component.";
        return invalid(message.to_owned());
    }
    Ok((!has_address).then_some(wanted))
}

fn matches(filter: &Filter, strict: bool, entity: &Entity) -> bool {
    let Some(wanted) = filter else { return false };
    let fits = |(part, wants): (&EntityType, &Wanted)| match (entity.get(part), wants) {
        (Some(name), Wanted::Name(wanted)) => name == wanted,
        (name, Wanted::Any) => name.is_some(),
        (None, _) => false,
    };
    wanted.iter().all(fits) && (!strict || entity.len() == wanted.len())
}

fn described(entity: &Entity, rates: &Rates) -> EntryData {
    let part = |(part, name): (&EntityType, &Option<String>)| {
        EntityData::default()
            .with_entity_type(StrBytes::from_static_str(part.name()))
            .with_entity_name(name.clone().map(StrBytes::from_string))
    };
    let values = rates.iter().map(|(quota, rate)| {
        ValueData::default()
            .with_key(StrBytes::from_static_str(quota.name()))
            .with_value(*rate as f64)
    });
    EntryData::default()
        .with_entity(entity.iter().map(part).collect())
        .with_values(values.collect())
}
