//! The words of `where`: text to tokens to an expression, with Spark's grammar for the part of SQL
//! that a filter needs.
//!
//! Knows nothing of columns and types; `check.rs` gives an expression its meaning.

mod expression;
mod parse;
mod token;

pub use expression::{Comparison, Expression, Kind, Literal};
pub use parse::parse;

/// What is wrong with a `where` text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Character of the text, counted from 1; 0 if the expression did not come from a text.
    pub at: usize,
    /// Lower case, no full stop.
    pub message: String,
}

impl Mistake {
    /// A mistake at character `at`.
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at {
            0 => formatter.write_str(&self.message),
            at => write!(formatter, "at character {at}: {}", self.message),
        }
    }
}
