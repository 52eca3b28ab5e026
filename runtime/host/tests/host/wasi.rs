use crate::guests::*;
use gristmill_host::{Grant, Host, ProcessError, Stage};
use serde_json::json;
use std::sync::Arc;

/// A stage that imports a function of WASI, calls it in `_initialize` and in `process`.
fn wasi_stage(imports: &str, body: &str) -> Vec<u8> {
    let answer = answer(&["n"], json!([]), &[]);
    let text = format!(
        r#"(module {imports}
  (memory (export "memory") 3)
  (global $got (mut i32) (i32.const 0))
  (data (i32.const 1024) "{data}")
  (data (i32.const 0) "\00\00\00\00\00\04\00\00{size}")
  (data (i32.const 32) "\40\00\00\00\0c\00\00\00")
  (data (i32.const 64) "hello\nworld!")
  (data (i32.const 128) "GMF1\40\00\20\00\40\00\00\00")
  (data (i32.const 256) "\00\00\00\00\80\00\00\00\40\00\00\00")
  (func (export "_initialize") {body})
  (func (export "describe") (param i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "process") (param i32 i32) (result i32) {body} (i32.const 256)))"#,
        data = literal(answer.as_bytes()),
        size = literal(&(answer.len() as u32).to_le_bytes()),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn run(host: &Host, bytes: &[u8]) -> Result<(), ProcessError> {
    let stage = described(host, bytes, &longs_schema(), tight());
    stage.instance().unwrap().process(&longs([1]), 1).map(|_| ())
}

/// Traps unless a call of WASI answers a number.
fn expect(call: &str, errno: u32) -> String {
    format!("(if (i32.ne {call} (i32.const {errno})) (then unreachable))")
}

#[test]
fn what_tool_chains_ask_for_at_start_has_an_answer() {
    let imports = r#"
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let body = [
        expect("(call $args (i32.const 2048) (i32.const 2052))", 0),
        expect("(call $args (i32.const -1) (i32.const 2052))", 21),
        expect("(call $clock (i32.const 0) (i64.const 0) (i32.const 2048))", 0),
        expect("(call $random (i32.const 2048) (i32.const 17))", 0),
        expect("(call $random (i32.const 2048) (i32.const -1))", 21),
        expect("(call $fdstat (i32.const 1) (i32.const 2048))", 0),
        expect("(call $fdstat (i32.const 3) (i32.const 2048))", 8),
        expect("(call $prestat (i32.const 3) (i32.const 2048))", 8),
        expect("(call $poll (i32.const 4096) (i32.const 8192) (i32.const 1) (i32.const 2048))", 0),
        expect("(call $write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 2048))", 0),
        expect("(call $write (i32.const 5) (i32.const 32) (i32.const 1) (i32.const 2048))", 8),
        expect(
            "(call $write (i32.const 1) (i32.const -8) (i32.const 900000) (i32.const 2048))",
            21,
        ),
    ];
    run(&host(), &wasi_stage(imports, &body.join("\n"))).unwrap();
}

#[test]
fn an_exit_is_a_trap_that_shows_the_last_line_of_standard_error() {
    let imports = r#"
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let body = r#"
  (if (global.get $got) (then
    (drop (call $write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 2048)))
    (call $exit (i32.const 3))))
  (global.set $got (i32.const 1))"#;
    let error = run(&host(), &wasi_stage(imports, body)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit code 3") && text.contains("last line was: world!"), "{text}");
}

#[test]
fn a_function_of_wasi_with_another_signature_is_refused() {
    let imports = r#"(import "wasi_snapshot_preview1" "fd_close" (func $close (param i64)))"#;
    let bytes = wasi_stage(imports, "");
    let error = host().load("m", &bytes).unwrap_err();
    assert!(error.to_string().contains("fd_close"), "{error}");
}

#[test]
fn a_flood_of_log_lines_is_survived() {
    let imports = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
    let body = r#"
  (loop $again
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 2048)))
    (global.set $got (i32.add (global.get $got) (i32.const 1)))
    (br_if $again (i32.rem_u (global.get $got) (i32.const 5000))))"#;
    run(&host(), &wasi_stage(imports, body)).unwrap();
}

const ENVIRONMENT: &str = r#"
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))"#;

/// Runs a stage with a grant.
fn run_with(grant: Grant, bytes: &[u8]) -> Result<(), ProcessError> {
    let host = host();
    let module = host.load_with("m", bytes, grant).unwrap();
    let stage = Stage::describe(&host, &module, &json!({}), &longs_schema(), tight());
    let stage = Arc::new(stage.map_err(|error| ProcessError::Trap(error.to_string()))?);
    stage.instance().unwrap().process(&longs([1]), 1).map(|_| ())
}

/// Traps unless the word at an address is this one.
fn expect_word(at: u32, word: u32) -> String {
    format!("(if (i32.ne (i32.load (i32.const {at})) (i32.const {word})) (then unreachable))")
}

#[test]
fn granted_variables_are_seen_and_no_others() {
    let granted = Grant {
        environment: vec![("A".into(), "1".into()), ("BC".into(), "two".into())],
        ..Grant::default()
    };
    // "A=1" and "BC=two", each with a zero behind it.
    let body = [
        expect("(call $sizes (i32.const 2048) (i32.const 2052))", 0),
        expect_word(2048, 2),
        expect_word(2052, 11),
        expect("(call $get (i32.const 2048) (i32.const 3072))", 0),
        expect_word(2048, 3072),
        expect_word(2052, 3076),
        expect_word(3072, u32::from_le_bytes(*b"A=1\0")),
        expect_word(3076, u32::from_le_bytes(*b"BC=t")),
        expect_word(3080, u32::from(b'w') | u32::from(b'o') << 8),
        expect("(call $get (i32.const 2048) (i32.const -1))", 21),
    ];
    let module = wasi_stage(ENVIRONMENT, &body.join("\n"));
    run_with(granted, &module).unwrap();
    assert!(run_with(Grant::default(), &module).is_err());
    let none = [expect("(call $sizes (i32.const 2048) (i32.const 2052))", 0), expect_word(2048, 0)];
    run_with(Grant::default(), &wasi_stage(ENVIRONMENT, &none.join("\n"))).unwrap();
}

#[test]
fn a_granted_clock_is_the_systems() {
    let imports = r#"
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))"#;
    // 1 January 2020, in nanoseconds since 1970.
    let body = format!(
        "{} (if (i64.lt_u (i64.load (i32.const 2048)) (i64.const 1577836800000000000)) (then unreachable))",
        expect("(call $clock (i32.const 0) (i64.const 0) (i32.const 2048))", 0),
    );
    let module = wasi_stage(imports, &body);
    run_with(Grant { clock: true, ..Grant::default() }, &module).unwrap();
    assert!(run_with(Grant::default(), &module).is_err());
}

#[test]
fn granted_random_numbers_are_others_in_each_instance() {
    let imports = r#"
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    // The first word of the fixed numbers.
    let body = format!(
        "{} {}",
        expect("(call $random (i32.const 2048) (i32.const 8))", 0),
        "(if (i64.eq (i64.load (i32.const 2048)) (i64.const 0xe220a8397b1dcdaf)) (then unreachable))",
    );
    let module = wasi_stage(imports, &body);
    assert!(run_with(Grant::default(), &module).is_err());
    run_with(Grant { random: true, ..Grant::default() }, &module).unwrap();
}

#[test]
fn what_opens_files_and_sockets_is_refused_by_name() {
    for (name, params) in [
        ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        ("path_unlink_file", "i32 i32 i32"),
        ("sock_send", "i32 i32 i32 i32 i32"),
    ] {
        let import = format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func (param {params}) (result i32)))"#
        );
        let granted = Grant { clock: true, random: true, ..Grant::default() };
        let error = host().load_with("m", &wasi_stage(&import, ""), granted).unwrap_err();
        assert!(error.to_string().contains(&format!("wasi_snapshot_preview1.{name}")), "{error}");
    }
}
