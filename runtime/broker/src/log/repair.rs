//! What opening a log found and did, for the start-up message and for operators.

use std::fmt;
use std::path::PathBuf;

use super::record_batch::Malformed;

/// One thing that was not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The end of the last segment was no whole batch: an append that was cut short. Nothing synced
    /// is lost.
    TornTail { path: PathBuf, position: u64, bytes_dropped: u64, why: Malformed },
    /// A batch of the last segment is damaged and whole ones lie behind it. All from `position` on
    /// was put aside.
    TailPutAside { path: PathBuf, position: u64, bytes: u64, aside: PathBuf, why: Malformed },
    /// A batch of an older segment is damaged. It stays where it is.
    Damaged { path: PathBuf, position: u64, why: Malformed },
    /// An index was missing, or did not fit its log, and was made again.
    IndexRebuilt { path: PathBuf },
    /// A snapshot of the producers was damaged; an older one and the records took its place.
    SnapshotIgnored { path: PathBuf },
    /// The checkpoint was damaged: all of the last segment was read, and records deleted by
    /// DeleteRecords may show again.
    CheckpointIgnored { path: PathBuf },
    /// A compaction was cut short when its new segments counted already; their files have their
    /// names now.
    CompactionFinished { path: PathBuf },
    /// An unfinished or orphaned file was removed.
    Removed { path: PathBuf },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repair::TornTail { path, position, bytes_dropped, why } => write!(
                f,
                "`{}`: cut an unfinished append of {bytes_dropped} bytes at byte {position} ({why})",
                path.display()
            ),
            Repair::TailPutAside { path, position, bytes, aside, why } => write!(
                f,
                "`{}`: damaged at byte {position} ({why}); {bytes} bytes from there on were put aside \
                 as `{}`",
                path.display(),
                aside.display()
            ),
            Repair::Damaged { path, position, why } => {
                write!(f, "`{}`: damaged at byte {position} ({why}), left as it is", path.display())
            }
            Repair::IndexRebuilt { path } => write!(f, "`{}`: index made again", path.display()),
            Repair::SnapshotIgnored { path } => {
                write!(f, "`{}`: damaged, producers taken from the records", path.display())
            }
            Repair::CheckpointIgnored { path } => write!(
                f,
                "`{}`: damaged, the last segment was read whole; the log starts at its first segment",
                path.display()
            ),
            Repair::CompactionFinished { path } => {
                write!(f, "`{}`: finished a compaction that was cut short", path.display())
            }
            Repair::Removed { path } => write!(f, "`{}`: left over, removed", path.display()),
        }
    }
}

/// What opening a log took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Empty when everything was in order.
    pub repairs: Vec<Repair>,
    /// Bytes of records that were read and checked, besides a look at the ends of the segments.
    pub bytes_scanned: u64,
}
