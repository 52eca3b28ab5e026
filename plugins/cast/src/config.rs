//! The stage's configuration and what follows from it for the columns that arrive.

use std::collections::BTreeMap;

use gristmill::ddl::parse_type;
use gristmill::serde::Deserialize;
use gristmill::serde_json::{Value, from_str};
use gristmill::{Error, Field, Schema, hint};

use crate::convert::{Mode, check};

/// The `with` table of the pipeline file. The tables in the crate's documentation say what each key
/// means.
#[derive(Debug, Deserialize)]
#[serde(crate = "gristmill::serde")]
pub struct Config {
    columns: BTreeMap<String, String>,
    #[serde(default)]
    pub mode: Mode,
}

impl Config {
    /// The columns that change, in the order of the input. One that has its type already is left
    /// alone.
    pub fn fields(&self, input: &Schema) -> Result<Vec<Field>, Error> {
        if self.columns.is_empty() {
            return Err(Error::config(
                "columns",
                "name at least one, as in { value = \"string\" }",
            ));
        }
        let mut fields = vec![None; input.fields.len()];
        for (name, target) in &self.columns {
            let key = format!("columns.{name}");
            let index = index_of(input, name).ok_or_else(|| {
                let hint = hint(name, "columns", input.names());
                Error::config(&key, format!("no column `{name}`; {hint}"))
            })?;
            let source = &input.fields[index];
            let target = parse_type(target).map_err(|why| Error::config(&key, why))?;
            check(&source.data_type, &target).map_err(|why| Error::config(&key, why))?;
            if fields[index].is_some() {
                let message = format!("column `{}` is cast twice", source.name);
                return Err(Error::config(&key, message));
            }
            if source.data_type != target {
                // A value that fails is null until the host has taken its row out.
                fields[index] = Some(Field::new(&source.name, target));
            }
        }
        Ok(fields.into_iter().flatten().collect())
    }
}

/// Where a column stands, by its name; in another case too, if only one fits.
fn index_of(input: &Schema, name: &str) -> Option<usize> {
    input.index_of(name).or_else(|| {
        let lower = name.to_lowercase();
        let mut same = input.names().enumerate().filter(|(_, other)| other.to_lowercase() == lower);
        let (index, _) = same.next()?;
        same.next().is_none().then_some(index)
    })
}

/// JSON Schema of the configuration, for editors.
pub fn schema() -> Value {
    // A test holds the file to be JSON; without it editors would only lose their hints.
    from_str(include_str!("config.schema.json")).unwrap_or_default()
}
