//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): what is stored of a secret, and the
//! server's side of the exchange.
//!
//! Stored are a salt, the number of rounds, and two keys from which neither the secret nor a proof
//! of it can be made. Pure: nonces and salts are passed in. Secrets are taken byte for byte, without
//! SASLprep, as Kafka does.
//!
//! Left out: channel binding (`-PLUS`) and delegation tokens, which Kafka's brokers offer to no
//! listener of ours.

use std::num::NonZeroU32;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The fewest rounds that a credential may have (RFC 7677, Kafka).
pub const ITERATIONS_MIN: u32 = 4096;
/// The most; above, a login would cost too much of our time (Kafka has the same limit).
pub const ITERATIONS_MAX: u32 = 16_384;
/// Bytes of a nonce before it is written as text.
pub(crate) const NONCE_BYTES: usize = 18;

/// The hash under a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    Sha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    Sha512,
}

impl ScramMechanism {
    pub(crate) const ALL: [ScramMechanism; 2] = [ScramMechanism::Sha256, ScramMechanism::Sha512];

    /// As SASL and Kafka call it.
    pub fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Kafka's number for it (KIP-554).
    pub(crate) fn code(self) -> i8 {
        match self {
            ScramMechanism::Sha256 => 1,
            ScramMechanism::Sha512 => 2,
        }
    }

    pub(crate) fn from_code(code: i8) -> Option<ScramMechanism> {
        ScramMechanism::ALL.into_iter().find(|mechanism| mechanism.code() == code)
    }

    /// Bytes of a hash, a key, and a salted password.
    pub(crate) fn hash_bytes(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            ScramMechanism::Sha256 => &digest::SHA256,
            ScramMechanism::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            ScramMechanism::Sha256 => hmac::HMAC_SHA256,
            ScramMechanism::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message)
    }

    /// `Hi` of RFC 5802, the costly step: milliseconds at [`ITERATIONS_MIN`].
    fn salted_password(self, secret: &[u8], salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let algorithm = match self {
            ScramMechanism::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            ScramMechanism::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.hash_bytes()];
        pbkdf2::derive(algorithm, iterations, salt, secret, &mut salted);
        salted
    }
}

/// What is kept of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScramCredential {
    pub(crate) mechanism: ScramMechanism,
    pub(crate) iterations: NonZeroU32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

impl ScramCredential {
    /// Salts and hashes a secret. Takes milliseconds.
    pub(crate) fn new(
        mechanism: ScramMechanism,
        secret: &str,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> ScramCredential {
        let salted = mechanism.salted_password(secret.as_bytes(), salt, iterations);
        ScramCredential::from_salted(mechanism, &salted, salt, iterations)
    }

    /// From a password that the client has salted itself, as AlterUserScramCredentials carries it.
    pub(crate) fn from_salted(
        mechanism: ScramMechanism,
        salted_password: &[u8],
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> ScramCredential {
        let client_key = mechanism.hmac(salted_password, b"Client Key");
        let stored_key = digest::digest(mechanism.digest(), client_key.as_ref());
        let server_key = mechanism.hmac(salted_password, b"Server Key");
        ScramCredential {
            mechanism,
            iterations,
            salt: salt.to_vec(),
            stored_key: stored_key.as_ref().to_vec(),
            server_key: server_key.as_ref().to_vec(),
        }
    }

    /// True if this is the secret. Costs the same whatever the answer. Takes milliseconds.
    pub(crate) fn is_secret(&self, secret: &str) -> bool {
        let given = ScramCredential::new(self.mechanism, secret, &self.salt, self.iterations);
        given.stored_key.ct_eq(&self.stored_key).into()
    }
}

/// The client's first message, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    pub(crate) user: String,
    nonce: String,
    /// The channel-binding header, which the last message repeats.
    header: String,
    /// The message without that header.
    bare: String,
}

impl ClientFirst {
    pub(crate) fn parse(token: &[u8]) -> Result<ClientFirst> {
        let text = std::str::from_utf8(token).context("a first message that is not UTF-8")?;
        let mut parts = text.splitn(3, ',');
        let (binding, acting_for) = (parts.next(), parts.next());
        let bare = parts.next().context("a first message without a user name")?;
        ensure!(matches!(binding, Some("n" | "y")), "channel binding is not offered");
        let acting_for = acting_for.unwrap_or("");
        let acting_for = match acting_for {
            "" => None,
            name => Some(unescape(name.strip_prefix("a=").context("a malformed header")?)?),
        };
        let mut attributes = bare.split(',');
        let user = attributes.next().and_then(|it| it.strip_prefix("n="));
        let user = unescape(user.context("no user name, or an extension that is not offered")?)?;
        let nonce = attributes.next().and_then(|it| it.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce)).context("no nonce")?;
        ensure!(
            acting_for.is_none_or(|name| name == user),
            "acting for another user is not offered"
        );
        Ok(ClientFirst {
            nonce: nonce.to_owned(),
            header: text[..text.len() - bare.len()].to_owned(),
            bare: bare.to_owned(),
            user,
        })
    }
}

/// The server's side once the client's first message is known.
pub(crate) struct ScramExchange {
    credential: ScramCredential,
    first: ClientFirst,
    /// Both nonces together.
    nonce: String,
    server_first: String,
}

impl ScramExchange {
    /// `server_nonce` is fresh and unguessable, of printable ASCII without comma.
    pub(crate) fn begin(
        first: ClientFirst,
        credential: ScramCredential,
        server_nonce: &str,
    ) -> ScramExchange {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = BASE64.encode(&credential.salt);
        let server_first = format!("r={nonce},s={salt},i={}", credential.iterations);
        ScramExchange { credential, first, nonce, server_first }
    }

    /// What the client is sent after its first message.
    pub(crate) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Checks the client's last message. Ok: the proof holds, and this is the server's own proof.
    pub(crate) fn finish(&self, token: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(token).context("a last message that is not UTF-8")?;
        let (without_proof, proof) = text.rsplit_once(",p=").context("no proof")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|it| it.strip_prefix("c="));
        ensure!(
            binding.is_some_and(|it| it == BASE64.encode(&self.first.header)),
            "another header than in the first message"
        );
        let nonce = attributes.next().and_then(|it| it.strip_prefix("r="));
        // librdkafka before 2.2 puts its own nonce before the agreed one once more; Kafka takes it.
        ensure!(
            nonce.is_some_and(|it| it.ends_with(&self.nonce)),
            "another nonce than was agreed on"
        );
        let proof = BASE64.decode(proof).context("a proof that is not Base64")?;
        let message = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        if !self.is_proof(&proof, message.as_bytes()) {
            bail!("wrong secret");
        }
        let ScramCredential { mechanism, server_key, .. } = &self.credential;
        let signature = mechanism.hmac(server_key, message.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature.as_ref())))
    }

    fn is_proof(&self, proof: &[u8], message: &[u8]) -> bool {
        let ScramCredential { mechanism, stored_key, .. } = &self.credential;
        let signature = mechanism.hmac(stored_key, message);
        if proof.len() != signature.as_ref().len() {
            return false;
        }
        let client_key: Vec<u8> =
            proof.iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect();
        let hashed = digest::digest(mechanism.digest(), &client_key);
        hashed.as_ref().ct_eq(stored_key).into()
    }
}

/// Printable ASCII without comma, not empty.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Undoes `=2C` and `=3D`; any other use of `=` is a mistake.
fn unescape(name: &str) -> Result<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => bail!("a malformed user name"),
        };
        plain.push(character);
        plain.push_str(rest);
    }
    ensure!(!plain.is_empty(), "an empty user name");
    Ok(plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FOUR_THOUSAND: NonZeroU32 = NonZeroU32::new(4096).unwrap();

    fn exchange(mechanism: ScramMechanism, secret: &str) -> ScramExchange {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = ScramCredential::new(mechanism, secret, &salt, FOUR_THOUSAND);
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        ScramExchange::begin(first, credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_rfc_7677_succeeds() {
        let exchange = exchange(ScramMechanism::Sha256, "pencil");
        assert_eq!(
            exchange.server_first(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let expected = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(exchange.finish(last).unwrap(), expected);
    }

    /// What a client with this secret sends last.
    fn last_message(exchange: &ScramExchange, secret: &str) -> String {
        last_message_with(exchange, secret, &exchange.nonce)
    }

    fn last_message_with(exchange: &ScramExchange, secret: &str, nonce: &str) -> String {
        let ScramCredential { mechanism, salt, iterations, .. } = &exchange.credential;
        let salted = mechanism.salted_password(secret.as_bytes(), salt, *iterations);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        let stored_key = digest::digest(mechanism.digest(), client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{},{without_proof}", exchange.first.bare, exchange.server_first);
        let signature = mechanism.hmac(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", BASE64.encode(proof))
    }

    #[test]
    fn sha_512_takes_the_right_secret_alone() {
        let exchange = exchange(ScramMechanism::Sha512, "pencil");
        assert!(exchange.finish(last_message(&exchange, "pencil").as_bytes()).is_ok());
        let error = exchange.finish(last_message(&exchange, "pencils").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "wrong secret");
    }

    /// kcat of Debian 12 (librdkafka 2.0.2) could not log in.
    #[test]
    fn a_nonce_that_is_repeated_in_front_is_taken() {
        let exchange = exchange(ScramMechanism::Sha256, "pencil");
        let twice = format!("{}{}", exchange.first.nonce, exchange.nonce);
        let last = last_message_with(&exchange, "pencil", &twice);
        assert!(exchange.finish(last.as_bytes()).is_ok());
        let other = last_message_with(&exchange, "pencil", &exchange.first.nonce);
        assert!(exchange.finish(other.as_bytes()).is_err());
    }

    #[test]
    fn malformed_last_messages_are_refused() {
        let exchange = exchange(ScramMechanism::Sha256, "pencil");
        let good = last_message(&exchange, "pencil");
        exchange.finish(good.as_bytes()).unwrap();
        let bad = [
            String::new(),
            "p=".to_owned(),
            good.replace("biws", "eSws"),
            good.replace("F$k0,p", "F$k1,p"),
            good.replace(",p=", ",p=!"),
            good.replace(",p=", ",p=AAAA"),
            format!("m=1,{good}"),
            good[..good.len() - 4].to_owned(),
        ];
        for message in bad {
            assert!(exchange.finish(message.as_bytes()).is_err(), "{message}");
        }
        assert!(exchange.finish(b"c=biws,\xff").is_err());
    }

    #[test]
    fn first_messages_are_read_with_their_escapes() {
        let first = ClientFirst::parse(b"y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=nonce,ext=1").unwrap();
        assert_eq!((first.user.as_str(), first.nonce.as_str()), ("a,b=c", "nonce"));
        assert_eq!(first.header, "y,a=a=2Cb=3Dc,");
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        let bad: [&[u8]; 13] = [
            b"",
            b",",
            b"n,,",
            b"n,,n=,r=abc",
            b"n,,n=user",
            b"n,,n=user,r=",
            b"n,,r=abc,n=user",
            b"p=tls-unique,,n=user,r=abc",
            b"n,a=other,n=user,r=abc",
            b"n,other,n=user,r=abc",
            b"n,,m=ext,n=user,r=abc",
            b"n,,n=us=er,r=abc",
            b"n,,n=\xff,r=abc",
        ];
        for message in bad {
            assert!(ClientFirst::parse(message).is_err(), "{message:?}");
        }
    }

    #[test]
    fn a_secret_is_recognised_by_either_hash() {
        for mechanism in ScramMechanism::ALL {
            let credential = ScramCredential::new(mechanism, "pencil", b"salt", FOUR_THOUSAND);
            assert!(credential.is_secret("pencil"));
            assert!(!credential.is_secret("Pencil"));
            assert!(!credential.is_secret(""));
        }
    }
}
