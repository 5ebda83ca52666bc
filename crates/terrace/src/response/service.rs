use super::answer::from_stored;
use super::body::ResponseBody;
use super::drive::{Job, drive, post, refresh};
use super::extension::{Bypass, Partition};
use super::future::ResponseFuture;
use super::key::{KeyBuf, Target, extra_part};
use super::rules::Rules;
use super::select;
use super::stored::{Cached, CachedResponse};
use crate::Store;
use crate::clock::Instant;
use crate::observe::stats::{BypassReason, CacheStatus as Outcome, Feature, Found as Timed};
use crate::observe::{Namespace, Timing};
use crate::store::{Found, Key, Tag, Tiers};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CACHE_STATUS, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use terrace_policy::{
    Answer, CacheStatus, Plan, Presented, RequestDirectives, Stored, invalidates, is_for_origin_only, is_safe, plan,
};
use tower_service::Service;

/// The middleware: answers from the store what it may, and forwards the rest.
///
/// It is always ready, so that a hit never waits for a busy inner service. A request that must be forwarded takes a
/// clone of the inner service, waits until that clone is ready, and calls it.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What all requests of one layer have in common.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) tiers: Arc<Tiers<Cached>>,
    pub(super) rules: Rules,
    pub(super) namespace: Namespace,
}

impl Shared {
    pub(super) fn new(store: Store, rules: Rules) -> Self {
        let namespace = store.observe().namespace(rules.namespace_name().unwrap_or(store.namespace()));
        let tiers = store.tiers();
        Self { store, tiers, rules, namespace }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl<S> Cache<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for Cache<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = &self.shared;
        if !shared.tiers.flags().is_on(Feature::Cache) {
            return self.forward(request, BypassReason::Disabled);
        }
        let rules = request.extensions().get::<Rules>().unwrap_or(&shared.rules).clone();
        let interest = interest(&request, &rules);
        match interest {
            Interest::Lookup | Interest::StorePost => {}
            Interest::None(reason) => return self.forward(request, reason),
            Interest::Invalidate => return self.forward_unsafe(request),
        }
        let (request, extra) = extra_part(request, &rules);
        let mut key = KeyBuf::new();
        let Some(target) = Target::of(&request, &rules) else {
            return self.forward(request, BypassReason::Request);
        };
        target.encode(&rules, extra.as_deref(), &mut key);
        if key.len() as u64 > shared.tiers.settings().max_key_bytes() {
            return self.forward(request, BypassReason::Request);
        }
        let observe = shared.tiers.observe();
        let sampled = observe.sample();
        let now = shared.tiers.clock().now();
        let hash = shared.tiers.hash(&key);
        if interest == Interest::StorePost {
            return ResponseFuture::drive(post(self.job(request, rules, Key::new(hash, &key), now)));
        }
        let hit = peek(shared, &rules, hash, &key, &request, now);
        if sampled {
            observe.l1_lookup_took(if hit.is_some() { Timed::Hit } else { Timed::Miss }, now);
        }
        if let Some(hit) = hit {
            observe.l1_hit(shared.namespace, sampled.then_some(now));
            let response = hit.response(request.method(), now);
            if hit.is_due_early(&rules, now) {
                refresh(self.job(request, rules, Key::new(hash, &key), now));
            }
            return ResponseFuture::ready(response);
        }
        ResponseFuture::drive(drive(self.job(request, rules, Key::new(hash, &key), now)))
    }
}

impl<S: Clone> Cache<S> {
    /// A clone of the inner service, which has to be made ready before it is called.
    fn inner(&self) -> S {
        self.inner.clone()
    }

    fn job<B>(&self, request: Request<B>, rules: Rules, key: Key, now: Instant) -> Job<S, B> {
        Job { inner: self.inner(), request, shared: Arc::clone(&self.shared), rules, key, now }
    }

    fn forward<B, R>(&self, request: Request<B>, reason: BypassReason) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
        R: Body<Data = Bytes>,
    {
        let observe = self.shared.tiers.observe();
        observe.bypass(reason);
        observe.request(self.shared.namespace, Outcome::Bypass, Timing::Untimed);
        ResponseFuture::forward(self.inner(), request, None)
    }

    fn forward_unsafe<B, R>(&self, request: Request<B>) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
        R: Body<Data = Bytes>,
    {
        let observe = self.shared.tiers.observe();
        observe.bypass(BypassReason::Method);
        observe.request(self.shared.namespace, Outcome::Bypass, Timing::Untimed);
        let after = Unsafe::new(&self.shared, &request);
        ResponseFuture::forward(self.inner(), request, Some(after))
    }
}

/// What a cache has to do with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// It may be answered from the store.
    Lookup,
    /// It is forwarded, and its response may be stored for later `GET`s (RFC 9110 section 9.3.3).
    StorePost,
    /// It is forwarded.
    None(BypassReason),
    /// It is forwarded, and if it succeeds it invalidates what is stored (RFC 9111 section 4.4).
    Invalidate,
}

fn interest<B>(request: &Request<B>, rules: &Rules) -> Interest {
    let (method, headers, extensions) = (request.method(), request.headers(), request.extensions());
    let reads = method == Method::GET || method == Method::HEAD;
    if !reads && !Target::is_question(request) {
        if method == Method::POST && rules.policy().store_post {
            return Interest::StorePost;
        }
        return if is_safe(method) { Interest::None(BypassReason::Method) } else { Interest::Invalidate };
    }
    if extensions.get::<Bypass>().is_some() {
        return Interest::None(BypassReason::Fresh);
    }
    if is_for_origin_only(headers) || headers.contains_key(UPGRADE) || (reads && has_body(headers)) {
        return Interest::None(BypassReason::Request);
    }
    if headers.contains_key(CACHE_CONTROL) && RequestDirectives::from_cache_control(headers).no_store {
        return Interest::None(BypassReason::Request);
    }
    Interest::Lookup
}

/// A body that comes with a `GET` is not part of the key, so the response is not cached either.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|len| len != "0")
}

/// A fresh response in memory that answers the request.
struct Hit {
    found: Found<Cached>,
    answer: Answer,
}

/// The fast path: looks into memory and decides, without waiting for anything.
#[inline]
fn peek<B>(shared: &Shared, rules: &Rules, hash: u64, key: &[u8], request: &Request<B>, now: Instant) -> Option<Hit> {
    let tiers = &shared.tiers;
    let found = tiers.peek(hash, key)?;
    let found = match found.entry.value() {
        Cached::Variants(variants) => {
            let exact =
                select::keys(variants, key, request.headers()).find_map(|key| tiers.peek(tiers.hash(&key), &key));
            exact.or_else(|| select::in_language(tiers, variants, key, request.headers(), rules.policy()))?
        }
        _ => found,
    };
    let Cached::Response(cached) = found.entry.value() else {
        return None;
    };
    let presented = Presented {
        method: request.method(),
        headers: request.headers(),
        resident: found.entry.resident(now),
        expired: found.expired,
        collapsed: false,
        partitioned: request.extensions().get::<Partition>().is_some(),
    };
    match plan(cached, &presented, rules.policy()) {
        Plan::Serve(answer) if cached.facts().freshness().is_fresh(presented.resident) => Some(Hit { found, answer }),
        _ => None,
    }
}

impl Hit {
    fn cached(&self) -> &CachedResponse {
        match self.found.entry.value() {
            Cached::Response(cached) => cached,
            _ => unreachable!("a hit is made of a response"),
        }
    }

    fn response<R: Body<Data = Bytes>>(&self, method: &Method, now: Instant) -> Response<ResponseBody<R>> {
        let (cached, resident) = (self.cached(), self.found.entry.resident(now));
        let freshness = cached.facts().freshness();
        let status = CacheStatus::hit(freshness.remaining(resident), freshness.staleness(resident));
        from_stored(cached, &self.answer, method, resident, &status)
    }

    /// `XFetch`: yes with probability `exp(-left / (beta * cost))`.
    fn is_due_early(&self, rules: &Rules, now: Instant) -> bool {
        let beta = rules.early_refresh_beta();
        if beta == 0.0 {
            return false;
        }
        let cached = self.cached();
        let left = cached.facts().freshness().remaining(self.found.entry.resident(now)).as_secs_f64();
        left < -cached.cost().as_secs_f64() * beta * (1.0 - fastrand::f64()).ln()
    }
}

/// What is left to do when the response to an unsafe request arrives.
pub(super) struct Unsafe {
    shared: Arc<Shared>,
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
}

impl Unsafe {
    pub(super) fn new<B>(shared: &Arc<Shared>, request: &Request<B>) -> Self {
        Self {
            shared: Arc::clone(shared),
            method: request.method().clone(),
            uri: request.uri().clone(),
            host: request.headers().get(http::header::HOST).cloned(),
        }
    }

    pub(super) fn finish<R>(self, response: &mut Response<R>) {
        const METHOD: HeaderValue = HeaderValue::from_static("terrace; fwd=method");
        self.apply(response.status(), response.headers());
        response.headers_mut().append(CACHE_STATUS, METHOD);
    }

    /// Invalidates what the response says. Within this process it has taken effect when this returns.
    pub(super) fn apply(&self, status: StatusCode, response: &HeaderMap) {
        let tags = self.tags(status, response);
        if !tags.is_empty() {
            let _receipt = self.shared.tiers.invalidate(&tags, false);
        }
    }

    /// The tags of the URLs that the response invalidates.
    pub(super) fn tags(&self, status: StatusCode, response: &HeaderMap) -> Vec<Tag> {
        let uris = invalidates(&self.method, &self.target(), status, response);
        let tags = self.shared.tiers.mirror().tags();
        let tag = |uri: &Uri| {
            let host = uri.authority().map_or("", |authority| authority.as_str());
            tags.url(host, uri.path(), uri.query().unwrap_or_default())
        };
        uris.iter().map(tag).collect()
    }

    /// The target URI in absolute form.
    fn target(&self) -> Uri {
        let mut request = Request::new(());
        *request.uri_mut() = self.uri.clone();
        if let Some(host) = &self.host {
            request.headers_mut().insert(http::header::HOST, host.clone());
        }
        Target::of(&request, &self.shared.rules).map_or_else(|| self.uri.clone(), |target| target.uri(&self.uri))
    }
}
