//! Who comes in by SASL, and who doesn't.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gristmill_broker::{BrokerConfig, Rights, SaslMechanism, SecurityProtocol};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest,
    MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use ring::pbkdf2;
use tokio::io::AsyncWriteExt;

use crate::client::{Client, Running, listen_for, start_with, text};
use crate::sasl::plain;

/// With a PLAINTEXT and a SASL_PLAINTEXT listener.
async fn start(change: impl Fn(&mut BrokerConfig)) -> Running {
    start_with(|config| {
        listen_for(config, &[SecurityProtocol::SaslPlaintext]);
        config.security.failed_authentication_delay_ms = 1;
        change(config);
    })
    .await
}

async fn is_served(client: &mut Client) -> bool {
    let request = MetadataRequest::default().with_topics(None);
    client.ask(request, 12).await.brokers.len() == 1
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("test"))
        .with_client_software_version(text("1"))
}

#[tokio::test]
async fn the_owner_of_a_key_comes_in_by_every_mechanism() {
    let running = start(|_| {}).await;
    let key = running.key(Rights::Cluster);
    for mechanism in SaslMechanism::ALL {
        let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
        for _ in 0..2 {
            assert_eq!(client.ask(versions(), 4).await.error_code, 0);
        }
        let answer = client.log_in(mechanism, &key.key, &key.secret).await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0), "{mechanism}");
        assert!(is_served(&mut client).await);
    }
    assert_eq!(running.server.broker().metrics().authentications_failed.get(), 0);
}

/// librdkafka before 0.11.4 and other old clients.
#[tokio::test]
async fn tokens_may_come_bare_after_the_first_version_of_the_handshake() {
    let running = start(|_| {}).await;
    let key = running.key(Rights::Cluster);
    let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    assert_eq!(client.shake_hands("PLAIN", 0).await, 0);
    assert_eq!(client.send_bare_token(&plain(&key.key, &key.secret)).await, Bytes::new());
    assert!(is_served(&mut client).await);
    let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    client.shake_hands("PLAIN", 0).await;
    client.stream.write_all(b"\0\0\0\x04\0a\0b").await.unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn wrong_secrets_and_unknown_users_are_turned_away_alike() {
    let running = start(|_| {}).await;
    let key = running.key(Rights::Cluster);
    for mechanism in SaslMechanism::ALL {
        let mut messages = Vec::new();
        for (user, secret) in [(key.key.as_str(), "wrong"), ("nobody", &key.secret)] {
            let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
            let answer = client.log_in(mechanism, user, secret).await;
            assert_eq!(answer.error_code, ResponseError::SaslAuthenticationFailed.code());
            messages.push(answer.error_message.unwrap());
            assert!(client.is_closed().await);
        }
        assert_eq!(messages[0], messages[1]);
    }
    assert_eq!(running.server.broker().metrics().authentications_failed.get(), 6);
}

#[tokio::test]
async fn nothing_but_authentication_is_answered_before_it() {
    let running = start(|_| {}).await;
    let connect = || running.connect_to(SecurityProtocol::SaslPlaintext);

    let mut client = connect().await;
    client.send(MetadataRequest::default().with_topics(None), 12).await;
    assert!(client.is_closed().await, "Metadata at the beginning");

    let mut client = connect().await;
    client.ask(versions(), 4).await;
    client.send(SaslAuthenticateRequest::default(), 2).await;
    assert!(client.is_closed().await, "a token without a handshake");

    let mut client = connect().await;
    client.shake_hands("PLAIN", 1).await;
    client.send(MetadataRequest::default().with_topics(None), 12).await;
    assert!(client.is_closed().await, "Metadata instead of a token");

    let mut client = connect().await;
    client.shake_hands("SCRAM-SHA-256", 1).await;
    client.send_token(b"n,,n=user,r=nonce").await;
    client.send(versions(), 4).await;
    assert!(client.is_closed().await, "ApiVersions between two tokens");
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_answered_with_those_that_are() {
    let running =
        start(|config| config.security.sasl_mechanisms = vec![SaslMechanism::Plain]).await;
    for mechanism in ["GSSAPI", "SCRAM-SHA-256", "plain", ""] {
        let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
        let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism));
        let answer = client.ask(request, 1).await;
        assert_eq!(answer.error_code, ResponseError::UnsupportedSaslMechanism.code());
        assert_eq!(answer.mechanisms, [text("PLAIN")]);
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn sasl_at_the_wrong_time_is_answered_and_the_connection_goes_on() {
    let running = start(|_| {}).await;
    let key = running.key(Rights::Cluster);
    for mut client in [running.connect().await, running.log_in(&key).await] {
        let illegal = ResponseError::IllegalSaslState.code();
        assert_eq!(client.shake_hands("PLAIN", 1).await, illegal);
        assert_eq!(client.send_token(b"\0a\0b").await.error_code, illegal);
        assert!(is_served(&mut client).await);
    }
}

#[tokio::test]
async fn hostile_tokens_close_their_connection_and_nothing_else() {
    let running = start(|_| {}).await;
    let long = vec![b'a'; 17 << 10];
    let tokens: [&[u8]; 7] =
        [b"", b"\0", b"\xff\xfe\0a\0b", b"n,,n=a", b"n,,n==,r=a", b"c=biws,r=,p=", &long];
    for mechanism in SaslMechanism::ALL {
        for token in tokens {
            let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
            client.shake_hands(mechanism.name(), 1).await;
            let answer = client.send_token(token).await;
            assert_eq!(answer.error_code, ResponseError::SaslAuthenticationFailed.code());
            assert!(client.is_closed().await);
        }
    }
    // A size that is allowed to those who are known.
    let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    client.stream.write_all(&((512 << 10) + 1i32).to_be_bytes()).await.unwrap();
    assert!(client.is_closed().await);
    let mut known = running.log_in(&running.key(Rights::Cluster)).await;
    assert!(is_served(&mut known).await);
}

#[tokio::test]
async fn a_client_that_takes_too_long_is_turned_away() {
    let running = start(|config| config.security.authentication_ms_max = 50).await;
    let mut silent = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    assert!(silent.is_closed().await);
    let mut undecided = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    undecided.send(versions(), 4).await;
    undecided.frame().await;
    assert!(undecided.is_closed().await);
}

#[tokio::test]
async fn a_deleted_key_opens_no_more_connections() {
    let running = start(|_| {}).await;
    let key = running.key(Rights::Cluster);
    running.log_in(&key).await;
    running.server.broker().api_keys().delete(&key.key).unwrap();
    let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    let answer = client.log_in(SaslMechanism::Plain, &key.key, &key.secret).await;
    assert_eq!(answer.error_code, ResponseError::SaslAuthenticationFailed.code());
}

/// Shakes hands until the broker is ready to authenticate again: a second after the last time.
async fn shake_hands_again(client: &mut Client) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.shake_hands("PLAIN", 1).await != 0 {
        assert!(Instant::now() < deadline, "never allowed to authenticate again");
    }
}

#[tokio::test]
async fn a_session_goes_on_when_its_client_authenticates_again() {
    let running = start(|config| config.security.reauthentication_ms = 60_000).await;
    let key = running.key(Rights::Cluster);
    let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    let answer = client.log_in(SaslMechanism::Plain, &key.key, &key.secret).await;
    assert_eq!(answer.session_lifetime_ms, 60_000);
    shake_hands_again(&mut client).await;
    let answer = client.send_token(&plain(&key.key, &key.secret)).await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 60_000));
    assert!(is_served(&mut client).await);
}

#[tokio::test]
async fn nobody_becomes_somebody_else_by_authenticating_again() {
    let running = start(|config| config.security.reauthentication_ms = 60_000).await;
    let (first, second) = (running.key(Rights::None), running.key(Rights::Cluster));
    let mut client = running.log_in(&first).await;
    shake_hands_again(&mut client).await;
    let answer = client.send_token(&plain(&second.key, &second.secret)).await;
    assert_eq!(answer.error_code, ResponseError::SaslAuthenticationFailed.code());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_session_ends_when_its_client_does_not_authenticate_again() {
    let running = start(|config| config.security.reauthentication_ms = 50).await;
    let mut client = running.log_in(&running.key(Rights::Cluster)).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let request = MetadataRequest::default().with_topics(None);
        client.send(request, 12).await;
        if client.is_closed_before_a_frame().await {
            return;
        }
        assert!(Instant::now() < deadline, "served for ever");
    }
}

fn upsertion(user: &str, secret: &str, iterations: i32) -> ScramCredentialUpsertion {
    let mut salted = [0; 32];
    let rounds = u32::try_from(iterations.max(1)).unwrap().try_into().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, b"salt", secret.as_bytes(), &mut salted);
    ScramCredentialUpsertion::default()
        .with_name(text(user))
        .with_mechanism(1)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::copy_from_slice(&salted))
}

#[tokio::test]
async fn users_are_made_listed_and_removed_by_kafkas_requests() {
    let running = start(|_| {}).await;
    let mut admin = running.connect().await;
    let upsertions = vec![upsertion("app", "pencil", 8192), upsertion("other", "pen", 100)];
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(upsertions);
    let answer = admin.ask(request, 0).await;
    let outcomes: Vec<_> =
        answer.results.iter().map(|it| (it.user.as_str(), it.error_code)).collect();
    let unacceptable = ResponseError::UnacceptableCredential.code();
    assert_eq!(outcomes, [("app", 0), ("other", unacceptable)]);

    let listed = admin.ask(DescribeUserScramCredentialsRequest::default(), 0).await;
    assert_eq!((listed.error_code, listed.results.len()), (0, 1));
    assert_eq!(listed.results[0].user.as_str(), "app");
    let info = &listed.results[0].credential_infos;
    assert_eq!((info.len(), info[0].mechanism, info[0].iterations), (1, 1, 8192));

    for mechanism in &SaslMechanism::ALL[..2] {
        let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
        assert_eq!(client.log_in(*mechanism, "app", "pencil").await.error_code, 0);
    }
    let deletion =
        |user| ScramCredentialDeletion::default().with_name(text(user)).with_mechanism(1);
    let request = AlterUserScramCredentialsRequest::default()
        .with_deletions(vec![deletion("app"), deletion("nobody")]);
    let answer = admin.ask(request, 0).await;
    let codes: Vec<_> = answer.results.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [0, ResponseError::ResourceNotFound.code()]);
    let mut client = running.connect_to(SecurityProtocol::SaslPlaintext).await;
    assert_ne!(client.log_in(SaslMechanism::Plain, "app", "pencil").await.error_code, 0);
}
