//! SQL's three truth values, one byte per row, in an order that makes Kleene's logic plain
//! arithmetic: `and` is the smaller, `or` the larger, `not` the distance from the top.

use gristmill::ColumnView;

/// No.
pub const FALSE: u8 = 0;
/// Null.
pub const UNKNOWN: u8 = 1;
/// Yes. Only these rows are kept.
pub const TRUE: u8 = 2;

/// The truth value of an optional boolean.
pub fn of(value: Option<bool>) -> u8 {
    match value {
        None => UNKNOWN,
        Some(value) => of_known(value),
    }
}

/// The truth value of a boolean.
#[inline(always)]
pub fn of_known(value: bool) -> u8 {
    u8::from(value) * TRUE
}

/// `truths` and `others`, row by row.
pub fn and(truths: &mut [u8], others: &[u8]) {
    for (truth, other) in truths.iter_mut().zip(others) {
        *truth = (*truth).min(*other);
    }
}

/// `truths` or `others`, row by row.
pub fn or(truths: &mut [u8], others: &[u8]) {
    for (truth, other) in truths.iter_mut().zip(others) {
        *truth = (*truth).max(*other);
    }
}

/// The opposite, row by row.
pub fn not(truths: &mut [u8]) {
    for truth in truths {
        *truth = TRUE - *truth;
    }
}

/// Writes `value` into every row where the column is null.
pub fn mark_nulls(truths: &mut [u8], column: &ColumnView<'_>, value: u8) {
    let Some(validity) = column.validity() else { return };
    for (rows, bits) in truths.chunks_mut(8).zip(validity) {
        if *bits == u8::MAX {
            continue;
        }
        for (bit, truth) in rows.iter_mut().enumerate() {
            if bits >> bit & 1 == 0 {
                *truth = value;
            }
        }
    }
}

/// The numbers of the rows that are true, behind what is in `rows`.
pub fn push_true_rows(truths: &[u8], rows: &mut Vec<u32>) {
    let start = rows.len();
    rows.resize(start + truths.len(), 0);
    let mut end = start;
    // Every row is written and only the true ones stay: no branch for the processor to guess.
    for (row, truth) in (0_u32..).zip(truths) {
        rows[end] = row;
        end += usize::from(*truth == TRUE);
    }
    rows.truncate(end);
}
