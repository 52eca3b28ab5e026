//! Whether a file may have changed, told without reading it.

use std::fmt;
use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Times of files are coarse: two changes in a row may bear the same one.
const RECENT: Duration = Duration::from_secs(2);

/// Device, number, size and the time of the last change of anything: a file that was put in place of another differs in
/// one of them, also where its own time was set back. Of a link: its target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    number: u64,
    size: u64,
    changed_ns: i128,
}

impl FileStamp {
    /// `None`: there is no such file, or it cannot be looked at.
    pub fn of(path: &Path) -> Option<FileStamp> {
        std::fs::metadata(path).ok().map(|metadata| stamp(&metadata))
    }

    /// A file that changed as lately as this may change once more and bear the same stamp: read it again with the next
    /// look.
    pub fn is_recent(self) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.changed_ns + RECENT.as_nanos() as i128 > since.as_nanos() as i128
    }

    /// Which file it is, whatever its content.
    pub fn identity(self) -> (u64, u64) {
        (self.device, self.number)
    }

    /// Bytes of the file.
    pub fn size(self) -> u64 {
        self.size
    }
}

impl fmt::Display for FileStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileStamp { device, number, size, changed_ns } = self;
        write!(f, "{device} {number} {size} {changed_ns}")
    }
}

#[cfg(unix)]
fn stamp(metadata: &Metadata) -> FileStamp {
    use std::os::unix::fs::MetadataExt;
    let changed_ns =
        i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    FileStamp { device: metadata.dev(), number: metadata.ino(), size: metadata.size(), changed_ns }
}

#[cfg(not(unix))]
fn stamp(metadata: &Metadata) -> FileStamp {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let changed_ns = since.map_or(0, |since| since.as_nanos() as i128);
    FileStamp { device: 0, number: 0, size: metadata.len(), changed_ns }
}
