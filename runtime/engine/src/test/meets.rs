//! Whether a value is the one that a test expects. The column's type decides how a written value is read: `1` may be a
//! long, a double or a decimal, a text may be a time.

use arrow_schema::DataType;
use serde_json::Value;

use super::rows::Kind;
use crate::config::{hex_bytes, parse_timestamp_us};

pub(super) fn meets(expected: &Value, got: &Value, kind: &Kind) -> bool {
    match kind {
        Kind::Value(data_type) => value(expected, got, data_type),
        Kind::TextPart => match (expected, got) {
            (Value::String(part), Value::String(text)) => text.contains(part),
            _ => false,
        },
    }
}

fn value(expected: &Value, got: &Value, data_type: &DataType) -> bool {
    if got.is_null() {
        return expected.is_null();
    }
    match data_type {
        DataType::Float32 => match (expected.as_f64(), got.as_f64()) {
            (Some(expected), Some(got)) => expected as f32 == got as f32,
            _ => expected == got,
        },
        DataType::Float64 => match (expected.as_f64(), got.as_f64()) {
            (Some(expected), Some(got)) => expected == got,
            _ => expected == got,
        },
        DataType::Decimal128(_, _) => decimal(expected) == decimal(got) && !expected.is_object(),
        DataType::Timestamp(_, _) => match (time_us(expected), time_us(got)) {
            (Some(expected), Some(got)) => expected == got,
            _ => false,
        },
        DataType::Binary => match (bytes(expected), bytes(got)) {
            (Some(expected), Some(got)) => expected == got,
            _ => false,
        },
        DataType::List(item) => match (expected, got) {
            (Value::Array(expected), Value::Array(got)) => {
                expected.len() == got.len()
                    && expected.iter().zip(got).all(|(e, g)| value(e, g, item.data_type()))
            }
            _ => false,
        },
        DataType::Struct(fields) => members(expected, got, |name| {
            let field = fields.iter().find(|field| field.name() == name)?;
            Some(field.data_type())
        }),
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) => {
                members(expected, got, |_| Some(fields.get(1)?.data_type()))
            }
            _ => false,
        },
        // Numbers are whole here: 1.0 is no long.
        _ => expected == got,
    }
}

/// Those that are expected; others do not matter.
fn members<'d>(
    expected: &Value,
    got: &Value,
    data_type: impl Fn(&str) -> Option<&'d DataType>,
) -> bool {
    let (Value::Object(expected), Value::Object(got)) = (expected, got) else { return false };
    expected.iter().all(|(name, expected)| {
        let typed = got.get(name).zip(data_type(name));
        typed.is_some_and(|(got, data_type)| value(expected, got, data_type))
    })
}

/// Digits without zeros at the end of the fraction.
fn decimal(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

fn time_us(value: &Value) -> Option<i64> {
    parse_timestamp_us(value.as_str()?)
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Object(members) => hex_bytes(members.get("hex")?.as_str()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_schema::{Field, TimeUnit};
    use serde_json::json;

    fn check(data_type: DataType, same: &[(Value, Value)], other: &[(Value, Value)]) {
        for (expected, got) in same {
            assert!(value(expected, got, &data_type), "{data_type}: {expected} is {got}");
        }
        for (expected, got) in other {
            assert!(!value(expected, got, &data_type), "{data_type}: {expected} is not {got}");
        }
    }

    #[test]
    fn numbers_are_read_by_their_column() {
        check(
            DataType::Int64,
            &[(json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64))],
            &[
                (json!(9_007_199_254_740_992_i64), json!(9_007_199_254_740_993_i64)),
                (json!("1"), json!(1)),
                (json!(1), Value::Null),
            ],
        );
        check(DataType::Float32, &[(json!(0.1), json!(0.1)), (json!(5), json!(5.0))], &[]);
        check(DataType::Float64, &[(json!("NaN"), json!("NaN"))], &[(json!(0.1), json!(0.2))]);
        check(
            DataType::Decimal128(10, 2),
            &[
                (json!(12.5), json!("12.50")),
                (json!("12.50"), json!("12.50")),
                (json!(3), json!("3.00")),
            ],
            &[(json!(12.51), json!("12.50")), (json!(30), json!("3.00"))],
        );
    }

    #[test]
    fn times_and_bytes_are_read_by_their_column() {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        check(
            instant,
            &[(json!("2026-11-01T01:30:00+01:30"), json!("2026-11-01T00:00:00Z"))],
            &[
                (json!("2026-11-01"), json!("2026-11-01T00:00:01Z")),
                (json!(0), json!("1970-01-01T00:00:00Z")),
            ],
        );
        check(
            DataType::Binary,
            &[
                (json!({ "hex": "ff" }), json!({ "hex": "ff" })),
                (json!({ "hex": "61" }), json!("a")),
            ],
            &[(json!({ "hex": "fg" }), json!("a")), (json!("b"), json!("a"))],
        );
    }

    #[test]
    fn of_a_struct_the_named_members_count_and_of_a_list_all_items() {
        let item = DataType::Struct(
            vec![Field::new("id", DataType::Int64, true), Field::new("n", DataType::Int64, true)]
                .into(),
        );
        let got = json!([{ "id": 1, "n": 2 }, { "id": 3, "n": null }]);
        let list = DataType::List(Arc::new(Field::new("item", item, true)));
        check(
            list,
            &[(json!([{ "id": 1 }, { "id": 3 }]), got.clone())],
            &[
                (json!([{ "id": 1 }]), got.clone()),
                (json!([{ "id": 1 }, { "id": 3, "n": 0 }]), got.clone()),
                (json!([{ "id": 1 }, { "other": 3 }]), got),
            ],
        );
    }
}
