//! A disk in memory that knows live bytes from durable ones and fails on demand.
//!
//! What a program reads is the live state. [`FaultDisk::power_cut`] makes a disk as it may be found
//! after a power cut: what was synced is there, and of the rest whatever the dice say, sector by
//! sector. A failed sync loses its bytes for good though reads still show them, as Linux does it.

#![allow(clippy::unwrap_used)]
#![cfg_attr(not(test), allow(dead_code))] // the fuzz targets need a part of it

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, Entry, OpenHow};

/// What a disk writes in one go.
const SECTOR_BYTES: usize = 512;

/// A small generator (xorshift64*), so that a seed replays a run.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes from here on were lost by a failed sync.
    lost_from: Option<usize>,
}

type File = Arc<Mutex<Content>>;

/// A change of a name, not durable yet.
#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, File),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, File>,
    durable_names: BTreeMap<PathBuf, File>,
    changes: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    faults: Faults,
}

/// What goes wrong, and when.
#[derive(Debug, Default)]
struct Faults {
    /// Writes that still succeed.
    writes_left: Option<usize>,
    /// Syncs of files that still succeed; the one after fails, later ones claim to succeed.
    syncs_left: Option<usize>,
    /// Bytes that still fit.
    bytes_left: Option<usize>,
    /// Changes of any kind that still succeed; all later ones fail and change nothing.
    changes_left: Option<usize>,
    syncs: usize,
    writes: usize,
    changes: usize,
}

impl Faults {
    /// Counts a change, or refuses it.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => return Err(io::Error::other("the disk is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.changes += 1;
        Ok(())
    }
}

/// See the module. Clones share the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The write after `count` more fails halfway with EIO, and so do all later ones.
    pub(crate) fn fail_writes_after(&self, count: usize) {
        self.state().faults.writes_left = Some(count);
    }

    /// The sync after `count` more fails and its bytes are lost; later ones claim success.
    pub(crate) fn fail_sync_after(&self, count: usize) {
        self.state().faults.syncs_left = Some(count);
    }

    /// After `count` more changes (writes, syncs, creations, renames, removals) the disk stands
    /// still: what lies on it is what a kill at that moment leaves.
    pub(crate) fn stand_still_after(&self, count: usize) {
        self.state().faults.changes_left = Some(count);
    }

    /// Changes of any kind so far.
    pub(crate) fn change_count(&self) -> usize {
        self.state().faults.changes
    }

    /// Only `bytes` more fit on the disk.
    pub(crate) fn fill_up_to(&self, bytes: usize) {
        self.state().faults.bytes_left = Some(bytes);
    }

    /// Syncs of files so far.
    pub(crate) fn sync_count(&self) -> usize {
        self.state().faults.syncs
    }

    /// Write calls so far.
    pub(crate) fn write_count(&self) -> usize {
        self.state().faults.writes
    }

    /// The bytes of a file.
    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        self.state().names[path].lock().unwrap().live.clone()
    }

    /// Replaces a file behind the program's back, durably.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let content = Content { live: bytes.clone(), durable: bytes, lost_from: None };
        let file = Arc::new(Mutex::new(content));
        let mut state = self.state();
        state.durable_names.insert(path.to_owned(), Arc::clone(&file));
        state.names.insert(path.to_owned(), file);
    }

    /// A copy with the live state, as after a crash of the process alone. Faults are mended.
    pub(crate) fn copy(&self) -> FaultDisk {
        self.after(|content| content.live.clone(), |state| state.names.clone())
    }

    /// The disk as found after a power cut now. `dice` None: nothing but what was synced survives.
    pub(crate) fn power_cut(&self, dice: Option<&mut Dice>) -> FaultDisk {
        let Some(dice) = dice else {
            return self
                .after(|content| content.durable.clone(), |state| state.durable_names.clone());
        };
        let mut name_dice = dice.clone();
        self.after(
            |content| surviving_bytes(content, dice),
            |state| {
                let survive = name_dice.below(state.changes.len() + 1);
                let mut names = state.durable_names.clone();
                state.changes[..survive].iter().for_each(|change| change.apply(&mut names));
                names
            },
        )
    }

    fn after(
        &self,
        mut bytes: impl FnMut(&Content) -> Vec<u8>,
        names: impl FnOnce(&State) -> BTreeMap<PathBuf, File>,
    ) -> FaultDisk {
        let state = self.state();
        let found = FaultDisk::default();
        for (path, file) in names(&state) {
            let bytes = bytes(&file.lock().unwrap());
            found.put(&path, bytes);
        }
        // Where a file is there is its folder, also if the folder has another name by now.
        let of_files = found
            .state()
            .names
            .keys()
            .filter_map(|path| path.parent())
            .map(Path::to_owned)
            .collect::<BTreeSet<_>>();
        found.state().directories = state.directories.union(&of_files).cloned().collect();
        found
    }
}

/// Durable bytes, and of the others a random choice of sectors up to a random length; what did not
/// survive reads as zero.
fn surviving_bytes(content: &Content, dice: &mut Dice) -> Vec<u8> {
    let (live, durable) = (&content.live, &content.durable);
    if live.len() <= durable.len() {
        return if dice.below(2) == 0 { live.clone() } else { durable.clone() };
    }
    let reach = content.lost_from.unwrap_or(live.len()).max(durable.len()).min(live.len());
    let len = durable.len() + dice.below(reach - durable.len() + 1);
    let mut bytes = durable.clone();
    bytes.resize(len, 0);
    let all = dice.below(3) == 0;
    for start in (0..len).step_by(SECTOR_BYTES) {
        let from = start.max(durable.len());
        let to = (start + SECTOR_BYTES).min(len);
        if from < to && (all || dice.below(2) == 0) {
            bytes[from..to].copy_from_slice(&live[from..to]);
        }
    }
    bytes
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, File>) {
        match self {
            NameChange::Link(path, file) => {
                names.insert(path.clone(), Arc::clone(file));
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to) => rename_in(names, from, to),
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(path, _) => {
                path.parent()
            }
        }
    }
}

/// Renames a file, or a folder with all in it.
fn rename_in(names: &mut BTreeMap<PathBuf, File>, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = names.keys().filter(|p| p.starts_with(from)).cloned().collect();
    for path in moved {
        if let (Some(file), Ok(rest)) = (names.remove(&path), path.strip_prefix(from)) {
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            names.insert(target, file);
        }
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if how == OpenHow::CreateEmpty {
            state.faults.change()?;
        }
        let file = match (state.names.get(path), how) {
            (Some(file), OpenHow::CreateEmpty | OpenHow::CreatePrivate) => {
                file.lock().unwrap().live.clear();
                Arc::clone(file)
            }
            (Some(file), _) => Arc::clone(file),
            (None, OpenHow::CreateEmpty | OpenHow::CreatePrivate) => {
                let file = File::default();
                state.names.insert(path.to_owned(), Arc::clone(&file));
                state.changes.push(NameChange::Link(path.to_owned(), Arc::clone(&file)));
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(FaultFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.keys().any(|name| name.starts_with(from))
            && !state.directories.contains(from)
        {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.faults.change()?;
        rename_in(&mut state.names, from, to);
        if state.directories.remove(from) {
            state.directories.insert(to.to_owned());
        }
        state.changes.push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.faults.change()?;
        state.names.remove(path);
        state.changes.push(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.faults.change()?;
        state.directories.remove(path);
        state.names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.change()?;
        state.directories.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        if !state.directories.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = |path: &PathBuf, is_directory| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            Entry { name, is_directory }
        };
        let inside = |name: &&PathBuf| name.parent() == Some(path);
        let files = state.names.keys().filter(inside).map(|name| entry(name, false));
        let folders = state.directories.iter().filter(inside).map(|name| entry(name, true));
        Ok(files.chain(folders).collect())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let state = &mut *state;
        state.faults.change()?;
        let (synced, rest): (Vec<_>, Vec<_>) =
            state.changes.drain(..).partition(|change| change.folder() == Some(path));
        synced.iter().for_each(|change| change.apply(&mut state.durable_names));
        state.changes = rest;
        Ok(())
    }

    fn modified_ms(&self, _path: &Path) -> io::Result<i64> {
        Ok(0)
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    file: File,
}

impl DiskFile for FaultFile {
    fn read_at(&self, position: u64, len_max: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let content = self.file.lock().unwrap();
        let start = (position as usize).min(content.live.len());
        let end = (start + len_max).min(content.live.len());
        into.extend_from_slice(&content.live[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, position: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut state = self.disk.state();
        state.faults.change()?;
        state.faults.writes += 1;
        let mut content = self.file.lock().unwrap();
        let position = position as usize;
        let grown = (position + bytes.len()).saturating_sub(content.live.len());
        let mut allowed = bytes.len();
        let mut error = None;
        if let Some(left) = &mut state.faults.writes_left {
            if *left == 0 {
                (allowed, error) = (bytes.len() / 2, Some(io::Error::other("EIO")));
            }
            *left = left.saturating_sub(1);
        }
        if let Some(left) = &mut state.faults.bytes_left {
            if grown > *left {
                (allowed, error) = (*left, Some(io::ErrorKind::StorageFull.into()));
            }
            *left = left.saturating_sub(grown);
        }
        let end = position + allowed;
        if content.live.len() < end {
            content.live.resize(end, 0);
        }
        content.live[position..end].copy_from_slice(&bytes[..allowed]);
        error.map_or(Ok(()), Err)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.faults.change()?;
        state.faults.syncs += 1;
        let mut content = self.file.lock().unwrap();
        match &mut state.faults.syncs_left {
            Some(0) => {
                state.faults.syncs_left = Some(usize::MAX);
                let durable_len = content.durable.len();
                content.lost_from = Some(durable_len.min(content.live.len()));
                return Err(io::Error::other("EIO"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let reach = content.lost_from.unwrap_or(usize::MAX).min(content.live.len());
        content.durable = content.live[..reach].to_vec();
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.state().faults.change()?;
        let mut content = self.file.lock().unwrap();
        content.live.resize(len as usize, 0);
        if content.lost_from.is_some_and(|lost_from| lost_from as u64 >= len) {
            content.lost_from = None;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().live.len() as u64)
    }
}
