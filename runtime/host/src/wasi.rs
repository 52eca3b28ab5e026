//! `wasi_snapshot_preview1` for plain core modules, as far as a sandbox without files, network and
//! arguments has it.
//!
//! C and Go tool chains link these functions whether a stage uses them or not, so each has a
//! harmless answer: no variable, a clock that moves a step per look, the same random numbers in every
//! instance, unless the pipeline grants more ([`crate::Grant`]). What opens files and sockets is not
//! there: a module that imports it is refused. Source of names and signatures: WASI preview 1,
//! `wasi_snapshot_preview1.witx`.

use crate::sandbox::Sandbox;
use wasmtime::{Caller, Extern, FuncType, Linker, Result, Val, ValType};

pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
/// Error numbers of WASI preview 1.
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const SPIPE: i32 = 70;

/// Vectors of one fd_read or fd_write, and subscriptions of one poll, that are looked at.
const VECTORS_MAX: u32 = 1024;
/// Bytes of one fd_write that are looked at for log lines: vectors may all name the same bytes.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// The clock of WASI that is the time of day; the others only go forward.
const CLOCK_REALTIME: i32 = 0;

/// Functions that only answer an error number, with their parameters (i: i32, I: i64). File
/// descriptors above 2 do not exist, and 0 to 2 are no files.
const REFUSED: &[(&str, &str, i32)] = &[
    ("fd_advise", "iIIi", BADF),
    ("fd_allocate", "iII", BADF),
    ("fd_datasync", "i", BADF),
    ("fd_fdstat_set_flags", "ii", SUCCESS),
    ("fd_fdstat_set_rights", "iII", BADF),
    ("fd_filestat_get", "ii", BADF),
    ("fd_filestat_set_size", "iI", BADF),
    ("fd_filestat_set_times", "iIIi", BADF),
    ("fd_pread", "iiiIi", BADF),
    ("fd_prestat_get", "ii", BADF),
    ("fd_prestat_dir_name", "iii", BADF),
    ("fd_pwrite", "iiiIi", BADF),
    ("fd_readdir", "iiiIi", BADF),
    ("fd_renumber", "ii", BADF),
    ("fd_seek", "iIii", SPIPE),
    ("fd_sync", "i", BADF),
    ("fd_tell", "ii", SPIPE),
    ("sched_yield", "", SUCCESS),
    ("fd_close", "i", SUCCESS),
    ("args_get", "ii", SUCCESS),
];

/// The trap of a guest that calls `proc_exit` or raises a signal.
#[derive(Debug)]
pub(crate) struct Exited(pub String);

impl std::fmt::Display for Exited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Exited {}

/// Defines every function of preview 1.
pub(crate) fn grant_stubs(linker: &mut Linker<Sandbox>) -> Result<()> {
    for (name, params, answer) in REFUSED {
        let engine = linker.engine().clone();
        let params = params.chars().map(|c| if c == 'I' { ValType::I64 } else { ValType::I32 });
        let function = FuncType::new(&engine, params, [ValType::I32]);
        linker.func_new(MODULE, name, function, |_, _, results| {
            results[0] = Val::I32(*answer);
            Ok(())
        })?;
    }
    linker.func_wrap(MODULE, "args_sizes_get", no_strings)?;
    linker.func_wrap(MODULE, "environ_sizes_get", environ_sizes_get)?;
    linker.func_wrap(MODULE, "environ_get", environ_get)?;
    linker.func_wrap(MODULE, "clock_res_get", clock_res_get)?;
    linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(MODULE, "fd_fdstat_get", fd_fdstat_get)?;
    linker.func_wrap(MODULE, "fd_read", fd_read)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> {
        Err(Exited(format!("the guest ended itself with exit code {code}")).into())
    })?;
    linker.func_wrap(MODULE, "proc_raise", |signal: i32| -> Result<i32> {
        Err(Exited(format!("the guest raised signal {signal}")).into())
    })?;
    Ok(())
}

fn no_strings(mut caller: Caller<'_, Sandbox>, count: u32, size: u32) -> i32 {
    let (memory, _) = memory(&mut caller);
    errno(put(memory, count, &[0; 4]).and(put(memory, size, &[0; 4])))
}

/// How many variables there are, and the bytes of all, each `NAME=value` with a zero behind it.
fn environ_sizes_get(mut caller: Caller<'_, Sandbox>, count: u32, size: u32) -> i32 {
    let (memory, sandbox) = memory(&mut caller);
    let variables = &sandbox.grant.environment;
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let counted = put(memory, count, &(variables.len() as u32).to_le_bytes());
    errno(counted.and(put(memory, size, &(bytes as u32).to_le_bytes())))
}

/// Writes the address of each variable to `pointers`, and the variables to `at`.
fn environ_get(mut caller: Caller<'_, Sandbox>, pointers: u32, at: u32) -> i32 {
    let (memory, sandbox) = memory(&mut caller);
    let (mut pointer, mut at) = (pointers, at);
    for (name, value) in &sandbox.grant.environment {
        let text = format!("{name}={value}\0");
        let written = put(memory, pointer, &at.to_le_bytes()).and(put(memory, at, text.as_bytes()));
        if written.is_none() {
            return FAULT;
        }
        pointer = pointer.wrapping_add(4);
        at = at.wrapping_add(text.len() as u32);
    }
    SUCCESS
}

fn clock_res_get(mut caller: Caller<'_, Sandbox>, _clock: i32, at: u32) -> i32 {
    let (memory, sandbox) = memory(&mut caller);
    errno(put(memory, at, &sandbox.clock_resolution_ns().to_le_bytes()))
}

fn clock_time_get(mut caller: Caller<'_, Sandbox>, clock: i32, _precision: u64, at: u32) -> i32 {
    let (memory, sandbox) = memory(&mut caller);
    let time_ns =
        if clock == CLOCK_REALTIME { sandbox.wall_clock_ns() } else { sandbox.monotonic_ns() };
    errno(put(memory, at, &time_ns.to_le_bytes()))
}

/// 0 to 2 are character devices without rights; others do not exist.
fn fd_fdstat_get(mut caller: Caller<'_, Sandbox>, fd: u32, at: u32) -> i32 {
    if fd > 2 {
        return BADF;
    }
    let mut stat = [0; 24];
    stat[0] = 2;
    errno(put(memory(&mut caller).0, at, &stat))
}

/// Standard input is empty.
fn fd_read(mut caller: Caller<'_, Sandbox>, fd: u32, _vectors: u32, _count: u32, read: u32) -> i32 {
    if fd != 0 {
        return BADF;
    }
    errno(put(memory(&mut caller).0, read, &[0; 4]))
}

/// Standard output and error become log lines.
fn fd_write(
    mut caller: Caller<'_, Sandbox>,
    fd: u32,
    vectors: u32,
    count: u32,
    written: u32,
) -> i32 {
    if fd != 1 && fd != 2 {
        return BADF;
    }
    let (memory, sandbox) = memory(&mut caller);
    let mut total = 0u32;
    let mut room = WRITE_BYTES_MAX;
    for index in 0..count.min(VECTORS_MAX) {
        let vector = vectors.wrapping_add(index.wrapping_mul(8));
        let (Some(at), Some(size)) =
            (get_u32(memory, vector), get_u32(memory, vector.wrapping_add(4)))
        else {
            return FAULT;
        };
        let Some(bytes) = get(memory, at, size) else {
            return FAULT;
        };
        let bytes = &bytes[..bytes.len().min(room)];
        room -= bytes.len();
        sandbox.log_lines.write(fd == 2, bytes);
        total = total.saturating_add(size);
    }
    errno(put(memory, written, &total.to_le_bytes()))
}

/// Every wait is over at once: there is nothing in a sandbox to wait for.
fn poll_oneoff(
    mut caller: Caller<'_, Sandbox>,
    subscriptions: u32,
    events: u32,
    count: u32,
    event_count: u32,
) -> i32 {
    const SUBSCRIPTION_SIZE: u32 = 48;
    const EVENT_SIZE: u32 = 32;
    if count == 0 || count > VECTORS_MAX {
        return INVAL;
    }
    let (memory, _) = memory(&mut caller);
    for index in 0..count {
        let at = subscriptions.wrapping_add(index * SUBSCRIPTION_SIZE);
        let Some(subscription) = get(memory, at, 9) else {
            return FAULT;
        };
        let mut event = [0; EVENT_SIZE as usize];
        event[..8].copy_from_slice(&subscription[..8]);
        event[10] = subscription[8];
        if put(memory, events.wrapping_add(index * EVENT_SIZE), &event).is_none() {
            return FAULT;
        }
    }
    errno(put(memory, event_count, &count.to_le_bytes()))
}

/// Hash tables get their seeds, and a replay gets the same.
fn random_get(mut caller: Caller<'_, Sandbox>, at: u32, size: u32) -> i32 {
    let (memory, sandbox) = memory(&mut caller);
    let Some(target) = get_mut(memory, at, size) else {
        return FAULT;
    };
    for chunk in target.chunks_mut(8) {
        let bytes = sandbox.random_word().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    SUCCESS
}

/// The guest's memory, empty if it exports none, and the host's state beside it.
fn memory<'a>(caller: &'a mut Caller<'_, Sandbox>) -> (&'a mut [u8], &'a mut Sandbox) {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => memory.data_and_store_mut(caller),
        _ => (&mut [], caller.data_mut()),
    }
}

fn get(memory: &[u8], at: u32, size: u32) -> Option<&[u8]> {
    memory.get(at as usize..)?.get(..size as usize)
}

fn get_mut(memory: &mut [u8], at: u32, size: u32) -> Option<&mut [u8]> {
    memory.get_mut(at as usize..)?.get_mut(..size as usize)
}

fn get_u32(memory: &[u8], at: u32) -> Option<u32> {
    let bytes = get(memory, at, 4)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Option<()> {
    get_mut(memory, at, bytes.len() as u32)?.copy_from_slice(bytes);
    Some(())
}

fn errno(done: Option<()>) -> i32 {
    if done.is_some() { SUCCESS } else { FAULT }
}

/// Functions of preview 1 that do more than answer an error number.
const ANSWERED: &[&str] = &[
    "args_sizes_get",
    "environ_sizes_get",
    "environ_get",
    "clock_res_get",
    "clock_time_get",
    "fd_fdstat_get",
    "fd_read",
    "fd_write",
    "poll_oneoff",
    "random_get",
    "proc_exit",
    "proc_raise",
];

/// True if an import, as `module.name`, is a function of preview 1 that the sandbox has.
pub(crate) fn has_import(import: &str) -> bool {
    import.strip_prefix(MODULE).and_then(|rest| rest.strip_prefix('.')).is_some_and(has)
}

/// The grant that makes an import, as `module.name`, answer more than nothing.
pub(crate) fn useful_grant(import: &str) -> Option<&'static str> {
    match import.strip_prefix(MODULE)?.strip_prefix('.')? {
        "environ_get" | "environ_sizes_get" => Some("env"),
        "clock_res_get" | "clock_time_get" => Some("clock"),
        "random_get" => Some("random"),
        _ => None,
    }
}

/// True if the sandbox has this function of preview 1.
fn has(name: &str) -> bool {
    ANSWERED.contains(&name) || REFUSED.iter().any(|(refused, _, _)| *refused == name)
}
