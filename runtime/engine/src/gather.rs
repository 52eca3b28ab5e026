//! Values by row number. Arrow's `take`, but for what a pipeline gathers most, strings without nulls: most are short, and
//! copying 16 bytes whatever the length costs a third of a copy that asks how long it is.

use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow_array::{Array, ArrayRef, GenericByteArray, UInt32Array};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

/// Row numbers into some array, one per row of a batch.
pub type Rows = ScalarBuffer<u32>;

/// Bytes that are copied at once.
const PIECE_BYTES: usize = 16;

/// `array[row]` for each of `rows`.
///
/// # Errors
/// A row that is not in the array; more than 2 GiB of strings.
pub fn take(array: &ArrayRef, rows: Rows) -> Result<ArrayRef> {
    // Without an early exit, so that it is a loop of vector instructions.
    let end = rows.iter().fold(0, |end, row| end.max(*row as usize + 1));
    ensure!(end <= array.len(), "row {} of {}", end - 1, array.len());
    Ok(match array.data_type() {
        DataType::Utf8 if array.null_count() == 0 => {
            Arc::new(take_bytes::<Utf8Type>(array.as_string(), &rows)?)
        }
        DataType::Binary if array.null_count() == 0 => {
            Arc::new(take_bytes::<BinaryType>(array.as_binary(), &rows)?)
        }
        _ => arrow_select::take::take(array, &UInt32Array::new(rows, None), None)?,
    })
}

/// Of an array without nulls that has all these rows.
fn take_bytes<T: ByteArrayType<Offset = i32>>(
    array: &GenericByteArray<T>,
    rows: &[u32],
) -> Result<GenericByteArray<T>> {
    let (ends, from) = (array.value_offsets(), array.value_data());
    // Room for a piece at the end of what is there.
    let mut values = vec![0; PIECE_BYTES * (rows.len() + 1)];
    let mut offsets = vec![0; rows.len() + 1];
    let mut end = 0;
    for (row, offset) in rows.iter().zip(&mut offsets[1..]) {
        let row = *row as usize;
        let span = ends[row] as usize..ends[row + 1] as usize;
        if let Some(piece) = from.get(span.start..span.start + PIECE_BYTES)
            && let Some(place) = values.get_mut(end..end + PIECE_BYTES)
            && span.len() <= PIECE_BYTES
        {
            place.copy_from_slice(piece);
        } else {
            copy_any(&mut values, end, &from[span.clone()])?;
        }
        end += span.len();
        *offset = end as i32;
    }
    values.truncate(end);
    // SAFETY: offsets begin at 0, ascend and end with the values; each element is one of `array`, which is a text if this
    // is to be one.
    Ok(unsafe {
        GenericByteArray::new_unchecked(
            OffsetBuffer::new_unchecked(offsets.into()),
            Buffer::from_vec(values),
            None,
        )
    })
}

/// Copies a value of any length to `at`, and makes room for it and for as much again.
#[cold]
fn copy_any(values: &mut Vec<u8>, at: usize, value: &[u8]) -> Result<()> {
    let end = at + value.len();
    ensure!(i32::try_from(end).is_ok(), "more than 2 GiB of strings in one batch");
    if values.len() < end + PIECE_BYTES {
        values.resize(2 * (end + PIECE_BYTES), 0);
    }
    values[at..end].copy_from_slice(value);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_array::{BinaryArray, Int64Array, StringArray};
    use proptest::prelude::*;

    /// Both ways, of a slice in the middle of an array too.
    fn check(array: ArrayRef, rows: &[u32]) {
        let by_arrow = |array: &ArrayRef, rows: &[u32]| {
            arrow_select::take::take(array, &UInt32Array::from(rows.to_vec()), None).unwrap()
        };
        assert_eq!(&take(&array, rows.to_vec().into()).unwrap(), &by_arrow(&array, rows));
        let slice = array.slice(1, array.len() - 2);
        let within: Vec<u32> =
            rows.iter().copied().filter(|row| (*row as usize) < slice.len()).collect();
        let taken = take(&slice, within.clone().into()).unwrap();
        taken.to_data().validate_full().unwrap();
        assert_eq!(&taken, &by_arrow(&slice, &within));
    }

    proptest! {
        #[test]
        fn rows_are_those_that_arrow_takes(
            texts in proptest::collection::vec(proptest::option::weighted(0.9, "[a-zäß€😀]{0,20}"), 3..40),
            rows in proptest::collection::vec(0..1000u32, 0..60),
        ) {
            let rows: Vec<u32> = rows.iter().map(|row| row % texts.len() as u32).collect();
            let full: Vec<String> = texts.iter().map(|text| text.clone().unwrap_or_default()).collect();
            check(Arc::new(StringArray::from(full.clone())), &rows);
            check(Arc::new(StringArray::from(texts)), &rows);
            check(Arc::new(BinaryArray::from_iter_values(&full)), &rows);
            check(Arc::new(Int64Array::from_iter_values(0..full.len() as i64)), &rows);
        }
    }

    #[test]
    fn a_row_that_is_not_there_is_an_error() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let error = take(&array, vec![0, 2].into()).unwrap_err();
        assert_eq!(error.to_string(), "row 2 of 2");
        let none: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
        assert_eq!(take(&none, vec![].into()).unwrap().len(), 0);
    }
}
