//! What a row function may return.

use std::fmt::Display;

use crate::column::Column;
use crate::schema::Field;

/// What becomes of a row. Structs with `#[derive(gristmill::Row)]` are answers too: one output row
/// with their members as columns.
pub trait Answer {
    /// The columns that the stage makes.
    fn columns() -> Vec<Field>;
    fn give(self, output: &mut RowOutput);
}

/// The output rows so far.
#[derive(Debug, Default)]
pub struct RowOutput {
    /// The input row that is being answered.
    pub(super) row: u32,
    pub(super) rows: Vec<u32>,
    pub(super) columns: Vec<Column>,
    /// Output rows before this input row.
    pub(super) mark: usize,
    pub(super) failure: Option<String>,
}

impl RowOutput {
    /// One more output row out of this input row; then push into every column.
    pub fn next_row(&mut self) -> &mut [Column] {
        self.rows.push(self.row);
        &mut self.columns
    }

    fn refuse(&mut self, reason: String) {
        self.rows.truncate(self.mark);
        self.columns.iter_mut().for_each(|column| column.truncate(self.mark));
        self.failure.get_or_insert(reason);
    }
}

/// Keep the row, or drop it.
impl Answer for bool {
    fn columns() -> Vec<Field> {
        Vec::new()
    }

    fn give(self, output: &mut RowOutput) {
        if self {
            output.next_row();
        }
    }
}

/// None drops the row.
impl<A: Answer> Answer for Option<A> {
    fn columns() -> Vec<Field> {
        A::columns()
    }

    fn give(self, output: &mut RowOutput) {
        if let Some(answer) = self {
            answer.give(output);
        }
    }
}

/// Err refuses the row with a reason; rows that it gave before are taken back.
impl<A: Answer, E: Display> Answer for Result<A, E> {
    fn columns() -> Vec<Field> {
        A::columns()
    }

    fn give(self, output: &mut RowOutput) {
        match self {
            Ok(_) if output.failure.is_some() => {}
            Ok(answer) => answer.give(output),
            Err(reason) => output.refuse(reason.to_string()),
        }
    }
}

/// Any number of rows.
impl<A: Answer> Answer for Vec<A> {
    fn columns() -> Vec<Field> {
        A::columns()
    }

    fn give(self, output: &mut RowOutput) {
        Many(self.into_iter()).give(output);
    }
}

/// Any number of rows: what the macro makes of `impl Iterator`.
pub struct Many<I>(pub I);

impl<A: Answer, I: Iterator<Item = A>> Answer for Many<I> {
    fn columns() -> Vec<Field> {
        A::columns()
    }

    fn give(self, output: &mut RowOutput) {
        self.0.for_each(|answer| answer.give(output));
    }
}
