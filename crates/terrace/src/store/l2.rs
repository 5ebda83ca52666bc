//! The tier that processes share, as the other tiers use it: bounded in time and number, and never trusted.

use super::breaker::Breaker;
use super::coherence::{Mirror, Outbox, Owed, Standing, Tag};
use super::lease::Lease;
use super::remote::{Envelope, Epoch, Fault, Looked, Mark, Marker, Polled, Positions, Receipt, Remote, TagName};
use crate::clock::{Clock, Instant};
use crate::config::{Flags, Settings};
use crate::danger::{Protection, is_off};
use crate::observe::Observe;
use crate::observe::stats::{
    BellDirection, BreakerName, BreakerState, ErrorKind, Feature, FenceMode, Found, L2Op, LookupResult, RejectReason,
    StoreResult, Tier,
};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The shared tier of one store.
pub(crate) struct L2 {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) mirror: Arc<Mirror>,
    /// Of look-ups and fills.
    pub(super) data: Breaker,
    /// Of polls and invalidations.
    pub(super) control: Breaker,
    /// Whether the server was last seen to take writes: one that does not may be cut off from those who invalidate.
    pub(super) takes_writes: AtomicBool,
    pub(super) outbox: Outbox,
    /// Wakes those who wait for another process.
    pub(super) rang: Arc<Notify>,
    /// Wakes the poll.
    pub(super) wake: Arc<Notify>,
    /// Entries on their way.
    writes: AtomicU64,
    pub(super) settings: Settings,
    flags: Flags,
    pub(super) observe: Observe,
    pub(super) clock: Clock,
}

impl fmt::Debug for L2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L2").field("remote", &self.remote).field("mirror", &self.mirror).finish_non_exhaustive()
    }
}

/// What a look into the shared tier came to.
pub(crate) enum Shared {
    /// An entry that is proven valid.
    Found(Box<Entered>),
    /// Nothing that may be used, and the stamp for what is fetched instead.
    Missed(Receipt),
    /// No answer: nothing can be stored there either.
    Silent,
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

/// How many replicas are to have an invalidation, and how long that is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) count: u32,
    pub(crate) wait: Duration,
}

/// An invalidation that took effect.
pub(crate) struct Confirmed {
    pub(crate) receipt: Receipt,
    /// How many replicas have it, if that was waited for.
    pub(crate) replicas: Option<u32>,
}

/// What an entry is not served for.
type Verdict<T> = Result<T, RejectReason>;

impl L2 {
    pub(super) fn new(
        remote: Arc<dyn Remote>,
        mirror: Arc<Mirror>,
        settings: Settings,
        (observe, clock): (Observe, Clock),
    ) -> Self {
        observe.shared(settings.max_lag(), FenceMode::Strict);
        let breaker = |name, seconds| Breaker::new(name, Duration::from_secs(seconds), observe.clone());
        Self {
            remote,
            mirror,
            data: breaker(BreakerName::Data, 10),
            control: breaker(BreakerName::Control, 1),
            takes_writes: AtomicBool::new(true),
            outbox: Outbox::default(),
            rang: Arc::default(),
            wake: Arc::default(),
            writes: AtomicU64::new(0),
            flags: settings.flags(),
            settings,
            observe,
            clock,
        }
    }

    /// Whether it is to be used at all. If not, there is no connection to it, and this process is alone.
    pub(super) fn is_on(&self) -> bool {
        self.flags.is_on(Feature::L2)
    }

    fn is_asked(&self, now: Instant) -> bool {
        self.is_on() && self.takes_writes.load(Ordering::Relaxed) && self.data.allows(now)
    }

    /// Looks for an entry.
    pub(crate) async fn lookup(&self, key: &[u8]) -> Shared {
        let started = self.clock.now();
        let Some(Receipt { epoch, position }) = self.mirror.followed().filter(|_| self.is_asked(started)) else {
            self.observe.lookup(Tier::L2, LookupResult::Skipped);
            return Shared::Silent;
        };
        let found = match self.counted(L2Op::Get, self.remote.lookup(&epoch, position, key)).await {
            Ok(looked) => self.judge(epoch, key, looked).await,
            Err(fault) => Err(fault),
        };
        self.observe.l2_lookup_took(timed(&found), started);
        match found {
            Ok(shared) => {
                self.data.succeeded();
                shared
            }
            Err(fault) => {
                self.fault(fault);
                let result = if fault == Fault::Timeout { LookupResult::Timeout } else { LookupResult::Error };
                self.observe.lookup(Tier::L2, result);
                Shared::Silent
            }
        }
    }

    /// What a call comes to; a failure is counted.
    pub(super) async fn counted<T>(&self, op: L2Op, reply: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let result = reply.await;
        if let Err(fault) = &result {
            self.observe.l2_error(op, kind(*fault));
        }
        result
    }

    fn fault(&self, fault: Fault) {
        self.data.failed(self.clock.now());
        if matches!(fault, Fault::ReadOnly) {
            self.takes_writes.store(false, Ordering::Relaxed);
            self.wake.notify_one();
        }
    }

    async fn judge(&self, epoch: Epoch, key: &[u8], looked: Looked) -> Result<Shared, Fault> {
        let stamp = match looked.news {
            Polled::Changes { position, .. } | Polled::TooMany { position } => Receipt { epoch, position },
            Polled::OtherEpoch => {
                // What is there belongs to an epoch that we do not follow yet. The stamp is taken before the fetch all the
                // same.
                self.wake.notify_one();
                self.observe.lookup(Tier::L2, LookupResult::Rejected);
                self.observe.rejected(Tier::L2, RejectReason::Epoch);
                return self.counted(L2Op::Script, self.remote.current()).await.map(Shared::Missed);
            }
        };
        let Some((bytes, left)) = looked.entry else {
            self.observe.lookup(Tier::L2, LookupResult::Miss);
            return Ok(Shared::Missed(stamp));
        };
        let verdict = match self.remote.decode(key, bytes) {
            Ok(envelope) => self.check(&stamp, &looked.news, envelope, left).await?,
            Err(reason) => Err(reason),
        };
        Ok(match verdict {
            Ok(entered) => Shared::Found(Box::new(entered)),
            Err(reason) => {
                self.observe.lookup(Tier::L2, LookupResult::Rejected);
                self.observe.rejected(Tier::L2, reason);
                Shared::Missed(stamp)
            }
        })
    }

    /// Whether an entry survives what was invalidated since its stamp.
    async fn check(
        &self,
        now: &Receipt,
        news: &Polled,
        envelope: Envelope,
        left: Duration,
    ) -> Result<Verdict<Entered>, Fault> {
        let tags: Vec<Tag> = envelope.tags.iter().copied().map(Tag::named).collect();
        let survives = match self.survives_news(now, news, &envelope, &tags) {
            Some(survives) => survives,
            None => self.survives_record(now, &envelope).await?,
        };
        let expired = match survives {
            Ok(expired) => expired,
            Err(reason) => return Ok(Err(reason)),
        };
        let stamp =
            if expired { Receipt { epoch: now.epoch.clone(), position: envelope.position } } else { now.clone() };
        let whole = Duration::from_millis(envelope.fresh_ms.saturating_add(envelope.stale_ms));
        let resident = whole.saturating_sub(left);
        Ok(Ok(Entered { payload: envelope.payload, tags, stamp, now: now.clone(), resident, expired }))
    }

    /// By what the mirror knows and what happened since. Together that is everything (the model's
    /// `marks_of_mirror_and_news`), unless the entry is older than what the mirror knows, or too much has happened: then
    /// there is no verdict.
    fn survives_news(&self, now: &Receipt, news: &Polled, envelope: &Envelope, tags: &[Tag]) -> Option<Verdict<bool>> {
        let Polled::Changes { marks, floor, .. } = news else {
            return None;
        };
        if let Err(reason) = is_remembered(envelope, now, *floor) {
            return Some(Err(reason));
        }
        let stamp = Receipt { epoch: now.epoch.clone(), position: envelope.position };
        Some(match self.mirror.standing_with(&stamp, tags, marks)? {
            Standing::Current => Ok(false),
            Standing::Expired => Ok(true),
            Standing::Held => Err(RejectReason::Held),
            Standing::Dead => Err(RejectReason::Marker),
        })
    }

    /// By the record itself, which has to be asked.
    async fn survives_record(&self, now: &Receipt, envelope: &Envelope) -> Result<Verdict<bool>, Fault> {
        let names: Vec<TagName> = std::iter::once(&TagName::EVERYTHING).chain(&envelope.tags).copied().collect();
        let positions = self.counted(L2Op::Get, self.remote.positions(&now.epoch, &names)).await?;
        Ok(positions.map_or(Err(RejectReason::Epoch), |positions| survives(envelope, now, &positions)))
    }

    /// Sends an entry, in the background: nobody waits for it, and one too many is not sent.
    pub(crate) fn store(self: &Arc<Self>, leaving: Leaving) {
        let limit = self.settings.l2_writes();
        let more = |writes| (writes < limit).then_some(writes + 1);
        let (Ok(runtime), true) = (Handle::try_current(), self.flags.is_on(Feature::L2)) else {
            return self.observe.stored(Tier::L2, StoreResult::Skipped);
        };
        if !self.takes_writes.load(Ordering::Relaxed) || self.data.state() != BreakerState::Closed {
            return self.observe.stored(Tier::L2, StoreResult::Skipped);
        }
        if self.writes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return self.observe.stored(Tier::L2, StoreResult::Dropped);
        }
        let this = Arc::clone(self);
        // Detached on purpose: it has a time limit, and ends with the runtime.
        drop(runtime.spawn(async move {
            let result = this.send(leaving).await;
            this.observe.stored(Tier::L2, result);
            this.writes.fetch_sub(1, Ordering::Relaxed);
        }));
    }

    async fn send(&self, leaving: Leaving) -> StoreResult {
        let Leaving { key, payload, tags, stamp, life, lease } = leaving;
        let life = life.min(self.settings.l2_ttl());
        let envelope = Envelope {
            epoch: stamp.epoch,
            position: stamp.position,
            tags: tags.iter().map(|tag| tag.name()).collect(),
            fresh_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
            stale_ms: 0,
            delta_ms: 0,
            payload,
        };
        let Some(value) = self.remote.encode(&key, &envelope) else {
            return StoreResult::TooLarge;
        };
        let stored = self.counted(L2Op::Set, self.remote.store(&key, value, life)).await;
        drop(lease);
        match stored {
            Ok(()) => StoreResult::Ok,
            Err(fault) => {
                self.fault(fault);
                match fault {
                    Fault::Timeout => StoreResult::Timeout,
                    Fault::Oom | Fault::ReadOnly => StoreResult::Rejected,
                    _ => StoreResult::Error,
                }
            }
        }
    }

    /// Invalidates in all processes. Until it is known to be in effect, this one serves nothing that carries `tags`.
    ///
    /// `None` if this process is alone, for the tier is switched off.
    ///
    /// # Errors
    ///
    /// If the server did not confirm it. It is tried again until it does.
    pub(crate) async fn invalidate(
        self: &Arc<Self>,
        tags: Vec<Tag>,
        soft: bool,
        wanted: Option<Replicas>,
    ) -> Result<Option<Confirmed>, Fault> {
        if !self.is_on() {
            self.invalidate_alone(tags, soft);
            return Ok(None);
        }
        let (owed, this) = (self.hold(tags, soft), Arc::clone(self));
        // In a task of its own: a caller that leaves does not leave the tags held for nothing.
        let issued = tokio::spawn(async move { this.issue(owed, wanted).await });
        issued.await.unwrap_or(Err(Fault::Other)).map(Some)
    }

    /// As [`invalidate`](Self::invalidate), without waiting for it.
    pub(crate) fn invalidate_soon(self: &Arc<Self>, tags: Vec<Tag>, soft: bool) {
        if !self.is_on() {
            return self.invalidate_alone(tags, soft);
        }
        let (owed, this) = (self.hold(tags, soft), Arc::clone(self));
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { drop(this.issue(owed, None).await) })),
            Err(_) => self.owe(owed),
        }
    }

    /// Here at once, and for the others when they can be told again.
    fn invalidate_alone(&self, tags: Vec<Tag>, soft: bool) {
        self.mirror.invalidate(&tags, soft);
        self.owe(Owed { tags, soft, since: self.clock.now() });
    }

    pub(super) fn hold(&self, tags: Vec<Tag>, soft: bool) -> Owed {
        self.mirror.hold(&tags);
        Owed { tags, soft, since: self.clock.now() }
    }

    /// Invalidates tags that are held already.
    pub(super) async fn issue(&self, owed: Owed, wanted: Option<Replicas>) -> Result<Confirmed, Fault> {
        let markers: Vec<Marker> = owed.tags.iter().map(|tag| Marker { tag: tag.name(), soft: owed.soft }).collect();
        let mut issued = self.counted(L2Op::Script, self.write(&markers, wanted)).await;
        if issued.is_err() {
            // On another connection, for the first may be broken; twice is not too often.
            issued = self.counted(L2Op::Script, self.write(&markers, wanted)).await;
        }
        self.wake.notify_one();
        match issued {
            Ok(confirmed) => {
                self.control.succeeded();
                self.observe.bell(BellDirection::Sent);
                self.observe.acknowledged(owed.since);
                self.mirror.release_at(confirmed.receipt.clone(), &owed.tags, self.clock.now());
                self.outbox.acknowledged(confirmed.receipt.clone(), owed);
                Ok(confirmed)
            }
            Err(fault) => {
                self.control.failed(self.clock.now());
                self.owe(owed);
                Err(fault)
            }
        }
    }

    async fn write(&self, markers: &[Marker], wanted: Option<Replicas>) -> Result<Confirmed, Fault> {
        let Some(Replicas { count, wait }) = wanted else {
            let receipt = self.remote.invalidate(markers).await?;
            return Ok(Confirmed { receipt, replicas: None });
        };
        let (receipt, replicas) = self.remote.invalidate_replicated(markers, count, wait).await?;
        Ok(Confirmed { receipt, replicas: Some(replicas) })
    }

    pub(super) fn owe(&self, owed: Owed) {
        let tags = owed.tags.clone();
        if !self.outbox.owe(owed) {
            if !self.outbox.owes_everything() {
                let everything = self.hold(vec![Tag::EVERYTHING], false);
                self.outbox.owe(everything);
            }
            self.mirror.release(&tags);
        }
        self.observe.owed(self.outbox.pending());
    }
}

fn timed(found: &Result<Shared, Fault>) -> Found {
    match found {
        Ok(Shared::Found(_)) => Found::Hit,
        Ok(Shared::Missed(_) | Shared::Silent) => Found::Miss,
        Err(_) => Found::Error,
    }
}

fn kind(fault: Fault) -> ErrorKind {
    match fault {
        Fault::Timeout => ErrorKind::Timeout,
        Fault::Connect => ErrorKind::Connect,
        Fault::Io => ErrorKind::Io,
        Fault::Auth => ErrorKind::Auth,
        Fault::ReadOnly => ErrorKind::ReadOnly,
        Fault::Oom => ErrorKind::Oom,
        Fault::Loading => ErrorKind::Loading,
        Fault::Protocol => ErrorKind::Protocol,
        Fault::Pool => ErrorKind::Pool,
        Fault::Moved | Fault::Other => ErrorKind::Other,
    }
}

/// Whether an entry is of the same epoch, and of a time that is remembered.
fn is_remembered(envelope: &Envelope, now: &Receipt, floor: u64) -> Verdict<()> {
    if envelope.epoch != now.epoch && !is_off(Protection::EpochCompared) {
        return Err(RejectReason::Epoch);
    }
    if floor > envelope.position { Err(RejectReason::Floor) } else { Ok(()) }
}

/// Whether an entry is remembered and not invalidated hard; if so, whether softly.
fn survives(envelope: &Envelope, now: &Receipt, positions: &Positions) -> Verdict<bool> {
    is_remembered(envelope, now, positions.floor)?;
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
