//! The origin as a tower service: the one thing the cache wraps.
//!
//! Its failures are errors, not responses, so that the cache can answer with a stale response instead
//! (RFC 5861 `stale-if-error`); [`mod@super::front`] turns what is left of them into 502 and 504.

mod error;
mod url;

pub(crate) use error::OriginError;
pub(crate) use url::{OriginUrl, check_scheme};

use super::body::{OriginBody, Progress, RequestBody};
use super::connect::Connector;
use super::headers;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service;

/// How long an unused connection is kept. Node's servers close theirs after 5 s, and a request that cannot be sent again
/// must not meet that moment.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// A handle to the origin and its pooled connections; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client<Connector, RequestBody>,
    url: OriginUrl,
    /// The `Host` to send instead of the client's.
    host: Option<HeaderValue>,
    first_byte: Duration,
    idle: Duration,
}

impl Origin {
    /// An origin at `url`.
    ///
    /// Waits `first_byte` for the head of a response once the origin has the request, and `idle` for each next part of
    /// the body. `rewrite_host` sends the URL's authority in `Host` instead of what the client sent.
    pub(crate) fn new(
        url: OriginUrl,
        connector: Connector,
        first_byte: Duration,
        idle: Duration,
        rewrite_host: bool,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        let host = rewrite_host.then(|| url.host());
        Self(Arc::new(Inner { client, url, host, first_byte, idle }))
    }

    /// Sends a request that asks for another protocol.
    ///
    /// The answer is handed over with hop-by-hop fields and with the hold on the connection that a 101 needs.
    pub(crate) async fn switch(&self, mut request: Request<RequestBody>) -> Result<Response<Incoming>, OriginError> {
        self.0.prepare(&mut request)?;
        let response = self.0.send(request).await;
        response.inspect_err(OriginError::report)
    }

    /// Makes what an origin answered fit to be stored and passed on.
    pub(crate) fn receive(&self, response: Response<Incoming>) -> Response<OriginBody> {
        self.0.receive(response)
    }
}

impl Service<Request<RequestBody>> for Origin {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<OriginBody>, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.fetch(request).await.inspect_err(OriginError::report) })
    }
}

impl Inner {
    async fn fetch(&self, mut request: Request<RequestBody>) -> Result<Response<OriginBody>, OriginError> {
        self.prepare(&mut request)?;
        let response = self.send_twice(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(OriginError::unasked_upgrade());
        }
        Ok(self.receive(response))
    }

    fn prepare(&self, request: &mut Request<RequestBody>) -> Result<(), OriginError> {
        let target = self.url.locate(request.uri())?;
        *request.uri_mut() = target;
        let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
        headers::add_via(request.headers_mut(), version);
        if let Some(host) = &self.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        // hyper sends no body with GET and HEAD unless the head announces one.
        let announced = request.headers().contains_key(CONTENT_LENGTH);
        if !announced && !request.body().is_end_stream() {
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Ok(())
    }

    /// Sends a request, and sends a safe one without body once more when its connection was lost before the answer.
    ///
    /// An origin may close a connection that was idle in the same moment (RFC 9112 9.3.1).
    async fn send_twice(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, OriginError> {
        let Some(again) = copy(&request) else {
            return self.send(request).await;
        };
        match self.send(request).await {
            Err(error) if error.is_lost() => self.send(again).await,
            result => result,
        }
    }

    async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, OriginError> {
        let progress = request.body().progress();
        let mut response = self.client.request(request);
        let mut wait = self.first_byte;
        loop {
            if let Ok(result) = timeout(wait, &mut response).await {
                return result.map_err(OriginError::from);
            }
            wait = remaining(progress.as_deref(), self.first_byte).ok_or_else(OriginError::response_timeout)?;
        }
    }

    fn receive(&self, response: Response<Incoming>) -> Response<OriginBody> {
        let mut response = response.map(|body| OriginBody::new(body, self.idle));
        let version = std::mem::replace(response.version_mut(), Version::HTTP_11);
        headers::clean_response(response.headers_mut());
        headers::add_via(response.headers_mut(), version);
        response
    }
}

fn remaining(progress: Option<&Progress>, limit: Duration) -> Option<Duration> {
    progress.and_then(|upload| upload.remaining(limit))
}

/// A copy of a request that may be sent twice.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let body = request.body().empty_copy().filter(|_| safe)?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
