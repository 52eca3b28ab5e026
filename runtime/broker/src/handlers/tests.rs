//! Tests of the whole table: shapes against the codec, the documentation against the table, and
//! hostile frames.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::config::BrokerConfig;

fn versions() -> impl Iterator<Item = (&'static Handler, i16)> {
    HANDLERS.iter().flat_map(|handler| {
        (handler.version_min..=handler.version_max).map(move |version| (handler, version))
    })
}

#[test]
fn shapes_agree_with_the_codec() {
    for (handler, version) in versions() {
        let body = samples::body(handler.api, version);
        let flexible = handler.api.request_header_version(version) >= 2;
        let shape = Shape::parse(handler.shape);
        let name = format!("{:?} of version {version}", handler.api);
        let left = shape.check(&body, version, flexible).expect(&name);
        assert_eq!(left, 0, "{name}");
        for end in 0..body.len() {
            shape.check(&body[..end], version, flexible).expect_err(&name);
        }
    }
}

#[test]
fn the_codec_knows_every_version_that_is_offered() {
    for handler in HANDLERS {
        let known = handler.api.valid_versions();
        // See `produce_versions`.
        let has_own = handler.api == ApiKey::Produce;
        assert!(known.min <= handler.version_min || has_own, "{:?}", handler.api);
        assert!(known.max >= handler.version_max, "{:?}", handler.api);
    }
}

/// `docs/protocol.md` has a table row for every request, with its code and versions.
#[test]
fn the_documentation_names_every_request_and_version() {
    let text = include_str!("../../../../docs/protocol.md");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.split('|').count() >= 5)
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|cells: &Vec<&str>| cells[1].parse::<i16>().is_ok())
        .collect();
    for handler in HANDLERS {
        let code = (handler.api as i16).to_string();
        let row = rows.iter().find(|cells| cells[1] == code);
        let row = row.unwrap_or_else(|| panic!("no row for {:?}", handler.api));
        assert_eq!(row[2], format!("{:?}", handler.api));
        assert_eq!(row[3], format!("{}-{}", handler.version_min, handler.version_max));
    }
    assert_eq!(rows.len(), HANDLERS.len(), "a row for a request that isn't offered");
}

/// For answers that must come.
const PATIENT: Duration = Duration::from_secs(30);
/// For requests that may wait long and rightly.
const HASTY: Duration = Duration::from_millis(20);

struct Fixture {
    broker: Arc<Broker>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let config = BrokerConfig { data_dir: folder.path().join("data"), ..BrokerConfig::default() };
    let broker = Arc::new(Broker::open(config).unwrap());
    broker.create_topic("orders", Some(2), BTreeMap::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Fixture { broker, runtime, _folder: folder }
}

fn session(broker: &Broker) -> Session {
    let address = ([127, 0, 0, 1], 1).into();
    let listener = Arc::new(broker.config().listeners[0].clone());
    Session::new(address, address, listener, Arc::clone(broker.authorizer()))
}

impl Fixture {
    /// Err: the connection would close. None: no answer within that time.
    fn feed(&self, frame: Bytes, limit: Duration) -> Result<Option<Reply>> {
        let _inside = self.runtime.enter();
        match dispatch(&self.broker, &mut session(&self.broker), frame)? {
            Answer::Now(reply) => Ok(Some(reply)),
            Answer::Later(answer) => {
                let limited = async { tokio::time::timeout(limit, answer).await };
                self.runtime.block_on(limited).unwrap_or(Ok(None))
            }
        }
    }
}

#[test]
fn every_sample_is_answered_in_its_version() {
    let fixture = fixture();
    for (handler, version) in versions() {
        let frame = samples::frame(handler.api, version, &samples::body(handler.api, version));
        let name = format!("{:?} of version {version}", handler.api);
        let mut reply = fixture.feed(frame, PATIENT).expect(&name).expect(&name);
        assert_eq!(reply.get_i32() as usize, reply.remaining(), "{name}");
        assert_eq!(reply.get_i32(), 7, "{name}: correlation id");
    }
}

#[test]
fn the_log_knows_the_client_of_a_request_that_is_not_understood() {
    let frame = samples::frame(ApiKey::Metadata, 12, &[]);
    assert_eq!(client_id(&frame), Some("sample"));
    let mut unknown = BytesMut::from(&frame[..]);
    unknown[2..4].copy_from_slice(&99i16.to_be_bytes());
    assert_eq!(client_id(&unknown), Some("sample"));
    for end in 0..frame.len() - 1 {
        assert_eq!(client_id(&frame[..end.min(15)]), None);
    }
}

#[test]
fn unknown_requests_and_versions_close_the_connection() {
    let fixture = fixture();
    for (api_code, version) in [(999, 0), (-1, 0), (0, 13), (1, 3), (3, 13), (68, 0)] {
        let mut frame = BytesMut::new();
        frame.put_i16(api_code);
        frame.put_i16(version);
        frame.put_bytes(0, 60);
        fixture.feed(frame.freeze(), PATIENT).unwrap_err();
    }
    for size in 0..8 {
        fixture.feed(Bytes::from(vec![0; size]), PATIENT).unwrap_err();
    }
}

/// Byte for byte what Apache Kafka 3.9.1 answers.
#[test]
fn api_versions_of_the_future_is_answered_in_version_0() {
    let fixture = fixture();
    for version in [5i16, 99] {
        let mut frame = BytesMut::new();
        frame.put_i16(18);
        frame.put_i16(version);
        frame.put_i32(1);
        let mut reply = fixture.feed(frame.freeze(), PATIENT).unwrap().unwrap();
        let expected = b"\0\0\0\x10\0\0\0\x01\0\x23\0\0\0\x01\0\x12\0\0\0\x04";
        assert_eq!(reply.copy_to_bytes(reply.remaining()), expected.as_slice());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_frames_never_panic(
        api_code in 0i16..70,
        version in 0i16..18,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        FIXTURE.with(|fixture| {
            let mut frame = BytesMut::new();
            frame.put_i16(api_code);
            frame.put_i16(version);
            frame.extend_from_slice(&body);
            let _ = fixture.feed(frame.freeze(), HASTY);
        });
    }

    #[test]
    fn damaged_requests_never_panic(
        place in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        FIXTURE.with(|fixture| {
            let all: Vec<_> = versions().collect();
            let (handler, version) = all[place.index(all.len())];
            let body = samples::body(handler.api, version);
            let mut frame = samples::frame(handler.api, version, &body).to_vec();
            for (at, byte) in damage {
                let at = 8 + at.index(frame.len() - 8);
                frame[at] = byte;
            }
            let _ = fixture.feed(Bytes::from(frame), HASTY);
        });
    }
}

thread_local! {
    static FIXTURE: Fixture = fixture();
}
