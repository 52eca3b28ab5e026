//! The stage as a whole: configuration and columns in, columns and failures out.
#![allow(clippy::unwrap_used)]

use gristmill::native::NativeStage;
use gristmill::serde_json::{Value, json};
use gristmill::{Batch, Column, ColumnView, DataType, Schema, parse_schema};
use proptest::prelude::*;

use crate::{Cast, text};

/// What a value is cast from.
#[derive(Debug, Clone, Copy)]
enum Given<'a> {
    Null,
    Boolean(bool),
    Whole(i64),
    Float(f32),
    Double(f64),
    Decimal(i128),
    Text(&'a str),
    Bytes(&'a [u8]),
}

fn push(column: &mut Column, value: Given<'_>) {
    match (value, column.data_type()) {
        (Given::Null, _) => column.push_null(),
        (Given::Boolean(value), _) => column.push_boolean(value),
        (Given::Whole(value), DataType::Integer | DataType::Date) => {
            column.push_integer(value as i32)
        }
        (Given::Whole(value), _) => column.push_long(value),
        (Given::Float(value), _) => column.push_float(value),
        (Given::Double(value), _) => column.push_double(value),
        (Given::Decimal(unscaled), _) => column.push_decimal(unscaled),
        (Given::Text(text), _) => column.push_str(text),
        (Given::Bytes(bytes), _) => column.push_bytes(bytes),
    }
}

/// A value as text, for comparing.
fn shown(view: &ColumnView<'_>, index: usize) -> String {
    let mut shown = String::new();
    text::push(view, index, &mut shown);
    shown
}

/// The results as text, and the failures as `row: reason`.
fn cast_all(
    source: &str,
    target: &str,
    mode: &str,
    values: &[Given<'_>],
) -> (Vec<String>, Vec<String>) {
    let schema = parse_schema(&format!("c {source}")).unwrap();
    let mut column = Column::new(&schema.fields[0].data_type);
    values.iter().for_each(|value| push(&mut column, *value));
    run(schema, column, json!({ "columns": { "c": target }, "mode": mode }))
}

fn run(schema: Schema, mut column: Column, config: Value) -> (Vec<String>, Vec<String>) {
    let mut stage = NativeStage::<Cast>::new(&config.to_string(), schema).unwrap();
    let batch = Batch { row_count: column.len(), columns: vec![column.view()] };
    let results = stage.process(&batch, |output| {
        assert!(output.row_numbers().is_none());
        let made = &output.columns()[0];
        let values = (0..made.len()).map(|row| shown(made, row)).collect();
        (values, output.failures().map(|(row, reason)| format!("{row}: {reason}")).collect())
    });
    results.unwrap()
}

const FAILS: &str = "fails";

#[test]
fn values_are_cast_as_by_spark() {
    use Given::{Boolean, Bytes, Decimal, Double, Float, Text, Whole};
    let table: [(&str, Given<'_>, &str, &str); 96] = [
        ("binary", Bytes(b"Chicago"), "string", "Chicago"),
        ("binary", Bytes("Z\u{fc}rich".as_bytes()), "string", "Zürich"),
        ("binary", Bytes(b""), "string", ""),
        ("binary", Bytes(b"\xff\x41"), "string", FAILS),
        ("string", Text("ü"), "binary", "ü"),
        ("string", Text(" 42\t"), "int", "42"),
        ("string", Text("+42"), "long", "42"),
        ("string", Text("-9223372036854775808"), "long", "-9223372036854775808"),
        ("string", Text("9223372036854775808"), "long", FAILS),
        ("string", Text("2147483648"), "int", FAILS),
        ("string", Text("1.0"), "int", FAILS),
        ("string", Text(""), "int", FAILS),
        ("string", Text("abc"), "int", FAILS),
        ("string", Text("1e3"), "double", "1000.0"),
        ("string", Text("nan"), "double", "NaN"),
        ("string", Text("-Infinity"), "float", "-Infinity"),
        ("string", Text("1,5"), "double", FAILS),
        ("string", Text("0.1"), "float", "0.1"),
        ("string", Text("19.995"), "decimal(10,2)", "20.00"),
        ("string", Text("-1e2"), "decimal(10,2)", "-100.00"),
        ("string", Text("123456789"), "decimal(10,2)", FAILS),
        ("string", Text("YES"), "boolean", "true"),
        ("string", Text("0"), "boolean", "false"),
        ("string", Text("on"), "boolean", FAILS),
        ("string", Text("2024-1-2"), "date", "2024-01-02"),
        ("string", Text("2024-01-02T10:00:00Z"), "date", "2024-01-02"),
        ("string", Text("02/01/2024"), "date", FAILS),
        ("string", Text("2024-01-02T10:00:00.5+01:00"), "timestamp", "2024-01-02 09:00:00.5"),
        ("string", Text("now"), "timestamp", FAILS),
        ("boolean", Boolean(true), "string", "true"),
        ("boolean", Boolean(true), "int", "1"),
        ("boolean", Boolean(false), "double", "0.0"),
        ("boolean", Boolean(true), "decimal(3,1)", "1.0"),
        ("int", Whole(-7), "long", "-7"),
        ("int", Whole(-7), "string", "-7"),
        ("int", Whole(7), "boolean", "true"),
        ("long", Whole(3_000_000_000), "int", FAILS),
        ("long", Whole(2_147_483_647), "int", "2147483647"),
        ("long", Whole(9_007_199_254_740_993), "string", "9007199254740993"),
        ("long", Whole(9_007_199_254_740_993), "double", "9.007199254740992E15"),
        ("long", Whole(16_777_217), "float", "1.6777216E7"),
        ("long", Whole(99_999_999), "decimal(10,2)", "99999999.00"),
        ("long", Whole(100_000_000), "decimal(10,2)", FAILS),
        ("long", Whole(1_700_000_000), "timestamp", "2023-11-14 22:13:20"),
        ("long", Whole(-1), "timestamp", "1969-12-31 23:59:59"),
        ("long", Whole(i64::MAX), "timestamp", FAILS),
        ("float", Float(0.1), "double", "0.10000000149011612"),
        ("float", Float(0.1), "string", "0.1"),
        ("float", Float(0.1), "decimal(10,9)", "0.100000001"),
        ("float", Float(f32::NAN), "int", FAILS),
        ("float", Float(-0.0), "boolean", "false"),
        ("double", Double(299.98), "string", "299.98"),
        ("double", Double(1e20), "string", "1.0E20"),
        ("double", Double(1e-7), "string", "1.0E-7"),
        ("double", Double(12_345_678.9), "string", "1.23456789E7"),
        ("double", Double(f64::INFINITY), "string", "Infinity"),
        ("double", Double(-1.9), "int", "-1"),
        ("double", Double(1e10), "int", FAILS),
        ("double", Double(1e10), "long", "10000000000"),
        ("double", Double(9_223_372_036_854_775_808.0), "long", FAILS),
        ("double", Double(f64::NAN), "long", FAILS),
        ("double", Double(f64::NAN), "boolean", "true"),
        ("double", Double(1e39), "float", "Infinity"),
        ("double", Double(0.125), "decimal(5,2)", "0.13"),
        ("double", Double(1e-320), "decimal(5,2)", "0.00"),
        ("double", Double(f64::INFINITY), "decimal(5,2)", FAILS),
        ("double", Double(1.5), "timestamp", "1970-01-01 00:00:01.5"),
        ("double", Double(f64::NAN), "timestamp", FAILS),
        ("decimal(10,2)", Decimal(12_345), "string", "123.45"),
        ("decimal(10,8)", Decimal(-1), "string", "-0.00000001"),
        ("decimal(10,2)", Decimal(-199), "int", "-1"),
        ("decimal(20,2)", Decimal(300_000_000_000), "int", FAILS),
        ("decimal(38,0)", Decimal(10_i128.pow(37)), "long", FAILS),
        ("decimal(10,2)", Decimal(5), "double", "0.05"),
        ("decimal(10,2)", Decimal(12_345), "decimal(10,1)", "123.5"),
        ("decimal(10,2)", Decimal(12_345), "decimal(4,2)", FAILS),
        ("decimal(10,2)", Decimal(150), "timestamp", "1970-01-01 00:00:01.5"),
        ("decimal(10,2)", Decimal(-150), "timestamp", "1969-12-31 23:59:58.5"),
        ("decimal(38,10)", Decimal(5), "timestamp", "1970-01-01 00:00:00"),
        ("date", Whole(19_724), "string", "2024-01-02"),
        ("date", Whole(19_724), "timestamp", "2024-01-02 00:00:00"),
        ("date", Whole(2_147_483_647), "timestamp", FAILS),
        ("timestamp", Whole(1_500_000), "string", "1970-01-01 00:00:01.5"),
        ("timestamp", Whole(-1), "string", "1969-12-31 23:59:59.999999"),
        ("timestamp", Whole(-1), "long", "-1"),
        ("timestamp", Whole(1_999_999), "long", "1"),
        ("timestamp", Whole(1_500_000), "double", "1.5"),
        ("timestamp", Whole(1_500_000), "decimal(20,6)", "1.500000"),
        ("timestamp", Whole(i64::MAX), "int", FAILS),
        ("timestamp", Whole(-1), "date", "1969-12-31"),
        ("timestamp", Whole(i64::MIN), "date", "-290308-12-21"),
        ("int", Given::Null, "string", "null"),
        ("string", Given::Null, "int", "null"),
        ("binary", Given::Null, "string", "null"),
        ("string", Text("x"), "string", "x"),
        ("decimal(3,1)", Decimal(0), "boolean", "false"),
    ];
    for (source, value, target, expected) in table {
        if source == target {
            continue;
        }
        let (strict, failures) = cast_all(source, target, "strict", &[value]);
        let (lenient, none) = cast_all(source, target, "null", &[value]);
        let place = format!("{value:?} from {source} to {target}");
        assert!(none.is_empty(), "{place}: {none:?}");
        if expected == FAILS {
            assert_eq!((failures.len(), strict[0].as_str()), (1, "null"), "{place}");
            assert_eq!(lenient, ["null"], "{place}");
        } else {
            assert_eq!((strict, failures), (vec![expected.to_owned()], vec![]), "{place}");
            assert_eq!(lenient, [expected], "{place}");
        }
    }
}

#[test]
fn failures_name_column_value_and_type() {
    let long_text = "x".repeat(1000);
    let values = [Given::Text("1"), Given::Text("abc"), Given::Text(&long_text)];
    let (values, failures) = cast_all("string", "long", "strict", &values);
    assert_eq!(values, ["1", "null", "null"]);
    assert_eq!(failures[0], "1: column `c`: 'abc' cannot be cast to long");
    assert_eq!(failures[1], format!("2: column `c`: '{}…' cannot be cast to long", "x".repeat(60)));

    let (_, failures) = cast_all("long", "int", "replace", &[Given::Whole(3_000_000_000)]);
    assert_eq!(failures, ["0: column `c`: the long 3000000000 cannot be cast to int"]);
    let bytes = [Given::Bytes(b"ab\xff\xfec"), Given::Bytes(b"ok")];
    let (_, failures) = cast_all("binary", "string", "strict", &bytes);
    assert_eq!(failures, ["0: column `c`: what is not UTF-8 (byte 2) cannot be cast to string"]);
    let (values, failures) = cast_all("binary", "string", "replace", &bytes);
    assert_eq!((values, failures), (vec!["ab\u{fffd}\u{fffd}c".to_owned(), "ok".into()], vec![]));
    let (values, failures) = cast_all("binary", "string", "null", &bytes);
    assert_eq!((values, failures), (vec!["null".to_owned(), "ok".into()], vec![]));
}

#[test]
fn a_row_fails_once_with_the_reason_of_its_first_column() {
    let schema = parse_schema("a string, b string").unwrap();
    let config = r#"{ "columns": { "a": "int", "b": "int" } }"#;
    let mut stage = NativeStage::<Cast>::new(config, schema).unwrap();
    let column = |texts: [&str; 3]| gristmill::native::string_column(texts.map(Some));
    let (mut a, mut b) = (column(["1", "x", "3"]), column(["x", "x", "3"]));
    let batch = Batch { row_count: 3, columns: vec![a.view(), b.view()] };
    let failures = stage.process(&batch, |output| {
        output.failures().map(|(row, reason)| (row, reason.to_owned())).collect::<Vec<_>>()
    });
    let reason = |column: &str| format!("column `{column}`: 'x' cannot be cast to int");
    assert_eq!(failures.unwrap(), [(0, reason("b")), (1, reason("a"))]);
}

/// `[{a: "1", b: null}, {a: "x", b: 2}]`, then null.
fn nested() -> (Schema, Column) {
    let schema = parse_schema("c array<struct<a: string, b: long>>").unwrap();
    let mut column = Column::new(&schema.fields[0].data_type);
    for (a, b) in [("1", None), ("x", Some(2))] {
        let element = &mut column.children_mut()[0];
        element.children_mut()[0].push_str(a);
        match b {
            Some(b) => element.children_mut()[1].push_long(b),
            None => element.children_mut()[1].push_null(),
        }
        element.push_struct();
    }
    column.push_list();
    column.push_null();
    (schema, column)
}

#[test]
fn nested_values_are_cast_inside() {
    let cast = |target: &str, mode: &str| {
        let (schema, column) = nested();
        run(schema, column, json!({ "columns": { "c": target }, "mode": mode }))
    };
    let renamed = "array<struct<n: int, m: string>>";
    let (values, failures) = cast(renamed, "null");
    assert_eq!((values, failures), (vec!["[{1, null}, {null, 2}]".into(), "null".into()], vec![]));
    let (values, failures) = cast(renamed, "strict");
    assert_eq!(values, ["null", "null"]);
    assert_eq!(failures, ["0: column `c`: 'x' cannot be cast to int"]);
    let (values, failures) = cast("string", "strict");
    assert_eq!((values, failures), (vec!["[{1, null}, {x, 2}]".into(), "null".into()], vec![]));

    let schema = parse_schema("c map<string, int>").unwrap();
    let map = || {
        let mut column = Column::new(&schema.fields[0].data_type);
        for (key, value) in [("1", 10), ("x", 20)] {
            column.children_mut()[0].push_str(key);
            column.children_mut()[1].push_integer(value);
        }
        column.push_list();
        column
    };
    let to = |target: &str| json!({ "columns": { "c": target }, "mode": "null" });
    let (values, _) = run(schema.clone(), map(), to("map<string, string>"));
    assert_eq!(values, ["{1 -> 10, x -> 20}"]);
    let (_, failures) = run(schema.clone(), map(), to("map<long, int>"));
    assert_eq!(failures, ["0: column `c`: 'x' is no key of map<long, int>"]);
}

#[test]
fn describe_names_only_the_columns_that_change() {
    let schema = parse_schema("key binary, value binary, city string, zip long").unwrap();
    let config = r#"{ "columns": { "zip": "string", "VALUE": "string", "city": "string" } }"#;
    let stage = NativeStage::<Cast>::new(config, schema).unwrap();
    let description = stage.description();
    assert_eq!(description.reads, ["value", "zip"]);
    assert_eq!(Schema::new(description.columns.clone()).to_string(), "value string, zip string");
    assert!(description.drops.is_empty());
}

#[test]
fn a_wrong_configuration_names_the_key_and_the_mend() {
    let schema =
        "value binary, city string, day date, items array<long>, active boolean, s struct<a: int>";
    let table = [
        (
            json!({ "columns": { "valu": "string" } }),
            "config.columns.valu: no column `valu`; did you mean `value`? \
                columns: `value`, `city`, `day`, `items`, `active`, `s`",
        ),
        (
            json!({ "columns": { "value": "long" } }),
            "config.columns.value: binary cannot be cast to long: put a stage before it that casts it to string",
        ),
        (
            json!({ "columns": { "day": "long" } }),
            "config.columns.day: date cannot be cast to long: put a stage before it that casts it to timestamp",
        ),
        (
            json!({ "columns": { "active": "timestamp" } }),
            "config.columns.active: boolean cannot be cast to timestamp",
        ),
        (
            json!({ "columns": { "items": "long" } }),
            "config.columns.items: array<long> cannot be cast to long",
        ),
        (
            json!({ "columns": { "s": "struct<a: int, b: int>" } }),
            "config.columns.s: struct<a: int> cannot be cast to struct<a: int, b: int>: it has 1 members, not 2",
        ),
        (
            json!({ "columns": { "city": "string", "CITY": "long" } }),
            "config.columns.city: column `city` is cast twice",
        ),
        (
            json!({ "columns": {} }),
            "config.columns: name at least one, as in { value = \"string\" }",
        ),
    ];
    for (config, expected) in table {
        let schema = parse_schema(schema).unwrap();
        let message = NativeStage::<Cast>::new(&config.to_string(), schema).unwrap_err();
        assert_eq!(message.message(), expected, "{config}");
    }
}

#[test]
fn the_schema_for_editors_knows_every_key() {
    let schema = crate::config::schema();
    let keys: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["columns", "mode"]);
}

proptest! {
    #[test]
    fn numbers_survive_the_way_through_text(
        whole in any::<i64>(),
        double in any::<f64>(),
        float in any::<f32>(),
    ) {
        let table = [
            ("long", Given::Whole(whole), whole.to_string()),
            ("timestamp", Given::Whole(whole), String::new()),
            ("double", Given::Double(double), String::new()),
            ("float", Given::Float(float), String::new()),
        ];
        for (data_type, value, known) in table {
            let (printed, failures) = cast_all(data_type, "string", "strict", &[value]);
            prop_assert!(failures.is_empty());
            prop_assert!(known.is_empty() || known == printed[0]);
            let (again, _) = cast_all("string", data_type, "strict", &[Given::Text(&printed[0])]);
            // Through text again: equal texts are equal values.
            prop_assert_eq!(&again, &printed);
        }
    }

    #[test]
    fn no_text_panics(text in "[-+0-9.eEdfTZ: ]{0,30}|\\PC{0,12}") {
        let numbers = ["int", "long", "float", "double", "decimal(38,18)"];
        for target in numbers.into_iter().chain(["boolean", "date", "timestamp", "binary"]) {
            cast_all("string", target, "strict", &[Given::Text(&text)]);
        }
    }

    #[test]
    fn no_double_panics(bits in any::<u64>()) {
        let numbers = ["int", "long", "float", "decimal(38,38)", "decimal(1,0)"];
        for target in numbers.into_iter().chain(["boolean", "timestamp", "string"]) {
            cast_all("double", target, "null", &[Given::Double(f64::from_bits(bits))]);
        }
    }
}
