//! Who may come to the built-in broker and how: flags of the commands that run one.

use std::path::PathBuf;

use anyhow::Result;
use gristmill_broker::{
    AdvertisedListener, AuthorizerConfig, CertificateFiles, ClientAuth, Listener, Principal,
    SaslMechanism, SecurityConfig, TlsConfig,
};

use crate::user_error::UserError;

/// Flags of their own heading; without any, clients of this machine come in and nobody else.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Security of the built-in broker")]
pub struct SecurityFlags {
    /// Host and port that clients of a listener are told, if not the address under which they came
    #[arg(long, value_name = "[PROTOCOL://]HOST:PORT")]
    pub advertise: Vec<AdvertisedListener>,

    /// Let clients in from the network without authentication, encryption or both, as listeners PLAINTEXT and SSL do
    #[arg(long)]
    pub allow_unauthenticated_network: bool,

    /// The broker's certificate and those of intermediate authorities, PEM [default: one for development is made]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of the certificate, PEM, not encrypted
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// Whether clients of listener SSL show certificates: none, requested or required [default: none]
    #[arg(long, value_name = "WHETHER", requires = "tls_client_ca")]
    pub tls_client_auth: Option<ClientAuth>,

    /// The authorities that issue certificates of clients, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// A mechanism that SASL listeners offer; may be given again [default: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512]
    #[arg(long, value_name = "NAME")]
    pub sasl_mechanism: Vec<SaslMechanism>,

    /// Clients of SASL listeners must authenticate again after so many ms [default: never]
    #[arg(long, value_name = "MS")]
    pub max_reauth_ms: Option<u64>,

    /// Somebody who may do everything, such as User:admin; may be given again
    #[arg(long, value_name = "PRINCIPAL")]
    pub super_user: Vec<Principal>,

    /// Everybody may do what they like with topics, groups and so on that no ACL is about
    #[arg(long)]
    pub allow_everyone_if_no_acl_found: bool,
}

impl SecurityFlags {
    /// The broker's settings.
    pub fn config(&self) -> SecurityConfig {
        let default = SecurityConfig::default();
        let files = self.tls_certificate.clone().zip(self.tls_key.clone());
        SecurityConfig {
            allow_unauthenticated_network: self.allow_unauthenticated_network,
            sasl_mechanisms: match self.sasl_mechanism.is_empty() {
                true => default.sasl_mechanisms,
                false => self.sasl_mechanism.clone(),
            },
            reauthentication_ms: self.max_reauth_ms.unwrap_or(default.reauthentication_ms),
            tls: TlsConfig {
                certificate: files.map(|(certificate, key)| CertificateFiles { certificate, key }),
                client_auth: self.tls_client_auth.unwrap_or_default(),
                client_ca: self.tls_client_ca.clone(),
            },
            authorizer: AuthorizerConfig {
                super_users: self.super_user.clone(),
                allow_everyone_if_no_acl_found: self.allow_everyone_if_no_acl_found,
                ..AuthorizerConfig::default()
            },
            ..default
        }
    }

    /// Tells each listener what its clients are told.
    ///
    /// # Errors
    /// There is no listener of that protocol.
    pub fn advertise(&self, listeners: &mut [Listener]) -> Result<()> {
        for told in &self.advertise {
            let mut matching = listeners.iter_mut();
            let Some(listener) = matching.find(|it| it.protocol == told.protocol) else {
                let protocol = told.protocol;
                let message = format!(
                    "--advertise names {protocol}, and there is no such listener; add --listen \
                     {protocol}://ADDR"
                );
                return Err(UserError::new(message).into());
            };
            listener.advertised = Some((told.host.clone(), told.port));
        }
        Ok(())
    }
}
