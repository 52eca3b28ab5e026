//! Where a record's key comes from.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Record;

/// How a line becomes key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRule {
    /// No key: the line is the value.
    None,
    /// The line is a JSON object and the value; the text of this field is the key.
    Field(String),
    /// The key is what stands before the first delimiter, the value what stands after it.
    Before(String),
}

impl KeyRule {
    /// Splits a line, or says why it has no key.
    pub fn record(&self, line: Vec<u8>) -> Result<Record, String> {
        match self {
            KeyRule::None => Ok(Record { key: None, value: line }),
            KeyRule::Field(field) => {
                let key = field_text(&line, field)?;
                Ok(Record { key: Some(key.into_bytes()), value: line })
            }
            KeyRule::Before(delimiter) => split(&line, delimiter.as_bytes())
                .ok_or_else(|| format!("no `{delimiter}` between key and value")),
        }
    }
}

fn split(line: &[u8], delimiter: &[u8]) -> Option<Record> {
    let at = line.windows(delimiter.len().max(1)).position(|window| window == delimiter)?;
    let (key, value) = (line[..at].to_vec(), line[at + delimiter.len()..].to_vec());
    Some(Record { key: Some(key), value })
}

/// The text of a field of a JSON object: a string's content, a number or boolean as it is written.
pub(super) fn field_text(line: &[u8], field: &str) -> Result<String, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let found = deserializer.deserialize_map(OneField(field));
    match found.map_err(|error| format!("not a JSON object: {error}"))? {
        None | Some(Value::Null) => Err(format!("no field `{field}`")),
        Some(Value::String(text)) => Ok(text),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(_) => Err(format!("field `{field}` is no text and no number")),
    }
}

/// Reads one field of an object and skips the others. Of two fields of one name the last counts.
struct OneField<'a>(&'a str);

impl<'de> Visitor<'de> for OneField<'_> {
    type Value = Option<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Option<Value>, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            if name == self.0 {
                found = Some(fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_fields_text() {
        let table = [
            (r#"{"id":11599,"city":"Reno"}"#, Ok("11599")),
            (r#"{"city":"Reno","id":"a:b"}"#, Ok("a:b")),
            (r#"{"id":9007199254740993}"#, Ok("9007199254740993")),
            (r#"{"id":18446744073709551615}"#, Ok("18446744073709551615")),
            (r#"{"id":true}"#, Ok("true")),
            (r#"{"id":1,"id":2}"#, Ok("2")),
            (r#"{"\u0069d":3}"#, Ok("3")),
            (r#"{"id":null}"#, Err("no field `id`")),
            (r#"{"customer":{"id":1}}"#, Err("no field `id`")),
            (r#"{"id":[1]}"#, Err("field `id` is no text and no number")),
        ];
        for (line, expected) in table {
            assert_eq!(
                field_text(line.as_bytes(), "id").as_deref(),
                expected.map_err(str::to_owned).as_ref().map(|text| *text)
            );
        }
    }

    #[test]
    fn a_line_that_is_no_object_says_so() {
        for line in ["[1]", "7", "", "{", "\u{1}"] {
            let reason = field_text(line.as_bytes(), "id").unwrap_err();
            assert!(reason.starts_with("not a JSON object: "), "{reason}");
        }
    }

    #[test]
    fn the_first_delimiter_ends_the_key() {
        let rule = KeyRule::Before(":".to_owned());
        let record = rule.record(br#"1:{"order_id":1}"#.to_vec()).unwrap();
        assert_eq!(record.key.as_deref(), Some(&b"1"[..]));
        assert_eq!(record.value, br#"{"order_id":1}"#);
        assert_eq!(rule.record(b"plain".to_vec()).unwrap_err(), "no `:` between key and value");
        let wide = KeyRule::Before(" => ".to_owned()).record(b"a => b => c".to_vec()).unwrap();
        assert_eq!((wide.key.as_deref(), &wide.value[..]), (Some(&b"a"[..]), &b"b => c"[..]));
    }
}
