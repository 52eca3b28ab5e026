//! `${VAR}` and `${file:PATH}`: what comes from outside of the pipeline file.
//!
//! Expanded: connection properties, storage options, brokers, topics, tables. Never expanded:
//! names, columns, and what a module is given, since a module sees nothing of the environment. What
//! was put in is never printed: messages show the text as written.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::document::Written;
use super::report::Report;

/// Longest file that `${file:…}` puts in: certificates and keys are far smaller.
pub(super) const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// Whether a value may be seen in logs and on pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// Names of topics, tables and brokers are: no place for a secret file.
    Shown,
    /// Connection properties and storage options are not.
    Hidden,
}

/// Where values from outside come from.
pub(super) struct Expander<'c> {
    pub environment: &'c dyn Fn(&str) -> Option<String>,
    /// Relative secret files are looked for here: beside the pipeline file.
    pub folder: &'c Path,
    /// The pipeline file's text, to point at the very `${…}`.
    pub source_text: &'c str,
}

impl Expander<'_> {
    /// The value with everything put in; `None` if something is missing, which is reported.
    pub fn expand(
        &self,
        written: &Written<String>,
        visibility: Visibility,
        report: &Report,
    ) -> Option<String> {
        let mut expanded = Some(String::new());
        for part in parts(&written.value) {
            let resolved = match part {
                Part::Text(text) => Ok(text.to_string()),
                Part::Reference(name) => self.look_up(name, visibility),
                Part::Unclosed => Err(Mistake::unclosed()),
            };
            match resolved {
                Ok(text) => expanded = expanded.map(|before| before + &text),
                Err(mistake) => {
                    let span = self.place_of(part, written);
                    report.error_with_help(span, mistake.message, mistake.help);
                    expanded = None;
                }
            }
        }
        expanded
    }

    /// The value of a variable by its bare name; `None` if there is none, which is reported.
    pub fn variable(&self, name: &Written<String>, report: &Report) -> Option<String> {
        let value = match is_variable_name(&name.value) {
            true => self.look_up(&name.value, Visibility::Shown),
            false => Err(Mistake::no_bare_name(&name.value)),
        };
        let refuse = |mistake: Mistake| {
            report.error_with_help(name.span.clone(), mistake.message, mistake.help)
        };
        value.map_err(refuse).ok()
    }

    fn look_up(&self, name: &str, visibility: Visibility) -> Result<String, Mistake> {
        match name.strip_prefix("file:") {
            Some(path) if visibility == Visibility::Hidden => self.read_file(path),
            Some(_) => Err(Mistake::shown_here()),
            None if is_variable_name(name) => {
                (self.environment)(name).ok_or_else(|| Mistake::not_set(name))
            }
            None => Err(Mistake::no_name(name)),
        }
    }

    fn read_file(&self, path: &str) -> Result<String, Mistake> {
        let path = self.folder.join(path);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(SECRET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| Mistake::unreadable(&path, &error.to_string()))?;
        if bytes.len() as u64 > SECRET_FILE_BYTES_MAX {
            let limit = format!("it is longer than {} KiB", SECRET_FILE_BYTES_MAX >> 10);
            return Err(Mistake::unreadable(&path, &limit));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Mistake::unreadable(&path, "it is not UTF-8 text"))?;
        Ok(without_last_newline(&text).to_string())
    }

    /// The `${…}` itself where the file shows it letter for letter, else the whole value.
    fn place_of(&self, part: Part<'_>, written: &Written<String>) -> Range<usize> {
        let needle = match part {
            Part::Reference(name) => format!("${{{name}}}"),
            Part::Text(_) | Part::Unclosed => "${".to_string(),
        };
        let value = self.source_text.get(written.span.clone()).unwrap_or_default();
        match value.find(&needle) {
            Some(at) => written.span.start + at..written.span.start + at + needle.len(),
            None => written.span.clone(),
        }
    }
}

/// Whether a text has something to put in.
pub(super) fn has_reference(text: &str) -> bool {
    parts(text).any(|part| matches!(part, Part::Reference(_)))
}

struct Mistake {
    message: String,
    help: String,
}

impl Mistake {
    fn unclosed() -> Mistake {
        let message = "`${` without its `}`".to_string();
        Mistake { message, help: "write `$${` for the characters `${` themselves".to_string() }
    }

    fn not_set(name: &str) -> Mistake {
        let message = format!("the environment variable `{name}` is not set");
        Mistake { message, help: format!("set it before the start: export {name}=…") }
    }

    fn no_name(name: &str) -> Mistake {
        let message = format!("`{name}` is not the name of an environment variable");
        let help = "write `${VAR}`, `${file:PATH}`, or `$${` for the characters `${` themselves";
        Mistake { message, help: help.to_string() }
    }

    fn no_bare_name(name: &str) -> Mistake {
        let message = format!("`{name}` is not the name of an environment variable");
        Mistake { message, help: "letters, digits and `_`, such as `REGION`".to_string() }
    }

    fn shown_here() -> Mistake {
        let message = "`${file:…}` is for secrets, and this value is shown in logs".to_string();
        Mistake { message, help: "use `${VAR}` here".to_string() }
    }

    fn unreadable(path: &Path, error: &str) -> Mistake {
        let message = format!("cannot read the secret file `{}`: {error}", path.display());
        let help = "a relative path begins at the pipeline file's folder";
        Mistake { message, help: help.to_string() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    /// What stands between the braces.
    Reference(&'t str),
    /// `${` without `}`.
    Unclosed,
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (part, after) = first_part(rest)?;
        rest = after;
        Some(part)
    })
}

/// `$${` is the text `${`; a lone `$` stands for itself.
fn first_part(text: &str) -> Option<(Part<'_>, &str)> {
    if text.is_empty() {
        return None;
    }
    if let Some(after) = text.strip_prefix("$${") {
        return Some((Part::Text("${"), after));
    }
    if let Some(after) = text.strip_prefix("${") {
        return match after.split_once('}') {
            Some((name, after)) => Some((Part::Reference(name), after)),
            None => Some((Part::Unclosed, "")),
        };
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    let end = [text[first..].find("$${"), text[first..].find("${")].into_iter().flatten().min();
    let (part, after) = text.split_at(end.map_or(text.len(), |at| first + at));
    Some((Part::Text(part), after))
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn without_last_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_parts() {
        let parts_of = |text| parts(text).collect::<Vec<_>>();
        assert_eq!(parts_of("a"), [Part::Text("a")]);
        assert_eq!(parts_of("é${A}"), [Part::Text("é"), Part::Reference("A")]);
        assert_eq!(parts_of("$${A}"), [Part::Text("${"), Part::Text("A}")]);
        assert_eq!(parts_of("5$ $"), [Part::Text("5$ $")]);
        assert_eq!(parts_of("x${"), [Part::Text("x"), Part::Unclosed]);
        assert_eq!(parts_of("${file:a b}${}"), [Part::Reference("file:a b"), Part::Reference("")]);
    }
}
