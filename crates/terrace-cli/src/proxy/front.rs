//! What happens to a client's request between the socket and the cache, and to the answer on its way back.

use super::access::{AccessLines, Logged};
use super::body::{Body, RequestBody};
use super::cache::{self, CachedOrigin};
use super::headers::{self, Hops};
use super::networks::Networks;
use super::origin::Origin;
use super::reply::{self, Refusal};
use super::server::Peer;
use super::{target, trace, upgrade};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use terrace::Store;
use tower_service::Service as Tower;

/// Everything that all connections share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) cache: CachedOrigin,
    /// The origin without the cache, for connections that switch protocols.
    pub(crate) origin: Origin,
    pub(crate) store: Store,
    pub(crate) purge_allow: Networks,
    pub(crate) trust_forwarded: Networks,
    /// The host of an HTTP/1.0 request that names none.
    pub(crate) default_host: Authority,
    pub(crate) max_request_body: Option<u64>,
    pub(crate) idle_timeout: Duration,
    pub(crate) access: AccessLines,
}

impl Front {
    /// The service of one connection.
    pub(crate) fn client(
        self: &Arc<Self>,
        peer: Peer,
    ) -> impl Service<Request<Incoming>, Response = Response<Logged>, Error = Infallible, Future: Send + 'static>
    + Send
    + 'static {
        let client = Arc::new(Client::new(Arc::clone(self), peer));
        service_fn(move |request| {
            let client = Arc::clone(&client);
            async move { Ok(client.answer(request).await) }
        })
    }
}

/// One connection, with what its address decides for all of its requests.
#[derive(Debug)]
struct Client {
    front: Arc<Front>,
    peer: Peer,
    forwarded_for: HeaderValue,
    trusted: bool,
    may_purge: bool,
}

const CONNECT: Refusal = Refusal::new(StatusCode::NOT_IMPLEMENTED, "this is a reverse proxy, it opens no tunnels");
const PURGE: Refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "PURGE is not allowed from this address");
const TOO_LARGE: Refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the request body is larger than allowed");

impl Client {
    fn new(front: Arc<Front>, peer: Peer) -> Self {
        metrics::gauge!("proxy_connections").increment(1.0);
        let address = peer.address.ip().to_canonical();
        let forwarded_for = HeaderValue::from_str(&address.to_string());
        Self {
            forwarded_for: forwarded_for.expect("an address is visible ASCII"),
            trusted: front.trust_forwarded.contain(address),
            may_purge: front.purge_allow.contain(address),
            front,
            peer,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Logged> {
        let line = self.front.access.begin(&request, &self.forwarded_for);
        let response = self.route(request).await;
        Logged::wrap(line, response.unwrap_or_else(Refusal::into_response))
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::CONNECT {
            return Err(CONNECT);
        }
        let protocol = headers::upgrade(&parts.headers, parts.version);
        let purging = parts.method.as_str() == "PURGE";
        if purging && (!self.may_purge || headers::relayed(&parts.headers)) {
            return Err(PURGE);
        }
        self.normalise(&mut parts)?;
        if purging {
            return Box::pin(self.purge(&parts)).await;
        }
        if headers::count_hop(&parts.method, &mut parts.headers) == Hops::Answer {
            return Ok(trace::final_answer(&parts));
        }
        let body = self.limited(&parts, body)?;
        let request = Request::from_parts(parts, body);
        match protocol {
            None => self.ask_cache(request).await,
            Some(protocol) => Box::pin(self.switch(request, protocol)).await,
        }
    }

    /// From what the client sent to what the cache and the origin should see.
    fn normalise(&self, parts: &mut Parts) -> Result<(), Refusal> {
        headers::clean_request(&mut parts.headers);
        let scheme = headers::scheme(&parts.headers, self.trusted);
        target::resolve(parts, scheme.clone(), &self.front.default_host)?;
        let headers = &mut parts.headers;
        headers::add_forwarded(headers, &self.forwarded_for, self.trusted, &scheme);
        Ok(())
    }

    fn limited(&self, parts: &Parts, body: Incoming) -> Result<RequestBody, Refusal> {
        let limit = self.front.max_request_body;
        let length = parts.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length > limit.or(Some(u64::MAX)) {
            return Err(TOO_LARGE);
        }
        Ok(RequestBody::new(body, limit, self.front.idle_timeout))
    }

    async fn ask_cache(&self, request: Request<RequestBody>) -> Result<Response<Body>, Refusal> {
        let mut cache = self.front.cache.clone();
        poll_fn(|cx| Tower::<Request<RequestBody>>::poll_ready(&mut cache, cx)).await?;
        let response = cache.call(request).await?;
        Ok(response.map(|body| Body::Cached { body }))
    }

    async fn switch(&self, request: Request<RequestBody>, protocol: HeaderValue) -> Result<Response<Body>, Refusal> {
        let slot = Arc::clone(&self.peer.slot);
        let response = upgrade::pass(&self.front.origin, request, protocol, slot).await?;
        Ok(response.map(|body| Body::Direct { body }))
    }

    async fn purge(&self, parts: &Parts) -> Result<Response<Body>, Refusal> {
        let position = cache::purge(&self.front.store, &parts.uri).await?;
        let body = serde_json::json!({ "purged": parts.uri.to_string(), "position": position }).to_string();
        Ok(reply::typed(StatusCode::OK, "application/json", body))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        metrics::gauge!("proxy_connections").decrement(1.0);
    }
}
