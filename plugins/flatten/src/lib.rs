//! The stage `flatten`: one row for each element of an array or entry of a map, as Spark's
//! `explode` and `inline` do it.
//!
//! ```toml
//! [[stage]]
//! name = "flatten"
//! module = "flatten"
//! [stage.with]
//! explode = "line_items"
//! rename = { order_item_id = "item_id" }
//! ```
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `explode` | the column to take apart: an array or a map. It ends here | required |
//! | `outer` | a row whose array is null or empty becomes one row of nulls, as with `explode_outer`; else none | `false` |
//! | `position` | a name: makes an int column with the place of each element, from 0, as `posexplode` does | none |
//! | `rename` | new names for the columns that are made: `{ old = "new" }` | `{}` |
//! | `prefix` | stands before the names of the columns that are made and not renamed | `""` |
//! | `keep_null_elements` | an element that is null becomes a row of nulls, as in Spark; else none | `true` |
//!
//! What is made: of an array of structs, a column for each field of the struct; of an array of
//! anything else, one column with the array's name; of a map, the columns `key` and `value`. All of
//! them may be null. Order is kept. Every other column is carried by the host, repeated for each
//! element. A column that is made must not have the name of one that is carried: rename one.

mod config;
mod explode;
mod runs;
#[cfg(test)]
mod tests;

use gristmill::{Batch, Column, Description, Error, Output, Schema, Stage};

gristmill::export!(Flatten);

/// The stage, ready for batches.
#[derive(Debug)]
pub struct Flatten {
    rules: explode::Rules,
    runs: runs::Runs,
    /// The places, if they are asked for.
    position: Option<Column>,
    /// One for each column made of elements; used where the input's own buffers cannot be handed
    /// on.
    columns: Vec<Column>,
}

impl Stage for Flatten {
    type Config = config::Config;

    fn describe(config: Self::Config, input: &Schema) -> Result<(Self, Description), Error> {
        let plan = config.plan(input)?;
        let made = plan.position.iter().chain(&plan.elements);
        let description = Description::new("flatten", env!("CARGO_PKG_VERSION"))
            .reads([plan.exploded.as_str()])
            .columns(made.cloned())
            .drops(plan.drops_exploded().then_some(plan.exploded.as_str()))
            .config_schema(config::schema());
        let column = |field: &gristmill::Field| Column::new(&field.data_type);
        let stage = Self {
            rules: plan.rules,
            runs: runs::Runs::default(),
            position: plan.position.as_ref().map(column),
            columns: plan.elements.iter().map(column).collect(),
        };
        Ok((stage, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let exploded = batch.column(0);
        let mut rows = explode::Rows { numbers: output.rows(), position: self.position.as_mut() };
        explode::explode(exploded, self.rules, &mut rows, &mut self.runs);
        if let Some(position) = self.position.as_mut() {
            output.push(position);
        }
        let sources = explode::sources(exploded, self.rules.element);
        for (column, source) in self.columns.iter_mut().zip(sources) {
            match self.runs.whole().and_then(|range| source.slice(range)) {
                Some(slice) => output.push_view(slice),
                None => {
                    self.runs.copy(source, column);
                    output.push(column);
                }
            }
        }
        Ok(())
    }
}
