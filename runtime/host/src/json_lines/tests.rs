use super::*;
use crate::schema::{list_type, map_type, timestamp_type};
use crate::{Limits, Output, ProcessError};
use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::types::Int64Type;
use arrow_array::*;
use arrow_schema::{DataType, Field, FieldRef, Fields};
use std::sync::Arc;

fn read_lines(text: &str, fields: &[FieldRef], row_count: usize) -> Result<Output, ProcessError> {
    let limits = Limits { output_bytes_max: 4096, output_rows_max: 8, ..Limits::default() };
    read(text.as_bytes(), fields, row_count, &limits)
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

/// Writes a column and reads it back; `values` are its values as JSON, a space between them.
fn back_and_forth(column: ArrayRef, values: &str) {
    let fields = [field("c", column.data_type().clone())];
    let columns = std::slice::from_ref(&column);
    let written = write(&fields.iter().cloned().collect(), columns, column.len());
    let written = String::from_utf8(written).unwrap();
    let lines: String = values.split(' ').map(|value| format!("{{\"c\":{value}}}\n")).collect();
    assert_eq!(written, lines);
    let output = read_lines(&written, &fields, column.len()).unwrap();
    assert_eq!(output.rows, None);
    assert_eq!(output.columns, [column], "{written}");
}

#[test]
fn every_type_comes_back_unchanged() {
    let longs = [0, -(1 << 53), (1 << 53) + 1, i64::MAX, i64::MIN];
    back_and_forth(
        Arc::new(Int64Array::from(longs.to_vec())),
        "0 -9007199254740992 \"9007199254740993\" \"9223372036854775807\" \"-9223372036854775808\"",
    );
    back_and_forth(Arc::new(Int32Array::from(vec![Some(i32::MIN), None])), "-2147483648 null");
    back_and_forth(Arc::new(BooleanArray::from(vec![true, false])), "true false");
    let doubles = vec![0.1, -0.0, 1.7976931348623157e308, 5e-324, f64::INFINITY];
    back_and_forth(
        Arc::new(Float64Array::from(doubles)),
        "0.1 -0.0 1.7976931348623157e+308 5e-324 \"Infinity\"",
    );
    back_and_forth(Arc::new(Float32Array::from(vec![0.1, f32::MAX])), "0.1 3.4028235e+38");
    back_and_forth(Arc::new(StringArray::from(vec!["a\"\n\u{1}é🦀"])), "\"a\\\"\\n\\u0001é🦀\"");
    back_and_forth(Arc::new(BinaryArray::from_vec(vec![b"\xff\0a"])), "\"/wBh\"");
    back_and_forth(Arc::new(Date32Array::from(vec![20_758])), "\"2026-11-01\"");
    let timestamps = TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC");
    back_and_forth(Arc::new(timestamps), "\"1969-12-31T23:59:59.999999Z\"");
    let decimals = Decimal128Array::from(vec![-5, 99_999]).with_precision_and_scale(5, 2).unwrap();
    back_and_forth(Arc::new(decimals), "\"-0.05\" \"999.99\"");
}

#[test]
fn nested_types_come_back_unchanged() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let (_, offsets, values, nulls) = lists.into_parts();
    let DataType::List(element) = list_type(DataType::Int64, true) else { unreachable!() };
    back_and_forth(Arc::new(ListArray::new(element, offsets, values, nulls)), "[1,null] null []");
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    maps.keys().append_value("k");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let maps = maps.finish();
    assert_eq!(*maps.data_type(), map_type(DataType::Utf8, DataType::Utf8, true));
    let fields = Fields::from(vec![Field::new("m", maps.data_type().clone(), true)]);
    let structs = StructArray::new(fields, vec![Arc::new(maps)], None);
    back_and_forth(Arc::new(structs), "{\"m\":{\"k\":null}} {\"m\":null}");
}

#[test]
fn rows_and_failures_are_told_apart() {
    let text = "{\"__row\":2,\"n\":5}\n\n{\"__row\":1,\"__failure\":\"bad\"}\n{\"__row\":2}\n";
    let output = read_lines(text, &[field("n", DataType::Int64)], 3).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [2, 2]);
    assert_eq!(output.columns[0].null_count(), 1);
    assert_eq!((output.failures[0].row, output.failures[0].reason.as_str()), (1, "bad"));
}

#[test]
fn a_map_of_other_keys_is_a_list_of_pairs() {
    let fields = [field("m", map_type(DataType::Int64, timestamp_type(), true))];
    let text = "{\"m\":[[1,\"1970-01-01T00:00:00Z\"],[\"2\",null]]}";
    let output = read_lines(text, &fields, 1).unwrap();
    let written = write(&fields.iter().cloned().collect(), &output.columns, 1);
    let written = String::from_utf8(written).unwrap();
    assert_eq!(written, "{\"m\":[[1,\"1970-01-01T00:00:00.000000Z\"],[2,null]]}\n");
}

#[test]
fn lines_that_lie_are_refused() {
    let long = field("n", DataType::Int64);
    let decimal = field("d", DataType::Decimal128(4, 2));
    let list = field("l", list_type(DataType::Int32, false));
    let fields = [long, decimal, list, field("b", DataType::Binary)];
    for (text, part) in [
        ("[]", "line 1: not an object"),
        ("{", "no name at byte 1"),
        ("{} {}", "more after the end"),
        ("{\"n\":1,}", "no name"),
        ("{\"n\" 1}", "no colon"),
        ("{\"n\":\"\\ud800\"}", "half of a surrogate pair"),
        ("{\"n\":\"\\u12\"}", "without four digits"),
        ("{\"n\":\"a", "text without end"),
        ("{\"n\":1.5}", "`n`: 1.5 is not a 64-bit integer"),
        ("{\"n\":9223372036854775808}", "is not a 64-bit integer"),
        ("{\"n\":1e400}", "is not a 64-bit integer"),
        ("{\"n\":true}", "a boolean in place of an integer"),
        ("{\"d\":\"1.234\"}", "is not a decimal(4,2)"),
        ("{\"d\":\"100\"}", "is not a decimal(4,2)"),
        ("{\"d\":\"é\"}", "is not a decimal(4,2)"),
        ("{\"l\":[1,null]}", "`l`"),
        ("{\"l\":[2147483648]}", "does not fit"),
        ("{\"l\":{}}", "an object in place of a list"),
        ("{\"b\":\"?\"}", "base64"),
        ("{\"__row\":3}", "input row 3, the input has 3"),
        ("{\"__row\":-1}", "not a row number"),
        ("{\"__row\":0}\n{}", "some lines have `__row`"),
        ("{}", "1 output rows for 3 input rows"),
        ("{\"__failure\":\"x\"}", "a failure without"),
        ("{\"__row\":3,\"__failure\":\"x\"}", "row 3 fails, the input has 3"),
        ("{\"__row\":1,\"__failure\":\"x\"}\n{\"__row\":1,\"__failure\":\"y\"}", "fails twice"),
        ("{\"__row\":1,\"__failure\":\"x\"}\n{\"__row\":1}", "both failed and output"),
        (&format!("{{\"n\":{}", "[".repeat(100)), "nested more than 64 deep"),
        (&format!("{{\"l\":[{}1]}}", "1,".repeat(300)), "more values than allowed"),
    ] {
        let error = read_lines(text, &fields, 3).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let nine = "{\"__row\":0}\n".repeat(9);
    assert!(matches!(read_lines(&nine, &fields, 3), Err(ProcessError::OutputLimit(_))));
    let large = " ".repeat(5000);
    assert!(matches!(read_lines(&large, &fields, 3), Err(ProcessError::OutputLimit(_))));
}

#[test]
fn numbers_that_are_whole_are_integers_however_they_are_written() {
    let fields = [field("n", DataType::Int64)];
    for (text, number) in [("5.0", 5), ("1e3", 1000), ("-0", 0), ("\"7\"", 7)] {
        let output = read_lines(&format!("{{\"n\":{text}}}"), &fields, 1).unwrap();
        let column = output.columns[0].as_any().downcast_ref::<Int64Array>().unwrap();
        assert_eq!(column.value(0), number);
    }
}
