//! Guests in WebAssembly text around one skeleton, and output frames built byte by byte.

use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::{DataType, Field, Schema};
use gristmill_host::{Host, HostConfig, Limits, Module, ProcessError, Stage};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Where the skeleton keeps things in the guest's memory.
pub const RESULT_AT: u32 = 0;
pub const ANSWER_AT: u32 = 1024;
pub const FRAME_AT: u32 = 16 << 10;
pub const INPUT_AT: u32 = 128 << 10;

pub fn host() -> Host {
    Host::new(HostConfig::default()).unwrap()
}

/// Bytes as a string literal of WebAssembly text.
pub fn literal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A core module with the contract's exports. `describe` answers `answer`, `process` has the body
/// `process` with parameters `$at` and `$size` and answers the address of a result; `more` are
/// further module fields. The input is always at [`INPUT_AT`].
pub fn core_module(answer: &str, process: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (memory (export "memory") 3)
  {more}
  (data (i32.const {ANSWER_AT}) "{data}")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $need i32)
    (local.set $need (i32.sub
      (i32.div_u
        (i32.add (i32.const {INPUT_AT}) (i32.add (local.get 3) (i32.const 65535)))
        (i32.const 65536))
      (memory.size)))
    (if (i32.gt_s (local.get $need) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $need)) (i32.const -1)) (then unreachable))))
    (i32.const {INPUT_AT}))
  (func $result (param $tag i32) (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const {RESULT_AT}) (local.get $tag))
    (i32.store offset=4 (i32.const {RESULT_AT}) (local.get $at))
    (i32.store offset=8 (i32.const {RESULT_AT}) (local.get $size))
    (i32.const {RESULT_AT}))
  (func (export "describe") (param $at i32) (param $size i32) (result i32)
    (call $result (i32.const 0) (i32.const {ANSWER_AT}) (i32.const {size})))
  (func (export "process") (param $at i32) (param $size i32) (result i32)
    {process}))"#,
        data = literal(answer.as_bytes()),
        size = answer.len(),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The body of a stage that gives back each column that it gets: descriptors are copied, and their
/// offsets moved to count from the output frame but still point into the input.
pub const IDENTITY: &str = r#"
    (local $arrays i32) (local $index i32) (local $from i32) (local $to i32) (local $move i32)
    (local.set $arrays (i32.load offset=16 (local.get $at)))
    (local.set $move (i32.sub (local.get $at) (i32.const 16384)))
    (memory.copy (i32.const 16384) (local.get $at)
      (i32.add (i32.const 64) (i32.mul (i32.const 32) (local.get $arrays))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $index) (local.get $arrays)))
      (local.set $to (i32.add (i32.const 16448) (i32.mul (i32.const 32) (local.get $index))))
      (i32.store offset=8 (local.get $to)
        (i32.add (i32.load offset=8 (local.get $to)) (local.get $move)))
      (i32.store offset=16 (local.get $to)
        (i32.add (i32.load offset=16 (local.get $to)) (local.get $move)))
      (i32.store offset=24 (local.get $to)
        (i32.add (i32.load offset=24 (local.get $to)) (local.get $move)))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))
    (local.set $index (i32.add (i32.const 64) (i32.mul (i32.const 32) (local.get $arrays))))
    (i32.store offset=8 (i32.const 16384) (local.get $index))
    (call $result (i32.const 0) (i32.const 16384) (local.get $index))"#;

/// An answer of `describe`.
pub fn answer(reads: &[&str], columns: Value, drops: &[&str]) -> String {
    let answer = json!({
        "contract": "1.0", "name": "by hand", "version": "0.1.0", "encoding": "frame",
        "reads": reads, "columns": columns, "drops": drops,
    });
    answer.to_string()
}

/// The input of most tests: one column `n` of longs.
pub fn longs_schema() -> Schema {
    Schema::new(vec![Field::new("n", DataType::Int64, true)])
}

pub fn longs(values: impl IntoIterator<Item = i64>) -> Vec<ArrayRef> {
    vec![Arc::new(values.into_iter().collect::<Int64Array>())]
}

pub fn load(host: &Host, bytes: &[u8]) -> Module {
    host.load("by-hand", bytes).unwrap_or_else(|error| panic!("{error}"))
}

pub fn described(host: &Host, bytes: &[u8], input: &Schema, limits: Limits) -> Arc<Stage> {
    let stage = Stage::describe(host, &load(host, bytes), &json!({}), input, limits);
    Arc::new(stage.unwrap_or_else(|error| panic!("{error}")))
}

/// Limits that a test can afford to reach.
pub fn tight() -> Limits {
    Limits {
        batch_time_max: Duration::from_millis(200),
        memory_bytes_max: 4 << 20,
        output_bytes_max: 1 << 20,
        ..Limits::default()
    }
}

/// A stage that answers these bytes as its output, whatever the input.
pub fn answering(frame: &[u8]) -> Vec<u8> {
    let answer = answer(&["n"], json!([{ "name": "m", "type": "string" }]), &[]);
    let size = frame.len();
    let process = format!("(call $result (i32.const 0) (i32.const {FRAME_AT}) (i32.const {size}))");
    let data = format!("(data (i32.const {FRAME_AT}) \"{}\")", literal(frame));
    core_module(&answer, &process, &data)
}

/// What the host makes of these bytes as the output of a batch of three rows.
pub fn outcome(host: &Host, frame: &[u8]) -> Result<gristmill_host::Output, ProcessError> {
    let stage = described(host, &answering(frame), &longs_schema(), tight());
    stage.instance().unwrap().process(&longs([1, 2, 3]), 3)
}

/// An output frame of one string column, with every number open to lies.
#[derive(Clone)]
pub struct Frame {
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Three rows: "a", "bé", null.
    pub fn good() -> Self {
        let mut frame = Self { bytes: vec![0; 96] };
        frame.bytes[..4].copy_from_slice(b"GMF1");
        frame.put_u16(4, 64).put_u16(6, 32).put(12, 3).put(16, 1);
        let validity = frame.append(&[0b011]);
        let offsets = frame.append_words(&[0, 1, 4, 4]);
        let values = frame.append("abé".as_bytes());
        frame.put(64, 3).put(68, 1);
        frame.put(72, validity).put(76, 1).put(80, offsets).put(84, 16).put(88, values).put(92, 4);
        frame.sized()
    }

    /// Rows 0 and 2, no column value but those of `good`'s first two rows.
    pub fn filtered() -> Self {
        let mut frame = Self::good();
        let rows = frame.append_words(&[0, 2]);
        frame.put(12, 2).put(20, 1).put(24, rows).put(28, 8).put(64, 2).put(68, 0);
        frame.sized()
    }

    /// No output row, one failure: row 1, "bad row".
    pub fn failed() -> Self {
        let mut frame = Self::good();
        let rows = frame.append_words(&[1]);
        let offsets = frame.append_words(&[0, 7]);
        let reasons = frame.append(b"bad row");
        frame.put(12, 0).put(64, 0).put(68, 0).put(32, 1).put(36, rows).put(40, 4);
        frame.put(44, offsets).put(48, 8).put(52, reasons).put(56, 7);
        frame.sized()
    }

    pub fn append(&mut self, bytes: &[u8]) -> u32 {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        at as u32
    }

    pub fn append_words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.append(&bytes)
    }

    pub fn put(&mut self, at: usize, word: u32) -> &mut Self {
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        self
    }

    pub fn put_u16(&mut self, at: usize, half: u16) -> &mut Self {
        self.bytes[at..at + 2].copy_from_slice(&half.to_le_bytes());
        self
    }

    pub fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// Says the frame's own size.
    pub fn sized(mut self) -> Self {
        let size = self.bytes.len() as u32;
        self.put(8, size);
        self
    }
}

pub fn strings(column: &ArrayRef) -> Vec<Option<String>> {
    let column = column.as_any().downcast_ref::<arrow_array::StringArray>().unwrap();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

/// A stage that keeps the rows whose `n` is not negative, rejects odd ones below -1,000 with a
/// reason, and breaks on the values named in `POISON`.
pub const PICKY: &str = r#"
    (local $rows i32) (local $values i32) (local $index i32) (local $kept i32) (local $n i64)
    (local.set $rows (i32.load offset=12 (local.get $at)))
    (local.set $values (i32.add (local.get $at) (i32.load offset=88 (local.get $at))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $index) (local.get $rows)))
      (local.set $n (i64.load
        (i32.add (local.get $values) (i32.mul (i32.const 8) (local.get $index)))))
      (if (i64.eq (local.get $n) (i64.const 6661)) (then unreachable))
      (if (i64.eq (local.get $n) (i64.const 6662)) (then (loop $hang (br $hang))))
      (if (i64.eq (local.get $n) (i64.const 6663)) (then
        (loop $eat (br_if $eat (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
      (if (i64.eq (local.get $n) (i64.const 6664)) (then (call $recurse)))
      (if (i64.eq (local.get $n) (i64.const 6665)) (then
        (return (call $result (i32.const 1) (i32.const 512) (i32.const 9)))))
      (if (i64.eq (local.get $n) (i64.const 6666)) (then
        (return (call $result (i32.const 0) (i32.const 16384) (i32.const 3)))))
      (if (i64.eq (local.get $n) (i64.const 6667)) (then
        (return (call $result (i32.const 1) (i32.const 528) (i32.const 2)))))
      (if (i64.ge_s (local.get $n) (i64.const 0)) (then
        (i32.store (i32.add (i32.const 65536) (i32.mul (i32.const 4) (local.get $kept)))
          (local.get $index))
        (local.set $kept (i32.add (local.get $kept) (i32.const 1)))))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 16384) (i32.const 0x31464d47))
    (i32.store offset=4 (i32.const 16384) (i32.const 0x00200040))
    (i32.store offset=8 (i32.const 16384) (i32.const 64))
    (i32.store offset=12 (i32.const 16384) (local.get $kept))
    (i32.store offset=20 (i32.const 16384) (i32.const 1))
    (i32.store offset=24 (i32.const 16384) (i32.const 49152))
    (i32.store offset=28 (i32.const 16384) (i32.mul (i32.const 4) (local.get $kept)))
    (call $result (i32.const 0) (i32.const 16384) (i32.const 64))"#;

pub const TRAPS: i64 = 6661;
pub const HANGS: i64 = 6662;
pub const EATS_MEMORY: i64 = 6663;
pub const RECURSES: i64 = 6664;
pub const REFUSES: i64 = 6665;
pub const LIES: i64 = 6666;
pub const REFUSES_IN_NO_UTF8: i64 = 6667;

pub fn picky() -> Vec<u8> {
    let more = r#"
  (data (i32.const 512) "no sevens")
  (data (i32.const 528) "\ff\fe")
  (func $recurse (call $recurse) (call $recurse))"#;
    core_module(&answer(&["n"], json!([]), &[]), PICKY, more)
}

/// The body of [`stamping`]: every column points to the same values, one for each row.
const STAMP: &str = r#"
    (local $rows i32) (local $index i32)
    (local.set $rows (i32.load offset=12 (local.get $at)))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $index) (local.get $rows)))
      (i64.store (i32.add (i32.const 16704) (i32.mul (i32.const 8) (local.get $index)))
        (i64.const VALUE))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 16384) (i32.const 0x31464d47))
    (i32.store offset=4 (i32.const 16384) (i32.const 0x00200040))
    (i32.store offset=8 (i32.const 16384)
      (i32.add (i32.const 320) (i32.mul (i32.const 8) (local.get $rows))))
    (i32.store offset=12 (i32.const 16384) (local.get $rows))
    (i32.store offset=16 (i32.const 16384) (i32.const COLUMNS))
    (local.set $index (i32.const 0))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $index) (i32.const COLUMNS)))
      (i32.store (i32.add (i32.const 16448) (i32.mul (i32.const 32) (local.get $index)))
        (local.get $rows))
      (i32.store offset=24 (i32.add (i32.const 16448) (i32.mul (i32.const 32) (local.get $index)))
        (i32.const 320))
      (i32.store offset=28 (i32.add (i32.const 16448) (i32.mul (i32.const 32) (local.get $index)))
        (i32.mul (i32.const 8) (local.get $rows)))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))
    (call $result (i32.const 0) (i32.const 16384)
      (i32.add (i32.const 320) (i32.mul (i32.const 8) (local.get $rows))))"#;

/// A stage that reads nothing and writes `value` into these columns of longs (at most 8) of every row.
pub fn stamping(columns: &[&str], value: i64) -> Vec<u8> {
    stamping_beside("", columns, value)
}

/// As [`stamping`], with further module fields.
pub fn stamping_beside(more: &str, columns: &[&str], value: i64) -> Vec<u8> {
    let fields: Vec<Value> =
        columns.iter().map(|name| json!({ "name": name, "type": "long" })).collect();
    let body = STAMP.replace("VALUE", &value.to_string());
    let body = body.replace("COLUMNS", &columns.len().to_string());
    core_module(&answer(&[], json!(fields), &[]), &body, more)
}
