//! Reloads in a row under a steady load, and processes that die meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{PIPELINE, Scene, Stamped, assert_boundaries, receipts, version, wait_for_generation};
use crate::support;

/// How many reloads, at how many records a second: small here, `cargo xtask torture reload` asks for 200 at 20,000.
fn asked(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Puts the module in its place as most editors do.
fn put(module: &PathBuf, bytes: Vec<u8>) {
    let beside = module.with_extension("beside");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(&beside, module).unwrap();
}

fn all(scene: &Scene, count: usize) -> Vec<Stamped> {
    support::wait_for("all orders", || {
        let stamped = scene.stamped();
        (stamped.len() >= count).then_some(stamped)
    })
}

#[test]
fn reloads_in_a_row_under_load_lose_double_and_reorder_nothing() {
    reload_under_load(PIPELINE, all);
}

/// What the old module made is a version of the table of its own; checkpoints of the table are written meanwhile, and
/// waited for only at the end.
#[test]
fn reloads_in_a_row_under_load_lose_and_double_nothing_in_a_table() {
    let text = PIPELINE.replace("topic = \"out\"", "delta = \"./lake\"\ncommit_every = \"1s\"");
    reload_under_load(&text, |scene, count| {
        support::wait_for("all orders", || {
            let mut rows = support::table_rows(&scene.path("lake"), "partition,offset,version");
            rows.sort_by_key(|row| row["offset"].as_i64());
            let stamped: Vec<_> = rows.iter().map(of_table).collect();
            (stamped.len() >= count).then_some(stamped)
        })
    });
}

/// A table knows no order of keys: that of offsets stands for it.
fn of_table(row: &serde_json::Value) -> Stamped {
    let number = |column: &str| row[column].as_i64().unwrap();
    let partition = number("partition") as i32;
    let key = partition.to_string();
    Stamped { key, partition, offset: number("offset"), version: number("version") }
}

fn reload_under_load(text: &str, all: impl Fn(&Scene, usize) -> Vec<Stamped>) {
    let reloads = asked("GRISTMILL_RELOADS", 20);
    let rate = asked("GRISTMILL_RELOAD_RATE", 2_000);
    let (mut scene, file) = Scene::with_pipeline(text);
    let process = scene.run(&file);
    let module = scene.path("stamp.wasm");
    let stop = Arc::new(AtomicBool::new(false));
    // Slices of a fifth of a second, so that the load lasts exactly as long as the reloads.
    let slice = (rate / 5).max(1);
    let load = {
        let (stop, address) = (stop.clone(), scene.address.clone());
        std::thread::spawn(move || steady(&address, rate, slice, &stop))
    };
    for generation in 2..=reloads + 1 {
        put(&module, version(generation as i64));
        wait_for_generation(&process, generation);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = load.join().unwrap();
    scene.produced = sent;
    let stamped = all(&scene, sent);
    let receipts = receipts(&process);
    assert_eq!(receipts.len() as u64, reloads);
    assert_boundaries(sent, &stamped, &receipts);
    process.interrupt();
    assert_eq!(process.wait().code, Some(0));
    let of = |time: fn(&super::Receipt) -> f64| {
        let mut times: Vec<f64> = receipts.iter().map(time).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(share * (times.len() - 1) as f64).round() as usize];
        format!("p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms", at(0.5), at(0.99), at(1.0))
    };
    println!("{reloads} reloads under {rate} orders/s, {sent} orders");
    println!("  the flow stood still    {}", of(|receipt| receipt.pause_ms));
    println!("  prepared beside it in   {}", of(|receipt| receipt.prepare_ms));
}

/// Sends orders at a steady rate until it is to stop; returns how many.
#[expect(clippy::disallowed_methods, reason = "the ticker of a steady load")]
fn steady(address: &str, rate: u64, slice: u64, stop: &AtomicBool) -> usize {
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
    // It looks after its queue itself: a look per slice let it fill up before the 100,000th order was through.
    let producer: ThreadedProducer<DefaultProducerContext> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    let began = Instant::now();
    let mut sent = 0;
    let orders = gristmill_orders::Orders::new(gristmill_orders::SEED);
    for order in orders {
        if sent % (slice / 20).max(1) == 0 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let due = began + Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let key = order.customer_id.to_string();
        let record = BaseRecord::to("in").key(&key).payload(&order.json);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        sent += 1;
    }
    producer.flush(support::DEADLINE).unwrap();
    sent as usize
}

/// The process dies while modules come in: every record is there once, and the versions of a partition ascend with its
/// offsets.
#[test]
fn kill_9_amid_reloads_loses_and_doubles_nothing() {
    const ROUNDS: u64 = 5;
    const RECORDS: usize = 20_000;
    let text = PIPELINE.replace("topics = ", "max_offsets_per_trigger = 100\ntopics = ");
    let (mut scene, file) = Scene::with_pipeline(&text);
    let broker = support::broker(&scene.data_dir(), &scene.address);
    scene.produce(RECORDS);
    support::stop(broker);
    let module = scene.path("stamp.wasm");
    let mut latest = 1;
    for round in 0..ROUNDS {
        let process = scene.run(&file);
        let moment = Instant::now() + Duration::from_millis(100 + 61 * round);
        while Instant::now() < moment {
            latest += 1;
            put(&module, version(latest));
            let before = receipts(&process).len();
            support::wait_for("a reload, or the moment", || {
                (receipts(&process).len() > before || Instant::now() >= moment).then_some(())
            });
        }
        process.kill();
    }
    let _process = scene.run(&file);
    let stamped = scene.wait_for_all();
    let mut rows: Vec<_> =
        stamped.iter().map(|one| (one.partition, one.offset, one.version)).collect();
    rows.sort_unstable();
    for pair in rows.windows(2) {
        let ((partition, offset, version), next) = (pair[0], pair[1]);
        if partition == next.0 {
            assert_ne!(offset, next.1, "twice: {pair:?}");
            assert!(version <= next.2, "{pair:?}");
        }
    }
    assert_eq!(rows.len(), RECORDS);
}
