//! Which elements make the output, in order, as runs: most batches are one run, and its columns are
//! the input's own buffers.

use std::ops::Range;

use gristmill::{Column, ColumnView};

/// Elements and nulls in the order of the output.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Run {
    /// These elements.
    Elements(Range<usize>),
    /// So many rows of nulls.
    Nulls(usize),
}

impl Runs {
    /// Forgets all and keeps the memory.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// Appends elements.
    pub fn push_elements(&mut self, range: Range<usize>) {
        match self.runs.last_mut() {
            _ if range.is_empty() => {}
            Some(Run::Elements(last)) if last.end == range.start => last.end = range.end,
            _ => self.runs.push(Run::Elements(range)),
        }
    }

    /// Appends a row of nulls.
    pub fn push_null(&mut self) {
        match self.runs.last_mut() {
            Some(Run::Nulls(count)) => *count += 1,
            _ => self.runs.push(Run::Nulls(1)),
        }
    }

    /// The elements, if they stand side by side in the input and no null among them is ours.
    pub fn whole(&self) -> Option<Range<usize>> {
        match self.runs.as_slice() {
            [] => Some(0..0),
            [Run::Elements(range)] => Some(range.clone()),
            _ => None,
        }
    }

    /// Replaces what is in `column` by the elements of `source`.
    pub fn copy(&self, source: &ColumnView<'_>, column: &mut Column) {
        column.clear();
        for run in &self.runs {
            match run {
                Run::Elements(range) => column.extend_from(source, range.clone()),
                Run::Nulls(count) => (0..*count).for_each(|_| column.push_null()),
            }
        }
    }
}
