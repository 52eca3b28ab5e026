//! Access control lists: the rules, and how they are weighed, as Kafka's StandardAuthorizer does.
//!
//! A request needs an operation on a resource. Of the rules whose pattern covers the resource,
//! whose principal and host are the client's and whose operation is or implies the one asked for,
//! one that denies wins over all that allow.
//!
//! Read, Write, Delete and Alter imply Describe; AlterConfigs implies DescribeConfigs; All implies
//! each. That holds for rules that allow; one that denies Read leaves Describe alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use crate::auth::Principal;

/// Stands for every host, and as a literal resource name for every name.
pub(crate) const WILDCARD: &str = "*";
/// The one name of the cluster.
pub(crate) const CLUSTER_NAME: &str = "kafka-cluster";

/// An enumeration with Kafka's numbers and names.
macro_rules! coded {
    ($(#[$attribute:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $code:literal),* $(,)? }) => {
        $(#[$attribute])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum $name { $($(#[$note])* $variant = $code),* }

        impl $name {
            /// From Kafka's number on the wire.
            pub(crate) fn from_code(code: i8) -> Option<$name> {
                match code {
                    $($code => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

coded! {
    /// What is acted on.
    ResourceType {
        /// A topic.
        Topic = 2,
        /// A consumer group.
        Group = 3,
        /// The broker as a whole.
        Cluster = 4,
        /// A transactional id.
        TransactionalId = 5,
        /// A delegation token; there are none here, rules about them are kept.
        DelegationToken = 6,
        /// A user, for delegation tokens.
        User = 7,
    }
}

coded! {
    /// How a rule names resources.
    PatternType {
        /// By their name, or `*` for all.
        Literal = 3,
        /// By the beginning of their name.
        Prefixed = 4,
    }
}

coded! {
    /// What is done.
    Operation {
        /// Each of the others.
        All = 2,
        /// Read records; take part in a group.
        Read = 3,
        /// Write records; use a transactional id.
        Write = 4,
        /// Make topics.
        Create = 5,
        /// Delete topics, records, groups.
        Delete = 6,
        /// Add partitions; change ACLs and credentials.
        Alter = 7,
        /// See that it is there, and its offsets.
        Describe = 8,
        /// What brokers do among themselves.
        ClusterAction = 9,
        /// See settings.
        DescribeConfigs = 10,
        /// Change settings.
        AlterConfigs = 11,
        /// Get a producer id without the right to write any topic.
        IdempotentWrite = 12,
        /// Make delegation tokens.
        CreateTokens = 13,
        /// See delegation tokens.
        DescribeTokens = 14,
    }
}

coded! {
    /// Whether a rule forbids or permits.
    Permission {
        /// Forbids, whatever other rules say.
        Deny = 2,
        /// Permits.
        Allow = 3,
    }
}

impl ResourceType {
    /// The operations that make sense on it (KIP-430).
    pub(crate) fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceType::Topic => {
                &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs]
            }
            ResourceType::Group => &[Read, Describe, Delete],
            ResourceType::Cluster => &[
                Create,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
                Alter,
                Describe,
            ],
            ResourceType::TransactionalId => &[Describe, Write],
            ResourceType::DelegationToken => &[Describe],
            ResourceType::User => &[CreateTokens, DescribeTokens],
        }
    }

    /// What a client is told that may not do something to it.
    pub(crate) fn authorization_failed(self) -> ResponseError {
        match self {
            ResourceType::Topic => ResponseError::TopicAuthorizationFailed,
            ResourceType::Group => ResponseError::GroupAuthorizationFailed,
            ResourceType::TransactionalId => ResponseError::TransactionalIdAuthorizationFailed,
            ResourceType::DelegationToken => ResponseError::DelegationTokenAuthorizationFailed,
            ResourceType::Cluster | ResourceType::User => ResponseError::ClusterAuthorizationFailed,
        }
    }
}

/// The resources that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pattern {
    pub(crate) resource_type: ResourceType,
    pub(crate) name: String,
    pub(crate) pattern_type: PatternType,
}

/// Who may or may not do what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) principal: Principal,
    /// An address without port, or `*`.
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) permission: Permission,
}

/// One access control entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Acl {
    pub(crate) pattern: Pattern,
    pub(crate) rule: Rule,
}

/// For the log: names come from outside and are quoted.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Acl { pattern, rule } = self;
        let principal = rule.principal.to_string();
        write!(
            f,
            "{:?} {:?} of {:?} {:?} {:?} by {principal:?} from {:?}",
            rule.permission,
            rule.operation,
            pattern.pattern_type,
            pattern.resource_type,
            pattern.name,
            rule.host
        )
    }
}

/// Somebody at some address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) principal: &'a Principal,
    /// The address without port.
    pub(crate) host: &'a str,
}

impl Rule {
    fn is_about(&self, asker: Asker<'_>) -> bool {
        asker.principal.matches(&self.principal)
            && (self.host == WILDCARD || self.host == asker.host)
    }

    fn covers(&self, asked: Operation) -> bool {
        use Operation::*;
        if self.operation == All || self.operation == asked {
            return true;
        }
        let implied = match asked {
            Describe => matches!(self.operation, Read | Write | Delete | Alter),
            DescribeConfigs => self.operation == AlterConfigs,
            _ => false,
        };
        implied && self.permission == Permission::Allow
    }
}

/// What the rules say to an asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Denied,
    /// There are rules about the resource, and none for or against this.
    Unmentioned,
    /// No rule is about the resource.
    NoRules,
}

/// The rules about each name or prefix.
type Named = BTreeMap<String, BTreeSet<Rule>>;

/// All rules, by the resources that they are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AclSet {
    named: BTreeMap<(ResourceType, PatternType), Named>,
    count: usize,
}

impl AclSet {
    /// Rules in all.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn insert(&mut self, acl: Acl) {
        let Pattern { resource_type, name, pattern_type } = acl.pattern;
        let named = self.named.entry((resource_type, pattern_type)).or_default();
        self.count += usize::from(named.entry(name).or_default().insert(acl.rule));
    }

    pub(crate) fn remove(&mut self, acl: &Acl) {
        let Pattern { resource_type, name, pattern_type } = &acl.pattern;
        let Some(named) = self.named.get_mut(&(*resource_type, *pattern_type)) else { return };
        let Some(rules) = named.get_mut(name) else { return };
        self.count -= usize::from(rules.remove(&acl.rule));
        if rules.is_empty() {
            named.remove(name);
        }
        self.named.retain(|_, named| !named.is_empty());
    }

    /// Every rule, those of one pattern together.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Acl> + '_ {
        self.named.iter().flat_map(|((resource_type, pattern_type), named)| {
            named.iter().flat_map(|(name, rules)| {
                let pattern = Pattern {
                    resource_type: *resource_type,
                    name: name.clone(),
                    pattern_type: *pattern_type,
                };
                rules.iter().map(move |rule| Acl { pattern: pattern.clone(), rule: rule.clone() })
            })
        })
    }

    /// The verdict on one operation on one resource.
    pub(crate) fn verdict(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> Verdict {
        let mut verdict = Verdict::NoRules;
        for rules in self.about(resource_type, name) {
            if verdict == Verdict::NoRules {
                verdict = Verdict::Unmentioned;
            }
            for rule in rules.iter().filter(|it| it.covers(operation) && it.is_about(asker)) {
                match rule.permission {
                    Permission::Deny => return Verdict::Denied,
                    Permission::Allow => verdict = Verdict::Allowed,
                }
            }
        }
        verdict
    }

    /// The rules whose pattern covers the resource. Literal names are looked up; prefixes, few even
    /// on a busy broker, are walked.
    fn about<'a>(
        &'a self,
        resource_type: ResourceType,
        name: &'a str,
    ) -> impl Iterator<Item = &'a BTreeSet<Rule>> {
        let literal = self.named.get(&(resource_type, PatternType::Literal));
        let own = literal.and_then(|named| named.get(name));
        let wildcard = literal.and_then(|named| named.get(WILDCARD)).filter(|_| name != WILDCARD);
        let prefixed = self.named.get(&(resource_type, PatternType::Prefixed));
        let prefixed = prefixed.into_iter().flatten();
        let prefixed = prefixed.filter(|(prefix, _)| name.starts_with(prefix.as_str()));
        own.into_iter().chain(wildcard).chain(prefixed.map(|(_, rules)| rules))
    }

    /// True if there may be a resource of that type on which the asker is allowed the operation: a
    /// rule allows it, and none that denies covers all that this one allows (KIP-679).
    pub(crate) fn allows_some(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool {
        let names = |pattern_type: PatternType, permission: Permission| {
            let speaks = |rules: &BTreeSet<Rule>| {
                let mut rules = rules.iter().filter(|rule| rule.permission == permission);
                rules.any(|rule| rule.covers(operation) && rule.is_about(asker))
            };
            let named = self.named.get(&(resource_type, pattern_type)).into_iter().flatten();
            let spoken_of = named.filter(|(_, rules)| speaks(rules));
            spoken_of.map(|(name, _)| name.as_str()).collect::<BTreeSet<&str>>()
        };
        let denied = names(PatternType::Literal, Permission::Deny);
        let denied_prefixes = names(PatternType::Prefixed, Permission::Deny);
        if denied.contains(WILDCARD) {
            return false;
        }
        let is_open = |name: &str| !denied_prefixes.iter().any(|prefix| name.starts_with(prefix));
        let is_allowed = |name: &&str| *name == WILDCARD || !denied.contains(name) && is_open(name);
        names(PatternType::Literal, Permission::Allow).iter().any(is_allowed)
            || names(PatternType::Prefixed, Permission::Allow).into_iter().any(is_open)
    }
}

/// Which rules are asked for or to be deleted. `None` leaves that part open.
#[derive(Debug, Clone, Default)]
pub(crate) struct AclFilter {
    pub(crate) resource_type: Option<ResourceType>,
    pub(crate) name: Option<String>,
    pub(crate) pattern_type: PatternFilter,
    pub(crate) principal: Option<Principal>,
    pub(crate) host: Option<String>,
    pub(crate) operation: Option<Operation>,
    pub(crate) permission: Option<Permission>,
}

/// How the name in a filter is compared with that of a rule's pattern.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PatternFilter {
    /// Equal, whatever the type of the pattern.
    #[default]
    Any,
    /// The pattern covers the resource of that name.
    Match,
    /// Equal, and of that type.
    Of(PatternType),
}

impl PatternFilter {
    /// From Kafka's number on the wire.
    pub(crate) fn from_code(code: i8) -> Option<PatternFilter> {
        match code {
            1 => Some(PatternFilter::Any),
            2 => Some(PatternFilter::Match),
            code => PatternType::from_code(code).map(PatternFilter::Of),
        }
    }
}

impl AclFilter {
    pub(crate) fn matches(&self, acl: &Acl) -> bool {
        let Acl { pattern, rule } = acl;
        self.resource_type.is_none_or(|wanted| wanted == pattern.resource_type)
            && self.matches_name(pattern)
            && self.principal.as_ref().is_none_or(|wanted| *wanted == rule.principal)
            && self.host.as_ref().is_none_or(|wanted| *wanted == rule.host)
            && self.operation.is_none_or(|wanted| wanted == rule.operation)
            && self.permission.is_none_or(|wanted| wanted == rule.permission)
    }

    fn matches_name(&self, pattern: &Pattern) -> bool {
        let of_type = match self.pattern_type {
            PatternFilter::Of(wanted) => wanted == pattern.pattern_type,
            PatternFilter::Any | PatternFilter::Match => true,
        };
        let Some(name) = self.name.as_deref() else { return of_type };
        let equal = name == pattern.name;
        of_type
            && match (self.pattern_type, pattern.pattern_type) {
                (PatternFilter::Match, PatternType::Literal) => equal || pattern.name == WILDCARD,
                (PatternFilter::Match, PatternType::Prefixed) => name.starts_with(&pattern.name),
                _ => equal,
            }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Operation::*;
    use super::*;

    /// `allow User:app 10.0.0.1 Read topic literal orders`; hosts and names as they stand.
    fn acl(text: &str) -> Acl {
        let words: Vec<&str> = text.split(' ').collect();
        let [permission, principal, host, operation, resource_type, pattern_type, name] = words[..]
        else {
            panic!("{text}")
        };
        Acl {
            pattern: Pattern {
                resource_type: match resource_type {
                    "topic" => ResourceType::Topic,
                    _ => ResourceType::Group,
                },
                name: name.to_owned(),
                pattern_type: match pattern_type {
                    "literal" => PatternType::Literal,
                    _ => PatternType::Prefixed,
                },
            },
            rule: Rule {
                principal: principal.parse().unwrap(),
                host: host.to_owned(),
                operation: match operation {
                    "All" => All,
                    "Read" => Read,
                    "Write" => Write,
                    "AlterConfigs" => AlterConfigs,
                    "Describe" => Describe,
                    other => panic!("{other}"),
                },
                permission: match permission {
                    "allow" => Permission::Allow,
                    _ => Permission::Deny,
                },
            },
        }
    }

    fn set(rules: &[&str]) -> AclSet {
        let mut set = AclSet::default();
        rules.iter().for_each(|rule| set.insert(acl(rule)));
        set
    }

    fn verdict(rules: &[&str], operation: Operation, topic: &str) -> Verdict {
        let principal = Principal::user("app");
        let asker = Asker { principal: &principal, host: "10.0.0.1" };
        set(rules).verdict(asker, operation, ResourceType::Topic, topic)
    }

    #[test]
    fn rules_are_weighed_as_in_kafka() {
        use Verdict::*;
        let table: [(&[&str], Operation, Verdict); 20] = [
            (&[], Read, NoRules),
            (&["allow User:app * Read topic literal orders"], Read, Allowed),
            (&["allow User:app * Read topic literal order"], Read, NoRules),
            (&["allow User:app * Read group literal orders"], Read, NoRules),
            (&["allow User:other * Read topic literal orders"], Read, Unmentioned),
            (&["allow User:* * Read topic literal orders"], Read, Allowed),
            (&["allow Group:app * Read topic literal orders"], Read, Unmentioned),
            (&["allow User:app 10.0.0.1 Read topic literal orders"], Read, Allowed),
            (&["allow User:app 10.0.0.2 Read topic literal orders"], Read, Unmentioned),
            (&["allow User:app * Read topic literal *"], Read, Allowed),
            (&["allow User:app * Read topic prefixed ord"], Read, Allowed),
            (&["allow User:app * Read topic prefixed orders"], Read, Allowed),
            (&["allow User:app * Read topic prefixed orders-"], Read, NoRules),
            (&["allow User:app * Read topic prefixed *"], Read, NoRules),
            (&["allow User:app * Read topic literal orders"], Write, Unmentioned),
            (&["allow User:app * All topic literal orders"], AlterConfigs, Allowed),
            (
                &[
                    "allow User:app * All topic literal orders",
                    "deny User:* * Read topic prefixed o",
                ],
                Read,
                Denied,
            ),
            (
                &[
                    "allow User:app * All topic literal orders",
                    "deny User:app * Read topic literal *",
                ],
                Write,
                Allowed,
            ),
            (&["deny User:app 10.0.0.2 All topic literal orders"], Read, Unmentioned),
            (&["deny User:app * All topic literal orders"], Describe, Denied),
        ];
        for (rules, operation, expected) in table {
            assert_eq!(verdict(rules, operation, "orders"), expected, "{rules:?} {operation:?}");
        }
    }

    #[test]
    fn some_rights_imply_others_and_denials_imply_none() {
        let rule = |operation| format!("allow User:app * {operation} topic literal orders");
        assert_eq!(verdict(&[&rule("Read")], Describe, "orders"), Verdict::Allowed);
        assert_eq!(verdict(&[&rule("Write")], Describe, "orders"), Verdict::Allowed);
        assert_eq!(verdict(&[&rule("AlterConfigs")], DescribeConfigs, "orders"), Verdict::Allowed);
        assert_eq!(verdict(&[&rule("AlterConfigs")], Describe, "orders"), Verdict::Unmentioned);
        assert_eq!(verdict(&[&rule("Describe")], Read, "orders"), Verdict::Unmentioned);
        let both = [
            "deny User:app * Read topic literal orders",
            "allow User:app * Describe topic literal orders",
        ];
        assert_eq!(verdict(&both, Describe, "orders"), Verdict::Allowed);
    }

    #[test]
    fn the_right_to_write_something_is_found() {
        let table: [(&[&str], bool); 9] = [
            (&[], false),
            (&["allow User:app * Write topic literal orders"], true),
            (&["allow User:app * Read topic literal orders"], false),
            (&["allow User:app * Write group literal orders"], false),
            (&["allow User:app * All topic prefixed ord"], true),
            (
                &[
                    "allow User:app * Write topic literal orders",
                    "deny User:app * Write topic literal orders",
                ],
                false,
            ),
            (
                &[
                    "allow User:app * Write topic prefixed orders",
                    "deny User:app * All topic prefixed ord",
                ],
                false,
            ),
            (
                &[
                    "allow User:app * Write topic prefixed ord",
                    "deny User:app * All topic prefixed orders",
                ],
                true,
            ),
            (
                &["allow User:app * Write topic literal *", "deny User:* * All topic literal *"],
                false,
            ),
        ];
        let principal = Principal::user("app");
        let asker = Asker { principal: &principal, host: "10.0.0.1" };
        for (rules, expected) in table {
            let found = set(rules).allows_some(asker, Write, ResourceType::Topic);
            assert_eq!(found, expected, "{rules:?}");
        }
    }

    #[test]
    fn filters_find_rules_by_any_of_their_parts() {
        let rules = [
            "allow User:app * Read topic literal orders",
            "deny User:app * Write topic literal *",
            "allow User:other 10.0.0.1 All topic prefixed ord",
            "allow User:app * Read group literal orders",
        ];
        let set = set(&rules);
        let found = |filter: AclFilter| set.iter().filter(|acl| filter.matches(acl)).count();
        let open = AclFilter::default;
        let named = || AclFilter { name: Some("orders".to_owned()), ..open() };
        assert_eq!(found(open()), 4);
        assert_eq!(found(AclFilter { resource_type: Some(ResourceType::Topic), ..open() }), 3);
        assert_eq!(found(named()), 2);
        assert_eq!(found(AclFilter { pattern_type: PatternFilter::Match, ..named() }), 4);
        let literal = PatternFilter::Of(PatternType::Literal);
        assert_eq!(found(AclFilter { pattern_type: literal, ..named() }), 2);
        assert_eq!(found(AclFilter { pattern_type: literal, ..open() }), 3);
        assert_eq!(found(AclFilter { principal: Some(Principal::user("app")), ..open() }), 3);
        assert_eq!(found(AclFilter { host: Some("10.0.0.1".to_owned()), ..open() }), 1);
        assert_eq!(found(AclFilter { operation: Some(Read), ..open() }), 2);
        assert_eq!(found(AclFilter { permission: Some(Permission::Deny), ..open() }), 1);
    }

    #[test]
    fn what_was_inserted_twice_counts_once_and_can_be_removed() {
        let rule = acl("allow User:app * Read topic literal orders");
        let mut set = AclSet::default();
        set.insert(rule.clone());
        set.insert(rule.clone());
        assert_eq!(set.len(), 1);
        set.remove(&rule);
        set.remove(&rule);
        assert_eq!(set, AclSet::default());
    }
}
