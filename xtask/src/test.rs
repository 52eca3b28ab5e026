//! `cargo xtask test`: everything that must hold before a change goes in.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::{clients, languages, licences, page, setup, tool};

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
    steps.step("set-up: Rust", || {
        setup::wasm_target()?;
        setup::rust_components()
    })?;
    if with_clients {
        steps.step("set-up: programs of the clients", setup::client_programs)?;
    }
    steps.step("set-up: Python", || {
        python = setup::python()?;
        Ok(())
    })?;
    steps.step("format", || tool::run(&mut tool::cargo(&["fmt", "--all", "--check"])))?;
    steps.step("licences", licences::check)?;
    steps.step("build", || tool::run(&mut tool::cargo(&["build", "--release", "--workspace"])))?;
    languages::build(&[], &mut steps)?;
    steps.step("tests", || {
        let mut cargo = tool::cargo(&["test", "--release", "--workspace"]);
        cargo.env(PYTHON_VARIABLE, &python).env(languages::REQUIRED_VARIABLE, languages::all());
        cargo.env(languages::TOOLS_VARIABLE, languages::tools()?);
        tool::run(&mut cargo)
    })?;
    steps.step("lints", || {
        let arguments =
            ["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        tool::run(&mut tool::cargo(&arguments))
    })?;
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
