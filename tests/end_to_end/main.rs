//! The promises, checked on the real binary.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

/// Every mistake a user can make gets a message that names the thing and the mend, and exit code 2.
mod bad_input;
/// Records that a stage cannot take: stop, skip, dead letter.
mod failures;
/// The main job on real orders, its result read by somebody else's reader.
mod main_job;
/// Stop and kill -9: a pipeline goes on where it was, and the table gets no row twice.
mod restart;
/// API keys, and listeners that let nobody in without one.
mod security;
