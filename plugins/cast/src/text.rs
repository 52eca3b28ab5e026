//! Any value as text, as Spark's CAST to string prints it.

use gristmill::json::{push_double, push_float};
use gristmill::{ColumnView, DataType};

use crate::{datetime, decimal};

/// Appends one value; `null` within arrays, structs and maps.
pub fn push(view: &ColumnView<'_>, index: usize, text: &mut String) {
    if view.is_null(index) {
        return text.push_str("null");
    }
    match view.data_type() {
        DataType::Boolean => text.push_str(if view.boolean(index) { "true" } else { "false" }),
        DataType::Integer => text.push_str(&view.integers()[index].to_string()),
        DataType::Long => text.push_str(&view.longs()[index].to_string()),
        DataType::Float => push_number(text, |digits| push_float(digits, view.floats()[index])),
        DataType::Double => push_number(text, |digits| push_double(digits, view.doubles()[index])),
        DataType::String => text.push_str(view.str_at(index)),
        DataType::Binary => text.push_str(&String::from_utf8_lossy(view.bytes_at(index))),
        DataType::Date => datetime::push_date(i64::from(view.integers()[index]), text),
        DataType::Timestamp => datetime::push_timestamp(view.longs()[index], text),
        DataType::Decimal { scale, .. } => {
            text.push_str(&decimal::text(view.decimal(index), i32::from(*scale)));
        }
        DataType::Struct(_) => {
            push_all(view.children().iter(), ("{", "}"), text, |child, text| {
                push(child, index, text);
            });
        }
        DataType::Array { .. } => {
            let elements = view.elements();
            push_all(view.range(index), ("[", "]"), text, |at, text| push(elements, at, text));
        }
        DataType::Map { .. } => {
            push_all(view.range(index), ("{", "}"), text, |at, text| {
                push(view.keys(), at, text);
                text.push_str(" -> ");
                push(view.map_values(), at, text);
            });
        }
    }
}

/// Java's digits, which are ASCII.
fn push_number(text: &mut String, push: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::mem::take(text).into_bytes();
    push(&mut bytes);
    *text = String::from_utf8(bytes).unwrap_or_default();
}

fn push_all<T>(
    items: impl IntoIterator<Item = T>,
    (open, close): (&str, &str),
    text: &mut String,
    push_one: impl Fn(T, &mut String),
) {
    text.push_str(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        push_one(item, text);
    }
    text.push_str(close);
}
