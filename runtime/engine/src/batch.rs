//! Rows between two stages.
//!
//! A stage sends only what it makes; every other column is carried. Carrying is lazy: a column is an array plus, where
//! rows were dropped or repeated on the way, the row numbers to take from it. The numbers of several stages are composed,
//! and values are gathered once, when a stage reads the column or a sink stores it.

use anyhow::{Context, Result};
use arrow_array::ArrayRef;

use crate::gather::{Rows, take};

/// One column on its way: row `i` is `array[rows[i]]`, or `array[i]` without `rows`.
#[derive(Debug, Clone)]
struct Column {
    array: ArrayRef,
    rows: Option<Rows>,
}

/// A batch of rows on one edge of the pipeline.
#[derive(Debug, Clone)]
pub struct Batch {
    row_count: usize,
    /// In the order of the edge's schema; `None` for a column that nobody downstream needs.
    columns: Vec<Option<Column>>,
    /// Row of the source batch that each row came from; absent: the same.
    origins: Option<Rows>,
}

/// How a column of a stage's output edge comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnOrigin {
    /// The stage made it: position in its output.
    Made(usize),
    /// Carried from the input edge: position there.
    Carried(usize),
    /// Nobody downstream needs it.
    Dead,
}

impl Batch {
    /// Rows as they come from the source: `columns` in the order of the source edge, `None` for those not asked for.
    pub fn from_source(row_count: usize, columns: Vec<Option<ArrayRef>>) -> Batch {
        let columns = columns
            .into_iter()
            .map(|array| array.map(|array| Column { array, rows: None }))
            .collect();
        Batch { row_count, columns, origins: None }
    }

    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Whether the column at `index` is carried along.
    pub fn has(&self, index: usize) -> bool {
        self.columns[index].is_some()
    }

    /// The row of the source batch that `row` came from.
    pub fn origin(&self, row: u32) -> u32 {
        self.origins.as_ref().map_or(row, |origins| origins[row as usize])
    }

    /// The column at `index`, gathered; the gathered form is kept.
    ///
    /// # Errors
    /// If the column is dead: the plan forgot that somebody needs it.
    pub fn column(&mut self, index: usize) -> Result<ArrayRef> {
        let column =
            self.columns[index].as_mut().with_context(|| format!("column {index} was pruned"))?;
        if let Some(rows) = column.rows.take() {
            column.array = take(&column.array, rows).context("cannot gather rows")?;
        }
        Ok(column.array.clone())
    }

    /// The batch after a stage: `rows` names the input row of every output row (absent: all, in order).
    pub fn after_stage(
        &self,
        row_count: usize,
        rows: Option<&Rows>,
        made: &[ArrayRef],
        origins: &[ColumnOrigin],
    ) -> Batch {
        let mut composed = Composer { rows, done: Vec::new() };
        let columns = origins
            .iter()
            .map(|origin| match *origin {
                ColumnOrigin::Made(index) => {
                    Some(Column { array: made[index].clone(), rows: None })
                }
                ColumnOrigin::Carried(index) => self.columns[index].as_ref().map(|column| Column {
                    array: column.array.clone(),
                    rows: composed.compose(column.rows.as_ref()),
                }),
                ColumnOrigin::Dead => None,
            })
            .collect();
        let origins = composed.compose(self.origins.as_ref());
        Batch { row_count, columns, origins }
    }

    /// Only the rows at `kept`, ascending row numbers.
    pub fn keep(&self, kept: Rows) -> Batch {
        let carried: Vec<_> = (0..self.columns.len()).map(ColumnOrigin::Carried).collect();
        self.after_stage(kept.len(), Some(&kept), &[], &carried)
    }
}

/// Applies one selection to the selections of many columns. Columns that came the same way share theirs, so it is
/// composed once for each way.
struct Composer<'a> {
    rows: Option<&'a Rows>,
    /// Address of an old selection → the composed one.
    done: Vec<(*const u32, Rows)>,
}

impl Composer<'_> {
    fn compose(&mut self, old: Option<&Rows>) -> Option<Rows> {
        let Some(rows) = self.rows else { return old.cloned() };
        let Some(old) = old else { return Some(rows.clone()) };
        if let Some((_, known)) = self.done.iter().find(|(address, _)| *address == old.as_ptr()) {
            return Some(known.clone());
        }
        let composed: Rows = rows.iter().map(|row| old[*row as usize]).collect();
        self.done.push((old.as_ptr(), composed.clone()));
        Some(composed)
    }
}

/// The columns of a batch that a stage reads, in its order.
pub fn gather(batch: &mut Batch, indices: &[usize]) -> Result<Vec<ArrayRef>> {
    indices.iter().map(|index| batch.column(*index)).collect()
}

/// Source row numbers of every row of `batch`.
pub fn source_rows(batch: &Batch) -> impl Iterator<Item = u32> + '_ {
    (0..batch.row_count as u32).map(|row| batch.origin(row))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{Int32Array, StringArray};

    fn batch() -> Batch {
        let a: ArrayRef = Arc::new(Int32Array::from(vec![10, 11, 12, 13]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c"), Some("d")]));
        Batch::from_source(4, vec![Some(a), Some(b), None])
    }

    fn ints(batch: &mut Batch, column: usize) -> Vec<i32> {
        batch.column(column).unwrap().as_primitive::<Int32Type>().values().to_vec()
    }

    #[test]
    fn a_filter_after_a_flatten_gathers_the_right_rows() {
        let carried = [ColumnOrigin::Carried(0), ColumnOrigin::Carried(1), ColumnOrigin::Made(0)];
        let item: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]));
        let flattened =
            batch().after_stage(5, Some(&vec![0, 0, 2, 3, 3].into()), &[item], &carried);
        let mut kept = flattened.keep(vec![1, 2, 4].into());
        assert_eq!(kept.row_count(), 3);
        assert_eq!(ints(&mut kept, 0), [10, 12, 13]);
        assert_eq!(ints(&mut kept, 2), [2, 3, 5]);
        let names = kept.column(1).unwrap();
        assert_eq!(
            names.as_string::<i32>().iter().collect::<Vec<_>>(),
            [Some("a"), Some("c"), Some("d")]
        );
        assert_eq!(source_rows(&kept).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn a_pruned_column_stays_pruned_and_says_so() {
        let mut kept = batch().keep(vec![3].into());
        assert!(kept.column(2).unwrap_err().to_string().contains("column 2 was pruned"));
    }
}
