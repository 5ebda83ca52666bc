//! The entries of one kind of value in the tier that processes share.

use super::coherence::{Standing, Tag};
use super::l2::L2;
use super::lease::Lease;
use super::remote::{Envelope, Epoch, Fault, Format, Looked, Mark, Polled, Positions, Receipt, TagName};
use super::writes::Writes;
use crate::clock::Instant;
use crate::config::Flags;
use crate::danger::{Protection, is_off};
use crate::observe::Observe;
use crate::observe::stats::{
    BreakerState, BypassReason, Feature, Found, L2Op, LookupResult, RejectReason, StoreResult, Tier,
};
use bytes::Bytes;
use std::future::Future;
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;

/// Where the entries of one kind are. All stocks of a store are in one tier.
pub(crate) struct Stock {
    pub(super) l2: Arc<L2>,
    /// How they are kept; then how they were, for what is still there. All have the same tags.
    formats: Box<[Arc<dyn Format>]>,
    /// Whether it is used.
    feature: Feature,
    flags: Flags,
    writes: Writes,
    observe: Observe,
}

/// What a look into the shared tier came to.
pub(crate) enum Shared {
    /// An entry that is proven valid.
    Found(Entered),
    /// Nothing that may be used, and the stamp for what is fetched instead.
    Missed(Receipt),
    /// The same, and somebody changes what it is about.
    Held(Receipt),
    /// No answer: nothing can be stored there either.
    Silent,
}

/// Why the shared tier is not asked.
#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// There is none.
    NotShared,
    /// It is switched off.
    Off,
    /// No poll has told yet what was invalidated.
    Unfollowed,
    /// The breaker is not closed.
    Breaker(BreakerState),
    /// The server was last seen to take no writes, or not seen.
    NotReady,
}

/// An entry of the shared tier.
pub(crate) struct Entered {
    pub(crate) payload: Bytes,
    pub(crate) tags: Vec<Tag>,
    /// Up to here no tag of it was invalidated, other than softly if it is `expired`.
    pub(crate) stamp: Receipt,
    /// The stamp for what is fetched now.
    pub(crate) now: Receipt,
    /// How long it has been there.
    pub(crate) resident: Duration,
    pub(crate) expired: bool,
}

/// An entry for the shared tier.
pub(crate) struct Leaving {
    pub(crate) key: Arc<[u8]>,
    pub(crate) payload: Bytes,
    pub(crate) tags: Vec<Tag>,
    pub(crate) stamp: Receipt,
    pub(crate) life: Duration,
    /// Other processes wait until it is there.
    pub(crate) lease: Option<Lease>,
}

/// So much later than the server's clock says an entry may have been stored: two processes know that clock to some
/// milliseconds, and servers correct theirs by small steps.
const CLOCK_SLACK_MS: u64 = 1000;

/// What an entry is not served for.
type Verdict<T> = Result<T, RejectReason>;

impl Stock {
    pub(super) fn new(l2: &Arc<L2>, formats: Box<[Arc<dyn Format>]>, feature: Feature, observe: Observe) -> Self {
        let (l2, flags) = (Arc::clone(l2), l2.settings.flags());
        Self { l2, formats, feature, flags, writes: Writes::default(), observe }
    }

    /// Looks for an entry, which carries `tags`, until then.
    pub(crate) async fn lookup(&self, key: &[u8], tags: &[Tag], until: Instant) -> Shared {
        let mut found = Shared::Silent;
        for format in &self.formats {
            found = self.look(&**format, (key, tags), until).await;
            if !matches!(found, Shared::Missed(_)) {
                break;
            }
        }
        found
    }

    fn is_asked(&self, now: Instant) -> bool {
        self.flags.is_on(self.feature) && self.l2.is_asked(now)
    }

    /// Why it would not be asked now, if it would not: by what [`is_asked`](Self::is_asked) and [`look`](Self::look) go,
    /// without taking the place of a probe.
    #[cfg(feature = "admin")]
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        let l2 = &*self.l2;
        if !self.flags.is_on(self.feature) || !l2.is_on() {
            Some(Obstacle::Off)
        } else if l2.mirror.followed().is_none() {
            Some(Obstacle::Unfollowed)
        } else if l2.data.state() != BreakerState::Closed {
            Some(Obstacle::Breaker(l2.data.state()))
        } else {
            (!l2.takes_writes.load(Ordering::Relaxed)).then_some(Obstacle::NotReady)
        }
    }

    /// Whether what it says now counts.
    #[cfg(feature = "admin")]
    pub(super) async fn is_believed(&self) -> bool {
        let Some(epoch) = self.l2.mirror.epoch() else { return false };
        self.l2.vouches_for(&epoch, self.l2.patience()).await
    }

    /// Why it gives no answer now, if that is nobody's choice.
    pub(super) fn silence(&self) -> Option<BypassReason> {
        let l2 = &*self.l2;
        if !self.flags.is_on(self.feature) || !l2.is_on() {
            None
        } else if l2.data.state() != BreakerState::Closed {
            Some(BypassReason::Breaker)
        } else if l2.mirror.is_proven(l2.clock.now(), l2.settings.max_lag()) {
            Some(BypassReason::L2Error)
        } else {
            Some(BypassReason::Unproven)
        }
    }

    async fn look(&self, format: &dyn Format, (key, tags): (&[u8], &[Tag]), until: Instant) -> Shared {
        let l2 = &*self.l2;
        let started = l2.clock.now();
        let Some(Receipt { epoch, position }) = l2.mirror.followed().filter(|_| self.is_asked(started)) else {
            self.observe.lookup(Tier::L2, LookupResult::Skipped);
            return Shared::Silent;
        };
        let whole = l2.is_whole(started, until);
        let looking = self.observe.looking(Tier::L2);
        let asked = l2.remote.lookup(&epoch, position, (format.name(key), format.max_bytes()));
        // With the whole budget it ends by itself.
        let asked = if whole { asked } else { Box::pin(l2.by(until, asked)) };
        let looked = looking.within(l2.counted(L2Op::Get, asked)).await;
        let answered = looked.is_ok();
        let found = match looked {
            Ok(looked) => looking.within(self.judge(epoch, (format, key, tags), looked, until)).await,
            Err(fault) => Err(fault),
        };
        l2.tell_breaker(found.as_ref().err().copied(), (answered, whole));
        self.observe.l2_lookup_took(timed(&found), started);
        looking.found(timed(&found));
        found.unwrap_or_else(|fault| {
            l2.fault(fault);
            looking.failed(fault.kind());
            self.observe.authz_l2_error(L2Op::Get, fault.kind());
            let result = if fault == Fault::Timeout { LookupResult::Timeout } else { LookupResult::Error };
            self.observe.lookup(Tier::L2, result);
            Shared::Silent
        })
    }

    async fn judge(
        &self,
        epoch: Epoch,
        (format, key, tags): (&dyn Format, &[u8], &[Tag]),
        looked: Looked,
        until: Instant,
    ) -> Result<Shared, Fault> {
        let stamp = match looked.news {
            Polled::Changes { position, .. } | Polled::TooMany { position } => Receipt { epoch, position },
            Polled::OtherEpoch => return Box::pin(self.is_unproven(looked.entry, RejectReason::Epoch, until)).await,
            Polled::WentBack => return Box::pin(self.is_unproven(looked.entry, RejectReason::Regress, until)).await,
        };
        let Some(bytes) = looked.entry else {
            self.observe.lookup(Tier::L2, LookupResult::Miss);
            let is_held = self.is_held(&stamp, &looked.news, tags);
            return Ok(if is_held { Shared::Held(stamp) } else { Shared::Missed(stamp) });
        };
        let verdict = match format.decode(key, bytes).and_then(|envelope| self.aged(envelope)) {
            Ok(Some(aged)) => self.check((&stamp, &looked.news), aged, tags, until).await?,
            Ok(None) => {
                // It is over, only not removed yet.
                self.observe.lookup(Tier::L2, LookupResult::Miss);
                return Ok(Shared::Missed(stamp));
            }
            Err(reason) => Err(reason),
        };
        Ok(match verdict {
            Ok(entered) if self.l2.vouches_for(&stamp.epoch, until).await => Shared::Found(entered),
            Ok(_) => {
                self.reject(RejectReason::Proof);
                Shared::Silent
            }
            Err(reason) => {
                self.reject(reason);
                if reason == RejectReason::Held { Shared::Held(stamp) } else { Shared::Missed(stamp) }
            }
        })
    }

    /// An entry with how long it has been there; `None` if it is over.
    fn aged(&self, envelope: Envelope) -> Verdict<Option<(Envelope, Duration)>> {
        let Some(now) = self.l2.remote.time() else { return Ok(None) };
        if envelope.stored_ms > now.latest + CLOCK_SLACK_MS {
            // By a clock that was set back since, it would live longer than it was stored for.
            return Err(RejectReason::Expired);
        }
        Ok(envelope.resident(now.latest).map(|resident| (envelope, resident)))
    }

    /// What is there belongs to an epoch that we do not follow yet, or that has lost what we know of it. The stamp is taken
    /// before the fetch all the same.
    async fn is_unproven(&self, entry: Option<Bytes>, reason: RejectReason, until: Instant) -> Result<Shared, Fault> {
        self.l2.wake.notify_one();
        let now = self.l2.counted(L2Op::Script, self.l2.by(until, self.l2.remote.current())).await?;
        match entry {
            Some(_) => self.reject(reason),
            None => self.observe.lookup(Tier::L2, LookupResult::Miss),
        }
        Ok(Shared::Missed(now))
    }

    fn reject(&self, reason: RejectReason) {
        self.observe.lookup(Tier::L2, LookupResult::Rejected);
        self.observe.rejected(Tier::L2, reason);
    }

    /// Whether an entry survives what was invalidated since its stamp. It carries `known` whatever it says itself.
    async fn check(
        &self,
        (now, news): (&Receipt, &Polled),
        (mut envelope, resident): (Envelope, Duration),
        known: &[Tag],
        until: Instant,
    ) -> Result<Verdict<Entered>, Fault> {
        let mut tags: Vec<Tag> = take(&mut envelope.tags).into_iter().map(Tag::named).collect();
        for tag in known {
            if !tags.contains(tag) {
                tags.push(*tag);
            }
        }
        let survives = match self.survives_news(now, news, &envelope, &tags) {
            Some(survives) => survives,
            // Boxed, for it is seldom needed.
            None => Box::pin(self.survives_record(now, (&envelope, &tags), until)).await?,
        };
        let expired = match survives {
            Ok(expired) => expired,
            Err(reason) => return Ok(Err(reason)),
        };
        let stamp =
            if expired { Receipt { epoch: now.epoch.clone(), position: envelope.position } } else { now.clone() };
        Ok(Ok(Entered { payload: envelope.payload, tags, stamp, now: now.clone(), resident, expired }))
    }

    /// By what the mirror knows and what happened since. Together that is everything (the model's
    /// `marks_of_mirror_and_news`), unless the entry is older than what the mirror knows, or too much has happened: then
    /// there is no verdict.
    fn survives_news(&self, now: &Receipt, news: &Polled, envelope: &Envelope, tags: &[Tag]) -> Option<Verdict<bool>> {
        let Polled::Changes { marks, floor, .. } = news else {
            return None;
        };
        if envelope.position > now.position {
            // Stored since, on another node than the record's; or the record is an old one.
            return None;
        }
        if let Err(reason) = is_remembered(envelope, now, *floor) {
            return Some(Err(reason));
        }
        let stamp = Receipt { epoch: now.epoch.clone(), position: envelope.position };
        Some(match self.l2.mirror.standing_with(&stamp, tags, marks)? {
            Standing::Current => Ok(false),
            Standing::Expired => Ok(true),
            Standing::Held => Err(RejectReason::Held),
            Standing::Dead => Err(RejectReason::Marker),
        })
    }

    /// By the record itself, which has to be asked.
    async fn survives_record(
        &self,
        now: &Receipt,
        (envelope, tags): (&Envelope, &[Tag]),
        until: Instant,
    ) -> Result<Verdict<bool>, Fault> {
        // Everything is carried by every entry without being written down.
        let names: Vec<TagName> = std::iter::once(&Tag::EVERYTHING).chain(tags).map(|tag| tag.name()).collect();
        let asked = self.l2.by(until, self.l2.remote.positions(&now.epoch, &names));
        let Some(positions) = self.l2.counted(L2Op::Get, asked).await? else { return Ok(Err(RejectReason::Epoch)) };
        // The record may have been written by somebody who may not: what was seen of it before still counts.
        let stamp = Receipt { epoch: envelope.epoch.clone(), position: envelope.position };
        if self.l2.mirror.has_seen(&stamp, tags) {
            return Ok(Err(RejectReason::Marker));
        }
        Ok(survives(envelope, now, &positions))
    }

    /// Whether somebody changes what carries `tags`, as far as it is known: if not, some may wait for one that fetches.
    fn is_held(&self, now: &Receipt, news: &Polled, tags: &[Tag]) -> bool {
        let Polled::Changes { marks, .. } = news else { return false };
        self.l2.mirror.standing_with(now, tags, marks) == Some(Standing::Held)
    }

    /// Sends an entry, in the background: nobody waits for it, and one too many is not sent. Its time begins now.
    pub(crate) fn store(self: &Arc<Self>, leaving: Leaving) {
        let l2 = &*self.l2;
        let (Ok(runtime), true) = (Handle::try_current(), self.flags.is_on(self.feature) && l2.is_on()) else {
            return self.observe.stored(Tier::L2, StoreResult::Skipped);
        };
        let can_be_stored = l2.takes_writes.load(Ordering::Relaxed) && l2.has_room.load(Ordering::Relaxed);
        let now = l2.remote.time().filter(|_| can_be_stored && l2.data.state() == BreakerState::Closed);
        let Some(now) = now else {
            return self.observe.stored(Tier::L2, StoreResult::Skipped);
        };
        let limits = (l2.settings.l2_writes(), l2.settings.l2_write_bytes());
        let Some(room) = self.writes.reserve(leaving.payload.len() as u64, limits) else {
            return self.observe.stored(Tier::L2, StoreResult::Dropped);
        };
        let this = Arc::clone(self);
        // Detached on purpose: it has a time limit, and ends with the runtime.
        let storing = self.observe.storing();
        let span = storing.clone();
        let work = storing.within(async move {
            // As old as it may be, so that it is kept nowhere longer than here.
            let result = this.send(leaving, now.earliest).await;
            this.observe.stored(Tier::L2, result);
            span.stored(result);
            drop(room);
        });
        drop(runtime.spawn(self.observe.within_span(work)));
    }

    async fn send(&self, leaving: Leaving, stored_ms: u64) -> StoreResult {
        let l2 = &*self.l2;
        let Leaving { key, payload, tags, stamp, life, lease } = leaving;
        let life = life.min(l2.settings.l2_ttl());
        let envelope = Envelope {
            epoch: stamp.epoch,
            position: stamp.position,
            tags: tags.iter().map(|tag| tag.name()).collect(),
            stored_ms,
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
            payload,
        };
        let Some((format, value)) =
            self.formats.first().and_then(|format| Some((format, format.encode(&key, &envelope)?)))
        else {
            return StoreResult::TooLarge;
        };
        let storing = l2.counted(L2Op::Set, l2.remote.store(format.name(&key), value, life));
        match lending(lease, l2.settings.read_budget(), storing).await {
            Ok(()) => StoreResult::Ok,
            Err(fault) => {
                l2.fault(fault);
                self.observe.authz_l2_error(L2Op::Set, fault.kind());
                match fault {
                    Fault::Timeout => StoreResult::Timeout,
                    Fault::Oom | Fault::ReadOnly => StoreResult::Rejected,
                    _ => StoreResult::Error,
                }
            }
        }
    }
}

fn timed(found: &Result<Shared, Fault>) -> Found {
    match found {
        Ok(Shared::Found(_)) => Found::Hit,
        Ok(Shared::Missed(_) | Shared::Held(_) | Shared::Silent) => Found::Miss,
        Err(_) => Found::Error,
    }
}

/// Others wait for an entry no longer than for a look-up: after that they may fetch it themselves.
async fn lending<T>(lease: Option<Lease>, patience: Duration, storing: impl Future<Output = T>) -> T {
    let mut storing = pin!(storing);
    if let Ok(stored) = tokio::time::timeout(patience, storing.as_mut()).await {
        return stored;
    }
    drop(lease);
    storing.await
}

/// Whether an entry is of the same epoch, and of a time that is remembered.
fn is_remembered(envelope: &Envelope, now: &Receipt, floor: u64) -> Verdict<()> {
    if envelope.epoch != now.epoch && !is_off(Protection::EpochCompared) {
        return Err(RejectReason::Epoch);
    }
    if floor > envelope.position { Err(RejectReason::Floor) } else { Ok(()) }
}

/// Whether an entry is remembered and not invalidated hard; if so, whether softly.
pub(super) fn survives(envelope: &Envelope, now: &Receipt, positions: &Positions) -> Verdict<bool> {
    is_remembered(envelope, now, positions.floor)?;
    if envelope.position > positions.position && !is_off(Protection::EpochCompared) {
        // Of another past than the record's: it would survive what is invalidated from now on.
        return Err(RejectReason::Regress);
    }
    let later = |mark: &Mark| matches!(mark, Mark::At(at) if *at > envelope.position);
    let hard = || positions.marks.iter().map(|(hard, _)| hard);
    if hard().any(|mark| *mark == Mark::Held) {
        return Err(RejectReason::Held);
    }
    if hard().any(later) {
        return Err(RejectReason::Marker);
    }
    Ok(positions.marks.iter().any(|(_, soft)| later(soft)))
}
