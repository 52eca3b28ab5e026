//! The stage's configuration and what follows from it for the columns that arrive.

use std::collections::BTreeMap;

use gristmill::serde::Deserialize;
use gristmill::serde_json::{Value, from_str};
use gristmill::{DataType, Error, Field, Schema, hint};

use crate::explode::{Element, Rules};

/// The `with` table of the pipeline file. The table in the crate's documentation says what each key
/// means.
#[derive(Debug, Deserialize)]
#[serde(crate = "gristmill::serde")]
pub struct Config {
    explode: String,
    #[serde(default)]
    outer: bool,
    position: Option<String>,
    #[serde(default)]
    rename: BTreeMap<String, String>,
    #[serde(default)]
    prefix: String,
    #[serde(default = "yes")]
    keep_null_elements: bool,
}

fn yes() -> bool {
    true
}

/// What the stage does with its columns.
#[derive(Debug)]
pub struct Plan {
    /// The column that ends here.
    pub exploded: String,
    /// The column of places.
    pub position: Option<Field>,
    /// The columns made of the elements.
    pub elements: Vec<Field>,
    pub rules: Rules,
}

impl Config {
    /// Checks the configuration against the columns that arrive.
    pub fn plan(&self, input: &Schema) -> Result<Plan, Error> {
        let exploded = find(input, &self.explode)?;
        let (element, made) = made_of(exploded)?;
        self.check_renamed(&made)?;
        let elements = made.into_iter().map(|field| self.named(field)).collect();
        let plan = Plan {
            exploded: exploded.name.clone(),
            position: self.position.as_ref().map(|name| Field::new(name, DataType::Integer)),
            elements,
            rules: Rules {
                element,
                outer: self.outer,
                keep_null_elements: self.keep_null_elements,
            },
        };
        self.check_names(&plan, input)?;
        Ok(plan)
    }

    fn check_renamed(&self, made: &[Field]) -> Result<(), Error> {
        for old in self.rename.keys() {
            if !made.iter().any(|field| field.name == *old) {
                let names = made.iter().map(|field| field.name.as_str());
                let message = format!("`{}` makes no column `{old}`; ", self.explode);
                let message = message + &hint(old, "columns that it makes", names);
                return Err(Error::config(&format!("rename.{old}"), message));
            }
        }
        Ok(())
    }

    fn named(&self, field: Field) -> Field {
        let name = match self.rename.get(&field.name) {
            Some(new) => new.clone(),
            None => format!("{}{}", self.prefix, field.name),
        };
        Field { name, ..field }
    }

    /// Every column that is made needs a name of its own.
    fn check_names(&self, plan: &Plan, input: &Schema) -> Result<(), Error> {
        let carried = |name: &str| name != plan.exploded && input.index_of(name).is_some();
        if let Some(position) = &self.position
            && carried(position)
        {
            let message = format!("there is a column `{position}` already, take another name");
            return Err(Error::config("position", message));
        }
        for (index, field) in plan.elements.iter().enumerate() {
            let name = &field.name;
            let taken_by = if carried(name) {
                "is carried from the input"
            } else if plan.position.iter().chain(&plan.elements[..index]).any(|f| f.name == *name) {
                "is made here already"
            } else {
                continue;
            };
            let message =
                format!("a column `{name}` {taken_by}: give the one made of `{}` ", self.explode);
            let message = message + &format!("another name, as in {}", self.example(name));
            return Err(Error::config("rename", message));
        }
        Ok(())
    }

    /// A `rename` that frees `name`.
    fn example(&self, name: &str) -> String {
        let renamed = self.rename.iter().find(|(_, new)| *new == name).map(|(old, _)| old.as_str());
        let old = renamed.unwrap_or_else(|| name.strip_prefix(&self.prefix).unwrap_or(name));
        format!("{{ {old} = \"{}_{old}\" }}", self.explode)
    }
}

impl Plan {
    /// Whether the exploded column ends; one of its own name takes its place instead.
    pub fn drops_exploded(&self) -> bool {
        self.position.iter().chain(&self.elements).all(|field| field.name != self.exploded)
    }
}

/// A column by its name; in another case too, if only one fits.
fn find<'s>(input: &'s Schema, name: &str) -> Result<&'s Field, Error> {
    if input.field(name).is_none() {
        let lower = name.to_lowercase();
        let mut same = input.fields.iter().filter(|field| field.name.to_lowercase() == lower);
        if let (Some(only), None) = (same.next(), same.next()) {
            return Ok(only);
        }
    }
    input.require("explode", name)
}

/// What the elements of a column are, and the columns that they make, all nullable.
fn made_of(exploded: &Field) -> Result<(Element, Vec<Field>), Error> {
    let made = match &exploded.data_type {
        DataType::Array { element, .. } => match element.as_ref() {
            DataType::Struct(fields) => {
                let nullable = |field: &Field| Field::new(&field.name, field.data_type.clone());
                (Element::Struct, fields.iter().map(nullable).collect())
            }
            element => (Element::Value, vec![Field::new(&exploded.name, element.clone())]),
        },
        DataType::Map { key, value, .. } => {
            let entry = vec![
                Field::new("key", key.as_ref().clone()),
                Field::new("value", value.as_ref().clone()),
            ];
            (Element::Entry, entry)
        }
        other => {
            let message =
                format!("column `{}` is {other}, and only an array or a map", exploded.name);
            return Err(Error::config("explode", message + " can be taken apart"));
        }
    };
    Ok(made)
}

/// JSON Schema of the configuration, for editors.
pub fn schema() -> Value {
    // A test holds the file to be JSON; without it editors would only lose their hints.
    from_str(include_str!("config.schema.json")).unwrap_or_default()
}
