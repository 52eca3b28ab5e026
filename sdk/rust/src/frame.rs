//! Frames: one batch in one buffer, as sdk/contract/frame.md draws it.

mod read;
mod write;

pub use read::{read_batch, read_output};
pub use write::{FrameBuffer, Placement, write_batch};

/// The first four bytes.
const MAGIC: [u8; 4] = *b"GMF1";

/// Bytes of the header that this version writes, and the least that it reads.
const HEADER_BYTES: usize = 64;

/// Bytes of an array descriptor that this version writes, and the least that it reads.
const DESCRIPTOR_BYTES: usize = 32;

/// Where buffers are placed, in bytes.
const ALIGNMENT_BYTES: usize = 64;

/// Bytes that may be read behind the last buffer of a batch that comes in.
pub const READ_AHEAD_BYTES: usize = 64;

/// Flag: the output names the input row of each of its rows.
const FLAG_ROWS: u32 = 1;

/// An output that came out of a frame.
#[derive(Clone, Debug)]
pub struct OutputView<'a> {
    pub row_count: usize,
    /// None: output row i is input row i.
    pub rows: Option<&'a [u32]>,
    pub columns: Vec<crate::ColumnView<'a>>,
    /// Refused input rows, ascending, with the reason.
    pub failures: Vec<(usize, &'a str)>,
}
