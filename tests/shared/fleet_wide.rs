//! What is switched for the whole fleet.

use super::*;

/// No process needs longer to hear of it.
const HEARD: Duration = Duration::from_secs(6);

async fn switch(fleet: &Fleet, feature: Feature, to: Switch) {
    fleet.stores[0].switch(feature, to, "alice", "incident 12").await.unwrap();
    fleet.pass(HEARD).await;
}

fn is_on(fleet: &Fleet, feature: Feature) -> Vec<bool> {
    fleet.stores.iter().map(|store| store.flags().is_on(feature)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_by_one_is_switched_for_all_and_for_who_comes_later() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    for feature in Feature::ALL {
        switch(&fleet, *feature, Switch::Off).await;
        assert_eq!(is_on(&fleet, *feature), [false, false], "{feature:?}");
        let later = Store::with_chaos(Config::default(), &fleet.clock, &fleet.chaos);
        fleet.pass(Duration::from_millis(300)).await;
        assert!(!later.flags().is_on(*feature), "{feature:?}");
        switch(&fleet, *feature, Switch::On).await;
        assert_eq!(is_on(&fleet, *feature), [true, true], "{feature:?}");
    }
    let told = fleet.stores[1].switches().await.unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.to, &*last.by, &*last.why), (Switch::On, "alice", "incident 12"));
    assert_eq!(told.len(), 2 * Feature::ALL.len());
}

/// The model's rule about flags: they gate reads and fills, never invalidation.
#[tokio::test(start_paused = true)]
async fn with_the_tier_switched_off_for_all_invalidations_still_reach_everybody() {
    let (version, origin) = changing(&[FRESH]);
    let fleet = Fleet::of(2, origin).await;
    switch(&fleet, Feature::L2, Switch::Off).await;
    for process in 0..2 {
        assert_eq!(fleet.get(process, "/").await.text(), "1");
    }
    assert_eq!((fleet.chaos.entries(), fleet.chaos.lookups()), (0, 0), "nothing is read there or stored");
    version.store(2, SeqCst);
    let _receipt = fleet.stores[0].purge_url("/").await.unwrap();
    fleet.pass(Duration::from_millis(20)).await;
    assert_eq!(fleet.get(1, "/").await.text(), "2");
    switch(&fleet, Feature::L2, Switch::On).await;
    fleet.get(0, "/new").await;
    assert_eq!(fleet.chaos.entries(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_is_lost_changes_nothing() {
    let fleet = Fleet::of(2, Origin::counting(&[FRESH])).await;
    switch(&fleet, Feature::Cache, Switch::Off).await;
    for failure in [Failure::Refuses, Failure::Hangs, Failure::None] {
        fleet.chaos.fails(failure);
        fleet.pass(HEARD).await;
        assert_eq!(is_on(&fleet, Feature::Cache), [false, false]);
    }
    fleet.chaos.restarts();
    fleet.pass(HEARD).await;
    assert_eq!(is_on(&fleet, Feature::Cache), [false, false]);
    switch(&fleet, Feature::Cache, Switch::On).await;
    assert_eq!(is_on(&fleet, Feature::Cache), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_an_error() {
    let fleet = Fleet::of(1, Origin::counting(&[FRESH])).await;
    fleet.chaos.fails(Failure::Refuses);
    assert!(fleet.stores[0].switch(Feature::Cache, Switch::Off, "alice", "").await.is_err());
    assert!(fleet.stores[0].switches().await.is_err());
    assert!(Store::memory().switch(Feature::Cache, Switch::Off, "alice", "").await.unwrap_err().is_config());
}

#[tokio::test(start_paused = true)]
async fn the_latest_word_counts_and_there_is_a_way_back_to_the_start() {
    let off = Config::from_vars([("CACHE_SWR_ENABLED", "off")]).unwrap();
    let fleet = Fleet::with(2, off, Origin::counting(&[FRESH])).await;
    switch(&fleet, Feature::Swr, Switch::On).await;
    fleet.stores[1].flags().set(Feature::Swr, false);
    fleet.pass(HEARD).await;
    assert_eq!(is_on(&fleet, Feature::Swr), [true, false], "switched here later");
    switch(&fleet, Feature::Swr, Switch::On).await;
    assert_eq!(is_on(&fleet, Feature::Swr), [true, true], "and again for all");
    switch(&fleet, Feature::Swr, Switch::AsStarted).await;
    assert_eq!(is_on(&fleet, Feature::Swr), [false, false]);
}
