//! TLS, made once: reading the system's roots takes milliseconds of blocking I/O.

use crate::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Trusts whom the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` say.
    pub(super) fn with_system_roots() -> Result<Self, Error> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            let text =
                "TLS to Redis needs certificates to trust, but the system has none (SSL_CERT_FILE may name them)";
            return Err(Error::config(format!("{text}{why}")));
        }
        Self::with_roots(roots)
    }

    pub(super) fn with_roots(roots: RootCertStore) -> Result<Self, Error> {
        // Named here, so that it does not depend on what else in the program uses rustls.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| Error::config(format!("TLS to Redis: {error}")))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) async fn wrap(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}
