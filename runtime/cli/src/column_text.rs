//! Columns and their types in words, as a schema in a pipeline file has them.

use arrow_schema::{DataType, FieldRef, Fields};

/// `name type`.
pub fn column(name: &str, data_type: &DataType) -> String {
    format!("{name} {}", type_text(data_type))
}

/// `name type, name type`.
pub fn fields_text(fields: &Fields) -> String {
    let text = |field: &FieldRef| column(field.name(), field.data_type());
    fields.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// A type, with all that is nested in it.
pub fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "byte".into(),
        DataType::Int16 => "short".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "long".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 => "string".into(),
        DataType::Binary => "binary".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, _) => "timestamp".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) => format!("array<{}>", type_text(item.data_type())),
        DataType::Struct(fields) => {
            let member = |field: &FieldRef| column(field.name(), field.data_type());
            format!("struct<{}>", fields.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => {
                let types: Vec<_> =
                    fields.iter().map(|field| type_text(field.data_type())).collect();
                format!("map<{}>", types.join(", "))
            }
            other => format!("map of {other}"),
        },
        other => other.to_string(),
    }
}
