//! What can go wrong with a stage, split by who decides on it.
//!
//! - [`LoadError`]: the file is not a module that this host runs. For the author of the pipeline.
//! - [`DescribeError`]: the module is fine, its configuration or its input columns are not.
//! - [`ProcessError`]: one batch failed; [`crate::Lane`] isolates the row that is to blame.
//!
//! Texts are lower case without a full stop, since the callers put them behind a place in a file.

use std::fmt;
use std::time::Duration;

/// The host itself cannot start.
#[derive(Debug)]
pub struct HostError(pub(crate) String);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HostError {}

/// Why bytes were not accepted as a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The file cannot be read.
    Unreadable { path: String, error: String },
    /// The bytes do not begin with WebAssembly's magic number.
    NotWasm,
    /// WebAssembly text (WAT); the host takes the binary format only.
    Text,
    /// More bytes than `bytes_max`.
    TooLarge { bytes: usize, bytes_max: usize },
    /// WebAssembly, but the compiler refuses it: damaged, or with features that are switched off.
    Invalid(String),
    /// A function or memory of the contract is not exported. `exports` are those that are there.
    MissingExport { export: &'static str, exports: Vec<String> },
    /// An export of the contract's name with another type than the contract's.
    WrongExport { export: &'static str, expected: &'static str, found: String },
    /// Imports that no stage is granted, as `module.name`.
    Imports(Vec<String>),
    /// An import that a stage may be granted, and this one is not: the key under `[stage.grant]`.
    NotGranted { import: String, grant: &'static str },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "cannot read module `{path}`: {error}"),
            Self::NotWasm => {
                f.write_str("not a WebAssembly module (it does not begin with `\\0asm`)")
            }
            Self::Text => f.write_str(
                "WebAssembly text, not a module: translate it first, for example with `wat2wasm`",
            ),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "module has {bytes} bytes, at most {bytes_max} are allowed")
            }
            Self::Invalid(why) => write!(f, "module does not compile: {why}"),
            Self::MissingExport { export, exports } if exports.is_empty() => {
                write!(f, "module does not export `{export}`, it exports nothing")
            }
            Self::MissingExport { export, exports } => {
                write!(f, "module does not export `{export}`, it exports {}", quoted(exports))
            }
            Self::WrongExport { export, expected, found } => {
                write!(f, "module exports `{export}` as {found}, the contract has {expected}")
            }
            Self::Imports(imports) => {
                write!(f, "module asks for imports that no stage is granted: {}", quoted(imports))
            }
            Self::NotGranted { import, grant } => write!(
                f,
                "module asks for `{import}`, which the stage is not granted: add `{grant}` under `[stage.grant]`"
            ),
        }
    }
}

impl std::error::Error for LoadError {}

/// At most this many names stand in one message.
const NAMES_SHOWN_MAX: usize = 12;

fn quoted(names: &[String]) -> String {
    let mut text: Vec<String> =
        names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > NAMES_SHOWN_MAX {
        text.push(format!("and {} more", names.len() - NAMES_SHOWN_MAX));
    }
    text.join(", ")
}

/// Why a stage cannot be made of a module, a configuration and input columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeError {
    /// The (dotted) key of the configuration that is to blame; absent: the stage as a whole.
    pub key: Option<String>,
    pub message: String,
}

impl DescribeError {
    pub(crate) fn stage(message: impl Into<String>) -> Self {
        Self { key: None, message: message.into() }
    }

    /// Splits the guest's `config.KEY: message` (describe.md) into key and message.
    pub(crate) fn of_guest(text: &str) -> Self {
        let text = first_line(text);
        let keyed = text.strip_prefix("config.").and_then(|rest| rest.split_once(": "));
        match keyed {
            Some((key, message)) if is_key(key) => {
                Self { key: Some(key.to_owned()), message: message.to_owned() }
            }
            _ => Self::stage(text),
        }
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

impl fmt::Display for DescribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for DescribeError {}

/// Why one batch failed. Anything but [`ProcessError::Refused`] poisons the instance: no output of
/// it is used, and it answers [`ProcessError::Poisoned`] from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessError {
    /// The guest trapped; the text names the trap and, if known, the function.
    Trap(String),
    /// The batch took longer than `batch_time_max`.
    Timeout { after: Duration },
    /// The guest asked for more than `memory_bytes_max` and did not survive the refusal, or the
    /// batch itself is larger than that.
    MemoryLimit { bytes_max: usize },
    /// The output has more rows or bytes than allowed.
    OutputLimit(String),
    /// The guest's own `Err`: it cannot process this batch. The instance stays usable.
    Refused(String),
    /// The output breaks a rule of frame.md.
    BadOutput(String),
    /// The instance failed before and must be replaced.
    Poisoned,
}

impl ProcessError {
    /// True if the instance may be used again.
    pub fn leaves_instance_usable(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(what) => write!(f, "stage trapped: {what}"),
            Self::Timeout { after } => {
                write!(f, "stage took longer than {} ms", after.as_millis())
            }
            Self::MemoryLimit { bytes_max } => {
                write!(f, "stage needs more memory than its limit of {bytes_max} bytes")
            }
            Self::OutputLimit(what) => write!(f, "stage's output is too large: {what}"),
            Self::Refused(why) => write!(f, "stage refused the batch: {why}"),
            Self::BadOutput(what) => write!(f, "stage's output breaks the contract: {what}"),
            Self::Poisoned => f.write_str("stage instance failed before and was not replaced"),
        }
    }
}

impl std::error::Error for ProcessError {}

/// Longest text of a guest that is kept in an error or a failure.
pub(crate) const GUEST_TEXT_BYTES_MAX: usize = 4096;

/// The text up to [`GUEST_TEXT_BYTES_MAX`], cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(GUEST_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn first_line(text: &str) -> &str {
    cut(text.trim().lines().next().unwrap_or("no reason given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_describe_error_names_the_key_it_blames() {
        let error = DescribeError::of_guest("config.schema.city: unknown type `strng`\nmore");
        assert_eq!(error.key.as_deref(), Some("schema.city"));
        assert_eq!(error.message, "unknown type `strng`");
        assert_eq!(DescribeError::of_guest("config.: x").key, None);
        assert_eq!(DescribeError::of_guest("").message, "no reason given");
    }

    #[test]
    fn guest_texts_are_cut_between_characters() {
        let long = "é".repeat(GUEST_TEXT_BYTES_MAX);
        assert!(cut(&long).len() <= GUEST_TEXT_BYTES_MAX);
        assert!(cut(&long).ends_with('é'));
    }
}
