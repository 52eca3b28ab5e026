use crate::examples::Example;
use crate::modules::{Language, Level};
use gristmill_host::Lane;
use std::sync::Arc;

/// Copies of the example's rows in one batch: 2,400 rows, 25 KB.
const COPIES: usize = 200;
/// Batches until a collector has found its pace.
const BATCHES_FIRST: usize = 50;
/// A guest that keeps its inputs would hold 5 MB more at the end.
const BATCHES: usize = 250;
/// What a collector may take in one more step.
const STEP_BYTES: usize = 1 << 20;

/// The memory that an instance holds after some batches is the memory that it holds after many.
pub fn check(language: &Language) {
    let example = Example::read("keep_city");
    let mut lane = Lane::new(Arc::new(example.stage(language, Level::Rows)));
    let (columns, row_count) = example.batch(lane.stage(), COPIES);
    let mut memory_bytes = 0;
    for batch in 0..BATCHES {
        lane.process(&columns, row_count).unwrap();
        if batch == BATCHES_FIRST {
            memory_bytes = lane.memory_bytes();
        }
    }
    let grown = lane.memory_bytes().saturating_sub(memory_bytes);
    assert!(
        grown <= memory_bytes / 4 + STEP_BYTES,
        "{}: {grown} bytes more after {BATCHES} batches than the {memory_bytes} after {BATCHES_FIRST}",
        language.name
    );
}
