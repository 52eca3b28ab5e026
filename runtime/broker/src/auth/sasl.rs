//! One SASL exchange: tokens in, tokens out, until it is known who the client is.
//!
//! The wire around the tokens (SaslHandshake, SaslAuthenticate, raw frames of old clients) is the
//! connection's business.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::credentials::{Credentials, USER_NAME_BYTES_MAX, fill_random};
use crate::auth::plain;
use crate::auth::scram::{ClientFirst, NONCE_BYTES, ScramExchange, ScramMechanism};

/// Bytes of one token. Names, nonces and proofs stay far below (Kafka bounds the frame alone).
pub(crate) const TOKEN_BYTES_MAX: usize = 16 << 10;

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// Name and secret as they are (RFC 4616): on an encrypted listener only.
    Plain,
    /// A proof that doesn't show the secret (RFC 5802, RFC 7677).
    Scram(ScramMechanism),
}

impl SaslMechanism {
    /// All that the broker can do, in the order in which clients are told.
    pub const ALL: [SaslMechanism; 3] = [
        SaslMechanism::Plain,
        SaslMechanism::Scram(ScramMechanism::Sha256),
        SaslMechanism::Scram(ScramMechanism::Sha512),
    ];

    /// As SASL and Kafka call it.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::Scram(mechanism) => mechanism.name(),
        }
    }
}

impl FromStr for SaslMechanism {
    type Err = String;

    fn from_str(text: &str) -> Result<SaslMechanism, String> {
        let known = SaslMechanism::ALL;
        known.into_iter().find(|it| it.name() == text).ok_or_else(|| {
            let names = known.map(SaslMechanism::name).join(", ");
            format!("`{text}` is no SASL mechanism; there are {names}")
        })
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a token led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this and wait for the next token.
    Continue(Vec<u8>),
    /// The client is this user. Send this as the last token.
    Done { user: String, token: Vec<u8> },
}

/// Why an exchange failed. For our log; the client learns only that it did.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whom the client claimed to be, if it came that far.
    pub(crate) user: Option<String>,
    pub(crate) error: Error,
}

/// An exchange under way.
pub(crate) struct Exchange {
    pub(crate) mechanism: SaslMechanism,
    state: State,
}

enum State {
    First,
    Scram {
        user: String,
        exchange: Box<ScramExchange>,
    },
    /// Nothing more is expected.
    Over,
}

impl Exchange {
    pub(crate) fn new(mechanism: SaslMechanism) -> Exchange {
        Exchange { mechanism, state: State::First }
    }

    /// Takes the client's next token. After a failure or [`Step::Done`] there is none. Takes
    /// milliseconds.
    pub(crate) fn step(
        &mut self,
        credentials: &Credentials,
        token: &[u8],
    ) -> Result<Step, Failure> {
        let nameless = |error| Failure { user: None, error };
        if token.len() > TOKEN_BYTES_MAX {
            return Err(nameless(anyhow!("a token of {} bytes", token.len())));
        }
        match (std::mem::replace(&mut self.state, State::Over), self.mechanism) {
            (State::First, SaslMechanism::Plain) => plain_step(credentials, token),
            (State::First, SaslMechanism::Scram(mechanism)) => {
                self.scram_first(credentials, mechanism, token)
            }
            (State::Scram { user, exchange }, _) => match exchange.finish(token) {
                Ok(last) => Ok(Step::Done { user, token: last.into_bytes() }),
                Err(error) => Err(Failure { user: Some(user), error }),
            },
            (State::Over, _) => Err(nameless(anyhow!("a token after the last"))),
        }
    }

    fn scram_first(
        &mut self,
        credentials: &Credentials,
        mechanism: ScramMechanism,
        token: &[u8],
    ) -> Result<Step, Failure> {
        let nameless = |error| Failure { user: None, error };
        let first = ClientFirst::parse(token).map_err(nameless)?;
        let user = first.user.clone();
        check_name(&user).map_err(nameless)?;
        let nonce = fresh_nonce().map_err(nameless)?;
        let credential = credentials.scram(&user, mechanism);
        let exchange = ScramExchange::begin(first, credential, &nonce);
        let answer = exchange.server_first().as_bytes().to_vec();
        self.state = State::Scram { user, exchange: Box::new(exchange) };
        Ok(Step::Continue(answer))
    }
}

fn plain_step(credentials: &Credentials, token: &[u8]) -> Result<Step, Failure> {
    let nameless = |error| Failure { user: None, error };
    let token = plain::parse(token).map_err(nameless)?;
    check_name(&token.user).map_err(nameless)?;
    match credentials.is_secret(&token.user, &token.secret) {
        true => Ok(Step::Done { user: token.user, token: Vec::new() }),
        false => Err(Failure {
            user: Some(token.user),
            error: anyhow!("no such user, or the wrong secret"),
        }),
    }
}

fn check_name(user: &str) -> Result<()> {
    let bytes = user.len();
    ensure!(bytes <= USER_NAME_BYTES_MAX, "a user name of {bytes} bytes");
    Ok(())
}

fn fresh_nonce() -> Result<String> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce).context("cannot make a nonce")?;
    Ok(URL_SAFE_NO_PAD.encode(nonce))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::auth::credentials::credentials_for;
    use crate::disk::faults::FaultDisk;

    fn credentials() -> Credentials {
        let disk = Arc::new(FaultDisk::default());
        let credentials = Credentials::open(disk, Path::new("/data")).unwrap();
        let new = credentials_for("tanstaaf").unwrap();
        let added = credentials.change(|users| {
            users.insert("tim".to_owned(), new);
            Ok(())
        });
        added.unwrap();
        credentials
    }

    #[test]
    fn plain_takes_the_secret_of_the_user_alone() {
        let credentials = credentials();
        let step = |token: &[u8]| Exchange::new(SaslMechanism::Plain).step(&credentials, token);
        let done = Step::Done { user: "tim".to_owned(), token: Vec::new() };
        assert_eq!(step(b"\0tim\0tanstaaf").unwrap(), done);
        let failure = step(b"\0tim\0Tanstaaf").unwrap_err();
        assert_eq!(failure.user.as_deref(), Some("tim"));
        let unknown = step(b"\0nobody\0tanstaaf").unwrap_err();
        assert_eq!(failure.error.to_string(), unknown.error.to_string());
        let long = format!("\0{}\0x", "n".repeat(USER_NAME_BYTES_MAX + 1));
        assert!(step(long.as_bytes()).is_err());
        assert!(step(&vec![b'a'; TOKEN_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn an_exchange_takes_no_token_after_its_last() {
        let credentials = credentials();
        let mut exchange = Exchange::new(SaslMechanism::Plain);
        exchange.step(&credentials, b"\0tim\0tanstaaf").unwrap();
        assert!(exchange.step(&credentials, b"\0tim\0tanstaaf").is_err());
    }

    #[test]
    fn an_unknown_user_of_scram_fails_at_the_last_message_only() {
        let credentials = credentials();
        for mechanism in ScramMechanism::ALL {
            for user in ["tim", "nobody"] {
                let mut exchange = Exchange::new(SaslMechanism::Scram(mechanism));
                let first = format!("n,,n={user},r=abc");
                let step = exchange.step(&credentials, first.as_bytes()).unwrap();
                let Step::Continue(answer) = step else { panic!("{step:?}") };
                let answer = String::from_utf8(answer).unwrap();
                let nonce = answer.strip_prefix("r=").unwrap().split(',').next().unwrap();
                let proof = "A".repeat(44);
                let last = format!("c=biws,r={nonce},p={proof}");
                let failure = exchange.step(&credentials, last.as_bytes()).unwrap_err();
                assert_eq!(failure.user.as_deref(), Some(user));
            }
        }
    }

    proptest! {
        #[test]
        fn random_tokens_never_panic_and_never_succeed(
            tokens in prop::collection::vec(".{0,80}", 1..4),
            prefix in prop::sample::select(vec!["", "n,,", "n,,n=tim,r=", "c=biws,r="]),
        ) {
            let disk = Arc::new(FaultDisk::default());
            let credentials = Credentials::open(disk, Path::new("/data")).unwrap();
            for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
                let mut exchange = Exchange::new(SaslMechanism::Scram(mechanism));
                for token in &tokens {
                    let token = format!("{prefix}{token}");
                    let step = exchange.step(&credentials, token.as_bytes());
                    let succeeded = matches!(step, Ok(Step::Done { .. }));
                    prop_assert!(!succeeded);
                }
            }
        }
    }
}
