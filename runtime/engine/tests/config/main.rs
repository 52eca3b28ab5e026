//! What the readers of a pipeline file are promised.
//!
//! - `golden`: every message, whole, beside the file that causes it.
//! - `promises`: what a right file becomes; secrets stay unseen; no text panics.
//! - `shipped`: the pipelines, the schema and the reference that the repository ships.

mod golden;
mod promises;
mod shipped;

use std::path::Path;

use gristmill_engine::config::{self, Diagnostic, LoadContext, Loaded};

/// Set to rewrite golden files, the schema and the reference; then read the difference.
const REWRITE: &str = "GRISTMILL_REWRITE";

/// Names of the shipped modules.
const SHIPPED: [&str; 4] = ["parse-json", "flatten", "filter", "cast"];

/// What `${KAFKA_PASSWORD}` becomes: must never be seen again.
const SECRET: &str = "correct-horse-battery-staple";

fn environment(name: &str) -> Option<String> {
    match name {
        "KAFKA_PASSWORD" => Some(SECRET.to_string()),
        "KAFKA_BROKERS" => Some("kafka-1:9092,kafka-2:9092".to_string()),
        "KAFKA_API_KEY" => Some("ABCDEF".to_string()),
        _ => None,
    }
}

fn parse(text: &str, file: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let context = LoadContext { shipped: &SHIPPED, environment: &environment };
    config::parse(text, Path::new(file), &context)
}

/// Compares with a file that is kept, or rewrites it when asked to.
fn expect_file(path: &Path, actual: &str) -> Result<(), String> {
    if std::env::var_os(REWRITE).is_some() {
        return std::fs::write(path, actual).map_err(|error| format!("{path:?}: {error}"));
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    let path = path.display();
    Err(format!("--- {path}\n{expected}\n--- now\n{actual}\n(rewrite it with {REWRITE}=1)"))
}
