//! The interfaces of WASI 0.2 that a component may be granted: environment, clocks, random numbers.
//!
//! Each is defined for every component; [`needed_grant`] says which grant one takes, and `module`
//! refuses a component that has not got it. Names and signatures: the WIT packages wasi:cli,
//! wasi:clocks and wasi:random, 0.2.

use crate::Grant;
use crate::sandbox::Sandbox;
use wasmtime::component::{Linker, LinkerInstance, Val};
use wasmtime::{Result, StoreContextMut};

/// The oldest version; Wasmtime gives it to whoever asks for a later one of 0.2.
const VERSION: &str = "0.2.0";
/// Random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The grant that an import takes: its name under `[stage.grant]`. None: nobody gets it.
pub(crate) fn needed_grant(import: &str) -> Option<&'static str> {
    let (interface, version) = import.split_once('@')?;
    if !version.starts_with("0.2.") {
        return None;
    }
    match interface {
        "wasi:cli/environment" => Some("env"),
        "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => Some("clock"),
        "wasi:random/random" => Some("random"),
        _ => None,
    }
}

/// True if the grant of this name is given.
pub(crate) fn is_granted(grant: &Grant, name: &str) -> bool {
    match name {
        "env" => !grant.environment.is_empty(),
        "clock" => grant.clock,
        "random" => grant.random,
        _ => false,
    }
}

pub(crate) fn define(linker: &mut Linker<Sandbox>) -> Result<()> {
    environment(&mut interface(linker, "wasi:cli/environment")?)?;
    wall_clock(&mut interface(linker, "wasi:clocks/wall-clock")?)?;
    monotonic_clock(&mut interface(linker, "wasi:clocks/monotonic-clock")?)?;
    random(&mut interface(linker, "wasi:random/random")?)
}

fn interface<'l>(
    linker: &'l mut Linker<Sandbox>,
    name: &str,
) -> Result<LinkerInstance<'l, Sandbox>> {
    linker.instance(&format!("{name}@{VERSION}"))
}

fn environment(instance: &mut LinkerInstance<'_, Sandbox>) -> Result<()> {
    instance.func_wrap("get-environment", |store: StoreContextMut<'_, Sandbox>, (): ()| {
        Ok((store.data().grant.environment.clone(),))
    })?;
    instance.func_wrap("get-arguments", |_: StoreContextMut<'_, Sandbox>, (): ()| {
        Ok((Vec::<String>::new(),))
    })?;
    instance
        .func_wrap("initial-cwd", |_: StoreContextMut<'_, Sandbox>, (): ()| Ok((None::<String>,)))
}

fn wall_clock(instance: &mut LinkerInstance<'_, Sandbox>) -> Result<()> {
    instance.func_new("now", |mut store, _, _, results| {
        results[0] = datetime(store.data_mut().wall_clock_ns());
        Ok(())
    })?;
    instance.func_new("resolution", |store, _, _, results| {
        results[0] = datetime(store.data().clock_resolution_ns());
        Ok(())
    })
}

/// `record datetime { seconds: u64, nanoseconds: u32 }`.
fn datetime(time_ns: u64) -> Val {
    const SECOND_NS: u64 = 1_000_000_000;
    Val::Record(vec![
        ("seconds".to_owned(), Val::U64(time_ns / SECOND_NS)),
        ("nanoseconds".to_owned(), Val::U32((time_ns % SECOND_NS) as u32)),
    ])
}

fn monotonic_clock(instance: &mut LinkerInstance<'_, Sandbox>) -> Result<()> {
    instance.func_wrap("now", |mut store: StoreContextMut<'_, Sandbox>, (): ()| {
        Ok((store.data_mut().monotonic_ns(),))
    })?;
    instance.func_wrap("resolution", |store: StoreContextMut<'_, Sandbox>, (): ()| {
        Ok((store.data().clock_resolution_ns(),))
    })
}

fn random(instance: &mut LinkerInstance<'_, Sandbox>) -> Result<()> {
    instance.func_wrap(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, Sandbox>, (count,): (u64,)| {
            let sandbox = store.data_mut();
            let count = count.min(RANDOM_BYTES_MAX) as usize;
            let words = std::iter::repeat_with(|| sandbox.random_word().to_le_bytes());
            Ok((words.flatten().take(count).collect::<Vec<u8>>(),))
        },
    )?;
    instance.func_wrap("get-random-u64", |mut store: StoreContextMut<'_, Sandbox>, (): ()| {
        Ok((store.data_mut().random_word(),))
    })
}
