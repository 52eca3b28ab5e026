//! The broker on the network: accepts connections, runs what must be done in the background, and
//! stops in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::connection::Connection;

/// Pause after a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often logs are looked through for one that has grown much since its last checkpoint.
const CHECKPOINT_CHECK_MS: u64 = 1_000;

/// A running broker. Dropping it without [`Server::shutdown`] is a hard stop: the next start checks
/// the logs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    broker: Arc<Broker>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens the data folder, listens, and serves from then on in the background.
    ///
    /// Errors name what is in the way and how to get past it: an address in use, a folder that
    /// another broker uses or that can't be written.
    pub async fn start(config: BrokerConfig) -> Result<Server> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            let mend = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "; another broker may be running, choose another address with --listen"
                }
                _ => "; choose another address with --listen",
            };
            anyhow::anyhow!("cannot listen on {listen}: {error}{mend}")
        })?;
        let address = listener.local_addr().context("cannot tell the address")?;
        let opening = tokio::task::spawn_blocking(move || Broker::open(config));
        let broker = Arc::new(opening.await.context("opening the data folder panicked")??);
        for repair in broker.repairs() {
            tracing::warn!("{repair}");
        }
        let stop = broker.stopping().clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(Arc::clone(&broker), listener));
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
        tracing::info!(%address, topics = broker.topics().len(), "broker ready");
        Ok(Server { address, broker, stop, tasks })
    }

    /// Where the broker listens; with port 0 in the settings, the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
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

/// Accepts connections while there are permits; ends when the broker stops and all are served.
async fn accept(broker: Arc<Broker>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(broker.config().connections_max));
    let stop = broker.stopping().clone();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = broker.quotas().admit(peer.ip()) else {
                    broker.metrics().connections_refused.add(1);
                    tracing::warn!(%peer, "connection closed: too many from its address");
                    continue;
                };
                let broker = Arc::clone(&broker);
                connections.spawn(async move {
                    serve(&broker, stream, peer).await;
                    drop((permit, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(broker: &Arc<Broker>, stream: TcpStream, peer: SocketAddr) {
    broker.metrics().connections_accepted.add(1);
    match Connection::new(Arc::clone(broker), stream, peer) {
        Ok(connection) => connection.run().await,
        Err(error) => tracing::debug!(%peer, %error, "connection lost"),
    }
    broker.metrics().connections_closed.add(1);
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
