//! A broker in a fresh folder, and connections to it.

use std::net::SocketAddr;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gristmill_broker::log::batch_builder::{BatchBuilder, BatchProducer};
use gristmill_broker::{BrokerConfig, Durability, Listener, SecurityProtocol, Server};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ApiKey, ProduceRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Settings for tests: a free port, and no waiting for the disk.
pub(crate) fn config(folder: &Path) -> BrokerConfig {
    BrokerConfig {
        data_dir: folder.to_owned(),
        listeners: vec![Listener::plaintext(([127, 0, 0, 1], 0).into())],
        durability: Durability::PageCache,
        ..BrokerConfig::default()
    }
}

/// Adds listeners of these protocols, each on a free port of loopback.
pub(crate) fn listen_for(config: &mut BrokerConfig, protocols: &[SecurityProtocol]) {
    let address = ([127, 0, 0, 1], 0).into();
    config.listeners.extend(protocols.iter().map(|it| Listener::new(*it, address)));
}

pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) folder: TempDir,
}

pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl Fn(&mut BrokerConfig)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    change(&mut config);
    Running { server: Server::start(config).await.unwrap(), folder }
}

impl Running {
    pub(crate) async fn connect(&self) -> Client {
        Client::to(self.server.address()).await
    }

    /// A connection to the listener of that protocol.
    pub(crate) async fn connect_to(&self, protocol: SecurityProtocol) -> Client {
        Client::to(self.address(protocol)).await
    }

    pub(crate) fn address(&self, protocol: SecurityProtocol) -> SocketAddr {
        let mut addresses = self.server.addresses().iter();
        addresses.find(|(its, _)| *its == protocol).unwrap().1
    }

    pub(crate) fn topic(&self, name: &str, partitions: i32) {
        let created = self.server.broker().create_topic(name, Some(partitions), Default::default());
        created.unwrap();
    }
}

/// A socket, plain or through TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    correlation_id: i32,
}

impl Client {
    pub(crate) async fn to(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Client {
        Client { stream: Box::new(stream), correlation_id: 0 }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask<R: Request>(&mut self, request: R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    pub(crate) async fn send<R: Request>(&mut self, request: R, version: i16) {
        self.try_send(request, version).await.unwrap();
    }

    /// Err: the connection is closed.
    pub(crate) async fn try_send<R: Request>(
        &mut self,
        request: R,
        version: i16,
    ) -> std::io::Result<()> {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text("wire-test")));
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header_version = ApiKey::try_from(R::KEY).unwrap().request_header_version(version);
        header.encode(&mut frame, header_version).unwrap();
        request.encode(&mut frame, version).unwrap();
        let size = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// Sends a request that the codec does not know: a header without a client's name, and the body.
    pub(crate) async fn send_raw(&mut self, api_code: i16, version: i16, body: &[u8]) {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        frame.put_i32(10 + body.len() as i32);
        frame.put_i16(api_code);
        frame.put_i16(version);
        frame.put_i32(self.correlation_id);
        frame.put_i16(-1);
        frame.put_slice(body);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next answer, which must belong to a request of this kind.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.frame().await;
        let header_version = R::Response::header_version(version);
        ResponseHeader::decode(&mut frame, header_version).unwrap();
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} bytes after the response", frame.len());
        response
    }

    pub(crate) async fn frame(&mut self) -> Bytes {
        let size = self.stream.read_i32().await.unwrap();
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.unwrap();
        Bytes::from(frame)
    }

    /// True once the broker has closed the connection without a further byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.stream.read_u8().await.is_err()
    }

    /// Returns once the broker has closed the connection, whatever it says before.
    pub(crate) async fn wait_until_closed(&mut self) {
        let mut said = Vec::new();
        let _closed_or_reset = self.stream.read_to_end(&mut said).await;
    }

    /// True if the connection closes, false if an answer comes first.
    pub(crate) async fn is_closed_before_a_frame(&mut self) -> bool {
        let Ok(size) = self.stream.read_i32().await else { return true };
        let mut frame = vec![0; size as usize];
        self.stream.read_exact(&mut frame).await.is_err()
    }

    /// Produces one batch; returns the partition's answer.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
        acks: i16,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, partition, records, acks);
        let mut response = self.ask(request, 9).await;
        response.responses.remove(0).partition_responses.remove(0)
    }
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) fn produce_request(
    topic: &str,
    partition: i32,
    records: Bytes,
    acks: i16,
) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic));
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic.with_partition_data(vec![data])])
}

/// One record batch with these values, at times 1000, 1001, …
pub(crate) fn batch(values: &[&str]) -> Bytes {
    fill(BatchBuilder::new(), values)
}

/// The same from an idempotent producer.
pub(crate) fn batch_of(producer_id: i64, base_sequence: i32, values: &[&str]) -> Bytes {
    let producer =
        BatchProducer { producer_id, producer_epoch: 0, base_sequence, is_transactional: false };
    fill(BatchBuilder::with_producer(producer), values)
}

fn fill(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (place, value) in values.iter().enumerate() {
        builder.push(1000 + place as i64, Some(b"key"), Some(value.as_bytes()));
    }
    builder.build()
}

/// The values of all records in fetched batches, with their offsets.
pub(crate) fn values(mut records: Bytes) -> Vec<(i64, String)> {
    let mut values = vec![];
    while records.has_remaining() {
        let decoded = kafka_protocol::records::RecordBatchDecoder::decode(&mut records).unwrap();
        for record in decoded.records {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            values.push((record.offset, value));
        }
    }
    values
}
