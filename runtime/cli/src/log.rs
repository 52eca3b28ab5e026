//! The log on standard error. What a command answers goes to standard output and never here.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::flags::{Command, Flags, LogFormat};

/// Names what is logged, as `level` or `target=level,…`.
const FILTER_VARIABLE: &str = "GRISTMILL_LOG";

/// Services tell how they are; the other commands only what went wrong, and what goes wrong with a
/// cluster is in their error already.
pub fn start(flags: &Flags) {
    let level = match flags.command {
        Command::Run(_) | Command::Broker(_) => "info",
        // A module's own lines help to understand what it made of a test.
        Command::Test(_) => "warn,gristmill::stage=info,kafka=off",
        _ => "warn,kafka=off",
    };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match flags.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
