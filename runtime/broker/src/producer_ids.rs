//! Hands out producer ids, each once in the life of a data folder.
//!
//! Ids are taken from blocks; `producer-ids.json` holds the first id after the present block and is
//! replaced before an id of the block goes out. A restart begins a new block: ids are skipped,
//! never
//! given twice.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::lock::lock;

const FILE: &str = "producer-ids.json";
/// Ids per block, as in Kafka.
const BLOCK: i64 = 1000;
const FILE_BYTES_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct ProducerIds {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    range: Mutex<Range>,
}

#[derive(Debug)]
struct Range {
    next: i64,
    end: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Reserved {
    /// No id from this one on has been given out.
    next_block: i64,
}

impl ProducerIds {
    pub(crate) fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<ProducerIds> {
        let path = data_dir.join(FILE);
        let content = disk.read_small(&path, FILE_BYTES_MAX);
        let content = content.with_context(|| format!("cannot read `{}`", path.display()))?;
        let next = match content {
            None => 0,
            Some(content) => {
                let reserved: Reserved = serde_json::from_slice(&content).with_context(|| {
                    format!("`{}` is damaged; restore it from a copy", path.display())
                })?;
                reserved.next_block.max(0)
            }
        };
        Ok(ProducerIds { disk, path, range: Mutex::new(Range { next, end: next }) })
    }

    /// A producer id that nobody has. Blocks for a write once in a thousand calls.
    pub(crate) fn next(&self) -> Result<i64> {
        let mut range = lock(&self.range);
        if range.next == range.end {
            let end = range.end.checked_add(BLOCK).context("no producer ids are left")?;
            let content = serde_json::to_vec(&Reserved { next_block: end })?;
            let written = self.disk.write_small(&self.path, &content);
            written.with_context(|| format!("cannot write `{}`", self.path.display()))?;
            range.end = end;
        }
        range.next += 1;
        Ok(range.next - 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn no_id_is_given_twice_even_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let ids = ProducerIds::open(Arc::new(OsDisk), folder.path()).unwrap();
            for _ in 0..1500 {
                assert!(seen.insert(ids.next().unwrap()));
            }
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        disk.write_small(&folder.path().join(FILE), b"{").unwrap();
        let error = ProducerIds::open(disk, folder.path()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
