//! What the routes answer, and what comes of it.

use crate::{get, open, post, request, send};
use futures_util::FutureExt;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::time::Duration;
use terrace::clock::FakeClock;
use terrace::stats::Feature;
use terrace::{Cache, CacheLayer, Config, Partition, Rules, Store};
use terrace_redis_server::{PATIENT, Server};
use terrace_tests::{Failure, Origin, ask, call, empty, get as plain, get_with, respond, text, until};
use tower::{Layer, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=600");

fn cached(store: &Store, origin: &Origin) -> Cache<Origin> {
    CacheLayer::new(store.clone()).layer(origin.clone())
}

#[tokio::test]
async fn stats_are_what_the_cache_did() {
    let store = Store::memory();
    let (admin, service) = (open(&store), cached(&store, &Origin::counting(&[FRESH])));
    for _ in 0..4 {
        call(&service, plain("/a")).await;
    }
    call(&service, ask(Method::PUT, "/b", &[])).await;
    let stats = get(&admin, "/terrace/stats").await;
    assert_eq!((stats.status, stats.field("content-type")), (StatusCode::OK, "application/json"));
    let stats = stats.json();
    assert_eq!(stats["requests"]["l1_cache_hit"], 3);
    assert_eq!(stats["requests"]["cache_miss"], 1);
    assert_eq!(stats["requests"]["cache_bypass"], 1);
    assert_eq!(stats["hit_ratio"], 0.75);
    assert_eq!(stats["tiers"]["l1"]["entries"], 1);
    assert_eq!(stats["tiers"]["l1"]["lookups"]["hit"], 3);
    assert_eq!(stats["forwards"]["uri_miss"], 1);
    assert_eq!(stats["bypasses"]["method"], 1);
    assert_eq!(stats["flags"]["cache"], true);
    assert_eq!(stats["coherence"], Json::Null, "there is nobody to be coherent with");
    assert_eq!(stats["top"]["miss"], json!([{ "name": "GET example.com/a", "count": 1, "over": 0 }]));
    assert_eq!(stats["top"]["bypass"][0]["name"], "PUT example.com/b");
    let counts: u64 = stats["latency"]["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert!(counts >= 1 && stats["latency"]["p95"].as_f64().unwrap() > 0.0, "{stats}");
}

/// Of hits in memory only those are looked at that are timed anyway, each for 64.
#[tokio::test]
async fn what_is_asked_for_most_is_told_without_queries_and_without_persons() {
    let store = Store::memory();
    let (admin, service) =
        (open(&store), cached(&store, &Origin::counting(&[("cache-control", "max-age=600, public")])));
    for n in 0..6400 {
        call(&service, plain("/popular")).await;
        if n % 100 == 0 {
            call(&service, plain(&format!("/rare?token=secret{n}"))).await;
            let mut personal = plain(&format!("/account/of-jane/{n}"));
            personal.extensions_mut().insert(Partition::new("jane"));
            call(&service, personal).await;
        }
    }
    let told = get(&admin, "/stats").await;
    let stats = told.json();
    let hits = stats["top"]["hit"].as_array().unwrap();
    assert_eq!(hits[0]["name"], "GET example.com/popular");
    let count = hits[0]["count"].as_u64().unwrap();
    assert!((3200..=9600).contains(&count), "{count}: about 6400 were");
    let misses: Vec<_> =
        stats["top"]["miss"].as_array().unwrap().iter().map(|it| (&it["name"], &it["count"])).collect();
    assert!(misses.contains(&(&json!("GET example.com/rare"), &json!(64))), "{misses:?}");
    assert!(misses.contains(&(&json!("(personal)"), &json!(64))), "{misses:?}");
    for secret in ["secret", "jane", "account"] {
        assert!(!told.text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn hostile_names_are_text_and_short() {
    let store = Store::memory();
    let (admin, service) = (open(&store), cached(&store, &Origin::counting(&[FRESH])));
    let long = format!("/{}", "%3Cscript%3E".repeat(700));
    for path in ["/\"'{}", "/é", long.as_str()] {
        call(&service, plain(path)).await;
    }
    let mut host = plain("/");
    host.headers_mut().insert("host", "<script>alert(1)</script>".parse().unwrap());
    call(&service, host).await;
    let told = get(&admin, "/stats").await;
    assert_eq!((told.field("content-type"), told.field("x-content-type-options")), ("application/json", "nosniff"));
    let stats = told.json();
    // What is too long for a key passes by.
    let all = ["miss", "bypass"].iter().flat_map(|class| stats["top"][class].as_array().unwrap());
    let names: Vec<_> = all.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in ["GET example.com/\"'{}", "GET example.com/é", "GET <script>alert(1)</script>/"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(names.iter().all(|name| name.len() <= 260), "{names:?}");
}

#[tokio::test]
async fn flags_are_shown_and_set() {
    let store = Store::memory();
    let admin = open(&store);
    assert_eq!(get(&admin, "/flags").await.json()["flags"]["swr"], true);
    let put = |flag: &str, body: Json| {
        send(&admin, request("PUT", &format!("/terrace/flags/{flag}"), &[], &body.to_string())).boxed()
    };
    for feature in Feature::ALL {
        let told = put(feature.as_str(), json!({ "on": false, "reason": "a drill" })).await;
        assert_eq!((told.status, &told.json()["flags"][feature.as_str()]), (StatusCode::OK, &json!(false)));
        assert!(!store.flags().is_on(*feature));
        put(feature.as_str(), json!({ "on": true, "reason": "its end" })).await;
        assert!(store.flags().is_on(*feature));
    }
    let bad = [
        ("cash", json!({ "on": false, "reason": "x" })),
        ("", json!({ "on": false, "reason": "x" })),
        ("cache", json!({ "on": false })),
        ("cache", json!({ "reason": "x" })),
        ("cache", json!({ "on": "no", "reason": "x" })),
        ("cache", json!({ "on": false, "reason": "two\nlines" })),
        ("cache", json!({ "on": false, "reason": "x".repeat(201) })),
        ("cache", json!({ "on": false, "reason": "x", "until": "tomorrow" })),
    ];
    for (flag, body) in bad {
        assert_eq!(put(flag, body.clone()).await.status, StatusCode::BAD_REQUEST, "{flag} {body}");
    }
    assert!(store.flags().is_on(Feature::Cache));
}

#[tokio::test]
async fn a_flag_is_set_for_the_whole_fleet_if_that_is_asked_for() {
    let server = Server::start();
    let (store, other) = (shared(&server), shared(&server));
    let body = json!({ "on": false, "reason": "a drill", "fleet": true });
    let put = request("PUT", "/flags/swr", &[], &body.to_string());
    let told = send(&open(&store), put.clone()).await;
    assert_eq!((told.status, &told.json()["scope"]), (StatusCode::OK, &json!("fleet")));
    until("the other follows", || !other.flags().is_on(Feature::Swr)).await;
    let said = store.switches().await.unwrap();
    assert_eq!((&*said[0].by, &*said[0].why), ("admin", "a drill"));
    let alone = send(&open(&Store::memory()), put).await;
    assert_eq!(alone.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_purge_takes_effect_and_gives_its_receipt() {
    let store = Store::memory();
    let origin = Origin::counting(&[FRESH, ("cache-tag", "t")]);
    let (admin, service) = (open(&store), cached(&store, &origin));
    let in_partition = || {
        let mut request = plain("/p/7");
        request.extensions_mut().insert(Partition::new("jane"));
        request
    };
    let purges = [
        json!({ "url": "http://example.com/p/7" }),
        json!({ "url": "/p/7" }),
        json!({ "tag": "t" }),
        json!({ "prefix": "/p" }),
        json!({ "all": true }),
        json!({ "partition": "jane" }),
    ];
    for (n, purge) in purges.iter().enumerate() {
        for request in [&plain as &dyn Fn(&str) -> _, &|_: &str| in_partition()] {
            call(&service, request("/p/7")).await;
            assert!(call(&service, request("/p/7")).await.is_hit());
        }
        let told = post(&admin, "/purge", purge).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.text);
        assert_eq!(told.json()["position"], n as u64 + 1);
        assert!(!call(&service, in_partition()).await.is_hit(), "{purge}");
        assert_eq!(call(&service, plain("/p/7")).await.is_hit(), purge.get("partition").is_some(), "{purge}");
    }
    for bad in [
        json!({ "url": "no-slash" }),
        json!({ "url": "/a", "tag": "t" }),
        json!({ "tags": ["t"] }),
        json!({ "url": "/a", "soft": 1 }),
        json!({ "url": "/a", "dry": true }),
    ] {
        assert_eq!(post(&admin, "/purge", &bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_soft_purge_leaves_what_may_be_served_stale() {
    let store = Store::memory();
    let origin = Origin::counting(&[("cache-control", "max-age=600, stale-while-revalidate=600")]);
    let (admin, service) = (open(&store), cached(&store, &origin));
    call(&service, plain("/")).await;
    assert_eq!(post(&admin, "/purge", &json!({ "url": "/", "soft": true })).await.json()["soft"], true);
    assert_eq!(call(&service, plain("/")).await.text(), "1", "stale, and refreshed meanwhile");
}

#[tokio::test]
async fn inspect_shows_what_memory_has_without_secrets() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let fields = [
        ("cache-control", "max-age=60, public"),
        ("vary", "accept-language"),
        ("x-session-id", "hidden-value"),
        ("etag", "\"1\""),
    ];
    let origin = Origin::answering(move |_| text(&fields, "hidden content"));
    let (admin, service) = (open(&store), cached(&store, &origin));
    for language in ["de", "fr"] {
        call(&service, get_with("/p?q=1", &[("accept-language", language)])).await;
    }
    clock.advance(Duration::from_secs(20));
    let told = get(&admin, "/inspect?url=http%3A%2F%2Fexample.com%2Fp%3Fq%3D1").await;
    let shown = told.json();
    let memory = shown["memory"].as_array().unwrap();
    assert_eq!(memory.len(), 3, "{shown}");
    assert_eq!((&memory[0]["state"], &memory[0]["varies_by"]), (&json!("variants"), &json!([["accept-language"]])));
    for variant in &memory[1..] {
        assert_eq!(variant["state"], "fresh");
        let response = &variant["response"];
        assert_eq!(
            (&response["age"], &response["fresh_for"], &response["lifetime_from"]),
            (&json!(20.0), &json!(40.0), &json!("max-age"))
        );
        assert_eq!((&response["status"], &response["content_bytes"]), (&json!(200), &json!(14)));
    }
    assert_eq!(shown["redis"], Json::Null);
    assert!(!told.text.contains("hidden"), "{}", told.text);
    assert!(told.text.contains("x-session-id"));
    clock.advance(Duration::from_secs(60));
    let shown = get(&admin, "/inspect?url=http://example.com/p?q=1").await.json();
    assert_eq!(shown["memory"][1]["state"], "stale");
    assert_eq!(get(&admin, "/inspect?url=http://example.com/other").await.json()["memory"], json!([]));
    for bad in
        ["/inspect", "/inspect?url=", "/inspect?url=/p", "/inspect?url=http://", "/inspect?url=http://a/&url=http://b/"]
    {
        assert_eq!(get(&admin, bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

fn shared(server: &Server) -> Store {
    let url = server.url();
    // A proof holds for longer than the machine may stand still.
    let vars = [("REDIS_URL", url.as_str()), ("CACHE_L1_MAX_LAG", "1m")];
    Store::from_vars(PATIENT.into_iter().chain(vars)).unwrap()
}

#[tokio::test]
async fn what_redis_has_is_shown_and_what_it_did_not_confirm_is_told() {
    let mut server = Server::start();
    let store = shared(&server);
    let (admin, service) = (open(&store), cached(&store, &Origin::counting(&[FRESH, ("set-cookie2", "hidden-value")])));
    until("it has joined", || store.stats().coherence() == Some(terrace::stats::CoherenceState::Coherent)).await;
    call(&service, plain("/")).await;
    until("it is stored", || store.stats().stores(terrace::stats::Tier::L2, terrace::stats::StoreResult::Ok) == 1)
        .await;
    let told = get(&admin, "/inspect?url=http://example.com/").await;
    let shown = told.json();
    assert_eq!(shown["redis"][0]["validity"]["verdict"], "current", "{shown}");
    assert_eq!(shown["redis"][0]["response"]["status"], 200);
    assert_eq!(shown["memory"][0]["state"], "fresh");
    assert!(!told.text.contains("hidden"), "{}", told.text);
    let stats = get(&admin, "/stats").await.json();
    assert_eq!(
        (&stats["coherence"]["state"], &stats["tiers"]["l2"]["breakers"]["data"]),
        (&json!("coherent"), &json!("closed"))
    );

    let receipt = post(&admin, "/purge", &json!({ "url": "/" })).await;
    assert_eq!(receipt.status, StatusCode::OK, "{}", receipt.text);
    assert!(receipt.json()["epoch"].is_string() && receipt.json()["position"].as_u64() > Some(0));
    let shown = get(&admin, "/inspect?url=http://example.com/").await.json();
    assert_eq!(shown["redis"][0]["validity"]["verdict"], "invalidated", "{shown}");

    server.kill();
    let told = post(&admin, "/purge", &json!({ "tag": "t" })).await;
    assert_eq!(told.status, StatusCode::SERVICE_UNAVAILABLE, "{}", told.text);
    let told = told.json();
    assert_eq!((&told["in_effect_here"], &told["pending"]), (&json!(true), &json!(1)), "{told}");
    assert!(get(&admin, "/inspect?url=http://example.com/").await.json()["redis"]["error"].is_string());
    let stats = get(&admin, "/stats").await.json();
    assert_eq!(stats["purges"]["pending"], 1);
}

/// What rules, dashboards and reports divide.
#[tokio::test]
async fn the_hit_ratio_counts_what_the_origin_confirmed_and_what_nobody_answered() {
    let store = Store::memory();
    let confirms = Origin::answering(|request| {
        let is_known = request.headers.contains_key("if-none-match");
        respond(if is_known { 304 } else { 200 }, &[("cache-control", "no-cache"), ("etag", "\"1\"")], empty())
    });
    let revalidated = cached(&store, &confirms);
    for _ in 0..4 {
        call(&revalidated, plain("/a")).await;
    }
    let fails = cached(&store, &Origin::new(|_| async { Err(Failure("it is down")) }));
    assert!(fails.oneshot(plain("/b")).await.is_err());
    let stats = get(&open(&store), "/terrace/stats").await.json();
    let counts = ["cache_miss", "cache_revalidated", "cache_error"].map(|status| stats["requests"][status].as_u64());
    assert_eq!((counts, &stats["hit_ratio"]), ([Some(1), Some(3), Some(1)], &json!(0.6)));
}

#[tokio::test]
async fn rules_decide_under_which_key_is_looked() {
    let store = Store::memory();
    let rules = Rules::new().query(terrace::Query::without(["utm"])).key_with(|_| Some("part".into()));
    let service = CacheLayer::new(store.clone()).rules(rules.clone()).layer(Origin::counting(&[FRESH]));
    call(&service, plain("/p?utm=1&a=2")).await;
    let admin = terrace::admin::Admin::new(store).rules(rules).admitted_by(|_| true);
    let shown = get(&admin, "/inspect?url=http://example.com/p?a=2%26utm=3").await.json();
    assert_eq!(shown["memory"][0]["state"], "fresh", "{shown}");
}

#[tokio::test]
async fn a_hit_in_memory_costs_no_more_for_being_watched() {
    let store = Store::memory();
    let service = cached(&store, &Origin::counting(&[FRESH]));
    call(&service, plain("/")).await;
    let allocations = || {
        let hit = |_| {
            let request = plain("/");
            let hit = || assert!(call(&service, request).now_or_never().is_some_and(|answer| answer.is_hit()));
            allocation_counter::measure(hit).count_total
        };
        let mut all: Vec<u64> = (0..1000).map(hit).collect();
        all.sort_unstable();
        all
    };
    let unwatched = allocations();
    let _admin = open(&store);
    let watched = allocations();
    // One in 64 is looked at, and costs its name; and each second begins with a head that is built anew.
    assert_eq!(unwatched[..900], watched[..900]);
}
