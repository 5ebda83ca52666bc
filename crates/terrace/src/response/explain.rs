//! Why a request would be answered from the store now, or why it would not: step by step, by the functions that decide.
//!
//! Nothing is counted, fetched, stored or forgotten by it, and it takes no probe's place.

use super::drive::{Judgement, Purpose, find, judge, wants_only_cached};
use super::key::{Target, extra_part, is_partitioned, is_read};
use super::layer::CacheLayer;
use super::service::{Interest, Shared, interest};
use super::shown::Response;
use super::stored::{Cached, CachedResponse};
use crate::clock::Instant;
use crate::observe::Trip;
use crate::observe::stats::{BypassReason, Feature, RejectReason};
use crate::store::{Entry, Found, Key, Memory, Obstacle, Sight};
use http::uri::Scheme;
use http::{HeaderName, Request, Uri};
use std::sync::Arc;
use std::time::Duration;
use terrace_policy::{Demands, Forward, Presented, Stored, plan};

/// What would become of a request, and why.
pub(crate) struct Explanation {
    pub(crate) verdict: Verdict,
    /// Why the origin would be asked, as in `Cache-Status` (RFC 9211 section 2.2).
    pub(crate) forward: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
    /// The last trip to the origin for the same key, if it is remembered, and how long ago that was.
    pub(crate) last: Option<(Trip, Duration)>,
}

/// How a request would be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// From memory.
    L1Hit,
    /// From Redis.
    L2Hit,
    /// Stale, and validated meanwhile.
    Stale,
    /// By the origin; what is stored may be validated.
    Miss,
    /// By the origin, past the cache.
    Bypass,
    /// With 504.
    Error,
}

impl Verdict {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::L1Hit => "l1_hit",
            Self::L2Hit => "l2_hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Error => "error",
        }
    }
}

/// One of the things that are asked on a request's way.
pub(crate) struct Step {
    /// What is looked at: `switch`, `request`, `key`, `coherence`, `memory`, `freshness`, `shared` or `origin`.
    pub(crate) at: &'static str,
    pub(crate) outcome: Outcome,
    /// In one word, for programs.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) text: String,
}

/// What a step means for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing stands in the way.
    Passes,
    /// This answers the request.
    Answers,
    /// This is why the store does not answer.
    Fails,
}

/// What is in memory under one key.
pub(crate) struct InMemory {
    /// `fresh`, `stale`, `variants` or `uncacheable`; else why it is not used: a word of the metrics.
    pub(crate) state: &'static str,
    /// With everything that is kept because of it.
    pub(crate) bytes: u32,
    pub(crate) resident: Duration,
    pub(crate) tags: usize,
    /// How the responses of its URL vary, if that is what it says.
    pub(crate) varies_by: Vec<Vec<HeaderName>>,
    pub(crate) response: Option<Response>,
}

/// How far a look came.
enum Sought {
    Answered(Verdict),
    /// Memory does not answer. What is not proven to be current answers if nobody can be asked.
    Not {
        reason: Forward,
        purpose: Purpose,
        unproven: Option<Found<Cached>>,
    },
}

/// What the tier that processes share has to say.
enum Reply {
    Answers(Verdict),
    /// The origin is to be asked; `None` if for the same reason as before.
    Asks(Option<Forward>, Purpose),
    /// Nothing that changes anything.
    Nothing,
    /// Something that does not count.
    Unbelieved,
}

/// How a way ends.
struct End(Verdict, Option<Forward>);

impl CacheLayer {
    /// Explains what would become of a request.
    pub(crate) async fn explain(&self, request: Request<()>) -> Explanation {
        let shared = &*self.shared;
        let (request, extra) = extra_part(request, &shared.rules);
        let mut teller = Teller::new(shared, &request);
        let (end, key) = match teller.enters(extra.as_deref()) {
            Err(end) => (end, None),
            Ok(key) => {
                teller.coherence();
                let end = match teller.memory(&key) {
                    Sought::Answered(verdict) => End(verdict, None),
                    Sought::Not { reason, purpose, unproven } => teller.beyond(&key, (reason, purpose), unproven).await,
                };
                (end, Some(key))
            }
        };
        let now = teller.now;
        let trip = key.and_then(|key| shared.tiers.observe().watched()?.last_trip(key.hash()));
        let last = trip.map(|trip| (trip, now.duration_since(trip.began)));
        let End(verdict, forward) = end;
        Explanation { verdict, forward: forward.map(Forward::as_str), steps: teller.steps, last }
    }

    /// What memory has for the URL of a request, in all variants.
    pub(crate) fn in_memory(&self, request: Request<()>) -> Vec<InMemory> {
        let shared = &*self.shared;
        let (request, extra) = extra_part(request, &shared.rules);
        let teller = Teller::new(shared, &request);
        let Some(key) = teller.key(extra.as_deref()) else { return Vec::new() };
        let variants = |sight: &Sight<Cached>| match sight {
            Sight::Found(found) | Sight::Rejected(_, found) => match found.entry.value() {
                Cached::Variants(variants) => variants.hashes().collect(),
                _ => Vec::new(),
            },
            Sight::Off | Sight::Nothing => Vec::new(),
        };
        let (tiers, now) = (&shared.tiers, teller.now);
        let primary = tiers.sight(&key, now);
        let others = variants(&primary).into_iter().filter_map(|hash| Some(tiers.sight(&tiers.key_at(hash)?, now)));
        std::iter::once(primary).chain(others).filter_map(|sight| in_memory(sight, now)).collect()
    }
}

/// Follows a request's way.
struct Teller<'a> {
    shared: &'a Shared,
    request: &'a Request<()>,
    demands: Demands,
    now: Instant,
    steps: Vec<Step>,
}

impl<'a> Teller<'a> {
    fn new(shared: &'a Shared, request: &'a Request<()>) -> Self {
        let reads = is_read(request.method()) || Target::is_question(request);
        let demands = if reads { Demands::of(request.headers()) } else { Demands::default() };
        Self { shared, request, demands, now: shared.tiers.clock().now(), steps: Vec::new() }
    }

    fn tell(&mut self, at: &'static str, outcome: Outcome, reason: &'static str, text: impl Into<String>) {
        self.steps.push(Step { at, outcome, reason, text: text.into() });
    }

    fn key(&self, extra: Option<&str>) -> Option<Key> {
        let target = Target::of(self.request, &self.shared.rules)?;
        let key = target.encode(&self.shared.rules, extra);
        Some(Key::new(self.shared.tiers.hash(&key), &key))
    }

    /// Whether the store is asked at all, and for what.
    fn enters(&mut self, extra: Option<&str>) -> Result<Key, End> {
        let bypass = || End(Verdict::Bypass, None);
        let tiers = &self.shared.tiers;
        if !tiers.flags().is_on(Feature::Cache) {
            self.tell("switch", Outcome::Fails, "disabled", "The flag `cache` is off: every request is forwarded.");
            return Err(bypass());
        }
        self.tell("switch", Outcome::Passes, "on", "The flag `cache` is on.");
        self.interest()?;
        let Some(key) = self.key(extra) else {
            let text = "The request names no host, or more than one, in a way that could be understood differently.";
            self.tell("key", Outcome::Fails, "host", text);
            return Err(bypass());
        };
        let (len, most) = (key.bytes().len() as u64, tiers.settings().max_key_bytes());
        if len > most {
            let text = format!("Its key has {len} bytes, and at most {most} are stored (CACHE_MAX_KEY_BYTES).");
            self.tell("key", Outcome::Fails, "too-long", text);
            return Err(bypass());
        }
        let text = format!("It is looked for under a key of {len} bytes, made of what the rules say.");
        self.tell("key", Outcome::Passes, "made", text);
        Ok(key)
    }

    fn interest(&mut self) -> Result<(), End> {
        let method = self.request.method();
        match interest(self.request, self.demands, (&self.shared.rules, self.shared)) {
            Interest::Lookup => {
                let text = format!("{method} may be answered from the store.");
                self.tell("request", Outcome::Passes, "looked-up", text);
                Ok(())
            }
            Interest::StorePost => {
                let text = "A POST is forwarded; its response may be stored for later GETs.";
                self.tell("request", Outcome::Fails, "post", text);
                Err(End(Verdict::Miss, Some(Forward::Method)))
            }
            Interest::Invalidate => {
                let text =
                    format!("{method} is forwarded, and if it succeeds it invalidates what is stored for its URL.");
                self.tell("request", Outcome::Fails, "unsafe", text);
                Err(End(Verdict::Bypass, Some(Forward::Method)))
            }
            Interest::None(reason) => {
                let (reason, text) = self.uninteresting(reason);
                self.tell("request", Outcome::Fails, reason, text);
                Err(End(Verdict::Bypass, Some(Forward::Bypass)))
            }
        }
    }

    fn uninteresting(&self, reason: BypassReason) -> (&'static str, String) {
        let demands = self.demands;
        match reason {
            BypassReason::Method => ("method", format!("{} has no answer in a store.", self.request.method())),
            BypassReason::Request if demands.origin_conditions() => {
                ("conditions", "If-Match and If-Unmodified-Since are for the origin (RFC 9111 section 4.3.2).".into())
            }
            BypassReason::Request if demands.upgrade() => ("upgrade", "Upgrade is between client and origin.".into()),
            BypassReason::Request if demands.directives() => {
                ("no-store", "The request says `Cache-Control: no-store`.".into())
            }
            BypassReason::Request => ("content", "It has content, which is no part of the key.".into()),
            other => (other.as_str(), "It asks for a fresh answer, or for one that cannot be revoked here.".into()),
        }
    }

    /// Whether memory may be believed.
    fn coherence(&mut self) {
        let tiers = &self.shared.tiers;
        let (mirror, lag) = (tiers.mirror(), tiers.settings().max_lag());
        if !tiers.is_shared() {
            let text = format!("All is in this process's memory; {} purges so far.", mirror.position().get());
            return self.tell("coherence", Outcome::Passes, "alone", text);
        }
        let place = mirror.followed().map_or_else(
            || "no epoch is followed".to_owned(),
            |now| format!("epoch {}, position {}", now.epoch.text(), now.position),
        );
        let age = mirror.proven_at().map(|at| self.now.duration_since(at));
        let proof = age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", time(age)));
        let text = format!("Proven up to date {proof}, of at most {} ({place}).", time(lag));
        if tiers.is_proven(self.now) {
            self.tell("coherence", Outcome::Passes, "proven", text);
        } else {
            self.tell("coherence", Outcome::Fails, "unproven", text);
        }
    }

    fn memory(&mut self, key: &Key) -> Sought {
        let (shared, now, mut told) = (self.shared, self.now, Vec::new());
        let request = (self.request.headers(), now);
        let (found, (), reason) = find(&shared.tiers, &shared.rules, key, request, |key| {
            let sight = shared.tiers.sight(&key, now);
            told.extend(unusable(&sight, now));
            (sight.into_memory(), ())
        });
        for (reason, text) in told {
            self.tell("memory", Outcome::Fails, reason, text);
        }
        let not = |purpose, unproven| Sought::Not { reason, purpose, unproven };
        match found {
            Memory::Found(found) => self.found(&found, reason),
            Memory::Unproven(found) => not(Purpose::Fill, Some(found)),
            Memory::Held => not(Purpose::Alone, None),
            Memory::Nothing if reason == Forward::VaryMiss => {
                let text = format!("It is stored for other values of {}.", self.varies_by(key));
                self.tell("memory", Outcome::Fails, "vary-miss", text);
                not(Purpose::Fill, None)
            }
            Memory::Nothing => {
                self.elsewhere();
                not(Purpose::Fill, None)
            }
        }
    }

    fn found(&mut self, found: &Found<Cached>, reason: Forward) -> Sought {
        match found.entry.value() {
            Cached::Response(cached) => {
                let text = format!("A response is in memory, stored {} ago.", time(found.entry.resident(self.now)));
                self.tell("memory", Outcome::Passes, "found", text);
                match self.judged(cached, found.entry.resident(self.now), found.expired) {
                    Judgement::Serve(_) => Sought::Answered(Verdict::L1Hit),
                    Judgement::ServeStale(_) => Sought::Answered(Verdict::Stale),
                    Judgement::Ask(reason, purpose) => Sought::Not { reason, purpose, unproven: None },
                }
            }
            Cached::Variants(_) | Cached::Uncacheable => {
                self.tell("memory", Outcome::Fails, "hit-for-miss", marked(found.entry.left(self.now)));
                Sought::Not { reason, purpose: Purpose::Alone, unproven: None }
            }
        }
    }

    /// By the policy, and by what the slow path makes of its plan.
    fn judged(&mut self, cached: &CachedResponse, resident: Duration, expired: bool) -> Judgement {
        let presented = Presented {
            method: self.request.method(),
            headers: self.request.headers(),
            resident,
            expired,
            collapsed: false,
            partitioned: is_partitioned(self.request.extensions()),
        };
        let plan = plan(cached, &presented, self.shared.rules.policy());
        let (freshness, swr) = (cached.facts().freshness(), self.shared.tiers.flags().is_on(Feature::Swr));
        let judgement = judge(plan, (freshness.always_validates(), false), swr);
        let age = format!("age {} of {}", time(freshness.age(resident)), time(freshness.lifetime()));
        let (outcome, reason, text) = match &judgement {
            Judgement::Serve(_) if freshness.is_fresh(resident) => {
                (Outcome::Answers, "fresh", format!("Fresh: {age}."))
            }
            Judgement::Serve(_) => (Outcome::Answers, "max-stale", format!("Stale, which the request accepts: {age}.")),
            Judgement::ServeStale(_) => {
                (Outcome::Answers, "stale-while-revalidate", format!("Stale, and validated meanwhile: {age}."))
            }
            Judgement::Ask(forward, purpose) => {
                let (reason, text) = why_asked(cached, (*forward, *purpose), (resident, expired));
                (Outcome::Fails, reason, format!("{text} ({age})."))
            }
        };
        self.tell("freshness", outcome, reason, text);
        judgement
    }

    /// The fields by which the responses of a URL vary.
    fn varies_by(&self, key: &Key) -> String {
        let Sight::Found(found) = self.shared.tiers.sight(key, self.now) else { return "the selecting fields".into() };
        let Cached::Variants(variants) = found.entry.value() else { return "the selecting fields".into() };
        let lists: Vec<_> = variants.fields().map(|list| names(list).join(", ")).collect();
        lists.join("; or of ")
    }

    /// Servers leave the scheme out of HTTP/1 requests, so who knows the URL may look under the wrong one.
    fn elsewhere(&mut self) {
        let other = if self.request.uri().scheme() == Some(&Scheme::HTTPS) { Scheme::HTTP } else { Scheme::HTTPS };
        let mut parts = self.request.uri().clone().into_parts();
        parts.scheme = Some(other.clone());
        let Some(uri) = parts.authority.is_some().then(|| Uri::from_parts(parts).ok()).flatten() else { return };
        let mut request = self.request.clone();
        *request.uri_mut() = uri;
        let (request, extra) = extra_part(request, &self.shared.rules);
        let key = Teller::new(self.shared, &request).key(extra.as_deref());
        if key.is_some_and(|key| !matches!(self.shared.tiers.sight(&key, self.now), Sight::Nothing | Sight::Off)) {
            let text = format!(
                "Something is stored for the same URL with the scheme `{other}`: is that what clients ask for?"
            );
            self.tell("key", Outcome::Fails, "other-scheme", text);
        }
    }

    /// After memory: the tier that processes share, then the origin.
    async fn beyond(
        &mut self,
        key: &Key,
        (reason, purpose): (Forward, Purpose),
        unproven: Option<Found<Cached>>,
    ) -> End {
        let (mut reason, mut purpose) = (reason, purpose);
        if purpose != Purpose::Pass && self.shared.tiers.is_shared() {
            match self.shared(key, unproven).await {
                Reply::Answers(verdict) => return End(verdict, None),
                Reply::Asks(forward, other) => (reason, purpose) = (forward.unwrap_or(reason), other),
                Reply::Nothing | Reply::Unbelieved => {}
            }
        }
        if wants_only_cached(self.demands, self.request.headers()) {
            let text = "The request says `only-if-cached`: 504 instead of a trip to the origin.";
            self.tell("origin", Outcome::Fails, "only-if-cached", text);
            return End(Verdict::Error, Some(reason));
        }
        let text = match purpose {
            Purpose::Fill => "The origin is asked, and others who want the same wait for its answer.",
            Purpose::Alone => "The origin is asked for this request alone.",
            Purpose::Pass => "The origin is asked for this request alone, and the answer is not stored.",
        };
        self.tell("origin", Outcome::Passes, "asked", text);
        End(if purpose == Purpose::Pass { Verdict::Bypass } else { Verdict::Miss }, Some(reason))
    }

    async fn shared(&mut self, key: &Key, unproven: Option<Found<Cached>>) -> Reply {
        if let Some(obstacle) = self.shared.tiers.obstacle() {
            let (reason, text) = hindered(obstacle);
            self.tell("shared", Outcome::Fails, reason, text);
            return self.on_its_own(unproven);
        }
        match self.in_redis(key).await {
            Reply::Unbelieved => self.on_its_own(unproven),
            reply => reply,
        }
    }

    fn on_its_own(&mut self, unproven: Option<Found<Cached>>) -> Reply {
        let Some(found) = unproven.filter(|found| self.shared.tiers.is_recent(&found.entry, self.now)) else {
            return Reply::Nothing;
        };
        let Cached::Response(cached) = found.entry.value() else { return Reply::Nothing };
        let text = "Nobody can say what was invalidated: memory answers with what was current a short time ago.";
        self.tell("memory", Outcome::Passes, "recent", text);
        match self.judged(cached, found.entry.resident(self.now), found.expired) {
            Judgement::Serve(_) => Reply::Answers(Verdict::L1Hit),
            Judgement::ServeStale(_) => Reply::Asks(Some(Forward::Stale), Purpose::Fill),
            Judgement::Ask(reason, purpose) => Reply::Asks(Some(reason), purpose),
        }
    }

    #[cfg(not(feature = "redis"))]
    async fn in_redis(&mut self, _: &Key) -> Reply {
        std::future::ready(Reply::Nothing).await
    }

    #[cfg(feature = "redis")]
    async fn in_redis(&mut self, key: &Key) -> Reply {
        let variants = match self.entry_in_redis(key.bytes()).await {
            Ok(Cached::Variants(variants)) => variants,
            found => return self.of_redis(found),
        };
        let of_request = super::select::keys(&variants, key.bytes(), self.request.headers()).next();
        let Some(key) = of_request else { return Reply::Nothing };
        let found = self.entry_in_redis(&key).await;
        match self.of_redis(found) {
            Reply::Nothing => Reply::Asks(Some(Forward::VaryMiss), Purpose::Fill),
            reply => reply,
        }
    }

    /// An entry of Redis that nothing has invalidated hard.
    #[cfg(feature = "redis")]
    async fn entry_in_redis(&mut self, key: &[u8]) -> Result<Cached, Reply> {
        use crate::store::inspect::Verdict as Judged;
        let seen = match self.shared.store.see(key).await {
            Ok(Some(seen)) => seen,
            Ok(None) => {
                self.tell("shared", Outcome::Fails, "absent", "Redis has nothing under this key.");
                return Err(Reply::Nothing);
            }
            Err(error) => {
                self.tell("shared", Outcome::Fails, "unreachable", format!("{error}."));
                return Err(Reply::Nothing);
            }
        };
        let opened = seen.opened.map_err(|reject| {
            let why = super::inspect::Unreadable::from(reject);
            self.tell("shared", Outcome::Fails, "unreadable", format!("What Redis has cannot be read: {why}."));
            Reply::Nothing
        })?;
        let resident = Duration::from_millis(opened.envelope.life_ms).saturating_sub(seen.left);
        let cached = Cached::read(&opened.envelope.payload, resident).map(|decoded| decoded.value);
        let (verdict, Some(cached)) = (opened.verdict, cached) else {
            self.tell("shared", Outcome::Fails, "schema", "What Redis has was written by another version.");
            return Err(Reply::Nothing);
        };
        match verdict {
            Judged::Rejected(reason) => {
                let text = format!("What Redis has is not served: {}.", rejected(reason));
                self.tell("shared", Outcome::Fails, reason.as_str(), text);
                let held = reason == RejectReason::Held;
                Err(if held { Reply::Asks(None, Purpose::Alone) } else { Reply::Nothing })
            }
            Judged::Current | Judged::Expired if !self.shared.tiers.is_believed().await => {
                let text = format!("What Redis has is not served: {}.", rejected(RejectReason::Proof));
                self.tell("shared", Outcome::Fails, RejectReason::Proof.as_str(), text);
                Err(Reply::Unbelieved)
            }
            Judged::Current | Judged::Expired => {
                let text = format!("Redis has it, for another {}.", time(seen.left));
                self.tell("shared", Outcome::Passes, "found", text);
                match cached {
                    Cached::Response(response) => Err(self.of_shared(&response, verdict == Judged::Expired)),
                    other => Ok(other),
                }
            }
        }
    }

    #[cfg(feature = "redis")]
    fn of_redis(&mut self, found: Result<Cached, Reply>) -> Reply {
        let Err(reply) = found else {
            self.tell("shared", Outcome::Fails, "hit-for-miss", marked(Duration::ZERO));
            return Reply::Asks(None, Purpose::Alone);
        };
        reply
    }

    #[cfg(feature = "redis")]
    fn of_shared(&mut self, response: &CachedResponse, expired: bool) -> Reply {
        match self.judged(response, Duration::ZERO, expired) {
            Judgement::Serve(_) => Reply::Answers(Verdict::L2Hit),
            Judgement::ServeStale(_) => Reply::Answers(Verdict::Stale),
            Judgement::Ask(reason, purpose) => Reply::Asks(Some(reason), purpose),
        }
    }
}

/// What is wrong with what is in memory, if anything is.
fn unusable(sight: &Sight<Cached>, now: Instant) -> Option<(&'static str, String)> {
    match sight {
        Sight::Found(_) => None,
        Sight::Off => Some(("off", "The flag `l1` is off.".into())),
        Sight::Nothing => Some(("absent", "Memory has nothing under this key.".into())),
        Sight::Rejected(reason, found) => {
            let stored = time(found.entry.resident(now));
            let text = format!("What memory has, stored {stored} ago, is not used: {}.", rejected(*reason));
            Some((reason.as_str(), text))
        }
    }
}

fn rejected(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::Marker => "it was purged, or an unsafe request has invalidated it",
        RejectReason::Floor => "it is older than the oldest invalidation that is still known",
        RejectReason::Epoch => "it is of another epoch: Redis was restarted, promoted or emptied since",
        RejectReason::Expired => "its life is over",
        RejectReason::Proof => "nothing proves that it is current",
        RejectReason::Held => "what it is about is being changed, or purged",
        RejectReason::Key => "it is of another key with the same hash",
        _ => "it cannot be read",
    }
}

/// Why the origin has to be asked though a response is stored.
fn why_asked(
    cached: &CachedResponse,
    (forward, purpose): (Forward, Purpose),
    (resident, expired): (Duration, bool),
) -> (&'static str, &'static str) {
    let freshness = cached.facts().freshness();
    let within = freshness.staleness(resident) <= freshness.stale_while_revalidate();
    match forward {
        Forward::Partial => ("partial", "Too little of it is stored to answer this"),
        _ if purpose == Purpose::Pass => {
            ("personal", "The request has credentials, and nothing in the response says that it may be shared")
        }
        Forward::Request => ("reload", "The Cache-Control of the request asks for a fresher one"),
        _ if freshness.needs_validation() => ("no-cache", "The response wants to be validated for every use"),
        _ if expired => ("soft-purged", "It was purged softly: stale, whatever its age"),
        _ if freshness.is_fresh(resident) => ("reload", "The Cache-Control of the request asks for a fresher one"),
        _ if within && !freshness.stale_while_revalidate().is_zero() => {
            ("swr-off", "Stale within its stale-while-revalidate, but the flag `swr` is off")
        }
        _ => ("stale", "Stale"),
    }
}

fn hindered(obstacle: Obstacle) -> (&'static str, String) {
    match obstacle {
        Obstacle::NotShared => ("not-shared", "There is no Redis.".into()),
        Obstacle::Off => ("off", "The flag `l2` is off: Redis is not asked.".into()),
        Obstacle::Unfollowed => {
            ("unfollowed", "Redis has not told yet what was invalidated, so that it is not asked.".into())
        }
        Obstacle::NotReady => {
            ("not-ready", "The server did not answer the last poll, or takes no writes: it is not asked.".into())
        }
        Obstacle::Breaker(state) => ("breaker", format!("The breaker is {}: Redis is not asked.", state.as_str())),
    }
}

fn marked(left: Duration) -> String {
    let left = if left.is_zero() { String::new() } else { format!(", for another {}", time(left)) };
    format!("What came last could not be stored; it is remembered, so that requests do not wait for one another{left}.")
}

fn in_memory(sight: Sight<Cached>, now: Instant) -> Option<InMemory> {
    let (rejected, found) = match sight {
        Sight::Off | Sight::Nothing => return None,
        Sight::Found(found) => (None, found),
        Sight::Rejected(reason, found) => (Some(reason.as_str()), found),
    };
    let (entry, resident): (&Arc<Entry<Cached>>, _) = (&found.entry, found.entry.resident(now));
    let (state, response, varies_by) = match entry.value() {
        Cached::Uncacheable => ("uncacheable", None, Vec::new()),
        Cached::Variants(variants) => ("variants", None, variants.fields().map(<[HeaderName]>::to_vec).collect()),
        Cached::Response(cached) => {
            let fresh = cached.facts().freshness().is_fresh(resident) && !found.expired;
            let state = if fresh { "fresh" } else { "stale" };
            (state, Some(Response::of(cached, resident)), Vec::new())
        }
    };
    let (bytes, tags) = (entry.bytes(), entry.tags().count());
    Some(InMemory { state: rejected.unwrap_or(state), bytes, resident, tags, varies_by, response })
}

fn names(list: &[HeaderName]) -> Vec<&str> {
    list.iter().map(HeaderName::as_str).collect()
}

/// In seconds, with three digits behind the point.
fn time(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}
