//! The part of the command line that others use too: the stages inside the binary.
//!
//! Start with `main.rs` for the program itself.

pub mod shipped;
