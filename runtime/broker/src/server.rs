//! The broker on the network: accepts connections, runs what must be done in the background, and
//! stops in good order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::auth::tls::{self, Tls};
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::connection::{Connection, Transport};
use crate::disk::OsDisk;
use crate::listener::{self, Listener, SecurityProtocol};
use crate::session::Session;

/// Pause after a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The first byte of TLS: a record of the handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// How often logs are looked through for one that has grown much since its last checkpoint.
const CHECKPOINT_CHECK_MS: u64 = 1_000;

/// A running broker. Dropping it without [`Server::shutdown`] is a hard stop: the next start checks
/// the logs.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(SecurityProtocol, SocketAddr)>,
    tls: Option<Tls>,
    broker: Arc<Broker>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens the data folder, listens, and serves from then on in the background.
    ///
    /// Errors name what is in the way and how to get past it: an address in use, a listener that
    /// would let everybody in, a folder that another broker uses or that can't be written, a
    /// certificate that doesn't do.
    pub async fn start(config: BrokerConfig) -> Result<Server> {
        listener::check(&config)?;
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            sockets.push(bind(listener).await?);
        }
        let opening = tokio::task::spawn_blocking(move || open(config));
        let (broker, tls) = opening.await.context("opening the data folder panicked")??;
        for repair in broker.repairs() {
            tracing::warn!("{repair}");
        }
        let stop = broker.stopping().clone();
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        // Every listener holds one permit while it waits.
        let more = sockets.len() - 1;
        let permits = Arc::new(Semaphore::new(broker.config().connections_max + more));
        for (listener, socket) in broker.config().listeners.iter().zip(sockets) {
            let address = socket.local_addr().context("cannot tell the address")?;
            tracing::info!(protocol = %listener.protocol, %address, "listening");
            if listener.shows_secrets(&broker.config().security.sasl_mechanisms) {
                tracing::warn!(
                    %address,
                    "PLAIN without TLS: API secrets can be read on the network; listen for SASL_SSL"
                );
            }
            addresses.push((listener.protocol, address));
            let door = Door {
                broker: Arc::clone(&broker),
                listener: Arc::new(listener.clone()),
                tls: tls.clone(),
            };
            tasks.spawn(accept(Arc::new(door), socket, Arc::clone(&permits)));
        }
        tasks.spawn({
            let (broker, stop) = (Arc::clone(&broker), stop.clone());
            async move { broker.groups().keep_time(stop).await }
        });
        tasks.spawn({
            let (transactions, stop) = (Arc::clone(broker.transactions()), stop.clone());
            async move { transactions.keep_time(stop).await }
        });
        tasks.spawn(maintain(Arc::clone(&broker)));
        tasks.spawn(at_intervals(Arc::clone(&broker), CHECKPOINT_CHECK_MS, Broker::checkpoint));
        let compaction_check_ms = broker.config().compaction_check_ms;
        tasks.spawn(at_intervals(Arc::clone(&broker), compaction_check_ms, Broker::compact));
        tracing::info!(topics = broker.topics().len(), "broker ready");
        Ok(Server { addresses, tls, broker, stop, tasks })
    }

    /// Where the first listener is; with port 0 in the settings, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0].1
    }

    /// Where each listener is, in the order of the settings.
    pub fn addresses(&self) -> &[(SecurityProtocol, SocketAddr)] {
        &self.addresses
    }

    /// The PEM file of the authority that clients must trust (`ssl.ca.location`) while the broker
    /// shows a development certificate.
    pub fn development_ca(&self) -> Option<&Path> {
        self.tls.as_ref().and_then(|tls| tls.development_ca.as_deref())
    }

    /// The broker itself, for work in the same process.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Takes no more requests, sends the answers under way, syncs and closes the logs.
    pub async fn shutdown(mut self) -> Result<()> {
        self.stop.cancel();
        self.broker.groups().close();
        let drain = Duration::from_millis(self.broker.config().drain_ms_max);
        let drained = timeout(drain, async { while self.tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("some answers were not sent in time");
            self.tasks.shutdown().await;
        }
        let broker = Arc::clone(&self.broker);
        let closing: JoinHandle<Result<()>> = tokio::task::spawn_blocking(move || broker.close());
        closing.await.context("closing the data folder panicked")?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn bind(listener: &Listener) -> Result<TcpListener> {
    let address = listener.address;
    TcpListener::bind(address).await.map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another broker may be running, choose another address with --listen"
            }
            _ => "; choose another address with --listen",
        };
        anyhow::anyhow!("cannot listen on {address}: {error}{mend}")
    })
}

/// Opens the data folder and, if a listener needs it, what TLS needs. Blocks.
fn open(config: BrokerConfig) -> Result<(Arc<Broker>, Option<Tls>)> {
    let broker = Arc::new(Broker::open(config)?);
    let config = broker.config();
    if !config.listeners.iter().any(|listener| listener.protocol.has_tls()) {
        return Ok((broker, None));
    }
    let names = names(&config.listeners);
    match Tls::open(&config.security.tls, &OsDisk, broker.clock(), &config.data_dir, &names) {
        Ok(tls) => Ok((broker, Some(tls))),
        Err(error) => {
            broker.close()?;
            Err(error)
        }
    }
}

/// The names under which clients find listeners with TLS.
fn names(listeners: &[Listener]) -> Vec<String> {
    let with_tls = listeners.iter().filter(|listener| listener.protocol.has_tls());
    let names = with_tls.flat_map(|listener| {
        let address = listener.address.ip();
        let address = (!address.is_unspecified()).then(|| address.to_string());
        address.into_iter().chain(listener.advertised.as_ref().map(|(host, _)| host.clone()))
    });
    names.collect()
}

/// What a new connection of one listener needs.
struct Door {
    broker: Arc<Broker>,
    listener: Arc<Listener>,
    tls: Option<Tls>,
}

/// Accepts connections while there are permits; ends when the broker stops and all are served.
async fn accept(door: Arc<Door>, socket: TcpListener, permits: Arc<Semaphore>) {
    let stop = door.broker.stopping().clone();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = door.broker.quotas().admit(peer.ip()) else {
                    door.broker.metrics().connections_refused.add(1);
                    tracing::warn!(%peer, "connection closed: too many from its address");
                    continue;
                };
                let door = Arc::clone(&door);
                connections.spawn(async move {
                    serve(&door, stream, peer).await;
                    drop((permit, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn serve(door: &Door, stream: TcpStream, peer: SocketAddr) {
    let metrics = door.broker.metrics();
    metrics.connections_accepted.add(1);
    let allowed_ms = door.broker.config().security.authentication_ms_max;
    let deadline = Instant::now() + Duration::from_millis(allowed_ms);
    match door.open(stream, peer, deadline).await {
        Ok(Some(connection)) => connection.run(deadline).await,
        Ok(None) => {}
        Err(error) => {
            metrics.connections_refused.add(1);
            metrics.authentications_failed.add(1);
            let (listener, error) = (door.listener.protocol.name(), format!("{error:#}"));
            tracing::warn!(%peer, listener, error, "connection closed");
        }
    }
    metrics.connections_closed.add(1);
}

impl Door {
    /// Greets a client, by TLS if the listener speaks it. None: the client went.
    async fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Result<Option<Connection>> {
        let Ok(local) = stream.local_addr() else { return Ok(None) };
        let (broker, listener) = (Arc::clone(&self.broker), Arc::clone(&self.listener));
        let protocol = listener.protocol;
        let mut session = Session::new(peer, local, listener, Arc::clone(broker.authorizer()));
        let transport = match &self.tls {
            Some(tls) if protocol.has_tls() => {
                let greeting = self.greet(tls, stream);
                let stopping = self.broker.stopping();
                let greeted = tokio::select! {
                    greeted = timeout_at(deadline, greeting) => greeted,
                    () = stopping.cancelled() => return Ok(None),
                };
                let Some(transport) = greeted.context("TLS was not agreed on in time")?? else {
                    return Ok(None);
                };
                transport
            }
            _ => Transport::Plain(stream),
        };
        if let (Transport::Tls(stream), SecurityProtocol::Ssl) = (&transport, protocol) {
            session.principal = tls::principal(stream.get_ref().1.peer_certificates())?;
        }
        Ok(Connection::new(broker, transport, session).ok())
    }

    async fn greet(&self, tls: &Tls, stream: TcpStream) -> Result<Option<Transport>> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(1) if first == [TLS_HANDSHAKE] => {}
            Ok(1) => bail!(
                "the client does not speak TLS; it must set security.protocol={}",
                self.listener.protocol
            ),
            _ => return Ok(None),
        }
        let acceptor = tls.acceptor(self.listener.protocol.has_sasl());
        let stream = acceptor.accept(stream).await.context("TLS was not agreed on")?;
        Ok(Some(Transport::Tls(Box::new(stream))))
    }
}

/// Does work that blocks, at once and then at intervals.
async fn at_intervals(broker: Arc<Broker>, interval_ms: u64, work: fn(&Broker)) {
    let mut ticks = interval(Duration::from_millis(interval_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = broker.stopping().cancelled() => return,
        }
        let working = Arc::clone(&broker);
        if let Err(error) = tokio::task::spawn_blocking(move || work(&working)).await {
            tracing::error!(%error, "work in the background stopped half-way");
        }
    }
}

/// Applies retention, expires committed offsets and transactional ids, and keeps their logs short.
async fn maintain(broker: Arc<Broker>) {
    let mut ticks = interval(Duration::from_millis(broker.config().retention_check_ms.max(1)));
    ticks.tick().await; // the first is at once
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = broker.stopping().cancelled() => return,
        }
        let working = Arc::clone(&broker);
        if let Err(error) = tokio::task::spawn_blocking(move || working.apply_retention()).await {
            tracing::error!(%error, "retention stopped half-way");
        }
        if let Err(error) = broker.groups().rewrite_if_overgrown().await {
            tracing::warn!(error = format!("{error:#}"), "committed offsets were not rewritten");
        }
        if let Err(error) = broker.transactions().rewrite_if_overgrown().await {
            tracing::warn!(error = format!("{error:#}"), "transactions were not rewritten");
        }
    }
}
