//! The readings of `/metrics`, sent to an OpenTelemetry collector as well if the user names one.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use tokio::runtime::Handle;

use super::exposition::{Family, Kind};
use super::metrics::readings;
use super::site::Site;

/// Readings that are so young are not taken anew: all instruments of one export show one moment.
const YOUNG: Duration = Duration::from_secs(1);
/// How long the last export may take at the end.
const LAST_EXPORT_MAX: Duration = Duration::from_secs(3);

/// `--otlp-endpoint`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TelemetryFlags {
    /// Address of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318, to which the metrics are
    /// sent as well
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = endpoint)]
    pub otlp_endpoint: Option<String>,

    /// How often, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub otlp_interval: u64,
}

fn endpoint(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(text.to_owned()),
        _ => Err("expected an address such as http://127.0.0.1:4318".to_owned()),
    }
}

/// Sends until it is shut down.
pub struct Telemetry {
    provider: SdkMeterProvider,
}

impl Telemetry {
    /// # Errors
    /// No client can be made for the address.
    pub fn start(flags: &TelemetryFlags, site: &Arc<Site>) -> Result<Option<Telemetry>> {
        let Some(endpoint) = &flags.otlp_endpoint else { return Ok(None) };
        let address = format!("{}/v1/metrics", endpoint.trim_end_matches('/'));
        let exporter = MetricExporter::builder().with_http().with_endpoint(address).build();
        let exporter = exporter.context("cannot export to the OpenTelemetry collector")?;
        let exporter = OnRuntime { exporter, runtime: Handle::current() };
        let interval = Duration::from_secs(flags.otlp_interval.max(1));
        let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
        let resource = Resource::builder().with_service_name("gristmill").build();
        let provider =
            SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        instruments(&provider.meter("gristmill"), site);
        tracing::info!(endpoint, "metrics go to the OpenTelemetry collector");
        Ok(Some(Telemetry { provider }))
    }

    /// Sends what was counted last.
    pub async fn shutdown(self) {
        let provider = self.provider;
        let last =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_EXPORT_MAX));
        if let Ok(Err(error)) = last.await {
            tracing::warn!("the last metrics did not reach the OpenTelemetry collector: {error}");
        }
    }
}

/// One instrument for each family, under the names that Prometheus sees.
fn instruments(meter: &Meter, site: &Arc<Site>) {
    let latest = Arc::new(Latest { site: Arc::downgrade(site), readings: Mutex::default() });
    for Family { name, help, kind, .. } in readings(site) {
        let latest = latest.clone();
        let observe = move |instrument: &dyn AsyncInstrument<f64>| latest.observe(name, instrument);
        match kind {
            Kind::Counter => drop(
                meter
                    .f64_observable_counter(name)
                    .with_description(help)
                    .with_callback(observe)
                    .build(),
            ),
            Kind::Gauge => drop(
                meter
                    .f64_observable_gauge(name)
                    .with_description(help)
                    .with_callback(observe)
                    .build(),
            ),
        }
    }
}

/// What was read last, for all instruments.
struct Latest {
    site: Weak<Site>,
    readings: Mutex<Option<(Instant, Vec<Family>)>>,
}

impl Latest {
    fn observe(&self, name: &str, instrument: &dyn AsyncInstrument<f64>) {
        let Some(site) = self.site.upgrade() else { return };
        let mut latest = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_none_or(|(at, _)| at.elapsed() > YOUNG) {
            *latest = Some((Instant::now(), readings(&site)));
        }
        let families = latest.iter().flat_map(|(_, families)| families);
        for sample in families.filter(|family| family.name == name).flat_map(|it| &it.samples) {
            let labels = sample.labels.iter();
            let labels: Vec<_> =
                labels.map(|(name, value)| KeyValue::new(*name, value.clone())).collect();
            instrument.observe(sample.value, &labels);
        }
    }
}

/// The reader has a thread of its own, the exporter's HTTP client wants the runtime: it is entered for each step.
struct OnRuntime {
    exporter: MetricExporter,
    runtime: Handle,
}

impl PushMetricExporter for OnRuntime {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut export = pin!(self.exporter.export(metrics));
        poll_fn(|context| {
            let _entered = self.runtime.enter();
            export.as_mut().poll(context)
        })
        .await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
