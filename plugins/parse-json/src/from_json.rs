//! What Spark 3.5's `from_json` makes of a text, row by row, and what this stage makes of it in
//! both modes.
//!
//! PERMISSIVE is compared value by value, with `_corrupt_record`. In the default mode every text
//! that Spark calls corrupt must be a failure whose reason names the field and the byte, and every
//! other text the same values.
//!
//! Where this stage differs on purpose: timestamps in a named zone (`Europe/Paris`) do not fit,
//! since a stage has no time zone database; a bad value in a map makes the map null and nothing
//! else (Spark loses the members behind it).

use gristmill::native::{NativeStage, string_column};
use gristmill::serde_json::json;
use gristmill::{Batch, ColumnView, DataType, Field, Schema};

use crate::ParseJson;

/// A value as text: null, numbers as Rust prints them, strings in quotes, structs as {…}.
fn show(view: &ColumnView<'_>, row: usize) -> String {
    if view.is_null(row) {
        return "null".to_owned();
    }
    let list = |range: std::ops::Range<usize>, view: &ColumnView<'_>| {
        range.map(|index| show(view, index)).collect::<Vec<_>>().join(",")
    };
    match view.data_type() {
        DataType::Boolean => view.boolean(row).to_string(),
        DataType::Integer | DataType::Date => view.integers()[row].to_string(),
        DataType::Long | DataType::Timestamp => view.longs()[row].to_string(),
        DataType::Float => format!("{:?}", view.floats()[row]),
        DataType::Double => format!("{:?}", view.doubles()[row]),
        DataType::Decimal { .. } => view.decimal(row).to_string(),
        DataType::String => format!("{:?}", view.str_at(row)),
        DataType::Binary => format!("{:?}", view.bytes_at(row)),
        DataType::Struct(_) => {
            let members = view.children().iter().map(|child| show(child, row));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        DataType::Array { .. } => format!("[{}]", list(view.range(row), view.elements())),
        DataType::Map { .. } => {
            let range = view.range(row);
            format!("<{}|{}>", list(range.clone(), view.keys()), list(range, view.map_values()))
        }
    }
}

/// The values of each row, and the failures with their reasons.
fn run(
    config: gristmill::serde_json::Value,
    texts: &[Option<&str>],
) -> (Vec<String>, Vec<(usize, String)>) {
    let input = Schema::new(vec![Field::new("value", DataType::String)]);
    let mut stage = NativeStage::<ParseJson>::new(&config.to_string(), input).unwrap();
    let mut column = string_column(texts.iter().copied());
    let batch = Batch { row_count: texts.len(), columns: vec![column.view()] };
    let answer = stage.process(&batch, |output| {
        let row = |row| output.columns().iter().map(|c| show(c, row)).collect::<Vec<_>>().join(" ");
        let failures = output.failures().map(|(row, reason)| (row, reason.to_owned()));
        ((0..texts.len()).map(row).collect(), failures.collect())
    });
    answer.unwrap()
}

/// The value of `a`, and whether the text is corrupt, in mode permissive; checked against mode
/// reject.
fn from_json(data_type: &str, text: &str) -> (String, bool) {
    let schema = format!("a {data_type}");
    let permissive =
        json!({"schema": schema, "mode": "permissive", "corrupt_record_column": "_corrupt"});
    let (rows, failures) = run(permissive, &[Some(text)]);
    assert!(failures.is_empty(), "{failures:?}");
    let corrupt_text = format!(" {text:?}");
    let corrupt = rows[0].ends_with(&corrupt_text) && !rows[0].ends_with(" null");
    let value = rows[0].strip_suffix(if corrupt { &corrupt_text } else { " null" }).unwrap();
    let (rejected, failures) = run(json!({"schema": schema}), &[Some(text)]);
    assert_eq!(failures.len(), usize::from(corrupt), "{data_type} {text}: {failures:?}");
    match failures.first() {
        Some((_, reason)) => {
            assert!(reason.contains(" at byte "), "{reason}");
            assert_eq!(rejected[0], "null");
        }
        None => assert_eq!(rejected[0], value),
    }
    (value.to_owned(), corrupt)
}

fn check(data_type: &str, text: &str, value: &str, corrupt: bool) {
    assert_eq!(from_json(data_type, text), (value.to_owned(), corrupt), "{data_type} of {text}");
}

#[test]
fn null_and_blank_texts_are_null_and_not_corrupt() {
    for config in [json!({"schema": "a long"}), json!({"schema": "a long", "mode": "permissive"})] {
        let (rows, failures) = run(config, &[None, Some(""), Some("  \t\r\n ")]);
        assert_eq!(rows, ["null", "null", "null"]);
        assert!(failures.is_empty());
    }
}

#[test]
fn texts_for_a_bigint() {
    let rows = [
        ("{}", "null", false),
        ("{\"a\":null}", "null", false),
        ("{\"A\":5}", "null", false),
        ("null", "null", true),
        ("[]", "null", true),
        ("\"str\"", "null", true),
        ("123", "null", true),
        ("[{\"a\":1},{\"a\":2}]", "null", true),
        ("not json", "null", true),
        ("{\"a\":1", "null", true),
        ("{\"a\":1,}", "null", true),
        ("{\"a\":01}", "null", true),
        ("{\"a\":NaN}", "null", true),
        ("{\"a\":+1}", "null", true),
        ("\u{feff}{\"a\":1}", "null", true),
        ("{a:1}", "null", true),
        ("{\"a\":1,\"b\":\"\t\"}", "null", true),
        ("{\"a\":1}garbage", "1", false),
        ("{\"a\":1} {\"a\":2}", "1", false),
        ("{\"a\":1}//c", "1", false),
        ("{\"a\":1,\"a\":2}", "2", false),
        ("{'a':1}", "1", false),
    ];
    for (text, value, corrupt) in rows {
        check("bigint", text, value, corrupt);
    }
}

/// Rows of the table: a JSON value, then what becomes of it in the columns' order; `n` is null and
/// corrupt.
#[test]
fn values_by_type() {
    let types = ["int", "bigint", "double", "float", "string", "boolean", "decimal(10,2)"];
    let rows = [
        ("1", ["1", "1", "1.0", "1.0", "\"1\"", "n", "100"]),
        ("1.0", ["n", "n", "1.0", "1.0", "\"1.0\"", "n", "100"]),
        ("1e3", ["n", "n", "1000.0", "1000.0", "\"1000.0\"", "n", "100000"]),
        ("\"1\"", ["n", "n", "n", "n", "\"1\"", "n", "100"]),
        ("\"\"", ["n", "n", "n", "n", "\"\"", "n", "n"]),
        ("true", ["n", "n", "n", "n", "\"true\"", "true", "n"]),
        ("{\"b\": 1, \"c\": [1, 2]}", ["n", "n", "n", "n", r#""{\"b\":1,\"c\":[1,2]}""#, "n", "n"]),
        (
            "[1, {\"x\": \"\\u0001\\/\\n\"}]",
            ["n", "n", "n", "n", r#""[1,{\"x\":\"\\u0001/\\n\"}]""#, "n", "n"],
        ),
        (
            "2147483648",
            ["n", "2147483648", "2147483648.0", "2147483600.0", "\"2147483648\"", "n", "n"],
        ),
        (
            "9223372036854775808",
            ["n", "n", "9.223372036854776e18", "9.223372e18", "\"9223372036854775808\"", "n", "n"],
        ),
        (
            "-9223372036854775809",
            [
                "n",
                "n",
                "-9.223372036854776e18",
                "-9.223372e18",
                "\"-9223372036854775809\"",
                "n",
                "n",
            ],
        ),
        (
            "-9223372036854775808",
            [
                "n",
                "-9223372036854775808",
                "-9.223372036854776e18",
                "-9.223372e18",
                "\"-9223372036854775808\"",
                "n",
                "n",
            ],
        ),
        ("1e400", ["n", "n", "inf", "inf", r#""\"Infinity\"""#, "n", "n"]),
        ("\"NaN\"", ["n", "n", "NaN", "NaN", "\"NaN\"", "n", "n"]),
        ("\"Infinity\"", ["n", "n", "inf", "inf", "\"Infinity\"", "n", "n"]),
        ("\"+INF\"", ["n", "n", "inf", "inf", "\"+INF\"", "n", "n"]),
        ("\"-INF\"", ["n", "n", "-inf", "-inf", "\"-INF\"", "n", "n"]),
        ("NaN", ["n", "n", "NaN", "NaN", r#""\"NaN\"""#, "n", "n"]),
        ("-0", ["0", "0", "0.0", "0.0", "\"0\"", "n", "0"]),
        ("-0.0", ["n", "n", "-0.0", "-0.0", "\"-0.0\"", "n", "0"]),
    ];
    for (json, values) in rows {
        for (data_type, value) in types.iter().zip(values) {
            let text = format!("{{\"a\":{json}}}");
            let (value, corrupt) = if value == "n" { ("null", true) } else { (value, false) };
            check(data_type, &text, value, corrupt);
        }
    }
    check(
        "decimal(38,18)",
        "{\"a\":9223372036854775808}",
        "9223372036854775808000000000000000000",
        false,
    );
}

#[test]
fn numbers_in_a_string_column_are_rendered_again() {
    let rows = [
        ("1.10", "\"1.1\""),
        ("1e5", "\"100000.0\""),
        ("100000000000000000000.0", "\"1.0E20\""),
        ("0.0000001", "\"1.0E-7\""),
        ("12345678901234567890123", "\"12345678901234567890123\""),
        ("{\"x\":1.10}", r#""{\"x\":1.1}""#),
    ];
    for (json, value) in rows {
        check("string", &format!("{{\"a\":{json}}}"), value, false);
    }
}

#[test]
fn surrogates_escapes_and_letters() {
    check("string", r#"{"a":"\ud800"}"#, "\"?\"", false);
    check("string", r#"{"a":"\udc00x"}"#, "\"?x\"", false);
    check("string", r#"{"a":"\ud800\u0041"}"#, "\"?A\"", false);
    check("string", r#"{"a":"\ud83d\ude00"}"#, "\"😀\"", false);
    check("string", r#"{"a":"\"\\\/\b\f\n\r\t\u00e9"}"#, r#""\"\\/\u{8}\u{c}\n\r\té""#, false);
    check(
        "string",
        "{\"a\":\"Zoë über naïve façade 東京\"}",
        "\"Zoë über naïve façade 東京\"",
        false,
    );
    check("string", "{'a':'it\\'s \"so\"'}", "\"it's \\\"so\\\"\"", false);
    check("string", r#"{"\u0061":"x"}"#, "\"x\"", false);
    check("string", r#"{"a":"\q"}"#, "null", true);
    check("string", r#"{"a":"\u12g4"}"#, "null", true);
    check("string", "{\"a\":\"x", "null", true);
}

#[test]
fn timestamps_and_dates() {
    let base_us = 1_704_189_600_000_000i64;
    check("timestamp", "{\"a\":\"2024-01-02T10:00:00Z\"}", &base_us.to_string(), false);
    check(
        "timestamp",
        "{\"a\":\"2024-01-02T10:00:00+02:00\"}",
        &(base_us - 7_200_000_000).to_string(),
        false,
    );
    check("timestamp", "{\"a\":\"2024-01-02 10:00:00\"}", &base_us.to_string(), false);
    check("timestamp", "{\"a\":\"2024-01-02\"}", "1704153600000000", false);
    check("timestamp", "{\"a\":1700000000}", "1700000000000000", false);
    check("timestamp", "{\"a\":1700000000.5}", "null", true);
    check(
        "timestamp",
        "{\"a\":\"2024-01-02T10:00:00.123456789Z\"}",
        &(base_us + 123_456).to_string(),
        false,
    );
    check("timestamp", "{\"a\":\"yesterday\"}", "null", true);
    check("date", "{\"a\":\"2024-1-2\"}", "19724", false);
    check("date", "{\"a\":\"19000\"}", "6220080", false);
    check("date", "{\"a\":19724}", "null", true);
    check("date", "{\"a\":\"2024-01-02T10:00:00Z\"}", "19724", false);
    check("binary", "{\"a\":\"Zm9v\"}", "[102, 111, 111]", false);
    check("binary", "{\"a\":\"Zm9\"}", "null", true);
}

#[test]
fn a_bad_value_nulls_as_little_as_it_can() {
    let schema = "id long, s struct<x: long, y: string>, l array<struct<p: long, q: long>>, n array<long>, \
                  m map<string, long>";
    let run = |text: &str| {
        let config =
            json!({"schema": schema, "mode": "permissive", "corrupt_record_column": "_corrupt"});
        let row = run(config, &[Some(text)]).0.remove(0);
        let (values, corrupt) = match row.strip_suffix(" null") {
            Some(values) => (values.to_owned(), false),
            None => (row.strip_suffix(&format!(" {text:?}")).unwrap().to_owned(), true),
        };
        (values, corrupt)
    };
    let rows = [
        (r#"{"id":"x","s":{"x":1,"y":"a"}}"#, "null {1,\"a\"} null null null", true),
        (r#"{"id":1,"s":{"x":"bad","y":"a"},"n":[1]}"#, "1 {null,\"a\"} null [1] null", true),
        (
            r#"{"id":1,"l":[{"p":1,"q":2},{"p":"x","q":3}]}"#,
            "1 null [{1,2},{null,3}] null null",
            true,
        ),
        (r#"{"id":1,"l":{"p":1}}"#, "1 null null null null", true),
        (r#"{"id":1,"l":[1,2],"n":[3]}"#, "1 null null [3] null", true),
        (r#"{"id":1,"l":[null,{"p":1}],"n":[]}"#, "1 null [null,{1,null}] [] null", false),
        (r#"{"id":1,"n":[1,"x",{"y":[1]},3],"s":{"x":4}}"#, "1 {4,null} null null null", true),
        (
            r#"{"id":1,"m":{"a":1,"b":null,"a":3}}"#,
            "1 null null null <\"a\",\"b\",\"a\"|1,null,3>",
            false,
        ),
        (r#"{"id":1,"m":{"a":1,"b":"x","c":3},"n":[7]}"#, "1 null null [7] null", true),
        (r#"{"id":1,"s":{"x":1},"s":{"y":"b"}}"#, "1 {null,\"b\"} null null null", false),
        (r#"{"n":[1,2],"id":1,"n":[3],"id":2}"#, "2 null null [3] null", false),
        (r#"{"id":1,"n":[1,"x",tru]}"#, "null null null null null", true),
        (r#"{"id":1,"x":{"deep":[[[{"y":1}]]]},"n":[2]}"#, "1 null null [2] null", false),
    ];
    for (text, values, corrupt) in rows {
        assert_eq!(run(text), (values.to_owned(), corrupt), "{text}");
    }
}

#[test]
fn reasons_name_the_field_and_the_byte() {
    let schema = "order_id long, price decimal(5,2), line_items array<struct<order_item_id: long>>";
    let cases = [
        (
            r#"{"order_id":1,"line_items":[{"order_item_id":1},{"order_item_id":"x"}]}"#,
            "field `line_items[1].order_item_id`: expected long, found a string at byte 65",
        ),
        (
            r#"{"order_id":9223372036854775808}"#,
            "field `order_id`: expected long, found the whole number 9223372036854775808 at byte 12",
        ),
        (r#"{"order_id":1.5}"#, "field `order_id`: expected long, found the number 1.5 at byte 12"),
        (
            r#"{"price":1234.5}"#,
            "field `price`: expected decimal(5,2), found the number 1234.5 at byte 9",
        ),
        (
            r#"{"line_items":{"a":1}}"#,
            "field `line_items`: expected an array, found an object at byte 14",
        ),
        (
            r#"{"line_items":[[1]]}"#,
            "field `line_items[0]`: expected an object, found an array at byte 15",
        ),
        (r#"{"order_id":tru}"#, "field `order_id`: expected a value at byte 12"),
        (r#"{"order_id":1"#, "the text ends too early, at byte 13"),
        (
            r#"{"order_id":1,"line_items":[{"order_item_id":"#,
            "field `line_items[0].order_item_id`: the text ends too early, at byte 45",
        ),
        (r#"{"order_id" 1}"#, "expected `:` after a key at byte 12"),
        (r#"{"order_id":1 "b":2}"#, "expected `,` or `}` at byte 14"),
        (r#"{order_id:1}"#, "expected a key in quotes at byte 1"),
        ("[1]", "expected an object, found an array at byte 0"),
        ("\u{feff}{}", "expected an object, found a byte order mark at byte 0"),
        ("hello", "expected an object, found no JSON at byte 0"),
        ("{\"x\":\"a\nb\"}", "a control character (0x0a) in a string at byte 7"),
    ];
    for (text, reason) in cases {
        let (_, failures) = run(json!({"schema": schema}), &[Some(text)]);
        assert_eq!(failures, [(0, reason.to_owned())], "{text}");
    }
}

#[test]
fn documents_nested_too_deep_are_refused() {
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    check("long", &nested(999), "null", false);
    let (_, failures) = run(json!({"schema": "a long"}), &[Some(&nested(1001))]);
    assert_eq!(failures, [(0, "nested more than 1000 deep at byte 1005".to_owned())]);
}
