//! Keeps the ACLs of a data folder (`acls.json`) and answers whether a client may do something.
//!
//! In this order, as Kafka's StandardAuthorizer:
//! 1. super users may do everything;
//! 2. a rule that denies, then one that allows, decides;
//! 3. where no rule is about the resource, `allow.everyone.if.no.acl.found` decides (default: no).
//!
//! And one answer of ours between 2 and 3: clients of listeners without authentication
//! (`User:ANONYMOUS`) may do what no rule denies them, unless the settings say otherwise. Such
//! listeners serve this machine alone, or were opened in so many words.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::auth::Principal;
use crate::auth::acl::{
    Acl, AclFilter, AclSet, Asker, Operation, Pattern, Permission, ResourceType, Rule, Verdict,
};
use crate::disk::Disk;
use crate::kept::{Content, Kept};

/// Rules of one broker. All are in memory, and in one file that each change replaces.
pub(crate) const ACLS_MAX: usize = 50_000;

/// Who may do what where no ACL says it.
#[derive(Debug, Clone)]
pub struct AuthorizerConfig {
    /// They may do everything, whatever ACLs say (`super.users`, none).
    pub super_users: Vec<Principal>,
    /// Everybody may do what they like with resources that no ACL is about
    /// (`allow.everyone.if.no.acl.found`, false).
    pub allow_everyone_if_no_acl_found: bool,
    /// Clients without authentication may do what no ACL denies them (true; not in Kafka).
    pub allow_anonymous_if_not_denied: bool,
}

impl Default for AuthorizerConfig {
    fn default() -> Self {
        AuthorizerConfig {
            super_users: Vec::new(),
            allow_everyone_if_no_acl_found: false,
            allow_anonymous_if_not_denied: true,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Authorizer {
    config: AuthorizerConfig,
    acls: Kept<AclSet>,
}

impl Authorizer {
    /// Reads the ACLs of a data folder; none if there is no file. Blocks.
    pub(crate) fn open(
        config: AuthorizerConfig,
        disk: Arc<dyn Disk>,
        data_dir: &Path,
    ) -> Result<Authorizer> {
        Ok(Authorizer { config, acls: Kept::open(disk, data_dir)? })
    }

    /// True if the asker may do that to the resource of that name.
    pub(crate) fn may(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> bool {
        if self.config.super_users.contains(asker.principal) {
            return true;
        }
        match self.acls.get().verdict(asker, operation, resource_type, name) {
            Verdict::Allowed => true,
            Verdict::Denied => false,
            _ if self.trusts(asker.principal) => true,
            Verdict::Unmentioned => false,
            Verdict::NoRules => self.config.allow_everyone_if_no_acl_found,
        }
    }

    /// True if there may be a resource of that type to which the asker may do that.
    pub(crate) fn may_some(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool {
        // As in Kafka, a name that nobody has a rule for shows what holds without one.
        self.may(asker, operation, resource_type, "hardcode")
            || self.acls.get().allows_some(asker, operation, resource_type)
    }

    /// What the asker may do to that resource, as bits of Kafka's operation numbers (KIP-430).
    pub(crate) fn operations(
        &self,
        asker: Asker<'_>,
        resource_type: ResourceType,
        name: &str,
    ) -> i32 {
        let operations = resource_type.operations().iter();
        let allowed = operations.filter(|it| self.may(asker, **it, resource_type, name));
        allowed.fold(0, |bits, operation| bits | 1 << *operation as i32)
    }

    fn trusts(&self, principal: &Principal) -> bool {
        self.config.allow_anonymous_if_not_denied && principal.is_anonymous()
    }

    /// All rules as they are now.
    pub(crate) fn acls(&self) -> Arc<AclSet> {
        self.acls.get()
    }

    /// Adds rules; those that are there already change nothing. Blocks.
    pub(crate) fn create(&self, new: Vec<Acl>) -> Result<()> {
        self.change(|acls| new.into_iter().for_each(|acl| acls.insert(acl)))
    }

    /// Removes what one of the filters matches. Answers what each removed. Blocks.
    pub(crate) fn delete(&self, filters: &[AclFilter]) -> Result<Vec<Vec<Acl>>> {
        self.change(|acls| {
            let matching =
                |filter: &AclFilter| acls.iter().filter(|it| filter.matches(it)).collect();
            let removed: Vec<Vec<Acl>> = filters.iter().map(matching).collect();
            removed.iter().flatten().for_each(|acl| acls.remove(acl));
            removed
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut AclSet) -> T) -> Result<T> {
        self.acls.change(|acls| {
            let changed = change(acls);
            ensure!(acls.len() <= ACLS_MAX, "there may be {ACLS_MAX} ACLs at most");
            Ok(changed)
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    acls: Vec<StoredAcl>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAcl {
    resource: Pattern,
    principal: String,
    host: String,
    operation: Operation,
    permission: Permission,
}

impl Content for AclSet {
    const FILE: &'static str = "acls.json";

    fn parse(content: &[u8]) -> Result<AclSet> {
        let stored: Stored = serde_json::from_slice(content)?;
        ensure!(stored.version == 1, "version {} is not known", stored.version);
        let mut acls = AclSet::default();
        for StoredAcl { resource, principal, host, operation, permission } in stored.acls {
            let principal = principal.parse().map_err(anyhow::Error::msg)?;
            acls.insert(Acl {
                pattern: resource,
                rule: Rule { principal, host, operation, permission },
            });
        }
        Ok(acls)
    }

    fn serialize(&self) -> Result<Vec<u8>> {
        let stored = |Acl { pattern, rule }: Acl| StoredAcl {
            resource: pattern,
            principal: rule.principal.to_string(),
            host: rule.host,
            operation: rule.operation,
            permission: rule.permission,
        };
        let stored = Stored { version: 1, acls: self.iter().map(stored).collect() };
        serde_json::to_vec_pretty(&stored).context("cannot write the ACLs as JSON")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::acl::{CLUSTER_NAME, PatternType};
    use crate::disk::faults::FaultDisk;

    fn acl(user: &str, operation: Operation, permission: Permission, topic: &str) -> Acl {
        let pattern_type = PatternType::Literal;
        let resource_type = ResourceType::Topic;
        Acl {
            pattern: Pattern { resource_type, name: topic.to_owned(), pattern_type },
            rule: Rule {
                principal: Principal::user(user),
                host: "*".to_owned(),
                operation,
                permission,
            },
        }
    }

    fn open(disk: &FaultDisk, config: AuthorizerConfig) -> Result<Authorizer> {
        Authorizer::open(config, Arc::new(disk.clone()), Path::new("/data"))
    }

    fn may_read(authorizer: &Authorizer, principal: &Principal, topic: &str) -> bool {
        let asker = Asker { principal, host: "10.0.0.1" };
        authorizer.may(asker, Operation::Read, ResourceType::Topic, topic)
    }

    #[test]
    fn where_no_rule_speaks_the_settings_do() {
        let (app, anonymous) = (Principal::user("app"), Principal::anonymous());
        let denied = acl("*", Operation::All, Permission::Deny, "denied");
        let others = acl("other", Operation::All, Permission::Allow, "others");
        let with = |config: AuthorizerConfig| {
            let authorizer = open(&FaultDisk::default(), config).unwrap();
            authorizer.create(vec![denied.clone(), others.clone()]).unwrap();
            let verdicts = |principal| {
                ["free", "others", "denied"].map(|topic| may_read(&authorizer, principal, topic))
            };
            (verdicts(&app), verdicts(&anonymous))
        };
        let default = AuthorizerConfig::default;
        assert_eq!(with(default()), ([false; 3], [true, true, false]));
        let allow_everyone_if_no_acl_found = true;
        assert_eq!(
            with(AuthorizerConfig { allow_everyone_if_no_acl_found, ..default() }),
            ([true, false, false], [true, true, false])
        );
        let allow_anonymous_if_not_denied = false;
        assert_eq!(
            with(AuthorizerConfig { allow_anonymous_if_not_denied, ..default() }),
            ([false; 3], [false; 3])
        );
        let super_users = vec![app.clone()];
        assert_eq!(with(AuthorizerConfig { super_users, ..default() }).0, [true; 3]);
    }

    #[test]
    fn rules_survive_a_power_cut_and_go_when_deleted() {
        let disk = FaultDisk::default();
        let authorizer = open(&disk, AuthorizerConfig::default()).unwrap();
        let app = Principal::user("app");
        let rule = acl("app", Operation::Read, Permission::Allow, "orders");
        authorizer.create(vec![rule.clone(), rule.clone()]).unwrap();
        let again = open(&disk.power_cut(None), AuthorizerConfig::default()).unwrap();
        assert_eq!(again.acls(), authorizer.acls());
        assert!(may_read(&again, &app, "orders"));
        let removed = authorizer.delete(&[AclFilter::default(), AclFilter::default()]).unwrap();
        assert_eq!(removed, [vec![rule.clone()], vec![rule]]);
        assert!(!may_read(&authorizer, &app, "orders"));
        let again = open(&disk.power_cut(None), AuthorizerConfig::default()).unwrap();
        assert_eq!(again.acls().len(), 0);
    }

    #[test]
    fn a_change_that_cannot_be_stored_is_not_made() {
        let disk = FaultDisk::default();
        let authorizer = open(&disk, AuthorizerConfig::default()).unwrap();
        disk.fail_writes_after(0);
        let rule = acl("app", Operation::Read, Permission::Allow, "orders");
        authorizer.create(vec![rule]).unwrap_err();
        assert_eq!(authorizer.acls().len(), 0);
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let disk = FaultDisk::default();
        for content in ["{", "{\"version\":2,\"acls\":[]}", "{\"version\":1,\"acls\":[{}]}"] {
            disk.put(Path::new("/data/acls.json"), content.into());
            let error = format!("{:#}", open(&disk, AuthorizerConfig::default()).unwrap_err());
            assert!(error.contains("acls.json` is damaged"), "{error}");
        }
    }

    #[test]
    fn operations_are_told_as_bits() {
        let authorizer = open(&FaultDisk::default(), AuthorizerConfig::default()).unwrap();
        let rule = acl("app", Operation::Read, Permission::Allow, "orders");
        authorizer.create(vec![rule]).unwrap();
        let bits = |principal: &Principal, resource_type, name| {
            authorizer.operations(Asker { principal, host: "h" }, resource_type, name)
        };
        let (app, anonymous) = (Principal::user("app"), Principal::anonymous());
        assert_eq!(bits(&app, ResourceType::Topic, "orders"), 1 << 3 | 1 << 8);
        assert_eq!(bits(&anonymous, ResourceType::Topic, "orders"), 0b1101_1111_1000);
        assert_eq!(bits(&anonymous, ResourceType::Group, "readers"), 0b1_0100_1000);
        assert_eq!(bits(&anonymous, ResourceType::Cluster, CLUSTER_NAME), 0b1_1111_1010_0000);
        assert_eq!(bits(&app, ResourceType::Cluster, CLUSTER_NAME), 0);
    }
}
