//! Frames there and back, sliced everywhere, and damaged everywhere.

use super::*;
use crate::schema::{field_count, list_type, map_type, timestamp_type};
use crate::{Limits, Output};
use arrow_array::builder::*;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use std::sync::Arc;

const ROWS: usize = 19;

/// A value or a null, so that nulls fall on every bit of a byte.
fn maybe<T>(row: usize, value: T) -> Option<T> {
    (row % 5 != 3).then_some(value)
}

/// One column of every type, with nulls, empty values and text of several bytes per character.
fn columns() -> Vec<ArrayRef> {
    let rows = 0..ROWS;
    let texts = || rows.clone().map(|row| maybe(row, "añ→🦀".repeat(row % 4)));
    let decimals = rows.clone().map(|row| maybe(row, row as i128 * -12_345));
    let micros = rows.clone().map(|row| maybe(row, row as i64 * 1_000_003));
    vec![
        Arc::new(rows.clone().map(|row| maybe(row, row % 2 == 0)).collect::<BooleanArray>()),
        Arc::new(rows.clone().map(|row| maybe(row, row as i32 - 9)).collect::<Int32Array>()),
        Arc::new(rows.clone().map(|row| maybe(row, i64::MAX - row as i64)).collect::<Int64Array>()),
        Arc::new(rows.clone().map(|row| maybe(row, row as f32 / 3.0)).collect::<Float32Array>()),
        Arc::new(rows.clone().map(|row| maybe(row, row as f64 / 3.0)).collect::<Float64Array>()),
        Arc::new(texts().collect::<StringArray>()),
        Arc::new(texts().map(|text| text.map(String::into_bytes)).collect::<BinaryArray>()),
        Arc::new(rows.clone().map(|row| maybe(row, row as i32 * 365)).collect::<Date32Array>()),
        Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(decimals.collect::<Decimal128Array>().with_precision_and_scale(10, 2).unwrap()),
        Arc::new(structs()),
        Arc::new(lists()),
        Arc::new(maps()),
        Arc::new(StructArray::new_empty_fields(ROWS, None)),
    ]
}

fn structs() -> StructArray {
    let fields = Fields::from(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]);
    let ids: Int64Array = (0..ROWS as i64).map(|row| maybe(row as usize, row)).collect();
    let names: StringArray = (0..ROWS).map(|row| Some("x".repeat(row))).collect();
    let nulls: NullBuffer = (0..ROWS).map(|row| row % 4 != 1).collect();
    StructArray::new(fields, vec![Arc::new(ids), Arc::new(names)], Some(nulls))
}

/// Lists of the structs, of 0 to 2 elements, some null.
fn lists() -> ListArray {
    let lengths: Vec<usize> = (0..ROWS).map(|row| if row < 9 { 2 } else { row % 2 }).collect();
    let elements = structs().slice(0, lengths.iter().sum::<usize>().min(ROWS));
    let lengths = lengths.iter().scan(0, |used, length| {
        let length = (*length).min(elements.len() - *used);
        *used += length;
        Some(length)
    });
    let DataType::List(element) = list_type(elements.data_type().clone(), true) else {
        unreachable!()
    };
    let nulls: NullBuffer = (0..ROWS).map(|row| row % 7 != 2).collect();
    let offsets = OffsetBuffer::from_lengths(lengths);
    ListArray::new(element, offsets, Arc::new(elements), Some(nulls))
}

fn maps() -> MapArray {
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), Int32Builder::new());
    for row in 0..ROWS {
        for entry in 0..row % 3 {
            maps.keys().append_value(format!("k{entry}"));
            maps.values().append_option(maybe(row, row as i32));
        }
        maps.append(row % 6 != 5).unwrap();
    }
    maps.finish()
}

fn fields(columns: &[ArrayRef]) -> Vec<FieldRef> {
    let field = |column: &ArrayRef| Field::new("c", column.data_type().clone(), true);
    columns.iter().map(|column| Arc::new(field(column))).collect()
}

fn written(columns: &[ArrayRef], row_count: usize) -> Vec<u8> {
    let frame = InputFrame::new(columns, row_count);
    let mut bytes = vec![0xAA; frame.size()];
    frame.write(&mut bytes);
    bytes
}

fn read_back(bytes: &[u8], fields: &[FieldRef], row_count: usize) -> Result<Output, ProcessError> {
    let limits = Limits { output_bytes_max: 1 << 20, ..Limits::default() };
    let array_count = fields.iter().map(|field| field_count(field.data_type())).sum();
    let expected = Expected { columns: fields, array_count, row_count, limits: &limits };
    read(GuestBytes::of_list(bytes)?, &expected)
}

#[test]
fn every_type_comes_back_from_every_slice() {
    let columns = columns();
    let types = columns.iter().map(|column| column.data_type().clone()).collect::<Vec<_>>();
    assert!(types.contains(&timestamp_type()));
    assert!(types.contains(&map_type(DataType::Utf8, DataType::Int32, true)));
    for start in 0..=ROWS {
        for length in 0..=ROWS - start {
            let sliced: Vec<ArrayRef> =
                columns.iter().map(|column| column.slice(start, length)).collect();
            let output = read_back(&written(&sliced, length), &fields(&sliced), length).unwrap();
            assert_eq!(output.row_count, length);
            assert_eq!(output.columns, sliced, "from {start}, {length} rows");
        }
    }
}

#[test]
fn buffers_stand_where_frame_md_says() {
    let columns = columns();
    let bytes = written(&columns, ROWS);
    let arrays = guest_bytes::u32_at(&bytes, header::ARRAY_COUNT) as usize;
    for array in 0..arrays {
        for word in [2, 4, 6] {
            let at = HEADER_SIZE + array * DESCRIPTOR_SIZE + word * 4;
            let (offset, size) =
                (guest_bytes::u32_at(&bytes, at), guest_bytes::u32_at(&bytes, at + 4));
            assert_eq!(offset % 64, 0);
            assert!(size == 0 || (offset + size) as usize + 64 <= bytes.len());
        }
    }
}

/// A frame with random words in random places is refused or gives sound arrays; it never panics.
#[test]
fn damaged_frames_never_panic_and_never_give_unsound_arrays() {
    let columns = columns();
    let fields = fields(&columns);
    let whole = written(&columns, ROWS);
    let mut random = 0x1234_5678_9abc_def0_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + next(3) {
            let near = if next(2) == 0 { 1024 } else { usize::MAX };
            let at = next(near.min(bytes.len()));
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes[at] ^= 1 << next(8),
                2 => {
                    let word = [0, 1, u32::MAX, i32::MAX as u32, bytes.len() as u32][next(5)];
                    let at = at & !3;
                    if let Some(place) = bytes.get_mut(at..at + 4) {
                        place.copy_from_slice(&word.to_le_bytes());
                    }
                }
                _ => bytes.truncate(at),
            }
            if bytes.is_empty() {
                break;
            }
        }
        if let Ok(output) = read_back(&bytes, &fields, ROWS) {
            accepted += 1;
            for column in &output.columns {
                column.to_data().validate_full().unwrap();
            }
        }
    }
    assert!(accepted > 0, "values are free to change");
}

#[test]
fn null_strings_may_hold_any_bytes() {
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), None, Some("cd")]));
    let mut bytes = written(std::slice::from_ref(&column), 3);
    let values = guest_bytes::u32_at(&bytes, HEADER_SIZE + 24) as usize;
    let offsets = guest_bytes::u32_at(&bytes, HEADER_SIZE + 16) as usize;
    // Gives the null element the bytes FF FE, between the others.
    bytes[values..values + 6].copy_from_slice(b"ab\xFF\xFEcd");
    bytes[HEADER_SIZE + 28] = 6;
    for (index, offset) in [0u32, 2, 4, 6].iter().enumerate() {
        bytes[offsets + index * 4..][..4].copy_from_slice(&offset.to_le_bytes());
    }
    let output = read_back(&bytes, &fields(std::slice::from_ref(&column)), 3).unwrap();
    assert_eq!(output.columns, [column]);
}

#[test]
fn a_column_that_is_not_nullable_has_no_nulls() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let bytes = written(std::slice::from_ref(&column), 2);
    let field = Arc::new(Field::new("n", DataType::Int64, false));
    let error = read_back(&bytes, &[field], 2).unwrap_err();
    assert_eq!(error, bad("`n` has nulls, and is not nullable"));
}

#[test]
fn decimals_stay_within_their_precision() {
    let column = Decimal128Array::from(vec![999, 1000]).with_precision_and_scale(4, 0).unwrap();
    let column: ArrayRef = Arc::new(column);
    let bytes = written(std::slice::from_ref(&column), 2);
    let field = Arc::new(Field::new("d", DataType::Decimal128(3, 0), false));
    assert!(matches!(read_back(&bytes, &[field], 2), Err(ProcessError::BadOutput(_))));
}
