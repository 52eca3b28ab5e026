//! The built-in broker beside Apache Kafka: same machine, same run, same client (librdkafka), ratios.
//!
//! Two pairs, each at equal durability:
//!
//! - `synced`: our default against Kafka with `log.flush.interval.messages=1`;
//! - `page cache`: our page-cache mode against Kafka's default.
//!
//! Rounds alternate between the brokers of a pair; medians are shown. What counts is megabytes per CPU second of
//! the broker's process, since client and broker share the machine. `KAFKA_JARS` names the folder with Kafka's
//! jars (`cargo xtask bench broker` brings them); without it our broker is measured alone.
//! `MEGABYTES=n ROUNDS=n TRANSACTIONS=n cargo xtask bench broker` changes the size.

#[path = "broker/clients.rs"]
mod clients;
#[path = "broker/process.rs"]
mod process;
#[path = "broker/report.rs"]
mod report;
#[path = "broker/servers.rs"]
mod servers;
#[path = "broker/transactions.rs"]
mod transactions;

use std::path::PathBuf;

use anyhow::{Context, Result};

use clients::Load;
use report::{Figures, Measured};
use servers::{Mode, Running};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [command, folder, mode] if command == servers::SERVE => servers::serve(folder, mode),
        _ => bench(),
    }
}

/// A positive number from the environment.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn bench() -> Result<()> {
    let jars = std::env::var_os("KAFKA_JARS").map(PathBuf::from);
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    for mode in Mode::ALL {
        let mut servers = vec![Running::ours(&folder.path().join("ours"), mode)?];
        if let Some(jars) = &jars {
            servers.push(Running::kafka(&folder.path().join("kafka"), mode, jars)?);
        }
        println!("\n== {} ==", mode.title());
        for server in &servers {
            println!("{:<12} first answer after {:.3} s", server.name(), server.start_seconds());
        }
        loads(&servers)?;
        transactions::bench(&servers, setting("TRANSACTIONS", 200))?;
        partitions(&servers)?;
        for server in servers {
            server.stop()?;
        }
        std::fs::remove_dir_all(folder.path()).context("cannot clear the folder")?;
    }
    Ok(())
}

/// Every load on every server, in turns. The first round only warms up: the JVM compiles what it runs often.
fn loads(servers: &[Running]) -> Result<()> {
    let (megabytes, rounds) = (setting("MEGABYTES", 100), setting("ROUNDS", 3));
    report::heading();
    for load in Load::all(megabytes) {
        let mut produced: Vec<Figures> = servers.iter().map(|_| Figures::default()).collect();
        let mut consumed: Vec<Figures> = servers.iter().map(|_| Figures::default()).collect();
        for round in 0..=rounds {
            for (place, server) in servers.iter().enumerate() {
                let topic = load.topic(round);
                clients::create_topic(server.address(), &topic, load.partitions)?;
                let wrote = Measured::of(server, || load.produce(server.address(), &topic))?;
                let read = Measured::of(server, || load.consume(server.address(), &topic))?;
                clients::delete_topic(server.address(), &topic)?;
                if round > 0 {
                    produced[place].push(wrote);
                    consumed[place].push(read);
                }
            }
        }
        report::lines(&format!("produce {load}"), load.bytes(), servers, &produced);
        report::lines(&format!("consume {load}"), load.bytes(), servers, &consumed);
    }
    Ok(())
}

/// What 1,000 partitions cost: memory, and the time of a start with them.
fn partitions(servers: &[Running]) -> Result<()> {
    const PARTITIONS: i32 = 1_000;
    for server in servers {
        clients::create_topic(server.address(), "many-partitions", PARTITIONS)?;
        let rss = process::rss_megabytes(server.pid())?;
        println!("{:<12} RSS with {PARTITIONS} partitions more: {rss:.0} MB", server.name());
    }
    Ok(())
}
