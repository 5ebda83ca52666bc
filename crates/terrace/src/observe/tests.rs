use super::stats::{
    BellDirection, BreakerName, BreakerState, BridgeChannel, BridgeResult, ChangeResult, CoherenceState, EpochChange,
    ErrorKind, FenceMode, FenceResult, L2Op, PollResult, PrewarmResult, Weakness,
};
use super::*;
use crate::clock::FakeClock;
use std::time::Duration;

#[cfg(feature = "metrics")]
mod exposition;
#[cfg(feature = "tracing")]
mod log;
#[cfg(feature = "metrics")]
mod text;

fn observe() -> Observe {
    Observe::private(Clock::default(), &Config::default())
}

/// The line of a manual's file from which on it comes from a table of the code.
const GENERATED: &str =
    "<!-- generated from the code below this line: UPDATE_MANUAL=1 cargo test -p terrace manual -->\n";

/// Compares the generated end of a chapter with what it should be, or writes it when `UPDATE_MANUAL` is set.
pub(crate) fn manual(file: &str, generated: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual").join(file);
    let chapter = std::fs::read_to_string(&path).unwrap();
    let (intro, table) = chapter.split_once(GENERATED).unwrap();
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(path, format!("{intro}{GENERATED}\n{generated}")).unwrap();
    } else {
        assert!(table.trim_start() == generated, "{file} is out of date: UPDATE_MANUAL=1 cargo test -p terrace manual");
    }
}

#[test]
fn threads_lose_no_count() {
    let observe = observe();
    let namespace = observe.namespace("shop");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let observe = observe.clone();
            scope.spawn(move || {
                for _ in 0..50_000 {
                    observe.l1_hit(namespace, None);
                    observe.lookup(Tier::L1, LookupResult::Miss);
                    // What one thread adds another removes.
                    if thread % 2 == 0 {
                        observe.entry_added(namespace, 100);
                    } else {
                        observe.entry_removed(namespace, 100, EvictionReason::Size);
                    }
                }
            });
        }
    });
    let stats = observe.stats();
    assert_eq!(stats.requests(CacheStatus::L1CacheHit), 400_000);
    assert_eq!(stats.lookups(Tier::L1, LookupResult::Hit), 400_000);
    assert_eq!(stats.lookups(Tier::L1, LookupResult::Miss), 400_000);
    assert_eq!(stats.evictions(EvictionReason::Size), 200_000);
    assert_eq!((stats.entries(), stats.size_bytes()), (0, 0));
}

#[test]
fn a_gauge_is_never_seen_below_zero() {
    let observe = observe();
    let namespace = observe.namespace("shop");
    observe.entry_removed(namespace, 100, EvictionReason::Size);
    assert_eq!((observe.stats().entries(), observe.stats().size_bytes()), (0, 0));
    observe.entry_added(namespace, 100);
    observe.entry_added(namespace, 50);
    assert_eq!((observe.stats().entries(), observe.stats().size_bytes()), (1, 50));
}

#[test]
fn every_request_is_counted_once() {
    let observe = observe();
    let namespace = observe.namespace("shop");
    let start = || observe.pending(namespace, Timing::Untimed);
    start().finish(CacheStatus::Coalesced);
    // Dropped before anything was known of it, and after.
    drop(start());
    let mut request = start();
    request.status(CacheStatus::Miss);
    drop(request);
    let panicked = std::panic::catch_unwind(|| {
        let mut request = observe.pending(namespace, Timing::Untimed);
        request.status(CacheStatus::Bypass);
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.is_err());
    let counts = CacheStatus::ALL.iter().map(|status| observe.stats().requests(*status)).collect::<Vec<_>>();
    assert_eq!(counts, [0, 0, 0, 0, 1, 1, 1, 1]);
}

#[test]
fn guards_count_what_is_abandoned() {
    let observe = observe();
    let cells = |outcome| {
        let first = cell(Id::OriginDuration, [0, outcome as usize]);
        let buckets = cell(Id::OriginDuration, [0, 1]) - cell(Id::OriginDuration, [0, 0]) - 1;
        observe.stats().cells()[first..first + buckets].iter().sum::<u64>()
    };
    drop(observe.origin_call());
    let (now, _) = observe.origin_call().finish(OriginOutcome::Ok);
    assert_eq!((cells(OriginOutcome::Cancelled), cells(OriginOutcome::Ok)), (1, 1));
    let (one, two) = (observe.fill(now), observe.fill(now));
    assert_eq!(observe.stats().inflight_fills(), 2);
    one.stored(now);
    drop(two);
    assert_eq!(observe.stats().inflight_fills(), 0);
}

/// The weighted samples of a load with the rhythm of the sampling, and of one without, count what really happened.
#[test]
fn samples_are_unbiased() {
    for rhythm in [1, 2, 64, 97] {
        let time = FakeClock::new();
        let observe = Observe::private(time.clock(), &Config::default());
        let namespace = observe.namespace("shop");
        let rounds = 64_u64 * 10_000;
        let mut slow = 0_u64;
        for round in 0..rounds {
            let is_slow = round % rhythm < rhythm.div_ceil(2);
            slow += u64::from(is_slow);
            let started = observe.sample().then(|| time.clock().now());
            if started.is_some() {
                time.advance(if is_slow { Duration::from_millis(2) } else { Duration::from_micros(1) });
            }
            observe.l1_hit(namespace, started);
        }
        let first = cell(Id::RequestDuration, [CacheStatus::L1CacheHit as usize]);
        let stats = observe.stats();
        let buckets = &stats.cells()[first..first + 21];
        // 2 ms is in the bucket up to 2.5 ms. Both tolerances are about ten standard deviations.
        assert_close(buckets[7], slow, 0.1);
        assert_close(buckets.iter().sum(), rounds, 0.05);
    }
}

#[expect(clippy::cast_precision_loss)]
fn assert_close(estimate: u64, truth: u64, tolerance: f64) {
    let ratio = estimate as f64 / truth as f64;
    assert!((ratio - 1.0).abs() < tolerance, "{estimate} for {truth}");
}

#[test]
fn statistics_show_what_is_not_zero() {
    let observe = observe();
    let namespace = observe.namespace("shop");
    observe.request(namespace, CacheStatus::Stale, Timing::Untimed);
    observe.position(3);
    let stats = observe.stats();
    assert_eq!(stats.position(), 3);
    assert_eq!(stats.max_size_bytes(), 64 << 20);
    let text = format!("{stats:?}");
    assert!(text.contains("cache_requests_total") && !text.contains("cache_bypass_total"), "{text}");
}

#[test]
fn statistics_of_a_tier_that_is_not_shared_are_nothing() {
    let stats = observe().stats();
    assert_eq!((stats.proof_age(), stats.coherence(), stats.breaker(BreakerName::Data)), (None, None, None));
    assert_eq!((stats.pending_invalidations(), stats.oldest_pending()), (0, Duration::ZERO));
}

#[test]
fn statistics_show_what_the_shared_tier_came_to() {
    let time = FakeClock::new();
    time.advance(Duration::from_secs(1000));
    let observe = Observe::private(time.clock(), &Config::default());
    observe.shared(Duration::from_secs(1), FenceMode::Strict);
    let started = time.clock().now();
    time.advance(Duration::from_millis(40));
    assert_eq!(observe.stats().proof_age(), Some(Duration::from_millis(40)));
    observe.l2_error(L2Op::Get, ErrorKind::Timeout);
    observe.poll_ended(PollResult::Refused);
    observe.epoch_changed(EpochChange::Lost);
    observe.bell(BellDirection::Sent);
    observe.proven(time.clock().now(), 7);
    observe.breaker_moved(BreakerName::Data, BreakerState::Closed, BreakerState::Open);
    observe.owed((2, Some(started)));
    let stats = observe.stats();
    assert_eq!(
        (stats.l2_errors(L2Op::Get, ErrorKind::Timeout), stats.l2_errors(L2Op::Set, ErrorKind::Timeout)),
        (1, 0)
    );
    assert_eq!((stats.polls(PollResult::Refused), stats.epoch_changes(EpochChange::Lost)), (1, 1));
    assert_eq!((stats.bells(BellDirection::Sent), stats.bells(BellDirection::Received)), (1, 0));
    assert_eq!((stats.position(), stats.coherence()), (7, Some(CoherenceState::Coherent)));
    assert_eq!(stats.breaker(BreakerName::Data), Some(BreakerState::Open));
    assert_eq!(stats.breaker_transitions(BreakerName::Data, BreakerState::Open), 1);
    assert_eq!((stats.pending_invalidations(), stats.oldest_pending()), (2, Duration::from_millis(40)));
}

/// What the tier tells of itself is in the cells that are published.
#[test]
fn what_only_a_tier_knows_is_kept() {
    let observe = observe();
    observe.pool(1, 2, 16);
    observe.bus(true);
    observe.markers(9);
    observe.fence(FenceResult::NewEpoch);
    observe.weaknesses(&[Weakness::HiddenPolicy]);
    observe.swept(1);
    observe.swept(0);
    let text = format!("{:?}", observe.stats());
    for line in [
        "(\"cache_l2_pool_connections\", [0]): 1",
        "(\"cache_l2_pool_connections\", [1]): 2",
        "(\"cache_l2_pool_max_connections\", []): 16",
        "(\"cache_coherence_bus_connected\", []): 1",
        "(\"cache_coherence_markers\", []): 9",
        "(\"cache_coherence_fence_total\", [1]): 1",
        "(\"cache_l2_unsafe\", [4]): 1",
        "(\"cache_changes_total\", [2]): 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// Not a test: prints what a memory hit pays for being counted. `cargo test --release -p terrace price -- --nocapture`.
#[test]
fn the_price_of_counting_a_hit() {
    let observe = observe();
    let namespace = observe.namespace("shop");
    let clock = Clock::default();
    let rounds = if cfg!(debug_assertions) { 10_000_u32 } else { 1_000_000 };
    let hit = |observe: &Observe| {
        for _ in 0..rounds {
            // As a hit does: `now` is there anyway, because freshness needs it.
            let started = std::hint::black_box(observe).sample().then(|| clock.now());
            std::hint::black_box(observe).l1_hit(namespace, started);
        }
    };
    for threads in [1, 2] {
        let measure = || {
            let start = clock.now();
            std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| hit(&observe)))));
            clock.now().duration_since(start).as_secs_f64() * 1e9 / f64::from(rounds)
        };
        let best = (0..10).map(|_| measure()).fold(f64::INFINITY, f64::min);
        println!("sample and l1_hit, {threads} threads: {best:.1} ns each");
    }
}
