//! Source, sinks and admin functions against the built-in broker in this process.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{Field, Schema};
use gristmill_broker::partitioner::partition_for_key;
use gristmill_broker::{BrokerConfig, Server};
use gristmill_engine::config::{OnDataLoss, RecordHeaders, Start, Topics};
use gristmill_engine::cursors::{Cursors, Stored};
use gristmill_engine::dead_letter::{DeadLetter, DeadLetterSink};
use gristmill_engine::failure::Rewind;
use gristmill_engine::offsets::{OffsetRange, Offsets, TopicPartition};
use gristmill_engine::plan::RecordValue;
use gristmill_engine::sink::{Commit, Committed, Sink, SinkRows, When};
use gristmill_engine::source::{Source, SourceReader};

use crate::admin::{self, RecordProducer};
use crate::dead_letter_sink::DeadLetterTopic;
use crate::group_cursors::{self, Others, Owner};
use crate::kafka_client::Cluster;
use crate::kafka_group::Membership;
use crate::kafka_producer::Transactional;
use crate::kafka_sink::{KafkaSink, SharedHeaders};
use crate::kafka_source::{KafkaSource, KafkaSourceSetup};
use crate::open::ensure_topic;
use crate::topic_store::{SharedTopicStore, Together, TopicStore, TopicStoreSetup};
use crate::transaction::TIMEOUT_MIN;

/// A broker in a folder of its own.
pub(crate) struct TestBroker {
    server: Server,
    pub(crate) cluster: Cluster,
    folder: tempfile::TempDir,
}

async fn serve(folder: &Path, listen: &str) -> Server {
    let config = BrokerConfig {
        data_dir: folder.to_path_buf(),
        listeners: vec![listen.parse().unwrap()],
        auto_create_topics: false,
        ..BrokerConfig::default()
    };
    Server::start(config).await.unwrap()
}

impl TestBroker {
    pub(crate) async fn start() -> TestBroker {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(folder.path(), "127.0.0.1:0").await;
        let cluster = Cluster::new(server.address().to_string());
        TestBroker { server, cluster, folder }
    }

    /// A clean stop and a start at the same address.
    async fn restart(self) -> TestBroker {
        self.server.shutdown().await.unwrap();
        let server = serve(self.folder.path(), &self.cluster.bootstrap).await;
        TestBroker { server, ..self }
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) {
        admin::create_topic(&self.cluster, name, partitions, None, &BTreeMap::new()).await.unwrap();
    }

    /// Records `0..count`, the number as value and key.
    async fn produce(&self, topic: &str, count: i64) {
        let producer = RecordProducer::open(&self.cluster, topic).await.unwrap();
        for number in 0..count {
            let text = number.to_string();
            producer.send(Some(text.as_bytes()), Some(text.as_bytes()), &[]).unwrap();
        }
        producer.flush().await.unwrap();
    }

    fn source_setup(&self, topic: &str) -> KafkaSourceSetup {
        KafkaSourceSetup {
            cluster: self.cluster.clone(),
            topics: Topics::Names(vec![topic.to_string()]),
            group: "gristmill-test".into(),
            on_data_loss: OnDataLoss::Stop,
            read_time_max: Duration::from_secs(30),
        }
    }

    async fn source(&self, topic: &str) -> KafkaSource {
        KafkaSource::open(self.source_setup(topic)).await.unwrap()
    }

    /// Everything in partition 0 of a topic, with all columns.
    async fn read(&self, topic: &str) -> Vec<RecordBatch> {
        let source = self.source(topic).await;
        let at = TopicPartition::new(topic, 0);
        let end = source.available().await.unwrap()[&at].end;
        let reader = source.reader(&at, 0, &gristmill_engine::source::COLUMNS).await.unwrap();
        read_to(reader, end).await.unwrap().1
    }
}

/// Reads up to `end` on a thread that may block.
async fn read_to(
    mut reader: Box<dyn SourceReader>,
    end: i64,
) -> Result<(Box<dyn SourceReader>, Vec<RecordBatch>)> {
    let read = move || {
        let mut batches = Vec::new();
        while let Some(batch) = reader.next(end, 1_000, 1 << 20)? {
            assert_eq!(batch.records.num_rows(), batch.offsets.len());
            batches.push(batch.records);
        }
        Ok((reader, batches))
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn offsets_in(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |rows: &RecordBatch| {
        rows.column_by_name("offset").unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    batches.iter().flat_map(column).collect()
}

fn refusal<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("was not refused"),
        Err(error) => format!("{error:#}"),
    }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_yields_every_record_once_in_order_and_goes_on_where_it_stopped() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.produce("orders", 5_000).await;
    let source = broker.source("orders").await;
    let available = source.available().await.unwrap();
    assert_eq!(available[&at("orders", 0)], OffsetRange { begin: 0, end: 5_000 });
    let reader = source.reader(&at("orders", 0), 10, &["value"]).await.unwrap();
    let (reader, batches) = read_to(reader, 3_000).await.unwrap();
    assert_eq!(offsets_in(&batches), (10..3_000).collect::<Vec<_>>());
    assert_eq!(batches[0].num_columns(), 2, "value and offset");
    assert_eq!(batches[0].column(0).as_binary::<i32>().value(0), b"10");
    assert!(batches.iter().all(|rows| rows.num_rows() <= 1_000));
    let (_, batches) = read_to(reader, 5_000).await.unwrap();
    assert_eq!(offsets_in(&batches), (3_000..5_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_as_it_was_produced() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    let producer = RecordProducer::open(&broker.cluster, "orders").await.unwrap();
    let headers = [("trace".to_string(), Some(b"1".to_vec())), ("trace".to_string(), None)];
    producer.send(Some(b"k"), None, &headers).unwrap();
    producer.send(None, Some(b""), &[]).unwrap();
    producer.flush().await.unwrap();
    let rows = &broker.read("orders").await[0];
    assert_eq!(rows.schema(), gristmill_engine::source::schema());
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    assert_eq!(column("key").as_binary::<i32>().value(0), b"k");
    assert!(column("key").is_null(1) && column("value").is_null(0));
    assert_eq!(column("value").as_binary::<i32>().value(1), b"");
    assert_eq!(column("topic").as_string::<i32>().value(1), "orders");
    assert_eq!(column("partition").as_primitive::<Int32Type>().value(1), 0);
    assert_eq!(column("timestampType").as_primitive::<Int32Type>().value(0), 0);
    let time_us = column("timestamp").as_primitive::<TimestampMicrosecondType>().value(0);
    assert!(time_us > 1_700_000_000_000_000, "{time_us}");
    let headers = column("headers").as_list::<i32>().value(0);
    let (names, values) = (headers.as_struct().column(0), headers.as_struct().column(1));
    assert_eq!(names.as_string::<i32>().value(1), "trace");
    assert_eq!(values.as_binary::<i32>().value(0), b"1");
    assert!(values.is_null(1));
    assert_eq!(column("headers").as_list::<i32>().value(1).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_meet_the_partition_that_the_java_client_chooses() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 12).await;
    broker.produce("orders", 500).await;
    let source = broker.source("orders").await;
    let available = source.available().await.unwrap();
    assert_eq!(available.len(), 12);
    let mut count = 0;
    for (partition, range) in available {
        let reader = source.reader(&partition, 0, &["key"]).await.unwrap();
        for rows in read_to(reader, range.end).await.unwrap().1 {
            let keys = rows.column_by_name("key").unwrap().as_binary::<i32>().clone();
            for key in keys.iter().flatten() {
                assert_eq!(partition_for_key(key, 12), partition.partition as u32);
                count += 1;
            }
        }
    }
    assert_eq!(count, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_resolved_as_spark_does() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 2).await;
    broker.produce("orders", 100).await;
    let source = broker.source("orders").await;
    let available = source.available().await.unwrap();
    let partitions: Vec<_> = available.keys().cloned().collect();
    let ends: Offsets = available.iter().map(|(at, range)| (at.clone(), range.end)).collect();
    let begins: Offsets = partitions.iter().map(|at| (at.clone(), 0)).collect();
    let start = async |start: Start| source.start_offsets(&start, &partitions).await;
    assert_eq!(start(Start::Earliest).await.unwrap(), begins);
    assert_eq!(start(Start::Latest).await.unwrap(), ends);
    assert_eq!(start(Start::Timestamp(0)).await.unwrap(), begins);
    assert_eq!(start(Start::Timestamp(9_000_000_000_000)).await.unwrap(), ends, "the future");
    let chosen = |offset| {
        Start::Offsets(BTreeMap::from([("orders".to_string(), BTreeMap::from([(1, offset)]))]))
    };
    assert_eq!(start(chosen(7)).await.unwrap()[&partitions[1]], 7);
    assert_eq!(start(chosen(7)).await.unwrap()[&partitions[0]], 0, "unnamed: earliest");
    assert_eq!(start(chosen(-1)).await.unwrap()[&partitions[1]], ends[&partitions[1]]);
    assert!(refusal(start(chosen(5_000)).await).contains("offset 5000 for partition orders-1"));
    let unknown = BTreeMap::from([("orders".to_string(), BTreeMap::from([(9, 0)]))]);
    assert!(refusal(start(Start::Offsets(unknown)).await).contains("partition 9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_refused_with_those_that_are() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    let error = refusal(KafkaSource::open(broker.source_setup("order")).await);
    assert!(error.contains("there is no topic `order`"), "{error}");
    assert!(error.contains("it has `orders`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_by_pattern_and_new_partitions_are_found_while_running() {
    let broker = TestBroker::start().await;
    broker.topic("orders-eu", 1).await;
    broker.topic("old-orders-eu", 1).await;
    let mut setup = broker.source_setup("");
    setup.topics = Topics::Pattern("orders-.*".into());
    let source = KafkaSource::open(setup).await.unwrap();
    let names = |available: BTreeMap<TopicPartition, OffsetRange>| {
        available.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(source.available().await.unwrap()), ["orders-eu-0"]);
    broker.topic("orders-us", 1).await;
    broker.server.broker().create_partitions("orders-eu", 2).unwrap();
    let expected = ["orders-eu-0", "orders-eu-1", "orders-us-0"];
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = names(source.available().await.unwrap());
        if found == expected {
            break;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_before_they_were_read_stop_the_reader() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.produce("orders", 100).await;
    let log = broker.server.broker().log("orders", 0).unwrap();
    log.delete_records_before(40).unwrap();
    let source = broker.source("orders").await;
    let range = source.available().await.unwrap()[&at("orders", 0)];
    assert_eq!(range, OffsetRange { begin: 40, end: 100 });
    let reader = source.reader(&at("orders", 0), 10, &["value"]).await.unwrap();
    let error = refusal(read_to(reader, 100).await.map(drop));
    assert!(error.contains("offset 10 of partition orders-0 is no longer there"), "{error}");
    let mut going_on = broker.source_setup("orders");
    going_on.on_data_loss = OnDataLoss::Continue;
    let source = KafkaSource::open(going_on).await.unwrap();
    let reader = source.reader(&at("orders", 0), 10, &["value"]).await.unwrap();
    let (_, batches) = read_to(reader, 100).await.unwrap();
    assert_eq!(offsets_in(&batches), (40..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_out_of_reach_and_one_that_says_nothing_are_errors_in_time() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    let mut setup = broker.source_setup("orders");
    setup.read_time_max = Duration::from_secs(3);
    // Listens, accepts, never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in ["127.0.0.1:1".to_string(), silent.local_addr().unwrap().to_string()] {
        let mut elsewhere = setup.clone();
        elsewhere.cluster = Cluster::new(address.clone());
        let begun = Instant::now();
        let error = refusal(KafkaSource::open(elsewhere).await);
        assert!(error.contains(&format!("cannot reach a Kafka broker at {address}")), "{error}");
        assert!(error.contains("is it running, and does it speak PLAINTEXT?"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let source = KafkaSource::open(setup).await.unwrap();
    let reader = source.reader(&at("orders", 0), 0, &["value"]).await.unwrap();
    let error = refusal(read_to(reader, 10).await.map(drop));
    assert!(error.contains("no record of partition orders-0 for 3 s"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_is_met_again() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.produce("orders", 100).await;
    let source = broker.source("orders").await;
    broker.topic("out", 1).await;
    let out = TestSink::open(&broker, RecordValue::Column, "a").await;
    let reader = source.reader(&at("orders", 0), 0, &["value"]).await.unwrap();
    let (reader, _) = read_to(reader, 50).await.unwrap();
    let record = |text: &str| -> SinkRows {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        sink_rows(vec![("key", column.clone()), ("value", column)], vec![0])
    };
    put(&out.sink, record("before")).await;
    let broker = broker.restart().await;
    put(&out.sink, record("after")).await;
    broker.produce("orders", 100).await;
    let range = source.available().await.unwrap()[&at("orders", 0)];
    assert_eq!(range, OffsetRange { begin: 0, end: 200 });
    let (_, batches) = read_to(reader, 200).await.unwrap();
    assert_eq!(offsets_in(&batches), (50..200).collect::<Vec<_>>());
    out.commit_up_to(200).await.unwrap();
    let out = broker.read("out").await;
    let values = out.iter().flat_map(|rows| rows.column(1).as_binary::<i32>().iter().flatten());
    assert_eq!(values.collect::<Vec<_>>(), [b"before".as_ref(), b"after".as_ref()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_client_setting_is_named() {
    let mut cluster = Cluster::new("127.0.0.1:1");
    cluster.properties.insert("fetch.wait.max.mss".into(), "1".into());
    let error = refusal(admin::list_topics(&cluster).await);
    assert!(error.contains("fetch.wait.max.mss"), "{error}");
}

/// A store with one topic sink, `chicago`, as a pipeline opens it.
struct TestSink {
    store: Arc<TopicStore>,
    commit: SharedTopicStore,
    sink: KafkaSink,
}

impl TestSink {
    async fn open(broker: &TestBroker, value: RecordValue, instance: &str) -> TestSink {
        let member = Membership::new(&broker.cluster, "gristmill-orders", Some(instance)).unwrap();
        let member = Arc::new(member);
        let topics = BTreeSet::from(["orders".to_string()]);
        member.assigned(&topics).await.unwrap();
        let setup = TopicStoreSetup {
            pipeline: "orders".into(),
            cluster: broker.cluster.clone(),
            source: broker.cluster.clone(),
            group: "gristmill-orders".into(),
            together: Together::Transaction {
                transactional: Transactional { id: instance.into(), timeout: TIMEOUT_MIN },
                member: member.clone(),
            },
            outputs: vec![(Some(0), Owner::Sink("chicago".into())), (None, Owner::DeadLetters)],
        };
        let open = move || TopicStore::open(setup);
        let store = Arc::new(tokio::task::spawn_blocking(open).await.unwrap().unwrap());
        let sink = KafkaSink {
            store: store.clone(),
            output: 0,
            topic: "out".into(),
            key: true,
            value,
            headers: SharedHeaders::new(RecordHeaders::None),
        };
        TestSink { commit: SharedTopicStore(store.clone()), store, sink }
    }

    /// The cursors as the engine would hold them after it has read up to `next`.
    async fn cursors(&self, next: i64) -> Cursors {
        let sinks = [self.sink.cursors(&[at("orders", 0)]).await.unwrap()];
        let (letters, starts) = (Offsets::new(), Offsets::new());
        let range = OffsetRange { begin: 0, end: next };
        let available = BTreeMap::from([(at("orders", 0), range)]);
        let stored = Stored {
            sinks: &sinks,
            older: &[BTreeSet::new()],
            letters: &letters,
            starts: &starts,
            available: &available,
        };
        let mut cursors = Cursors::default();
        cursors.begin(&at("orders", 0), &stored);
        cursors.advance(&at("orders", 0), next);
        cursors
    }

    async fn commit_up_to(&self, next: i64) -> Result<Vec<(usize, Committed)>> {
        self.commit.commit(&self.cursors(next).await, When::Last).await
    }
}

fn sink_rows(columns: Vec<(&str, ArrayRef)>, offsets: Vec<i64>) -> SinkRows {
    let fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    SinkRows {
        partition: at("orders", 0),
        rows: RecordBatch::try_new(schema, arrays).unwrap(),
        offsets,
    }
}

async fn put(sink: &KafkaSink, rows: SinkRows) {
    let mut writer = sink.writer().unwrap();
    tokio::task::spawn_blocking(move || writer.write(&rows)).await.unwrap().unwrap();
}

/// Items of orders `range`, one row each.
fn items(range: std::ops::Range<i64>) -> SinkRows {
    let count = (range.end - range.start) as usize;
    sink_rows(
        vec![
            ("key", Arc::new(Int64Array::from_iter_values(range.clone()))),
            ("city", Arc::new(StringArray::from(vec![Some("Chicago"); count]))),
            ("coupon", Arc::new(StringArray::new_null(count))),
            ("total", Arc::new(Float64Array::from(vec![299.98; count]))),
        ],
        range.collect(),
    )
}

/// Keys and values of partition 0, as text.
async fn texts(broker: &TestBroker, topic: &str) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for rows in broker.read(topic).await {
        let (keys, values) = (rows.column(0).as_binary::<i32>(), rows.column(1).as_binary::<i32>());
        found.extend(
            (0..rows.num_rows()).map(|row| (text(keys.value(row)), text(values.value(row)))),
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_become_json_records_and_the_group_keeps_the_cursor() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    let out = TestSink::open(&broker, RecordValue::Json, "a").await;
    assert_eq!(out.sink.cursors(&[at("orders", 0)]).await.unwrap(), Offsets::new());
    put(&out.sink, items(0..3)).await;
    assert!(texts(&broker, "out").await.is_empty(), "not before the transaction is committed");
    let (sink, committed) = out.commit_up_to(3).await.unwrap().remove(0);
    assert_eq!((sink, committed.rows, committed.cursors[&at("orders", 0)]), (0, 3, 3));
    assert!(out.commit_up_to(3).await.unwrap().is_empty(), "nothing new");
    drop(out);
    let out = TestSink::open(&broker, RecordValue::Json, "a").await;
    let cursors = out.sink.cursors(&[at("orders", 0)]).await.unwrap();
    assert_eq!(cursors, Offsets::from([(at("orders", 0), 3)]));
    let expected =
        (0..3).map(|key| (key.to_string(), r#"{"city":"Chicago","total":299.98}"#.to_string()));
    assert_eq!(texts(&broker, "out").await, expected.collect::<Vec<_>>());
}

/// A partition that a process with a newer version of the file had, whose second sink this one does not know.
#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_of_a_sink_that_only_another_process_knows_stays() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    let (at, chicago) = (at("orders", 0), Owner::Sink("chicago".into()));
    let new = Owner::Sink("new".into());
    let theirs = BTreeMap::from([(at.clone(), vec![(&new, 2), (&chicago, 3)])]);
    let list = group_cursors::offsets("orders", &theirs, &Others::new()).unwrap();
    let member = Membership::new(&broker.cluster, "gristmill-orders", Some("b")).unwrap();
    member.assigned(&BTreeSet::from(["orders".to_string()])).await.unwrap();
    tokio::task::spawn_blocking(move || member.commit(&list)).await.unwrap().unwrap();

    let out = TestSink::open(&broker, RecordValue::Json, "b").await;
    put(&out.sink, items(3..5)).await;
    out.commit_up_to(5).await.unwrap();
    let asker = broker.cluster.consumer("gristmill-orders", &[]).unwrap();
    let (cluster, partition) = (broker.cluster.clone(), at.clone());
    let ask = move || group_cursors::held(&asker, &cluster, &[partition]);
    let held = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
    assert_eq!(held.of(&chicago), Offsets::from([(at.clone(), 5)]));
    assert_eq!(held.of(&new), Offsets::from([(at, 2)]));
}

/// A pattern that no topic matches yet: there is no group to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_read_needs_no_group() {
    let broker = TestBroker::start().await;
    let member = Membership::new(&broker.cluster, "gristmill-orders", None).unwrap();
    let assigned = tokio::time::timeout(Duration::from_secs(30), async {
        member.assigned(&BTreeSet::new()).await.unwrap()
    });
    assert!(assigned.await.unwrap().is_empty());
}

/// A filter that drops every record: the group hears how far it is, readers get no marker to skip.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_moves_without_an_empty_transaction() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    let out = TestSink::open(&broker, RecordValue::Json, "a").await;
    put(&out.sink, items(0..1)).await;
    out.commit_up_to(1).await.unwrap();
    let end = |topic: &str| broker.server.broker().log(topic, 0).unwrap().log_end_offset();
    let before = (end("out"), end("__consumer_offsets"));
    let (_, committed) = out.commit_up_to(90).await.unwrap().remove(0);
    assert_eq!((committed.rows, committed.cursors[&at("orders", 0)]), (0, 90));
    let after = (end("out"), end("__consumer_offsets"));
    assert_eq!(after, (before.0, before.1 + 1), "the offset alone, without a marker");
    assert_eq!(out.sink.cursors(&[at("orders", 0)]).await.unwrap()[&at("orders", 0)], 90);
}

/// The topic's records were not read to their end, or so it must seem.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_vanishes_is_a_loss_unless_the_source_may_go_on() {
    let broker = TestBroker::start().await;
    for topic in ["orders-eu", "orders-us"] {
        broker.topic(topic, 1).await;
    }
    let mut setup = broker.source_setup("");
    setup.topics = Topics::Pattern("orders-.*".into());
    setup.read_time_max = Duration::from_secs(1);
    let stops = KafkaSource::open(setup.clone()).await.unwrap();
    setup.on_data_loss = OnDataLoss::Continue;
    let goes_on = KafkaSource::open(setup).await.unwrap();
    for source in [&stops, &goes_on] {
        assert_eq!(source.available().await.unwrap().len(), 2);
    }
    admin::delete_topic(&broker.cluster, "orders-us").await.unwrap();
    let error = loop {
        match stops.available().await {
            Err(error) if Rewind::of(&error).is_none() => break format!("{error:#}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert!(error.contains("partition orders-us-0 is no longer there"), "{error}");
    let left = loop {
        match goes_on.available().await {
            Ok(ranges) if ranges.len() == 1 => break ranges,
            Err(error) => assert_eq!(Rewind::of(&error), Some(Rewind::MayPass), "{error:#}"),
            Ok(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(left.contains_key(&at("orders-eu", 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_aborted_is_not_there_and_can_be_written_again() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    let out = TestSink::open(&broker, RecordValue::Json, "a").await;
    put(&out.sink, items(0..3)).await;
    out.store.sending(1, 0).unwrap();
    out.commit.abort().await.unwrap();
    assert!(out.sink.cursors(&[at("orders", 0)]).await.unwrap().is_empty());
    put(&out.sink, items(0..2)).await;
    out.commit_up_to(2).await.unwrap();
    assert_eq!(texts(&broker, "out").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_follows_under_the_same_name_ends_what_was_left_open() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    let dead = TestSink::open(&broker, RecordValue::Json, "a").await;
    put(&dead.sink, items(0..3)).await;
    dead.store.flush_for_test();
    // Not dropped: a crash ends neither the transaction nor the membership.
    let TestSink { sink, commit, .. } = dead;
    let next = TestSink::open(&broker, RecordValue::Json, "a").await;
    put(&next.sink, items(0..1)).await;
    next.commit_up_to(1).await.unwrap();
    assert_eq!(texts(&broker, "out").await.len(), 1, "readers do not wait for the dead");
    // The one that was taken for dead is fenced.
    put(&sink, items(0..3)).await;
    let cursors = next.cursors(3).await;
    let error = commit.commit(&cursors, When::Last).await.unwrap_err();
    assert_eq!(Rewind::of(&error), Some(Rewind::Fenced), "{error:#}");
    assert_eq!(texts(&broker, "out").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_column_goes_out_as_it_is() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    let out = TestSink::open(&broker, RecordValue::Column, "a").await;
    let keys = Arc::new(StringArray::from(vec![Some("a"), None]));
    let values = Arc::new(BinaryArray::from_opt_vec(vec![None, Some(b"\xff\x00".as_ref())]));
    put(&out.sink, sink_rows(vec![("key", keys), ("value", values)], vec![0, 1])).await;
    out.commit_up_to(2).await.unwrap();
    let rows = &broker.read("out").await[0];
    let (keys, values) = (rows.column(0).as_binary::<i32>(), rows.column(1).as_binary::<i32>());
    assert_eq!((keys.value(0), values.is_null(0)), (b"a".as_ref(), true));
    assert_eq!((keys.is_null(1), values.value(1)), (true, b"\xff\x00".as_ref()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_made_on_the_built_in_broker_only() {
    let broker = TestBroker::start().await;
    let ensure = async |partitions, built_in| {
        let cluster = broker.cluster.clone();
        let ensure = move || ensure_topic(&cluster, "out", partitions, built_in);
        tokio::task::spawn_blocking(ensure).await.unwrap()
    };
    let error = refusal(ensure(None, false).await);
    assert!(error.contains("topic `out` is not on the Kafka cluster"), "{error}");
    assert!(error.contains("set `partitions`"), "{error}");
    ensure(Some(3), false).await.unwrap();
    let topics = admin::list_topics(&broker.cluster).await.unwrap();
    let out = topics.iter().find(|topic| topic.name == "out").unwrap();
    assert_eq!((out.partitions, out.replication_factor), (3, 1));
    admin::delete_topic(&broker.cluster, "out").await.unwrap();
    ensure(None, true).await.unwrap();
    let described = admin::describe_topic(&broker.cluster, "out").await.unwrap();
    assert_eq!(described.partitions.len(), 1);
    admin::delete_topic(&broker.cluster, "out").await.unwrap();
    assert!(
        refusal(admin::describe_topic(&broker.cluster, "out").await).contains("no topic `out`")
    );
    assert!(refusal(admin::delete_topic(&broker.cluster, "out").await).contains("no topic `out`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_fails_the_commit_for_good_and_no_cursor_moves() {
    let mut broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("out", 1).await;
    broker.cluster.properties.insert("message.max.bytes".into(), "5000000".into());
    let out = TestSink::open(&broker, RecordValue::Column, "a").await;
    let large = vec![b'x'; 2_000_000];
    let keys = Arc::new(StringArray::from(vec!["a"]));
    let values = Arc::new(BinaryArray::from(vec![large.as_slice()]));
    put(&out.sink, sink_rows(vec![("key", keys), ("value", values)], vec![0])).await;
    let error = out.commit_up_to(1).await.unwrap_err();
    assert!(format!("{error:#}").contains("1 records were not delivered"), "{error:#}");
    assert_eq!(Rewind::of(&error), None, "it would fail for ever");
    // Until then the group waits for the end of the transaction that holds the offset.
    out.commit.abort().await.unwrap();
    assert!(out.sink.cursors(&[at("orders", 0)]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_the_record_as_it_was_with_the_reason() {
    let broker = TestBroker::start().await;
    broker.topic("orders", 1).await;
    broker.topic("letters", 1).await;
    let out = TestSink::open(&broker, RecordValue::Json, "a").await;
    let letters = DeadLetterTopic::new(out.store.clone(), 1, "letters");
    let letter = DeadLetter {
        key: Some(b"7".to_vec()),
        value: Some(b"{broken".to_vec()),
        headers: vec![("trace".into(), Some(b"1".to_vec()))],
        partition: at("orders", 2),
        offset: 99,
        timestamp_ms: Some(1_700_000_000_000),
        pipeline: "lake".into(),
        stage: "parse".into(),
        module_hash: "ab12".into(),
        kind: "rejected".into(),
        reason: "no JSON at byte 1".into(),
    };
    letters.write(letter).unwrap();
    out.commit_up_to(1).await.unwrap();
    assert_eq!(letters.cursors(&[at("orders", 0)]).await.unwrap()[&at("orders", 0)], 1);
    let rows = &broker.read("letters").await[0];
    assert_eq!(rows.column(1).as_binary::<i32>().value(0), b"{broken");
    let headers = rows.column_by_name("headers").unwrap().as_list::<i32>().value(0);
    let (names, values) =
        (headers.as_struct().column(0).clone(), headers.as_struct().column(1).clone());
    let found: HashMap<_, _> = names
        .as_string::<i32>()
        .iter()
        .flatten()
        .zip(values.as_binary::<i32>().iter().flatten())
        .map(|(name, value)| (name.to_string(), String::from_utf8(value.to_vec()).unwrap()))
        .collect();
    for (name, value) in [
        ("trace", "1"),
        ("gristmill.topic", "orders"),
        ("gristmill.partition", "2"),
        ("gristmill.offset", "99"),
        ("gristmill.timestamp", "1700000000000"),
        ("gristmill.stage", "parse"),
        ("gristmill.module", "ab12"),
        ("gristmill.reason", "no JSON at byte 1"),
    ] {
        assert_eq!(found[name], value);
    }
}
