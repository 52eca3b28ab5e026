//! `gristmill table optimize`: many small files of a Delta table made into few.

use anyhow::Result;
use gristmill_connectors::delta_optimize::{self, Optimized};
use indicatif::BinaryBytes;
use serde_json::json;

use super::table_show::StorageFlags;
use crate::output::{Output, counted};
use crate::user_error::UserError;

/// What readers like: large enough to be read in one go, small enough to be shared out.
const TARGET_MB_DEFAULT: u64 = 128;

#[derive(clap::Args)]
pub struct TableOptimizeFlags {
    /// A folder, or a URI such as s3://bucket/table
    table: String,

    /// Size of the files to be made, in MB; files of half of it or more are left alone
    #[arg(long, value_name = "MB", default_value_t = TARGET_MB_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=4096))]
    target_size: u64,

    #[command(flatten)]
    storage: StorageFlags,
}

/// One commit that changes no row; pipelines may write meanwhile. The old files stay until `table vacuum`.
pub async fn run(flags: &TableOptimizeFlags, output: Output) -> Result<()> {
    let (storage, target_bytes) = (flags.storage.options(), flags.target_size << 20);
    let optimized = delta_optimize::optimize(&flags.table, &storage, target_bytes).await;
    let done = optimized.map_err(UserError::from_error)?;
    output.answer(
        text(&done),
        &json!({
            "table": flags.table,
            "version": done.version,
            "files_before": done.files_before,
            "bytes_before": done.bytes_before,
            "files_after": done.files_after,
            "bytes_after": done.bytes_after,
            "files_left": done.files_left,
        }),
    )
}

fn text(done: &Optimized) -> String {
    let Some(version) = done.version else {
        let files = counted(done.files_left, "file");
        return format!("nothing to do: {files}, no two of them small enough");
    };
    format!(
        "version {version}: {} of {} became {} of {}; {} left as they are\n\
         the old files stay for readers until `gristmill table vacuum`",
        counted(done.files_before, "file"),
        BinaryBytes(done.bytes_before),
        done.files_after,
        BinaryBytes(done.bytes_after),
        done.files_left
    )
}
