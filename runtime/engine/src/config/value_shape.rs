//! What a value of a pipeline file may be: its type and limits, and how that is said.

use super::shape::TableShape;

/// What a value may be.
#[derive(Debug)]
pub(super) enum ValueShape {
    /// A string of letters, digits, `_` and `-`, not longer than `NAME_CHARS_MAX`.
    Name,
    /// A string that is not empty.
    Text,
    /// A string of any length.
    AnyText,
    /// A list of strings, not empty, none twice.
    Texts,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    Count {
        min: u64,
        max: u64,
    },
    /// Limits in ms.
    Duration {
        min_ms: u64,
        max_ms: u64,
    },
    /// Limits in bytes.
    Size {
        min_bytes: u64,
        max_bytes: u64,
    },
    /// A part of a hundred, above 0 and at most 100.
    Share,
    /// A date and time with zone.
    Timestamp,
    Table(&'static TableShape),
    /// `[[…]]`, or a list of inline tables.
    Tables(&'static TableShape),
    /// Strings, numbers and booleans by name; nested tables are dotted names.
    Properties,
    /// Any table; a module or a test knows its keys.
    Object,
    /// A list of such tables.
    Objects,
    /// Lists of such tables, by sink.
    ObjectsBySink,
    /// Topic → partition → offset.
    Offsets,
    /// Any of these; no two of the same TOML type, but a choice and a duration.
    Either(&'static [ValueShape]),
}

impl ValueShape {
    /// The shape itself, or the one of its alternatives, that is meant.
    pub fn find(&self, meant: fn(&ValueShape) -> bool) -> Option<&ValueShape> {
        match self {
            ValueShape::Either(shapes) => shapes.iter().find(|shape| meant(shape)),
            shape => Some(shape).filter(|shape| meant(shape)),
        }
    }

    /// Of a choice.
    pub fn words(&self) -> &'static [&'static str] {
        match self.find(|shape| matches!(shape, ValueShape::Choice(_))) {
            Some(ValueShape::Choice(words)) => words,
            _ => &[],
        }
    }

    /// Of a table, or of the tables of a list.
    pub fn table(&self) -> Option<&'static TableShape> {
        let is_table =
            |shape: &ValueShape| matches!(shape, ValueShape::Table(_) | ValueShape::Tables(_));
        match self.find(is_table) {
            Some(ValueShape::Table(shape) | ValueShape::Tables(shape)) => Some(shape),
            _ => None,
        }
    }
}

/// What a value must be, to follow "must be" or "write".
pub(super) fn describe(shape: &ValueShape) -> String {
    let alternatives = alternatives(shape);
    match alternatives.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn alternatives(shape: &ValueShape) -> Vec<String> {
    let one = match shape {
        ValueShape::Choice(words) => {
            return words.iter().map(|word| format!("`\"{word}\"`")).collect();
        }
        ValueShape::Either(shapes) => return shapes.iter().flat_map(alternatives).collect(),
        ValueShape::Name | ValueShape::Text | ValueShape::AnyText => "a string",
        ValueShape::Texts => "a list of strings",
        ValueShape::Flag => "`true` or `false`",
        ValueShape::Count { .. } => "a whole number",
        ValueShape::Duration { .. } => "a duration such as `\"10s\"` (`ms`, `s`, `m`, `h` or `d`)",
        ValueShape::Size { .. } => "a size such as `\"64MiB\"` (`B`, `KiB`, `MiB` or `GiB`)",
        ValueShape::Share => "a share such as `\"1%\"`",
        ValueShape::Timestamp => "a date and time with zone",
        ValueShape::Table(_) | ValueShape::Properties | ValueShape::Object => "a table",
        ValueShape::Tables(_) | ValueShape::Objects => "a list of tables",
        ValueShape::ObjectsBySink => "a table of lists of tables, by sink",
        ValueShape::Offsets => "a table of topics, partitions and offsets",
    };
    vec![one.to_string()]
}
