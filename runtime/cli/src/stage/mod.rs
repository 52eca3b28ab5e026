//! Projects of stage authors: what `gristmill stage` makes, builds, tests and looks at.
//!
//! - `language`: the languages, and which one a folder is written in; `project`: the files of a new
//!   one, out of the SDKs inside the binary (`sdk`).
//! - `tool`: tool chains that are there, or what installs them; `build`: the commands of each.
//! - `target`: the module that a command means; `examples`: the rows that it is tested with; `input`:
//!   rows from the command line.

pub mod build;
pub mod examples;
pub mod input;
pub mod language;
pub mod project;
pub mod sdk;
pub mod target;
pub mod tool;
