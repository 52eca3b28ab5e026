//! What a stage says when it refuses a configuration, an input or a batch.

use std::fmt;

/// One line of plain text for the author of the pipeline: lower case, no full stop (describe.md,
/// "Errors").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error that belongs to the stage as a whole.
    pub fn new(message: impl Into<String>) -> Error {
        Error(message.into())
    }

    /// An error that belongs to one key of the stage's configuration. The host points at the key in
    /// the pipeline file. `key` may be dotted (`columns.value`) for nested keys.
    pub fn config(key: &str, message: impl fmt::Display) -> Error {
        Error(format!("config.{key}: {message}"))
    }

    /// The text that crosses the boundary.
    pub fn message(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
