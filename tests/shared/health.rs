//! What a process says about the tier.

use super::*;

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
