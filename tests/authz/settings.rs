//! Every setting does something, and nothing that is malformed is taken for something else.

use super::*;
use std::future::Future;
use std::pin::Pin;
use terrace::authz::perm;
use terrace::stats::Feature;

#[test]
fn what_is_malformed_is_refused_with_the_name_of_the_variable() {
    for (name, value) in [
        ("AUTHZ_CACHE_ENABLED", "maybe"),
        ("AUTHZ_CACHE_ENABLED", ""),
        ("AUTHZ_CACHE_TTL", "3601"),
        ("AUTHZ_CACHE_TTL", "-1"),
        ("AUTHZ_CACHE_TTL", "99999999999999999999"),
        ("AUTHZ_CACHE_DENY_TTL", "5x"),
        ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "0"),
        ("AUTHZ_CACHE_SOURCE_CONCURRENCY", "0"),
        ("AUTHZ_CACHE_HOLD_S", "61"),
        ("AUTHZ_CACHE_TENANT_SHARE_PCT", "101"),
        ("AUTHZ_CACHE_TLL", "300"),
        ("AUTHZ_L2_CACHE_ENABLE", "true"),
    ] {
        let error = Authz::from_vars(Store::memory(), Directory::new(), [(name, value)]).unwrap_err();
        assert!(error.is_config() && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_plain_number_is_in_the_unit_of_the_name() {
    for (value, expected) in [("800", 800), ("800ms", 800), ("2s", 2000)] {
        let house = House::with(&[("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", value)]);
        assert_eq!(house.authz.revocation_bound(), Duration::from_millis(expected));
    }
}

type Shown<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// A setting, a value of it, whether it may be changed while running, and what shows that the value counts.
struct Case {
    name: &'static str,
    value: &'static str,
    while_running: bool,
    shows: for<'a> fn(&'a House) -> Shown<'a>,
}

/// How many loads two checks take, with so many seconds between them.
async fn loads(house: &House, permission: &'static str, seconds: u64) -> usize {
    for wait in [0, seconds] {
        house.advance(wait);
        drop(house.authz.check(&house.principal(), permission).await);
    }
    house.directory.loads()
}

async fn crowd(house: &House, size: usize) {
    for at in 0..size {
        house.directory.set(&who("flood", &format!("s{at}")), Grants::complete(["p"]));
        assert!(house.authz.check(&Principal::new(who("flood", &format!("s{at}"))), "p").await.is_ok());
    }
}

fn cases() -> Vec<Case> {
    let case = |name, value, while_running, shows| Case { name, value, while_running, shows };
    vec![
        case("AUTHZ_CACHE_ENABLED", "off", true, |it| Box::pin(async { loads(it, "invoice:read", 0).await == 2 })),
        case("AUTHZ_CACHE_TTL", "10", true, |it| Box::pin(async { loads(it, "invoice:read", 11).await == 2 })),
        case("AUTHZ_CACHE_DENY_TTL", "60", true, |it| Box::pin(async { loads(it, "x", 6).await == 1 })),
        case("AUTHZ_CACHE_STALE_IF_ERROR", "60", true, |it| {
            Box::pin(async {
                assert_eq!(it.reads().await, Some(true));
                it.directory.mode(Mode::Fails);
                it.advance(310);
                let stale = perm("invoice:read").stale_if_source_fails(Duration::from_secs(60));
                it.authz.check(&it.principal(), stale).await.is_ok()
            })
        }),
        case("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "50", true, |it| {
            Box::pin(async {
                it.directory.mode(Mode::Hangs);
                let started = tokio::time::Instant::now();
                assert_eq!(it.reads().await, None);
                started.elapsed() < Duration::from_millis(60)
            })
        }),
        case("AUTHZ_CACHE_SOURCE_CONCURRENCY", "2", false, |it| {
            Box::pin(async {
                it.directory.mode(Mode::Hangs);
                let mut tasks = tokio::task::JoinSet::new();
                for at in 0..10 {
                    let (authz, principal) = (it.authz.clone(), Principal::new(who("acme", &format!("s{at}"))));
                    tasks.spawn(async move { drop(authz.check(&principal, "x").await) });
                }
                tasks.join_all().await;
                it.directory.most() == 2
            })
        }),
        case("AUTHZ_CACHE_SOURCE_LAG_MS", "200", true, |it| {
            Box::pin(async {
                drop(it.authz.revoke(terrace::authz::Scope::Subject(it.alice.clone())).await.unwrap());
                it.clock.advance(Duration::from_millis(1));
                loads(it, "invoice:read", 0).await == 2
            })
        }),
        case("AUTHZ_CACHE_L1_MAX_BYTES", "0", false, |it| Box::pin(async { loads(it, "invoice:read", 0).await == 2 })),
        case("AUTHZ_CACHE_TENANT_SHARE_PCT", "1", false, |it| {
            Box::pin(async {
                crowd(it, 1000).await;
                it.stats().size_bytes() < (32 << 20) / 75
            })
        }),
        case("AUTHZ_CACHE_DEBUG_HEADER", "on", true, |it| {
            Box::pin(async {
                let response = send(&app(&it.authz, "invoice:read"), "/invoices", &[ALICE]).await;
                response.headers().contains_key("x-authz-cache")
            })
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_setting_has_an_effect_at_the_start_and_while_running() {
    for Case { name, value, while_running, shows } in cases() {
        assert!(!shows(&House::new()).await, "{name} by default");
        assert!(shows(&House::with(&[(name, value)])).await, "{name}={value}");
        let house = House::new();
        let set = house.store.settings().set(name, value);
        if while_running {
            set.unwrap();
            assert!(shows(&house).await, "{name}={value}, set while running");
        } else {
            assert!(set.unwrap_err().to_string().contains("only when a store starts"));
        }
    }
}

const SHARED: [&str; 3] = ["AUTHZ_CACHE_HOLD_S", "AUTHZ_L2_CACHE_ENABLED", "AUTHZ_CACHE_KEYS"];

#[test]
fn every_setting_of_the_table_has_a_test_of_its_effect() {
    // The last are about processes that share, in `fleet.rs` and `sealed.rs`.
    let tested: Vec<_> = cases().iter().map(|case| case.name).chain(SHARED).collect();
    let table = Config::table();
    let names = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.starts_with("AUTHZ_"));
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), tested.len(), "{names:?} and {tested:?}");
    assert!(names.iter().all(|name| tested.contains(name)));
}

#[tokio::test]
async fn a_lifetime_of_zero_caches_nothing() {
    let house = House::with(&[("AUTHZ_CACHE_TTL", "0"), ("AUTHZ_CACHE_STALE_IF_ERROR", "60")]);
    assert_eq!((house.reads().await, house.reads().await), (Some(true), Some(true)));
    assert_eq!((house.directory.loads(), house.stats().entries()), (2, 0));
}

#[tokio::test]
async fn settings_change_while_running() {
    let house = House::new();
    house.store.settings().set("AUTHZ_CACHE_TTL", "0").unwrap();
    house.reads().await;
    house.reads().await;
    assert_eq!(house.directory.loads(), 2);
    house.store.settings().set("AUTHZ_CACHE_TTL", "300").unwrap();
    house.reads().await;
    house.reads().await;
    assert_eq!(house.directory.loads(), 3);
    house.store.settings().set("AUTHZ_CACHE_ENABLED", "off").unwrap();
    house.reads().await;
    assert_eq!(house.directory.loads(), 4);
    house.store.flags().set(Feature::Authz, true);
    house.reads().await;
    assert_eq!(house.directory.loads(), 4);
    let refused = house.store.settings().set("AUTHZ_CACHE_SOURCE_CONCURRENCY", "1").unwrap_err();
    assert!(refused.to_string().contains("only when a store starts"));
}

#[tokio::test]
async fn denies_can_ask_always() {
    let house = House::with(&[("AUTHZ_CACHE_DENY_TTL", "0")]);
    for _ in 0..3 {
        assert!(!house.authz.check(&house.principal(), "x").await.unwrap().is_allow());
        assert_eq!(house.reads().await, Some(true));
        house.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(house.directory.loads(), 3);
}

/// A store that hears nobody does not keep for long what somebody else may have changed.
#[tokio::test]
async fn without_redis_facts_are_kept_for_half_a_minute_unless_nobody_else_changes_them() {
    let (clock, directory) = (clock(), Directory::new());
    let store = Store::with_fake_clock(Config::default(), &clock);
    let authz = Authz::builder(store, directory.clone()).build().unwrap();
    let alice = Principal::new(who("acme", "alice"));
    directory.set(&alice.who, Grants::complete(["a"]));
    for (seconds, loads) in [(0, 1), (26, 1), (5, 2)] {
        clock.advance(Duration::from_secs(seconds));
        assert!(authz.check(&alice, perm("a")).await.unwrap().is_allow());
        assert_eq!(directory.loads(), loads);
    }
    assert_eq!(authz.revocation_bound(), Duration::from_secs(30));
    assert_eq!(House::new().authz.revocation_bound(), Duration::from_millis(800));
}

#[test]
fn the_tiers_of_responses_have_switches_of_their_own() {
    let house = House::new();
    house.store.flags().set(Feature::L1, false);
    assert!(house.store.flags().is_on(Feature::Authz));
}
