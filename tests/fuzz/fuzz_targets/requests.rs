//! Any bytes as requests on a connection: answered, or the connection closes and no other.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| gristmill_broker::fuzzing::requests(data));
