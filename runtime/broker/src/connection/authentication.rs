//! SASL on a connection: before anything else on the listeners that want it, and again when the
//! session is over (KIP-368).
//!
//! ```text
//!   ApiVersions*  ─▶  SaslHandshake  ─▶  SaslAuthenticate, until it is decided  (v1)
//!                                    ─▶  tokens with a size and nothing else    (v0)
//! ```
//!
//! Any other request closes the connection, as in Kafka. One request at a time: the next is read
//! when the last is answered.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Arrival, Connection};
use crate::auth::Principal;
use crate::auth::sasl::{Exchange, Failure, SaslMechanism, Step};
use crate::broker::Broker;
use crate::handlers::{self, Answer, Call, Read};
use crate::reply::Reply;

/// Bytes of a request before the client has authenticated (`sasl.server.max.receive.size`).
pub(super) const REQUEST_BYTES_MAX: usize = 512 << 10;
/// A client may authenticate again that long after it did (KIP-368).
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A client that has authenticated by SASL.
pub(super) struct Authenticated {
    mechanism: SaslMechanism,
    at: Instant,
    /// When it must have authenticated again.
    until: Option<Instant>,
}

impl Authenticated {
    /// The client may, and by and by must, authenticate again.
    pub(super) fn is_due(&self) -> bool {
        self.until.is_some() && self.at.elapsed() >= AGAIN_AFTER
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// What SaslHandshake led to.
struct Agreed {
    mechanism: SaslMechanism,
    /// Tokens come in SaslAuthenticate requests; else bare.
    in_requests: bool,
}

impl Connection {
    /// Authenticates a new client. False: it was turned away, or it went.
    pub(super) async fn authenticate(&mut self, deadline: Instant) -> Result<bool> {
        let broker = Arc::clone(&self.broker);
        let exchange = async {
            match self.agree_on_mechanism().await? {
                Some(agreed) => self.exchange_tokens(agreed).await,
                None => Ok(false),
            }
        };
        in_time(&broker, deadline, exchange).await
    }

    /// Authenticates a client once more, beginning with this SaslHandshake.
    pub(super) async fn authenticate_again(&mut self, handshake: Bytes) -> Result<bool> {
        let broker = Arc::clone(&self.broker);
        let allowed_ms = broker.config().security.authentication_ms_max;
        let deadline = Instant::now() + Duration::from_millis(allowed_ms);
        let again = async {
            let Read::Call(call) = handlers::read(&self.broker, &mut self.session, handshake)?
            else {
                bail!("a malformed SaslHandshake");
            };
            let agreed = self.answer_handshake(call).await?;
            self.exchange_tokens(agreed).await
        };
        in_time(&broker, deadline, again).await
    }

    async fn agree_on_mechanism(&mut self) -> Result<Option<Agreed>> {
        loop {
            let Some(frame) = self.read_frame().await? else { return Ok(None) };
            let call = match handlers::read(&self.broker, &mut self.session, frame)? {
                Read::Call(call) => call,
                Read::Answered(reply) => {
                    self.send(reply).await?;
                    continue;
                }
            };
            match call.api() {
                ApiKey::ApiVersions => match call.start()? {
                    Answer::Now(reply) => self.send(reply).await?,
                    Answer::Later(_) => bail!("ApiVersions is answered at once"),
                },
                ApiKey::SaslHandshake => return self.answer_handshake(call).await.map(Some),
                other => {
                    let protocol = self.session.listener.protocol;
                    bail!(
                        "{other:?} before authentication; the client must set \
                         security.protocol={protocol}"
                    )
                }
            }
        }
    }

    async fn answer_handshake(&mut self, mut call: Call) -> Result<Agreed> {
        let wanted = call.decode::<SaslHandshakeRequest>()?.mechanism;
        let offered = self.broker.config().security.sasl_mechanisms.clone();
        let found = offered.iter().find(|mechanism| mechanism.name() == wanted.as_str()).copied();
        let error = found.map_or(ResponseError::UnsupportedSaslMechanism.code(), |_| 0);
        let names = offered.iter().map(|it| StrBytes::from_static_str(it.name())).collect();
        let response =
            SaslHandshakeResponse::default().with_error_code(error).with_mechanisms(names);
        let in_requests = call.version() >= 1;
        self.send(call.answer(response)?).await?;
        let Some(mechanism) = found else {
            bail!("the client wants to authenticate by {:?}, which is not offered", &*wanted);
        };
        if let Some(before) = &self.authenticated {
            ensure!(before.mechanism == mechanism, "another mechanism than the first time");
        }
        Ok(Agreed { mechanism, in_requests })
    }

    async fn exchange_tokens(&mut self, agreed: Agreed) -> Result<bool> {
        let mut exchange = Exchange::new(agreed.mechanism);
        loop {
            let Some(frame) = self.read_frame().await? else { return Ok(false) };
            let (token, call) = match agreed.in_requests {
                true => self.token_in_request(frame).map(|(token, call)| (token, Some(call)))?,
                false => (frame, None),
            };
            // Hashing takes milliseconds: not on a thread that serves others.
            let credentials = self.broker.credentials().clone();
            let working = tokio::task::spawn_blocking(move || {
                let step = exchange.step(&credentials, &token);
                (exchange, step)
            });
            let (back, step) = working.await.context("authentication panicked")?;
            exchange = back;
            match step.and_then(|step| self.check_identity(step)) {
                Ok(Step::Continue(token)) => self.send_token(call, token, 0).await?,
                Ok(Step::Done { user, token }) => {
                    let lifetime_ms = self.admit(&user, agreed.mechanism);
                    self.send_token(call, token, lifetime_ms).await?;
                    return Ok(true);
                }
                Err(failure) => {
                    self.turn_away(call, agreed.mechanism, failure).await?;
                    return Ok(false);
                }
            }
        }
    }

    fn token_in_request(&mut self, frame: Bytes) -> Result<(Bytes, Call)> {
        match handlers::read(&self.broker, &mut self.session, frame)? {
            Read::Call(mut call) if call.api() == ApiKey::SaslAuthenticate => {
                Ok((call.decode::<SaslAuthenticateRequest>()?.auth_bytes, call))
            }
            Read::Call(call) => bail!("{:?} instead of SaslAuthenticate", call.api()),
            Read::Answered(_) => bail!("ApiVersions instead of SaslAuthenticate"),
        }
    }

    /// Who authenticates again must be the same as before.
    fn check_identity(&self, step: Step) -> Result<Step, Failure> {
        let before = self.session.principal.name();
        match &step {
            Step::Done { user, .. } if self.authenticated.is_some() && user != before => {
                let error = anyhow!("the connection belongs to {before:?}");
                Err(Failure { user: Some(user.clone()), error })
            }
            _ => Ok(step),
        }
    }

    /// Notes who the client is. Returns how long that holds in ms, 0 for ever.
    fn admit(&mut self, user: &str, mechanism: SaslMechanism) -> i64 {
        let lifetime_ms = self.broker.config().security.reauthentication_ms;
        let at = Instant::now();
        let until = (lifetime_ms > 0).then(|| at + Duration::from_millis(lifetime_ms));
        self.authenticated = Some(Authenticated { mechanism, at, until });
        self.session.principal = Principal::user(user);
        tracing::debug!(peer = %self.session.peer, user, %mechanism, "authenticated");
        i64::try_from(lifetime_ms).unwrap_or(i64::MAX)
    }

    async fn send_token(
        &mut self,
        call: Option<Call>,
        token: Vec<u8>,
        lifetime_ms: i64,
    ) -> Result<()> {
        let Some(call) = call else {
            return self.send(Reply::bare(token.into())?).await;
        };
        // Version 0 has no room for the lifetime.
        let lifetime_ms = if call.version() >= 1 { lifetime_ms } else { 0 };
        let response = SaslAuthenticateResponse::default()
            .with_error_message(None)
            .with_auth_bytes(token.into())
            .with_session_lifetime_ms(lifetime_ms);
        self.send(call.answer(response)?).await
    }

    /// Lets the client wait, so that guessing takes its time, and tells it that it failed but not
    /// why. A client with bare tokens sees the connection close.
    async fn turn_away(
        &mut self,
        call: Option<Call>,
        mechanism: SaslMechanism,
        failure: Failure,
    ) -> Result<()> {
        self.broker.metrics().authentications_failed.add(1);
        let (peer, user) = (self.session.peer, failure.user.unwrap_or_default());
        let error = format!("{:#}", failure.error);
        tracing::warn!(%peer, ?user, %mechanism, error, "authentication failed");
        let delay_ms = self.broker.config().security.failed_authentication_delay_ms;
        sleep(Duration::from_millis(delay_ms)).await;
        let Some(call) = call else { return Ok(()) };
        let message = format!("Authentication failed: invalid credentials ({mechanism})");
        let response = SaslAuthenticateResponse::default()
            .with_error_code(ResponseError::SaslAuthenticationFailed.code())
            .with_error_message(Some(StrBytes::from_string(message)));
        self.send(call.answer(response)?).await
    }

    /// The next frame. None: the client went.
    async fn read_frame(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.next_frame()? {
                Arrival::Whole(frame) => {
                    self.room = None;
                    return Ok(Some(frame));
                }
                Arrival::Part => {}
                Arrival::TooLargeForNow(size) => {
                    self.room = self.broker.quotas().request(size).await;
                    continue;
                }
            }
            let read = self.stream.read_buf(&mut self.incoming).await;
            if read.context("cannot read a request")? == 0 {
                return Ok(None);
            }
        }
    }
}

/// The outcome of an exchange; an error after the deadline, and false when the broker stops.
async fn in_time(
    broker: &Broker,
    deadline: Instant,
    exchange: impl Future<Output = Result<bool>>,
) -> Result<bool> {
    tokio::select! {
        outcome = timeout_at(deadline, exchange) => outcome.unwrap_or_else(|_| {
            broker.metrics().authentications_failed.add(1);
            Err(anyhow!("the client has not authenticated in time"))
        }),
        () = broker.stopping().cancelled() => Ok(false),
    }
}
