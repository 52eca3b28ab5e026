//! What a right file becomes, that secrets stay unseen, and that no text makes reading panic.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_engine::config::{
    self, CommitEvery, FILE_BYTES_MAX, LoadContext, Loaded, ModuleRef, OnDataLoss, OnFailure,
    Pipeline, SchemaEvolution, SinkKind, Start, Topics, Trigger, Upstream,
};
use proptest::prelude::*;
use serde_json::json;

use super::golden::assert_spans_are_inside;
use super::{SECRET, SHIPPED, environment, parse};

const FILE: &str = "tests/config/given.toml";

/// Nearly everything that can be written.
const ORDERS: &str = include_str!("orders.txt");

fn pipeline(text: &str) -> Pipeline {
    match parse(text, FILE) {
        Ok(loaded) => loaded.pipeline,
        Err(found) => panic!("{}", config::render_all(&found, text)),
    }
}

fn with_source(rest: &str) -> String {
    format!("name = \"p\"\n[source]\ntopics = [\"orders\"]\n{rest}")
}

const LAKE: &str = "\n[[sink]]\nname = \"lake\"\ndelta = \"./lake\"\n";

#[test]
fn the_orders_pipeline_resolves() {
    let Loaded { pipeline, warnings } = parse(ORDERS, FILE).expect("no mistakes");
    assert_eq!(warnings, []);
    assert_eq!((pipeline.name.as_str(), pipeline.file.as_path()), ("orders", Path::new(FILE)));
    assert_eq!(pipeline.source.topics, Topics::Names(vec!["orders".to_string()]));
    assert_eq!(pipeline.source.brokers, None);
    assert_eq!(pipeline.source.start, Start::Earliest);
    assert_eq!(pipeline.source.trigger, Trigger::Continuous);
    assert_eq!(pipeline.source.max_offsets_per_trigger, Some(100_000));
    assert_eq!(pipeline.source.on_data_loss, OnDataLoss::Stop);
    let stages: Vec<_> = pipeline.stages.iter().map(|s| (s.name.as_str(), s.from)).collect();
    let expected = [
        ("parse", Upstream::Source),
        ("flatten", Upstream::Stage(0)),
        ("chicago", Upstream::Stage(0)),
    ];
    assert_eq!(stages, expected);
    assert_eq!(pipeline.stages[0].module, ModuleRef::Shipped("parse-json".to_string()));
    assert_eq!(pipeline.stages[0].on_failure, OnFailure::DeadLetter);
    assert_eq!(pipeline.stages[1].on_failure, OnFailure::Stop);
    let chicago = json!({ "column": "city", "equals": "Chicago", "ignore_case": true });
    assert_eq!(pipeline.stages[2].with, chicago);
    assert_eq!(pipeline.stages[2].limits.memory_bytes_max, Some(32 << 20));
    assert_eq!(pipeline.stages[2].limits.batch_time_max, Some(Duration::from_millis(500)));
    assert_eq!(pipeline.dead_letter.expect("dead letters").topic, "orders-dead-letters");
}

#[test]
fn the_sinks_of_the_orders_pipeline_resolve() {
    let pipeline = pipeline(ORDERS);
    let [lake, topic] = pipeline.sinks.as_slice() else { panic!("two sinks") };
    assert_eq!((lake.from, topic.from), (Upstream::Stage(1), Upstream::Stage(2)));
    assert_eq!(lake.columns.as_deref(), Some(&["key".to_string(), "state".to_string()][..]));
    let SinkKind::Delta(delta) = &lake.kind else { panic!("a table") };
    assert!(Path::new(&delta.table).is_absolute(), "{}", delta.table);
    assert!(delta.table.ends_with("tests/config/lake/orders"), "{}", delta.table);
    assert_eq!(delta.partition_by, ["state"]);
    let time = Duration::from_secs(10);
    assert_eq!(delta.commit_every, CommitEvery { time, ..CommitEvery::default() });
    assert_eq!(delta.schema_evolution, SchemaEvolution::Refuse);
    let SinkKind::Topic(topic) = &topic.kind else { panic!("a topic") };
    assert_eq!(topic.topic, "orders-chicago");
    assert_eq!((topic.value.as_deref(), topic.key.as_deref()), (Some("value"), Some("key")));
}

#[test]
fn the_tests_of_the_orders_pipeline_resolve() {
    let tests = pipeline(ORDERS).tests;
    assert_eq!(tests.len(), 1);
    assert_eq!(tests[0].input.len(), 2);
    assert_eq!(tests[0].input[1].key.as_deref(), Some(&b"2"[..]));
    assert_eq!(tests[0].input[1].timestamp_ms, Some(1_793_491_200_000));
    assert_eq!(tests[0].expect["chicago-orders"], [json!({ "key": "1" })]);
    assert!(tests[0].expect["lake"].is_empty());
    assert!(tests[0].expect_dead_letters.is_none());
}

#[test]
fn places_lead_back_to_the_text() {
    let pipeline = pipeline(ORDERS);
    let flatten = &pipeline.stages[1].place;
    assert_eq!(&ORDERS[flatten.name.clone()], "\"flatten\"");
    assert_eq!(&ORDERS[flatten.module.clone()], "\"flatten\"");
    assert_eq!(&ORDERS[flatten.with.clone()], "[stage.with]");
    assert_eq!(&ORDERS[flatten.with_keys["explode"].clone()], "explode");
    assert_eq!(&ORDERS[flatten.with_keys["rename.order_item_id"].clone()], "order_item_id");
    assert!(ORDERS[pipeline.stages[2].place.with.clone()].starts_with("{ column"));
    assert_eq!(&ORDERS[pipeline.sinks[0].place.clone()], "\"lake\"");
    assert_eq!(&ORDERS[pipeline.sinks[0].column_places["state"].clone()], "\"state\"");
}

#[test]
fn max_failures_is_a_count_or_a_share_of_the_last_rows() {
    let budget = |written: &str| {
        let text = with_source(&format!(
            "[[stage]]\nname = \"a\"\nmodule = \"filter\"\non_failure = \"skip\"\n{written}\n{LAKE}"
        ));
        let found = pipeline(&text).stages[0].max_failures;
        found.map(|budget| (budget.count, budget.window_rows))
    };
    assert_eq!(budget(""), None);
    assert_eq!(budget("max_failures = 100"), Some((100, None)));
    assert_eq!(budget("max_failures = \"1%\""), Some((100, Some(10_000))));
    assert_eq!(
        budget("max_failures = { share = \"0.05%\", window_rows = 100_000 }"),
        Some((50, Some(100_000)))
    );
    assert_eq!(budget("max_failures = { count = 7, window_rows = 50 }"), Some((7, Some(50))));
}

#[test]
fn bytes_of_a_test_are_text_or_hexadecimal() {
    let test = "\n[[test]]\nname = \"t\"\nexpect_stop = \"x\"\ninput = [{ key = \"\", value = { hex = \"00fF\" } }, {}]";
    let tests = pipeline(&with_source(&format!("{LAKE}{test}"))).tests;
    assert_eq!(tests[0].input[0].key.as_deref(), Some(&b""[..]));
    assert_eq!(tests[0].input[0].value.as_deref(), Some(&[0, 255][..]));
    assert_eq!((&tests[0].input[1].key, &tests[0].input[1].value), (&None, &None));
    assert_eq!(tests[0].expect_stop.as_deref(), Some("x"));
}

#[test]
fn without_stages_a_sink_reads_from_the_source() {
    let pipeline = pipeline(&with_source(LAKE));
    assert!(pipeline.stages.is_empty());
    assert_eq!(pipeline.sinks[0].from, Upstream::Source);
}

#[test]
fn a_stage_may_read_from_one_further_down_and_from_the_source() {
    let text = with_source(&format!(
        "[[stage]]\nname = \"b\"\nfrom = \"a\"\nmodule = \"filter\"\n\
         [[stage]]\nname = \"c\"\nmodule = \"filter\"\n\
         [[stage]]\nname = \"a\"\nfrom = \"source\"\nmodule = \"cast\"\n{LAKE}from = \"c\""
    ));
    let pipeline = pipeline(&text);
    let stages: Vec<_> = pipeline.stages.iter().map(|s| (s.name.as_str(), s.from)).collect();
    let expected = [("a", Upstream::Source), ("b", Upstream::Stage(0)), ("c", Upstream::Stage(1))];
    assert_eq!(stages, expected);
    assert_eq!(pipeline.sinks[0].from, Upstream::Stage(2));
}

#[test]
fn starts_and_triggers_are_read() {
    let source = |line: &str| pipeline(&with_source(&format!("{line}{LAKE}"))).source;
    assert_eq!(source("start = \"latest\"").start, Start::Latest);
    let start = source("start = { timestamp = 2026-11-01T02:00:00+02:00 }").start;
    assert_eq!(start, Start::Timestamp(1_793_491_200_000));
    let start = source("start = { offsets = { orders = { 0 = 23, 1 = -2 } } }").start;
    let Start::Offsets(offsets) = start else { panic!("offsets") };
    assert_eq!(offsets["orders"].iter().collect::<Vec<_>>(), [(&0, &23), (&1, &-2)]);
    assert_eq!(source("trigger = \"available-now\"").trigger, Trigger::AvailableNow);
    let every = Trigger::Every(Duration::from_millis(500));
    assert_eq!(source("trigger = \"500ms\"").trigger, every);
    assert_eq!(source("on_data_loss = \"continue\"").on_data_loss, OnDataLoss::Continue);
}

#[test]
fn a_topic_pattern_matches_whole_names() {
    let text = "name = \"p\"\n[source]\ntopic_pattern = \"a|b-.*\"\n".to_string() + LAKE;
    let topics = pipeline(&text).source.topics;
    assert!(topics.has("a") && topics.has("b-1"));
    assert!(!topics.has("ab") && !topics.has("xb-1") && !topics.has("b"));
}

#[test]
fn a_module_file_is_made_absolute() {
    let stage = "[[stage]]\nname = \"s\"\nmodule = \"./present.wat\"\n";
    let pipeline = pipeline(&with_source(&format!("{stage}{LAKE}")));
    let ModuleRef::File(path) = &pipeline.stages[0].module else { panic!("a file") };
    assert!(path.is_absolute() && path.ends_with("tests/config/present.wat"), "{path:?}");
}

#[test]
fn commit_every_and_limits_keep_what_is_not_written() {
    let sink = format!("{LAKE}commit_every = {{ rows = 5, bytes = \"1MiB\" }}");
    let SinkKind::Delta(delta) = &pipeline(&with_source(&sink)).sinks[0].kind else {
        panic!("a table")
    };
    let expected = CommitEvery { rows: 5, bytes: 1 << 20, ..CommitEvery::default() };
    assert_eq!(delta.commit_every, expected);
}

const EXTERNAL: &str = r#"name = "p"
[source]
topics = ["orders"]
brokers = "${KAFKA_BROKERS}"

[source.kafka]
security.protocol = "SASL_SSL"
"sasl.password" = "${KAFKA_PASSWORD}"
fetch.min.bytes = 5

[[sink]]
name = "same"
topic = "a"
kafka = { "linger.ms" = 5, "ssl.ca.location" = "$${not a variable}" }

[[sink]]
name = "other"
topic = "a"
brokers = "elsewhere:9092"

[[sink]]
name = "store"
delta = "s3://bucket/orders"
storage = { aws_secret_access_key = "${file:SECRET_FILE}" }
"#;

fn external() -> (Pipeline, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret.txt"), format!("{SECRET}\r\n")).expect("a file");
    let text = EXTERNAL.replace("SECRET_FILE", "secret.txt");
    let file = folder.path().join("p.toml");
    std::fs::write(&file, text).expect("a file");
    let context = LoadContext { shipped: &SHIPPED, environment: &environment };
    (config::load(&file, &context).expect("no mistakes").pipeline, folder)
}

#[test]
fn secrets_are_put_in_and_a_sink_shares_the_sources_connection() {
    let (pipeline, _folder) = external();
    let brokers = Some("kafka-1:9092,kafka-2:9092");
    assert_eq!(pipeline.source.brokers.as_deref(), brokers);
    assert_eq!(pipeline.source.kafka["sasl.password"], SECRET);
    assert_eq!(pipeline.source.kafka["fetch.min.bytes"], "5");
    let [same, other, store] = pipeline.sinks.as_slice() else { panic!("three sinks") };
    let SinkKind::Topic(same) = &same.kind else { panic!("a topic") };
    assert_eq!(same.brokers.as_deref(), brokers);
    let properties: Vec<_> = same.kafka.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [
        ("linger.ms", "5"),
        ("sasl.password", SECRET),
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", "${not a variable}"),
    ];
    assert_eq!(properties, expected);
    let SinkKind::Topic(other) = &other.kind else { panic!("a topic") };
    assert_eq!(other.brokers.as_deref(), Some("elsewhere:9092"));
    assert!(other.kafka.is_empty());
    let SinkKind::Delta(store) = &store.kind else { panic!("a table") };
    assert_eq!(store.table, "s3://bucket/orders");
    assert_eq!(store.storage["aws_secret_access_key"], SECRET);
}

#[test]
fn a_resolved_secret_is_not_in_the_debug_output() {
    let (pipeline, _folder) = external();
    let shown = format!("{pipeline:?}");
    assert!(shown.contains("sasl.password") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let context = LoadContext { shipped: &SHIPPED, environment: &environment };
    let told = |name: &str, content: Option<&[u8]>| {
        let file: PathBuf = folder.path().join(name);
        if let Some(bytes) = content {
            std::fs::write(&file, bytes).expect("a file");
        }
        let found = config::load(&file, &context).expect_err("a mistake");
        let told = config::render_with_files(&found);
        told.replace(&format!("{}/", folder.path().display()), "")
    };
    let missing = "a.toml: error: cannot read it: No such file or directory (os error 2)\n";
    assert_eq!(told("a.toml", None), missing);
    let not_text =
        "b.toml: error: not UTF-8 text: line 2 has a byte that belongs to no character\n";
    assert_eq!(told("b.toml", Some(b"a = 1\nb = \"\xff\"\n")), not_text);
    let long = vec![b'#'; FILE_BYTES_MAX as usize + 1];
    let told = told("c.toml", Some(&long));
    assert!(told.starts_with("c.toml") && told.contains("longer than 256 KiB"), "{told}");
}

#[test]
fn a_secret_file_has_a_greatest_length() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s"), vec![b'x'; (64 << 10) + 1]).expect("a file");
    let text = with_source(&format!("kafka = {{ a = \"${{file:s}}\" }}{LAKE}"));
    let context = LoadContext { shipped: &SHIPPED, environment: &environment };
    let found = config::parse(&text, &folder.path().join("p.toml"), &context);
    let message = &found.expect_err("a mistake")[0].message;
    assert!(message.ends_with("it is longer than 64 KiB"), "{message}");
}

/// Hostile shapes and sizes: deep, wide, long; each must end soon and without a panic.
#[test]
fn large_files_are_refused_in_bounded_time() {
    let deep_key = vec!["a"; 100_000].join(".") + " = 1";
    let deep_list = "a = ".to_string() + &"[".repeat(100_000);
    let unknown_keys: String = (0..20_000).map(|i| format!("key{i} = {i}\n")).collect();
    let stages: String = (0..2_000)
        .map(|i| {
            format!("[[stage]]\nname = \"s{i}\"\nfrom = \"s{}\"\nmodule = \"filter\"\n", i + 1)
        })
        .collect();
    let topics: Vec<_> = (0..1_000).map(|i| format!("\"t{i}\"")).collect();
    let topics = format!("name = \"p\"\n[source]\ntopics = [{}]\n", topics.join(","));
    let starts: String =
        (0..2_000).map(|i| format!("[source.start.offsets.u{i}]\n0 = 1\n")).collect();
    for text in [deep_key, deep_list, unknown_keys, with_source(&stages), topics + &starts] {
        let found = parse(&text, FILE).expect_err("a mistake");
        assert_spans_are_inside(&found, &text);
        assert!(!config::render_all(&found, &text).is_empty());
        assert!(found.len() <= 101, "{}", found.len());
    }
}

/// Pieces that a pipeline file is made of.
const PIECES: [&str; 24] = [
    "[source]\n",
    "[[stage]]\n",
    "[[sink]]\n",
    "[dead_letter]\n",
    "[[test]]\n",
    "[stage.with]\n",
    "name = ",
    "topics = ",
    "from = ",
    "start = ",
    "trigger = ",
    "commit_every = ",
    "\"orders\"",
    "[\"orders\"]",
    "{ offsets = { orders = { 0 = 1 } } }",
    "\"10s\"",
    "2026-11-01T00:00:00Z",
    "\n",
    "\"${VAR}\"",
    "\"${\"",
    "é日\u{202e}\0",
    "'''",
    "= 99999999999999999999",
    "\r\n\t",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        check_any_text(&text);
    }

    #[test]
    fn no_heap_of_pieces_panics(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
    ) {
        check_any_text(&pieces.concat());
    }

    #[test]
    fn no_change_of_a_right_file_panics(
        from in 0..ORDERS.len(),
        length in 0..60_usize,
        piece in prop::sample::select(&PIECES[..]),
    ) {
        let start = ORDERS.floor_char_boundary(from);
        let end = ORDERS.floor_char_boundary((from + length).min(ORDERS.len()));
        check_any_text(&format!("{}{piece}{}", &ORDERS[..start], &ORDERS[end.max(start)..]));
    }
}

/// Reads, checks every place, and shows every message.
fn check_any_text(text: &str) {
    let found = match parse(text, FILE) {
        Ok(loaded) => loaded.warnings,
        Err(found) => {
            assert!(!found.is_empty(), "refused without a reason: {text:?}");
            found
        }
    };
    assert_spans_are_inside(&found, text);
    config::render_all(&found, text);
}
