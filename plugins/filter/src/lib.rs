//! The stage `filter`: keeps the rows for which a condition is true. It reads only the columns of
//! the condition, makes none, and answers with row numbers, so no other data crosses the boundary.
//!
//! ```toml
//! [[stage]]
//! name = "chicago"
//! module = "filter"
//! with = { column = "city", equals = "Chicago" }
//! ```
//!
//! | key | keeps the row if |
//! |---|---|
//! | `column` | all conditions given beside it hold for this column; `address.city` reaches into a struct |
//! | `equals`, `not_equals` | it equals the value, or differs from it |
//! | `in`, `not_in` | it equals one of a list, or none of it |
//! | `less_than`, `at_most`, `greater_than`, `at_least` | it compares so; texts by their bytes |
//! | `is_null`, `is_not_null` | it is null, or is not (`true`, or `false` for the opposite) |
//! | `ignore_case` | (`true`) with texts in lower case on both sides, letter by letter |
//! | `not` | (`true`) the condition is false |
//! | `where` | the condition in SQL is true, in place of all keys above but `not` |
//!
//! `where = "city = 'Chicago' and state in ('IL', 'WI')"` knows `=` `==` `<>` `!=` `<` `<=` `>`
//! `>=` `<=>`, `and`, `or`, `not`, `[not] in`, `[not] between`, `[not] like` and `ilike` (with
//! `escape`), `is [not] null`, `is [not] true`, `is [not] distinct from`, parentheses, numbers
//! (`5`, `19.99`, `1e3`, `1.5F`), texts in single or double quotes, `true`, `false`, `null`, `date
//! '2026-11-01'`, `timestamp '2026-11-01 12:00:00'`, and names, in back quotes where they are no
//! plain words. No arithmetic, no functions.
//!
//! What holds, as in Spark: texts are compared byte by byte. **A condition that is null keeps no
//! row**, so `<>` and `not_equals` drop nulls too; `not in` with a null in its list keeps nothing.
//! NaN equals NaN and is greater than every other number. Case does not count in the names of
//! columns. A float column is compared as a double, so `price = 0.1` is false for the float 0.1 in
//! a `where` (write `0.1F`); in `equals` and the other keys a number takes the type of its column.
//! Other than in Spark, a text is never silently turned into a number: `zipcode = 60601` over a
//! text column is an error that names the mend.

mod against;
mod between;
mod check;
mod columns;
mod config;
mod datetime;
mod decimal;
mod evaluate;
mod letter_case;
mod like;
mod predicate;
mod sql;
#[cfg(test)]
mod tests;
mod truth;

use gristmill::{Batch, Description, Error, Output, Schema, Stage};

gristmill::export!(Filter);

/// The stage, ready for batches.
#[derive(Debug)]
pub struct Filter {
    predicate: predicate::Predicate,
    evaluator: evaluate::Evaluator,
    /// Row numbers, in memory that is reused.
    kept: Vec<u32>,
}

impl Stage for Filter {
    type Config = config::Config;

    fn describe(config: Self::Config, input: &Schema) -> Result<(Self, Description), Error> {
        let (predicate, reads) = config.predicate(input)?;
        let description = Description::new("filter", env!("CARGO_PKG_VERSION"))
            .reads(reads)
            .config_schema(config::schema());
        Ok((
            Self { predicate, evaluator: evaluate::Evaluator::default(), kept: Vec::new() },
            description,
        ))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        self.kept.clear();
        self.evaluator.push_kept_rows(&self.predicate, batch, &mut self.kept);
        // A batch that passes whole names no rows: the host then has nothing to pick out.
        if self.kept.len() < batch.row_count {
            output.rows().extend_from_slice(&self.kept);
        }
        Ok(())
    }
}
