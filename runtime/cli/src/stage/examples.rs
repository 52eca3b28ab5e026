//! `examples.toml` of a project: rows that come in, and rows that must come out.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::user_error::UserError;

/// Largest file of examples, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examples {
    /// The columns of the input; absent: those of a Kafka record.
    pub columns: Option<String>,
    /// The stage's configuration.
    #[serde(default)]
    with: toml::Table,
    #[serde(default)]
    pub grant: GrantTable,
    #[serde(default)]
    pub example: Vec<Example>,
}

/// As `[stage.grant]` of a pipeline file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTable {
    #[serde(default)]
    pub env: Vec<String>,
    #[serde(default)]
    pub clock: bool,
    #[serde(default)]
    pub random: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub name: String,
    /// In place of the columns of the file.
    pub columns: Option<String>,
    /// In place of the configuration of the file.
    with: Option<toml::Table>,
    #[serde(default)]
    input: Vec<toml::Table>,
    /// Of each output row the columns that count.
    #[serde(default)]
    expect: Vec<toml::Table>,
    /// Of each input row that fails: its columns, `reason` (a part of it), `kind`.
    #[serde(default)]
    expect_failures: Vec<toml::Table>,
    /// The stage refuses the configuration or the columns, with this text in its error.
    pub expect_refusal: Option<String>,
}

impl Examples {
    /// `None`: there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong: with the place.
    pub fn read(path: &Path) -> Result<Option<Examples>> {
        let shown = path.display();
        match path.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let message = format!("`{shown}` is larger than {} MiB", FILE_BYTES_MAX >> 20);
                return Err(UserError::new(message).into());
            }
            _ => {}
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{shown}`"))
            .map_err(UserError::from_error)?;
        let examples = toml::from_str(&text);
        examples.map(Some).map_err(|error| UserError::new(format!("{shown}: {error}")).into())
    }

    pub fn config(&self) -> Value {
        json(&toml::Value::Table(self.with.clone()))
    }
}

impl Example {
    /// `base`: the file's.
    pub fn config(&self, base: &Value) -> Value {
        self.with
            .as_ref()
            .map_or_else(|| base.clone(), |with| json(&toml::Value::Table(with.clone())))
    }

    pub fn input(&self) -> Vec<Map<String, Value>> {
        self.input.iter().map(members).collect()
    }

    pub fn expect(&self) -> Vec<Value> {
        self.expect.iter().map(|row| Value::Object(members(row))).collect()
    }

    pub fn expect_failures(&self) -> Vec<Value> {
        self.expect_failures.iter().map(|row| Value::Object(members(row))).collect()
    }
}

fn members(table: &toml::Table) -> Map<String, Value> {
    table.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

/// Dates and times become texts; `{ null = true }` is null, which TOML has no word for.
fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        // What JSON has no number for is a text in the contract's encoding.
        toml::Value::Float(number) if number.is_nan() => "NaN".into(),
        toml::Value::Float(number) if number.is_infinite() => {
            if *number > 0.0 { "Infinity" } else { "-Infinity" }.into()
        }
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.iter().map(json).collect(),
        toml::Value::Table(table) if is_null(table) => Value::Null,
        toml::Value::Table(table) => Value::Object(members(table)),
    }
}

fn is_null(table: &toml::Table) -> bool {
    table.len() == 1 && table.get("null") == Some(&toml::Value::Boolean(true))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Examples> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Examples::read(file.path()).map(Option::unwrap)
    }

    #[test]
    fn values_are_those_of_toml_and_null() {
        let examples = read(
            "with = { city = \"Reno\" }\n[[example]]\nname = \"a\"\n\
             input = [{ at = 2026-11-01T00:00:00Z, id = 9_007_199_254_740_993, x = inf }]\n\
             expect = [{ y = { null = true } }]",
        )
        .unwrap();
        let example = &examples.example[0];
        assert_eq!(examples.config(), json!({ "city": "Reno" }));
        assert_eq!(example.config(&examples.config()), json!({ "city": "Reno" }));
        assert_eq!(
            Value::Object(example.input().remove(0)),
            json!({ "at": "2026-11-01T00:00:00Z", "id": 9_007_199_254_740_993_i64, "x": "Infinity" })
        );
        assert_eq!(example.expect(), [json!({ "y": null })]);
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let error = read("[[example]]\nname = \"a\"\nexpects = []").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("expects"), "{error}");
        assert!(Examples::read(Path::new("/no/such/examples.toml")).unwrap().is_none());
    }
}
