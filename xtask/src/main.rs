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
mod lint;
mod page;
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
  test [--without-clients]    every test, the suites of other people's clients, the page in a browser
  lint                        format, licences, lints with warnings denied
  languages [NAME …]          build every SDK's example stages, and run them through the host
  page                        the page in Chromium, with screenshots of what it looks like
  projects [NAME …]           make, build and test a project of every kind in each language, from nothing to a pipeline
  licences                    the licences of everything that is built in, against deny.toml
  bench [NAME …]              how fast: `chain` (stages, engine), `delivery` (what exactly once costs),
                              `broker` (beside Apache Kafka); `page` alone: with 1,000 topics and 100 pipelines
  bench delivery --streams    beside Kafka Streams with exactly_once_v2
  bench table                 what a commit to a Delta table costs, the first as the ten-thousandth
  bench restart [--gigabytes N]
                              how fast the broker starts on a large data folder, after a stop and after a kill
  torture broker [--cycles N] [--seed N]
                              kill -9 of the broker under load, 1,000 times, then what is left is checked
  torture reload [--reloads N] [--rate N]
                              200 reloads of a module under 20,000 orders a second, each record checked
  torture pipelines [--cycles N] [--seed N] [--kafka]
                              300 times something fails under running pipelines, then every sink is checked;
                              with Apache Kafka in three nodes in place of the built-in broker
  torture stages [--rows N] [LANGUAGE …]
                              10,000,000 rows through a good and a leaking stage of each language: the host's
                              memory stays flat

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
        "lint" => lint::run(),
        "languages" => languages::run(rest),
        "page" => page::run(),
        "projects" => languages::projects(rest),
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
