//! Compiled code on disk, by the module's hash and everything of the engine that the code depends
//! on.
//!
//! Compiled code is trusted code: the folder belongs to this user alone (mode 0700). What lies
//! there is checked for damage, not for malice. A damaged entry is passed over and written anew; a
//! folder that cannot be used costs compile time and a warning, never the start.
//!
//! Entries are mapped into memory and not read: those of interpreters have 36 MB, of which little is
//! used. They are replaced by renaming, so that the file of running code is never written to.
//!
//! A module that is edited leaves an entry behind with each change: those that were not used for longest are deleted when
//! the folder has become too large. Code that runs from a deleted file runs on.

use crate::file_stamp::FileStamp;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Layout of an entry: the code, which must begin with a page, then magic, CRC-32C of the code (u32), its length (u64);
/// little endian.
const MAGIC: &[u8; 8] = b"gmcode02";
const TRAILER_SIZE: usize = 20;
/// An entry is checked in pieces that stay in the processor's own memory.
const CHECKED_AT_ONCE: usize = 256 << 10;
/// What the folder may hold: the newest entry, and others up to here.
const DIR_BYTES_MAX: u64 = 1 << 30;
/// Hexadecimal digits of a SHA-256.
const HASH_SIZE: usize = 64;

/// The folder of compiled modules.
pub(crate) struct CompiledCache {
    dir: PathBuf,
    /// Wasmtime's version, target, CPU features and settings.
    engine_hash: u64,
    bytes_max: u64,
}

impl CompiledCache {
    /// Makes the folder if need be; `None`, with a warning, if it cannot be used safely.
    pub(crate) fn open(dir: PathBuf, engine: &wasmtime::Engine) -> Option<Self> {
        if let Err(error) = make_private_dir(&dir) {
            tracing::warn!(
                "modules are compiled anew: cannot use the folder `{}`: {error}",
                dir.display()
            );
            return None;
        }
        let mut hasher = StableHasher::default();
        (MAGIC, engine.precompile_compatibility_hash()).hash(&mut hasher);
        Some(Self { dir, engine_hash: hasher.0, bytes_max: DIR_BYTES_MAX })
    }

    /// The file of a module's code, whole and undamaged, or nothing. What stands behind the code does no harm.
    pub(crate) fn whole_entry(&self, module_hash: &str) -> Option<PathBuf> {
        let path = self.path(module_hash);
        let mut entry = File::open(&path).ok()?;
        if !is_whole(&mut entry).unwrap_or(false) {
            tracing::warn!("damaged cache entry `{}`, compiling anew", path.display());
            return None;
        }
        // When an entry was used last; on a folder that is only read, all are as old as they are.
        let _ = entry.set_modified(SystemTime::now());
        Some(path)
    }

    /// Keeps the code of a module. A failure is told and otherwise without effect.
    pub(crate) fn write(&self, module_hash: &str, code: &[u8]) {
        let path = self.path(module_hash);
        let trailer = trailer(crc32c::crc32c(code), code.len() as u64);
        if let Err(error) = replace(&path, &[code, &trailer]) {
            tracing::warn!("cannot keep the compiled module `{}`: {error}", path.display());
        }
        if let Err(error) = self.make_room(&path) {
            tracing::debug!("cannot clean the folder `{}`: {error}", self.dir.display());
        }
    }

    /// Deletes what was not used for longest, but not `newest`. Other processes may do the same.
    fn make_room(&self, newest: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            if let Ok(metadata) = file.metadata() {
                files.push((metadata.modified()?, metadata.len(), file.path()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files.iter().filter(|(_, _, path)| path != newest) {
            if bytes <= self.bytes_max {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                bytes -= size;
            }
        }
        Ok(())
    }

    /// The hash of a module's file, if it was remembered and the file has still the same stamp. What it leads to is an
    /// entry or none: a wrong one leads to none.
    pub(crate) fn known_hash(&self, file: &Path, stamp: FileStamp) -> Option<String> {
        let known = std::fs::read_to_string(self.path_of_known(file)).ok()?;
        let hash = known.strip_prefix(&format!("{stamp} "))?.trim_end();
        let is_hash = hash.len() == HASH_SIZE && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| hash.to_owned())
    }

    /// Remembers the hash of a module's file. A failure costs the next load some ms.
    pub(crate) fn remember_hash(&self, file: &Path, stamp: FileStamp, hash: &str) {
        let known = format!("{stamp} {hash}\n");
        if let Err(error) = replace(&self.path_of_known(file), &[known.as_bytes()]) {
            tracing::debug!("cannot remember the hash of `{}`: {error}", file.display());
        }
    }

    fn path_of_known(&self, file: &Path) -> PathBuf {
        let mut hasher = StableHasher::default();
        hasher.write(file.as_os_str().as_encoded_bytes());
        self.dir.join(format!("{:016x}.known", hasher.0))
    }

    fn path(&self, module_hash: &str) -> PathBuf {
        self.dir.join(format!("{module_hash}-{:016x}.cwasm", self.engine_hash))
    }
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = std::fs::metadata(dir)?;
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    // A new file is of this process's user; the superuser may meet a folder of someone else's.
    let mark = dir.join(format!(".owner-{}", std::process::id()));
    let own = std::fs::File::create(&mark).and_then(|file| file.metadata());
    let _ = std::fs::remove_file(&mark);
    if own?.uid() != metadata.uid() {
        return Err(io::Error::other("it belongs to another user"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

fn is_whole(entry: &mut File) -> io::Result<bool> {
    let Some(code_size) = entry.metadata()?.len().checked_sub(TRAILER_SIZE as u64) else {
        return Ok(false);
    };
    let mut piece = vec![0; CHECKED_AT_ONCE];
    let (mut crc, mut rest) = (0, code_size);
    while rest > 0 {
        let size = rest.min(CHECKED_AT_ONCE as u64);
        let piece = &mut piece[..size as usize];
        entry.read_exact(piece)?;
        crc = crc32c::crc32c_append(crc, piece);
        rest -= size;
    }
    let mut found = [0; TRAILER_SIZE];
    entry.read_exact(&mut found)?;
    Ok(found == trailer(crc, code_size))
}

fn trailer(crc: u32, code_size: u64) -> [u8; TRAILER_SIZE] {
    let mut trailer = [0; TRAILER_SIZE];
    trailer[..8].copy_from_slice(MAGIC);
    trailer[8..12].copy_from_slice(&crc.to_le_bytes());
    trailer[12..].copy_from_slice(&code_size.to_le_bytes());
    trailer
}

/// Writes beside the file and renames, so that no reader and no power cut sees half of it, and nobody's code changes while
/// it runs.
fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    use std::io::Write;
    let thread = std::thread::current().id();
    let beside = path.with_extension(format!("{}-{thread:?}.tmp", std::process::id()));
    let written = File::create(&beside).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_data()
    });
    let renamed = written.and_then(|()| std::fs::rename(&beside, path));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    renamed
}

/// FNV-1a, 64 bits: unlike the standard library's hasher it is the same in every version of Rust.
struct StableHasher(u64);

impl Default for StableHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cache(dir: &Path) -> CompiledCache {
        CompiledCache::open(dir.to_owned(), &wasmtime::Engine::default()).unwrap()
    }

    #[test]
    fn an_entry_is_found_again_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir.path().join("compiled"));
        assert!(cache.whole_entry("abc").is_none());
        let code = vec![7; 2 * CHECKED_AT_ONCE + 3];
        cache.write("abc", &code);
        let entry = std::fs::read(cache.whole_entry("abc").unwrap()).unwrap();
        assert_eq!(entry[..code.len()], code);
        assert_eq!(std::fs::read_dir(&cache.dir).unwrap().count(), 1);
    }

    #[test]
    fn damage_anywhere_makes_an_entry_worthless() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        cache.write("abc", b"some code");
        let path = cache.path("abc");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(cache.whole_entry("abc").is_none(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(cache.whole_entry("abc").is_none(), "cut at {at}");
        }
        std::fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert!(cache.whole_entry("abc").is_none());
    }

    /// A module that was edited a hundred times left a hundred entries behind, of 36 MB each for an interpreter.
    #[test]
    fn entries_that_were_not_used_for_longest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = cache(dir.path());
        cache.bytes_max = 400;
        let hour = |hour| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(3_600 * hour);
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            cache.write(name, &[0; 100]);
            File::open(cache.path(name)).unwrap().set_modified(hour(at as u64)).unwrap();
        }
        assert!(cache.whole_entry("a").is_some(), "used now");
        cache.write("d", &[0; 100]);
        let kept = ["a", "b", "c", "d"].map(|name| cache.path(name).exists());
        assert_eq!(kept, [true, false, true, true]);
        cache.write("e", &[0; 1_000]);
        let kept = ["a", "c", "d", "e"].map(|name| cache.path(name).exists());
        assert_eq!(kept, [false, false, false, true], "the newest stays, whatever its size");
    }

    #[test]
    fn a_hash_is_known_for_as_long_as_the_file_bears_the_same_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir.path().join("compiled"));
        let (file, other) = (dir.path().join("m.wasm"), dir.path().join("other.wasm"));
        std::fs::write(&file, "one").unwrap();
        std::fs::write(&other, "two").unwrap();
        let (stamp, of_other) = (FileStamp::of(&file).unwrap(), FileStamp::of(&other).unwrap());
        assert_eq!(cache.known_hash(&file, stamp), None);
        let hash = crate::sha256_hex(b"one");
        cache.remember_hash(&file, stamp, &hash);
        assert_eq!(cache.known_hash(&file, stamp), Some(hash));
        assert_eq!(cache.known_hash(&other, of_other), None);
        std::fs::rename(&other, &file).unwrap();
        assert_eq!(cache.known_hash(&file, FileStamp::of(&file).unwrap()), None);
    }

    #[test]
    #[cfg(unix)]
    fn the_folder_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        cache(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
