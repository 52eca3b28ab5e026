//! `gristmill api-key create | use | store | list | delete`: who may log in to a broker, and as whom the client
//! commands do.
//!
//! Keys of the built-in broker lie in its data folder, and are changed there while no broker runs on it. Else the
//! running broker is asked, by Kafka's own requests; so is any other cluster. `use` and `store` change nothing but the
//! user's profiles.

use std::io::{BufRead, IsTerminal, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use gristmill_broker::{ApiKeys, CLUSTER_RESOURCES, ResourceType, Rights, new_api_key};
use gristmill_connectors::Cluster;
use gristmill_connectors::access::{self, Resource};
use serde_json::json;

use crate::client_config::ClientConfig;
use crate::local;
use crate::output::Output;
use crate::profiles::{self, ClusterProfile, LOCAL, ProfileFile};
use crate::user_error::UserError;

/// Longest secret that is read.
const SECRET_BYTES_MAX: u64 = 4096;

#[derive(clap::Args)]
pub struct ApiKeyCreateFlags {
    /// The cluster for which the key is made and kept, by its name; CLUSTER: the one in use. The key may do everything
    /// with its topics and groups. NONE: a key for the one in use that may do nothing until there are ACLs
    #[arg(long, value_name = "CLUSTER", value_parser = profiles::name)]
    resource: String,

    /// The key may do nothing until there are ACLs
    #[arg(long)]
    no_rights: bool,

    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct ApiKeyUseFlags {
    /// The key, without its secret
    key: String,

    /// The cluster, by its name; CLUSTER: the one in use
    #[arg(long, value_name = "CLUSTER", value_parser = profiles::name)]
    resource: String,
}

#[derive(clap::Args)]
pub struct ApiKeyListFlags {
    /// The cluster whose keys these are, by its name; CLUSTER: the one in use
    #[arg(long, value_name = "CLUSTER", value_parser = profiles::name)]
    resource: Option<String>,

    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
pub struct ApiKeyDeleteFlags {
    /// The key, without its secret
    key: String,

    /// The cluster whose key this is, by its name; CLUSTER: the one in use
    #[arg(long, value_name = "CLUSTER", value_parser = profiles::name)]
    resource: Option<String>,

    #[command(flatten)]
    place: Place,
}

/// Whose keys, if not those of a named cluster.
#[derive(clap::Args)]
struct Place {
    /// Folder of a built-in broker that does not run [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Ask the broker at this address, the built-in one or any other
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
    /// `resource`: the name of a cluster in the environment in use.
    fn open(&self, profiles: &ProfileFile, resource: Option<&str>) -> Result<Keys> {
        let (name, profile) = profiles.profiles.cluster(resource)?;
        if let Some(bootstrap) = self.bootstrap() {
            return Ok(Keys::Broker(self.configured(Cluster::new(bootstrap))));
        }
        let built_in = name == LOCAL && profiles.profiles.environment == LOCAL;
        if self.data_dir.is_none() && !built_in {
            return Ok(Keys::Broker(self.configured(profile.connection())));
        }
        let folder = local::data_dir(self.data_dir.as_deref())?.join("broker");
        match ApiKeys::open(&folder).map_err(UserError::from_error)? {
            Some(keys) => Ok(Keys::Folder(keys)),
            None if self.data_dir.is_none() => {
                Ok(Keys::Broker(self.configured(profile.connection())))
            }
            None => bail!(UserError::new(format!(
                "a broker runs on `{}`; say where it listens with --bootstrap, so that it is asked",
                folder.display()
            ))),
        }
    }

    /// A variable that is set to nothing names no broker.
    fn bootstrap(&self) -> Option<&str> {
        self.bootstrap.as_deref().filter(|address| !address.is_empty())
    }

    fn configured(&self, mut cluster: Cluster) -> Cluster {
        cluster.properties.extend(self.client_config.clone().unwrap_or_default().properties);
        cluster
    }

    /// Whether a flag says where the keys are: then they are not those of the cluster in use.
    fn is_named(&self) -> bool {
        self.data_dir.is_some() || self.bootstrap().is_some()
    }
}

/// What `--resource` takes beside names: the cluster in use, and the same for a key without rights.
const IN_USE: &str = "CLUSTER";
const WITHOUT_RIGHTS: &str = "NONE";

/// Names that no cluster has, since `--resource` takes them for something else.
pub(super) const RESERVED: [&str; 2] = [IN_USE, WITHOUT_RIGHTS];

/// The cluster of that name; `None`: the one in use.
fn resource(name: &str) -> Option<&str> {
    (!RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word))).then_some(name)
}

/// Makes a key and shows its secret, this once; keeps both in the profile of the cluster.
pub async fn create(flags: &ApiKeyCreateFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let named = resource(&flags.resource);
    let no_rights = flags.no_rights || flags.resource.eq_ignore_ascii_case(WITHOUT_RIGHTS);
    let new = match flags.place.open(&file, named)? {
        Keys::Folder(keys) => {
            let rights = if no_rights { Rights::None } else { Rights::Cluster };
            keys.create(rights).context("cannot make an API key")?
        }
        Keys::Broker(cluster) => {
            let new = new_api_key()?;
            let wanted = CLUSTER_RESOURCES.iter().filter(|_| !no_rights);
            let resources = wanted.filter_map(acl_resource).collect();
            let made = access::create_user(&cluster, &new.key, &new.secret, resources);
            made.await.map_err(|error| refused(error, &cluster, "make an API key"))?;
            new
        }
    };
    let kept = named.is_some() || !flags.place.is_named();
    let mut text = format!(
        "API key     {}\nAPI secret  {}\nKeep the secret: it is not shown again.",
        new.key, new.secret
    );
    let mut cluster = None;
    if kept {
        let (name, profile) = profile(&mut file, named)?;
        profile.api_keys.insert(new.key.clone(), new.secret.clone());
        file.save()?;
        text += &format!(
            "\nUse it in these commands with `gristmill api-key use {} --resource {name}`.",
            new.key
        );
        cluster = Some(name);
    }
    output
        .answer(text, &json!({ "api_key": new.key, "api_secret": new.secret, "cluster": cluster }))
}

/// Logs the client commands in to the cluster with this key from now on.
pub fn use_(flags: &ApiKeyUseFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let key = &flags.key;
    let (name, profile) = profile(&mut file, resource(&flags.resource))?;
    if !profile.api_keys.contains_key(key) {
        bail!(UserError::new(format!(
            "the secret of API key `{key}` for cluster `{name}` is not known here; store it with `gristmill api-key \
             store {key} --resource {name}`"
        )));
    }
    profile.api_key = Some(key.clone());
    let (wants_login, protocol) = (profile.wants_login(), profile.security_protocol());
    file.save()?;
    let mut text = format!("using API key `{key}` for cluster `{name}`");
    if !wants_login {
        text += &format!(
            "\nnote: cluster `{name}` is reached by {protocol}, which takes no key; one that does is made with \
             `gristmill kafka cluster create NAME --bootstrap HOST:PORT --property security.protocol=SASL_SSL`"
        );
    }
    output.answer(text, &json!({ "api_key": key, "cluster": name, "security_protocol": protocol }))
}

/// Keeps the secret of a key that was made elsewhere. It is read, not a flag: flags are seen by others.
pub fn store(flags: &ApiKeyUseFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let key = &flags.key;
    let (name, _) = profile(&mut file, resource(&flags.resource))?;
    let secret = read_secret(key)?;
    let (_, profile) = profile(&mut file, Some(&name))?;
    profile.api_keys.insert(key.clone(), secret);
    file.save()?;
    output.answer(
        format!(
            "stored API key `{key}` for cluster `{name}`; use it with `gristmill api-key use {key} --resource {name}`"
        ),
        &json!({ "api_key": key, "cluster": name }),
    )
}

fn read_secret(key: &str) -> Result<String> {
    let secret = if stdin().is_terminal() {
        eprint!("secret of API key `{key}`: ");
        console::Term::stderr().read_secure_line().context("cannot read the secret")?
    } else {
        let mut line = String::new();
        stdin()
            .lock()
            .take(SECRET_BYTES_MAX)
            .read_line(&mut line)
            .context("cannot read the secret")?;
        line
    };
    match secret.trim() {
        "" => bail!(UserError::new("no secret: write it on the first line of standard input")),
        secret => Ok(secret.to_owned()),
    }
}

fn profile<'a>(
    file: &'a mut ProfileFile,
    wanted: Option<&str>,
) -> Result<(String, &'a mut ClusterProfile)> {
    let name = file.profiles.cluster_name(wanted)?;
    let profile = file.profiles.in_use().clusters.entry(name.clone()).or_default();
    Ok((name, profile))
}

/// Prints every key, by name; the one in use is marked.
pub async fn list(flags: &ApiKeyListFlags, output: Output) -> Result<()> {
    let file = ProfileFile::open()?;
    let wanted = flags.resource.as_deref().and_then(resource);
    let keys: Vec<(String, Vec<&str>)> = match flags.place.open(&file, wanted)? {
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
        output.remark(
            "there is no API key; make one with `gristmill api-key create --resource CLUSTER`",
        )?;
    }
    let in_use = match flags.place.is_named() {
        true => None,
        false => file.profiles.cluster(wanted)?.1.api_key.clone(),
    };
    for (key, mechanisms) in keys {
        let current = in_use.as_ref() == Some(&key);
        let note = if current { "  (in use)" } else { "" };
        let text = format!("{key}  PLAIN, {}{note}", mechanisms.join(", "));
        output.answer(text, &json!({ "api_key": key, "scram": mechanisms, "current": current }))?;
    }
    Ok(())
}

/// Deletes a key and the ACLs that name it, and its secret in the profile.
pub async fn delete(flags: &ApiKeyDeleteFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let (key, wanted) = (&flags.key, flags.resource.as_deref().and_then(resource));
    match flags.place.open(&file, wanted)? {
        Keys::Folder(keys) => keys.delete(key).map_err(UserError::from_error)?,
        Keys::Broker(cluster) => {
            let deleted = access::delete_user(&cluster, key).await;
            deleted.map_err(|error| refused(error, &cluster, "delete the API key"))?;
        }
    }
    let (_, profile) = profile(&mut file, wanted)?;
    if profile.api_keys.remove(key).is_some() {
        if profile.api_key.as_ref() == Some(key) {
            profile.api_key = None;
        }
        file.save()?;
    }
    output.answer(format!("deleted API key `{key}`"), &json!({ "api_key": key }))
}

fn acl_resource((kind, name): &(ResourceType, &str)) -> Option<(Resource, String)> {
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
        "cannot {what} of the broker at {bootstrap}; choose one with --resource or --bootstrap, and log in with \
         `api-key use` or --client-config where it wants authentication"
    ));
    UserError::from_error(error).into()
}
