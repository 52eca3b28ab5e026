//! Any bytes as the files of a partition: the log opens, takes a record, and opens again with it.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gristmill_broker::fuzzing::segment_recovery(data));
