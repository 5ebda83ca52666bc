//! Facts that are compared with what the source says now, which is off unless it is asked for.

use super::*;
use terrace::authz::{Scope, SourceVersion};
use terrace::stats::SampleResult;
use terrace_tests::until;

fn samples(house: &House) -> [u64; 3] {
    [SampleResult::Match, SampleResult::Mismatch, SampleResult::Error]
        .map(|result| house.stats().consistency_samples(result))
}

fn sampling(lag: &str) -> House {
    let house = House::new();
    let patient = ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "10s");
    for (name, value) in [("CACHE_CONSISTENCY_SAMPLE", "1"), ("CACHE_L1_MAX_LAG", lag), patient] {
        house.store.settings().set(name, value).unwrap();
    }
    house
}

async fn compared(house: &House, expected: [u64; 3]) {
    assert_eq!(house.reads().await, Some(true));
    until(&format!("it is compared: {expected:?}"), || samples(house) == expected).await;
}

#[tokio::test]
async fn facts_are_compared_with_what_the_source_says_now() {
    let house = sampling("10ms");
    assert_eq!(house.reads().await, Some(true));
    assert_eq!(samples(&house), [0; 3], "a miss is not compared");
    compared(&house, [1, 0, 0]).await;
    let changes = [
        Grants::complete(["invoice:read", "invoice:write"]),
        Grants::complete(["invoice:write"]),
        Grants::complete(Vec::<String>::new()),
        Grants::complete(["invoice:read"]).deny("invoice:read"),
        Grants::partial(["invoice:read"]),
    ];
    for (mismatches, changed) in (1..).zip(changes) {
        house.directory.set(&house.alice, changed);
        compared(&house, [1, mismatches, 0]).await;
    }
    for (errors, mode) in (1..).zip([Mode::Fails, Mode::Panics]) {
        house.directory.mode(mode);
        compared(&house, [1, 5, errors]).await;
    }
    assert_eq!(house.statuses(), [("cache_miss", 1), ("l1_cache_hit", 8)].into());
}

/// What a source says in another order, or of a later version, is the same.
#[tokio::test]
async fn what_permits_the_same_is_no_mismatch() {
    let house = sampling("10ms");
    let said = |all: [&'static str; 4], version| {
        let [one, two, three, four] = all;
        let grants = Grants::complete([one, two]).deny(three).deny(four).version(SourceVersion(version));
        house.directory.set(&house.alice, grants);
    };
    said(["invoice:read", "user:*", "a:b", "c:d"], 1);
    assert_eq!(house.reads().await, Some(true));
    said(["user:*", "invoice:read", "c:d", "a:b"], 2);
    compared(&house, [1, 0, 0]).await;
}

#[tokio::test]
async fn what_is_revoked_meanwhile_is_no_mismatch() {
    let house = sampling("1s");
    assert_eq!(house.reads().await, Some(true));
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "invoice:write"]));
    assert_eq!(house.reads().await, Some(true));
    house.directory.begun(2).await;
    drop(house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap());
    let begun = std::time::Instant::now();
    while samples(&house) == [0; 3] && begun.elapsed() < Duration::from_secs(30) {
        assert_eq!(house.reads().await, Some(true));
        tokio::task::yield_now().await;
    }
    assert_eq!((samples(&house)[0] > 0, &samples(&house)[1..]), (true, &[0, 0][..]));
}

#[tokio::test]
async fn one_is_compared_at_a_time_and_no_check_waits_for_it() {
    let house = sampling("10ms");
    let app = app(&house.authz, "invoice:read");
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    house.directory.mode(Mode::Gated);
    for _ in 0..100 {
        assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
        tokio::task::yield_now().await;
    }
    assert_eq!((house.directory.loads(), samples(&house)), (2, [0; 3]));
    house.directory.release(1);
    until("it is counted", || samples(&house) == [1, 0, 0]).await;
}

#[tokio::test]
async fn nothing_is_compared_unless_it_is_asked_for() {
    let house = House::new();
    for _ in 0..500 {
        assert_eq!(house.reads().await, Some(true));
        tokio::task::yield_now().await;
    }
    assert_eq!((house.directory.loads(), samples(&house)), (1, [0; 3]));
}
