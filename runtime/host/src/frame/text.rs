//! UTF-8 of string columns: the whole of the values at once, then the offsets at the borders.

use super::bad;
use crate::ProcessError;
use arrow_array::StringArray;
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};

/// A string column of values that may be anything. Null elements may hold any bytes.
pub(super) fn string_array(
    offsets: OffsetBuffer<i32>,
    values: Buffer,
    nulls: Option<NullBuffer>,
    what: &str,
) -> Result<StringArray, ProcessError> {
    if is_text(&offsets, &values) {
        // SAFETY: `is_text` has just checked all that `try_new` checks of offsets and values, with
        // a faster check of UTF-8; the length of `nulls` is that of the column by construction.
        return Ok(unsafe { StringArray::new_unchecked(offsets, values, nulls) });
    }
    match nulls {
        Some(nulls) => {
            let (offsets, values) = without_null_bytes(&offsets, &values, &nulls);
            StringArray::try_new(offsets, values, Some(nulls))
                .map_err(|_| bad(format!("{what}: not UTF-8")))
        }
        None => Err(bad(format!("{what}: not UTF-8"))),
    }
}

/// True if the values are UTF-8 and no offset splits a character. The offsets are monotone and the
/// last one is within the values.
fn is_text(offsets: &OffsetBuffer<i32>, values: &[u8]) -> bool {
    // The common case; no offset can split a character of one byte.
    if values.is_ascii() {
        return true;
    }
    let Ok(text) = simdutf8::basic::from_utf8(values) else {
        return false;
    };
    offsets.iter().all(|&offset| text.is_char_boundary(offset as usize))
}

/// The same column with nothing in its null elements.
fn without_null_bytes(
    offsets: &OffsetBuffer<i32>,
    values: &[u8],
    nulls: &NullBuffer,
) -> (OffsetBuffer<i32>, Buffer) {
    let mut kept = Vec::with_capacity(values.len());
    let lengths = (0..nulls.len()).map(|row| {
        if nulls.is_null(row) {
            return 0;
        }
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        kept.extend_from_slice(&values[start..end]);
        end - start
    });
    let offsets = OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>());
    (offsets, Buffer::from_vec(kept))
}
