//! One host per process: the compiler and its settings, the clock of deadlines, the cache of
//! compiled code, and what a sandbox is granted.

use crate::cache::CompiledCache;
use crate::error::{HostError, LoadError};
use crate::module::{Code, Module};
use crate::sandbox::Sandbox;
use crate::wasi;
use std::collections::HashMap;
use std::path::PathBuf;
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
    cache: Option<CompiledCache>,
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
        let clock = Clock::default();
        let ticker = start_ticker(engine.weak(), clock.clone())?;
        let cache = config.cache_dir.and_then(|dir| CompiledCache::open(dir, &engine));
        let shared = HostShared {
            component_linker: wasmtime::component::Linker::new(&engine),
            engine,
            linker,
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
        check_kind(bytes)?;
        let hash = hex_sha256(bytes);
        if let Some(code) = self.loaded().get(&hash).and_then(Weak::upgrade) {
            return Ok(Module::new(name, hash, bytes.len(), code));
        }
        let code = Arc::new(Code::load(&self.shared, self.shared.cache.as_ref(), &hash, bytes)?);
        let mut loaded = self.loaded();
        loaded.retain(|_, code| code.strong_count() > 0);
        loaded.insert(hash.clone(), Arc::downgrade(&code));
        drop(loaded);
        Ok(Module::new(name, hash, bytes.len(), code))
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
    // A replay on another machine gives the same rows.
    config.relaxed_simd_deterministic(true);
    config
}

fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
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

fn hex_sha256(bytes: &[u8]) -> String {
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
