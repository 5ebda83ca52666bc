//! The slow path: everything that awaits, in the order in which it happens.
//!
//! Look, join, wait or lead; then [fetch](super::fetch).

use super::answer::{from_stored, gateway_timeout};
use super::body::ResponseBody;
use super::fetch::Fetch;
use super::key::{implicit_tags, is_partitioned, variant};
use super::rules::Rules;
use super::sample::compare;
use super::select;
use super::service::{Shared, is_ahead, is_ahead_of};
use super::stored::{Cached, CachedResponse};
use crate::Authorized;
use crate::clock::Instant;
use crate::observe::PendingRequest;
use crate::observe::stats::{
    BypassReason, CacheStatus as Outcome, Feature, FlightJoin, LockKind, LockResult, LookupResult, Tier,
};
use crate::store::{
    Before, Beyond, Entry, Found, Join, Key, Landing, Lead, Lease, Memory, Tag, Ticket, Tiers, Turn, Wait,
};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, IF_RANGE, RANGE};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use terrace_policy::{Answer, CacheStatus, Demands, Forward, Plan, Presented, RequestDirectives, Stored, Vary, plan};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tower_service::Service;

/// A request on the slow path.
pub(super) struct Job<S, B> {
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Rules,
    /// The key of the URL, whatever varies.
    pub(super) key: Key,
    pub(super) demands: Demands,
    /// When the request came.
    pub(super) now: Instant,
    /// How things stood before memory was looked into and had nothing under the key.
    pub(super) absent: Option<Before>,
}

/// The right to fetch for all that wait.
pub(super) type Leading = Lead<Arc<Entry<Cached>>>;

/// What a look into the store came to.
enum Look {
    /// A stored response answers.
    Answer(Found<Cached>, Answer, Served),
    /// The origin has to be asked.
    Ask(Ask),
}

/// How a stored response came to answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Fresh,
    /// From the tier that processes share.
    Shared,
    /// From memory, without proof that it is current.
    Unproven,
    /// Stale, and to be revalidated meanwhile.
    Stale,
    /// The same, from the tier that processes share.
    SharedStale,
    /// Fetched by another request, for which this one waited.
    Collapsed,
}

impl Served {
    fn outcome(self) -> Outcome {
        match self {
            Self::Fresh | Self::Unproven => Outcome::L1CacheHit,
            Self::Shared => Outcome::L2CacheHit,
            Self::Stale | Self::SharedStale => Outcome::Stale,
            Self::Collapsed => Outcome::Coalesced,
        }
    }
}

/// After this time those who wait for another process look themselves.
pub(super) const MISSED: Duration = Duration::from_millis(100);

/// Whether a response that is to be revalidated answers meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    Fresh,
    /// Only if it stays fresh for longer than this.
    Fresher(Duration),
    Stale,
}

/// Why and with what the origin is asked.
pub(super) struct Ask {
    pub(super) ticket: Ticket,
    pub(super) reason: Forward,
    /// What is stored but cannot be used without asking.
    pub(super) stored: Option<Found<Cached>>,
    /// What memory has and cannot prove to be current: used if nobody can be asked.
    unproven: Option<Found<Cached>>,
    /// The turn to fetch among processes.
    pub(super) lease: Option<Lease>,
    /// Whether what comes may be stored and shared.
    pub(super) purpose: Purpose,
}

impl Ask {
    /// Waiting for others has brought nothing, and would not.
    fn alone(self) -> Self {
        Self { purpose: Purpose::Alone, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For all who want the same.
    Fill,
    /// What came last could not be stored, or nothing can now: for this request alone, stored if it can be after all.
    Alone,
    /// For this request alone, and never stored.
    Pass,
}

/// Answers a request that memory could not answer at once. It is `pending` before it is first polled, so that it counts
/// even if it never is.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for its arguments twice")]
pub(super) fn drive<S, B, R>(
    mut job: Job<S, B>,
    mut pending: PendingRequest,
) -> impl Future<Output = Result<Response<ResponseBody<R>>, S::Error>> + Send
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    async move {
        let (look, mut lead) = job.seek().await;
        let ask = match look {
            Look::Answer(found, answer, served) => {
                pending.finish(served.outcome());
                if let Some(lead) = lead {
                    lead.land(Landing::Entry(Arc::clone(&found.entry)));
                }
                let response = job.serve(&found, &answer, served);
                match served {
                    Served::Stale | Served::SharedStale => refresh(job),
                    Served::Fresh | Served::Shared if job.shared.tiers.settings().samples_consistency() => {
                        compare(job, found.entry);
                    }
                    _ => {}
                }
                return Ok(response);
            }
            Look::Ask(ask) if job.only_if_cached() => {
                pending.finish(Outcome::Error);
                return Ok(gateway_timeout(&CacheStatus::forwarded(ask.reason)));
            }
            Look::Ask(ask) => ask,
        };
        if ask.purpose == Purpose::Pass {
            pending.status(Outcome::Bypass);
            job.shared.tiers.observe().bypass(BypassReason::Request);
        }
        if ask.purpose == Purpose::Alone
            && let Some(lead) = lead.take()
        {
            // Those who wait need not wait for what they could not use.
            lead.land(Landing::Uncacheable);
        }
        Box::pin(Fetch::new(job, ask, lead, Some(pending))).await
    }
}

/// Forwards a `POST` whose response may be stored for later `GET`s.
pub(super) async fn post<S, B, R>(
    job: Job<S, B>,
    pending: PendingRequest,
) -> Result<Response<ResponseBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    let tiers = &job.shared.tiers;
    let (_, ticket) = tiers.lookup(job.key.clone(), job.now);
    let ask =
        Ask { ticket, reason: Forward::Method, stored: None, unproven: None, lease: None, purpose: Purpose::Alone };
    Box::pin(Fetch::new(job, ask, None, Some(pending))).await
}

/// Revalidates in the background, unless somebody does already or too many are at it.
pub(super) fn refresh<S, B, R>(mut job: Job<S, B>)
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Send,
{
    let shared = Arc::clone(&job.shared);
    let limit = shared.tiers.settings().max_refreshes();
    let Some(place) = shared.store.refreshes().reserve(limit) else {
        return;
    };
    // The client has its answer; what is fetched is for the store.
    *job.request.method_mut() =
        if job.request.method() == Method::HEAD { Method::GET } else { job.request.method().clone() };
    unconditional(job.request.headers_mut());
    job.demands = Demands::of(job.request.headers());
    let (found, ticket, reason) = job.find();
    let Some(lead) = shared.tiers.flights().lead(ticket.key().hash(), job.now) else {
        return;
    };
    let stored = match found {
        Memory::Found(found) if matches!(found.entry.value(), Cached::Response(_)) => Some(found),
        _ => None,
    };
    let reason = if stored.is_some() { Forward::Stale } else { reason };
    // The shared tier has the same as memory, only later by what it took to store it there, or another process's latest.
    let later = shared.tiers.settings().write_budget();
    let accept = stored.as_ref().map_or(Accept::Fresh, |found| Accept::Fresher(job.fresh_for(found) + later));
    let ask = Ask { ticket, reason, stored, unproven: None, lease: None, purpose: Purpose::Fill };
    let observe = shared.tiers.observe().clone();
    let work = observe.refreshing().within(async move {
        let until = shared.tiers.patience();
        let mut ask = match job.look_beyond(ask, accept, until).await {
            Look::Ask(ask) => ask,
            // Another process was faster.
            Look::Answer(found, ..) => return lead.land(Landing::Entry(found.entry)),
        };
        match shared.tiers.turn(&ask.ticket, until).await {
            Turn::Ours(lease) => ask.lease = Some(lease),
            Turn::Theirs => return,
            Turn::Nobodys => {}
        }
        if let Ok(response) = Fetch::new(job, ask, Some(lead), None).await {
            let mut body = pin!(response.into_body());
            while let Some(Ok(_)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {}
        }
    });
    place.run(observe.within_span(work));
}

/// Makes a request one for the whole response, whatever its client has.
pub(super) fn unconditional(headers: &mut HeaderMap) {
    for name in [RANGE, IF_RANGE, CACHE_CONTROL] {
        headers.remove(name);
    }
    terrace_policy::strip_preconditions(headers);
}

impl<S, B> Job<S, B> {
    /// Looks until a stored response answers or it is this request's turn to ask the origin.
    async fn seek(&mut self) -> (Look, Option<Leading>) {
        let mut lead = None;
        let mut left = self.shared.tiers.settings().fill_wait();
        // What nobody here has, and whether it is to be fetched for all.
        let (ask, for_all) = loop {
            let hash = self.key.hash();
            let before = self.absent.unwrap_or_else(|| self.shared.tiers.before(hash));
            let ask = match self.look() {
                Look::Ask(ask) => ask,
                answer @ Look::Answer(..) => return (answer, None),
            };
            let goes = lead.is_some() || ask.purpose != Purpose::Fill || !self.may_share() || self.only_if_cached();
            if goes {
                break (ask, lead.is_some() && !self.only_if_cached());
            }
            match self.shared.tiers.flights().join(ask.ticket.key().hash(), self.now) {
                Join::Lead(leading) => {
                    self.shared.tiers.observe().lock(LockKind::Local, LockResult::Acquired);
                    lead = Some(leading);
                    let same = ask.ticket.key().hash() == hash;
                    // Somebody may have landed between the look and the join: look again.
                    if same && !self.shared.tiers.has_landed_since(before, hash) {
                        break (ask, true);
                    }
                }
                Join::Wait(waiting) => {
                    let begun = waiting.begun();
                    // Boxed, so that who leads has no room for it.
                    match Box::pin(wait(&self.shared, waiting, &mut left)).await {
                        Some(Landing::Entry(entry)) => {
                            if let Some(answer) = self.take(&ask, &entry, begun) {
                                return (answer, None);
                            }
                            // The next one's would be refused like this one.
                            if entry.is_held() {
                                break (ask.alone(), false);
                            }
                        }
                        Some(Landing::Abandoned) => {}
                        Some(Landing::Uncacheable) | None => break (ask.alone(), false),
                    }
                }
            }
        };
        if !self.shared.tiers.is_shared() || self.is_guarded() {
            return (Look::Ask(ask), lead);
        }
        // Boxed, so that a miss in a store of this process alone has no room for it.
        (Box::pin(self.look_further(ask, for_all.then_some(&mut left))).await, lead)
    }

    /// Requests for a range are not made to wait: what they fetch is of little use to others. `HEAD` brings no content.
    fn may_share(&self) -> bool {
        self.request.method() != Method::HEAD && !self.demands.range()
    }

    /// Whether it has passed a layer that authorizes: what it is answered with stays in this process.
    fn is_guarded(&self) -> bool {
        self.request.extensions().get::<Authorized>().is_some()
    }

    fn only_if_cached(&self) -> bool {
        wants_only_cached(self.demands, self.request.headers())
    }

    /// Finds what memory has for the request, and takes the ticket for what is missing.
    fn find(&mut self) -> (Memory<Cached>, Ticket, Forward) {
        let tiers = &self.shared.tiers;
        if let Some(before) = self.absent.take() {
            return (Memory::Nothing, tiers.ticket_for_absent(self.key.clone(), before, self.now), Forward::UriMiss);
        }
        if is_ahead(&self.request, tiers) {
            return (Memory::Nothing, tiers.ticket(self.key.clone(), self.now), Forward::UriMiss);
        }
        let request = (self.request.headers(), self.now);
        find(tiers, &self.rules, &self.key, request, |key| tiers.lookup(key, self.now))
    }

    fn look(&mut self) -> Look {
        let (found, ticket, miss) = self.find();
        let (found, unproven, purpose) = match found {
            Memory::Found(found) if response(&found).is_none() => (None, None, Purpose::Alone),
            Memory::Found(found) => (Some(found), None, Purpose::Fill),
            // What is behind authorization is proven or not served.
            Memory::Unproven(_) if self.is_guarded() => (None, None, Purpose::Fill),
            Memory::Unproven(found) => (None, Some(found), Purpose::Fill),
            Memory::Held => (None, None, Purpose::Alone),
            Memory::Nothing => (None, None, Purpose::Fill),
        };
        let Some(found) = found else {
            return Look::Ask(Ask { ticket, reason: miss, stored: None, unproven, lease: None, purpose });
        };
        let (look, result) = self.judge(found, ticket, Served::Fresh, Accept::Stale);
        self.shared.tiers.observe().lookup(Tier::L1, result);
        look
    }

    /// How long a response stays fresh.
    fn fresh_for(&self, found: &Found<Cached>) -> Duration {
        let left = |cached: &CachedResponse| cached.facts().freshness().remaining(found.entry.resident(self.now));
        response(found).map_or(Duration::ZERO, left)
    }

    /// What a stored response is good for.
    fn judge(&self, found: Found<Cached>, ticket: Ticket, served: Served, accept: Accept) -> (Look, LookupResult) {
        let cached = response(&found).expect("only responses are judged");
        let plan = plan(cached, &self.presented(&found, false), self.rules.policy());
        let result = if matches!(plan, Plan::Serve(_)) { LookupResult::Hit } else { LookupResult::Stale };
        let always = cached.facts().freshness().always_validates();
        let old = matches!(accept, Accept::Fresher(least) if self.fresh_for(&found) <= least);
        // What is behind authorization is never stale, whoever says that it may be used a little longer.
        let meanwhile = accept == Accept::Stale && self.shared.tiers.flags().is_on(Feature::Swr) && !self.is_guarded();
        let look = match judge(plan, (always, old), meanwhile) {
            Judgement::Serve(answer) => Look::Answer(found, answer, served),
            Judgement::ServeStale(answer) => {
                Look::Answer(found, answer, if served == Served::Shared { Served::SharedStale } else { Served::Stale })
            }
            Judgement::Ask(reason, purpose) => {
                let stored = (purpose != Purpose::Pass).then_some(found);
                Look::Ask(Ask { ticket, reason, stored, unproven: None, lease: None, purpose })
            }
        };
        (look, result)
    }

    /// What other processes have for the request, before the origin is asked; with `turn`, also waits for theirs, at most
    /// for what is left of it.
    async fn look_further(&mut self, ask: Ask, turn: Option<&mut Duration>) -> Look {
        let rang = self.shared.tiers.rang();
        // From before the look, so that no message falls between the two.
        let (news, until) = (rang.notified(), self.shared.tiers.patience());
        match (self.look_beyond(ask, Accept::Stale, until).await, turn) {
            // Apart, so that what is found has no room for it.
            (Look::Ask(ask), Some(left)) => Box::pin(self.take_turn(ask, left, (&rang, news), until)).await,
            (look, _) => look,
        }
    }

    /// Asks the tier that processes share, until then, before the origin is asked.
    async fn look_beyond(&mut self, ask: Ask, accept: Accept, until: Instant) -> Look {
        let tiers = Arc::clone(&self.shared.tiers);
        if !tiers.is_shared() || ask.purpose == Purpose::Pass || self.is_guarded() {
            return Look::Ask(ask);
        }
        let (tags, namespace) = (self.tags(), self.shared.namespace);
        let (found, ticket) = match tiers.look_beyond(ask.ticket, (&tags, namespace), until, |_| ()).await {
            Beyond::Found(_, ticket) if is_ahead_of(&self.request, &ticket) => {
                return Look::Ask(Ask { ticket, unproven: None, purpose: Purpose::Alone, ..ask });
            }
            Beyond::Found(found, ticket) => (found, ticket),
            Beyond::Missed(ticket) => return Look::Ask(Ask { ticket, unproven: None, ..ask }),
            Beyond::Held(ticket) => return Look::Ask(Ask { ticket, unproven: None, purpose: Purpose::Alone, ..ask }),
            Beyond::Silent(ticket) => return self.on_its_own(Ask { ticket, ..ask }),
        };
        let variant = match found.entry.value() {
            Cached::Response(_) => return self.judge_shared(found, ticket, accept),
            Cached::Variants(variants) => select::keys(variants, self.key.bytes(), self.request.headers()).next(),
            Cached::Uncacheable => {
                return Look::Ask(Ask { ticket, unproven: None, purpose: Purpose::Alone, ..ask });
            }
        };
        let Some(key) = variant else {
            return Look::Ask(Ask { ticket, unproven: None, ..ask });
        };
        let ticket = ticket.for_key(Key::new(tiers.hash(&key), &key));
        // Its tags are those of the list, as a rule.
        let tags: Vec<Tag> = found.entry.tags().collect();
        // Boxed, for most responses do not vary.
        match Box::pin(tiers.look_beyond(ticket, (&tags, namespace), until, |_| ())).await {
            Beyond::Found(found, ticket) if response(&found).is_some() => self.judge_shared(found, ticket, accept),
            Beyond::Missed(ticket) => Look::Ask(Ask { ticket, unproven: None, reason: Forward::VaryMiss, ..ask }),
            Beyond::Found(_, ticket) | Beyond::Held(ticket) => {
                let (reason, purpose) = (Forward::VaryMiss, Purpose::Alone);
                Look::Ask(Ask { ticket, unproven: None, reason, purpose, ..ask })
            }
            Beyond::Silent(ticket) => self.on_its_own(Ask { ticket, ..ask }),
        }
    }

    /// Waits while another process fetches what is not there in the tier that processes share, which was asked until then,
    /// and asks it again. `news` is what is heard since before the look.
    async fn take_turn(
        &mut self,
        mut ask: Ask,
        left: &mut Duration,
        (rang, news): (&Notify, Notified<'_>),
        mut until: Instant,
    ) -> Look {
        let tiers = Arc::clone(&self.shared.tiers);
        let (mut news, mut waited) = (pin!(news), false);
        loop {
            if ask.purpose != Purpose::Fill {
                return Look::Ask(ask);
            }
            if left.is_zero() {
                tiers.observe().lock(LockKind::Distributed, LockResult::Timeout);
                return Look::Ask(ask);
            }
            match tiers.turn(&ask.ticket, until).await {
                Turn::Ours(lease) if waited => return self.look_again(ask, lease, until).await,
                Turn::Ours(lease) => return Look::Ask(Ask { lease: Some(lease), ..ask }),
                Turn::Nobodys => return Look::Ask(ask),
                Turn::Theirs => waited = true,
            }
            let (observe, started) = (tiers.observe(), tiers.clock().now());
            // A message may be lost, and with it the one who fetches.
            let waiting = tokio::time::timeout((*left).min(MISSED), news.as_mut());
            let _ = observe.waiting(LockKind::Distributed).within(waiting).await;
            *left = left.saturating_sub(tiers.clock().now().duration_since(started));
            observe.lock_wait(LockKind::Distributed, started);
            news.set(rang.notified());
            until = tiers.patience();
            ask = match self.look_beyond(ask, Accept::Stale, until).await {
                Look::Ask(ask) => ask,
                answer @ Look::Answer(..) => return answer,
            };
        }
    }

    /// Who had the turn before may have stored something and passed it on since the last look.
    async fn look_again(&mut self, ask: Ask, lease: Lease, until: Instant) -> Look {
        match self.look_beyond(ask, Accept::Stale, until).await {
            Look::Ask(ask) => Look::Ask(Ask { lease: Some(lease), ..ask }),
            answer @ Look::Answer(..) => answer,
        }
    }

    fn judge_shared(&self, found: Found<Cached>, ticket: Ticket, accept: Accept) -> Look {
        let (look, result) = self.judge(found, ticket, Served::Shared, accept);
        self.shared.tiers.observe().lookup(Tier::L2, result);
        look
    }

    /// Nobody can say what was invalidated: memory may answer with what was current a short time ago.
    fn on_its_own(&self, mut ask: Ask) -> Look {
        let recent =
            |found: &Found<Cached>| response(found).is_some() && self.shared.tiers.is_recent(&found.entry, self.now);
        match ask.unproven.take().filter(recent) {
            Some(found) => self.judge(found, ask.ticket, Served::Unproven, Accept::Fresh).0,
            None => Look::Ask(ask),
        }
    }

    /// The tags that the response will carry without being told, where that matters: where something is held.
    fn tags(&self) -> Vec<Tag> {
        let mirror = self.shared.tiers.mirror();
        if mirror.holds_any() { implicit_tags(self.key.bytes(), mirror.tags()) } else { Vec::new() }
    }

    fn presented(&self, found: &Found<Cached>, collapsed: bool) -> Presented<'_> {
        Presented {
            method: self.request.method(),
            headers: self.request.headers(),
            resident: found.entry.resident(self.now),
            expired: found.expired,
            collapsed,
            partitioned: is_partitioned(self.request.extensions()),
        }
    }

    /// Takes what another request, which came at `begun`, fetched, if it is for this one too and nothing has invalidated
    /// it meanwhile.
    fn take(&self, ask: &Ask, entry: &Arc<Entry<Cached>>, begun: Instant) -> Option<Look> {
        let tiers = &self.shared.tiers;
        let Cached::Response(cached) = entry.value() else {
            return None;
        };
        // What the other request knew when it went is not enough for one that knows more.
        if is_ahead(&self.request, tiers) {
            return None;
        }
        if entry.key() != ask.ticket.key().bytes() && entry.key() != &*self.variant_key(cached)? {
            return None;
        }
        let accepted = tiers.accept(Arc::clone(entry), begun, self.now);
        let Some(found) = accepted.filter(|found| !found.expired || !self.is_guarded()) else {
            tiers.observe().flight_join(FlightJoin::Refused);
            return None;
        };
        tiers.observe().flight_join(FlightJoin::Taken);
        let cached = response(&found)?;
        match plan(cached, &self.presented(&found, true), self.rules.policy()) {
            Plan::Serve(answer) => {
                let unproven = tiers.is_unproven(&found.entry, begun, self.now);
                Some(Look::Answer(found, answer, if unproven { Served::Unproven } else { Served::Collapsed }))
            }
            _ => None,
        }
    }

    fn variant_key(&self, cached: &CachedResponse) -> Option<crate::store::KeyBuf> {
        match Vary::of(&cached.headers()) {
            Vary::Fields(fields) if !fields.is_empty() => {
                Some(variant(self.key.bytes(), &fields, self.request.headers()))
            }
            _ => None,
        }
    }

    fn serve<R: Body<Data = Bytes>>(
        &self,
        found: &Found<Cached>,
        answer: &Answer,
        served: Served,
    ) -> Response<ResponseBody<R>> {
        let cached = response(found).expect("only responses answer");
        let resident = found.entry.resident(self.now);
        let freshness = cached.facts().freshness();
        let hit = CacheStatus::hit(freshness.remaining(resident), freshness.staleness(resident));
        let status = if served == Served::Collapsed {
            CacheStatus { collapsed: true, ttl: hit.ttl, ..CacheStatus::forwarded(Forward::UriMiss) }
        } else {
            let detail = match served {
                Served::Shared | Served::SharedStale => Some("l2"),
                Served::Unproven => Some("unproven"),
                _ => None,
            };
            CacheStatus { detail, ..hit }
        };
        from_stored(cached, answer, self.request.method(), resident, &status)
    }
}

/// Whether a request is not to be forwarded, whatever is stored.
pub(super) fn wants_only_cached(demands: Demands, request: &HeaderMap) -> bool {
    demands.directives() && RequestDirectives::from_cache_control(request).only_if_cached
}

/// What memory has for a request: the response of its URL or, where responses vary, the first of those that its fields
/// may select. `lookup` looks under one key.
pub(super) fn find<T>(
    tiers: &Tiers<Cached>,
    rules: &Rules,
    key: &Key,
    (request, now): (&HeaderMap, Instant),
    mut lookup: impl FnMut(Key) -> (Memory<Cached>, T),
) -> (Memory<Cached>, T, Forward) {
    let (found, ticket) = lookup(key.clone());
    let (Memory::Found(primary) | Memory::Unproven(primary)) = &found else {
        return (found, ticket, Forward::UriMiss);
    };
    let Cached::Variants(variants) = primary.entry.value() else {
        return (found, ticket, Forward::UriMiss);
    };
    let mut first = None;
    for key in select::keys(variants, key.bytes(), request) {
        let (found, ticket) = lookup(Key::new(tiers.hash(&key), &key));
        if !matches!(found, Memory::Nothing) {
            return (found, ticket, Forward::VaryMiss);
        }
        first.get_or_insert(ticket);
    }
    let found = select::in_language(tiers, variants, (key.bytes(), now), request, rules.policy());
    (found.map_or(Memory::Nothing, Memory::Found), first.unwrap_or(ticket), Forward::VaryMiss)
}

/// What a stored response is good for.
pub(super) enum Judgement {
    Serve(Answer),
    /// Meanwhile it is validated.
    ServeStale(Answer),
    /// The origin is asked, for this reason.
    Ask(Forward, Purpose),
}

/// Judges by the policy's plan. `always` says that each use needs a validation, `old` that something younger is wanted,
/// `meanwhile` that what is stale may answer while it is validated.
pub(super) fn judge(plan: Plan, (always, old): (bool, bool), meanwhile: bool) -> Judgement {
    match plan {
        Plan::Serve(_) if old => Judgement::Ask(Forward::Stale, Purpose::Fill),
        Plan::Serve(answer) => Judgement::Serve(answer),
        Plan::ServeWhileRevalidating(answer) if meanwhile => Judgement::ServeStale(answer),
        Plan::ServeWhileRevalidating(_) => Judgement::Ask(Forward::Stale, Purpose::Fill),
        // What must be validated every time cannot be shared: nobody has to wait for it.
        Plan::Validate(reason) if always => Judgement::Ask(reason, Purpose::Alone),
        Plan::Validate(reason) => Judgement::Ask(reason, Purpose::Fill),
        Plan::Forward(Forward::Partial) => Judgement::Ask(Forward::Partial, Purpose::Fill),
        Plan::Forward(reason) => Judgement::Ask(reason, Purpose::Pass),
    }
}

/// Waits for another request's fetch, as long as there is patience left. `None` if that is used up.
async fn wait(
    shared: &Shared,
    wait: Wait<Arc<Entry<Cached>>>,
    left: &mut Duration,
) -> Option<Landing<Arc<Entry<Cached>>>> {
    let (observe, clock) = (shared.tiers.observe(), shared.tiers.clock());
    observe.lock(LockKind::Local, LockResult::Contended);
    let started = clock.now();
    let landing = observe.waiting(LockKind::Local).within(tokio::time::timeout(*left, wait)).await.ok();
    *left = left.saturating_sub(clock.now().duration_since(started));
    observe.lock_wait(LockKind::Local, started);
    if landing.is_none() {
        observe.lock(LockKind::Local, LockResult::Timeout);
    }
    landing
}

/// The response of an entry, if it is one.
pub(super) fn response(found: &Found<Cached>) -> Option<&CachedResponse> {
    match found.entry.value() {
        Cached::Response(cached) => Some(cached),
        Cached::Variants(_) | Cached::Uncacheable => None,
    }
}
