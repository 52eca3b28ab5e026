//! A pipeline made ready to run: its modules loaded and described edge by edge, its columns traced from source to sinks.
//!
//! Everything that can be wrong with a pipeline short of its data is found here, as diagnostics at their place in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow_array::{ArrayRef, new_empty_array};
use arrow_schema::{DataType, Schema, SchemaRef};
use gristmill_host::{DescribeError, Grant, Host, Limits, Module, Stage};

use crate::batch::ColumnOrigin;
use crate::config::{
    Diagnostic, MaxFailures, ModuleRef, OnFailure, Pipeline, SinkConfig, SinkKind, StageConfig,
    Upstream,
};
use crate::sink::Provenance;
use crate::source;

/// Where modules come from: the shipped stages by name.
pub type Shipped = &'static [(&'static str, &'static [u8])];

/// A pipeline that fits together.
pub struct Plan {
    pub pipeline: Pipeline,
    /// As [`Pipeline::stages`].
    pub stages: Vec<PlannedStage>,
    /// As [`Pipeline::sinks`].
    pub sinks: Vec<PlannedSink>,
    /// Which columns of [`source::COLUMNS`] are read from the source.
    pub source_columns: Vec<&'static str>,
}

/// A stage with its place in the flow of columns.
pub struct PlannedStage {
    pub name: String,
    pub from: Upstream,
    pub on_failure: OnFailure,
    /// Without effect where `on_failure` is to stop.
    pub max_failures: Option<MaxFailures>,
    pub stage: Arc<Stage>,
    /// A candidate that is given what the stage is given, in instances of its own and without effect.
    pub shadow: Option<Arc<Stage>>,
    /// For each column of the output edge: made, carried or dead.
    pub columns: Vec<ColumnOrigin>,
    /// The columns that the stage makes, without rows.
    pub empty: Vec<ArrayRef>,
}

/// A sink with the columns that it stores.
#[derive(Debug, Clone)]
pub struct PlannedSink {
    pub name: String,
    pub from: Upstream,
    /// Positions on the upstream edge, in the order of `schema`.
    pub columns: Vec<usize>,
    /// What the sink's writers get.
    pub schema: SchemaRef,
    pub layout: SinkLayout,
}

/// What the columns of a sink's schema mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkLayout {
    /// All columns are stored.
    Table,
    /// A record for a topic. `key`: the first column of the schema is the record's key.
    Record { key: bool, value: RecordValue },
}

/// How a topic sink makes a record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordValue {
    /// The bytes of the last column of the schema.
    Column,
    /// A JSON object of the columns after the key.
    Json,
}

impl Plan {
    /// Loads and describes every stage, and checks every edge.
    ///
    /// # Errors
    /// All that is wrong, each at its place in the file.
    pub fn new(host: &Host, pipeline: Pipeline, shipped: Shipped) -> Result<Plan, Vec<Diagnostic>> {
        let mut planner = Planner { host, shipped, pipeline: &pipeline, errors: Vec::new() };
        let stages = planner.stages();
        let edge = |from: Upstream| planner_edge(&stages, from);
        let mut errors = std::mem::take(&mut planner.errors);
        let sinks: Vec<_> = pipeline
            .sinks
            .iter()
            .filter_map(|sink| {
                let schema = edge(sink.from)?;
                plan_sink(&pipeline, sink, &schema).map_err(|error| errors.push(error)).ok()
            })
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let stages: Vec<Described> = stages.into_iter().flatten().collect();
        Ok(trace_columns(pipeline, stages, sinks))
    }

    /// Where the stage of that name stands in `stages`.
    ///
    /// # Errors
    /// There is none; tells which there are.
    pub fn stage_index(&self, name: &str) -> Result<usize> {
        let index = self.stages.iter().position(|planned| planned.name == name);
        index.with_context(|| {
            let names: Vec<_> = self.stages.iter().map(|it| format!("`{}`", it.name)).collect();
            match names.as_slice() {
                [] => format!("no stage is named `{name}`: the pipeline has none"),
                [only] => format!("no stage is named `{name}`, there is {only}"),
                names => format!("no stage is named `{name}`, there are {}", names.join(", ")),
            }
        })
    }

    /// Which code makes the rows of a sink.
    pub fn provenance(&self, sink: &PlannedSink, generation: u64) -> Provenance {
        let mut modules = Vec::new();
        let mut from = sink.from;
        while let Upstream::Stage(index) = from {
            let planned = &self.stages[index];
            modules.push((planned.name.clone(), planned.stage.module().hash().to_string()));
            from = planned.from;
        }
        modules.reverse();
        Provenance { generation, modules }
    }

    /// The longest that a stage may take for one batch: the batch, its halves, the last record alone, and the search in
    /// between.
    pub fn batch_time_max(&self) -> Duration {
        let limits = self.stages.iter().map(|planned| planned.stage.limits());
        let longest = |limits: &Limits| {
            limits.batch_time_max.saturating_mul(3).saturating_add(limits.isolation_time_max)
        };
        limits.map(longest).max().unwrap_or_default()
    }

    /// The columns of an edge.
    pub fn edge(&self, from: Upstream) -> SchemaRef {
        match from {
            Upstream::Source => source::schema(),
            Upstream::Stage(index) => self.stages[index].stage.output_schema().clone(),
        }
    }
}

fn planner_edge(stages: &[Option<Described>], from: Upstream) -> Option<SchemaRef> {
    match from {
        Upstream::Source => Some(source::schema()),
        Upstream::Stage(index) => Some(stages[index].as_ref()?.stage.output_schema().clone()),
    }
}

/// A stage and its candidate, described against the columns of the edge before them.
#[derive(Clone)]
struct Described {
    stage: Arc<Stage>,
    shadow: Option<Arc<Stage>>,
}

/// Loads modules and describes stages, collecting what is wrong.
struct Planner<'a> {
    host: &'a Host,
    shipped: Shipped,
    pipeline: &'a Pipeline,
    errors: Vec<Diagnostic>,
}

impl Planner<'_> {
    /// One entry per stage; `None` where it, or one before it, is wrong.
    fn stages(&mut self) -> Vec<Option<Described>> {
        let mut described: Vec<Option<Described>> = Vec::new();
        let mut modules = BTreeMap::new();
        for config in &self.pipeline.stages {
            let input = planner_edge(&described, config.from);
            let live = (&config.module, &config.place.module);
            let stage = self.stage(config, live, input.as_ref(), &mut modules);
            let shadow = config.shadow.as_ref().map(|module| {
                self.stage(config, (module, &config.place.shadow), input.as_ref(), &mut modules)
            });
            described.push(match (stage, shadow) {
                (Some(stage), None) => Some(Described { stage, shadow: None }),
                (Some(stage), Some(Some(shadow))) => {
                    Some(Described { stage, shadow: Some(shadow) })
                }
                _ => None,
            });
        }
        described
    }

    /// `module`: which one, and where the file says so.
    fn stage(
        &mut self,
        config: &StageConfig,
        module: (&ModuleRef, &Range<usize>),
        input: Option<&SchemaRef>,
        modules: &mut BTreeMap<String, Option<Module>>,
    ) -> Option<Arc<Stage>> {
        let loaded = modules
            .entry(format!("{:?} {:?}", module.0, config.grant))
            .or_insert_with(|| self.load(config, module))
            .clone();
        let stage = self.describe(config, loaded?, input?, module.1)?;
        Some(Arc::new(stage))
    }

    fn load(
        &mut self,
        config: &StageConfig,
        (module, place): (&ModuleRef, &Range<usize>),
    ) -> Option<Module> {
        let grant = config.grant.clone();
        let loaded = match module {
            ModuleRef::Shipped(name) => self.load_shipped(name, grant),
            ModuleRef::File(path) => {
                self.host.load_file(path, grant).map_err(|error| error.to_string())
            }
        };
        loaded.map_err(|message| self.refuse(config, place.clone(), message)).ok()
    }

    fn load_shipped(&self, name: &str, grant: Grant) -> Result<Module, String> {
        let shipped = self.shipped.iter().find(|(shipped, _)| *shipped == name);
        let (_, bytes) = shipped.ok_or_else(|| format!("no shipped stage `{name}`"))?;
        self.host.load_with(name, bytes, grant).map_err(|error| error.to_string())
    }

    fn describe(
        &mut self,
        config: &StageConfig,
        module: Module,
        input: &Schema,
        place: &Range<usize>,
    ) -> Option<Stage> {
        let limits = limits(config);
        Stage::describe(self.host, &module, &config.with, input, limits)
            .map_err(|DescribeError { key, message }| {
                let is_live = *place == config.place.module && !config.place.with.is_empty();
                let general = if is_live { &config.place.with } else { place };
                let span = key
                    .and_then(|key| nearest_place(config, &key))
                    .unwrap_or_else(|| general.clone());
                self.refuse(config, span, message);
            })
            .ok()
    }

    fn refuse(&mut self, config: &StageConfig, span: Range<usize>, message: String) {
        let message = format!("stage `{}`: {message}", config.name);
        self.errors.push(Diagnostic::error(self.pipeline.file.clone(), span, message));
    }
}

/// The place of a dotted key of `with`, or of the nearest key above it.
fn nearest_place(config: &StageConfig, key: &str) -> Option<Range<usize>> {
    let mut key = key;
    loop {
        if let Some(place) = config.place.with_keys.get(key) {
            return Some(place.clone());
        }
        key = key.rsplit_once('.')?.0;
    }
}

fn limits(config: &StageConfig) -> Limits {
    let mut limits = Limits::default();
    let given = &config.limits;
    let bytes = |given: Option<u64>, default| given.map_or(default, |given| given as usize);
    limits.memory_bytes_max = bytes(given.memory_bytes_max, limits.memory_bytes_max);
    limits.batch_time_max = given.batch_time_max.unwrap_or(limits.batch_time_max);
    limits.isolation_time_max = given.isolation_time_max.unwrap_or(limits.isolation_time_max);
    limits.output_rows_max = bytes(given.output_rows_max, limits.output_rows_max);
    limits.output_bytes_max = bytes(given.output_bytes_max, limits.output_bytes_max);
    limits
}

/// Chooses the columns of a sink and checks that they are there and fit.
fn plan_sink(
    pipeline: &Pipeline,
    sink: &SinkConfig,
    edge: &SchemaRef,
) -> Result<PlannedSink, Diagnostic> {
    let chooser = Chooser { pipeline, sink, edge };
    let (columns, layout) = match &sink.kind {
        SinkKind::Delta(delta) => {
            let columns = chooser.listed_or(|name| name != "value" && name != "headers")?;
            chooser.stored(&delta.partition_by, &columns)?;
            (columns, SinkLayout::Table)
        }
        SinkKind::Topic(topic) => {
            let key = match &topic.key {
                Some(key) => Some(chooser.bytes_column(key, "key")?),
                None => edge
                    .index_of("key")
                    .ok()
                    .filter(|index| holds_bytes(edge.field(*index).data_type())),
            };
            let value = match &topic.value {
                Some(value) => Some(chooser.bytes_column(value, "value")?),
                None if sink.from == Upstream::Source => {
                    Some(chooser.bytes_column("value", "value")?)
                }
                None => None,
            };
            let mut columns: Vec<usize> = key.into_iter().collect();
            let form = match value {
                Some(value) => {
                    columns.push(value);
                    RecordValue::Column
                }
                None => {
                    let made = |name: &str| !source::COLUMNS.contains(&name);
                    columns.extend(chooser.listed_or(made)?);
                    RecordValue::Json
                }
            };
            (columns, SinkLayout::Record { key: key.is_some(), value: form })
        }
    };
    let fields: Vec<_> = columns.iter().map(|index| edge.fields()[*index].clone()).collect();
    let schema = Arc::new(Schema::new(fields));
    Ok(PlannedSink { name: sink.name.clone(), from: sink.from, columns, schema, layout })
}

fn holds_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Binary)
}

/// Looks columns up on the edge of one sink.
struct Chooser<'a> {
    pipeline: &'a Pipeline,
    sink: &'a SinkConfig,
    edge: &'a SchemaRef,
}

impl Chooser<'_> {
    fn listed_or(&self, default: impl Fn(&str) -> bool) -> Result<Vec<usize>, Diagnostic> {
        match &self.sink.columns {
            Some(names) => names.iter().map(|name| self.column(name)).collect(),
            None => Ok((0..self.edge.fields().len())
                .filter(|index| default(self.edge.field(*index).name()))
                .collect()),
        }
    }

    fn column(&self, name: &str) -> Result<usize, Diagnostic> {
        self.edge.index_of(name).map_err(|_| {
            let names: Vec<_> =
                self.edge.fields().iter().map(|field| format!("`{}`", field.name())).collect();
            self.error(name, format!("no column `{name}` arrives here"))
                .help(format!("the columns here are {}", names.join(", ")))
        })
    }

    fn bytes_column(&self, name: &str, used_as: &str) -> Result<usize, Diagnostic> {
        let index = self.column(name)?;
        let data_type = self.edge.field(index).data_type();
        if holds_bytes(data_type) {
            return Ok(index);
        }
        let message = format!("a record's {used_as} is string or binary, `{name}` is {data_type}");
        Err(self.error(name, message).help("put a `cast` stage before this sink"))
    }

    fn stored(&self, partition_by: &[String], columns: &[usize]) -> Result<(), Diagnostic> {
        for name in partition_by {
            let index = self.column(name)?;
            if !columns.contains(&index) {
                let message = format!("`partition_by` names `{name}`, which `columns` leaves out");
                return Err(self.error(name, message).help("add it to `columns`"));
            }
        }
        Ok(())
    }

    fn error(&self, written: &str, message: String) -> Diagnostic {
        let places = &self.sink.column_places;
        let span = places.get(written).unwrap_or(&self.sink.place).clone();
        let message = format!("sink `{}`: {message}", self.sink.name);
        Diagnostic::error(self.pipeline.file.clone(), span, message)
    }
}

/// Finds out, from the sinks upwards, which columns each edge must hold.
fn trace_columns(pipeline: Pipeline, stages: Vec<Described>, sinks: Vec<PlannedSink>) -> Plan {
    let mut source_needs = BTreeSet::new();
    let mut needs: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); stages.len()];
    for sink in &sinks {
        needed(&mut source_needs, &mut needs, sink.from).extend(&sink.columns);
    }
    let mut planned = Vec::new();
    for (index, Described { stage, shadow }) in stages.iter().enumerate().rev() {
        let config = &pipeline.stages[index];
        let edge_in = match config.from {
            Upstream::Source => source::schema(),
            Upstream::Stage(from) => stages[from].stage.output_schema().clone(),
        };
        let columns = column_origins(stage, &edge_in, &needs[index]);
        let upstream = needed(&mut source_needs, &mut needs, config.from);
        upstream.extend(stage.reads());
        upstream.extend(shadow.iter().flat_map(|shadow| shadow.reads()));
        upstream.extend(columns.iter().filter_map(|origin| match origin {
            ColumnOrigin::Carried(index) => Some(*index),
            _ => None,
        }));
        planned.push(PlannedStage {
            name: config.name.clone(),
            from: config.from,
            on_failure: config.on_failure,
            max_failures: config.max_failures,
            stage: stage.clone(),
            shadow: shadow.clone(),
            columns,
            empty: stage.columns().iter().map(|field| new_empty_array(field.data_type())).collect(),
        });
    }
    planned.reverse();
    let wants_originals = planned.iter().any(|stage| stage.on_failure == OnFailure::DeadLetter);
    let source_columns = source::COLUMNS
        .into_iter()
        .enumerate()
        .filter(|(index, name)| {
            source_needs.contains(index)
                || *name == "offset"
                || wants_originals && ["key", "value", "timestamp", "headers"].contains(name)
        })
        .map(|(_, name)| name)
        .collect();
    Plan { pipeline, stages: planned, sinks, source_columns }
}

fn needed<'a>(
    source: &'a mut BTreeSet<usize>,
    stages: &'a mut [BTreeSet<usize>],
    from: Upstream,
) -> &'a mut BTreeSet<usize> {
    match from {
        Upstream::Source => source,
        Upstream::Stage(index) => &mut stages[index],
    }
}

/// Output column → where it comes from. A made column takes the place of one of the same name.
fn column_origins(stage: &Stage, input: &Schema, needed: &BTreeSet<usize>) -> Vec<ColumnOrigin> {
    let output = stage.output_schema();
    output
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            if !needed.contains(&index) {
                return ColumnOrigin::Dead;
            }
            let made = stage.columns().iter().position(|made| made.name() == field.name());
            match made {
                Some(made) => ColumnOrigin::Made(made),
                None => {
                    input.index_of(field.name()).map_or(ColumnOrigin::Dead, ColumnOrigin::Carried)
                }
            }
        })
        .collect()
}
