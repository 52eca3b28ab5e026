//! How many bytes the partitions of topics take on their leaders' disks (DescribeLogDirs, api code 35).
//!
//! librdkafka has no such request, so that it goes over a connection of its own: plain or TLS, without a login or with
//! SASL/PLAIN. Where a cluster wants more than that, sizes are unknown and nothing else is missing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gristmill_engine::offsets::TopicPartition;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::{
    ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse, RequestHeader, ResponseHeader,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use rdkafka::metadata::Metadata;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::kafka_client::Cluster;

/// What is not told is left out.
pub type LogSizes = BTreeMap<TopicPartition, u64>;

/// Sizes are an extra: a broker that does not answer soon is not waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Versions that Kafka has known since 2.0 and knows today.
const LOG_DIRS_VERSION: i16 = 1;
const HANDSHAKE_VERSION: i16 = 1;
const AUTHENTICATE_VERSION: i16 = 0;

/// A broker, and the partitions that it leads.
pub(crate) struct Leader {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// By topic.
    pub(crate) partitions: BTreeMap<String, Vec<i32>>,
}

/// Who leads the topics that `wanted` names.
pub(crate) fn leaders(metadata: &Metadata, wanted: impl Fn(&str) -> bool) -> Vec<Leader> {
    let mut leaders: BTreeMap<i32, Leader> = BTreeMap::new();
    for broker in metadata.brokers() {
        let port = u16::try_from(broker.port()).unwrap_or(0);
        let host = broker.host().to_string();
        leaders.insert(broker.id(), Leader { host, port, partitions: BTreeMap::new() });
    }
    for topic in metadata.topics().iter().filter(|topic| wanted(topic.name())) {
        for partition in topic.partitions() {
            let Some(leader) = leaders.get_mut(&partition.leader()) else { continue };
            leader.partitions.entry(topic.name().to_string()).or_default().push(partition.id());
        }
    }
    leaders.into_values().filter(|leader| !leader.partitions.is_empty()).collect()
}

/// In bytes. Blocks.
///
/// Errors: a broker wants what we do not speak, or does not answer.
pub(crate) fn of_leaders(cluster: &Cluster, leaders: &[Leader]) -> Result<LogSizes> {
    let mut sizes = LogSizes::new();
    for leader in leaders {
        let mut connection = Connection::open(cluster, leader)?;
        sizes.extend(connection.sizes(&leader.partitions)?);
    }
    Ok(sizes)
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One request at a time.
struct Connection(Box<dyn Stream>);

impl Connection {
    fn open(cluster: &Cluster, leader: &Leader) -> Result<Connection> {
        let property = |name: &str| cluster.properties.get(name).map(String::as_str);
        let protocol = property("security.protocol").unwrap_or("plaintext").to_lowercase();
        let mut addresses = (leader.host.as_str(), leader.port).to_socket_addrs()?;
        let address = addresses.next().context("a host without an address")?;
        let tcp = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX)?;
        tcp.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        tcp.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        let stream: Box<dyn Stream> = match protocol.as_str() {
            "plaintext" | "sasl_plaintext" => Box::new(tcp),
            "ssl" | "sasl_ssl" => Box::new(encrypted(cluster, &leader.host, tcp)?),
            other => bail!("no connection of our own by {other}"),
        };
        let mut connection = Connection(stream);
        if protocol.starts_with("sasl_") {
            let mechanism = property("sasl.mechanisms").or(property("sasl.mechanism"));
            ensure!(mechanism == Some("PLAIN"), "no login of our own but PLAIN");
            let user = property("sasl.username").context("no sasl.username")?;
            let password = property("sasl.password").context("no sasl.password")?;
            connection.log_in(user, password)?;
        }
        Ok(connection)
    }

    /// SASL/PLAIN (RFC 4616).
    fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let plain =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        let answer: SaslHandshakeResponse =
            self.ask(ApiKey::SaslHandshake, HANDSHAKE_VERSION, &plain)?;
        ensure!(answer.error_code == 0, "PLAIN is not offered");
        let token = format!("\0{user}\0{password}").into_bytes();
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
        let answer: SaslAuthenticateResponse =
            self.ask(ApiKey::SaslAuthenticate, AUTHENTICATE_VERSION, &request)?;
        ensure!(answer.error_code == 0, "the login was refused");
        Ok(())
    }

    fn sizes(&mut self, wanted: &BTreeMap<String, Vec<i32>>) -> Result<LogSizes> {
        let asked = wanted.iter().map(|(topic, partitions)| {
            DescribableLogDirTopic::default()
                .with_topic(TopicName(StrBytes::from_string(topic.clone())))
                .with_partitions(partitions.clone())
        });
        let request = DescribeLogDirsRequest::default().with_topics(Some(asked.collect()));
        let answer: DescribeLogDirsResponse =
            self.ask(ApiKey::DescribeLogDirs, LOG_DIRS_VERSION, &request)?;
        let mut sizes = LogSizes::new();
        for found in answer.results.into_iter().flat_map(|folder| folder.topics) {
            let topic: Arc<str> = found.name.0.as_str().into();
            for partition in found.partitions.iter().filter(|partition| !partition.is_future_key) {
                let at = TopicPartition::new(topic.clone(), partition.partition_index);
                sizes.insert(at, u64::try_from(partition.partition_size).unwrap_or(0));
            }
        }
        Ok(sizes)
    }

    fn ask<Q: Encodable + HeaderVersion, A: Decodable + HeaderVersion>(
        &mut self,
        api_key: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<A> {
        let header = RequestHeader::default()
            .with_request_api_key(api_key as i16)
            .with_request_api_version(version)
            .with_client_id(Some(StrBytes::from_static_str("gristmill")));
        let mut frame = vec![0; 4];
        header.encode(&mut frame, Q::header_version(version))?;
        request.encode(&mut frame, version)?;
        let length = u32::try_from(frame.len() - 4)?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.0.write_all(&frame)?;
        self.0.flush()?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        let mut answer = answer.as_slice();
        ResponseHeader::decode(&mut answer, A::header_version(version))?;
        A::decode(&mut answer, version)
    }
}

/// Trusts the authorities of `ssl.ca.location`, else those of the system.
fn encrypted(
    cluster: &Cluster,
    host: &str,
    tcp: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let special = |name: &String| {
        let known = ["ssl.ca.location", "ssl.endpoint.identification.algorithm"];
        (name.starts_with("ssl.") && !known.contains(&name.as_str()))
            || name == "enable.ssl.certificate.verification"
    };
    ensure!(!cluster.properties.keys().any(special), "no TLS of our own as these properties ask");
    let mut roots = RootCertStore::empty();
    match cluster.properties.get("ssl.ca.location") {
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(file)? {
                roots.add(certificate?)?;
            }
        }
        None => {
            let system = rustls_native_certs::load_native_certs().certs;
            roots.add_parsable_certificates(system);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, tcp))
}
