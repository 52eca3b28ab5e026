//! The seam to the file system: every file access of the broker goes through [`Disk`].
//!
//! It says what each call promises after a power cut, so that a test double can keep exactly that
//! promise and nothing more. All calls block; callers on an async task keep them short or move them
//! off the task.
//!
//! Not covered: locking of the data folder, and memory maps (a truncated map kills the process with
//! SIGBUS; positional reads are quick enough).

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod faults;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// At most this many slices go into one `pwritev` call (IOV_MAX of Linux is 1024).
const SLICES_PER_WRITE_MAX: usize = 1024;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenHow {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A file for reading and writing that is created when absent and emptied when not.
    CreateEmpty,
    /// As `CreateEmpty`, and nobody but its owner may read it.
    CreatePrivate,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bare name. Names that are not UTF-8 are left out of a listing: the broker never makes
    /// one.
    pub name: String,
    /// True for a folder.
    pub is_directory: bool,
}

/// A file system. Errors are the operating system's own (`ENOSPC` →
/// [`io::ErrorKind::StorageFull`]).
pub trait Disk: Send + Sync + Debug {
    /// Opens a file. A created name is durable only after [`Disk::sync_directory`] of its folder.
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives `from` the name `to`, replacing a file there, in one step. Durable after
    /// `sync_directory`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Files open at the time can still be read. Durable after `sync_directory`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder and its parents; an existing one is no error.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// What a folder holds, in the order of the names.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Makes the names in a folder durable: creations, renames and removals so far.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Milliseconds since 1970 of the last change to a file's content.
    fn modified_ms(&self, path: &Path) -> io::Result<i64>;
}

/// One open file. Reads and writes name their position and may run in parallel.
pub trait DiskFile: Send + Sync + Debug {
    /// Appends to `into` what stands at `position`, at most `len_max` bytes and fewer only at the
    /// end of the file. Returns the number of bytes read.
    fn read_at(&self, position: u64, len_max: usize, into: &mut Vec<u8>) -> io::Result<usize>;
    /// Writes all of `slices`, one after the other, from `position` on. After an error any part may
    /// be written.
    fn write_at(&self, position: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Returns when all written so far, and the length, are on the medium (`fdatasync`). After an
    /// error the unsynced part is undefined and calling again proves nothing: the kernel may have
    /// dropped the dirty pages.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the file holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl dyn Disk + '_ {
    /// The whole content of a small file. `Ok(None)`: no such file. Longer than `len_max`: an
    /// error, before any allocation of that size.
    pub fn read_small(&self, path: &Path, len_max: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(path, OpenHow::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        if len > len_max as u64 {
            let text =
                format!("{} is {len} bytes long, at most {len_max} expected", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut content = Vec::new();
        file.read_at(0, len as usize, &mut content)?;
        Ok(Some(content))
    }

    /// Replaces a small file so that a power cut leaves the old content or the new, never a
    /// mixture: write beside it, sync, rename, sync the folder.
    pub fn write_small(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.replace(path, content, OpenHow::CreateEmpty)
    }

    /// As [`write_small`](Self::write_small), for content that nobody but the owner of the folder
    /// may read.
    pub fn write_private(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.replace(path, content, OpenHow::CreatePrivate)
    }

    fn replace(&self, path: &Path, content: &[u8], how: OpenHow) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let beside = Path::new(&beside);
        let file = self.open(beside, how)?;
        file.write_at(0, &mut [IoSlice::new(content)])?;
        file.sync_data()?;
        self.rename(beside, path)?;
        match path.parent() {
            Some(folder) => self.sync_directory(folder),
            None => Ok(()),
        }
    }
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

// The one place of the broker that may call std::fs.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
mod os {
    use super::*;
    use std::fs::{self, File, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt;
    use std::time::UNIX_EPOCH;

    impl Disk for OsDisk {
        fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
            let mut options = OpenOptions::new();
            options.read(true);
            match how {
                OpenHow::Read => {}
                OpenHow::ReadWrite => {
                    options.write(true);
                }
                OpenHow::CreateEmpty => {
                    options.write(true).create(true).truncate(true);
                }
                OpenHow::CreatePrivate => {
                    options.write(true).create(true).truncate(true).mode(0o600);
                }
            }
            Ok(Arc::new(OsFile(options.open(path)?)))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            fs::rename(from, to)
        }

        fn remove_file(&self, path: &Path) -> io::Result<()> {
            fs::remove_file(path)
        }

        fn remove_directory(&self, path: &Path) -> io::Result<()> {
            fs::remove_dir_all(path)
        }

        fn create_directory(&self, path: &Path) -> io::Result<()> {
            fs::create_dir_all(path)
        }

        fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().into_string() {
                    entries.push(Entry { name, is_directory: entry.file_type()?.is_dir() });
                }
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }

        fn sync_directory(&self, path: &Path) -> io::Result<()> {
            File::open(path)?.sync_all()
        }

        fn modified_ms(&self, path: &Path) -> io::Result<i64> {
            let modified = fs::metadata(path)?.modified()?;
            let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
        }
    }

    #[derive(Debug)]
    struct OsFile(File);

    impl DiskFile for OsFile {
        fn read_at(&self, position: u64, len_max: usize, into: &mut Vec<u8>) -> io::Result<usize> {
            let start = into.len();
            into.reserve_exact(len_max);
            while into.len() - start < len_max {
                let done = into.len() - start;
                let read = read_once(&self.0, position + done as u64, len_max - done, into)?;
                if read == 0 {
                    break;
                }
            }
            Ok(into.len() - start)
        }

        fn write_at(&self, position: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
            let (mut position, mut rest) = (position, slices);
            IoSlice::advance_slices(&mut rest, 0); // drops empty slices in front
            while !rest.is_empty() {
                let now = &rest[..rest.len().min(SLICES_PER_WRITE_MAX)];
                let written = match rustix::io::pwritev(&self.0, now, position) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(errno) => return Err(errno.into()),
                };
                position += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync_data()
        }

        fn truncate(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.0.metadata()?.len())
        }
    }

    /// One `pread` into the spare room of `into`, which spares filling it with zeros first. The
    /// room may be larger than asked for: what was read beyond `len` is dropped again.
    fn read_once(file: &File, position: u64, len: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let start = into.len();
        loop {
            match rustix::io::pread(file, rustix::buffer::spare_capacity(into), position) {
                Ok(read) => {
                    into.truncate(start + len);
                    return Ok(read.min(len));
                }
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
