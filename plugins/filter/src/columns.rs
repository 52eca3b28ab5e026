//! The columns that arrive: looks names up and remembers which of them are read.

use gristmill::{DataType, Field, Schema, hint};

use crate::predicate::{ColumnPath, Predicate};
use crate::sql::Mistake;

/// The columns of the input, and those that the condition reads.
pub struct Columns<'a> {
    schema: &'a Schema,
    reads: Vec<usize>,
}

/// A column found in the schema.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    pub path: ColumnPath,
    pub data_type: &'a DataType,
    /// As written, for messages.
    pub name: String,
}

impl Found<'_> {
    /// The column as a condition, if it is one.
    pub fn as_condition(&self) -> Option<Predicate> {
        (*self.data_type == DataType::Boolean).then(|| Predicate::Boolean(self.path.clone()))
    }
}

impl<'a> Columns<'a> {
    /// The columns of `schema`, none of them read yet.
    pub fn new(schema: &'a Schema) -> Self {
        Self { schema, reads: Vec::new() }
    }

    /// The names of the columns that were found, in the order of `ColumnPath::column`.
    pub fn reads(&self) -> Vec<String> {
        self.reads.iter().map(|&index| self.schema.fields[index].name.clone()).collect()
    }

    /// Looks a column up, and the struct members behind its dots. An exact name wins, else case
    /// does not count (as in Spark).
    pub fn find(&mut self, parts: &[String], at: usize) -> Result<Found<'a>, Mistake> {
        let Some((column, members)) = parts.split_first() else {
            return Err(Mistake::new(at, "a column name is missing"));
        };
        let index = position(&self.schema.fields, column, None, at)?;
        let mut found = Found {
            path: ColumnPath { column: self.read(index), members: Vec::new() },
            data_type: &self.schema.fields[index].data_type,
            name: column.clone(),
        };
        for member in members {
            let DataType::Struct(fields) = found.data_type else {
                let Found { name, data_type, .. } = &found;
                let help = match data_type {
                    DataType::Array { .. } | DataType::Map { .. } => {
                        ", put the stage `flatten` before"
                    }
                    _ => "",
                };
                let message = format!("`{name}` is {data_type} and has no field `{member}`{help}");
                return Err(Mistake::new(at, message));
            };
            let member_index = position(fields, member, Some(&found.name), at)?;
            found.path.members.push(member_index);
            found.data_type = &fields[member_index].data_type;
            found.name = format!("{}.{member}", found.name);
        }
        Ok(found)
    }

    /// A column named in the configuration: the whole text first, then cut at its dots.
    pub fn find_named(&mut self, name: &str) -> Result<Found<'a>, Mistake> {
        let whole = [name.to_owned()];
        let is_column =
            self.schema.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        if is_column || !name.contains('.') {
            return self.find(&whole, 0);
        }
        let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
        self.find(&parts, 0)
    }

    fn read(&mut self, index: usize) -> usize {
        match self.reads.iter().position(|&read| read == index) {
            Some(position) => position,
            None => {
                self.reads.push(index);
                self.reads.len() - 1
            }
        }
    }
}

/// Where a column stands, or a member of the struct column `of`.
fn position(fields: &[Field], name: &str, of: Option<&str>, at: usize) -> Result<usize, Mistake> {
    if let Some(exact) = fields.iter().position(|field| field.name == name) {
        return Ok(exact);
    }
    let lower = name.to_lowercase();
    let same = |field: &Field| field.name.to_lowercase() == lower;
    let mut matching = fields.iter().enumerate().filter(|(_, field)| same(field));
    match (matching.next(), matching.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some((_, first)), Some((_, second))) => {
            let (first, second) = (&first.name, &second.name);
            Err(Mistake::new(
                at,
                format!("`{name}` may be `{first}` or `{second}`, write one of them"),
            ))
        }
        (None, _) => {
            let names = fields.iter().map(|field| field.name.as_str());
            let message = match of {
                None => format!("no column `{name}`, {}", hint(name, "columns", names)),
                Some(of) => {
                    format!("`{of}` has no field `{name}`, {}", hint(name, "fields", names))
                }
            };
            Err(Mistake::new(at, message))
        }
    }
}
