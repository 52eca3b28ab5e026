//! Reads all columns, whatever they are, and gives them back without a copy.

use gristmill::{Batch, Description, Error, Output, Schema, Stage};

gristmill::export!(EveryType);

pub struct EveryType;

#[derive(serde::Deserialize)]
pub struct Config {}

impl Stage for EveryType {
    type Config = Config;

    fn describe(_: Config, input: &Schema) -> Result<(Self, Description), Error> {
        let description = Description::new("every_type", env!("CARGO_PKG_VERSION"))
            .reads(input.names())
            .columns(input.fields.iter().cloned());
        Ok((EveryType, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        batch.columns.iter().for_each(|column| output.push_view(column.clone()));
        Ok(())
    }
}
