//! One request, and all of its answer, timed.

use crate::failure::Failure;
use crate::proxy::connect::{Connector, connector};
use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::{Duration, Instant};

/// What answers of more bytes are is not known.
const LARGEST: usize = 32 << 20;
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Asks whoever is named.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: legacy::Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// From the request to the last byte.
    pub(super) took: Duration,
}

impl Web {
    /// Gives each exchange `timeout` for everything.
    ///
    /// # Errors
    ///
    /// When the operating system's certificate authorities cannot be read.
    pub(super) fn new(timeout: Duration) -> Result<Self, Failure> {
        let mut client = legacy::Client::builder(TokioExecutor::new());
        client.pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        Ok(Self { client: client.build(connector(timeout).map_err(Failure::inconclusive)?), timeout })
    }

    /// # Errors
    ///
    /// In a few words, why there is no complete answer.
    pub(super) async fn get(&self, uri: &Uri) -> Result<Reply, String> {
        self.exchange(Request::get(uri.clone()).body(Full::default())).await
    }

    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(super) async fn exchange(&self, request: http::Result<Request<Full<Bytes>>>) -> Result<Reply, String> {
        let mut request = request.map_err(|error| error.to_string())?;
        let uri = request.uri().clone();
        let name = HeaderValue::from_static(concat!("terrace-check/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, name);
        let started = Instant::now();
        let answer = async {
            let (head, body) = self.client.request(request).await.map_err(|error| root(&error))?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| root(&*error))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body, took: started.elapsed() })
        };
        let late = |_| Err(format!("no complete answer within {}", humantime::format_duration(self.timeout)));
        let answer: Result<_, String> = tokio::time::timeout(self.timeout, answer).await.unwrap_or_else(late);
        answer.map_err(|why| format!("{uri}: {why}"))
    }
}

/// What is at the bottom of it.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
