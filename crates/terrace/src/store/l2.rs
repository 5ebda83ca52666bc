//! The tier that processes share, as the other tiers use it: bounded in time, and never trusted.

use super::breaker::Breaker;
use super::coherence::{Mirror, Outbox, Owed, Tag};
use super::race::in_time;
use super::remote::{Epoch, Fault, Marker, Receipt, Remote, Reply};
use crate::clock::{Clock, Instant};
use crate::config::{Flags, Settings};
use crate::observe::Observe;
use crate::observe::stats::{BellDirection, BreakerName, BreakerState, Feature, FenceMode, L2Op};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::sleep;

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
    /// Wakes those who wait for what a poll proves.
    pub(super) proven: Notify,
    /// Whether it is used even if its flag is off: by something whose invalidations nobody may miss.
    is_needed: AtomicBool,
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
            proven: Notify::new(),
            is_needed: AtomicBool::new(false),
            flags: settings.flags(),
            settings,
            observe,
            clock,
        }
    }

    /// Whether it is to be used at all. If not, there is no connection to it, and this process is alone.
    pub(super) fn is_on(&self) -> bool {
        self.flags.is_on(Feature::L2) || self.is_needed.load(Ordering::Relaxed)
    }

    /// From now on invalidations are followed and sent, whatever is switched off.
    pub(super) fn needed(&self) {
        self.is_needed.store(true, Ordering::Relaxed);
    }

    /// Whether a look-up may be tried now.
    pub(super) fn is_asked(&self, now: Instant) -> bool {
        self.is_on() && self.takes_writes.load(Ordering::Relaxed) && self.data.allows(now)
    }

    /// Whether what is waited for from `started` until then has the whole budget.
    pub(super) fn is_whole(&self, started: Instant, until: Instant) -> bool {
        until.duration_since(started) + MORE >= self.settings.read_budget()
    }

    /// Until when a request that begins to ask may wait for answers, however many it needs.
    pub(crate) fn patience(&self) -> Instant {
        self.clock.now() + self.settings.read_budget()
    }

    /// A reply, if it comes until then.
    pub(super) async fn by<T>(&self, until: Instant, reply: Reply<'_, T>) -> Result<T, Fault> {
        let left = until.duration_since(self.clock.now());
        // Pinned here, so that it is not moved with what waits for it.
        in_time(reply, pin!(sleep(left + MORE))).await.unwrap_or(Err(Fault::Timeout))
    }

    /// Whether what was read in `epoch` counts (the model's `proof_limits_l2`): while a failover is under way two servers may
    /// take themselves for the primary, of which one takes no writes, and hears of no invalidation. So a poll that it
    /// answered has to be recent, or to come until then.
    pub(super) async fn vouches_for(&self, epoch: &Epoch, until: Instant) -> bool {
        // Boxed, for it is seldom needed.
        self.has_heard_of(epoch) || Box::pin(self.hears_of(epoch, until)).await
    }

    fn has_heard_of(&self, epoch: &Epoch) -> bool {
        self.mirror.vouches_for(epoch, self.clock.now(), self.settings.max_lag())
    }

    /// A process that stood still polls just now. Where polls are refused, or have failed for a while, nobody waits.
    async fn hears_of(&self, epoch: &Epoch, until: Instant) -> bool {
        let mut proven = pin!(self.proven.notified());
        proven.as_mut().enable();
        let is_polled = self.takes_writes.load(Ordering::Relaxed)
            && self.control.state() == BreakerState::Closed
            && self.mirror.epoch().as_ref() == Some(epoch);
        if is_polled && !self.has_heard_of(epoch) {
            self.wake.notify_one();
            // Who stood still meanwhile has all of its time anew.
            let until = if self.clock.now() < until { until } else { self.patience() };
            in_time(proven, pin!(sleep(until.duration_since(self.clock.now())))).await;
        }
        self.has_heard_of(epoch)
    }

    /// What a look-up says about the tier, if its first call was `answered`, and had the `whole` budget. A reply that is
    /// late only for the request says nothing: the tier may be far away, and the request need many.
    pub(super) fn tell_breaker(&self, fault: Option<Fault>, (answered, whole): (bool, bool)) {
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
            self.observe.l2_error(op, fault.kind());
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
        let now = self.clock.now();
        self.mirror.release_at(receipt.clone(), (&owed.tags, owed.soft), owed.hold, now);
        self.outbox.acknowledged(receipt, owed, now);
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
