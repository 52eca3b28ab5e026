//! Batches as JSON lines (sdk/contract/encodings.md): comfort for languages that have JSON at hand,
//! at some 20 times the cost of a frame.
//!
//! Nothing is lost on the way: integers beyond ±2^53 and decimals travel as text, numbers are read
//! from their digits, binary is base64.

mod calendar;
mod parse;
mod read;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// The member of an output row that names its input row.
const ROW: &str = "__row";
/// The member that makes an output line a failure of the row.
const FAILURE: &str = "__failure";
/// Largest integer that a double holds with all below it: what JavaScript's numbers are exact to.
const EXACT_INTEGER_MAX: u64 = 1 << 53;
