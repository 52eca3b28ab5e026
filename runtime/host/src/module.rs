//! A module that fulfils the contract's shape: right exports, no import that is not granted.

use crate::LoadError;
use crate::cache::CompiledCache;
use crate::host::HostShared;
use crate::sandbox::Sandbox;
use crate::wasi;
use std::sync::Arc;
use wasmtime::{ExternType, component};

/// A loaded module, not yet configured. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    inner: Arc<ModuleInner>,
}

struct ModuleInner {
    name: Arc<str>,
    hash: String,
    size: usize,
    code: Arc<Code>,
}

/// Compiled code with its imports resolved.
pub(crate) enum Code {
    /// A plain core module, called by the canonical lowering of stage.wit.
    Core(wasmtime::InstancePre<Sandbox>),
    Component(component::InstancePre<Sandbox>),
}

impl Module {
    pub(crate) fn new(name: &str, hash: String, size: usize, code: Arc<Code>) -> Self {
        Self { inner: Arc::new(ModuleInner { name: name.into(), hash, size, code }) }
    }

    /// The name under which it was loaded.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// SHA-256 of the file, in hexadecimal: which code made which row.
    pub fn hash(&self) -> &str {
        &self.inner.hash
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> usize {
        self.inner.size
    }

    /// True for a component, false for a plain core module.
    pub fn is_component(&self) -> bool {
        matches!(*self.inner.code, Code::Component(_))
    }

    pub(crate) fn code(&self) -> &Code {
        &self.inner.code
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Module({} {})", self.name(), self.hash())
    }
}

impl Code {
    /// Compiles the bytes, or takes the code from the cache, and checks exports and imports.
    pub(crate) fn load(
        host: &HostShared,
        cache: Option<&CompiledCache>,
        hash: &str,
        bytes: &[u8],
    ) -> Result<Self, LoadError> {
        // The layer of a binary: 0 in a core module, 1 in a component (component-model, Binary.md).
        if bytes.get(6..8) == Some(&[1, 0]) {
            let component = load_component(host, cache, hash, bytes)?;
            check_component(host, &component)?;
            host.component_linker.instantiate_pre(&component).map(Self::Component).map_err(invalid)
        } else {
            let module = load_core(host, cache, hash, bytes)?;
            check_core(&module)?;
            host.linker.instantiate_pre(&module).map(Self::Core).map_err(invalid)
        }
    }
}

fn load_core(
    host: &HostShared,
    cache: Option<&CompiledCache>,
    hash: &str,
    bytes: &[u8],
) -> Result<wasmtime::Module, LoadError> {
    if let Some(code) = cache.and_then(|cache| cache.read(hash)) {
        // SAFETY: the code was written by this program into a folder of mode 0700, under the hash
        // of the module and of the engine, and its checksum holds.
        if let Ok(module) = unsafe { wasmtime::Module::deserialize(&host.engine, code) } {
            return Ok(module);
        }
    }
    let module = wasmtime::Module::from_binary(&host.engine, bytes).map_err(invalid)?;
    if let (Some(cache), Ok(code)) = (cache, module.serialize()) {
        cache.write(hash, &code);
    }
    Ok(module)
}

fn load_component(
    host: &HostShared,
    cache: Option<&CompiledCache>,
    hash: &str,
    bytes: &[u8],
) -> Result<component::Component, LoadError> {
    if let Some(code) = cache.and_then(|cache| cache.read(hash)) {
        // SAFETY: as in `load_core`.
        if let Ok(component) = unsafe { component::Component::deserialize(&host.engine, code) } {
            return Ok(component);
        }
    }
    let component = component::Component::from_binary(&host.engine, bytes).map_err(invalid)?;
    if let (Some(cache), Ok(code)) = (cache, component.serialize()) {
        cache.write(hash, &code);
    }
    Ok(component)
}

fn invalid(error: wasmtime::Error) -> LoadError {
    LoadError::Invalid(crate::error::cut(&format!("{error:#}")).to_owned())
}

/// The contract's exports of a core module: name, type in text form, whether it must be there.
const CORE_EXPORTS: [(&str, &str, bool); 6] = [
    ("process", "(i32, i32) -> i32", true),
    ("describe", "(i32, i32) -> i32", true),
    ("cabi_realloc", "(i32, i32, i32, i32) -> i32", true),
    ("cabi_post_process", "(i32)", false),
    ("cabi_post_describe", "(i32)", false),
    ("_initialize", "()", false),
];

fn check_core(module: &wasmtime::Module) -> Result<(), LoadError> {
    let exports: Vec<String> = module.exports().map(|export| export.name().to_owned()).collect();
    for (name, expected, required) in CORE_EXPORTS {
        match module.get_export(name) {
            None if required => return Err(LoadError::MissingExport { export: name, exports }),
            None => {}
            Some(found) => {
                let found = extern_text(&found);
                if found != expected {
                    return Err(LoadError::WrongExport { export: name, expected, found });
                }
            }
        }
    }
    match module.get_export("memory") {
        None => return Err(LoadError::MissingExport { export: "memory", exports }),
        Some(ExternType::Memory(memory)) if !memory.is_64() && !memory.is_shared() => {}
        Some(other) => {
            let found = extern_text(&other);
            let expected = "a 32-bit memory of its own";
            return Err(LoadError::WrongExport { export: "memory", expected, found });
        }
    }
    let refused: Vec<String> = module
        .imports()
        .filter(|import| import.module() != wasi::MODULE || !wasi::has(import.name()))
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(LoadError::Imports(refused)) }
}

fn extern_text(found: &ExternType) -> String {
    match found {
        ExternType::Func(function) => {
            let list = |types: Vec<String>| types.join(", ");
            let params = list(function.params().map(|param| param.to_string()).collect());
            let results = list(function.results().map(|result| result.to_string()).collect());
            if results.is_empty() {
                format!("({params})")
            } else {
                format!("({params}) -> {results}")
            }
        }
        ExternType::Memory(memory) if memory.is_64() => "a 64-bit memory".to_owned(),
        ExternType::Memory(_) => "a memory".to_owned(),
        ExternType::Table(_) => "a table".to_owned(),
        ExternType::Global(_) => "a global".to_owned(),
        ExternType::Tag(_) => "a tag".to_owned(),
    }
}

fn check_component(host: &HostShared, component: &component::Component) -> Result<(), LoadError> {
    let shape = component.component_type();
    let imports: Vec<String> =
        shape.imports(&host.engine).map(|(name, _)| name.to_owned()).collect();
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports));
    }
    let exports: Vec<String> =
        shape.exports(&host.engine).map(|(name, _)| name.to_owned()).collect();
    for (name, expected) in COMPONENT_EXPORTS {
        let export = shape.exports(&host.engine).find(|(export, _)| *export == name);
        let Some((_, export)) = export else {
            return Err(LoadError::MissingExport { export: name, exports });
        };
        let found = component_function_text(&export.ty);
        if found != expected {
            return Err(LoadError::WrongExport { export: name, expected, found });
        }
    }
    Ok(())
}

/// The contract's exports of a component, as stage.wit has them.
const COMPONENT_EXPORTS: [(&str, &str); 2] = [
    ("process", "func(list<u8>) -> result<list<u8>, string>"),
    ("describe", "func(string) -> result<string, string>"),
];

fn component_function_text(export: &component::types::ComponentItem) -> String {
    let component::types::ComponentItem::ComponentFunc(function) = export else {
        return "no function".to_owned();
    };
    let params: Vec<String> = function.params().map(|(_, param)| wit_text(&param)).collect();
    let results: Vec<String> = function.results().map(|result| wit_text(&result)).collect();
    let begin = if function.async_() { "async func" } else { "func" };
    format!("{begin}({}) -> {}", params.join(", "), results.join(", "))
}

/// A type in WIT's words, as far as the contract uses them.
fn wit_text(found: &component::Type) -> String {
    let or_none =
        |part: Option<component::Type>| part.map_or("_".to_owned(), |part| wit_text(&part));
    match found {
        component::Type::String => "string".to_owned(),
        component::Type::U8 => "u8".to_owned(),
        component::Type::List(list) => format!("list<{}>", wit_text(&list.ty())),
        component::Type::Result(result) => {
            format!("result<{}, {}>", or_none(result.ok()), or_none(result.err()))
        }
        other => format!("{other:?}").split('(').next().unwrap_or_default().to_lowercase(),
    }
}
