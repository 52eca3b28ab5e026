//! Takes arrays and maps apart: which elements become rows, and which row each comes from.

use gristmill::{Column, ColumnView};

use crate::runs::Runs;

/// How nulls and emptiness are treated, and what an element is.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What the elements are.
    pub element: Element,
    /// A row without elements becomes one row of nulls.
    pub outer: bool,
    /// A null element becomes a row of nulls.
    pub keep_null_elements: bool,
}

/// What is made of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// A column per field.
    Struct,
    /// One column.
    Value,
    /// The columns `key` and `value`.
    Entry,
}

/// Where the row numbers go, and the places within the arrays if they are asked for.
pub struct Rows<'r> {
    pub numbers: &'r mut Vec<u32>,
    pub position: Option<&'r mut Column>,
}

/// Fills `rows` and `runs` with the elements of `exploded`, row by row.
pub fn explode(exploded: &ColumnView<'_>, rules: Rules, rows: &mut Rows<'_>, runs: &mut Runs) {
    runs.clear();
    if let Some(position) = rows.position.as_deref_mut() {
        position.clear();
    }
    // Only a struct and the wish to drop nulls make a null element different from any other.
    let elements = match rules.element {
        Element::Entry => None,
        Element::Struct => Some(exploded.elements()),
        Element::Value => Some(exploded.elements()).filter(|_| !rules.keep_null_elements),
    };
    let elements = elements.filter(|elements| elements.null_count() > 0);
    if exploded.null_count() == 0 && elements.is_none() && !rules.outer && rows.position.is_none() {
        let offsets = exploded.offsets();
        push_numbers(offsets, rows.numbers);
        return runs.push_elements(offsets[0] as usize..offsets[exploded.len()] as usize);
    }
    for row in 0..exploded.len() {
        let before = rows.numbers.len();
        if exploded.is_valid(row) {
            let range = exploded.range(row);
            match elements {
                None => {
                    rows.extend(row, range.len());
                    runs.push_elements(range);
                }
                Some(elements) => push_with_nulls(elements, range, row, rules, rows, runs),
            }
        }
        if rules.outer && rows.numbers.len() == before {
            rows.push_null(row);
            runs.push_null();
        }
    }
}

/// The columns that the elements are made of, in the order of the stage's columns.
pub fn sources<'v, 'a>(exploded: &'v ColumnView<'a>, element: Element) -> &'v [ColumnView<'a>] {
    match element {
        Element::Struct => exploded.elements().children(),
        Element::Value | Element::Entry => exploded.children(),
    }
}

/// Row numbers that are written at once.
const NUMBERS_AT_ONCE: usize = 4;

/// Appends the number of each row as often as it has elements. What is written beyond them, the next row writes over:
/// few rows have more than [`NUMBERS_AT_ONCE`], and a loop for each would cost more.
fn push_numbers(offsets: &[i32], numbers: &mut Vec<u32>) {
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let start = numbers.len();
    numbers.resize(start + (last - first) + NUMBERS_AT_ONCE, 0);
    for (row, ends) in offsets.windows(2).enumerate() {
        let at = start + (ends[0] as usize - first);
        let end = start + (ends[1] as usize - first);
        numbers[at..at + NUMBERS_AT_ONCE].fill(number(row));
        if end - at > NUMBERS_AT_ONCE {
            numbers[at + NUMBERS_AT_ONCE..end].fill(number(row));
        }
    }
    numbers.truncate(start + (last - first));
}

fn push_with_nulls(
    elements: &ColumnView<'_>,
    range: std::ops::Range<usize>,
    row: usize,
    rules: Rules,
    rows: &mut Rows<'_>,
    runs: &mut Runs,
) {
    for (position, index) in range.enumerate() {
        if elements.is_valid(index) {
            runs.push_elements(index..index + 1);
        } else if rules.keep_null_elements {
            // What the fields of a null struct hold is of no account.
            runs.push_null();
        } else {
            continue;
        }
        rows.push(row, position);
    }
}

impl Rows<'_> {
    fn extend(&mut self, row: usize, count: usize) {
        self.numbers.resize(self.numbers.len() + count, number(row));
        if let Some(column) = self.position.as_deref_mut() {
            (0..count).for_each(|position| column.push_integer(position as i32));
        }
    }

    fn push(&mut self, row: usize, position: usize) {
        self.numbers.push(number(row));
        if let Some(column) = self.position.as_deref_mut() {
            column.push_integer(position as i32);
        }
    }

    fn push_null(&mut self, row: usize) {
        self.numbers.push(number(row));
        if let Some(column) = self.position.as_deref_mut() {
            column.push_null();
        }
    }
}

/// A frame counts its rows in 32 bits.
fn number(row: usize) -> u32 {
    row as u32
}
