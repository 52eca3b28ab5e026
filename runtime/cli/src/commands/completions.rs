//! `gristmill completions | man | schema`: what shells, `man` and editors want to know about us.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use gristmill_engine::config;

use crate::flags::Flags;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct CompletionsFlags {
    /// The shell: bash, elvish, fish, powershell or zsh
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(clap::Args)]
pub struct ManFlags {
    /// Write the pages of all commands into this folder, instead of printing the first
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints a script for the shell.
pub fn completions(flags: &CompletionsFlags) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Flags::command(), "gristmill", &mut script);
    print(&script)
}

/// Prints the man page, or writes all of them.
pub fn man(flags: &ManFlags) -> Result<()> {
    match &flags.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Flags::command()).render(&mut page)?;
            print(&page)
        }
        Some(folder) => {
            let name = folder.display();
            std::fs::create_dir_all(folder).map_err(|error| {
                UserError::new(format!("cannot make the folder `{name}`: {error}"))
            })?;
            clap_mangen::generate_to(Flags::command(), folder)
                .with_context(|| format!("cannot write the pages into `{name}`"))
        }
    }
}

/// Prints the JSON Schema of pipeline files.
pub fn schema() -> Result<()> {
    print(format!("{:#}\n", config::json_schema()).as_bytes())
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}
