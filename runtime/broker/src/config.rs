//! Settings of a broker, with Kafka's names in the docs and Kafka's defaults unless a line says
//! why not.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::auth::authorizer::AuthorizerConfig;
use crate::auth::sasl::SaslMechanism;
use crate::auth::tls::TlsConfig;
use crate::listener::Listener;
use crate::log::Durability;

/// Everything that can be set before a broker starts. Topics override some of it for themselves.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The folder of all topics. Created when absent; one broker at a time.
    pub data_dir: PathBuf,
    /// Where to listen, and how clients there prove who they are (`listeners`). Port 0 lets the
    /// system choose; [`crate::Server::addresses`] says which.
    pub listeners: Vec<Listener>,
    /// Who may come in, and what they may do.
    pub security: SecurityConfig,
    /// When a write with acks=all is answered: after it is on disk (default), or after it is in the
    /// page cache, as Kafka does.
    pub durability: Durability,
    /// Partitions of a topic for which nobody says a number (`num.partitions`, 1).
    pub default_partitions: i32,
    /// Create unknown topics when a client asks for them (`auto.create.topics.enable`, true).
    pub auto_create_topics: bool,
    /// Accept a replication factor above 1, and keep one replica all the same (false: refused).
    pub accept_any_replication_factor: bool,
    /// Largest record batch in bytes (`message.max.bytes`, 1,048,588).
    pub message_bytes_max: u32,
    /// Largest segment in bytes (`log.segment.bytes`, 1 GiB).
    pub segment_bytes_max: u64,
    /// How long records are kept, in ms (`log.retention.ms`, 7 days). -1: for ever.
    pub retention_ms: i64,
    /// Bytes kept per partition (`log.retention.bytes`, -1: no limit).
    pub retention_bytes: i64,
    /// How often retention is applied, in ms (`log.retention.check.interval.ms`, 5 minutes).
    pub retention_check_ms: u64,
    /// A partition with more new bytes than that gets a checkpoint, so that the start after a kill
    /// has no more to read and check (Kafka has none before a segment is full; we have 128 MiB).
    pub unchecked_bytes_max: u64,
    /// How often topics are looked through for something to compact, in ms
    /// (`log.cleaner.backoff.ms`, 15 seconds).
    pub compaction_check_ms: u64,
    /// Memory for the keys of one compaction, in bytes (`log.cleaner.dedupe.buffer.size`, 128 MiB
    /// in Kafka; we take 16 MiB, some 400,000 keys; more keys take several passes).
    pub compaction_memory_bytes: usize,
    /// Bytes that compaction reads and writes per second, so that it leaves the disk to others
    /// (`log.cleaner.io.max.bytes.per.second`; Kafka has no limit, we have 64 MiB).
    pub compaction_bytes_per_second_max: u64,
    /// Largest request in bytes (`socket.request.max.bytes`, 100 MiB).
    pub request_bytes_max: usize,
    /// Largest answer to one fetch in bytes (`fetch.max.bytes`, 55 MiB).
    pub fetch_bytes_max: usize,
    /// Connections at one time (`max.connections`; Kafka has no limit, we have 4,096).
    pub connections_max: usize,
    /// Connections from one IP address (`max.connections.per.ip`; no limit, as in Kafka). One more
    /// is closed as soon as it comes.
    pub connections_per_address_max: usize,
    /// Memory for requests larger than 64 KiB that arrive, of all connections together, in bytes
    /// (`queued.max.request.bytes`; Kafka has no limit, we have 256 MiB). Beyond it sockets are not
    /// read until there is room.
    pub queued_request_bytes_max: usize,
    /// Memory for record batches on their way to consumers, of all connections together, in bytes
    /// (256 MiB; Kafka has no such limit). With less left fetches get smaller answers, then wait.
    pub fetch_memory_bytes_max: usize,
    /// A connection without a request for that long is closed, in ms (`connections.max.idle.ms`,
    /// 10 minutes). So is one whose request takes longer to arrive, or that takes no byte of its
    /// answer for that long.
    pub idle_ms_max: u64,
    /// Partitions of all topics together. Each costs two open files.
    pub partitions_max: usize,
    /// How long a new group waits for more members, in ms (`group.initial.rebalance.delay.ms`).
    /// 0 as in Kafka's quick-start configuration, where 3,000 is the default in the code.
    pub group_initial_rebalance_delay_ms: i64,
    /// Shortest session time-out that a member may ask for, in ms
    /// (`group.min.session.timeout.ms`, 6,000).
    pub group_session_timeout_ms_min: i32,
    /// Longest session time-out that a member may ask for, in ms
    /// (`group.max.session.timeout.ms`, 30 minutes).
    pub group_session_timeout_ms_max: i32,
    /// Members of one group (`group.max.size`; Kafka has no limit, we have 10,000).
    pub group_members_max: usize,
    /// Committed offsets of an empty group are kept that long, in ms
    /// (`offsets.retention.minutes`, 7 days).
    pub offsets_retention_ms: i64,
    /// Longest text that goes with a committed offset, in bytes
    /// (`offset.metadata.max.bytes`, 4,096).
    pub offset_metadata_bytes_max: usize,
    /// Longest time-out that a transactional producer may ask for, in ms
    /// (`transaction.max.timeout.ms`, 15 minutes).
    pub transaction_timeout_ms_max: i32,
    /// A transactional id without a transaction is forgotten after that long, in ms
    /// (`transactional.id.expiration.ms`, 7 days).
    pub transactional_id_expiration_ms: i64,
    /// How long a shutdown waits for answers on their way, in ms.
    pub drain_ms_max: u64,
}

/// Authentication, encryption and authorization.
#[derive(Debug, Clone)]
pub struct SecurityConfig {
    /// Listen beyond this machine without authentication (false: such a listener is refused).
    pub allow_unauthenticated_network: bool,
    /// What SASL listeners offer (`sasl.enabled.mechanisms`; all that there are, where Kafka has
    /// GSSAPI alone).
    pub sasl_mechanisms: Vec<SaslMechanism>,
    /// How long a client may take until it has authenticated, TLS and SASL together, in ms (30 s;
    /// Kafka has no such limit).
    pub authentication_ms_max: u64,
    /// How long a refused client waits for the answer, in ms
    /// (`connection.failed.authentication.delay.ms`, 100).
    pub failed_authentication_delay_ms: u64,
    /// Clients of SASL listeners must authenticate again after that long, in ms
    /// (`connections.max.reauth.ms`, 0: never).
    pub reauthentication_ms: u64,
    /// Certificates.
    pub tls: TlsConfig,
    /// Who may do what where no ACL says it.
    pub authorizer: AuthorizerConfig,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        SecurityConfig {
            allow_unauthenticated_network: false,
            sasl_mechanisms: SaslMechanism::ALL.to_vec(),
            authentication_ms_max: 30_000,
            failed_authentication_delay_ms: 100,
            reauthentication_ms: 0,
            tls: TlsConfig::default(),
            authorizer: AuthorizerConfig::default(),
        }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            data_dir: PathBuf::from("broker-data"),
            listeners: vec![Listener::plaintext((Ipv4Addr::LOCALHOST, 9092).into())],
            security: SecurityConfig::default(),
            durability: Durability::Fsync,
            default_partitions: 1,
            auto_create_topics: true,
            accept_any_replication_factor: false,
            message_bytes_max: 1_048_588,
            segment_bytes_max: 1 << 30,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            retention_check_ms: 5 * 60 * 1000,
            unchecked_bytes_max: 128 << 20,
            compaction_check_ms: 15_000,
            compaction_memory_bytes: 16 << 20,
            compaction_bytes_per_second_max: 64 << 20,
            request_bytes_max: 100 << 20,
            fetch_bytes_max: 55 << 20,
            connections_max: 4096,
            connections_per_address_max: usize::MAX,
            queued_request_bytes_max: 256 << 20,
            fetch_memory_bytes_max: 256 << 20,
            idle_ms_max: 10 * 60 * 1000,
            partitions_max: 20_000,
            group_initial_rebalance_delay_ms: 0,
            group_session_timeout_ms_min: 6_000,
            group_session_timeout_ms_max: 30 * 60 * 1000,
            group_members_max: 10_000,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offset_metadata_bytes_max: 4096,
            transaction_timeout_ms_max: 15 * 60 * 1000,
            transactional_id_expiration_ms: 7 * 24 * 60 * 60 * 1000,
            drain_ms_max: 5_000,
        }
    }
}
