//! `gristmill version`: what is inside this program.

use anyhow::Result;
use serde_json::json;

use crate::output::Output;
use crate::shipped::SHIPPED;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of the contract between program and stages, as `sdk/contract` has it.
const CONTRACT: &str = include_str!("../../../../sdk/contract/VERSION");

pub fn run(output: Output) -> Result<()> {
    let (_, kafka) = rdkafka::util::get_rdkafka_version();
    let mut text = format!(
        "gristmill {VERSION}\nstage contract {}\nlibrdkafka {kafka}\nshipped stages:",
        CONTRACT.trim()
    );
    for (name, bytes) in SHIPPED {
        text.push_str(&format!("\n  {name} ({} KB)", bytes.len().div_ceil(1_000)));
    }
    let stages: Vec<_> =
        SHIPPED.iter().map(|(name, wasm)| json!({ "name": name, "bytes": wasm.len() })).collect();
    output.answer(
        text,
        &json!({
            "version": VERSION,
            "stage_contract": CONTRACT.trim(),
            "librdkafka": kafka,
            "shipped_stages": stages,
        }),
    )
}
