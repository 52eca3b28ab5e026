//! `gristmill stage inspect FILE`: what a module is, what it asks for, what it reads and makes.

use std::path::PathBuf;

use anyhow::{Result, bail};
use arrow_schema::{FieldRef, Schema};
use gristmill_host::{DescribeError, Encoding, Host, ImportAnswer, Inspection, Limits, Stage};
use serde_json::{Value, json};

use crate::column_text::{column, fields_text, type_text};
use crate::commands::stage_test::{SettingFlags, grant};
use crate::output::Output;
use crate::stage::input;
use crate::stage::target::Target;
use crate::user_error::UserError;

#[derive(Debug, clap::Args)]
pub struct StageInspectFlags {
    /// A module, a project's folder, or the name of a shipped stage
    #[arg(value_name = "FILE")]
    pub target: PathBuf,

    #[command(flatten)]
    pub setting: SettingFlags,
}

/// The module, described or not.
struct Look<'a> {
    target: &'a Target,
    inspection: &'a Inspection,
    input: &'a Schema,
    /// None: it is refused before it can be asked.
    described: Option<&'a Result<Stage, DescribeError>>,
}

/// Exit code 2: the file is no stage, or asks for what no stage gets; what can be told is printed first.
pub fn run(flags: &StageInspectFlags, output: Output) -> Result<()> {
    let target = Target::find(&flags.target)?;
    let examples = flags.setting.examples(&target)?.unwrap_or_default();
    let host = flags.setting.host()?;
    let grant = grant(&examples.grant)?;
    let inspection = host
        .inspect(&target.bytes, &grant)
        .map_err(|error| UserError::new(format!("`{}`: {error}", target.name)))?;
    let columns = flags.setting.columns.as_ref().or(examples.columns.as_ref());
    let columns = columns.map(|text| input::columns(text)).transpose()?;
    let input = columns.unwrap_or_else(input::record_columns);
    let config = input::config(&flags.setting.with, &examples.config())?;
    let described = match &inspection.refusal {
        Some(_) => None,
        None => Some(describe(&host, &target, grant, &config, &input)?),
    };
    let look = Look {
        target: &target,
        inspection: &inspection,
        input: &input,
        described: described.as_ref(),
    };
    output.answer(look.text(), &look.document())?;
    match &inspection.refusal {
        Some(refusal) => bail!(UserError::new(format!("`{}`: {refusal}", target.name))),
        None => Ok(()),
    }
}

fn describe(
    host: &Host,
    target: &Target,
    grant: gristmill_host::Grant,
    config: &Value,
    input: &Schema,
) -> Result<Result<Stage, DescribeError>> {
    let module = host
        .load_with(&target.name, &target.bytes, grant)
        .map_err(|error| UserError::new(format!("`{}`: {error}", target.name)))?;
    Ok(Stage::describe(host, &module, config, input, Limits::default()))
}

impl Look<'_> {
    fn kind(&self) -> &'static str {
        if self.inspection.is_component { "component" } else { "core module" }
    }

    fn text(&self) -> String {
        let Inspection { hash, size, exports, .. } = self.inspection;
        let mut lines = vec![
            self.target.name.clone(),
            line("kind", self.kind()),
            line("size", &format!("{size} bytes")),
            line("hash", &format!("sha256 {hash}")),
            line("exports", &or_none(exports.join(", "))),
        ];
        lines.extend(self.import_lines());
        match self.described {
            None => {}
            Some(Err(error)) => {
                lines.push(line("input", &fields_text(self.input.fields())));
                lines.push(line("refuses", &error_text(error)));
                lines.push(line(
                    "",
                    "(--with and --columns, or examples.toml, say what it shall run with)",
                ));
            }
            Some(Ok(stage)) => lines.extend(self.stage_lines(stage)),
        }
        lines.join("\n")
    }

    fn import_lines(&self) -> Vec<String> {
        let imports = &self.inspection.imports;
        if imports.is_empty() {
            return vec![line("imports", "none")];
        }
        let lines = imports.iter().enumerate().map(|(index, import)| {
            let title = if index == 0 { "imports" } else { "" };
            line(title, &format!("{}  ({})", import.name, answer_text(import.answer)))
        });
        lines.collect()
    }

    fn stage_lines(&self, stage: &Stage) -> Vec<String> {
        let (name, version) = stage.described_as();
        let reads = stage.reads().iter().map(|index| stage.input_schema().field(*index));
        let reads: Vec<String> =
            reads.map(|field| column(field.name(), field.data_type())).collect();
        let makes: Vec<String> = stage.columns().iter().map(made_text).collect();
        let drops =
            stage.drops().iter().map(|index| stage.input_schema().field(*index).name().as_str());
        let mut lines = vec![
            line("stage", format!("{name} {version}").trim()),
            line(
                "contract",
                &format!("{}, encoding {}", stage.contract_version(), encoding(stage)),
            ),
            line("input", &fields_text(self.input.fields())),
            line("reads", &or_none(reads.join(", "))),
            line("makes", &or_none(makes.join(", "))),
            line("drops", &or_none(drops.collect::<Vec<_>>().join(", "))),
            line("output", &fields_text(stage.output_schema().fields())),
        ];
        let keys = config_keys(stage.config_schema());
        if keys.is_empty() {
            lines.push(line("config", "the module names no keys"));
        }
        lines.extend(
            keys.iter()
                .enumerate()
                .map(|(index, key)| line(if index == 0 { "config" } else { "" }, &key.text())),
        );
        lines
    }

    fn document(&self) -> Value {
        let Inspection { hash, size, exports, imports, refusal, .. } = self.inspection;
        let imports = imports.iter().map(|import| {
            json!({ "name": import.name, "answer": answer_word(import.answer), "grant": grant_word(import.answer) })
        });
        let mut document = json!({
            "file": self.target.name,
            "kind": self.kind(),
            "size": size,
            "hash": hash,
            "exports": exports,
            "imports": imports.collect::<Vec<_>>(),
            "refused": refusal.as_ref().map(ToString::to_string),
            "input": fields_document(self.input.fields()),
        });
        match self.described {
            None => {}
            Some(Err(error)) => document["describe_error"] = error_text(error).into(),
            Some(Ok(stage)) => document["stage"] = stage_document(stage),
        }
        document
    }
}

fn stage_document(stage: &Stage) -> Value {
    let (name, version) = stage.described_as();
    let named = |indices: &[usize]| -> Vec<String> {
        indices.iter().map(|index| stage.input_schema().field(*index).name().clone()).collect()
    };
    json!({
        "name": name,
        "version": version,
        "contract": stage.contract_version(),
        "encoding": encoding(stage),
        "reads": named(stage.reads()),
        "makes": fields_document(stage.columns()),
        "drops": named(stage.drops()),
        "output": fields_document(stage.output_schema().fields()),
        "config": config_keys(stage.config_schema()).iter().map(ConfigKey::document).collect::<Vec<_>>(),
        "config_schema": stage.config_schema(),
    })
}

fn fields_document(fields: &[FieldRef]) -> Vec<Value> {
    let field = |field: &FieldRef| json!({ "name": field.name(), "type": type_text(field.data_type()), "nullable": field.is_nullable() });
    fields.iter().map(field).collect()
}

fn line(title: &str, text: &str) -> String {
    format!("  {title:<9} {text}")
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_string() } else { text }
}

fn made_text(field: &FieldRef) -> String {
    let not_null = if field.is_nullable() { "" } else { " not null" };
    format!("{}{not_null}", column(field.name(), field.data_type()))
}

fn encoding(stage: &Stage) -> &'static str {
    match stage.encoding() {
        Encoding::Frame => "frame",
        Encoding::Json => "json",
    }
}

/// As a module says it (describe.md).
fn error_text(error: &DescribeError) -> String {
    match &error.key {
        Some(key) => format!("config.{key}: {}", error.message),
        None => error.message.clone(),
    }
}

fn answer_text(answer: ImportAnswer) -> String {
    match answer {
        ImportAnswer::Always => "every stage has it".to_string(),
        ImportAnswer::Grant(grant) => format!("opened by `{grant}` under `[stage.grant]`"),
        ImportAnswer::Never => "refused: no stage gets it".to_string(),
    }
}

fn answer_word(answer: ImportAnswer) -> &'static str {
    match answer {
        ImportAnswer::Always => "always",
        ImportAnswer::Grant(_) => "grant",
        ImportAnswer::Never => "never",
    }
}

fn grant_word(answer: ImportAnswer) -> Option<&'static str> {
    match answer {
        ImportAnswer::Grant(grant) => Some(grant),
        _ => None,
    }
}

/// A key of a stage's configuration, out of its JSON Schema.
struct ConfigKey {
    name: String,
    kind: String,
    required: bool,
    default: Option<Value>,
    about: Option<String>,
}

fn config_keys(schema: &Value) -> Vec<ConfigKey> {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &String| required.is_some_and(|names| names.iter().any(|other| other == name));
    let properties = schema.get("properties").and_then(Value::as_object);
    let key = |(name, property): (&String, &Value)| ConfigKey {
        name: name.clone(),
        kind: kind_text(property),
        required: is_required(name),
        default: property.get("default").cloned(),
        about: property.get("description").and_then(Value::as_str).map(str::to_string),
    };
    properties.into_iter().flatten().map(key).collect()
}

/// The type of a JSON Schema, as far as one word says it.
fn kind_text(property: &Value) -> String {
    let word = |value: &Value| value.as_str().map(str::to_string);
    match (property.get("type"), property.get("enum").and_then(Value::as_array)) {
        (_, Some(words)) => words.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "),
        (Some(Value::Array(kinds)), _) => {
            kinds.iter().filter_map(word).collect::<Vec<_>>().join(" | ")
        }
        (Some(kind), _) => word(kind).unwrap_or_else(|| "any".to_string()),
        (None, None) => "any".to_string(),
    }
}

impl ConfigKey {
    fn text(&self) -> String {
        let state = match (&self.default, self.required) {
            (Some(default), _) => format!(", default {default}"),
            (None, true) => ", required".to_string(),
            (None, false) => String::new(),
        };
        let about = self.about.as_ref().map_or_else(String::new, |about| format!(": {about}"));
        format!("{} {}{state}{about}", self.name, self.kind)
    }

    fn document(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "required": self.required,
            "default": self.default,
            "about": self.about,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_with_type_and_state() {
        let schema = json!({
            "type": "object",
            "required": ["city"],
            "properties": {
                "city": { "type": "string", "description": "which orders pass" },
                "limit": { "type": "integer", "default": 10 },
                "mode": { "enum": ["a", "b"] },
                "any": {},
            },
        });
        let mut texts: Vec<String> = config_keys(&schema).iter().map(ConfigKey::text).collect();
        texts.sort();
        assert_eq!(
            texts,
            [
                "any any",
                "city string, required: which orders pass",
                "limit integer, default 10",
                r#"mode "a" | "b""#
            ]
        );
        assert!(config_keys(&json!({})).is_empty());
    }
}
