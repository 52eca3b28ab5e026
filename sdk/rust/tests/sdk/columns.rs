//! Columns of every type: copied, cut, taken back and lent in part.

use gristmill::serde_json::Value;
use gristmill::{Column, ColumnView, DataType};
use proptest::prelude::*;

use crate::support::{all_types_columns, config, to_json};

fn values(view: &ColumnView<'_>) -> Vec<Value> {
    (0..view.len()).map(|row| to_json(view, row)).collect()
}

/// Every type, and so many rows that bitmaps have several bytes.
fn long_columns() -> Vec<Column> {
    let mut columns = all_types_columns();
    for column in &mut columns {
        let mut source = column.clone();
        let view = source.view();
        (0..50).for_each(|round| column.push_from(&view, [0, 2, 1, 2, 0][round % 5]));
    }
    columns
}

#[test]
fn a_copy_holds_the_same_values() {
    for mut column in long_columns() {
        let view = column.view();
        let mut copy = Column::new(view.data_type());
        copy.extend_from(&view, 0..20);
        (20..view.len()).for_each(|row| copy.push_from(&view, row));
        assert_eq!(values(&copy.view()), values(&view), "{}", view.data_type());
        assert_eq!(copy.view().null_count(), view.null_count());
    }
}

#[test]
fn clear_forgets_everything() {
    for mut column in long_columns() {
        let mut source = column.clone();
        column.clear();
        assert_eq!((column.len(), column.null_count()), (0, 0));
        column.extend_from(&source.view(), 2..9);
        assert_eq!(values(&column.view()), values(&source.view())[2..9]);
    }
}

#[test]
fn a_half_written_row_is_taken_back() {
    let mut column = all_types_columns().swap_remove(12);
    let before = values(&column.view());
    let items = &mut column.children_mut()[0];
    items.children_mut()[0].push_long(7);
    items.children_mut()[1].children_mut()[0].push_str("half");
    column.truncate(3);
    assert_eq!(values(&column.view()), before);
    column.push_list();
    assert_eq!(column.view().range(3).len(), 0);
}

#[test]
fn a_view_takes_another_bitmap() {
    let mut column = long_columns().swap_remove(2);
    let view = column.view();
    let odd_rows = vec![0b1010_1010; 8];
    let masked = view.with_validity(&odd_rows);
    assert!((0..view.len()).all(|row| masked.is_valid(row) == (row % 2 == 1)));
    assert_eq!(view.with_validity(&[]).null_count(), 0);
}

#[test]
#[should_panic(expected = "null revived")]
fn a_null_string_is_not_revived() {
    let mut column = long_columns().swap_remove(5);
    column.view().with_validity(&[]);
}

#[test]
#[should_panic(expected = "a column of string was read as long or timestamp")]
fn a_string_is_not_read_as_longs() {
    let mut column = Column::new(&DataType::String);
    column.view().longs();
}

#[test]
#[should_panic(expected = "a long was pushed into a column of string")]
fn a_long_is_not_pushed_into_strings() {
    Column::new(&DataType::String).push_long(1);
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_cut_column_is_the_start_of_the_whole(length in 0usize..=53, more in 0usize..53) {
        for mut column in long_columns() {
            let mut source = column.clone();
            let whole = values(&source.view());
            column.truncate(length);
            prop_assert_eq!(&values(&column.view())[..], &whole[..length]);
            let nulls = whole[..length].iter().filter(|value| value.is_null()).count();
            prop_assert_eq!(column.null_count(), nulls);
            column.extend_from(&source.view(), more..53);
            prop_assert_eq!(&values(&column.view())[length..], &whole[more..]);
        }
    }

    #[test]
    fn a_slice_is_a_part(start in 0usize..=53, length in 0usize..=53) {
        let range = start..(start + length).min(53);
        for mut column in long_columns() {
            let view = column.view();
            match view.slice(range.clone()) {
                Some(slice) => {
                    let part = &values(&view)[range.clone()];
                    prop_assert_eq!(&values(&slice)[..], part);
                    let nulls = part.iter().filter(|value| value.is_null()).count();
                    prop_assert_eq!(slice.null_count(), nulls);
                }
                None => prop_assert!(!start.is_multiple_of(8)),
            }
        }
    }
}
