//! One trip to the origin, and what becomes of its response.

use super::answer::from_stored;
use super::body::ResponseBody;
use super::call::Call;
use super::drive::{Ask, Job, Leading, Purpose, response};
use super::extension::{CacheTags, ResponseOverride};
use super::fill::{self, Content, Fill, Listing};
use super::key::{implicit_tags, variant};
use super::packed::Head;
use super::rules::Rules;
use super::seen::Seen;
use super::select;
use super::service::{Shared, Unsafe};
use super::stored::{Cached, CachedResponse};
use super::tee::keep;
use crate::authorized::{Authorized, Guarded, Outside};
use crate::clock::Instant;
use crate::observe::stats::{CacheStatus as Outcome, Feature, ForwardReason, OriginOutcome, StoreResult, Tier};
use crate::observe::{OriginCall, PendingRequest, Span};
use crate::store::{Found, Key, Landing, Tag, Ticket};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CACHE_STATUS, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use terrace_policy::{
    CacheStatus, Exchange, Forward, Policy, Storable, Stored, StoredResponse, Timing, Unstorable, Validated, Vary,
    answer, freshen, storable_in_place, strip_preconditions,
};
use tower_service::Service;

pin_project! {
    /// A trip to the origin: asks it and answers.
    ///
    /// # Cancel safety
    ///
    /// Dropped while the origin is asked, it lets one of those who wait ask instead.
    pub(super) struct Fetch<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        call: Call<S, B>,
        trip: Option<(Trip, OriginCall)>,
        span: Span,
        answers: PhantomData<fn() -> R>,
    }
}

/// A response that may be stored, its head packed unless it is too large.
type Judged = Storable<Option<Head>>;

/// What has to be known when the response arrives.
struct Trip {
    shared: Arc<Shared>,
    rules: Rules,
    primary: Key,
    seen: Seen,
    ask: Ask,
    lead: Option<Leading>,
    pending: Option<PendingRequest>,
    tags: Vec<String>,
    /// The stored response's validators went with the request.
    validating: bool,
    span: Span,
    /// What the request invalidates, if it is unsafe.
    invalidates: Option<Unsafe>,
}

impl<S, B, R> Fetch<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    /// Asks the origin at once if it is ready.
    pub(super) fn new(job: Job<S, B>, ask: Ask, lead: Option<Leading>, pending: Option<PendingRequest>) -> Self {
        let Job { mut inner, mut request, shared, rules, key, demands, .. } = job;
        let seen = Seen::of(&request, demands, &rules);
        Outside::mark(request.extensions_mut());
        let invalidates = (!seen.reads()).then(|| Unsafe::new(&shared, &request));
        let (mut request, tags) =
            if ask.purpose == Purpose::Pass { (request, Vec::new()) } else { rules.tagged(request) };
        let observe = shared.tiers.observe();
        let reason = forward_reason(ask.reason);
        observe.forward(reason);
        let span = observe.filling();
        span.asks(seen.method().as_str(), reason);
        if let Some(watch) = observe.watched() {
            watch.trip(key.hash(), reason, shared.tiers.clock().now());
        }
        let origin = observe.origin_call();
        let validating = prepare(&ask, &seen, request.headers_mut());
        // Last, so that nothing large is moved after it was made.
        let call = span.in_scope(|| Call::new(&mut inner, request));
        let primary = key;
        let trip = Trip {
            shared,
            rules,
            primary,
            seen,
            ask,
            lead,
            pending,
            tags,
            validating,
            span: span.clone(),
            invalidates,
        };
        Self { call, trip: Some((trip, origin)), span, answers: PhantomData }
    }
}

impl<S, B, R> Future for Fetch<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _within = this.span.enter();
        let called = ready!(this.call.poll(cx));
        this.span.answered(called.as_ref().ok().map(|response| response.status().as_u16()));
        let (mut trip, origin) = this.trip.take().expect("polled after its end");
        let ended =
            origin.finish(called.as_ref().map_or(OriginOutcome::ServerError, |response| outcome(response.status())));
        Poll::Ready(match called {
            Ok(response) => Ok(trip.arrived(response, ended)),
            Err(error) => trip.failed(None).ok_or_else(|| {
                // Those who wait go side by side, as after a 503: one after the other they would add up their time limits.
                trip.land(Landing::Uncacheable);
                trip.pass_on_failure();
                error
            }),
        })
    }
}

fn outcome(status: StatusCode) -> OriginOutcome {
    match status.as_u16() {
        500.. => OriginOutcome::ServerError,
        400.. => OriginOutcome::ClientError,
        _ => OriginOutcome::Ok,
    }
}

fn forward_reason(reason: Forward) -> ForwardReason {
    match reason {
        Forward::Bypass => ForwardReason::Bypass,
        Forward::Method => ForwardReason::Method,
        Forward::UriMiss => ForwardReason::UriMiss,
        Forward::VaryMiss => ForwardReason::VaryMiss,
        Forward::Request => ForwardReason::Request,
        Forward::Stale => ForwardReason::Stale,
        Forward::Partial => ForwardReason::Partial,
        _ => ForwardReason::Miss,
    }
}

/// RFC 5861 section 4: "any situation that would result in a 500, 502, 503, or 504".
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether these header or trailer fields end a gRPC call with an error. The status code of HTTP is 200 all the same.
pub(super) fn is_failed_call(fields: &HeaderMap) -> bool {
    static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    // Looking through few fields costs less than hashing the name.
    fields.keys().any(|name| *name == GRPC_STATUS) && fields.get(&GRPC_STATUS).is_some_and(|status| status != "0")
}

/// Says that the origin itself could not be reached, not that it failed.
fn is_unreachable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// Makes the request one whose response is of use to the store. Whether the validators of what is stored go with it.
fn prepare(ask: &Ask, seen: &Seen, headers: &mut HeaderMap) -> bool {
    // A stored response that would answer the request, if only it were valid.
    let stored = ask.stored.as_ref().and_then(response);
    let stored = stored.filter(|cached| answer(*cached, &seen.presented(headers, Duration::ZERO)).is_some());
    if let Some(validators) = stored.and_then(|cached| cached.response().validators()) {
        validators.apply(headers);
        return true;
    }
    // A 304 about the client's copy would bring nothing to store (RFC 9111 section 4.3.1 lets a cache ask its own way).
    if ask.purpose == Purpose::Fill && seen.method() == Method::GET && !seen.demands().is_plain() {
        strip_preconditions(headers);
    }
    false
}

impl Trip {
    fn observe(&self) -> &crate::observe::Observe {
        self.shared.tiers.observe()
    }

    /// Tells who watches why the response is not stored.
    fn unstored(&self, reason: &'static str) {
        if let Some(watch) = self.observe().watched() {
            watch.of_trip(self.primary.hash(), |trip| trip.unstored = Some(reason));
        }
    }

    fn done(&mut self, outcome: Outcome) {
        if let Some(pending) = self.pending.take() {
            pending.finish(outcome);
        }
    }

    fn land(&mut self, landing: Landing<Arc<crate::store::Entry<Cached>>>) {
        if let Some(lead) = self.lead.take() {
            lead.land(landing);
        }
    }

    /// The origin failed, with this status or with none at all. Answers with the stale response, where that is allowed.
    fn failed<R: Body<Data = Bytes>>(&mut self, status: Option<StatusCode>) -> Option<Response<ResponseBody<R>>> {
        if self.seen.authorized().is_some() {
            return None;
        }
        let now = self.shared.tiers.clock().now();
        // The origin may have taken its time: RFC 9111 section 4.2.4 permits what is stale, not what is invalidated.
        let found = self.shared.tiers.still(self.ask.stored.clone()?, now)?;
        let cached = response(&found)?;
        let resident = found.entry.resident(now);
        let disconnected = status.is_none_or(is_unreachable);
        if !cached.facts().freshness().may_serve_on_error(resident, disconnected) {
            return None;
        }
        let answer = answer(cached, &self.seen.presented(&self.seen.headers(), resident))?;
        let freshness = cached.facts().freshness();
        let hit = CacheStatus::hit(freshness.remaining(resident), freshness.staleness(resident));
        let said = CacheStatus {
            forward_status: status,
            ttl: hit.ttl,
            detail: Some("stale-if-error"),
            ..CacheStatus::forwarded(self.ask.reason)
        };
        let response = from_stored(cached, &answer, self.seen.method(), resident, &said);
        self.land(Landing::Entry(Arc::clone(&found.entry)));
        self.done(Outcome::Stale);
        Some(response)
    }

    fn arrived<R>(mut self, response: Response<R>, (now, took): (Instant, Duration)) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Send,
    {
        if response.extensions().get::<Guarded>().is_some() {
            return self.misplaced(response);
        }
        if let Some(watch) = self.observe().watched() {
            let status = response.status().as_u16();
            watch.of_trip(self.primary.hash(), |trip| trip.status = Some(status));
        }
        let timing = Timing { received: self.shared.tiers.clock().wall(), delay: took };
        if response.status() == StatusCode::NOT_MODIFIED && self.validating {
            return self.validated(response, timing);
        }
        if is_failure(response.status())
            && let Some(stale) = self.failed(Some(response.status()))
        {
            return stale;
        }
        let (mut head, body) = response.into_parts();
        let said = Said::take(&mut head, &self.rules);
        if self.seen.method() == Method::HEAD {
            self.described(&head, &said, timing);
            return self.forward(head, body, false);
        }
        match self.judge(&head, &said, timing) {
            Ok(storable) => self.store(head, body, storable, &said, (now, took)),
            Err(reason) => {
                self.unstored(reason.as_str());
                self.unstorable(&head, reason);
                self.forward(head, body, false)
            }
        }
    }

    /// A layer that authorizes is inside of this cache, and not around it: what it let pass once would be served without it
    /// being asked again, and to all if none is around.
    fn misplaced<R>(mut self, response: Response<R>) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Send,
    {
        if !self.shared.misplaced.swap(true, Ordering::Relaxed) {
            self.observe().layer_order();
        }
        self.observe().stored(Tier::L1, StoreResult::Uncacheable);
        self.unstored("guarded");
        self.land(Landing::Uncacheable);
        let (mut head, body) = response.into_parts();
        head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if cfg!(debug_assertions) {
            // Found before it is deployed.
            head.status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        self.forward(head, body, false)
    }

    fn exchange<'a>(
        &'a self,
        head: &'a response::Parts,
        said: &'a Said,
        timing: Timing,
        (target, request): (&'a Uri, &'a HeaderMap),
    ) -> Exchange<'a> {
        Exchange {
            method: self.seen.method(),
            target,
            request,
            status: head.status,
            response: &head.headers,
            timing,
            extension: said.directives.as_ref().map(ResponseOverride::directives),
            partitioned: self.seen.is_partitioned(),
            keyed_by_body: self.seen.is_keyed_by_body(),
        }
    }

    fn policy(&self) -> Cow<'_, Policy> {
        let policy = self.rules.policy();
        match self.shared.tiers.settings().default_ttl() {
            Some(lifetime) if policy.default_ttl.is_none() => {
                let mut policy = policy.clone();
                policy.default_ttl = Some(lifetime);
                Cow::Owned(policy)
            }
            _ => Cow::Borrowed(policy),
        }
    }

    /// The rules' judgement, and the limits'.
    fn judge(&self, head: &response::Parts, said: &Said, timing: Timing) -> Result<Judged, Unstorable> {
        if self.ask.purpose == Purpose::Pass {
            return Err(Unstorable::Personal);
        }
        if is_failed_call(&head.headers) {
            return Err(Unstorable::Status);
        }
        let (target, request) = (self.seen.target(), self.seen.deciding());
        let judged = storable_in_place(&self.exchange(head, said, timing, (&target, &request)), &self.policy())?;
        Ok(judged.map(|fields| Head::of(fields.iter())))
    }

    /// Sends a response on as it is.
    fn forward<R: Body<Data = Bytes>>(
        mut self,
        mut head: response::Parts,
        body: R,
        stored: bool,
    ) -> Response<ResponseBody<R>> {
        if let Some(invalidates) = self.invalidates.take() {
            invalidates.apply(head.status, &head.headers);
        }
        let status = CacheStatus { stored, ..CacheStatus::forwarded(self.ask.reason) };
        head.headers.append(CACHE_STATUS, status.to_value());
        let bypassed = self.ask.purpose == Purpose::Pass;
        self.done(if bypassed { Outcome::Bypass } else { Outcome::Miss });
        Response::from_parts(head, ResponseBody::forward(body))
    }

    /// Remembers that what comes for this key cannot be stored. A failure says nothing about that, and neither do the
    /// credentials of one request about those without.
    fn unstorable(&mut self, head: &response::Parts, reason: Unstorable) {
        if self.ask.purpose == Purpose::Pass || self.invalidates.is_some() {
            return;
        }
        self.observe().stored(Tier::L1, fill::result(reason));
        self.land(Landing::Uncacheable);
        let failure = is_failure(head.status) || is_failed_call(&head.headers);
        let lasting = head.status != StatusCode::NOT_MODIFIED;
        let replaces = self.ask.stored.is_none() || reason != Unstorable::Personal;
        if failure {
            self.pass_on_failure();
        } else if let Some(mark) = self.mark().filter(|_| lasting && replaces) {
            fill::remember_uncacheable(&self.shared.tiers, (mark, self.ask.lease.take()), self.shared.namespace);
        }
    }

    /// Nor do those wait for one another who wait in other processes. What is stored there is worth more than that.
    fn pass_on_failure(&mut self) {
        if self.ask.stored.is_none()
            && let Some(mark) = self.mark()
            && let Some(lease) = self.ask.lease.take()
        {
            fill::pass_on_failure(&self.shared.tiers, &mark, lease, self.shared.namespace);
        }
    }

    /// Where it is remembered that what comes cannot be stored; `None` if others may ask for more than this request.
    fn mark(&self) -> Option<Ticket> {
        let whole = self.seen.reads() && self.seen.method() != Method::HEAD && !self.seen.demands().range();
        whole.then(|| self.ask.ticket.for_key(self.ask.ticket.key().clone()))
    }

    /// Streams a response to its client and into the store.
    fn store<R>(
        mut self,
        head: response::Parts,
        body: R,
        mut storable: Judged,
        said: &Said,
        (now, took): (Instant, Duration),
    ) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Send,
    {
        let Some(tags) = self.all_tags(said) else {
            self.unstored("too-many-tags");
            self.observe().stored(Tier::L1, StoreResult::TooLarge);
            self.land(Landing::Uncacheable);
            if let Some(mark) = self.mark() {
                fill::remember_uncacheable(&self.shared.tiers, (mark, self.ask.lease.take()), self.shared.namespace);
            }
            return self.forward(head, body, false);
        };
        let Some(ticket) = self.ticket(&head, &storable, &tags).map(|ticket| self.kept_here(ticket)) else {
            self.unstored("invalidated");
            return self.forward(head, body, false);
        };
        storable.shorten(self.rules.jitter_share() * fastrand::f64());
        if storable.freshness().always_validates() {
            // Nobody can be answered with it unasked: let those who wait ask, side by side.
            self.land(Landing::Uncacheable);
        }
        let tiers = Arc::clone(&self.shared.tiers);
        let fill = Fill {
            lead: self.lead.take(),
            lease: self.ask.lease.take(),
            under_way: tiers.observe().fill(now).with(&self.span),
            cost: took,
            listing: self.listing(&storable, &head.headers),
            earlier: self.ask.stored.as_ref().filter(|_| storable.is_partial()).map(|found| Arc::clone(&found.entry)),
            mark: self.mark(),
            namespace: self.shared.namespace,
            content: Content::of(&head.headers),
            until: self.until(),
            tiers,
            ticket,
            primary: self.primary.hash(),
            storable,
            tags,
        };
        self.forward_with(head, keep(body, fill))
    }

    fn forward_with<R: Body<Data = Bytes>>(
        mut self,
        mut head: response::Parts,
        body: ResponseBody<R>,
    ) -> Response<ResponseBody<R>> {
        let stored = self.shared.tiers.flags().is_on(Feature::L1);
        let status = CacheStatus { stored, ..CacheStatus::forwarded(self.ask.reason) };
        head.headers.append(CACHE_STATUS, status.to_value());
        self.done(Outcome::Miss);
        Response::from_parts(head, body)
    }

    /// Until when the response may be served, if its caller was authorized.
    fn until(&self) -> Option<Instant> {
        self.seen.authorized().map(|authorized| authorized.until)
    }

    /// What is for one caller alone does not leave this process.
    fn kept_here(&self, ticket: Ticket) -> Ticket {
        if self.seen.authorized().is_some() { ticket.unshared() } else { ticket }
    }

    /// The ticket for the key that the response belongs under. `None` if an invalidation came between.
    fn ticket(&mut self, head: &response::Parts, storable: &Judged, tags: &[Tag]) -> Option<Ticket> {
        let mut ticket = self.ask.ticket.for_key(self.primary.clone());
        if let Some(invalidates) = self.invalidates.take() {
            let invalidated = invalidates.tags(head.status, &head.headers);
            ticket = self.shared.tiers.superseding(ticket, &invalidated, tags)?;
        }
        if storable.vary().is_empty() {
            return Some(ticket);
        }
        let request = self.seen.selecting(storable.vary());
        let key = variant(self.primary.bytes(), storable.vary(), &request);
        Some(ticket.for_key(Key::new(self.shared.tiers.hash(&key), &key)))
    }

    /// Where the response is listed, if it varies.
    fn listing(&self, storable: &Judged, headers: &HeaderMap) -> Option<Listing> {
        let fields = storable.vary();
        (!fields.is_empty()).then(|| self.listing_of(fields.to_vec(), headers))
    }

    fn listing_of(&self, fields: Vec<HeaderName>, headers: &HeaderMap) -> Listing {
        let (request, policy) = (self.seen.selecting(&fields), self.rules.policy());
        let language = select::language(&self.shared.tiers, &self.primary, &fields, &request, headers, policy);
        Listing { primary: self.primary.clone(), fields, language }
    }

    /// All tags of the entry; `None` if there are too many.
    fn all_tags(&self, said: &Said) -> Option<Vec<Tag>> {
        let named = self.tags.iter().chain(&said.tags);
        if named.clone().count() as u64 > self.shared.tiers.settings().max_tags() {
            return None;
        }
        let tags = self.shared.tiers.mirror().tags();
        let mut all = implicit_tags(self.primary.bytes(), tags);
        all.extend(named.map(|name| tags.name(name)));
        all.extend(self.seen.authorized().into_iter().flat_map(Authorized::tags));
        Some(all)
    }

    /// The origin says that the stored response holds (RFC 9111 section 4.3.4).
    fn validated<R>(mut self, response: Response<R>, timing: Timing) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes> + Send + 'static,
    {
        let (mut head, body) = response.into_parts();
        let said = Said::take(&mut head, &self.rules);
        let found = self.ask.stored.clone().expect("only what is stored is validated");
        let cached = super::drive::response(&found).expect("only responses have validators");
        let stored = cached.response();
        let keep_head = stored.validated_by(&head.headers) == Validated::KeepHead;
        if keep_head && StoredResponse::is_bypassed_by(&self.seen.headers(), &head.headers) {
            // The client has a newer response than the store.
            self.shared.tiers.remove(self.ask.ticket.key());
            return self.forward(head, body, false);
        }
        let (target, request) = (self.seen.target(), self.seen.deciding());
        let exchange = self.exchange(&head, &said, timing, (&target, &request));
        let freshened = freshen(&stored, &exchange, keep_head, &self.policy());
        let content = [cached.packed().content()];
        let trailers = cached.packed().trailers();
        let repacked = |stored| CachedResponse::new(stored, trailers.as_ref(), &content, cached.cost());
        let (served, is_stored) = match freshened {
            Ok(mut stored) => {
                stored.shorten(self.rules.jitter_share() * fastrand::f64());
                (repacked(stored), true)
            }
            Err(merged) => {
                self.shared.tiers.remove(self.ask.ticket.key());
                (repacked(StoredResponse::from_parts(cached.facts().clone(), merged)), false)
            }
        };
        let served = served.unwrap_or_else(|| cached.clone());
        let mut response = self.revalidated(&served, &head, is_stored);
        if let Some(cookies) = (!response.headers().contains_key(SET_COOKIE)).then(|| head.headers.get_all(SET_COOKIE))
        {
            // Kept from the store, but meant for this client.
            for cookie in cookies {
                response.headers_mut().append(SET_COOKIE, cookie.clone());
            }
        }
        self.replace(&found, served, &said, is_stored);
        self.done(Outcome::Revalidated);
        response
    }

    fn revalidated<R: Body<Data = Bytes>>(
        &self,
        served: &CachedResponse,
        head: &response::Parts,
        stored: bool,
    ) -> Response<ResponseBody<R>> {
        let answer = answer(served, &self.seen.presented(&self.seen.headers(), Duration::ZERO))
            .expect("checked before its validators were sent");
        let said = CacheStatus {
            forward_status: Some(head.status),
            stored,
            ttl: CacheStatus::hit(served.facts().freshness().remaining(Duration::ZERO), Duration::ZERO).ttl,
            ..CacheStatus::forwarded(self.ask.reason)
        };
        from_stored(served, &answer, self.seen.method(), Duration::ZERO, &said)
    }

    /// Puts the freshened response in the place of the stored one.
    fn replace(&mut self, found: &Found<Cached>, served: CachedResponse, said: &Said, is_stored: bool) {
        if !is_stored {
            return self.land(Landing::Uncacheable);
        }
        let tiers = &self.shared.tiers;
        let mut tags: Vec<Tag> = found.entry.tags().collect();
        for tag in said.tags.iter().map(|name| tiers.mirror().tags().name(name)) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let always_validates = served.facts().freshness().always_validates();
        let implicit = implicit_tags(self.primary.bytes(), tiers.mirror().tags()).len();
        let many = (tags.len() as u64).saturating_sub(implicit as u64) > tiers.settings().max_tags();
        let Some(ticket) = self.refiled(found, &served, &tags).filter(|_| !many) else {
            tiers.remove(self.ask.ticket.key());
            return self.land(Landing::Uncacheable);
        };
        let ticket = self.kept_here(ticket);
        let (until, namespace) = (self.until(), self.shared.namespace);
        let entry = fill::store(tiers, (ticket, self.ask.lease.take()), (served, until), tags, namespace);
        self.land(if always_validates { Landing::Uncacheable } else { Landing::Entry(entry) });
    }

    /// The ticket for the key that a freshened response belongs under: another one if its `Vary` has changed, or requests
    /// would find it whose fields were not compared. `None` if there are too many variants.
    fn refiled(&self, found: &Found<Cached>, served: &CachedResponse, tags: &[Tag]) -> Option<Ticket> {
        let tiers = &self.shared.tiers;
        let ticket = self.ask.ticket.for_key(self.ask.ticket.key().clone());
        let (before, headers) = (response(found)?.headers(), served.headers());
        let Vary::Fields(fields) = Vary::of(&headers) else {
            return None;
        };
        if Vary::of(&before) == Vary::Fields(fields.clone()) {
            return Some(ticket);
        }
        tiers.remove(ticket.key());
        if fields.is_empty() {
            return Some(ticket.for_key(self.primary.clone()));
        }
        let key = variant(self.primary.bytes(), &fields, &self.seen.selecting(&fields));
        let ticket = ticket.for_key(Key::new(tiers.hash(&key), &key));
        let listing = self.listing_of(fields, &headers);
        fill::list(tiers, &listing, &ticket, tags, self.shared.namespace).then_some(ticket)
    }

    /// A response to `HEAD` freshens the stored one, or shows that it is outdated (RFC 9111 section 4.3.5).
    fn described(&mut self, head: &response::Parts, said: &Said, timing: Timing) {
        let Some(found) = self.ask.stored.clone().filter(|_| head.status == StatusCode::OK) else {
            return;
        };
        let Some(cached) = super::drive::response(&found) else {
            return;
        };
        let stored = cached.response();
        let (target, request) = (self.seen.target(), self.seen.deciding());
        let exchange = self.exchange(head, said, timing, (&target, &request));
        let freshened = if stored.described_by(&head.headers) {
            freshen(&stored, &exchange, false, &self.policy()).ok()
        } else {
            None
        };
        let (content, trailers) = ([cached.packed().content()], cached.packed().trailers());
        let served =
            freshened.and_then(|stored| CachedResponse::new(stored, trailers.as_ref(), &content, cached.cost()));
        match served {
            Some(served) => {
                // Unlike a 304, a head says nothing of content that was invalidated before it was asked for.
                let (tiers, ticket) = (&self.shared.tiers, &self.ask.ticket);
                self.ask.ticket = tiers.keeping(ticket.for_key(ticket.key().clone()), &found.entry);
                self.replace(&found, served, said, true);
            }
            None => self.shared.tiers.remove(self.ask.ticket.key()),
        }
    }
}

/// What the application says about a response to the cache alone.
struct Said {
    directives: Option<ResponseOverride>,
    tags: Vec<String>,
}

impl Said {
    /// Takes it out of the response, so that it does not reach the client.
    fn take(head: &mut response::Parts, rules: &Rules) -> Self {
        let mut tags: Vec<String> = Vec::new();
        if let Some(named) = head.extensions.remove::<CacheTags>() {
            tags.extend(named.iter().map(str::to_owned));
        }
        let fields = rules.tag_field_names();
        // Looking through few fields costs less than hashing each name.
        let has_some = head.headers.keys().any(|name| fields.contains(name));
        for field in fields.iter().filter(|_| has_some) {
            for line in head.headers.get_all(field) {
                let names = line.to_str().unwrap_or_default().split([',', ' ']).filter(|name| !name.is_empty());
                tags.extend(names.map(str::to_owned));
            }
            if !rules.keeps_tag_fields() {
                head.headers.remove(field);
            }
        }
        Self { directives: head.extensions.remove(), tags }
    }
}
