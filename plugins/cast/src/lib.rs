//! The stage `cast`: gives columns another type, with the rules of Spark's CAST. Each column keeps
//! its name and place.
//!
//! ```toml
//! [[stage]]
//! name = "readable"
//! module = "cast"
//! with = { columns = { key = "string", value = "string" } }
//! ```
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `columns` | the new type of each column, as in a schema: `{ value = "string", zipcode = "decimal(10,2)" }` | required |
//! | `mode` | what becomes of a value that the new type cannot hold, see below | `"strict"` |
//!
//! | `mode` | a value that cannot be cast | bytes that are not UTF-8, cast to string | is Spark's |
//! |---|---|---|---|
//! | `strict` | fails its row, with a reason | fail their row | `CAST` in ANSI mode (the default of Spark 4) |
//! | `replace` | fails its row | get U+FFFD for each bad sequence, which is how Spark shows them | the same |
//! | `null` | becomes null | become null | `TRY_CAST` |
//!
//! Null stays null. What can be cast to what, here in the words of ANSI mode:
//!
//! | from | to | how |
//! |---|---|---|
//! | binary | string | the bytes, which must be UTF-8 |
//! | string | binary | its bytes |
//! | string | int, long | optional sign and digits, blanks around them cut; `1.5` and what overflows cannot be cast |
//! | string | float, double | as Java reads it, with `NaN`, `Infinity`, `-inf` in any case |
//! | string | decimal(p,s) | rounded half up to `s` digits; more than `p` digits cannot be cast |
//! | string | boolean | `t true y yes 1`, `f false n no 0` in any case |
//! | string | date, timestamp | `2026-1-5`, `2026-01-05T12:00:00.5+01:00`; without a zone it is UTC |
//! | int, long, float, double, decimal | each other | towards zero where digits are lost to an integer; overflow cannot be cast |
//! | number | boolean, timestamp | whether it is not 0; seconds since 1970-01-01 UTC |
//! | boolean | number | 1, 0 |
//! | timestamp | number, date | seconds, downwards to an integer; its day in UTC |
//! | date | timestamp | midnight, UTC |
//! | anything | string | numbers as Java prints them (`1.0E20`), timestamps as `2026-01-05 12:00:00.5`, `{1, a}`, `[1, 2]`, `{k -> v}` |
//! | array, struct, map | the same shape | element by element; the members of a struct by their place |
//!
//! Other than in Spark's old (non-ANSI) mode, an overflow never wraps around: `null` gives null for
//! it. Left out: zones by name (`Europe/Berlin`), times without a date, numbers in hexadecimal.

mod config;
mod convert;
mod datetime;
mod decimal;
mod number;
#[cfg(test)]
mod tests;
mod text;

use gristmill::{Batch, Column, DataType, Description, Error, Output, Schema, Stage};

gristmill::export!(Cast);

/// The stage, ready for batches.
#[derive(Debug)]
pub struct Cast {
    caster: convert::Caster,
    casts: Vec<ColumnCast>,
    /// Rows that fail, with the reason; a row may fail in several columns.
    failures: Vec<(usize, String)>,
}

/// One column on its way to another type.
#[derive(Debug)]
struct ColumnCast {
    name: String,
    target: DataType,
    made: Column,
}

impl Stage for Cast {
    type Config = config::Config;

    fn describe(config: Self::Config, input: &Schema) -> Result<(Self, Description), Error> {
        let fields = config.fields(input)?;
        let description = Description::new("cast", env!("CARGO_PKG_VERSION"))
            .reads(fields.iter().map(|field| field.name.as_str()))
            .columns(fields.clone())
            .config_schema(config::schema());
        let casts = fields.into_iter().map(|field| ColumnCast {
            made: Column::new(&field.data_type),
            name: field.name,
            target: field.data_type,
        });
        let caster = convert::Caster::new(config.mode);
        Ok((Self { caster, casts: casts.collect(), failures: Vec::new() }, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        self.failures.clear();
        for (cast, source) in self.casts.iter_mut().zip(&batch.columns) {
            cast.made.clear();
            for row in 0..batch.row_count {
                if let Err(why) = self.caster.cast(source, row, &cast.target, &mut cast.made) {
                    self.failures.push((row, format!("column `{}`: {why}", cast.name)));
                }
            }
            output.push(&mut cast.made);
        }
        // The sort is stable: of a row that fails twice, the first column's reason is kept.
        self.failures.sort_by_key(|(row, _)| *row);
        self.failures.dedup_by_key(|(row, _)| *row);
        for (row, reason) in &self.failures {
            output.fail(*row, reason);
        }
        Ok(())
    }
}
