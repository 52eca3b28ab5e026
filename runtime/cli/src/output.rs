//! What a command answers, on standard output: aligned text for people, JSON lines for scripts.

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

impl Output {
    /// Prints one answer, as the text or as the JSON document.
    ///
    /// # Errors
    /// The standard output is closed.
    pub fn answer(self, text: impl AsRef<str>, json: &Value) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match self {
            Output::Text => writeln!(stdout, "{}", text.as_ref())?,
            Output::Json => writeln!(stdout, "{json}")?,
        }
        Ok(stdout.flush()?)
    }

    /// Prints what only people read.
    pub fn remark(self, text: impl AsRef<str>) -> Result<()> {
        if self == Output::Text {
            writeln!(io::stdout().lock(), "{}", text.as_ref())?;
        }
        Ok(())
    }
}

/// `1 file`, `2 files`.
pub fn counted(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}
