//! `keep_city` at the level of columns.

use gristmill::{Batch, Description, Error, Output, Schema, Stage};

gristmill::export!(KeepCity);

pub struct KeepCity {
    city: String,
}

#[derive(serde::Deserialize)]
pub struct Config {
    city: String,
}

impl Stage for KeepCity {
    type Config = Config;

    fn describe(config: Config, input: &Schema) -> Result<(Self, Description), Error> {
        let city = input.field("city").map(|field| &field.data_type);
        if city != Some(&gristmill::DataType::String) {
            return Err(Error::new("the stage reads column `city`, a string"));
        }
        let description = Description::new("keep_city", env!("CARGO_PKG_VERSION")).reads(["city"]);
        Ok((KeepCity { city: config.city }, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let city = batch.column(0);
        let keeps = |&row: &usize| city.is_valid(row) && city.str_at(row) == self.city;
        output.rows().extend((0..batch.row_count).filter(keeps).map(|row| row as u32));
        Ok(())
    }
}
