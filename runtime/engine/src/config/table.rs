//! Reading one TOML table by its shape: unknown and missing keys, wrong types, values out of range.
//!
//! A reader gives `None` for what is absent and for what is wrong; what is wrong is in the report.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeTable, DeValue};

use super::document::{Property, Written};
use super::json::JsonReader;
use super::quantity::{duration_text, parse_duration, parse_size, size_text, timestamp_ms};
use super::report::Report;
use super::shape::{KeyShape, TABLES, TableShape, ValueShape};
use super::suggestion::{did_you_mean, listed, nearest};

/// A table, and the keys that it may have.
pub(super) struct TableReader<'t, 'i> {
    shape: &'static TableShape,
    /// `None`: something that is no table stands there, which has been reported.
    table: Option<&'t DeTable<'i>>,
    /// Its header, or the braces of an inline table.
    pub span: Range<usize>,
    report: &'t Report<'t>,
}

impl<'t, 'i> TableReader<'t, 'i> {
    /// Reports unknown keys and missing ones at once.
    pub fn new(
        shape: &'static TableShape,
        table: &'t DeTable<'i>,
        span: Range<usize>,
        report: &'t Report<'t>,
    ) -> TableReader<'t, 'i> {
        for key in table.keys().filter(|key| shape.key(key.get_ref()).is_none()) {
            report_unknown(shape, key, table, report);
        }
        for key in shape.keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            let message = format!("{} has no `{}`", shape.title, key.name);
            let help = format!("add `{}`: {}", key.example, key.about);
            report.error_with_help(span.clone(), message, help);
        }
        TableReader { shape, table: Some(table), span, report }
    }

    /// Whether the key is written, rightly or not.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether something that is no table stands in its place.
    pub fn is_broken(&self) -> bool {
        self.table.is_none()
    }

    /// Reports two keys that exclude each other, and the lack of both.
    pub fn expect_one_of(&self, keys: [&str; 2]) {
        let Some(table) = self.table else { return };
        let [first, second] = keys.map(|key| table.get_key_value(key));
        let title = self.shape.title;
        match (first, second) {
            (Some((a, _)), Some((b, _))) => {
                let later = a.span().start.max(b.span().start);
                let span = if later == a.span().start { a.span() } else { b.span() };
                let message = format!("`{}` and `{}` exclude each other", keys[0], keys[1]);
                self.report.error_with_help(span, message, "take one of them away");
            }
            (None, None) => {
                let message = format!("{title} has neither `{}` nor `{}`", keys[0], keys[1]);
                let examples = keys.map(|key| self.shape.key(key).map_or("", |key| key.example));
                let help = format!("add `{}` or `{}`", examples[0], examples[1]);
                self.report.error_with_help(self.span.clone(), message, help);
            }
            _ => {}
        }
    }

    /// Reports each of these keys that is written; `reason` follows its name.
    pub fn refuse(&self, keys: &[&str], reason: &str, help: &str) {
        for (key, _) in keys.iter().filter_map(|key| self.table?.get_key_value(*key)) {
            let message = format!("`{}` {reason}", key.get_ref());
            self.report.error_with_help(key.span(), message, help);
        }
    }

    pub fn text(&self, key: &str) -> Option<Written<String>> {
        let entry = self.entry(key)?;
        let text = entry.string()?;
        let empty_is_right = matches!(entry.key.value, ValueShape::AnyText);
        if text.value.trim().is_empty() && !empty_is_right {
            entry.error(format!("`{key}` is empty"));
            return None;
        }
        Some(text)
    }

    pub fn texts(&self, key: &str) -> Option<Vec<Written<String>>> {
        let entry = self.entry(key)?;
        let items = entry.array()?;
        if items.is_empty() {
            entry.error(format!("`{key}` is empty"));
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        for item in items {
            let text = entry.item_string(item)?;
            if !seen.insert(text.value.clone()) {
                self.report.error(text.span, format!("`{key}` has `{}` twice", text.value));
                return None;
            }
            texts.push(text);
        }
        Some(texts)
    }

    /// `meaning`: what each word of the shape stands for.
    pub fn choice<T>(&self, key: &str, meaning: impl Fn(&str) -> Option<T>) -> Option<Written<T>> {
        let entry = self.entry(key)?;
        let text = entry.string()?;
        entry.word(&text, meaning)
    }

    pub fn count(&self, key: &str) -> Option<Written<u64>> {
        self.entry(key)?.count()
    }

    pub fn duration(&self, key: &str) -> Option<Written<Duration>> {
        let entry = self.entry(key)?;
        entry.duration(&entry.string()?)
    }

    /// In bytes.
    pub fn size(&self, key: &str) -> Option<Written<u64>> {
        let entry = self.entry(key)?;
        entry.size(&entry.string()?)
    }

    /// In ms since 1970 UTC.
    pub fn timestamp(&self, key: &str) -> Option<Written<i64>> {
        let entry = self.entry(key)?;
        let DeValue::Datetime(datetime) = entry.value.get_ref() else { return entry.wrong_type() };
        match timestamp_ms(datetime) {
            Ok(value) => Some(Written { value, span: entry.value.span() }),
            Err(problem) => {
                entry.error(format!("`{key}`: `{datetime}` {problem}"));
                None
            }
        }
    }

    pub fn table(&self, key: &str) -> Option<TableReader<'t, 'i>> {
        let entry = self.entry(key)?;
        Some(match (entry.value.get_ref(), entry.table_shape()) {
            (DeValue::Table(table), Some(shape)) => {
                TableReader::new(shape, table, entry.value.span(), self.report)
            }
            _ => {
                entry.wrong_type::<()>();
                TableReader { table: None, span: entry.value.span(), ..*self }
            }
        })
    }

    pub fn tables(&self, key: &str) -> Vec<TableReader<'t, 'i>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let (Some(items), Some(shape)) = (entry.array(), entry.table_shape()) else {
            return Vec::new();
        };
        let read = |item: &'t Spanned<DeValue<'i>>| match item.get_ref() {
            DeValue::Table(table) => {
                Some(TableReader::new(shape, table, item.span(), self.report))
            }
            _ => entry.wrong_item(item),
        };
        items.iter().filter_map(read).collect()
    }

    pub fn properties(&self, key: &str) -> Vec<Property> {
        let mut properties = Vec::new();
        if let Some(entry) = self.entry(key) {
            match entry.value.get_ref() {
                DeValue::Table(table) => flatten(table, "", &mut properties, self.report),
                _ => entry.wrong_type().unwrap_or_default(),
            }
        }
        properties
    }

    pub fn object(&self, key: &str) -> Option<(Written<serde_json::Value>, JsonReader<'t>)> {
        let entry = self.entry(key)?;
        let DeValue::Table(_) = entry.value.get_ref() else { return entry.wrong_type() };
        let mut reader = JsonReader::new(self.report);
        let value = reader.read(entry.value)?;
        Some((Written { value, span: entry.value.span() }, reader))
    }

    pub fn objects(&self, key: &str) -> Option<Vec<serde_json::Value>> {
        let entry = self.entry(key)?;
        entry.objects(entry.value)
    }

    pub fn objects_by_sink(
        &self,
        key: &str,
    ) -> Option<Vec<(Written<String>, Vec<serde_json::Value>)>> {
        let entry = self.entry(key)?;
        let DeValue::Table(table) = entry.value.get_ref() else { return entry.wrong_type() };
        let read = |(sink, rows): (&Spanned<_>, &_)| Some((written(sink), entry.objects(rows)?));
        table.iter().map(read).collect()
    }

    /// The written value of a key, with its shape.
    pub fn entry(&self, name: &str) -> Option<Entry<'t, 'i>> {
        let (shape, table) = (self.shape, self.table?);
        debug_assert!(shape.key(name).is_some(), "{} has no key `{name}`", shape.title);
        Some(Entry { key: shape.key(name)?, value: table.get(name)?, report: self.report })
    }
}

/// A key that is written.
pub(super) struct Entry<'t, 'i> {
    pub key: &'static KeyShape,
    pub value: &'t Spanned<DeValue<'i>>,
    pub report: &'t Report<'t>,
}

impl<'t, 'i> Entry<'t, 'i> {
    pub fn string(&self) -> Option<Written<String>> {
        match self.value.get_ref() {
            DeValue::String(text) => {
                Some(Written { value: text.to_string(), span: self.value.span() })
            }
            _ => self.wrong_type(),
        }
    }

    /// One of the words of the shape.
    pub fn word<T>(
        &self,
        text: &Written<String>,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Option<Written<T>> {
        let span = text.span.clone();
        if let Some(value) = meaning(&text.value) {
            return Some(Written { value, span });
        }
        let words = self.key.value.words();
        let message = format!(
            "`{}` must be {}, not `{:?}`",
            self.key.name,
            describe(&self.key.value),
            text.value
        );
        match nearest(&text.value, words.iter().copied()) {
            Some(word) => {
                self.report.error_with_help(span, message, format!("did you mean `\"{word}\"`?"));
            }
            None => self.report.error(span, message),
        }
        None
    }

    pub fn count(&self) -> Option<Written<u64>> {
        let DeValue::Integer(integer) = self.value.get_ref() else { return self.wrong_type() };
        let Some(ValueShape::Count { min, max }) = self.key.value.find(is_count) else {
            return None;
        };
        match integer_value(integer).and_then(|value| u64::try_from(value).ok()) {
            Some(value) if (*min..=*max).contains(&value) => {
                Some(Written { value, span: self.value.span() })
            }
            _ => {
                let limits = match *max {
                    max if max == i64::MAX as u64 => format!("at least {min}"),
                    max => format!("from {min} to {max}"),
                };
                self.error(format!("`{}` must be {limits}, not {integer}", self.key.name));
                None
            }
        }
    }

    pub fn duration(&self, text: &Written<String>) -> Option<Written<Duration>> {
        let shape = self.key.value.find(is_duration)?;
        let ValueShape::Duration { min_ms, max_ms } = *shape else { return None };
        let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
        match parse_duration(&text.value) {
            Ok(value) if (min..=max).contains(&value) => {
                Some(Written { value, span: text.span.clone() })
            }
            Ok(_) => self.out_of_range(text, &duration_text(min), &duration_text(max)),
            Err(problem) => self.malformed(text, &problem),
        }
    }

    pub fn size(&self, text: &Written<String>) -> Option<Written<u64>> {
        let shape = self.key.value.find(is_size)?;
        let ValueShape::Size { min_bytes, max_bytes } = *shape else { return None };
        match parse_size(&text.value) {
            Ok(value) if (min_bytes..=max_bytes).contains(&value) => {
                Some(Written { value, span: text.span.clone() })
            }
            Ok(_) => self.out_of_range(text, &size_text(min_bytes), &size_text(max_bytes)),
            Err(problem) => self.malformed(text, &problem),
        }
    }

    pub fn array(&self) -> Option<&'t DeArray<'i>> {
        match self.value.get_ref() {
            DeValue::Array(items) => Some(items),
            _ => self.wrong_type(),
        }
    }

    fn item_string(&self, item: &Spanned<DeValue<'_>>) -> Option<Written<String>> {
        match item.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.report.error(item.span(), format!("`{}` has an empty entry", self.key.name));
                None
            }
            DeValue::String(text) => Some(Written { value: text.to_string(), span: item.span() }),
            _ => self.wrong_item(item),
        }
    }

    fn objects(&self, value: &Spanned<DeValue<'i>>) -> Option<Vec<serde_json::Value>> {
        let DeValue::Array(items) = value.get_ref() else { return self.wrong_item(value) };
        let read = |item: &Spanned<DeValue<'i>>| match item.get_ref() {
            DeValue::Table(_) => JsonReader::new(self.report).read(item),
            _ => self.wrong_item(item),
        };
        items.iter().map(read).collect()
    }

    fn table_shape(&self) -> Option<&'static TableShape> {
        self.key.value.table()
    }

    /// Reports a value of the wrong TOML type.
    pub fn wrong_type<T>(&self) -> Option<T> {
        let (name, found) = (self.key.name, type_name(self.value.get_ref()));
        self.error(format!("`{name}` must be {}, not {found}", describe(&self.key.value)));
        None
    }

    fn wrong_item<T>(&self, item: &Spanned<DeValue<'_>>) -> Option<T> {
        let (name, found) = (self.key.name, type_name(item.get_ref()));
        let message = format!("`{name}` must be {}, and this is {found}", describe(&self.key.value));
        self.report.error_with_help(item.span(), message, self.example());
        None
    }

    fn malformed<T>(&self, text: &Written<String>, problem: &str) -> Option<T> {
        let message = format!("`{}`: `{}` {problem}", self.key.name, text.value);
        let help = format!("write {}", describe(&self.key.value));
        self.report.error_with_help(text.span.clone(), message, help);
        None
    }

    fn out_of_range<T>(&self, text: &Written<String>, min: &str, max: &str) -> Option<T> {
        let message =
            format!("`{}` must be from {min} to {max}, not {}", self.key.name, text.value);
        self.report.error(text.span.clone(), message);
        None
    }

    /// At the value, with the key's example.
    pub fn error(&self, message: String) {
        self.report.error_with_help(self.value.span(), message, self.example());
    }

    fn example(&self) -> String {
        format!("write for example `{}`", self.key.example)
    }
}

fn report_unknown(
    shape: &TableShape,
    key: &Spanned<DeString<'_>>,
    table: &DeTable<'_>,
    report: &Report,
) {
    let name = key.get_ref().as_ref();
    let message = format!("{} has no key `{name}`", shape.title);
    let absent = shape.key_names().filter(|key| !table.contains_key(*key));
    let elsewhere = || TABLES.iter().find(|table| table.key(name).is_some());
    let help = did_you_mean(name, absent, || match elsewhere() {
        Some(table) => format!("`{name}` is a key of {}", table.title),
        None => format!("its keys are {}", listed(shape.key_names(), "and")),
    });
    report.error_with_help(key.span(), message, help);
}

/// Nested tables are dotted names: `sasl.username = "x"` and `"sasl.username" = "x"` are the same.
fn flatten(table: &DeTable<'_>, prefix: &str, into: &mut Vec<Property>, report: &Report) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let text = match value.get_ref() {
            DeValue::Table(nested) => {
                flatten(nested, &format!("{name}."), into, report);
                continue;
            }
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(integer) => match integer_value(integer) {
                Some(number) => number.to_string(),
                None => integer.to_string(),
            },
            DeValue::Float(float) => float.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) | DeValue::Array(_) => {
                let found = type_name(value.get_ref());
                let message = format!("property `{name}` must be a string, not {found}");
                report.error(value.span(), message);
                continue;
            }
        };
        if let Some(other) = into.iter().find(|property| property.name.value == name) {
            let later = if other.name.span.start > key.span().start { &other.name.span } else { &key.span() };
            report.error(later.clone(), format!("property `{name}` is written twice"));
            continue;
        }
        let name = Written { value: name, span: key.span() };
        into.push(Property { name, value: Written { value: text, span: value.span() } });
    }
}

pub(super) fn written(key: &Spanned<DeString<'_>>) -> Written<String> {
    Written { value: key.get_ref().to_string(), span: key.span() }
}

pub(super) fn integer_value(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What a value must be, to follow "must be" or "write".
pub(super) fn describe(shape: &ValueShape) -> String {
    match shape {
        ValueShape::Name | ValueShape::Text | ValueShape::AnyText => "a string".to_string(),
        ValueShape::Texts => "a list of strings".to_string(),
        ValueShape::Choice(words) => {
            let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            listed(quoted.iter().map(String::as_str), "or")
        }
        ValueShape::Count { .. } => "a whole number".to_string(),
        ValueShape::Duration { .. } => {
            "a duration such as `\"10s\"` (`ms`, `s`, `m`, `h` or `d`)".to_string()
        }
        ValueShape::Size { .. } => {
            "a size such as `\"64MiB\"` (`B`, `KiB`, `MiB` or `GiB`)".to_string()
        }
        ValueShape::Timestamp => "a date and time with zone".to_string(),
        ValueShape::Table(_) | ValueShape::Properties | ValueShape::Object => "a table".to_string(),
        ValueShape::Tables(_) | ValueShape::Objects => "a list of tables".to_string(),
        ValueShape::ObjectsBySink => "a table of lists of tables, by sink".to_string(),
        ValueShape::Offsets => "a table of topics, partitions and offsets".to_string(),
        ValueShape::Either(shapes) => {
            let alternatives: Vec<_> = shapes.iter().map(describe).collect();
            let commas = alternatives.len() - 1;
            alternatives.join(" or ").replacen(" or ", ", ", commas)
        }
    }
}

fn is_count(shape: &ValueShape) -> bool {
    matches!(shape, ValueShape::Count { .. })
}

fn is_duration(shape: &ValueShape) -> bool {
    matches!(shape, ValueShape::Duration { .. })
}

fn is_size(shape: &ValueShape) -> bool {
    matches!(shape, ValueShape::Size { .. })
}

impl ValueShape {
    /// The shape itself, or the one of its alternatives, that is meant.
    fn find(&self, meant: fn(&ValueShape) -> bool) -> Option<&ValueShape> {
        match self {
            ValueShape::Either(shapes) => shapes.iter().find(|shape| meant(shape)),
            shape => Some(shape).filter(|shape| meant(shape)),
        }
    }

    fn words(&self) -> &'static [&'static str] {
        match self.find(|shape| matches!(shape, ValueShape::Choice(_))) {
            Some(ValueShape::Choice(words)) => words,
            _ => &[],
        }
    }

    fn table(&self) -> Option<&'static TableShape> {
        let is_table =
            |shape: &ValueShape| matches!(shape, ValueShape::Table(_) | ValueShape::Tables(_));
        match self.find(is_table) {
            Some(ValueShape::Table(shape) | ValueShape::Tables(shape)) => Some(shape),
            _ => None,
        }
    }
}
