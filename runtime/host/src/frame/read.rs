//! An output frame → Arrow columns. Every number of the frame is hostile until checked here.
//!
//! Two passes: `plan` checks all descriptors and counts bytes, then everything is copied into one
//! allocation of which the columns are slices, and the copies are checked for what only values can
//! show: monotone offsets, UTF-8, null counts, decimal digits, row numbers.

use super::guest_bytes::{GuestBytes, u16_at, u32_at};
use super::plan::{PlannedArray, Planner};
use super::text::string_array;
use super::{COPY_BYTES, DESCRIPTOR_SIZE, FLAG_ROWS, HEADER_SIZE, MAGIC, bad, header, placed};
use crate::output::{Failure, Output, Rows, check_nulls};
use crate::{Limits, ProcessError};
use arrow_array::types::{self, ArrowPrimitiveType};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, ListArray, MapArray, PrimitiveArray,
    StructArray,
};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::{DataType, FieldRef, TimeUnit};
use std::sync::Arc;

/// What the output must be, fixed by `describe`.
pub(crate) struct Expected<'a> {
    pub columns: &'a [FieldRef],
    /// Arrays of all columns, nested ones included.
    pub array_count: usize,
    /// Rows of the input.
    pub row_count: usize,
    pub limits: &'a Limits,
}

/// The header's numbers, checked against each other and against the list.
struct Header<'a> {
    row_count: usize,
    table: &'a [u8],
    stride: usize,
    rows: Option<&'a [u8]>,
    failure_count: usize,
    failure_rows: &'a [u8],
    reason_offsets: &'a [u8],
    reasons: &'a [u8],
}

/// Reads the output of one batch.
pub(crate) fn read(bytes: GuestBytes<'_>, expected: &Expected<'_>) -> Result<Output, ProcessError> {
    let header = Header::read(&bytes, expected)?;
    let mut planner =
        Planner::new(bytes, header.table, header.stride, expected.limits.output_bytes_max);
    for field in expected.columns {
        planner.column(field, header.row_count)?;
    }
    let rows_size = header.rows.map_or(0, <[u8]>::len);
    let total = planner.placed_size + placed(rows_size);
    let copied = total + header.reasons.len() + header.failure_rows.len();
    if copied > expected.limits.output_bytes_max {
        return Err(ProcessError::OutputLimit(format!(
            "{copied} bytes, at most {} are allowed",
            expected.limits.output_bytes_max
        )));
    }
    let failures = header.failures(expected.row_count)?;
    let mut arena = Arena::with_capacity(total);
    let rows = header.rows.map(|rows| arena.place(rows));
    let places: Vec<Places> = planner.arrays.iter().map(|array| arena.array(array)).collect();
    let mut columns = Columns { buffer: arena.finish(), arrays: planner.arrays, places, next: 0 };
    let rows = rows.map(|at| columns.buffer.scalars::<u32>(at, header.row_count));
    let made: Vec<ArrayRef> =
        expected.columns.iter().map(|field| columns.array(field)).collect::<Result<_, _>>()?;
    check_nulls(expected.columns, &made)?;
    Rows { input_row_count: expected.row_count, row_count: header.row_count, rows }
        .output(made, failures)
}

impl<'a> Header<'a> {
    fn read(bytes: &GuestBytes<'a>, expected: &Expected<'_>) -> Result<Self, ProcessError> {
        let list = bytes.list();
        if list.len() < HEADER_SIZE || list[..4] != MAGIC {
            return Err(bad(format!("{} bytes that do not begin as a frame", list.len())));
        }
        let header_size = usize::from(u16_at(list, header::HEADER_SIZE));
        let stride = usize::from(u16_at(list, header::DESCRIPTOR_SIZE));
        let word = |at: usize| u32_at(list, at);
        if header_size < HEADER_SIZE || stride < DESCRIPTOR_SIZE || stride % 4 != 0 {
            return Err(bad(format!("header of {header_size} bytes, descriptors of {stride}")));
        }
        if word(header::FRAME_SIZE) as usize != bytes.size() {
            let said = word(header::FRAME_SIZE);
            return Err(bad(format!("a frame of {said} bytes in a list of {}", bytes.size())));
        }
        let array_count = word(header::ARRAY_COUNT) as usize;
        if array_count != expected.array_count {
            let wanted = expected.array_count;
            return Err(bad(format!(
                "{array_count} arrays, the columns of describe have {wanted}"
            )));
        }
        // Both factors are small: the count is the one of describe, the stride has 16 bits.
        let table = list.get(header_size..).and_then(|rest| rest.get(..array_count * stride));
        let table = table.ok_or_else(|| bad("the descriptors do not fit in the frame"))?;
        let row_count = word(header::ROW_COUNT) as usize;
        if row_count > expected.limits.output_rows_max {
            return Err(ProcessError::OutputLimit(format!(
                "{row_count} rows, at most {} are allowed",
                expected.limits.output_rows_max
            )));
        }
        let buffer = |at: usize, what: &str| bytes.buffer(word(at), word(at + 4), what);
        let failure_count = word(header::FAILURE_COUNT) as usize;
        if failure_count > expected.row_count {
            let rows = expected.row_count;
            return Err(bad(format!("{failure_count} failures in {rows} input rows")));
        }
        let rows = match word(header::FLAGS) {
            0 => None,
            FLAG_ROWS => Some(sized(buffer(header::ROWS, "rows")?, row_count * 4, "rows")?),
            flags => return Err(bad(format!("unknown flags {flags:#x}"))),
        };
        let offsets = if failure_count == 0 { 0 } else { (failure_count + 1) * 4 };
        Ok(Self {
            row_count,
            table,
            stride,
            rows,
            failure_count,
            failure_rows: sized(
                buffer(header::FAILURE_ROWS, "failure rows")?,
                failure_count * 4,
                "failure rows",
            )?,
            reason_offsets: sized(
                buffer(header::REASON_OFFSETS, "reason offsets")?,
                offsets,
                "reason offsets",
            )?,
            reasons: buffer(header::REASONS, "reasons")?,
        })
    }

    /// The failures: rows strictly ascending and below the input's, reasons UTF-8.
    fn failures(&self, input_row_count: usize) -> Result<Vec<Failure>, ProcessError> {
        let mut failures: Vec<Failure> = Vec::with_capacity(self.failure_count);
        for index in 0..self.failure_count {
            let row = u32_at(self.failure_rows, index * 4);
            let ascending = failures.last().is_none_or(|last| last.row < row);
            if !ascending || row as usize >= input_row_count {
                return Err(bad(format!(
                    "failure {index} is of row {row}: not ascending, or not below {input_row_count}"
                )));
            }
            let start = u32_at(self.reason_offsets, index * 4) as usize;
            let end = u32_at(self.reason_offsets, index * 4 + 4) as usize;
            let reason = self.reasons.get(start..end);
            let reason = reason.ok_or_else(|| bad(format!("reason {index}: out of bounds")))?;
            let reason = simdutf8::basic::from_utf8(reason)
                .map_err(|_| bad(format!("reason {index}: not UTF-8")))?;
            failures.push(Failure { row, reason: crate::error::cut(reason).to_owned() });
        }
        Ok(failures)
    }
}

/// A buffer cut to the size that the counts ask for; a larger one is padding.
fn sized<'a>(buffer: &'a [u8], wanted: usize, what: &str) -> Result<&'a [u8], ProcessError> {
    let short = || bad(format!("{what}: {} bytes, {wanted} are needed", buffer.len()));
    buffer.get(..wanted).ok_or_else(short)
}

/// The one allocation that all columns of an output share while it is filled.
struct Arena {
    buffer: MutableBuffer,
}

/// Where the buffers of one array were placed.
struct Places {
    validity: Option<usize>,
    offsets: usize,
    values: usize,
}

impl Arena {
    fn with_capacity(size: usize) -> Self {
        Self { buffer: MutableBuffer::with_capacity(size) }
    }

    /// Copies bytes to the next place and answers where that is.
    fn place(&mut self, bytes: &[u8]) -> usize {
        let at = self.buffer.len();
        bytes.chunks(COPY_BYTES).for_each(|bytes| self.buffer.extend_from_slice(bytes));
        self.buffer.resize(placed(self.buffer.len()), 0);
        at
    }

    fn array(&mut self, array: &PlannedArray<'_>) -> Places {
        Places {
            validity: array.validity.map(|bitmap| self.place(bitmap)),
            offsets: self.place(array.offsets),
            values: self.place(array.values),
        }
    }

    fn finish(self) -> Copied {
        Copied(self.buffer.into())
    }
}

/// The filled allocation.
struct Copied(Buffer);

impl Copied {
    /// `length` values from a place, all of them within the buffer.
    fn scalars<T: ArrowNativeType>(&self, at: usize, length: usize) -> ScalarBuffer<T> {
        ScalarBuffer::new(self.0.clone(), at / size_of::<T>(), length)
    }

    fn bytes(&self, at: usize, size: usize) -> Buffer {
        self.0.slice_with_length(at, size)
    }

    fn bits(&self, at: usize, length: usize) -> BooleanBuffer {
        BooleanBuffer::new(self.bytes(at, length.div_ceil(8)), 0, length)
    }
}

/// Builds the columns from the copies, in the preorder in which they were planned.
struct Columns<'a> {
    buffer: Copied,
    arrays: Vec<PlannedArray<'a>>,
    places: Vec<Places>,
    next: usize,
}

impl Columns<'_> {
    fn array(&mut self, field: &FieldRef) -> Result<ArrayRef, ProcessError> {
        let index = self.next;
        self.next += 1;
        let length = self.arrays[index].length;
        let nulls = self.nulls(index, field)?;
        let values = self.places[index].values;
        Ok(match field.data_type() {
            DataType::Boolean => {
                Arc::new(BooleanArray::new(self.buffer.bits(values, length), nulls))
            }
            DataType::Int32 => self.primitive::<types::Int32Type>(index, nulls),
            DataType::Int64 => self.primitive::<types::Int64Type>(index, nulls),
            DataType::Float32 => self.primitive::<types::Float32Type>(index, nulls),
            DataType::Float64 => self.primitive::<types::Float64Type>(index, nulls),
            DataType::Date32 => self.primitive::<types::Date32Type>(index, nulls),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let values = self.buffer.scalars(values, length);
                let array = PrimitiveArray::<types::TimestampMicrosecondType>::new(values, nulls);
                Arc::new(array.with_timezone_opt(zone.clone()))
            }
            DataType::Decimal128(precision, scale) => {
                self.decimal(index, nulls, (*precision, *scale), field)?
            }
            DataType::Utf8 => {
                let (offsets, bytes) = self.byte_values(index, field)?;
                Arc::new(string_array(offsets, bytes, nulls, field.name())?)
            }
            DataType::Binary => {
                let (offsets, bytes) = self.byte_values(index, field)?;
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls).map_err(arrow(field))?)
            }
            DataType::Struct(fields) => {
                let children: Vec<ArrayRef> =
                    fields.iter().map(|field| self.array(field)).collect::<Result<_, _>>()?;
                let array =
                    StructArray::try_new_with_length(fields.clone(), children, nulls, length);
                Arc::new(array.map_err(arrow(field))?)
            }
            DataType::List(element) => {
                let offsets = self.offsets(index, field, false)?;
                let elements = self.array(element)?;
                let array = ListArray::try_new(element.clone(), offsets, elements, nulls);
                Arc::new(array.map_err(arrow(field))?)
            }
            DataType::Map(entry, ordered) => {
                let offsets = self.offsets(index, field, false)?;
                let entries = self.array(entry)?;
                let entries: &StructArray = arrow_array::cast::AsArray::as_struct(&entries);
                let array =
                    MapArray::try_new(entry.clone(), offsets, entries.clone(), nulls, *ordered);
                Arc::new(array.map_err(arrow(field))?)
            }
            other => unreachable!("describe let a column of type {other} through"),
        })
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        index: usize,
        nulls: Option<NullBuffer>,
    ) -> ArrayRef {
        let values = self.buffer.scalars(self.places[index].values, self.arrays[index].length);
        Arc::new(PrimitiveArray::<T>::new(values, nulls))
    }

    fn decimal(
        &self,
        index: usize,
        nulls: Option<NullBuffer>,
        (precision, scale): (u8, i8),
        field: &FieldRef,
    ) -> Result<ArrayRef, ProcessError> {
        let values = self.buffer.scalars(self.places[index].values, self.arrays[index].length);
        let array = Decimal128Array::new(values, nulls)
            .with_precision_and_scale(precision, scale)
            .map_err(arrow(field))?;
        array.validate_decimal_precision(precision).map_err(arrow(field))?;
        Ok(Arc::new(array))
    }

    fn nulls(&self, index: usize, field: &FieldRef) -> Result<Option<NullBuffer>, ProcessError> {
        let (array, place) = (&self.arrays[index], &self.places[index]);
        let Some(at) = place.validity else {
            return Ok(None);
        };
        let nulls = NullBuffer::new(self.buffer.bits(at, array.length));
        match array.null_count {
            Some(said) if said != nulls.null_count() => Err(bad(format!(
                "`{}` has {} nulls by its bitmap and {said} by its descriptor",
                field.name(),
                nulls.null_count()
            ))),
            _ => Ok(Some(nulls).filter(|nulls| nulls.null_count() > 0)),
        }
    }

    /// Offsets that begin at 0 and the bytes between the first and the last.
    fn byte_values(
        &self,
        index: usize,
        field: &FieldRef,
    ) -> Result<(OffsetBuffer<i32>, Buffer), ProcessError> {
        let offsets = self.offsets(index, field, true)?;
        let bytes = self.buffer.bytes(self.places[index].values, self.arrays[index].values.len());
        Ok((offsets, bytes))
    }

    /// The offsets of an array, monotone. `rebased`: the first is subtracted from all.
    fn offsets(
        &self,
        index: usize,
        field: &FieldRef,
        rebased: bool,
    ) -> Result<OffsetBuffer<i32>, ProcessError> {
        let length = self.arrays[index].length;
        if length == 0 {
            return Ok(OffsetBuffer::new_empty());
        }
        let mut offsets = self.buffer.scalars::<i32>(self.places[index].offsets, length + 1);
        // Without an early exit, so that it is a loop of vector instructions.
        let falls = offsets.windows(2).fold(false, |falls, pair| falls | (pair[1] < pair[0]));
        if falls || offsets[0] < 0 {
            return Err(bad(format!("`{}` has offsets that fall", field.name())));
        }
        if rebased && offsets[0] > 0 {
            let first = offsets[0];
            offsets = offsets.iter().map(|offset| offset - first).collect::<Vec<_>>().into();
        }
        // SAFETY: there is at least one offset, the first is not negative, and none is below the
        // one before it: checked right above. Subtracting the first keeps all three.
        Ok(unsafe { OffsetBuffer::new_unchecked(offsets) })
    }
}

fn arrow(field: &FieldRef) -> impl Fn(arrow_schema::ArrowError) -> ProcessError {
    let name = field.name().clone();
    move |error| bad(format!("`{name}`: {error}"))
}
