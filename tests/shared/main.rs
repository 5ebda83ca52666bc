//! Processes that share a tier: each store here is one of them. The tier is one that a test breaks and mends.

mod changes;
mod entries;
mod fleet_wide;
mod health;
mod limits;
mod proof;
mod purges;
mod settings;
mod switched;
mod turns;

use http::{Method, Request};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use terrace::chaos::{Chaos, Failure};
use terrace::clock::FakeClock;
use terrace::stats::{
    BellDirection, BreakerName, BreakerState, CacheStatus, CoherenceState, EpochChange, ErrorKind, Feature,
    InvalidationResult, Kind, L2Op, LockKind, LockResult, LookupResult, PollResult, RejectReason, Scope, Stats,
    StoreResult, Tier,
};
use terrace::{Cache, CacheLayer, Config, Rules, SessionLayer, Store, Switch};
use terrace_tests::{Answer, Body, Gate, Origin, Outcome, ask, call, get, get_with, respond, spawn, text, until};
use tower::Layer;

const FRESH: (&str, &str) = ("cache-control", "max-age=600");
const TAGGED: &[(&str, &str)] = &[FRESH, ("cache-tag", "user:42")];

/// Processes in front of one origin.
struct Fleet {
    clock: FakeClock,
    chaos: Chaos,
    stores: Vec<Store>,
    services: Vec<Cache<Origin>>,
    origin: Origin,
}

impl Fleet {
    /// Starts so many, and waits until they follow the shared record.
    async fn of(size: usize, origin: Origin) -> Self {
        Self::with(size, Config::default(), origin).await
    }

    async fn with(size: usize, config: Config, origin: Origin) -> Self {
        let clock = FakeClock::new();
        // Not at the beginning of time.
        clock.advance(Duration::from_secs(1000));
        let chaos = Chaos::new(&clock);
        let store = |_| Store::with_chaos(config.clone(), &clock, &chaos);
        let stores: Vec<Store> = (0..size).map(store).collect();
        let layer = |store: &Store| CacheLayer::new(store.clone()).layer(origin.clone());
        let services = stores.iter().map(layer).collect();
        let fleet = Self { clock, chaos, stores, services, origin };
        fleet.pass(Duration::from_millis(100)).await;
        fleet
    }

    /// Lets time pass, for the clocks and for the timers.
    async fn pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(5);
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.clock.advance(STEP);
            tokio::time::sleep(STEP).await;
        }
    }

    /// What is heard then is not one of many, which are polled for together.
    async fn rests(&self) {
        self.pass(Duration::from_millis(50)).await;
    }

    async fn get(&self, process: usize, uri: &str) -> Answer {
        let answer = call(&self.services[process], get(uri)).await;
        // For what is left to the background.
        self.pass(Duration::from_millis(5)).await;
        answer
    }

    fn stats(&self, process: usize) -> Stats {
        self.stores[process].stats()
    }
}

/// An origin whose content is the number of its changes, and that knows what it has told.
fn changing(fields: &'static [(&'static str, &'static str)]) -> (Arc<AtomicU64>, Origin) {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    (version, Origin::answering(move |_| text(fields, told.load(SeqCst).to_string())))
}

/// An origin that reads which version there is before it waits at a gate.
fn slow_database() -> (Gate, Arc<AtomicU64>, Origin) {
    let (gate, version) = (Gate::default(), Arc::new(AtomicU64::new(1)));
    let (passed, told) = (gate.clone(), Arc::clone(&version));
    let origin = Origin::new(move |_| {
        let (gate, read) = (passed.clone(), told.load(SeqCst));
        async move {
            gate.pass().await;
            Ok(text(&[FRESH], read.to_string()))
        }
    });
    (gate, version, origin)
}
