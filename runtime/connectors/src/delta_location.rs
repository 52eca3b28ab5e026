//! Where a Delta table lives: a local folder or an object store. Answers whether it can be used
//! before anything starts, and gets local files onto the disk.
//!
//! Invariant: a local log entry is complete and on disk before it has its name. `object_store`
//! syncs nothing, and a zero-length or torn entry after a power cut would lose rows silently or
//! make the whole table unreadable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use deltalake::DeltaTableBuilder;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};

use crate::s3_store;

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
    /// The place of a table that may still have to be made. A local folder is created; folder or
    /// bucket are tried out.
    ///
    /// Errors: the path is a file, the folder holds something that is no Delta table, it cannot be
    /// written, there is no such bucket, the scheme has no object store in this build.
    pub(crate) async fn prepare(
        table: &str,
        storage: &BTreeMap<String, String>,
    ) -> Result<Location> {
        if s3_store::is_s3(table) {
            s3_store::check_writable(table, storage).await?;
        }
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
    pub(crate) async fn existing(
        table: &str,
        storage: &BTreeMap<String, String>,
    ) -> Result<Location> {
        if s3_store::is_s3(table) {
            s3_store::check_readable(table, storage).await?;
        }
        if let Some(folder) = local_folder(table)?
            && !folder.join(LOG_FOLDER).is_dir()
        {
            bail!("no Delta table in `{}`: it has no `{LOG_FOLDER}` folder", folder.display());
        }
        Location::resolve(table, storage)
    }

    /// The place of a table that may be there or not; `None`: a folder that is not there yet. Creates nothing.
    ///
    /// Errors: as those of [`prepare`](Self::prepare), but for what only trying shows.
    pub(crate) fn to_be_made(
        table: &str,
        storage: &BTreeMap<String, String>,
    ) -> Result<Option<Location>> {
        if let Some(folder) = local_folder(table)? {
            check_folder(&folder)?;
            if !folder.exists() {
                return Ok(None);
            }
            check_writable(&folder)?;
        }
        Location::resolve(table, storage).map(Some)
    }

    fn resolve(table: &str, storage: &BTreeMap<String, String>) -> Result<Location> {
        let folder = match local_folder(table)? {
            Some(folder) => Some(
                fs::canonicalize(&folder)
                    .with_context(|| format!("cannot open the folder `{}`", folder.display()))?,
            ),
            None => None,
        };
        let log_store = match s3_store::is_s3(table) {
            true => s3_log_store(table, storage)?,
            false => {
                let uri = folder.as_ref().map(|folder| folder.display().to_string());
                log_store(table, uri.as_deref().unwrap_or(table), storage)?
            }
        };
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
        let written = File::create(&temporary).and_then(|mut file| file.write_all(entry));
        let written = written.and_then(|()| sync_all(&temporary));
        let linked = written.and_then(|()| fs::hard_link(&temporary, &name));
        let removed = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot write `{}`", name.display()));
            }
        }
        #[cfg(test)]
        steps::took(Step::Named(name));
        removed.with_context(|| format!("cannot remove `{}`", temporary.display()))?;
        sync(&log)?;
        Ok(true)
    }
}

/// The way of the crate itself to a table: folders, and memory in tests.
fn log_store(table: &str, uri: &str, storage: &BTreeMap<String, String>) -> Result<LogStoreRef> {
    let url = deltalake::ensure_table_uri(uri).map_err(|error| no_store(table, &error))?;
    let options: HashMap<_, _> =
        storage.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    DeltaTableBuilder::from_url(url)
        .and_then(|builder| builder.with_storage_options(options).build_storage())
        .with_context(|| format!("cannot reach the store of table `{table}`"))
}

/// Not the crate's own way to S3, which is a feature of its own and wants a lock service.
fn s3_log_store(table: &str, storage: &BTreeMap<String, String>) -> Result<LogStoreRef> {
    let url = table.parse().ok().with_context(|| format!("table `{table}`: this is no URI"))?;
    let (bucket, config) = (s3_store::open(table, storage)?, StorageConfig::default());
    let folder = config.decorate_store(bucket.clone(), &url)?;
    Ok(default_logstore(Arc::new(folder), bucket, &url, &config))
}

/// Whether a cause is a disk or an object store that may do next time what it did not now: full or
/// away, not forbidden.
pub(crate) fn may_pass(cause: &(dyn std::error::Error + 'static)) -> bool {
    use buoyant_kernel::error::Error as Kernel;
    use deltalake::ObjectStoreError as Store;
    // It does not name these as its causes.
    match cause.downcast_ref::<Kernel>() {
        Some(Kernel::ObjectStore(error)) => return may_pass(error),
        Some(Kernel::IOError(error)) => return may_pass(error),
        _ => {}
    }
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
    sync_all(path).with_context(|| format!("cannot sync `{}` to disk", path.display()))
}

fn sync_all(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.sync_all())?;
    #[cfg(test)]
    steps::took(Step::Synced(path.to_path_buf()));
    Ok(())
}

/// What was done with a disk, in its order.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Synced(PathBuf),
    Named(PathBuf),
}

/// Notes the steps of all tests of this process.
#[cfg(test)]
pub(crate) mod steps {
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    use super::Step;

    static STEPS: Mutex<Vec<Step>> = Mutex::new(Vec::new());

    pub(super) fn took(step: Step) {
        STEPS.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// Those below a folder.
    pub(crate) fn below(folder: &Path) -> Vec<Step> {
        let steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_below = |step: &&Step| match step {
            Step::Synced(path) | Step::Named(path) => path.starts_with(folder),
        };
        steps.iter().filter(is_below).cloned().collect()
    }
}

fn no_store(table: &str, error: &deltalake::DeltaTableError) -> anyhow::Error {
    anyhow!("table `{table}`: {error}; give a folder, or a URI whose store this build has")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn refusal(path: &Path) -> String {
        let (path, storage) = (path.display().to_string(), BTreeMap::new());
        format!("{:#}", Location::prepare(&path, &storage).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_path_that_is_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("orders");
        fs::write(&file, "x").unwrap();
        assert!(refusal(&file).await.contains("is a file"));
        assert!(refusal(&file.join("below")).await.contains("cannot open the folder"));
    }

    #[tokio::test]
    async fn a_folder_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert!(refusal(folder.path()).await.contains("holds no Delta table"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// A store that was away while a pipeline read its cursors stopped it for good.
    #[test]
    fn a_store_that_is_away_is_waited_for_whoever_met_it() {
        use buoyant_kernel::error::Error as Kernel;
        use deltalake::ObjectStoreError as Store;
        let met_by_kernel = |error: Kernel| {
            let error = deltalake::DeltaTableError::from(error);
            anyhow::Error::from(error).context("cannot open the table").chain().any(may_pass)
        };
        let (store, source) = ("S3", || "connection refused".into());
        let away = Store::Generic { store, source: source() };
        let forbidden = Store::PermissionDenied { path: "lake".into(), source: source() };
        assert!(met_by_kernel(Kernel::ObjectStore(away)));
        assert!(!met_by_kernel(Kernel::ObjectStore(forbidden)));
        assert!(met_by_kernel(Kernel::IOError(io::ErrorKind::StorageFull.into())));
        assert!(!met_by_kernel(Kernel::MissingMetadata));
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_refused_by_name() {
        let error = Location::prepare("gopher://x/y", &BTreeMap::new()).await.unwrap_err();
        assert!(format!("{error:#}").contains("gopher"), "{error:#}");
    }

    #[tokio::test]
    async fn a_log_entry_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().display().to_string();
        fs::create_dir(folder.path().join(LOG_FOLDER)).unwrap();
        let location = Location::prepare(&table, &BTreeMap::new()).await.unwrap();
        assert!(location.put_log_entry(3, b"{}", "a").unwrap());
        assert!(!location.put_log_entry(3, b"{\"other\":1}", "b").unwrap());
        let log = folder.path().join(LOG_FOLDER);
        assert_eq!(fs::read(log.join(format!("{:020}.json", 3))).unwrap(), b"{}");
        assert_eq!(fs::read_dir(&log).unwrap().count(), 1);
    }
}
