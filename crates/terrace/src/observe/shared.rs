//! What is told of the tier that processes share, and of coherence.

use super::Observe;
use super::catalogue::{Id, cell, first_cell};
#[cfg(feature = "tracing")]
use super::events;
use super::stats::{
    BellDirection, BreakerName, BreakerState, BridgeChannel, BridgeResult, ChangeResult, CoherenceState, EpochChange,
    ErrorKind, FenceMode, FenceResult, Found, L2Op, PollResult, PoolState, PrewarmResult, Task, Tier, Weakness,
};
use super::{Timing, histogram};
use crate::clock::{Instant, nanoseconds};
#[cfg(feature = "tracing")]
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

/// The tier.
impl Observe {
    /// The store has a tier that processes share: from now on that has series. Once, when the tier is made.
    pub(crate) fn shared(&self, max_lag: Duration, mode: FenceMode) {
        for breaker in BreakerName::ALL {
            self.count(cell(Id::Breakers, [*breaker as usize, BreakerState::Closed as usize]));
        }
        self.fence_mode(mode);
        self.starting();
        self.max_lag(max_lag);
    }

    /// Records the time of a lookup in the shared tier, from its start to now.
    pub(crate) fn l2_lookup_took(&self, found: Found, started: Instant) {
        self.record(Id::LookupDuration, [self.1 as usize, Tier::L2 as usize, found as usize], Timing::Since(started));
    }

    /// Counts a call that failed.
    pub(crate) fn l2_error(&self, op: L2Op, kind: ErrorKind) {
        self.count(cell(Id::L2Errors, [op as usize, kind as usize]));
    }

    /// Counts a change of a breaker's state. Says when calls are stopped that were not (`cache_l2_breaker_open`), and
    /// when they are not any more (`cache_l2_breaker_closed`); probes between the two are only counted.
    pub(crate) fn breaker_moved(&self, breaker: BreakerName, from: BreakerState, to: BreakerState) {
        self.count(cell(Id::BreakerMoves, [breaker as usize, to as usize]));
        // Added up, so that it does not matter which of two threads comes here first.
        let cells = &self.0.cells;
        cells.add(cell(Id::Breakers, [breaker as usize, from as usize]), 1_u64.wrapping_neg());
        cells.add(cell(Id::Breakers, [breaker as usize, to as usize]), 1);
        #[cfg(feature = "tracing")]
        match (from, to) {
            (BreakerState::Closed, _) => events::breaker_open(breaker),
            (_, BreakerState::Closed) => events::breaker_closed(breaker),
            _ => {}
        }
    }
}

/// Tasks.
impl Observe {
    /// From now on tasks are reported: each counts as having succeeded just now, until more is known.
    pub(crate) fn reports_tasks(&self) {
        let now = since_1970(self.0.clock.wall());
        for task in Task::ALL {
            let at = cell(Id::TaskSuccess, [*task as usize]);
            if self.0.cells.last(at) == 0 {
                self.0.cells.set(at, now);
            }
        }
    }

    /// When a task last succeeded, and how long it took.
    pub(crate) fn task(&self, task: Task, at: SystemTime, took: Duration) {
        self.0.cells.set(cell(Id::TaskSuccess, [task as usize]), since_1970(at));
        self.0.cells.set(cell(Id::TaskDuration, [task as usize]), nanoseconds(took));
    }
}

/// In nanoseconds, and never zero.
fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanoseconds).max(1)
}

/// Coherence.
impl Observe {
    /// Others are followed from now on, and nothing is proven yet.
    pub(crate) fn starting(&self) {
        self.note(CoherenceState::Starting);
        self.0.cells.set(first_cell(Id::ProofAge), point(self.0.clock.now()));
    }

    /// Nobody else is followed, and Redis is not asked: there is nothing whose age could be told.
    pub(crate) fn alone(&self) {
        self.note(CoherenceState::Alone);
        self.0.cells.set(first_cell(Id::ProofAge), 0);
        self.0.cells.set(first_cell(Id::L2Up), 0);
    }

    /// How old a proof may be.
    pub(crate) fn max_lag(&self, max_lag: Duration) {
        self.0.cells.set(first_cell(Id::MaxLag), nanoseconds(max_lag));
    }

    /// Counts a look for invalidations. Says if the last proof has become too old (`cache_coherence_degraded`).
    pub(crate) fn poll_ended(&self, result: PollResult) {
        self.count(cell(Id::Polls, [result as usize]));
        let cells = &self.0.cells;
        cells.set(first_cell(Id::L2Up), u64::from(result == PollResult::Ok));
        let age = self.0.clock.now().duration_since(Instant::from_nanos(cells.last(first_cell(Id::ProofAge))));
        let max_lag = Duration::from_nanos(cells.last(first_cell(Id::MaxLag)));
        if age > max_lag && self.noted(CoherenceState::Coherent) {
            self.note(CoherenceState::Degraded);
            #[cfg(feature = "tracing")]
            events::coherence_degraded(age, max_lag);
        }
    }

    /// A poll that was sent at this time proves that memory is up to date to this position. Records what that says of
    /// the lag, and says if it is the first (`redis_connected`), or the one before it had become too old
    /// (`cache_coherence_restored`).
    pub(crate) fn proven(&self, sent: Instant, position: u64) {
        let cells = &self.0.cells;
        let before = Instant::from_nanos(cells.last(first_cell(Id::ProofAge)));
        if position > cells.last(first_cell(Id::Position)) && !self.noted(CoherenceState::Starting) {
            let lag = self.0.clock.now().duration_since(before);
            histogram::record(cells, Id::Lag, [], lag, 1);
        }
        self.position(position);
        cells.set(first_cell(Id::ProofAge), point(sent));
        #[cfg(feature = "tracing")]
        match () {
            () if self.noted(CoherenceState::Degraded) => events::coherence_restored(),
            () if self.noted(CoherenceState::Starting) => events::redis_connected(position),
            () => {}
        }
        self.note(CoherenceState::Coherent);
    }

    /// Which state the log knows. What is read is decided by the age of the proof.
    fn noted(&self, state: CoherenceState) -> bool {
        self.0.cells.last(cell(Id::Coherence, [state as usize])) != 0
    }

    fn note(&self, state: CoherenceState) {
        for each in CoherenceState::ALL {
            self.0.cells.set(cell(Id::Coherence, [*each as usize]), u64::from(*each == state));
        }
    }

    /// Counts and says that whatever was stored before is dead (`cache_epoch_changed`).
    pub(crate) fn epoch_changed(&self, reason: EpochChange) {
        self.count(cell(Id::EpochChanges, [reason as usize]));
        #[cfg(feature = "tracing")]
        events::epoch_changed(reason);
    }

    /// Counts a message that wakes those who look for invalidations.
    pub(crate) fn bell(&self, direction: BellDirection) {
        self.count(cell(Id::Bells, [direction as usize]));
    }

    /// What becomes of entries of another epoch.
    pub(crate) fn fence_mode(&self, mode: FenceMode) {
        for each in FenceMode::ALL {
            self.0.cells.set(cell(Id::FenceMode, [*each as usize]), u64::from(*each == mode));
        }
    }
}

/// Invalidations of this process.
impl Observe {
    /// How many are not acknowledged, and since when the oldest is not. Says when the first of them is pending
    /// (`cache_invalidation_pending`), and when the last no longer is (`cache_invalidation_acked`).
    pub(crate) fn owed(&self, (count, oldest): (usize, Option<Instant>)) {
        let cells = &self.0.cells;
        let count = count as u64;
        let before = cells.swap(first_cell(Id::Pending), count);
        cells.set(first_cell(Id::OldestPending), oldest.map_or(0, point));
        #[cfg(feature = "tracing")]
        match (before, count) {
            (0, 1..) => events::invalidation_pending(count),
            (1.., 0) => events::invalidation_acked(),
            _ => {}
        }
        #[cfg(not(feature = "tracing"))]
        let _ = before;
    }

    /// Records the time from the call of an invalidation to now, when it is acknowledged.
    pub(crate) fn acknowledged(&self, called: Instant) {
        self.record(Id::AckDuration, [], Timing::Since(called));
    }
}

/// What only the tier itself knows.
#[cfg_attr(not(any(test, feature = "redis")), expect(dead_code, reason = "told by tiers over a network"))]
impl Observe {
    /// How many connections there are, and how many there may be.
    pub(crate) fn pool(&self, idle: u64, in_use: u64, max: u64) {
        let cells = &self.0.cells;
        cells.set(cell(Id::PoolConnections, [PoolState::Idle as usize]), idle);
        cells.set(cell(Id::PoolConnections, [PoolState::InUse as usize]), in_use);
        cells.set(first_cell(Id::PoolMax), max);
    }

    /// Whether messages about invalidations can arrive.
    pub(crate) fn bus(&self, connected: bool) {
        self.0.cells.set(first_cell(Id::BusConnected), u64::from(connected));
    }

    /// What is unsafe about the server.
    pub(crate) fn weaknesses(&self, found: &[Weakness]) {
        for each in Weakness::ALL {
            self.0.cells.set(cell(Id::Unsafe, [*each as usize]), u64::from(found.contains(each)));
        }
    }

    /// Says what is unsafe about the server, what the bound then is, and whether it is none but an entry's own lifetime
    /// (`cache_l2_unsafe`).
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn server_unsafe(&self, weakness: Weakness, text: &str, unbounded: bool) {
        #[cfg(feature = "tracing")]
        events::server_unsafe(weakness.as_str(), text, unbounded);
        #[cfg(not(feature = "tracing"))]
        let _ = (weakness, text, unbounded);
    }

    /// How many invalidations the server remembers.
    pub(crate) fn markers(&self, markers: u64) {
        self.0.cells.set(first_cell(Id::Markers), markers);
    }

    /// Counts a connection by what was found out before its first use. Says when the server cannot be used
    /// (`cache_fence_refused`): once, until it can.
    pub(crate) fn fence(&self, result: FenceResult) {
        self.count(cell(Id::Fences, [result as usize]));
        #[cfg(feature = "tracing")]
        match result {
            FenceResult::NotPrimary | FenceResult::Denied => {
                if !self.0.refused.swap(true, Relaxed) {
                    events::fence_refused(result);
                }
            }
            FenceResult::Ok | FenceResult::NewEpoch => self.0.refused.store(false, Relaxed),
            // It says nothing of the server.
            FenceResult::Error => {}
        }
    }

    /// Counts changes of others that this process has ended, and says so (`authz_change_swept`).
    pub(crate) fn swept(&self, changes: u64) {
        if changes == 0 {
            return;
        }
        self.0.cells.add(cell(Id::Changes, [ChangeResult::Swept as usize]), changes);
        #[cfg(feature = "tracing")]
        events::change_swept(changes);
    }

    /// Counts an announced change that ended.
    pub(crate) fn change(&self, result: ChangeResult) {
        self.count(cell(Id::Changes, [result as usize]));
    }
}

/// Messages of other programs.
impl Observe {
    /// They are listened to from now on (`cache_bridge_connected`); if `again`, some may have been lost
    /// (`cache_bridge_gap`).
    pub(crate) fn bridge_listens(&self, again: bool) {
        self.0.cells.set(first_cell(Id::BridgeConnected), 1);
        if again {
            self.count(first_cell(Id::BridgeGaps));
        }
        #[cfg(feature = "tracing")]
        if again { events::bridge_gap() } else { events::bridge_connected() }
    }

    /// They are not listened to. Says so (`cache_bridge_lost`) if they were, or if it is the `first` time.
    pub(crate) fn bridge_is_deaf(&self, first: bool) {
        let was = self.0.cells.swap(first_cell(Id::BridgeConnected), 0);
        #[cfg(feature = "tracing")]
        if was == 1 || first {
            events::bridge_lost();
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (was, first);
    }

    /// Counts a message.
    pub(crate) fn bridge_heard(&self, channel: BridgeChannel, result: BridgeResult) {
        self.count(cell(Id::BridgeMessages, [channel as usize, result as usize]));
    }

    /// Says that a message was not used, or not all of it (`cache_bridge_refused`).
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn bridge_refused(&self, channel: BridgeChannel, result: BridgeResult) {
        #[cfg(feature = "tracing")]
        events::bridge_refused(channel, result);
        #[cfg(not(feature = "tracing"))]
        let _ = (channel, result);
    }

    /// Counts a list to be warmed.
    pub(crate) fn bridge_prewarm(&self, result: PrewarmResult) {
        self.count(cell(Id::BridgePrewarms, [result as usize]));
    }
}

/// A point in time as a cell holds it: never zero, which is none.
fn point(time: Instant) -> u64 {
    time.as_nanos().max(1)
}
