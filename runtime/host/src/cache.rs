//! Compiled code on disk, by the module's hash and everything of the engine that the code depends
//! on.
//!
//! Compiled code is trusted code: the folder belongs to this user alone (mode 0700). What lies
//! there is checked for damage, not for malice. A damaged entry is passed over and written anew; a
//! folder that cannot be used costs compile time and a warning, never the start.

use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Layout of an entry: magic, CRC-32C of the code (u32), its length (u64), the code; little endian.
const MAGIC: &[u8; 8] = b"gmcode01";
const HEADER_SIZE: usize = 20;

/// The folder of compiled modules.
pub(crate) struct CompiledCache {
    dir: PathBuf,
    /// Wasmtime's version, target, CPU features and settings.
    engine_hash: u64,
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
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Some(Self { dir, engine_hash: hasher.0 })
    }

    /// The code of a module, whole and undamaged, or nothing.
    pub(crate) fn read(&self, module_hash: &str) -> Option<Vec<u8>> {
        let path = self.path(module_hash);
        let mut entry = std::fs::read(&path).ok()?;
        if !is_whole(&entry) {
            tracing::warn!("damaged cache entry `{}`, compiling anew", path.display());
            return None;
        }
        Some(entry.split_off(HEADER_SIZE))
    }

    /// Keeps the code of a module. A failure is told and otherwise without effect.
    pub(crate) fn write(&self, module_hash: &str, code: &[u8]) {
        let path = self.path(module_hash);
        if let Err(error) = replace(&path, code) {
            tracing::warn!("cannot keep the compiled module `{}`: {error}", path.display());
        }
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

fn is_whole(entry: &[u8]) -> bool {
    let Some((head, code)) = entry.split_at_checked(HEADER_SIZE) else {
        return false;
    };
    head == header(code)
}

fn header(code: &[u8]) -> [u8; HEADER_SIZE] {
    let mut head = [0; HEADER_SIZE];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&crc32c::crc32c(code).to_le_bytes());
    head[12..].copy_from_slice(&(code.len() as u64).to_le_bytes());
    head
}

/// Writes beside the entry and renames, so that no reader and no power cut sees half of it.
fn replace(path: &Path, code: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let thread = std::thread::current().id();
    let beside = path.with_extension(format!("{}-{thread:?}.tmp", std::process::id()));
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(&header(code))?;
        file.write_all(code)?;
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
    fn an_entry_is_read_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir.path().join("compiled"));
        assert_eq!(cache.read("abc"), None);
        cache.write("abc", b"code");
        assert_eq!(cache.read("abc").unwrap(), b"code");
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
            assert_eq!(cache.read("abc"), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(cache.read("abc"), None, "cut at {at}");
        }
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
