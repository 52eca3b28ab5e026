//! The interface that a stage implements at the level of columns.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::batch::{Batch, Output};
use crate::error::Error;
use crate::schema::{Field, Schema};

/// One transformation of rows to rows. It keeps nothing from batch to batch but memory: a batch may
/// be replayed, split in halves, or sent to a fresh instance at any time.
///
/// Export it with [`export!`](crate::export!).
pub trait Stage: Sized {
    /// The `with` table of the pipeline file. Keys that the struct does not have are refused by the
    /// SDK, with the nearest that it has.
    type Config: DeserializeOwned;

    /// Called once per instance, before any batch: looks at the configuration and at the columns
    /// that arrive, and says what it reads and makes. Err: the pipeline does not start; see
    /// [`Error::config`].
    fn describe(config: Self::Config, input: &Schema) -> Result<(Self, Description), Error>;

    /// Turns one batch into one output. Rows that cannot be processed are refused one by one with
    /// [`Output::fail`]. Err: the whole batch cannot be processed; the host isolates the row that
    /// is to blame.
    fn process<'a>(&'a mut self, batch: &Batch<'a>, output: &mut Output<'a>) -> Result<(), Error>;
}

/// What `describe` answers (describe.md, "Answer").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// Of the module, for people.
    pub name: String,
    pub version: String,
    /// The input columns that are sent to `process`, in this order.
    pub reads: Vec<String>,
    /// The columns that every output holds, in this order. One named as an input column replaces it
    /// in its place.
    pub columns: Vec<Field>,
    /// Input columns that end here. Every other one is carried by the host.
    pub drops: Vec<String>,
    /// JSON Schema of the configuration, for editors. Null: none.
    pub config_schema: Value,
}

impl Description {
    /// A stage that reads and makes nothing yet. For the version, `env!("CARGO_PKG_VERSION")`.
    pub fn new(name: &str, version: &str) -> Description {
        Description { name: name.into(), version: version.into(), ..Description::default() }
    }

    pub fn reads<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Description {
        self.reads.extend(names.into_iter().map(Into::into));
        self
    }

    pub fn columns(mut self, fields: impl IntoIterator<Item = Field>) -> Description {
        self.columns.extend(fields);
        self
    }

    pub fn drops<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Description {
        self.drops.extend(names.into_iter().map(Into::into));
        self
    }

    pub fn config_schema(mut self, schema: Value) -> Description {
        self.config_schema = schema;
        self
    }
}
