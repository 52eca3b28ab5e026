//! One file of sdk/contract/examples, and what a stage must make of it.

use crate::modules::{Language, Level, limits};
use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_schema::{FieldRef, Fields, Schema};
use arrow_select::concat::concat;
use gristmill_host::{
    FailureKind, Lane, LaneOutput, Limits, Output, Stage, field_from_json, read_json_lines,
    write_json_lines,
};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

pub struct Example {
    name: String,
    /// The file as it stands.
    file: Value,
    input: Schema,
    /// All input columns.
    columns: Vec<ArrayRef>,
    row_count: usize,
    makes: Vec<FieldRef>,
    expected: Output,
}

impl Example {
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/contract/examples");
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let input = schema(list(&file, "columns"));
        let rows = list(&file, "rows");
        let columns = lines(rows, input.fields(), rows.len()).columns;
        let makes = schema(list(&file, "makes")).fields().to_vec();
        let expected = lines(list(&file, "output"), &makes, rows.len());
        let row_count = rows.len();
        Self { name: name.to_owned(), file, input, columns, row_count, makes, expected }
    }

    /// Described as the file says; right as one batch, as batches of one row, as no row at all, in
    /// halves, and time after time in one instance.
    pub fn check(&self, language: &Language, level: Level) {
        let what = format!("{} in {}, {level:?}", self.name, language.name);
        let stage = self.stage(language, level, limits());
        self.check_description(&stage, &what);
        self.check_refusals(language, level, &what);
        let mut lane = Lane::new(Arc::new(stage));
        for cuts in [vec![], (1..self.row_count).collect(), vec![0, self.row_count / 2], vec![]] {
            let output = self.run(&mut lane, &cuts, &what);
            self.compare(&output, &format!("{what}, cut at {cuts:?}"));
        }
    }

    pub fn stage(&self, language: &Language, level: Level, limits: Limits) -> Stage {
        let (module, config) = language.module(&self.name, level, &self.file["config"]);
        Stage::describe(&language.host, &module, &config, &self.input, limits)
            .unwrap_or_else(|error| panic!("{} in {}: {error}", self.name, language.name))
    }

    /// The columns that a stage reads, this many times over, and their rows.
    pub fn batch(&self, stage: &Stage, times: usize) -> (Vec<ArrayRef>, usize) {
        let repeat = |column: &ArrayRef| {
            let copies: Vec<&dyn Array> = vec![column.as_ref(); times];
            concat(&copies).unwrap()
        };
        let columns = stage.reads().iter().map(|&index| repeat(&self.columns[index]));
        (columns.collect(), self.row_count * times)
    }

    fn check_description(&self, stage: &Stage, what: &str) {
        let names = |indices: &[usize]| -> Vec<&str> {
            indices.iter().map(|&index| self.input.field(index).name().as_str()).collect()
        };
        assert_eq!(names(stage.reads()), *list(&self.file, "reads"), "reads of {what}");
        assert_eq!(names(stage.drops()), *list(&self.file, "drops"), "drops of {what}");
        assert_eq!(stage.columns(), self.makes, "columns of {what}");
        assert!(!stage.described_as().0.is_empty(), "{what} has no name");
    }

    fn check_refusals(&self, language: &Language, level: Level, what: &str) {
        for refusal in list(&self.file, "refuses") {
            let (module, config) = language.module(&self.name, level, &refusal["config"]);
            let columns = refusal["columns"].as_array();
            let input = columns.map_or_else(|| self.input.clone(), |columns| schema(columns));
            let begin = refusal["message"].as_str().unwrap();
            let refused = Stage::describe(&language.host, &module, &config, &input, limits());
            let error = match refused {
                Err(error) => error,
                Ok(stage) => {
                    refuses_batches(stage, &format!("{what} with {config} over {input}"));
                    continue;
                }
            };
            let message = match &error.key {
                Some(key) => format!("config.{key}: {}", error.message),
                None => error.message.clone(),
            };
            assert!(message.starts_with(begin), "{what} refuses {config} with: {message}");
            assert!(!message.contains("describe itself"), "{what} breaks on {config}: {message}");
        }
    }

    /// Runs the rows in parts and puts their outputs together.
    fn run(&self, lane: &mut Lane, cuts: &[usize], what: &str) -> Output {
        let (columns, _) = self.batch(lane.stage(), 1);
        let (mut from, mut parts) = (0, Vec::new());
        for to in cuts.iter().copied().chain([self.row_count]) {
            let part: Vec<ArrayRef> = columns.iter().map(|c| c.slice(from, to - from)).collect();
            let output = lane.process(&part, to - from);
            let output =
                output.unwrap_or_else(|error| panic!("{what}, rows {from}..{to}: {error}"));
            assert_eq!(output.instances_lost, 0, "{what}: {:?}", output.failures);
            assert!(
                output.failures.iter().all(|failure| failure.kind == FailureKind::Rejected),
                "{what}: {:?}",
                output.failures
            );
            parts.push((from as u32, to as u32, output));
            from = to;
        }
        self.joined(&parts)
    }

    fn joined(&self, parts: &[(u32, u32, LaneOutput)]) -> Output {
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for (from, to, part) in parts {
            match &part.rows {
                Some(named) => rows.extend(named.iter().map(|row| row + from)),
                None => rows.extend(*from..*to),
            }
            failures.extend(part.failures.iter().map(|failure| gristmill_host::Failure {
                row: failure.row + from,
                reason: failure.reason.clone(),
            }));
        }
        let column = |index: usize| {
            let made: Vec<&dyn Array> =
                parts.iter().map(|(_, _, part)| part.columns[index].as_ref()).collect();
            concat(&made).unwrap()
        };
        let columns = (0..self.makes.len()).map(column).collect();
        Output { row_count: rows.len(), rows: Some(rows.into()), columns, failures }
    }

    /// Row by row as text first, which shows what differs, then bit by bit.
    fn compare(&self, output: &Output, what: &str) {
        let expected = shown(&self.expected, &self.makes, self.row_count);
        let found = shown(output, &self.makes, self.row_count);
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(found.get(index), Some(expected), "output {index} of {what}");
        }
        assert_eq!(found.len(), expected.len(), "{what}");
        assert_eq!(output.failures, self.expected.failures, "{what}");
        for (field, (found, expected)) in
            self.makes.iter().zip(output.columns.iter().zip(&self.expected.columns))
        {
            assert_eq!(found, expected, "column `{}` of {what}", field.name());
        }
    }
}

/// What `describe` lets through, such as a column of another type where a language does not know
/// types beforehand, must be refused with every batch.
fn refuses_batches(stage: Stage, what: &str) {
    let fields = stage.reads().iter().map(|&index| stage.input_schema().field(index));
    let columns: Vec<ArrayRef> = fields.map(|field| new_null_array(field.data_type(), 1)).collect();
    let output = Lane::new(Arc::new(stage)).process(&columns, 1).unwrap();
    let kinds: Vec<FailureKind> = output.failures.iter().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::Refused], "{what} is taken");
}

/// A list that the file must have.
fn list<'a>(file: &'a Value, member: &str) -> &'a Vec<Value> {
    file[member].as_array().unwrap_or_else(|| panic!("no list `{member}`"))
}

fn schema(fields: &[Value]) -> Schema {
    let fields = fields.iter().map(|field| field_from_json(field).unwrap());
    Schema::new(fields.collect::<Vec<FieldRef>>())
}

/// Rows in the encoding `json` (encodings.md).
fn lines(rows: &[Value], fields: &[FieldRef], input_row_count: usize) -> Output {
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    read_json_lines(lines.as_bytes(), fields, input_row_count, &Limits::default()).unwrap()
}

/// The output rows as text, each with its input row.
fn shown(output: &Output, makes: &[FieldRef], input_row_count: usize) -> Vec<(u32, String)> {
    let fields: Fields = makes.iter().cloned().collect();
    let lines = write_json_lines(&fields, &output.columns, output.row_count);
    let lines = String::from_utf8(lines).unwrap();
    let rows = output
        .rows
        .clone()
        .map_or_else(|| (0..input_row_count as u32).collect::<Vec<u32>>(), |rows| rows.to_vec());
    rows.into_iter().zip(lines.lines().map(str::to_owned)).collect()
}
