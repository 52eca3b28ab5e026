//! JSON text straight into columns, driven by the schema, with no tree in between.
//!
//! - Texts that are alike, as those of a stream are, are read in two passes over a few dozen of them
//!   (`outline.rs`); any other text in one (`object.rs`), and that one also finds the mistakes.
//! - Keys are expected in the order of the schema, then in the order that the last records had; a
//!   key elsewhere costs a look-up in a table. Members that the schema lacks are skipped, but must
//!   be JSON.
//! - 64-bit integers are exact, floats are rounded correctly, strings may hold every escape.
//! - Types are converted as Spark's `from_json` does (`value.rs`), single quotes around strings are
//!   allowed as there, and what follows the first object of a text is not looked at. The last of
//!   equal keys wins.
//! - Any bytes are safe: what is not JSON is a [`Mistake`] that names the field and the byte.

mod base64;
mod compare;
mod cursor;
mod decimal;
mod fill;
mod java_number;
mod keys;
mod mistake;
mod number;
mod object;
mod outline;
mod plan;
mod reader;
mod scan;
mod string;
mod time;
mod trace;
mod value;
mod walk;
mod written;

pub use java_number::{push_double, push_float};
pub use mistake::Mistake;
pub use reader::{JsonReader, OnMistake};
pub use time::{parse_date, parse_timestamp};

/// Nesting of a document beyond which it is refused; the schema's own depth is far below.
pub const DOCUMENT_DEPTH_MAX: usize = 1000;
