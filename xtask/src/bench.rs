//! `cargo xtask bench`: speed, on this machine, of this checkout.

use anyhow::Result;

use crate::{kafka, languages, page, setup, tool};

/// The benches of `tests/benches` that run when none is named.
const BENCHES: [&str; 3] = ["chain", DELIVERY, BROKER];
/// Compares with Apache Kafka.
const BROKER: &str = "broker";
/// Compares with Kafka Streams, where its jars are, or if `--streams` wants them.
const DELIVERY: &str = "delivery";
const STREAMS_FLAG: &str = "--streams";

/// What a row costs in the SDK of each language; not among all, since it needs their tool chains.
const LANGUAGES: &str = "languages";

/// What a view costs, and a page that is left open; a client of the release binary.
const PAGE: &str = "page";

/// Runs the named benches, or all; what begins with `--` and all behind it goes to them. Built as the tests are (`--workspace`), so that nothing is compiled twice.
pub fn run(arguments: &[String]) -> Result<()> {
    let named = arguments.iter().take_while(|argument| !argument.starts_with("--")).count();
    let (names, flags) = arguments.split_at(named);
    if names == [LANGUAGES] {
        return languages::bench();
    }
    if names == [PAGE] {
        return page::bench();
    }
    setup::wasm_target()?;
    let chosen: Vec<&str> = match names {
        [] => BENCHES.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut cargo = tool::cargo(&["bench", "--workspace"]);
    for name in &chosen {
        cargo.args(["--bench", name]);
    }
    if chosen.contains(&BROKER) {
        cargo.env("KAFKA_JARS", kafka::jars()?);
    }
    if chosen.contains(&DELIVERY) {
        let jars = match flags.iter().any(|flag| flag == STREAMS_FLAG) {
            true => Some(kafka::streams_jars()?),
            false => kafka::streams_jars_if_there()?,
        };
        cargo.envs(jars.map(|folder| ("STREAMS_JARS", folder)));
    }
    tool::run(cargo.arg("--").args(flags))
}
