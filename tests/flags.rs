//! What can be switched and set, at the start and while running; what memory holds; and what is counted.

use http::{Method, Request};
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use terrace::clock::FakeClock;
use terrace::stats::{BypassReason, CacheStatus, EvictionReason, Feature, RejectReason, StoreResult, Tier};
use terrace::{Bypass, Cache, CacheLayer, Config, Rules, Store};
use terrace_tests::{
    Answer, Body, Failure, Gate, Origin, ask, call, empty, fed, full, get, get_with, respond, spawn, text, until, waits,
};
use tower::{Layer, Service};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cached(store: &Store, origin: &Origin) -> Cache<Origin> {
    CacheLayer::new(store.clone()).layer(origin.clone())
}

// Switches

#[tokio::test]
async fn switched_off_the_layer_is_as_if_it_were_not_there() {
    let origin = Origin::counting(&[FRESH, ("cache-tag", "t"), ("age", "7")]);
    let store = Store::memory();
    let service = cached(&store, &origin);
    assert_eq!(call(&service, get("/")).await.text(), "1");
    store.flags().set(Feature::Cache, false);
    assert!(!store.flags().is_on(Feature::Cache));
    let requests = [get("/"), get("/"), ask(Method::HEAD, "/", &[]), ask(Method::POST, "/other", &[])];
    for (n, request) in requests.into_iter().enumerate() {
        let (bare, sent) = (format!("{}", n + 2), request.headers().clone());
        let answer = call(&service, request).await;
        assert_eq!(
            (answer.text(), answer.field("cache-tag"), answer.field("age")),
            (bare.as_str(), "t".into(), "7".into())
        );
        assert_eq!(answer.field("cache-status"), "");
        assert_eq!(origin.last().headers, sent, "the origin gets what the client sent");
    }
    assert_eq!(store.stats().bypasses(BypassReason::Disabled), 4);
    assert_eq!(store.stats().entries(), 1, "nothing was stored meanwhile");
    store.flags().set(Feature::Cache, true);
    let hit = call(&service, get("/")).await;
    assert_eq!((hit.text(), hit.is_hit()), ("1", true));
}

#[tokio::test]
async fn only_if_cached_is_not_judged_while_the_cache_is_off() {
    let store = Store::memory();
    let service = cached(&store, &Origin::counting(&[FRESH]));
    store.flags().set(Feature::Cache, false);
    assert_eq!(call(&service, get_with("/", &[("cache-control", "only-if-cached")])).await.status, 200);
}

#[tokio::test]
async fn invalidations_work_while_the_cache_is_off() {
    let store = Store::memory();
    let service = cached(&store, &Origin::counting(&[FRESH]));
    for path in ["/purged", "/posted"] {
        call(&service, get(path)).await;
    }
    store.flags().set(Feature::Cache, false);
    let _ = store.purge_url("/purged").await.unwrap();
    call(&service, ask(Method::POST, "/posted", &[])).await;
    store.flags().set(Feature::Cache, true);
    assert!(!call(&service, get("/purged")).await.is_hit(), "purged while off");
    assert!(!call(&service, get("/posted")).await.is_hit(), "changed by an unsafe request while off");
}

#[tokio::test]
async fn without_memory_nothing_is_read_or_filled_and_requests_still_coalesce() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    gate.admit(1);
    call(&service, get("/kept")).await;
    store.flags().set(Feature::L1, false);
    let first = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 2).await;
    let second = spawn(&service, get("/"));
    until("it waits", || waits(&store) == 1).await;
    gate.admit(1);
    let first = first.await.unwrap();
    assert_eq!(second.await.unwrap().text(), "x");
    gate.open();
    assert!(!call(&service, get("/kept")).await.is_hit());
    assert_eq!(store.stats().entries(), 1);
    assert!(store.stats().stores(Tier::L1, StoreResult::Skipped) >= 1);
    assert!(!first.is_stored(), "nothing was: {first:?}");
    store.flags().set(Feature::L1, true);
    assert!(call(&service, get("/kept")).await.is_hit());
}

#[tokio::test]
async fn without_swr_a_stale_response_is_revalidated_first() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let service = cached(&store, &Origin::counting(&[("cache-control", "max-age=60, stale-while-revalidate=60")]));
    call(&service, get("/")).await;
    clock.advance(secs(61));
    store.flags().set(Feature::Swr, false);
    assert_eq!(call(&service, get("/")).await.text(), "2");
    store.flags().set(Feature::Swr, true);
    clock.advance(secs(61));
    assert_eq!(call(&service, get("/")).await.text(), "2");
}

// Settings

/// A store on a clock of its own.
struct Subject {
    clock: FakeClock,
    store: Store,
}

type Effect = for<'a> fn(&'a Subject) -> std::pin::Pin<Box<dyn Future<Output = bool> + 'a>>;

/// A setting, a value, and whether a store behaves as if it had that value.
struct Case {
    name: &'static str,
    value: &'static str,
    while_running: bool,
    shows: Effect,
}

impl Subject {
    fn new(config: Config) -> Self {
        let clock = FakeClock::new();
        Self { store: Store::with_fake_clock(config, &clock), clock }
    }

    fn service(&self, origin: &Origin) -> Cache<Origin> {
        cached(&self.store, origin)
    }

    /// Whether this response is stored.
    async fn stores(&self, fields: &'static [(&'static str, &'static str)], path: &str) -> bool {
        let service = self.service(&Origin::counting(fields));
        call(&service, get(path)).await;
        call(&service, get(path)).await.is_hit()
    }
}

fn cases() -> Vec<Case> {
    let case = |name, value, while_running, shows| Case { name, value, while_running, shows };
    vec![
        case("CACHE_ENABLED", "off", true, |it| {
            Box::pin(async {
                let answer = call(&it.service(&Origin::counting(&[FRESH])), get("/")).await;
                answer.field("cache-status").is_empty()
            })
        }),
        case("CACHE_L1_ENABLED", "false", true, |it| Box::pin(async { !it.stores(&[FRESH], "/").await })),
        case("CACHE_SWR_ENABLED", "no", true, |it| {
            Box::pin(async {
                let service =
                    it.service(&Origin::counting(&[("cache-control", "max-age=60, stale-while-revalidate=60")]));
                call(&service, get("/")).await;
                it.clock.advance(secs(61));
                call(&service, get("/")).await.text() == "2"
            })
        }),
        case("CACHE_NAMESPACE", "shop", false, |it| {
            Box::pin(async { format!("{:?}", it.store).contains("\"CACHE_NAMESPACE\": \"shop\"") })
        }),
        case("CACHE_L1_MAX_BYTES", "0", false, |it| {
            Box::pin(async { it.store.stats().max_size_bytes() == 0 && !it.stores(&[FRESH], "/").await })
        }),
        case("CACHE_MAX_BODY_BYTES", "0", true, |it| Box::pin(async { !it.stores(&[FRESH], "/").await })),
        case("CACHE_MAX_VARIANTS", "1", true, |it| {
            Box::pin(async {
                let service = it.service(&Origin::counting(&[FRESH, ("vary", "x-v")]));
                let variant = |v: &'static str| get_with("/", &[("x-v", v)]);
                call(&service, variant("1")).await;
                call(&service, variant("2")).await;
                !call(&service, variant("2")).await.is_hit()
            })
        }),
        case("CACHE_MAX_KEY_BYTES", "64", true, |it| {
            Box::pin(async { !it.stores(&[FRESH], "/a-path-that-is-longer-than-sixty-four-bytes-in-the-key").await })
        }),
        case("CACHE_MAX_TAGS", "1", true, |it| {
            Box::pin(async { !it.stores(&[FRESH, ("cache-tag", "a,b")], "/").await })
        }),
        case("CACHE_DEFAULT_TTL", "30", true, |it| Box::pin(async { it.stores(&[], "/").await })),
        case("CACHE_FILL_WAIT", "0", true, |it| {
            Box::pin(async {
                let gate = Gate::default();
                let service = it.service(&gate.before(|_| text(&[FRESH], "x")));
                let first = spawn(&service, get("/"));
                until("the first is in the origin", || gate.arrived() == 1).await;
                let second = spawn(&service, get("/"));
                until("the second waits or asks", || waits(&it.store) == 1).await;
                // Of tokio's paused time, which is well within the five seconds of the default.
                tokio::time::advance(secs(1)).await;
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                let asks = gate.arrived() == 2;
                gate.open();
                first.await.unwrap();
                second.await.unwrap();
                asks
            })
        }),
        case("CACHE_HIT_FOR_MISS", "0", true, |it| {
            Box::pin(async {
                let service = it.service(&Origin::counting(&[("cache-control", "no-store")]));
                call(&service, get("/")).await;
                // What is remembered is an entry; without it the next request leads again.
                let acquired = |store: &Store| {
                    store.stats().locks(terrace::stats::LockKind::Local, terrace::stats::LockResult::Acquired)
                };
                let before = acquired(&it.store);
                call(&service, get("/")).await;
                acquired(&it.store) > before
            })
        }),
        case("CACHE_MAX_REFRESHES", "0", true, |it| {
            Box::pin(async {
                let origin = Origin::counting(&[("cache-control", "max-age=60, stale-while-revalidate=60")]);
                let service = it.service(&origin);
                call(&service, get("/")).await;
                it.clock.advance(secs(61));
                call(&service, get("/")).await;
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                origin.calls() == 1
            })
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_setting_has_an_effect_at_the_start() {
    for Case { name, value, shows, .. } in cases() {
        assert!(!shows(&Subject::new(Config::default())).await, "{name} by default");
        let config = Config::from_vars([(name, value)]).unwrap();
        assert!(shows(&Subject::new(config)).await, "{name}={value}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_setting_that_may_be_changed_has_an_effect_while_running() {
    for Case { name, value, while_running, shows } in cases() {
        let subject = Subject::new(Config::default());
        let set = subject.store.settings().set(name, value);
        if while_running {
            set.unwrap();
            assert!(shows(&subject).await, "{name}={value}");
        } else {
            let text = set.unwrap_err().to_string();
            assert!(text.contains(name) && text.contains("only when a store starts"), "{text}");
        }
    }
}

#[test]
fn every_setting_of_the_table_has_a_test_of_its_effect() {
    // The first two are tested below, the others in `scrape.rs` and `consistency.rs`: their effect is not on requests.
    let mut tested =
        vec!["CACHE_METRICS_ENABLED", "CACHE_LOG_HITS", "CACHE_COMPAT_METRICS", "CACHE_CONSISTENCY_SAMPLE"];
    // These in `shared.rs`: they need a tier that processes share.
    tested.extend(["CACHE_L2_ENABLED", "CACHE_L1_MAX_LAG", "CACHE_POLL_INTERVAL", "CACHE_L1_DEGRADED_MAX"]);
    tested.extend([
        "CACHE_L2_TTL",
        "CACHE_L2_WRITES",
        "CACHE_L2_WRITE_BYTES",
        "CACHE_L2_LEASE",
        "CACHE_L2_READ_BUDGET",
        "CACHE_FLEET_SWITCHES",
    ]);
    // And these with a real Redis, in `redis.rs` and beside the code.
    tested.extend(["CACHE_L2_WRITE_BUDGET", "CACHE_L2_POOL_WAIT", "CACHE_L2_COMPRESS_ABOVE", "CACHE_KEYS"]);
    tested.extend(cases().iter().map(|case| case.name));
    // Those of authorization in `authz/settings.rs`.
    let table = Config::table();
    let names = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    let names = names.filter(|name| !name.starts_with("AUTHZ_"));
    let names: Vec<_> = names.collect();
    assert!(names.len() >= 15, "{names:?}");
    assert!(names.iter().all(|name| tested.contains(name)), "{names:?} are not all among {tested:?}");
}

#[tokio::test]
async fn metrics_are_published_unless_that_is_switched_off() {
    let handle = terrace::prometheus::install().unwrap();
    for (value, published) in [("true", true), ("false", false)] {
        let name = format!("metrics-{value}");
        let vars = [("CACHE_METRICS_ENABLED", value), ("CACHE_NAMESPACE", &name)];
        let store = Store::new(Config::from_vars(vars).unwrap());
        let service = cached(&store, &Origin::counting(&[FRESH]));
        call(&service, get("/")).await;
        assert_eq!(store.stats().requests(CacheStatus::Miss), 1, "counted in either case");
        assert_eq!(handle.render().contains(&format!("cache_namespace=\"{name}\"")), published);
    }
}

#[test]
fn errors_name_the_variable_its_value_and_what_is_accepted() {
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let table: [Case; 13] = [
        (&[("CACHE_ENABLED", "maybe")], &["CACHE_ENABLED", "\"maybe\"", "`1 0 true false yes no on off`"]),
        (&[("CACHE_ENABLED", "")], &["CACHE_ENABLED", "\"\""]),
        (&[("CACHE_MAX_BODY_BYTES", "2Mib")], &["CACHE_MAX_BODY_BYTES", "\"2Mib\"", "0 to 1GiB"]),
        (&[("CACHE_MAX_BODY_BYTES", "-1")], &["CACHE_MAX_BODY_BYTES", "\"-1\""]),
        (&[("CACHE_MAX_BODY_BYTES", "2GiB")], &["\"2GiB\"", "0 to 1GiB"]),
        (&[("CACHE_MAX_BODY_BYTES", "99999999999999999999")], &["CACHE_MAX_BODY_BYTES"]),
        (&[("CACHE_MAX_VARIANTS", "0")], &["CACHE_MAX_VARIANTS", "\"0\"", "1 to 1024"]),
        (&[("CACHE_FILL_WAIT", "5 s")], &["CACHE_FILL_WAIT", "\"5 s\"", "0s to 10m"]),
        (&[("CACHE_DEFAULT_TTL", "never")], &["CACHE_DEFAULT_TTL", "\"never\"", "`none`"]),
        (&[("CACHE_NAMESPACE", "a b")], &["CACHE_NAMESPACE", "\"a b\"", "A-Z a-z 0-9"]),
        (&[("CACHE_LOG_HITS", "sample:0")], &["CACHE_LOG_HITS", "\"sample:0\"", "sample:N"]),
        (&[("CACHE_MAX_BODY_BYTE", "1")], &["CACHE_MAX_BODY_BYTE is not a setting", "CACHE_MAX_BODY_BYTES"]),
        (
            &[("CACHE_DEFAULT_TTL", "1s"), ("SEMANTIC_CACHE_DEFAULT_TTL_SECONDS", "2")],
            &["CACHE_DEFAULT_TTL", "SEMANTIC_CACHE_DEFAULT_TTL_SECONDS", "differ"],
        ),
    ];
    for (vars, said) in table {
        let error = Config::from_vars(vars.iter().copied()).unwrap_err();
        assert!(error.is_config());
        let text = error.to_string();
        for words in said {
            assert!(text.contains(words), "{text:?} does not say {words:?}");
        }
    }
    let long = "x".repeat(100_000);
    assert!(Config::from_vars([("CACHE_ENABLED", &long)]).unwrap_err().to_string().len() < 300);
    assert!(Config::from_vars([(format!("CACHE_{long}"), "1")]).unwrap_err().to_string().len() < 300);
    // What is not ours is not judged.
    assert_eq!(Config::from_vars([("PATH", "x"), ("REDIS_URL", "?"), ("MY_CACHE_X", "1")]).unwrap(), Config::default());
}

#[tokio::test]
async fn a_refused_change_while_running_changes_nothing() {
    let subject = Subject::new(Config::default());
    let settings = subject.store.settings();
    for (name, value) in [("CACHE_MAX_TAGS", "many"), ("CACHE_ENABLED", "2"), ("CACHE_NONSENSE", "1"), ("PATH", "x")] {
        let text = settings.set(name, value).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
    assert!(subject.stores(&[FRESH, ("cache-tag", "a b c")], "/").await);
    settings.set("CACHE_DEFAULT_TTL", "10s").unwrap();
    assert!(subject.stores(&[], "/silent").await);
    settings.set("CACHE_DEFAULT_TTL", "none").unwrap();
    assert!(!subject.stores(&[], "/silent-again").await);
}

// Memory

const KIB: usize = 1 << 10;

#[tokio::test]
async fn memory_stays_within_its_bytes_under_churn() {
    let limit = 1_u64 << 20;
    let store = Store::new(Config::default().l1_max_bytes(limit));
    let origin = Origin::answering(|_| text(&[FRESH], vec![b'x'; KIB]));
    let service = cached(&store, &origin);
    let mut most = 0;
    for n in 0..20_000 {
        call(&service, get(&format!("/{n}"))).await;
        if n % 50 == 0 {
            most = most.max(store.stats().size_bytes());
        }
    }
    let stats = store.stats();
    assert_eq!(stats.max_size_bytes(), limit);
    // After half a second without a call it lets go of nothing before 64 calls are queued.
    let queued = 64 * 2 * KIB as u64;
    assert!(most <= limit + limit / 20 + queued, "{most} of {limit} bytes");
    assert!(stats.size_bytes() >= limit / 2, "{stats:?}");
    assert!(stats.entries() >= 300, "{stats:?}");
    assert!(stats.evictions(EvictionReason::Size) >= 19_000, "{stats:?}");
    assert_eq!(stats.entries() + stats.evictions(EvictionReason::Size), 20_000, "{stats:?}");
}

#[tokio::test]
async fn a_scan_does_not_empty_memory() {
    let store = Store::new(Config::default().l1_max_bytes(1 << 20));
    let service = cached(&store, &Origin::answering(|_| text(&[FRESH], vec![b'x'; KIB])));
    // How often something is asked for is counted only once memory is half full.
    for n in 0..1000 {
        call(&service, get(&format!("/first/{n}"))).await;
    }
    let popular: Vec<_> = (0..100).map(|n| format!("/popular/{n}")).collect();
    for _ in 0..20 {
        for path in &popular {
            call(&service, get(path)).await;
        }
    }
    // Three times what memory has room for. One without end would make what is popular what it was asked for long ago.
    for n in 0..2000 {
        call(&service, get(&format!("/{n}"))).await;
    }
    let mut kept = 0;
    for path in &popular {
        kept += usize::from(call(&service, get(path)).await.is_hit());
    }
    assert!(kept >= 90, "{kept} of {}", popular.len());
}

#[tokio::test]
async fn one_entry_larger_than_memory_is_not_kept() {
    let store = Store::new(Config::default().l1_max_bytes(10_000));
    let service = cached(&store, &Origin::answering(|_| text(&[FRESH], vec![b'x'; 20_000])));
    for n in 0..100 {
        assert_eq!(call(&service, get(&format!("/{n}"))).await.content.len(), 20_000);
    }
    assert_eq!((store.stats().entries(), store.stats().size_bytes()), (0, 0));
    assert_eq!(store.stats().stores(Tier::L1, StoreResult::TooLarge), 100);
}

/// How many entries left for this reason, and that no other reason was counted.
fn left_only(store: &Store, reason: EvictionReason) -> u64 {
    let stats = store.stats();
    for other in EvictionReason::ALL {
        assert!(*other == reason || stats.evictions(*other) == 0, "{stats:?}");
    }
    stats.evictions(reason)
}

/// Lets the engine let go of what it keeps for its own housekeeping.
async fn settle(store: &Store, service: &Cache<Origin>, done: impl Fn(&Store) -> bool) {
    for n in 0..5_000 {
        if done(store) {
            return;
        }
        call(service, get_with(&format!("/settle/{n}"), &[("cache-control", "only-if-cached")])).await;
    }
}

#[tokio::test]
async fn what_leaves_memory_is_counted_by_its_reason() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::answering(move |_| {
        let etag = format!("\"{}\"", calls.fetch_add(1, SeqCst));
        respond(200, &[FRESH, ("etag", &etag)], empty())
    });
    let plain = Origin::counting(&[FRESH]);
    let world = |origin: &Origin| {
        let subject = Subject::new(Config::default());
        let service = subject.service(origin);
        (subject, service)
    };
    // Over its life, and found so.
    let (it, service) = world(&plain);
    call(&service, get("/")).await;
    it.clock.advance(secs(61));
    call(&service, get_with("/", &[("cache-control", "only-if-cached")])).await;
    settle(&it.store, &service, |store| store.stats().entries() == 0).await;
    assert_eq!(left_only(&it.store, EvictionReason::Expired), 1);
    assert_eq!(it.store.stats().rejected(Tier::L1, RejectReason::Expired), 1);
    // Replaced by a newer response.
    let (it, service) = world(&origin);
    call(&service, get("/")).await;
    it.clock.advance(secs(61));
    call(&service, get("/")).await;
    settle(&it.store, &service, |store| store.stats().entries() == 1).await;
    assert_eq!(left_only(&it.store, EvictionReason::Replaced), 1);
    // Invalidated, and found so.
    let (it, service) = world(&plain);
    call(&service, get("/")).await;
    let _ = it.store.purge_all().await.unwrap();
    call(&service, get_with("/", &[("cache-control", "only-if-cached")])).await;
    settle(&it.store, &service, |store| store.stats().entries() == 0).await;
    assert_eq!(left_only(&it.store, EvictionReason::Invalidated), 1);
    assert_eq!(it.store.stats().rejected(Tier::L1, RejectReason::Marker), 1);
    // Removed by name: a HEAD shows that the stored response is outdated.
    let (it, service) = world(&origin);
    call(&service, get("/")).await;
    it.clock.advance(secs(61));
    call(&service, ask(Method::HEAD, "/", &[])).await;
    settle(&it.store, &service, |store| store.stats().entries() == 0).await;
    assert_eq!(left_only(&it.store, EvictionReason::Explicit), 1);
}

#[tokio::test]
async fn many_keys_are_told_apart_whatever_their_hashes_share() {
    let store = Store::new(Config::default().l1_max_bytes(1 << 30));
    let service = cached(&store, &Origin::answering(|request| text(&[FRESH], request.uri.path().to_owned())));
    for round in 0..2 {
        for n in 0..20_000 {
            let path = format!("/{n}");
            let answer = call(&service, get(&path)).await;
            assert_eq!((answer.text(), answer.is_hit()), (path.as_str(), round == 1));
        }
    }
    assert_eq!(store.stats().rejected(Tier::L1, RejectReason::Key), 0);
}

// Counting

fn counted(store: &Store) -> u64 {
    CacheStatus::ALL.iter().map(|status| store.stats().requests(*status)).sum()
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// Read to the end.
    Whole,
    /// Dropped with its head.
    Head,
    /// Dropped after this many turns.
    Cancelled(u8),
}

#[derive(Clone, Debug)]
struct Step {
    path: u8,
    kind: u8,
    how: How,
    advance: u8,
    purge: bool,
    on: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![3 => Just(How::Whole), 1 => Just(How::Head), 2 => (1..4_u8).prop_map(How::Cancelled)];
    (0..4_u8, 0..10_u8, how, 0..40_u8, proptest::bool::weighted(0.05), proptest::bool::weighted(0.9))
        .prop_map(|(path, kind, how, advance, purge, on)| Step { path, kind, how, advance, purge, on })
}

fn request_of(step: &Step) -> Request<Body> {
    let path = format!("/{}", step.path);
    match step.kind {
        0 => ask(Method::HEAD, &path, &[]),
        1 => ask(Method::POST, &path, &[]),
        2 => ask(Method::OPTIONS, &path, &[]),
        3 => get_with(&path, &[("range", "bytes=0-0")]),
        4 => get_with(&path, &[("cache-control", "only-if-cached")]),
        5 => get_with(&path, &[("cache-control", "no-store")]),
        6 => {
            let mut request = get(&path);
            request.extensions_mut().insert(Bypass);
            request
        }
        7 => get_with(&path, &[("cookie", "a=b")]),
        _ => get(&path),
    }
}

/// An origin of many moods, by the number of the call.
fn moody() -> Origin {
    let calls = AtomicUsize::new(0);
    Origin::new(move |_| {
        let n = calls.fetch_add(1, SeqCst);
        async move {
            for _ in 0..n % 4 {
                tokio::task::yield_now().await;
            }
            match n % 9 {
                0 => Err(Failure("refused")),
                1 => Ok(respond(503, &[], full("down"))),
                2 => Ok(text(&[("cache-control", "no-store")], "x")),
                3 => Ok(respond(304, &[], empty())),
                4 => {
                    let (feed, body) = fed();
                    feed.send("half");
                    feed.fail("reset");
                    Ok(respond(200, &[FRESH], body))
                }
                5 => Ok(text(&[("cache-control", "no-cache"), ("etag", "\"x\"")], "x")),
                _ => {
                    let control = "max-age=20, stale-while-revalidate=20, stale-if-error=60";
                    Ok(text(&[("cache-control", control), ("etag", "\"x\"")], "x"))
                }
            }
        }
    })
}

async fn take(service: &Cache<Origin>, step: Step) {
    let mut service = service.clone();
    let answered = service.call(request_of(&step));
    let turns = |n: u8| async move {
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
    };
    match step.how {
        How::Whole => {
            if let Ok(response) = answered.await {
                let _ = response.into_body().collect().await;
            }
        }
        How::Head => drop(answered.await),
        How::Cancelled(n) => tokio::select! { biased; _ = answered => {} () = turns(n) => {} },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_counted_once_whatever_becomes_of_it(
        steps in proptest::collection::vec(step(), 1..150),
        rfc in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let clock = FakeClock::new();
            let store = Store::with_fake_clock(Config::default(), &clock);
            let rules = if rfc { Rules::rfc9111() } else { Rules::new() };
            let service = CacheLayer::new(store.clone()).rules(rules).layer(moody());
            let sent = steps.len() as u64;
            let mut tasks = Vec::new();
            for step in steps {
                clock.advance(secs(step.advance.into()));
                store.flags().set(Feature::Cache, step.on);
                if step.purge {
                    let _ = store.purge_all().await.unwrap();
                }
                let service = service.clone();
                tasks.push(tokio::spawn(async move { take(&service, step).await }));
                tokio::task::yield_now().await;
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(counted(&store), sent, "{:?}", store.stats());
            assert_eq!(store.stats().inflight_fills(), 0);
        });
    }
}

#[tokio::test]
async fn a_request_whose_future_is_dropped_unpolled_is_counted_too() {
    let store = Store::memory();
    let mut service = cached(&store, &Origin::counting(&[FRESH]));
    drop(service.call(get("/")));
    assert_eq!(counted(&store), 1);
}

#[tokio::test]
async fn what_the_cache_says_of_an_answer_is_what_it_counts() {
    let subject = Subject::new(Config::default());
    let control = "max-age=60, stale-while-revalidate=60";
    let service = subject.service(&Origin::counting(Box::leak(Box::new([("cache-control", control)]))));
    let one = async |request| -> (Answer, CacheStatus) {
        let before: Vec<_> = CacheStatus::ALL.iter().map(|it| subject.store.stats().requests(*it)).collect();
        let answer = call(&service, request).await;
        let grown =
            CacheStatus::ALL.iter().zip(before).find(|(it, before)| subject.store.stats().requests(**it) > *before);
        (answer, *grown.expect("it is counted").0)
    };
    assert_eq!(one(get("/")).await.1, CacheStatus::Miss);
    assert_eq!(one(get("/")).await.1, CacheStatus::L1CacheHit);
    assert_eq!(one(ask(Method::POST, "/other", &[])).await.1, CacheStatus::Bypass);
    assert_eq!(one(get_with("/none", &[("cache-control", "only-if-cached")])).await.1, CacheStatus::Error);
    subject.clock.advance(secs(61));
    assert_eq!(one(get("/")).await.1, CacheStatus::Stale);
}
