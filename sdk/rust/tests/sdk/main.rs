//! The SDK from outside, as the authors of stages and the host meet it.

#![allow(clippy::unwrap_used)]

/// Columns of every type.
mod columns;
/// What crosses the boundary, byte by byte, in sdk/contract/golden.
mod golden_frames;
/// Frames that break the rules.
mod hostile_frames;
/// The parser against serde_json.
mod json_against_serde;
/// Functions over rows as stages.
mod row_stages;
/// Batches of every type, and views as JSON.
mod support;
