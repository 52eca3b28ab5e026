//! One stage by itself over some rows, for its author: `gristmill stage test`.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{DataType, FieldRef, Schema};
use arrow_select::take::take;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gristmill_host::{Lane, LaneOutput, Limits, LogLine, RowFailure, Stage, read_json_lines};
use serde_json::{Map, Value};

use super::difference::{self, Difference};
use super::rows::{self, Column, Columns, Kind};
use crate::config::hex_bytes;
use crate::tree::kind_text;

/// A stage with an instance of its own.
pub struct StageTrial {
    lane: Lane,
}

/// What a stage made of some rows.
#[derive(Debug, Clone)]
pub struct Made {
    /// Output rows as JSON objects, null members and carried columns included, each with the input
    /// row that it is made of.
    pub rows: Vec<(u32, Map<String, Value>)>,
    /// Ascending by row.
    pub failures: Vec<RowFailure>,
    /// Input rows that are neither: ascending.
    pub filtered: Vec<u32>,
    pub log_lines: Vec<LogLine>,
}

/// Rows of JSON objects as columns; bytes are text or `{ hex = "…" }`, a member that is missing is null.
///
/// # Errors
/// A member that is no column, or a value that is not of its column's type.
pub fn input_rows(schema: &Schema, objects: &[Map<String, Value>]) -> Result<RecordBatch> {
    let mut lines = String::new();
    for (index, object) in objects.iter().enumerate() {
        let line = line(schema, object).with_context(|| format!("input row {}", index + 1))?;
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    let limits = Limits::default();
    let output = read_json_lines(lines.as_bytes(), schema.fields(), objects.len(), &limits);
    let output = output.map_err(|error| anyhow::anyhow!("{}", of_the_input(&error.to_string())))?;
    let options = RecordBatchOptions::new().with_row_count(Some(objects.len()));
    let schema = Arc::new(schema.clone());
    Ok(RecordBatch::try_new_with_options(schema, output.columns, &options)?)
}

/// The reader speaks of what a module answers; this is what a person wrote.
fn of_the_input(error: &str) -> String {
    error.replace("stage's output breaks the contract: ", "the input cannot be read: ")
}

fn line(schema: &Schema, object: &Map<String, Value>) -> Result<Value> {
    let mut line = Map::new();
    for (name, value) in object {
        let Ok(field) = schema.field_with_name(name) else {
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            bail!("there is no column `{name}`, the columns are {}", names.join(", "));
        };
        line.insert(name.clone(), encoded(value, field.data_type())?);
    }
    Ok(Value::Object(line))
}

/// A written value in the encoding `json` of the contract.
fn encoded(value: &Value, data_type: &DataType) -> Result<Value> {
    Ok(match (data_type, value) {
        (DataType::Int64, Value::Number(number)) if number.is_i64() => number.to_string().into(),
        (DataType::Binary, Value::String(text)) => BASE64_STANDARD.encode(text).into(),
        (DataType::Binary, Value::Object(members)) => {
            let bytes = members.get("hex").and_then(Value::as_str).and_then(hex_bytes);
            BASE64_STANDARD.encode(bytes.context("bytes are text, or `{ hex = \"00ff\" }`")?).into()
        }
        (DataType::List(item), Value::Array(items)) => {
            let items = items.iter().map(|value| encoded(value, item.data_type()));
            items.collect::<Result<Vec<Value>>>()?.into()
        }
        (DataType::Struct(fields), Value::Object(members)) => {
            encoded_members(members, |name| fields.find(name).map(|(_, field)| field))?
        }
        (DataType::Map(entry, _), Value::Object(members)) => {
            let value = match entry.data_type() {
                DataType::Struct(fields) => fields.get(1),
                _ => None,
            };
            encoded_members(members, |_| value)?
        }
        _ => value.clone(),
    })
}

fn encoded_members<'f>(
    members: &Map<String, Value>,
    field: impl Fn(&str) -> Option<&'f FieldRef>,
) -> Result<Value> {
    let mut object = Map::new();
    for (name, value) in members {
        let field = field(name).with_context(|| format!("there is no member `{name}`"))?;
        object.insert(name.clone(), encoded(value, field.data_type())?);
    }
    Ok(Value::Object(object))
}

impl StageTrial {
    pub fn new(stage: Arc<Stage>) -> StageTrial {
        StageTrial { lane: Lane::new(stage) }
    }

    pub fn stage(&self) -> &Stage {
        self.lane.stage()
    }

    /// Runs rows of the stage's input columns as one batch.
    ///
    /// # Errors
    /// The stage as such does not work: no new instance can be made, or the search for the rows that
    /// it breaks on takes too long.
    pub fn run(&mut self, input: &RecordBatch) -> Result<Made> {
        let reads = self.stage().reads();
        let columns: Vec<ArrayRef> =
            reads.iter().map(|index| input.column(*index).clone()).collect();
        let output = self.lane.process(&columns, input.num_rows())?;
        let numbers: Vec<u32> = match &output.rows {
            Some(rows) => rows.to_vec(),
            None => (0..output.row_count as u32).collect(),
        };
        let whole = self.whole_rows(input, &output, &numbers)?;
        let objects = rows::objects(&whole, &columns_of(&whole.schema()));
        let gone = |row: &u32| {
            !numbers.contains(row) && output.failures.iter().all(|failure| failure.row != *row)
        };
        Ok(Made {
            filtered: (0..input.num_rows() as u32).filter(gone).collect(),
            rows: numbers.into_iter().zip(objects).collect(),
            failures: output.failures,
            log_lines: output.log_lines,
        })
    }

    /// The made columns with those that are carried.
    fn whole_rows(
        &self,
        input: &RecordBatch,
        output: &LaneOutput,
        numbers: &[u32],
    ) -> Result<RecordBatch> {
        let stage = self.stage();
        let numbers = UInt32Array::from(numbers.to_vec());
        let column = |field: &FieldRef| -> Result<ArrayRef> {
            match stage.columns().iter().position(|made| made.name() == field.name()) {
                Some(made) => Ok(output.columns[made].clone()),
                None => {
                    let carried = input.column_by_name(field.name()).context("a carried column")?;
                    Ok(take(carried, &numbers, None)?)
                }
            }
        };
        let schema = stage.output_schema().clone();
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(output.row_count));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// What is not as expected: of the output rows, and of the input rows that failed (the columns
    /// of the input, `reason`, `kind`), each only the columns named.
    pub fn differences(
        &self,
        input: &RecordBatch,
        made: &Made,
        expected: &[Value],
        expected_failures: &[Value],
    ) -> Vec<Difference> {
        let got: Vec<_> = made.rows.iter().map(|(_, row)| row.clone()).collect();
        let columns = columns_of(self.stage().output_schema());
        let mut found = difference::between("output", &columns, expected, &got);
        let got = failed_objects(input, made);
        let mut columns = columns_of(&input.schema());
        columns.0.push(Column { name: "reason".to_string(), kind: Kind::TextPart });
        columns.0.push(Column { name: "kind".to_string(), kind: Kind::Value(DataType::Utf8) });
        found.extend(difference::between("failures", &columns, expected_failures, &got));
        found
    }
}

fn failed_objects(input: &RecordBatch, made: &Made) -> Vec<Map<String, Value>> {
    let objects = rows::objects(input, &columns_of(&input.schema()));
    let failed = |failure: &RowFailure| {
        let mut object = objects[failure.row as usize].clone();
        object.insert("reason".to_string(), failure.reason.as_str().into());
        object.insert("kind".to_string(), kind_text(failure.kind).into());
        object
    };
    made.failures.iter().map(failed).collect()
}

fn columns_of(schema: &Schema) -> Columns {
    let column = |field: &FieldRef| Column {
        name: field.name().clone(),
        kind: Kind::Value(field.data_type().clone()),
    };
    Columns(schema.fields().iter().map(column).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_schema::Field;
    use gristmill_host::write_json_lines;
    use serde_json::json;

    fn rows(value: Value) -> Vec<Map<String, Value>> {
        value.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect()
    }

    #[test]
    fn rows_that_a_person_writes_become_columns_without_a_digit_lost() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("raw", DataType::Binary, true),
            Field::new("price", DataType::Decimal128(10, 2), true),
        ]);
        let written = rows(json!([
            { "id": 9_007_199_254_740_993_i64, "raw": "a", "price": 1.5 },
            { "raw": { "hex": "00ff" } },
        ]));
        let batch = input_rows(&schema, &written).unwrap();
        let lines = write_json_lines(schema.fields(), batch.columns(), 2);
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "{\"id\":\"9007199254740993\",\"raw\":\"YQ==\",\"price\":\"1.50\"}\n\
             {\"id\":null,\"raw\":\"AP8=\",\"price\":null}\n"
        );
    }

    #[test]
    fn a_row_that_does_not_fit_is_told_by_its_number() {
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        let told = |value| format!("{:#}", input_rows(&schema, &rows(value)).unwrap_err());
        assert_eq!(
            told(json!([{}, { "ide": 1 }])),
            "input row 2: there is no column `ide`, the columns are id"
        );
        assert!(told(json!([{ "id": "one" }])).starts_with("the input cannot be read: "));
    }
}
