//! What is no TOML, in words for the author of a pipeline file.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::Error;

use super::report::Report;

/// How the parser calls a key that is written twice; it keeps the first one and reads on.
const DUPLICATE_KEY: &str = "duplicate key";

/// Reports the first mistake of each line: what follows on a line is seldom one of its own. Whether
/// the rest of the file can be judged.
pub(super) fn report(text: &str, errors: &[Error], report: &Report) -> bool {
    let mut lines = BTreeSet::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let before = text.get(..span.start).unwrap_or(text);
        if lines.insert(before.matches('\n').count()) {
            let (message, help) = explain(text, &span, error.message());
            match help {
                Some(help) => report.error_with_help(span, message, help),
                None => report.error(span, message),
            }
        }
    }
    errors.iter().all(|error| error.message() == DUPLICATE_KEY)
}

fn explain(text: &str, span: &Range<usize>, parser_message: &str) -> (String, Option<String>) {
    let written = text.get(span.clone()).unwrap_or_default();
    match parser_message.split_once(", expected ") {
        Some(("string values must be quoted", _)) if written.is_empty() => {
            ("the value is missing".to_string(), None)
        }
        Some(("string values must be quoted", _)) => {
            let message = format!("`{written}` is not a value");
            (message, Some(format!("write strings in quotes: `\"{written}\"`")))
        }
        Some(("unexpected key or value", _)) => {
            let message = "something follows the value on its line".to_string();
            (message, Some("begin a new line for the next key".to_string()))
        }
        Some((problem, "nothing")) => (problem.to_string(), None),
        Some((problem, expected)) => (problem.to_string(), Some(format!("expected {expected}"))),
        None if parser_message == DUPLICATE_KEY => {
            let message = format!("`{written}` is written twice");
            (message, Some("a key stands once in its table, `[[…]]` starts a new one".to_string()))
        }
        None if parser_message.contains("recurs") => ("nested too deeply".to_string(), None),
        None => (parser_message.to_string(), None),
    }
}
