//! Facts: from memory while it is proven that they are valid, else from the source, once for all who want the same.

use super::decision::{Decision, Unavailable, UnavailableReason};
use super::engine::Engine;
use super::facts::{Facts, Share};
use super::grants::{Grants, SourceVersion};
use super::principal::{SINGLE_TENANT, Who};
use super::requirement::Demand;
use super::source::{Boxed, LoadHint, caught};
use crate::clock::Instant;
use crate::observe::stats::{
    BypassReason, CheckStatus, Feature, FlightJoin, LockKind, LockResult, LookupResult, OriginOutcome, RejectReason,
    StoreResult, Tier,
};
use crate::store::{Beyond, Decoded, Entry, Fill, Glance, Join, Key, Landing, Lead, Memory, Ticket, Wait};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// What a load brings to all who wait for it.
pub(super) type Loaded = Result<Arc<Entry<Facts>>, Unavailable>;

/// Facts that answer, and how they were found.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) entry: Arc<Entry<Facts>>,
    pub(super) status: CheckStatus,
    /// They are past their deadline: the source failed.
    pub(super) is_stale: bool,
    /// Why what is cached was no help, if it was not to be used or failed.
    pub(super) bypass: Option<BypassReason>,
}

impl Known {
    /// As it was found, unless what is cached was no help.
    pub(super) fn found(entry: Arc<Entry<Facts>>, status: CheckStatus, bypass: Option<BypassReason>) -> Self {
        let status = if bypass.is_some() { CheckStatus::Bypass } else { status };
        Self { entry, status, is_stale: false, bypass }
    }

    pub(super) fn facts(&self) -> &Facts {
        self.entry.value()
    }
}

/// The ticket for what the source says, and why the tier that processes share was no help, if it failed.
pub(super) type Unanswered = (Ticket, Option<BypassReason>);

/// What answers, how it was found, and what failed before.
type Brought = (Arc<Entry<Facts>>, CheckStatus, Option<BypassReason>);

/// What facts have to be like.
#[derive(Clone, Debug, Default)]
pub(super) struct Want {
    pub(super) demand: Demand,
    /// Younger than this.
    pub(super) below: Option<Duration>,
    /// How long past their deadline they are used if the source fails.
    pub(super) stale: Duration,
}

impl Want {
    fn is_met_by(&self, facts: &Facts, now: Instant) -> bool {
        let young = self.below.is_none_or(|below| facts.age(now) < below);
        young && facts.grants.version >= self.demand.version
    }
}

/// What memory has.
pub(super) enum Look {
    Known(Known),
    Load(Ticket),
    /// The same, and what others have begun to load is of no use.
    Bypass(Ticket, BypassReason),
}

impl Engine {
    /// The facts about somebody, whatever they are wanted for.
    pub(super) async fn facts(self: &Arc<Self>, who: &Who, asked: Instant) -> Result<Known, Unavailable> {
        self.seek(who, &Want::default(), asked).await
    }

    /// Facts from memory, if they may be used at once.
    #[inline]
    pub(super) fn glance(&self, key: &[u8], want: &Want, now: Instant) -> Option<Arc<Entry<Facts>>> {
        if self.bypass(want, now).is_some() {
            return None;
        }
        let Glance::Found(found) = self.tiers.glance(self.tiers.hash(key), key, now) else {
            return None;
        };
        let facts = found.entry.value();
        let usable = !found.expired && now < facts.deadline && want.is_met_by(facts, now);
        usable.then_some(found.entry)
    }

    /// Why memory must not be asked, if there is a reason.
    #[inline]
    fn bypass(&self, want: &Want, now: Instant) -> Option<BypassReason> {
        if !self.tiers.flags().is_on(Feature::Authz) {
            return Some(BypassReason::Disabled);
        }
        if !self.ring.is_joined(now) {
            // While nobody answers, nobody can say who has which keys either.
            return Some(if self.is_told(now) { BypassReason::Ring } else { BypassReason::Unproven });
        }
        if want.demand.fresh {
            return Some(BypassReason::Fresh);
        }
        if want.demand.receipt.as_ref().is_some_and(|receipt| !self.tiers.covers(receipt)) {
            return Some(BypassReason::Behind);
        }
        (!self.is_told(now)).then_some(BypassReason::Unproven)
    }

    /// Whether revocations of others are heard in time.
    pub(super) fn hears(&self, now: Instant) -> bool {
        self.ring.is_joined(now) && self.is_told(now)
    }

    /// Whether the tier that processes share is heard, if there is one.
    fn is_told(&self, now: Instant) -> bool {
        !self.tiers.is_cut_off() && self.tiers.is_proven(now)
    }

    pub(super) fn look(&self, key: &Key, want: &Want, asked: Instant) -> Look {
        if let Some(reason) = self.bypass(want, asked) {
            return Look::Bypass(self.tiers.ticket(key.clone(), asked), reason);
        }
        let (found, ticket) = self.tiers.lookup(key.clone(), asked);
        let observe = self.tiers.observe();
        let found = match found {
            Memory::Found(found) => found,
            Memory::Held => return Look::Bypass(ticket, BypassReason::Held),
            Memory::Unproven(_) => return Look::Bypass(ticket, BypassReason::Unproven),
            Memory::Nothing => return Look::Load(ticket),
        };
        let usable = !found.expired && asked < found.entry.value().deadline;
        if usable && want.is_met_by(found.entry.value(), asked) {
            observe.lookup(Tier::L1, LookupResult::Hit);
            return Look::Known(Known::found(found.entry, CheckStatus::L1CacheHit, None));
        }
        self.reject(Tier::L1);
        Look::Load(ticket)
    }

    /// Counts facts that were found and are not used: their time is over, or they are older than is wanted.
    fn reject(&self, tier: Tier) {
        self.tiers.observe().lookup(tier, LookupResult::Rejected);
        self.tiers.observe().rejected(tier, RejectReason::Expired);
    }

    /// Finds facts that are as they are wanted.
    pub(super) async fn seek(self: &Arc<Self>, who: &Who, want: &Want, asked: Instant) -> Result<Known, Unavailable> {
        let bytes = self.keys.permissions(who);
        let key = Key::new(self.tiers.hash(&bytes), &bytes);
        match self.find(who, &key, want, asked).await {
            Err(error) => self.outdated(&key, want).ok_or(error),
            known => known,
        }
    }

    /// What is past its deadline, where that is accepted, nobody has revoked it, and that is proven.
    fn outdated(&self, key: &Key, want: &Want) -> Option<Known> {
        let now = self.tiers.clock().now();
        let longest = want.stale.min(self.tiers.settings().authz_stale_if_error());
        // Where not all revocations are heard, nothing outlives its deadline.
        let all_heard = self.is_heard() && self.unfenced.is_none();
        if longest.is_zero() || !all_heard || self.bypass(want, now).is_some() {
            return None;
        }
        let Glance::Found(found) = self.tiers.glance(key.hash(), key.bytes(), now) else {
            return None;
        };
        let facts = found.entry.value();
        let recent = now.duration_since(facts.deadline) <= longest;
        if found.expired || !recent || !want.is_met_by(facts, now) {
            return None;
        }
        self.tiers.observe().lookup(Tier::L1, LookupResult::Stale);
        self.tiers.observe().stale_used();
        Some(Known { is_stale: true, ..Known::found(found.entry, CheckStatus::L1CacheHit, None) })
    }

    async fn find(self: &Arc<Self>, who: &Who, key: &Key, want: &Want, asked: Instant) -> Result<Known, Unavailable> {
        let mut reason = None;
        loop {
            let (ticket, bypass) = match self.look(key, want, asked) {
                Look::Known(known) => {
                    self.look_ahead(who, &known.entry, asked);
                    return Ok(known);
                }
                Look::Load(ticket) => (ticket, None),
                Look::Bypass(ticket, bypass) => (ticket, Some(bypass)),
            };
            let mut bypassed = |bypass: Option<BypassReason>| {
                if let Some(bypass) = bypass
                    && reason.replace(bypass).is_none()
                {
                    self.tiers.observe().bypass(bypass);
                }
            };
            bypassed(bypass);
            if let Some((entry, status, silence)) = self.join(who, ticket, (want, bypass.is_some()), asked).await? {
                bypassed(silence);
                return Ok(Known::found(entry, status, bypass.or(silence)));
            }
        }
    }

    /// Finds out, or waits for who does. `None` if what that brought is of no use here. If it has to be `later`, only what
    /// the source says after the request came is of use.
    async fn join(
        self: &Arc<Self>,
        who: &Who,
        ticket: Ticket,
        (want, later): (&Want, bool),
        asked: Instant,
    ) -> Result<Option<Brought>, Unavailable> {
        let key = ticket.key().clone();
        match self.flights.join(key.hash(), self.tiers.clock().now()) {
            Join::Wait(flight) => {
                let taken = self.follow(flight, &key, (want, later), asked).await?;
                Ok(taken.map(|(entry, status)| (entry, status, None)))
            }
            Join::Lead(lead) => {
                self.tiers.observe().lock(LockKind::Local, LockResult::Acquired);
                self.lead(lead, who, ticket, (want, later), asked).await.map(Some)
            }
        }
    }

    /// How long a check that came then still waits for the source.
    pub(super) fn left(&self, asked: Instant) -> Duration {
        let now = self.tiers.clock().now();
        self.tiers.settings().source_timeout().saturating_sub(now.duration_since(asked))
    }

    /// Waits for somebody else's flight.
    async fn wait(&self, flight: Wait<Loaded>, asked: Instant) -> Result<Landing<Loaded>, Unavailable> {
        let (observe, started) = (self.tiers.observe(), self.tiers.clock().now());
        observe.lock(LockKind::Local, LockResult::Contended);
        let waiting = tokio::time::timeout(self.left(asked), flight);
        let landing = observe.waiting(LockKind::Local).within(waiting).await;
        observe.lock_wait(LockKind::Local, started);
        landing.map_err(|_| {
            observe.lock(LockKind::Local, LockResult::Timeout);
            UnavailableReason::Timeout.into()
        })
    }

    pub(super) async fn follow(
        &self,
        flight: Wait<Loaded>,
        key: &Key,
        (want, later): (&Want, bool),
        asked: Instant,
    ) -> Result<Option<(Arc<Entry<Facts>>, CheckStatus)>, Unavailable> {
        let begun = flight.begun();
        match self.wait(flight, asked).await? {
            Landing::Entry(Err(error)) if error.is_for(want.demand.version) && (!later || begun > asked) => Err(error),
            Landing::Entry(Ok(entry)) => {
                let taken = self.accepts(&entry, key, (want, later), (begun, asked));
                let result = if taken { FlightJoin::Taken } else { FlightJoin::Refused };
                self.tiers.observe().flight_join(result);
                Ok(taken.then_some((entry, CheckStatus::Coalesced)))
            }
            Landing::Entry(Err(_)) | Landing::Abandoned | Landing::Uncacheable => Ok(None),
        }
    }

    /// Finds out for all who wait. Whoever leaves before the source is asked leaves that to one of them.
    pub(super) async fn lead(
        self: &Arc<Self>,
        lead: Lead<Loaded>,
        who: &Who,
        ticket: Ticket,
        (want, later): (&Want, bool),
        asked: Instant,
    ) -> Result<Brought, Unavailable> {
        let now = self.tiers.clock().now();
        // Somebody may have landed between the look and the join.
        if let Some(entry) = self.glance(ticket.key().bytes(), want, now).filter(|_| !later) {
            self.tiers.observe().lookup(Tier::L1, LookupResult::Hit);
            lead.land(Landing::Entry(Ok(Arc::clone(&entry))));
            return Ok((entry, CheckStatus::L1CacheHit, None));
        }
        let (ticket, silence) = match self.look_beyond(who, ticket, (want, later)).await {
            Ok(entry) => {
                lead.land(Landing::Entry(Ok(Arc::clone(&entry))));
                if self.tiers.settings().samples_consistency() {
                    self.compare(who, &entry);
                }
                return Ok((entry, CheckStatus::L2CacheHit, None));
            }
            Err(unanswered) => unanswered,
        };
        let Join::Wait(flight) = self.flights.join(ticket.key().hash(), now) else {
            unreachable!("whoever leads keeps the flight in its place");
        };
        self.depart(lead, ticket, who.clone(), want.demand.version)?;
        Ok((self.landed(flight, asked).await?, CheckStatus::Miss, silence))
    }

    /// What a flight of this check's own brings.
    pub(super) async fn landed(&self, flight: Wait<Loaded>, asked: Instant) -> Loaded {
        match tokio::time::timeout(self.left(asked), flight).await.map_err(|_| UnavailableReason::Timeout)? {
            Landing::Entry(loaded) => loaded,
            Landing::Abandoned | Landing::Uncacheable => Err(UnavailableReason::Runtime.into()),
        }
    }

    /// What the tier that processes share has, if that may be used.
    pub(super) async fn look_beyond(
        &self,
        who: &Who,
        ticket: Ticket,
        (want, later): (&Want, bool),
    ) -> Result<Arc<Entry<Facts>>, Unanswered> {
        let is_cached = self.tiers.flags().is_on(Feature::Authz) && self.ring.is_joined(self.tiers.clock().now());
        if !self.tiers.is_shared() || !is_cached {
            return Err((ticket, None));
        }
        if later {
            return Err((self.tiers.as_told(ticket), None));
        }
        let (tags, until) = (self.tagger.tags(who), self.tiers.patience());
        let key = ticket.key().clone();
        let prepare = |decoded: &mut Decoded<Facts>| self.prepare(who, &key, decoded);
        match self.tiers.look_beyond(ticket, (&tags, self.namespace), until, prepare).await {
            Beyond::Found(found, ticket) => {
                let (facts, now) = (found.entry.value(), self.tiers.clock().now());
                let usable = !found.expired && now < facts.deadline && want.is_met_by(facts, now);
                if usable {
                    self.tiers.observe().authz_l2_hit();
                    return Ok(found.entry);
                }
                self.reject(Tier::L2);
                Err((ticket, None))
            }
            Beyond::Missed(ticket) | Beyond::Held(ticket) => Err((ticket, None)),
            Beyond::Silent(ticket) => Err((ticket, self.tiers.silence())),
        }
    }

    /// Facts of another process last no longer than this one's would, and take their place in its memory.
    fn prepare(&self, who: &Who, key: &Key, decoded: &mut Decoded<Facts>) {
        let facts = &mut decoded.value;
        facts.deadline = facts.deadline.min(facts.begun + self.life_of(facts.decision));
        match self.shares(who, key, facts, decoded.bytes) {
            Some(shares) => facts.shares = shares,
            None => decoded.life = Duration::ZERO,
        }
    }

    /// Whether what another's load brought answers a request. What was read from the source after the request came does,
    /// whatever has been revoked since: it is as if the request had asked itself.
    fn accepts(
        &self,
        entry: &Arc<Entry<Facts>>,
        key: &Key,
        (want, later): (&Want, bool),
        (begun, asked): (Instant, Instant),
    ) -> bool {
        let valid = || {
            let found = self.tiers.accept(Arc::clone(entry), begun, asked);
            !later && found.is_some_and(|found| !found.expired)
        };
        let now = self.tiers.clock().now();
        entry.key() == key.bytes() && want.is_met_by(entry.value(), now) && (entry.value().begun > asked || valid())
    }

    /// Begins a load in a task of its own: who leaves neither ends it nor leaves it half done.
    fn depart(
        self: &Arc<Self>,
        lead: Lead<Loaded>,
        ticket: Ticket,
        who: Who,
        at_least: Option<SourceVersion>,
    ) -> Result<(), Unavailable> {
        let runtime = Handle::try_current().map_err(|_| UnavailableReason::Runtime)?;
        let engine = Arc::clone(self);
        // Detached on purpose: it has a time limit.
        let observe = self.tiers.observe().clone();
        let loading = observe.filling().within(async move {
            let begun = engine.tiers.clock().now();
            let loaded = engine.load(ticket, &who, at_least, begun).await;
            if let Err(error) = &loaded {
                engine.tiers.observe().fill_error(error);
            }
            lead.land(Landing::Entry(loaded));
        });
        drop(runtime.spawn(observe.within_span(loading)));
        Ok(())
    }

    async fn load(&self, ticket: Ticket, who: &Who, at_least: Option<SourceVersion>, begun: Instant) -> Loaded {
        let under_way = self.tiers.observe().fill(begun);
        // Settings may have changed.
        self.tiers.observe().revocation_bound(self.bound());
        let call = self.source.load(who, LoadHint::at_least(at_least));
        let grants = self.bounded(call, self.tiers.settings().source_timeout()).await?;
        if grants.version < at_least {
            return Err(Unavailable::behind(grants.version));
        }
        let entry = self.keep(ticket, who, (grants, None), begun)?;
        under_way.stored(self.tiers.clock().now());
        Ok(entry)
    }

    /// Calls the application: with a time limit, when it is its turn, and whatever it does. Half of the time is for the
    /// call: where more is asked than can be answered, a turn that comes too late to be used would be one that nobody has.
    pub(super) async fn bounded<T>(
        &self,
        mut call: Boxed<'_, Result<T, Unavailable>>,
        budget: Duration,
    ) -> Result<T, Unavailable> {
        if budget.is_zero() {
            return Err(UnavailableReason::Timeout.into());
        }
        let begun = self.tiers.clock().now();
        let turn = tokio::time::timeout(budget / 2, self.permits.acquire()).await;
        let _permit = turn.ok().and_then(Result::ok).ok_or(UnavailableReason::Shed)?;
        let left = budget.saturating_sub(self.tiers.clock().now().duration_since(begun));
        let origin = self.tiers.observe().origin_call();
        let called = tokio::time::timeout(left, caught(call.as_mut())).await;
        let called = called.map_or(Err(UnavailableReason::Timeout.into()), |called| called?);
        let outcome = match &called {
            Ok(_) => OriginOutcome::Ok,
            Err(error) if error.reason() == UnavailableReason::Timeout => OriginOutcome::Timeout,
            Err(_) => OriginOutcome::ServerError,
        };
        let _ = origin.finish(outcome);
        called
    }

    /// How long what was found out is used.
    fn life_of(&self, decision: Option<Decision>) -> Duration {
        match decision {
            Some(Decision::Deny(_)) => self.ttl().min(self.tiers.settings().authz_deny_ttl()),
            Some(Decision::Allow) | None => self.ttl(),
        }
    }

    /// Stores what the source has said, or the authorizer, until it ends.
    pub(super) fn keep(
        &self,
        ticket: Ticket,
        who: &Who,
        (grants, decision): (Grants, Option<Decision>),
        begun: Instant,
    ) -> Loaded {
        let (now, wall) = (self.tiers.clock().now(), self.tiers.clock().wall());
        let end = match grants.first_end(wall).map(|end| end.duration_since(wall)) {
            Some(Ok(left)) if !left.is_zero() => now + left,
            Some(_) => return Err(UnavailableReason::Ended.into()),
            None => now + Duration::MAX,
        };
        let ttl = self.life_of(decision).mul_f64(1.0 - 0.1 * fastrand::f64());
        let deadline = (begun + ttl).min(end);
        // What is not to be cached is not kept for later either.
        let is_kept_later = !ttl.is_zero() && decision.is_none();
        let after = if is_kept_later { self.tiers.settings().authz_stale_if_error() } else { Duration::ZERO };
        let until = (deadline + after).min(end);
        let (life, bytes) = (until.duration_since(now), grants.bytes());
        let tried = AtomicU64::new(0);
        let mut facts = Facts { grants, decision, begun, deadline, shares: Vec::new(), tried };
        let is_kept = !life.is_zero() && facts.grants.is_kept();
        let shares = if is_kept { self.shares(who, ticket.key(), &facts, bytes) } else { None };
        let kept = shares.is_some();
        facts.shares = shares.unwrap_or_default();
        let tags = self.tagger.tags(who);
        let fill = Fill { value: facts, bytes, tags, life, namespace: self.namespace };
        if kept {
            return Ok(self.tiers.fill(ticket, fill));
        }
        let result = if life.is_zero() { StoreResult::Skipped } else { StoreResult::TooLarge };
        self.tiers.observe().stored(Tier::L1, result);
        if !life.is_zero() {
            // There may be room elsewhere.
            self.tiers.tell(&ticket, &fill, None);
        }
        Ok(self.tiers.entry(ticket, fill))
    }

    /// Takes what an entry needs of its tenant's memory, and of what is for those who may do nothing; `None` if that is
    /// used up, also by what is not over.
    fn shares(&self, who: &Who, key: &Key, facts: &Facts, bytes: usize) -> Option<Vec<Share>> {
        let bytes = (bytes + key.bytes().len() + OVERHEAD) as u64;
        self.take(who, facts, bytes).or_else(|| {
            let now = self.tiers.clock().now();
            if self.shares.sweeps(now) {
                self.tiers.forget_what_is_over(now);
            }
            self.take(who, facts, bytes)
        })
    }

    fn take(&self, who: &Who, facts: &Facts, bytes: u64) -> Option<Vec<Share>> {
        let (limit, tenant) = (self.config.authz_l1_limit(), who.tenant.as_str());
        let share = if tenant == SINGLE_TENANT { limit } else { self.config.tenant_limit() };
        let mut shares = vec![self.shares.take(self.tiers.hash(tenant.as_bytes()), bytes, share)?];
        if facts.allow_nothing() {
            // No tenant has an empty name.
            shares.push(self.shares.take(self.tiers.hash(b""), bytes, limit / 10)?);
        }
        Some(shares)
    }

    /// What a wall clock says, only where something ends.
    pub(super) fn wall(&self) -> SystemTime {
        self.tiers.clock().wall()
    }
}

/// What an entry takes beside its permissions and its key: itself, and what the engine keeps of it.
const OVERHEAD: usize = 600;
