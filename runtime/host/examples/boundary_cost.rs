//! What the boundary costs: batches of orders through a stage that gives back its columns
//! untouched.
//!
//! `cargo run --release -p gristmill-host --example boundary_cost` prints nanoseconds per order for
//! the raw values (one binary column in and out) and for the parsed columns (seven flat ones and
//! the line items). Everything is copied in, checked and copied out; the guest itself only moves
//! descriptors.

use arrow_array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};
use gristmill_host::{Host, HostConfig, Lane, Limits, Stage, list_type};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

const ORDERS: usize = 1_000;
const ORDER_BYTES: usize = 571;
const ITEMS: usize = 3;
const BATCHES: usize = 2_000;

/// Copies the input's descriptors behind a header of its own, with offsets that reach back.
const IDENTITY: &str = r#"(module (memory (export "memory") 64)
  (data (i32.const 1024) "ANSWER")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))
  (func $result (param i32 i32) (result i32)
    (i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (local.get 0))
    (i32.store (i32.const 8) (local.get 1)) (i32.const 0))
  (func (export "describe") (param i32 i32) (result i32)
    (call $result (i32.const 1024) (i32.const SIZE)))
  (func (export "process") (param $at i32) (param i32) (result i32)
    (local $index i32) (local $to i32) (local $size i32) (local $move i32)
    (local.set $size (i32.add (i32.const 64)
      (i32.mul (i32.const 32) (i32.load offset=16 (local.get $at)))))
    (local.set $move (i32.sub (local.get $at) (i32.const 16384)))
    (memory.copy (i32.const 16384) (local.get $at) (local.get $size))
    (i32.store (i32.const 16392) (local.get $size))
    (local.set $to (i32.const 16448))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $to) (i32.add (local.get $size) (i32.const 16384))))
      (i32.store offset=8 (local.get $to)
        (i32.add (i32.load offset=8 (local.get $to)) (local.get $move)))
      (i32.store offset=16 (local.get $to)
        (i32.add (i32.load offset=16 (local.get $to)) (local.get $move)))
      (i32.store offset=24 (local.get $to)
        (i32.add (i32.load offset=24 (local.get $to)) (local.get $move)))
      (local.set $to (i32.add (local.get $to) (i32.const 32)))
      (br $next)))
    (call $result (i32.const 16384) (local.get $size))))"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::new(HostConfig::default())?;
    let value: ArrayRef = Arc::new(BinaryArray::from_iter_values(
        (0..ORDERS).map(|order| vec![b'{'; ORDER_BYTES - 50 + order % 100]),
    ));
    measure(&host, "values of 571 bytes", vec![value], &json!(["binary"]))?;
    let item = json!({ "type": "struct", "fields": [
        { "name": "id", "type": "long" }, { "name": "product", "type": "long" },
        { "name": "quantity", "type": "long" }, { "name": "price", "type": "double" },
        { "name": "subtotal", "type": "double" }] });
    let types = json!(["long", "long", "string", "string", "string", "string", "long",
        { "type": "array", "elementType": item }]);
    measure(&host, "parsed columns", parsed(), &types)
}

fn parsed() -> Vec<ArrayRef> {
    let long =
        |count: usize| -> ArrayRef { Arc::new(Int64Array::from_iter_values(0..count as i64)) };
    let text = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..ORDERS).map(|_| text)))
    };
    let price = || -> ArrayRef { Arc::new(Float64Array::from(vec![49.98; ORDERS * ITEMS])) };
    let names = ["id", "product", "quantity", "price", "subtotal"];
    let items =
        vec![long(ORDERS * ITEMS), long(ORDERS * ITEMS), long(ORDERS * ITEMS), price(), price()];
    let fields: Fields = names
        .iter()
        .zip(&items)
        .map(|(name, item)| Field::new(*name, item.data_type().clone(), true))
        .collect();
    let items: ArrayRef = Arc::new(StructArray::new(fields, items, None));
    let DataType::List(element) = list_type(items.data_type().clone(), true) else {
        unreachable!()
    };
    let offsets = OffsetBuffer::from_repeated_length(ITEMS, ORDERS);
    let items: ArrayRef = Arc::new(ListArray::new(element, offsets, items, None));
    let (first, last) = (text("Margaret"), text("Castellanos"));
    vec![long(ORDERS), long(ORDERS), first, last, text("Chicago"), text("IL"), long(ORDERS), items]
}

fn measure(
    host: &Host,
    what: &str,
    batch: Vec<ArrayRef>,
    types: &Value,
) -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = (0..batch.len()).map(|index| format!("c{index}")).collect();
    let types = types.as_array().into_iter().flatten();
    let columns: Vec<Value> = names
        .iter()
        .zip(types)
        .map(|(name, column_type)| json!({ "name": name, "type": column_type }))
        .collect();
    let answer = json!({ "contract": "1.0", "reads": names, "columns": columns }).to_string();
    let text = IDENTITY
        .replace("SIZE", &answer.len().to_string())
        .replace("ANSWER", &answer.replace('"', "\\22"));
    let input: Vec<Field> = names
        .iter()
        .zip(&batch)
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let module = host.load("identity", &wat::parse_str(text)?)?;
    let stage = Stage::describe(host, &module, &json!({}), &Schema::new(input), Limits::default())?;
    let mut lane = Lane::new(Arc::new(stage));
    for _ in 0..BATCHES / 10 {
        lane.process(&batch, ORDERS)?;
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..BATCHES / 5 {
            std::hint::black_box(lane.process(&batch, ORDERS)?);
        }
        let orders = (BATCHES / 5 * ORDERS) as f64;
        best = best.min(began.elapsed().as_nanos() as f64 / orders);
    }
    println!("{what}: {best:.1} ns per order, in and out");
    Ok(())
}
