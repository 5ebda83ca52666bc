//! What is scraped, in a program of its own, whose recorder it is: bounded whatever clients ask for, and true.

use http::Method;
use std::convert::Infallible;
use terrace::authz::{Authz, Grants, LoadHint, PermissionSource, Principal, Subject, Tenant, Who};
use terrace::prometheus::MetricsHandle;
use terrace::{Bypass, Cache, CacheLayer, Config, Partition, Rules, Store};
use terrace_redis_server::Server;
use terrace_tests::{Body, Failure, Gate, Origin, ask, call, empty, get, get_with, respond, spawn, text, until, waits};
use tower::{Layer, Service, ServiceExt};

/// The bound on the series of one process.
const MOST: usize = 2_000;
const FLOOD: usize = 10_000;
const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn series(metrics: &MetricsHandle) -> usize {
    metrics.render().lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

/// The sum of a counter over those of its series that have this text.
fn sum(metrics: &MetricsHandle, name: &str, part: &str) -> u64 {
    let text = metrics.render();
    let values = text.lines().filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(part));
    values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// Lets anybody do one thing.
struct Everybody;

impl PermissionSource for Everybody {
    type Error = Infallible;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        Ok(Grants::complete(["invoice:read"]))
    }
}

/// One test, for there is one recorder.
#[tokio::test]
async fn a_scrape_is_bounded_whatever_is_asked_for_and_counts_every_request_once() {
    let metrics = terrace::prometheus::install().unwrap();
    let server = Server::start();
    let url = server.url();
    // So that everything is there that can be.
    let shared = Store::from_vars([("REDIS_URL", url.as_str()), ("CACHE_COMPAT_METRICS", "on")]).unwrap();
    let store = Store::new(Config::default());
    for n in 0..40 {
        drop(layer(&store, &format!("name-{n}"), &Origin::counting(&[FRESH])));
    }
    let before = series(&metrics);
    assert!((1_500..=MOST).contains(&before), "{before} series");
    let asked = flood(&store).await;
    let checks = tenants(&store).await;
    assert_eq!(series(&metrics), before, "no flood adds a series");
    assert_eq!(sum(&metrics, "cache_requests_total", ""), asked);
    assert_eq!(sum(&metrics, "cache_requests_total", "cache_namespace=\"other\""), FLOOD as u64);
    assert_eq!(sum(&metrics, "cache_label_overflow_total", ""), FLOOD as u64);
    assert_eq!(sum(&metrics, "authz_check_total", ""), checks);

    let more = every_way_of_answering(&store).await;
    assert_eq!(sum(&metrics, "cache_requests_total", ""), asked + more);
    let tools = sum(&metrics, "tool_cache_hits_total", "") + sum(&metrics, "tool_cache_misses_total", "");
    assert_eq!(tools + sum(&metrics, "cache_requests_total", "cache_status=\"cache_bypass\""), asked + more);
    assert_eq!(series(&metrics), before);
    drop(shared);
}

fn layer(store: &Store, namespace: &str, origin: &Origin) -> Cache<Origin> {
    CacheLayer::new(store.clone()).rules(Rules::new().namespace(namespace.to_owned())).layer(origin.clone())
}

/// Each of them once. How many requests that were.
async fn flood(store: &Store) -> u64 {
    let origin = Origin::answering(|_| text(&[FRESH], "content"));
    let service = layer(store, "name-0", &origin);
    for n in 0..FLOOD {
        call(&service, get_with("/", &[("host", &format!("host-{n}.example"))])).await;
        call(&service, get(&format!("/path-{n}?query={n}"))).await;
        let method = Method::from_bytes(format!("METHOD{n}").as_bytes()).unwrap();
        call(&service, ask(method, "/", &[])).await;
        let mut partitioned = get("/");
        partitioned.extensions_mut().insert(Partition::new(format!("tenant-{n}")));
        call(&service, partitioned).await;
        call(&layer(store, &format!("namespace-{n}"), &origin), get("/")).await;
    }
    5 * FLOOD as u64
}

async fn tenants(store: &Store) -> u64 {
    let authz = Authz::builder(store.clone(), Everybody).single_process().build().unwrap();
    for n in 0..FLOOD {
        let tenant = Tenant::new(format!("tenant-{n}")).unwrap();
        let who = Who { tenant, subject: Subject::new(format!("subject-{n}")).unwrap() };
        assert!(authz.check(&Principal::new(who), format!("invoice:{n}")).await.is_ok());
    }
    FLOOD as u64
}

/// Hit, miss, stale, revalidated, waited for, bypassed in each way, failed, refused and given up. How many requests that
/// were.
async fn every_way_of_answering(store: &Store) -> u64 {
    let gate = Gate::default();
    let waiting = gate.before(|_| text(&[FRESH], "content"));
    let origin = Origin::new(move |request| {
        let (head, _) = request.into_parts();
        let mut waiting = waiting.clone();
        async move {
            match head.uri.path() {
                "/waits" => waiting.call(get("/waits")).await,
                "/fails" => Err(Failure("out of order")),
                "/valid" if head.headers.contains_key("if-none-match") => {
                    Ok(respond(304, &[("etag", "\"1\""), ("cache-control", "no-cache")], empty()))
                }
                "/valid" => Ok(text(&[("etag", "\"1\""), ("cache-control", "no-cache")], "content")),
                "/stale" => Ok(text(&[("cache-control", "max-age=0, stale-while-revalidate=60")], "content")),
                "/never" => Ok(text(&[("cache-control", "no-store")], "content")),
                _ => Ok(text(&[FRESH], "content")),
            }
        }
    });
    let service = layer(store, "name-1", &origin);
    let mut asked = 0;
    for path in ["/hit", "/hit", "/valid", "/valid", "/stale", "/stale", "/never", "/never"] {
        call(&service, get(path)).await;
        asked += 1;
    }
    let mut fresh = get("/hit");
    fresh.extensions_mut().insert(Bypass);
    let methods = [Method::HEAD, Method::POST, Method::OPTIONS, Method::DELETE].map(|method| ask(method, "/hit", &[]));
    let fields = [
        ("authorization", "Bearer x"),
        ("cache-control", "no-store"),
        ("cache-control", "only-if-cached"),
        ("range", "bytes=0-1"),
    ];
    for request in methods.into_iter().chain([fresh]).chain(fields.map(|field| get_with("/other", &[field]))) {
        call(&service, request).await;
        asked += 1;
    }
    assert!(service.clone().oneshot(get("/fails")).await.is_err());
    let (leader, follower) = (spawn(&service, get("/waits")), spawn(&service, get("/waits")));
    until("one leads and one waits", || gate.arrived() == 1 && waits(store) > 0).await;
    // Who leaves is counted too.
    let leaving = spawn(&service, get("/waits"));
    until("it waits", || waits(store) > 1).await;
    leaving.abort();
    assert!(leaving.await.is_err());
    gate.open();
    assert_eq!(leader.await.unwrap().text(), follower.await.unwrap().text());
    let unpolled: Option<<Cache<Origin> as Service<http::Request<Body>>>::Future> =
        Some(service.clone().call(get("/gone")));
    drop(unpolled);
    asked + 5
}
