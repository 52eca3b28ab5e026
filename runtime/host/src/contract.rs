//! The JSON of `describe` (sdk/contract/describe.md): what the host asks and what a module answers.
//!
//! Answers are hostile until checked: they have a size, a count and a depth, and unknown members
//! are passed over, since the answer may grow.

use crate::error::DescribeError;
use crate::schema::{field_count, field_from_json, field_to_json, first_duplicate};
use arrow_schema::{FieldRef, Schema};
use serde_json::{Value, json};

/// The contract version that this host speaks; it runs every module of the same major version.
pub const CONTRACT_VERSION: &str = "1.0";
/// Longest answer of `describe`.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Fields of all columns that a module makes, nested ones included.
const FIELDS_MAX: usize = 10_000;

/// How batches cross the boundary, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// frame.md: Arrow's buffers behind a table of descriptors.
    Frame,
    /// One JSON object per row and line (encodings.md).
    Json,
}

/// A module's checked answer, with columns as indices into the input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The version that the module was built for.
    pub contract: String,
    pub name: String,
    pub version: String,
    pub encoding: Encoding,
    pub reads: Vec<usize>,
    pub columns: Vec<FieldRef>,
    pub drops: Vec<usize>,
    pub config_schema: Value,
}

/// The request for a configuration and input columns. Fails on a column of a type that stages do
/// not know.
pub(crate) fn request(config: &Value, input: &Schema) -> Result<String, DescribeError> {
    let columns = input.fields().iter().map(|field| field_to_json(field));
    let columns: Vec<Value> = columns.collect::<Result<_, _>>().map_err(DescribeError::stage)?;
    let request = json!({ "contract": CONTRACT_VERSION, "config": config, "input": columns });
    Ok(request.to_string())
}

/// Checks an answer against the input columns it was made for.
pub(crate) fn answer(text: &str, input: &Schema) -> Result<Answer, DescribeError> {
    parse(text, input)
        .map_err(|why| DescribeError::stage(format!("module's answer to `describe`: {why}")))
}

fn parse(text: &str, input: &Schema) -> Result<Answer, String> {
    if text.len() > ANSWER_BYTES_MAX {
        return Err(format!("{} bytes, at most {ANSWER_BYTES_MAX} are allowed", text.len()));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    if !value.is_object() {
        return Err("not a JSON object".to_owned());
    }
    let contract = checked_version(&value)?;
    let columns = columns(&value)?;
    let answer = Answer {
        contract,
        name: short_text(&value, "name")?,
        version: short_text(&value, "version")?,
        encoding: encoding(&value)?,
        reads: input_columns(&value, "reads", input)?,
        drops: input_columns(&value, "drops", input)?,
        config_schema: value.get("config_schema").cloned().unwrap_or_else(|| json!({})),
        columns,
    };
    match answer.drops.iter().find(|&&index| makes(&answer.columns, input.field(index).name())) {
        Some(&index) => Err(format!("`{}` is made and dropped", input.field(index).name())),
        None => Ok(answer),
    }
}

fn makes(columns: &[FieldRef], name: &str) -> bool {
    columns.iter().any(|column| column.name() == name)
}

fn checked_version(value: &Value) -> Result<String, String> {
    let version = value.get("contract").and_then(Value::as_str);
    let version = version.ok_or("no `contract`: is this a stage?")?;
    let major = |version: &str| version.split('.').next().and_then(|part| part.parse::<u32>().ok());
    if major(version).is_some() && major(version) == major(CONTRACT_VERSION) {
        return Ok(crate::error::cut(version).to_owned());
    }
    Err(format!(
        "module was built for contract {}, this host runs {CONTRACT_VERSION}",
        crate::error::cut(version)
    ))
}

fn short_text(value: &Value, member: &str) -> Result<String, String> {
    match value.get(member) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(crate::error::cut(text).to_owned()),
        Some(_) => Err(format!("`{member}` is not a string")),
    }
}

fn encoding(value: &Value) -> Result<Encoding, String> {
    match short_text(value, "encoding")?.as_str() {
        "" | "frame" => Ok(Encoding::Frame),
        "json" => Ok(Encoding::Json),
        other => {
            Err(format!("encoding `{other}`, which this host does not run, it runs frame and json"))
        }
    }
}

fn list<'a>(value: &'a Value, member: &str) -> Result<&'a [Value], String> {
    match value.get(member) {
        None => Ok(&[]),
        Some(Value::Array(list)) if list.len() <= FIELDS_MAX => Ok(list),
        Some(Value::Array(list)) => {
            Err(format!("`{member}` has {} members, at most {FIELDS_MAX}", list.len()))
        }
        Some(_) => Err(format!("`{member}` is not a list")),
    }
}

fn columns(value: &Value) -> Result<Vec<FieldRef>, String> {
    let columns: Vec<FieldRef> = list(value, "columns")?
        .iter()
        .map(|field| field_from_json(field).map_err(|why| format!("`columns`: {why}")))
        .collect::<Result<_, _>>()?;
    let fields: usize = columns.iter().map(|column| field_count(column.data_type())).sum();
    if fields > FIELDS_MAX {
        return Err(format!("`columns` have {fields} fields, at most {FIELDS_MAX}"));
    }
    match first_duplicate(columns.iter().map(|column| column.name().as_str())) {
        Some(name) => Err(format!("`columns` has `{name}` twice")),
        None => Ok(columns),
    }
}

fn input_columns(value: &Value, member: &str, input: &Schema) -> Result<Vec<usize>, String> {
    let mut indices = Vec::new();
    for name in list(value, member)? {
        let name = name.as_str().ok_or_else(|| format!("`{member}` is not a list of names"))?;
        let index = input.index_of(name).map_err(|_| unknown_column(member, name, input))?;
        if indices.contains(&index) {
            return Err(format!("`{member}` has `{name}` twice"));
        }
        indices.push(index);
    }
    Ok(indices)
}

fn unknown_column(member: &str, name: &str, input: &Schema) -> String {
    let there: Vec<&str> = input.fields().iter().map(|field| field.name().as_str()).collect();
    let name = crate::error::cut(name);
    format!("`{member}` names `{name}`, the input columns are {}", there.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, Field};

    fn input() -> Schema {
        Schema::new(vec![
            Field::new("key", DataType::Binary, true),
            Field::new("city", DataType::Utf8, true),
        ])
    }

    #[test]
    fn the_request_is_the_one_that_describe_md_shows() {
        let request = request(&json!({ "column": "city" }), &input()).unwrap();
        let request: Value = serde_json::from_str(&request).unwrap();
        assert_eq!(request["contract"], "1.0");
        assert_eq!(request["config"]["column"], "city");
        assert_eq!(request["input"][1], json!({"name":"city","type":"string","nullable":true}));
    }

    #[test]
    fn defaults_hold_for_what_an_answer_leaves_out() {
        let answer = answer(r#"{"contract":"1.7","new_member":[1]}"#, &input()).unwrap();
        assert_eq!(answer.encoding, Encoding::Frame);
        assert!(answer.reads.is_empty() && answer.columns.is_empty() && answer.drops.is_empty());
        assert_eq!(answer.config_schema, json!({}));
    }

    #[test]
    fn answers_that_break_the_contract_are_refused() {
        for (text, part) in [
            ("", "not JSON"),
            ("[]", "not a JSON object"),
            (&"[".repeat(100_000), "not JSON"),
            ("{}", "is this a stage?"),
            (r#"{"contract":"2.0"}"#, "built for contract 2.0, this host runs 1.0"),
            (r#"{"contract":"x"}"#, "built for contract x"),
            (r#"{"contract":"1.0","encoding":"xml"}"#, "encoding `xml`"),
            (r#"{"contract":"1.0","reads":["town"]}"#, "input columns are key, city"),
            (r#"{"contract":"1.0","reads":["city","city"]}"#, "`city` twice"),
            (r#"{"contract":"1.0","reads":"city"}"#, "`reads` is not a list"),
            (r#"{"contract":"1.0","drops":[1]}"#, "list of names"),
            (r#"{"contract":"1.0","columns":[{"name":"a","type":"lng"}]}"#, "unknown type `lng`"),
            (
                r#"{"contract":"1.0","drops":["key"],"columns":[{"name":"key","type":"long"}]}"#,
                "made and dropped",
            ),
        ] {
            let error = answer(text, &input()).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }
}
