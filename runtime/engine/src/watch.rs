//! Notices that files have other content than before.
//!
//! - Folders are watched and not files: editors write beside a file and rename, ConfigMaps and git-sync swap links. Every
//!   folder on the way through the links to a file counts, so that a swapped link is seen wherever it stands.
//! - An event is only a reason to look. What is told is that the content differs, once it has settled: a file that is
//!   being written is not half told.
//! - A file that is gone differs too; it is for others to say that this stops nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gristmill_host::{FileStamp, sha256_hex};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc as async_mpsc;

use crate::config::Watch;

/// Content that stays the same for this long has settled.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// How often files are looked at that no system tells about.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Links that one path may lead through, as in Linux.
const LINKS_MAX: usize = 40;

/// SHA-256 of a file's content, in hexadecimal; absent: it cannot be read.
pub(crate) type Content = Option<String>;

/// Watches files on a thread of its own, until it is dropped.
pub(crate) struct FileWatch {
    orders: mpsc::Sender<Order>,
    changes: async_mpsc::UnboundedReceiver<()>,
}

enum Order {
    /// Something has happened in a folder.
    Look,
    Watch(Watch, BTreeMap<PathBuf, Content>),
    End,
}

impl FileWatch {
    pub fn start() -> Result<FileWatch> {
        let (orders, received) = mpsc::channel();
        let (tell, changes) = async_mpsc::unbounded_channel();
        let watching = Watching {
            mode: Watch::Off,
            files: BTreeMap::new(),
            folders: Folders { watcher: None, watched: BTreeMap::new() },
            orders: orders.clone(),
            tell,
        };
        let thread = std::thread::Builder::new().name("watch".into());
        thread.spawn(move || watching.run(&received)).context("cannot start a thread")?;
        Ok(FileWatch { orders, changes })
    }

    /// Watches these files from now on. A change is told when one has other content than is known here.
    pub fn watch(&self, mode: Watch, files: BTreeMap<PathBuf, Content>) {
        // The thread ends with this handle only.
        let _ = self.orders.send(Order::Watch(mode, files));
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        // Several at once are one.
        while self.changes.try_recv().is_ok() {}
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
    }
}

/// The thread's own.
struct Watching {
    mode: Watch,
    files: BTreeMap<PathBuf, Known>,
    folders: Folders,
    orders: mpsc::Sender<Order>,
    tell: async_mpsc::UnboundedSender<()>,
}

/// What is known of a file.
struct Known {
    content: Content,
    /// Of the content; absent: look at the content anew.
    stamp: Option<Option<FileStamp>>,
}

impl Watching {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let order = match self.mode {
                Watch::Poll => orders.recv_timeout(POLL_EVERY),
                _ => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Watch(mode, files)) => self.begin(mode, files),
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.look(orders) {
                return;
            }
        }
    }

    fn begin(&mut self, mode: Watch, files: BTreeMap<PathBuf, Content>) {
        self.mode = mode;
        let known = |(path, content)| (path, Known { content, stamp: None });
        self.files = files.into_iter().map(known).collect();
        if mode != Watch::Notify {
            self.folders = Folders { watcher: None, watched: BTreeMap::new() };
        }
    }

    /// Looks until nothing changes any more, then tells what is new. `false`: the handle is gone.
    fn look(&mut self, orders: &mpsc::Receiver<Order>) -> bool {
        if self.mode == Watch::Off {
            return true;
        }
        self.follow();
        if !self.read() {
            return true;
        }
        let mut settled_at = Instant::now() + SETTLE_TIME;
        loop {
            let wait = settled_at.saturating_duration_since(Instant::now());
            match orders.recv_timeout(wait) {
                Ok(Order::Look) => {}
                Ok(Order::Watch(mode, files)) => {
                    self.begin(mode, files);
                    self.follow();
                    self.read();
                }
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    // A link that was swapped leads to folders that nobody watched so far.
                    self.follow();
                    if !self.read() {
                        break;
                    }
                    settled_at = Instant::now() + SETTLE_TIME;
                }
            }
        }
        let _ = self.tell.send(());
        true
    }

    /// Reads every file that may have changed. `true`: one has.
    fn read(&mut self) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.files {
            let stamp = FileStamp::of(path);
            if known.stamp == Some(stamp) {
                continue;
            }
            let content = content(path);
            changed |= content != known.content;
            let is_recent = stamp.is_some_and(FileStamp::is_recent);
            *known = Known { content, stamp: (!is_recent).then_some(stamp) };
        }
        changed
    }

    /// Watches the folders that the paths lead through now. Where the system cannot, files are polled.
    fn follow(&mut self) {
        if self.mode != Watch::Notify {
            return;
        }
        if let Err(error) = self.folders.follow(self.files.keys(), &self.orders) {
            tracing::warn!("{error:#}; files are looked at every second instead");
            self.mode = Watch::Poll;
            self.folders = Folders { watcher: None, watched: BTreeMap::new() };
        }
    }
}

pub(crate) fn content(path: &Path) -> Content {
    std::fs::read(path).ok().map(|bytes| sha256_hex(&bytes))
}

/// The folders that are watched.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    /// Which folder a path led to when its watch began: a watch stays with the folder, not with the path.
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
}

impl Folders {
    fn follow<'p>(
        &mut self,
        files: impl Iterator<Item = &'p PathBuf>,
        orders: &mpsc::Sender<Order>,
    ) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for file in files {
            for folder in folders_of(file) {
                let identity = Folders::identity(&folder);
                wanted.insert(folder, identity);
            }
        }
        let watcher = match &mut self.watcher {
            Some(watcher) => watcher,
            vacant => vacant.insert(watcher(orders.clone())?),
        };
        for (folder, identity) in &self.watched {
            if wanted.get(folder) != Some(identity) {
                // It may be gone already, and its watch with it.
                let _ = watcher.unwatch(folder);
            }
        }
        self.watched.retain(|folder, identity| wanted.get(folder) == Some(identity));
        for (folder, identity) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder, identity)),
                // It went away just now; its parent, which is watched, tells when it comes back.
                Err(_) if !folder.is_dir() => {}
                Err(error) => {
                    let what = format!("cannot watch the folder `{}`", folder.display());
                    return Err(anyhow::Error::new(error).context(what));
                }
            }
        }
        Ok(())
    }

    /// The folder itself, whatever happens in it.
    fn identity(folder: &Path) -> Option<(u64, u64)> {
        FileStamp::of(folder).map(FileStamp::identity)
    }
}

fn watcher(orders: mpsc::Sender<Order>) -> Result<RecommendedWatcher> {
    let handle = move |event: notify::Result<notify::Event>| {
        let is_reading = |kind: &EventKind| match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => true,
            _ => false,
        };
        // What fails may have hidden an event.
        if !event.is_ok_and(|event| is_reading(&event.kind)) {
            let _ = orders.send(Order::Look);
        }
    };
    notify::recommended_watcher(handle).context("the system does not tell about files")
}

/// The folders in which something happens when `path` gets other content: its own, and the folder of every link on the
/// way. Where a folder is missing, the nearest one above it.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut pending = vec![std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())];
    let mut links = 0;
    while let Some(path) = pending.pop() {
        let mut at = PathBuf::new();
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            let folder = at.clone();
            match part {
                Component::ParentDir => drop(at.pop()),
                part => at.push(part),
            }
            let is_last = parts.peek().is_none();
            match std::fs::read_link(&at) {
                Ok(target) if links < LINKS_MAX => {
                    links += 1;
                    let rest: PathBuf = parts.collect();
                    folders.insert(folder.clone());
                    pending.push(folder.join(target).join(rest));
                    break;
                }
                _ if is_last || !at.exists() => {
                    folders.insert(folder);
                    break;
                }
                _ => {}
            }
        }
    }
    folders
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The real path of a temporary folder may have links in it.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn every_folder_of_a_link_on_the_way_counts() {
        let (_keep, root) = folder();
        write(&root.join("revision-1/pipelines/p.toml"), "");
        symlink("revision-1", root.join("current")).unwrap();
        symlink("pipelines/p.toml", root.join("current/link.toml")).unwrap();
        let found = folders_of(&root.join("current/link.toml"));
        let expected = [root.clone(), root.join("revision-1"), root.join("revision-1/pipelines")];
        assert_eq!(found, BTreeSet::from(expected));
        let missing = folders_of(&root.join("nowhere/deep/p.toml"));
        assert_eq!(missing, BTreeSet::from([root.clone()]));
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(folders_of(&root.join("circle")), BTreeSet::from([root]));
    }

    async fn told(watch: &mut FileWatch) {
        let changed = tokio::time::timeout(Duration::from_secs(60), watch.changed());
        changed.await.expect("a change is told");
    }

    /// Each way in which the content of a path changes, in both modes.
    #[tokio::test]
    async fn a_change_is_told_whichever_way_it_is_made() {
        for mode in [Watch::Notify, Watch::Poll] {
            let (_keep, root) = folder();
            let file = root.join("mount/p.toml");
            write(&root.join("mount/..1/p.toml"), "one");
            symlink("..1", root.join("mount/..data")).unwrap();
            symlink("..data/p.toml", &file).unwrap();
            let plain = root.join("plain.wasm");
            write(&plain, "one");
            let mut watch = FileWatch::start().unwrap();
            let files = [&file, &plain].map(|path| (path.clone(), content(path)));
            watch.watch(mode, files.into());

            write(&plain, "two");
            told(&mut watch).await;
            write(&root.join("beside"), "three");
            std::fs::rename(root.join("beside"), &plain).unwrap();
            told(&mut watch).await;
            std::fs::remove_file(&plain).unwrap();
            told(&mut watch).await;
            write(&plain, "four");
            told(&mut watch).await;

            write(&root.join("mount/..2/p.toml"), "two");
            symlink("..2", root.join("mount/..tmp")).unwrap();
            std::fs::rename(root.join("mount/..tmp"), root.join("mount/..data")).unwrap();
            told(&mut watch).await;
            // The folder that the link leads to now is watched too.
            write(&root.join("mount/..2/p.toml"), "three");
            told(&mut watch).await;
            // A folder that is put in place of another.
            std::fs::rename(root.join("mount"), root.join("old")).unwrap();
            write(&file, "four");
            told(&mut watch).await;
            write(&file, "five");
            told(&mut watch).await;
        }
    }

    /// The second of two writes right after each other, of the same size into the same file, was taken for the first
    /// one: the times of files step by some ms.
    #[test]
    fn a_change_right_after_another_is_seen() {
        let (_keep, root) = folder();
        let file = root.join("module");
        write(&file, "0");
        let (orders, _received) = mpsc::channel();
        let (tell, _changes) = async_mpsc::unbounded_channel();
        let known = Known { content: content(&file), stamp: None };
        let mut watching = Watching {
            mode: Watch::Poll,
            files: BTreeMap::from([(file.clone(), known)]),
            folders: Folders { watcher: None, watched: BTreeMap::new() },
            orders,
            tell,
        };
        for text in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
            write(&file, text);
            assert!(watching.read(), "{text}");
            assert!(!watching.read(), "{text} is not new any more");
        }
    }

    #[tokio::test]
    async fn what_is_known_already_is_not_told() {
        let (_keep, root) = folder();
        let (known, other) = (root.join("known"), root.join("other"));
        write(&known, "new");
        write(&other, "old");
        let mut watch = FileWatch::start().unwrap();
        let files = [(known.clone(), content(&known)), (other.clone(), content(&other))];
        watch.watch(Watch::Notify, files.into());
        write(&known, "new");
        // Between the two changes of `known` nothing may be told but the one of `other`.
        write(&other, "changed");
        told(&mut watch).await;
        assert!(watch.changes.try_recv().is_err());
    }
}
