//! The frames in sdk/contract/golden, byte by byte: what this SDK writes is what stands there, and
//! what it reads out of them is what their `.json` says. SDKs in other languages check themselves
//! against the same files.
//!
//! After a change of the format that is meant, `GRISTMILL_BLESS=1 cargo test -p gristmill-sdk`
//! writes them anew.

use std::path::PathBuf;

use gristmill::frame::{read_batch, read_output, write_batch};
use gristmill::native::NativeStage;
use gristmill::serde_json::{self, Value, json};
use gristmill::{
    Batch, Column, ColumnView, DataType, Description, Error, Field, Output, Schema, Stage,
};

use crate::support::{all_types, all_types_columns, rows_to_json};

/// Keeps the rows whose `l` is not null.
struct Filter;

impl Stage for Filter {
    type Config = Value;
    fn describe(_: Value, _: &Schema) -> Result<(Self, Description), Error> {
        Ok((Filter, Description::new("filter", "1").reads(["l"])))
    }
    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let column = batch.column(0);
        output
            .rows()
            .extend((0..batch.row_count as u32).filter(|&row| column.is_valid(row as usize)));
        Ok(())
    }
}

/// One row per element of `items`: the struct's members, out of the input without a copy.
struct Flatten;

impl Stage for Flatten {
    type Config = Value;
    fn describe(_: Value, input: &Schema) -> Result<(Self, Description), Error> {
        let DataType::Array { element, .. } = &input.field("items").unwrap().data_type else {
            return Err(Error::new("items is no array"));
        };
        let made = element.fields().to_vec();
        Ok((Flatten, Description::new("flatten", "1").reads(["items"]).columns(made)))
    }
    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let column = batch.column(0);
        for row in 0..batch.row_count {
            let rows = column.range(row).map(|_| row as u32);
            output.rows().extend(rows);
        }
        for child in column.elements().children() {
            output.push_view(child.clone());
        }
        Ok(())
    }
}

/// The length of `s`; a null is refused.
#[derive(Default)]
struct Length(Option<Column>);

impl Stage for Length {
    type Config = Value;
    fn describe(_: Value, _: &Schema) -> Result<(Self, Description), Error> {
        let made = Field::new("length", DataType::Integer);
        let stage = Length(Some(Column::new(&DataType::Integer)));
        Ok((stage, Description::new("length", "1").reads(["s"]).columns([made])))
    }
    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error> {
        let made = self.0.as_mut().unwrap();
        made.clear();
        for row in 0..batch.row_count {
            match batch.column(0).is_null(row) {
                true => {
                    made.push_null();
                    output.fail(row, "s is null");
                }
                false => made.push_integer(batch.column(0).str_at(row).len() as i32),
            }
        }
        output.push(made);
        Ok(())
    }
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../contract/golden").join(name)
}

/// Compares with the golden file, or writes it.
fn pin(name: &str, bytes: &[u8]) {
    let path = golden(name);
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let expected = std::fs::read(&path).unwrap_or_default();
    assert!(expected == bytes, "{name} differs: {} bytes, now {}", expected.len(), bytes.len());
}

/// The same for JSON, whatever the order of its members.
fn pin_json(name: &str, value: &Value) {
    if std::env::var_os("GRISTMILL_BLESS").is_some() {
        let mut text = serde_json::to_string_pretty(value).unwrap();
        text.push('\n');
        std::fs::write(golden(name), text).unwrap();
    }
    let expected: Value = serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap();
    assert_eq!(&expected, value, "{name} differs");
}

fn input_frame(names: &[&str]) -> Vec<u8> {
    let mut columns = all_types_columns();
    let fields = all_types();
    let views: Vec<ColumnView<'_>> = columns
        .iter_mut()
        .zip(&fields)
        .filter(|(_, field)| names.is_empty() || names.contains(&field.name.as_str()))
        .map(|(column, _)| column.view())
        .collect();
    write_batch(3, &views).unwrap().bytes().to_vec()
}

#[test]
fn the_contract_is_of_the_version_that_stands_there() {
    let version = std::fs::read_to_string(golden("../VERSION")).unwrap();
    assert_eq!(version.trim(), gristmill::CONTRACT_VERSION);
}

#[test]
fn a_batch_of_every_type() {
    let fields = all_types();
    let frame = input_frame(&[]);
    pin("all_types_input.frame", &frame);
    let batch = read_batch(&frame, &fields).unwrap();
    let rows = rows_to_json(&batch.columns, batch.row_count);
    pin_json("all_types_input.json", &json!({ "columns": fields, "rows": rows }));
}

/// Runs a stage on the batch of every type and pins what it answers.
fn pin_output<S: Stage>(name: &str) {
    let mut stage = NativeStage::<S>::new("{}", Schema::new(all_types())).unwrap();
    let reads: Vec<&str> = stage.reads().iter().map(|field| field.name.as_str()).collect();
    let input = input_frame(&reads);
    let made = stage.description().columns.clone();
    let frame = stage.process_frame(&input).unwrap();
    pin(&format!("{name}.frame"), frame);
    let output = read_output(frame, &made, 3).unwrap();
    let rows = rows_to_json(&output.columns, output.row_count);
    pin_json(
        &format!("{name}.json"),
        &json!({ "input_row_count": 3, "columns": made, "row_numbers": output.rows, "rows": rows,
            "failures": output.failures }),
    );
}

#[test]
fn a_filter_answers_with_row_numbers() {
    pin_output::<Filter>("filter_output");
}

#[test]
fn a_flatten_answers_with_row_numbers_and_columns() {
    pin_output::<Flatten>("flatten_output");
}

#[test]
fn a_parser_answers_with_columns_and_failures() {
    pin_output::<Length>("failures_output");
}
