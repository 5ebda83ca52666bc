//! What many want at once is fetched by one of them, in one process and among all.

use super::*;

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
