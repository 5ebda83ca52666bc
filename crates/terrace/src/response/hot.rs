//! The heads of this second.
//!
//! An entry that is asked for often has the same head for a whole second: `Age` and `Cache-Status` count in seconds. A
//! small table keeps the latest such heads, so that the next hit clones one instead of building it, and finds its entry
//! without asking the engine. Each entry still comes by the engine once a second, which keeps what is popular in memory.
//!
//! The table holds no content and keeps no entry alive. It is never waited for: a slot that another thread has is a miss.

use super::stored::{Cached, CachedResponse};
use crate::clock::Instant;
use crate::store::{Entry, Tiers};
use http::HeaderMap;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use terrace_policy::{Demands, Policy, Stored, is_plain_hit};

/// A head is some hundred bytes, so this is well below a megabyte.
const SLOTS: usize = 512;

/// A direct-mapped table of heads.
pub(super) struct Hot(Box<[Mutex<Slot>]>);

#[derive(Default)]
struct Slot {
    hash: u64,
    second: Second,
    /// Kept from the second hit in a second on.
    kept: Option<Kept>,
}

struct Kept {
    entry: Weak<Entry<Cached>>,
    head: HeaderMap,
}

/// What a head depends on beside its entry: the age, and the freshness left, in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second(u64, u64);

impl Second {
    fn of(cached: &CachedResponse, resident: Duration) -> Self {
        let freshness = cached.facts().freshness();
        Self(freshness.age(resident).as_secs(), freshness.remaining(resident).as_secs())
    }
}

impl Hot {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }

    /// A fresh entry and its head, for a request that demands nothing special.
    #[inline]
    pub(super) fn get(
        &self,
        tiers: &Tiers<Cached>,
        policy: &Policy,
        (hash, key): (u64, &[u8]),
        demands: Demands,
        now: Instant,
    ) -> Option<(Arc<Entry<Cached>>, HeaderMap)> {
        let slot = self.slot(hash).try_lock().ok()?;
        let kept = slot.kept.as_ref().filter(|_| slot.hash == hash)?;
        let entry = kept.entry.upgrade().filter(|entry| tiers.is_usable(entry, key, now))?;
        let Cached::Response(cached) = entry.value() else {
            return None;
        };
        let resident = entry.resident(now);
        let same = slot.second == Second::of(cached, resident);
        let head = (same && is_plain_hit(cached.facts(), demands, resident, policy)).then(|| kept.head.clone())?;
        Some((entry, head))
    }

    /// Notes that an entry was asked for, and keeps its head if that was not the first time in this second.
    pub(super) fn note(&self, hash: u64, entry: &Arc<Entry<Cached>>, now: Instant, head: &HeaderMap) {
        let (Ok(mut slot), Cached::Response(cached)) = (self.slot(hash).try_lock(), entry.value()) else {
            return;
        };
        let second = Second::of(cached, entry.resident(now));
        let again = slot.hash == hash && slot.second == second;
        let kept = again.then(|| Kept { entry: Arc::downgrade(entry), head: head.clone() });
        *slot = Slot { hash, second, kept };
    }

    /// Threads have slots of their own for the same key, so that they do not get in each other's way.
    #[inline]
    fn slot(&self, hash: u64) -> &Mutex<Slot> {
        let [.., high, low] = hash.to_be_bytes();
        let place = usize::from(u16::from_be_bytes([high, low]));
        &self.0[(place ^ lane()) % SLOTS]
    }
}

/// A number that the threads share out among them.
#[inline]
fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        static LANE: Cell<usize> = const { Cell::new(0) };
    }
    LANE.with(|lane| match lane.get() {
        0 => {
            // Spread over the slots, so that neighbours in number are not neighbours in place.
            lane.set(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37) | 1);
            lane.get()
        }
        lane => lane,
    })
}
