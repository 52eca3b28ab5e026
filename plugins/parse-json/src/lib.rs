//! parse-json: JSON objects in one column become columns of their own, as Spark's
//! `select("*", from_json(value, schema).alias("data")).select("*", "data.*")`.
//!
//! ```toml
//! [[stage]]
//! name = "parse"
//! module = "parse-json"
//! on_failure = "dead-letter"
//! [stage.with]
//! schema = "order_id long, city string, line_items array<struct<item_id long, price float>>"
//! ```
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `column` | the string or binary column that holds the JSON | `"value"` |
//! | `schema` | the members to take: DDL, or Spark's schema JSON | required |
//! | `mode` | what does not fit: `"reject"` or `"permissive"`, see below | `"reject"` |
//! | `corrupt_record_column` | permissive only: a string column for texts that do not fit | none |
//! | `drop_input` | the column with the JSON ends here | `false` |
//!
//! A text that is no JSON object, or has a value that does not fit its type, is a failure in mode
//! `"reject"`, with the field and the byte in its reason. In mode `"permissive"` what does not fit is
//! null, as in Spark's PERMISSIVE, and the whole text stands in `corrupt_record_column`.
//!
//! Members become columns in the order of the schema; one named as an input column replaces it.
//! Members that the schema lacks are ignored, members that a text lacks are null. A null or blank
//! text gives nulls and no failure. How values are converted is described, and tested row by row,
//! in `from_json.rs`.

mod config;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod from_json;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use gristmill::json::{JsonReader, Mistake};
use gristmill::{Batch, Column, DataType, Description, Error, Field, Output, Schema, Stage};

use config::Config;

pub struct ParseJson {
    reader: JsonReader,
    corrupt: Option<CorruptRecords>,
}

/// The texts that did not fit.
struct CorruptRecords {
    /// Where the column stands among the made ones.
    index: usize,
    column: Column,
}

impl Stage for ParseJson {
    type Config = Config;

    fn describe(config: Config, input: &Schema) -> Result<(ParseJson, Description), Error> {
        let plan = config.resolve(input)?;
        let reader = JsonReader::new(&plan.parsed, plan.on_mistake)
            .map_err(|why| Error::config("schema", why))?;
        let mut columns = plan.parsed;
        let corrupt = plan.corrupt.map(|(name, index)| {
            columns.insert(index, Field::new(name, DataType::String));
            CorruptRecords { index, column: Column::new(&DataType::String) }
        });
        let replaced = columns.iter().any(|field| field.name == config.column);
        let drops = (config.drop_input && !replaced).then_some(config.column.clone());
        let description = Description::new("parse-json", env!("CARGO_PKG_VERSION"))
            .reads([config.column])
            .columns(columns)
            .drops(drops)
            .config_schema(config::schema());
        Ok((ParseJson { reader, corrupt }, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let texts = batch.column(0);
        self.reader.clear();
        match &mut self.corrupt {
            Some(corrupt) => {
                corrupt.column.clear();
                self.reader.read_column(texts, |row, _| corrupt.push(row, texts.bytes_at(row)));
                corrupt.fill_up_to(batch.row_count);
            }
            None if self.reader.is_permissive() => self.reader.read_column(texts, |_, _| {}),
            None => self.reader.read_column(texts, |row, mistake| refuse(output, row, mistake)),
        }
        let mut corrupt = self.corrupt.as_mut();
        for (index, column) in self.reader.columns_mut().iter_mut().enumerate() {
            if let Some(corrupt) = corrupt.take_if(|corrupt| corrupt.index == index) {
                output.push(&mut corrupt.column);
            }
            output.push(column);
        }
        if let Some(corrupt) = corrupt {
            output.push(&mut corrupt.column);
        }
        Ok(())
    }
}

fn refuse(output: &mut Output<'_>, row: usize, mistake: &Mistake) {
    output.fail(row, &mistake.to_string());
}

impl CorruptRecords {
    fn push(&mut self, row: usize, text: &[u8]) {
        self.fill_up_to(row);
        self.column.push_str(&String::from_utf8_lossy(text));
    }

    /// Rows without a text up to `row`.
    fn fill_up_to(&mut self, row: usize) {
        while self.column.len() < row {
            self.column.push_null();
        }
    }
}

gristmill::export!(ParseJson);
