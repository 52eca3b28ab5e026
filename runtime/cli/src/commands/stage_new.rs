//! `gristmill stage new NAME --lang LANG`: a project that builds with the language's own tool.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::output::Output;
use crate::stage::language::{Kind, Language};
use crate::stage::project::Project;

#[derive(Debug, clap::Args)]
pub struct StageNewFlags {
    /// Name of the stage, and of the folder that is made
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Language that the stage is written in
    #[arg(long, alias = "language", value_name = "LANG", value_enum)]
    pub lang: Language,

    /// What it does with its rows: keeps some, makes columns, or makes several rows of one
    #[arg(long, value_enum, default_value_t = Kind::Filter)]
    pub kind: Kind,

    /// Folder to make, in place of NAME
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

pub fn run(flags: &StageNewFlags, output: Output) -> Result<()> {
    let project = Project::new(&flags.name, flags.lang, flags.kind)?;
    let folder = flags.dir.clone().unwrap_or_else(|| PathBuf::from(&flags.name));
    let files = project.write(&folder)?;
    let shown = folder.display();
    let text = format!(
        "made `{shown}`, a {kind} in {title}: the stage is `{source}`\n\
         next  gristmill stage build {shown}\n      gristmill stage test {shown}",
        kind = flags.kind.word(),
        title = flags.lang.title(),
        source = folder.join(flags.lang.source()).display(),
    );
    output.answer(
        text,
        &json!({
            "folder": folder,
            "name": project.name,
            "language": flags.lang.word(),
            "kind": flags.kind.word(),
            "source": flags.lang.source(),
            "files": files,
        }),
    )
}
