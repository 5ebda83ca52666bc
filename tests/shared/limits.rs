//! A tier that is slow, full or hung, and how long anybody waits for it.

use super::*;

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
