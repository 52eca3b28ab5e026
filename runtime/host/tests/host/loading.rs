use crate::guests::*;
use gristmill_host::{FileStamp, Grant, Host, HostConfig, Limits, LoadError, Stage};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn refusal(bytes: &[u8]) -> String {
    host().load("m", bytes).unwrap_err().to_string()
}

fn refusal_of_text(text: &str) -> String {
    refusal(&wat::parse_str(text).unwrap())
}

#[test]
fn what_is_not_a_stage_is_refused_in_words_that_help() {
    assert!(refusal(b"MZ").contains("not a WebAssembly module"));
    assert!(refusal(b"(module)").contains("translate it first"));
    assert!(refusal(b"\0asm\x01\0\0\0garbage").contains("does not compile"));
    assert_eq!(refusal_of_text("(module)"), "module does not export `process`, it exports nothing");
    assert_eq!(
        refusal_of_text(r#"(module (memory (export "memory") 1) (func (export "_start")))"#),
        "module does not export `process`, it exports `memory`, `_start`"
    );
    assert_eq!(
        refusal_of_text(r#"(module (func (export "process") (param i64)))"#),
        "module exports `process` as (i64), the contract has (i32, i32) -> i32"
    );
}

#[test]
fn imports_that_are_not_granted_are_named() {
    let import = r#"
  (import "env" "abort" (func (param i32 i32 i32 i32)))
  (import "wasi_snapshot_preview1" "sock_open" (func))
  (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))"#;
    let text = format!(
        r#"(module {import} (memory (export "memory") 1)
  (func (export "process") (param i32 i32) (result i32) unreachable)
  (func (export "describe") (param i32 i32) (result i32) unreachable)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable))"#
    );
    let bytes = wat::parse_str(&text).unwrap();
    assert_eq!(
        host().load("m", &bytes).unwrap_err(),
        LoadError::Imports(vec![
            "env.abort".to_owned(),
            "wasi_snapshot_preview1.sock_open".to_owned()
        ])
    );
}

#[test]
fn a_memory_of_64_bits_is_refused() {
    let text = r#"(module (memory (export "memory") i64 1)
  (func (export "process") (param i32 i32) (result i32) unreachable)
  (func (export "describe") (param i32 i32) (result i32) unreachable)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable))"#;
    assert!(refusal_of_text(text).contains("64-bit memory"));
}

/// What `describe` says of a stage, as the author of the pipeline reads it.
fn describe_refusal(answer: &str) -> String {
    let host = host();
    let module = load(&host, &core_module(answer, "unreachable", ""));
    let limits = Limits::default();
    Stage::describe(&host, &module, &json!({}), &longs_schema(), limits).unwrap_err().to_string()
}

#[test]
fn a_describe_that_answers_garbage_is_refused() {
    assert!(describe_refusal("{").contains("not JSON"));
    assert!(describe_refusal("null").contains("not a JSON object"));
    assert!(describe_refusal(r#"{"contract":"2.1"}"#).contains("built for contract 2.1"));
    let unknown = r#"{"contract":"1.0","reads":["m"]}"#;
    assert!(describe_refusal(unknown).contains("names `m`, the input columns are n"));
}

fn describe_body(body: &str) -> String {
    let host = host();
    let text = format!(
        r#"(module (memory (export "memory") 1)
  (data (i32.const 64) "config.city: no such city\ff")
  (data (i32.const 128) "\01\00\00\00\40\00\00\00\19\00\00\00")
  (data (i32.const 144) "\01\00\00\00\40\00\00\00\1a\00\00\00")
  (data (i32.const 160) "\07\00\00\00\40\00\00\00\1a\00\00\00")
  (data (i32.const 176) "\00\00\00\00\ff\ff\ff\ff\ff\ff\ff\ff")
  (func (export "process") (param i32 i32) (result i32) unreachable)
  (func (export "describe") (param i32 i32) (result i32) {body})
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192)))"#
    );
    let module = load(&host, &wat::parse_str(&text).unwrap());
    let limits = Limits { describe_time_max: tight().batch_time_max, ..Limits::default() };
    Stage::describe(&host, &module, &json!({}), &longs_schema(), limits).unwrap_err().to_string()
}

#[test]
fn a_describe_that_fails_says_why() {
    assert_eq!(describe_body("(i32.const 128)"), "city: no such city");
    assert!(describe_body("(i32.const 144)").contains("error text that is not UTF-8"));
    assert!(describe_body("(i32.const 160)").contains("neither ok nor err"));
    assert!(describe_body("(i32.const 176)").contains("a list of 4294967295 bytes"));
    assert!(describe_body("(i32.const -4)").contains("a list of 12 bytes at address"));
    assert!(describe_body("unreachable").contains("unreachable"));
    assert!(describe_body("(loop (br 0)) unreachable").contains("took longer than 200 ms"));
}

fn host_with_cache(dir: &Path) -> Host {
    Host::new(HostConfig { cache_dir: Some(dir.to_owned()), ..HostConfig::default() }).unwrap()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn compiled_code_is_kept_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("compiled");
    let bytes = picky();
    let run = || {
        let host = host_with_cache(&dir);
        let stage = described(&host, &bytes, &longs_schema(), tight());
        let output = stage.instance().unwrap().process(&longs([-1, 5]), 2).unwrap();
        assert_eq!(output.rows.unwrap().to_vec(), [1]);
    };
    run();
    let entry = entries(&dir);
    assert_eq!(entry.len(), 1, "{entry:?}");
    let whole = std::fs::read(&entry[0]).unwrap();
    run();
    assert_eq!(std::fs::read(&entry[0]).unwrap(), whole);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    std::fs::write(&entry[0], &damaged).unwrap();
    run();
    assert_eq!(std::fs::read(&entry[0]).unwrap().len(), whole.len());
    assert_ne!(std::fs::read(&entry[0]).unwrap(), damaged);
}

#[test]
fn a_cached_entry_is_what_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let (keeps_all, keeps_some) = (identity_of_n(), picky());
    let names = |bytes: &[u8]| {
        let host = host_with_cache(dir.path());
        load(&host, bytes).hash().to_owned()
    };
    let (all, some) = (names(&keeps_all), names(&keeps_some));
    let path = |hash: &str| {
        let named = |path: &PathBuf| path.to_string_lossy().contains(hash);
        entries(dir.path()).into_iter().find(named).unwrap()
    };
    // The entry of one module under the name of the other shows which of the two is taken.
    std::fs::copy(path(&some), path(&all)).unwrap();
    let host = host_with_cache(dir.path());
    let stage = described(&host, &keeps_all, &longs_schema(), tight());
    let output = stage.instance().unwrap().process(&longs([-1, 5]), 2).unwrap();
    assert_eq!(output.row_count, 1);
}

/// A module in a file that is old enough for its hash to be remembered.
fn module_file(dir: &Path, bytes: &[u8]) -> PathBuf {
    let file = dir.join("stage.wasm");
    std::fs::write(&file, bytes).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while FileStamp::of(&file).unwrap().is_recent() {
        assert!(Instant::now() < deadline, "the file stays recent");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    file
}

/// Hashing the module of an interpreter took longer than everything else of a load.
#[test]
fn a_file_that_has_not_changed_is_not_hashed_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    let load = |file: &Path| host_with_cache(&cache).load_file(file, Grant::default()).unwrap();
    let other = host_with_cache(&cache).load("other", &picky()).unwrap().hash().to_owned();
    let bytes = identity_of_n();
    let file = module_file(dir.path(), &bytes);
    let module = load(&file);
    assert_ne!(module.hash(), other);
    assert_eq!(module.size(), bytes.len());
    let known = |path: &PathBuf| path.extension().is_some_and(|end| end == "known");
    let known: Vec<_> = entries(&cache).into_iter().filter(known).collect();
    assert_eq!(known.len(), 1, "{known:?}");
    // What is remembered, with the hash of the other module, shows that the file is not looked into.
    let text = std::fs::read_to_string(&known[0]).unwrap();
    std::fs::write(&known[0], text.replace(module.hash(), &other)).unwrap();
    assert_eq!(load(&file).hash(), other);
    // A hash that leads to no code is none.
    std::fs::write(&known[0], text.replace(module.hash(), &"0".repeat(64))).unwrap();
    assert_eq!(load(&file).hash(), module.hash());
    assert_eq!(std::fs::read_to_string(&known[0]).unwrap(), text);
    std::fs::write(&file, picky()).unwrap();
    assert_eq!(load(&file).hash(), other);
}

#[test]
fn a_file_whose_code_is_damaged_is_compiled_anew() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    let file = module_file(dir.path(), &picky());
    let load = || host_with_cache(&cache).load_file(&file, Grant::default()).unwrap();
    load();
    let code = |path: &PathBuf| path.extension().is_some_and(|end| end == "cwasm");
    let entry = entries(&cache).into_iter().find(code).unwrap();
    let whole = std::fs::read(&entry).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    std::fs::write(&entry, &damaged).unwrap();
    load();
    let mended = std::fs::read(&entry).unwrap();
    assert_eq!(mended.len(), whole.len());
    assert_ne!(mended, damaged);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = host().load_file(Path::new("no/such.wasm"), Grant::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read module `no/such.wasm`: "), "{error}");
}

fn identity_of_n() -> Vec<u8> {
    let columns = json!([{ "name": "n", "type": "long" }]);
    core_module(&answer(&["n"], columns, &[]), IDENTITY, "")
}

#[test]
fn a_folder_that_cannot_be_used_costs_nothing_but_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    load(&host_with_cache(&file), &picky());
}

#[test]
fn stages_of_the_same_bytes_share_their_code() {
    let host = host();
    let (one, two) = (load(&host, &picky()), load(&host, &picky()));
    assert_eq!(one.hash(), two.hash());
    assert_eq!(one.hash().len(), 64);
    assert_eq!(one.size(), picky().len());
    assert!(!one.is_component());
}
