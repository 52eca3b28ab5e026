//! A pipeline in several processes under random faults, and then a look at what is left: every record
//! of the source is in each sink once, whoever was killed, put to sleep, cut off or out of room.
//!
//! - `feed` produces numbered records of some keys, a few of them poison for a stage of the pipeline;
//! - `gristmill run` brings them into a topic, two tables (a folder, S3) and dead letters, in one to
//!   three processes;
//! - `fault` draws what goes wrong, `scene` lets it happen, and each time waits until everything
//!   produced so far has come through;
//! - `watch` reads topic and dead letters all the while and sees what is there twice or out of order;
//! - `judge` compares topic (committed records), tables (by another reader) and dead letters with the
//!   source, record by record.
//!
//! `GRISTMILL_TORTURE_CYCLES` (8), `GRISTMILL_TORTURE_SEED` (by the clock) and `KAFKA_JARS` (a folder:
//! Apache Kafka in three nodes in place of the built-in broker) choose the run. The seed is printed
//! first; it gives the same faults and the same records, within what the machine's own timing allows.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
#[allow(dead_code)] // what the end-to-end tests use
mod support;

#[path = "../support/dice.rs"]
mod dice;

#[path = "../support/object_store.rs"]
mod object_store;

/// Guests in WebAssembly text, those of the host's own tests.
#[allow(dead_code)]
#[path = "../../runtime/host/tests/host/guests.rs"]
mod guests;

mod client;
mod cluster;
mod course;
mod fault;
mod feed;
mod judge;
mod proxy;
mod record;
mod scene;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use course::Course;
use fault::{Deck, Kind};
use feed::Sent;
use scene::Scene;
use watch::Watcher;

/// Draws when nobody says how many.
const CYCLES: usize = 8;

#[test]
fn every_record_is_in_every_sink_once_whatever_fails() {
    let cycles = number("GRISTMILL_TORTURE_CYCLES").map_or(CYCLES, |cycles| cycles as usize);
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let seed = number("GRISTMILL_TORTURE_SEED").unwrap_or_else(clock);
    let jars = std::env::var_os("KAFKA_JARS").map(PathBuf::from);
    let place = if jars.is_some() { "Apache Kafka, 3 nodes" } else { "the built-in broker" };
    println!("seed {seed}, {cycles} cycles, {place}");
    // A node of Kafka ends when its disk fails; that is its way to hand over to others.
    let without: &[Kind] = if jars.is_some() { &[Kind::BrokerDiskFull] } else { &[] };
    let mut deck = Deck::new(seed, without);
    let mut scene = Scene::new(jars.as_deref());
    let address = scene.cluster.bootstrap();

    let (sent, stop_feed, stop) = (Arc::<Sent>::default(), flag(), flag());
    let feed = feed::start(&address, seed, &sent, &stop_feed);
    let topic = Watcher::start(&address, "out", true, &stop);
    let letters = Watcher::start(&address, "letters", false, &stop);
    let mut course = Course::new();
    for cycle in 1..=cycles {
        scene::wait_until(Instant::now() + deck.calm());
        let faults = deck.draw();
        let kinds: Vec<Kind> = faults.iter().map(|fault| fault.kind).collect();
        let (runtimes, since) = (scene.runtimes(), Instant::now());
        println!("{cycle:>4}  {:>6.1?}  {runtimes} runtimes  {kinds:?}", course.elapsed());
        scene.strike(&faults);
        scene.catch_up(sent.visible.load(Ordering::Relaxed), [&topic, &letters]);
        println!("      all came through after {:.1?}", since.elapsed());
        course.add(&faults, since.elapsed());
    }
    println!("{course}");

    stop_feed.store(true, Ordering::Relaxed);
    let by_owner = feed.join().unwrap();
    scene.drain();
    scene.catch_up(sent.visible.load(Ordering::Relaxed), [&topic, &letters]);
    stop.store(true, Ordering::Relaxed);
    topic.join();
    letters.join();
    let tally = judge::judge(&address, &scene.tables(), &by_owner);
    println!("every record once: {tally:?}");
    assert!(tally.kept > 0 && tally.rejected > 0 && tally.filtered > 0, "too little: {tally:?}");
    scene.clean_up();
}

fn flag() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, which is no number")))
}
