//! From a project to `stage.wasm`: the commands of each language's own tools.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::language::{self, Language};
use super::tool::{self, Tool};

/// What a build leaves in the project's folder.
pub const MODULE: &str = "stage.wasm";

/// For stages in C and C++, beside `-std`. Only headers of C++'s standard library are used.
const C_FLAGS: [&str; 4] = ["--target=wasm32-wasi", "-O2", "-msimd128", "-Igristmill/include"];
const LINK_FLAGS: [&str; 2] = ["-mexec-model=reactor", "-Wl,--strip-all"];
const CPP_FLAGS: [&str; 3] = ["-std=c++17", "-fno-exceptions", "-fno-rtti"];

/// The commands that build a project, run one after the other in its folder.
///
/// # Errors
/// A tool is missing, which is named with what installs it, or the folder has no source.
pub fn commands(folder: &Path, language: Language) -> Result<Vec<Command>> {
    let mut commands = match language {
        Language::Rust => rust()?,
        Language::C => c(folder)?,
        Language::Cpp => cpp(folder)?,
        Language::Go => go()?,
        Language::Javascript => javascript(folder, "js")?,
        Language::Typescript => javascript(folder, "ts")?,
        Language::Python => python(folder)?,
        Language::Zig => zig(folder)?,
        Language::Assemblyscript => assemblyscript(folder)?,
        Language::Kotlin => kotlin()?,
    };
    for command in &mut commands {
        // A command that goes into a folder says it from the project's own.
        let inner = command.get_current_dir().map(Path::to_path_buf);
        command.current_dir(inner.map_or(folder.to_path_buf(), |inner| folder.join(inner)));
    }
    Ok(commands)
}

/// Runs one command; what it prints to standard output goes to standard error, which is for people.
///
/// # Errors
/// It cannot be started, or fails.
pub fn run(command: &mut Command, folder: &Path) -> Result<()> {
    let is_cargo = Path::new(command.get_program()).file_stem().is_some_and(|name| name == "cargo");
    if is_cargo {
        return run_cargo(command, folder);
    }
    command.stdin(Stdio::null()).stdout(io::stderr());
    let status =
        command.status().with_context(|| format!("cannot run `{}`", tool::shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", tool::shown(command));
    }
    Ok(())
}

fn rust() -> Result<Vec<Command>> {
    let mut cargo = tool::cargo()?.command();
    cargo.args(["build", "--release", "--target", tool::RUST_TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    Ok(vec![cargo])
}

/// Cargo says where it has put the module, wherever its target folder is; we put it beside the source.
fn run_cargo(command: &mut Command, folder: &Path) -> Result<()> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output =
        command.output().with_context(|| format!("cannot run `{}`", tool::shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", tool::shown(command), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let Some(module) = messages.lines().filter_map(built_module).next_back() else {
        bail!(
            "cargo built no module: Cargo.toml needs `crate-type = [\"cdylib\", \"rlib\"]` under `[lib]`"
        );
    };
    let target = folder.join(MODULE);
    std::fs::copy(&module, &target)
        .with_context(|| format!("cannot copy `{}` to `{}`", module.display(), target.display()))?;
    Ok(())
}

/// The file of a `compiler-artifact` message that is a WebAssembly module.
fn built_module(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let files = message.get("filenames")?.as_array()?;
    let mut files = files.iter().filter_map(Value::as_str).map(PathBuf::from);
    files.find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

fn c(folder: &Path) -> Result<Vec<Command>> {
    let mut command = tool::c_compiler(folder)?.command();
    command.args(C_FLAGS).arg("-std=c17").args(LINK_FLAGS).args(["-o", MODULE]);
    command.args(language::files(folder, "c")).args(library(folder, "gristmill/src")?);
    Ok(vec![command])
}

/// The SDK is in C: its objects first, then the stage.
fn cpp(folder: &Path) -> Result<Vec<Command>> {
    let compiler = tool::c_compiler(folder)?;
    std::fs::create_dir_all(folder.join("build"))
        .with_context(|| format!("cannot make `{}`", folder.join("build").display()))?;
    let sources = library(folder, "gristmill/src")?;
    let mut objects = Vec::new();
    let mut commands = Vec::new();
    for source in sources {
        let object = Path::new("build").join(source.file_name().unwrap_or_default());
        let object = object.with_extension("o");
        let mut command = compiler.command();
        command.args(C_FLAGS).args(["-std=c17", "-c", "-o"]).arg(&object).arg(&source);
        commands.push(command);
        objects.push(object);
    }
    let mut command = tool::cpp_compiler(&compiler).command();
    command.args(C_FLAGS).args(CPP_FLAGS).args(LINK_FLAGS).args(["-o", MODULE]);
    command.args(language::files(folder, "cpp")).args(language::files(folder, "cc")).args(objects);
    commands.push(command);
    Ok(commands)
}

/// The sources of the SDK in a project.
fn library(folder: &Path, below: &str) -> Result<Vec<PathBuf>> {
    let names = language::files(&folder.join(below), "c");
    if names.is_empty() {
        bail!(crate::user_error::UserError::new(format!(
            "`{}` has no SDK: `gristmill stage new NAME --lang c` makes a project with one, copy its folder \
             `gristmill`",
            folder.display()
        )));
    }
    Ok(names.into_iter().map(|name| Path::new(below).join(name)).collect())
}

fn go() -> Result<Vec<Command>> {
    let mut command = tool::go()?.command();
    command.env("GOOS", "wasip1").env("GOARCH", "wasm");
    command.args(["build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", MODULE, "."]);
    Ok(vec![command])
}

fn javascript(folder: &Path, extension: &str) -> Result<Vec<Command>> {
    let source = language::main_file(folder, extension)?;
    let mut build = npx(folder, "@gristmill/stage")?;
    let command = build.last_mut().context("a command")?;
    command.arg("gristmill-stage").arg(source).args(["-o", MODULE]);
    Ok(build)
}

fn assemblyscript(folder: &Path) -> Result<Vec<Command>> {
    let source = folder.join("stage.ts");
    let source = if source.is_file() { PathBuf::from("stage.ts") } else { without_sdk(folder)? };
    let mut build = npx(folder, "assemblyscript")?;
    let command = build.last_mut().context("a command")?;
    command.arg("asc").arg(source).args(["-O3", "--runtime", "incremental", "--use", "abort="]);
    command.args(["-o", MODULE]);
    Ok(build)
}

/// The one file beside the SDK's own.
fn without_sdk(folder: &Path) -> Result<PathBuf> {
    let mut files = language::files(folder, "ts");
    files.retain(|file| file != Path::new("gristmill.ts"));
    match files.as_slice() {
        [only] => Ok(only.clone()),
        _ => Ok(language::main_file(folder, "ts")?),
    }
}

/// `npm install` if a package is not there yet, then the beginning of a call of one of its programs.
fn npx(folder: &Path, package: &str) -> Result<Vec<Command>> {
    let npm = tool::npm()?;
    let mut commands = Vec::new();
    if !folder.join("node_modules").join(package).exists() {
        let mut install = npm.command();
        install.args(["install", "--no-audit", "--no-fund"]);
        commands.push(install);
    }
    let mut npx = Tool::new("npx").command();
    npx.arg("--no-install");
    commands.push(npx);
    Ok(commands)
}

fn python(folder: &Path) -> Result<Vec<Command>> {
    let source = language::main_file(folder, "py")?;
    let module = source.file_stem().unwrap_or_default().to_owned();
    let mut command = tool::componentize_py(folder)?.command();
    command.args(["-d", "gristmill/stage.wit", "-w", "stage", "componentize", "-p", "."]);
    command.args(["--stub-wasi", "-o", MODULE]).arg(module);
    Ok(vec![command])
}

fn zig(folder: &Path) -> Result<Vec<Command>> {
    let source = language::main_file(folder, "zig")?;
    let mut command = tool::zig_compiler(folder)?.command();
    command.args(["build-exe", "-target", "wasm32-freestanding"]);
    command.args(["-mcpu=generic+simd128+bulk_memory", "-O", "ReleaseFast"]);
    command.args(["-fno-entry", "-rdynamic", "-fstrip", "--dep", "gristmill"]);
    command.arg(format!("-Mroot={}", source.display()));
    command.args(["-Mgristmill=gristmill/gristmill.zig", "-femit-bin=stage.wasm"]);
    Ok(vec![command])
}

/// The project's pom.xml says the rest.
fn kotlin() -> Result<Vec<Command>> {
    let mut command = tool::maven()?.command();
    command.args(["--quiet", "--batch-mode", "-Dstyle.color=never", "package"]);
    Ok(vec![command])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_say_where_the_module_is() {
        let message =
            r#"{"reason":"compiler-artifact","filenames":["/t/libkeep.rlib","/t/keep.wasm"]}"#;
        assert_eq!(built_module(message), Some(PathBuf::from("/t/keep.wasm")));
        assert_eq!(built_module(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(built_module("warning"), None);
    }
}
