//! Which module a stage runs: a shipped one by name, or a file.

use std::path::{Component, Path, PathBuf};

use super::pipeline::ModuleRef;
use super::suggestion::{listed, nearest};

/// Endings of what is no module though it may be meant to become one.
const SOURCE_ENDINGS: [&str; 14] =
    ["rs", "c", "cc", "cpp", "go", "js", "ts", "py", "zig", "kt", "toml", "json", "wit", "cwasm"];

/// Why there is no such module.
pub(super) struct NoModule {
    pub message: String,
    pub help: String,
}

/// Looks for a module. `folder`: where the pipeline file is.
///
/// # Errors
/// Where it was looked for, and what would be right.
pub(super) fn find(written: &str, shipped: &[&str], folder: &Path) -> Result<ModuleRef, NoModule> {
    if shipped.contains(&written) {
        return Ok(ModuleRef::Shipped(written.to_string()));
    }
    let path = folder.join(written);
    let shown = without_dots(&path);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let shown = shown.display();
    if path.is_file() {
        return if SOURCE_ENDINGS.contains(&ending) {
            Err(NoModule {
                message: format!("`{shown}` is not a WebAssembly module"),
                help: "build it first and name the `.wasm` file".to_string(),
            })
        } else {
            let absolute = std::path::absolute(&path).unwrap_or(path);
            Ok(ModuleRef::File(absolute))
        };
    }
    let is_path = written.contains(['/', '\\']) || !ending.is_empty();
    let message = match (is_path, path.is_dir()) {
        (_, true) => format!("`{shown}` is a folder, not a module"),
        (true, false) => format!("no such module, looked for `{shown}`"),
        (false, false) => format!("no such module: none shipped is named `{written}`"),
    };
    Err(NoModule { message, help: help(written, is_path, shipped) })
}

fn help(written: &str, is_path: bool, shipped: &[&str]) -> String {
    let name = written.strip_suffix(".wasm").unwrap_or(written);
    match nearest(name, shipped.iter().copied()) {
        Some(near) if near == name => format!("the shipped module is written `\"{near}\"`"),
        Some(near) => format!("did you mean `{near}`?"),
        None if is_path => "a path begins at the folder of the pipeline file".to_string(),
        None if shipped.is_empty() => format!("a file is written `\"{written}.wasm\"`"),
        None => {
            let shipped = listed(shipped.iter().copied(), "and");
            format!("shipped are {shipped}; a file is written `\"{written}.wasm\"`")
        }
    }
}

/// A path as people write it: without `.` in it.
fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}
