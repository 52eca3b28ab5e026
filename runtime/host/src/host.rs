//! One host per process: the compiler and its settings, the clock of deadlines, the cache of
//! compiled code, and what a sandbox is granted.

use crate::cache::CompiledCache;
use crate::error::{HostError, LoadError};
use crate::file_stamp::FileStamp;
use crate::module::{Code, Module};
use crate::sandbox::Sandbox;
use crate::{Grant, wasi, wasi_interfaces};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Step of the epoch, and with it the resolution of every time limit.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Largest module file. A Python component has 18 MB; this is there to stop a wrong file early.
const MODULE_BYTES_MAX: usize = 256 << 20;

/// Settings of the process, as opposed to [`crate::Limits`] of one stage.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Folder for compiled modules, made with mode 0700. `None`: compile in every process anew.
    pub cache_dir: Option<PathBuf>,
    /// Stack of a guest, in bytes; it lies on the stack of the calling thread. Default 512 KiB.
    /// Wasmtime knows no limit per instance, so that it holds for all stages.
    pub stack_bytes_max: usize,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self { cache_dir: None, stack_bytes_max: 512 << 10 }
    }
}

/// Loads modules and runs their deadlines. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    shared: Arc<HostShared>,
}

pub(crate) struct HostShared {
    pub engine: wasmtime::Engine,
    pub linker: wasmtime::Linker<Sandbox>,
    pub component_linker: wasmtime::component::Linker<Sandbox>,
    pub clock: Clock,
    pub cache: Option<CompiledCache>,
    /// Code in use, by the module's hash: stages of the same module share it.
    loaded: Mutex<HashMap<String, Weak<Code>>>,
    /// Ends the ticker when the host goes.
    _ticker: mpsc::Sender<()>,
}

impl Host {
    /// Starts the ticker thread, which ends with the host.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let engine =
            wasmtime::Engine::new(&engine_config(config.stack_bytes_max)).map_err(|error| {
                HostError(format!("cannot set up the WebAssembly engine: {error:#}"))
            })?;
        let mut linker = wasmtime::Linker::new(&engine);
        wasi::grant_stubs(&mut linker)
            .map_err(|error| HostError(format!("cannot define the WASI stubs: {error:#}")))?;
        let mut component_linker = wasmtime::component::Linker::new(&engine);
        wasi_interfaces::define(&mut component_linker)
            .map_err(|error| HostError(format!("cannot define WASI's interfaces: {error:#}")))?;
        let clock = Clock::default();
        let ticker = start_ticker(engine.weak(), clock.clone())?;
        let cache = config.cache_dir.and_then(|dir| CompiledCache::open(dir, &engine));
        let shared = HostShared {
            engine,
            linker,
            component_linker,
            clock,
            cache,
            loaded: Mutex::default(),
            _ticker: ticker,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes a module of a file's bytes: checked, compiled or taken from the cache. `name` is for
    /// messages and log lines. Compiling takes 0.1 s for a small module, 8 s for an interpreter:
    /// not for a thread that moves records.
    pub fn load(&self, name: &str, bytes: &[u8]) -> Result<Module, LoadError> {
        self.load_with(name, bytes, Grant::default())
    }

    /// [`Host::load`], for a stage that sees more of the outside world than nothing.
    pub fn load_with(&self, name: &str, bytes: &[u8], grant: Grant) -> Result<Module, LoadError> {
        check_kind(bytes)?;
        let hash = sha256_hex(bytes);
        let code = match self.in_use(&hash) {
            Some(code) => code,
            None => self.use_code(&hash, Code::load(&self.shared, &hash, bytes)?),
        };
        code.check_grants(&self.shared, &grant)?;
        Ok(Module::new(name, hash, bytes.len(), code, grant))
    }

    /// [`Host::load_with`] of a file. If it has not changed since it was loaded before, it is neither read nor hashed,
    /// as long as its code is in the cache: that takes some ms for an interpreter too.
    pub fn load_file(&self, path: &Path, grant: Grant) -> Result<Module, LoadError> {
        let name = path.display().to_string();
        let stamp = FileStamp::of(path).filter(|stamp| !stamp.is_recent());
        if let Some(stamp) = stamp
            && let Some((hash, code)) = self.known_code(path, stamp)
        {
            code.check_grants(&self.shared, &grant)?;
            return Ok(Module::new(&name, hash, stamp.size() as usize, code, grant));
        }
        let bytes = std::fs::read(path).map_err(|error| LoadError::Unreadable {
            path: name.clone(),
            error: error.to_string(),
        })?;
        let module = self.load_with(&name, &bytes, grant)?;
        if let (Some(cache), Some(stamp)) = (&self.shared.cache, stamp)
            && FileStamp::of(path) == Some(stamp)
        {
            cache.remember_hash(path, stamp, module.hash());
        }
        Ok(module)
    }

    /// The hash and the code of a file that was loaded before.
    fn known_code(&self, path: &Path, stamp: FileStamp) -> Option<(String, Arc<Code>)> {
        let hash = self.shared.cache.as_ref()?.known_hash(path, stamp)?;
        let code = match self.in_use(&hash) {
            Some(code) => code,
            None => self.use_code(&hash, Code::cached(&self.shared, &hash)?),
        };
        Some((hash, code))
    }

    fn in_use(&self, hash: &str) -> Option<Arc<Code>> {
        self.loaded().get(hash).and_then(Weak::upgrade)
    }

    fn use_code(&self, hash: &str, code: Code) -> Arc<Code> {
        let code = Arc::new(code);
        let mut loaded = self.loaded();
        loaded.retain(|_, code| code.strong_count() > 0);
        loaded.insert(hash.to_owned(), Arc::downgrade(&code));
        code
    }

    pub(crate) fn shared(&self) -> &Arc<HostShared> {
        &self.shared
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Code>>> {
        // The map is valid after any panic: it is only a cache.
        self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Epochs rather than fuel: fuel cost 39-51 % and epochs 12-25 % on the stages measured, and a
/// limit in seconds is what users can set.
fn engine_config(stack_bytes_max: usize) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(stack_bytes_max);
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    // What compilers of languages with a garbage collector make, such as Kotlin's. Their heap counts as memory.
    config.wasm_gc(true);
    config.wasm_function_references(true);
    config.wasm_exceptions(true);
    // A replay on another machine gives the same rows.
    config.relaxed_simd_deterministic(true);
    config
}

pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: bytes.len(), bytes_max: MODULE_BYTES_MAX });
    }
    if bytes.starts_with(b"\0asm") {
        return Ok(());
    }
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"(module") || start.starts_with(b"(component") || start.starts_with(b";;")
    {
        return Err(LoadError::Text);
    }
    Err(LoadError::NotWasm)
}

/// SHA-256 in hexadecimal: how modules are named.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    use std::fmt::Write;
    sha2::Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Time in ticks since the host began; the same steps as the epoch of the engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Ticks that a duration takes, at least one.
    pub(crate) fn ticks(duration: Duration) -> u64 {
        let ticks = duration.as_millis().div_ceil(TICK.as_millis());
        u64::try_from(ticks).unwrap_or(u64::MAX / 2).clamp(1, u64::MAX / 2)
    }
}

fn start_ticker(engine: wasmtime::EngineWeak, clock: Clock) -> Result<mpsc::Sender<()>, HostError> {
    let (host_lives, ticker) = mpsc::channel::<()>();
    let tick = move || {
        while ticker.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let Some(engine) = engine.upgrade() else { return };
            clock.0.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
        }
    };
    std::thread::Builder::new()
        .name("stage-ticker".to_owned())
        .spawn(tick)
        .map_err(|error| HostError(format!("cannot start the ticker thread: {error}")))?;
    Ok(host_lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_up_to_whole_ticks() {
        assert_eq!(Clock::ticks(Duration::ZERO), 1);
        assert_eq!(Clock::ticks(Duration::from_millis(11)), 2);
        assert_eq!(Clock::ticks(Duration::MAX), u64::MAX / 2);
    }

    #[test]
    fn what_is_not_a_module_is_told_apart() {
        assert_eq!(check_kind(b"(module)"), Err(LoadError::Text));
        assert_eq!(check_kind(b"\n ;; text"), Err(LoadError::Text));
        assert_eq!(check_kind(b"#!/bin/sh"), Err(LoadError::NotWasm));
        assert_eq!(check_kind(b""), Err(LoadError::NotWasm));
        assert_eq!(check_kind(b"\0asm\x01\0\0\0"), Ok(()));
    }
}
