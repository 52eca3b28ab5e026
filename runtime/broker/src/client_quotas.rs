//! Quotas of clients: the bytes per second that a user, a client id or both may produce and fetch
//! (KIP-13, KIP-124, KIP-546), kept in `client-quotas.json`.
//!
//! A client's most specific quota counts, in Kafka's order. One that takes more is told how long to
//! wait (`throttle_time_ms`), and its connection isn't read until then; it has its answer by then,
//! so nothing is refused. What was not used in the last [`SAVED_MS`] may be used at once.
//!
//! Left out: `request_percentage`, `controller_mutation_rate`, `connection_creation_rate`. They are
//! refused: who sets them relies on them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use crate::kept::{Content, Kept};
use crate::lock::lock;
use crate::refusal::Refusal;

/// Entities with quotas.
const ENTITIES_MAX: usize = 10_000;
/// Bytes of a name in an entity.
const NAME_BYTES_MAX: usize = 1024;
/// How long allowance is saved up. Kafka measures over 11 windows of a second, the last one unfinished.
const SAVED_MS: i64 = 10_000;
/// Accounts in memory, beyond which those that are at rest are forgotten.
const ACCOUNTS_MAX: usize = 10_000;

/// One part of what a quota is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum EntityType {
    #[serde(rename = "user")]
    User,
    #[serde(rename = "client-id")]
    ClientId,
}

impl EntityType {
    pub(crate) const ALL: [EntityType; 2] = [EntityType::User, EntityType::ClientId];

    pub(crate) fn name(self) -> &'static str {
        match self {
            EntityType::User => "user",
            EntityType::ClientId => "client-id",
        }
    }
}

/// Whose quota it is: a user, a client id, or both. No name: whoever has no quota by name.
pub(crate) type Entity = BTreeMap<EntityType, Option<String>>;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Quota {
    #[serde(rename = "producer_byte_rate")]
    Produce,
    #[serde(rename = "consumer_byte_rate")]
    Consume,
}

impl Quota {
    pub(crate) const ALL: [Quota; 2] = [Quota::Produce, Quota::Consume];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Quota::Produce => "producer_byte_rate",
            Quota::Consume => "consumer_byte_rate",
        }
    }
}

/// The quotas of one entity, in bytes per second.
pub(crate) type Rates = BTreeMap<Quota, u64>;

/// All quotas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table(BTreeMap<Entity, Rates>);

impl Table {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Entity, &Rates)> {
        self.0.iter()
    }

    /// The quota that counts for a client, with whose it is.
    fn find(&self, quota: Quota, user: &str, client_id: &str) -> Option<(&Entity, u64)> {
        if self.0.is_empty() {
            return None;
        }
        let (user, client_id) = (Some(user.to_owned()), Some(client_id.to_owned()));
        let both = |user: &Option<String>, client_id: &Option<String>| {
            [(EntityType::User, user.clone()), (EntityType::ClientId, client_id.clone())].into()
        };
        let in_order: [Entity; 8] = [
            both(&user, &client_id),
            both(&user, &None),
            [(EntityType::User, user)].into(),
            both(&None, &client_id),
            both(&None, &None),
            [(EntityType::User, None)].into(),
            [(EntityType::ClientId, client_id)].into(),
            [(EntityType::ClientId, None)].into(),
        ];
        in_order.iter().find_map(|entity| {
            let (entity, rates) = self.0.get_key_value(entity)?;
            Some((entity, *rates.get(&quota)?))
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    quotas: Vec<StoredQuotas>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredQuotas {
    entity: Entity,
    rates: Rates,
}

impl Content for Table {
    const FILE: &'static str = "client-quotas.json";

    fn parse(content: &[u8]) -> Result<Table> {
        let stored: Stored = serde_json::from_slice(content)?;
        ensure!(stored.version == 1, "version {} is not known", stored.version);
        let quotas = stored.quotas.into_iter();
        Ok(Table(quotas.map(|StoredQuotas { entity, rates }| (entity, rates)).collect()))
    }

    fn serialize(&self) -> Result<Vec<u8>> {
        let quotas = self.iter().map(|(entity, rates)| {
            let (entity, rates) = (entity.clone(), rates.clone());
            StoredQuotas { entity, rates }
        });
        let stored = Stored { version: 1, quotas: quotas.collect() };
        serde_json::to_vec_pretty(&stored).context("cannot write the quotas as JSON")
    }
}

/// Who shares a quota: with a quota for a whole user, all of its clients do.
type Account = (Quota, Option<String>, Option<String>);

/// See the module.
#[derive(Debug)]
pub(crate) struct ClientQuotas {
    table: Kept<Table>,
    /// When what each has taken is paid for, in ms since 1970.
    paid_until_ms: Mutex<HashMap<Account, i64>>,
}

impl ClientQuotas {
    pub(crate) fn new(table: Kept<Table>) -> ClientQuotas {
        ClientQuotas { table, paid_until_ms: Mutex::default() }
    }

    /// All quotas as they are now.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.get()
    }

    /// Sets and, with None, removes quotas of an entity: all of them or none. Blocks.
    pub(crate) fn alter(
        &self,
        entity: &Entity,
        changes: &[(Quota, Option<u64>)],
        validate_only: bool,
    ) -> Result<(), Refusal> {
        check(entity)?;
        if validate_only {
            return Ok(());
        }
        self.table.change(|table| {
            let rates = table.0.entry(entity.clone()).or_default();
            for (quota, rate) in changes {
                match rate {
                    Some(rate) => rates.insert(*quota, *rate),
                    None => rates.remove(quota),
                };
            }
            if rates.is_empty() {
                table.0.remove(entity);
            }
            if table.0.len() > ENTITIES_MAX {
                let message = format!("there may be {ENTITIES_MAX} entities with quotas at most");
                return Err(Refusal::new(ResponseError::PolicyViolation, message));
            }
            Ok(())
        })
    }

    /// Counts what a client took. Returns for how long it must take no more, in ms.
    pub(crate) fn take(
        &self,
        quota: Quota,
        user: &str,
        client_id: &str,
        bytes: usize,
        now_ms: i64,
    ) -> i64 {
        let table = self.table();
        let Some((entity, rate)) = table.find(quota, user, client_id) else { return 0 };
        let of = |part, name: &str| entity.contains_key(&part).then(|| name.to_owned());
        let account = (quota, of(EntityType::User, user), of(EntityType::ClientId, client_id));
        let cost_ms = (bytes as i64).saturating_mul(1000) / i64::try_from(rate.max(1)).unwrap_or(1);
        let mut accounts = lock(&self.paid_until_ms);
        if accounts.len() >= ACCOUNTS_MAX {
            accounts.retain(|_, paid_until_ms| *paid_until_ms > now_ms - SAVED_MS);
        }
        let rested_ms = now_ms - SAVED_MS;
        let paid_until_ms = accounts.entry(account).or_insert(rested_ms);
        *paid_until_ms = (*paid_until_ms).max(rested_ms).saturating_add(cost_ms);
        (*paid_until_ms - now_ms).max(0)
    }
}

fn check(entity: &Entity) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal::new(ResponseError::InvalidRequest, message));
    if entity.is_empty() {
        return refuse("Invalid empty client quota entity".to_owned());
    }
    for (part, name) in entity {
        match name {
            Some(name) if name.is_empty() => {
                return refuse(format!("Empty {} not supported", part.name()));
            }
            Some(name) if name.len() > NAME_BYTES_MAX => {
                return refuse(format!("{} is longer than {NAME_BYTES_MAX} bytes", part.name()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::faults::FaultDisk;

    fn open(disk: &FaultDisk) -> ClientQuotas {
        let disk = Arc::new(disk.clone());
        ClientQuotas::new(Kept::open(disk, Path::new("/data")).unwrap())
    }

    fn entity(user: Option<Option<&str>>, client_id: Option<Option<&str>>) -> Entity {
        let part = |part, name: Option<Option<&str>>| Some((part, name?.map(str::to_owned)));
        let parts = [part(EntityType::User, user), part(EntityType::ClientId, client_id)];
        parts.into_iter().flatten().collect()
    }

    fn set(quotas: &ClientQuotas, entity: &Entity, rate: u64) {
        quotas.alter(entity, &[(Quota::Produce, Some(rate))], false).unwrap();
    }

    /// The rate that counts, from how long a client waits once nothing is saved up.
    fn rate(quotas: &ClientQuotas, user: &str, client_id: &str) -> Option<u64> {
        Some(quotas.table().find(Quota::Produce, user, client_id)?.1)
    }

    #[test]
    fn the_most_specific_quota_counts() {
        let quotas = open(&FaultDisk::default());
        let (named, others) = (Some(Some("u")), Some(None));
        let client = Some(Some("c"));
        // From the least specific to the most.
        let in_order = [
            (entity(None, others), ("x", "x")),
            (entity(None, client), ("x", "c")),
            (entity(others, None), ("x", "c")),
            (entity(others, others), ("x", "x")),
            (entity(others, client), ("x", "c")),
            (entity(named, None), ("u", "c")),
            (entity(named, others), ("u", "x")),
            (entity(named, client), ("u", "c")),
        ];
        assert_eq!(rate(&quotas, "u", "c"), None);
        for (rank, (entity, (user, client_id))) in in_order.iter().enumerate() {
            set(&quotas, entity, rank as u64 + 1);
            assert_eq!(rate(&quotas, user, client_id), Some(rank as u64 + 1), "{entity:?}");
        }
        assert_eq!(quotas.table().find(Quota::Consume, "u", "c"), None, "of another kind");
    }

    #[test]
    fn who_takes_more_waits_until_it_is_paid_for() {
        let quotas = open(&FaultDisk::default());
        set(&quotas, &entity(Some(Some("u")), None), 1000);
        let take =
            |client_id, bytes, now_ms| quotas.take(Quota::Produce, "u", client_id, bytes, now_ms);
        assert_eq!(take("a", 10_000, 1_000_000), 0, "saved up");
        assert_eq!(take("a", 500, 1_000_000), 500);
        assert_eq!(take("b", 500, 1_000_400), 600, "clients of a user share its quota");
        assert_eq!(take("a", 0, 1_001_000), 0);
        assert_eq!(take("a", 11_000, 2_000_000), 1000, "no more is saved than 10 s");
        assert_eq!(quotas.take(Quota::Produce, "other", "a", 1 << 30, 0), 0);
        assert_eq!(quotas.take(Quota::Consume, "u", "a", 1 << 30, 0), 0);
    }

    #[test]
    fn accounts_at_rest_are_forgotten() {
        let quotas = open(&FaultDisk::default());
        set(&quotas, &entity(None, Some(None)), 1);
        for client in 0..=ACCOUNTS_MAX {
            let now_ms = client as i64 * 60_000;
            quotas.take(Quota::Produce, "u", &client.to_string(), 1, now_ms);
        }
        assert!(lock(&quotas.paid_until_ms).len() < 10);
    }

    #[test]
    fn quotas_survive_a_power_cut_and_wrong_entities_are_refused() {
        let disk = FaultDisk::default();
        let quotas = open(&disk);
        let others = entity(Some(None), Some(Some("c")));
        set(&quotas, &others, 5);
        let again = open(&disk.power_cut(None));
        assert_eq!(again.table(), quotas.table());
        assert_eq!(rate(&again, "anybody", "c"), Some(5));
        again.alter(&others, &[(Quota::Produce, None)], false).unwrap();
        assert_eq!(again.table().iter().count(), 0);
        for wrong in [Entity::new(), entity(Some(Some("")), None)] {
            let refusal = quotas.alter(&wrong, &[], true).unwrap_err();
            assert_eq!(refusal.error, ResponseError::InvalidRequest);
        }
    }
}
