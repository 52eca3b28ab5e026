//! TOML values as JSON, for what a module or a test knows the keys of; every key keeps its place.
//!
//! Dates and times become strings. 64-bit integers stay exact.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::integer_value;
use super::report::Report;

/// Converts one value and remembers where its keys stand.
pub(super) struct JsonReader<'r> {
    report: &'r Report<'r>,
    /// Dotted key (list entries by number) → its key in the file, for list entries the entry.
    pub places: BTreeMap<String, Range<usize>>,
}

impl<'r> JsonReader<'r> {
    pub fn new(report: &'r Report<'r>) -> JsonReader<'r> {
        JsonReader { report, places: BTreeMap::new() }
    }

    /// `None` if it holds what JSON cannot, which is reported.
    pub fn read(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        self.value(value, "")
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Datetime(datetime) => Some(Value::String(datetime.to_string())),
            DeValue::Integer(integer) => match integer_value(integer).and_then(Number::from_i128) {
                Some(number) => Some(Value::Number(number)),
                None => self.refuse(value, "this number does not fit into 64 bits"),
            },
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(Number::from_f64);
                match number {
                    Some(number) => Some(Value::Number(number)),
                    None => self.refuse(value, "this number is not finite"),
                }
            }
            DeValue::Array(items) => {
                let read = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
                    let path = below(path, &index.to_string());
                    self.places.insert(path.clone(), item.span());
                    self.value(item, &path)
                };
                let items: Vec<_> = items.iter().enumerate().map(read).collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
            }
            DeValue::Table(table) => self.table(table, path),
        }
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Option<Value> {
        let read = |(key, value): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let path = below(path, key.get_ref());
            self.places.insert(path.clone(), key.span());
            self.value(value, &path).map(|value| (key.get_ref().to_string(), value))
        };
        let members: Vec<_> = table.iter().map(read).collect();
        members.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
    }

    fn refuse(&self, value: &Spanned<DeValue<'_>>, message: &str) -> Option<Value> {
        self.report.error(value.span(), message);
        None
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}
