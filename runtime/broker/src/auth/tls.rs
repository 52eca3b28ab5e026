//! TLS for listeners SSL and SASL_SSL: rustls with the user's certificate or a development one.
//!
//! TLS 1.2 and 1.3, with rustls' choice of ciphers. Whether the certificate is for the host that a
//! client meant to reach is for the client to check. As in Kafka, `ssl.client.auth` holds for SSL
//! alone: clients of SASL_SSL are never asked for a certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::auth::{Principal, development_certificate, distinguished_name};
use crate::clock::Clock;
use crate::disk::Disk;

/// Bytes of a file with certificates or a key.
const PEM_BYTES_MAX: usize = 4 << 20;

/// Certificates of the broker and of its clients.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// The broker's certificate. None: a development certificate is made.
    pub certificate: Option<CertificateFiles>,
    /// Whether clients of the SSL listener show a certificate (`ssl.client.auth`, none).
    pub client_auth: ClientAuth,
    /// PEM file with the authorities that issue certificates of clients. Needed unless
    /// `client_auth` is none.
    pub client_ca: Option<PathBuf>,
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, followed by those of intermediate authorities.
    pub certificate: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

/// Kafka's `ssl.client.auth`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients aren't asked; they are `User:ANONYMOUS`.
    #[default]
    None,
    /// Clients are asked; those without a certificate are `User:ANONYMOUS`.
    Requested,
    /// Clients without a certificate are turned away.
    Required,
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<ClientAuth, String> {
        match text {
            "none" => Ok(ClientAuth::None),
            "requested" => Ok(ClientAuth::Requested),
            "required" => Ok(ClientAuth::Required),
            _ => Err(format!("`{text}` is none of none, requested and required")),
        }
    }
}

/// What listeners need to speak TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    ssl: TlsAcceptor,
    sasl_ssl: TlsAcceptor,
    /// The authority of the development certificate, if that is in use.
    pub(crate) development_ca: Option<PathBuf>,
}

impl Tls {
    /// Reads or makes the certificate. `names` are host names and addresses that a development
    /// certificate must be good for. Errors name the file and what is wrong with it. Blocks.
    pub(crate) fn open(
        config: &TlsConfig,
        disk: &(dyn Disk + 'static),
        clock: &dyn Clock,
        data_dir: &Path,
        names: &[String],
    ) -> Result<Tls> {
        let (chain, key, development_ca) = match &config.certificate {
            Some(files) => (certificates(disk, &files.certificate)?, key(disk, &files.key)?, None),
            None => {
                let made = development_certificate::issue(disk, clock, data_dir, names)?;
                (made.chain, made.key, Some(made.ca_file))
            }
        };
        let named = || match &config.certificate {
            Some(files) => {
                let (certificate, key) = (files.certificate.display(), files.key.display());
                format!("cannot use the certificate `{certificate}` with the key `{key}`")
            }
            None => "cannot use the development certificate".to_owned(),
        };
        let acceptor = |verifier| {
            let config = server_config(verifier, chain.clone(), key.clone_key());
            config.with_context(named).map(|config| TlsAcceptor::from(Arc::new(config)))
        };
        let verifier = client_verifier(config, disk)?;
        Ok(Tls { ssl: acceptor(verifier)?, sasl_ssl: acceptor(None)?, development_ca })
    }

    /// For a listener with or without SASL.
    pub(crate) fn acceptor(&self, with_sasl: bool) -> &TlsAcceptor {
        if with_sasl { &self.sasl_ssl } else { &self.ssl }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("development_ca", &self.development_ca).finish_non_exhaustive()
    }
}

/// Who a client is by the certificates that it showed: `User:` and the subject of the first.
pub(crate) fn principal(certificates: Option<&[CertificateDer<'_>]>) -> Result<Principal> {
    let Some([certificate, ..]) = certificates else { return Ok(Principal::anonymous()) };
    let subject = distinguished_name::subject(certificate)?;
    ensure!(!subject.is_empty(), "a certificate without a subject, which is the client's name");
    Ok(Principal::user(&subject))
}

fn server_config(
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("no protocol version")?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_single_cert(chain, key)?)
}

fn client_verifier(
    config: &TlsConfig,
    disk: &(dyn Disk + 'static),
) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
    if config.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let path = config.client_ca.as_ref().context(
        "clients shall show certificates, and no authority for them is given; name its PEM file \
         with --tls-client-ca",
    )?;
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(disk, path)? {
        let added = authorities.add(certificate);
        added.with_context(|| format!("an authority in `{}`", path.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider());
    let builder = match config.client_auth {
        ClientAuth::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let verifier = builder.build();
    verifier.map(Some).with_context(|| format!("the authorities in `{}`", path.display()))
}

/// The provider that the rest of the program has too.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(disk: &(dyn Disk + 'static), path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let content = read(disk, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let found = found.with_context(|| format!("`{}` is damaged", path.display()))?;
    ensure!(!found.is_empty(), "`{}` holds no certificate in PEM", path.display());
    Ok(found)
}

fn key(disk: &(dyn Disk + 'static), path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&read(disk, path)?).with_context(|| {
        format!("`{}` holds no private key in PEM that is not encrypted", path.display())
    })
}

fn read(disk: &(dyn Disk + 'static), path: &Path) -> Result<Vec<u8>> {
    let content = disk.read_small(path, PEM_BYTES_MAX);
    let content = content.with_context(|| format!("cannot read `{}`", path.display()))?;
    content.with_context(|| format!("there is no file `{}`", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::disk::faults::FaultDisk;

    fn open(disk: &FaultDisk, config: &TlsConfig) -> Result<Tls> {
        Tls::open(config, disk, &ManualClock::at(1_800_000_000_000), Path::new("/data"), &[])
    }

    fn pem_pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn files() -> TlsConfig {
        let files = CertificateFiles { certificate: "/broker.pem".into(), key: "/key.pem".into() };
        TlsConfig { certificate: Some(files), ..TlsConfig::default() }
    }

    #[test]
    fn without_a_certificate_a_development_one_is_made() {
        let disk = FaultDisk::default();
        let tls = open(&disk, &TlsConfig::default()).unwrap();
        let ca = disk.read(&tls.development_ca.unwrap());
        assert!(String::from_utf8(ca).unwrap().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn the_users_own_certificate_is_taken() {
        let disk = FaultDisk::default();
        let (certificate, key) = pem_pair();
        disk.put(Path::new("/broker.pem"), certificate.into_bytes());
        disk.put(Path::new("/key.pem"), key.into_bytes());
        assert_eq!(open(&disk, &files()).unwrap().development_ca, None);
    }

    #[test]
    fn files_that_do_not_do_are_refused_by_name() {
        let (certificate, key) = pem_pair();
        let refused = |certificate: Option<&str>, key: Option<&str>| {
            let disk = FaultDisk::default();
            let put = |path: &str, content: &str| disk.put(Path::new(path), content.into());
            certificate.iter().for_each(|content| put("/broker.pem", content));
            key.iter().for_each(|content| put("/key.pem", content));
            format!("{:#}", open(&disk, &files()).unwrap_err())
        };
        let expected = [
            (refused(None, Some(&key)), "there is no file `/broker.pem`"),
            (refused(Some("text"), Some(&key)), "`/broker.pem` holds no certificate in PEM"),
            (refused(Some(&certificate), None), "there is no file `/key.pem`"),
            (refused(Some(&certificate), Some("text")), "`/key.pem` holds no private key"),
            (
                refused(Some(&certificate), Some(&pem_pair().1)),
                "cannot use the certificate `/broker.pem` with the key `/key.pem`",
            ),
        ];
        for (error, text) in expected {
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn certificates_of_clients_need_an_authority() {
        let config = TlsConfig { client_auth: ClientAuth::Required, ..TlsConfig::default() };
        let error = open(&FaultDisk::default(), &config).unwrap_err().to_string();
        assert!(error.contains("--tls-client-ca"), "{error}");
    }
}
