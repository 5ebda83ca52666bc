//! One fetch for many requests.
//!
//! The first request for a key **leads**: it fetches. Those that come meanwhile **wait**, and take what it brings. A
//! leader that is dropped before its end, whatever the reason, is noticed, and one of the waiters leads instead. While
//! the leader's response streams to its client, waiters help to read it: a client that is slow or leaves does not stop
//! the fetch that others wait for.

use super::sync::atomic::{AtomicU64, Ordering};
use super::sync::{Mutex, MutexGuard};
use super::unhashed::Unhashed;
use crate::clock::Instant;
use std::collections::HashMap;
use std::future::Future;
use std::hash::BuildHasherDefault;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// The fetches under way, by the hash of their key. Two keys of one hash share a flight, and each finds out that what
/// landed is not its own.
pub(crate) struct Flights<T>(Arc<[Shard<T>]>);

struct Shard<T> {
    /// How many flights have ended here.
    landings: AtomicU64,
    flights: Mutex<ByKey<T>>,
}

type ByKey<T> = HashMap<u64, Arc<Flight<T>>, BuildHasherDefault<Unhashed>>;

const SHARDS: usize = 16;

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What the leader's fetch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landing<T> {
    /// An entry. It may be somebody else's variant: look before using it.
    Entry(T),
    /// A response that cannot be shared: everybody goes for themselves.
    Uncacheable,
    /// Nothing, for the leader gave up: somebody else may lead.
    Abandoned,
}

/// A response on its way, which every task that waits for it may move forward.
pub(crate) trait Stream: Send + Sync {
    /// Reads on as far as there is something to read now, and sees to it that all who take part are woken when there
    /// is more.
    fn pump(self: Arc<Self>);

    /// The last one who waited is gone.
    fn forsaken(&self);
}

struct Flight<T> {
    /// When the request came that leads it.
    begun: Instant,
    state: Mutex<State<T>>,
}

struct State<T> {
    landing: Option<Landing<T>>,
    stream: Option<Arc<dyn Stream>>,
    waiters: HashMap<u64, Option<Waker>>,
    next_waiter: u64,
}

impl<T> Flight<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }

    fn wake_all(&self) {
        // Collected first: a waker may run code of ours.
        let wakers = self.state().wakers();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<T> State<T> {
    fn wakers(&mut self) -> Vec<Waker> {
        self.waiters.values_mut().filter_map(Option::take).collect()
    }
}

/// Nothing here panics while it holds a lock; if something ever does, the data is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to do about a key.
pub(crate) enum Join<T> {
    /// Fetch it.
    Lead(Lead<T>),
    /// Wait for whoever fetches it.
    Wait(Wait<T>),
}

impl<T> Flights<T> {
    pub(crate) fn new() -> Self {
        let shard = |_| Shard { landings: AtomicU64::new(0), flights: Mutex::new(HashMap::default()) };
        Self((0..SHARDS).map(shard).collect())
    }

    /// Changes whenever a flight of this key ends. Whoever looks for an entry in vain, leads, and sees no change knows that
    /// nothing has landed since the look.
    pub(crate) fn landings(&self, key: u64) -> u64 {
        self.shard(key).landings.load(Ordering::Acquire)
    }

    fn shard(&self, key: u64) -> &Shard<T> {
        // The low bits pick the place inside the map.
        let [.., byte, _, _, _, _] = key.to_be_bytes();
        &self.0[usize::from(byte) % SHARDS]
    }

    /// Starts the flight of `key`; `None` if it is under way.
    pub(crate) fn lead(&self, key: u64, asked: Instant) -> Option<Lead<T>> {
        match self.join(key, asked) {
            Join::Lead(lead) => Some(lead),
            Join::Wait(_) => None,
        }
    }

    /// Joins the flight of `key`, or starts it, for a request that came at `asked`.
    pub(crate) fn join(&self, key: u64, asked: Instant) -> Join<T> {
        let mut flights = lock(&self.shard(key).flights);
        if let Some(flight) = flights.get(&key) {
            let flight = Arc::clone(flight);
            let mut state = flight.state();
            let waiter = state.next_waiter;
            state.next_waiter += 1;
            state.waiters.insert(waiter, None);
            drop(state);
            return Join::Wait(Wait { flight, waiter });
        }
        let state = State { landing: None, stream: None, waiters: HashMap::new(), next_waiter: 0 };
        let flight = Arc::new(Flight { begun: asked, state: Mutex::new(state) });
        flights.insert(key, Arc::clone(&flight));
        Join::Lead(Lead { flights: self.clone(), flight, key })
    }

    fn remove(&self, key: u64, flight: &Arc<Flight<T>>) {
        let shard = self.shard(key);
        let mut flights = lock(&shard.flights);
        shard.landings.fetch_add(1, Ordering::Release);
        if flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.remove(&key);
        }
    }
}

/// The right, and the duty, to fetch for all. Dropped, it lets the next one lead.
#[must_use = "dropping it abandons those who wait"]
pub(crate) struct Lead<T> {
    flights: Flights<T>,
    flight: Arc<Flight<T>>,
    key: u64,
}

impl<T> Lead<T> {
    /// Ends the flight. What landed must already be where a new request would look for it.
    pub(crate) fn land(self, landing: Landing<T>) {
        self.flight.state().landing.get_or_insert(landing);
    }

    /// Lets those who wait help to read the response.
    pub(crate) fn streams(&self, stream: Arc<dyn Stream>) {
        self.flight.state().stream = Some(stream);
        self.flight.wake_all();
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.flight.state().waiters.is_empty()
    }

    /// Those who wait, to be woken when there is more to read.
    pub(crate) fn waiters(&self) -> Waiters
    where
        T: Send + 'static,
    {
        let flight: Arc<dyn Woken> = Arc::clone(&self.flight) as _;
        Waiters(Some(Arc::downgrade(&flight)))
    }
}

/// Those who wait for a response. Does not keep their flight alive.
pub(crate) struct Waiters(Option<Weak<dyn Woken>>);

impl Waiters {
    /// Of a response that is fetched for one client alone.
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn wake(&self) {
        if let Some(flight) = self.0.as_ref().and_then(Weak::upgrade) {
            flight.wake();
        }
    }
}

/// A flight, whatever it carries.
trait Woken: Send + Sync {
    fn wake(&self);
}

impl<T: Send> Woken for Flight<T> {
    fn wake(&self) {
        self.wake_all();
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        // First out of the map, so that whoever sees the landing and joins again finds a new flight.
        self.flights.remove(self.key, &self.flight);
        let mut state = self.flight.state();
        state.landing.get_or_insert(Landing::Abandoned);
        let (stream, wakers) = (state.stream.take(), state.wakers());
        drop(state);
        // Outside the lock: the stream may hold the only other way to this flight, and a waker may run code of ours.
        drop(stream);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A wait for somebody else's fetch. It never ends by itself if the leader hangs: put a time limit on it.
///
/// # Cancel safety
///
/// Dropping it leaves the flight; the last one to leave a stream that has no client either ends that stream.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Wait<T> {
    flight: Arc<Flight<T>>,
    waiter: u64,
}

impl<T> Wait<T> {
    /// When the request came that leads.
    pub(crate) fn begun(&self) -> Instant {
        self.flight.begun
    }
}

impl<T: Clone> Future for Wait<T> {
    type Output = Landing<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landing<T>> {
        let stream = {
            let mut state = self.flight.state();
            if let Some(landing) = &state.landing {
                return Poll::Ready(landing.clone());
            }
            state.waiters.insert(self.waiter, Some(cx.waker().clone()));
            state.stream.clone()
        };
        if let Some(stream) = stream {
            stream.pump();
            if let Some(landing) = &self.flight.state().landing {
                return Poll::Ready(landing.clone());
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Wait<T> {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.waiters.remove(&self.waiter);
        let forsaken = if state.waiters.is_empty() { state.stream.clone() } else { None };
        drop(state);
        if let Some(stream) = forsaken {
            stream.forsaken();
        }
    }
}

#[cfg(all(test, terrace_loom))]
mod loom_tests {
    use super::*;
    use crate::store::sync::atomic::AtomicUsize;
    use loom::future::block_on;
    use loom::thread;

    /// Leads and lands, or waits; says what came of it and counts who led.
    fn fetch(flights: &Flights<u8>, fetches: &AtomicUsize) -> Landing<u8> {
        match flights.join(7, Instant::from_nanos(0)) {
            Join::Lead(lead) => {
                fetches.fetch_add(1, Ordering::Relaxed);
                lead.land(Landing::Entry(1));
                Landing::Entry(1)
            }
            Join::Wait(wait) => block_on(wait),
        }
    }

    #[test]
    fn who_waits_is_always_woken_with_what_landed() {
        loom::model(|| {
            let flights = Flights::new();
            let fetches = Arc::new(AtomicUsize::new(0));
            let other = {
                let (flights, fetches) = (flights.clone(), Arc::clone(&fetches));
                thread::spawn(move || fetch(&flights, &fetches))
            };
            assert_eq!(fetch(&flights, &fetches), Landing::Entry(1));
            assert_eq!(other.join().unwrap(), Landing::Entry(1));
            assert_eq!(flights.landings(7), fetches.load(Ordering::Relaxed) as u64);
            assert!(matches!(flights.join(7, Instant::from_nanos(0)), Join::Lead(_)), "nothing is left behind");
        });
    }

    #[test]
    fn a_leader_that_gives_up_releases_who_waits() {
        loom::model(|| {
            let flights: Flights<u8> = Flights::new();
            let Join::Lead(lead) = flights.join(7, Instant::from_nanos(0)) else { unreachable!() };
            let Join::Wait(wait) = flights.join(7, Instant::from_nanos(0)) else { unreachable!() };
            let leader = thread::spawn(move || drop(lead));
            assert_eq!(block_on(wait), Landing::Abandoned);
            leader.join().unwrap();
            assert!(matches!(flights.join(7, Instant::from_nanos(0)), Join::Lead(_)));
        });
    }

    /// A response that is complete after one read, whoever reads; it lands like a fill does.
    struct OneRead(Mutex<Option<Lead<u8>>>);

    impl Stream for OneRead {
        fn pump(self: Arc<Self>) {
            let lead = lock(&self.0).take();
            if let Some(lead) = lead {
                lead.land(Landing::Entry(1));
            }
        }

        fn forsaken(&self) {
            drop(lock(&self.0).take());
        }
    }

    #[test]
    fn a_client_that_never_reads_does_not_stop_who_waits() {
        loom::model(|| {
            let flights: Flights<u8> = Flights::new();
            let Join::Lead(lead) = flights.join(7, Instant::from_nanos(0)) else { unreachable!() };
            let Join::Wait(wait) = flights.join(7, Instant::from_nanos(0)) else { unreachable!() };
            let leader = thread::spawn(move || {
                let stream = Arc::new(OneRead(Mutex::new(None)));
                // As a tee does: whoever pumps finds the fill.
                let mut slot = lock(&stream.0);
                lead.streams(Arc::clone(&stream) as Arc<dyn Stream>);
                *slot = Some(lead);
                drop(slot);
                stream
            });
            assert_eq!(block_on(wait), Landing::Entry(1));
            drop(leader.join().unwrap());
        });
    }
}
