//! What is wrong with a pipeline file, and how it is shown: place, message, source line, caret,
//! help.
//!
//! Text only, no colour. A diagnostic names a byte range of the file; the text is needed again to
//! show it. Positions are for people: lines and columns count from 1, a column is a character.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use unicode_width::UnicodeWidthChar;

/// A tab is shown as this many columns.
const TAB_COLUMNS: usize = 4;
/// Longer source lines are cropped around the caret.
const LINE_COLUMNS_MAX: usize = 160;
/// Columns kept before the caret of a cropped line.
const CROP_COLUMNS_BEFORE: usize = 40;
/// Right edge of the line numbers.
const GUTTER_COLUMNS: usize = 4;
/// Stands for what was cropped.
const ELLIPSIS: &str = "...";

/// A value beside a key with one of these in its name is not shown.
const SECRET_WORDS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "access_key", "account_key", "key.pem"];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The pipeline is refused.
    Error,
    /// The pipeline runs, though hardly as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One mistake at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// As the caller named it.
    pub file: PathBuf,
    /// Byte range in the file's text; empty where something is missing.
    pub span: Range<usize>,
    /// Lower case, no full stop; never holds a resolved secret.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(
        file: impl Into<PathBuf>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (file, message) = (file.into(), message.into());
        Diagnostic { severity: Severity::Error, file, span, message, help: None }
    }

    pub fn warning(
        file: impl Into<PathBuf>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(file, span, message) }
    }

    /// Says what would be right.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Line and column of the start, from 1. A span outside of the text is drawn to its end.
    pub fn position(&self, source_text: &str) -> (usize, usize) {
        let start = boundary_at_or_before(source_text, self.span.start);
        let before = &source_text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        (line, 1 + before[line_start..].chars().count())
    }

    /// The whole message with the source line, a caret under the span and the help. Ends with a
    /// newline.
    ///
    /// `source_text` is the text of [`Diagnostic::file`]; where it is empty (the file cannot be
    /// read), only the message is shown.
    pub fn render(&self, source_text: &str) -> String {
        let Diagnostic { severity, message, .. } = self;
        let file = self.file.display();
        let mut out = if source_text.is_empty() {
            format!("{file}: {severity}: {message}\n")
        } else {
            let (line, column) = self.position(source_text);
            let heading = format!("{file}:{line}:{column}: {severity}: {message}\n");
            heading + &self.render_source(source_text, line)
        };
        for (index, help_line) in self.help.iter().flat_map(|help| help.lines()).enumerate() {
            let label = if index == 0 { "= help: " } else { "        " };
            out.push_str(&format!("{:GUTTER_COLUMNS$} {label}{help_line}\n", ""));
        }
        out
    }

    fn render_source(&self, source_text: &str, line_number: usize) -> String {
        let start = boundary_at_or_before(source_text, self.span.start);
        let end = boundary_at_or_before(source_text, self.span.end).max(start);
        let line_start = source_text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = source_text[start..].find('\n').map_or(source_text.len(), |n| start + n);
        let line = source_text[line_start..line_end].trim_end_matches('\r');
        let caret_end = end.min(line_start + line.len()) - line_start.min(end);
        let shown = ShownLine::new(line, start - line_start..caret_end);
        let ShownLine { text, caret_column, caret_columns } = shown;
        let (blank, carets) = (" ".repeat(caret_column), "^".repeat(caret_columns));
        let text = text.trim_end();
        format!(
            "{line_number:GUTTER_COLUMNS$} | {text}\n{:GUTTER_COLUMNS$} | {blank}{carets}\n",
            "",
        )
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file.display(), self.severity, self.message)
    }
}

/// Renders diagnostics of one file, a blank line between two.
pub fn render_all(diagnostics: &[Diagnostic], source_text: &str) -> String {
    let rendered: Vec<_> = diagnostics.iter().map(|one| one.render(source_text)).collect();
    rendered.join("\n")
}

/// Renders diagnostics of any files, reading each again; one that cannot be read is shown without
/// its lines.
pub fn render_with_files(diagnostics: &[Diagnostic]) -> String {
    let render =
        |one: &Diagnostic| one.render(&std::fs::read_to_string(&one.file).unwrap_or_default());
    diagnostics.iter().map(render).collect::<Vec<_>>().join("\n")
}

/// A source line as a terminal can show it, with the columns of the caret.
struct ShownLine {
    text: String,
    caret_column: usize,
    caret_columns: usize,
}

impl ShownLine {
    /// `caret`: byte range in `line`.
    fn new(line: &str, caret: Range<usize>) -> ShownLine {
        let hidden = secret_values(line);
        let mut cells: Vec<(char, usize)> = Vec::new();
        let (mut caret_cell, mut caret_end_cell) = (None, 0);
        for (at, c) in line.char_indices() {
            if at >= caret.start && caret_cell.is_none() {
                caret_cell = Some(cells.len());
            }
            let is_hidden = hidden.iter().any(|range| range.contains(&at));
            cells.extend(shown_cells(if is_hidden { '*' } else { c }));
            if at < caret.end {
                caret_end_cell = cells.len();
            }
        }
        let caret_cell = caret_cell.unwrap_or(cells.len());
        let (cells, crop) = crop(&cells, caret_cell);
        let columns = |range: Range<usize>| -> usize {
            cells.get(range).map_or(0, |cells| cells.iter().map(|cell| cell.1).sum())
        };
        let caret_cell = caret_cell - crop.start;
        let caret_end_cell = caret_end_cell.saturating_sub(crop.start).min(cells.len());
        let front = if crop.start > 0 { ELLIPSIS } else { "" };
        let back = if crop.cut_behind { ELLIPSIS } else { "" };
        let text: String = cells.iter().map(|cell| cell.0).collect();
        ShownLine {
            text: format!("{front}{text}{back}"),
            caret_column: front.len() + columns(0..caret_cell),
            caret_columns: columns(caret_cell..caret_end_cell.max(caret_cell)).max(1),
        }
    }
}

/// What is left out of a long line.
struct Crop {
    /// First cell that is shown.
    start: usize,
    cut_behind: bool,
}

fn crop(cells: &[(char, usize)], caret_cell: usize) -> (&[(char, usize)], Crop) {
    let columns: usize = cells.iter().map(|cell| cell.1).sum();
    if columns <= LINE_COLUMNS_MAX {
        return (cells, Crop { start: 0, cut_behind: false });
    }
    let start = caret_cell.saturating_sub(CROP_COLUMNS_BEFORE);
    let mut columns = 0;
    let shown = cells[start..].iter().take_while(|cell| {
        columns += cell.1;
        columns <= LINE_COLUMNS_MAX
    });
    let end = start + shown.count();
    (&cells[start..end], Crop { start, cut_behind: end < cells.len() })
}

/// A character and its columns; what would move the cursor or turn the text's direction is shown as
/// a sign for it.
fn shown_cells(c: char) -> impl Iterator<Item = (char, usize)> {
    let (c, times) = match c {
        '\t' => (' ', TAB_COLUMNS),
        '\0'..='\x1f' => (char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'), 1),
        '\x7f' => ('\u{2421}', 1),
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => ('\u{fffd}', 1),
        c => (c, 1),
    };
    std::iter::repeat_n((c, c.width().unwrap_or(1)), times)
}

/// Byte ranges of quoted strings that follow a key with a secret's name; `"${VAR}"` may be shown.
pub(super) fn secret_values(line: &str) -> Vec<Range<usize>> {
    let lower = line.to_ascii_lowercase();
    let Some(word) = SECRET_WORDS.iter().filter_map(|word| lower.find(word)).min() else {
        return Vec::new();
    };
    let Some(equals) = line[word..].find('=').map(|at| word + at) else { return Vec::new() };
    let mut hidden = Vec::new();
    let mut rest = equals;
    while let Some(open) = line[rest..].find(['"', '\'']).map(|at| rest + at) {
        let quote = line[open..].chars().next().unwrap_or('"');
        let content = open + 1;
        let close = line[content..].find(quote).map_or(line.len(), |at| content + at);
        let text = &line[content..close];
        if !(text.starts_with("${") && text.ends_with('}')) {
            hidden.push(content..close);
        }
        rest = (close + 1).min(line.len());
    }
    hidden
}

fn boundary_at_or_before(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(source: &str, span: Range<usize>) -> String {
        Diagnostic::error("f.toml", span, "m").render(source)
    }

    #[test]
    fn the_caret_covers_the_whole_span() {
        let rendered = Diagnostic::error("a/b.toml", 9..14, "no such thing")
            .help("one\ntwo")
            .render("x = 1\ny =\tabcd # z\n");
        assert_eq!(
            rendered,
            "a/b.toml:2:4: error: no such thing\n   2 | y =    abcd # z\n     |    ^^^^^^^^\n     \
             = help: one\n             two\n"
        );
    }

    #[test]
    fn wide_and_zero_width_characters_keep_the_caret_in_place() {
        assert_eq!(
            shown("a = \"日本é\" b", 13..15),
            "f.toml:1:9: error: m\n   1 | a = \"日本é\" b\n     |           ^^\n"
        );
        assert_eq!(shown("日x", 3..4), "f.toml:1:2: error: m\n   1 | 日x\n     |   ^\n");
        assert_eq!(shown("e\u{301}x", 3..4), "f.toml:1:3: error: m\n   1 | e\u{301}x\n     |  ^\n");
    }

    #[test]
    fn a_span_outside_of_the_text_or_inside_a_character_is_drawn_to_a_border() {
        assert_eq!(shown("日", 1..2), "f.toml:1:1: error: m\n   1 | 日\n     | ^\n");
        assert_eq!(shown("ab", 90..95), "f.toml:1:3: error: m\n   1 | ab\n     |   ^\n");
        assert_eq!(shown("", 3..4), "f.toml: error: m\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let rendered = shown("a\x1b[31m\u{202e}b\r\n", 0..1);
        assert_eq!(rendered, "f.toml:1:1: error: m\n   1 | a\u{241b}[31m\u{fffd}b\n     | ^\n");
    }

    #[test]
    fn a_long_line_is_cropped_around_the_caret() {
        let line = "x".repeat(1_000) + "HERE" + &"y".repeat(1_000);
        let rendered = shown(&line, 1_000..1_004);
        let lines: Vec<_> = rendered.lines().collect();
        assert!(lines[1].len() < 200, "{}", lines[1]);
        let at = lines[2].find("^^^^").unwrap();
        assert_eq!(&lines[1][at..at + 4], "HERE");
    }

    #[test]
    fn a_secret_written_into_the_file_is_not_shown() {
        let rendered = shown("\"sasl.password\" = \"hunter2\" # \"too\"", 0..15);
        assert!(!rendered.contains("hunter2"), "{rendered}");
        let rendered = shown("kafka = { \"sasl.password\" = \"${PASSWORD}\" }", 0..5);
        assert!(rendered.contains("\"${PASSWORD}\""), "{rendered}");
        let rendered = shown("kafka = { x = 'a', sasl.password = 'hunter2' }", 0..5);
        assert!(rendered.contains("'a'") && !rendered.contains("hunter2"), "{rendered}");
    }
}
