//! How connections to the origin are opened.

use hyper_util::client::legacy::connect::HttpConnector;
use std::time::Duration;

/// Opens connections to `http://` origins, and to `https://` ones with the feature `tls`.
#[cfg(not(feature = "tls"))]
pub(crate) type Connector = HttpConnector;

/// Opens connections to `http://` and `https://` origins.
#[cfg(feature = "tls")]
pub(crate) type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

const KEEP_ALIVE: Duration = Duration::from_secs(60);

fn tcp(timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(timeout));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.enforce_http(false);
    connector
}

/// A connector that gives up after `timeout`.
///
/// # Errors
/// None without TLS; the signature is that of the other build.
#[cfg(not(feature = "tls"))]
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn connector(timeout: Duration) -> std::io::Result<Connector> {
    Ok(tcp(timeout))
}

/// A connector that gives up after `timeout` and trusts the operating system's certificate authorities.
///
/// # Errors
/// When these cannot be read.
#[cfg(feature = "tls")]
pub(crate) fn connector(timeout: Duration) -> std::io::Result<Connector> {
    let tls = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp(timeout)))
}
