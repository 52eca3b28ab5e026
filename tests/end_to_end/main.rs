//! The promises, checked on the real binary.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

/// Guests in WebAssembly text, those of the host's own tests.
#[allow(dead_code)]
#[path = "../../runtime/host/tests/host/guests.rs"]
mod guests;

/// Every mistake a user can make gets a message that names the thing and the mend, and exit code 2.
mod bad_input;
/// Dead letters: listed, shown, sent through again.
mod dead_letters;
/// Topics, tables and dead letters have every record once, whatever dies in between.
mod exactly_once;
/// Records that a stage cannot take: stop, skip, dead letter.
mod failures;
/// A broker that has no room to write.
mod full_disk;
/// Modules that trap, hang and break their limits: the record is found, the others go through.
mod hostile_modules;
/// The main job on real orders, its result read by somebody else's reader.
mod main_job;
/// Stop and kill -9: a pipeline goes on where it was, and the table gets no row twice.
mod restart;
/// API keys, and listeners that let nobody in without one.
mod security;
/// `gristmill test` and `gristmill capture`.
mod tests_of_pipelines;
