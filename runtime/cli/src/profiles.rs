//! Kafka clusters by name, gathered in environments: what the client commands talk to if nobody says otherwise.
//!
//! They stand in one file of the user's configuration folder. Environment `local` with cluster `local`, the built-in
//! broker of this machine, is there from the start; the file is made by the first change. It holds the secrets of API
//! keys, so that only its owner may read it.

use std::collections::BTreeMap;

use anyhow::Result;
use gristmill_connectors::Cluster;
use serde::{Deserialize, Serialize};

use crate::user_error::UserError;

mod file;

pub use file::ProfileFile;

/// The environment and the cluster that are there from the start.
pub const LOCAL: &str = "local";

/// Where the built-in broker listens if nobody says otherwise.
pub const LOCAL_BOOTSTRAP: &str = "127.0.0.1:9092";

/// Longest name of an environment or a cluster.
const NAME_CHARS_MAX: usize = 64;

/// All environments, and the one in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    pub environment: String,
    #[serde(default)]
    pub environments: BTreeMap<String, Environment>,
}

/// Clusters, and the one in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Absent as long as the environment has no cluster.
    pub cluster: Option<String>,
    #[serde(default)]
    pub clusters: BTreeMap<String, ClusterProfile>,
}

/// How one cluster is reached.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterProfile {
    /// `host:port,…`.
    pub bootstrap: String,
    /// The API key in use, one of `api_keys`.
    pub api_key: Option<String>,
    /// librdkafka's, such as `security.protocol`. May hold secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// API key → secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub api_keys: BTreeMap<String, String>,
}

impl Default for Profiles {
    fn default() -> Profiles {
        let mut profiles = Profiles { environment: LOCAL.into(), environments: BTreeMap::new() };
        profiles.ensure_local();
        profiles
    }
}

impl Profiles {
    pub(super) fn ensure_local(&mut self) {
        let local = self.environments.entry(LOCAL.into()).or_default();
        let built_in =
            || ClusterProfile { bootstrap: LOCAL_BOOTSTRAP.into(), ..ClusterProfile::default() };
        local.clusters.entry(LOCAL.into()).or_insert_with(built_in);
        local.cluster.get_or_insert_with(|| LOCAL.into());
    }

    /// What is in use must be there; says what is wrong otherwise.
    fn check(&self) -> Result<(), String> {
        self.environment(&self.environment).map_err(|error| error.to_string())?;
        for (name, environment) in &self.environments {
            if let Some(cluster) = &environment.cluster
                && !environment.clusters.contains_key(cluster)
            {
                return Err(format!("environment `{name}` has no cluster `{cluster}` to use"));
            }
        }
        Ok(())
    }

    /// # Errors
    /// There is none of that name; says which there are.
    pub fn environment(&self, name: &str) -> Result<&Environment, UserError> {
        self.environments.get(name).ok_or_else(|| {
            UserError::new(format!(
                "there is no environment `{name}` (there is {}); make it with `gristmill environment create {name}`",
                listed(self.environments.keys())
            ))
        })
    }

    /// The environment in use, to be changed.
    pub fn in_use(&mut self) -> &mut Environment {
        self.environments.entry(self.environment.clone()).or_default()
    }

    /// The cluster of that name in the environment in use; `None`: the one in use there.
    ///
    /// # Errors
    /// There is none.
    pub fn cluster_name(&self, wanted: Option<&str>) -> Result<String, UserError> {
        let environment = self.environment(&self.environment)?;
        let Some(name) = wanted.or(environment.cluster.as_deref()) else {
            return Err(UserError::new(format!(
                "environment `{}` has no cluster; make one with `gristmill kafka cluster create NAME --bootstrap \
                 HOST:PORT`",
                self.environment
            )));
        };
        match environment.clusters.contains_key(name) {
            true => Ok(name.to_owned()),
            false => Err(self.no_cluster(name, environment)),
        }
    }

    fn no_cluster(&self, name: &str, environment: &Environment) -> UserError {
        let mut elsewhere = self.environments.iter();
        let elsewhere = elsewhere.find(|(_, other)| other.clusters.contains_key(name));
        let mend = match elsewhere {
            Some((other, _)) => {
                format!(
                    "it is in environment `{other}`: choose that with `gristmill environment use {other}`"
                )
            }
            None => format!(
                "there is {}; make it with `gristmill kafka cluster create {name} --bootstrap HOST:PORT`",
                listed(environment.clusters.keys())
            ),
        };
        let current = &self.environment;
        UserError::new(format!("there is no cluster `{name}` in environment `{current}`: {mend}"))
    }

    /// As [`cluster_name`](Self::cluster_name), and how it is reached.
    pub fn cluster(&self, wanted: Option<&str>) -> Result<(String, &ClusterProfile), UserError> {
        let name = self.cluster_name(wanted)?;
        let profile = &self.environments[&self.environment].clusters[&name];
        Ok((name, profile))
    }

    /// The built-in broker of this machine, whatever is in use.
    pub fn built_in(&self) -> &ClusterProfile {
        &self.environments[LOCAL].clusters[LOCAL]
    }
}

impl ClusterProfile {
    /// As a client takes it. An API key logs in by PLAIN unless a mechanism is named.
    pub fn connection(&self) -> Cluster {
        let mut properties = self.properties.clone();
        if self.wants_login() {
            if !["sasl.mechanism", "sasl.mechanisms"]
                .iter()
                .any(|name| properties.contains_key(*name))
            {
                properties.insert("sasl.mechanisms".into(), "PLAIN".into());
            }
            let key = self.api_key.as_ref();
            if let Some((key, secret)) = key.and_then(|key| self.api_keys.get_key_value(key)) {
                properties.insert("sasl.username".into(), key.clone());
                properties.insert("sasl.password".into(), secret.clone());
            }
        }
        Cluster { properties, ..Cluster::new(&self.bootstrap) }
    }

    /// `SASL_SSL` and so on.
    pub fn security_protocol(&self) -> String {
        Cluster { properties: self.properties.clone(), ..Cluster::new(&self.bootstrap) }
            .security_protocol()
    }

    /// Whether clients authenticate with a name and a secret.
    pub fn wants_login(&self) -> bool {
        self.security_protocol().starts_with("SASL_")
    }

    /// Whether a login is wanted that needs a name and a secret, and none is known.
    pub fn lacks_login(&self) -> bool {
        let connection = self.connection();
        let mechanisms = ["sasl.mechanism", "sasl.mechanisms"].iter();
        let named = mechanisms.filter_map(|name| connection.properties.get(*name));
        let by_secret = named.clone().any(|name| name == "PLAIN" || name.starts_with("SCRAM-"));
        self.wants_login() && by_secret && !connection.properties.contains_key("sasl.username")
    }

    fn holds_secrets(&self) -> bool {
        let secret =
            |name: &String| ["password", "secret", "pem"].iter().any(|word| name.contains(word));
        !self.api_keys.is_empty() || self.properties.keys().any(secret)
    }
}

/// Names only: values may be secrets.
impl std::fmt::Debug for ClusterProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties: Vec<_> = self.properties.keys().collect();
        let api_keys: Vec<_> = self.api_keys.keys().collect();
        f.debug_struct("ClusterProfile")
            .field("bootstrap", &self.bootstrap)
            .field("api_key", &self.api_key)
            .field("properties", &properties)
            .field("api_keys", &api_keys)
            .finish()
    }
}

/// A name of an environment or a cluster, as flags take it.
pub fn name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    match text.len() <= NAME_CHARS_MAX && !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("a name has at most {NAME_CHARS_MAX} letters, digits, `.`, `_` and `-`"))
        }
    }
}

/// `` `a`, `b` ``, or what is said of nothing.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cloud() -> Profiles {
        let mut profiles = Profiles::default();
        let prod = ClusterProfile {
            bootstrap: "kafka:9092".into(),
            api_key: Some("K".into()),
            properties: [("security.protocol".to_owned(), "sasl_ssl".to_owned())].into(),
            api_keys: [("K".to_owned(), "S3CRET".to_owned())].into(),
        };
        let environment = profiles.environments.entry("cloud".into()).or_default();
        environment.clusters.insert("prod".into(), prod);
        profiles
    }

    #[test]
    fn local_is_there_from_the_start() {
        let profiles = Profiles::default();
        let (name, profile) = profiles.cluster(None).unwrap();
        assert_eq!((name.as_str(), profile.bootstrap.as_str()), ("local", "127.0.0.1:9092"));
        assert!(profile.connection().properties.is_empty());
    }

    #[test]
    fn a_key_in_use_logs_in_where_a_login_is_wanted() {
        let mut profiles = cloud();
        profiles.environment = "cloud".into();
        let (_, profile) = profiles.cluster(Some("prod")).unwrap();
        let properties = profile.connection().properties;
        assert_eq!(properties["sasl.mechanisms"], "PLAIN");
        assert_eq!(
            (&properties["sasl.username"][..], &properties["sasl.password"][..]),
            ("K", "S3CRET")
        );
        assert!(!format!("{profile:?}").contains("S3CRET"));
    }

    #[test]
    fn a_wrong_name_says_which_there_are() {
        let profiles = cloud();
        let said = |wanted| profiles.cluster(Some(wanted)).err().unwrap().to_string();
        assert!(said("prod").contains("it is in environment `cloud`"), "{}", said("prod"));
        assert!(said("pord").contains("there is `local`"), "{}", said("pord"));
        let mut empty = profiles.clone();
        empty.environments.insert("new".into(), Environment::default());
        empty.environment = "new".into();
        assert!(empty.cluster(None).err().unwrap().to_string().contains("kafka cluster create"));
        let error = profiles.environment("clod").err().unwrap().to_string();
        assert!(error.contains("there is `cloud`, `local`"), "{error}");
    }

    #[test]
    fn names_are_plain() {
        for good in ["lkc-4x9", "prod.eu_1"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in ["", "a b", "a/b", &"x".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
