//! The environments and clusters of the user's profiles, as their file has them at this moment.

use axum::http::StatusCode;

use super::failure::Failure;
use super::site::{NamedCluster, Origin};
use crate::profiles::{ProfileFile, Profiles};

/// Between the names of environment and cluster in an address; neither may hold it.
const SEPARATOR: char = ':';

/// # Errors
/// The file is not what we write; says where.
pub fn read() -> Result<Profiles, Failure> {
    let file = ProfileFile::open();
    file.map(|file| file.profiles).map_err(|error| unusable(format!("{error:#}")))
}

/// How addresses of pages name a cluster of a profile.
pub fn address_name(environment: &str, cluster: &str) -> String {
    format!("{environment}{SEPARATOR}{cluster}")
}

/// The cluster that an address names; `None`: there is none.
///
/// # Errors
/// It wants a login, and none is known.
pub fn cluster(name: &str) -> Result<Option<NamedCluster>, Failure> {
    let Some((environment, cluster)) = name.split_once(SEPARATOR) else { return Ok(None) };
    let profiles = read()?;
    let environment = profiles.environments.get(environment);
    let Some(profile) = environment.and_then(|it| it.clusters.get(cluster)) else {
        return Ok(None);
    };
    if profile.lacks_login() {
        return Err(unusable(format!(
            "cluster `{cluster}` wants a login: `gristmill api-key store KEY --resource {cluster}`, then `gristmill \
             api-key use KEY --resource {cluster}`"
        )));
    }
    let (name, cluster) = (name.to_string(), profile.connection());
    Ok(Some(NamedCluster { name, origin: Origin::Profile, cluster }))
}

fn unusable(message: String) -> Failure {
    Failure::new(StatusCode::CONFLICT, message)
}
