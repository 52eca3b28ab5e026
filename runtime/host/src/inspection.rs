//! What a file is, whether or not it is a stage that this host runs.

use crate::LoadError;
use crate::host::{Host, check_kind, sha256_hex};
use crate::module::{self, Compiled};
use crate::{Grant, wasi, wasi_interfaces};

/// A WebAssembly file, looked at from outside.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    /// Size of the file in bytes.
    pub size: usize,
    pub is_component: bool,
    /// As `module.name` of a core module, `package:name/interface@version` of a component.
    pub imports: Vec<Import>,
    pub exports: Vec<String>,
    /// Why the file is no stage, or no stage with the grants it has been given.
    pub refusal: Option<LoadError>,
}

/// Something that a module asks of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub name: String,
    pub answer: ImportAnswer,
}

/// What a module gets for an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportAnswer {
    /// Harmless in every stage: logging, and what answers that there is nothing.
    Always,
    /// The grant of this name opens it; without it a core module sees nothing of the world there,
    /// and a component is refused.
    Grant(&'static str),
    /// No stage gets it.
    Never,
}

impl Host {
    /// Compiles a file, or takes it from the cache, and looks at it.
    ///
    /// # Errors
    /// The file is no WebAssembly that compiles.
    pub fn inspect(&self, bytes: &[u8], grant: &Grant) -> Result<Inspection, LoadError> {
        check_kind(bytes)?;
        let hash = sha256_hex(bytes);
        let compiled = Compiled::load(self.shared(), &hash, bytes)?;
        let is_component = matches!(compiled, Compiled::Component(_));
        let imports = compiled.imports(self.shared());
        let answer =
            |name: &String| Import { name: name.clone(), answer: answer(name, is_component) };
        Ok(Inspection {
            imports: imports.iter().map(answer).collect(),
            exports: compiled.exports(self.shared()),
            refusal: module::check(self.shared(), &compiled, grant).err(),
            size: bytes.len(),
            is_component,
            hash,
        })
    }
}

fn answer(import: &str, is_component: bool) -> ImportAnswer {
    let grant = match is_component {
        true => wasi_interfaces::needed_grant(import),
        false => wasi::useful_grant(import),
    };
    match grant {
        Some(grant) => ImportAnswer::Grant(grant),
        None if !is_component && wasi::has_import(import) => ImportAnswer::Always,
        None => ImportAnswer::Never,
    }
}
