//! What is believed, of memory and of the tier, and for how long.

use super::*;

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
async fn what_memory_answers_without_proof_is_as_old_as_its_fetch_and_not_as_its_entry() {
    let config = Config::from_vars([("CACHE_L1_DEGRADED_MAX", "3s")]).unwrap();
    let gate = Gate::default();
    let fleet = Fleet::with(1, config, gate.before(|_| text(&[FRESH], "x"))).await;
    fleet.chaos.fails(Failure::Refuses);
    fleet.pass(Duration::from_secs(4)).await;
    let slow = spawn(&fleet.services[0], get("/"));
    until("the fetch is under way", || gate.arrived() == 1).await;
    fleet.pass(Duration::from_secs(2)).await;
    gate.admit(1);
    slow.await.unwrap();
    fleet.pass(Duration::from_millis(900)).await;
    assert!(fleet.get(0, "/").await.field("cache-status").contains("hit; ttl"), "what it says was current 2.9 s ago");
    fleet.pass(Duration::from_millis(200)).await;
    gate.admit(1);
    assert!(!fleet.get(0, "/").await.is_hit(), "and more than 3 s ago");
}

/// While a failover is under way the primary that was left may go on answering, and hear of no invalidation.
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
