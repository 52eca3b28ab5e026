//! `cargo xtask languages`: the SDKs of all languages. Installs what builds their example stages,
//! builds them into `languages/` of the target folder, and runs the contract test over them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::Steps;
use crate::{setup, tool};

/// Tells the contract test which languages must be there; it leaves out others that are not built.
pub const REQUIRED_VARIABLE: &str = "GRISTMILL_LANGUAGES";

/// Python packages with compilers, with their versions.
const TOOLS: &str = "sdk/tools.txt";

/// The first Go with `go:wasmexport` and reactors.
const GO_MINOR_MIN: u32 = 24;

/// The example stages of the Rust SDK: examples of the package `gristmill-example-stages`.
const RUST_STAGES: [&str; 9] = [
    "every_type",
    "every_type_columns",
    "explode_items",
    "fails_odd",
    "keep_city",
    "keep_city_columns",
    "leaks",
    "with_total",
    "with_total_columns",
];

/// One SDK: its name, which is its folder under `languages/`, too, and how its examples are built.
struct Language {
    name: &'static str,
    build: fn(&Path) -> Result<()>,
}

const LANGUAGES: [Language; 8] = [
    Language { name: "rust", build: rust },
    Language { name: "c", build: c_and_cpp },
    Language { name: "go", build: go },
    Language { name: "javascript", build: javascript },
    Language { name: "python", build: python },
    Language { name: "zig", build: zig },
    Language { name: "assemblyscript", build: assemblyscript },
    Language { name: "kotlin", build: kotlin },
];

/// The value of [`REQUIRED_VARIABLE`] for all that [`build`] builds.
pub fn all() -> String {
    with_cpp(&LANGUAGES.each_ref().map(|language| language.name))
}

/// The value of [`REQUIRED_VARIABLE`] for these. C++ is built with C, and has a folder of its own.
fn with_cpp(names: &[&'static str]) -> String {
    let folders = |name: &&'static str| if *name == "c" { vec!["c", "cpp"] } else { vec![*name] };
    names.iter().flat_map(folders).collect::<Vec<_>>().join(",")
}

/// Builds the named languages, or all, and runs the contract test.
pub fn run(names: &[String]) -> Result<()> {
    let mut steps = Steps::begin();
    let names = build(names, &mut steps)?;
    steps.step("contract test", || {
        let mut cargo = tool::cargo(&["test", "--release", "--package", "gristmill-host"]);
        cargo.args(["--test", "languages"]).env(REQUIRED_VARIABLE, with_cpp(&names));
        tool::run(&mut cargo)
    })
}

/// The folder of programs that comes before those of `PATH` in the tests of projects.
pub const TOOLS_VARIABLE: &str = "GRISTMILL_TOOLS";

/// Makes, builds and tests projects of all kinds, in the named languages or in all.
pub fn projects(names: &[String]) -> Result<()> {
    setup::wasm_target()?;
    tool::run(&mut tool::cargo(&["build", "--release", "--workspace"]))?;
    let mut cargo = tool::cargo(&["test", "--release", "--workspace", "--test", "end_to_end"]);
    cargo.args(["--", "--nocapture"]);
    match names {
        [] => {
            cargo.arg("a_project_in_");
        }
        names => {
            cargo.args(names.iter().map(|name| format!("a_project_in_{name}_")));
        }
    }
    cargo.env("GRISTMILL_STAGE_KINDS", "all").env(REQUIRED_VARIABLE, all());
    tool::run(cargo.env(TOOLS_VARIABLE, tools()?))
}

/// Builds all languages, and prints what a row costs in each.
pub fn bench() -> Result<()> {
    build(&[], &mut Steps::begin())?;
    example("language_speed", &[])
}

/// Builds the named languages, or all, and sends rows through a good and a leaking stage of each.
pub fn soak(rows: u64, names: &[String]) -> Result<()> {
    let names = build(names, &mut Steps::begin())?;
    let folders = with_cpp(&names);
    let rows = rows.to_string();
    let arguments: Vec<&str> = std::iter::once(rows.as_str()).chain(folders.split(',')).collect();
    example("soak_stages", &arguments)
}

/// Runs an example of the host over the folder of built modules.
fn example(name: &str, arguments: &[&str]) -> Result<()> {
    let mut build = tool::cargo(&["build", "--release", "--workspace", "--example", name]);
    tool::run(&mut build)?;
    let program = tool::target_dir().join("release/examples").join(name);
    let mut command = Command::new(program);
    tool::run(command.arg(tool::target_dir().join("languages")).args(arguments))
}

/// Builds the named languages, or all; answers their names.
pub fn build(names: &[String], steps: &mut Steps) -> Result<Vec<&'static str>> {
    if let Some(unknown) = names.iter().find(|name| !LANGUAGES.iter().any(|l| l.name == **name)) {
        let known: Vec<&str> = LANGUAGES.iter().map(|language| language.name).collect();
        bail!("no language `{unknown}`, there are {}", known.join(", "));
    }
    let chosen: Vec<&Language> = LANGUAGES
        .iter()
        .filter(|language| names.is_empty() || names.iter().any(|name| name == language.name))
        .collect();
    for language in &chosen {
        let folder = folder(language.name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        steps.step(language.name, || (language.build)(&folder))?;
    }
    Ok(chosen.iter().map(|language| language.name).collect())
}

fn folder(language: &str) -> PathBuf {
    tool::target_dir().join("languages").join(language)
}

fn sdk(language: &str) -> PathBuf {
    tool::root().join("sdk").join(language)
}

/// `make` in an SDK's folder, with these variables.
fn make(language: &str, variables: &[String]) -> Result<()> {
    let mut make = Command::new("make");
    tool::run(make.arg("--silent").arg("-C").arg(sdk(language)).args(variables))
        .context("help: Debian has `make` in the package build-essential")
}

fn out(variable: &str, folder: &Path) -> String {
    format!("{variable}={}", folder.display())
}

fn rust(folder: &Path) -> Result<()> {
    setup::wasm_target()?;
    let target_dir = tool::target_dir().join("stages");
    let mut cargo = tool::cargo(&["build", "--profile", "stage", "--target", setup::WASM_TARGET]);
    cargo.args(["--package", "gristmill-example-stages"]).arg("--target-dir").arg(&target_dir);
    RUST_STAGES.iter().for_each(|stage| {
        cargo.args(["--example", stage]);
    });
    tool::run(&mut cargo)?;
    let built = target_dir.join(setup::WASM_TARGET).join("stage/examples");
    for stage in RUST_STAGES {
        let file = format!("{stage}.wasm");
        std::fs::copy(built.join(&file), folder.join(&file))
            .with_context(|| format!("cannot copy {file}"))?;
    }
    Ok(())
}

fn c_and_cpp(folder: &Path) -> Result<()> {
    let zig = format!("{} -m ziglang", tools()?.join("python").display());
    let cpp = self::folder("cpp");
    let compilers = [format!("CC={zig} cc"), format!("CXX={zig} c++")];
    make("c", &[&compilers[..], &[out("OUT", folder), out("OUT_CPP", &cpp)]].concat())
}

fn go(folder: &Path) -> Result<()> {
    let help = format!(
        "stages in Go need Go 1.{GO_MINOR_MIN} or later\n\
         help: Debian 13 has it in the package golang-go, other machines get it from go.dev"
    );
    let version =
        tool::output(Command::new("go").args(["env", "GOVERSION"])).context(help.clone())?;
    let minor = version.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next());
    if minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor < GO_MINOR_MIN) {
        bail!("this is {}: {help}", version.trim());
    }
    make("go", &[out("OUT", folder)])
}

fn javascript(folder: &Path) -> Result<()> {
    require_npm()?;
    make("javascript", &[out("OUT", folder)])
}

fn kotlin(folder: &Path) -> Result<()> {
    make("kotlin", &[out("OUT", folder)])
        .context("help: Debian has `mvn` in the package maven, and a JDK in default-jdk-headless")
}

fn assemblyscript(folder: &Path) -> Result<()> {
    require_npm()?;
    make("assemblyscript", &[out("OUT", folder)])
}

fn require_npm() -> Result<()> {
    if !tool::works("npm", &["--version"]) {
        bail!("npm is missing\nhelp: `apt-get install nodejs npm`");
    }
    Ok(())
}

fn python(folder: &Path) -> Result<()> {
    let componentize = tools()?.join("componentize-py");
    make("python", &[out("OUT", folder), format!("COMPONENTIZE={}", componentize.display())])
}

fn zig(folder: &Path) -> Result<()> {
    let zig = format!("ZIG={} -m ziglang", tools()?.join("python").display());
    make("zig", &[out("OUT", folder), zig])
}

/// The folder of programs of a Python environment with the tool chains.
pub fn tools() -> Result<PathBuf> {
    setup::python_environment("gristmill-languages", TOOLS).map(|folder| folder.join("bin"))
}
