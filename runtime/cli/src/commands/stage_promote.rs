//! `gristmill stage promote PIPELINE STAGE`: the candidate that runs beside a stage becomes its module.

use anyhow::Result;

use crate::output::Output;
use crate::receipt;
use crate::remote::RemoteFlags;

#[derive(clap::Args)]
pub struct StagePromoteFlags {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The stage whose candidate it is
    #[arg(value_name = "STAGE")]
    stage: String,

    #[command(flatten)]
    remote: RemoteFlags,
}

/// Puts the candidate's bytes in the place of the module's file, of which a copy is kept, and reloads.
pub async fn run(flags: &StagePromoteFlags, output: Output) -> Result<()> {
    let path = ["pipelines", &flags.pipeline, "stages", &flags.stage, "promote"];
    let answer = flags.remote.open()?.post(&path).await?;
    output.answer(receipt::text(&flags.pipeline, &answer)?, &answer)
}
