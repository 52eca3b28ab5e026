//! A small file of the data folder that is in memory as a whole: users, ACLs, settings, quotas.
//!
//! A change makes a new content from the present one. It is on disk, by write beside it and rename,
//! before it counts; one that fails or cannot be stored changes nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use anyhow::{Context, Result};

use crate::disk::Disk;
use crate::lock::{lock, read, write};

/// Largest file that is read.
const FILE_BYTES_MAX: usize = 64 << 20;

/// What such a file holds; nothing where there is no file.
pub(crate) trait Content: Clone + PartialEq + Default {
    /// The file's name in the data folder.
    const FILE: &'static str;

    /// Err for what `serialize` would not have written.
    fn parse(content: &[u8]) -> Result<Self>;
    /// The content of the file.
    fn serialize(&self) -> Result<Vec<u8>>;
}

/// See the module.
pub(crate) struct Kept<T> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    present: RwLock<Arc<T>>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl<T: Content> Kept<T> {
    /// Reads the file of a data folder. Blocks.
    pub(crate) fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Kept<T>> {
        let path = data_dir.join(T::FILE);
        let content = disk.read_small(&path, FILE_BYTES_MAX);
        let content = content.with_context(|| format!("cannot read `{}`", path.display()))?;
        let present = content.map_or(Ok(T::default()), |content| {
            T::parse(&content)
                .with_context(|| format!("`{}` is damaged; restore it from a copy", path.display()))
        });
        let present = RwLock::new(Arc::new(present?));
        Ok(Kept { disk, path, present, changing: Mutex::new(()) })
    }

    /// The content as it is now.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&read(&self.present))
    }

    /// Makes all of `change` or, if it fails or cannot be stored, nothing. Blocks.
    pub(crate) fn change<R, E: From<anyhow::Error>>(
        &self,
        change: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let _one_at_a_time = lock(&self.changing);
        let before = self.get();
        let mut after = T::clone(&before);
        let changed = change(&mut after)?;
        if after != *before {
            self.store(&after)?;
            *write(&self.present) = Arc::new(after);
        }
        Ok(changed)
    }

    fn store(&self, content: &T) -> Result<()> {
        let stored = self.disk.write_private(&self.path, &content.serialize()?);
        stored.with_context(|| format!("cannot write `{}`", self.path.display()))
    }
}

/// Without the content: it may be of secrets.
impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("path", &self.path).finish_non_exhaustive()
    }
}
