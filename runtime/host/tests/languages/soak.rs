use crate::examples::Example;
use crate::modules::{Language, Level};
use arrow_array::{ArrayRef, StringArray};
use gristmill_host::{Lane, Limits};
use std::sync::Arc;

const ROWS: usize = 100;
const ROW_BYTES: usize = 4096;
/// 200 MB of input.
const BATCHES: usize = 500;
/// The collector of JavaScript's engine begins late: it asks for 70 MB.
const MEMORY_OF_JAVASCRIPT_BYTES_MAX: usize = 128 << 20;

/// An instance that may hold 64 MiB, as by default, takes three times as much in batches: what it
/// does not free, or what its collector does not find, would be too much.
pub fn check(language: &Language) {
    let memory_bytes_max = match language.name.as_str() {
        "javascript" => MEMORY_OF_JAVASCRIPT_BYTES_MAX,
        _ => Limits::default().memory_bytes_max,
    };
    let limits = Limits { memory_bytes_max, ..crate::modules::limits() };
    let stage = Example::read("keep_city").stage(language, Level::Rows, limits);
    let mut lane = Lane::new(Arc::new(stage));
    let texts = (0..ROWS).map(|row| "x".repeat(ROW_BYTES - row));
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(texts))];
    for batch in 0..BATCHES {
        let output = lane.process(&columns, ROWS).unwrap();
        assert!(
            output.instances_lost == 0,
            "{}, batch {batch}: {:?}",
            language.name,
            output.failures.first()
        );
        assert_eq!(output.row_count, 0);
    }
}
