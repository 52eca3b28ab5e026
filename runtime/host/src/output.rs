//! What a stage made of a batch: rows with their input rows, columns, failures.

use crate::ProcessError;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBufferBuilder, ScalarBuffer};
use arrow_schema::FieldRef;
use arrow_select::filter::FilterBuilder;

/// The output of one batch. Input rows that are neither named in `rows` nor failed were filtered.
#[derive(Debug, Clone)]
pub struct Output {
    /// The input row of each output row; `None`: output row *i* is input row *i*, for all rows.
    pub rows: Option<ScalarBuffer<u32>>,
    /// Rows of the output; with `rows` absent it is the input's row count.
    pub row_count: usize,
    /// The columns that the stage makes, in the order of [`crate::Stage::columns`], `row_count`
    /// long each.
    pub columns: Vec<ArrayRef>,
    /// Input rows that the stage rejects, strictly ascending; none of them is named in `rows`.
    pub failures: Vec<Failure>,
}

/// An input row that the stage rejects, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub row: u32,
    pub reason: String,
}

/// Row numbers as a guest gave them, in whatever encoding.
pub(crate) struct Rows {
    pub input_row_count: usize,
    pub row_count: usize,
    pub rows: Option<ScalarBuffer<u32>>,
}

impl Rows {
    /// Checks the row numbers and brings the three ways of leaving them out (frame.md, Output) to
    /// one.
    pub(crate) fn output(
        self,
        columns: Vec<ArrayRef>,
        failures: Vec<Failure>,
    ) -> Result<Output, ProcessError> {
        debug_assert!(columns.iter().all(|column| column.len() == self.row_count));
        match self.rows {
            Some(rows) => {
                check_rows(&rows, self.input_row_count, &failures)?;
                Ok(Output { rows: Some(rows), row_count: self.row_count, columns, failures })
            }
            None if self.row_count == self.input_row_count && failures.is_empty() => {
                Ok(Output { rows: None, row_count: self.row_count, columns, failures })
            }
            None if self.row_count == 0 => {
                let rows = Some(ScalarBuffer::from(Vec::new()));
                Ok(Output { rows, row_count: 0, columns, failures })
            }
            None if self.row_count == self.input_row_count => {
                without_failed(self.input_row_count, columns, failures)
            }
            None => Err(ProcessError::BadOutput(format!(
                "{} output rows for {} input rows, and no `rows`",
                self.row_count, self.input_row_count
            ))),
        }
    }
}

/// A column that is not nullable has no nulls; arrow's constructors see to the nested ones.
pub(crate) fn check_nulls(fields: &[FieldRef], columns: &[ArrayRef]) -> Result<(), ProcessError> {
    for (field, column) in fields.iter().zip(columns) {
        if !field.is_nullable() && column.null_count() > 0 {
            let what = format!("`{}` has nulls, and is not nullable", field.name());
            return Err(ProcessError::BadOutput(what));
        }
    }
    Ok(())
}

fn check_rows(
    rows: &[u32],
    input_row_count: usize,
    failures: &[Failure],
) -> Result<(), ProcessError> {
    // Without an early exit, so that it is a loop of vector instructions.
    let largest = rows.iter().fold(0, |largest, &row| largest.max(row));
    if !rows.is_empty() && largest as usize >= input_row_count {
        return Err(ProcessError::BadOutput(format!(
            "an output row of input row {largest}, the input has {input_row_count}"
        )));
    }
    if failures.is_empty() {
        return Ok(());
    }
    let failed = failed_bits(input_row_count, failures);
    match rows.iter().find(|&&row| failed.get_bit(row as usize)) {
        Some(row) => Err(ProcessError::BadOutput(format!("row {row} is both failed and output"))),
        None => Ok(()),
    }
}

/// One bit per input row, set for those that failed.
fn failed_bits(input_row_count: usize, failures: &[Failure]) -> BooleanBufferBuilder {
    let mut failed = BooleanBufferBuilder::new(input_row_count);
    failed.append_n(input_row_count, false);
    for failure in failures {
        failed.set_bit(failure.row as usize, true);
    }
    failed
}

/// Takes the failed rows out of an output that has a row for each input row.
fn without_failed(
    input_row_count: usize,
    columns: Vec<ArrayRef>,
    failures: Vec<Failure>,
) -> Result<Output, ProcessError> {
    let kept = !&failed_bits(input_row_count, &failures).finish();
    let rows: Vec<u32> = kept.set_indices_u32().collect();
    let filter = FilterBuilder::new(&BooleanArray::new(kept, None)).optimize().build();
    let columns = columns.iter().map(|column| filter.filter(column.as_ref()));
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>();
    let columns = columns.map_err(|error| ProcessError::BadOutput(error.to_string()))?;
    Ok(Output { row_count: rows.len(), rows: Some(rows.into()), columns, failures })
}
