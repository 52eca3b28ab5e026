//! Every message as its reader sees it: `NAME.toml` causes what stands in `NAME.err`.

use std::path::PathBuf;

use gristmill_engine::config::{Diagnostic, render_all};

use super::{SECRET, expect_file, parse};

const FOLDER: &str = "tests/config";

#[test]
fn every_message_is_as_it_was() {
    let mut differences = Vec::new();
    for name in names() {
        let file = format!("{FOLDER}/{name}.toml");
        let text = std::fs::read_to_string(&file).expect("a golden file");
        let found = found(&text, &file);
        assert!(!found.is_empty(), "{file} has no mistake");
        assert_spans_are_inside(&found, &text);
        let rendered = render_all(&found, &text);
        assert!(!rendered.contains(SECRET), "{file} shows a secret:\n{rendered}");
        let kept = PathBuf::from(format!("{FOLDER}/{name}.err"));
        differences.extend(expect_file(&kept, &rendered).err());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Without `.toml`, in order.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(FOLDER).expect("the folder of the golden files");
    let names = entries.filter_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        name.strip_suffix(".toml").map(str::to_string)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert!(names.len() > 20, "golden files are missing");
    names
}

fn found(text: &str, file: &str) -> Vec<Diagnostic> {
    match parse(text, file) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    }
}

pub fn assert_spans_are_inside(diagnostics: &[Diagnostic], text: &str) {
    for diagnostic in diagnostics {
        let span = &diagnostic.span;
        assert!(text.get(span.clone()).is_some(), "{diagnostic:?} is outside of {text:?}");
    }
}
