//! The file `log-checkpoint` of a partition: from where records count, and how far the files are
//! known to be good.
//!
//! Lines of text, replaced in one step ([`crate::disk::Disk`] `write_small`):
//!
//! ```text
//! version 1
//! log-start-offset 23
//! compacted-to 100
//! recovery-point 120 100 4711 9f3a11c0
//! ```
//!
//! `compacted-to`, absent while it is 0, is the offset up to which compaction has seen all records
//! (Kafka's `cleaner-offset-checkpoint`).
//!
//! The recovery point, absent until the first checkpoint, gives the base offset of the segment that
//! was active, the offset and the byte position in it up to which all was synced, and one CRC-32C
//! over its `.index`, `.timeindex` and `.txnindex` as they were written then. Recovery needs not
//! read the log below it; if the checksum differs, it reads the whole segment.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;

/// The name of the file. Kafka's own loader passes over names that it does not know.
pub(super) const FILE_NAME: &str = "log-checkpoint";
/// A checkpoint is some 100 bytes long.
const FILE_BYTES_MAX: usize = 4096;
/// The first line.
const VERSION: &str = "1";

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Records below are deleted, whether or not their bytes are still there.
    pub log_start_offset: i64,
    /// The first offset that no compaction has seen.
    pub compacted_to: i64,
    /// How far the files are good.
    pub recovery_point: Option<RecoveryPoint>,
}

/// A place in the segment that was active at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecoveryPoint {
    pub segment_base_offset: i64,
    /// The first offset not covered.
    pub offset: i64,
    /// Bytes of the segment that are covered.
    pub position: u64,
    /// Over the three index files of the segment.
    pub index_crc: u32,
}

impl Checkpoint {
    /// Where it lies.
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join(FILE_NAME)
    }

    /// Reads the file. `Ok(None)`: absent or not readable as a checkpoint, which costs time but no
    /// record.
    pub(super) fn load(disk: &dyn Disk, directory: &Path) -> io::Result<Option<Checkpoint>> {
        match disk.read_small(&Checkpoint::path(directory), FILE_BYTES_MAX) {
            Ok(bytes) => Ok(bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|text| Checkpoint::decode(&text))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file; durable on return.
    pub(super) fn store(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        disk.write_small(&Checkpoint::path(directory), self.encode().as_bytes())
    }

    fn encode(&self) -> String {
        let mut text = format!("version {VERSION}\nlog-start-offset {}\n", self.log_start_offset);
        if self.compacted_to > 0 {
            text += &format!("compacted-to {}\n", self.compacted_to);
        }
        if let Some(point) = &self.recovery_point {
            let RecoveryPoint { segment_base_offset, offset, position, index_crc } = point;
            text += &format!(
                "recovery-point {segment_base_offset} {offset} {position} {index_crc:08x}\n"
            );
        }
        text
    }

    fn decode(text: &str) -> Option<Checkpoint> {
        let mut checkpoint = Checkpoint::default();
        let mut lines = text.lines();
        if lines.next()?.strip_prefix("version ")? != VERSION {
            return None;
        }
        for line in lines {
            let mut words = line.split(' ');
            match words.next()? {
                "log-start-offset" => {
                    checkpoint.log_start_offset = words.next()?.parse().ok().filter(|n| *n >= 0)?;
                }
                "compacted-to" => {
                    checkpoint.compacted_to = words.next()?.parse().ok().filter(|n| *n >= 0)?;
                }
                "recovery-point" => {
                    checkpoint.recovery_point = Some(RecoveryPoint {
                        segment_base_offset: words.next()?.parse().ok()?,
                        offset: words.next()?.parse().ok()?,
                        position: words.next()?.parse().ok()?,
                        index_crc: u32::from_str_radix(words.next()?, 16).ok()?,
                    });
                }
                _ => return None,
            }
        }
        Some(checkpoint)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_nonsense_does_not() {
        let recovery_point = RecoveryPoint {
            segment_base_offset: 100,
            offset: 120,
            position: 4711,
            index_crc: 0x00ab_cdef,
        };
        let recovery_point = Some(recovery_point);
        let full = Checkpoint { log_start_offset: 23, compacted_to: 42, recovery_point };
        assert_eq!(Checkpoint::decode(&full.encode()), Some(full));
        let bare = Checkpoint::default();
        assert_eq!(Checkpoint::decode(&bare.encode()), Some(bare));
        for text in ["", "version 2\n", "version 1\nlog-start-offset -1\n", "version 1\nx\n"] {
            assert_eq!(Checkpoint::decode(text), None, "{text:?}");
        }
    }
}
