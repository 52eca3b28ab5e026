//! What `process` gets and what it gives.

use crate::column::Column;
use crate::column_view::ColumnView;
use crate::error::Error;

/// The rows that arrive: only the columns that `describe` named in `reads`, in that order.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    pub row_count: usize,
    pub columns: Vec<ColumnView<'a>>,
}

impl<'a> Batch<'a> {
    /// The column at `index` of `reads`.
    pub fn column(&self, index: usize) -> &ColumnView<'a> {
        &self.columns[index]
    }
}

/// What a stage answers: its columns in the order of `Description::columns`, which input row each
/// output row came from, and the rows that it refuses.
///
/// A stage that names no rows keeps every row in its place. A filter calls [`rows`](Self::rows) and
/// pushes no column.
#[derive(Debug)]
pub struct Output<'a> {
    pub(crate) input_row_count: usize,
    pub(crate) columns: Vec<ColumnView<'a>>,
    pub(crate) rows_given: bool,
    pub(crate) buffers: OutputBuffers,
}

/// The memory of an output, kept from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct OutputBuffers {
    pub(crate) rows: Vec<u32>,
    pub(crate) failure_rows: Vec<u32>,
    /// One more than there are failures, as in a string column.
    pub(crate) reason_offsets: Vec<i32>,
    pub(crate) reasons: Vec<u8>,
}

/// The longest reason that is kept, in bytes; the rest is cut. A reason becomes a record header.
pub const REASON_BYTES_MAX: usize = 4096;

impl<'a> Output<'a> {
    pub(crate) fn new(input_row_count: usize, mut buffers: OutputBuffers) -> Output<'a> {
        buffers.rows.clear();
        buffers.failure_rows.clear();
        buffers.reason_offsets.clear();
        buffers.reason_offsets.push(0);
        buffers.reasons.clear();
        Output { input_row_count, columns: Vec::new(), rows_given: false, buffers }
    }

    /// Rows of the batch that is being answered.
    pub fn input_row_count(&self) -> usize {
        self.input_row_count
    }

    /// The list of input rows, one per output row; push into it. From the first call on, rows that
    /// are not in it are filtered. The memory is reused from batch to batch.
    pub fn rows(&mut self) -> &mut Vec<u32> {
        self.rows_given = true;
        &mut self.buffers.rows
    }

    /// The next column, out of a column that the stage owns.
    pub fn push(&mut self, column: &'a mut Column) {
        self.columns.push(column.view());
    }

    /// The next column: a view of the input (no copy) or of anything that outlives the call.
    pub fn push_view(&mut self, column: ColumnView<'a>) {
        self.columns.push(column);
    }

    /// Refuses an input row; the host decides by `on_failure` what becomes of it. Rows are refused
    /// in ascending order, each once; a refused row must not be named in `rows`. A stage that names
    /// no rows pushes any value (a null) for it: the host takes the row out.
    pub fn fail(&mut self, row: usize, reason: &str) {
        assert!(row < self.input_row_count, "row {row} of {} failed", self.input_row_count);
        let ascends = self.buffers.failure_rows.last().is_none_or(|&last| (last as usize) < row);
        assert!(ascends, "row {row} failed after a later one, or twice");
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.buffers.failure_rows.push(row as u32);
        self.buffers.reasons.extend_from_slice(&reason.as_bytes()[..end]);
        self.buffers.reason_offsets.push(crate::column::offset(self.buffers.reasons.len()));
    }

    /// Output rows: as `rows` says, else as the batch.
    pub fn row_count(&self) -> usize {
        if self.rows_given { self.buffers.rows.len() } else { self.input_row_count }
    }

    /// The input row of each output row. None: output row i is input row i.
    pub fn row_numbers(&self) -> Option<&[u32]> {
        self.rows_given.then_some(&self.buffers.rows)
    }

    pub fn columns(&self) -> &[ColumnView<'a>] {
        &self.columns
    }

    /// The refused rows with their reasons.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &str)> {
        let offsets = self.buffers.reason_offsets.windows(2);
        self.buffers.failure_rows.iter().zip(offsets).map(|(&row, ends)| {
            let reason = &self.buffers.reasons[ends[0] as usize..ends[1] as usize];
            (row as usize, std::str::from_utf8(reason).unwrap_or_default())
        })
    }

    /// What the host would find wrong: a wrong number of columns or rows, or a row that is not in
    /// the batch.
    pub(crate) fn check(&self, column_count: usize) -> Result<(), Error> {
        if self.columns.len() != column_count {
            let pushed = self.columns.len();
            let message = format!("the stage declared {column_count} columns and made {pushed}");
            return Err(Error::new(message));
        }
        let row_count = self.row_count();
        if let Some(wrong) = self.columns.iter().find(|column| column.len() != row_count) {
            let length = wrong.len();
            let message = format!("a column has {length} values for an output of {row_count} rows");
            return Err(Error::new(message));
        }
        let rows = &self.buffers.rows;
        // Not `max`, which is no loop of vector instructions.
        let highest = rows.iter().fold(0, |highest, &row| highest.max(row));
        if !rows.is_empty() && highest as usize >= self.input_row_count {
            let message = format!("row {highest} of a batch of {}", self.input_row_count);
            return Err(Error::new(message));
        }
        Ok(())
    }
}
