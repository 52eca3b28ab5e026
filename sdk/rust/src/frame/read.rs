//! From bytes to views. Every number is checked before use: a frame that breaks a rule is an error,
//! in debug and in release.

use std::ops::Range;

use super::{DESCRIPTOR_BYTES, FLAG_ROWS, HEADER_BYTES, MAGIC, OutputView};
use crate::batch::Batch;
use crate::column_view::{ColumnView, count_nulls};
use crate::error::Error;
use crate::plain::{self, Plain};
use crate::schema::{DataType, Field};

/// The offsets of an empty column that left them out.
const NO_OFFSETS: &[i32] = &[0];

/// Reads a batch whose columns are `fields`, in this order.
pub fn read_batch<'a>(frame: &'a [u8], fields: &'a [Field]) -> Result<Batch<'a>, Error> {
    let mut reader = Reader::new(frame)?;
    if reader.word(20)? != 0 || reader.word(32)? != 0 {
        return Err(bad("an input has neither rows nor failures"));
    }
    let row_count = reader.row_count;
    let columns = reader.columns(fields)?;
    Ok(Batch { row_count, columns })
}

/// Reads an output for a batch of `input_row_count` rows, as the host does. Only for frames that
/// hold all their buffers (`Placement::Contiguous`).
pub fn read_output<'a>(
    frame: &'a [u8],
    fields: &'a [Field],
    input_row_count: usize,
) -> Result<OutputView<'a>, Error> {
    let mut reader = Reader::new(frame)?;
    let flags = reader.word(20)?;
    if flags & !FLAG_ROWS != 0 {
        return Err(bad(format!("unknown flags {flags:#x}")));
    }
    let rows: &[u32] = reader.numbers(24)?;
    let rows = (flags & FLAG_ROWS != 0).then_some(rows);
    let failures = reader.failures(input_row_count)?;
    check_rows(rows, reader.row_count, input_row_count, &failures)?;
    let row_count = reader.row_count;
    let columns = reader.columns(fields)?;
    Ok(OutputView { row_count, rows, columns, failures })
}

fn check_rows(
    rows: Option<&[u32]>,
    row_count: usize,
    input_row_count: usize,
    failures: &[(usize, &str)],
) -> Result<(), Error> {
    let Some(rows) = rows else {
        return match row_count == input_row_count || row_count == 0 {
            true => Ok(()),
            false => Err(bad(format!("{row_count} rows out of {input_row_count} without `rows`"))),
        };
    };
    if rows.len() != row_count {
        return Err(bad(format!("`rows` holds {} of {row_count}", rows.len())));
    }
    if let Some(row) = rows.iter().find(|&&row| row as usize >= input_row_count) {
        return Err(bad(format!("`rows` names row {row} of {input_row_count}")));
    }
    let failed = |row: &&u32| failures.binary_search_by_key(&(**row as usize), |f| f.0).is_ok();
    match rows.iter().find(failed) {
        Some(row) => Err(bad(format!("row {row} failed and is in `rows`"))),
        None => Ok(()),
    }
}

/// The buffers of one array descriptor.
struct Array<'a> {
    length: usize,
    null_count: usize,
    validity: &'a [u8],
    offsets: &'a [u8],
    values: &'a [u8],
}

struct Reader<'a> {
    frame: &'a [u8],
    row_count: usize,
    array_count: usize,
    header_bytes: usize,
    descriptor_bytes: usize,
    /// Arrays read so far: descriptors stand in preorder.
    next_array: usize,
}

impl<'a> Reader<'a> {
    fn new(frame: &'a [u8]) -> Result<Reader<'a>, Error> {
        if frame.len() < HEADER_BYTES {
            return Err(bad(format!("{} bytes are less than a header", frame.len())));
        }
        if frame[..4] != MAGIC {
            return Err(bad(format!("begins with {:02x?}, not with GMF1", &frame[..4])));
        }
        let mut reader = Reader {
            frame,
            row_count: 0,
            array_count: 0,
            header_bytes: usize::from(u16::from_le_bytes([frame[4], frame[5]])),
            descriptor_bytes: usize::from(u16::from_le_bytes([frame[6], frame[7]])),
            next_array: 0,
        };
        let frame_bytes = reader.word(8)? as usize;
        reader.row_count = reader.word(12)? as usize;
        reader.array_count = reader.word(16)? as usize;
        if frame_bytes < HEADER_BYTES || frame_bytes > frame.len() {
            return Err(bad(format!("says {frame_bytes} bytes and has {}", frame.len())));
        }
        reader.frame = &frame[..frame_bytes];
        if reader.header_bytes < HEADER_BYTES || reader.descriptor_bytes < DESCRIPTOR_BYTES {
            return Err(bad("the header or its descriptors are too small"));
        }
        let descriptors = reader.array_count.checked_mul(reader.descriptor_bytes);
        let end = descriptors.and_then(|bytes| bytes.checked_add(reader.header_bytes));
        match end.is_some_and(|end| end <= frame_bytes) {
            true => Ok(reader),
            false => Err(bad(format!("has no room for {} descriptors", reader.array_count))),
        }
    }

    fn columns(&mut self, fields: &'a [Field]) -> Result<Vec<ColumnView<'a>>, Error> {
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            let column = self.column(&field.data_type, self.row_count);
            let column = column.map_err(|why| bad(format!("column `{}`: {why}", field.name)))?;
            columns.push(column);
        }
        match self.next_array == self.array_count {
            true => Ok(columns),
            false => Err(bad(format!("{} arrays for {}", self.array_count, self.next_array))),
        }
    }

    /// The next column with its children. `length` is what its parent asks for.
    fn column(&mut self, data_type: &'a DataType, length: usize) -> Result<ColumnView<'a>, String> {
        let array = self.array()?;
        if array.length != length {
            return Err(format!("{} elements instead of {length}", array.length));
        }
        let column = array.view(data_type)?;
        self.fill(column)
    }

    /// A column's children; an array's elements may be more than it uses.
    fn fill(&mut self, mut column: ColumnView<'a>) -> Result<ColumnView<'a>, String> {
        match column.data_type {
            DataType::Struct(fields) => {
                for field in fields {
                    column.children.push(self.column(&field.data_type, column.length)?);
                }
            }
            DataType::Array { element, .. } => {
                let elements = self.elements(column.offsets, "elements")?;
                let elements = elements.view(element)?;
                column.children.push(self.fill(elements)?);
            }
            DataType::Map { key, value, .. } => {
                let entries = self.elements(column.offsets, "entries")?;
                if entries.null_count > 0 {
                    return Err("an entry of a map is null".to_owned());
                }
                let keys = self.column(key, entries.length)?;
                if keys.null_count > 0 {
                    return Err("a key of a map is null".to_owned());
                }
                column.children.push(keys);
                column.children.push(self.column(value, entries.length)?);
            }
            _ => {}
        }
        Ok(column)
    }

    fn elements(&mut self, offsets: &[i32], what: &str) -> Result<Array<'a>, String> {
        let array = self.array()?;
        let end = crate::column::last_offset(offsets);
        match array.length >= end {
            true => Ok(array),
            false => Err(format!("{} {what}, and offsets up to {end}", array.length)),
        }
    }

    /// The next descriptor with its bitmap checked.
    fn array(&mut self) -> Result<Array<'a>, String> {
        if self.next_array >= self.array_count {
            return Err("its array is missing".to_owned());
        }
        let at = self.header_bytes + self.next_array * self.descriptor_bytes;
        self.next_array += 1;
        let word = |index: usize| self.word(at + index * 4).map_err(|why| why.to_string());
        let buffer = |index: usize| self.buffer(at + index * 4).map_err(|why| why.to_string());
        let array = Array {
            length: word(0)? as usize,
            null_count: word(1)? as usize,
            validity: buffer(2)?,
            offsets: buffer(4)?,
            values: buffer(6)?,
        };
        if !array.validity.is_empty() && array.validity.len() < array.length.div_ceil(8) {
            return Err("the bitmap of nulls is too short".to_owned());
        }
        let counted = count_nulls(array.validity, array.length);
        match counted == array.null_count {
            true => Ok(array),
            false => Err(format!("{counted} nulls instead of {}", array.null_count)),
        }
    }

    fn failures(&self, input_row_count: usize) -> Result<Vec<(usize, &'a str)>, Error> {
        let count = self.word(32)? as usize;
        let rows: &[u32] = self.numbers(36)?;
        let offsets: &[i32] = self.numbers(44)?;
        let reasons = self.buffer(52)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        if rows.len() != count || offsets.len() != count + 1 {
            return Err(bad(format!("{count} failures with {} rows", rows.len())));
        }
        if !rows.is_sorted_by(|a, b| a < b) || rows[count - 1] as usize >= input_row_count {
            return Err(bad("failures do not ascend, or are not in the batch"));
        }
        check_offsets(offsets, reasons.len()).map_err(bad)?;
        let reason = |i: usize| std::str::from_utf8(&reasons[span(offsets, i)]);
        let pairs = (0..count).map(|i| Ok((rows[i] as usize, reason(i)?)));
        pairs.collect::<Result<_, std::str::Utf8Error>>().map_err(|_| bad("a reason is not UTF-8"))
    }

    /// The word at `at`; descriptors and header are within the frame.
    fn word(&self, at: usize) -> Result<u32, Error> {
        match self.frame.get(at..at + 4) {
            Some(bytes) => Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            None => Err(bad("ends within its header")),
        }
    }

    /// The buffer whose offset and size stand at `at`.
    fn buffer(&self, at: usize) -> Result<&'a [u8], Error> {
        let (offset, size) = (self.word(at)? as usize, self.word(at + 4)? as usize);
        if size == 0 {
            return Ok(&[]);
        }
        let end = offset.checked_add(size);
        end.and_then(|end| self.frame.get(offset..end))
            .ok_or_else(|| bad(format!("a buffer at {offset} of {size} bytes lies outside")))
    }

    fn numbers<T: Plain>(&self, at: usize) -> Result<&'a [T], Error> {
        plain::from_bytes(self.buffer(at)?).ok_or_else(|| bad("a buffer is not aligned"))
    }
}

impl<'a> Array<'a> {
    /// A view without its children, all its buffers checked against the type.
    fn view(self, data_type: &'a DataType) -> Result<ColumnView<'a>, String> {
        let mut view = ColumnView {
            data_type,
            length: self.length,
            null_count: self.null_count,
            validity: if self.null_count == 0 { &[] } else { self.validity },
            offsets: &[],
            values: self.values,
            children: Vec::new(),
        };
        match data_type {
            DataType::Boolean if self.values.len() < self.length.div_ceil(8) => {
                return Err(format!("{} bytes for {} bits", self.values.len(), self.length));
            }
            DataType::Boolean | DataType::Struct(_) => {}
            DataType::String | DataType::Binary => {
                view.offsets = self.offsets(self.values.len())?;
                if *data_type == DataType::String {
                    check_utf8(&view)?;
                }
            }
            DataType::Array { .. } | DataType::Map { .. } => {
                view.offsets = self.offsets(usize::MAX)?;
            }
            number => self.check_numbers(number)?,
        }
        Ok(view)
    }

    fn check_numbers(&self, data_type: &DataType) -> Result<(), String> {
        let width = data_type.value_bytes_each().unwrap_or(1);
        let enough = self.length.checked_mul(width).is_some_and(|size| size <= self.values.len());
        // Decimals are read byte by byte; the others in place.
        let aligned = width == 16 || self.values.as_ptr().addr().is_multiple_of(width);
        match (enough, aligned) {
            (true, _) if self.length == 0 => Ok(()),
            (true, true) => Ok(()),
            (true, false) => Err(format!("values are not aligned to {width} bytes")),
            (false, _) => {
                Err(format!("{} bytes for {} of {data_type}", self.values.len(), self.length))
            }
        }
    }

    fn offsets(&self, end_max: usize) -> Result<&'a [i32], String> {
        if self.length == 0 && self.offsets.is_empty() {
            return Ok(NO_OFFSETS);
        }
        let offsets: &[i32] =
            plain::from_bytes(self.offsets).ok_or("offsets are not aligned to 4 bytes")?;
        let offsets = self.length.checked_add(1).and_then(|count| offsets.get(..count));
        let offsets = offsets.ok_or_else(|| format!("too few offsets for {}", self.length))?;
        check_offsets(offsets, end_max)?;
        Ok(offsets)
    }
}

/// Offsets ascend from 0 or more up to at most `end_max`.
fn check_offsets(offsets: &[i32], end_max: usize) -> Result<(), String> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    // Folded, not short-circuited: this runs over every offset of every batch and must vectorize.
    let ascends = offsets.windows(2).fold(true, |so_far, pair| so_far & (pair[0] <= pair[1]));
    match ascends && first >= 0 && last as usize <= end_max {
        true => Ok(()),
        false => Err(format!("offsets do not ascend from 0 to at most {end_max}")),
    }
}

fn span(offsets: &[i32], index: usize) -> Range<usize> {
    offsets[index] as usize..offsets[index + 1] as usize
}

/// Every string that is not null is UTF-8. One pass over all bytes suffices if they are ASCII.
fn check_utf8(view: &ColumnView<'_>) -> Result<(), String> {
    let all = &view.values[view.offsets[0] as usize..view.offsets[view.length] as usize];
    if plain::is_ascii(all) {
        return Ok(());
    }
    for index in 0..view.length {
        let text = &view.values[span(view.offsets, index)];
        if view.is_valid(index) && std::str::from_utf8(text).is_err() {
            return Err(format!("row {index} is not UTF-8"));
        }
    }
    Ok(())
}

fn bad(why: impl std::fmt::Display) -> Error {
    Error::new(format!("malformed frame: {why}"))
}
