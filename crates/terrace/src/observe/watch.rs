//! What the admin routes show beside numbers: what is asked for most, and why a request last went to the origin.
//!
//! Nothing is kept until somebody watches. From then on the slow path tells of each of its requests, and the hits in
//! memory of those alone that are timed anyway, once in 64, with that weight. Nobody waits for anybody here: who finds a
//! place taken does without.

use super::stats::{CacheStatus, ForwardReason};
use crate::clock::Instant;
use std::sync::{Mutex, PoisonError};

/// What became of a request, in four words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The origin was not asked for it.
    Hit,
    /// The origin was asked, for the store.
    Miss,
    /// The origin was asked past the cache.
    Bypass,
    /// Nobody answered.
    Error,
}

impl Class {
    pub(crate) const ALL: [(Self, &'static str); 4] =
        [(Self::Hit, "hit"), (Self::Miss, "miss"), (Self::Bypass, "bypass"), (Self::Error, "error")];

    fn of(status: CacheStatus) -> Self {
        match status {
            CacheStatus::L1CacheHit | CacheStatus::L2CacheHit | CacheStatus::Stale | CacheStatus::Coalesced => {
                Self::Hit
            }
            CacheStatus::Miss | CacheStatus::Revalidated => Self::Miss,
            CacheStatus::Bypass => Self::Bypass,
            CacheStatus::Error => Self::Error,
        }
    }
}

/// A trip to the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    /// The hash of the request's key, whatever varies.
    hash: u64,
    /// When it began.
    pub(crate) began: Instant,
    pub(crate) reason: ForwardReason,
    /// The status code of the response, once there is one.
    pub(crate) status: Option<u16>,
    /// Why the response was not stored, if it was not.
    pub(crate) unstored: Option<&'static str>,
}

/// So many different trips are remembered at most: a later one takes the place of one whose key falls there too.
const TRIPS: usize = 256;

/// What is watched in one store.
pub(crate) struct Watch {
    asked: [Mutex<Sketch>; Class::ALL.len()],
    trips: Box<[Mutex<Option<Trip>>]>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { asked: Default::default(), trips: (0..TRIPS).map(|_| Mutex::default()).collect() }
    }

    /// Counts a request that is called `name`.
    pub(crate) fn count(&self, status: CacheStatus, name: &str, weight: u64) {
        if let Ok(mut sketch) = self.asked[Class::of(status) as usize].try_lock() {
            sketch.count(name, weight);
        }
    }

    /// A trip to the origin begins, for a request with a key of this hash.
    pub(crate) fn trip(&self, hash: u64, reason: ForwardReason, began: Instant) {
        if let Ok(mut trip) = self.place(hash).try_lock() {
            *trip = Some(Trip { hash, began, reason, status: None, unstored: None });
        }
    }

    /// More is known of the last trip for a key.
    pub(crate) fn of_trip(&self, hash: u64, tell: impl FnOnce(&mut Trip)) {
        if let Ok(mut trip) = self.place(hash).try_lock()
            && let Some(trip) = trip.as_mut().filter(|trip| trip.hash == hash)
        {
            tell(trip);
        }
    }

    fn place(&self, hash: u64) -> &Mutex<Option<Trip>> {
        let [.., low] = hash.to_be_bytes();
        &self.trips[usize::from(low)]
    }
}

/// For those who look.
impl Watch {
    /// What was asked for most, most first.
    pub(crate) fn top(&self, class: Class) -> Vec<Asked> {
        let sketch = self.asked[class as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let mut top = sketch.0.clone();
        drop(sketch);
        top.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        top
    }

    /// The last trip for a key of this hash, if it is remembered.
    pub(crate) fn last_trip(&self, hash: u64) -> Option<Trip> {
        let trip = *self.place(hash).lock().unwrap_or_else(PoisonError::into_inner);
        trip.filter(|trip| trip.hash == hash)
    }
}

/// Something that is asked for often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: Box<str>,
    /// How often, at most.
    pub(crate) count: u64,
    /// By how much that may be too many: what was counted in this place under other names.
    pub(crate) over: u64,
}

/// The most frequent of a stream (Metwally, Agrawal and El Abbadi: "Efficient computation of frequent and top-k elements in
/// data streams", 2005): what is asked for more often than one time in [`PLACES`] is among them, whatever else is asked for.
#[derive(Default)]
struct Sketch(Vec<Asked>);

const PLACES: usize = 64;

impl Sketch {
    fn count(&mut self, name: &str, weight: u64) {
        if let Some(asked) = self.0.iter_mut().find(|asked| *asked.name == *name) {
            asked.count += weight;
            return;
        }
        if self.0.len() < PLACES {
            self.0.push(Asked { name: name.into(), count: weight, over: 0 });
        } else if let Some(rarest) = self.0.iter_mut().min_by_key(|asked| asked.count) {
            *rarest = Asked { name: name.into(), count: rarest.count + weight, over: rarest.count };
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_often_is_found_in_a_flood_of_what_is_not() {
        let watch = Watch::new();
        let mut others = 0..;
        for round in 0..1000 {
            for (name, every) in [("a", 1), ("b", 2), ("c", 4)] {
                if round % every == 0 {
                    watch.count(CacheStatus::Miss, name, 1);
                }
            }
            // Ten others to each: 12 in all for one `a`.
            for other in others.by_ref().take(10) {
                watch.count(CacheStatus::Miss, &format!("other {other}"), 1);
            }
        }
        let top = watch.top(Class::Miss);
        assert_eq!(top.len(), PLACES, "memory is bounded");
        for (place, (name, real)) in [("a", 1000), ("b", 500), ("c", 250)].into_iter().enumerate() {
            let Asked { name: found, count, over } = &top[place];
            assert_eq!(&**found, name);
            assert!((count - over..=*count).contains(&real), "{name}: {count} by {over} too many");
        }
        assert_eq!(watch.top(Class::Hit), []);
    }

    #[test]
    fn a_hit_that_stands_for_64_counts_as_64() {
        let watch = Watch::new();
        watch.count(CacheStatus::L1CacheHit, "a", 64);
        watch.count(CacheStatus::L2CacheHit, "a", 1);
        assert_eq!(watch.top(Class::Hit)[0].count, 65);
    }

    #[test]
    fn a_trip_is_remembered_until_another_takes_its_place() {
        let watch = Watch::new();
        let began = crate::clock::Clock::default().now();
        watch.trip(7, ForwardReason::UriMiss, began);
        watch.of_trip(7, |trip| trip.unstored = Some("private"));
        watch.of_trip(7 + 256, |trip| trip.unstored = Some("not of this key"));
        assert_eq!(watch.last_trip(7).unwrap().unstored, Some("private"));
        assert!(watch.last_trip(7 + 256).is_none());
        watch.trip(7 + 256, ForwardReason::Stale, began);
        assert!(watch.last_trip(7).is_none());
    }
}
