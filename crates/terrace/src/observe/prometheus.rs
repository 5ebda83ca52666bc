//! The metrics of all stores in this process as a Prometheus scrape target.
//!
//! ```no_run
//! # fn main() -> Result<(), terrace::Error> {
//! let metrics = terrace::prometheus::install()?;
//! // in the handler of GET /metrics, inside `tokio::task::spawn_blocking`:
//! let (content_type, body) = (terrace::prometheus::CONTENT_TYPE, metrics.render());
//! # Ok(()) }
//! ```

use super::buckets::request_seconds;
use super::registry::Registry;
use super::{histogram, publish};
use crate::error::Error;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use std::fmt;
use std::sync::Arc;

/// The media type of what [`MetricsHandle::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders the metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle {
    render: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Installs a Prometheus exporter as the process's `metrics` recorder and keeps it small: its samples are drained
/// every five seconds, whether anybody scrapes or not. What the application itself records through `metrics` is in
/// the same text; its histograms whose name ends in `_seconds` have buckets from 10 µs to 5 s.
///
/// # Errors
///
/// When the process already has a recorder (then [`attach`](MetricsHandle::attach) to it), or a thread can't be
/// started.
pub fn install() -> Result<MetricsHandle, Error> {
    let text = "the Prometheus exporter could not be installed";
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &request_seconds());
    let builder = builder.map_err(|error| Error::metrics(text, error))?;
    let exporter = builder.install_recorder().map_err(|error| Error::metrics(text, error))?;
    publish::keep_up(exporter.clone());
    MetricsHandle::attach(move || exporter.render())
}

impl MetricsHandle {
    /// For a process that already has an exporter: `render` returns its text, as `move || handle.render()` does with a
    /// `PrometheusHandle`. Its upkeep stays the caller's business.
    ///
    /// # Errors
    ///
    /// When a thread can't be started.
    pub fn attach(render: impl Fn() -> String + Send + Sync + 'static) -> Result<Self, Error> {
        publish::publish_metrics()?;
        Ok(Self::over(render))
    }

    pub(super) fn over(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { render: Arc::new(render) }
    }

    /// All metrics of this moment, in the text format. Takes some milliseconds without waiting for anything: call it
    /// inside `spawn_blocking`.
    pub fn render(&self) -> String {
        self.render_registry(&Registry::global())
    }

    pub(super) fn render_registry(&self, registry: &Registry) -> String {
        let totals = registry.totals();
        publish::publish(&totals);
        let mut text = (self.render)();
        histogram::render(&totals, &mut text).expect("a String takes any text");
        text
    }
}

impl fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsHandle").finish_non_exhaustive()
    }
}
