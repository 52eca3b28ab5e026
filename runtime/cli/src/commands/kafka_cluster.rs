//! `gristmill kafka cluster list | use | create | delete`: the clusters of the environment in use, by name.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use gristmill_connectors::admin;
use serde_json::{Value, json};

use super::api_key::RESERVED;
use super::environment::mark;
use crate::client_config::ClientConfig;
use crate::output::Output;
use crate::profiles::{self, ClusterProfile, LOCAL, ProfileFile};
use crate::table::Table;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct KafkaClusterNameFlags {
    #[arg(value_name = "CLUSTER", value_parser = profiles::name)]
    name: String,
}

#[derive(clap::Args)]
pub struct KafkaClusterCreateFlags {
    #[arg(value_name = "CLUSTER", value_parser = new_name)]
    name: String,

    /// Addresses of its brokers, or some of them
    #[arg(long, value_name = "HOST:PORT,…", value_parser = addresses)]
    bootstrap: String,

    /// A librdkafka property of its clients, such as security.protocol=SASL_SSL; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::topic_create::key_value)]
    property: Vec<(String, String)>,

    /// File of such properties, `key=value` on each line
    #[arg(long, value_name = "FILE", value_parser = ClientConfig::read)]
    client_config: Option<ClientConfig>,
}

/// Prints the clusters of the environment in use, the one in use marked. No secret is shown.
pub fn list(output: Output) -> Result<()> {
    let profiles = ProfileFile::open()?.profiles;
    let environment = profiles.environment(&profiles.environment)?;
    let mut table = Table::new(["", "cluster", "bootstrap servers", "security", "api key"]);
    let mut json = Vec::new();
    for (name, cluster) in &environment.clusters {
        let current = environment.cluster.as_ref() == Some(name);
        let security = cluster.security_protocol();
        json.push(json!({
            "cluster": name,
            "environment": profiles.environment,
            "current": current,
            "bootstrap": cluster.bootstrap,
            "security_protocol": security,
            "api_key": cluster.api_key,
        }));
        let key = cluster.api_key.clone().unwrap_or_default();
        table.push([mark(current), name.clone(), cluster.bootstrap.clone(), security, key]);
    }
    let text = match environment.clusters.is_empty() {
        true => format!("environment `{}` has no cluster", profiles.environment),
        false => table.render(),
    };
    output.answer(text, &Value::from(json))
}

/// Makes a cluster the one in use.
pub fn use_(flags: &KafkaClusterNameFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let name = file.profiles.cluster_name(Some(&flags.name))?;
    file.profiles.in_use().cluster = Some(name.clone());
    file.save()?;
    let (_, profile) = file.profiles.cluster(Some(&name))?;
    let bootstrap = &profile.bootstrap;
    output.answer(
        format!("using cluster `{name}` at {bootstrap} in environment `{}`", file.profiles.environment),
        &json!({ "cluster": name, "environment": file.profiles.environment, "bootstrap": bootstrap }),
    )
}

/// Remembers a cluster; the first one of an environment is used at once. Nobody is asked whether it is there.
pub fn create(flags: &KafkaClusterCreateFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let name = &flags.name;
    let environment = file.profiles.environment.clone();
    if file.profiles.in_use().clusters.contains_key(name) {
        bail!(UserError::new(format!(
            "environment `{environment}` has a cluster `{name}` already; delete it first with `gristmill kafka \
             cluster delete {name}`, or choose another name"
        )));
    }
    let profile = profile(flags)?;
    let wants_login = profile.wants_login() && !profile.properties.contains_key("sasl.username");
    let in_use = file.profiles.in_use();
    in_use.clusters.insert(name.clone(), profile);
    let current = in_use.cluster.get_or_insert_with(|| name.clone()) == name;
    file.save()?;
    let mut text = format!("made cluster `{name}` in environment `{environment}`");
    if current {
        text += ", and using it";
    } else {
        text += &format!("; use it with `gristmill kafka cluster use {name}`");
    }
    if wants_login {
        text += &format!(
            "\nit wants a login: `gristmill api-key store KEY --resource {name}`, then `gristmill api-key use KEY \
             --resource {name}`"
        );
    }
    output.answer(text, &json!({ "cluster": name, "environment": environment, "current": current }))
}

fn profile(flags: &KafkaClusterCreateFlags) -> Result<ClusterProfile> {
    let mut properties: BTreeMap<String, String> =
        flags.client_config.clone().unwrap_or_default().properties;
    properties.extend(flags.property.iter().cloned());
    for (name, value) in &mut properties {
        // Files are found from wherever a command is typed.
        if name.ends_with(".location") {
            *value = std::path::absolute(&*value)?.display().to_string();
        }
    }
    let profile = ClusterProfile {
        bootstrap: flags.bootstrap.clone(),
        properties,
        ..ClusterProfile::default()
    };
    let mut connection = profile.connection();
    if profile.wants_login() {
        // The key comes later; librdkafka checks the rest only with one.
        for name in ["sasl.username", "sasl.password"] {
            connection.properties.entry(name.into()).or_insert_with(|| "later".into());
        }
    }
    admin::check_settings(&connection).map_err(UserError::from_error)?;
    Ok(profile)
}

/// Forgets a cluster with its API keys; the cluster itself is not touched.
pub fn delete(flags: &KafkaClusterNameFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let name = file.profiles.cluster_name(Some(&flags.name))?;
    if name == LOCAL && file.profiles.environment == LOCAL {
        let message = format!("cluster `{LOCAL}` is the built-in broker and always there");
        bail!(UserError::new(message));
    }
    let in_use = file.profiles.in_use();
    in_use.clusters.remove(&name);
    if in_use.cluster.as_deref() == Some(&name) {
        in_use.cluster = in_use.clusters.keys().next().cloned();
    }
    let now = in_use.cluster.clone();
    file.save()?;
    let mut text =
        format!("forgot cluster `{name}` and its API keys; the cluster itself is as it was");
    if let Some(now) = &now {
        text += &format!("\nusing cluster `{now}`");
    }
    output.answer(text, &json!({ "deleted": name, "cluster": now }))
}

fn new_name(text: &str) -> Result<String, String> {
    match RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        true => Err("`api-key --resource` takes this word for something else".into()),
        false => profiles::name(text),
    }
}

/// `HOST:PORT`, or several with commas between.
pub fn addresses(text: &str) -> Result<String, String> {
    for address in text.split(',') {
        let (host, port) = address.trim().rsplit_once(':').ok_or("expected HOST:PORT")?;
        if host.is_empty() || port.parse::<u16>().is_err() || host.contains("://") {
            return Err("expected HOST:PORT, such as broker.example.com:9092".into());
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_hosts_and_ports() {
        for good in ["kafka:9092", "a:1,b:2", "[::1]:9092"] {
            assert!(addresses(good).is_ok(), "{good}");
        }
        for bad in ["kafka", ":9092", "kafka:port", "a:1,b", "SASL_SSL://a:1", ""] {
            assert!(addresses(bad).is_err(), "{bad}");
        }
    }
}
