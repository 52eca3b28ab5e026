//! Why a text did not become a row.

use std::fmt;

/// What was wrong first, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub(super) what: String,
    /// Bytes from the start of the text.
    pub(super) position: usize,
    /// From the innermost step outwards.
    pub(super) path: Vec<Step>,
}

/// One step of the way from the document to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Element(usize),
}

/// Why the parser stopped; what exactly stands in the parser's `mistake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The text is not JSON: the record is over.
    Syntax,
    /// A value does not fit its type. It was read to its end, nothing of it is in the column.
    Value,
}

impl Mistake {
    /// The field, as in `line_items[2].order_item_id`; empty if the document as a whole is meant.
    pub fn field(&self) -> String {
        let mut field = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) if field.is_empty() => field.push_str(name),
                Step::Field(name) => {
                    field.push('.');
                    field.push_str(name);
                }
                Step::Element(index) => field.push_str(&format!("[{index}]")),
            }
        }
        field
    }

    /// Bytes from the start of the text to what is wrong.
    pub fn position(&self) -> usize {
        self.position
    }
}

/// As in ``field `line_items[2].order_item_id`: expected long, found string at byte 312``.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "field `{}`: ", self.field())?;
        }
        write!(f, "{} at byte {}", self.what, self.position)
    }
}
