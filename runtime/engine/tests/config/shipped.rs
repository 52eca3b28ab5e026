//! What the repository ships for authors of pipelines: right pipelines, the schema for editors, the
//! reference.

use std::path::{Path, PathBuf};

use gristmill_engine::config::{self, LoadContext, json_schema, key_reference};

use super::{SHIPPED, expect_file};

const REPOSITORY: &str = "../..";
/// Around the generated part of the reference.
const REFERENCE_BEGIN: &str = "<!-- keys: begin, written by the test `shipped` -->\n\n";
const REFERENCE_END: &str = "\n<!-- keys: end -->\n";

#[test]
fn the_shipped_pipelines_have_no_mistake() {
    let environment = |name: &str| {
        let secret = name.starts_with("KAFKA_API").then(|| "x".to_string());
        secret.or_else(|| (name == "KAFKA_BROKERS").then(|| "kafka:9092".to_string()))
    };
    let context = LoadContext { shipped: &SHIPPED, environment: &environment };
    let files = shipped_pipelines();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let found = match config::load(&file, &context) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        assert!(found.is_empty(), "{}", config::render_with_files(&found));
    }
}

#[test]
fn cursors_of_the_shipped_pipelines_are_kept_under_names_of_their_own() {
    let mut names: Vec<_> = shipped_pipelines().iter().map(|file| name_line(file)).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_schema_for_editors_is_what_the_code_says() {
    let schema = serde_json::to_string_pretty(&sorted(json_schema())).expect("JSON") + "\n";
    let kept = Path::new(REPOSITORY).join("docs/pipeline.schema.json");
    expect_file(&kept, &schema).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn the_reference_is_what_the_code_says() {
    let file = Path::new(REPOSITORY).join("docs/pipeline-file.md");
    let text = std::fs::read_to_string(&file).expect("the reference");
    let (before, rest) = text.split_once(REFERENCE_BEGIN).expect("the beginning of the keys");
    let (_, after) = rest.split_once(REFERENCE_END).expect("the end of the keys");
    let keys = key_reference();
    let now = format!("{before}{REFERENCE_BEGIN}{keys}{REFERENCE_END}{after}");
    expect_file(&file, &now).unwrap_or_else(|difference| panic!("{difference}"));
}

fn shipped_pipelines() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(REPOSITORY).join("pipelines")).expect("pipelines");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    files
}

fn name_line(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("a pipeline");
    text.lines().find(|line| line.starts_with("name = ")).expect("a name").to_string()
}

/// The order of an object's members depends on how serde_json was built.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            members.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        value => value,
    }
}
