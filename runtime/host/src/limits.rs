//! What one stage may use. Every field has a test that reaches it.

use std::time::Duration;

/// Limits of one stage, for each of its instances (one per lane).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of all memories of an instance together, in bytes. Default 64 MiB.
    pub memory_bytes_max: usize,
    /// Wall time that `process` may take for one batch, in steps of 10 ms. Default 5 s.
    pub batch_time_max: Duration,
    /// Wall time for instantiation and `describe` together. Default 10 s: interpreters start here.
    pub describe_time_max: Duration,
    /// Wall time that a lane may spend on one batch in search of the rows that make the stage fail.
    /// Default 60 s.
    pub isolation_time_max: Duration,
    /// Rows that one batch may become. Default 2^20.
    pub output_rows_max: usize,
    /// Bytes that the host copies out for one batch. Default 64 MiB.
    pub output_bytes_max: usize,
    /// Elements of all tables of an instance together (8 bytes of host memory each). Default
    /// 100,000.
    pub table_elements_max: usize,
    /// Core instances in one component; a plain module has one. Default 64: a Python component has
    /// 38.
    pub instances_max: usize,
    /// Lines of log that one batch may write; more are counted, not written. Default 100.
    pub log_lines_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            batch_time_max: Duration::from_secs(5),
            describe_time_max: Duration::from_secs(10),
            isolation_time_max: Duration::from_secs(60),
            output_rows_max: 1 << 20,
            output_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            instances_max: 64,
            log_lines_max: 100,
        }
    }
}

/// Counts what a store's memories and tables hold, and refuses growth beyond the limits.
///
/// A refused growth is told to the guest as -1, as the specification has it, so that a language
/// with a collector may collect; `memory_refused` remembers it, since most guests abort upon it.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements_max: usize,
    table_elements: usize,
    instances_max: usize,
    memory_refused: bool,
}

/// Memories and tables that one store may have; a component has a few of each per core instance.
const MEMORIES_MAX: usize = 64;
const TABLES_MAX: usize = 128;

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes_max,
            memory_bytes: 0,
            table_elements_max: limits.table_elements_max,
            table_elements: 0,
            instances_max: limits.instances_max,
            memory_refused: false,
        }
    }

    /// Linear memory that the store holds now, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// True if a growth was refused since the last [`Limiter::begin_call`].
    pub(crate) fn memory_refused(&self) -> bool {
        self.memory_refused
    }

    pub(crate) fn begin_call(&mut self) {
        self.memory_refused = false;
    }
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let of_module = maximum.is_none_or(|maximum| desired <= maximum);
        if total > self.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        if of_module {
            self.memory_bytes = total;
        }
        Ok(of_module)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        if total > self.table_elements_max || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}
