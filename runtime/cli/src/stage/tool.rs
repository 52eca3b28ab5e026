//! Tool chains of other languages: found, or named with what installs them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::user_error::UserError;

/// A program and what stands before a command's own arguments, such as `python3 -m ziglang`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub program: OsString,
    pub leading: Vec<String>,
}

impl Tool {
    pub fn new(program: impl Into<OsString>) -> Tool {
        Tool { program: program.into(), leading: Vec::new() }
    }

    fn with(program: impl Into<OsString>, leading: &[&str]) -> Tool {
        let leading = leading.iter().map(ToString::to_string).collect();
        Tool { program: program.into(), leading }
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.leading);
        command
    }

    /// What a command prints to standard output, if it is there and succeeds.
    pub fn answer(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.to_string_lossy())?;
        self.leading.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

/// Whether a program lies in one of the folders of `PATH`.
pub fn is_on_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| is_program(&folder.join(program)))
}

fn is_program(file: &Path) -> bool {
    file.is_file() || file.with_extension(std::env::consts::EXE_EXTENSION).is_file()
}

/// A program of `PATH`.
///
/// # Errors
/// It is not there: `help` says what installs it.
pub fn require(program: &str, help: &str) -> Result<Tool, UserError> {
    if is_on_path(program) { Ok(Tool::new(program)) } else { Err(missing(program, help)) }
}

fn missing(what: &str, help: &str) -> UserError {
    UserError::new(format!("{what} is missing\nhelp: {help}"))
}

/// The first clang that Debian packages, and the newest that is looked for by its number.
const CLANG_VERSIONS: std::ops::RangeInclusive<u32> = 14..=22;

/// A compiler of C for WASI: a clang that has its standard library, else the one in Zig.
pub fn c_compiler(folder: &Path) -> Result<Tool, UserError> {
    let numbered = CLANG_VERSIONS.rev().map(|version| format!("clang-{version}"));
    let clang = std::iter::once("clang".to_owned()).chain(numbered);
    let clang = clang.filter(|name| is_on_path(name)).map(Tool::new).find(compiles_for_wasi);
    clang.or_else(|| zig(folder).map(|zig| with_word(zig, "cc"))).ok_or_else(|| {
        missing(
            "a C compiler for WebAssembly with a standard library",
            "`pip install ziglang==0.17.1` brings one on every system (in a virtual environment: \
             `python3 -m venv .venv && .venv/bin/pip install ziglang==0.17.1`); Debian has another: \
             `apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`",
        )
    })
}

/// The compiler of C++ that goes with one of C.
pub fn cpp_compiler(c: &Tool) -> Tool {
    match c.leading.split_last() {
        Some((word, rest)) if word == "cc" => {
            with_word(Tool { program: c.program.clone(), leading: rest.to_vec() }, "c++")
        }
        _ => Tool::new(c.program.to_string_lossy().replacen("clang", "clang++", 1)),
    }
}

fn with_word(mut tool: Tool, word: &str) -> Tool {
    tool.leading.push(word.to_owned());
    tool
}

/// Many a clang has no standard library for this target.
fn compiles_for_wasi(clang: &Tool) -> bool {
    let Ok(folder) = tempdir() else { return false };
    let (source, module) = (folder.join("probe.c"), folder.join("probe.wasm"));
    let text = "#include <stdlib.h>\nvoid *probe(void) { return malloc(1); }\n";
    let linked = std::fs::write(&source, text).is_ok_and(|()| {
        let mut command = clang.command();
        command
            .args(["--target=wasm32-wasi", "-mexec-model=reactor", "-o"])
            .arg(&module)
            .arg(&source);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    let _ = std::fs::remove_dir_all(&folder);
    linked
}

/// A folder for this process alone.
fn tempdir() -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("gristmill-probe-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

/// Zig, by itself or as a Python package.
fn zig(folder: &Path) -> Option<Tool> {
    if is_on_path("zig") {
        return Some(Tool::new("zig"));
    }
    pythons(folder)
        .map(|python| Tool::with(python, &["-m", "ziglang"]))
        .find(|zig| zig.answer(&["version"]).is_some())
}

/// That of the project's virtual environment first.
fn pythons(folder: &Path) -> impl Iterator<Item = OsString> {
    let own = folder.join(".venv/bin/python3");
    let own = own.is_file().then(|| absolute(&own));
    let others = ["python3", "python"].into_iter().filter(|name| is_on_path(name));
    own.into_iter().chain(others.map(OsString::from))
}

/// The working folder of a command is another than ours.
fn absolute(path: &Path) -> OsString {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).into_os_string()
}

/// The versions of Zig whose standard library the SDK is written for.
const ZIG_VERSION: &str = "0.17.";

/// Zig's compiler, of the version that the SDK is written for.
pub fn zig_compiler(folder: &Path) -> Result<Tool, UserError> {
    let help = "`pip install ziglang==0.17.1` brings it on every system (in a virtual environment: \
                `python3 -m venv .venv && .venv/bin/pip install ziglang==0.17.1`)";
    let Some(zig) = zig(folder) else { return Err(missing("Zig 0.17", help)) };
    match zig.answer(&["version"]) {
        Some(version) if version.starts_with(ZIG_VERSION) => Ok(zig),
        version => Err(UserError::new(format!(
            "`{zig}` is version {}, and the SDK is written for Zig 0.17\nhelp: {help}",
            version.unwrap_or_else(|| "unknown".to_owned())
        ))),
    }
}

/// The tool that puts Python into a component.
pub fn componentize_py(folder: &Path) -> Result<Tool, UserError> {
    let own = folder.join(".venv/bin/componentize-py");
    if own.is_file() {
        return Ok(Tool::new(absolute(&own)));
    }
    require(
        "componentize-py",
        "`python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project's folder",
    )
}

/// The target of stages in Rust.
pub const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Cargo, with a Rust that has the target.
pub fn cargo() -> Result<Tool, UserError> {
    let cargo = require("cargo", "install Rust with rustup, see rustup.rs")?;
    let target = ["--print", "target-libdir", "--target", RUST_TARGET];
    let library = Tool::new("rustc").answer(&target).unwrap_or_default();
    if Path::new(&library).is_dir() {
        return Ok(cargo);
    }
    Err(missing(
        &format!("Rust's target {RUST_TARGET}"),
        &format!("`rustup target add {RUST_TARGET}`"),
    ))
}

/// The first Go with `go:wasmexport` and reactors.
const GO_MINOR_MIN: u32 = 24;

pub fn go() -> Result<Tool, UserError> {
    let help = format!(
        "install Go 1.{GO_MINOR_MIN} or later, see go.dev; Debian 13: `apt-get install golang-go`"
    );
    let go = require("go", &help)?;
    let version = go.answer(&["env", "GOVERSION"]).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.split(['.', '-', ' ']).next());
    match minor.and_then(|minor| minor.parse::<u32>().ok()) {
        Some(minor) if minor < GO_MINOR_MIN => Err(UserError::new(format!(
            "this is {version}, and stages need Go 1.{GO_MINOR_MIN} or later\nhelp: {help}"
        ))),
        _ => Ok(go),
    }
}

/// Maven, which brings Kotlin's compiler, and the Java that both run on.
pub fn maven() -> Result<Tool, UserError> {
    let help =
        "install Maven and a JDK 17 or later; Debian: `apt-get install maven default-jdk-headless`";
    require("java", help)?;
    require("mvn", help)
}

/// npm, with a Node that runs the build.
pub fn npm() -> Result<Tool, UserError> {
    const NODE_MAJOR_MIN: u32 = 20;
    let help =
        "install Node 20 or later with npm, see nodejs.org; Debian: `apt-get install nodejs npm`";
    let npm = require("npm", help)?;
    let node = require("node", help)?;
    let version = node.answer(&["--version"]).unwrap_or_default();
    let major = version.strip_prefix('v').and_then(|rest| rest.split('.').next());
    match major.and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major < NODE_MAJOR_MIN => {
            Err(UserError::new(format!("this is Node {version}\nhelp: {help}")))
        }
        _ => Ok(npm),
    }
}

/// As in a shell: words with blanks and the like are quoted.
pub fn shown(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        let mut command = Tool::with("python3", &["-m", "ziglang"]).command();
        command.env("GOOS", "wasip1").args(["-ldflags=-s -w", "it's", ""]);
        assert_eq!(
            shown(&command),
            r"GOOS=wasip1 python3 -m ziglang '-ldflags=-s -w' 'it'\''s' ''"
        );
    }

    #[test]
    fn the_compiler_of_cpp_is_the_one_beside_that_of_c() {
        let cpp = |tool: Tool| cpp_compiler(&tool).to_string();
        assert_eq!(cpp(Tool::new("clang-14")), "clang++-14");
        assert_eq!(cpp(Tool::with("python3", &["-m", "ziglang", "cc"])), "python3 -m ziglang c++");
    }

    #[test]
    fn what_is_missing_is_named_with_what_brings_it() {
        let error = require("no-such-program", "apt-get install it").unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is missing\nhelp: apt-get install it");
    }
}
