//! AlterClientQuotas (api code 49, v0-v1, KIP-546): sets and removes quotas of users and client ids.
//!
//! - Needs AlterConfigs on the cluster. In force and on disk when answered.
//! - Offered are `producer_byte_rate` and `consumer_byte_rate`. The others of Kafka's are refused
//!   (INVALID_REQUEST), for nothing would hold them: `request_percentage`,
//!   `controller_mutation_rate`, and `connection_creation_rate` of addresses.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_client_quotas_response;
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::config_resource;
use crate::auth::acl::Operation;
use crate::broker::Broker;
use crate::client_quotas::{Entity, EntityType, Quota};
use crate::refusal::Refusal;
use crate::session::Session;

/// Kafka's others, which would change nothing here.
const NOT_OFFERED: [&str; 3] =
    ["request_percentage", "controller_mutation_rate", "connection_creation_rate"];

pub(super) async fn handle(
    broker: Arc<Broker>,
    session: Session,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let validate_only = request.validate_only;
    let entries = config_resource::for_each(
        broker,
        session,
        request.entries,
        move |broker, session, entry| alter(broker, session, entry, validate_only),
        |entry: EntryData, error_code, message| {
            alter_client_quotas_response::EntryData::default()
                .with_error_code(error_code)
                .with_error_message(message)
                .with_entity(entry.entity.into_iter().map(named).collect())
        },
    );
    AlterClientQuotasResponse::default().with_entries(entries.await)
}

fn named(part: EntityData) -> alter_client_quotas_response::EntityData {
    alter_client_quotas_response::EntityData::default()
        .with_entity_type(part.entity_type)
        .with_entity_name(part.entity_name)
}

fn alter(
    broker: &Broker,
    session: &Session,
    asked: &EntryData,
    validate_only: bool,
) -> Result<(), Refusal> {
    let allowed = session.authorize_cluster(Operation::AlterConfigs);
    allowed.map_err(|error| Refusal::new(error, "Cluster authorization failed."))?;
    let entity = entity(&asked.entity)?;
    let changes: Result<Vec<_>, Refusal> = asked.ops.iter().map(change).collect();
    broker.client_quotas().alter(&entity, &changes?, validate_only)
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, message)
}

fn entity(parts: &[EntityData]) -> Result<Entity, Refusal> {
    let mut entity = Entity::new();
    for part in parts {
        let name = part.entity_type.as_str();
        let Some(kind) = EntityType::ALL.into_iter().find(|it| it.name() == name) else {
            return Err(match name {
                "ip" => invalid("Quotas of addresses (ip) are not offered here".to_owned()),
                _ => invalid(format!("Unhandled client quota entity type: {name}")),
            });
        };
        let value = part.entity_name.as_ref().map(|name| name.to_string());
        if entity.insert(kind, value).is_some() {
            return Err(invalid(format!("Duplicate {name} in the entity")));
        }
    }
    Ok(entity)
}

fn change(asked: &OpData) -> Result<(Quota, Option<u64>), Refusal> {
    let (key, value) = (asked.key.as_str(), asked.value);
    let Some(quota) = Quota::ALL.into_iter().find(|quota| quota.name() == key) else {
        return Err(match NOT_OFFERED.contains(&key) {
            true => invalid(format!("The quota {key} is not offered here")),
            false => invalid(format!("Invalid configuration key {key}")),
        });
    };
    if asked.remove {
        return Ok((quota, None));
    }
    if value.is_nan() || value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    if value.fract() != 0.0 || value > i64::MAX as f64 {
        return Err(invalid(format!("{key} cannot be a fractional value.")));
    }
    Ok((quota, Some(value as u64)))
}
