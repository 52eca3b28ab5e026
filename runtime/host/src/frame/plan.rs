//! The first pass over an output frame: every descriptor is checked against the types and against
//! the guest's memory, and the bytes to copy are counted, before anything is allocated for them.

use super::guest_bytes::{GuestBytes, u32_at};
use super::{DESCRIPTOR_SIZE, bad, placed};
use crate::ProcessError;
use arrow_schema::{DataType, FieldRef};

/// One array of the output, in preorder, with its buffers still in the guest's memory. Each buffer
/// has just the bytes that its length asks for, whatever the guest said.
pub(super) struct PlannedArray<'a> {
    /// Elements that the host takes: the declared length, or less for the elements of a list.
    pub length: usize,
    /// Declared nulls, if all of the declared length is taken.
    pub null_count: Option<usize>,
    pub validity: Option<&'a [u8]>,
    /// length + 1 offsets, or nothing for an array of length 0.
    pub offsets: &'a [u8],
    pub values: &'a [u8],
}

impl PlannedArray<'_> {
    /// Bytes that the buffers take in the host's one allocation.
    fn placed_size(&self) -> usize {
        let validity = self.validity.map_or(0, <[u8]>::len);
        placed(validity) + placed(self.offsets.len()) + placed(self.values.len())
    }
}

/// Reads descriptors in order while walking the types.
pub(super) struct Planner<'a> {
    bytes: GuestBytes<'a>,
    /// The table of descriptors, whole.
    table: &'a [u8],
    stride: usize,
    next: usize,
    elements_max: usize,
    pub arrays: Vec<PlannedArray<'a>>,
    pub placed_size: usize,
}

/// The fields of one descriptor.
struct Descriptor {
    length: usize,
    null_count: usize,
    validity: (u32, u32),
    offsets: (u32, u32),
    values: (u32, u32),
}

impl<'a> Planner<'a> {
    /// `table` has a whole number of descriptors of `stride` bytes, as many as the types ask for.
    pub(super) fn new(
        bytes: GuestBytes<'a>,
        table: &'a [u8],
        stride: usize,
        elements_max: usize,
    ) -> Self {
        debug_assert!(stride >= DESCRIPTOR_SIZE);
        let arrays = Vec::with_capacity(table.len() / stride);
        Self { bytes, table, stride, next: 0, elements_max, arrays, placed_size: 0 }
    }

    /// Plans a column; it must have `row_count` elements.
    pub(super) fn column(
        &mut self,
        field: &FieldRef,
        row_count: usize,
    ) -> Result<(), ProcessError> {
        self.array(field, row_count, true)
    }

    /// Plans an array of `length` elements; `exact`: it may not have more.
    fn array(&mut self, field: &FieldRef, length: usize, exact: bool) -> Result<(), ProcessError> {
        let name = field.name();
        let descriptor = self.descriptor();
        if descriptor.length < length || (exact && descriptor.length != length) {
            return Err(bad(format!("`{name}` has {} elements, not {length}", descriptor.length)));
        }
        if length > self.elements_max {
            return Err(ProcessError::OutputLimit(format!(
                "`{name}` has {length} elements, at most {} are allowed",
                self.elements_max
            )));
        }
        let mut array = self.bare(&descriptor, length, name)?;
        match field.data_type() {
            DataType::Boolean => {
                array.values = self.values(&descriptor, length.div_ceil(8), name)?;
                self.push(array);
            }
            DataType::Utf8 | DataType::Binary => {
                let (first, last) = self.offsets(&mut array, &descriptor, name)?;
                let values = self.values(&descriptor, last, name)?;
                array.values = &values[first..];
                self.push(array);
            }
            DataType::Struct(fields) => {
                self.push(array);
                for field in fields {
                    self.array(field, length, exact)?;
                }
            }
            DataType::List(element) | DataType::Map(element, _) => {
                let (_, last) = self.offsets(&mut array, &descriptor, name)?;
                self.push(array);
                self.array(element, last, false)?;
            }
            other => {
                let size =
                    length.checked_mul(width(other)).ok_or_else(|| bad("length overflow"))?;
                array.values = self.values(&descriptor, size, name)?;
                self.push(array);
            }
        }
        Ok(())
    }

    fn push(&mut self, array: PlannedArray<'a>) {
        self.placed_size += array.placed_size();
        self.arrays.push(array);
    }

    fn descriptor(&mut self) -> Descriptor {
        let at = self.next * self.stride;
        self.next += 1;
        let word = |index: usize| u32_at(self.table, at + index * 4);
        Descriptor {
            length: word(0) as usize,
            null_count: word(1) as usize,
            validity: (word(2), word(3)),
            offsets: (word(4), word(5)),
            values: (word(6), word(7)),
        }
    }

    fn bare(
        &self,
        descriptor: &Descriptor,
        length: usize,
        name: &str,
    ) -> Result<PlannedArray<'a>, ProcessError> {
        if descriptor.null_count > descriptor.length {
            let (nulls, length) = (descriptor.null_count, descriptor.length);
            return Err(bad(format!("`{name}` has {nulls} nulls in {length} elements")));
        }
        let (offset, size) = descriptor.validity;
        let validity = if size == 0 {
            if descriptor.null_count > 0 {
                return Err(bad(format!("`{name}` has nulls and no validity bitmap")));
            }
            None
        } else {
            let bitmap = self.bytes.buffer(offset, size, name)?;
            Some(first_bytes(bitmap, length.div_ceil(8), "validity bitmap", name)?)
        };
        let whole = descriptor.length == length;
        Ok(PlannedArray {
            length,
            null_count: whole.then_some(descriptor.null_count),
            validity,
            offsets: &[],
            values: &[],
        })
    }

    /// Plans the offsets and answers the first and the last of them.
    fn offsets(
        &self,
        array: &mut PlannedArray<'a>,
        descriptor: &Descriptor,
        name: &str,
    ) -> Result<(usize, usize), ProcessError> {
        if array.length == 0 {
            return Ok((0, 0));
        }
        let (offset, size) = descriptor.offsets;
        let offsets = self.bytes.buffer(offset, size, name)?;
        let wanted = (array.length + 1).checked_mul(4).ok_or_else(|| bad("length overflow"))?;
        array.offsets = first_bytes(offsets, wanted, "offsets", name)?;
        let (first, last) = (u32_at(array.offsets, 0), u32_at(array.offsets, wanted - 4));
        if first > last || last > i32::MAX as u32 {
            return Err(bad(format!("`{name}` has offsets from {first} to {last}")));
        }
        Ok((first as usize, last as usize))
    }

    fn values(
        &self,
        descriptor: &Descriptor,
        wanted: usize,
        name: &str,
    ) -> Result<&'a [u8], ProcessError> {
        let (offset, size) = descriptor.values;
        first_bytes(self.bytes.buffer(offset, size, name)?, wanted, "values", name)
    }
}

fn first_bytes<'a>(
    buffer: &'a [u8],
    wanted: usize,
    kind: &str,
    name: &str,
) -> Result<&'a [u8], ProcessError> {
    buffer.get(..wanted).ok_or_else(|| {
        bad(format!("`{name}`: {kind} of {} bytes, {wanted} are needed", buffer.len()))
    })
}

/// Bytes of one value of a type of fixed width.
pub(super) fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or_else(|| {
        unreachable!("describe let a column of type {data_type} through");
    })
}
