//! `terrace check --post`: Terrace's own checks, besides the ten.

use crate::harness::{Body, Origin, PATIENCE, Proxy, full, no_store, terrace};
use crate::pre::SOUND;
use crate::{KEY, Said, check, run};
use http::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use terrace_redis_server::{PATIENT, Server};

pub(crate) fn post(variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    tokio::task::block_in_place(|| check(variables, arguments))
}

async fn proxy(redis: &Server) -> (Proxy, String) {
    let origin = Origin::start(|_| async { cached(full("page")) }).await;
    let (url, place) = (redis.url(), format!("http://{}", origin.address));
    let vars = [&PATIENT[..], &[("REDIS_URL", &*url)]].concat();
    let proxy = Proxy::start_with(&place, &["--access-log", "off"], &vars);
    let metrics = format!("http://{}/metrics", proxy.admin);
    (proxy, metrics)
}

fn cached(body: Body) -> Response<Body> {
    Response::builder().header("cache-control", "max-age=600").body(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_coherent_until_its_redis_is_gone() {
    let mut redis = Server::start();
    let (_proxy, metrics) = proxy(&redis).await;
    let (url, all) = (redis.url(), ["metrics-present", "coherence", "fence-mode", "breaker"]);
    let vars = [&PATIENT[..], &[("REDIS_URL", &*url)]].concat();
    let start = Instant::now();
    // It joins in its own time.
    while all.iter().any(|id| post(&vars, &["--metrics", &metrics]).of(id) != "ok") {
        assert!(start.elapsed() < PATIENCE, "{:?}", post(&vars, &["--metrics", &metrics]));
    }
    redis.kill();
    let (start, mut said) = (Instant::now(), post(&vars, &["--metrics", &metrics]));
    while said.of("coherence") != "fail" {
        assert!(start.elapsed() < PATIENCE, "{said:?}");
        said = post(&vars, &["--metrics", &metrics]);
    }
    said.failed("redis-connection", "refused");
    assert_eq!((said.of("metrics-present"), said.of("round-trip")), ("ok", "skip"), "{said:?}");
    let nobody = post(&vars, &["--metrics", "http://127.0.0.1:1/metrics"]);
    nobody.failed("metrics-present", "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_trip_is_made_where_the_fleet_is_not() {
    let redis = Server::start();
    let url = redis.url();
    let vars = [&PATIENT[..], &[("REDIS_URL", &*url), ("CACHE_NAMESPACE", "shop")]].concat();
    // Longer than a store may be told to wait.
    let said = post(&vars, &["--l2-hit-within", "10s", "--timeout", "10m"]);
    assert_eq!((said.of("round-trip"), said.of("l2-hit")), ("ok", "ok"), "{said:?}");
    // The fence of the fleet's own namespace has run, and that is all.
    let keys = redis.command(&["KEYS", "*{shop}*"]);
    let redis::Value::Array(keys) = keys else { panic!("{keys:?}") };
    assert!(keys.len() <= 2, "{keys:?}");

    // A user who may do that in the fleet's namespace alone can be told so.
    redis.command(&["ACL", "SETUSER", "app", "on", ">secret", "~{shop}:*", "~shop:*", "&*", "+@all"]);
    let login = [("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "secret")];
    let said = post(&[&vars[..], &login].concat(), &["--timeout", "10s"]);
    assert_eq!((said.of("round-trip"), said.of("redis-connection")), ("skip", "ok"), "{said:?}");
    assert!(said.finding("round-trip")["fix"].as_str().unwrap().contains(".check}"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_off_is_found_out_by_trying() {
    let redis = Server::start();
    let url = redis.url();
    let vars = [&PATIENT[..], &[("REDIS_URL", &*url), ("CACHE_ENABLED", "off")]].concat();
    let said = post(&vars, &["--timeout", "10s"]);
    said.failed("round-trip", "was not stored");
    said.failed("l2-configured", "CACHE_ENABLED is off");
    said.failed("l1-compatibility", "0 answers from memory");
}

/// What was switched by `terrace flag` counts, as it does for every process.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_for_the_fleet_is_not_on() {
    let redis = Server::with(&SOUND);
    let url = redis.url();
    let vars = [("REDIS_URL", &*url), ("CACHE_NAMESPACE", "shop"), ("AUTHZ_CACHE_KEYS", KEY)];
    let vars = [&PATIENT[..], &vars].concat();
    let flag = |feature, state| {
        let arguments = ["flag", "set", feature, state, "--by", "alice", "--why", "incident 12", "--timeout", "60s"];
        let said = tokio::task::block_in_place(|| run(terrace().envs(vars.iter().copied()).args(arguments)));
        assert_eq!(said.status, Some(0), "{said:?}");
    };
    assert_eq!(post(&vars, &[]).of("l2-configured"), "ok");
    for feature in ["cache", "l2", "authz", "authz_l2"] {
        flag(feature, "off");
        let said = post(&vars, &[]);
        said.failed("l2-configured", &format!("{feature} is switched off for the fleet, at "));
        assert!(said.measured("l2-configured").ends_with(" by alice: incident 12"), "{said:?}");
        let fix = format!("terrace flag set {feature} as-started");
        assert_eq!(said.finding("l2-configured")["fix"], fix);
        if feature == "l2" {
            let deaf = post(&[&vars[..], &[("CACHE_FLEET_SWITCHES", "off")]].concat(), &[]);
            assert_eq!(deaf.of("l2-configured"), "ok", "processes that obey no switch: {deaf:?}");
        }
        flag(feature, "as-started");
    }
    assert_eq!(post(&vars, &[]).of("l2-configured"), "ok");
    let off = [&vars[..], &[("CACHE_ENABLED", "off")]].concat();
    post(&off, &["--timeout", "10s"]).failed("l2-configured", "CACHE_ENABLED is off");
    flag("cache", "on");
    assert_eq!(post(&off, &["--timeout", "10s"]).of("l2-configured"), "ok", "it is on for every process");
}

/// `--shadow`: answers of the cache beside those of the origin.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_origin_would_not_give_any_more_is_found() {
    let version = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&version);
    let origin = Origin::start(move |_| {
        let body = format!("version {}", now.load(Ordering::SeqCst));
        async move { cached(full(body)) }
    })
    .await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let (place, page) = (format!("http://{}", origin.address), format!("http://{}/page", proxy.address));
    let shadow = ["--shadow", "5", "--origin", &place, "--probe-url", &page];
    let said = post(&[], &shadow);
    assert_eq!((said.of("shadow"), said.measured("shadow")), ("ok", "5 answers equal those of the origin"));
    version.store(1, Ordering::SeqCst);
    post(&[], &shadow).failed("shadow", "5 of 5 differ");
    let said = post(&[], &["--shadow", "5", "--origin", "http://127.0.0.1:1", "--probe-url", &page]);
    assert_eq!(said.of("shadow"), "unknown", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_has_not_answered_is_not_compared() {
    let origin = Origin::start(|request| async move {
        match request.uri().path() {
            "/page" => cached(full("page")),
            "/gone" => Response::builder().status(404).header("cache-control", "max-age=600").body(full("")).unwrap(),
            _ => no_store(full("never the cache's")),
        }
    })
    .await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let place = format!("http://{}", origin.address);
    let shadow = |origin: &str, paths: &[&str]| {
        let urls: Vec<String> = paths.iter().map(|path| format!("http://{}{path}", proxy.address)).collect();
        let urls = urls.iter().flat_map(|url| ["--probe-url", url]);
        post(&[], &["--shadow", "4", "--origin", origin].into_iter().chain(urls).collect::<Vec<_>>())
    };
    for path in ["/private", "/gone"] {
        let said = shadow(&place, &[path]);
        assert_eq!((said.of("shadow"), said.status != Some(0)), ("unknown", true), "{said:?}");
        assert!(said.measured("shadow").starts_with("the cache has answered none of 4"), "{said:?}");
    }
    let said = shadow(&place, &["/page", "/private"]);
    assert_eq!(said.of("shadow"), "ok", "{said:?}");
    let measured = said.measured("shadow");
    assert!(measured.starts_with("2 answers equal those of the origin; 2 were not the cache's: "), "{measured}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_given_is_skipped_and_counts_if_it_is_to() {
    let redis = Server::with(&SOUND);
    let url = redis.url();
    let vars = [("REDIS_URL", &*url), ("CACHE_NAMESPACE", "shop"), ("AUTHZ_CACHE_KEYS", KEY)];
    let vars = [&PATIENT[..], &vars].concat();
    let said = post(&vars, &["--l2-hit-within", "10s"]);
    assert_eq!((said.status, &said.json["ready"]), (Some(0), &"4 of 10".into()), "{said:?}");
    assert!(said.finding("service-health")["fix"].as_str().unwrap().contains("--url"));
    assert_eq!(post(&vars, &["--l2-hit-within", "10s", "--strict"]).status, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_redis_nothing_is_well() {
    let said = post(&[], &[]);
    assert_eq!((said.status, &said.json["ready"]), (Some(3), &"1 of 10".into()), "{said:?}");
    assert_eq!((said.of("redis-connection"), said.of("l2-configured")), ("unknown", "unknown"), "{said:?}");
}
