//! The tier switched off and on, what is owed to the others meanwhile, and changes that are announced.

use super::*;

async fn switch(fleet: &Fleet, on: bool) {
    fleet.stores[0].flags().set(Feature::L2, on);
    fleet.pass(Duration::from_millis(500)).await;
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_nobody_waited_for_hides_no_invalidation() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    fleet.chaos.fails(Failure::Hangs);
    let gone = tokio::time::timeout(Duration::from_millis(1), fleet.stores[0].begin_change(["other"])).await;
    assert!(gone.is_err());
    fleet.chaos.fails(Failure::None);
    version.store(2, SeqCst);
    let _receipt = fleet.stores[1].purge_url("/").await.unwrap();
    fleet.pass(Duration::from_secs(2)).await;
    assert_eq!(fleet.get(0, "/").await.text(), "2");
    assert_eq!(fleet.stores[1].stats().epoch_changes(EpochChange::Lost), 0);
}

#[tokio::test(start_paused = true)]
async fn what_this_process_invalidated_stays_invalid_when_the_tier_is_switched_off() {
    for (failure, confirmed) in [(Failure::None, true), (Failure::Refuses, false)] {
        let (version, origin) = changing(&[FRESH]);
        let fleet = Fleet::of(1, origin).await;
        assert_eq!(fleet.get(0, "/").await.text(), "1");
        fleet.chaos.fails(failure);
        version.store(2, SeqCst);
        assert_eq!(fleet.stores[0].purge_url("/").await.is_ok(), confirmed);
        fleet.stores[0].flags().set(Feature::L2, false);
        fleet.pass(Duration::from_secs(60)).await;
        assert_eq!(fleet.get(0, "/").await.text(), "2", "confirmed: {confirmed}");
    }
}

#[tokio::test(start_paused = true)]
async fn switched_on_again_memory_is_believed_no_longer_than_it_is_proven() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    switch(&fleet, false).await;
    fleet.get(0, "/").await;
    fleet.chaos.fails(Failure::Refuses);
    switch(&fleet, true).await;
    fleet.pass(Duration::from_secs(120)).await;
    assert!(!fleet.get(0, "/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_alone_is_not_served_from_the_tier_before_the_others_are_told() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    assert_eq!(fleet.get(1, "/").await.text(), "1");
    switch(&fleet, false).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    assert_eq!(fleet.stores[0].stats().pending_invalidations(), 1);
    // Entries can be read, and nothing can be written.
    fleet.chaos.fails(Failure::Full);
    switch(&fleet, true).await;
    assert_eq!(fleet.get(0, "/").await.text(), "2");
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    assert_eq!(fleet.stores[0].stats().pending_invalidations(), 0);
    assert_eq!(fleet.get(1, "/").await.text(), "2");
}

/// Nothing that an alert looks at may go on as it was, or grow: this is what is done when Redis is in trouble.
#[tokio::test(start_paused = true)]
async fn switched_off_a_process_says_that_it_is_alone_and_switched_on_that_nothing_is_proven_yet() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Refuses);
    for number in 0..20 {
        fleet.get(0, &format!("/{number}")).await;
    }
    fleet.pass(Duration::from_secs(5)).await;
    let breakers = || BreakerName::ALL.iter().map(|it| fleet.stats(0).breaker(*it)).collect::<Vec<_>>();
    assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Degraded));
    assert!(!breakers().contains(&Some(BreakerState::Closed)), "{:?}", breakers());
    switch(&fleet, false).await;
    fleet.pass(Duration::from_secs(60)).await;
    let stats = fleet.stats(0);
    assert_eq!((stats.coherence(), stats.proof_age()), (Some(CoherenceState::Alone), Some(Duration::ZERO)));
    assert_eq!(breakers(), [Some(BreakerState::Closed); 2]);
    switch(&fleet, true).await;
    assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Starting));
    fleet.pass(Duration::from_secs(2)).await;
    assert!(fleet.stats(0).proof_age() > Some(Duration::from_secs(2)), "it is waited for");
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    assert_eq!(fleet.stats(0).coherence(), Some(CoherenceState::Coherent));
}

#[tokio::test(start_paused = true)]
async fn holds_are_balanced_however_the_tier_is_switched() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    switch(&fleet, false).await;
    let _receipt = fleet.stores[0].purge_url("/").soft().await.unwrap();
    fleet.chaos.fails(Failure::Refuses);
    switch(&fleet, true).await;
    assert!(fleet.stores[0].purge_url("/").await.is_err());
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(5)).await;
    let stats = fleet.stores[0].stats();
    assert_eq!((stats.coherence(), stats.pending_invalidations()), (Some(CoherenceState::Coherent), 0));
    fleet.get(0, "/").await;
    assert!(fleet.get(0, "/").await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn however_much_is_invalidated_alone_the_cache_goes_on() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    let untouched = fleet.get(1, "/untouched").await.text().to_owned();
    switch(&fleet, false).await;
    for number in 0..10_001 {
        let _receipt = fleet.stores[0].purge_url(&format!("/{number}")).await.unwrap();
    }
    assert_eq!(fleet.stores[0].stats().pending_invalidations(), 1, "as one that invalidates everything");
    fleet.get(0, "/").await;
    assert!(fleet.get(0, "/").await.is_hit());
    switch(&fleet, true).await;
    fleet.pass(Duration::from_secs(2)).await;
    assert_ne!(fleet.get(1, "/untouched").await.text(), untouched);
}

#[tokio::test(start_paused = true)]
async fn the_same_invalidation_is_owed_once() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Refuses);
    for _ in 0..50 {
        assert!(fleet.stores[0].purge_url("/").await.is_err());
    }
    assert_eq!(fleet.stores[0].stats().pending_invalidations(), 1);
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(5)).await;
    fleet.get(0, "/").await;
    assert!(fleet.get(0, "/").await.is_hit(), "it is held no more");
}

#[tokio::test(start_paused = true)]
async fn many_that_are_owed_are_sent_together() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Refuses);
    for number in 0..5000 {
        assert!(fleet.stores[0].purge_url(&format!("/{number}")).await.is_err());
    }
    fleet.chaos.fails(Failure::Slow(Duration::from_millis(5)));
    fleet.pass(Duration::from_secs(3)).await;
    let stats = fleet.stores[0].stats();
    assert_eq!((stats.pending_invalidations(), stats.coherence()), (0, Some(CoherenceState::Coherent)));
}

#[tokio::test(start_paused = true)]
async fn a_full_server_still_proves_what_is_in_memory_and_has_what_it_has() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    fleet.get(0, "/").await;
    fleet.chaos.fails(Failure::Full);
    fleet.get(0, "/one").await;
    fleet.pass(Duration::from_secs(60)).await;
    assert!(fleet.get(0, "/").await.is_hit());
    assert_eq!(fleet.stores[0].stats().coherence(), Some(CoherenceState::Coherent));
    assert!(fleet.get(1, "/").await.is_hit(), "from the tier");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_announced_to_this_process_alone_while_the_tier_is_switched_off() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH, ("cache-tag", "a")])).await;
    switch(&fleet, false).await;
    fleet.chaos.fails(Failure::Refuses);
    fleet.get(0, "/").await;
    let change = fleet.stores[0].begin_change(["a"]).await.unwrap();
    assert!(!fleet.get(0, "/").await.is_hit());
    let _receipt = change.commit().await.unwrap();
    fleet.get(0, "/").await;
    assert!(fleet.get(0, "/").await.is_hit());
    assert_eq!(fleet.stores[0].stats().pending_invalidations(), 1, "the others are told later");
}

#[tokio::test(start_paused = true)]
async fn a_change_stays_open_when_the_tier_is_switched_off_and_on() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH, ("cache-tag", "a")])).await;
    fleet.get(0, "/").await;
    let change = fleet.stores[0].begin_change(["a"]).await.unwrap();
    switch(&fleet, false).await;
    assert!(!fleet.get(0, "/").await.is_hit());
    assert!(change.confirm().await.is_err(), "nobody else is known to hold it");
    switch(&fleet, true).await;
    assert!(!fleet.get(0, "/").await.is_hit());
    let _receipt = change.commit().await.unwrap();
    fleet.pass(Duration::from_millis(500)).await;
    for process in 0..2 {
        fleet.get(process, "/").await;
        assert!(fleet.get(process, "/").await.is_hit(), "{process}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_not_held_for_a_while_is_not_confirmed() {
    for renewed in [false, true] {
        let fleet = Fleet::of(2, Origin::counting(&[FRESH, ("cache-tag", "a")])).await;
        let change = fleet.stores[0].begin_change(["a"]).await.unwrap();
        change.confirm().await.unwrap();
        fleet.pass(Duration::from_secs(30)).await;
        change.confirm().await.expect("it is renewed as long as that works");
        fleet.chaos.fails(Failure::Refuses);
        fleet.pass(Duration::from_secs(15)).await;
        fleet.chaos.fails(Failure::None);
        // Somebody may have stored what was there before, and the transaction would make that wrong.
        fleet.pass(Duration::from_secs(if renewed { 10 } else { 2 })).await;
        assert!(change.confirm().await.is_err(), "{renewed}");
        assert!(change.confirm().await.is_err(), "{renewed}: once is enough");
        let _receipt = change.commit().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_change_is_repeated_in_the_next_epoch() {
    let (version, origin) = changing(&[FRESH, ("cache-tag", "a")]);
    let fleet = Fleet::of(2, origin).await;
    let change = fleet.stores[0].begin_change(["a"]).await.unwrap();
    version.store(2, SeqCst);
    let receipt = change.commit().await.unwrap();
    let sent = || fleet.stores[0].stats().bells(BellDirection::Sent);
    let before = sent();
    fleet.chaos.restarts();
    fleet.pass(Duration::from_secs(2)).await;
    assert_eq!(sent(), before + 1, "{receipt:?}");
}

#[tokio::test(start_paused = true)]
async fn switched_off_a_process_is_alone_and_tells_what_it_invalidated_when_it_is_switched_on() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    assert_eq!(fleet.get(1, "/").await.text(), "1");
    fleet.stores[0].flags().set(Feature::L2, false);
    fleet.pass(Duration::from_millis(500)).await;
    let (lookups, entries) = (fleet.chaos.lookups(), fleet.chaos.entries());
    fleet.get(0, "/").await;
    assert!(fleet.get(0, "/").await.is_hit());
    fleet.chaos.fails(Failure::Refuses);
    fleet.pass(Duration::from_secs(60)).await;
    assert!(fleet.get(0, "/").await.is_hit(), "it needs no proof of others");
    fleet.chaos.fails(Failure::None);
    fleet.pass(Duration::from_secs(3)).await;
    version.store(2, SeqCst);
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    assert_eq!(fleet.get(0, "/").await.text(), "2");
    assert_eq!((fleet.chaos.lookups(), fleet.chaos.entries()), (lookups, entries));
    assert_eq!(fleet.get(1, "/").await.text(), "1", "it was not told");
    fleet.stores[0].flags().set(Feature::L2, true);
    fleet.pass(Duration::from_secs(2)).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "2");
    }
}
