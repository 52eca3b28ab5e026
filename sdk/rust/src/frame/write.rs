//! From views to bytes.

use super::{ALIGNMENT_BYTES, DESCRIPTOR_BYTES, FLAG_ROWS, HEADER_BYTES, MAGIC};
use crate::batch::Output;
use crate::column_view::ColumnView;
use crate::error::Error;
use crate::plain;
use crate::schema::DataType;

/// Where the buffers of an output lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Within the frame: one copy. For components and for native code.
    Contiguous,
    /// Where they are: offsets wrap modulo 2^32 and reach any place in linear memory. For core
    /// modules.
    InPlace,
}

/// The memory of a frame, reused from batch to batch. Words, so that it begins at a multiple of 8.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    words: Vec<u64>,
    bytes: usize,
}

/// One array descriptor before its buffers have a place: length, nulls; validity, offsets, values.
struct Array<'a> {
    length: usize,
    null_count: usize,
    buffers: [&'a [u8]; 3],
}

/// A batch as the host sends it: all buffers within the frame, and room to read ahead behind the
/// last.
pub fn write_batch(row_count: usize, columns: &[ColumnView<'_>]) -> Result<FrameBuffer, Error> {
    let mut frame = FrameBuffer::default();
    frame.write(row_count, columns, None, Placement::Contiguous)?;
    let frame_bytes = frame.bytes;
    frame.resize(frame_bytes + super::READ_AHEAD_BYTES)?;
    frame.bytes = frame_bytes;
    Ok(frame)
}

impl FrameBuffer {
    /// The frame itself, without what may be read behind it.
    pub fn bytes(&self) -> &[u8] {
        &plain::as_bytes(&self.words)[..self.bytes]
    }

    /// Replaces the contents by an output.
    pub fn write_output(&mut self, output: &Output<'_>, placement: Placement) -> Result<(), Error> {
        self.write(output.row_count(), &output.columns, Some(output), placement)
    }

    fn write(
        &mut self,
        row_count: usize,
        columns: &[ColumnView<'_>],
        output: Option<&Output<'_>>,
        placement: Placement,
    ) -> Result<(), Error> {
        let mut arrays = Vec::new();
        columns.iter().for_each(|column| flatten(column, &mut arrays));
        let lists = output.map(Lists::of).unwrap_or_default();
        let head_bytes = HEADER_BYTES + arrays.len() * DESCRIPTOR_BYTES;
        let buffers = || arrays.iter().flat_map(|array| array.buffers).chain(lists.buffers);
        let body_bytes: usize = match placement {
            Placement::InPlace => 0,
            Placement::Contiguous => buffers().map(|buffer| aligned(buffer.len())).sum(),
        };
        let frame_bytes = aligned(head_bytes) + body_bytes;
        let counts = [frame_bytes, row_count, arrays.len(), lists.failure_count];
        if counts.iter().any(|&count| u32::try_from(count).is_err()) {
            return Err(Error::new(format!("a frame of {frame_bytes} bytes is too large")));
        }
        self.resize(frame_bytes)?;
        let mut places = Places { placement, next: aligned(head_bytes) };
        let frame = plain::as_bytes_mut(&mut self.words);
        frame[..head_bytes].fill(0);
        frame[..4].copy_from_slice(&MAGIC);
        frame[4..6].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        frame[6..8].copy_from_slice(&(DESCRIPTOR_BYTES as u16).to_le_bytes());
        put(frame, 8, &[frame_bytes, row_count, arrays.len(), lists.flags]);
        for (at, buffer) in [24, 36, 44, 52].into_iter().zip(lists.buffers) {
            places.put(frame, at, buffer);
        }
        put(frame, 32, &[lists.failure_count]);
        for (index, array) in arrays.iter().enumerate() {
            let at = HEADER_BYTES + index * DESCRIPTOR_BYTES;
            put(frame, at, &[array.length, array.null_count]);
            for (buffer, at) in array.buffers.into_iter().zip([at + 8, at + 16, at + 24]) {
                places.put(frame, at, buffer);
            }
        }
        Ok(())
    }

    fn resize(&mut self, bytes: usize) -> Result<(), Error> {
        let words = bytes.div_ceil(8);
        let missing = words.saturating_sub(self.words.len());
        let too_large = |_| Error::new(format!("no memory for a frame of {bytes} bytes"));
        self.words.try_reserve(missing).map_err(too_large)?;
        self.words.resize(words, 0);
        self.bytes = bytes;
        Ok(())
    }
}

/// What only an output has.
#[derive(Default)]
struct Lists<'a> {
    flags: usize,
    failure_count: usize,
    /// Rows, failure rows, reason offsets, reasons: in the order of the header.
    buffers: [&'a [u8]; 4],
}

impl<'a> Lists<'a> {
    fn of(output: &'a Output<'_>) -> Lists<'a> {
        let mut lists =
            Lists { failure_count: output.buffers.failure_rows.len(), ..Lists::default() };
        if let Some(rows) = output.row_numbers() {
            lists.flags = FLAG_ROWS as usize;
            lists.buffers[0] = plain::as_bytes(rows);
        }
        if lists.failure_count > 0 {
            lists.buffers[1] = plain::as_bytes(&output.buffers.failure_rows);
            lists.buffers[2] = plain::as_bytes(&output.buffers.reason_offsets);
            lists.buffers[3] = &output.buffers.reasons;
        }
        lists
    }
}

/// Hands out places to buffers and writes where they are.
struct Places {
    placement: Placement,
    /// Where the next buffer goes, if buffers are copied into the frame.
    next: usize,
}

impl Places {
    /// Places a buffer and writes its offset and size at `at`.
    fn put(&mut self, frame: &mut [u8], at: usize, buffer: &[u8]) {
        if buffer.is_empty() {
            return;
        }
        let offset = match self.placement {
            Placement::InPlace => {
                let (frame, buffer) = (frame.as_ptr().addr(), buffer.as_ptr().addr());
                buffer.wrapping_sub(frame) as u32 as usize
            }
            Placement::Contiguous => {
                let offset = self.next;
                frame[offset..offset + buffer.len()].copy_from_slice(buffer);
                let end = offset + aligned(buffer.len());
                frame[offset + buffer.len()..end].fill(0);
                self.next = end;
                offset
            }
        };
        put(frame, at, &[offset, buffer.len()]);
    }
}

/// Descriptors in preorder. Of every buffer only what the column uses.
fn flatten<'a>(column: &ColumnView<'a>, arrays: &mut Vec<Array<'a>>) {
    let used = |bytes: &'a [u8], size: usize| &bytes[..size.min(bytes.len())];
    let bitmap_bytes = column.length.div_ceil(8);
    let validity = match column.validity() {
        Some(validity) => used(validity, bitmap_bytes),
        None => &[],
    };
    let values = match (column.data_type, column.data_type.value_bytes_each()) {
        (DataType::Boolean, _) => used(column.values, bitmap_bytes),
        (_, Some(width)) => used(column.values, column.length * width),
        (DataType::String | DataType::Binary, _) => {
            used(column.values, crate::column::last_offset(column.offsets))
        }
        _ => &[],
    };
    let buffers = [validity, plain::as_bytes(column.offsets), values];
    arrays.push(Array { length: column.length, null_count: column.null_count, buffers });
    if let (DataType::Map { .. }, Some(keys)) = (column.data_type, column.children.first()) {
        arrays.push(Array { length: keys.length, null_count: 0, buffers: [&[]; 3] });
    }
    column.children.iter().for_each(|child| flatten(child, arrays));
}

fn put(frame: &mut [u8], at: usize, words: &[usize]) {
    for (index, &word) in words.iter().enumerate() {
        frame[at + index * 4..at + index * 4 + 4].copy_from_slice(&(word as u32).to_le_bytes());
    }
}

fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT_BYTES)
}
