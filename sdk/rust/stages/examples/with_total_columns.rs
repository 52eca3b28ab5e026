//! `with_total` at the level of columns.

use std::fmt::Write;

use gristmill::{Batch, Column, DataType, Description, Error, Field, Output, Schema, Stage};

gristmill::export!(WithTotal);

pub struct WithTotal {
    currency: String,
    total: Column,
    label: Column,
}

#[derive(serde::Deserialize)]
pub struct Config {
    currency: String,
}

impl Stage for WithTotal {
    type Config = Config;

    fn describe(config: Config, _: &Schema) -> Result<(Self, Description), Error> {
        let field =
            |name: &str, data_type, nullable| Field { name: name.into(), data_type, nullable };
        let description = Description::new("with_total", env!("CARGO_PKG_VERSION"))
            .reads(["order_id", "price", "quantity"])
            .columns([
                field("total", DataType::Double, true),
                field("label", DataType::String, false),
            ]);
        let (total, label) = (Column::new(&DataType::Double), Column::new(&DataType::String));
        Ok((WithTotal { currency: config.currency, total, label }, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let (ids, prices, quantities) = (batch.column(0), batch.column(1), batch.column(2));
        self.total.clear();
        self.label.clear();
        let mut label = String::new();
        for row in 0..batch.row_count {
            if prices.is_valid(row) && quantities.is_valid(row) {
                let quantity = f64::from(quantities.integers()[row]);
                self.total.push_double(prices.doubles()[row] * quantity);
            } else {
                self.total.push_null();
            }
            label.clear();
            // Writing to a string cannot fail.
            let _ = match ids.is_valid(row) {
                true => write!(label, "order {} in {}", ids.longs()[row], self.currency),
                false => write!(label, "order ?"),
            };
            self.label.push_str(&label);
        }
        output.push(&mut self.total);
        output.push(&mut self.label);
        Ok(())
    }
}
