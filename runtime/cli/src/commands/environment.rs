//! `gristmill environment list | use | create | delete`: named groups of clusters, such as `test` and `production`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::output::Output;
use crate::profiles::{self, Environment, LOCAL, ProfileFile};
use crate::table::Table;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct EnvironmentNameFlags {
    #[arg(value_name = "ENVIRONMENT", value_parser = profiles::name)]
    name: String,
}

/// Prints every environment, the one in use marked.
pub fn list(output: Output) -> Result<()> {
    let profiles = ProfileFile::open()?.profiles;
    let mut table = Table::new(["", "environment", "clusters"]);
    let mut json = Vec::new();
    for (name, environment) in &profiles.environments {
        let current = *name == profiles.environment;
        let clusters: Vec<&str> = environment.clusters.keys().map(String::as_str).collect();
        json.push(json!({ "environment": name, "current": current, "clusters": clusters }));
        table.push([mark(current), name.clone(), clusters.join(", ")]);
    }
    output.answer(table.render(), &Value::from(json))
}

/// Makes an environment the one in use.
pub fn use_(flags: &EnvironmentNameFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let cluster = file.profiles.environment(&flags.name)?.cluster.clone();
    file.profiles.environment.clone_from(&flags.name);
    file.save()?;
    let name = &flags.name;
    let text = match &cluster {
        Some(cluster) => format!("using environment `{name}`, cluster `{cluster}`"),
        None => format!(
            "using environment `{name}`; it has no cluster yet: `gristmill kafka cluster create NAME --bootstrap HOST:PORT`"
        ),
    };
    output.answer(text, &json!({ "environment": name, "cluster": cluster }))
}

/// Makes an environment without clusters.
pub fn create(flags: &EnvironmentNameFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let name = &flags.name;
    if file.profiles.environments.contains_key(name) {
        bail!(UserError::new(format!(
            "there is an environment `{name}` already; use it with `gristmill environment use {name}`"
        )));
    }
    file.profiles.environments.insert(name.clone(), Environment::default());
    file.save()?;
    output.answer(
        format!("made environment `{name}`; use it with `gristmill environment use {name}`"),
        &json!({ "environment": name }),
    )
}

/// Forgets an environment without clusters that is not in use.
pub fn delete(flags: &EnvironmentNameFlags, output: Output) -> Result<()> {
    let mut file = ProfileFile::open()?;
    let name = &flags.name;
    let clusters = file.profiles.environment(name)?.clusters.keys().cloned().collect::<Vec<_>>();
    if name == LOCAL {
        bail!(UserError::new(format!(
            "environment `{LOCAL}` is always there: no need to delete it"
        )));
    }
    if *name == file.profiles.environment {
        bail!(UserError::new(format!(
            "environment `{name}` is in use; use another one first: `gristmill environment use {LOCAL}`"
        )));
    }
    if let Some(cluster) = clusters.first() {
        bail!(UserError::new(format!(
            "environment `{name}` has clusters ({}); delete them first: `gristmill environment use {name}`, \
             `gristmill kafka cluster delete {cluster}`",
            clusters.join(", ")
        )));
    }
    file.profiles.environments.remove(name);
    file.save()?;
    output.answer(format!("deleted environment `{name}`"), &json!({ "deleted": name }))
}

/// What stands before the one in use.
pub(super) fn mark(current: bool) -> String {
    if current { "*".to_owned() } else { String::new() }
}
