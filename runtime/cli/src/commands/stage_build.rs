//! `gristmill stage build [DIR]`: calls the language's own tool, and says how.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;

use crate::output::Output;
use crate::stage::build::{self, MODULE};
use crate::stage::language::Language;
use crate::stage::tool;

#[derive(Debug, clap::Args)]
pub struct StageBuildFlags {
    /// Folder of the project
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,

    /// Language, if the files do not tell it
    #[arg(long, alias = "language", value_name = "LANG", value_enum)]
    pub lang: Option<Language>,

    /// Print the commands and run none
    #[arg(long)]
    pub dry_run: bool,
}

/// Exit code 2: a tool is missing, or there is no project; 1: the tool refused the source.
pub fn run(flags: &StageBuildFlags, output: Output) -> Result<()> {
    let folder = &flags.folder;
    let language = match flags.lang {
        Some(language) => language,
        None => Language::of_project(folder)?,
    };
    let mut commands = build::commands(folder, language)?;
    let shown: Vec<String> = commands.iter().map(tool::shown).collect();
    if flags.dry_run {
        let document = json!({ "language": language.word(), "commands": shown });
        return output.answer(shown.join("\n"), &document);
    }
    let began = Instant::now();
    for (command, shown) in commands.iter_mut().zip(&shown) {
        eprintln!("$ {shown}");
        build::run(command, folder)?;
    }
    let module = folder.join(MODULE);
    let size = module
        .metadata()
        .with_context(|| format!("the build left no `{}`", module.display()))?
        .len();
    output.answer(
        format!("built `{}`: {} bytes of {}", module.display(), size, language.title()),
        &json!({
            "module": module,
            "bytes": size,
            "language": language.word(),
            "commands": shown,
            "seconds": began.elapsed().as_secs_f64(),
        }),
    )
}
