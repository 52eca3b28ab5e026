//! Mistakes that the user can mend: exit code 2, where a failure while running is 1.

use std::fmt;

/// A message that names the thing and the mend. Put into an `anyhow::Error`, it makes `main` exit with 2.
#[derive(Debug)]
pub struct UserError(String);

impl UserError {
    pub fn new(message: impl Into<String>) -> UserError {
        UserError(message.into())
    }

    /// Marks a whole error, causes and all, as one that the user can mend.
    pub fn from_error(error: anyhow::Error) -> UserError {
        UserError(format!("{error:#}"))
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UserError {}
