//! What `/metrics` says. The one place that knows how the text is made.

use terrace::prometheus::{self, MetricsHandle};

/// Installs the recorder of this process.
///
/// Must come before anything counts: a counter made earlier counts nowhere for ever.
///
/// # Errors
///
/// When there already is a recorder.
pub(crate) fn install() -> Result<MetricsHandle, terrace::Error> {
    let handle = prometheus::install()?;
    metrics::describe_gauge!("proxy_connections", "Client connections that are open");
    metrics::describe_counter!("proxy_origin_errors_total", "Failures of the origin, by RFC 9209 error type");
    metrics::gauge!("proxy_connections").set(0.0);
    Ok(handle)
}

/// The media type and the text, made off the threads that serve requests.
pub(crate) async fn render(handle: &MetricsHandle) -> (&'static str, String) {
    let handle = handle.clone();
    let text = tokio::task::spawn_blocking(move || handle.render()).await;
    (prometheus::CONTENT_TYPE, text.unwrap_or_default())
}
