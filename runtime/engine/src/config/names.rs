//! Names of the pipeline, its stages and its sinks. They become parts of group ids, of the tables'
//! transactions and of metrics, so they are plain words.

use std::collections::BTreeMap;

use super::document::{SinkTable, StageTable, Written};
use super::flow::SOURCE_NAME;
use super::report::Report;
use super::shape::NAME_CHARS_MAX;

/// Reports names of wrong letters, and names that two stages or sinks share.
pub(super) fn check(
    pipeline: Option<&Written<String>>,
    stages: &[StageTable],
    sinks: &[SinkTable],
    report: &Report,
) {
    if let Some(name) = pipeline {
        check_letters("the pipeline", name, report);
    }
    let stages = stages.iter().filter_map(|stage| Some(("a stage", stage.name.as_ref()?)));
    let sinks = sinks.iter().filter_map(|sink| Some(("a sink", sink.name.as_ref()?)));
    let mut names: Vec<_> = stages.chain(sinks).collect();
    names.sort_by_key(|(_, name)| name.span.start);
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (what, name) in names {
        check_letters(what, name, report);
        if name.value == SOURCE_NAME {
            let message = format!("{what} cannot be named `{SOURCE_NAME}`");
            let help = "in `from` it stands for the records of the source";
            report.error_with_help(name.span.clone(), message, help);
        } else if let Some(before) = seen.insert(&name.value, what) {
            let message = format!("{before} is named `{}` already", name.value);
            let help = "each stage and each sink has a name of its own: `from`, tests, cursors and \
                        metrics go by it";
            report.error_with_help(name.span.clone(), message, help);
        }
    }
}

fn check_letters(what: &str, name: &Written<String>, report: &Report) {
    let is_right = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (message, help) = if !name.value.chars().all(is_right) {
        let help = "a name has letters, digits, `_` and `-`".to_string();
        (format!("{what} cannot be named `{}`", name.value), help)
    } else if name.value.len() > NAME_CHARS_MAX {
        let message = format!("the name of {what} is too long");
        (message, format!("a name has at most {NAME_CHARS_MAX} characters"))
    } else {
        return;
    };
    report.error_with_help(name.span.clone(), message, help);
}
