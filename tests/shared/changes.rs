//! Changes that are announced before they are made.

use super::*;

#[tokio::test(start_paused = true)]
async fn while_a_change_is_open_nothing_that_carries_its_tag_is_served_or_stored_anywhere() {
    let (version, origin) = changing(TAGGED);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    let change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
    change.settled().await;
    fleet.pass(Duration::from_secs(1)).await;
    for process in [0, 1, 0, 1] {
        assert!(!fleet.get(process, "/").await.is_hit(), "process {process}");
    }
    version.store(2, SeqCst);
    change.confirm().await.unwrap();
    // Longer than an announcement holds: it is renewed.
    fleet.pass(Duration::from_secs(12)).await;
    assert!(!fleet.get(1, "/").await.is_hit());
    let _receipt = change.commit().await.unwrap();
    fleet.pass(Duration::from_millis(20)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
    assert!(fleet.get(0, "/").await.is_hit() && fleet.get(1, "/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_during_a_change_is_never_served_after_it() {
    for commits in [true, false] {
        let (version, origin) = changing(TAGGED);
        let fleet = Fleet::of(2, origin).await;
        let change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
        for process in 0..2 {
            fleet.get(process, "/").await;
        }
        version.store(2, SeqCst);
        if commits {
            let _receipt = change.commit().await.unwrap();
        } else {
            drop(change);
            // Its transaction may take effect still.
            fleet.pass(Duration::from_secs(5)).await;
            for process in [0, 1, 0, 1] {
                assert!(!fleet.get(process, "/").await.is_hit(), "process {process}");
            }
            fleet.pass(Duration::from_secs(5)).await;
        }
        fleet.pass(Duration::from_millis(50)).await;
        for process in 0..2 {
            assert_eq!(fleet.get(process, "/").await.text(), "2", "commits: {commits}");
            assert!(fleet.get(process, "/").await.is_hit());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_announced_is_an_error_before_anything_is_changed() {
    let fleet = Fleet::of(1, changing(TAGGED).1).await;
    fleet.get(0, "/").await;
    fleet.chaos.fails(Failure::Refuses);
    let error = fleet.stores[0].begin_change(["user:42"]).await.unwrap_err();
    assert!(error.to_string().contains("announcement"), "{error}");
    assert!(fleet.get(0, "/").await.is_hit(), "nothing is held");
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_end_is_not_confirmed_stays_uncached_and_heals() {
    let (version, origin) = changing(TAGGED);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        fleet.get(process, "/").await;
    }
    let change = fleet.stores[0].begin_change(["user:42"]).await.unwrap();
    fleet.pass(Duration::from_millis(50)).await;
    version.store(2, SeqCst);
    fleet.chaos.fails(Failure::ReadOnly);
    assert!(change.commit().await.unwrap_err().is_unconfirmed());
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(15)).await;
    for process in [0, 1, 0, 1] {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
    assert!(fleet.get(0, "/").await.is_hit() && fleet.get(1, "/").await.is_hit());
}

#[tokio::test]
async fn a_change_in_the_memory_of_one_process_is_as_good() {
    let (version, origin) = changing(TAGGED);
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).layer(origin);
    assert_eq!(call(&service, get("/")).await.text(), "1");
    let change = store.begin_change(["user:42"]).await.unwrap();
    assert!(!call(&service, get("/")).await.is_hit());
    version.store(2, SeqCst);
    let _receipt = change.commit().await.unwrap();
    assert_eq!(call(&service, get("/")).await.text(), "2");
    assert!(call(&service, get("/")).await.is_hit());
}
