//! `kill -9` of the real broker, over and over, under load from a real client (librdkafka), and then
//! a look at what is left:
//!
//! - `plain`, from an idempotent producer: every record once, in the order in which it was sent;
//! - `committed`, from a transactional producer: committed transactions whole, aborted ones not at
//!   all, and the group's offsets that were committed with them;
//! - `state`, compacted meanwhile: of each key the last value.
//!
//! A consumer reads all through it: what it has seen never goes away. Some kills are followed by
//! damage as a power cut does it, bytes behind the end of a segment; the next start must say so.
//!
//! `GRISTMILL_TORTURE_CYCLES` (100) and `GRISTMILL_TORTURE_SEED` (by the clock) choose the run. The
//! seed is printed first; it gives the same moments and the same load, within what the machine's
//! own timing allows.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
#[allow(dead_code)] // what the end-to-end tests use
mod support;

#[path = "../support/dice.rs"]
mod dice;

mod check;
mod client;
mod load;
mod victim;
mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dice::Dice;
use victim::Victim;

/// Kills when nobody says how many.
const CYCLES: usize = 100;
/// How long the broker lives after its first answer, in ms.
const LIFE_MS: std::ops::Range<usize> = 50..350;
/// One kill in so many is followed by damage.
const DAMAGE_EVERY: usize = 5;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_however_often_the_broker_is_killed() {
    let cycles = number("GRISTMILL_TORTURE_CYCLES").map_or(CYCLES, |cycles| cycles as usize);
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let seed = number("GRISTMILL_TORTURE_SEED").unwrap_or_else(clock);
    println!("seed {seed}, {cycles} cycles");
    let folder = tempfile::tempdir().unwrap();
    let address = support::free_address();
    let mut victim = Victim::start(folder.path(), &address);
    client::create_topics(&address);

    let stop = Arc::new(AtomicBool::new(false));
    let idempotent = load::idempotent(&address, seed, &stop);
    let transactional = load::transactional(&address, seed, &stop);
    let watcher = watcher::start(&address, &stop);
    let mut dice = Dice::new(seed);
    let mut starts = Vec::new();
    let began = Instant::now();
    for cycle in 0..cycles {
        let life = LIFE_MS.start + dice.below(LIFE_MS.end - LIFE_MS.start);
        let end = Instant::now() + Duration::from_millis(life as u64);
        while Instant::now() < end && !stop.load(Ordering::Relaxed) {
            support::pause();
        }
        assert!(!stop.load(Ordering::Relaxed), "a client gave up in cycle {cycle}");
        victim.kill();
        let damaged = (dice.below(DAMAGE_EVERY) == 0).then(|| victim.tear_a_tail(&mut dice));
        victim = Victim::start(folder.path(), &address);
        starts.push(victim.started_in);
        if let Some(segment) = damaged {
            victim.must_say(&format!("{segment}`: cut an unfinished append"));
        }
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (sent, transactions) = (idempotent.join().unwrap(), transactional.join().unwrap());
    watcher.join().unwrap();
    starts.sort_unstable();
    println!(
        "{cycles} kills in {took:.1?}; start to first answer: median {:?}, longest {:?}",
        starts.get(cycles / 2),
        starts.last(),
    );
    check::plain(&address, &sent);
    check::state(&address, &sent);
    check::transactions(&address, &transactions);
    let folder = folder.path().join("broker");
    check::was_compacted(&folder, &sent);
    victim.stop();
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, which is no number")))
}
