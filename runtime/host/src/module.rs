//! A module that fulfils the contract's shape: right exports, no import that is not granted.

use crate::host::HostShared;
use crate::sandbox::Sandbox;
use crate::{Grant, LoadError, wasi, wasi_interfaces};
use std::path::Path;
use std::sync::Arc;
use wasmtime::{Engine, ExternType, Precompiled, component};

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
    grant: Arc<Grant>,
}

/// Compiled code with its imports resolved.
pub(crate) enum Code {
    /// A plain core module, called by the canonical lowering of stage.wit.
    Core(wasmtime::InstancePre<Sandbox>),
    Component(component::InstancePre<Sandbox>),
}

impl Module {
    pub(crate) fn new(
        name: &str,
        hash: String,
        size: usize,
        code: Arc<Code>,
        grant: Grant,
    ) -> Self {
        let (name, grant) = (name.into(), Arc::new(grant));
        Self { inner: Arc::new(ModuleInner { name, hash, size, code, grant }) }
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

    /// What its instances may see of the outside world.
    pub(crate) fn grant(&self) -> &Arc<Grant> {
        &self.inner.grant
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
    /// Compiles the bytes, or takes the code from the cache, and checks the exports. Which imports
    /// are granted is asked anew for every stage ([`check_grants`]).
    pub(crate) fn load(host: &HostShared, hash: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        Self::of(host, &Compiled::load(host, hash, bytes)?)
    }

    /// The code from the cache; `None`: it is not there.
    pub(crate) fn cached(host: &HostShared, hash: &str) -> Option<Self> {
        Self::of(host, &Compiled::cached(host, hash)?).ok()
    }

    fn of(host: &HostShared, compiled: &Compiled) -> Result<Self, LoadError> {
        check_shape(host, compiled, &compiled.imports(host))?;
        match compiled {
            Compiled::Core(module) => {
                host.linker.instantiate_pre(module).map(Self::Core).map_err(invalid)
            }
            Compiled::Component(component) => host
                .component_linker
                .instantiate_pre(component)
                .map(Self::Component)
                .map_err(invalid),
        }
    }

    /// Checks that a stage with these grants may have what the code imports.
    pub(crate) fn check_grants(&self, host: &HostShared, grant: &Grant) -> Result<(), LoadError> {
        let compiled = match self {
            // A core module sees nothing where it is not granted anything.
            Self::Core(_) => return Ok(()),
            Self::Component(pre) => Compiled::Component(pre.component().clone()),
        };
        check_grants(&compiled.imports(host), grant)
    }
}

/// Compiled code as it is, before anybody has looked whether it is a stage.
pub(crate) enum Compiled {
    Core(wasmtime::Module),
    Component(component::Component),
}

impl Compiled {
    /// Compiles the bytes, or takes the code from the cache.
    pub(crate) fn load(host: &HostShared, hash: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        if let Some(compiled) = Self::cached(host, hash) {
            return Ok(compiled);
        }
        let compiled = Self::compile(&host.engine, bytes).map_err(invalid)?;
        if let (Some(cache), Ok(code)) = (&host.cache, compiled.serialize()) {
            cache.write(hash, &code);
        }
        Ok(compiled)
    }

    fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Self> {
        // The layer of a binary: 0 in a core module, 1 in a component (component-model, Binary.md).
        if bytes.get(6..8) == Some(&[1, 0]) {
            component::Component::from_binary(engine, bytes).map(Self::Component)
        } else {
            wasmtime::Module::from_binary(engine, bytes).map(Self::Core)
        }
    }

    fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Core(module) => module.serialize(),
            Self::Component(component) => component.serialize(),
        }
    }

    /// The code from the cache; `None`: it is not there.
    fn cached(host: &HostShared, hash: &str) -> Option<Self> {
        let entry = host.cache.as_ref()?.whole_entry(hash)?;
        // A file system that is mounted `noexec` maps no code.
        Self::map(&host.engine, &entry).or_else(|_| Self::read(&host.engine, &entry)).ok()
    }

    /// Pages come into memory as they are used, and processes share them.
    fn map(engine: &Engine, entry: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the code was written by this program into a folder of mode 0700, under the hash
        // of the module and of the engine, its checksum holds, and nobody writes to it.
        match Engine::detect_precompiled_file(entry)? {
            Some(Precompiled::Component) => unsafe {
                component::Component::deserialize_file(engine, entry).map(Self::Component)
            },
            _ => unsafe { wasmtime::Module::deserialize_file(engine, entry).map(Self::Core) },
        }
    }

    fn read(engine: &Engine, entry: &Path) -> wasmtime::Result<Self> {
        let code = std::fs::read(entry)?;
        // SAFETY: as in `map`.
        match Engine::detect_precompiled(&code) {
            Some(Precompiled::Component) => unsafe {
                component::Component::deserialize(engine, code).map(Self::Component)
            },
            _ => unsafe { wasmtime::Module::deserialize(engine, code).map(Self::Core) },
        }
    }

    fn is_component(&self) -> bool {
        matches!(self, Self::Component(_))
    }

    /// As `module.name` of a core module, by their names of a component.
    pub(crate) fn imports(&self, host: &HostShared) -> Vec<String> {
        match self {
            Self::Core(module) => module
                .imports()
                .map(|import| format!("{}.{}", import.module(), import.name()))
                .collect(),
            Self::Component(component) => {
                let shape = component.component_type();
                shape.imports(&host.engine).map(|(name, _)| name.to_owned()).collect()
            }
        }
    }

    pub(crate) fn exports(&self, host: &HostShared) -> Vec<String> {
        match self {
            Self::Core(module) => module.exports().map(|export| export.name().to_owned()).collect(),
            Self::Component(component) => {
                let shape = component.component_type();
                shape.exports(&host.engine).map(|(name, _)| name.to_owned()).collect()
            }
        }
    }
}

/// All that must hold of a stage with these grants.
pub(crate) fn check(
    host: &HostShared,
    compiled: &Compiled,
    grant: &Grant,
) -> Result<(), LoadError> {
    let imports = compiled.imports(host);
    check_shape(host, compiled, &imports)?;
    if compiled.is_component() { check_grants(&imports, grant) } else { Ok(()) }
}

/// No import is one that nobody gets.
fn check_imports(imports: &[String], is_component: bool) -> Result<(), LoadError> {
    let is_known = |import: &&String| match is_component {
        true => wasi_interfaces::needed_grant(import).is_some(),
        false => wasi::has_import(import),
    };
    let refused: Vec<String> = imports.iter().filter(|i| !is_known(i)).cloned().collect();
    if refused.is_empty() { Ok(()) } else { Err(LoadError::Imports(refused)) }
}

fn check_grants(imports: &[String], grant: &Grant) -> Result<(), LoadError> {
    let missing = imports.iter().find_map(|import| {
        let needed = wasi_interfaces::needed_grant(import)?;
        (!wasi_interfaces::is_granted(grant, needed)).then(|| (import.clone(), needed))
    });
    match missing {
        None => Ok(()),
        Some((import, grant)) => Err(LoadError::NotGranted { import, grant }),
    }
}

/// Which says most: what a component asks for, or that a core module is no stage.
fn check_shape(
    host: &HostShared,
    compiled: &Compiled,
    imports: &[String],
) -> Result<(), LoadError> {
    match compiled {
        Compiled::Core(module) => {
            check_core(module)?;
            check_imports(imports, false)
        }
        Compiled::Component(component) => {
            check_imports(imports, true)?;
            check_component(host, component)
        }
    }
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
    Ok(())
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
