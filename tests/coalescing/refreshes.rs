//! Refreshes behind the answer.

use super::*;

/// An origin whose answers take a second of the store's time.
fn taking_a_second(gate: &Gate, clock: &FakeClock, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let (number, clock) = (AtomicUsize::new(0), clock.clone());
    gate.before(move |_| {
        clock.advance(secs(1));
        text(fields, (number.fetch_add(1, SeqCst) + 1).to_string())
    })
}

#[tokio::test]
async fn a_stale_response_is_refreshed_once_for_a_hundred_requests() {
    let clock = FakeClock::new();
    let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
    let origin = taking_a_second(&gate, &clock, &[("cache-control", "max-age=60, stale-while-revalidate=60")]);
    let service = cached(&store, &origin);
    gate.admit(1);
    call(&service, get("/")).await;
    clock.advance(secs(70));
    for answer in answers((0..100).map(|_| spawn(&service, get("/"))).collect()).await {
        assert_eq!((answer.text(), answer.is_hit()), ("1", true));
    }
    until("the refresh is in the origin", || gate.arrived() == 2).await;
    gate.open();
    until("the refresh is stored", || store.stats().stores(Tier::L1, StoreResult::Ok) == 2).await;
    assert_eq!(call(&service, get("/")).await.text(), "2");
    assert_eq!((origin.calls(), store.stats().requests(CacheStatus::Stale)), (2, 100));
}

#[tokio::test]
async fn an_early_refresh_happens_once_for_a_hundred_requests() {
    let clock = FakeClock::new();
    let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
    let origin = taking_a_second(&gate, &clock, &[FRESH]);
    let layer = CacheLayer::new(store.clone()).rules(Rules::new().early_refresh(1e6));
    let service = layer.layer(origin.clone());
    gate.admit(1);
    call(&service, get("/")).await;
    for answer in answers((0..100).map(|_| spawn(&service, get("/"))).collect()).await {
        assert_eq!((answer.text(), answer.is_hit()), ("1", true));
    }
    until("the refresh is in the origin", || gate.arrived() == 2).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn early_refreshes_are_the_likelier_the_less_time_is_left() {
    // With beta 1 and a fetch of one second, a refresh with t seconds left has the probability exp(-t).
    let refreshed_at = async |left: u64| {
        let mut refreshed = 0_u32;
        for _ in 0..300 {
            let clock = FakeClock::new();
            let store = Store::with_fake_clock(Config::default(), &clock);
            let origin = taking_a_second(&opened(), &clock, &[FRESH]);
            let service = CacheLayer::new(store).rules(Rules::new().early_refresh(1.0)).layer(origin.clone());
            call(&service, get("/")).await;
            clock.advance(secs(59 - left));
            assert!(call(&service, get("/")).await.is_hit());
            tokio::task::yield_now().await;
            refreshed += u32::from(origin.calls() == 2);
        }
        refreshed
    };
    // The age counts from the request, a second ago: 60 - left seconds.
    let (soon, later, early) = (refreshed_at(1).await, refreshed_at(3).await, refreshed_at(20).await);
    assert!((66..=155).contains(&soon), "exp(-1) of 300 is 110, not {soon}");
    assert!((1..=40).contains(&later), "exp(-3) of 300 is 15, not {later}");
    assert_eq!(early, 0, "exp(-20) of 300 is nothing");
}

#[tokio::test]
async fn without_early_refresh_a_fresh_response_is_left_alone() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let origin = taking_a_second(&opened(), &clock, &[FRESH]);
    let service = cached(&store, &origin);
    call(&service, get("/")).await;
    clock.advance(secs(58));
    for _ in 0..1000 {
        assert!(call(&service, get("/")).await.is_hit());
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_refresh_that_fails_keeps_the_stale_response_within_its_window() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let outcome = match calls.fetch_add(1, SeqCst) {
            0 => Ok(text(&[("cache-control", "max-age=60, stale-while-revalidate=60")], "good")),
            n if n % 2 == 0 => Err(Failure("refused")),
            _ => Ok(respond(500, &[], full("bad"))),
        };
        async { outcome }
    });
    let service = cached(&store, &origin);
    call(&service, get("/")).await;
    clock.advance(secs(70));
    for refreshes in 1..=4 {
        let answer = call(&service, get("/")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "good"));
        until("the refresh has failed", || origin.calls() == 1 + refreshes).await;
        tokio::task::yield_now().await;
    }
    clock.advance(secs(60));
    assert_eq!(call(&service, get("/")).await.status, 500);
}
