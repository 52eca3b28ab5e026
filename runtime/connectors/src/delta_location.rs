//! Where a Delta table lives: a local folder or an object store. Answers whether it can be used
//! before anything starts, and gets local files onto the disk.
//!
//! Invariant: a local log entry is complete and on disk before it has its name. `object_store`
//! syncs nothing, and a zero-length or torn entry after a power cut would lose rows silently or
//! make the whole table unreadable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use deltalake::DeltaTableBuilder;
use deltalake::logstore::LogStoreRef;

/// The folder of the transaction log inside a table.
const LOG_FOLDER: &str = "_delta_log";

/// A table's place and the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// As the user wrote it: for messages.
    pub(crate) written: String,
    /// The folder of a local table; absent for an object store.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) log_store: LogStoreRef,
}

impl Location {
    /// The place of a table that may still have to be made. A local folder is created and tried
    /// out.
    ///
    /// Errors: the path is a file, the folder holds something that is no Delta table, it cannot be
    /// written, the scheme has no object store in this build.
    pub(crate) fn prepare(table: &str, storage: &BTreeMap<String, String>) -> Result<Location> {
        if let Some(folder) = local_folder(table)? {
            check_folder(&folder)?;
            fs::create_dir_all(&folder).with_context(|| {
                format!("cannot create the table folder `{}`", folder.display())
            })?;
            check_writable(&folder)?;
        }
        Location::resolve(table, storage)
    }

    /// The place of a table that must be there already. Creates nothing.
    pub(crate) fn existing(table: &str, storage: &BTreeMap<String, String>) -> Result<Location> {
        if let Some(folder) = local_folder(table)?
            && !folder.join(LOG_FOLDER).is_dir()
        {
            bail!("no Delta table in `{}`: it has no `{LOG_FOLDER}` folder", folder.display());
        }
        Location::resolve(table, storage)
    }

    fn resolve(table: &str, storage: &BTreeMap<String, String>) -> Result<Location> {
        let folder = match local_folder(table)? {
            Some(folder) => Some(
                fs::canonicalize(&folder)
                    .with_context(|| format!("cannot open the folder `{}`", folder.display()))?,
            ),
            None => None,
        };
        let uri = folder.as_ref().map_or(table.to_string(), |folder| folder.display().to_string());
        let url = deltalake::ensure_table_uri(&uri).map_err(|error| no_store(table, &error))?;
        let options = storage.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let log_store = DeltaTableBuilder::from_url(url)
            .and_then(|builder| builder.with_storage_options(options).build_storage())
            .with_context(|| format!("cannot reach the store of table `{table}`"))?;
        Ok(Location { written: table.to_string(), folder, log_store })
    }

    /// Syncs data files (paths as in their `add` actions) and the folders above them, up to the
    /// table's own. Nothing to do on an object store. Blocks.
    pub(crate) fn sync_data_files(&self, paths: &[String]) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut folders = BTreeSet::new();
        for path in paths {
            let file = folder.join(path);
            sync(&file)?;
            let above = file.ancestors().skip(1).take_while(|above| above.starts_with(folder));
            folders.extend(above.map(Path::to_path_buf));
        }
        folders.iter().try_for_each(|folder| sync(folder))
    }

    /// Syncs a checkpoint and what names it. Blocks.
    pub(crate) fn sync_checkpoint(&self, version: u64) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let log = folder.join(LOG_FOLDER);
        let named = [format!("{version:020}.checkpoint.parquet"), "_last_checkpoint".to_string()];
        for name in named.iter().map(|name| log.join(name)).filter(|path| path.exists()) {
            sync(&name)?;
        }
        sync(&log)
    }

    /// Makes the folder of the log, on disk; nothing to do on an object store. Blocks.
    pub(crate) fn make_log_folder(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let log = folder.join(LOG_FOLDER);
        fs::create_dir_all(&log)
            .with_context(|| format!("cannot create the folder `{}`", log.display()))?;
        folder.parent().map_or(Ok(()), sync)?;
        sync(folder)
    }

    /// Syncs the log's folder. Blocks.
    pub(crate) fn sync_log(&self) -> Result<()> {
        self.folder.as_ref().map_or(Ok(()), |folder| sync(&folder.join(LOG_FOLDER)))
    }

    /// Makes log entry `version` of a local table, all or nothing and on disk; `false` if the
    /// version is taken. Blocks.
    pub(crate) fn put_log_entry(&self, version: u64, entry: &[u8], unique: &str) -> Result<bool> {
        let folder = self.folder.as_ref().context("not a local table")?;
        let log = folder.join(LOG_FOLDER);
        let name = log.join(format!("{version:020}.json"));
        let temporary = log.join(format!("_commit_{unique}.json.tmp"));
        let written = File::create(&temporary)
            .and_then(|mut file| file.write_all(entry).and_then(|()| file.sync_all()));
        let linked = written.and_then(|()| fs::hard_link(&temporary, &name));
        let removed = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot write `{}`", name.display()));
            }
        }
        removed.with_context(|| format!("cannot remove `{}`", temporary.display()))?;
        sync(&log)?;
        Ok(true)
    }
}

/// Whether a cause is a disk or an object store that may do next time what it did not now: full or
/// away, not forbidden.
pub(crate) fn may_pass(cause: &(dyn std::error::Error + 'static)) -> bool {
    use deltalake::ObjectStoreError as Store;
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return !matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData
        );
    }
    cause.downcast_ref::<Store>().is_some_and(|error| {
        matches!(error, Store::Generic { .. } | Store::JoinError { .. } | Store::NotModified { .. })
    })
}

/// The folder that a table without a scheme, or with `file://`, names.
fn local_folder(table: &str) -> Result<Option<PathBuf>> {
    match table.split_once("://") {
        None => Ok(Some(PathBuf::from(table))),
        Some(("file", path)) if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        Some(("file", _)) => {
            bail!("table `{table}`: a file URI needs an absolute path, as in `file:///data/orders`")
        }
        Some(_) => Ok(None),
    }
}

/// A folder may be absent, empty or a Delta table, nothing else.
fn check_folder(folder: &Path) -> Result<()> {
    let name = folder.display();
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => bail!("`{name}` is a file; a Delta table is a folder: give another path"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot open the folder `{name}`"));
        }
    }
    let mut entries =
        fs::read_dir(folder).with_context(|| format!("cannot list the folder `{name}`"))?;
    if entries.next().is_some() && !folder.join(LOG_FOLDER).is_dir() {
        bail!(
            "the folder `{name}` is not empty and holds no Delta table (no `{LOG_FOLDER}`): \
             choose an empty or a new folder"
        );
    }
    Ok(())
}

/// Tries the folder out with a file of its own.
fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(format!(".gristmill-{}", uuid::Uuid::new_v4()));
    File::create(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .with_context(|| format!("cannot write into the table folder `{}`", folder.display()))
}

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("cannot sync `{}` to disk", path.display()))
}

fn no_store(table: &str, error: &deltalake::DeltaTableError) -> anyhow::Error {
    anyhow!("table `{table}`: {error}; give a folder, or a URI whose store this build has")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        let storage = BTreeMap::new();
        format!("{:#}", Location::prepare(&path.display().to_string(), &storage).unwrap_err())
    }

    #[test]
    fn a_path_that_is_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders");
        fs::write(&file, "x").unwrap();
        assert!(refusal(&file).contains("is a file"));
        assert!(refusal(&file.join("below")).contains("cannot open the folder"));
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert!(refusal(folder.path()).contains("holds no Delta table"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unknown_scheme_is_refused_by_name() {
        let error = Location::prepare("gopher://x/y", &BTreeMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("gopher"), "{error:#}");
    }

    #[test]
    fn a_log_entry_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().display().to_string();
        fs::create_dir(folder.path().join(LOG_FOLDER)).unwrap();
        let location = Location::prepare(&table, &BTreeMap::new()).unwrap();
        assert!(location.put_log_entry(3, b"{}", "a").unwrap());
        assert!(!location.put_log_entry(3, b"{\"other\":1}", "b").unwrap());
        let log = folder.path().join(LOG_FOLDER);
        assert_eq!(fs::read(log.join(format!("{:020}.json", 3))).unwrap(), b"{}");
        assert_eq!(fs::read_dir(&log).unwrap().count(), 1);
    }
}
