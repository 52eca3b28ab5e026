//! `gristmill doctor`: what the machine, the folders, the cluster in use, pipelines and their tables allow.
//!
//! Changes nothing but for a file of its own in the data folder, which it removes again.

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use crate::flags::BootstrapFlags;
use crate::local;
use crate::output::Output;

mod machine;
mod outside;

#[derive(clap::Args)]
pub struct DoctorFlags {
    /// Pipeline files, or folders of them, whose topics and tables are looked at too
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<PathBuf>,

    /// Folder for topics, caches and everything else that is kept [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    broker: BootstrapFlags,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    about: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warning,
    Wrong,
}

impl Finding {
    pub fn ok(about: &'static str, found: impl Into<String>) -> Finding {
        Finding { about, state: State::Ok, found: found.into(), help: None }
    }

    pub fn warning(
        about: &'static str,
        found: impl Into<String>,
        help: impl Into<String>,
    ) -> Finding {
        Finding { about, state: State::Warning, found: found.into(), help: Some(help.into()) }
    }

    /// Mends are often part of what was found.
    pub fn wrong(about: &'static str, found: impl Into<String>, help: Option<String>) -> Finding {
        Finding { about, state: State::Wrong, found: found.into(), help }
    }

    fn line(&self) -> String {
        let mark = match self.state {
            State::Ok => "ok     ",
            State::Warning => "warning",
            State::Wrong => "WRONG  ",
        };
        let help = self.help.as_ref().map(|help| format!("\n         help: {help}"));
        format!("{mark}  {}: {}{}", self.about, self.found, help.unwrap_or_default())
    }
}

/// Prints every finding as it is made.
///
/// # Errors
/// Something is wrong; warnings are no error.
pub async fn run(flags: &DoctorFlags, output: Output) -> Result<()> {
    let data_dir = local::data_dir(flags.data_dir.as_deref())?;
    let mut findings = machine::examine(&data_dir);
    for finding in &findings {
        output.remark(finding.line())?;
    }
    for finding in outside::examine(&flags.broker, &flags.pipelines).await {
        output.remark(finding.line())?;
        findings.push(finding);
    }
    if output == Output::Json {
        output.answer("", &json!(findings))?;
    }
    match findings.iter().filter(|finding| finding.state == State::Wrong).count() {
        0 => Ok(()),
        1 => bail!("1 thing is wrong"),
        count => bail!("{count} things are wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_help_another() {
        let warning = Finding::warning("open files", "256 at most", "raise it: `ulimit -n 65536`");
        assert_eq!(
            warning.line(),
            "warning  open files: 256 at most\n         help: raise it: `ulimit -n 65536`"
        );
    }
}
