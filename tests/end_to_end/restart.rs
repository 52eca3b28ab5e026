use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{self, Process, gristmill, succeed};

const ORDERS: usize = 20_000;

/// A data folder whose topic `orders` holds the generator's orders, and a pipeline beside it.
struct Bench {
    folder: tempfile::TempDir,
    address: String,
}

impl Bench {
    fn new() -> Bench {
        let bench =
            Bench { folder: tempfile::tempdir().unwrap(), address: support::free_address() };
        let broker = support::broker(&bench.data_dir(), &bench.address);
        succeed(["topic", "create", "orders", "--partitions", "3", "--bootstrap", &bench.address]);
        succeed([
            "produce",
            "--topic",
            "orders",
            "--orders",
            &ORDERS.to_string(),
            "--bootstrap",
            &bench.address,
        ]);
        support::stop(broker);
        bench
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("lake/items")
    }

    /// Line items into a table, many small commits.
    fn pipeline(&self, trigger: &str) -> PathBuf {
        let file = self.folder.path().join("items.toml");
        let text = format!(
            r#"
name = "items"
[source]
topics = ["orders"]
trigger = "{trigger}"
max_offsets_per_trigger = 300
[[stage]]
name = "parse"
module = "parse-json"
with = {{ schema = "order_id long, city string, line_items array<struct<order_item_id long>>" }}
[[stage]]
name = "flatten"
module = "flatten"
with = {{ explode = "line_items" }}
[[sink]]
name = "lake"
delta = "./lake/items"
columns = ["partition", "offset", "order_id", "city", "order_item_id"]
commit_every = {{ rows = 1_000, time = "1s" }}
"#
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn run(&self, pipeline: &Path) -> Process {
        let (pipeline, data_dir) = (pipeline.to_str().unwrap(), self.data_dir());
        let arguments =
            ["run", pipeline, "--data-dir", data_dir.to_str().unwrap(), "--listen", &self.address];
        Process::spawn(&mut gristmill(arguments))
    }

    fn rows(&self) -> usize {
        match self.table().join("_delta_log").exists() {
            true => support::table_rows(&self.table(), "order_item_id").len(),
            false => 0,
        }
    }

    /// Runs the pipeline to the end of what is there, then compares the table with the orders, item by item.
    fn finish_and_compare(&self) {
        let finished = self.run(&self.pipeline("available-now")).wait();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let mut found: BTreeMap<i64, usize> = BTreeMap::new();
        for row in support::table_rows(&self.table(), "order_item_id") {
            *found.entry(row["order_item_id"].as_i64().unwrap()).or_default() += 1;
        }
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).take(5).collect();
        assert!(twice.is_empty(), "items stored more than once: {twice:?}");
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected_items());
    }
}

fn expected_items() -> Vec<i64> {
    let orders = gristmill_orders::Orders::new(gristmill_orders::SEED).take(ORDERS);
    let items = orders.flat_map(|order| {
        let order: Value = serde_json::from_str(&order.json).unwrap();
        let items = order["line_items"].as_array().unwrap().clone();
        items.into_iter().map(|item| item["order_item_id"].as_i64().unwrap())
    });
    let mut items: Vec<i64> = items.collect();
    items.sort_unstable();
    items
}

#[test]
fn ctrl_c_drains_and_the_next_run_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let mut first = bench.run(&bench.pipeline("continuous"));
    first.wait_until_said("running");
    support::wait_for("the first commits", || (bench.rows() > 0).then_some(()));
    first.interrupt();
    let first = first.wait();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let after_stop = bench.rows();
    let committed = format!("{after_stop} rows to `lake`");
    assert!(first.stdout.contains(&committed), "{committed:?} is not in {}", first.stdout);
    bench.finish_and_compare();
}

#[test]
fn kill_9_at_any_moment_loses_and_doubles_nothing_in_the_table() {
    let bench = Bench::new();
    let pipeline = bench.pipeline("continuous");
    for round in 0..12u64 {
        let mut process = bench.run(&pipeline);
        process.wait_until_said("running");
        let moment = Instant::now() + Duration::from_millis(20 + 37 * round);
        while Instant::now() < moment {
            support::pause();
        }
        process.kill();
    }
    bench.finish_and_compare();
}

#[test]
fn a_second_run_with_nothing_new_writes_nothing() {
    let bench = Bench::new();
    bench.finish_and_compare();
    let log = bench.table().join("_delta_log");
    let versions = || std::fs::read_dir(&log).unwrap().count();
    let before = versions();
    bench.finish_and_compare();
    assert_eq!(versions(), before);
}
