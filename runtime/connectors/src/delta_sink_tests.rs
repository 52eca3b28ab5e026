//! What a Delta sink promises, against real tables in folders; crashes are sinks dropped at a
//! chosen step.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use gristmill_engine::config::SchemaEvolution;

use super::*;
use crate::delta_location::{Step, steps};
use crate::delta_table;

fn config(table: &Path) -> DeltaSinkConfig {
    DeltaSinkConfig {
        table: table.display().to_string(),
        partition_by: Vec::new(),
        commit_every: CommitEvery::default(),
        schema_evolution: SchemaEvolution::Refuse,
        storage: BTreeMap::new(),
    }
}

fn order_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("city", DataType::Utf8, true),
    ]))
}

fn setup(table: &Path) -> DeltaSinkSetup {
    DeltaSinkSetup {
        pipeline: "orders".into(),
        index: 0,
        sink: "lake".into(),
        config: config(table),
        rows: order_schema(),
    }
}

async fn open(table: &Path) -> DeltaSink {
    DeltaSink::open(setup(table)).await.unwrap()
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

/// One row per offset, whose id tells partition and offset.
fn rows(partition: i32, offsets: std::ops::Range<i64>) -> SinkRows {
    let ids: Vec<_> =
        offsets.clone().map(|offset| i64::from(partition) * 1_000_000 + offset).collect();
    let cities: Vec<_> =
        ids.iter().map(|id| if id % 3 == 0 { "Chicago" } else { "Reno" }).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from(cities))];
    let rows = RecordBatch::try_new(order_schema(), columns).unwrap();
    SinkRows { partition: at(partition), rows, offsets: offsets.collect() }
}

async fn put(sink: &DeltaSink, rows: SinkRows) -> Result<()> {
    let mut writer = sink.writer().unwrap();
    tokio::task::spawn_blocking(move || writer.write(&rows)).await.unwrap()
}

async fn put_and_commit(
    sink: &DeltaSink,
    partition: i32,
    offsets: std::ops::Range<i64>,
) -> Committed {
    let end = offsets.end;
    put(sink, rows(partition, offsets)).await.unwrap();
    sink.commit_one(&Offsets::from([(at(partition), end)]), When::Last).await.unwrap().unwrap()
}

/// Every id in the table, sorted.
async fn ids(table: &Path) -> Vec<i64> {
    let name = table.display().to_string();
    let batches = delta_table::first_rows(&name, &BTreeMap::new(), usize::MAX).await.unwrap();
    let mut ids: Vec<_> = batches
        .iter()
        .flat_map(|rows| {
            rows.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
        })
        .collect();
    ids.sort_unstable();
    ids
}

async fn describe(table: &Path) -> delta_table::TableDescription {
    delta_table::describe(&table.display().to_string(), &BTreeMap::new()).await.unwrap()
}

fn files(folder: &Path, extension: &str) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).count()
}

async fn refusal(setup: DeltaSinkSetup) -> String {
    match DeltaSink::open(setup).await {
        Ok(_) => panic!("was not refused"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_cursors_are_in_one_commit_and_a_restart_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("lake");
    let sink = open(&table).await;
    assert_eq!(sink.cursors(&[at(0)]).await.unwrap(), Offsets::new());
    let modules = vec![("parse".to_string(), "ab12".to_string())];
    sink.made_by(&Arc::new(Provenance { generation: 3, modules }));
    put(&sink, rows(1, 5..9)).await.unwrap();
    let committed = put_and_commit(&sink, 0, 0..10).await;
    assert_eq!((committed.rows, committed.detail.as_str()), (14, "version 1"));
    let entry =
        fs::read_to_string(table.join("_delta_log").join(format!("{:020}.json", 1))).unwrap();
    assert!(entry.contains(r#""appId":"gristmill:orders:lake:orders:0","version":10"#), "{entry}");
    assert!(entry.contains(r#""generation":3,"modules":{"parse":"ab12"}"#), "{entry}");
    assert!(entry.contains(r#""operation":"STREAMING UPDATE""#), "{entry}");
    drop(sink);
    let sink = open(&table).await;
    let cursors = sink.cursors(&[at(0), at(1)]).await.unwrap();
    assert_eq!(cursors, Offsets::from([(at(0), 10)]));
    put_and_commit(&sink, 0, 10..20).await;
    let expected: Vec<i64> = (0..20).chain(1_000_005..1_000_009).collect();
    assert_eq!(ids(&table).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_file_and_commit_leaves_a_file_that_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let sink = open(folder.path()).await;
    put_and_commit(&sink, 0, 0..10).await;
    put(&sink, rows(0, 10..20)).await.unwrap();
    assert_eq!(sink.complete_files().await.unwrap().len(), 1);
    drop(sink);
    assert_eq!(files(folder.path(), "parquet"), 2);
    let sink = open(folder.path()).await;
    assert_eq!(sink.cursors(&[at(0)]).await.unwrap(), Offsets::from([(at(0), 10)]));
    put_and_commit(&sink, 0, 10..20).await;
    assert_eq!(ids(folder.path()).await, (0..20).collect::<Vec<_>>());
    assert_eq!(files(folder.path(), "parquet"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_table_has_are_left_out_of_a_replay() {
    let folder = tempfile::tempdir().unwrap();
    put_and_commit(&open(folder.path()).await, 0, 0..10).await;
    let sink = open(folder.path()).await;
    put(&sink, rows(0, 0..6)).await.unwrap();
    let committed = put_and_commit(&sink, 0, 6..14).await;
    assert_eq!(committed.rows, 4);
    assert_eq!(ids(folder.path()).await, (0..14).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_and_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let (zombie, heir) = (open(folder.path()).await, open(folder.path()).await);
    put(&zombie, rows(0, 0..10)).await.unwrap();
    put_and_commit(&heir, 0, 0..12).await;
    let error = zombie.commit_one(&Offsets::from([(at(0), 10)]), When::Last).await.unwrap_err();
    assert!(format!("{error:#}").contains("FENCED"), "{error:#}");
    let again = put(&zombie, rows(0, 10..20)).await.unwrap_err();
    assert!(again.to_string().contains("failed before"));
    assert_eq!(ids(folder.path()).await, (0..12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_begin_one_says_where_for_all_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()).await, open(folder.path()).await);
    let begin = |offset| Offsets::from([(at(0), offset), (at(1), offset)]);
    one.begin(&begin(7)).await.unwrap();
    let error = other.begin(&begin(9)).await.unwrap_err();
    assert!(format!("{error:#}").contains("FENCED"), "{error:#}");
    other.abort().await.unwrap();
    assert_eq!(other.cursors(&[at(0), at(1)]).await.unwrap(), begin(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_other_partitions_race_and_both_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let commits = 40;
    let race = |partition: i32, sink: DeltaSink| async move {
        for round in 0..commits {
            put_and_commit(&sink, partition, round * 5..round * 5 + 5).await;
        }
    };
    let (one, other) = (open(folder.path()).await, open(folder.path()).await);
    tokio::join!(tokio::spawn(race(0, one)), tokio::spawn(race(1, other))).0.unwrap();
    let expected: Vec<_> = (0..5 * commits).chain(1_000_000..1_000_000 + 5 * commits).collect();
    assert_eq!(ids(folder.path()).await, expected);
    assert_eq!(describe(folder.path()).await.version, 2 * commits as u64);
    let data_files = files(folder.path(), "parquet");
    assert_eq!(data_files, 2 * commits as usize, "a lost race keeps the files that were written");
}

/// After a power cut a log entry must not name what is not there, nor be there in part.
#[tokio::test(flavor = "multi_thread")]
async fn data_files_are_on_disk_before_the_entry_and_the_entry_before_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let table = fs::canonicalize(folder.path()).unwrap();
    let mut partitioned = setup(&table);
    partitioned.config.partition_by = vec!["city".into()];
    let sink = DeltaSink::open(partitioned).await.unwrap();
    let before = steps::below(&table).len();
    put_and_commit(&sink, 0, 0..10).await;
    let steps = steps::below(&table).split_off(before);
    let log = table.join("_delta_log");
    let name = log.join(format!("{:020}.json", 1));
    let named = steps.iter().position(|step| *step == Step::Named(name.clone())).unwrap();
    let before_name: Vec<_> = steps[..named].iter().collect();
    let synced = |path: PathBuf| before_name.contains(&&Step::Synced(path));
    let entry = fs::read_to_string(&name).unwrap();
    let adds: Vec<Value> = entry.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let paths: Vec<_> = adds.iter().filter_map(|action| action["add"]["path"].as_str()).collect();
    assert_eq!(paths.len(), 2, "a file for each city");
    for path in paths {
        assert!(synced(table.join(path)), "{path}: {steps:?}");
        assert!(synced(table.join(path).parent().unwrap().to_path_buf()), "{path}: {steps:?}");
    }
    assert!(synced(table.clone()), "the folders of the cities: {steps:?}");
    let is_entry = |step: &Step| matches!(step, Step::Synced(path) if path.starts_with(&log));
    assert!(is_entry(before_name[named - 1]), "the entry itself comes last: {steps:?}");
    assert_eq!(steps[named + 1..], [Step::Synced(log)], "its name");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sinks_of_one_table_keep_a_cursor_each() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| DeltaSinkSetup { sink: name.into(), ..setup(folder.path()) };
    let (all, late) = (open(folder.path()).await, DeltaSink::open(named("late")).await.unwrap());
    put_and_commit(&all, 0, 0..10).await;
    put_and_commit(&late, 0, 3..5).await;
    put_and_commit(&all, 0, 10..12).await;
    for (name, cursor) in [("lake", 12), ("late", 5)] {
        let sink = DeltaSink::open(named(name)).await.unwrap();
        assert_eq!(sink.cursors(&[at(0)]).await.unwrap(), Offsets::from([(at(0), cursor)]));
    }
    let mut expected: Vec<_> = (0..12).chain(3..5).collect();
    expected.sort_unstable();
    assert_eq!(ids(folder.path()).await, expected);
}

/// The crate takes the same `txn`, or an older one, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_the_table_has_or_is_beyond_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    put_and_commit(&open(folder.path()).await, 0, 0..10).await;
    let sink = open(folder.path()).await;
    for (rows_again, cursor) in [(0..10, 10), (0..4, 4)] {
        put(&sink, rows(0, rows_again)).await.unwrap();
        let again = sink.commit_one(&Offsets::from([(at(0), cursor)]), When::Last).await.unwrap();
        assert_eq!(again.map(|committed| committed.rows), Some(0));
    }
    let described = describe(folder.path()).await;
    assert_eq!((described.version, described.files, described.rows), (1, 1, Some(10)));
    assert_eq!(described.cursors["gristmill:orders:lake:orders:0"], 10);
}

/// The crate's own commit path took 47 ms a commit after 300 of them and grew from there.
#[tokio::test(flavor = "multi_thread")]
async fn commits_stay_flat_and_a_restart_reads_the_cursor_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let sink = open(folder.path()).await;
    let mut times = Vec::new();
    for round in 0..301 {
        let begun = Instant::now();
        put_and_commit(&sink, round % 2, i64::from(round) * 4..i64::from(round) * 4 + 4).await;
        times.push(begun.elapsed());
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (early, late) = (median(&times[..100]), median(&times[200..]));
    assert!(late < 3 * early + Duration::from_millis(10), "{early:?} early, {late:?} late");
    drop(sink);
    let log = folder.path().join("_delta_log");
    assert_eq!(files(&log, "parquet"), 3, "a checkpoint every 100 commits");
    // Partition 0's cursor is in the entry after the checkpoint, partition 1's in the checkpoint
    // alone.
    for version in 0..300 {
        fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let sink = open(folder.path()).await;
    let cursors = sink.cursors(&[at(0), at(1)]).await.unwrap();
    assert_eq!(cursors, Offsets::from([(at(0), 1_204), (at(1), 1_200)]));
    assert_eq!(describe(folder.path()).await.rows, Some(4 * 301));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_waits_until_it_is_due_and_nothing_new_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut lazy = setup(folder.path());
    lazy.config.commit_every.rows = 15;
    let sink = DeltaSink::open(lazy).await.unwrap();
    put(&sink, rows(0, 0..10)).await.unwrap();
    assert_eq!(sink.commit_one(&Offsets::from([(at(0), 10)]), When::Due).await.unwrap(), None);
    put(&sink, rows(0, 10..20)).await.unwrap();
    let committed =
        sink.commit_one(&Offsets::from([(at(0), 20)]), When::Due).await.unwrap().unwrap();
    assert_eq!(committed.rows, 20);
    assert_eq!(sink.commit_one(&Offsets::from([(at(0), 20)]), When::Due).await.unwrap(), None);
    let nothing =
        sink.commit_one(&Offsets::from([(at(0), 20)]), When::Last).await.unwrap().unwrap();
    assert_eq!((nothing.rows, describe(folder.path()).await.version), (0, 1));
    // Everything filtered: kept back while running, stored at a stop.
    assert_eq!(sink.commit_one(&Offsets::from([(at(0), 90)]), When::Due).await.unwrap(), None);
    sink.commit_one(&Offsets::from([(at(0), 90)]), When::Last).await.unwrap().unwrap();
    let described = describe(folder.path()).await;
    assert_eq!((described.version, described.files), (2, 1));
    assert_eq!(described.cursors["gristmill:orders:lake:orders:0"], 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn enough_encoded_bytes_make_a_commit_due() {
    let folder = tempfile::tempdir().unwrap();
    let mut lazy = setup(folder.path());
    lazy.config.commit_every.bytes = 100_000;
    let sink = DeltaSink::open(lazy).await.unwrap();
    let mut committed = None;
    let mut end = 0;
    while committed.is_none() {
        put(&sink, rows(0, end..end + 1_000)).await.unwrap();
        end += 1_000;
        committed = sink.commit_one(&Offsets::from([(at(0), end)]), When::Due).await.unwrap();
        assert!(end < 1_000_000, "never due");
    }
    assert_eq!(committed.unwrap().rows, end as u64);
    assert!(end > 5_000, "{end} rows of some bytes each");
}

#[test]
fn time_rows_or_bytes_make_a_commit_due_and_no_rows_wait_a_minute() {
    let every = CommitEvery { time: Duration::from_secs(5), rows: 100, bytes: 1_000 };
    let begun = Instant::now();
    let after = |seconds| begun + Duration::from_secs(seconds);
    assert!(!is_due(&every, after(4), 99, 999, Some(begun)));
    assert!(is_due(&every, after(5), 1, 1, Some(begun)));
    assert!(is_due(&every, after(0), 100, 1, Some(begun)));
    assert!(is_due(&every, after(0), 1, 1_000, Some(begun)));
    assert!(!is_due(&every, after(59), 0, 0, Some(begun)));
    assert!(is_due(&every, after(60), 0, 0, Some(begun)));
}

fn wider() -> SchemaRef {
    let fields = order_schema()
        .fields()
        .iter()
        .cloned()
        .chain([Arc::new(Field::new("coupon", DataType::Utf8, true))])
        .collect::<Fields>();
    Arc::new(Schema::new(fields))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_table_lacks_is_refused_or_added() {
    let folder = tempfile::tempdir().unwrap();
    put_and_commit(&open(folder.path()).await, 0, 0..3).await;
    let mut wide = setup(folder.path());
    wide.rows = wider();
    let error = refusal(wide.clone()).await;
    assert!(error.contains("column `coupon` (string) is not in the table"), "{error}");
    assert!(error.contains("schema_evolution"), "{error}");
    wide.config.schema_evolution = SchemaEvolution::Add;
    let sink = DeltaSink::open(wide).await.unwrap();
    let mut more = rows(0, 3..5);
    let mut columns = more.rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec![Some("TEN"), None])));
    more.rows = RecordBatch::try_new(wider(), columns).unwrap();
    put(&sink, more).await.unwrap();
    sink.commit_one(&Offsets::from([(at(0), 5)]), When::Last).await.unwrap();
    // The narrow sink still fits: what it lacks becomes null.
    put_and_commit(&open(folder.path()).await, 1, 0..1).await;
    let described = describe(folder.path()).await;
    assert_eq!(described.schema.field(2).name(), "coupon");
    assert_eq!(ids(folder.path()).await, [0, 1, 2, 3, 4, 1_000_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sink_goes_on_when_somebody_adds_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = open(folder.path()).await;
    put_and_commit(&narrow, 0, 0..3).await;
    put(&narrow, rows(0, 3..6)).await.unwrap();
    let mut wide = setup(folder.path());
    (wide.rows, wide.sink) = (wider(), "other".into());
    wide.config.schema_evolution = SchemaEvolution::Add;
    DeltaSink::open(wide).await.unwrap();
    narrow.commit_one(&Offsets::from([(at(0), 6)]), When::Last).await.unwrap();
    put_and_commit(&narrow, 0, 6..9).await;
    assert_eq!(ids(folder.path()).await, (0..9).collect::<Vec<_>>());
    assert_eq!(describe(folder.path()).await.schema.fields().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_type_another_partitioning_and_an_expiring_cursor_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    put_and_commit(&open(folder.path()).await, 0, 0..3).await;
    let mut other = setup(folder.path());
    other.rows = Arc::new(Schema::new(vec![Field::new("ID", DataType::Int32, true)]));
    let error = refusal(other).await;
    assert!(error.contains("column `ID` is int here and long in the table"), "{error}");
    let mut other = setup(folder.path());
    other.config.partition_by = vec!["city".into()];
    assert!(refusal(other).await.contains("is partitioned by []"));
    let log = folder.path().join("_delta_log");
    let first = fs::read_to_string(log.join(format!("{:020}.json", 0))).unwrap();
    let metadata = first.lines().find(|line| line.starts_with("{\"metaData\"")).unwrap();
    let expiring = metadata.replace(
        "\"delta.checkpointInterval\"",
        "\"delta.setTransactionRetentionDuration\":\"interval 1 day\",\"delta.checkpointInterval\"",
    );
    fs::write(log.join(format!("{:020}.json", 2)), expiring).unwrap();
    let error = refusal(setup(folder.path())).await;
    assert!(error.contains("delta.setTransactionRetentionDuration"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_values_of_any_text_find_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let mut partitioned = setup(folder.path());
    partitioned.config.partition_by = vec!["City".into()];
    let sink = DeltaSink::open(partitioned).await.unwrap();
    let cities = ["New York", "Zürich/Süd", "50% off=yes", "", "Chicago"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..6)),
        Arc::new(StringArray::from_iter(cities.iter().copied().map(Some).chain([None]))),
    ];
    let batch = RecordBatch::try_new(order_schema(), columns).unwrap();
    let rows = SinkRows { partition: at(0), rows: batch, offsets: (0..6).collect() };
    put(&sink, rows).await.unwrap();
    sink.commit_one(&Offsets::from([(at(0), 6)]), When::Last).await.unwrap();
    assert_eq!(ids(folder.path()).await, (0..6).collect::<Vec<_>>());
    let name = folder.path().display().to_string();
    let rows = delta_table::first_rows(&name, &BTreeMap::new(), 6).await.unwrap();
    let mut found: Vec<_> = rows
        .iter()
        .flat_map(|rows| {
            let cities = rows.column_by_name("city").unwrap().as_string::<i32>().clone();
            cities.iter().map(|city| city.map(str::to_string)).collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    // Delta cannot tell an empty partition value from null.
    let mut expected: Vec<_> = ["New York", "Zürich/Süd", "50% off=yes", "Chicago"]
        .iter()
        .map(|city| Some(city.to_string()))
        .collect();
    expected.extend([None, None]);
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_be_partitioned_by_days_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("day", DataType::Date32, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]));
    let times = TimestampMicrosecondArray::from(vec![1_700_000_000_123_456, 0, 0]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..3)),
        Arc::new(Date32Array::from(vec![20_000, 1, 1])),
        Arc::new(times.with_timezone("UTC")),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut partitioned = setup(folder.path());
    partitioned.rows = schema;
    partitioned.config.partition_by = vec!["day".into(), "time".into()];
    let sink = DeltaSink::open(partitioned).await.unwrap();
    let offsets = (0..3).collect();
    put(&sink, SinkRows { partition: at(0), rows: batch.clone(), offsets }).await.unwrap();
    sink.commit_one(&Offsets::from([(at(0), 3)]), When::Last).await.unwrap();
    let name = folder.path().display().to_string();
    let rows = delta_table::first_rows(&name, &BTreeMap::new(), 9).await.unwrap();
    assert_eq!(rows.len(), 2, "two folders");
    let first = rows.iter().find(|rows| rows.num_rows() == 1).unwrap();
    assert_eq!(first.columns(), batch.slice(0, 1).columns());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_a_stage_comes_back_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let item = DataType::Struct(vec![Field::new("sku", DataType::Utf8, true)].into());
    let list = DataType::List(Arc::new(Field::new("item", item, true)));
    let mut tags = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    tags.keys().append_value("size");
    tags.values().append_value(7);
    tags.append(true).unwrap();
    let tags: ArrayRef = Arc::new(tags.finish());
    let fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("day", DataType::Date32, true),
        Field::new("price", DataType::Decimal128(20, 4), true),
        Field::new("ratio", DataType::Float64, true),
        Field::new("count", DataType::Int32, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("tags", tags.data_type().clone(), true),
        Field::new("items", list.clone(), true),
    ];
    let schema = Arc::new(Schema::new(fields));
    let DataType::List(element) = &list else { panic!("a list") };
    let DataType::Struct(inner) = element.data_type() else { panic!("a struct") };
    let skus = Arc::new(StringArray::from(vec![Some("a"), None]));
    let items = arrow_array::StructArray::new(inner.clone(), vec![skus], None);
    let ends = arrow_buffer::OffsetBuffer::from_lengths([2]);
    let time_us = 1_700_000_000_123_456;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from(vec![b"\xff\x00".as_ref()])),
        Arc::new(TimestampMicrosecondArray::from(vec![time_us]).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![20_000])),
        Arc::new(Decimal128Array::from(vec![123_456_789]).with_precision_and_scale(20, 4).unwrap()),
        Arc::new(Float64Array::from(vec![0.1])),
        Arc::new(Int32Array::from(vec![i32::MIN])),
        Arc::new(BooleanArray::from(vec![true])),
        tags,
        Arc::new(arrow_array::ListArray::new(element.clone(), ends, Arc::new(items), None)),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut typed = setup(folder.path());
    typed.rows = schema;
    let sink = DeltaSink::open(typed.clone()).await.unwrap();
    put(&sink, SinkRows { partition: at(0), rows: batch.clone(), offsets: vec![0] }).await.unwrap();
    sink.commit_one(&Offsets::from([(at(0), 1)]), When::Last).await.unwrap();
    DeltaSink::open(typed).await.unwrap();
    let name = folder.path().display().to_string();
    let rows = delta_table::first_rows(&name, &BTreeMap::new(), 9).await.unwrap();
    for (index, column) in batch.columns().iter().enumerate().take(7) {
        assert_eq!(rows[0].column(index), column, "column {index}");
    }
    let tags = rows[0].column(7).as_map();
    assert_eq!(tags.keys().as_string::<i32>().value(0), "size");
    assert_eq!(tags.values().as_primitive::<Int32Type>().value(0), 7);
    let items = rows[0].column(8).as_list::<i32>().value(0);
    assert_eq!(items.as_struct().column(0).as_string::<i32>().value(0), "a");
    assert!(items.as_struct().column(0).is_null(1));
}
