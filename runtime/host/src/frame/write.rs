//! Arrow columns → an input frame, with one copy of each buffer.
//!
//! Slices are sent as slices: a string or list sends the values between its first and last offset
//! with offsets rebased to 0, a bitmap that begins within a byte is shifted, a nested child sends
//! the range that its parent names.

use super::{
    COPY_BYTES, DESCRIPTOR_SIZE, HEADER_SIZE, MAGIC, PLACE_BYTES, READ_AHEAD_BYTES, header, placed,
};
use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, PrimitiveArray, types};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use std::ops::Range;

/// A frame that is planned but not yet written: its size is known, its buffers are borrowed.
pub(crate) struct InputFrame<'a> {
    row_count: usize,
    arrays: Vec<Planned<'a>>,
    frame_size: usize,
}

/// One descriptor with the buffers that it will name.
struct Planned<'a> {
    length: usize,
    null_count: usize,
    validity: Piece<'a>,
    offsets: Piece<'a>,
    values: Piece<'a>,
}

/// Where the bytes of one buffer come from.
enum Piece<'a> {
    Absent,
    Bytes(&'a [u8]),
    /// Bits from a bit offset on, at most 7 of them skipped in the first byte.
    Bits {
        bytes: &'a [u8],
        first_bit: usize,
        bit_count: usize,
    },
    /// 32-bit offsets from which the first is subtracted.
    Offsets(&'a [i32]),
}

impl Piece<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Bits { bit_count, .. } => bit_count.div_ceil(8),
            Self::Offsets(offsets) => size_of_val(*offsets),
        }
    }
}

impl<'a> InputFrame<'a> {
    /// Plans the frame of `columns`, all of `row_count` rows and of types in [`crate::Stage`]'s
    /// input.
    pub(crate) fn new(columns: &'a [ArrayRef], row_count: usize) -> Self {
        let mut arrays = Vec::with_capacity(columns.len() * 2);
        for column in columns {
            assert_eq!(column.len(), row_count, "a column of another length than its batch");
            plan(column.as_ref(), 0..row_count, &mut arrays);
        }
        let table = placed(HEADER_SIZE + arrays.len() * DESCRIPTOR_SIZE);
        let buffers: usize = arrays.iter().map(Planned::placed_size).sum();
        Self { row_count, arrays, frame_size: table + buffers + READ_AHEAD_BYTES }
    }

    /// Bytes of the whole frame, the readable rest included.
    pub(crate) fn size(&self) -> usize {
        self.frame_size
    }

    /// Writes the frame; `target` has exactly [`InputFrame::size`] bytes, and that fits in 32 bits.
    pub(crate) fn write(&self, target: &mut [u8]) {
        assert_eq!(target.len(), self.frame_size, "a frame written to a place of another size");
        assert!(u32::try_from(self.frame_size).is_ok(), "a frame of more than 4 GiB");
        self.write_header(target);
        let table = placed(HEADER_SIZE + self.arrays.len() * DESCRIPTOR_SIZE);
        target[HEADER_SIZE + self.arrays.len() * DESCRIPTOR_SIZE..table].fill(0);
        let mut at = table;
        for (index, array) in self.arrays.iter().enumerate() {
            let mut words = [0u32; DESCRIPTOR_SIZE / 4];
            words[0] = array.length as u32;
            words[1] = array.null_count as u32;
            for (piece, word) in
                [&array.validity, &array.offsets, &array.values].into_iter().zip([2, 4, 6])
            {
                let size = piece.size();
                if size > 0 {
                    words[word] = at as u32;
                    words[word + 1] = size as u32;
                    copy(piece, &mut target[at..at + size]);
                    at += placed(size);
                }
            }
            let descriptor = HEADER_SIZE + index * DESCRIPTOR_SIZE;
            for (word, value) in words.iter().enumerate() {
                put_u32(target, descriptor + word * 4, *value);
            }
        }
        target[at..].fill(0);
    }

    fn write_header(&self, target: &mut [u8]) {
        target[..HEADER_SIZE].fill(0);
        target[..4].copy_from_slice(&MAGIC);
        let sizes = HEADER_SIZE as u32 | (DESCRIPTOR_SIZE as u32) << 16;
        debug_assert_eq!(header::DESCRIPTOR_SIZE, header::HEADER_SIZE + 2);
        put_u32(target, header::HEADER_SIZE, sizes);
        put_u32(target, header::FRAME_SIZE, self.frame_size as u32);
        put_u32(target, header::ROW_COUNT, self.row_count as u32);
        put_u32(target, header::ARRAY_COUNT, self.arrays.len() as u32);
    }
}

impl Planned<'_> {
    fn placed_size(&self) -> usize {
        placed(self.validity.size()) + placed(self.offsets.size()) + placed(self.values.size())
    }
}

/// Plans the elements `range` of an array and, in preorder, of its children.
fn plan<'a>(array: &'a dyn Array, range: Range<usize>, arrays: &mut Vec<Planned<'a>>) {
    let mut planned = bare(array, &range);
    match array.data_type() {
        DataType::Boolean => {
            planned.values = bits(array.as_boolean().values(), &range);
            arrays.push(planned);
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            byte_array(planned, array.value_offsets(), array.value_data(), range, arrays);
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            byte_array(planned, array.value_offsets(), array.value_data(), range, arrays);
        }
        DataType::Struct(_) => {
            arrays.push(planned);
            for child in array.as_struct().columns() {
                plan(child.as_ref(), range.clone(), arrays);
            }
        }
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            let elements = list(&mut planned, array.value_offsets(), range);
            arrays.push(planned);
            plan(array.values().as_ref(), elements, arrays);
        }
        DataType::Map(_, _) => {
            let array = array.as_map();
            let entries = list(&mut planned, array.value_offsets(), range);
            arrays.push(planned);
            plan(array.entries(), entries, arrays);
        }
        _ => {
            planned.values = Piece::Bytes(fixed_width(array, &range));
            arrays.push(planned);
        }
    }
}

/// Length and validity, which all types have in the same way.
fn bare<'a>(array: &'a dyn Array, range: &Range<usize>) -> Planned<'a> {
    let whole = range.len() == array.len();
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let null_count = match nulls {
        None => 0,
        Some(nulls) if whole => nulls.null_count(),
        Some(nulls) => range.len() - nulls.inner().slice(range.start, range.len()).count_set_bits(),
    };
    let validity = match nulls {
        Some(nulls) if null_count > 0 => bits(nulls.inner(), range),
        _ => Piece::Absent,
    };
    Planned {
        length: range.len(),
        null_count,
        validity,
        offsets: Piece::Absent,
        values: Piece::Absent,
    }
}

fn bits<'a>(buffer: &'a BooleanBuffer, range: &Range<usize>) -> Piece<'a> {
    let first_bit = buffer.offset() + range.start;
    let end = (first_bit + range.len()).div_ceil(8);
    Piece::Bits {
        bytes: &buffer.values()[first_bit / 8..end],
        first_bit: first_bit % 8,
        bit_count: range.len(),
    }
}

fn byte_array<'a>(
    mut planned: Planned<'a>,
    offsets: &'a [i32],
    values: &'a [u8],
    range: Range<usize>,
    arrays: &mut Vec<Planned<'a>>,
) {
    let bytes = list(&mut planned, offsets, range);
    planned.values = Piece::Bytes(&values[bytes]);
    arrays.push(planned);
}

/// Plans the offsets of a range of lists and answers the range of their elements.
fn list<'a>(planned: &mut Planned<'a>, offsets: &'a [i32], range: Range<usize>) -> Range<usize> {
    let offsets = &offsets[range.start..=range.end];
    planned.offsets = Piece::Offsets(offsets);
    // Arrow's offsets are monotone and not negative.
    offsets[0] as usize..offsets[range.len()] as usize
}

fn fixed_width<'a>(array: &'a dyn Array, range: &Range<usize>) -> &'a [u8] {
    match array.data_type() {
        DataType::Int32 => bytes_of::<types::Int32Type>(array, range),
        DataType::Int64 => bytes_of::<types::Int64Type>(array, range),
        DataType::Float32 => bytes_of::<types::Float32Type>(array, range),
        DataType::Float64 => bytes_of::<types::Float64Type>(array, range),
        DataType::Date32 => bytes_of::<types::Date32Type>(array, range),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            bytes_of::<types::TimestampMicrosecondType>(array, range)
        }
        DataType::Decimal128(_, _) => bytes_of::<types::Decimal128Type>(array, range),
        other => unreachable!("describe let a column of type {other} through"),
    }
}

fn bytes_of<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, range: &Range<usize>) -> &'a [u8] {
    let array: &PrimitiveArray<T> = array.as_primitive();
    native_bytes(array.values(), range)
}

fn native_bytes<'a, T: ArrowNativeType>(
    values: &'a ScalarBuffer<T>,
    range: &Range<usize>,
) -> &'a [u8] {
    let width = size_of::<T>();
    &values.inner().as_slice()[range.start * width..range.end * width]
}

fn copy(piece: &Piece<'_>, target: &mut [u8]) {
    match piece {
        Piece::Absent => {}
        Piece::Bytes(bytes) => {
            let places = target.chunks_mut(COPY_BYTES).zip(bytes.chunks(COPY_BYTES));
            places.for_each(|(place, bytes)| place.copy_from_slice(bytes));
        }
        Piece::Bits { bytes, first_bit, bit_count } => {
            copy_bits(bytes, *first_bit, *bit_count, target);
        }
        Piece::Offsets(offsets) => {
            let first = offsets[0];
            for (place, offset) in target.as_chunks_mut::<4>().0.iter_mut().zip(*offsets) {
                *place = (offset - first).to_le_bytes();
            }
        }
    }
}

/// Copies `bit_count` bits from bit `first_bit` (below 8) of `bytes`, with zeros behind the last.
fn copy_bits(bytes: &[u8], first_bit: usize, bit_count: usize, target: &mut [u8]) {
    if first_bit == 0 {
        target.copy_from_slice(bytes);
    } else {
        for (index, place) in target.iter_mut().enumerate() {
            let high = bytes.get(index + 1).copied().unwrap_or(0);
            *place = bytes[index] >> first_bit | high << (8 - first_bit);
        }
    }
    if let Some(last) = target.last_mut().filter(|_| !bit_count.is_multiple_of(8)) {
        *last &= (1 << (bit_count % 8)) - 1;
    }
}

fn put_u32(target: &mut [u8], at: usize, value: u32) {
    target[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

const _: () = assert!(PLACE_BYTES.is_power_of_two() && HEADER_SIZE.is_multiple_of(8));
