//! One contract, many languages: every SDK's example stages, built by `cargo xtask languages`, do
//! through the real host what sdk/contract/examples says.
//!
//! Modules lie in `languages/LANGUAGE/` of cargo's target folder. A language that was not built is
//! left out with the command that builds it, unless `GRISTMILL_LANGUAGES` names it (or is `all`):
//! then it fails.

#![allow(clippy::unwrap_used, clippy::expect_used)]

/// The examples: input, configuration, expected output.
mod examples;

/// Where the built modules lie, and the host that runs them.
mod modules;

/// Many batches through one instance: its memory stays flat.
mod soak;

use examples::Example;
use modules::{Language, Level};

const EVERY_STAGE: &[&str] =
    &["keep_city", "with_total", "explode_items", "fails_odd", "every_type"];

/// Runs what the language has; each example at each level.
fn check(language: &str, rows: &[&str], columns: &[&str]) {
    let Some(language) = Language::find(language) else { return };
    for (level, stages) in [(Level::Rows, rows), (Level::Columns, columns)] {
        for stage in stages {
            Example::read(stage).check(&language, level);
        }
    }
    soak::check(&language);
}

#[test]
fn rust_stages_do_what_the_examples_say() {
    check("rust", EVERY_STAGE, &["keep_city", "with_total", "every_type"]);
}

#[test]
fn c_stages_do_what_the_examples_say() {
    check("c", EVERY_STAGE, &["keep_city", "with_total", "every_type"]);
}

#[test]
fn cpp_stages_do_what_the_examples_say() {
    check("cpp", EVERY_STAGE, &["keep_city"]);
}

#[test]
fn go_stages_do_what_the_examples_say() {
    check("go", EVERY_STAGE, &["keep_city", "with_total", "every_type"]);
}

#[test]
fn javascript_stages_do_what_the_examples_say() {
    check("javascript", EVERY_STAGE, &["keep_city", "with_total", "every_type"]);
}

#[test]
fn python_stages_do_what_the_examples_say() {
    check("python", EVERY_STAGE, &["keep_city", "with_total", "every_type"]);
}

#[test]
fn zig_stages_do_what_the_examples_say() {
    check("zig", EVERY_STAGE, &["keep_city", "with_total", "every_type"]);
}

#[test]
fn assemblyscript_stages_do_what_the_examples_say() {
    check("assemblyscript", &["keep_city", "with_total", "explode_items", "fails_odd"], &[]);
}

#[test]
fn kotlin_stages_do_what_the_examples_say() {
    check("kotlin", EVERY_STAGE, &[]);
}
