//! How long responses live.

use super::*;

/// Asserts for how long a response is fresh. A response that is not stored is fresh for 0 seconds.
async fn lives(name: &str, rules: Rules, fields: Fields, seconds: u64) {
    let world = World::counting(rules, fields);
    world.get("/").await;
    if seconds > 0 {
        world.clock.advance(secs(seconds - 1));
        let last = world.get("/").await;
        assert!(last.is_hit() && last.text() == "1", "{name}: {fields:?} after {} s: {last:?}", seconds - 1);
        world.clock.advance(secs(1));
    }
    let after = world.get("/").await;
    assert_eq!(after.text(), "2", "{name}: {fields:?} after {seconds} s: {after:?}");
}

#[tokio::test]
async fn lifetimes_follow_the_precedence_of_their_sources() {
    for (name, rules) in sets() {
        let table = [
            (leak([("cache-control", "max-age=10")]), 10),
            (leak([("cache-control", "max-age=10, s-maxage=20")]), 20),
            (leak([("cache-control", "s-maxage=5, max-age=10")]), 5),
            (leak([("cdn-cache-control", "max-age=30"), ("cache-control", "max-age=10, s-maxage=20")]), 30),
            (leak([("cdn-cache-control", "max-age=30"), ("cache-control", "no-store")]), 30),
            (leak([("cdn-cache-control", "no-store"), ("cache-control", "max-age=10")]), 0),
            (leak([("cdn-cache-control", "&&&"), ("cache-control", "max-age=10")]), 10),
            (leak([("date", date(0)), ("expires", date(40))]), 40),
            (leak([("date", date(0)), ("expires", date(40)), ("cache-control", "max-age=10")]), 10),
            (leak([("date", date(0)), ("expires", date(40)), ("cache-control", "public")]), 40),
            (leak([("expires", "0")]), 0),
            (leak([("cache-control", "max-age=10"), ("age", "4")]), 6),
            (leak([("date", date(-4)), ("cache-control", "max-age=10")]), 6),
            (leak([("cache-control", "max-age=0")]), 0),
            (leak([("cache-control", "no-store, max-age=10")]), 0),
            (leak([("cache-control", "no-cache, max-age=10")]), 0),
            (leak([("cache-control", "private, max-age=10")]), 0),
            (leak([("date", date(0)), ("last-modified", date(-100))]), 10),
            (leak([]), 0),
            (leak([("vary", "*"), ("cache-control", "max-age=10")]), 0),
        ];
        for (fields, seconds) in table {
            lives(name, rules.clone(), fields, seconds).await;
        }
    }
}

#[tokio::test]
async fn the_default_lifetime_counts_only_where_a_response_says_nothing() {
    for (name, rules) in sets() {
        let rules = rules.default_ttl(secs(50));
        let modified = leak([("date", date(0)), ("last-modified", date(-100))]);
        let expires = leak([("date", date(0)), ("expires", date(7))]);
        for (fields, seconds) in [
            (leak([]), 50),
            (leak([("cache-control", "public")]), 50),
            (leak([("cache-control", "max-age=10")]), 10),
            (leak([("cache-control", "max-age=0")]), 0),
            (expires, 7),
            (leak([("cache-control", "no-store")]), 0),
            (modified, 50),
        ] {
            lives(name, rules.clone(), fields, seconds).await;
        }
    }
}

#[tokio::test]
async fn the_rules_bound_heuristics_and_name_targeted_fields() {
    let modified = leak([("date", date(0)), ("last-modified", date(-1000))]);
    lives("bounded", Rules::new().heuristic_max(secs(20)), modified, 20).await;
    lives("off", Rules::new().heuristic_max(Duration::ZERO), modified, 0).await;
    let fields =
        leak([("edge-control", "max-age=9"), ("cdn-cache-control", "max-age=30"), ("cache-control", "max-age=10")]);
    let edge = [HeaderName::from_static("edge-control"), HeaderName::from_static("cdn-cache-control")];
    lives("first", Rules::new().targeted_fields(edge), fields, 9).await;
    lives("none", Rules::new().targeted_fields([]), fields, 10).await;
}

#[tokio::test]
async fn errors_live_as_long_as_their_status_is_given() {
    let rules = Rules::new().default_ttl(secs(50)).status_ttl(StatusCode::NOT_FOUND, secs(5));
    for (status, fields, seconds) in [
        (404, &[][..], 5),
        (404, &[("cache-control", "max-age=9")], 9),
        (404, &[("cache-control", "no-store")], 0),
        (410, &[], 0),
        (500, &[], 0),
        (503, &[], 0),
        (302, &[], 0),
        (200, &[], 50),
        (301, &[], 50),
    ] {
        let calls = AtomicUsize::new(0);
        let origin =
            Origin::answering(move |_| respond(status, fields, full((calls.fetch_add(1, SeqCst) + 1).to_string())));
        let world = World::new(rules.clone(), origin);
        world.get("/").await;
        if seconds > 0 {
            world.clock.advance(secs(seconds - 1));
            assert!(world.get("/").await.is_hit(), "{status} {fields:?}");
            world.clock.advance(secs(1));
        }
        assert_eq!(world.get("/").await.text(), "2", "{status} {fields:?}");
    }
    let rules = rules.status_ttl(StatusCode::NOT_FOUND, secs(7)).status_ttl(StatusCode::SERVICE_UNAVAILABLE, secs(2));
    let world = World::new(rules, Origin::answering(|_| respond(503, &[], full("down"))));
    assert!(world.stores(|| get("/")).await);
}

#[tokio::test]
async fn age_counts_from_the_origin_and_cache_status_says_what_is_left() {
    let world = World::counting(Rules::new(), &[("cache-control", "max-age=100"), ("age", "30")]);
    let first = world.get("/").await;
    assert_eq!(first.field("cache-status"), "terrace; fwd=uri-miss; stored");
    world.clock.advance(secs(20));
    let hit = world.get("/").await;
    assert_eq!((hit.age(), hit.field("cache-status")), (Some(50), "terrace; hit; ttl=50".into()));
}

#[tokio::test]
async fn fields_of_one_connection_are_not_stored() {
    let fields = &[
        ("cache-control", "max-age=60"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "1"),
        ("x-end", "2"),
    ];
    let world = World::counting(Rules::new(), fields);
    world.get("/").await;
    let hit = world.get("/").await;
    assert!(hit.is_hit());
    for name in ["connection", "x-hop", "keep-alive"] {
        assert!(!hit.headers.contains_key(name), "{name}");
    }
    assert_eq!(hit.field("x-end"), "2");
}

fn ttl(answer: &Answer) -> f64 {
    let status = answer.field("cache-status");
    let ttl = status.split("; ").find_map(|part| part.strip_prefix("ttl=")).expect("a ttl");
    ttl.parse().unwrap()
}

#[tokio::test]
async fn jitter_spreads_lifetimes_evenly_below_the_stated_one() {
    for (share, low, mean) in [(0.0, 10_000.0, 10_000.0), (0.5, 5_000.0, 7_500.0), (1.0, 0.0, 5_000.0)] {
        let world = World::counting(Rules::new().jitter(share), &[("cache-control", "max-age=10000")]);
        let mut ttls = Vec::new();
        for n in 0..400 {
            world.get(&format!("/{n}")).await;
            ttls.push(ttl(&world.get(&format!("/{n}")).await));
        }
        assert!(ttls.iter().all(|ttl| (low - 1.0..=10_000.0).contains(ttl)));
        let found = ttls.iter().sum::<f64>() / 400.0;
        // Five standard errors of a uniform distribution.
        let tolerance = (10_000.0 - low) / 12_f64.sqrt() / 20.0 * 5.0 + 1.0;
        assert!((found - mean).abs() <= tolerance, "mean {found} with {share}");
        let spread = ttls.iter().copied().fold(f64::MIN, f64::max) - ttls.iter().copied().fold(f64::MAX, f64::min);
        assert!(spread >= 0.9 * (10_000.0 - low), "spread {spread} with {share}");
    }
}
