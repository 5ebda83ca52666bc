//! Changes that are announced.

use super::*;
use terrace::authz::Scope;
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

#[tokio::test]
async fn a_change_that_is_dropped_leaves_nobody_uncached_and_nothing_old() {
    let house = House::new();
    assert_eq!(house.reads().await, Some(true));
    drop(house.authz.begin_change(alice(&house)).await.unwrap());
    assert_eq!((house.reads().await, house.reads().await, house.directory.loads()), (Some(true), Some(true), 2));
    assert_eq!(house.stats().open_changes(), 0);
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
