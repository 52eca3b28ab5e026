//! Rows from the command line, and the columns that they have.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use gristmill_engine::source;
use gristmill_host::{field_from_json, list_type};
use serde_json::{Map, Value, json};

use crate::user_error::UserError;

/// Most bytes of rows that are read.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Columns as in a pipeline file's schema: `order_id long, city string`.
pub fn columns(text: &str) -> Result<Schema, UserError> {
    let refuse = |why: String| UserError::new(format!("the columns `{text}`: {why}"));
    let parsed = gristmill_sdk::parse_schema(text).map_err(|error| refuse(error.to_string()))?;
    let fields = parsed.fields.iter().map(|field| {
        let field = serde_json::to_value(field).map_err(|error| error.to_string())?;
        field_from_json(&field)
    });
    let fields = fields.collect::<Result<Vec<FieldRef>, String>>().map_err(refuse)?;
    Ok(Schema::new(fields))
}

/// `KEY=VALUE`, with a JSON value or a text, or a whole JSON object; later ones win.
pub fn config(parts: &[String], base: &Value) -> Result<Value, UserError> {
    let mut config = base.as_object().cloned().unwrap_or_default();
    for part in parts {
        if part.trim_start().starts_with('{') {
            let whole: Map<String, Value> = serde_json::from_str(part).map_err(|error| {
                UserError::new(format!("--with `{part}` is no JSON object: {error}"))
            })?;
            config.extend(whole);
            continue;
        }
        let (key, value) = part.split_once('=').ok_or_else(|| {
            UserError::new(format!("--with `{part}` is neither KEY=VALUE nor a JSON object"))
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        config.insert(key.trim().to_string(), value);
    }
    Ok(Value::Object(config))
}

/// The lines of a file, `-` for standard input; empty ones are passed over.
pub fn lines_of_file(path: &Path) -> Result<Vec<String>> {
    if path == Path::new("-") {
        return lines(std::io::stdin().lock(), "standard input");
    }
    let file = std::fs::File::open(path)
        .with_context(|| format!("cannot read `{}`", path.display()))
        .map_err(UserError::from_error)?;
    lines(file, &path.display().to_string())
}

/// The lines of standard input, unless a person sits there.
pub fn piped_lines() -> Result<Option<Vec<String>>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    lines(stdin.lock(), "standard input").map(|lines| Some(lines).filter(|lines| !lines.is_empty()))
}

fn lines(input: impl Read, name: &str) -> Result<Vec<String>> {
    let mut bytes = Vec::new();
    input
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        let mebibytes = INPUT_BYTES_MAX >> 20;
        return Err(UserError::new(format!("{name} holds more than {mebibytes} MiB")).into());
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| UserError::new(format!("{name} is not UTF-8 text")))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

/// Lines as rows of columns: a JSON object by its members; anything else is the value of the only column.
///
/// # Errors
/// A line is no JSON object, and there are several columns.
pub fn rows(lines: &[String], schema: &Schema) -> Result<Vec<Map<String, Value>>, UserError> {
    let only = match schema.fields().as_ref() {
        [only] => Some(only),
        _ => None,
    };
    let row = |line: &String| match (serde_json::from_str::<Value>(line), only) {
        (Ok(Value::Object(members)), _) => Ok(members),
        (parsed, Some(only)) => {
            let is_text = matches!(only.data_type(), DataType::Utf8 | DataType::Binary);
            let value = parsed.ok().filter(|_| !is_text).unwrap_or_else(|| line.as_str().into());
            Ok(Map::from_iter([(only.name().clone(), value)]))
        }
        _ => Err(UserError::new(format!(
            "`{line}` is no JSON object, and the columns are {}",
            crate::column_text::fields_text(schema.fields())
        ))),
    };
    lines.iter().map(row).collect()
}

/// Lines as the values of Kafka records.
pub fn records(lines: &[String]) -> Vec<Map<String, Value>> {
    lines.iter().map(|line| Map::from_iter([("value".to_string(), line.as_str().into())])).collect()
}

/// The columns of a Kafka record, as Spark names them: what the first stage of a pipeline gets.
pub fn record_columns() -> Schema {
    source::schema().as_ref().clone()
}

/// What a record has if its row does not say it.
pub fn complete_record(offset: usize, mut row: Map<String, Value>) -> Map<String, Value> {
    let defaults = json!({
        "topic": "test", "partition": 0, "offset": offset, "timestamp": "1970-01-01T00:00:00Z",
        "timestampType": 0, "headers": [],
    });
    for (name, value) in defaults.as_object().into_iter().flatten() {
        row.entry(name.clone()).or_insert_with(|| value.clone());
    }
    row
}

/// Columns by the values of JSON objects: whole numbers are longs, others doubles.
pub fn inferred(rows: &[Map<String, Value>]) -> Schema {
    let mut fields: Vec<Field> = Vec::new();
    for (name, value) in rows.iter().flatten() {
        let known = fields.iter().position(|field| field.name() == name);
        match (known, data_type(value)) {
            (None, found) => {
                fields.push(Field::new(name, found.unwrap_or(DataType::Null), true));
            }
            (Some(at), Some(found)) if *fields[at].data_type() == DataType::Null => {
                fields[at] = Field::new(name, found, true);
            }
            (Some(at), Some(DataType::Float64)) if *fields[at].data_type() == DataType::Int64 => {
                fields[at] = Field::new(name, DataType::Float64, true);
            }
            _ => {}
        }
    }
    let known = |field: Field| match field.data_type() {
        DataType::Null => field.with_data_type(DataType::Utf8),
        _ => field,
    };
    Schema::new(fields.into_iter().map(known).collect::<Vec<_>>())
}

/// None: a null, which may be of any type.
fn data_type(value: &Value) -> Option<DataType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => DataType::Boolean,
        Value::Number(number) if number.is_i64() => DataType::Int64,
        Value::Number(_) => DataType::Float64,
        Value::String(_) => DataType::Utf8,
        Value::Array(items) => {
            list_type(items.iter().find_map(data_type).unwrap_or(DataType::Utf8), true)
        }
        Value::Object(members) => {
            let field = |(name, value): (&String, &Value)| {
                Field::new(name, data_type(value).unwrap_or(DataType::Utf8), true)
            };
            DataType::Struct(Fields::from_iter(members.iter().map(field).map(Arc::new)))
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_are_read_as_in_a_pipeline_file() {
        let schema = columns("order_id long, items array<struct<id int>>").unwrap();
        assert_eq!(schema.field(0).data_type(), &DataType::Int64);
        assert!(columns("order_id lng").unwrap_err().to_string().contains("lng"));
    }

    #[test]
    fn a_configuration_is_made_of_keys_or_is_whole() {
        let base = json!({ "city": "Reno", "limit": 1 });
        let parts = lines(&["limit=5", "name=a b", r#"{"city":"Chicago"}"#]);
        let expected = json!({ "city": "Chicago", "limit": 5, "name": "a b" });
        assert_eq!(config(&parts, &base).unwrap(), expected);
        assert!(config(&lines(&["city"]), &base).is_err());
    }

    #[test]
    fn a_line_is_an_object_or_the_value_of_the_only_column() {
        let two = columns("id long, city string").unwrap();
        assert_eq!(rows(&lines(&[r#"{"id":1}"#]), &two).unwrap()[0]["id"], 1);
        assert!(rows(&lines(&["Chicago"]), &two).is_err());
        let text = columns("city string").unwrap();
        assert_eq!(rows(&lines(&["12"]), &text).unwrap()[0]["city"], "12");
        let number = columns("id long").unwrap();
        assert_eq!(rows(&lines(&["12"]), &number).unwrap()[0]["id"], 12);
    }

    #[test]
    fn columns_are_inferred_from_values() {
        let lines = lines(&[r#"{"a":null,"b":1,"c":[{"d":true}]}"#, r#"{"a":"x","b":1.5}"#]);
        let objects: Vec<_> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let schema = inferred(&objects);
        assert_eq!(
            crate::column_text::fields_text(schema.fields()),
            "a string, b double, c array<struct<d boolean>>"
        );
    }
}
