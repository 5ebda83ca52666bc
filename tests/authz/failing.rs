//! Slow sources, many callers, and those who leave: one load for all, never more than may run, nothing half done.

use super::judge::Court;
use super::*;
use terrace::authz::{Consistency, Decision, Scope, SourceVersion, UnavailableReason, all_of, perm};
use terrace::stats::{FlightJoin, LockKind, LockResult};
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
    let locks = |result| house.stats().locks(LockKind::Local, result);
    assert_eq!([LockResult::Acquired, LockResult::Contended, LockResult::Timeout].map(locks), [1, 999, 0]);
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
        let locks = |result| house.stats().locks(LockKind::Local, result);
        assert!(locks(LockResult::Contended) >= 98, "{mode:?}");
        assert_eq!(locks(LockResult::Timeout), if mode == Mode::Hangs { 99 } else { 0 }, "{mode:?}");
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
async fn an_answer_that_is_too_old_for_one_is_an_answer_for_the_others() {
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["invoice:read"]).version(SourceVersion(4)));
    house.directory.mode(Mode::Gated);
    let check = |demanded: Option<u64>| {
        let (authz, principal) = (house.authz.clone(), house.principal());
        let consistency = demanded.map_or(Consistency::Cached, |at| Consistency::AtLeastVersion(SourceVersion(at)));
        let requirement = perm("invoice:read").consistency(consistency);
        let checked = async move { authz.check(&principal, requirement).await };
        tokio::spawn(async move { checked.await.map_err(|unavailable| unavailable.reason()) })
    };
    let first = check(Some(5));
    house.directory.begun(1).await;
    let waiting = [check(None), check(Some(4)), check(Some(5)), check(Some(6))];
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    house.directory.release(2);
    let behind = Err(UnavailableReason::Behind);
    assert_eq!(first.await.unwrap(), behind);
    for (asking, expected) in waiting.into_iter().zip([Ok(Decision::Allow), Ok(Decision::Allow), behind, behind]) {
        assert_eq!(asking.await.unwrap(), expected);
    }
    assert_eq!(house.directory.loads(), 2, "one more for all of them");
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

/// Also those that ask for what no handler outside of a route can know.
#[tokio::test]
async fn a_check_that_asks_for_a_parameter_of_no_path_is_counted() {
    let house = House::new();
    let of_a_path = || perm("invoice:read").tenant_param("org");
    let reason = |unavailable: terrace::authz::Unavailable| unavailable.reason();
    let checked = house.authz.check(&house.principal(), of_a_path()).await.map_err(reason);
    assert_eq!(checked, Err(UnavailableReason::Parameter));
    assert!(house.authz.explain(&house.principal(), of_a_path()).await.is_err());
    assert!(house.authz.check_many(&house.principal(), [perm("a"), of_a_path(), perm("b")]).await.is_err());
    assert_eq!(house.statuses(), [("cache_error", 5)].into());
    assert_eq!(house.directory.loads(), 0);
}

/// The authorizer has what the source of permissions has left of it.
#[tokio::test(start_paused = true)]
async fn a_check_has_one_budget_whoever_is_asked() {
    let court = Court::built(&[], |builder| builder);
    court.directory.mode(Mode::Gated);
    court.judge.mode(Mode::Hangs);
    let (authz, alice) = (court.authz.clone(), court.alice.clone());
    let asking = tokio::spawn(async move { authz.check(&alice, "read").await.unwrap_err().reason() });
    let mut milliseconds = 0;
    while !asking.is_finished() {
        court.advance(5);
        tokio::time::sleep(Duration::from_millis(5)).await;
        milliseconds += 5;
        if milliseconds == 600 {
            court.directory.release(1);
        }
        assert!(milliseconds < 3000, "it is still waiting");
    }
    assert_eq!((asking.await.unwrap(), court.judge.calls()), (UnavailableReason::Timeout, 1));
    assert!((795..850).contains(&milliseconds), "{milliseconds} ms");
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_while_the_authorizer_is_asked_is_decided_again() {
    for is_cached in [false, true] {
        let court = Court::built(&[], |builder| if is_cached { builder.cache_decisions("judge") } else { builder });
        court.directory.set(&court.alice.who, Grants::partial(["member"]));
        assert_eq!(court.check("member").await, Some(Decision::Allow));
        court.advance(10);
        court.judge.mode(Mode::Gated);
        let (authz, alice) = (court.authz.clone(), court.alice.clone());
        let rule = all_of(["member", "read"]);
        let asking = tokio::spawn(async move { authz.check(&alice, rule).await.unwrap() });
        court.judge.called(1).await;
        court.directory.set(&court.alice.who, Grants::complete(["x"]));
        drop(court.authz.revoke(Scope::Subject(court.alice.who.clone())).await.unwrap());
        court.judge.release(2);
        assert_eq!(asking.await.unwrap(), Decision::Deny(terrace::authz::DenyReason::NotGranted), "{is_cached}");
        assert_eq!((court.directory.loads(), court.judge.calls()), (2, 1));
    }
}

/// While a right is being changed, what was read for the check itself is as good as it gets.
#[tokio::test(start_paused = true)]
async fn while_a_change_is_announced_the_authorizer_is_asked_once_for_each_check() {
    let court = Court::built(&[], |builder| builder);
    let change = court.authz.begin_change(Scope::Subject(court.alice.who.clone())).await.unwrap();
    for calls in 1..=3 {
        court.advance(10);
        assert_eq!((court.reads().await, court.judge.calls()), (Some(true), calls));
    }
    drop(change.commit().await.unwrap());
}
