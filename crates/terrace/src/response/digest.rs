//! Request bodies as part of the key.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, Request};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// A digest of a request's body and of the fields that say how to read it. Only [`BodyDigestLayer`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BodyDigest([u8; 32]);

impl BodyDigest {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(headers: &HeaderMap, frames: &VecDeque<Frame<Bytes>>) -> Self {
        let mut hash = Sha256::new();
        for name in [CONTENT_TYPE, CONTENT_ENCODING] {
            for value in headers.get_all(name) {
                hash.update((value.len() as u64).to_be_bytes());
                hash.update(value.as_bytes());
            }
            hash.update([0xff; 8]);
        }
        frames.iter().filter_map(Frame::data_ref).for_each(|data| hash.update(data));
        Self(hash.finalize().into())
    }
}

/// Makes `POST` requests cacheable by what they carry: an unchanged body hits, a changed one never does.
///
/// Put it around a [`CacheLayer`](crate::CacheLayer), and only on routes whose `POST` is a question and changes
/// nothing, such as a validation or a decision service. It reads the body, up to a limit, before the cache is looked into,
/// and the cache then treats the response like that of a `GET`. A longer body is passed on as it comes, uncached.
///
/// The body counts byte by byte, with `Content-Type` and `Content-Encoding`; what else the answer depends on belongs into
/// [`Rules::version`](crate::Rules::version) or [`Rules::key_with`](crate::Rules::key_with).
///
/// ```
/// # use axum::{Router, routing::post};
/// # use std::time::Duration;
/// use terrace::{BodyDigestLayer, CacheLayer, Rules, Store};
/// use tower::ServiceBuilder;
///
/// let cache = CacheLayer::new(Store::memory()).rules(Rules::new().default_ttl(Duration::from_secs(300)));
/// let app: Router = Router::new()
///     .route("/validate", post(async || "valid"))
///     .layer(ServiceBuilder::new().layer(BodyDigestLayer::new()).layer(cache));
/// ```
#[derive(Clone, Debug)]
pub struct BodyDigestLayer {
    limit: usize,
}

impl BodyDigestLayer {
    /// Reads bodies of at most 64 KiB.
    #[expect(clippy::new_without_default, reason = "it does something, and should be asked to")]
    pub fn new() -> Self {
        Self { limit: 64 * 1024 }
    }

    /// Reads bodies of at most this many bytes, each held in memory until the inner service has read it.
    #[must_use]
    pub fn limit(self, bytes: usize) -> Self {
        Self { limit: bytes }
    }
}

impl<S> Layer<S> for BodyDigestLayer {
    type Service = BodyDigestService<S>;

    fn layer(&self, inner: S) -> BodyDigestService<S> {
        BodyDigestService { inner, limit: self.limit }
    }
}

/// The middleware of [`BodyDigestLayer`].
#[derive(Clone, Debug)]
pub struct BodyDigestService<S> {
    inner: S,
    limit: usize,
}

impl<S, B> Service<Request<B>> for BodyDigestService<S>
where
    S: Service<Request<Replay<B>>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut inner, limit) = (self.inner.clone(), self.limit);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let mut body = Replay::new(body);
            if parts.method == Method::POST && body.read_ahead(limit).await {
                parts.extensions.insert(BodyDigest::of(&parts.headers, &body.read));
            }
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(Request::from_parts(parts, body)).await
        })
    }
}

/// A request body of which a part may have been read already; it is read again first.
#[derive(Debug)]
pub struct Replay<B: Body> {
    read: VecDeque<Frame<Bytes>>,
    failure: Option<B::Error>,
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body<Data = Bytes>> Replay<B> {
    fn new(body: B) -> Self {
        Self { read: VecDeque::new(), failure: None, rest: Some(Box::pin(body)) }
    }

    /// Reads on until the end, and says whether that was reached within `limit` bytes and without an error.
    async fn read_ahead(&mut self, limit: usize) -> bool {
        let mut len = 0;
        while let Some(rest) = &mut self.rest {
            match poll_fn(|cx| rest.as_mut().poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    len += frame.data_ref().map_or(0, Bytes::len);
                    self.read.push_back(frame);
                    if len > limit {
                        return false;
                    }
                }
                Some(Err(error)) => {
                    self.failure = Some(error);
                    return false;
                }
                None => self.rest = None,
            }
        }
        true
    }
}

impl<B: Body<Data = Bytes>> Body for Replay<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let body = self.get_mut();
        if let Some(frame) = body.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = body.failure.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match &mut body.rest {
            Some(rest) => rest.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.failure.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.read.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(read.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}
