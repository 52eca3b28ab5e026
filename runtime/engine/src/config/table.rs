//! Reading one TOML table by its shape: unknown and missing keys, wrong types, values out of range.
//!
//! A reader gives `None` for what is absent and for what is wrong; what is wrong is in the report.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::document::{Property, Written};
use super::entry::{Entry, integer_value, type_name, written};
use super::json::JsonReader;
use super::quantity::timestamp_ms;
use super::report::Report;
use super::shape::{TABLES, TableShape, ValueShape};
use super::suggestion::{did_you_mean, listed};

/// Most entries of one list: stages, sinks, topics, columns, tests, records of a test.
const LIST_ENTRIES_MAX: usize = 1_000;

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
        if items.len() > LIST_ENTRIES_MAX {
            entry.error(format!("`{key}` has more than {LIST_ENTRIES_MAX} entries"));
            return None;
        }
        let mut seen = BTreeSet::new();
        let read = |item| {
            let text: Written<String> = entry.item_string(item)?;
            if seen.insert(text.value.clone()) {
                return Some(text);
            }
            self.report.error(text.span, format!("`{key}` has `{}` twice", text.value));
            None
        };
        let texts: Vec<_> = items.iter().map(read).collect();
        texts.into_iter().collect()
    }

    /// `meaning`: what each word of the shape stands for.
    pub fn choice<T>(&self, key: &str, meaning: impl Fn(&str) -> Option<T>) -> Option<Written<T>> {
        let entry = self.entry(key)?;
        let text = entry.string()?;
        entry.word(&text, meaning)
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        let entry = self.entry(key)?;
        match entry.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => entry.wrong_type(),
        }
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
            DeValue::Table(table) => Some(TableReader::new(shape, table, item.span(), self.report)),
            _ => entry.wrong_item(item),
        };
        if items.len() > LIST_ENTRIES_MAX {
            entry.error(format!("`{key}` has more than {LIST_ENTRIES_MAX} entries"));
        }
        items.iter().take(LIST_ENTRIES_MAX).filter_map(read).collect()
    }

    /// By name.
    pub fn properties(&self, key: &str) -> Vec<Property> {
        let mut properties = BTreeMap::new();
        if let Some(entry) = self.entry(key) {
            match entry.value.get_ref() {
                DeValue::Table(table) => flatten(table, "", &mut properties, self.report),
                _ => entry.wrong_type().unwrap_or_default(),
            }
        }
        properties.into_values().collect()
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
        let expected: Vec<_> = table.iter().map(read).collect();
        expected.into_iter().collect()
    }

    /// The written value of a key, with its shape.
    pub fn entry(&self, name: &str) -> Option<Entry<'t, 'i>> {
        let (shape, table) = (self.shape, self.table?);
        debug_assert!(shape.key(name).is_some(), "{} has no key `{name}`", shape.title);
        Some(Entry { key: shape.key(name)?, value: table.get(name)?, report: self.report })
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
fn flatten(
    table: &DeTable<'_>,
    prefix: &str,
    into: &mut BTreeMap<String, Property>,
    report: &Report,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(nested) = value.get_ref() {
            flatten(nested, &format!("{name}."), into, report);
            continue;
        }
        let Some(text) = property_text(&name, value, report) else { continue };
        let value = Written { value: text, span: value.span() };
        let property = Property { name: Written { value: name.clone(), span: key.span() }, value };
        if let Some(other) = into.get(&name) {
            let both = [other.name.span.clone(), key.span()];
            let later = both.into_iter().max_by_key(|span| span.start).unwrap_or_default();
            report.error(later, format!("property `{name}` is written twice"));
            continue;
        }
        into.insert(name, property);
    }
}

fn property_text(name: &str, value: &Spanned<DeValue<'_>>, report: &Report) -> Option<String> {
    Some(match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => {
            integer_value(integer).map_or_else(|| integer.to_string(), |number| number.to_string())
        }
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Table(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            let found = type_name(value.get_ref());
            report.error(value.span(), format!("property `{name}` must be a string, not {found}"));
            return None;
        }
    })
}
