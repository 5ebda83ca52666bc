//! Every setting of the tier.

use super::*;

/// Whether a fleet of two, in which each process has asked once, behaves as if a setting had the value.
type Effect = for<'a> fn(&'a Fleet) -> Pin<Box<dyn Future<Output = bool> + 'a>>;

async fn sends_nothing(fleet: &Fleet) -> bool {
    let before = fleet.chaos.entries();
    fleet.get(0, "/new").await;
    fleet.chaos.entries() == before
}

const SETTINGS: [(&str, &str, Effect); 10] = [
    ("CACHE_L2_READ_BUDGET", "200ms", |it| {
        Box::pin(async {
            it.chaos.fails(Failure::Hangs);
            let started = tokio::time::Instant::now();
            call(&it.services[0], get("/new")).await;
            started.elapsed() >= Duration::from_millis(200)
        })
    }),
    ("CACHE_L2_LEASE", "0", |it| {
        Box::pin(async {
            let (one, other) = (spawn(&it.services[0], get("/new")), spawn(&it.services[1], get("/new")));
            one.await.unwrap().text() != other.await.unwrap().text()
        })
    }),
    ("CACHE_L2_ENABLED", "off", |it| {
        Box::pin(async {
            let before = it.chaos.lookups();
            it.get(0, "/new").await;
            it.chaos.lookups() == before
        })
    }),
    ("CACHE_L1_MAX_LAG", "5m", |it| {
        Box::pin(async {
            it.chaos.fails(Failure::Refuses);
            it.pass(Duration::from_secs(3)).await;
            !it.get(0, "/").await.field("cache-status").contains("unproven")
        })
    }),
    // With the doorbell mute, and a lag that is not in the way.
    ("CACHE_POLL_INTERVAL", "1m", |it| {
        Box::pin(async {
            it.chaos.is_silent(true);
            it.stores[1].settings().set("CACHE_L1_MAX_LAG", "5m").unwrap();
            it.pass(Duration::from_secs(1)).await;
            let _receipt = it.stores[0].purge_all().await.unwrap();
            it.pass(Duration::from_secs(1)).await;
            it.get(1, "/").await.text() == "1"
        })
    }),
    ("CACHE_L1_DEGRADED_MAX", "0", |it| {
        Box::pin(async {
            it.chaos.fails(Failure::Refuses);
            it.pass(Duration::from_secs(2)).await;
            it.get(0, "/").await.text() != "1"
        })
    }),
    ("CACHE_L2_TTL", "1s", |it| {
        Box::pin(async {
            let first = it.get(0, "/new").await;
            it.pass(Duration::from_secs(2)).await;
            it.get(1, "/new").await.text() != first.text()
        })
    }),
    ("CACHE_FLEET_SWITCHES", "off", |it| {
        Box::pin(async {
            it.stores[1].switch(Feature::Cache, Switch::Off, "a test", "").await.unwrap();
            it.pass(Duration::from_secs(6)).await;
            it.stores[0].flags().is_on(Feature::Cache)
        })
    }),
    ("CACHE_L2_WRITES", "0", |it| Box::pin(sends_nothing(it))),
    // Less than any entry has.
    ("CACHE_L2_WRITE_BYTES", "1", |it| Box::pin(sends_nothing(it))),
];

#[tokio::test(start_paused = true)]
async fn every_setting_of_the_shared_tier_has_an_effect_at_the_start_and_while_running() {
    for (name, value, shows) in SETTINGS {
        for (at_start, running, expected) in [(false, false, false), (true, false, true), (false, true, true)] {
            let vars = at_start.then_some((name, value));
            let fleet = Fleet::with(2, Config::from_vars(vars).unwrap(), Origin::counting(&[FRESH])).await;
            // What a setting does while it holds is not to be seen in what was stored before.
            for process in 0..2 {
                fleet.get(process, "/").await;
            }
            if running {
                fleet.stores.iter().for_each(|store| store.settings().set(name, value).unwrap());
                fleet.pass(Duration::from_millis(300)).await;
            }
            assert_eq!(shows(&fleet).await, expected, "{name}={value}, at start: {at_start}, running: {running}");
        }
    }
}
