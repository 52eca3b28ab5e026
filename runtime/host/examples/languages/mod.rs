//! The built example stages of each SDK, and orders to run them on.

use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use arrow_schema::{Field, Schema};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub type Failure = Box<dyn std::error::Error>;

/// Rows of a batch.
pub const ROWS: usize = 1_000;
/// A module with several stages; its configuration picks one by the key `stage`.
const MANY_STAGES: &str = "stages.wasm";
/// In the order of the tables.
pub const LANGUAGES: [&str; 9] =
    ["rust", "c", "cpp", "zig", "go", "javascript", "python", "assemblyscript", "kotlin"];

/// The file of a stage, and the configuration that picks the stage in it.
pub fn module(folder: &Path, stage: &str, mut config: Value) -> Option<(PathBuf, Value)> {
    let own = folder.join(format!("{stage}.wasm"));
    if own.exists() {
        return Some((own, config));
    }
    let shared = folder.join(MANY_STAGES);
    config["stage"] = json!(stage);
    shared.exists().then_some((shared, config))
}

/// One order in nine is from Chicago.
pub fn orders() -> (Schema, Vec<ArrayRef>) {
    let cities = [
        "Chicago",
        "Caguas",
        "New York",
        "Los Angeles",
        "Brooklyn",
        "Houston",
        "Miami",
        "Philadelphia",
        "San Antonio",
    ];
    let rows = 0..ROWS as i64;
    let city = rows.clone().map(|row| cities[row as usize % cities.len()]);
    let price = rows.clone().map(|row| 10.0 + row as f64 / 4.0);
    let quantity = rows.clone().map(|row| (row % 5) as i32 + 1);
    let columns: [(&str, ArrayRef); 4] = [
        ("order_id", Arc::new(Int64Array::from_iter_values(rows))),
        ("city", Arc::new(StringArray::from_iter_values(city))),
        ("price", Arc::new(Float64Array::from_iter_values(price))),
        ("quantity", Arc::new(Int32Array::from_iter_values(quantity))),
    ];
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    (schema, columns.into_iter().map(|(_, column)| column).collect())
}
