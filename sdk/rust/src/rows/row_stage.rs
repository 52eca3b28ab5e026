//! A row function as a stage.

use std::cell::RefCell;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Row;
use super::answer::RowOutput;
use super::config_schema::config_schema;
use crate::batch::{Batch, Output};
use crate::column::Column;
use crate::error::Error;
use crate::nearest::hint;
use crate::schema::{Field, Schema};
use crate::stage::{Description, Stage};

/// What `#[gristmill::stage]` makes of a function.
pub trait RowFunction {
    type Config: DeserializeOwned;
    const NAME: &'static str;
    const VERSION: &'static str;
    /// The columns that the function reads. None: all.
    const READS: Option<&'static [&'static str]>;
    /// Input columns that end at the stage.
    const DROPS: &'static [&'static str];
    fn columns() -> Vec<Field>;
    fn call(row: Row<'_>, config: &Self::Config, output: &mut RowOutput);
}

/// The configuration of a function that takes none: any key is unknown.
#[derive(Debug, Deserialize)]
pub struct NoConfig {}

/// The stage over a row function.
#[derive(Debug)]
pub struct RowStage<F: RowFunction> {
    config: F::Config,
    /// The columns that are read.
    fields: Vec<Field>,
    output: RowOutput,
}

impl<F: RowFunction> Stage for RowStage<F> {
    type Config = F::Config;

    fn describe(config: F::Config, input: &Schema) -> Result<(Self, Description), Error> {
        let fields = match F::READS {
            None => input.fields.clone(),
            Some(names) => names.iter().map(|name| field(input, name)).collect::<Result<_, _>>()?,
        };
        let description = Description::new(F::NAME, F::VERSION)
            .reads(fields.iter().map(|field| field.name.clone()))
            .columns(F::columns())
            .drops(F::DROPS.iter().copied())
            .config_schema(config_schema::<F::Config>());
        let columns = description.columns.iter().map(|field| Column::new(&field.data_type));
        let output = RowOutput { columns: columns.collect(), ..RowOutput::default() };
        Ok((RowStage { config, fields, output }, description))
    }

    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let mistake = RefCell::new(None);
        let made = &mut self.output;
        made.rows.clear();
        made.columns.iter_mut().for_each(Column::clear);
        for index in 0..batch.row_count {
            let row =
                Row { fields: &self.fields, columns: &batch.columns, index, mistake: &mistake };
            (made.row, made.mark) = (index as u32, made.rows.len());
            F::call(row, &self.config, made);
            if let Some(message) = mistake.take() {
                return Err(Error::new(message));
            }
            if let Some(reason) = made.failure.take() {
                output.fail(index, &reason);
            }
        }
        let every_row_once = made.rows.len() == batch.row_count
            && made.rows.iter().enumerate().all(|(index, &row)| index == row as usize);
        if !every_row_once {
            output.rows().extend_from_slice(&made.rows);
        }
        made.columns.iter_mut().for_each(|column| output.push(column));
        Ok(())
    }
}

fn field(input: &Schema, name: &str) -> Result<Field, Error> {
    input.field(name).cloned().ok_or_else(|| {
        let hint = hint(name, "columns", input.names());
        Error::new(format!("the stage reads `{name}`, and there is no such column; {hint}"))
    })
}
