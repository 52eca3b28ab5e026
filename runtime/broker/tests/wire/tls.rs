//! Certificates of the broker and of clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_broker::{
    BrokerConfig, ClientAuth, Listener, Rights, SaslMechanism, SecurityProtocol,
};
use kafka_protocol::messages::MetadataRequest;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Client, Running, batch, listen_for, start_with};
use crate::records::fetched;

/// A certificate and its key, to show to the broker.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

async fn start(change: impl Fn(&mut BrokerConfig)) -> Running {
    start_with(|config| {
        listen_for(config, &[SecurityProtocol::Ssl, SecurityProtocol::SaslSsl]);
        change(config);
    })
    .await
}

/// A TLS connection that trusts the development authority alone.
async fn connect(
    running: &Running,
    protocol: SecurityProtocol,
    host: &'static str,
    identity: Option<Identity>,
) -> std::io::Result<Client> {
    let mut authorities = RootCertStore::empty();
    let ca = running.server.development_ca().unwrap();
    authorities.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authorities);
    let config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    let stream = TcpStream::connect(running.address(protocol)).await?;
    let host = ServerName::try_from(host).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await?;
    Ok(Client::over(stream))
}

async fn is_served(client: &mut Client) -> bool {
    let request = MetadataRequest::default().with_topics(None);
    client.ask(request, 12).await.brokers.len() == 1
}

/// Asks for metadata; true if the connection closes instead of an answer.
async fn is_turned_away(client: &mut Client) -> bool {
    let request = MetadataRequest::default().with_topics(None);
    client.try_send(request, 12).await.is_err() || client.is_closed_before_a_frame().await
}

#[tokio::test]
async fn a_development_certificate_is_good_for_this_machine() {
    let running = start(|_| {}).await;
    for host in ["localhost", "127.0.0.1", "::1"] {
        let mut client = connect(&running, SecurityProtocol::Ssl, host, None).await.unwrap();
        assert!(is_served(&mut client).await);
    }
    let refused = connect(&running, SecurityProtocol::Ssl, "kafka.example", None).await;
    assert!(refused.is_err(), "a host name that the certificate isn't for");
}

#[tokio::test]
async fn an_advertised_name_is_in_the_certificate_and_each_listener_tells_its_own() {
    let running = start(|config| {
        config.listeners[2].advertised = Some(("kafka.example".to_owned(), 9094));
    })
    .await;
    let key = running.key(Rights::Cluster);
    let protocol = SecurityProtocol::SaslSsl;
    let mut client = connect(&running, protocol, "kafka.example", None).await.unwrap();
    let answer = client.log_in(SaslMechanism::ALL[2], &key.key, &key.secret).await;
    assert_eq!(answer.error_code, 0);
    let request = || MetadataRequest::default().with_topics(None);
    let told = client.ask(request(), 9).await.brokers.remove(0);
    assert_eq!((told.host.as_str(), told.port), ("kafka.example", 9094));
    let mut other = running.connect().await;
    let told = other.ask(request(), 9).await.brokers.remove(0);
    let address = running.server.address();
    assert_eq!((told.host.as_str(), told.port), ("127.0.0.1", i32::from(address.port())));
}

#[tokio::test]
async fn large_answers_pass_through_tls_whole() {
    let running = start(|_| {}).await;
    running.topic("orders", 1);
    let mut client = connect(&running, SecurityProtocol::Ssl, "localhost", None).await.unwrap();
    let value = "v".repeat(900_000);
    for _ in 0..3 {
        let answer = client.produce("orders", 0, batch(&[&value]), -1).await;
        assert_eq!(answer.error_code, 0);
    }
    for offset in 0..3 {
        assert_eq!(fetched(&mut client, "orders", offset).await, [(offset, value.clone())]);
    }
}

#[tokio::test]
async fn bytes_that_are_no_tls_close_their_connection_and_nothing_else() {
    let running = start(|config| config.security.authentication_ms_max = 2_000).await;
    let hostile: [&[u8]; 4] = [
        b"\0\0\0\x10",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff",
    ];
    for protocol in [SecurityProtocol::Ssl, SecurityProtocol::SaslSsl] {
        for bytes in hostile {
            let mut client = running.connect_to(protocol).await;
            client.stream.write_all(bytes).await.unwrap();
            client.wait_until_closed().await;
        }
        let mut silent = running.connect_to(protocol).await;
        assert!(silent.is_closed().await, "after the time for it");
        let mut client = connect(&running, SecurityProtocol::Ssl, "localhost", None).await.unwrap();
        assert!(is_served(&mut client).await);
    }
}

/// An authority in a file, and a client's certificate that it has issued.
fn client_identity(folder: &Path) -> (PathBuf, Identity) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let file = folder.join("client-ca.pem");
    std::fs::write(&file, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Mill");
    params.distinguished_name.push(DnType::CommonName, "orders-app");
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (file, (vec![certificate.der().clone()], key))
}

#[tokio::test]
async fn a_clients_certificate_names_its_principal() {
    let folder = tempfile::tempdir().unwrap();
    let (client_ca, (chain, key)) = client_identity(folder.path());
    let client_ca = &client_ca;
    let with = |client_auth| {
        start(move |config| {
            config.security.tls.client_auth = client_auth;
            config.security.tls.client_ca = Some(client_ca.clone());
            config.security.authorizer.allow_anonymous_if_not_denied = false;
            let app = "User:CN=orders-app,O=Mill".parse().unwrap();
            config.security.authorizer.super_users = vec![app];
        })
    };
    for client_auth in [ClientAuth::Required, ClientAuth::Requested] {
        let running = with(client_auth).await;
        running.topic("orders", 1);
        let identity = Some((chain.clone(), key.clone_key()));
        let protocol = SecurityProtocol::Ssl;
        let mut client = connect(&running, protocol, "localhost", identity).await.unwrap();
        assert_eq!(client.produce("orders", 0, batch(&["a"]), 1).await.error_code, 0);

        let nobody = connect(&running, protocol, "localhost", None).await;
        match client_auth {
            ClientAuth::Required => {
                assert!(nobody.is_err() || is_turned_away(&mut nobody.unwrap()).await);
            }
            _ => {
                let mut nobody = nobody.unwrap();
                assert_ne!(nobody.produce("orders", 0, batch(&["a"]), 1).await.error_code, 0);
            }
        }
        let other = tempfile::tempdir().unwrap();
        let (_, stranger) = client_identity(other.path());
        let stranger = connect(&running, protocol, "localhost", Some(stranger)).await;
        assert!(stranger.is_err() || is_turned_away(&mut stranger.unwrap()).await);
        // SASL_SSL asks for no certificate, as in Kafka.
        let protocol = SecurityProtocol::SaslSsl;
        let mut client = connect(&running, protocol, "localhost", None).await.unwrap();
        assert_eq!(client.shake_hands("PLAIN", 1).await, 0);
    }
}

#[tokio::test]
async fn a_start_without_the_named_certificate_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::client::config(folder.path());
    config.listeners = vec![Listener::new(SecurityProtocol::Ssl, ([127, 0, 0, 1], 0).into())];
    config.security.tls.certificate = Some(gristmill_broker::CertificateFiles {
        certificate: folder.path().join("broker.pem"),
        key: folder.path().join("broker-key.pem"),
    });
    let error = gristmill_broker::Server::start(config).await.unwrap_err().to_string();
    assert!(error.contains("there is no file") && error.contains("broker.pem"), "{error}");
}

#[tokio::test]
async fn files_with_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let running = start(|_| {}).await;
    running.key(Rights::Cluster);
    for file in ["credentials.json", "acls.json", "tls/development-ca-key.pem"] {
        let mode =
            std::fs::metadata(running.folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}
