//! One instance of a stage: `describe` once, then `process` frame by frame. What the exports of a module and the native
//! runner have in common.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{Batch, Output, OutputBuffers};
use crate::config;
use crate::error::Error;
use crate::frame::{FrameBuffer, Placement, read_batch};
use crate::nearest::hint;
use crate::schema::{Field, Schema};
use crate::stage::{Description, Stage};

/// The contract that this SDK speaks: sdk/contract/VERSION.
pub const CONTRACT_VERSION: &str = "1.0";

/// What the host sends to `describe` (describe.md). Members that are not known are ignored.
#[derive(Deserialize)]
struct Request {
    contract: String,
    #[serde(default)]
    config: Value,
    input: Vec<Field>,
}

#[derive(Serialize)]
struct Answer<'a> {
    contract: &'a str,
    name: &'a str,
    version: &'a str,
    encoding: &'a str,
    reads: &'a [String],
    columns: &'a [Field],
    drops: &'a [String],
    #[serde(skip_serializing_if = "Value::is_null")]
    config_schema: &'a Value,
}

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
        let request: Request = serde_json::from_str(request)
            .map_err(|why| Error::new(format!("the request of describe is malformed: {why}")))?;
        check_contract(&request.contract)?;
        let instance = Instance::new(&request.config, Schema::new(request.input))?;
        let answer = instance.answer()?;
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

    fn answer(&self) -> Result<String, Error> {
        let description = &self.description;
        let answer = Answer {
            contract: CONTRACT_VERSION,
            name: &description.name,
            version: &description.version,
            encoding: "frame",
            reads: &description.reads,
            columns: &description.columns,
            drops: &description.drops,
            config_schema: &description.config_schema,
        };
        serde_json::to_string(&answer).map_err(|why| Error::new(why.to_string()))
    }

    /// One batch as views, without frames. `use_output` sees the output while its columns are lent.
    pub fn process<T>(
        &mut self,
        batch: &Batch<'_>,
        use_output: impl FnOnce(&Output<'_>) -> T,
    ) -> Result<T, Error> {
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
