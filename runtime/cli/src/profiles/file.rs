//! The file of the profiles: read whole, written whole, readable by its owner alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Profiles;
use crate::user_error::UserError;

const FILE_NAME: &str = "profiles.toml";
/// A file above this was not written by us.
const FILE_BYTES_MAX: u64 = 1 << 20;

const OWNER_ONLY_FILE: u32 = 0o600;
const OWNER_ONLY_FOLDER: u32 = 0o700;

/// The profiles, and where they stand.
pub struct ProfileFile {
    path: PathBuf,
    pub profiles: Profiles,
}

impl ProfileFile {
    /// Reads `gristmill/profiles.toml` of the user's configuration folder; makes nothing.
    ///
    /// # Errors
    /// There is no home folder, or the file is not what we write; says where.
    pub fn open() -> Result<ProfileFile> {
        ProfileFile::open_in(&config_dir()?)
    }

    fn open_in(folder: &Path) -> Result<ProfileFile> {
        let path = folder.join(FILE_NAME);
        let profiles = read(&path)?;
        Ok(ProfileFile { path, profiles })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the whole file in place of the old one at once.
    pub fn save(&self) -> Result<()> {
        let written = self.write();
        written.with_context(|| format!("cannot write `{}`", self.path.display()))
    }

    fn write(&self) -> Result<()> {
        let folder = self.path.parent().context("a file without a folder")?;
        DirBuilder::new().recursive(true).mode(OWNER_ONLY_FOLDER).create(folder)?;
        let text = toml::to_string(&self.profiles)?;
        let temporary = folder.join(format!(".{FILE_NAME}.{}", uuid::Uuid::new_v4().simple()));
        let result = write_new(&temporary, &text).and_then(|()| fs::rename(&temporary, &self.path));
        if result.is_err() {
            // Never there, or of no use.
            let _ = fs::remove_file(&temporary);
        }
        Ok(result?)
    }
}

/// `gristmill` under XDG_CONFIG_HOME, else under `~/.config`.
pub fn config_dir() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").filter(|base| !base.is_empty());
    let home = || std::env::home_dir().map(|home| home.join(".config"));
    let base = base.map(PathBuf::from).or_else(home);
    let base = base.context("there is no home folder; name a folder in XDG_CONFIG_HOME")?;
    Ok(base.join("gristmill"))
}

fn read(path: &Path) -> Result<Profiles> {
    let wrong = |what: String| UserError::new(format!("{}: {what}", path.display()));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Profiles::default()),
        Err(error) => return Err(wrong(error.to_string()).into()),
    };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("above {FILE_BYTES_MAX} bytes: no file of profiles")).into());
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut profiles: Profiles = toml::from_str(&text).map_err(|error| {
        // Not the line itself: it may hold a secret.
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        wrong(format!(
            "line {line}: {}; mend it, or delete the file to start afresh",
            error.message()
        ))
    })?;
    profiles.ensure_local();
    profiles.check().map_err(wrong)?;
    let open_to_others = metadata.permissions().mode() & 0o077 != 0;
    let mut all =
        profiles.environments.values().flat_map(|environment| environment.clusters.values());
    if open_to_others && all.any(super::ClusterProfile::holds_secrets) {
        let file = path.display();
        tracing::warn!("others may read the secrets in `{file}`: `chmod 600 {file}`");
    }
    Ok(profiles)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY_FILE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::profiles::ClusterProfile;

    #[test]
    fn what_was_written_is_read_and_its_owner_alone_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ProfileFile::open_in(&folder.path().join("gristmill")).unwrap();
        let cluster = ClusterProfile {
            bootstrap: "kafka:9092".into(),
            api_keys: [("key with \"quotes\"".to_owned(), "s=\\".to_owned())].into(),
            ..ClusterProfile::default()
        };
        file.profiles.in_use().clusters.insert("prod".into(), cluster);
        file.save().unwrap();
        file.save().unwrap();
        let again = ProfileFile::open_in(&folder.path().join("gristmill")).unwrap();
        assert_eq!(again.profiles, file.profiles);
        assert_eq!(fs::metadata(again.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = again.path().parent().unwrap();
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_that_is_not_ours_says_where_and_shows_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let said = |text: &str| {
            fs::write(folder.path().join(FILE_NAME), text).unwrap();
            ProfileFile::open_in(folder.path()).err().unwrap().to_string()
        };
        let error = said("environment = \"local\"\nsecret = s3cret\n");
        assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
        assert!(said("environment = \"gone\"").contains("no environment `gone`"));
        assert!(said("environment = \"local\"\ncolour = 1").contains("unknown field `colour`"));
    }
}
