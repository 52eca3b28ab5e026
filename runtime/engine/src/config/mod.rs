//! The pipeline file: read in two steps, as written and as it runs.
//!
//! `load` tells all mistakes of a file at once, each at its place. What a module says of its own
//! settings, and whether the columns of two stages fit, is found later (`plan`) and told as
//! diagnostics of the same kind.
//!
//! - `pipeline`: as it runs. `resolve` makes it, with `flow` (who reads from whom), `names`,
//!   `module`, `kafka`, `table_address` and `secret`.
//! - `document`: as written. `table`, `entry` and `json` read it, by the keys listed in `shape` and
//!   the types of `value_shape`; `syntax` explains what is no TOML.
//! - `schema`: the same keys as a JSON Schema and as a reference for people.
//! - `diagnostic`: what is wrong, shown; `report` collects, `suggestion` guesses what was meant. `listing` is a whole file,
//!   shown.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

mod resolve;

mod flow;
mod kafka;
mod module;
mod names;
mod secret;
mod table_address;

mod document;
mod entry;
mod json;
mod quantity;
mod schema;
mod shape;
mod syntax;
mod table;
mod value_shape;

mod diagnostic;
mod listing;
mod pipeline;
mod report;
mod suggestion;

pub use diagnostic::{Diagnostic, Severity, render_all, render_with_files};
pub use listing::lines_without_secrets;
pub use pipeline::*;
pub(crate) use quantity::{date_text, hex_bytes};
pub use quantity::{parse_timestamp_us, timestamp_text};
pub use schema::{json_schema, key_reference};

use report::Report;
use resolve::Resolver;
use secret::Expander;

/// Longest pipeline file.
pub const FILE_BYTES_MAX: u64 = 256 << 10;

/// What a pipeline file refers to outside of itself.
pub struct LoadContext<'c> {
    /// Names of the modules inside the binary.
    pub shipped: &'c [&'c str],
    /// Value of an environment variable.
    pub environment: &'c dyn Fn(&str) -> Option<String>,
}

/// A file that can run.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub pipeline: Pipeline,
    /// In the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a pipeline file.
///
/// # Errors
/// Everything that is wrong, and the warnings, in the order of the file.
pub fn load(file: &Path, context: &LoadContext) -> Result<Loaded, Vec<Diagnostic>> {
    let text = read_text(file).map_err(|error| vec![error])?;
    parse(&text, file, context)
}

/// Reads the text of a pipeline file. `file` is where relative paths begin and what diagnostics
/// name.
///
/// # Errors
/// Everything that is wrong, and the warnings, in the order of the file.
pub fn parse(text: &str, file: &Path, context: &LoadContext) -> Result<Loaded, Vec<Diagnostic>> {
    let report = Report::new(file);
    let pipeline = parse_table(text, &report)
        .map(|table| document::read(&table, &report))
        .and_then(|document| {
            let folder = file.parent().unwrap_or(Path::new(""));
            let environment = context.environment;
            let expander = Expander { environment, folder, source_text: text };
            let shipped = context.shipped;
            Resolver { file, folder, shipped, expander, report: &report }.pipeline(document)
        });
    let is_right = !report.has_errors();
    let diagnostics = report.into_diagnostics();
    match pipeline {
        Some(pipeline) if is_right => Ok(Loaded { pipeline, warnings: diagnostics }),
        _ => {
            debug_assert!(!is_right, "refused without a reason");
            Err(diagnostics)
        }
    }
}

pub(crate) fn read_text(file: &Path) -> Result<String, Diagnostic> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Diagnostic::error(file, 0..0, format!("cannot read it: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("longer than {} KiB", FILE_BYTES_MAX >> 10);
        return Err(Diagnostic::error(file, 0..0, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        let message =
            format!("not UTF-8 text: line {line} has a byte that belongs to no character");
        Diagnostic::error(file, 0..0, message)
    })
}

/// `None` if the text is not TOML, which is reported. The parser limits how deep tables are nested.
fn parse_table<'t>(text: &'t str, report: &Report) -> Option<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    syntax::report(text, &errors, report).then(|| table.into_inner())
}
