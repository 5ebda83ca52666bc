//! The tier that processes share, as the other tiers use it: bounded in time and number, and never trusted.

use super::breaker::Breaker;
use super::coherence::{Mirror, Outbox, Owed, Standing, Tag};
use super::lease::Lease;
use super::remote::{Envelope, Epoch, Fault, Looked, Mark, Marker, Polled, Positions, Receipt, Remote, Reply, TagName};
use super::writes::Writes;
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
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The shared tier of one store.
pub(crate) struct L2 {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) mirror: Arc<Mirror>,
    /// Of look-ups. Fills do not count: that they are many, large and late is no reason not to read.
    pub(super) data: Breaker,
    /// Of polls and invalidations.
    pub(super) control: Breaker,
    /// Whether the server was last seen to take writes: one that does not may be cut off from those who invalidate.
    pub(super) takes_writes: AtomicBool,
    /// Whether it was last seen to have memory for entries. One that has none still has those that it has.
    pub(super) has_room: AtomicBool,
    pub(super) outbox: Outbox,
    /// Wakes those who wait for another process.
    pub(super) rang: Arc<Notify>,
    /// Wakes the poll.
    pub(super) wake: Arc<Notify>,
    writes: Writes,
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
    Found(Entered),
    /// Nothing that may be used, and the stamp for what is fetched instead.
    Missed(Receipt),
    /// The same, and somebody changes what it is about.
    Held(Receipt),
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

/// A call that may take as long as its budget ends by itself before this is over too, and looks after its connection.
const MORE: Duration = Duration::from_millis(1);

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
        remote.set_limits(settings.read_budget(), settings.write_budget());
        let breaker = |name, seconds| Breaker::new(name, Duration::from_secs(seconds), observe.clone());
        Self {
            remote,
            mirror,
            data: breaker(BreakerName::Data, 10),
            control: breaker(BreakerName::Control, 1),
            takes_writes: AtomicBool::new(true),
            has_room: AtomicBool::new(true),
            outbox: Outbox::default(),
            rang: Arc::default(),
            wake: Arc::default(),
            writes: Writes::default(),
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

    /// Until when a request that begins to ask may wait for answers, however many it needs.
    pub(crate) fn patience(&self) -> Instant {
        self.clock.now() + self.settings.read_budget()
    }

    /// A reply, if it comes until then.
    pub(super) async fn by<T>(&self, until: Instant, reply: Reply<'_, T>) -> Result<T, Fault> {
        let left = until.duration_since(self.clock.now());
        tokio::time::timeout(left + MORE, reply).await.unwrap_or(Err(Fault::Timeout))
    }

    /// Looks for an entry, of which `tags` are known to be carried, until then.
    pub(crate) async fn lookup(&self, key: &[u8], tags: &[Tag], until: Instant) -> Shared {
        let started = self.clock.now();
        let Some(Receipt { epoch, position }) = self.mirror.followed().filter(|_| self.is_asked(started)) else {
            self.observe.lookup(Tier::L2, LookupResult::Skipped);
            return Shared::Silent;
        };
        let whole = until.duration_since(started) + MORE >= self.settings.read_budget();
        let asked = self.remote.lookup(&epoch, position, key);
        // With the whole budget it ends by itself.
        let asked = if whole { asked } else { Box::pin(self.by(until, asked)) };
        let looked = self.counted(L2Op::Get, asked).await;
        let answered = looked.is_ok();
        let found = match looked {
            Ok(looked) => self.judge(epoch, (key, tags), looked, until).await,
            Err(fault) => Err(fault),
        };
        self.tell_breaker(found.as_ref().err().copied(), (answered, whole));
        self.observe.l2_lookup_took(timed(&found), started);
        found.unwrap_or_else(|fault| {
            self.fault(fault);
            let result = if fault == Fault::Timeout { LookupResult::Timeout } else { LookupResult::Error };
            self.observe.lookup(Tier::L2, result);
            Shared::Silent
        })
    }

    /// What a look-up says about the tier, if its first call was `answered`, and had the `whole` budget. A reply that is
    /// late only for the request says nothing: the tier may be far away, and the request need many.
    fn tell_breaker(&self, fault: Option<Fault>, (answered, whole): (bool, bool)) {
        match fault {
            None => self.data.succeeded(),
            Some(Fault::Timeout) if answered => self.data.succeeded(),
            Some(Fault::Timeout) if !whole => {}
            Some(_) => self.data.failed(self.clock.now()),
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

    /// What a fault says about the server as a whole.
    pub(super) fn fault(&self, fault: Fault) {
        let seen = match fault {
            Fault::ReadOnly => Some(&self.takes_writes),
            Fault::Oom => Some(&self.has_room),
            _ => None,
        };
        if let Some(seen) = seen {
            seen.store(false, Ordering::Relaxed);
            self.wake.notify_one();
        }
    }

    async fn judge(
        &self,
        epoch: Epoch,
        (key, tags): (&[u8], &[Tag]),
        looked: Looked,
        until: Instant,
    ) -> Result<Shared, Fault> {
        let stamp = match looked.news {
            Polled::Changes { position, .. } | Polled::TooMany { position } => Receipt { epoch, position },
            Polled::OtherEpoch => {
                // What is there belongs to an epoch that we do not follow yet. The stamp is taken before the fetch all the
                // same.
                self.wake.notify_one();
                let now = Box::pin(self.counted(L2Op::Script, self.by(until, self.remote.current()))).await?;
                self.observe.lookup(Tier::L2, LookupResult::Rejected);
                self.observe.rejected(Tier::L2, RejectReason::Epoch);
                return Ok(Shared::Missed(now));
            }
        };
        let Some(bytes) = looked.entry else {
            self.observe.lookup(Tier::L2, LookupResult::Miss);
            let is_held = self.is_held(&stamp, &looked.news, tags);
            return Ok(if is_held { Shared::Held(stamp) } else { Shared::Missed(stamp) });
        };
        let verdict = match self.remote.decode(key, bytes) {
            Ok(envelope) => {
                let Some(resident) = self.remote.time().and_then(|now| envelope.resident(now)) else {
                    // It is over, only not removed yet.
                    self.observe.lookup(Tier::L2, LookupResult::Miss);
                    return Ok(Shared::Missed(stamp));
                };
                self.check(&stamp, &looked.news, (envelope, resident), until).await?
            }
            Err(reason) => Err(reason),
        };
        Ok(match verdict {
            Ok(entered) => Shared::Found(entered),
            Err(reason) => {
                self.observe.lookup(Tier::L2, LookupResult::Rejected);
                self.observe.rejected(Tier::L2, reason);
                if reason == RejectReason::Held { Shared::Held(stamp) } else { Shared::Missed(stamp) }
            }
        })
    }

    /// Whether an entry survives what was invalidated since its stamp.
    async fn check(
        &self,
        now: &Receipt,
        news: &Polled,
        (mut envelope, resident): (Envelope, Duration),
        until: Instant,
    ) -> Result<Verdict<Entered>, Fault> {
        let tags: Vec<Tag> = take(&mut envelope.tags).into_iter().map(Tag::named).collect();
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
    async fn survives_record(
        &self,
        now: &Receipt,
        (envelope, tags): (&Envelope, &[Tag]),
        until: Instant,
    ) -> Result<Verdict<bool>, Fault> {
        // Everything is carried by every entry without being written down.
        let names: Vec<TagName> = std::iter::once(&Tag::EVERYTHING).chain(tags).map(|tag| tag.name()).collect();
        let asked = self.by(until, self.remote.positions(&now.epoch, &names));
        let positions = self.counted(L2Op::Get, asked).await?;
        Ok(positions.map_or(Err(RejectReason::Epoch), |positions| survives(envelope, now, &positions)))
    }

    /// Whether somebody changes what carries `tags`, as far as it is known: if not, some may wait for one that fetches.
    fn is_held(&self, now: &Receipt, news: &Polled, tags: &[Tag]) -> bool {
        let Polled::Changes { marks, .. } = news else { return false };
        self.mirror.standing_with(now, tags, marks) == Some(Standing::Held)
    }

    /// Sends an entry, in the background: nobody waits for it, and one too many is not sent.
    pub(crate) fn store(self: &Arc<Self>, leaving: Leaving) {
        let (Ok(runtime), true) = (Handle::try_current(), self.flags.is_on(Feature::L2)) else {
            return self.observe.stored(Tier::L2, StoreResult::Skipped);
        };
        let can_be_stored = self.takes_writes.load(Ordering::Relaxed) && self.has_room.load(Ordering::Relaxed);
        if !can_be_stored || self.data.state() != BreakerState::Closed {
            return self.observe.stored(Tier::L2, StoreResult::Skipped);
        }
        let limits = (self.settings.l2_writes(), self.settings.l2_write_bytes());
        let Some(room) = self.writes.reserve(leaving.payload.len() as u64, limits) else {
            return self.observe.stored(Tier::L2, StoreResult::Dropped);
        };
        let this = Arc::clone(self);
        // Detached on purpose: it has a time limit, and ends with the runtime.
        drop(runtime.spawn(async move {
            let result = this.send(leaving).await;
            this.observe.stored(Tier::L2, result);
            drop(room);
        }));
    }

    async fn send(&self, leaving: Leaving) -> StoreResult {
        let Leaving { key, payload, tags, stamp, life, lease } = leaving;
        let life = life.min(self.settings.l2_ttl());
        let Some(stored_ms) = self.remote.time() else {
            return StoreResult::Skipped;
        };
        let envelope = Envelope {
            epoch: stamp.epoch,
            position: stamp.position,
            tags: tags.iter().map(|tag| tag.name()).collect(),
            stored_ms,
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
            payload,
        };
        let Some(value) = self.remote.encode(&key, &envelope) else {
            return StoreResult::TooLarge;
        };
        let storing = self.counted(L2Op::Set, self.remote.store(&key, value, life));
        match lending(lease, self.settings.read_budget(), storing).await {
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
            // While nobody answers, one task asks.
            Ok(runtime) if self.control.state() == BreakerState::Closed => {
                drop(runtime.spawn(async move { drop(this.issue(owed, None).await) }));
            }
            _ => self.owe(&owed),
        }
    }

    /// Here at once, and for the others when they can be told again.
    pub(super) fn invalidate_alone(&self, tags: Vec<Tag>, soft: bool) {
        self.outbox.owe_alone(tags, soft, self.clock.now(), &self.mirror);
        self.observe.owed(self.outbox.pending());
    }

    pub(super) fn hold(&self, tags: Vec<Tag>, soft: bool) -> Owed {
        let hold = self.mirror.hold(&tags, soft);
        Owed { tags, soft, since: self.clock.now(), hold }
    }

    /// Invalidates tags that are held already.
    pub(super) async fn issue(&self, owed: Owed, wanted: Option<Replicas>) -> Result<Confirmed, Fault> {
        // Owed whatever ends this: an error, the runtime, a panic.
        let unsent = self.unsent(owed);
        let owed = &unsent.owed;
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
                self.settle(unsent.take(), confirmed.receipt.clone());
                Ok(confirmed)
            }
            Err(fault) => {
                self.control.failed(self.clock.now());
                Err(fault)
            }
        }
    }

    /// An invalidation took effect at `receipt`: it is held until that is known here, and repeated in another epoch.
    pub(super) fn settle(&self, owed: Owed, receipt: Receipt) {
        self.mirror.release_at(receipt.clone(), (&owed.tags, owed.soft), owed.hold, self.clock.now());
        self.outbox.acknowledged(receipt, owed);
    }

    async fn write(&self, markers: &[Marker], wanted: Option<Replicas>) -> Result<Confirmed, Fault> {
        let Some(Replicas { count, wait }) = wanted else {
            let receipt = self.remote.invalidate(markers).await?;
            return Ok(Confirmed { receipt, replicas: None });
        };
        let (receipt, replicas) = self.remote.invalidate_replicated(markers, count, wait).await?;
        Ok(Confirmed { receipt, replicas: Some(replicas) })
    }

    pub(super) fn unsent(&self, owed: Owed) -> Unsent<'_> {
        Unsent { l2: self, owed, is_sent: false }
    }

    pub(super) fn owe(&self, owed: &Owed) {
        self.outbox.owe(owed, &self.mirror);
        self.observe.owed(self.outbox.pending());
    }
}

/// An invalidation that is owed if this is dropped.
pub(super) struct Unsent<'a> {
    l2: &'a L2,
    owed: Owed,
    is_sent: bool,
}

impl Unsent<'_> {
    /// It was sent, or somebody else sees to it.
    pub(super) fn take(mut self) -> Owed {
        self.is_sent = true;
        self.owed.clone()
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if !self.is_sent {
            self.l2.owe(&self.owed);
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
