use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

use serde_json::Value;

use crate::guests::{answer, core_module, stamping};
use crate::support::{self, Process, gristmill, succeed, wait_for};

const PIPELINE: &str = r#"
name = "slow"
[source]
topics = ["in"]
brokers = "BROKER"
[[stage]]
name = "stage"
module = "./stage.wasm"
limits = { batch_time = "1h" }
[[sink]]
name = "out"
topic = "out"
columns = ["offset"]
"#;

/// Topics `in`, with three records, and `out`.
fn topics(broker: &str, folder: &Path) {
    for topic in ["in", "out"] {
        succeed(["topic", "create", topic, "--bootstrap", broker]);
    }
    let records = folder.join("records");
    std::fs::write(&records, "a\nb\nc\n").unwrap();
    let records = records.to_str().unwrap();
    succeed(["topic", "produce", "in", "--file", records, "--bootstrap", broker]);
}

fn run(folder: &Path, page: &str, drain_limit: &str) -> Process {
    let (file, data) = (folder.join("slow.toml"), folder.join("run"));
    let flags =
        ["--http", page, "--drain-limit", drain_limit, "--data-dir", data.to_str().unwrap()];
    let mut command = gristmill(["run", file.to_str().unwrap()].iter().chain(&flags));
    let mut process = Process::spawn(&mut command);
    process.wait_until_said("the page is at");
    process
}

/// Once records are planned to be read, a batch of them passes, whatever is asked for meanwhile.
fn wait_for_work(page: &str) {
    wait_for("the records to be planned", || {
        let status = support::run(["--output", "json", "status", "slow", "--http", page]);
        let status: Value = serde_json::from_str(&status.stdout).ok()?;
        (status["snapshot"]["lag"] == 3).then_some(())
    });
}

fn offsets(broker: &str) -> Vec<i64> {
    let flags =
        ["topic", "consume", "out", "--from-beginning", "--exit-at-end", "--bootstrap", broker];
    let printed = succeed(flags).stdout;
    let row = |line: &str| serde_json::from_str::<Value>(line).unwrap()["offset"].as_i64().unwrap();
    printed.lines().map(row).collect()
}

#[test]
fn a_stop_has_a_limit_and_what_it_leaves_is_done_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (address, page) = (support::free_address(), support::free_address());
    let broker = support::broker(&folder.join("broker"), &address);
    topics(&address, folder);
    std::fs::write(folder.join("slow.toml"), PIPELINE.replace("BROKER", &address)).unwrap();
    let hangs = core_module(
        &answer(&[], serde_json::json!([]), &[]),
        "(loop $hang (br $hang)) unreachable",
        "",
    );
    std::fs::write(folder.join("stage.wasm"), hangs).unwrap();

    let process = run(folder, &page, "1");
    wait_for_work(&page);
    process.interrupt();
    let stopped = process.wait();
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("error: not finished within 1 s"), "{}", stopped.stderr);

    let mut process = run(folder, &page, "3600");
    wait_for_work(&page);
    process.interrupt();
    process.wait_until_said("stopping: finishing");
    process.interrupt();
    let stopped = process.wait();
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("error: a second signal"), "{}", stopped.stderr);

    std::fs::write(folder.join("stage.wasm"), stamping(&["version"], 1)).unwrap();
    let process = run(folder, &page, "60");
    wait_for("the records", || (offsets(&address).len() >= 3).then_some(()));
    process.interrupt();
    let stopped = process.wait();
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert_eq!(offsets(&address), [0, 1, 2]);
    support::stop(broker);
}

/// A collector as OpenTelemetry's: takes what is posted to `/v1/metrics`. Answers its address, and the bodies.
fn collector() -> (String, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            std::thread::spawn(move || take(stream.unwrap(), &sender));
        }
    });
    (address, bodies)
}

/// Requests of one connection.
fn take(stream: TcpStream, bodies: &mpsc::Sender<Vec<u8>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        assert_eq!(line.trim_end(), "POST /v1/metrics HTTP/1.1");
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "content-type" => assert_eq!(value, "application/x-protobuf"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        // The test may have seen enough.
        let _ = bodies.send(body);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        line.clear();
    }
}

/// The fields of a message of Protocol Buffers: number and bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let before = bytes;
        let size = match tag & 7 {
            0 => {
                varint(&mut bytes);
                let size = before.len() - bytes.len();
                bytes = before;
                size
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            kind => panic!("a field of kind {kind}"),
        };
        let (field, rest) = bytes.split_at(size);
        fields.push((tag >> 3, field));
        bytes = rest;
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
    }
    panic!("a number of more than 64 bits");
}

/// What stands at the end of a path of field numbers.
fn at<'b>(message: &'b [u8], path: &[u64]) -> Vec<&'b [u8]> {
    let Some((first, rest)) = path.split_first() else { return vec![message] };
    let fields = fields(message).into_iter().filter(|(number, _)| number == first);
    fields.flat_map(|(_, field)| at(field, rest)).collect()
}

/// Of an `ExportMetricsServiceRequest`, the values of the metric with that name (opentelemetry/proto/metrics/v1).
fn values(request: &[u8], name: &str) -> Vec<f64> {
    let metrics = at(request, &[1, 2, 2]);
    let named = metrics.into_iter().filter(|metric| at(metric, &[1]) == [name.as_bytes()]);
    let double = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
    let of = |metric: &[u8]| -> Vec<f64> {
        // Gauge, sum; their points; the value of each.
        let points = [at(metric, &[5, 1, 4]), at(metric, &[7, 1, 4])].concat();
        points.into_iter().map(double).collect()
    };
    named.flat_map(of).collect()
}

#[test]
fn metrics_reach_a_collector_of_opentelemetry() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, bodies) = collector();
    let address = support::free_address();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let flags = ["--data-dir", data, "--listen", &address, "--http", "off"];
    let export = ["--otlp-endpoint", &endpoint, "--otlp-interval", "1"];
    let mut broker = Process::spawn(&mut gristmill(["broker"].iter().chain(&flags).chain(&export)));
    broker.wait_until_said("listening");
    topics(&address, folder.path());
    let body = || bodies.recv_timeout(support::DEADLINE).expect("metrics in time");
    wait_for("the end of the topic", || {
        values(&body(), "gristmill_topic_end_offset").contains(&3.0).then_some(())
    });
    support::stop(broker);
    let rest: Vec<_> = bodies.try_iter().collect();
    let last = rest.last().expect("the last metrics are sent at the end");
    assert!(values(last, "gristmill_topic_end_offset").contains(&3.0));
}
