//! The name under which a client is known to ACLs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The type of every principal that a listener makes.
const USER: &str = "User";

/// A type and a name, written `User:orders-app` as in Kafka. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    kind: Arc<str>,
    name: Arc<str>,
}

impl Principal {
    /// `User:NAME`.
    pub fn user(name: &str) -> Principal {
        Principal { kind: USER.into(), name: name.into() }
    }

    /// Who comes in without a proof of who it is: `User:ANONYMOUS`.
    pub fn anonymous() -> Principal {
        Principal::user("ANONYMOUS")
    }

    /// The name without the type.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True for `User:ANONYMOUS`.
    pub fn is_anonymous(&self) -> bool {
        *self.name == *"ANONYMOUS" && *self.kind == *USER
    }

    /// True if an ACL for `pattern` is about this principal: the same, or `*` of the same type.
    pub(crate) fn matches(&self, pattern: &Principal) -> bool {
        self.kind == pattern.kind && (self.name == pattern.name || *pattern.name == *"*")
    }
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Principal, String> {
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
                Ok(Principal { kind: kind.into(), name: name.into() })
            }
            _ => Err(format!("`{text}` is no principal; write `User:NAME`")),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_read_and_written_as_kafka_does() {
        let subject: Principal = "User:CN=app,O=Mill:2".parse().unwrap();
        assert_eq!(subject.name(), "CN=app,O=Mill:2");
        assert_eq!(subject.to_string(), "User:CN=app,O=Mill:2");
        for bad in ["", "User", "User:", ":a"] {
            bad.parse::<Principal>().unwrap_err();
        }
    }

    #[test]
    fn a_star_stands_for_every_name_of_its_type() {
        let app = Principal::user("app");
        assert!(app.matches(&Principal::user("*")));
        assert!(!app.matches(&"Group:*".parse().unwrap()));
        assert!(!app.matches(&Principal::user("other")));
    }
}
