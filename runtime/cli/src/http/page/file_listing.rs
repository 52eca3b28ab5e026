//! A pipeline file with its mistakes at their lines, as it is now: what runs may be what it was before.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_cli::shipped;
use gristmill_engine::config::{self, Diagnostic, LoadContext};
use maud::{Markup, html};

/// Mistakes by their line, from 1.
pub type Mistakes = BTreeMap<usize, Vec<String>>;

/// The file's lines; secrets are hidden.
pub fn render(file: &Path) -> Markup {
    match read(file) {
        Ok(text) => lines(&text, &mistakes(file, &text)),
        Err(error) => html! { p.alert { "The file cannot be read: " (error) } },
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(file)?.len();
    if size > config::FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has {size} bytes")));
    }
    std::fs::read_to_string(file)
}

/// What the file alone tells: modules are asked by a reload.
fn mistakes(file: &Path, text: &str) -> Mistakes {
    let environment = |name: &str| std::env::var(name).ok();
    let context = LoadContext { shipped: &shipped::names(), environment: &environment };
    let found = match config::parse(text, file, &context) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    let mut mistakes = Mistakes::new();
    for diagnostic in &found {
        let (line, _) = diagnostic.position(text);
        mistakes.entry(line).or_default().push(in_words(diagnostic));
    }
    mistakes
}

fn in_words(diagnostic: &Diagnostic) -> String {
    let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!("\nhelp: {help}"));
    format!("{}: {}{help}", diagnostic.severity, diagnostic.message)
}

fn lines(text: &str, mistakes: &Mistakes) -> Markup {
    html! {
        ol.listing tabindex="0" aria-label="Text of the pipeline file" {
            @for (index, line) in config::lines_without_secrets(text).iter().enumerate() {
                @let wrong = mistakes.get(&(index + 1));
                li class=[wrong.map(|_| "wrong")] {
                    code { (line) }
                    @for mistake in wrong.into_iter().flatten() { span.mistake { (mistake) } }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_stand_at_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.toml");
        let text = "name = \"p\"\n[source]\ntopic = [\"<script>\"]\n[[sink]]\nname = \"s\"\ntopic = \"t\"\n";
        std::fs::write(&file, text).unwrap();
        let found = mistakes(&file, text);
        assert!(found.get(&3).is_some_and(|words| words[0].contains("topics")), "{found:?}");
        let shown = render(&file).into_string();
        assert!(shown.contains("class=\"wrong\"") && !shown.contains("<script>"), "{shown}");
        assert!(render(&folder.path().join("none.toml")).into_string().contains("cannot be read"));
    }
}
