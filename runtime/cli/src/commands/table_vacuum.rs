//! `gristmill table vacuum`: files that a Delta table no longer needs are deleted.

use std::time::Duration;

use anyhow::{Result, bail};
use gristmill_connectors::delta_upkeep::{self, RETENTION_DEFAULT};
use serde_json::json;

use super::table_show::StorageFlags;
use crate::output::{Output, counted};
use crate::terminal;
use crate::user_error::UserError;

#[derive(clap::Args)]
pub struct TableVacuumFlags {
    /// A folder, or a URI such as s3://bucket/table
    table: String,

    /// Keep files that versions of the last so many hours need [default: 168, a week]
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(..=876_000))]
    retain_hours: Option<u64>,

    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Allow less than a week, and do not ask on a terminal: no pipeline may be writing, no reader be at an older version
    #[arg(long, short)]
    force: bool,

    #[command(flatten)]
    storage: StorageFlags,
}

/// Deletes what no version within the retention needs; older versions cannot be read any more.
pub async fn run(flags: &TableVacuumFlags, output: Output) -> Result<()> {
    let retention =
        flags.retain_hours.map_or(RETENTION_DEFAULT, |hours| Duration::from_secs(hours * 3_600));
    if retention < RETENTION_DEFAULT && !flags.force && !flags.dry_run {
        bail!(UserError::new(format!(
            "--retain-hours {} is less than a week: a pipeline that writes now, or a reader of an older version, may \
             lose its files; stop them and add --force",
            retention.as_secs() / 3_600
        )));
    }
    let (table, storage) = (&flags.table, flags.storage.options());
    if !flags.dry_run && !flags.force {
        terminal::confirm(&format!("Delete the files that table `{table}` no longer needs?"))?;
    }
    let vacuumed = delta_upkeep::vacuum(table, &storage, retention, flags.dry_run).await;
    let files = vacuumed.map_err(UserError::from_error)?;
    let verb = if flags.dry_run { "would be deleted" } else { "deleted" };
    let mut text = format!("{} {verb}", counted(files.len(), "file"));
    if flags.dry_run {
        files.iter().for_each(|file| text += &format!("\n{file}"));
    }
    output.answer(text, &json!({ "table": table, "dry_run": flags.dry_run, "files": files }))
}
