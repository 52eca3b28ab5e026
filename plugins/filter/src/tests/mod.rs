//! The stage as a whole: configuration and columns in, row numbers out.

mod oracle;
mod table;
