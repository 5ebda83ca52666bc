//! Changes that are announced.

use super::fleet::Fleet;
use super::*;
use terrace::authz::Scope;
use terrace::chaos::Failure;
use terrace::stats::{BypassReason, InvalidationResult, Kind, Scope as Scale};

fn alice(house: &House) -> Scope {
    Scope::subject(&house.alice.tenant, &house.alice.subject)
}

#[tokio::test]
async fn while_a_change_is_open_the_source_is_asked_and_nothing_is_kept() {
    let house = House::new();
    assert_eq!(house.reads().await, Some(true));
    let change = house.authz.begin_change(alice(&house)).await.unwrap();
    assert_eq!(house.stats().open_changes(), 1);
    for loads in [2, 3] {
        assert_eq!((house.reads().await, house.directory.loads()), (Some(true), loads));
        house.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(house.stats().bypasses(BypassReason::Held), 2);
    house.directory.set(&house.alice, Grants::complete(["x"]));
    change.settled().await;
    change.confirm().await.unwrap();
    let receipt = change.commit().await.unwrap();
    assert!(receipt.position() > 0);
    assert_eq!(house.stats().open_changes(), 0);
    assert_eq!((house.reads().await, house.reads().await, house.directory.loads()), (Some(false), Some(false), 4));
    assert_eq!(house.stats().invalidations(Scale::Subject, Kind::Hard, InvalidationResult::Acked), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_loaded_during_a_change_is_dead_after_it() {
    let house = House::new();
    let change = house.authz.begin_change(alice(&house)).await.unwrap();
    house.directory.mode(Mode::Gated);
    let (authz, principal) = (house.authz.clone(), house.principal());
    let during = tokio::spawn(async move { authz.check(&principal, "invoice:read").await.unwrap().is_allow() });
    house.directory.begun(1).await;
    house.directory.set(&house.alice, Grants::complete(["x"]));
    let receipt = change.commit().await.unwrap();
    let _ = receipt;
    house.directory.release(1);
    assert!(during.await.unwrap(), "it was asked before the change");
    house.directory.mode(Mode::Answers);
    assert_eq!(house.reads().await, Some(false));
}

/// Its transaction may take effect still, such as on another thread.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_dropped_holds_until_its_time_is_over_and_leaves_nothing_old() {
    let house = House::with(&[("AUTHZ_CACHE_HOLD_S", "3")]);
    assert_eq!(house.reads().await, Some(true));
    drop(house.authz.begin_change(alice(&house)).await.unwrap());
    for loads in 2..=30 {
        assert_eq!((house.reads().await, house.directory.loads()), (Some(true), loads), "nothing is kept");
        assert_eq!(house.stats().open_changes(), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    house.directory.set(&house.alice, Grants::complete(["x"]));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(house.stats().open_changes(), 0);
    assert_eq!((house.reads().await, house.reads().await, house.directory.loads()), (Some(false), Some(false), 31));
}

/// Of Redis: a process that has not heard of the change asks it.
#[tokio::test(start_paused = true)]
async fn what_is_committed_after_its_change_was_dropped_is_not_cached_as_it_was_by_others() {
    let fleet = Fleet::with(2, &[]).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
    drop(fleet.authz[0].begin_change(fleet.scope()).await.unwrap());
    fleet.pass(1000).await;
    // What a request finds that comes before the transaction has taken effect.
    assert_eq!(fleet.reads(1).await, Some(true));
    fleet.pass(5000).await;
    fleet.revoked();
    assert_eq!(fleet.reads(1).await, Some(false));
    fleet.pass(6000).await;
    let loads = fleet.directory.loads();
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(false), Some(false)));
    assert_eq!(fleet.directory.loads(), loads + 1, "and cached again after its end");
}

/// The end is told again, and nothing that the source has said until then is used.
#[tokio::test(start_paused = true)]
async fn a_source_that_lags_is_waited_for_even_if_redis_does_not_take_the_end() {
    for revoke in [false, true] {
        let fleet = Fleet::with(2, &[("AUTHZ_CACHE_SOURCE_LAG_MS", "5000")]).await;
        assert_eq!((fleet.reads(1).await, fleet.reads(1).await), (Some(true), Some(true)));
        let change = if revoke { None } else { Some(fleet.authz[0].begin_change(fleet.scope()).await.unwrap()) };
        fleet.pass(100).await;
        fleet.chaos.fails(Failure::Refuses);
        let ended = match change {
            Some(change) => change.commit().await,
            None => fleet.authz[0].revoke(fleet.scope()).await,
        };
        assert!(ended.unwrap_err().is_unconfirmed());
        fleet.chaos.fails(Failure::None);
        fleet.pass(2000).await;
        // The source still says what was.
        assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (Some(true), Some(true)));
        fleet.revoked();
        fleet.pass(4500).await;
        for process in [0, 1, 0, 1] {
            assert_eq!(fleet.reads(process).await, Some(false), "revoke: {revoke}, process {process}");
        }
        let loads = fleet.directory.loads();
        assert_eq!((fleet.reads(0).await, fleet.reads(1).await), (Some(false), Some(false)));
        assert_eq!(fleet.directory.loads(), loads, "and caching goes on");
    }
}

#[tokio::test]
async fn overlapping_changes_end_with_the_last() {
    let house = House::new();
    let one = house.authz.begin_change(alice(&house)).await.unwrap();
    let other = house.authz.begin_change(Scope::Tenant(house.alice.tenant.clone())).await.unwrap();
    let first = one.commit().await.unwrap();
    house.reads().await;
    house.clock.advance(Duration::from_millis(1));
    house.reads().await;
    assert_eq!(house.directory.loads(), 2, "the other still holds it");
    let second = other.commit().await.unwrap();
    assert!(second.position() > first.position());
    house.reads().await;
    house.reads().await;
    assert_eq!(house.directory.loads(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_source_that_lags_may_still_say_is_not_kept() {
    for revoke in [false, true] {
        let house = House::with(&[("AUTHZ_CACHE_SOURCE_LAG_MS", "200")]);
        assert_eq!(house.reads().await, Some(true));
        // The source still says what was, for a while.
        let receipt = if revoke {
            house.authz.revoke(alice(&house)).await.unwrap()
        } else {
            house.authz.begin_change(alice(&house)).await.unwrap().commit().await.unwrap()
        };
        let _ = receipt;
        house.clock.advance(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(house.reads().await, Some(true));
        house.directory.set(&house.alice, Grants::complete(["x"]));
        house.clock.advance(Duration::from_millis(110));
        tokio::time::sleep(Duration::from_millis(110)).await;
        assert_eq!(house.reads().await, Some(false), "what was loaded meanwhile is not used");
        assert_eq!((house.reads().await, house.directory.loads()), (Some(false), 3), "and caching goes on");
    }
}

#[tokio::test]
async fn revoking_works_while_the_cache_is_off() {
    let house = House::new();
    assert_eq!(house.reads().await, Some(true));
    house.directory.set(&house.alice, Grants::complete(["x"]));
    house.store.settings().set("AUTHZ_CACHE_ENABLED", "off").unwrap();
    let receipt = house.authz.revoke(alice(&house)).await.unwrap();
    let _ = receipt;
    house.store.settings().set("AUTHZ_CACHE_ENABLED", "on").unwrap();
    assert_eq!(house.reads().await, Some(false));
}
