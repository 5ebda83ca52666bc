//! Processes that share a tier: each store here is one of them. The tier is one that a test breaks and mends.

mod fleet_wide;
mod switched;

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
}

/// An origin whose content is the number of its changes, and that knows what it has told.
fn changing(fields: &'static [(&'static str, &'static str)]) -> (Arc<AtomicU64>, Origin) {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    (version, Origin::answering(move |_| text(fields, told.load(SeqCst).to_string())))
}

#[tokio::test(start_paused = true)]
async fn what_one_process_fetched_answers_in_all() {
    let fleet = Fleet::of(3, Origin::counting(&[FRESH])).await;
    let first = fleet.get(0, "/a?b=c").await;
    fleet.clock.advance(Duration::from_secs(10));
    fleet.pass(Duration::from_millis(500)).await;
    for process in 1..3 {
        let answer = fleet.get(process, "/a?b=c").await;
        assert_eq!(answer.text(), first.text());
        assert!(answer.is_hit() && answer.age() >= Some(10), "{answer:?}");
        assert_eq!(fleet.stores[process].stats().requests(CacheStatus::L2CacheHit), 1);
        // From memory now.
        let lookups = fleet.chaos.lookups();
        assert!(fleet.get(process, "/a?b=c").await.is_hit());
        assert_eq!(fleet.chaos.lookups(), lookups);
    }
    assert_eq!(fleet.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_purge_reaches_every_process_at_once_with_messages_and_within_the_lag_without() {
    for (silent, wait) in [(false, Duration::from_millis(15)), (true, Duration::from_secs(1))] {
        let (version, origin) = changing(&[FRESH]);
        let fleet = Fleet::of(2, origin).await;
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/").await.text(), "1");
        }
        fleet.chaos.is_silent(silent);
        fleet.rests().await;
        version.store(2, SeqCst);
        let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
        assert_eq!(fleet.get(0, "/").await.text(), "2", "here at once");
        fleet.pass(wait).await;
        assert_eq!(fleet.get(1, "/").await.text(), "2", "silent: {silent}");
    }
}

/// Each costs the server as much as a request, in every process.
#[tokio::test(start_paused = true)]
async fn under_a_storm_of_messages_polls_keep_apart() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.rests().await;
    let polls = || fleet.stores[1].stats().polls(PollResult::Ok);
    let before = polls();
    for number in 0..100 {
        let _receipt = fleet.stores[0].purge_url(&format!("/{number}")).await.unwrap();
        fleet.pass(Duration::from_millis(10)).await;
    }
    let polls = polls() - before;
    assert!((20..=27).contains(&polls), "{polls} in a second");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_receipt_is_never_answered_with_older_data_by_any_process() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.chaos.is_silent(true);
    version.store(2, SeqCst);
    let receipt = fleet.stores[0].purge_url("/").await.unwrap();
    let with_receipt = || {
        let mut request = get("/");
        request.extensions_mut().insert(receipt.clone());
        request
    };
    assert_eq!(call(&fleet.services[1], get("/")).await.text(), "1", "it has not heard of it");
    assert_eq!(call(&fleet.services[1], with_receipt()).await.text(), "2");
    fleet.pass(Duration::from_secs(1)).await;
    let lookups = fleet.chaos.lookups();
    let answer = call(&fleet.services[1], with_receipt()).await;
    assert!(answer.is_hit() && answer.text() == "2");
    assert_eq!(fleet.chaos.lookups(), lookups, "from memory, which has caught up");
}

/// While a failover is under way one process may still have the primary that was left, which hears of no invalidation.
#[tokio::test(start_paused = true)]
async fn a_request_with_a_receipt_of_another_epoch_is_fetched() {
    let (version, origin) = changing(&[FRESH]);
    let (left, promoted) = (Fleet::of(1, origin.clone()).await, Fleet::of(1, origin).await);
    promoted.chaos.restarts();
    promoted.pass(Duration::from_secs(1)).await;
    assert_eq!(left.get(0, "/").await.text(), "1");
    version.store(2, SeqCst);
    let receipt = promoted.stores[0].purge_url("/").await.unwrap();
    let mut request = get("/");
    request.extensions_mut().insert(receipt);
    assert_eq!(left.get(0, "/").await.text(), "1");
    assert_eq!(call(&left.services[0], request).await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_what_it_wrote_whichever_process_it_reaches() {
    type Carry = fn(&Store) -> SessionLayer;
    let keys = format!("a:{}=", "A".repeat(43));
    let config = Config::from_vars([("CACHE_KEYS", &*keys)]).unwrap();
    let as_header: Carry = |store| SessionLayer::header(store.clone(), "seen".parse().unwrap()).unwrap();
    let as_cookie: Carry = |store| SessionLayer::cookie(store.clone(), "seen").unwrap();
    for (sent, brought, layer) in [("seen", "seen", as_header), ("set-cookie", "cookie", as_cookie)] {
        let (version, origin) = changing(&[FRESH]);
        let fleet = Fleet::with(2, config.clone(), origin).await;
        fleet.chaos.is_silent(true);
        let writer = fleet.stores[0].clone();
        let change = tower::service_fn(move |_: Request<Body>| {
            let (version, writer) = (Arc::clone(&version), writer.clone());
            async move {
                version.store(2, SeqCst);
                let mut response = text(&[], "changed".to_owned());
                response.extensions_mut().insert(writer.purge_url("/").await.unwrap());
                Outcome::Ok(response)
            }
        });
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/").await.text(), "1");
        }
        let changed = call(&layer(&fleet.stores[0]).layer(change), get("/")).await;
        let receipt = changed.field(sent).split(';').next().unwrap().to_owned();
        let reader = layer(&fleet.stores[1]).layer(fleet.services[1].clone());
        assert_eq!(call(&reader, get("/")).await.text(), "1", "it has not heard of it");
        assert_eq!(call(&reader, get_with("/", &[(brought, "seen=forged")])).await.text(), "1", "{brought}");
        let with_receipt = [(brought, receipt.as_str())];
        assert_eq!(call(&reader, get_with("/", &with_receipt)).await.text(), "2", "{brought}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_scope_of_a_purge_is_shared() {
    const FIELDS: &[(&str, &str)] = &[FRESH, ("cache-tag", "blue, red")];
    let (version, origin) = changing(FIELDS);
    let fleet = Fleet::of(2, origin).await;
    for scope in 0..5 {
        let old = version.load(SeqCst).to_string();
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/a/b?c=d").await.text(), old);
        }
        version.fetch_add(1, SeqCst);
        let store = &fleet.stores[0];
        let purge = match scope {
            0 => store.purge_url("/a/b?c=d"),
            1 => store.purge_tag("red"),
            2 => store.purge_prefix("/a"),
            3 => store.purge_all(),
            _ => store.purge_tag("red").soft(),
        };
        let _receipt = purge.await.unwrap();
        fleet.pass(Duration::from_millis(50)).await;
        assert_ne!(fleet.get(1, "/a/b?c=d").await.text(), old, "scope {scope}");
        fleet.pass(Duration::from_millis(50)).await;
    }
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

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_request_is_answered_with_nothing_older_than_memory_may_be() {
    let (gate, version, origin) = slow_database();
    // Nothing tells a process what others have invalidated.
    let fleet = Fleet::with(2, Config::from_vars([("CACHE_POLL_INTERVAL", "5m")]).unwrap(), origin).await;
    fleet.chaos.is_silent(true);
    let slow = spawn(&fleet.services[0], get("/"));
    until("the fetch is under way", || gate.arrived() == 1).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[1].purge_url("/").await.unwrap();
    fleet.pass(Duration::from_millis(500)).await;
    let soon = spawn(&fleet.services[0], get("/"));
    fleet.pass(Duration::from_millis(700)).await;
    let late = spawn(&fleet.services[0], get("/"));
    fleet.pass(Duration::from_millis(50)).await;
    assert_eq!(gate.arrived(), 1, "both wait");
    gate.open();
    assert_eq!((slow.await.unwrap().text(), soon.await.unwrap().text()), ("1", "1"));
    assert_eq!(late.await.unwrap().text(), "2", "it came more than the lag after the invalidation");
    // As long as nobody waits longer than memory may lag, one fetch is for all.
    let tasks: Vec<_> = (0..100).map(|_| spawn(&fleet.services[0], get("/other"))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().text(), "2");
    }
    assert_eq!(gate.arrived(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_soft_purge_makes_nobody_wait_in_the_process_that_purges_either() {
    const STALE: (&str, &str) = ("cache-control", "max-age=600, stale-while-revalidate=600");
    let gate = Gate::default();
    let config = Config::from_vars([("CACHE_POLL_INTERVAL", "900ms")]).unwrap();
    let fleet = Fleet::with(2, config, gate.before(|_| text(&[STALE], "x"))).await;
    fleet.chaos.is_silent(true);
    gate.admit(1);
    fleet.get(0, "/").await;
    for _ in 0..3 {
        let _receipt = fleet.stores[0].purge_url("/").soft().await.unwrap();
        // Nobody is admitted to the origin.
        let answer = tokio::time::timeout(Duration::from_millis(50), fleet.get(0, "/")).await;
        assert_eq!(answer.expect("at once").text(), "x");
    }
    assert_eq!(fleet.stores[0].stats().requests(CacheStatus::Stale), 3);
    until("one revalidates", || gate.arrived() == 2).await;
    gate.open();
    fleet.pass(Duration::from_secs(1)).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_millis(20)).await;
    assert!(fleet.get(0, "/").await.is_hit(), "and is done with it");
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_before_an_invalidation_is_never_found_after_it() {
    let (gate, version, origin) = slow_database();
    let fleet = Fleet::of(2, origin).await;
    let slow = spawn(&fleet.services[0], get("/"));
    until("the fetch is under way", || gate.arrived() == 1).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[1].purge_url("/").await.unwrap();
    gate.open();
    assert_eq!(slow.await.unwrap().text(), "1");
    fleet.pass(Duration::from_millis(20)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_invalidates_in_all_processes() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::answering(move |request| {
        if request.method == Method::POST {
            told.fetch_add(1, SeqCst);
        }
        text(&[FRESH], told.load(SeqCst).to_string())
    });
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.rests().await;
    call(&fleet.services[0], ask(Method::POST, "/", &[])).await;
    assert_eq!(call(&fleet.services[0], get("/")).await.text(), "2", "here at once");
    fleet.pass(Duration::from_millis(20)).await;
    assert_eq!(fleet.get(1, "/").await.text(), "2");
}

#[tokio::test(start_paused = true)]
async fn memory_is_believed_as_long_as_it_is_proven_and_a_short_time_more_if_nobody_can_be_asked() {
    for failure in [Failure::Refuses, Failure::Hangs] {
        let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
        let first = fleet.get(0, "/").await;
        fleet.chaos.fails(failure);
        fleet.pass(Duration::from_millis(500)).await;
        let proven = fleet.get(0, "/").await;
        assert!(proven.is_hit() && !proven.field("cache-status").contains("unproven"), "{proven:?}");
        fleet.pass(Duration::from_secs(2)).await;
        let recent = fleet.get(0, "/").await;
        assert_eq!(recent.text(), first.text());
        assert!(recent.is_hit() && recent.field("cache-status").contains("detail=unproven"), "{recent:?}");
        fleet.pass(Duration::from_secs(30)).await;
        let fetched = fleet.get(0, "/").await;
        assert_ne!(fetched.text(), first.text(), "{failure:?}");
        // What is fetched now is as good as a proof for as long.
        assert_eq!(fleet.get(0, "/").await.text(), fetched.text());
        // And what was stored before is believed again once it is proven.
        fleet.chaos.fails(Failure::None);
        fleet.pass(Duration::from_secs(3)).await;
        let again = fleet.get(0, "/").await;
        assert!(again.is_hit() && !again.field("cache-status").contains("unproven"), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_invalidations_is_not_believed() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    assert_eq!(fleet.get(0, "/").await.text(), "1");
    version.store(2, SeqCst);
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    // Its entries are there, and the invalidation is not.
    fleet.chaos.restarts_with_entries();
    assert_eq!(fleet.get(1, "/").await.text(), "2", "before it is known that the epoch changed");
    fleet.pass(Duration::from_secs(1)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_everything_goes_on_with_an_empty_cache() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    let first = fleet.get(0, "/").await;
    fleet.chaos.restarts();
    fleet.pass(Duration::from_secs(1)).await;
    let second = fleet.get(0, "/").await;
    assert_ne!(second.text(), first.text());
    fleet.pass(Duration::from_secs(1)).await;
    assert_eq!(fleet.get(1, "/").await.text(), second.text());
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_is_not_confirmed_is_an_error_holds_here_and_is_repeated() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.chaos.fails(Failure::Refuses);
    version.store(2, SeqCst);
    let error = fleet.stores[0].purge_url("/").await.unwrap_err();
    assert!(error.is_unconfirmed() && error.to_string().contains("Redis"), "{error}");
    assert_eq!(fleet.get(0, "/").await.text(), "2", "this process knows");
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    assert_eq!(fleet.get(1, "/").await.text(), "2", "and has told the others");
    // Nothing is held any more.
    fleet.get(0, "/").await;
    let lookups = fleet.chaos.lookups();
    assert!(fleet.get(0, "/").await.is_hit());
    assert_eq!(fleet.chaos.lookups(), lookups);
}

#[tokio::test(start_paused = true)]
async fn variants_are_shared() {
    let origin = Origin::answering(|request| {
        let language = request.headers.get("accept-language").cloned().unwrap();
        text(&[FRESH, ("vary", "accept-language")], language.as_bytes().to_vec())
    });
    let fleet = Fleet::of(2, origin).await;
    for (process, language) in [(0, "de"), (0, "fr"), (1, "fr"), (1, "de"), (1, "fr")] {
        let answer = call(&fleet.services[process], get_with("/", &[("accept-language", language)])).await;
        assert_eq!(answer.text(), language);
        fleet.pass(Duration::from_millis(5)).await;
    }
    assert_eq!(fleet.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_miss_and_is_overwritten() {
    let fleet = Fleet::of(3, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.chaos.corrupts();
    let second = fleet.get(1, "/").await;
    assert_eq!(fleet.origin.calls(), 2);
    assert_eq!(fleet.stores[1].stats().rejected(Tier::L2, RejectReason::Schema), 1);
    assert_eq!(fleet.get(2, "/").await.text(), second.text());
}

#[tokio::test(start_paused = true)]
async fn many_requests_for_what_is_not_in_memory_ask_once() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    let lookups = fleet.chaos.lookups();
    let tasks: Vec<_> = (0..100).map(|_| spawn(&fleet.services[1], get("/"))).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().text(), "1");
    }
    assert_eq!((fleet.origin.calls(), fleet.chaos.lookups()), (1, lookups + 1));
}

#[tokio::test(start_paused = true)]
async fn many_processes_that_want_what_is_not_there_fetch_it_once() {
    let gate = Gate::default();
    let fleet = Fleet::of(4, gate.before(|_| text(&[FRESH], "x"))).await;
    let tasks: Vec<_> = (0..400).map(|number| spawn(&fleet.services[number % 4], get("/"))).collect();
    until("one is in the origin", || gate.arrived() == 1).await;
    fleet.pass(Duration::from_millis(500)).await;
    assert_eq!(gate.arrived(), 1);
    gate.open();
    let started = tokio::time::Instant::now();
    for task in tasks {
        assert_eq!(task.await.unwrap().text(), "x");
    }
    assert!(started.elapsed() < Duration::from_millis(10), "as soon as it is there: {:?}", started.elapsed());
    assert_eq!(fleet.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_gets_the_turn_looks_whether_the_one_before_has_stored_something() {
    let gate = Gate::default();
    let fleet = Fleet::of(2, gate.before(|_| text(&[FRESH], "x"))).await;
    fleet.chaos.is_silent(true);
    let first = spawn(&fleet.services[0], get("/"));
    until("it is in the origin", || gate.arrived() == 1).await;
    let second = spawn(&fleet.services[1], get("/"));
    fleet.pass(Duration::from_millis(95)).await;
    // Without a message it looks after a tenth of a second. What it sees comes late.
    let lookups = fleet.chaos.lookups();
    fleet.chaos.fails(Failure::Slow(Duration::from_millis(25)));
    fleet.pass(Duration::from_millis(10)).await;
    assert_eq!(fleet.chaos.lookups(), lookups + 1);
    fleet.chaos.fails(Failure::None);
    gate.open();
    assert_eq!((first.await.unwrap().text(), second.await.unwrap().text()), ("x", "x"));
    assert_eq!((gate.arrived(), fleet.origin.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn when_the_process_that_fetches_is_gone_one_other_fetches_within_the_time_of_a_lease() {
    for gives_up in [true, false] {
        let gate = Gate::default();
        let fleet = Fleet::of(3, gate.before(|_| text(&[FRESH], "x"))).await;
        let first = spawn(&fleet.services[0], get("/"));
        until("it is in the origin", || gate.arrived() == 1).await;
        let others: Vec<_> = (0..50).map(|number| spawn(&fleet.services[1 + number % 2], get("/"))).collect();
        fleet.pass(Duration::from_millis(100)).await;
        if gives_up {
            // It says so.
            first.abort();
            fleet.pass(Duration::from_millis(50)).await;
        } else {
            // It never answers.
            fleet.pass(Duration::from_millis(3200)).await;
        }
        assert_eq!(gate.arrived(), 2, "one more, says so: {gives_up}");
        gate.open();
        for other in others {
            assert_eq!(other.await.unwrap().text(), "x");
        }
        assert_eq!(fleet.origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn one_process_revalidates_what_is_stale_in_all() {
    let gate = Gate::default();
    let origin = gate.before(|_| text(&[("cache-control", "max-age=10, stale-while-revalidate=100")], "x"));
    let fleet = Fleet::of(4, origin).await;
    gate.admit(1);
    for process in 0..4 {
        fleet.get(process, "/").await;
    }
    fleet.pass(Duration::from_secs(11)).await;
    for process in 0..4 {
        assert!(fleet.get(process, "/").await.is_hit());
    }
    fleet.pass(Duration::from_millis(100)).await;
    assert_eq!(gate.arrived(), 2, "one for the content, one to revalidate it");
}

#[tokio::test(start_paused = true)]
async fn switched_off_a_process_is_alone_and_tells_what_it_invalidated_when_it_is_switched_on() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    assert_eq!(fleet.get(1, "/").await.text(), "1");
    fleet.stores[0].flags().set(Feature::L2, false);
    fleet.pass(Duration::from_millis(500)).await;
    let (lookups, entries) = (fleet.chaos.lookups(), fleet.chaos.entries());
    fleet.get(0, "/").await;
    assert!(fleet.get(0, "/").await.is_hit());
    fleet.chaos.fails(Failure::Refuses);
    fleet.pass(Duration::from_secs(60)).await;
    assert!(fleet.get(0, "/").await.is_hit(), "it needs no proof of others");
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    assert_eq!(fleet.get(0, "/").await.text(), "2");
    assert_eq!((fleet.chaos.lookups(), fleet.chaos.entries()), (lookups, entries));
    assert_eq!(fleet.get(1, "/").await.text(), "1", "it was not told");
    fleet.stores[0].flags().set(Feature::L2, true);
    fleet.pass(Duration::from_secs(2)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_writes_is_not_read_from_the_next_poll_on() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    // The next probe is not due for a while.
    fleet.pass(Duration::from_millis(500)).await;
    fleet.chaos.fails(Failure::ReadOnly);
    fleet.pass(Duration::from_millis(300)).await;
    let lookups = fleet.chaos.lookups();
    assert_eq!(fleet.get(1, "/").await.text(), "2", "it may be cut off from those who invalidate");
    assert_eq!(fleet.chaos.lookups(), lookups);
}

/// While a failover is under way the primary that was left may go on answering, and hear of no invalidation.
/// As while a failover is under way, when Redis's answers do not count.
#[tokio::test(start_paused = true)]
async fn what_was_stored_while_a_request_waited_is_not_recent_where_nothing_unproven_is_to_be_served() {
    let config = Config::from_vars([("CACHE_L1_DEGRADED_MAX", "0")]).unwrap();
    let gate = Gate::default();
    let fleet = Fleet::with(1, config, gate.before(|_| text(&[FRESH], "x"))).await;
    fleet.chaos.fails(Failure::Refuses);
    fleet.pass(Duration::from_secs(2)).await;
    let early = spawn(&fleet.services[0], get("/"));
    until("the fetch is under way", || gate.arrived() == 1).await;
    fleet.pass(Duration::from_millis(1500)).await;
    let late = spawn(&fleet.services[0], get("/"));
    fleet.pass(Duration::from_millis(100)).await;
    assert_eq!(gate.arrived(), 1, "it waits");
    gate.admit(1);
    early.await.unwrap();
    fleet.pass(Duration::from_millis(100)).await;
    assert_eq!(gate.arrived(), 2, "the fetch began before what the late one may be answered with");
    gate.admit(1);
    late.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_redis_answers_counts_no_longer_than_it_is_known_to_take_writes() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.stores[1].flags().set(Feature::L1, false);
    fleet.get(0, "/").await;
    let found = async || fleet.get(1, "/").await.field("cache-status").contains("detail=l2");
    fleet.chaos.fails(Failure::PollsHang);
    fleet.pass(Duration::from_millis(700)).await;
    assert!(found().await, "it was heard of within the lag");
    fleet.pass(Duration::from_millis(320)).await;
    let started = tokio::time::Instant::now();
    assert!(!found().await);
    assert!(started.elapsed() < Duration::from_millis(40), "no longer than for any answer of it");
    let stats = fleet.stores[1].stats();
    assert_eq!(stats.rejected(Tier::L2, RejectReason::Proof), 1);
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(2)).await;
    assert!(found().await);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_believes_redis_as_soon_as_it_has_polled() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.stores[0].flags().set(Feature::L1, false);
    // Nothing ran meanwhile, and by its timer the next poll is not due.
    fleet.clock.advance(Duration::from_secs(20));
    let started = tokio::time::Instant::now();
    assert!(call(&fleet.services[0], get("/")).await.field("cache-status").contains("detail=l2"));
    assert!(started.elapsed() < Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn however_many_answers_of_a_slow_tier_a_request_needs_it_waits_for_one_budget() {
    let origin = Origin::answering(|_| text(&[FRESH, ("vary", "accept-language"), ("cache-tag", "a")], "x"));
    let fleet = Fleet::of(2, origin).await;
    fleet.get(0, "/").await;
    fleet.chaos.fails(Failure::Slow(Duration::from_millis(20)));
    // What is not there needs a look-up and a lease; what varies and has tags, four answers to find it.
    for path in ["/new", "/"] {
        let started = tokio::time::Instant::now();
        let asked = spawn(&fleet.services[1], get_with(path, &[("accept-language", "en")]));
        fleet.pass(Duration::from_millis(35)).await;
        assert!(asked.is_finished(), "{path}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_given_no_more_after_the_first_refusal_until_it_has_room() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Full);
    fleet.get(0, "/first").await;
    for number in 0..20 {
        fleet.get(0, &format!("/{number}")).await;
    }
    let stats = fleet.stores[0].stats();
    assert_eq!(stats.stores(Tier::L2, StoreResult::Rejected), 0, "the lease of the first was refused already");
    assert_eq!(stats.stores(Tier::L2, StoreResult::Skipped), 21);
    assert_eq!(stats.breaker_transitions(BreakerName::Data, BreakerState::Open), 0);
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(2)).await;
    fleet.get(0, "/last").await;
    assert_eq!(fleet.stores[0].stats().stores(Tier::L2, StoreResult::Ok), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_stored_too_slowly_keep_nobody_from_reading() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/before").await;
    fleet.chaos.fails(Failure::StoresHang);
    for number in 0..40 {
        fleet.get(0, &format!("/{number}")).await;
    }
    fleet.pass(Duration::from_secs(1)).await;
    let stats = fleet.stores[0].stats();
    assert_eq!(stats.stores(Tier::L2, StoreResult::Timeout), 40);
    assert_eq!(stats.breaker_transitions(BreakerName::Data, BreakerState::Open), 0);
    assert_eq!(stats.lookups(Tier::L2, LookupResult::Skipped), 0);
    assert_eq!(fleet.get(1, "/before").await.text(), "1");
    assert_eq!(fleet.stores[1].stats().requests(CacheStatus::L2CacheHit), 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_stored_too_slowly_is_waited_for_no_longer_than_a_look_may_take() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::StoresHang);
    let first = fleet.get(0, "/").await;
    let started = tokio::time::Instant::now();
    let other = spawn(&fleet.services[1], get("/"));
    fleet.pass(Duration::from_millis(40)).await;
    assert!(other.is_finished(), "{:?}", started.elapsed());
    assert_ne!(other.await.unwrap().text(), first.text());
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_and_served_says_that_it_is_from_the_shared_tier() {
    let fleet = Fleet::of(2, Origin::counting(&[("cache-control", "max-age=1, stale-while-revalidate=600")])).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_secs(3)).await;
    for (process, shared) in [(1, true), (0, false)] {
        let answer = call(&fleet.services[process], get("/")).await;
        assert!(answer.is_hit() && answer.text() == "1", "{answer:?}");
        assert_eq!(answer.field("cache-status").contains("detail=l2"), shared, "{answer:?}");
        assert_eq!(fleet.stores[process].stats().requests(CacheStatus::Stale), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_in_the_shared_tier_is_revalidated() {
    let origin = Origin::answering(|request| {
        let fields = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
        if request.headers.contains_key("if-none-match") {
            respond(304, &fields, terrace_tests::empty())
        } else {
            text(&fields, "content")
        }
    });
    let fleet = Fleet::of(2, origin).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_secs(11)).await;
    let answer = fleet.get(1, "/").await;
    assert_eq!(answer.text(), "content");
    assert!(answer.field("cache-status").contains("fwd-status=304"), "{answer:?}");
    // And all have it again.
    assert!(fleet.get(0, "/").await.is_hit());
    assert_eq!(fleet.origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_hangs_delays_a_request_no_longer_than_its_budget_and_soon_not_at_all() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Hangs);
    for number in 0..20 {
        let started = tokio::time::Instant::now();
        call(&fleet.services[0], get(&format!("/{number}"))).await;
        let took = started.elapsed();
        assert!(took <= Duration::from_millis(35), "request {number} took {took:?}");
        assert!(number < 8 || took < Duration::from_millis(1), "request {number} took {took:?}");
    }
    assert_eq!(fleet.origin.calls(), 20);
}

/// Whether a fleet of two, in which each process has asked once, behaves as if a setting had the value.
type Effect = for<'a> fn(&'a Fleet) -> Pin<Box<dyn Future<Output = bool> + 'a>>;

async fn sends_nothing(fleet: &Fleet) -> bool {
    let before = fleet.chaos.entries();
    fleet.get(0, "/new").await;
    fleet.chaos.entries() == before
}

const SETTINGS: [(&str, &str, Effect); 10] = [
    ("CACHE_L2_READ_BUDGET", "200ms", |it| {
        Box::pin(async {
            it.chaos.fails(Failure::Hangs);
            let started = tokio::time::Instant::now();
            call(&it.services[0], get("/new")).await;
            started.elapsed() >= Duration::from_millis(200)
        })
    }),
    ("CACHE_L2_LEASE", "0", |it| {
        Box::pin(async {
            let (one, other) = (spawn(&it.services[0], get("/new")), spawn(&it.services[1], get("/new")));
            one.await.unwrap().text() != other.await.unwrap().text()
        })
    }),
    ("CACHE_L2_ENABLED", "off", |it| {
        Box::pin(async {
            let before = it.chaos.lookups();
            it.get(0, "/new").await;
            it.chaos.lookups() == before
        })
    }),
    ("CACHE_L1_MAX_LAG", "5m", |it| {
        Box::pin(async {
            it.chaos.fails(Failure::Refuses);
            it.pass(Duration::from_secs(3)).await;
            !it.get(0, "/").await.field("cache-status").contains("unproven")
        })
    }),
    // With the doorbell mute, and a lag that is not in the way.
    ("CACHE_POLL_INTERVAL", "1m", |it| {
        Box::pin(async {
            it.chaos.is_silent(true);
            it.stores[1].settings().set("CACHE_L1_MAX_LAG", "5m").unwrap();
            it.pass(Duration::from_secs(1)).await;
            let _receipt = it.stores[0].purge_all().await.unwrap();
            it.pass(Duration::from_secs(1)).await;
            it.get(1, "/").await.text() == "1"
        })
    }),
    ("CACHE_L1_DEGRADED_MAX", "0", |it| {
        Box::pin(async {
            it.chaos.fails(Failure::Refuses);
            it.pass(Duration::from_secs(2)).await;
            it.get(0, "/").await.text() != "1"
        })
    }),
    ("CACHE_L2_TTL", "1s", |it| {
        Box::pin(async {
            let first = it.get(0, "/new").await;
            it.pass(Duration::from_secs(2)).await;
            it.get(1, "/new").await.text() != first.text()
        })
    }),
    ("CACHE_FLEET_SWITCHES", "off", |it| {
        Box::pin(async {
            it.stores[1].switch(Feature::Cache, Switch::Off, "a test", "").await.unwrap();
            it.pass(Duration::from_secs(6)).await;
            it.stores[0].flags().is_on(Feature::Cache)
        })
    }),
    ("CACHE_L2_WRITES", "0", |it| Box::pin(sends_nothing(it))),
    // Less than any entry has.
    ("CACHE_L2_WRITE_BYTES", "1", |it| Box::pin(sends_nothing(it))),
];

#[tokio::test(start_paused = true)]
async fn every_setting_of_the_shared_tier_has_an_effect_at_the_start_and_while_running() {
    for (name, value, shows) in SETTINGS {
        for (at_start, running, expected) in [(false, false, false), (true, false, true), (false, true, true)] {
            let vars = at_start.then_some((name, value));
            let fleet = Fleet::with(2, Config::from_vars(vars).unwrap(), Origin::counting(&[FRESH])).await;
            // What a setting does while it holds is not to be seen in what was stored before.
            for process in 0..2 {
                fleet.get(process, "/").await;
            }
            if running {
                fleet.stores.iter().for_each(|store| store.settings().set(name, value).unwrap());
                fleet.pass(Duration::from_millis(300)).await;
            }
            assert_eq!(shows(&fleet).await, expected, "{name}={value}, at start: {at_start}, running: {running}");
        }
    }
}

const TAGGED: &[(&str, &str)] = &[FRESH, ("cache-tag", "user:42")];

#[tokio::test(start_paused = true)]
async fn while_a_change_is_open_nothing_that_carries_its_tag_is_served_or_stored_anywhere() {
    let (version, origin) = changing(TAGGED);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    let change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
    change.settled().await;
    fleet.pass(Duration::from_secs(1)).await;
    for process in [0, 1, 0, 1] {
        assert!(!fleet.get(process, "/").await.is_hit(), "process {process}");
    }
    version.store(2, SeqCst);
    change.confirm().await.unwrap();
    // Longer than an announcement holds: it is renewed.
    fleet.pass(Duration::from_secs(12)).await;
    assert!(!fleet.get(1, "/").await.is_hit());
    let _receipt = change.commit().await.unwrap();
    fleet.pass(Duration::from_millis(20)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
    assert!(fleet.get(0, "/").await.is_hit() && fleet.get(1, "/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_during_a_change_is_never_served_after_it() {
    for commits in [true, false] {
        let (version, origin) = changing(TAGGED);
        let fleet = Fleet::of(2, origin).await;
        let change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
        for process in 0..2 {
            fleet.get(process, "/").await;
        }
        version.store(2, SeqCst);
        if commits {
            let _receipt = change.commit().await.unwrap();
        } else {
            drop(change);
            // Its transaction may take effect still.
            fleet.pass(Duration::from_secs(5)).await;
            for process in [0, 1, 0, 1] {
                assert!(!fleet.get(process, "/").await.is_hit(), "process {process}");
            }
            fleet.pass(Duration::from_secs(5)).await;
        }
        fleet.pass(Duration::from_millis(50)).await;
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/").await.text(), "2", "commits: {commits}");
            assert!(fleet.get(process, "/").await.is_hit());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_announced_is_an_error_before_anything_is_changed() {
    let fleet = Fleet::of(1, changing(TAGGED).1).await;
    fleet.get(0, "/").await;
    fleet.chaos.fails(Failure::Refuses);
    let error = fleet.stores[0].begin_change(["user:42"]).await.unwrap_err();
    assert!(error.to_string().contains("announcement"), "{error}");
    assert!(fleet.get(0, "/").await.is_hit(), "nothing is held");
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_end_is_not_confirmed_stays_uncached_and_heals() {
    let (version, origin) = changing(TAGGED);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        fleet.get(process, "/").await;
    }
    let change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
    fleet.pass(Duration::from_millis(50)).await;
    version.store(2, SeqCst);
    fleet.chaos.fails(Failure::ReadOnly);
    assert!(change.commit().await.unwrap_err().is_unconfirmed());
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(15)).await;
    for process in [0, 1, 0, 1] {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
    assert!(fleet.get(0, "/").await.is_hit() && fleet.get(1, "/").await.is_hit());
}

#[tokio::test]
async fn a_change_in_the_memory_of_one_process_is_as_good() {
    let (version, origin) = changing(TAGGED);
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).layer(origin);
    assert_eq!(call(&service, get("/")).await.text(), "1");
    let change = store.begin_change(["user:42"]).await.unwrap();
    assert!(!call(&service, get("/")).await.is_hit());
    version.store(2, SeqCst);
    let _receipt = change.commit().await.unwrap();
    assert_eq!(call(&service, get("/")).await.text(), "2");
    assert!(call(&service, get("/")).await.is_hit());
}

impl Fleet {
    fn stats(&self, process: usize) -> Stats {
        self.stores[process].stats()
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_fleet_says_so() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.get(1, "/").await;
    let before = [fleet.stats(0), fleet.stats(1)];
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    for (process, sent) in [(0, 1), (1, 0)] {
        let (before, stats) = (&before[process], fleet.stats(process));
        let bells = |direction| stats.bells(direction) - before.bells(direction);
        assert_eq!(stats.coherence(), Some(CoherenceState::Coherent));
        assert!(stats.proof_age() <= Some(Duration::from_millis(255)), "{:?}", stats.proof_age());
        // Four a second, and one for the message.
        let polls = stats.polls(PollResult::Ok) - before.polls(PollResult::Ok);
        assert!((4..=6).contains(&polls), "{polls}");
        assert_eq!((bells(BellDirection::Sent), bells(BellDirection::Received)), (sent, 1));
        assert_eq!((stats.pending_invalidations(), stats.oldest_pending()), (0, Duration::ZERO));
        assert_eq!(stats.position(), 1);
        for breaker in BreakerName::ALL {
            assert_eq!(stats.breaker(*breaker), Some(BreakerState::Closed));
        }
        let text = format!("{stats:?}");
        assert!(!text.contains("errors") && !text.contains("epoch_changes"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_tier_shows_timeouts_and_open_breakers_until_it_answers_again() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Hangs);
    let before = fleet.stats(0).polls(PollResult::Ok);
    for number in 0..20 {
        call(&fleet.services[0], get(&format!("/{number}"))).await;
    }
    let hung = fleet.stats(0);
    // As many as it takes to judge; the others were not sent.
    assert_eq!(hung.l2_errors(L2Op::Get, ErrorKind::Timeout), 4, "{hung:?}");
    assert_eq!(hung.breaker(BreakerName::Data), Some(BreakerState::Open));
    fleet.pass(Duration::from_secs(3)).await;
    let hung = fleet.stats(0);
    assert!(hung.l2_errors(L2Op::Other, ErrorKind::Timeout) >= 4, "{hung:?}");
    assert_eq!(hung.polls(PollResult::Timeout), hung.l2_errors(L2Op::Other, ErrorKind::Timeout));
    assert_eq!(hung.polls(PollResult::Ok), before);
    assert_ne!(hung.breaker(BreakerName::Control), Some(BreakerState::Closed));
    assert_eq!(hung.breaker_transitions(BreakerName::Data, BreakerState::Closed), 0);

    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    // Without a request.
    let mended = fleet.stats(0);
    for breaker in BreakerName::ALL {
        assert_eq!(mended.breaker(*breaker), Some(BreakerState::Closed), "{breaker:?}");
        assert_eq!(mended.breaker_transitions(*breaker, BreakerState::Closed), 1);
        let probes = mended.breaker_transitions(*breaker, BreakerState::HalfOpen);
        assert_eq!(mended.breaker_transitions(*breaker, BreakerState::Open), probes, "each probe but the last failed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_that_is_not_confirmed_is_pending_and_its_age_grows_until_it_is() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Refuses);
    fleet.stores[0].purge_url("/").await.unwrap_err();
    for (wait, least, most) in [(0, 0, 0), (500, 500, 500), (2000, 2500, 2500)] {
        fleet.pass(Duration::from_millis(wait)).await;
        let stats = fleet.stats(0);
        let age = stats.oldest_pending();
        assert_eq!(stats.pending_invalidations(), 1);
        assert!((Duration::from_millis(least)..=Duration::from_millis(most)).contains(&age), "{age:?}");
    }
    let stats = fleet.stats(0);
    assert_eq!(stats.l2_errors(L2Op::Script, ErrorKind::Connect), 2, "the call and its repetition");
    assert_eq!(stats.invalidations(Scope::Key, Kind::Hard, InvalidationResult::Pending), 1);
    assert_eq!(stats.bells(BellDirection::Sent), 0);
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(2)).await;
    let stats = fleet.stats(0);
    assert_eq!((stats.pending_invalidations(), stats.oldest_pending()), (0, Duration::ZERO));
    assert_eq!(stats.bells(BellDirection::Sent), 1);
}

#[tokio::test(start_paused = true)]
async fn each_process_counts_the_restart_of_the_server_once() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    let changes = |process| fleet.stats(process).epoch_changes(EpochChange::Restart);
    assert_eq!((changes(0), changes(1)), (0, 0), "the first epoch is no change");
    for restarts in 1..=2 {
        fleet.chaos.restarts();
        fleet.pass(Duration::from_secs(1)).await;
        assert_eq!((changes(0), changes(1)), (restarts, restarts));
    }
    for reason in [EpochChange::Failover, EpochChange::Lost] {
        assert_eq!(fleet.stats(0).epoch_changes(reason), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_prove_anything_says_that_it_is_degraded() {
    let results = [
        (Failure::Refuses, PollResult::Error, ErrorKind::Connect),
        (Failure::Hangs, PollResult::Timeout, ErrorKind::Timeout),
        (Failure::ReadOnly, PollResult::Refused, ErrorKind::ReadOnly),
    ];
    for (failure, result, kind) in results {
        let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
        fleet.chaos.fails(failure);
        fleet.pass(Duration::from_millis(700)).await;
        assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Coherent), "{failure:?}");
        // The last proof was good for a second.
        fleet.pass(Duration::from_millis(2300)).await;
        let stats = fleet.stats(0);
        assert_eq!(stats.coherence(), Some(CoherenceState::Degraded), "{failure:?}");
        let age = stats.proof_age().unwrap();
        assert!(age > Duration::from_millis(1500), "{failure:?}: {age:?}");
        assert!(stats.polls(result) > 0 && stats.l2_errors(L2Op::Other, kind) > 0, "{stats:?}");
        fleet.pass(Duration::from_secs(1)).await;
        assert_eq!(fleet.stats(0).proof_age(), Some(age + Duration::from_secs(1)));
        fleet.chaos.fails(Failure::None);
        fleet.pass(Duration::from_secs(2)).await;
        assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Coherent), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_never_reached_the_tier_is_starting() {
    let clock = FakeClock::new();
    let chaos = Chaos::new(&clock);
    chaos.fails(Failure::Refuses);
    let store = Store::with_chaos(Config::default(), &clock, &chaos);
    let fleet = Fleet { clock, chaos, stores: vec![store], services: Vec::new(), origin: Origin::counting(&[]) };
    fleet.pass(Duration::from_secs(5)).await;
    assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Starting));
    assert!(fleet.stats(0).proof_age() >= Some(Duration::from_millis(4999)));
    assert_eq!(Store::memory().stats().coherence(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_is_changed_while_running_decides_what_is_degraded() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.stores[0].settings().set("CACHE_L1_MAX_LAG", "1m").unwrap();
    fleet.pass(Duration::from_millis(300)).await;
    fleet.chaos.fails(Failure::Refuses);
    fleet.pass(Duration::from_secs(5)).await;
    assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Coherent));
    fleet.stores[0].settings().set("CACHE_L1_MAX_LAG", "1s").unwrap();
    fleet.pass(Duration::from_secs(2)).await;
    assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Degraded));
}

/// The stores of all tests in this program are summed, so that only a bound can be told.
#[tokio::test(start_paused = true)]
async fn a_scrape_shows_the_shared_tier() {
    let metrics = terrace::prometheus::install().unwrap();
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.get(1, "/").await;
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    let text = metrics.render();
    let value = |series: &str| {
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    let found = |result| {
        let labels = format!("cache=\"response\",tier=\"l2\",result=\"{result}\"");
        value(&format!("cache_lookup_duration_seconds_count{{{labels}}}"))
    };
    assert!(found("hit") >= 1.0 && found("miss") >= 1.0);
    assert!(value("cache_coherence_polls_total{result=\"ok\"}") >= 10.0);
    assert!(value("cache_invalidation_ack_seconds_count") >= 1.0);
    assert!(value("cache_coherence_lag_seconds_count") >= 2.0, "both have seen it");
    assert!(value("cache_coherence_proof_age_seconds") >= 0.0);
    assert!((value("cache_coherence_fence_mode{mode=\"strict\"}") - 1.0).abs() < 0.1);
    for series in ["cache_l2_up", "cache_coherence_max_lag_seconds", "cache_invalidations_pending"] {
        assert!(value(series) >= 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_request_revives_nothing_that_another_process_has_invalidated() {
    let (version, origin) = changing(&[("cache-control", "max-age=1, stale-if-error=600")]);
    let fleet = Fleet::of(2, origin).await;
    assert_eq!(fleet.get(0, "/").await.text(), "1");
    fleet.chaos.is_silent(true);
    fleet.pass(Duration::from_millis(2500)).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[1].purge_url("/").await.unwrap();
    // The first has not heard of it, and nothing in the head contradicts the content that it has.
    call(&fleet.services[0], ask(Method::HEAD, "/", &[])).await;
    fleet.pass(Duration::from_millis(500)).await;
    for process in [1, 0] {
        assert_eq!(fleet.get(process, "/").await.text(), "2", "process {process}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_request_freshens_what_is_stale_for_all_processes() {
    let fleet = Fleet::of(2, Origin::counting(&[("cache-control", "max-age=1, stale-if-error=600")])).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_millis(1500)).await;
    call(&fleet.services[0], ask(Method::HEAD, "/", &[])).await;
    fleet.pass(Duration::from_millis(10)).await;
    for process in [0, 1] {
        let answer = fleet.get(process, "/").await;
        assert!(answer.is_hit() && answer.text() == "1", "process {process}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_the_origin_is_asked_does_not_answer_for_it_when_it_fails() {
    const FIELDS: &[(&str, &str)] = &[("cache-control", "max-age=1, stale-if-error=600")];
    for (purged, status) in [(true, 503), (false, 200)] {
        let (gate, calls) = (Gate::default(), AtomicU64::new(0));
        let fleet = Fleet::of(
            1,
            gate.before(move |_| match calls.fetch_add(1, SeqCst) {
                0 => text(FIELDS, "1"),
                _ => respond(503, &[], terrace_tests::full("failed")),
            }),
        )
        .await;
        gate.admit(1);
        assert_eq!(fleet.get(0, "/").await.text(), "1");
        fleet.pass(Duration::from_millis(1500)).await;
        let asked = spawn(&fleet.services[0], get("/"));
        until("the origin is asked", || gate.arrived() == 2).await;
        if purged {
            let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
        }
        fleet.pass(Duration::from_secs(20)).await;
        gate.open();
        assert_eq!(asked.await.unwrap().status, status, "purged: {purged}");
    }
}

impl Fleet {
    /// How long each of so many requests takes that come at the same time, spread over the processes; the longest last.
    async fn times(&self, count: usize, uri: &str) -> Vec<Duration> {
        let started = tokio::time::Instant::now();
        let request = |number: usize| {
            let asked = spawn(&self.services[number % self.services.len()], get(uri));
            tokio::spawn(async move { asked.await.map(|_| started.elapsed()).unwrap() })
        };
        let tasks: Vec<_> = (0..count).map(request).collect();
        while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
            self.pass(Duration::from_millis(5)).await;
        }
        let mut times = Vec::new();
        for task in tasks {
            times.push(task.await.unwrap());
        }
        times.sort();
        times
    }
}

/// An origin that takes this long.
fn slow(milliseconds: u64, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |_| async move {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        Ok(text(fields, "x"))
    })
}

#[tokio::test(start_paused = true)]
async fn while_an_invalidation_is_unconfirmed_requests_do_not_queue_for_what_it_is_about() {
    let fleet = Fleet::of(1, slow(100, TAGGED)).await;
    fleet.get(0, "/").await;
    fleet.chaos.fails(Failure::Refuses);
    fleet.stores[0].purge_url("/").await.unwrap_err();
    fleet.pass(Duration::from_secs(5)).await;
    let times = fleet.times(20, "/").await;
    assert!(times[19] < Duration::from_millis(150), "{times:?}");
    let times = fleet.times(20, "/").await;
    assert!(times[19] < Duration::from_millis(150), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn while_a_change_is_open_requests_do_not_queue_for_what_it_is_about() {
    let fleet = Fleet::of(4, slow(100, TAGGED)).await;
    fleet.get(0, "/").await;
    let _change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
    fleet.pass(Duration::from_secs(1)).await;
    // Those who have nothing yet cannot know what it will carry: one asks first, here and among processes.
    for most in [350, 150] {
        let times = fleet.times(40, "/").await;
        assert!(times[39] < Duration::from_millis(most), "{times:?}");
        let times = fleet.times(40, "/new").await;
        assert!(times[39] < Duration::from_millis(most), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_leaves_while_it_asks_for_the_turn_keeps_no_other_process_waiting() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Slow(Duration::from_millis(10)));
    let asked = call(&fleet.services[0], get("/"));
    assert!(tokio::time::timeout(Duration::from_millis(15), asked).await.is_err(), "it leaves");
    fleet.chaos.fails(Failure::None);
    let times = fleet.times(2, "/").await;
    assert!(times[1] < Duration::from_millis(20), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_answers_within_the_budget_is_read_and_not_given_up_however_far_away_it_is() {
    for (far, least) in [(9, 40), (20, 0)] {
        let origin = Origin::counting(&[FRESH, ("cache-tag", "a"), ("vary", "accept")]);
        let fleet = Fleet::of(2, origin).await;
        for number in 0..40 {
            fleet.get(0, &format!("/{number}")).await;
        }
        fleet.chaos.fails(Failure::Slow(Duration::from_millis(far)));
        fleet.pass(Duration::from_millis(500)).await;
        let mut hits = 0;
        for number in 0..40 {
            let asked = spawn(&fleet.services[1], get(&format!("/{number}")));
            fleet.pass(Duration::from_millis(100)).await;
            hits += usize::from(asked.await.unwrap().is_hit());
        }
        let opened = fleet.stats(1).breaker_transitions(BreakerName::Data, BreakerState::Open);
        assert_eq!(opened, 0, "{far} ms: it answered every call that had the whole budget");
        assert!(hits >= least, "{far} ms: {hits} hits");
    }
}

#[tokio::test(start_paused = true)]
async fn processes_do_not_queue_for_what_cannot_be_stored() {
    let fleet = Fleet::of(8, slow(400, &[("cache-control", "no-store")])).await;
    // One finds out, and says so to all.
    let times = fleet.times(8, "/").await;
    assert!(times[7] < Duration::from_millis(950), "{times:?}");
    for _ in 0..2 {
        let times = fleet.times(32, "/").await;
        assert!(times[31] < Duration::from_millis(450), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn processes_do_not_queue_for_an_origin_that_fails() {
    let origin = Origin::new(|_| async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok(respond(500, &[], terrace_tests::full("failed")))
    });
    let fleet = Fleet::of(8, origin).await;
    for _ in 0..2 {
        let times = fleet.times(8, "/").await;
        assert!(times[7] < Duration::from_millis(950), "{times:?}");
        // One asks for all again as soon as the failure is past.
        fleet.pass(Duration::from_millis(500)).await;
        let calls = fleet.origin.calls();
        let asked: Vec<_> = fleet.services.iter().map(|service| spawn(service, get("/"))).collect();
        fleet.pass(Duration::from_millis(200)).await;
        assert_eq!(fleet.origin.calls(), calls + 1);
        fleet.pass(Duration::from_secs(1)).await;
        assert!(asked.iter().all(tokio::task::JoinHandle::is_finished));
        fleet.pass(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refreshed_early_is_asked_for_at_the_origin_unless_another_process_did() {
    let clock = FakeClock::new();
    clock.advance(Duration::from_secs(1000));
    let chaos = Chaos::new(&clock);
    let time = clock.clone();
    let origin = Origin::answering(move |_| {
        // It takes long, so that a refresh is due at once.
        time.advance(Duration::from_secs(5));
        text(&[FRESH], "x")
    });
    let stores: Vec<_> = (0..2).map(|_| Store::with_chaos(Config::default(), &clock, &chaos)).collect();
    let rules = || Rules::new().early_refresh(1e9);
    let layer = |store: &Store| CacheLayer::new(store.clone()).rules(rules()).layer(origin.clone());
    let services = stores.iter().map(layer).collect();
    let fleet = Fleet { clock, chaos, stores, services, origin };
    fleet.pass(Duration::from_millis(100)).await;
    for calls in 1..=5 {
        fleet.get(0, "/").await;
        fleet.pass(Duration::from_millis(400)).await;
        assert_eq!(fleet.origin.calls(), calls, "each request is answered at once and refreshes");
    }
    // The other process takes the latest there is, and refreshes that.
    fleet.get(1, "/").await;
    assert_eq!(fleet.origin.calls(), 5);
    fleet.get(1, "/").await;
    fleet.pass(Duration::from_millis(400)).await;
    assert_eq!(fleet.origin.calls(), 6);
    // Which saves the first the trip.
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_millis(400)).await;
    assert_eq!(fleet.origin.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn turns_among_processes_are_counted_as_they_end() {
    let gate = Gate::default();
    let config = Config::from_vars([("CACHE_FILL_WAIT", "200ms")]).unwrap();
    let fleet = Fleet::with(2, config, gate.before(|_| text(&[FRESH], "x"))).await;
    let first = spawn(&fleet.services[0], get("/"));
    until("it is in the origin", || gate.arrived() == 1).await;
    let second = spawn(&fleet.services[1], get("/"));
    fleet.pass(Duration::from_millis(300)).await;
    gate.open();
    first.await.unwrap();
    second.await.unwrap();
    fleet.chaos.fails(Failure::ReadOnly);
    call(&fleet.services[0], get("/other")).await;
    let count = |process, result| fleet.stats(process).locks(LockKind::Distributed, result);
    let counts = [0, 1].map(|process| {
        [LockResult::Acquired, LockResult::Timeout, LockResult::Error].map(|result| count(process, result))
    });
    assert_eq!(counts, [[1, 0, 1], [0, 1, 0]]);
    assert!(count(1, LockResult::Contended) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ended_before_the_work_was_done_is_lost() {
    let gate = Gate::default();
    let config = Config::from_vars([("CACHE_L2_LEASE", "1s")]).unwrap();
    let fleet = Fleet::with(1, config, gate.before(|_| text(&[FRESH], "x"))).await;
    for (uri, wait, lost) in [("/soon", 500, 0), ("/late", 1500, 1)] {
        let arrived = gate.arrived();
        let asked = spawn(&fleet.services[0], get(uri));
        until("it is in the origin", || gate.arrived() > arrived).await;
        fleet.pass(Duration::from_millis(wait)).await;
        gate.admit(1);
        asked.await.unwrap();
        fleet.pass(Duration::from_millis(50)).await;
        assert_eq!(fleet.stats(0).locks(LockKind::Distributed, LockResult::Lost), lost, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_is_counted_once() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.chaos.is_silent(true);
    let looks = || -> u64 { LookupResult::ALL.iter().map(|result| fleet.stats(0).lookups(Tier::L2, *result)).sum() };
    let before = looks();
    fleet.chaos.restarts();
    // The reply that says so comes, and the next one does not.
    fleet.chaos.fails(Failure::Slow(Duration::from_millis(20)));
    let asked = spawn(&fleet.services[0], get("/new"));
    fleet.pass(Duration::from_millis(100)).await;
    asked.await.unwrap();
    assert_eq!(looks(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_too_that_the_answer_is_not_proven() {
    // No poll has failed yet, so that the tier is still asked.
    let config = Config::from_vars([("CACHE_POLL_INTERVAL", "5m")]).unwrap();
    let fleet = Fleet::with(1, config, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.pass(Duration::from_secs(2)).await;
    fleet.chaos.fails(Failure::Hangs);
    let asked: Vec<_> = (0..3).map(|_| spawn(&fleet.services[0], get("/"))).collect();
    fleet.pass(Duration::from_millis(200)).await;
    for one in asked {
        let answer = one.await.unwrap();
        assert!(answer.is_hit() && answer.field("cache-status").contains("detail=unproven"), "{answer:?}");
    }
    assert_eq!(fleet.stats(0).locks(LockKind::Local, LockResult::Contended), 2, "two waited for the third");
}

#[tokio::test(start_paused = true)]
async fn what_was_just_purged_is_fetched_once_for_all_who_ask_at_once() {
    let gate = Gate::default();
    let fleet = Fleet::of(1, gate.before(|_| text(&[FRESH], "x"))).await;
    // The acknowledgement is there before the poll that tells.
    fleet.chaos.is_silent(true);
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    let asked: Vec<_> = (0..100).map(|_| spawn(&fleet.services[0], get("/"))).collect();
    until("one is in the origin", || gate.arrived() >= 1).await;
    fleet.pass(Duration::from_millis(50)).await;
    assert_eq!(gate.arrived(), 1);
    gate.open();
    for one in asked {
        one.await.unwrap();
    }
    assert!(call(&fleet.services[0], get("/")).await.is_hit());
    assert_eq!(gate.arrived(), 1);
}
