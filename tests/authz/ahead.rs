//! Facts are loaded again before they end, without anybody waiting for it, and what comes of it is used only as what any
//! other load brings.

use super::fleet::Fleet;
use super::*;
use terrace::authz::{Consistency, Scope, perm};
use terrace::stats::{LookupResult, RejectReason, Tier};

/// Lets what was begun in the background go on until it waits for something.
async fn go_on() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Asks until a load is under way that nobody waits for.
async fn asks_until_it_is_loaded_again(house: &House) {
    let loads = house.directory.loads();
    for _ in 0..300 {
        assert_eq!(house.reads().await, Some(true));
        go_on().await;
        if house.directory.loads() > loads {
            return;
        }
        house.clock.advance(Duration::from_millis(50));
    }
    panic!("it ends, and nobody loads it again");
}

/// A life of 90 to 100 seconds.
const LIFE: (&str, &str) = ("AUTHZ_CACHE_TTL", "100");

#[tokio::test]
async fn while_somebody_asks_nobody_waits_for_what_ends() {
    // What layers ask, and what handlers do.
    for by_layer in [true, false] {
        let house = House::with(&[LIFE]);
        let app = app(&house.authz, "invoice:read");
        for _ in 0..5_000 {
            if by_layer {
                assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
            } else {
                assert_eq!(house.reads().await, Some(true));
            }
            go_on().await;
            house.clock.advance(Duration::from_millis(100));
        }
        assert_eq!(house.statuses(), [("cache_miss", 1), ("l1_cache_hit", 4_999)].into());
        // Each is used for at least four fifths of its life, and for no longer than that life.
        let loads = house.directory.loads();
        assert!((500 / 100..=500 / 72 + 1).contains(&loads), "{loads} loads");
        let (stats, again) = (house.stats(), loads as u64 - 1);
        assert_eq!(stats.lookups(Tier::L1, LookupResult::Rejected), again, "none but those that load");
        assert_eq!(
            (stats.rejected(Tier::L1, RejectReason::Expired), stats.lookups(Tier::L1, LookupResult::Stale)),
            (again, 0)
        );
    }
}

#[tokio::test]
async fn who_wants_no_refreshes_waits_instead() {
    let house = House::with(&[LIFE]);
    house.store.settings().set("CACHE_MAX_REFRESHES", "0").unwrap();
    for _ in 0..2_000 {
        assert_eq!(house.reads().await, Some(true));
        go_on().await;
        house.clock.advance(Duration::from_millis(100));
    }
    let statuses = house.statuses();
    assert_eq!(statuses["cache_miss"], house.directory.loads() as u64);
    assert!(statuses["cache_miss"] > 1, "{statuses:?}");
}

/// It is answered with what is there, until that ends, which is when it was to end.
#[tokio::test]
async fn what_cannot_be_loaded_again_is_tried_once_in_a_second_and_ends_as_it_was_to_end() {
    let house = House::with(&[LIFE]);
    assert_eq!(house.reads().await, Some(true));
    house.directory.mode(Mode::Fails);
    let mut ended = None;
    for tenths in 1..=1_010 {
        house.clock.advance(Duration::from_millis(100));
        for _ in 0..3 {
            if house.reads().await.is_none() {
                ended.get_or_insert(tenths);
            }
            go_on().await;
        }
        if ended.is_some() {
            break;
        }
    }
    let ended = ended.expect("it ends");
    assert!((899..=1_000).contains(&ended), "after {ended} tenths of a second");
    let tried = house.directory.loads() - 1;
    // And once for each of the three who had to wait at the end.
    assert!((2..=20 + 3).contains(&tried), "tried {tried} times");
}

#[tokio::test]
async fn what_is_loaded_again_while_rights_are_revoked_is_not_used() {
    let house = House::with(&[LIFE]);
    assert_eq!(house.reads().await, Some(true));
    house.advance(80);
    house.directory.mode(Mode::Gated);
    asks_until_it_is_loaded_again(&house).await;
    // It has read what alice may, and has not told it yet.
    house.directory.set(&house.alice, Grants::complete(["x"]));
    drop(house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap());
    house.directory.mode(Mode::Answers);
    house.directory.release(1);
    go_on().await;
    assert_eq!((house.reads().await, house.directory.loads()), (Some(false), 3));
    assert_eq!(house.stats().entries(), 1);
}

#[tokio::test]
async fn nothing_is_loaded_again_that_was_not_cached() {
    let house = House::with(&[LIFE]);
    assert_eq!(house.reads().await, Some(true));
    house.advance(80);
    let fresh = perm("invoice:read").consistency(Consistency::Fresh);
    for at in 0..100 {
        // What is loaded takes the place of what is there.
        house.directory.mode(Mode::Fails);
        assert!(house.authz.check(&house.principal(), fresh.clone()).await.is_err());
        go_on().await;
        assert_eq!(house.directory.loads(), 2 + at, "the one that was asked for");
        house.clock.advance(Duration::from_millis(90));
    }
    house.directory.mode(Mode::Answers);
    let change = house.authz.begin_change(Scope::Subject(house.alice.clone())).await.unwrap();
    let loads = house.directory.loads();
    for at in 1..=10 {
        assert_eq!(house.reads().await, Some(true));
        go_on().await;
        assert_eq!(house.directory.loads(), loads + at, "while rights are changed");
    }
    drop(change);
}

/// A process takes what another has loaded again, as it takes what another has loaded.
#[tokio::test(start_paused = true)]
async fn what_another_process_has_loaded_again_is_found() {
    let fleet = Fleet::with(3, &[("AUTHZ_CACHE_TTL", "10")]).await;
    // Often enough that nobody comes to the end of a life by bad luck.
    for _ in 0..5_000 {
        for process in 0..3 {
            assert_eq!(fleet.reads(process).await, Some(true));
        }
        fleet.pass(10).await;
    }
    for authz in &fleet.authz {
        let statuses = statuses(&authz.stats());
        let waited: u64 = ["cache_miss", "l2_cache_hit"].iter().filter_map(|status| statuses.get(status)).sum();
        assert_eq!((waited, statuses.len()), (1, 2), "at the beginning: {statuses:?}");
    }
    // Fifty seconds, in which each load lasts for 7.2 to 10. Each process alone would load three times as often.
    let loads = fleet.directory.loads();
    assert!((5..=11).contains(&loads), "{loads} loads");
}
