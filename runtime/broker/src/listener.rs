//! Where the broker listens, and how clients of each place prove who they are.
//!
//! Names are Kafka's: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL. Each protocol has one listener at
//! most. Left out: other names for listeners (`listener.security.protocol.map`).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

use crate::auth::sasl::SaslMechanism;
use crate::auth::tls::ClientAuth;
use crate::config::BrokerConfig;

/// How clients of a listener speak to the broker (`security.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// Encrypted; authenticated if clients must show certificates.
    Ssl,
    /// Authenticated, not encrypted.
    SaslPlaintext,
    /// Encrypted and authenticated.
    SaslSsl,
}

impl SecurityProtocol {
    /// All of them.
    pub const ALL: [SecurityProtocol; 4] = [
        SecurityProtocol::Plaintext,
        SecurityProtocol::Ssl,
        SecurityProtocol::SaslPlaintext,
        SecurityProtocol::SaslSsl,
    ];

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// True if what goes over the wire is encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    /// True if clients authenticate by SASL.
    pub fn has_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }
}

impl FromStr for SecurityProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<SecurityProtocol, String> {
        let known = SecurityProtocol::ALL;
        known.into_iter().find(|it| it.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names = known.map(SecurityProtocol::name).join(", ");
            format!("`{text}` is no security protocol; there are {names}")
        })
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place where the broker listens, written `SASL_SSL://0.0.0.0:9093`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// How clients speak here.
    pub protocol: SecurityProtocol,
    /// The address; with port 0 the system chooses one.
    pub address: SocketAddr,
    /// Host and port that clients of this listener are told (`advertised.listeners`). None: the
    /// address under which each reached us.
    pub advertised: Option<(String, u16)>,
}

impl Listener {
    /// A listener whose clients come back the way they came.
    pub fn new(protocol: SecurityProtocol, address: SocketAddr) -> Listener {
        Listener { protocol, address, advertised: None }
    }

    /// For clients of this machine.
    pub fn plaintext(address: SocketAddr) -> Listener {
        Listener::new(SecurityProtocol::Plaintext, address)
    }

    /// Where a client that reached us under this address finds the broker.
    pub(crate) fn advertised(&self, reached: SocketAddr) -> (String, i32) {
        match &self.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (reached.ip().to_canonical().to_string(), i32::from(reached.port())),
        }
    }

    /// True if clients send their secrets over the network as they are.
    pub(crate) fn shows_secrets(&self, mechanisms: &[SaslMechanism]) -> bool {
        self.protocol == SecurityProtocol::SaslPlaintext
            && self.is_on_network()
            && mechanisms.contains(&SaslMechanism::Plain)
    }

    fn is_on_network(&self) -> bool {
        !self.address.ip().to_canonical().is_loopback()
    }

    /// True if every client here has proved who it is.
    fn authenticates(&self, client_auth: ClientAuth) -> bool {
        let by_certificate =
            self.protocol == SecurityProtocol::Ssl && client_auth == ClientAuth::Required;
        self.protocol.has_sasl() || by_certificate
    }
}

impl FromStr for Listener {
    type Err = String;

    /// `PROTOCOL://IP:PORT`, or `IP:PORT` for PLAINTEXT.
    fn from_str(text: &str) -> Result<Listener, String> {
        let (protocol, address) = split_protocol(text)?;
        let address = address.parse().map_err(|_| {
            format!("`{address}` is no address; write IP:PORT, such as 127.0.0.1:9092")
        })?;
        Ok(Listener::new(protocol, address))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol, self.address)
    }
}

/// What clients of one protocol are told, written `SASL_SSL://kafka.example:9093`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertisedListener {
    /// The listener that it is for.
    pub protocol: SecurityProtocol,
    /// A name or an address.
    pub host: String,
    /// The port there.
    pub port: u16,
}

impl FromStr for AdvertisedListener {
    type Err = String;

    /// `PROTOCOL://HOST:PORT`, or `HOST:PORT` for PLAINTEXT.
    fn from_str(text: &str) -> Result<AdvertisedListener, String> {
        let (protocol, place) = split_protocol(text)?;
        let split = place.rsplit_once(':');
        let split = split.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match split {
            Some((host, port)) if !host.is_empty() => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(AdvertisedListener { protocol, host, port })
            }
            _ => Err(format!("`{place}` is no HOST:PORT")),
        }
    }
}

fn split_protocol(text: &str) -> Result<(SecurityProtocol, &str), String> {
    match text.split_once("://") {
        Some((protocol, rest)) => Ok((protocol.parse()?, rest)),
        None => Ok((SecurityProtocol::Plaintext, text)),
    }
}

/// Refuses listeners that contradict each other, and such as would let anybody in.
pub(crate) fn check(config: &BrokerConfig) -> Result<()> {
    ensure!(!config.listeners.is_empty(), "the broker has no listener; name one with --listen");
    for (place, listener) in config.listeners.iter().enumerate() {
        let mut before = config.listeners[..place].iter();
        if before.any(|other| other.protocol == listener.protocol) {
            bail!("there are two {} listeners; each protocol has one at most", listener.protocol);
        }
        let guarded = listener.authenticates(config.security.tls.client_auth);
        if listener.is_on_network() && !guarded && !config.security.allow_unauthenticated_network {
            bail!(
                "{listener} would let everybody in who can reach this machine, without \
                 authentication; listen on 127.0.0.1, or on {} with API keys, or say \
                 --allow-unauthenticated-network",
                Listener { protocol: SecurityProtocol::SaslSsl, ..listener.clone() }
            );
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checked(listeners: &[&str], change: impl Fn(&mut BrokerConfig)) -> Result<()> {
        let listeners = listeners.iter().map(|text| text.parse().unwrap()).collect();
        let mut config = BrokerConfig { listeners, ..BrokerConfig::default() };
        change(&mut config);
        check(&config)
    }

    #[test]
    fn listeners_are_written_as_kafka_writes_them() {
        let listener: Listener = "SASL_SSL://0.0.0.0:9093".parse().unwrap();
        assert_eq!(listener.protocol, SecurityProtocol::SaslSsl);
        assert_eq!(listener.to_string(), "SASL_SSL://0.0.0.0:9093");
        let listener: Listener = "[::1]:9092".parse().unwrap();
        assert_eq!(listener.to_string(), "PLAINTEXT://[::1]:9092");
        for bad in ["", "9092", "SSL://", "TLS://127.0.0.1:1", "SSL://kafka.example:1"] {
            bad.parse::<Listener>().unwrap_err();
        }
    }

    #[test]
    fn advertised_listeners_may_have_names() {
        let told: AdvertisedListener = "SASL_SSL://kafka.example:9093".parse().unwrap();
        assert_eq!((told.host.as_str(), told.port), ("kafka.example", 9093));
        let told: AdvertisedListener = "[2001:db8::1]:9092".parse().unwrap();
        assert_eq!(told.host, "2001:db8::1");
        for bad in ["", "SSL://:1", "kafka.example", "kafka.example:70000"] {
            bad.parse::<AdvertisedListener>().unwrap_err();
        }
    }

    #[test]
    fn a_network_listener_without_authentication_must_be_wanted_in_so_many_words() {
        for open in ["0.0.0.0:9092", "[::]:9092", "SSL://10.0.0.1:9092", "[::ffff:10.0.0.1]:1"] {
            let error = checked(&[open], |_| {}).unwrap_err().to_string();
            assert!(error.contains("--allow-unauthenticated-network"), "{error}");
            checked(&[open], |it| it.security.allow_unauthenticated_network = true).unwrap();
        }
        for safe in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "SASL_SSL://0.0.0.0:1"] {
            checked(&[safe], |_| {}).unwrap();
        }
    }

    #[test]
    fn plain_on_an_open_wire_is_noticed() {
        let shows = |listener: &str, mechanisms: &[SaslMechanism]| {
            listener.parse::<Listener>().unwrap().shows_secrets(mechanisms)
        };
        let all = &SaslMechanism::ALL;
        assert!(shows("SASL_PLAINTEXT://0.0.0.0:1", all));
        assert!(!shows("SASL_PLAINTEXT://0.0.0.0:1", &all[1..]));
        assert!(!shows("SASL_PLAINTEXT://127.0.0.1:1", all));
        assert!(!shows("SASL_SSL://0.0.0.0:1", all));
    }

    #[test]
    fn required_certificates_authenticate_and_requested_ones_do_not() {
        let with = |client_auth| {
            checked(&["SSL://0.0.0.0:1"], |it| it.security.tls.client_auth = client_auth)
        };
        with(ClientAuth::Required).unwrap();
        with(ClientAuth::Requested).unwrap_err();
    }

    #[test]
    fn a_protocol_has_one_listener() {
        checked(&["127.0.0.1:1", "SASL_SSL://127.0.0.1:2"], |_| {}).unwrap();
        let error = checked(&["127.0.0.1:1", "127.0.0.1:2"], |_| {}).unwrap_err().to_string();
        assert!(error.contains("two PLAINTEXT listeners"), "{error}");
        checked(&[], |_| {}).unwrap_err();
    }
}
