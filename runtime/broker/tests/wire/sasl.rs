//! The client's side of SASL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use gristmill_broker::{NewApiKey, Rights, SaslMechanism, ScramMechanism, SecurityProtocol};
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use ring::{digest, hmac, pbkdf2};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, Running, text};

impl Running {
    pub(crate) fn key(&self, rights: Rights) -> NewApiKey {
        self.server.broker().api_keys().create(rights).unwrap()
    }

    /// A connection that has authenticated with that key by PLAIN.
    pub(crate) async fn log_in(&self, key: &NewApiKey) -> Client {
        let mut client = self.connect_to(SecurityProtocol::SaslPlaintext).await;
        let answer = client.log_in(SaslMechanism::Plain, &key.key, &key.secret).await;
        assert_eq!(answer.error_code, 0);
        client
    }
}

impl Client {
    /// The error of SaslHandshake.
    pub(crate) async fn shake_hands(&mut self, mechanism: &str, version: i16) -> i16 {
        let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
        self.ask(request, version).await.error_code
    }

    pub(crate) async fn send_token(&mut self, token: &[u8]) -> SaslAuthenticateResponse {
        let token = Bytes::copy_from_slice(token);
        self.ask(SaslAuthenticateRequest::default().with_auth_bytes(token), 2).await
    }

    /// The last answer to a log-in with SaslHandshake and SaslAuthenticate.
    pub(crate) async fn log_in(
        &mut self,
        mechanism: SaslMechanism,
        user: &str,
        secret: &str,
    ) -> SaslAuthenticateResponse {
        assert_eq!(self.shake_hands(mechanism.name(), 1).await, 0);
        let scram = match mechanism {
            SaslMechanism::Plain => return self.send_token(&plain(user, secret)).await,
            SaslMechanism::Scram(mechanism) => mechanism,
        };
        let first = format!("n={user},r=nonce");
        let answer = self.send_token(format!("n,,{first}").as_bytes()).await;
        assert_eq!(answer.error_code, 0);
        let server_first = String::from_utf8(answer.auth_bytes.to_vec()).unwrap();
        let (last, signature) = scram_last(scram, secret, &first, &server_first);
        let answer = self.send_token(last.as_bytes()).await;
        if answer.error_code == 0 {
            assert_eq!(answer.auth_bytes, format!("v={signature}"), "the broker's own proof");
        }
        answer
    }

    /// A token with its size and nothing around it; the answer to it.
    pub(crate) async fn send_bare_token(&mut self, token: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_i32(token.len() as i32);
        frame.extend_from_slice(token);
        self.stream.write_all(&frame).await.unwrap();
        self.frame().await
    }
}

pub(crate) fn plain(user: &str, secret: &str) -> Vec<u8> {
    format!("\0{user}\0{secret}").into_bytes()
}

/// The client's last message, and what the server must prove itself with.
fn scram_last(
    mechanism: ScramMechanism,
    secret: &str,
    first: &str,
    server_first: &str,
) -> (String, String) {
    let (kdf, mac, hash) = match mechanism {
        ScramMechanism::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
        ScramMechanism::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512),
    };
    let part = |name: &str| {
        server_first.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned()
    };
    let salt = BASE64.decode(part("s=")).unwrap();
    let mut salted = vec![0; hash.output_len()];
    let iterations = part("i=").parse().unwrap();
    pbkdf2::derive(kdf, iterations, &salt, secret.as_bytes(), &mut salted);
    let sign = |key: &[u8], message: &str| {
        hmac::sign(&hmac::Key::new(mac, key), message.as_bytes()).as_ref().to_vec()
    };
    let without_proof = format!("c=biws,r={}", part("r="));
    let message = format!("{first},{server_first},{without_proof}");
    let client_key = sign(&salted, "Client Key");
    let signature = sign(digest::digest(hash, &client_key).as_ref(), &message);
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    let server_signature = sign(&sign(&salted, "Server Key"), &message);
    (format!("{without_proof},p={}", BASE64.encode(proof)), BASE64.encode(server_signature))
}
