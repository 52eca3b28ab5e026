//! The keys of `shape` for editors (JSON Schema) and for people (the reference in
//! docs/pipeline-file.md).

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::shape::{KeyShape, NAME_CHARS_MAX, PIPELINE, TABLES, TableShape, ValueShape};
use super::value_shape::describe;

/// The JSON Schema (draft 2020-12) of a pipeline file.
///
/// Some rules need more than a schema: who reads from whom, what excludes each other.
pub fn json_schema() -> Value {
    let mut schema = table_schema(&PIPELINE);
    let dialect = "https://json-schema.org/draft/2020-12/schema";
    schema.insert("$schema".to_string(), json!(dialect));
    schema.insert("title".to_string(), json!("Gristmill pipeline"));
    Value::Object(schema)
}

/// The keys of every table, as Markdown.
pub fn key_reference() -> String {
    let mut out = String::new();
    for table in TABLES {
        write_table(&mut out, table);
    }
    out.trim_end().to_string() + "\n"
}

fn write_table(out: &mut String, table: &TableShape) {
    let title = match table.title {
        "the file" => "The file".to_string(),
        header if header.starts_with('[') => format!("`{header}`"),
        inline => format!("`{inline} = {{ … }}`"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "### {title}\n\n{}\n", table.about);
    let _ = writeln!(out, "| key | value | default | meaning |\n|---|---|---|---|");
    for key in table.keys {
        let default = match (key.required, key.default) {
            (true, _) => "required".to_string(),
            (false, default) if default.starts_with('"') => format!("`{default}`"),
            (false, default) => default.to_string(),
        };
        let value = describe(&key.value);
        let _ = writeln!(out, "| `{}` | {value} | {default} | {} |", key.name, key.about);
    }
    out.push('\n');
}

fn table_schema(table: &TableShape) -> Map<String, Value> {
    let properties: Map<_, _> =
        table.keys.iter().map(|key| (key.name.to_string(), key_schema(key))).collect();
    let required: Vec<_> =
        table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_string(), json!("object"));
    schema.insert("description".to_string(), json!(table.about));
    schema.insert("properties".to_string(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_string(), json!(required));
    }
    schema.insert("additionalProperties".to_string(), json!(false));
    schema
}

fn key_schema(key: &KeyShape) -> Value {
    let mut schema = value_schema(&key.value);
    let description = match key.default {
        "" => key.about.to_string(),
        default => format!("{}; default: {default}", key.about),
    };
    schema.insert("description".to_string(), json!(description));
    Value::Object(schema)
}

fn value_schema(value: &ValueShape) -> Map<String, Value> {
    let schema = match value {
        ValueShape::Name => {
            let pattern = format!("^[A-Za-z0-9_-]{{1,{NAME_CHARS_MAX}}}$");
            json!({ "type": "string", "pattern": pattern })
        }
        ValueShape::Text => json!({ "type": "string", "minLength": 1 }),
        ValueShape::AnyText => json!({ "type": "string" }),
        ValueShape::Texts => json!({
            "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1,
            "uniqueItems": true,
        }),
        ValueShape::Flag => json!({ "type": "boolean" }),
        ValueShape::Choice(words) => json!({ "enum": words }),
        ValueShape::Count { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        ValueShape::Duration { .. } => {
            json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
        }
        ValueShape::Size { .. } => {
            json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" })
        }
        ValueShape::Share => {
            json!({ "type": "string", "pattern": "^[0-9]{1,3}(\\.[0-9]{1,4})?%$" })
        }
        ValueShape::Timestamp => json!({ "type": "string", "format": "date-time" }),
        ValueShape::Table(table) => return table_schema(table),
        ValueShape::Tables(table) => json!({ "type": "array", "items": table_schema(table) }),
        ValueShape::Properties => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "object"] },
        }),
        ValueShape::Object => json!({ "type": "object" }),
        ValueShape::Objects => objects_schema(),
        ValueShape::ObjectsBySink => {
            json!({ "type": "object", "additionalProperties": objects_schema() })
        }
        ValueShape::Offsets => json!({
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "patternProperties": { "^[0-9]+$": { "type": "integer", "minimum": -2 } },
                "additionalProperties": false,
            },
        }),
        ValueShape::Either(values) => {
            let values: Vec<_> = values.iter().map(value_schema).collect();
            json!({ "anyOf": values })
        }
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn objects_schema() -> Value {
    json!({ "type": "array", "items": { "type": "object" } })
}
