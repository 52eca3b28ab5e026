//! The server: which path leads where, and how long it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection::Door;
use super::failure::Failure;
use super::guard::guard;
use super::history;
use super::site::Site;
use super::telemetry::{Telemetry, TelemetryFlags};
use super::{api, assets, health, metrics, page};

/// A request's body: a record of 1 MB as JSON text, with room for its escapes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// How long a stop waits for answers on their way.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A running server. Dropping it without [`Server::shutdown`] is a hard stop.
pub struct Server {
    pub address: Option<SocketAddr>,
    site: Arc<Site>,
    serving: Option<JoinHandle<()>>,
    reading: JoinHandle<()>,
    telemetry: Option<Telemetry>,
}

impl Server {
    /// Serves from then on in the background, and says where; without a listener it only sends metrics.
    pub fn start(
        listener: Option<TcpListener>,
        site: Site,
        telemetry: &TelemetryFlags,
    ) -> Result<Server> {
        let address = listener.as_ref().map(TcpListener::local_addr).transpose();
        let address = address.context("cannot tell the page's address")?;
        let site = Arc::new(site);
        let telemetry = Telemetry::start(telemetry, &site)?;
        let serving = listener.map(|listener| tokio::spawn(serve(listener, site.clone())));
        let reading = tokio::spawn(read_counters(site.clone()));
        if let Some(address) = address {
            tracing::info!("the page is at http://{address}");
        }
        Ok(Server { address, site, serving, reading, telemetry })
    }

    /// Ends the live streams, sends the answers on their way, and listens no more.
    pub async fn shutdown(mut self) {
        self.site.stop.cancel();
        if let Some(serving) = &mut self.serving
            && timeout(DRAIN_MAX, serving).await.is_err()
        {
            tracing::debug!("some answers of the page were not sent in time");
        }
        if let Some(telemetry) = self.telemetry.take() {
            telemetry.shutdown().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.site.stop.cancel();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
        self.reading.abort();
    }
}

/// Until the site is told to stop.
async fn serve(listener: TcpListener, site: Arc<Site>) {
    let stop = site.stop.clone();
    let serve = axum::serve(Door::new(listener), router(site))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = serve.await {
        tracing::error!(%error, "the page is served no more");
    }
}

fn router(site: Arc<Site>) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(assets::routes())
        .merge(page::routes())
        .nest("/api/v1", api::routes())
        .fallback(|| async { Failure::not_found("there is nothing at this address") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

/// Reads the pipelines' counters at equal distances, for rates and plots.
async fn read_counters(site: Arc<Site>) {
    let mut ticks = interval(history::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = site.stop.cancelled() => return,
        }
        site.history.read(&site.pipelines);
        site.tidy();
    }
}
