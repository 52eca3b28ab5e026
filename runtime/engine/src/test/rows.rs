//! Rows as JSON objects, in the form in which a test names them.
//!
//! Bytes are text, or `{ hex = "…" }` where they are none; times are as TOML writes them; a decimal is text, so that
//! every digit stays.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Fields};
use serde_json::{Map, Value, json};

use crate::config::{date_text, timestamp_text};
use crate::plan::{PlannedSink, RecordValue, SinkLayout};

/// The columns of a list of rows, as a test calls them.
pub(super) struct Columns(pub Vec<Column>);

pub(super) struct Column {
    pub name: String,
    pub kind: Kind,
}

/// How a column is compared.
pub(super) enum Kind {
    Value(DataType),
    /// A text is met by one that contains it.
    TextPart,
}

impl Columns {
    /// A topic's record has a `key` and a `value`, or in place of the latter the members of its JSON object.
    pub fn of_sink(sink: &PlannedSink) -> Columns {
        let fields = sink.schema.fields().iter().enumerate();
        let last = sink.schema.fields().len().saturating_sub(1);
        let columns = fields.map(|(index, field)| {
            let name = match sink.layout {
                SinkLayout::Record { key: true, .. } if index == 0 => "key",
                SinkLayout::Record { value: RecordValue::Column, .. } if index == last => "value",
                _ => field.name(),
            };
            Column { name: name.to_string(), kind: Kind::Value(field.data_type().clone()) }
        });
        Columns(columns.collect())
    }

    pub fn get(&self, name: &str) -> Option<&Column> {
        self.0.iter().find(|column| column.name == name)
    }
}

/// Every row as an object. Of two columns of the same name the first counts.
pub(super) fn objects(rows: &RecordBatch, columns: &Columns) -> Vec<Map<String, Value>> {
    let object = |row: usize| {
        let mut object = Map::new();
        for (column, array) in columns.0.iter().zip(rows.columns()) {
            object.entry(column.name.as_str()).or_insert_with(|| value(array, row));
        }
        object
    };
    (0..rows.num_rows()).map(object).collect()
}

/// One row of columns that stand side by side.
pub(crate) fn object<'a>(
    columns: impl IntoIterator<Item = (&'a str, &'a ArrayRef)>,
    row: usize,
) -> Map<String, Value> {
    let members = columns.into_iter().map(|(name, array)| (name.to_string(), value(array, row)));
    members.collect()
}

fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            // The shortest digits that mean this number: 0.1 and not 0.10000000149011612.
            float(value.to_string().parse().unwrap_or(f64::from(value)))
        }
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => {
            array.as_primitive::<Decimal128Type>().value_as_string(row).into()
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            date_text(i64::from(array.as_primitive::<Date32Type>().value(row))).into()
        }
        DataType::Timestamp(_, zone) => {
            let time_us = array.as_primitive::<TimestampMicrosecondType>().value(row);
            timestamp_text(time_us, zone.is_some()).into()
        }
        DataType::Struct(fields) => members(fields, array, row),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect()
        }
        DataType::Map(_, _) => entries(array, row),
        other => format!("a value of type {other}").into(),
    }
}

fn members(fields: &Fields, array: &dyn Array, row: usize) -> Value {
    let columns = array.as_struct().columns();
    let members = fields.iter().zip(columns);
    members.map(|(field, column)| (field.name().clone(), value(column, row))).collect()
}

fn entries(array: &dyn Array, row: usize) -> Value {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let key = |entry: usize| match value(keys, entry) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    (0..entries.len()).map(|entry| (key(entry), value(values, entry))).collect()
}

/// What JSON has no number for is text.
fn float(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

/// Text, or `{ hex = "…" }` where the bytes are none.
pub fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}
