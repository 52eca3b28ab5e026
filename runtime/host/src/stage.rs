//! A module with a configuration and input columns: what `describe` fixed, once.

use crate::contract::{self, Answer, Encoding};
use crate::error::DescribeError;
use crate::host::{Host, HostShared};
use crate::instance::{Instance, Running, same_answer};
use crate::module::Module;
use crate::{Limits, schema};
use arrow_schema::{FieldRef, Fields, Schema, SchemaRef};
use serde_json::Value;
use std::sync::Arc;

/// A described stage. Instances are made of it, one per lane.
pub struct Stage {
    host: Arc<HostShared>,
    module: Module,
    limits: Limits,
    request: String,
    input: SchemaRef,
    answer: Answer,
    shape: Arc<Shape>,
    output_schema: SchemaRef,
}

/// What a batch of the stage looks like on both sides.
pub(crate) struct Shape {
    pub encoding: Encoding,
    /// The columns that are sent, in the order of `reads`.
    pub read_fields: Fields,
    /// The columns that come back.
    pub columns: Vec<FieldRef>,
    /// Arrays of `columns`, nested ones included.
    pub array_count: usize,
}

impl Stage {
    /// Asks a module what it makes of a configuration and of input columns, and checks the answer.
    pub fn describe(
        host: &Host,
        module: &Module,
        config: &Value,
        input: &Schema,
        limits: Limits,
    ) -> Result<Self, DescribeError> {
        let names = input.fields().iter().map(|field| field.name().as_str());
        if let Some(name) = schema::first_duplicate(names) {
            return Err(DescribeError::stage(format!("input has two columns `{name}`")));
        }
        let request = contract::request(config, input)?;
        let (_, text) = Running::describe(host.shared(), module, &request, &limits)?;
        let answer = contract::answer(&text, input)?;
        let shape = Shape::new(&answer, input);
        let output_schema = output_schema(&answer, input);
        Ok(Self {
            host: host.shared().clone(),
            module: module.clone(),
            limits,
            request,
            input: Arc::new(input.clone()),
            answer,
            shape: Arc::new(shape),
            output_schema,
        })
    }

    /// Indices of the input columns that the stage reads, in the order in which it wants them.
    pub fn reads(&self) -> &[usize] {
        &self.answer.reads
    }

    /// The columns that each output holds, in order. One named as an input column replaces it.
    pub fn columns(&self) -> &[FieldRef] {
        &self.answer.columns
    }

    /// Indices of the input columns that end at this stage.
    pub fn drops(&self) -> &[usize] {
        &self.answer.drops
    }

    /// The input's columns with the stage's replaced in place and appended, and without the
    /// dropped.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    pub fn input_schema(&self) -> &SchemaRef {
        &self.input
    }

    pub fn module(&self) -> &Module {
        &self.module
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the module was asked to describe: its configuration and its input, as JSON.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Name and version as the module gives them, for people; empty if it gives none.
    pub fn described_as(&self) -> (&str, &str) {
        (&self.answer.name, &self.answer.version)
    }

    /// The contract version that the module was built for.
    pub fn contract_version(&self) -> &str {
        &self.answer.contract
    }

    pub fn encoding(&self) -> Encoding {
        self.answer.encoding
    }

    /// JSON Schema of the configuration; `{}` if the module has none.
    pub fn config_schema(&self) -> &Value {
        &self.answer.config_schema
    }

    /// A new instance in a store of its own, described with the same request (about 0.1 ms for a
    /// small module). Fails if the module traps, or answers otherwise than the first time.
    pub fn instance(&self) -> Result<Instance, DescribeError> {
        let (running, text) =
            Running::describe(&self.host, &self.module, &self.request, &self.limits)?;
        same_answer(&text, &self.answer, &self.input)?;
        Ok(Instance::new(running, self.shape.clone(), self.limits.clone()))
    }

    /// Ticks of the host's clock, for limits that span several calls.
    pub(crate) fn now_ticks(&self) -> u64 {
        self.host.clock.now()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("module", &self.module).field("answer", &self.answer).finish()
    }
}

impl Shape {
    fn new(answer: &Answer, input: &Schema) -> Self {
        let columns = answer.columns.clone();
        Self {
            encoding: answer.encoding,
            read_fields: answer.reads.iter().map(|&index| input.fields()[index].clone()).collect(),
            array_count: columns.iter().map(|field| schema::field_count(field.data_type())).sum(),
            columns,
        }
    }
}

fn output_schema(answer: &Answer, input: &Schema) -> SchemaRef {
    let made = |name: &str| answer.columns.iter().find(|column| column.name() == name);
    let mut fields: Vec<FieldRef> = Vec::new();
    for (index, field) in input.fields().iter().enumerate() {
        if !answer.drops.contains(&index) {
            fields.push(made(field.name()).unwrap_or(field).clone());
        }
    }
    let appended = answer.columns.iter().filter(|column| input.index_of(column.name()).is_err());
    fields.extend(appended.cloned());
    Arc::new(Schema::new(fields))
}
