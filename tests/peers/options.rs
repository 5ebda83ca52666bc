//! HCTS-4: every documented option does what it says. Here are those of the rules, then those of the environment.

use crate::harness::{Patience, Site, alone, eager, get, is_alone, is_pending, reply, secs, status, until};
use axum::body::Body;
use http::{HeaderName, StatusCode};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use terrace::prometheus::MetricsHandle;
use terrace::stats::SampleResult;
use terrace::{Config, Query, Rules};
use tower::ServiceExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A site whose every answer is the number of the call, with these fields.
fn numbered(rules: Rules, fields: &'static [(&'static str, &'static str)]) -> Site {
    Site::new(rules, move |n, _| async move { reply(fields, n.to_string()) })
}

/// For how many seconds a response with these fields is a hit: up to 1,000.
async fn lifetime(rules: Rules, code: u16, fields: &'static [(&'static str, &'static str)]) -> u64 {
    let site = Site::new(rules, move |_, _| async move { status(code, reply(fields, "")) });
    site.get("/").await;
    let mut seconds = 0;
    while seconds < 1000 && site.get("/").await.is_hit() {
        site.time.advance(secs(1));
        seconds += 1;
    }
    seconds
}

#[tokio::test]
async fn default_ttl_and_status_ttl() {
    let rules = Rules::new().default_ttl(secs(60)).status_ttl(StatusCode::NOT_FOUND, secs(5));
    assert_eq!(lifetime(rules.clone(), 200, &[]).await, 60);
    assert_eq!(lifetime(rules.clone(), 404, &[]).await, 5);
    assert_eq!(lifetime(rules.clone(), 410, &[]).await, 0);
    assert_eq!(lifetime(rules.clone(), 200, &[("cache-control", "max-age=7")]).await, 7);
    assert_eq!(lifetime(rules, 404, &[("cache-control", "max-age=7")]).await, 7);
}

#[tokio::test]
async fn heuristic_max() {
    const OLD: &[(&str, &str)] = &[("last-modified", "Fri, 01 Jan 2010 00:00:00 GMT")];
    assert_eq!(lifetime(Rules::new().heuristic_max(secs(9)), 200, OLD).await, 9);
    assert_eq!(lifetime(Rules::new().heuristic_max(Duration::ZERO), 200, OLD).await, 0);
}

#[tokio::test]
async fn stale_while_revalidate() {
    for (window, said, is_stale) in [(0, "", false), (10, "", true), (10, ", stale-while-revalidate=0", false)] {
        let site = Site::new(Rules::new().stale_while_revalidate(secs(window)), move |n, _| async move {
            reply(&[("cache-control", &format!("max-age=1{said}"))], n.to_string())
        });
        site.get("/").await;
        site.time.advance(secs(5));
        assert_eq!(site.get("/").await.text() == "1", is_stale, "{window}{said}");
        until(|| site.calls() == 2).await;
    }
}

#[tokio::test]
async fn stale_if_error() {
    for (window, code) in [(0, 503), (10, 200)] {
        let site = Site::new(Rules::new().stale_if_error(secs(window)), async |n, _| {
            let code = if n == 1 { 200 } else { 503 };
            status(code, reply(&[("cache-control", "max-age=1")], ""))
        });
        site.get("/").await;
        site.time.advance(secs(5));
        assert_eq!(site.get("/").await.status, code);
    }
}

#[tokio::test]
async fn targeted_fields() {
    const SAID: &[(&str, &str)] =
        &[("cache-control", "max-age=1"), ("cdn-cache-control", "max-age=2"), ("ours-cache-control", "max-age=3")];
    let ours = HeaderName::from_static("ours-cache-control");
    assert_eq!(lifetime(Rules::new(), 200, SAID).await, 2);
    assert_eq!(lifetime(Rules::new().targeted_fields([ours]), 200, SAID).await, 3);
    assert_eq!(lifetime(Rules::new().targeted_fields([]), 200, SAID).await, 1);
}

#[tokio::test]
async fn honor_reload() {
    for honor in [true, false] {
        let site = numbered(eager().honor_reload(honor), &[]);
        site.get("/").await;
        let reloaded = site.send(get("/").header("cache-control", "no-cache")).await;
        assert_eq!(reloaded.text() == "2", honor);
    }
}

#[tokio::test]
async fn jitter() {
    const SAID: &[(&str, &str)] = &[("cache-control", "max-age=100")];
    let mut lifetimes = Vec::new();
    for _ in 0..20 {
        lifetimes.push(lifetime(Rules::new().jitter(0.5), 200, SAID).await);
    }
    assert!(lifetimes.iter().all(|seconds| (50..=100).contains(seconds)), "{lifetimes:?}");
    assert!(lifetimes.iter().any(|seconds| *seconds != lifetimes[0]), "{lifetimes:?}");
    assert_eq!(lifetime(Rules::new(), 200, SAID).await, 100);
}

/// The fetch took ten seconds, and one is left: a refresh is as good as certain within a hundred hits.
#[tokio::test]
async fn early_refresh() {
    for (beta, calls) in [(0.0, 1), (1.0, 2)] {
        let time = Arc::new(OnceLock::<terrace::clock::FakeClock>::new());
        let takes = Arc::clone(&time);
        let rules = eager().early_refresh(beta);
        let site = Site::new(rules, move |n, _| {
            let takes = Arc::clone(&takes);
            async move {
                takes.get().unwrap().advance(secs(10));
                reply(&[], n.to_string())
            }
        });
        time.set(site.time.clone()).unwrap();
        site.get("/").await;
        site.time.advance(secs(49));
        for _ in 0..100 {
            assert!(site.get("/").await.is_hit() || site.calls() == 2);
        }
        until(|| site.calls() >= calls).await;
        assert!(site.calls() == calls, "{beta}");
    }
}

#[tokio::test]
async fn query() {
    for (rule, same, other) in [
        (Query::Exact, "a=1&b=2", "b=2&a=1"),
        (Query::Sorted, "b=2&a=1", "a=1"),
        (Query::without(["utm"]), "a=1&b=2&utm=x", "a=1&b=3"),
        (Query::only(["a", "b"]), "c=3&b=2&a=1", "a=1&c=3"),
    ] {
        let site = numbered(eager().query(rule.clone()), &[]);
        site.get("/?a=1&b=2").await;
        assert!(site.get(&format!("/?{same}")).await.is_hit(), "{rule:?}");
        assert!(!site.get(&format!("/?{other}")).await.is_hit(), "{rule:?}");
    }
}

#[tokio::test]
async fn version_and_key_with() {
    let rules = [eager(), eager().version("2"), eager().key_with(|_| Some(String::new())), eager().key_with(|_| None)];
    let site = numbered(eager(), &[]);
    for (rules, number) in rules.into_iter().zip(["1", "2", "3", "1"]) {
        assert_eq!(site.send(get("/").extension(rules)).await.text(), number);
    }
}

#[tokio::test]
async fn tag_with_tag_fields_and_keep_tag_fields() {
    const NAMED: &[(&str, &str)] = &[("cache-tag", "a"), ("x-tags", "b, c")];
    let ours = HeaderName::from_static("x-tags");
    let own = eager().tag_with(|request| [request.uri.path().to_owned()]);
    for (rules, tags, left) in [
        (own, &["/", "a"][..], ["", "b, c"]),
        (eager().tag_fields([ours]), &["b", "c"], ["a", ""]),
        (eager().keep_tag_fields(true), &["a"], ["a", "b, c"]),
    ] {
        let site = numbered(rules, NAMED);
        for tag in ["/", "a", "b", "c"] {
            site.get("/").await;
            let answer = site.get("/").await;
            assert!(answer.is_hit());
            assert_eq!([answer.field("cache-tag"), answer.field("x-tags")], left);
            site.store.purge_tag(tag).await.map(drop).unwrap();
            assert_eq!(site.get("/").await.is_hit(), !tags.contains(&tag), "{tag} {tags:?}");
        }
    }
}

fn metrics() -> String {
    static METRICS: OnceLock<MetricsHandle> = OnceLock::new();
    METRICS.get_or_init(|| terrace::prometheus::install().unwrap()).render()
}

#[tokio::test]
async fn namespace() {
    metrics();
    numbered(eager().namespace("named-by-rules"), &[]).get("/").await;
    assert!(metrics().contains("cache_namespace=\"named-by-rules\""));
}

#[tokio::test]
async fn every_variable_of_the_table_has_an_effect() {
    let table = Config::table();
    let names: Vec<_> = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert!(names.len() >= 15, "{names:?}");
    // Those of authorization are tried in `authz/settings.rs`.
    for name in names.into_iter().filter(|name| !name.starts_with("AUTHZ_")) {
        effect(name).await;
    }
}

/// A site with one variable set, whose every answer is the number of the call.
fn set(name: &str, value: &str, rules: Rules, fields: &'static [(&'static str, &'static str)]) -> Site {
    Site::configured(Config::from_vars([(name, value)]).unwrap(), rules, move |n, _| async move {
        reply(fields, n.to_string())
    })
}

async fn hits_second(site: &Site, path: &str) -> bool {
    site.get(path).await;
    site.get(path).await.is_hit()
}

/// Each arm compares the variable's effect with how it is by default.
async fn effect(name: &str) {
    let default = || numbered(eager(), &[("cache-tag", "a b"), ("vary", "x-role")]);
    let with = |value| set(name, value, eager(), &[("cache-tag", "a b"), ("vary", "x-role")]);
    match name {
        "CACHE_ENABLED" | "CACHE_L1_ENABLED" => {
            assert_eq!((hits_second(&default(), "/").await, hits_second(&with("off"), "/").await), (true, false));
        }
        "CACHE_MAX_TAGS" => {
            assert_eq!((hits_second(&with("2"), "/").await, hits_second(&with("1"), "/").await), (true, false));
        }
        "CACHE_MAX_BODY_BYTES" => {
            assert_eq!((hits_second(&with("1"), "/").await, hits_second(&with("0"), "/").await), (true, false));
        }
        "CACHE_MAX_KEY_BYTES" => {
            let path = format!("/{}", "a".repeat(100));
            assert_eq!((hits_second(&default(), &path).await, hits_second(&with("100"), &path).await), (true, false));
        }
        "CACHE_MAX_VARIANTS" => {
            for (value, hit) in [("2", true), ("1", false)] {
                let site = with(value);
                site.send(get("/").header("x-role", "a")).await;
                site.send(get("/").header("x-role", "b")).await;
                assert_eq!(site.send(get("/").header("x-role", "b")).await.is_hit(), hit);
            }
        }
        "CACHE_DEFAULT_TTL" => {
            let site = set(name, "60s", Rules::new(), &[]);
            assert_eq!(
                (hits_second(&site, "/").await, hits_second(&numbered(Rules::new(), &[]), "/").await),
                (true, false)
            );
        }
        "CACHE_SWR_ENABLED" | "CACHE_MAX_REFRESHES" => {
            for (value, calls) in [("1", 2), ("0", if name == "CACHE_MAX_REFRESHES" { 1 } else { 2 })] {
                let site = set(name, value, eager().stale_while_revalidate(secs(60)), &[]);
                site.get("/").await;
                site.time.advance(secs(61));
                let waits = name == "CACHE_SWR_ENABLED" && value == "0";
                assert_eq!(site.get("/").await.text(), if waits { "2" } else { "1" });
                // A refresh would begin when this task lets it.
                tokio::task::yield_now().await;
                assert_eq!(site.calls(), calls, "{name}={value}");
            }
        }
        "CACHE_L1_MAX_BYTES" => {
            let site = with("100KiB");
            for n in 0..1000 {
                site.get(&format!("/{n}")).await;
            }
            let stats = site.store.stats();
            assert_eq!(stats.max_size_bytes(), 100 << 10);
            assert!(stats.entries() < 500, "{}", stats.entries());
        }
        "CACHE_NAMESPACE" => {
            metrics();
            with("named-by-variable").get("/").await;
            assert!(metrics().contains("cache_namespace=\"named-by-variable\""));
        }
        "CACHE_METRICS_ENABLED" => {
            metrics();
            for (value, namespace) in [("true", "published"), ("false", "unpublished")] {
                let config = Config::from_vars([(name, value)]).unwrap().namespace(namespace).unwrap();
                let site = Site::configured(config, eager(), async |_, _| reply(&[], ""));
                site.get("/").await;
                assert_eq!(metrics().contains(&format!("cache_namespace=\"{namespace}\"")), value == "true");
            }
        }
        "CACHE_COMPAT_METRICS" => {
            metrics();
            let site = with("true");
            site.get("/").await;
            assert!(metrics().contains("tool_cache_misses_total{namespace="));
        }
        "CACHE_CONSISTENCY_SAMPLE" => {
            let config = Config::from_vars([(name, "1")]).unwrap();
            let site = Site::configured(config, eager(), async |_, _| reply(&[], ""));
            assert!(hits_second(&site, "/").await);
            until(|| site.store.stats().consistency_samples(SampleResult::Match) == 1).await;
        }
        "CACHE_LOG_HITS" => log_hits(),
        "CACHE_FILL_WAIT" | "CACHE_HIT_FOR_MISS" => waits(name).await,
        // What only a tier that processes share has is tested with one, in `shared.rs`, or with a real Redis, in `redis.rs`.
        "CACHE_L2_ENABLED"
        | "CACHE_L1_MAX_LAG"
        | "CACHE_POLL_INTERVAL"
        | "CACHE_L1_DEGRADED_MAX"
        | "CACHE_L2_TTL"
        | "CACHE_L2_WRITES"
        | "CACHE_L2_WRITE_BYTES"
        | "CACHE_L2_LEASE"
        | "CACHE_L2_READ_BUDGET"
        | "CACHE_L2_WRITE_BUDGET"
        | "CACHE_L2_POOL_WAIT"
        | "CACHE_L2_COMPRESS_ABOVE"
        | "CACHE_FLEET_SWITCHES"
        | "CACHE_KEYS" => {}
        _ => panic!("{name} has no test here that it does what the manual says"),
    }
}

/// In a process of its own: another thread that logs the same event without a subscriber could switch it off for all.
fn log_hits() {
    alone("options::hits_are_logged_as_told");
}

#[tokio::test]
async fn hits_are_logged_as_told() {
    if !is_alone() {
        return log_hits();
    }
    for (value, hits) in [("off", 0), ("all", 3)] {
        let (site, logged) = (set("CACHE_LOG_HITS", value, eager(), &[]), Lines::default());
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG);
        let guard = subscriber.with_writer(logged.clone()).finish().set_default();
        for _ in 0..4 {
            site.get("/").await;
        }
        drop(guard);
        assert_eq!(logged.text().matches("event=\"cache_l1_hit\"").count(), hits, "{value}: {}", logged.text());
    }
}

/// What decides whether and how long a request waits for another one.
async fn waits(name: &str) {
    for (value, together) in [("0s", name == "CACHE_FILL_WAIT"), ("10s", name == "CACHE_HIT_FOR_MISS")] {
        let hangs = Arc::new(AtomicBool::new(false));
        let hanging = Arc::clone(&hangs);
        let config = Config::from_vars([(name, value)]).unwrap();
        let site = Site::configured(config, Rules::new(), move |_, _| {
            let hangs = hanging.load(Ordering::SeqCst);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                reply(&[("cache-control", "no-store")], "")
            }
        });
        if name == "CACHE_HIT_FOR_MISS" {
            site.get("/").await;
        }
        hangs.store(true, Ordering::SeqCst);
        let before = site.calls();
        let ask = || Box::pin(site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()));
        let (mut first, mut second) = (ask(), ask());
        assert!(is_pending(first.as_mut()).await && is_pending(second.as_mut()).await);
        // No time to wait is over when the timer is first looked at.
        let patience = Patience::new();
        while together && site.calls() - before < 2 {
            patience.yields().await;
            assert!(is_pending(second.as_mut()).await);
        }
        assert_eq!(site.calls() - before, if together { 2 } else { 1 }, "{name}={value}");
    }
}

/// What has been logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
