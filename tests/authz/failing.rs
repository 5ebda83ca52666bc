//! Slow sources, many callers, and those who leave: one load for all, never more than may run, nothing half done.

use super::*;
use terrace::authz::{Decision, Scope, UnavailableReason, perm};
use terrace::stats::FlightJoin;
use tokio::task::JoinSet;

/// Asks in so many tasks, and waits until they wait.
async fn crowd(house: &House, size: usize) -> JoinSet<Option<bool>> {
    let mut tasks = JoinSet::new();
    for _ in 0..size {
        let (authz, principal) = (house.authz.clone(), house.principal());
        tasks.spawn(async move { authz.check(&principal, "invoice:read").await.ok().map(Decision::is_allow) });
    }
    house.directory.begun(1).await;
    for _ in 0..size {
        tokio::task::yield_now().await;
    }
    tasks
}

async fn all(mut tasks: JoinSet<Option<bool>>) -> Vec<Option<bool>> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.unwrap());
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_checks_are_one_load() {
    let house = House::new();
    house.directory.mode(Mode::Gated);
    let tasks = crowd(&house, 1000).await;
    house.directory.release(1);
    assert_eq!(all(tasks).await, vec![Some(true); 1000]);
    assert_eq!(house.directory.loads(), 1);
    assert_eq!(house.statuses(), [("cache_miss", 1), ("cache_coalesced", 999)].into());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_that_of_all_who_wait_and_not_one_load_each() {
    for mode in [Mode::Fails, Mode::Panics, Mode::Hangs] {
        let house = House::new();
        house.directory.mode(mode);
        let tasks = crowd(&house, 100).await;
        assert_eq!(all(tasks).await, vec![None; 100], "{mode:?}");
        assert!(house.directory.loads() <= 2, "{mode:?}: {}", house.directory.loads());
        assert_eq!(house.statuses(), [("cache_error", 100)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_neither_ends_a_load_nor_takes_it_from_others() {
    let house = House::new();
    house.directory.mode(Mode::Gated);
    let (authz, principal) = (house.authz.clone(), house.principal());
    let leader =
        tokio::spawn(async move { authz.check(&principal, "invoice:read").await.map(Decision::is_allow).ok() });
    house.directory.begun(1).await;
    let tasks = crowd(&house, 10).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    house.directory.release(1);
    assert_eq!(all(tasks).await, vec![Some(true); 10]);
    assert_eq!((house.directory.loads(), house.reads().await), (1, Some(true)));
    assert_eq!(house.statuses(), [("cache_error", 1), ("cache_coalesced", 10), ("l1_cache_hit", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_load_that_everybody_left_still_brings_the_facts() {
    let house = House::new();
    house.directory.mode(Mode::Gated);
    let mut tasks = crowd(&house, 3).await;
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    house.directory.release(1);
    while house.stats().entries() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((house.reads().await, house.directory.loads()), (Some(true), 1));
}

/// The slow fill that brings a revoked right back: never a hit, and nobody who comes later takes it.
#[tokio::test(start_paused = true)]
async fn a_load_that_began_before_a_revocation_is_of_no_use_after_it() {
    let house = House::new();
    house.directory.mode(Mode::Gated);
    let before = crowd(&house, 1).await;
    house.clock.advance(Duration::from_millis(1));
    house.directory.set(&house.alice, Grants::complete(["x"]));
    let receipt = house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap();
    let _ = receipt;
    house.clock.advance(Duration::from_millis(1));
    let mut later = JoinSet::new();
    for _ in 0..10 {
        let (authz, principal) = (house.authz.clone(), house.principal());
        later.spawn(async move { authz.check(&principal, "invoice:read").await.ok().map(Decision::is_allow) });
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.directory.loads(), 1, "they wait for the one that is under way");
    house.directory.release(2);
    assert_eq!(all(before).await, [Some(true)], "it asked before");
    assert_eq!(all(later).await, vec![Some(false); 10]);
    assert_eq!(house.directory.loads(), 2);
    assert!(house.stats().flight_joins(FlightJoin::Refused) >= 1);
    assert_eq!(house.reads().await, Some(false));
}

#[tokio::test(start_paused = true)]
async fn who_demands_fresh_facts_does_not_take_those_of_an_older_load() {
    let house = House::new();
    house.directory.mode(Mode::Gated);
    let cached = crowd(&house, 1).await;
    house.clock.advance(Duration::from_millis(1));
    let mut fresh = JoinSet::new();
    for _ in 0..10 {
        let (authz, principal) = (house.authz.clone(), house.principal());
        fresh.spawn(
            async move { authz.check(&principal, perm("invoice:read").fresh()).await.ok().map(Decision::is_allow) },
        );
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    house.directory.set(&house.alice, Grants::complete(["x"]));
    house.clock.advance(Duration::from_millis(1));
    house.directory.release(100);
    assert_eq!(all(cached).await, [Some(true)]);
    assert_eq!(all(fresh).await, vec![Some(false); 10]);
    assert_eq!(house.directory.loads(), 2, "one for all who demand it");
}

#[tokio::test(start_paused = true)]
async fn never_more_loads_than_may_run_and_who_gets_no_turn_in_time_is_told_so() {
    let house = House::with(&[("AUTHZ_CACHE_SOURCE_CONCURRENCY", "4")]);
    house.directory.mode(Mode::Hangs);
    let mut tasks = JoinSet::new();
    for at in 0..100 {
        let (authz, principal) = (house.authz.clone(), Principal::new(who("acme", &format!("s{at}"))));
        tasks.spawn(async move { authz.check(&principal, "invoice:read").await.unwrap_err().reason() });
    }
    let started = tokio::time::Instant::now();
    let reasons = tasks.join_all().await;
    assert!(started.elapsed() < Duration::from_millis(850), "{:?}", started.elapsed());
    assert_eq!(house.directory.most(), 4);
    let all_are = |reason| reasons.iter().all(|it| [UnavailableReason::Timeout, reason].contains(it));
    assert!(all_are(UnavailableReason::Shed));
    assert_eq!(house.statuses(), [("cache_error", 100)].into());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_revoked_at_once_is_loaded_in_turn() {
    let house = House::with(&[("AUTHZ_CACHE_SOURCE_CONCURRENCY", "8")]);
    house.directory.mode(Mode::Slow);
    let subjects: Vec<Principal> = (0..500).map(|at| Principal::new(who("acme", &format!("s{at}")))).collect();
    let everybody = async || {
        let mut tasks = JoinSet::new();
        for principal in subjects.clone() {
            let authz = house.authz.clone();
            tasks.spawn(async move { authz.check(&principal, "x").await.is_ok() });
        }
        tasks.join_all().await.into_iter().all(|decided| decided)
    };
    assert!(everybody().await);
    let receipt = house.authz.revoke(Scope::Tenant(house.alice.tenant.clone())).await.unwrap();
    let _ = receipt;
    assert!(everybody().await);
    assert_eq!(house.directory.loads(), 1000);
    assert_eq!(house.directory.most(), 8);
}

/// Everything that can fail, cold and warm: allowed is only whom the source or a valid entry allows.
#[tokio::test(start_paused = true)]
async fn no_failure_allows_anybody() {
    for mode in [Mode::Fails, Mode::Panics, Mode::Hangs] {
        for warm in [false, true] {
            let house = House::new();
            if warm {
                house.reads().await;
                assert!(!house.authz.check(&house.principal(), "invoice:write").await.unwrap().is_allow());
            }
            house.directory.mode(mode);
            let app = app(&house.authz, "invoice:read");
            assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), if warm { 200 } else { 503 });
            assert_eq!(send(&app, "/invoices", &[BOB]).await.status(), 503);
            let writes = super::app(&house.authz, "invoice:write");
            assert_eq!(send(&writes, "/invoices", &[ALICE]).await.status(), if warm { 403 } else { 503 });
            let fresh = super::app(&house.authz, perm("invoice:read").fresh());
            assert_eq!(send(&fresh, "/invoices", &[ALICE]).await.status(), 503);
            house.store.flags().set(terrace::stats::Feature::Authz, false);
            assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 503);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_check_is_counted_once_whatever_becomes_of_it() {
    let house = House::new();
    let app = app(&house.authz, perm("invoice:read").tenant_param("org"));
    let uri = |org: &str| format!("/orgs/{org}/invoices/1");
    let mut checks = 0;
    for (mode, fresh) in [(Mode::Answers, false), (Mode::Fails, true), (Mode::Panics, true), (Mode::Hangs, true)] {
        house.directory.mode(mode);
        if fresh {
            house.advance(301);
        }
        for (org, fields) in [("acme", ALICE), ("acme", ALICE), ("acme", BOB), ("other", ALICE)] {
            send(&app, &uri(org), &[fields]).await;
            checks += 1;
        }
    }
    // Who is not known is not checked.
    send(&app, &uri("acme"), &[]).await;
    let counted: u64 = house.statuses().values().sum();
    assert_eq!(counted, checks);
    let stats = house.stats();
    let denied: u64 = CheckStatus::ALL.iter().map(|status| stats.checks(*status, CheckDecision::Deny)).sum();
    assert_eq!(denied, 5);
}
