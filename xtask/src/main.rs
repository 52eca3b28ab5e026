//! `cargo xtask`: set-up, demo, tests and benches, each with one command on a machine that has Rust
//! (rustup) and a C tool chain.
//!
//! Runs other programs and adds nothing of its own to what they do; the pipeline runner itself is
//! the package `gristmill-cli`.

mod bench;
mod clients;
mod demo;
mod kafka;
mod languages;
mod licences;
mod setup;
mod steps;
mod test;
mod tool;
mod torture;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Usage: cargo xtask COMMAND

  demo [--orders N|FILE …]    build everything and run the main job on retail orders
  test [--without-clients]    format, lints, licences, every test, the suites of other people's clients
  languages [NAME …]          build every SDK's example stages, and run them through the host
  licences                    the licences of everything that is built in, against deny.toml
  bench [NAME …]              how fast: `chain` (stages, engine), `delivery` (what exactly once costs),
                              `broker` (beside Apache Kafka)
  bench restart [--gigabytes N]
                              how fast the broker starts on a large data folder, after a stop and after a kill
  torture broker [--cycles N] [--seed N]
                              kill -9 of the broker under load, 1,000 times, then what is left is checked

What follows `demo` goes to `gristmill demo`: see `cargo xtask demo --help`.";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else {
        bail!("which command?\n\n{HELP}");
    };
    match command.as_str() {
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "languages" => languages::run(rest),
        "licences" => licences::check(),
        "bench" => bench::run(rest),
        "torture" => torture::run(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => bail!("no command `{unknown}`\n\n{HELP}"),
    }
}
