//! The frame: one batch in one buffer, drawn byte for byte in sdk/contract/frame.md.
//!
//! `write` lays Arrow columns out in guest memory, `read` turns a guest's answer into Arrow
//! columns. Nothing here knows of WebAssembly: both work on bytes.

mod guest_bytes;
mod plan;
mod read;
mod text;
mod write;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use guest_bytes::GuestBytes;
pub(crate) use read::{Expected, read};
pub(crate) use write::InputFrame;

use crate::ProcessError;

/// The first bytes of a frame.
const MAGIC: [u8; 4] = *b"GMF1";
/// Bytes of the header that this version writes.
const HEADER_SIZE: usize = 64;
/// Bytes of an array descriptor that this version writes.
const DESCRIPTOR_SIZE: usize = 32;
/// The one flag: `rows` is present.
const FLAG_ROWS: u32 = 1;
/// Where buffers are placed: a cache line, and more than any vector instruction asks for.
const PLACE_BYTES: usize = 64;
/// Readable bytes behind the last buffer of an input.
const READ_AHEAD_BYTES: usize = 64;

/// Bytes that are copied at once. The C library copies longer ones by an instruction for strings, which is far slower on
/// some processors where source and target lie badly to each other.
const COPY_BYTES: usize = 2048;

/// Offsets of the header's fields.
mod header {
    pub(super) const HEADER_SIZE: usize = 4;
    pub(super) const DESCRIPTOR_SIZE: usize = 6;
    pub(super) const FRAME_SIZE: usize = 8;
    pub(super) const ROW_COUNT: usize = 12;
    pub(super) const ARRAY_COUNT: usize = 16;
    pub(super) const FLAGS: usize = 20;
    pub(super) const ROWS: usize = 24;
    pub(super) const FAILURE_COUNT: usize = 32;
    pub(super) const FAILURE_ROWS: usize = 36;
    pub(super) const REASON_OFFSETS: usize = 44;
    pub(super) const REASONS: usize = 52;
}

/// The next multiple of [`PLACE_BYTES`].
fn placed(size: usize) -> usize {
    size.next_multiple_of(PLACE_BYTES)
}

fn bad(what: impl Into<String>) -> ProcessError {
    ProcessError::BadOutput(what.into())
}
