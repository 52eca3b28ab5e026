use crate::guests::*;
use gristmill_host::{FailureKind, Lane, LoadError, ProcessError};
use serde_json::json;

/// A component around a core module of the same exports, as wit-component would make it.
fn component(core: &str) -> Vec<u8> {
    let text = component_text(core);
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn component_text(core: &str) -> String {
    format!(
        r#"(component
  (core module $m {core})
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "cabi_realloc" (core func $realloc))
  (alias core export $i "describe" (core func $describe))
  (alias core export $i "process" (core func $process))
  (type $describe_type (func (param "request" string) (result (result string (error string)))))
  (type $process_type (func (param "batch" (list u8)) (result (result (list u8) (error string)))))
  (func (export "describe") (type $describe_type)
    (canon lift (core func $describe) (memory $memory) (realloc $realloc)))
  (func (export "process") (type $process_type)
    (canon lift (core func $process) (memory $memory) (realloc $realloc))))"#
    )
}

/// A component that keeps row 0, traps on a first value of [`TRAPS`] and refuses one of
/// [`REFUSES`].
fn keeps_first() -> Vec<u8> {
    component(&keeps_first_core("", ""))
}

/// The core module of [`keeps_first`], with an import and what `process` does before all else.
fn keeps_first_core(import: &str, first: &str) -> String {
    let answer = answer(&["n"], json!([]), &[]);
    let mut frame = Frame { bytes: vec![0; 64] };
    frame.bytes[..4].copy_from_slice(b"GMF1");
    frame.put_u16(4, 64).put_u16(6, 32).put(12, 1).put(20, 1).put(24, 64).put(28, 4);
    frame.append_words(&[0]);
    let frame = frame.sized();
    format!(
        r#"{import} (memory (export "memory") 3)
  (data (i32.const 1024) "{data}") (data (i32.const 512) "no sevens")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{size}")
  (data (i32.const 16) "\00\00\00\00\00\40\00\00{frame_size}")
  (data (i32.const 32) "\01\00\00\00\00\02\00\00\09\00\00\00")
  (data (i32.const 16384) "{frame}")
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "process") (param $at i32) (param i32) (result i32)
    (local $n i64)
    {first}
    (local.set $n (i64.load (i32.add (local.get $at) (i32.load offset=88 (local.get $at)))))
    (if (i64.eq (local.get $n) (i64.const {TRAPS})) (then unreachable))
    (if (i64.eq (local.get $n) (i64.const {REFUSES})) (then (return (i32.const 32))))
    (i32.const 16))"#,
        data = literal(answer.as_bytes()),
        size = literal(&(answer.len() as u32).to_le_bytes()),
        frame_size = literal(&(frame.bytes.len() as u32).to_le_bytes()),
        frame = literal(&frame.bytes),
    )
}

#[test]
fn a_component_runs_as_a_core_module_does() {
    let host = host();
    let stage = described(&host, &keeps_first(), &longs_schema(), tight());
    assert!(stage.module().is_component());
    let mut instance = stage.instance().unwrap();
    let output = instance.process(&longs([1, 2, 3]), 3).unwrap();
    assert_eq!(output.rows.unwrap().to_vec(), [0]);
    let refused = instance.process(&longs([REFUSES]), 1).unwrap_err();
    assert_eq!(refused, ProcessError::Refused("no sevens".to_owned()));
    instance.process(&longs([1]), 1).unwrap();
    assert!(matches!(instance.process(&longs([TRAPS]), 1), Err(ProcessError::Trap(_))));
    assert_eq!(instance.process(&longs([1]), 1).unwrap_err(), ProcessError::Poisoned);
}

#[test]
fn the_poison_row_is_found_in_a_component_too() {
    let host = host();
    let mut lane = Lane::new(described(&host, &keeps_first(), &longs_schema(), tight()));
    let output = lane.process(&longs([TRAPS, 1]), 2).unwrap();
    assert_eq!(output.failures[0].kind, FailureKind::Trapped);
    assert_eq!(output.rows.unwrap().to_vec(), [1]);
}

#[test]
fn a_components_code_is_cached_too() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let config = gristmill_host::HostConfig {
            cache_dir: Some(dir.path().to_owned()),
            ..Default::default()
        };
        let host = gristmill_host::Host::new(config).unwrap();
        let stage = described(&host, &keeps_first(), &longs_schema(), tight());
        stage.instance().unwrap().process(&longs([1]), 1).unwrap();
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_component_that_asks_for_more_is_refused_by_name() {
    let text = r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance (export "open" (func)))))"#;
    let error = host().load("m", &wat::parse_str(text).unwrap()).unwrap_err();
    assert_eq!(error, LoadError::Imports(vec!["wasi:filesystem/types@0.2.0".to_owned()]));
    let error = host().load("m", &wat::parse_str("(component)").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "module does not export `process`, it exports nothing");
}

/// A component that looks at the clock in `process`, before it answers as [`keeps_first`] does.
fn looks_at_the_clock() -> Vec<u8> {
    let interface = r#"
  (type $datetime (record (field "seconds" u64) (field "nanoseconds" u32)))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (export "now" (func (result u64)))
    (export "resolution" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))"#;
    let text = component_text(&keeps_first_core(
        r#"(import "clock" "now" (func $now (result i64)))"#,
        "(drop (call $now))",
    ));
    let text = text.replacen("(component", &format!("(component {interface}"), 1).replacen(
        "(instantiate $m)",
        r#"(instantiate $m (with "clock" (instance (export "now" (func $now)))))"#,
        1,
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_component_gets_the_interfaces_that_it_is_granted() {
    let bytes = looks_at_the_clock();
    let host = host();
    let error = host.load("m", &bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "module asks for `wasi:clocks/monotonic-clock@0.2.3`, which the stage is not granted: \
         add `clock` under `[stage.grant]`"
    );
    let granted = gristmill_host::Grant { clock: true, ..Default::default() };
    let module = host.load_with("m", &bytes, granted).unwrap();
    let stage =
        gristmill_host::Stage::describe(&host, &module, &json!({}), &longs_schema(), tight());
    let output = stage.unwrap().instance().unwrap().process(&longs([1, 2]), 2).unwrap();
    assert_eq!(output.row_count, 1);
    // The code is there, compiled and linked; that does not open it to others.
    assert!(host.load("m", &bytes).is_err());
}

#[test]
fn a_component_of_another_interface_is_refused_in_wits_words() {
    let text = r#"(component
  (core module $m (memory (export "m") 1)
    (func (export "f") (param i32 i32) (result i32) unreachable)
    (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (alias core export $i "m" (core memory $memory))
  (alias core export $i "r" (core func $realloc))
  (alias core export $i "f" (core func $f))
  (type $t (func (param "batch" string) (result (result (error string)))))
  (func (export "process") (type $t)
    (canon lift (core func $f) (memory $memory) (realloc $realloc))))"#;
    let error = host().load("m", &wat::parse_str(text).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "module exports `process` as func(string) -> result<_, string>, \
         the contract has func(list<u8>) -> result<list<u8>, string>"
    );
}

#[test]
fn a_component_has_no_more_instances_than_its_limit() {
    let host = host();
    let module = load(&host, &keeps_first());
    let limits = gristmill_host::Limits { instances_max: 0, ..tight() };
    let stage =
        gristmill_host::Stage::describe(&host, &module, &json!({}), &longs_schema(), limits);
    assert!(stage.unwrap_err().message.contains("module cannot start"));
}
