use crate::guests::*;
use arrow_array::Int64Array;
use gristmill_host::{FailureKind, Lane, LaneError, LaneOutput, Limits, LogLevel};
use serde_json::json;
use std::time::{Duration, Instant};

fn lane(limits: Limits) -> Lane {
    Lane::new(described(&host(), &picky(), &longs_schema(), limits))
}

fn failed(output: &LaneOutput) -> Vec<(u32, FailureKind)> {
    output.failures.iter().map(|failure| (failure.row, failure.kind)).collect()
}

#[test]
fn exactly_the_poison_rows_are_found_and_the_others_keep_their_order() {
    let mut values: Vec<i64> = (0..1000).collect();
    values[0] = TRAPS;
    values[17] = REFUSES;
    values[18] = LIES;
    values[500] = -1;
    values[613] = EATS_MEMORY;
    values[700] = RECURSES;
    values[999] = TRAPS;
    let mut lane = lane(tight());
    let output = lane.process(&longs(values.iter().copied()), 1000).unwrap();
    assert_eq!(
        failed(&output),
        [
            (0, FailureKind::Trapped),
            (17, FailureKind::Refused),
            (18, FailureKind::BadOutput),
            (613, FailureKind::MemoryLimit),
            (700, FailureKind::Trapped),
            (999, FailureKind::Trapped),
        ]
    );
    assert_eq!(output.failures[1].reason, "no sevens");
    let kept: Vec<u32> =
        (0..1000).filter(|row| ![0, 17, 18, 500, 613, 700, 999].contains(row)).collect();
    assert_eq!(output.rows.unwrap().to_vec(), kept);
    assert!(output.instances_lost > 5);
    let next = lane.process(&longs([1, 2]), 2).unwrap();
    assert_eq!((next.row_count, next.instances_lost), (2, 0));
}

#[test]
fn a_batch_of_nothing_but_poison_gives_nothing_but_failures() {
    let output = lane(tight()).process(&longs([TRAPS; 64]), 64).unwrap();
    assert_eq!((output.failures.len(), output.row_count), (64, 0));
}

#[test]
fn a_row_that_hangs_is_found_in_bounded_time() {
    let limits = Limits { batch_time_max: Duration::from_millis(160), ..tight() };
    let mut values: Vec<i64> = (0..1000).collect();
    values[321] = HANGS;
    let began = Instant::now();
    let output = lane(limits).process(&longs(values), 1000).unwrap();
    assert_eq!(failed(&output), [(321, FailureKind::TimedOut)]);
    assert_eq!(output.row_count, 999);
    // The whole, the halves' shares, and one full limit for the row alone, on a machine with other
    // work.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn a_stage_that_always_hangs_is_given_up() {
    let limits = Limits {
        batch_time_max: Duration::from_millis(30),
        isolation_time_max: Duration::from_millis(200),
        ..tight()
    };
    let error = lane(limits).process(&longs([HANGS; 500]), 500).unwrap_err();
    assert!(matches!(error, LaneError::IsolationTime { rows: 500, .. }), "{error}");
}

/// Columns of the parts are joined, and rows that the stage itself rejects stay among the failures.
#[test]
fn parts_of_a_batch_are_joined_column_by_column() {
    let poison = "(if (i64.eq
        (i64.load (i32.add (local.get $at) (i32.load offset=88 (local.get $at))))
        (i64.const 6661)) (then unreachable))";
    let columns = json!([{ "name": "copy", "type": "long" }]);
    // Locals come first, so the check of the first value goes behind them.
    let body = IDENTITY.replacen("(local.set $arrays", &format!("{poison}\n(local.set $arrays"), 1);
    let bytes = core_module(&answer(&["n"], columns, &[]), &body, "");
    let mut lane = Lane::new(described(&host(), &bytes, &longs_schema(), tight()));
    let output = lane.process(&longs([TRAPS, 10, 20, 30]), 4).unwrap();
    assert_eq!(failed(&output), [(0, FailureKind::Trapped)]);
    assert_eq!(output.rows.unwrap().to_vec(), [1, 2, 3]);
    let copy = output.columns[0].as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!(copy.values().to_vec(), [10, 20, 30]);
}

/// A stage that counts its batches and breaks in its third, whatever the row, as one that leaks
/// does.
#[test]
fn a_row_is_not_blamed_for_a_worn_out_instance() {
    let body = "(global.set $used (i32.add (global.get $used) (i32.const 1)))
                (if (i32.eq (global.get $used) (i32.const 3)) (then unreachable))";
    let body = IDENTITY.replacen("(local.set $arrays", &format!("{body}\n(local.set $arrays"), 1);
    let columns = json!([{ "name": "copy", "type": "long" }]);
    let more = "(global $used (mut i32) (i32.const 0))";
    let bytes = core_module(&answer(&["n"], columns, &[]), &body, more);
    let mut lane = Lane::new(described(&host(), &bytes, &longs_schema(), tight()));
    for length in [1, 1, 1, 2, 2, 2, 1] {
        let output = lane.process(&longs(0..length), length as usize).unwrap();
        assert_eq!((output.row_count, output.failures.len()), (length as usize, 0));
    }
}

/// A stage that logs a line about row 0 of each batch, and breaks on batches of more than one row: every row comes
/// through alone.
fn logs_and_takes_one_row() -> Vec<u8> {
    let answer = answer(&["n"], json!([]), &[]);
    let line = "error: row 0: odd\nplain";
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (data (i32.const 1024) "{answer_bytes}")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{answer_size}")
  (data (i32.const 32) "\40\00\00\00{line_size}")
  (data (i32.const 64) "{line_bytes}")
  (data (i32.const 128) "GMF1\40\00\20\00\40\00\00\00")
  (data (i32.const 256) "\00\00\00\00\80\00\00\00\40\00\00\00")
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "process") (param $at i32) (param i32) (result i32)
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 2048)))
    (if (i32.gt_u (i32.load offset=12 (local.get $at)) (i32.const 1)) (then unreachable))
    (i32.const 256)))"#,
        answer_bytes = literal(answer.as_bytes()),
        answer_size = literal(&(answer.len() as u32).to_le_bytes()),
        line_bytes = literal(line.as_bytes()),
        line_size = literal(&(line.len() as u32).to_le_bytes()),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn log_lines_name_the_rows_of_the_whole_batch_and_come_once() {
    let stage = described(&host(), &logs_and_takes_one_row(), &longs_schema(), tight());
    let output = Lane::new(stage).process(&longs([1, 2, 3]), 3).unwrap();
    assert_eq!((output.row_count, output.failures.len()), (0, 0));
    let lines: Vec<_> =
        output.log_lines.iter().map(|line| (line.level, line.row, line.text.as_str())).collect();
    let (odd, plain) = (LogLevel::Error, LogLevel::Info);
    assert_eq!(
        lines,
        [
            (odd, Some(0), "odd"),
            (plain, None, "plain"),
            (odd, Some(1), "odd"),
            (plain, None, "plain"),
            (odd, Some(2), "odd"),
            (plain, None, "plain"),
        ]
    );
}
