//! The log on standard error. What a command answers goes to standard output and never here.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;

use crate::flags::{Command, Flags, LogFormat};

/// Names what is logged, as `level` or `target=level,…`.
const FILTER_VARIABLE: &str = "GRISTMILL_LOG";

/// Services tell how they are; the other commands only what went wrong, and what goes wrong with a
/// cluster is in their error already.
pub fn start(flags: &Flags) {
    let level = match flags.command {
        // The Delta crates tell several lines for each look at a table.
        Command::Run(_) | Command::Broker(_) => {
            "info,buoyant_kernel=warn,buoyant_kernel_engine=warn,deltalake_core=error"
        }
        // A module's own lines help to understand what it made of a test.
        Command::Test(_) => "warn,gristmill::stage=info,kafka=off",
        _ => "warn,kafka=off,deltalake_core=error",
    };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines);
    match flags.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// A table that is drawn below the log, if there is one.
static TABLE: OnceLock<MultiProgress> = OnceLock::new();

/// Has lines of the log written above these bars from now on, so that neither tears the other apart. Once per process.
pub fn write_above(bars: MultiProgress) {
    // A second table keeps its own lines: no command draws two.
    let _ = TABLE.set(bars);
}

/// Standard error; each write is a whole line.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match TABLE.get() {
            Some(bars) => bars.suspend(|| io::stderr().write_all(line))?,
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
