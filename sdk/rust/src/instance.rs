//! One instance of a stage: `describe` once, then `process` frame by frame. What the exports of a
//! module and the native runner have in common.

use std::fmt::Display;

use serde_json::Value;

use crate::batch::{Batch, Output, OutputBuffers};
use crate::config;
use crate::error::Error;
use crate::frame::{FrameBuffer, Placement, read_batch};
use crate::nearest::hint;
use crate::schema::{Field, Schema, object};
use crate::stage::{Description, Stage};

/// The contract that this SDK speaks: sdk/contract/VERSION.
pub const CONTRACT_VERSION: &str = "1.0";

#[derive(Debug)]
pub struct Instance<S> {
    stage: S,
    description: Description,
    /// The fields of `description.reads`.
    reads: Vec<Field>,
    buffers: OutputBuffers,
    frame: FrameBuffer,
}

impl<S: Stage> Instance<S> {
    /// Answers `describe`: an instance and the JSON that goes back to the host.
    pub fn describe(request: &str) -> Result<(Instance<S>, String), Error> {
        let malformed =
            |why: &dyn Display| Error::new(format!("the request of describe is malformed: {why}"));
        let request: Value = serde_json::from_str(request).map_err(|why| malformed(&why))?;
        let contract = request["contract"].as_str().ok_or_else(|| malformed(&"no `contract`"))?;
        check_contract(contract)?;
        let input = request["input"].as_array().ok_or_else(|| malformed(&"no `input`"))?;
        let fields = input.iter().map(Field::from_json).collect::<Result<_, _>>();
        let input = Schema::new(fields.map_err(|why| malformed(&why))?);
        let instance = Instance::new(&request["config"], input)?;
        let answer = instance.description.to_json().to_string();
        Ok((instance, answer))
    }

    /// The same without JSON around it.
    pub fn new(config: &Value, input: Schema) -> Result<Instance<S>, Error> {
        let nothing = Value::Object(serde_json::Map::new());
        let config = if config.is_null() { &nothing } else { config };
        let (stage, description) = S::describe(config::from_value(config)?, &input)?;
        let reads = fields_named(&description.reads, &input)?;
        fields_named(&description.drops, &input)?;
        let columns = Schema::new(description.columns.clone());
        if let Some(twice) = columns.names().find(|&name| count(&columns, name) > 1) {
            return Err(Error::new(format!("the stage would make two columns `{twice}`")));
        }
        let (buffers, frame) = Default::default();
        Ok(Instance { stage, description, reads, buffers, frame })
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The columns that `process` gets.
    pub fn reads(&self) -> &[Field] {
        &self.reads
    }

    /// One batch as views, without frames. `use_output` sees the output while its columns are lent.
    pub fn process<T>(
        &mut self,
        batch: &Batch<'_>,
        use_output: impl FnOnce(&Output<'_>) -> T,
    ) -> Result<T, Error> {
        let types = self.reads.iter().map(|field| &field.data_type);
        if !types.eq(batch.columns.iter().map(|column| column.data_type())) {
            let schema = Schema::new(self.reads.clone());
            return Err(Error::new(format!("the batch does not hold the columns {schema}")));
        }
        let mut output = Output::new(batch.row_count, std::mem::take(&mut self.buffers));
        let done = run(&mut self.stage, batch, &mut output, self.description.columns.len());
        let result = done.map(|()| use_output(&output));
        self.buffers = output.buffers;
        result
    }

    /// One frame in, one frame out; the answer lies in memory that the next call reuses, and with
    /// `Placement::InPlace` it points into the input and into the stage.
    pub fn process_frame(&mut self, frame: &[u8], placement: Placement) -> Result<&[u8], Error> {
        let batch = read_batch(frame, &self.reads)?;
        let mut output = Output::new(batch.row_count, std::mem::take(&mut self.buffers));
        let done = run(&mut self.stage, &batch, &mut output, self.description.columns.len());
        let done = done.and_then(|()| self.frame.write_output(&output, placement));
        self.buffers = output.buffers;
        done.map(|()| self.frame.bytes())
    }
}

fn run<'a, S: Stage>(
    stage: &'a mut S,
    batch: &Batch<'a>,
    output: &mut Output<'a>,
    column_count: usize,
) -> Result<(), Error> {
    stage.process(batch, output)?;
    output.check(column_count)
}

impl Description {
    /// The answer of `describe`.
    fn to_json(&self) -> Value {
        object([
            ("contract", Value::from(CONTRACT_VERSION)),
            ("name", Value::from(self.name.as_str())),
            ("version", Value::from(self.version.as_str())),
            ("encoding", Value::from("frame")),
            ("reads", Value::from(self.reads.as_slice())),
            ("columns", self.columns.iter().map(Field::to_json).collect()),
            ("drops", Value::from(self.drops.as_slice())),
            (
                "config_schema",
                match &self.config_schema {
                    Value::Null => object([]),
                    schema => schema.clone(),
                },
            ),
        ])
    }
}

fn check_contract(version: &str) -> Result<(), Error> {
    let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    if major(version) == major(CONTRACT_VERSION) {
        return Ok(());
    }
    let message = format!("the host speaks contract {version}, this module {CONTRACT_VERSION}");
    Err(Error::new(message))
}

fn fields_named(names: &[String], input: &Schema) -> Result<Vec<Field>, Error> {
    let field = |name: &String| {
        input.field(name).cloned().ok_or_else(|| {
            let hint = hint(name, "columns", input.names());
            Error::new(format!("no column `{name}`; {hint}"))
        })
    };
    names.iter().map(field).collect()
}

fn count(schema: &Schema, name: &str) -> usize {
    schema.names().filter(|&other| other == name).count()
}
