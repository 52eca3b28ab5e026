//! The host against guests written by hand in WebAssembly text: what a compiler would never emit is
//! written as easily as what it would.

#![allow(clippy::unwrap_used, clippy::expect_used)]

/// The guests, and frames built byte by byte.
mod guests;

/// What is loaded and what is refused, with which words; the cache of compiled code.
mod loading;

/// Good stages: every column type there and back, filters, failures, replaced and dropped columns.
mod good_stages;

/// Outputs that lie in every number that a frame has.
mod hostile_output;

/// Limits: time, memory, stack, tables, output; and that the process outlives each of them.
mod limits;

/// The rows that make a stage fail are found, and only those.
mod isolation;

/// Stages as components.
mod components;

/// The WASI stubs of wasip1 tool chains.
mod wasi;

/// Many batches through one instance: nothing grows.
mod soak;
