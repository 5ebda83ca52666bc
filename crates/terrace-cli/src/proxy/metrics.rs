//! What `/metrics` says. The one place that knows how the text is made.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// The recorder's reading side.
#[derive(Clone, Debug)]
pub(crate) struct Exporter(PrometheusHandle);

/// Installs the recorder of this process and keeps it small.
///
/// Must come before anything counts: a counter made earlier counts nowhere for ever.
///
/// # Errors
/// When there already is a recorder.
pub(crate) fn install() -> Result<Exporter, BuildError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    metrics::describe_gauge!("proxy_connections", "Client connections that are open");
    metrics::describe_counter!(
        "proxy_origin_errors_total",
        "Failures of the origin, by RFC 9209 error type"
    );
    metrics::gauge!("proxy_connections").set(0.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(Exporter(handle))
}

/// The Prometheus text format, off the threads that serve requests.
pub(crate) async fn render(exporter: &Exporter) -> String {
    let handle = exporter.0.clone();
    let text = tokio::task::spawn_blocking(move || handle.render()).await;
    text.unwrap_or_default()
}
