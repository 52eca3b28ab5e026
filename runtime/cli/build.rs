//! Builds the shipped stages to WebAssembly and puts them inside the binary.
//!
//! Runs the cargo that runs us, with the profile `stage`, in the folder `stages` of the workspace's
//! own target folder: a target folder of its own has a lock of its own, so the two cargos never
//! wait for each other. Its result is `shipped.rs` in `OUT_DIR` (see `src/shipped.rs`).

use std::env;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Names of the shipped stages: folders of `plugins/`, packages `stage-NAME`.
const STAGES: [&str; 4] = ["parse-json", "flatten", "filter", "cast"];

const TARGET: &str = "wasm32-unknown-unknown";

/// What of `sdk/` goes into the binary as text: files and whole folders, and the names they get there.
const SDK: [(&str, &str); 22] = [
    ("projects", "projects"),
    ("contract/stage.wit", "contract/stage.wit"),
    ("rust/src", "rust/src"),
    ("rust/macros/src", "rust/macros/src"),
    ("rust/stages/examples", "rust/stages/examples"),
    ("c/include", "c/include"),
    ("c/src", "c/src"),
    ("c/examples", "c/examples"),
    ("go/*", "go/sdk"),
    ("go/examples", "go/examples"),
    ("javascript/src", "javascript/src"),
    ("javascript/bin", "javascript/bin"),
    ("javascript/package.json", "javascript/package/package.json"),
    ("javascript/examples", "javascript/examples"),
    ("python/gristmill", "python/gristmill"),
    ("python/examples", "python/examples"),
    ("zig/src", "zig/src"),
    ("zig/examples", "zig/examples"),
    ("assemblyscript/gristmill.ts", "assemblyscript/sdk/gristmill.ts"),
    ("assemblyscript/*", "assemblyscript"),
    ("kotlin/gristmill", "kotlin/gristmill"),
    ("kotlin/examples", "kotlin/examples"),
];

/// Files of an SDK that a project has no use for.
const LEFT_OUT: [&str; 5] = ["README.md", "Makefile", "__pycache__", "node_modules", "build"];

/// What a change of means that the stages have to be built anew, from the workspace's root.
const INPUTS: [&str; 6] =
    ["plugins", "sdk/rust", "sdk/contract", ".cargo/config.toml", "Cargo.toml", "Cargo.lock"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot build the shipped stages: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let root = workspace_root()?;
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    ensure_target()?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let target_dir = stages_target_dir(&out_dir);
    compile(&root, &target_dir)?;
    let mut shipped = String::from("pub static SHIPPED: &[(&str, &[u8])] = &[\n");
    for stage in STAGES {
        let file = format!("stage_{}.wasm", stage.replace('-', "_"));
        take(&target_dir.join(TARGET).join("stage").join(file), &out_dir, stage)?;
        let _ = writeln!(
            shipped,
            r#"    ("{stage}", include_bytes!(concat!(env!("OUT_DIR"), "/{stage}.wasm"))),"#
        );
    }
    shipped.push_str("];\n");
    write_if_changed(&out_dir.join("shipped.rs"), shipped.as_bytes())?;
    write_if_changed(&out_dir.join("sdk.rs"), sdk(&root.join("sdk"))?.as_bytes())
}

/// `static SDK: &[(&str, &str)]`: names and texts of the files of [`SDK`].
fn sdk(root: &Path) -> Result<String, String> {
    let mut files = Vec::new();
    for (source, name) in SDK {
        let (source, deep) = match source.strip_suffix("/*") {
            Some(folder) => (folder, false),
            None => (source, true),
        };
        println!("cargo::rerun-if-changed={}", root.join(source).display());
        collect(&root.join(source), name, deep, &mut files)?;
    }
    files.sort();
    let mut text = String::from("static SDK: &[(&str, &str)] = &[\n");
    for (name, file) in files {
        let _ = writeln!(text, "    ({name:?}, include_str!({file:?})),");
    }
    text.push_str("];\n");
    Ok(text)
}

/// A file, or the files of a folder, those of the folders below it if `deep`.
fn collect(
    path: &Path,
    name: &str,
    deep: bool,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), String> {
    let cannot = |error| format!("cannot read {}: {error}", path.display());
    if path.is_file() {
        files.push((name.to_owned(), path.to_owned()));
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let below = entry.file_name().to_string_lossy().into_owned();
        let is_wanted = !LEFT_OUT.contains(&below.as_str());
        if is_wanted && (deep || entry.path().is_file()) {
            collect(&entry.path(), &format!("{name}/{below}"), deep, files)?;
        }
    }
    Ok(())
}

fn workspace_root() -> Result<PathBuf, String> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = package.ancestors().nth(2);
    root.map(Path::to_path_buf).ok_or_else(|| format!("{} has no workspace", package.display()))
}

/// `<target>/stages`, shared by all profiles since the stages always have their own.
fn stages_target_dir(out_dir: &Path) -> PathBuf {
    let build = out_dir.ancestors().find(|folder| folder.file_name() == Some(OsStr::new("build")));
    let target = build.and_then(|folder| folder.ancestors().nth(2));
    target.unwrap_or(out_dir).join("stages")
}

/// Installs the WebAssembly target with rustup if it is missing.
fn ensure_target() -> Result<(), String> {
    if has_target()? {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).status();
    if added.is_ok_and(|status| status.success()) && has_target()? {
        return Ok(());
    }
    Err(format!(
        "this Rust has no target {TARGET}\n\
         help: run `rustup target add {TARGET}` and build again (without rustup: install the \
         standard library of that target from where Rust came from)"
    ))
}

fn has_target() -> Result<bool, String> {
    let rustc = variable("RUSTC")?;
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run {rustc}: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success() && Path::new(&folder).is_dir())
}

fn compile(root: &Path, target_dir: &Path) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(root).args(["build", "--profile", "stage", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target_dir);
    for stage in STAGES {
        cargo.args(["--package", &format!("stage-{stage}")]);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    // Whatever the user's settings are: code that was compiled piece by piece is slower.
    cargo.env("CARGO_INCREMENTAL", "0");
    let output = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Whether an environment variable speaks of the build that we are part of: its flags (those of
/// `.cargo/config.toml` must hold instead), clippy's wrapper, its package. What says how cargo
/// reaches its registry, and the job server that shares the cores, stays.
fn is_of_the_outer_build(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_INCREMENTAL",
        "OUT_DIR",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
    ];
    const PREFIXES: [&str; 8] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Copies a stage into `OUT_DIR`, and leaves it alone if it is the same, so that nothing is
/// compiled for its sake.
fn take(wasm: &Path, out_dir: &Path, stage: &str) -> Result<(), String> {
    let bytes =
        fs::read(wasm).map_err(|error| format!("cannot read {}: {error}", wasm.display()))?;
    write_if_changed(&out_dir.join(format!("{stage}.wasm")), &bytes)
}

fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("environment variable {name}: {error}"))
}
