//! `cargo xtask test`: every test that must pass before a change goes in.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{clients, languages, page, setup, tool};

/// Names the Python with the independent readers to the tests.
pub const PYTHON_VARIABLE: &str = "GRISTMILL_PYTHON";

pub fn run(arguments: &[String]) -> Result<()> {
    let with_clients = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => true,
        ["--without-clients"] => false,
        _ => bail!("`cargo xtask test` takes `--without-clients` or nothing"),
    };
    let mut steps = Steps::begin();
    let mut python = PathBuf::new();
    steps.step("set-up: Rust", setup::wasm_target)?;
    if with_clients {
        steps.step("set-up: programs of the clients", setup::client_programs)?;
    }
    steps.step("set-up: Python", || {
        python = setup::python()?;
        Ok(())
    })?;
    steps.step("build", build)?;
    steps.step("tests", || tests(&python))?;
    if with_clients {
        steps.step("clients", || clients::run(&python))?;
        steps.step("page", page::run)?;
    } else {
        eprintln!(
            "left out: the suites of kcat, confluent-kafka and Kafka's console tools, the page in a browser"
        );
    }
    Ok(())
}

/// The binary and the tests in one go, and the stages in all languages meanwhile: fetching their compilers takes longer
/// than running them.
fn build() -> Result<()> {
    thread::scope(|scope| {
        let languages = scope.spawn(|| languages::build(&[], &mut Steps::begin()));
        let targets = ["--lib", "--bins", "--tests", "--examples"];
        let mut cargo = tool::cargo(&["build", "--release", "--workspace"]);
        tool::run(cargo.args(targets))?;
        match languages.join() {
            Ok(built) => built.map(drop),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn tests(python: &Path) -> Result<()> {
    let mut cargo = tool::cargo(&["test", "--release", "--workspace"]);
    cargo.env(PYTHON_VARIABLE, python).env(languages::REQUIRED_VARIABLE, languages::all());
    cargo.env(languages::TOOLS_VARIABLE, languages::tools()?);
    tool::run(&mut cargo)
}
