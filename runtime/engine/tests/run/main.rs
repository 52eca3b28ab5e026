//! What a pipeline's loop promises, between a topic and a store in memory.
#![allow(clippy::unwrap_used)]

mod failures;
mod said;
mod triggers;
mod world;
