//! `gristmill api-key create | list | delete`: who may log in to a broker.
//!
//! Keys of the built-in broker lie in its data folder, and are changed there while no broker runs on
//! it. Else the running broker is asked, by Kafka's own requests; with `--bootstrap` any broker is.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use gristmill_broker::{ApiKeys, CLUSTER_RESOURCES, ResourceType, Rights, new_api_key};
use gristmill_connectors::Cluster;
use gristmill_connectors::access::{self, Resource};
use serde_json::json;

use crate::client_config::ClientConfig;
use crate::local;
use crate::output::Output;
use crate::user_error::UserError;

/// Where the built-in broker listens if nobody says otherwise.
const BOOTSTRAP_DEFAULT: &str = "127.0.0.1:9092";

#[derive(clap::Args)]
pub struct ApiKeyCreateFlags {
    /// What the key may do everything with: the broker with all its topics and groups, or nothing until there are ACLs
    #[arg(long, value_enum, ignore_case = true, value_name = "CLUSTER|NONE")]
    resource: KeyResource,

    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct ApiKeyListFlags {
    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct ApiKeyDeleteFlags {
    /// The key, without its secret
    key: String,

    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum KeyResource {
    Cluster,
    None,
}

/// Whose keys.
#[derive(clap::Args)]
struct Place {
    /// Folder of the built-in broker [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Ask a running broker, the built-in one or any other, and not the folder
    #[arg(long, value_name = "HOST:PORT", env = "GRISTMILL_BOOTSTRAP")]
    bootstrap: Option<String>,

    /// File of librdkafka properties for that broker, `key=value` on each line
    #[arg(long, value_name = "FILE", env = "GRISTMILL_CLIENT_CONFIG", value_parser = ClientConfig::read)]
    client_config: Option<ClientConfig>,
}

/// The keys where they can be changed now.
enum Keys {
    Folder(ApiKeys),
    Broker(Cluster),
}

impl Place {
    fn open(&self) -> Result<Keys> {
        let properties = self.client_config.clone().unwrap_or_default().properties;
        let cluster = |bootstrap: &str| Cluster { properties, ..Cluster::new(bootstrap) };
        if let Some(bootstrap) = &self.bootstrap {
            return Ok(Keys::Broker(cluster(bootstrap)));
        }
        let folder = local::data_dir(self.data_dir.as_deref())?.join("broker");
        match ApiKeys::open(&folder).map_err(UserError::from_error)? {
            Some(keys) => Ok(Keys::Folder(keys)),
            None if self.data_dir.is_none() => Ok(Keys::Broker(cluster(BOOTSTRAP_DEFAULT))),
            None => bail!(UserError::new(format!(
                "a broker runs on `{}`; say where it listens with --bootstrap, so that it is asked",
                folder.display()
            ))),
        }
    }
}

/// Makes a key and shows its secret, this once.
pub async fn create(flags: &ApiKeyCreateFlags, output: Output) -> Result<()> {
    let cluster_wide = flags.resource == KeyResource::Cluster;
    let new = match flags.place.open()? {
        Keys::Folder(keys) => {
            let rights = if cluster_wide { Rights::Cluster } else { Rights::None };
            keys.create(rights).context("cannot make an API key")?
        }
        Keys::Broker(cluster) => {
            let new = new_api_key()?;
            let resources = CLUSTER_RESOURCES.iter().filter(|_| cluster_wide).filter_map(resource);
            let made = access::create_user(&cluster, &new.key, &new.secret, resources.collect());
            made.await.map_err(|error| refused(error, &cluster, "make an API key"))?;
            new
        }
    };
    let text = format!(
        "API key     {}\nAPI secret  {}\nKeep the secret: it is not shown again.",
        new.key, new.secret
    );
    output.answer(text, &json!({ "api_key": new.key, "api_secret": new.secret }))
}

/// Prints every key, by name.
pub async fn list(flags: &ApiKeyListFlags, output: Output) -> Result<()> {
    let keys: Vec<(String, Vec<&str>)> = match flags.place.open()? {
        Keys::Folder(keys) => {
            keys.list().into_iter().map(|key| (key.key, key.mechanisms)).collect()
        }
        Keys::Broker(cluster) => {
            let users = access::list_users(&cluster).await;
            let users = users.map_err(|error| refused(error, &cluster, "list the API keys"))?;
            users.into_iter().map(|user| (user.name, user.mechanisms)).collect()
        }
    };
    if keys.is_empty() {
        output.remark("there is no API key; make one with `gristmill api-key create`")?;
    }
    for (key, mechanisms) in keys {
        let text = format!("{key}  PLAIN, {}", mechanisms.join(", "));
        output.answer(text, &json!({ "api_key": key, "scram": mechanisms }))?;
    }
    Ok(())
}

/// Deletes a key and the ACLs that name it.
pub async fn delete(flags: &ApiKeyDeleteFlags, output: Output) -> Result<()> {
    let key = &flags.key;
    match flags.place.open()? {
        Keys::Folder(keys) => keys.delete(key).map_err(UserError::from_error)?,
        Keys::Broker(cluster) => {
            let deleted = access::delete_user(&cluster, key).await;
            deleted.map_err(|error| refused(error, &cluster, "delete the API key"))?;
        }
    }
    output.answer(format!("deleted API key `{key}`"), &json!({ "api_key": key }))
}

fn resource((kind, name): &(ResourceType, &str)) -> Option<(Resource, String)> {
    let kind = match kind {
        ResourceType::Topic => Resource::Topic,
        ResourceType::Group => Resource::Group,
        ResourceType::TransactionalId => Resource::TransactionalId,
        ResourceType::Cluster => Resource::Cluster,
        ResourceType::DelegationToken | ResourceType::User => return None,
    };
    Some((kind, (*name).to_owned()))
}

fn refused(error: anyhow::Error, cluster: &Cluster, what: &str) -> anyhow::Error {
    let bootstrap = &cluster.bootstrap;
    let error = error.context(format!(
        "cannot {what} of the broker at {bootstrap}; choose one with --bootstrap, and log in with \
         --client-config where it wants authentication"
    ));
    UserError::from_error(error).into()
}
