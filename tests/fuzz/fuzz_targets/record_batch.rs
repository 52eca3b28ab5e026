//! Any bytes as the records of a producer: refused, or stored, read, searched and compacted.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gristmill_broker::fuzzing::record_batch(data));
