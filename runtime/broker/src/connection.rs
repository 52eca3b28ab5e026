//! One client connection: requests in, answers out in the same order.
//!
//! ```text
//!   bytes ─▶ frame ─▶ dispatch ─▶ answers under way ─▶ bytes
//!            (size     (what a     (waits beside one another,
//!             checked)  request     sent in the order of the
//!                       does)       requests)
//! ```
//!
//! Unlike Kafka, the next request is begun while earlier answers are under way: producers that send
//! several requests without waiting thus share one sync of the disk.

mod authentication;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

pub(crate) use self::transport::Transport;

use self::authentication::Authenticated;
use crate::broker::Broker;
use crate::handlers::{self, Answer, LaterAnswer};
use crate::reply::Reply;
use crate::session::Session;

/// Answers under way on one connection; beyond that no request is read. Clients keep 5 to 1,000 in
/// flight.
const UNDER_WAY_MAX: usize = 64;
/// Bytes of room made for reading at a time. A frame that claims to be larger gets more room only
/// as its bytes arrive.
const READ_BYTES: usize = 64 << 10;
/// Room made at once for a frame that is that large or larger; memory that is not written to costs
/// nothing.
const FRAME_BYTES: usize = 1 << 20;
/// Size of a frame's size.
const SIZE_BYTES: usize = 4;
/// How long the goodbye of TLS may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How TLS begins: a handshake record of version 3.x. As a size it would be 352 MiB.
const TLS_GREETING: &[u8] = &[0x16, 0x03];

/// What is there of the next request.
enum Arrival {
    Whole(Bytes),
    /// Not all of it, or nothing.
    Part,
    /// So many bytes, and no memory for them has been given yet.
    TooLargeForNow(usize),
}

/// A connection and the requests on it.
pub(crate) struct Connection {
    broker: Arc<Broker>,
    stream: Transport,
    session: Session,
    /// None on listeners without SASL, and until the client has authenticated.
    authenticated: Option<Authenticated>,
    incoming: BytesMut,
    /// Memory for the request that is arriving, if it is large.
    room: Option<OwnedSemaphorePermit>,
    /// When the request that is arriving must be there.
    due: Option<Instant>,
    under_way: FuturesOrdered<LaterAnswer>,
}

impl Connection {
    pub(crate) fn new(
        broker: Arc<Broker>,
        stream: Transport,
        session: Session,
    ) -> std::io::Result<Connection> {
        stream.socket().set_nodelay(true)?;
        Ok(Connection {
            broker,
            stream,
            session,
            authenticated: None,
            incoming: BytesMut::new(),
            room: None,
            due: None,
            under_way: FuturesOrdered::new(),
        })
    }

    /// Serves until the client goes, misbehaves or is idle for too long, or the broker stops. On a
    /// listener with SASL the client must have authenticated by `deadline`.
    pub(crate) async fn run(mut self, deadline: Instant) {
        let outcome = match self.session.listener.protocol.has_sasl() {
            true => match self.authenticate(deadline).await {
                Ok(true) => self.serve().await,
                Ok(false) => Ok(()),
                Err(error) => Err(error),
            },
            false => self.serve().await,
        };
        if outcome.is_ok() && matches!(self.stream, Transport::Tls(_)) {
            let _nobody_waits = timeout(GOODBYE_MAX, self.stream.shutdown()).await;
        }
        let Err(error) = outcome else { return };
        if error.root_cause().is::<std::io::Error>() {
            let error = format!("{error:#}");
            tracing::debug!(peer = %self.session.peer, error, "connection lost");
            return;
        }
        self.broker.metrics().connections_refused.add(1);
        let Session { peer, listener, client_id: client, .. } = &self.session;
        let (listener, error) = (listener.protocol.name(), format!("{error:#}"));
        tracing::warn!(%peer, listener, client, error, "connection closed");
    }

    async fn serve(&mut self) -> Result<()> {
        let broker = Arc::clone(&self.broker);
        let idle_max = Duration::from_millis(broker.config().idle_ms_max);
        while !broker.stopping().is_cancelled() {
            let pause = self.session.pause.until();
            let mut may_read = self.under_way.len() < UNDER_WAY_MAX && pause.is_none();
            let mut missing_room = None;
            if may_read {
                match self.next_frame()? {
                    Arrival::Whole(frame) => {
                        if !self.begin(frame).await? {
                            return Ok(());
                        }
                        continue;
                    }
                    Arrival::Part => {}
                    Arrival::TooLargeForNow(size) => (may_read, missing_room) = (false, Some(size)),
                }
            }
            let until = self.due.unwrap_or_else(|| Instant::now() + idle_max);
            let idle = self.under_way.is_empty();
            tokio::select! {
                answer = self.under_way.next(), if !idle => {
                    if let Some(Some(reply)) = answer.transpose()? {
                        self.send(reply).await?;
                    }
                }
                room = broker.quotas().request(missing_room.unwrap_or(0)),
                    if missing_room.is_some() => self.room = room,
                read = timeout_at(until, self.stream.read_buf(&mut self.incoming)), if may_read => {
                    match read {
                        Ok(read) => {
                            if read.context("cannot read a request")? == 0 {
                                return Ok(());
                            }
                        }
                        Err(_) if self.due.is_some() => {
                            bail!("a request that was not there whole after {idle_max:?}")
                        }
                        Err(_) if idle => return Ok(()),
                        Err(_) => {}
                    }
                }
                () = sleep_until(pause.unwrap_or(until)), if pause.is_some() => {}
                () = broker.stopping().cancelled() => {}
            }
        }
        self.drain().await
    }

    /// Sends what is under way and reads no more.
    async fn drain(&mut self) -> Result<()> {
        while let Some(answer) = self.under_way.next().await {
            if let Some(reply) = answer? {
                self.send(reply).await?;
            }
        }
        Ok(())
    }

    /// False: the client did not authenticate again, and is gone.
    async fn begin(&mut self, frame: Bytes) -> Result<bool> {
        let metrics = self.broker.metrics();
        metrics.requests.add(1);
        metrics.request_bytes.add((frame.len() + SIZE_BYTES) as u64);
        if let Some(authenticated) = &self.authenticated {
            if authenticated.is_due() && handlers::is_sasl_handshake(&frame) {
                self.drain().await?;
                return self.authenticate_again(frame).await;
            }
            ensure!(!authenticated.is_over(), "the client has not authenticated again in time");
        }
        let answer = handlers::dispatch(&self.broker, &mut self.session, frame)?;
        self.room = None;
        match answer {
            Answer::Now(reply) if self.under_way.is_empty() => self.send(reply).await?,
            Answer::Now(reply) => {
                self.under_way.push_back(Box::pin(async move { Ok(Some(reply)) }));
            }
            Answer::Later(answer) => self.under_way.push_back(answer),
        }
        Ok(true)
    }

    async fn send(&mut self, mut reply: Reply) -> Result<()> {
        self.broker.metrics().response_bytes.add(reply.remaining() as u64);
        let idle_max = Duration::from_millis(self.broker.config().idle_ms_max);
        while reply.has_remaining() {
            let written = timeout(idle_max, self.stream.write_buf(&mut reply)).await;
            let Ok(written) = written else { bail!("an answer of which nobody takes a byte") };
            ensure!(written.context("cannot send an answer")? > 0, "cannot send an answer");
        }
        self.stream.flush().await.context("cannot send an answer")
    }

    fn request_bytes_max(&self) -> usize {
        let bytes_max = self.broker.config().request_bytes_max;
        let unknown = self.session.listener.protocol.has_sasl() && self.authenticated.is_none();
        if unknown { bytes_max.min(authentication::REQUEST_BYTES_MAX) } else { bytes_max }
    }

    /// The next whole frame without its size, if it has arrived; else makes room for more bytes.
    fn next_frame(&mut self) -> Result<Arrival> {
        let (mut missing, mut at_once) = (READ_BYTES, READ_BYTES);
        if let Some(mut size) = self.incoming.get(..SIZE_BYTES) {
            ensure!(
                !size.starts_with(TLS_GREETING),
                "the client speaks TLS, and this listener doesn't"
            );
            let size = size.get_i32();
            let size_max = self.request_bytes_max();
            let Some(size) = usize::try_from(size).ok().filter(|size| *size <= size_max) else {
                bail!("a request of {size} bytes, at most {size_max} are allowed");
            };
            let whole = SIZE_BYTES + size;
            if self.incoming.len() >= whole {
                self.due = None;
                self.incoming.advance(SIZE_BYTES);
                return Ok(Arrival::Whole(self.incoming.split_to(size).freeze()));
            }
            if size > READ_BYTES && self.room.is_none() {
                return Ok(Arrival::TooLargeForNow(size));
            }
            let idle_max = Duration::from_millis(self.broker.config().idle_ms_max);
            self.due.get_or_insert_with(|| Instant::now() + idle_max);
            missing = whole - self.incoming.len();
            at_once = FRAME_BYTES;
        }
        // Doubling: a frame is moved a few times at most, and costs no more than has arrived.
        let room = missing.min(self.incoming.len().max(at_once));
        self.incoming.reserve(room);
        Ok(Arrival::Part)
    }
}
