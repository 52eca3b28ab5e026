//! Column types as Spark's schema JSON, to and from Arrow (describe.md lists them).
//!
//! Nested Arrow fields are named as Delta's own conversion names them (`element`, `key_value`,
//! `key`, `value`), so that a sink has nothing to rename.

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use serde_json::{Value, json};
use std::sync::Arc;

/// Deepest nesting of a column type.
const TYPE_DEPTH_MAX: usize = 32;
/// Longest name of a column or struct field, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// Highest precision of a decimal (38 digits fit in 128 bits).
const DECIMAL_PRECISION_MAX: u8 = 38;

/// The type of `timestamp`: microseconds since 1970-01-01 in UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow type of `array<element>`.
pub fn list_type(element: DataType, contains_null: bool) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, contains_null)))
}

/// The Arrow type of `map<key, value>`; keys are never null.
pub fn map_type(key: DataType, value: DataType, value_contains_null: bool) -> DataType {
    let entry = DataType::Struct(Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, value_contains_null),
    ]));
    DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
}

/// A field as Spark writes it; `Err` names the type that stages do not know.
pub(crate) fn field_to_json(field: &Field) -> Result<Value, String> {
    let data_type = type_to_json(field.data_type())
        .map_err(|unknown| format!("column `{}` has type {unknown}", field.name()))?;
    Ok(json!({ "name": field.name(), "type": data_type, "nullable": field.is_nullable() }))
}

fn type_to_json(data_type: &DataType) -> Result<Value, String> {
    let name = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int32 => "integer",
        DataType::Int64 => "long",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 => "string",
        DataType::Binary => "binary",
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if is_utc(zone) => "timestamp",
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            return Ok(Value::String(format!("decimal({precision},{scale})")));
        }
        DataType::List(element) => {
            return Ok(json!({
                "type": "array",
                "elementType": type_to_json(element.data_type())?,
                "containsNull": element.is_nullable(),
            }));
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| field_to_json(field));
            return Ok(
                json!({ "type": "struct", "fields": fields.collect::<Result<Vec<_>, _>>()? }),
            );
        }
        DataType::Map(entry, _) => return map_to_json(entry),
        other => return Err(format!("{other}, which stages do not know")),
    };
    Ok(Value::String(name.to_owned()))
}

fn map_to_json(entry: &Field) -> Result<Value, String> {
    let DataType::Struct(fields) = entry.data_type() else {
        return Err("map without entries".to_owned());
    };
    let [key, value] = fields.as_ref() else {
        return Err("map whose entries are not key and value".to_owned());
    };
    Ok(json!({
        "type": "map",
        "keyType": type_to_json(key.data_type())?,
        "valueType": type_to_json(value.data_type())?,
        "valueContainsNull": value.is_nullable(),
    }))
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "utc" | "Z" | "+00:00" | "Etc/UTC")
}

/// A field from a module's answer. `nullable` is true if it is absent, as in Spark.
pub fn field_from_json(value: &Value) -> Result<FieldRef, String> {
    field_at(value, 0)
}

fn field_at(value: &Value, depth: usize) -> Result<FieldRef, String> {
    let name = value.get("name").and_then(Value::as_str).ok_or("a field has no `name`")?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("a field's name has {} bytes, not 1 to {NAME_BYTES_MAX}", name.len()));
    }
    let data_type = value.get("type").ok_or_else(|| format!("field `{name}` has no `type`"))?;
    let data_type = type_at(data_type, depth).map_err(|why| format!("field `{name}`: {why}"))?;
    let nullable = flag(value, "nullable")?;
    Ok(Arc::new(Field::new(name, data_type, nullable)))
}

fn flag(value: &Value, name: &str) -> Result<bool, String> {
    match value.get(name) {
        None => Ok(true),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(format!("`{name}` is not a boolean")),
    }
}

fn type_at(value: &Value, depth: usize) -> Result<DataType, String> {
    if depth > TYPE_DEPTH_MAX {
        return Err(format!("types are nested more than {TYPE_DEPTH_MAX} deep"));
    }
    match value {
        Value::String(name) => named_type(name),
        Value::Object(_) => nested_type(value, depth),
        _ => Err("`type` is neither a name nor an object".to_owned()),
    }
}

fn named_type(name: &str) -> Result<DataType, String> {
    Ok(match name {
        "boolean" => DataType::Boolean,
        "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "string" => DataType::Utf8,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" => timestamp_type(),
        _ => return decimal_type(name),
    })
}

fn decimal_type(name: &str) -> Result<DataType, String> {
    let unknown = || format!("unknown type `{}`", crate::error::cut(name));
    let inner = name.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
    let (precision, scale) = inner.and_then(|inner| inner.split_once(',')).ok_or_else(unknown)?;
    let precision: u8 = precision.trim().parse().map_err(|_| unknown())?;
    let scale: u8 = scale.trim().parse().map_err(|_| unknown())?;
    if precision == 0 || precision > DECIMAL_PRECISION_MAX || scale > precision {
        return Err(format!("`{name}` needs 1 to {DECIMAL_PRECISION_MAX} digits, scale within"));
    }
    // The scale is at most 38 here, so that it fits.
    Ok(DataType::Decimal128(precision, scale as i8))
}

fn nested_type(value: &Value, depth: usize) -> Result<DataType, String> {
    let member = |name: &str| value.get(name).ok_or_else(|| format!("type without `{name}`"));
    let kind = member("type")?.as_str().ok_or("`type` of a type is not a name")?;
    match kind {
        "array" => {
            Ok(list_type(type_at(member("elementType")?, depth + 1)?, flag(value, "containsNull")?))
        }
        "map" => Ok(map_type(
            type_at(member("keyType")?, depth + 1)?,
            type_at(member("valueType")?, depth + 1)?,
            flag(value, "valueContainsNull")?,
        )),
        "struct" => {
            let fields = member("fields")?.as_array().ok_or("`fields` is not a list")?;
            let fields: Vec<FieldRef> =
                fields.iter().map(|field| field_at(field, depth + 1)).collect::<Result<_, _>>()?;
            if let Some(name) = first_duplicate(fields.iter().map(|field| field.name().as_str())) {
                return Err(format!("struct has two fields `{name}`"));
            }
            Ok(DataType::Struct(fields.into()))
        }
        other => Err(format!("unknown type `{}`", crate::error::cut(other))),
    }
}

/// The first name that stands twice.
pub(crate) fn first_duplicate<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

/// Fields in a type, itself included: what bounds the descriptors of a frame.
pub(crate) fn field_count(data_type: &DataType) -> usize {
    1 + match data_type {
        DataType::List(element) | DataType::Map(element, _) => field_count(element.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| field_count(field.data_type())).sum(),
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_way_to_json_and_back() {
        let item = DataType::Struct(Fields::from(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("price", DataType::Decimal128(10, 2), true),
        ]));
        let types = [
            DataType::Boolean,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::Binary,
            DataType::Date32,
            timestamp_type(),
            DataType::Decimal128(38, 38),
            list_type(item, false),
            map_type(DataType::Utf8, list_type(DataType::Int32, true), false),
        ];
        for data_type in types {
            let field = Field::new("x", data_type, false);
            let json = field_to_json(&field).unwrap();
            assert_eq!(*field_from_json(&json).unwrap(), field, "{json}");
        }
    }

    #[test]
    fn types_that_stages_do_not_know_are_named() {
        let error = field_to_json(&Field::new("n", DataType::UInt16, true)).unwrap_err();
        assert_eq!(error, "column `n` has type UInt16, which stages do not know");
    }

    #[test]
    fn hostile_types_are_refused() {
        let mut deep = json!("long");
        for _ in 0..40 {
            deep = json!({ "type": "array", "elementType": deep });
        }
        let two = json!([{ "name": "a", "type": "long" }, { "name": "a", "type": "long" }]);
        for (value, part) in [
            (deep, "nested more than 32 deep"),
            (json!("strng"), "unknown type `strng`"),
            (json!("decimal(39,0)"), "1 to 38 digits"),
            (json!("decimal(5,6)"), "scale within"),
            (json!("decimal(5)"), "unknown type"),
            (json!(7), "neither a name nor an object"),
            (json!({ "type": "array" }), "without `elementType`"),
            (json!({ "type": "struct", "fields": two }), "two fields `a`"),
        ] {
            let error = field_from_json(&json!({ "name": "x", "type": value })).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(field_from_json(&json!({ "name": "", "type": "long" })).is_err());
        assert!(field_from_json(&json!({ "name": "x", "type": "long", "nullable": 1 })).is_err());
    }
}
