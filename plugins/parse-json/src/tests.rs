//! The stage as a pipeline meets it: its configuration, what it describes, and whole batches.

use gristmill::native::{NativeStage, binary_column};
use gristmill::serde_json::{Value, json};
use gristmill::{Batch, DataType, Field, Schema};

use crate::ParseJson;

fn input() -> Schema {
    Schema::new(vec![
        Field::new("key", DataType::Binary),
        Field::new("value", DataType::Binary),
        Field::new("offset", DataType::Long),
    ])
}

fn described(config: Value) -> Result<NativeStage<ParseJson>, String> {
    NativeStage::new(&config.to_string(), input()).map_err(|why| why.to_string())
}

fn refused(config: Value) -> String {
    described(config).map(|_| ()).unwrap_err()
}

#[test]
fn members_become_columns() {
    let stage =
        described(json!({"schema": "id long NOT NULL, value string", "drop_input": true})).unwrap();
    let description = stage.description();
    assert_eq!(description.reads, ["value"]);
    assert_eq!(Schema::new(description.columns.clone()).to_string(), "id long, value string");
    // `value` is replaced, so it does not end here.
    assert!(description.drops.is_empty());
    let stage = described(json!({"schema": {"type": "struct", "fields": [
        {"name": "id", "type": "long", "nullable": false}]}, "drop_input": true}))
    .unwrap();
    assert_eq!(stage.description().drops, ["value"]);
    assert!(stage.description().columns[0].nullable);
}

#[test]
fn mistakes_in_the_configuration_name_their_key() {
    let cases = [
        (json!({}), "config.schema: this key is required"),
        (
            json!({"schema": "a lang"}),
            "config.schema: at character 3: unknown type `lang`, did you mean `long`?",
        ),
        (
            json!({"schema": 5}),
            "config.schema: expected DDL as in `order_id long, city string`, or Spark's schema JSON",
        ),
        (
            json!({"schema": "a map<long, long>"}),
            "config.schema: `a`: keys of a map are strings in JSON, not long",
        ),
        (
            json!({"schema": "a long", "column": "valu"}),
            "config.column: no column `valu`; did you mean `value`? columns: `key`, `value`, `offset`",
        ),
        (
            json!({"schema": "a long", "column": "offset"}),
            "config.column: column `offset` is long, JSON is in a string or binary",
        ),
        (
            json!({"schema": "a long", "mod": "permissive"}),
            "config.mod: unknown key; did you mean `mode`? keys: `column`, `schema`, `mode`, `drop_input`, `corrupt_record_column`",
        ),
        (
            json!({"schema": "a long", "mode": "failfast"}),
            "config.mode: unknown variant `failfast`, expected `reject` or `permissive`",
        ),
        (
            json!({"schema": "a long", "corrupt_record_column": "c"}),
            "config.corrupt_record_column: only with mode = \"permissive\"; in mode \"reject\" such texts are failures",
        ),
        (
            json!({"schema": "a long, c int", "mode": "permissive", "corrupt_record_column": "c"}),
            "config.corrupt_record_column: the schema gives this column a type other than string",
        ),
    ];
    for (config, message) in cases {
        assert_eq!(refused(config.clone()), message, "{config}");
    }
}

#[test]
fn the_corrupt_record_column_stands_where_the_schema_names_it() {
    let config = json!({"schema": "a long, c string, b long", "mode": "permissive", "corrupt_record_column": "c"});
    let mut stage = described(config).unwrap();
    let texts: [Option<&[u8]>; 4] = [
        Some(b"{\"a\":1,\"b\":2,\"c\":\"x\"}"),
        Some(b"{\"b\":\"x\",\"a\":3}"),
        None,
        Some(b"\xff"),
    ];
    let mut column = binary_column(texts);
    let batch = Batch { row_count: 4, columns: vec![column.view()] };
    stage
        .process(&batch, |output| {
            let [a, c, b] = output.columns() else { panic!("three columns") };
            assert_eq!((a.longs()[0], b.longs()[0], c.is_null(0)), (1, 2, true));
            assert_eq!(
                (a.longs()[1], b.is_null(1), c.str_at(1)),
                (3, true, "{\"b\":\"x\",\"a\":3}")
            );
            assert!(a.is_null(2) && c.is_null(2));
            assert_eq!((a.is_null(3), c.str_at(3)), (true, "\u{fffd}"));
            assert_eq!(output.failures().count(), 0);
            assert_eq!(output.row_numbers(), None);
        })
        .unwrap();
}

/// Records next to each other in one buffer must not see each other: each is cut off at every
/// place, and the next begins with what would complete it.
#[test]
fn no_text_reads_into_the_next() {
    let text = br#"{"a":12,"s":"x\u00e9y","l":[{"p":1.5},{"p":2}]}"#;
    let schema = json!({"schema": "a long, s string, l array<struct<p: double>>"});
    let mut stage = described(schema).unwrap();
    for cut in 1..text.len() {
        let rest = text[cut..].repeat(9);
        let mut column = binary_column([Some(&text[..cut]), Some(&rest[..]), Some(&text[..])]);
        let batch = Batch { row_count: 3, columns: vec![column.view()] };
        stage
            .process(&batch, |output| {
                let failed: Vec<usize> = output.failures().map(|(row, _)| row).collect();
                assert_eq!(failed[0], 0, "cut at {cut}");
                assert!(!failed.contains(&2));
                let columns = output.columns();
                assert!(columns.iter().all(|column| column.is_null(0) && column.len() == 3));
                assert_eq!((columns[0].longs()[2], columns[1].str_at(2)), (12, "xéy"));
                assert_eq!(columns[2].range(2).len(), 2);
            })
            .unwrap();
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let mut stage = described(json!({"schema": "a string"})).unwrap();
    let texts: [Option<&[u8]>; 3] =
        [Some(b"{\"a\":\"\xff\"}"), Some(b"{\"x\":\"\xc3\"}"), Some(b"{\"a\":\"\xc3\xa9\"}")];
    let mut column = binary_column(texts);
    let batch = Batch { row_count: 3, columns: vec![column.view()] };
    stage
        .process(&batch, |output| {
            let failures: Vec<(usize, &str)> = output.failures().collect();
            assert_eq!(failures, [(0, "not UTF-8 at byte 6"), (1, "not UTF-8 at byte 6")]);
            assert_eq!(output.columns()[0].str_at(2), "é");
        })
        .unwrap();
}
