//! Arrow columns → one JSON object per row.

use super::EXACT_INTEGER_MAX;
use super::calendar::{write_date, write_timestamp};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, types};
use arrow_schema::{DataType, Fields};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// The lines of a batch of `row_count` rows.
pub fn write(fields: &Fields, columns: &[ArrayRef], row_count: usize) -> Vec<u8> {
    let members = Member::of(fields, columns);
    let mut out = String::new();
    for row in 0..row_count {
        object(&members, row, &mut out);
        out.push('\n');
    }
    out.into_bytes()
}

/// A column or struct field with its name as JSON text, colon included.
struct Member<'a> {
    name: String,
    array: &'a dyn Array,
}

impl<'a> Member<'a> {
    fn of(fields: &Fields, columns: &'a [ArrayRef]) -> Vec<Self> {
        let member = |(field, column): (&arrow_schema::FieldRef, &'a ArrayRef)| {
            let mut name = String::new();
            text(field.name(), &mut name);
            name.push(':');
            Member { name, array: column.as_ref() }
        };
        fields.iter().zip(columns).map(member).collect()
    }
}

fn object(members: &[Member<'_>], row: usize, out: &mut String) {
    out.push('{');
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&member.name);
        value(member.array, row, out);
    }
    out.push('}');
}

/// One value; writing to a string cannot fail.
fn value(array: &dyn Array, row: usize, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Boolean => {
            out.push_str(if array.as_boolean().value(row) { "true" } else { "false" });
        }
        DataType::Int32 => {
            let _ = write!(out, "{}", array.as_primitive::<types::Int32Type>().value(row));
        }
        DataType::Int64 => long(array.as_primitive::<types::Int64Type>().value(row), out),
        DataType::Float32 => {
            let number = array.as_primitive::<types::Float32Type>().value(row);
            float(f64::from(number), || serde_json::to_string(&number), out);
        }
        DataType::Float64 => {
            let number = array.as_primitive::<types::Float64Type>().value(row);
            float(number, || serde_json::to_string(&number), out);
        }
        DataType::Utf8 => text(array.as_string::<i32>().value(row), out),
        DataType::Binary => {
            out.push('"');
            STANDARD.encode_string(array.as_binary::<i32>().value(row), out);
            out.push('"');
        }
        DataType::Date32 => {
            out.push('"');
            write_date(array.as_primitive::<types::Date32Type>().value(row).into(), out);
            out.push('"');
        }
        DataType::Timestamp(_, _) => {
            out.push('"');
            let array = array.as_primitive::<types::TimestampMicrosecondType>();
            write_timestamp(array.value(row), out);
            out.push('"');
        }
        DataType::Decimal128(_, _) => {
            let array = array.as_primitive::<types::Decimal128Type>();
            let _ = write!(out, "\"{}\"", array.value_as_string(row));
        }
        DataType::Struct(fields) => {
            object(&Member::of(fields, array.as_struct().columns()), row, out);
        }
        DataType::List(_) => list(array.as_list::<i32>().value(row).as_ref(), out),
        DataType::Map(_, _) => map(&array.as_map().value(row), out),
        other => unreachable!("describe let a column of type {other} through"),
    }
}

fn long(number: i64, out: &mut String) {
    let _ = if number.unsigned_abs() <= EXACT_INTEGER_MAX {
        write!(out, "{number}")
    } else {
        write!(out, "\"{number}\"")
    };
}

fn float(number: f64, json: impl Fn() -> serde_json::Result<String>, out: &mut String) {
    let name = match number {
        number if number.is_nan() => "\"NaN\"",
        f64::INFINITY => "\"Infinity\"",
        f64::NEG_INFINITY => "\"-Infinity\"",
        _ => {
            // A finite number cannot fail.
            out.push_str(&json().unwrap_or_default());
            return;
        }
    };
    out.push_str(name);
}

fn text(text: &str, out: &mut String) {
    // A string cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn list(elements: &dyn Array, out: &mut String) {
    out.push('[');
    for index in 0..elements.len() {
        if index > 0 {
            out.push(',');
        }
        value(elements, index, out);
    }
    out.push(']');
}

/// A map with string keys is an object, any other a list of pairs.
fn map(entries: &arrow_array::StructArray, out: &mut String) {
    let (keys, values) = (entries.column(0), entries.column(1));
    let named = *keys.data_type() == DataType::Utf8;
    out.push(if named { '{' } else { '[' });
    for index in 0..entries.len() {
        if index > 0 {
            out.push(',');
        }
        if !named {
            out.push('[');
        }
        value(keys.as_ref(), index, out);
        out.push(if named { ':' } else { ',' });
        value(values.as_ref(), index, out);
        if !named {
            out.push(']');
        }
    }
    out.push(if named { '}' } else { ']' });
}
