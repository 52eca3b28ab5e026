//! One key of a table: its value read by its shape.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeValue};

use super::document::Written;
use super::json::JsonReader;
use super::quantity::{duration_text, parse_duration, parse_share, parse_size, size_text};
use super::report::Report;
use super::shape::{KeyShape, TableShape, ValueShape};
use super::suggestion::nearest;
use super::value_shape::describe;

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

    /// In parts of a million.
    pub fn share(&self, text: &Written<String>) -> Option<Written<u32>> {
        match parse_share(&text.value) {
            Ok(value) => Some(Written { value, span: text.span.clone() }),
            Err(problem) => self.malformed(text, &problem),
        }
    }

    pub fn array(&self) -> Option<&'t DeArray<'i>> {
        match self.value.get_ref() {
            DeValue::Array(items) => Some(items),
            _ => self.wrong_type(),
        }
    }

    pub fn item_string(&self, item: &Spanned<DeValue<'_>>) -> Option<Written<String>> {
        match item.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.report.error(item.span(), format!("`{}` has an empty entry", self.key.name));
                None
            }
            DeValue::String(text) => Some(Written { value: text.to_string(), span: item.span() }),
            _ => self.wrong_item(item),
        }
    }

    pub fn objects(&self, value: &Spanned<DeValue<'i>>) -> Option<Vec<serde_json::Value>> {
        let DeValue::Array(items) = value.get_ref() else { return self.wrong_item(value) };
        let read = |item: &Spanned<DeValue<'i>>| match item.get_ref() {
            DeValue::Table(_) => JsonReader::new(self.report).read(item),
            _ => self.wrong_item(item),
        };
        let objects: Vec<_> = items.iter().map(read).collect();
        objects.into_iter().collect()
    }

    pub fn table_shape(&self) -> Option<&'static TableShape> {
        self.key.value.table()
    }

    /// Reports a value of the wrong TOML type.
    pub fn wrong_type<T>(&self) -> Option<T> {
        let (name, found) = (self.key.name, type_name(self.value.get_ref()));
        self.error(format!("`{name}` must be {}, not {found}", describe(&self.key.value)));
        None
    }

    pub fn wrong_item<T>(&self, item: &Spanned<DeValue<'_>>) -> Option<T> {
        let (name, found) = (self.key.name, type_name(item.get_ref()));
        let message =
            format!("`{name}` must be {}, and this is {found}", describe(&self.key.value));
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

fn is_count(shape: &ValueShape) -> bool {
    matches!(shape, ValueShape::Count { .. })
}

fn is_duration(shape: &ValueShape) -> bool {
    matches!(shape, ValueShape::Duration { .. })
}

fn is_size(shape: &ValueShape) -> bool {
    matches!(shape, ValueShape::Size { .. })
}
