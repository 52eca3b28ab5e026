//! The stage's table in the pipeline file.

use gristmill::json::OnMistake;
use gristmill::serde_json::{Value, json};
use gristmill::{DataType, Error, Field, Schema, parse_schema};
use serde::Deserialize;

/// As written.
#[derive(Debug, Deserialize)]
pub struct Config {
    #[serde(default = "default_column")]
    pub column: String,
    pub schema: SchemaText,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub drop_input: bool,
    pub corrupt_record_column: Option<String>,
}

/// DDL or JSON in a string, or a table with the members of Spark's schema JSON.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct SchemaText(Value);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Reject,
    Permissive,
}

/// As it runs.
pub struct Plan {
    /// The members that are read out of a text.
    pub parsed: Vec<Field>,
    pub on_mistake: OnMistake,
    /// Name and place of the column of texts that did not fit.
    pub corrupt: Option<(String, usize)>,
}

fn default_column() -> String {
    "value".to_owned()
}

impl Config {
    pub fn resolve(&self, input: &Schema) -> Result<Plan, Error> {
        let column = input.require("column", &self.column)?;
        if !matches!(column.data_type, DataType::String | DataType::Binary) {
            let (name, data_type) = (&column.name, &column.data_type);
            let message = format!("column `{name}` is {data_type}, JSON is in a string or binary");
            return Err(Error::config("column", message));
        }
        let mut parsed = self.schema.fields()?;
        let corrupt = self.corrupt_column(&mut parsed)?;
        let on_mistake = match self.mode {
            Mode::Reject => OnMistake::Reject,
            Mode::Permissive => OnMistake::Permissive,
        };
        Ok(Plan { parsed, on_mistake, corrupt })
    }

    /// The column of texts that did not fit: where the schema names it (then it is no member), else
    /// the last.
    fn corrupt_column(&self, parsed: &mut Vec<Field>) -> Result<Option<(String, usize)>, Error> {
        let Some(name) = &self.corrupt_record_column else { return Ok(None) };
        let refuse = |message: &str| Err(Error::config("corrupt_record_column", message));
        if self.mode != Mode::Permissive {
            return refuse(
                "only with mode = \"permissive\"; in mode \"reject\" such texts are failures",
            );
        }
        let Some(index) = parsed.iter().position(|field| field.name == *name) else {
            return Ok(Some((name.clone(), parsed.len())));
        };
        if parsed.remove(index).data_type != DataType::String {
            return refuse("the schema gives this column a type other than string");
        }
        Ok(Some((name.clone(), index)))
    }
}

impl SchemaText {
    /// All nullable: what a text holds is known only when it comes, as in Spark.
    fn fields(&self) -> Result<Vec<Field>, Error> {
        let schema = match &self.0 {
            Value::String(text) => parse_schema(text),
            Value::Object(_) => parse_schema(&self.0.to_string()),
            _ => Err(Error::new(
                "expected DDL as in `order_id long, city string`, or Spark's schema JSON",
            )),
        };
        let schema = schema.map_err(|why| Error::config("schema", why))?;
        Ok(schema.fields.into_iter().map(nullable).collect())
    }
}

fn nullable(field: Field) -> Field {
    Field { nullable: true, data_type: nullable_type(field.data_type), ..field }
}

fn nullable_type(data_type: DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.into_iter().map(nullable).collect()),
        DataType::Array { element, .. } => {
            DataType::Array { element: Box::new(nullable_type(*element)), contains_null: true }
        }
        DataType::Map { key, value, .. } => {
            DataType::Map { key, value: Box::new(nullable_type(*value)), value_contains_null: true }
        }
        scalar => scalar,
    }
}

/// For editors.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["schema"],
        "additionalProperties": false,
        "properties": {
            "column": { "type": "string", "default": "value",
                "description": "the string or binary column that holds the JSON" },
            "schema": { "type": ["string", "object"],
                "description": "the members to take: DDL as in `order_id long, city string`, or Spark's schema JSON" },
            "mode": { "enum": ["reject", "permissive"], "default": "reject",
                "description": "what does not fit is a failure with a reason, or null as in Spark's PERMISSIVE" },
            "corrupt_record_column": { "type": "string",
                "description": "permissive only: a string column that holds the text if something in it did not fit" },
            "drop_input": { "type": "boolean", "default": false,
                "description": "the column with the JSON ends here" }
        }
    })
}
