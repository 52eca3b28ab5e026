use crate::guests::*;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow_schema::{DataType, Field, Schema};
use gristmill_host::{Encoding, Lane, Limits, list_type};
use serde_json::json;
use std::sync::Arc;

#[test]
fn a_pass_through_gives_back_what_it_got() {
    let host = host();
    let input = Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("unread", DataType::Binary, true),
    ]);
    let columns = json!([
        { "name": "text", "type": "string" },
        { "name": "n2", "type": "long" },
        { "name": "flag2", "type": "boolean" },
    ]);
    let bytes = core_module(&answer(&["text", "n", "flag"], columns, &[]), IDENTITY, "");
    let stage = described(&host, &bytes, &input, tight());
    let mut instance = stage.instance().unwrap();
    for start in [0, 3, 8, 13] {
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..50).map(|n| (n % 7 != 0).then(|| "é".repeat(n))).collect::<StringArray>()),
            Arc::new((0..50).map(|n| (n % 3 != 0).then_some(n)).collect::<Int64Array>()),
            Arc::new((0..50).map(|n| (n % 5 != 0).then_some(n % 2 == 0)).collect::<BooleanArray>()),
        ];
        let columns: Vec<ArrayRef> = columns.iter().map(|c| c.slice(start, 30)).collect();
        let output = instance.process(&columns, 30).unwrap();
        assert_eq!(output.rows, None);
        assert_eq!(output.columns, columns, "from {start}");
    }
}

#[test]
fn columns_are_replaced_in_place_appended_and_dropped() {
    let host = host();
    let input = Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("c", DataType::Boolean, true),
    ]);
    let made = json!([
        { "name": "new", "type": "long", "nullable": false },
        { "name": "b", "nullable": true,
          "type": { "type": "array", "elementType": "long", "containsNull": false } },
    ]);
    let bytes = core_module(&answer(&["b", "a"], made, &["c"]), "unreachable", "");
    let stage = described(&host, &bytes, &input, tight());
    assert_eq!(stage.reads(), [1, 0]);
    assert_eq!(stage.drops(), [2]);
    assert_eq!(stage.encoding(), Encoding::Frame);
    assert_eq!(stage.described_as(), ("by hand", "0.1.0"));
    let output = Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", list_type(DataType::Int64, false), true),
        Field::new("new", DataType::Int64, false),
    ]);
    assert_eq!(**stage.output_schema(), output);
}

#[test]
fn a_filter_answers_row_numbers_and_no_column() {
    let host = host();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let mut lane = Lane::new(stage);
    let output = lane.process(&longs([5, -1, 7, -2]), 4).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [0, 2]);
    assert_eq!((output.row_count, output.columns.len()), (2, 0));
    let none = lane.process(&longs([-1, -2]), 2).unwrap();
    assert_eq!((none.row_count, none.failures.len()), (0, 0));
    let empty = lane.process(&longs([]), 0).unwrap();
    assert_eq!(empty.row_count, 0);
}

/// The module that sdk/contract shows to whoever writes one without an SDK.
#[test]
fn the_stage_by_hand_of_the_contract_keeps_even_numbers() {
    let text = include_str!("../../../../sdk/contract/by_hand.wat");
    let host = host();
    let stage = described(&host, &wat::parse_str(text).unwrap(), &longs_schema(), tight());
    assert_eq!(stage.described_as(), ("even", "0.1.0"));
    let mut lane = Lane::new(stage);
    let output = lane.process(&longs([5, -2, 7, 8, i64::MIN]), 5).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [1, 3, 4]);
    let nulls: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter([Some(2), None, Some(4), Some(3)]))];
    assert_eq!(lane.process(&nulls, 4).unwrap().rows.unwrap().to_vec(), [0, 2]);
    let many = lane.process(&longs(0..100_000), 100_000).unwrap();
    assert_eq!((many.row_count, many.instances_lost), (50_000, 0));
    assert_eq!(lane.process(&longs([]), 0).unwrap().row_count, 0);
}

#[test]
fn frames_built_by_hand_are_read() {
    let host = host();
    let good = outcome(&host, &Frame::good().bytes).unwrap();
    assert_eq!(strings(&good.columns[0]), [Some("a".into()), Some("bé".into()), None]);
    assert_eq!(good.rows, None);
    let filtered = outcome(&host, &Frame::filtered().bytes).unwrap();
    assert_eq!(filtered.rows.unwrap().to_vec(), [0, 2]);
    assert_eq!(strings(&filtered.columns[0]), [Some("a".into()), Some("bé".into())]);
    let failed = outcome(&host, &Frame::failed().bytes).unwrap();
    assert_eq!((failed.failures[0].row, failed.failures[0].reason.as_str()), (1, "bad row"));
    assert_eq!(failed.row_count, 0);
}

#[test]
fn failed_rows_are_taken_out_of_an_output_without_row_numbers() {
    let mut frame = Frame::failed();
    frame.put(12, 3).put(64, 3).put(68, 1);
    let output = outcome(&host(), &frame.bytes).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [0, 2]);
    assert_eq!(strings(&output.columns[0]), [Some("a".into()), None]);
    assert_eq!(output.failures.len(), 1);
}

#[test]
fn larger_headers_and_descriptors_of_later_versions_are_read() {
    let host = host();
    let old = Frame::good();
    let mut new = Frame { bytes: old.bytes[..64].to_vec() };
    new.append(&[0xEE; 16]);
    new.append(&old.bytes[64..96]);
    new.append(&[0xEE; 8]);
    let moved = new.append(&old.bytes[96..]) - 96;
    new.put_u16(4, 80).put_u16(6, 40);
    for at in [72, 80, 88] {
        let word = new.word(at + 16);
        new.put(at + 16, word + moved);
    }
    let output = outcome(&host, &new.sized().bytes).unwrap();
    assert_eq!(strings(&output.columns[0]), [Some("a".into()), Some("bé".into()), None]);
}

#[test]
fn input_columns_of_unknown_types_are_refused_by_name() {
    let host = host();
    let input = Schema::new(vec![Field::new("big", DataType::LargeUtf8, true)]);
    let module = load(&host, &picky());
    let error =
        gristmill_host::Stage::describe(&host, &module, &json!({}), &input, Limits::default());
    assert!(error.unwrap_err().message.contains("column `big` has type LargeUtf8"));
}

#[test]
fn a_stage_may_speak_json_lines() {
    let host = host();
    let lines = "{\"__row\":2,\"city\":\"Ålesund\",\"n\":\"9223372036854775807\"}\n\
                 {\"__row\":0,\"__failure\":\"no city\"}\n";
    let answer = json!({
        "contract": "1.0", "encoding": "json", "reads": ["n"],
        "columns": [{ "name": "city", "type": "string" }, { "name": "n", "type": "long" }],
    });
    // Answers the lines if the input begins with {"n":5} as a line of its own, else traps.
    let expected = u64::from_le_bytes(*b"{\"n\":5}\n");
    let process = format!(
        "(if (i64.ne (i64.load (local.get $at)) (i64.const {expected})) (then unreachable)) \
         (call $result (i32.const 0) (i32.const {FRAME_AT}) (i32.const {}))",
        lines.len()
    );
    let data = format!("(data (i32.const {FRAME_AT}) \"{}\")", literal(lines.as_bytes()));
    let bytes = core_module(&answer.to_string(), &process, &data);
    let stage = described(&host, &bytes, &longs_schema(), tight());
    assert_eq!(stage.encoding(), Encoding::Json);
    let output = Lane::new(stage).process(&longs([5, 6, 7]), 3).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [2]);
    assert_eq!(strings(&output.columns[0]), [Some("Ålesund".to_owned())]);
    assert_eq!(output.failures[0].reason, "no city");
}

#[test]
fn a_stage_may_read_nothing_and_is_made_ready_before_its_first_batch() {
    let stage = described(&host(), &stamping(&["a", "b"], -7), &longs_schema(), tight());
    let mut lane = Lane::new(stage);
    lane.prepare().unwrap();
    assert!(lane.memory_bytes() > 0);
    for rows in [0, 1, 1_000] {
        let output = lane.process(&[], rows).unwrap();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![-7; rows]));
        assert_eq!(output.columns, [expected.clone(), expected]);
    }
}
