//! `gristmill stage test [DIR|FILE]`: the examples of a stage through its real module, or rows of one's own.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use gristmill_engine::test::Difference;
use gristmill_engine::test::stage::{Made, StageTrial, input_rows};
use gristmill_engine::tree::kind_text;
use gristmill_host::{DescribeError, Grant, Host, HostConfig, Limits, LogLevel, Module, Stage};
use serde_json::{Map, Value, json};

use crate::local;
use crate::output::{Output, counted};
use crate::stage::examples::{Example, Examples, GrantTable};
use crate::stage::input;
use crate::stage::target::Target;
use crate::user_error::UserError;

#[derive(Debug, clap::Args)]
pub struct StageTestFlags {
    /// A project's folder, a module, or the name of a shipped stage
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    pub target: PathBuf,

    /// A row in place of the examples, once or several times: a JSON object, or the value of a record
    #[arg(long, value_name = "VALUE")]
    pub text: Vec<String>,

    /// Rows in place of the examples, one a line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub file: Option<PathBuf>,

    #[command(flatten)]
    pub setting: SettingFlags,

    /// Run only the examples whose name contains this
    #[arg(long, value_name = "NAME", conflicts_with_all = ["text", "file"])]
    pub filter: Option<String>,
}

/// What a stage is described with.
#[derive(Debug, clap::Args)]
pub struct SettingFlags {
    /// Columns that come in, such as "order_id long, city string" [default: those of the examples; without examples
    /// those of a Kafka record, or what JSON objects seem to have]
    #[arg(long, value_name = "COLUMNS")]
    pub columns: Option<String>,

    /// A setting, KEY=VALUE, or all of them as a JSON object; on top of those of the examples
    #[arg(long = "with", value_name = "KEY=VALUE")]
    pub with: Vec<String>,

    /// File of examples [default: examples.toml beside the module]
    #[arg(long, value_name = "FILE")]
    pub examples: Option<PathBuf>,

    /// Folder whose `cache` keeps compiled modules, as that of `gristmill run` [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl SettingFlags {
    pub fn host(&self) -> Result<Host> {
        let cache_dir = Some(local::data_dir(self.data_dir.as_deref())?.join("cache"));
        Ok(Host::new(HostConfig { cache_dir, ..HostConfig::default() })?)
    }

    /// `None`: there are none.
    ///
    /// # Errors
    /// A file that was named is not there, or one is wrong.
    pub fn examples(&self, target: &Target) -> Result<Option<Examples>> {
        let examples = Examples::read(self.examples.as_ref().unwrap_or(&target.examples))?;
        match (&self.examples, &examples) {
            (Some(file), None) => {
                bail!(UserError::new(format!("there is no file `{}`", file.display())))
            }
            _ => Ok(examples),
        }
    }
}

/// What the process has of what the examples ask for.
///
/// # Errors
/// An environment variable is not set.
pub fn grant(table: &GrantTable) -> Result<Grant, UserError> {
    let variable = |name: &String| {
        let value = std::env::var(name).map_err(|_| {
            UserError::new(format!(
                "the examples grant the environment variable `{name}`, and it is not set"
            ))
        })?;
        Ok((name.clone(), value))
    };
    let environment = table.env.iter().map(variable).collect::<Result<_, UserError>>()?;
    Ok(Grant { environment, clock: table.clock, random: table.random })
}

/// A module with what its stages are described with.
struct Bench {
    host: Host,
    module: Module,
    examples: Examples,
    /// Of the examples, with the flags on top.
    config: Value,
    columns: Option<Schema>,
}

/// Exit code 1: an example failed, or one of one's own rows did; 2: there is nothing to run.
pub fn run(flags: &StageTestFlags, output: Output) -> Result<()> {
    let target = Target::find(&flags.target)?;
    let examples = flags.setting.examples(&target)?;
    let lines = match (&flags.file, flags.text.as_slice(), &examples) {
        (Some(file), ..) => Some(input::lines_of_file(file)?),
        (None, [_, ..], _) => Some(flags.text.clone()),
        (None, [], None) => input::piped_lines()?,
        (None, [], Some(_)) => None,
    };
    if lines.is_none() && examples.is_none() {
        bail!(UserError::new(format!(
            "there is no `{}`; give rows with --text, --file or standard input",
            target.examples.display()
        )));
    }
    let bench = Bench::new(flags, &target, examples.unwrap_or_default())?;
    match lines {
        Some(lines) => bench.run_lines(&lines, output),
        None => bench.run_examples(flags, output),
    }
}

impl Bench {
    fn new(flags: &StageTestFlags, target: &Target, examples: Examples) -> Result<Bench> {
        let host = flags.setting.host()?;
        let module = host
            .load_with(&target.name, &target.bytes, grant(&examples.grant)?)
            .map_err(|error| UserError::new(format!("`{}`: {error}", target.name)))?;
        let config = input::config(&flags.setting.with, &examples.config())?;
        let columns = flags.setting.columns.as_ref().or(examples.columns.as_ref());
        let columns = columns.map(|text| input::columns(text)).transpose()?;
        Ok(Bench { host, module, examples, config, columns })
    }

    fn describe(&self, config: &Value, schema: &Schema) -> Result<Stage, DescribeError> {
        Stage::describe(&self.host, &self.module, config, schema, Limits::default())
    }

    fn run_examples(&self, flags: &StageTestFlags, output: Output) -> Result<()> {
        let part = flags.filter.as_deref().unwrap_or_default();
        let chosen = self.examples.example.iter().filter(|example| example.name.contains(part));
        let (mut all, mut failed) = (0, 0);
        for example in chosen {
            let found = self.run_example(example)?;
            all += 1;
            failed += usize::from(!found.is_empty());
            output.answer(
                example_text(example, &found),
                &json!({ "example": example.name, "passed": found.is_empty(), "differences": found }),
            )?;
        }
        match (all, failed) {
            (0, _) => bail!(UserError::new("there is no such example: nothing was run")),
            (_, 0) => output.remark(format!("{} passed", counted(all, "example"))),
            _ => bail!("{failed} of {} failed", counted(all, "example")),
        }
    }

    /// What is not as expected, in words.
    fn run_example(&self, example: &Example) -> Result<Vec<String>> {
        let wrong = |error: anyhow::Error| {
            UserError::from_error(error.context(format!("example `{}`", example.name)))
        };
        let columns = example.columns.as_ref().map(|text| input::columns(text)).transpose()?;
        let columns = columns.or_else(|| self.columns.clone());
        let is_record = columns.is_none();
        let schema = columns.unwrap_or_else(input::record_columns);
        let mut rows = example.input();
        if is_record {
            rows = completed(rows);
        }
        let input = input_rows(&schema, &rows).map_err(wrong)?;
        let stage = match (
            self.describe(&example.config(&self.config), &schema),
            &example.expect_refusal,
        ) {
            (Err(error), Some(part)) => return Ok(refusal_differences(part, &error)),
            (Err(error), None) => return Ok(vec![format!("the stage refuses: {error}")]),
            (Ok(_), Some(part)) => {
                return Ok(vec![format!(
                    "the stage refuses nothing, expected an error with `{part}` in it"
                )]);
            }
            (Ok(stage), None) => stage,
        };
        let mut trial = StageTrial::new(Arc::new(stage));
        let made = trial.run(&input)?;
        let found = trial.differences(&input, &made, &example.expect(), &example.expect_failures());
        let mut found: Vec<String> = found.iter().map(Difference::to_string).collect();
        if !found.is_empty() {
            found.extend(remarks(&made));
        }
        Ok(found)
    }

    fn run_lines(&self, lines: &[String], output: Output) -> Result<()> {
        let (stage, input) = self.described_for(lines)?;
        let mut trial = StageTrial::new(Arc::new(stage));
        let made = trial.run(&input)?;
        output
            .answer(made_text(&made, input.num_rows()), &made_document(&made, input.num_rows()))?;
        match made.failures.len() {
            0 => Ok(()),
            failed => bail!("{failed} of {} rows failed", input.num_rows()),
        }
    }

    /// The stage, and the lines as rows of columns that it takes.
    fn described_for(&self, lines: &[String]) -> Result<(Stage, RecordBatch)> {
        if let Some(schema) = &self.columns {
            let rows = input::rows(lines, schema)?;
            return self.described_over(schema, &rows);
        }
        let schema = input::record_columns();
        let of_records = self.described_over(&schema, &completed(input::records(lines)));
        let objects: Option<Vec<Map<String, Value>>> =
            lines.iter().map(|line| serde_json::from_str(line).ok()).collect();
        match (of_records, objects) {
            (Ok(described), _) => Ok(described),
            (Err(error), None) => Err(error),
            (Err(_), Some(objects)) => {
                let schema = input::inferred(&objects);
                self.described_over(&schema, &objects).map_err(|error| {
                    let columns = crate::column_text::fields_text(schema.fields());
                    let help = format!("{error:#}\nhelp: the rows seem to have the columns {columns}; --columns names others");
                    UserError::new(help).into()
                })
            }
        }
    }

    fn described_over(
        &self,
        schema: &Schema,
        rows: &[Map<String, Value>],
    ) -> Result<(Stage, RecordBatch)> {
        let stage = self.describe(&self.config, schema);
        let stage = stage.map_err(|error| UserError::new(format!("the stage refuses: {error}")))?;
        let input = input_rows(schema, rows).map_err(UserError::from_error)?;
        Ok((stage, input))
    }
}

fn completed(rows: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    let rows = rows.into_iter().enumerate();
    rows.map(|(offset, row)| input::complete_record(offset, row)).collect()
}

fn refusal_differences(part: &str, error: &DescribeError) -> Vec<String> {
    let error = error.to_string();
    match error.contains(part) {
        true => Vec::new(),
        false => vec![format!("the stage refuses with `{error}`, expected `{part}` in it")],
    }
}

fn example_text(example: &Example, found: &[String]) -> String {
    if found.is_empty() {
        return format!("  ok      {}", example.name);
    }
    let lines = found.iter().map(|line| format!("\n          {line}"));
    format!("  FAILED  {}{}", example.name, lines.collect::<String>())
}

/// What helps to understand a difference.
fn remarks(made: &Made) -> Vec<String> {
    let failures = made
        .failures
        .iter()
        .map(|failure| format!("note: row {} failed: {}", failure.row + 1, failure.reason));
    let logged =
        made.log_lines.iter().map(|line| format!("log: {}: {}", level(line.level), line.text));
    failures.chain(logged).collect()
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

fn made_text(made: &Made, row_count: usize) -> String {
    let rows = made.rows.iter().map(|(_, row)| Value::Object(row.clone()).to_string());
    let mut lines: Vec<String> = rows.collect();
    lines.extend(made.failures.iter().map(|failure| {
        format!("row {} failed ({}): {}", failure.row + 1, kind_text(failure.kind), failure.reason)
    }));
    lines.extend(
        made.log_lines.iter().map(|line| format!("log: {}: {}", level(line.level), line.text)),
    );
    lines.push(format!(
        "{row_count} rows in, {} out, {} filtered, {} failed",
        made.rows.len(),
        made.filtered.len(),
        made.failures.len()
    ));
    lines.join("\n")
}

/// Rows are counted from 0, as in the contract.
fn made_document(made: &Made, row_count: usize) -> Value {
    let rows = made.rows.iter().map(|(row, columns)| json!({ "row": row, "columns": columns }));
    let failures = made.failures.iter().map(|failure| {
        json!({ "row": failure.row, "kind": kind_text(failure.kind), "reason": failure.reason })
    });
    let log = made
        .log_lines
        .iter()
        .map(|line| json!({ "level": level(line.level), "row": line.row, "text": line.text }));
    json!({
        "rows_in": row_count,
        "rows": rows.collect::<Vec<_>>(),
        "filtered": made.filtered,
        "failures": failures.collect::<Vec<_>>(),
        "log": log.collect::<Vec<_>>(),
    })
}
