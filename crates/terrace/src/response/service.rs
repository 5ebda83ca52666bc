use super::answer::{from_head, from_stored};
use super::body::ResponseBody;
use super::call::Call;
use super::drive::{Job, drive, post, refresh};
use super::extension::Bypass;
use super::future::ResponseFuture;
use super::hot::Hot;
use super::key::{Target, extra_part, hosts, is_partitioned, is_read, name, original_uri, significant};
use super::rules::Rules;
use super::sample::compare;
use super::select;
use super::stored::{Cached, CachedResponse};
use crate::clock::Instant;
use crate::observe::stats::{BypassReason, CacheStatus as Outcome, Feature, Found as Timed, Tier};
use crate::observe::{Namespace, PendingRequest, SAMPLE, Timing};
use crate::store::refresh::{Refreshes, is_due};
use crate::store::{Entry, Glance, Key, Receipt, Tag, Ticket, Tiers};
use crate::{Authorized, Store};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, LOCATION, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use terrace_policy::{
    Answer, CacheStatus, Demands, Plan, Presented, RequestDirectives, Stored, invalidates, is_safe, is_success, plan,
};
use tower_service::Service;

/// The middleware: answers from the store what it may, and forwards the rest.
///
/// It is always ready, so that a hit never waits for a busy inner service. A request that must be forwarded waits itself
/// until the inner service, or a clone of it, is ready.
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
    hot: Hot,
    /// The turn to compare a hit with a fresh answer.
    pub(super) samples: Refreshes,
    /// Whether it was said that the layer is in the wrong place.
    pub(super) misplaced: AtomicBool,
}

impl Shared {
    pub(super) fn new(store: Store, rules: Rules) -> Self {
        let namespace = store.observe().namespace(rules.namespace_name().unwrap_or(store.namespace()));
        let tiers = store.tiers();
        let (hot, samples, misplaced) = (Hot::new(), Refreshes::default(), AtomicBool::new(false));
        Self { store, tiers, rules, namespace, hot, samples, misplaced }
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
            // What changes meanwhile must not be there when the cache is switched on again.
            let changes = !is_safe(request.method()) && !Target::is_question(&request);
            let after = changes.then(|| Unsafe::new(shared, &request));
            return self.forward(request, BypassReason::Disabled, after);
        }
        let rules = request.extensions().get::<Rules>().unwrap_or(&shared.rules);
        let reads = is_read(request.method()) || Target::is_question(&request);
        let demands = if reads { Demands::of(request.headers()) } else { Demands::default() };
        let interest = interest(&request, demands, (rules, shared));
        match interest {
            Interest::Lookup | Interest::StorePost => {}
            Interest::None(reason) => return self.forward(request, reason, None),
            Interest::Invalidate => {
                let after = Unsafe::new(shared, &request);
                return self.forward(request, BypassReason::Method, Some(after));
            }
        }
        let own = (!std::ptr::eq(rules, &raw const shared.rules)).then(|| rules.clone());
        self.answer(request, own.as_ref(), demands, interest)
    }
}

impl<S: Clone> Cache<S> {
    /// Answers from memory, if that can be done at once, or takes the slow path. The rules are the request's own, or the
    /// layer's.
    fn answer<B, R>(
        &mut self,
        request: Request<B>,
        own: Option<&Rules>,
        demands: Demands,
        interest: Interest,
    ) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Send,
    {
        let (tiers, rules) = (&*self.shared.tiers, own.unwrap_or(&self.shared.rules));
        let (request, extra) = extra_part(request, rules);
        let Some(target) = Target::of(&request, rules) else {
            return self.forward(request, BypassReason::Request, None);
        };
        let key = target.encode(rules, extra.as_deref());
        if key.len() as u64 > tiers.settings().max_key_bytes() {
            return self.forward(request, BypassReason::Request, None);
        }
        let (now, hash) = (tiers.clock().now(), tiers.hash(&key));
        if interest == Interest::StorePost {
            let pending = self.pending(&request, &target, now);
            let job = self.job(request, rules, (Key::new(hash, &key), demands), now);
            return ResponseFuture::drive(post(job, pending));
        }
        let sampled = tiers.observe().sample();
        let before = tiers.before(hash);
        let looking = tiers.observe().looking(Tier::L1);
        let hit = looking.in_scope(|| self.peek(rules, (hash, &key), &request, demands, now));
        looking.found(if hit.is_ok() { Timed::Hit } else { Timed::Miss });
        if sampled {
            tiers.observe().l1_lookup_took(if hit.is_ok() { Timed::Hit } else { Timed::Miss }, now);
            if let (Some(watch), Ok(_)) = (tiers.observe().watched(), &hit) {
                watch.count(Outcome::L1CacheHit, &name(&request, target.host()), SAMPLE);
            }
        }
        match hit {
            Ok(Answered { entry, response }) => {
                tiers.observe().l1_hit(self.shared.namespace, sampled.then_some(now));
                if is_due_early(&entry, rules, now) {
                    refresh(self.job(request, rules, (Key::new(hash, &key), demands), now));
                } else if tiers.settings().samples_consistency() {
                    compare(self.job(request, rules, (Key::new(hash, &key), demands), now), entry);
                }
                ResponseFuture::ready(response)
            }
            Err(unanswered) => {
                let pending = self.pending(&request, &target, now);
                let mut job = self.job(request, rules, (Key::new(hash, &key), demands), now);
                job.absent = (unanswered == Unanswered::Absent).then_some(before);
                ResponseFuture::drive(drive(job, pending))
            }
        }
    }

    /// The fast path: looks into memory and decides, without waiting for anything.
    #[inline]
    fn peek<B, R: Body<Data = Bytes>>(
        &self,
        rules: &Rules,
        key: (u64, &[u8]),
        request: &Request<B>,
        demands: Demands,
        now: Instant,
    ) -> Result<Answered<R>, Unanswered> {
        let (hot, tiers) = (&self.shared.hot, &self.shared.tiers);
        if is_ahead(request, tiers) {
            return Err(Unanswered::Unusable);
        }
        let plain = request.method() == Method::GET && demands.is_plain();
        if plain && let Some((entry, head)) = hot.get(tiers, rules.policy(), key, demands, now) {
            let response = from_head(cached(&entry), head);
            return Ok(Answered { entry, response });
        }
        let hit = look(tiers, rules, key, request, now)?;
        let response = hit.response(request.method(), now);
        let (hash, own) = (key.0, hit.entry.key() == key.1);
        if plain && own && hit.answer == Answer::Full {
            hot.note(hash, &hit.entry, now, response.headers());
        }
        Ok(Answered { entry: hit.entry, response })
    }

    /// A clone of the inner service, which has to be made ready before it is called.
    fn inner(&self) -> S {
        self.inner.clone()
    }

    fn job<B>(&self, request: Request<B>, rules: &Rules, (key, demands): (Key, Demands), now: Instant) -> Job<S, B> {
        Job {
            inner: self.inner(),
            request,
            shared: Arc::clone(&self.shared),
            rules: rules.clone(),
            key,
            demands,
            now,
            absent: None,
        }
    }

    fn pending<B>(&self, request: &Request<B>, target: &Target<'_>, now: Instant) -> PendingRequest {
        let observe = self.shared.tiers.observe();
        let called = observe.watched().map(|_| name(request, target.host()));
        observe.pending(self.shared.namespace, Timing::Since(now)).called(called)
    }

    #[inline]
    fn forward<B, R>(
        &mut self,
        request: Request<B>,
        reason: BypassReason,
        after: Option<Unsafe>,
    ) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
        R: Body<Data = Bytes>,
    {
        let observe = self.shared.tiers.observe();
        observe.bypass(reason);
        observe.request(self.shared.namespace, Outcome::Bypass, Timing::Untimed);
        if let Some(watch) = observe.watched() {
            let host = Target::of(&request, &self.shared.rules).map(|target| target.host().to_owned());
            watch.count(Outcome::Bypass, &name(&request, host.as_deref().unwrap_or_default()), 1);
        }
        ResponseFuture::forward(Call::new(&mut self.inner, request), after)
    }
}

/// What a cache has to do with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// It may be answered from the store.
    Lookup,
    /// It is forwarded, and its response may be stored for later `GET`s (RFC 9110 section 9.3.3).
    StorePost,
    /// It is forwarded.
    None(BypassReason),
    /// It is forwarded, and if it succeeds it invalidates what is stored (RFC 9111 section 4.4).
    Invalidate,
}

pub(super) fn interest<B>(request: &Request<B>, demands: Demands, (rules, shared): (&Rules, &Shared)) -> Interest {
    let (method, headers) = (request.method(), request.headers());
    let may_be_stored = request.extensions().get::<Authorized>().is_none_or(|it| is_revocable(it, shared));
    let reads = is_read(method);
    if !reads && !Target::is_question(request) {
        if method == Method::POST && rules.policy().store_post && may_be_stored {
            return Interest::StorePost;
        }
        return if is_safe(method) { Interest::None(BypassReason::Method) } else { Interest::Invalidate };
    }
    if !may_be_stored {
        return Interest::None(BypassReason::Unproven);
    }
    if request.extensions().get::<Bypass>().is_some() {
        return Interest::None(BypassReason::Fresh);
    }
    let for_origin = demands.origin_conditions() || demands.upgrade();
    // A body that comes with a `GET` is not part of the key, so the response is not cached either.
    if for_origin || (reads && demands.content() && has_body(headers)) {
        return Interest::None(BypassReason::Request);
    }
    if demands.directives() && RequestDirectives::from_cache_control(headers).no_store {
        return Interest::None(BypassReason::Request);
    }
    Interest::Lookup
}

/// Whether what is stored for an authorized caller would be revoked with their rights, whoever revokes them.
fn is_revocable(authorized: &Authorized, shared: &Shared) -> bool {
    authorized.ground.store() == shared.store.id() && !shared.tiers.is_cut_off()
}

/// Whether a request knows of an invalidation that the shared tier did not know of when it gave a ticket.
pub(super) fn is_ahead_of<B>(request: &Request<B>, ticket: &Ticket) -> bool {
    request.extensions().get::<Receipt>().is_some_and(|receipt| !ticket.covers(receipt))
}

/// Whether a request knows of an invalidation that memory has not heard of yet.
#[inline]
pub(super) fn is_ahead<B>(request: &Request<B>, tiers: &Tiers<Cached>) -> bool {
    request.extensions().get::<Receipt>().is_some_and(|receipt| !tiers.covers(receipt))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|len| len != "0")
}

/// What memory answered, and with which entry.
struct Answered<R: Body<Data = Bytes>> {
    entry: Arc<Entry<Cached>>,
    response: Response<ResponseBody<R>>,
}

/// Why memory did not answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// There is nothing under the key.
    Absent,
    /// What is there does not answer the request, or not at once.
    Unusable,
}

/// A fresh response in memory that answers a request.
struct Hit {
    entry: Arc<Entry<Cached>>,
    answer: Answer,
}

fn look<B>(
    tiers: &Tiers<Cached>,
    rules: &Rules,
    (hash, key): (u64, &[u8]),
    request: &Request<B>,
    now: Instant,
) -> Result<Hit, Unanswered> {
    let found = match tiers.glance(hash, key, now) {
        Glance::Found(found) => found,
        Glance::Unusable => return Err(Unanswered::Unusable),
        Glance::Absent => return Err(Unanswered::Absent),
    };
    let found = match found.entry.value() {
        Cached::Variants(variants) => {
            let exact =
                select::keys(variants, key, request.headers()).find_map(|key| tiers.peek(tiers.hash(&key), &key, now));
            let found =
                exact.or_else(|| select::in_language(tiers, variants, (key, now), request.headers(), rules.policy()));
            found.ok_or(Unanswered::Unusable)?
        }
        _ => found,
    };
    let Cached::Response(cached) = found.entry.value() else {
        return Err(Unanswered::Unusable);
    };
    let presented = Presented {
        method: request.method(),
        headers: request.headers(),
        resident: found.entry.resident(now),
        expired: found.expired,
        collapsed: false,
        partitioned: is_partitioned(request.extensions()),
    };
    match plan(cached, &presented, rules.policy()) {
        Plan::Serve(answer) if cached.facts().freshness().is_fresh(presented.resident) => {
            Ok(Hit { entry: found.entry, answer })
        }
        _ => Err(Unanswered::Unusable),
    }
}

fn cached(entry: &Entry<Cached>) -> &CachedResponse {
    match entry.value() {
        Cached::Response(cached) => cached,
        Cached::Variants(_) | Cached::Uncacheable => unreachable!("a hit is made of a response"),
    }
}

impl Hit {
    fn response<R: Body<Data = Bytes>>(&self, method: &Method, now: Instant) -> Response<ResponseBody<R>> {
        let (cached, resident) = (cached(&self.entry), self.entry.resident(now));
        let freshness = cached.facts().freshness();
        let status = CacheStatus::hit(freshness.remaining(resident), freshness.staleness(resident));
        from_stored(cached, &self.answer, method, resident, &status)
    }
}

/// The longer its fetch took, the earlier.
fn is_due_early(entry: &Entry<Cached>, rules: &Rules, now: Instant) -> bool {
    let beta = rules.early_refresh_beta();
    if beta == 0.0 {
        return false;
    }
    let cached = cached(entry);
    let left = cached.facts().freshness().remaining(entry.resident(now));
    is_due(left, cached.cost().as_secs_f64() * beta, fastrand::f64())
}

/// What is left to do when the response to an unsafe request arrives.
pub(super) struct Unsafe {
    shared: Arc<Shared>,
    scheme: Option<Scheme>,
    /// The host, and then the path and the query: to copy them costs less than to hold on to the parts of the request.
    target: String,
    host_len: usize,
    path_len: usize,
}

impl Unsafe {
    pub(super) fn new<B>(shared: &Arc<Shared>, request: &Request<B>) -> Self {
        let (uri, headers) = (original_uri(request), request.headers());
        let named = || hosts(headers).next().and_then(|host| host.to_str().ok());
        let host = uri.authority().map(Authority::as_str).or_else(named).unwrap_or_default();
        let (path, query) = (uri.path(), uri.query());
        let mut target = String::with_capacity(host.len() + path.len() + query.map_or(0, |query| 1 + query.len()));
        target.push_str(host);
        target.push_str(path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        let (host_len, path_len) = (host.len(), path.len());
        Self { shared: Arc::clone(shared), scheme: uri.scheme().cloned(), target, host_len, path_len }
    }

    /// Invalidates what the response says. Within this process it has taken effect when this returns.
    pub(super) fn apply(&self, status: StatusCode, response: &HeaderMap) {
        if !is_success(status) {
            return;
        }
        let tiers = &self.shared.tiers;
        if response.keys().any(|name| name == LOCATION || name == CONTENT_LOCATION) {
            tiers.invalidate(&self.tags(status, response), false);
        } else {
            let (host, resource) = self.parts();
            let (path, query) = resource.split_at(self.path_len);
            tiers.invalidate(&[self.tag(host, path, query.strip_prefix('?'))], false);
        }
    }

    /// The tags of the URLs that the response invalidates.
    pub(super) fn tags(&self, status: StatusCode, response: &HeaderMap) -> Vec<Tag> {
        let uris = invalidates(&Method::POST, &self.uri(), status, response);
        let host = |uri: &Uri| uri.authority().map(Authority::to_string).unwrap_or_default();
        uris.iter().map(|uri| self.tag(&host(uri), uri.path(), uri.query())).collect()
    }

    /// The host, and the path and query.
    fn parts(&self) -> (&str, &str) {
        self.target.split_at(self.host_len)
    }

    /// The target URI, in absolute form if a host is known that can be in one.
    fn uri(&self) -> Uri {
        let (host, resource) = self.parts();
        let scheme = self.scheme.clone().unwrap_or(Scheme::HTTP);
        let absolute = Uri::builder().scheme(scheme).authority(host).path_and_query(resource).build();
        absolute.or_else(|_| Uri::builder().path_and_query(resource).build()).unwrap_or_default()
    }

    fn tag(&self, host: &str, path: &str, query: Option<&str>) -> Tag {
        let query = significant(query, self.shared.rules.query_rule());
        self.shared.tiers.mirror().tags().url(host, path, query.as_deref().unwrap_or_default())
    }
}
