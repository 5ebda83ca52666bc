//! Requests, and what comes back.

use crate::ledger::Source;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Asks the origin itself.
pub(crate) type Web = Client<HttpConnector, Empty<Bytes>>;

pub(crate) fn web() -> Web {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// A request with further header fields.
pub(crate) fn request(method: Method, url: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri(url);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Empty::new()).expect("a request")
}

/// An answer that was read.
#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub(crate) version: u64,
    pub(crate) source: Source,
}

/// `None` if there was no answer, or none that makes sense.
pub(crate) async fn read<B, E>(answer: Result<http::Response<B>, E>) -> Option<Read>
where
    B: http_body_util::BodyExt<Data = Bytes>,
{
    let answer = answer.ok().filter(|answer| answer.status().is_success())?;
    let status = answer.headers().get("cache-status").and_then(|status| status.to_str().ok()).unwrap_or_default();
    let source = Source::of(status);
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    let version = std::str::from_utf8(&body).ok()?.parse().ok()?;
    Some(Read { version, source })
}
