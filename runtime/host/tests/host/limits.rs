use crate::guests::*;
use gristmill_host::{HostConfig, Limits, ProcessError};
use serde_json::json;

fn poisoned_by(value: i64) -> ProcessError {
    let host = host();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let mut instance = stage.instance().unwrap();
    instance.process(&longs([1, 2]), 2).unwrap();
    let error = instance.process(&longs([1, value]), 2).unwrap_err();
    if error.leaves_instance_usable() {
        instance.process(&longs([1, 2]), 2).unwrap();
    } else {
        assert_eq!(instance.process(&longs([1]), 1).unwrap_err(), ProcessError::Poisoned);
    }
    stage.instance().unwrap().process(&longs([1, 2]), 2).unwrap();
    error
}

#[test]
fn an_endless_loop_ends_at_the_time_limit() {
    let limit = tight().batch_time_max;
    assert_eq!(poisoned_by(HANGS), ProcessError::Timeout { after: limit });
}

#[test]
fn memory_ends_at_its_limit() {
    assert_eq!(poisoned_by(EATS_MEMORY), ProcessError::MemoryLimit { bytes_max: 4 << 20 });
}

#[test]
fn a_trap_names_itself() {
    let ProcessError::Trap(text) = poisoned_by(TRAPS) else { panic!() };
    assert!(text.contains("unreachable"), "{text}");
}

#[test]
fn endless_recursion_is_a_trap() {
    let ProcessError::Trap(text) = poisoned_by(RECURSES) else { panic!() };
    assert!(text.contains("call stack exhausted in `recurse`"), "{text}");
}

#[test]
fn a_refusal_leaves_the_instance_usable() {
    assert_eq!(poisoned_by(REFUSES), ProcessError::Refused("no sevens".to_owned()));
}

#[test]
fn a_refusal_that_is_not_utf8_is_a_broken_output() {
    let what = "an error text that is not UTF-8".to_owned();
    assert_eq!(poisoned_by(REFUSES_IN_NO_UTF8), ProcessError::BadOutput(what));
}

#[test]
fn the_stack_is_as_small_as_the_host_is_told() {
    let config = HostConfig { stack_bytes_max: 64 << 10, ..HostConfig::default() };
    let host = gristmill_host::Host::new(config).unwrap();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let error = stage.instance().unwrap().process(&longs([RECURSES]), 1).unwrap_err();
    assert!(matches!(error, ProcessError::Trap(_)));
}

#[test]
fn a_batch_larger_than_the_guests_memory_is_not_sent() {
    let host = host();
    let stage = described(&host, &picky(), &longs_schema(), tight());
    let error = stage.instance().unwrap().process(&longs(0..1_000_000), 1_000_000).unwrap_err();
    assert_eq!(error, ProcessError::MemoryLimit { bytes_max: 4 << 20 });
}

#[test]
fn a_module_that_begins_with_too_much_memory_or_table_does_not_start() {
    let host = host();
    let input = longs_schema();
    let start = |bytes: &[u8], limits: Limits| {
        let module = load(&host, bytes);
        gristmill_host::Stage::describe(&host, &module, &json!({}), &input, limits)
            .unwrap_err()
            .message
    };
    let small = Limits { memory_bytes_max: 64 << 10, ..Limits::default() };
    assert!(start(&picky(), small).contains("limit of 65536 bytes"));
    let answer = answer(&["n"], json!([]), &[]);
    let table = core_module(&answer, "unreachable", "(table 200000 funcref)");
    assert!(start(&table, Limits::default()).contains("table"));
    let hangs = r#"(func $hang (loop (br 0))) (start $hang)"#;
    let hangs = core_module(&answer, "unreachable", hangs);
    let limits = Limits { describe_time_max: tight().batch_time_max, ..Limits::default() };
    assert!(start(&hangs, limits).contains("took longer"));
}

/// The error of a stage whose `process` does this.
fn ended_by(body: &str, more: &str) -> ProcessError {
    let host = host();
    let module = core_module(&answer(&["n"], json!([]), &[]), body, more);
    let stage = described(&host, &module, &longs_schema(), tight());
    stage.instance().unwrap().process(&longs([1]), 1).unwrap_err()
}

/// A heap of WebAssembly's own collector, as stages in Kotlin have it, is memory like any other.
#[test]
fn a_heap_with_a_collector_ends_at_the_limit_of_memory() {
    let types = r#"
        (type $bytes (array (mut i8)))
        (type $list (struct (field (ref null $list)) (field (ref $bytes))))
        (global $kept (mut (ref null $list)) (ref.null $list))"#;
    let keeps_all = r#"
        (loop $more
          (global.set $kept
            (struct.new $list (global.get $kept) (array.new_default $bytes (i32.const 10000))))
          (br $more))
        (unreachable)"#;
    assert_eq!(ended_by(keeps_all, types), ProcessError::MemoryLimit { bytes_max: 4 << 20 });
    let at_once = "(drop (array.new_default $bytes (i32.const 100000000))) (unreachable)";
    assert_eq!(ended_by(at_once, types), ProcessError::MemoryLimit { bytes_max: 4 << 20 });
    let lets_go = r#"
        (loop $more (drop (array.new_default $bytes (i32.const 10000))) (br $more))
        (unreachable)"#;
    let limit = tight().batch_time_max;
    assert_eq!(ended_by(lets_go, types), ProcessError::Timeout { after: limit });
}

#[test]
fn an_exception_that_nobody_catches_is_a_trap() {
    let ProcessError::Trap(text) = ended_by("(throw $thrown)", "(tag $thrown)") else { panic!() };
    assert!(text.contains("exception"), "{text}");
}

#[test]
fn output_rows_end_at_their_limit() {
    let host = host();
    let limits = Limits { output_rows_max: 2, ..tight() };
    let stage = described(&host, &picky(), &longs_schema(), limits);
    let error = stage.instance().unwrap().process(&longs([1, 2, 3]), 3).unwrap_err();
    assert_eq!(error, ProcessError::OutputLimit("3 rows, at most 2 are allowed".to_owned()));
}

#[test]
fn an_allocator_that_lies_is_a_broken_output() {
    let host = host();
    let answer = answer(&["n"], json!([]), &[]);
    for (address, part) in [(-64, "out of bounds"), (131_073, "not aligned")] {
        let text = format!(
            r#"(module (memory (export "memory") 3) (data (i32.const 1024) "{}")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{}")
  (func (export "process") (param i32 i32) (result i32) unreachable)
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (select (i32.const 65536) (i32.const {address}) (i32.eq (local.get 2) (i32.const 1)))))"#,
            literal(answer.as_bytes()),
            literal(&(answer.len() as u32).to_le_bytes()),
        );
        let bytes = wat::parse_str(&text).unwrap();
        let stage = described(&host, &bytes, &longs_schema(), tight());
        let error = stage.instance().unwrap().process(&longs([1]), 1).unwrap_err();
        assert!(matches!(&error, ProcessError::BadOutput(what) if what.contains(part)), "{error}");
    }
}
