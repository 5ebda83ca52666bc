//! What is stored, for how long, under which key, and how it answers: end to end through the layer.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use terrace::clock::FakeClock;
use terrace::stats::{CacheStatus, StoreResult, Tier};
use terrace::{
    BodyDigestLayer, BodyDigestService, Bypass, Cache, CacheLayer, CacheTags, Config, Partition, Purge, Query, Replay,
    ResponseOverride, Rules, Store,
};
use terrace_tests::{
    Answer, Body, Failure, Origin, ask, call, empty, fed, full, get, get_with, respond, scripted, text, until,
};
use tower::{Layer, Service};

type Fields = &'static [(&'static str, &'static str)];

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cache with a clock and an origin.
struct World {
    clock: FakeClock,
    store: Store,
    origin: Origin,
    service: Cache<Origin>,
}

impl World {
    fn new(rules: Rules, origin: Origin) -> Self {
        Self::with_config(Config::default(), rules, origin)
    }

    fn with_config(config: Config, rules: Rules, origin: Origin) -> Self {
        let clock = FakeClock::new();
        let store = Store::with_fake_clock(config, &clock);
        let service = CacheLayer::new(store.clone()).rules(rules).layer(origin.clone());
        Self { clock, store, origin, service }
    }

    fn counting(rules: Rules, fields: Fields) -> Self {
        Self::new(rules, Origin::counting(fields))
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        call(&self.service, request).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask(get(uri)).await
    }

    /// Whether the response to `request`, asked twice, is stored.
    async fn stores(&self, request: impl Fn() -> Request<Body>) -> bool {
        let first = self.ask(request()).await;
        let again = self.ask(request()).await;
        assert!(!first.is_hit());
        assert_eq!(first.text() == again.text(), again.is_hit());
        again.is_hit()
    }
}

/// At the time at which a fake clock starts, plus so many seconds.
fn date(seconds: i64) -> &'static str {
    let start = SystemTime::UNIX_EPOCH + secs(1_735_689_600);
    let time = if seconds < 0 { start - secs(seconds.unsigned_abs()) } else { start + secs(seconds.unsigned_abs()) };
    Box::leak(httpdate::fmt_http_date(time).into_boxed_str())
}

fn leak<const N: usize>(fields: [(&'static str, &'static str); N]) -> Fields {
    Box::leak(Box::new(fields))
}

fn sets() -> [(&'static str, Rules); 2] {
    [("safe", Rules::new()), ("rfc9111", Rules::rfc9111())]
}

// Lifetimes

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

// Personal data

#[tokio::test]
async fn what_may_be_personal_is_stored_only_if_it_is_said_to_be_for_all() {
    const AUTH: Fields = &[("authorization", "Bearer x")];
    const COOKIE: Fields = &[("cookie", "session=1")];
    const NONE: Fields = &[];
    let table: &[(Fields, Fields, bool, bool)] = &[
        // request, response, stored under safe rules, under rfc9111
        (NONE, &[("cache-control", "max-age=60")], true, true),
        (AUTH, &[("cache-control", "max-age=60")], false, false),
        (AUTH, &[("cache-control", "max-age=60, public")], true, true),
        (AUTH, &[("cache-control", "s-maxage=60")], true, true),
        (AUTH, &[("cache-control", "max-age=60, must-revalidate")], false, true),
        (AUTH, &[("cdn-cache-control", "max-age=60")], true, true),
        (AUTH, &[("cache-control", "private, max-age=60")], false, false),
        (COOKIE, &[("cache-control", "max-age=60")], false, true),
        (COOKIE, &[("cache-control", "max-age=60, public")], true, true),
        (COOKIE, &[("cache-control", "s-maxage=60")], true, true),
        (COOKIE, &[("cdn-cache-control", "max-age=60")], true, true),
        (COOKIE, &[], false, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "max-age=60")], false, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "max-age=60, public")], true, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "s-maxage=60")], true, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "public")], false, true),
        (NONE, &[("set-cookie", "a=b")], false, true),
        (NONE, &[], true, true),
    ];
    for (request, response, safe, rfc) in table {
        for (rules, stored) in [(Rules::new(), *safe), (Rules::rfc9111(), *rfc)] {
            let world = World::counting(rules.default_ttl(secs(60)), response);
            assert_eq!(world.stores(|| get_with("/", request)).await, stored, "{request:?} {response:?} rfc: {rfc}");
        }
    }
}

#[tokio::test]
async fn requests_with_credentials_get_only_what_the_origin_gave_a_lifetime() {
    for (fields, served) in [(&[][..], false), (&[("cache-control", "max-age=60")], true)] {
        let world = World::counting(Rules::new().default_ttl(secs(60)), fields);
        world.get("/").await;
        assert!(world.get("/").await.is_hit());
        for credential in [("cookie", "a=b"), ("authorization", "x")] {
            assert_eq!(world.ask(get_with("/", &[credential])).await.is_hit(), served, "{fields:?} {credential:?}");
        }
        assert!(world.get("/").await.is_hit(), "and they leave it where it is");
    }
}

fn in_partition(name: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Partition::new(name));
    request
}

#[tokio::test]
async fn a_partition_keeps_personal_responses_of_one_apart_from_those_of_all_others() {
    let world = World::new(
        Rules::new(),
        Origin::answering(|request| {
            let who = request.headers.get("cookie").map_or("nobody", |who| who.to_str().unwrap());
            text(&[("cache-control", "max-age=60")], who.to_owned())
        }),
    );
    let as_user = |name: &'static str| in_partition(name, get_with("/", &[("cookie", name)]));
    for hit in [false, true] {
        for name in ["anne", "ben"] {
            let answer = world.ask(as_user(name)).await;
            assert_eq!((answer.text(), answer.is_hit()), (name, hit));
        }
        let answer = world.get("/").await;
        assert_eq!((answer.text(), answer.is_hit()), ("nobody", hit));
    }
    let _ = world.store.purge_partition("anne").await.unwrap();
    assert!(!world.ask(as_user("anne")).await.is_hit());
    assert!(world.ask(as_user("ben")).await.is_hit());
    assert!(world.get("/").await.is_hit());
}

#[tokio::test]
async fn private_and_no_store_win_in_a_partition_too() {
    for control in ["private, max-age=60", "no-store", "no-store, max-age=60"] {
        let world = World::counting(Rules::new(), leak([("cache-control", control)]));
        assert!(!world.stores(|| in_partition("a", get("/"))).await, "{control}");
    }
}

// Keys

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyParts {
    scheme: &'static str,
    host: String,
    path: String,
    query: Option<String>,
    version: String,
    partition: Option<String>,
    extra: Option<String>,
}

fn key_parts() -> impl Strategy<Value = KeyParts> {
    // Short and of few letters, so that parts are often equal and often run into each other.
    let word = || proptest::string::string_regex("[a/.-]{0,3}").unwrap();
    let host = proptest::string::string_regex("[ab]{1,2}").unwrap();
    let path = proptest::string::string_regex("[ab/]{0,3}").unwrap();
    let query = proptest::option::of(proptest::string::string_regex("[ab=&]{1,3}").unwrap());
    let maybe = || proptest::option::of(word());
    (prop_oneof![Just("http"), Just("https")], host, path, query, word(), maybe(), maybe()).prop_map(
        |(scheme, host, path, query, version, partition, extra)| KeyParts {
            scheme,
            host,
            path: format!("/{path}"),
            query,
            version,
            partition,
            extra,
        },
    )
}

impl KeyParts {
    fn request(&self) -> Request<Body> {
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        let mut request = get(&format!("{}://{}{}{query}", self.scheme, self.host, self.path));
        if let Some(partition) = &self.partition {
            request.extensions_mut().insert(Partition::new(partition.as_str()));
        }
        let extra = self.extra.clone();
        request.extensions_mut().insert(Rules::new().version(self.version.clone()).key_with(move |_| extra.clone()));
        request
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_requests_share_an_answer_exactly_if_every_part_of_their_keys_is_the_same(
        requests in proptest::collection::vec(key_parts(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
            let mut answers: HashMap<KeyParts, String> = HashMap::new();
            for parts in requests {
                let answer = world.ask(parts.request()).await;
                assert_eq!(answer.is_hit(), answers.contains_key(&parts), "{parts:?}: {answer:?}");
                let known = answers.entry(parts).or_insert_with(|| answer.text().to_owned());
                assert_eq!(known, answer.text());
            }
        });
    }

    #[test]
    fn an_unchanged_body_always_hits_and_a_changed_one_never_does(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (_, service) = questions(Rules::new().default_ttl(secs(60)), &BodyDigestLayer::new(), Origin::counting(&[]));
            let mut answers: HashMap<Vec<u8>, String> = HashMap::new();
            for body in bodies {
                let answer = call(&service, post("/", body.clone())).await;
                assert_eq!(answer.is_hit(), answers.contains_key(&body));
                let known = answers.entry(body).or_insert_with(|| answer.text().to_owned());
                assert_eq!(known, answer.text());
            }
        });
    }
}

#[tokio::test]
async fn a_host_is_the_same_in_any_case_and_in_the_uri_or_the_field() {
    let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
    world.get("/").await;
    for same in [get("http://example.com/"), get("http://EXAMPLE.com/"), ask(Method::HEAD, "/", &[])] {
        assert!(world.ask(same).await.is_hit());
    }
    let other = [get("http://example.org/"), get("https://example.com/"), get("http://example.com:8080/")];
    for other in other {
        assert!(!world.ask(other).await.is_hit());
    }
    let mut two_hosts = get("/");
    two_hosts.headers_mut().append("host", "example.com".parse().unwrap());
    assert!(!world.ask(two_hosts).await.is_hit(), "which of two hosts is meant is not for a cache to guess");
}

#[tokio::test]
async fn queries_count_as_the_rules_say() {
    let named = || ["utm", "ref"];
    let table: [(Query, &[(&str, bool)]); 4] = [
        (Query::Exact, &[("?a=1&b=2", true), ("?b=2&a=1", false), ("?a=1&b=2&", false), ("?a=1&b=2&utm=x", false)]),
        (
            Query::Sorted,
            &[
                ("?b=2&a=1", true),
                ("?a=1&b=2&", true),
                ("?b=2&a=2", false),
                ("?a=1&b=2&b=3", false),
                ("?A=1&b=2", false),
            ],
        ),
        (
            Query::without(named()),
            &[("?utm=1&b=2&ref=&a=1", true), ("?a=1&b=2&utm", true), ("?a=1&b=2&utm2=1", false), ("?a=1", false)],
        ),
        (Query::only(["a"]), &[("?a=1", true), ("?c=9&a=1", true), ("?a=2", false), ("?b=2", false), ("", false)]),
    ];
    for (query, cases) in table {
        let world = World::counting(Rules::new().query(query.clone()), &[("cache-control", "max-age=60")]);
        world.get("/?a=1&b=2").await;
        for (other, same) in cases {
            let answer = world.ask(get_with(&format!("/{other}"), &[("cache-control", "only-if-cached")])).await;
            assert_eq!(answer.is_hit(), *same, "{query:?} {other}");
        }
    }
    // Parameters of one name keep their order.
    let world = World::counting(Rules::new().query(Query::Sorted), &[("cache-control", "max-age=60")]);
    assert_ne!(world.get("/?x=1&x=2").await.text(), world.get("/?x=2&x=1").await.text());
}

#[tokio::test]
async fn a_get_with_content_is_not_cached() {
    for field in [("content-length", "3"), ("transfer-encoding", "chunked")] {
        let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
        assert!(!world.stores(|| get_with("/", &[field])).await);
    }
}

#[tokio::test]
async fn a_key_over_the_limit_is_not_cached() {
    let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
    let (short, long) = (format!("/{}", "x".repeat(3900)), format!("/{}", "x".repeat(4097)));
    assert!(world.stores(|| get(&short)).await);
    assert!(!world.stores(|| get(&long)).await);
    let world = World::counting(Rules::new().key_with(|_| Some("x".repeat(5000))), &[("cache-control", "max-age=60")]);
    assert!(!world.stores(|| get("/")).await);
    assert!(!world.stores(|| in_partition(&"x".repeat(5000), get("/"))).await);
}

// Vary

/// Answers with the selecting fields' values.
fn varying(vary: &'static str) -> Origin {
    Origin::answering(move |request| {
        let value = |name: &str| {
            let lines: Vec<_> = request.headers.get_all(name).iter().map(|line| line.to_str().unwrap()).collect();
            lines.join("|")
        };
        let names: Vec<_> = vary.split(',').map(str::trim).map(value).collect();
        text(&[("cache-control", "max-age=60"), ("vary", vary)], names.join(";"))
    })
}

#[tokio::test]
async fn each_variant_answers_only_the_requests_that_selected_it() {
    let world = World::new(Rules::new(), varying("x-a, x-b"));
    let variants: [Fields; 6] =
        [&[("x-a", "1")], &[("x-a", "2")], &[("x-b", "1")], &[("x-a", "1"), ("x-b", "1")], &[], &[("x-a", "")]];
    for hit in [false, true] {
        for fields in variants {
            let answer = world.ask(get_with("/", fields)).await;
            assert_eq!(answer.is_hit(), hit, "{fields:?} {answer:?}");
        }
    }
    assert_eq!(world.origin.calls(), variants.len());
    assert!(world.ask(get_with("/", &[("x-a", "1"), ("x-other", "9")])).await.is_hit());
}

#[tokio::test]
async fn selecting_fields_that_mean_the_same_select_the_same() {
    for (field, first, same, other) in [
        ("accept-encoding", "gzip, br", " BR ,gzip", "gzip"),
        ("accept-encoding", "gzip;q=0.5", "gzip;q=0.50", "gzip;q=0.6"),
        ("x-list", "a, b", "a,b", "b, a"),
    ] {
        let world = World::new(Rules::new(), varying(field));
        world.ask(get_with("/", &[(field, first)])).await;
        assert!(world.ask(get_with("/", &[(field, same)])).await.is_hit(), "{field}: {same}");
        assert!(!world.ask(get_with("/", &[(field, other)])).await.is_hit(), "{field}: {other}");
    }
    let world = World::new(Rules::new(), varying("x-list"));
    world.ask(get_with("/", &[("x-list", "a"), ("x-list", "b")])).await;
    assert!(world.ask(get_with("/", &[("x-list", "a, b")])).await.is_hit());
}

#[tokio::test]
async fn a_hundred_variants_are_kept_if_the_limit_allows_it() {
    let world = World::with_config(Config::default().max_variants(100), Rules::new(), varying("x-v"));
    for hit in [false, true] {
        for n in 0..100 {
            let answer = world.ask(get_with("/", &[("x-v", &n.to_string())])).await;
            assert_eq!((answer.text(), answer.is_hit()), (n.to_string().as_str(), hit));
        }
    }
}

#[tokio::test]
async fn a_flood_of_variants_neither_fills_the_memory_nor_displaces_those_before_it() {
    let world = World::new(Rules::new(), varying("user-agent"));
    let mut bytes = 0;
    for n in 0..10_000 {
        assert_eq!(world.ask(get_with("/", &[("user-agent", &n.to_string())])).await.text(), n.to_string());
        if n == 100 {
            bytes = world.store.stats().size_bytes();
        }
    }
    assert_eq!(world.store.stats().entries(), 64 + 1, "the variants, and the list of them");
    assert_eq!(world.store.stats().size_bytes(), bytes, "nothing grows with the flood");
    for n in 0..64 {
        assert!(world.ask(get_with("/", &[("user-agent", &n.to_string())])).await.is_hit());
    }
    assert!(world.store.stats().stores(Tier::L1, StoreResult::TooLarge) >= 9_000);
}

#[tokio::test]
async fn variants_that_are_gone_make_room_for_others() {
    let world = World::with_config(Config::default().max_variants(4), Rules::new(), varying("x-v"));
    for n in 0..10 {
        world.ask(get_with("/", &[("x-v", &n.to_string())])).await;
    }
    assert!(!world.ask(get_with("/", &[("x-v", "9")])).await.is_hit());
    world.clock.advance(secs(61));
    world.ask(get_with("/", &[("x-v", "9")])).await;
    assert!(world.ask(get_with("/", &[("x-v", "9")])).await.is_hit(), "after the others have expired");
    let _ = world.store.purge_url("/").await.unwrap();
    world.ask(get_with("/", &[("x-v", "7")])).await;
    assert!(world.ask(get_with("/", &[("x-v", "7")])).await.is_hit(), "after a purge");
}

#[tokio::test]
async fn a_vary_that_changes_never_lets_a_response_answer_for_others() {
    let varies = Arc::new(Mutex::new("x-a"));
    let current = Arc::clone(&varies);
    let origin = Origin::answering(move |request| {
        let vary = *current.lock().unwrap();
        let value = |name| request.headers.get(name).map_or("-", |value: &http::HeaderValue| value.to_str().unwrap());
        text(&[("cache-control", "max-age=60"), ("vary", vary)], format!("{} {}", value("x-a"), value("x-b")))
    });
    let world = World::new(Rules::new(), origin);
    let with = async |a: &str, b: &str| world.ask(get_with("/", &[("x-a", a), ("x-b", b)])).await;
    assert_eq!(with("1", "1").await.text(), "1 1");
    assert_eq!(with("1", "2").await.text(), "1 1", "x-b does not count yet");
    *varies.lock().unwrap() = "x-a, x-b";
    assert_eq!(with("2", "2").await.text(), "2 2");
    assert_eq!(with("2", "3").await.text(), "2 3");
    world.clock.advance(secs(61));
    for (a, b) in [("1", "1"), ("1", "2"), ("2", "2"), ("2", "3")] {
        assert_eq!(with(a, b).await.text(), format!("{a} {b}"));
    }
    for (a, b) in [("1", "1"), ("1", "2"), ("2", "2"), ("2", "3")] {
        let answer = with(a, b).await;
        assert_eq!((answer.text(), answer.is_hit()), (format!("{a} {b}").as_str(), true));
    }
}

// Conditional requests

const TAGGED: Fields = &[("cache-control", "max-age=60"), ("etag", "\"one\""), ("x-field", "1")];

#[tokio::test]
async fn conditional_requests_are_answered_from_the_store() {
    let modified = leak([
        ("cache-control", "max-age=60"),
        ("etag", "\"one\""),
        ("last-modified", date(-100)),
        ("content-type", "text/plain"),
    ]);
    for (_, rules) in sets() {
        let world = World::counting(rules, modified);
        world.get("/").await;
        let table: &[(Fields, u16)] = &[
            (&[("if-none-match", "\"one\"")], 304),
            (&[("if-none-match", "W/\"one\"")], 304),
            (&[("if-none-match", "\"zero\", \"one\"")], 304),
            (&[("if-none-match", "*")], 304),
            (&[("if-none-match", "\"two\"")], 200),
            (leak([("if-modified-since", date(-100))]), 304),
            (leak([("if-modified-since", date(-50))]), 304),
            (leak([("if-modified-since", date(-101))]), 200),
            (leak([("if-none-match", "\"two\""), ("if-modified-since", date(-50))]), 200),
            (leak([("if-none-match", "\"one\""), ("if-modified-since", date(-200))]), 304),
            (&[("if-modified-since", "yesterday")], 200),
        ];
        for (fields, status) in table {
            let answer = world.ask(get_with("/", fields)).await;
            assert_eq!(answer.status.as_u16(), *status, "{fields:?}");
            assert!(answer.is_hit());
            assert_eq!(answer.text(), if *status == 304 { "" } else { "1" });
            assert_eq!(answer.field("etag"), "\"one\"");
            assert_eq!(answer.headers.contains_key("content-type"), *status == 200);
        }
        assert_eq!(world.origin.calls(), 1);
    }
}

#[tokio::test]
async fn preconditions_for_the_origin_go_to_the_origin() {
    let world = World::counting(Rules::new(), TAGGED);
    world.get("/").await;
    for field in [("if-match", "\"one\""), ("if-unmodified-since", date(0))] {
        assert!(!world.ask(get_with("/", &[field])).await.is_hit());
        assert!(world.origin.last().headers.contains_key(field.0));
    }
}

#[tokio::test]
async fn a_stale_response_is_validated_and_freshened() {
    for (_, rules) in sets() {
        let origin = Origin::answering(|request| {
            if request.headers.get("if-none-match").is_some_and(|tag| tag == "\"one\"") {
                return respond(
                    304,
                    &[("cache-control", "max-age=30"), ("etag", "\"one\""), ("x-field", "2")],
                    empty(),
                );
            }
            text(TAGGED, "content")
        });
        let world = World::new(rules, origin);
        world.get("/").await;
        world.clock.advance(secs(61));
        let validated = world.get("/").await;
        assert_eq!(
            (validated.status.as_u16(), validated.text(), validated.field("x-field")),
            (200, "content", "2".into())
        );
        assert_eq!(validated.field("cache-status"), "terrace; fwd=stale; fwd-status=304; ttl=30; stored");
        assert_eq!(world.store.stats().requests(CacheStatus::Revalidated), 1);
        world.clock.advance(secs(29));
        let hit = world.get("/").await;
        assert_eq!((hit.is_hit(), hit.text(), hit.field("x-field")), (true, "content", "2".into()));
        world.clock.advance(secs(1));
        assert!(!world.get("/").await.is_hit());
        assert_eq!(world.origin.calls(), 3);
    }
}

#[tokio::test]
async fn a_stale_response_is_replaced_by_a_new_one() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::answering(move |_| {
        let n = calls.fetch_add(1, SeqCst) + 1;
        text(&[("cache-control", "max-age=60"), ("etag", &format!("\"{n}\""))], n.to_string())
    });
    let world = World::new(Rules::new(), origin);
    world.get("/").await;
    world.clock.advance(secs(61));
    assert_eq!(world.get("/").await.text(), "2");
    assert_eq!(world.origin.last().headers["if-none-match"], "\"1\"");
    let hit = world.get("/").await;
    assert_eq!((hit.text(), hit.field("etag")), ("2", "\"2\"".into()));
}

#[tokio::test]
async fn tags_that_validations_add_count_towards_the_limit() {
    let number = Arc::new(AtomicUsize::new(0));
    let origin = Origin::answering(move |request| {
        let tag = number.fetch_add(1, SeqCst).to_string();
        let fields = [("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-tag", tag.as_str())];
        if request.headers.contains_key("if-none-match") { respond(304, &fields, empty()) } else { text(&fields, "x") }
    });
    let world = World::new(Rules::new(), origin);
    world.store.settings().set("CACHE_MAX_TAGS", "2").unwrap();
    for stored in [true, true, false] {
        world.get("/").await;
        assert_eq!(world.get("/").await.is_hit(), stored);
        world.clock.advance(secs(61));
    }
}

#[tokio::test]
async fn a_304_about_another_representation_never_puts_its_head_over_the_stored_content() {
    let origin = Origin::answering(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[("cache-control", "max-age=60"), ("etag", "\"two\""), ("x-field", "2")], empty());
        }
        text(TAGGED, "content of one")
    });
    let world = World::new(Rules::new(), origin);
    world.get("/").await;
    world.clock.advance(secs(61));
    for _ in 0..2 {
        let answer = world.get("/").await;
        assert!(answer.text() != "content of one" || answer.field("etag") == "\"one\"", "{answer:?}");
    }
}

#[tokio::test]
async fn a_304_to_a_clients_own_validator_reaches_that_client() {
    let world = World::new(
        Rules::new(),
        Origin::answering(|request| match request.headers.get("if-none-match") {
            Some(tag) if tag == "\"client\"" => respond(304, &[("etag", "\"client\"")], empty()),
            _ => text(&[("cache-control", "no-store"), ("etag", "\"x\"")], "content"),
        }),
    );
    world.get("/").await;
    let answer = world.ask(get_with("/", &[("if-none-match", "\"client\"")])).await;
    assert!(answer.status == 304 || answer.text() == "content");
}

#[tokio::test]
async fn a_response_that_always_validates_answers_only_after_the_origin_agreed() {
    let origin = Origin::answering(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[("etag", "\"1\"")], empty());
        }
        text(&[("cache-control", "no-cache"), ("etag", "\"1\"")], "x")
    });
    let world = World::new(Rules::new(), origin);
    for calls in 1..=4 {
        assert_eq!(world.get("/").await.text(), "x");
        assert_eq!(world.origin.calls(), calls);
    }
    assert_eq!(world.store.stats().requests(CacheStatus::Revalidated), 3);
}

// Ranges

const DIGITS: &str = "0123456789";

fn digits() -> World {
    let fields = &[("cache-control", "max-age=60"), ("etag", "\"strong\""), ("content-type", "text/plain")];
    World::new(Rules::new(), Origin::answering(move |_| text(fields, DIGITS)))
}

#[tokio::test]
async fn ranges_are_served_from_a_complete_response() {
    for (_, rules) in sets() {
        let mut world = digits();
        world.service = CacheLayer::new(world.store.clone()).rules(rules).layer(world.origin.clone());
        world.get("/").await;
        let table: [(&str, u16, &str, &str); 9] = [
            ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
            ("bytes=4-", 206, "456789", "bytes 4-9/10"),
            ("bytes=-3", 206, "789", "bytes 7-9/10"),
            ("bytes=8-100", 206, "89", "bytes 8-9/10"),
            ("bytes=-100", 206, DIGITS, "bytes 0-9/10"),
            ("bytes=10-", 416, "", "bytes */10"),
            ("bytes=3-1", 200, DIGITS, ""),
            ("lines=0-3", 200, DIGITS, ""),
            ("bytes=a-b", 200, DIGITS, ""),
        ];
        for (range, status, content, content_range) in table {
            let answer = world.ask(get_with("/", &[("range", range)])).await;
            assert_eq!(answer.status.as_u16(), status, "{range}");
            assert_eq!((answer.text(), answer.field("content-range").as_str()), (content, content_range), "{range}");
            if status == 206 {
                assert_eq!(answer.field("content-length"), content.len().to_string());
            }
            assert!(answer.is_hit(), "{range}");
        }
        let head = world.ask(ask(Method::HEAD, "/", &[("range", "bytes=0-3")])).await;
        assert_eq!((head.status.as_u16(), head.text()), (200, ""));
        assert_eq!(world.origin.calls(), 1);
    }
}

#[tokio::test]
async fn if_range_serves_a_part_only_of_the_same_representation() {
    let world = digits();
    world.get("/").await;
    for (validator, status) in [("\"strong\"", 206), ("\"other\"", 200), ("W/\"strong\"", 200), (date(0), 200)] {
        let answer = world.ask(get_with("/", &[("range", "bytes=0-3"), ("if-range", validator)])).await;
        assert_eq!(answer.status.as_u16(), status, "{validator}");
    }
    let both = world.ask(get_with("/", &[("range", "bytes=0-3"), ("if-none-match", "\"strong\"")])).await;
    assert_eq!(both.status, 304);
}

/// The parts of a `multipart/byteranges` (RFC 2046 section 5.1.1): their fields and content.
fn parts(answer: &Answer) -> Vec<(HashMap<String, String>, String)> {
    let kind = answer.field("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("a boundary").trim_matches('"');
    assert!(!boundary.is_empty() && boundary.len() <= 70);
    let delimiter = format!("\r\n--{boundary}");
    let framed = format!("\r\n{}", answer.text().trim_start_matches("\r\n"));
    let mut pieces = framed.split(delimiter.as_str());
    assert_eq!(pieces.next(), Some(""), "nothing before the first delimiter");
    let pieces: Vec<_> = pieces.collect();
    let (last, parts) = pieces.split_last().unwrap();
    assert!(last.starts_with("--"), "the close delimiter");
    parts
        .iter()
        .map(|part| {
            let part = part.strip_prefix("\r\n").expect("a line ends the delimiter");
            let (head, content) = part.split_once("\r\n\r\n").expect("a head");
            let fields = head.split("\r\n").map(|line| line.split_once(": ").expect("a field"));
            (fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(), content.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn several_ranges_come_in_one_multipart() {
    let world = digits();
    world.get("/").await;
    let answer = world.ask(get_with("/", &[("range", "bytes=0-1, 4-5, -1")])).await;
    assert_eq!(answer.status, 206);
    assert_eq!(answer.field("content-length"), answer.content.len().to_string());
    assert_eq!(answer.field("content-range"), "");
    let found = parts(&answer);
    let expected = [("bytes 0-1/10", "01"), ("bytes 4-5/10", "45"), ("bytes 9-9/10", "9")];
    assert_eq!(found.len(), expected.len());
    for ((fields, content), (range, bytes)) in found.iter().zip(expected) {
        assert_eq!((fields["content-range"].as_str(), content.as_str()), (range, bytes));
        assert_eq!(fields["content-type"], "text/plain");
    }
    // One that is left over of several is served as one.
    let one = world.ask(get_with("/", &[("range", "bytes=2-3, 50-60")])).await;
    assert_eq!((one.status.as_u16(), one.text(), one.field("content-range").as_str()), (206, "23", "bytes 2-3/10"));
}

#[tokio::test]
async fn many_and_overlapping_ranges_cost_no_more_than_the_content() {
    let world = digits();
    world.get("/").await;
    let many = format!("bytes={}", vec!["0-9"; 500].join(","));
    let answer = world.ask(get_with("/", &[("range", &many)])).await;
    assert!(answer.content.len() <= 10 + 200, "{} bytes for 10", answer.content.len());
}

/// An origin that serves one range of the digits, under these validators in turn.
fn partial(tags: &'static [&'static str]) -> Origin {
    let calls = AtomicUsize::new(0);
    Origin::answering(move |request| {
        let tag = tags[calls.fetch_add(1, SeqCst).min(tags.len() - 1)];
        let fields = [("cache-control", "max-age=60"), ("etag", tag)];
        let Some(range) = request.headers.get("range") else {
            return text(&fields, DIGITS);
        };
        let (first, last) = range.to_str().unwrap().trim_start_matches("bytes=").split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(9));
        let mut response = respond(206, &fields, full(&DIGITS[first..=last]));
        response.headers_mut().insert("content-range", format!("bytes {first}-{last}/10").parse().unwrap());
        response
    })
}

#[tokio::test]
async fn parts_are_stored_and_put_together_under_one_strong_validator() {
    let world = World::new(Rules::new(), partial(&["\"a\""]));
    let range = async |range: &str| world.ask(get_with("/", &[("range", range)])).await;
    assert_eq!(range("bytes=0-4").await.text(), "01234");
    let inside = range("bytes=1-3").await;
    assert_eq!((inside.text(), inside.is_hit(), inside.field("content-range").as_str()), ("123", true, "bytes 1-3/10"));
    assert_eq!(range("bytes=5-9").await.text(), "56789");
    let whole = world.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text(), whole.is_hit()), (200, DIGITS, true));
    assert_eq!(world.origin.calls(), 2);
}

#[tokio::test]
async fn parts_of_different_or_weakly_validated_representations_are_never_put_together() {
    for tags in [&["\"a\"", "\"b\""][..], &["W/\"a\"", "W/\"a\""]] {
        let world = World::new(Rules::new(), partial(tags));
        world.ask(get_with("/", &[("range", "bytes=0-4")])).await;
        world.ask(get_with("/", &[("range", "bytes=5-9")])).await;
        let whole = world.get("/").await;
        assert_eq!((whole.status.as_u16(), whole.is_hit()), (200, false), "{tags:?}");
        assert_eq!(whole.text(), DIGITS);
    }
}

#[tokio::test]
async fn a_stored_part_never_answers_a_request_for_the_whole() {
    let world = World::new(Rules::new(), partial(&["\"a\""]));
    world.ask(get_with("/", &[("range", "bytes=0-4")])).await;
    let whole = world.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text(), whole.is_hit()), (200, DIGITS, false));
    assert!(world.get("/").await.is_hit());
}

// Unsafe methods

#[tokio::test]
async fn unsafe_methods_invalidate_their_target_if_they_succeed() {
    for (_, rules) in sets() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "MKCOL"] {
            for (status, invalidates) in
                [(200, true), (201, true), (204, true), (302, true), (404, false), (500, false)]
            {
                let origin = Origin::answering(move |request| match request.method {
                    Method::GET => text(&[("cache-control", "max-age=60")], "x"),
                    _ => respond(status, &[], empty()),
                });
                let world = World::new(rules.clone(), origin);
                world.get("/it").await;
                world.get("/other").await;
                world.ask(in_partition("p", get("/it"))).await;
                world.ask(ask(method.parse().unwrap(), "/it", &[])).await;
                assert_eq!(!world.get("/it").await.is_hit(), invalidates, "{method} {status}");
                assert_eq!(!world.ask(in_partition("p", get("/it"))).await.is_hit(), invalidates, "{method} {status}");
                assert!(world.get("/other").await.is_hit());
            }
        }
    }
}

#[tokio::test]
async fn safe_methods_invalidate_nothing() {
    for method in ["OPTIONS", "TRACE", "HEAD"] {
        let world = World::counting(Rules::new(), &[("cache-control", "max-age=60")]);
        world.get("/").await;
        world.ask(ask(method.parse().unwrap(), "/", &[])).await;
        assert!(world.get("/").await.is_hit(), "{method}");
    }
}

#[tokio::test]
async fn unsafe_methods_invalidate_what_they_point_to_on_the_same_origin_only() {
    let table = [
        ("location", "/there", true),
        ("location", "http://example.com/there", true),
        ("content-location", "/there", true),
        ("content-location", "http://example.com/there", true),
        ("location", "http://example.org/there", false),
    ];
    for (field, value, invalidated) in table {
        let origin = Origin::answering(move |request| match request.method {
            Method::GET => text(&[("cache-control", "max-age=60")], "x"),
            _ => respond(201, &[(field, value)], empty()),
        });
        let world = World::new(Rules::new(), origin);
        world.get("/there").await;
        world.get("http://example.org/there").await;
        world.ask(ask(Method::POST, "/here", &[])).await;
        assert_eq!(!world.get("/there").await.is_hit(), invalidated, "{field}: {value}");
        assert!(world.get("http://example.org/there").await.is_hit(), "{field}: {value}");
    }
}

#[tokio::test]
async fn all_variants_and_queries_in_any_order_fall_with_their_url() {
    let origin = Origin::answering(|request| match request.method {
        Method::GET => text(&[("cache-control", "max-age=60"), ("vary", "x-v")], "x"),
        _ => respond(200, &[], empty()),
    });
    let world = World::new(Rules::new(), origin);
    let variant = async |v: &str| world.ask(get_with("/?a=1&b=2", &[("x-v", v)])).await;
    for v in ["1", "2", "3"] {
        variant(v).await;
        assert!(variant(v).await.is_hit());
    }
    world.ask(ask(Method::POST, "/?a=1&b=2", &[])).await;
    for v in ["1", "2", "3"] {
        assert!(!variant(v).await.is_hit());
    }
}

#[tokio::test]
async fn a_post_that_says_so_is_stored_for_get_under_rfc9111() {
    for (rules, stored) in [(Rules::rfc9111(), true), (Rules::new(), false)] {
        let fields = &[("cache-control", "max-age=60"), ("content-location", "/")];
        let world = World::counting(rules, fields);
        world.ask(ask(Method::POST, "/", &[])).await;
        let answer = world.get("/").await;
        assert_eq!((answer.is_hit(), answer.text()), (stored, if stored { "1" } else { "2" }));
    }
}

// Stale answers

fn failing_after_the_first(fields: Fields, failure: Option<u16>) -> Origin {
    let calls = AtomicUsize::new(0);
    Origin::new(move |_| {
        let first = calls.fetch_add(1, SeqCst) == 0;
        let outcome = match failure {
            _ if first => Ok(text(fields, "good")),
            Some(status) => Ok(respond(status, &[], full("bad"))),
            None => Err(Failure("refused")),
        };
        async { outcome }
    })
}

async fn after(world: &World, seconds: u64) -> Option<Answer> {
    world.clock.advance(secs(seconds));
    let mut service = world.service.clone();
    let response = service.call(get("/")).await.ok()?;
    Some(terrace_tests::read(response).await.unwrap())
}

#[tokio::test]
async fn stale_if_error_answers_while_the_origin_fails_within_its_window() {
    let by_field: Fields = &[("cache-control", "max-age=60, stale-if-error=30")];
    let by_rules: Fields = &[("cache-control", "max-age=60")];
    for (rules, fields) in [(Rules::new(), by_field), (Rules::new().stale_if_error(secs(30)), by_rules)] {
        for failure in [Some(500), Some(502), Some(503), Some(504), None] {
            let world = World::new(rules.clone(), failing_after_the_first(fields, failure));
            world.get("/").await;
            let stale = after(&world, 75).await.expect("a stale answer");
            assert_eq!((stale.text(), stale.age()), ("good", Some(75)), "{failure:?}");
            assert!(stale.field("cache-status").contains("stale-if-error"), "{stale:?}");
            assert_eq!(world.store.stats().requests(CacheStatus::Stale), 1);
            let over = after(&world, 16).await;
            assert!(over.is_none_or(|answer| answer.text() == "bad"), "{failure:?}");
        }
        let world = World::new(rules, failing_after_the_first(fields, Some(404)));
        world.get("/").await;
        assert_eq!(after(&world, 61).await.unwrap().status, 404, "that is an answer, not a failure");
    }
}

#[tokio::test]
async fn nothing_stale_is_served_against_the_origins_word() {
    for control in ["max-age=60, must-revalidate", "max-age=60, proxy-revalidate", "no-cache"] {
        let rules = Rules::new().stale_if_error(secs(99)).stale_while_revalidate(secs(99));
        let fields = leak([("cache-control", control), ("etag", "\"x\"")]);
        let world = World::new(rules, failing_after_the_first(fields, Some(503)));
        world.get("/").await;
        assert_eq!(after(&world, 61).await.unwrap().text(), "bad", "{control}");
    }
}

#[tokio::test]
async fn stale_while_revalidate_answers_at_once_and_fetches_behind() {
    let by_field: Fields = &[("cache-control", "max-age=60, stale-while-revalidate=30")];
    let by_rules: Fields = &[("cache-control", "max-age=60")];
    for (rules, fields) in [(Rules::new(), by_field), (Rules::new().stale_while_revalidate(secs(30)), by_rules)] {
        let world = World::counting(rules.clone(), fields);
        world.get("/").await;
        let stale = after(&world, 75).await.unwrap();
        assert_eq!((stale.text(), stale.field("cache-status").as_str()), ("1", "terrace; hit; ttl=-15"));
        until("it is refreshed", || world.store.stats().stores(Tier::L1, StoreResult::Ok) == 2).await;
        let fresh = world.get("/").await;
        assert_eq!((fresh.text(), fresh.age()), ("2", Some(0)));
        // Beyond the window the origin is asked first.
        assert_eq!(after(&world, 91).await.unwrap().text(), "3");
    }
}

#[tokio::test]
async fn an_unreachable_origin_lets_rfc9111_serve_stale_without_a_window() {
    for (name, rules) in sets() {
        let world = World::new(rules, failing_after_the_first(&[("cache-control", "max-age=60")], None));
        world.get("/").await;
        assert_eq!(after(&world, 1000).await.is_some(), name == "rfc9111");
    }
}

#[tokio::test]
async fn a_soft_purge_makes_stale_and_a_hard_one_removes() {
    for soft in [true, false] {
        let control = "max-age=600, stale-while-revalidate=600";
        let world = World::counting(Rules::new(), leak([("cache-control", control), ("etag", "\"x\"")]));
        world.get("/").await;
        let purge = world.store.purge_url("/");
        let _ = if soft { purge.soft().await } else { purge.await }.unwrap();
        let after = world.get("/").await;
        assert_eq!(after.text(), if soft { "1" } else { "2" });
        if soft {
            until("it is refreshed", || world.store.stats().stores(Tier::L1, StoreResult::Ok) == 2).await;
            assert_eq!(world.get("/").await.text(), "2");
        }
    }
}

#[tokio::test]
async fn a_soft_purge_without_a_window_asks_the_origin_with_the_validators() {
    let world = World::counting(Rules::new(), TAGGED);
    world.get("/").await;
    let _ = world.store.purge_all().soft().await.unwrap();
    assert_eq!(world.get("/").await.text(), "2");
    assert_eq!(world.origin.last().headers["if-none-match"], "\"one\"");
    assert!(world.get("/").await.is_hit());
}

// What clients demand

#[tokio::test]
async fn clients_can_demand_a_fresher_answer_only_where_the_rules_let_them() {
    let demands: [Fields; 3] =
        [&[("cache-control", "no-cache")], &[("cache-control", "max-age=0")], &[("cache-control", "min-fresh=100")]];
    for (rules, honoured) in [
        (Rules::new(), false),
        (Rules::rfc9111(), true),
        (Rules::new().honor_reload(true), true),
        (Rules::rfc9111().honor_reload(false), false),
    ] {
        for fields in demands {
            let world = World::counting(rules.clone(), &[("cache-control", "max-age=60")]);
            world.get("/").await;
            assert_eq!(!world.ask(get_with("/", fields)).await.is_hit(), honoured, "{fields:?}");
        }
    }
}

#[tokio::test]
async fn clients_that_accept_a_stale_answer_get_it_only_where_the_rules_let_them() {
    for (rules, honoured) in [(Rules::rfc9111(), true), (Rules::rfc9111().honor_reload(false), false)] {
        let world = World::counting(rules, &[("cache-control", "max-age=60")]);
        world.get("/").await;
        world.clock.advance(secs(70));
        let stale = world.ask(get_with("/", &[("cache-control", "max-stale=20")])).await;
        assert_eq!(stale.text() == "1", honoured);
    }
}

#[tokio::test]
async fn what_a_reload_brought_is_what_others_get_from_then_on() {
    let world = World::counting(Rules::rfc9111(), &[("cache-control", "max-age=60")]);
    for round in 1..=3 {
        for _ in 0..4 {
            assert_eq!(world.get("/").await.text(), round.to_string());
        }
        world.ask(get_with("/", &[("cache-control", "no-cache")])).await;
    }
}

#[tokio::test]
async fn what_a_head_showed_to_be_outdated_is_not_served_again() {
    let calls = AtomicUsize::new(0);
    let origin = Origin::answering(move |request| {
        let n = calls.fetch_add(1, SeqCst);
        let fields = [("cache-control", "max-age=60"), ("etag", if n == 0 { "\"1\"" } else { "\"2\"" })];
        if request.method == Method::HEAD { respond(200, &fields, empty()) } else { text(&fields, n.to_string()) }
    });
    let world = World::new(Rules::rfc9111(), origin);
    for _ in 0..4 {
        assert_eq!(world.get("/").await.text(), "0");
    }
    world.ask(ask(Method::HEAD, "/", &[("cache-control", "no-cache")])).await;
    assert_eq!(world.get("/").await.text(), "2");
}

#[tokio::test]
async fn only_if_cached_and_no_store_are_honoured_by_both_sets() {
    for (_, rules) in sets() {
        let world = World::counting(rules, &[("cache-control", "max-age=60")]);
        let only = || get_with("/", &[("cache-control", "only-if-cached")]);
        assert_eq!(world.ask(only()).await.status, 504);
        assert_eq!(world.origin.calls(), 0);
        world.ask(get_with("/", &[("cache-control", "no-store")])).await;
        assert_eq!(world.ask(only()).await.status, 504, "nothing was stored");
        world.get("/").await;
        assert!(world.ask(only()).await.is_hit());
    }
}

// Tags

async fn tagged(origin: Origin, rules: Rules, tag: &str) {
    let world = World::new(rules, origin);
    world.get("/one").await;
    assert!(world.get("/one").await.is_hit());
    let _ = world.store.purge_tag("another").await.unwrap();
    assert!(world.get("/one").await.is_hit(), "another tag");
    let _ = world.store.purge_tag(tag).await.unwrap();
    assert!(!world.get("/one").await.is_hit(), "tag {tag}");
    assert!(world.get("/one").await.is_hit(), "what was stored after the purge");
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn tags_come_from_rules_fields_and_extensions() {
    let plain = || Origin::counting(&[FRESH]);
    let by_path = |parts: &Parts| [format!("path:{}", parts.uri.path()), "all".to_owned()];
    for tag in ["path:/one", "all"] {
        tagged(plain(), Rules::new().tag_with(by_path), tag).await;
    }
    for tag in ["a", "b", "c", "d"] {
        tagged(Origin::counting(&[FRESH, ("cache-tag", "a,b c"), ("surrogate-key", "d")]), Rules::new(), tag).await;
    }
    tagged(
        Origin::counting(&[FRESH, ("x-tags", "t")]),
        Rules::new().tag_fields([HeaderName::from_static("x-tags")]),
        "t",
    )
    .await;
    for tag in ["typed", "other typed"] {
        let origin = Origin::answering(|_| {
            let mut response = text(&[FRESH], "x");
            response.extensions_mut().insert(CacheTags::new().with("typed").with("other typed".to_owned()));
            response
        });
        tagged(origin, Rules::new(), tag).await;
    }
}

#[tokio::test]
async fn tag_fields_are_removed_from_answers_unless_kept() {
    for keep in [false, true] {
        let fields = &[FRESH, ("cache-tag", "a"), ("surrogate-key", "b")];
        let world = World::counting(Rules::new().keep_tag_fields(keep), fields);
        for hit in [false, true] {
            let answer = world.get("/").await;
            assert_eq!(answer.is_hit(), hit);
            assert_eq!(answer.headers.contains_key("cache-tag"), keep);
            assert_eq!(answer.headers.contains_key("surrogate-key"), keep);
        }
    }
}

#[tokio::test]
async fn tag_fields_are_removed_from_answers_that_could_not_be_stored() {
    let world = World::counting(Rules::new(), &[("cache-control", "no-store"), ("cache-tag", "a")]);
    for request in [get("/"), get("/"), ask(Method::HEAD, "/", &[])] {
        assert!(!world.ask(request).await.headers.contains_key("cache-tag"));
    }
}

#[tokio::test]
async fn tags_of_a_304_count_beside_those_of_the_stored_response() {
    let origin = Origin::answering(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-tag", "new")], empty());
        }
        text(&[FRESH, ("etag", "\"1\""), ("cache-tag", "old")], "x")
    });
    for tag in ["old", "new"] {
        let world = World::new(Rules::new(), origin.clone());
        world.get("/").await;
        world.clock.advance(secs(61));
        world.get("/").await;
        assert!(world.get("/").await.is_hit());
        let _ = world.store.purge_tag(tag).await.unwrap();
        assert!(!world.get("/").await.is_hit(), "{tag}");
    }
}

#[tokio::test]
async fn a_response_with_too_many_tags_is_not_stored() {
    for (tags, stored) in [(64, true), (65, false)] {
        let names = Box::leak((0..tags).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",").into_boxed_str());
        let world = World::counting(Rules::new(), leak([FRESH, ("cache-tag", names)]));
        assert_eq!(world.stores(|| get("/")).await, stored, "{tags} tags");
    }
}

// Purges

const URLS: [&str; 7] = [
    "http://example.com/a/b?x=1&y=2",
    "http://example.com/a/b",
    "http://example.com/a/bc",
    "http://example.com/a/b/c",
    "http://example.com/",
    "http://example.org/a/b",
    "https://example.com/a/b",
];

#[tokio::test]
async fn purges_reach_what_they_name_and_nothing_else() {
    type Case = (&'static str, fn(&Store) -> Purge, &'static [usize]);
    let table: [Case; 12] = [
        ("url", |store| store.purge_url("http://example.com/a/b"), &[1, 6]),
        ("url on any host", |store| store.purge_url("/a/b"), &[1, 5, 6]),
        ("url with a query", |store| store.purge_url("http://example.com/a/b?y=2&x=1"), &[0]),
        ("host in capitals", |store| store.purge_url("http://EXAMPLE.com/a/b"), &[1, 6]),
        ("url with a fragment", |store| store.purge_url("http://example.com/a/b#part"), &[1, 6]),
        ("host without a path", |store| store.purge_url("http://example.com"), &[4]),
        ("prefix", |store| store.purge_prefix("http://example.com/a/b"), &[0, 1, 3, 6]),
        ("prefix with a slash", |store| store.purge_prefix("/a/b/"), &[0, 1, 3, 5, 6]),
        ("prefix of any host", |store| store.purge_prefix("/a"), &[0, 1, 2, 3, 5, 6]),
        ("prefix of a host", |store| store.purge_prefix("http://example.org/"), &[5]),
        ("all", Store::purge_all, &[0, 1, 2, 3, 4, 5, 6]),
        ("nothing", |store| store.purge_url("/a"), &[]),
    ];
    for (name, purge, reached) in table {
        for soft in [false, true] {
            let world = World::counting(Rules::new(), &[FRESH]);
            for url in URLS {
                world.get(url).await;
            }
            let purge = purge(&world.store);
            let _ = if soft { purge.soft().await } else { purge.await }.unwrap();
            for (at, url) in URLS.iter().enumerate() {
                let only = ask(Method::GET, url, &[("cache-control", "only-if-cached")]);
                assert_eq!(!world.ask(only).await.is_hit(), reached.contains(&at), "{name}: {url}, soft: {soft}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_again_and_again_obeys_as_what_is_asked_for_once() {
    let asked_often = async |rules: Rules, fields: Fields| {
        let world = World::counting(rules, fields);
        for _ in 0..10 {
            assert_eq!(world.get("/").await.text(), "1");
        }
        world
    };
    let swr: Fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    let world = asked_often(Rules::new(), swr).await;
    let _ = world.store.purge_all().soft().await.unwrap();
    let stale = world.get("/").await;
    assert_eq!((stale.text(), world.store.stats().requests(CacheStatus::Stale)), ("1", 1), "softly purged");
    let world = asked_often(Rules::new(), swr).await;
    let _ = world.store.purge_url("/").await.unwrap();
    assert_eq!(world.get("/").await.text(), "2", "purged");
    let world = asked_often(Rules::new(), &[FRESH]).await;
    world.ask(ask(Method::POST, "/", &[])).await;
    assert_eq!(world.get("/").await.text(), "3", "changed");
    let world = asked_often(Rules::new(), &[FRESH]).await;
    world.clock.advance(Duration::from_millis(59_999));
    assert_eq!(world.get("/").await.text(), "1");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.get("/").await.text(), "2", "stale to the millisecond");
    let world = asked_often(Rules::new(), &[FRESH]).await;
    world.clock.advance(secs(7));
    assert_eq!(world.get("/").await.age(), Some(7));
    for flag in [terrace::stats::Feature::L1, terrace::stats::Feature::Cache] {
        let world = asked_often(Rules::new(), &[FRESH]).await;
        world.store.flags().set(flag, false);
        assert_eq!(world.get("/").await.text(), "2", "{flag:?} off");
    }
    let world = asked_often(Rules::new().default_ttl(secs(60)), &[]).await;
    assert_eq!(world.ask(get_with("/", &[("cookie", "a=b")])).await.text(), "2", "with credentials");
    assert_eq!(world.ask(in_partition("p", get("/"))).await.text(), "3", "in a partition");
    assert_eq!(world.ask(get_with("/", &[("range", "bytes=0-0")])).await.status, 206);
    assert_eq!(world.ask(ask(Method::HEAD, "/", &[])).await.text(), "");
}

#[tokio::test]
async fn malformed_purges_name_what_they_got() {
    let store = Store::memory();
    for url in ["", "example.com/a", "a"] {
        for purge in [store.purge_url(url), store.purge_prefix(url)] {
            let error = purge.await.unwrap_err().to_string();
            assert!(error.contains(&format!("`{url}`")) && error.contains("begins with a slash"), "{error}");
        }
    }
}

#[tokio::test]
async fn names_of_tags_partitions_and_paths_are_never_confused() {
    let world = World::counting(Rules::new().tag_with(|_| ["x".to_owned()]), &[FRESH]);
    world.ask(in_partition("p", get("/a"))).await;
    for purge in [
        world.store.purge_tag("p"),
        world.store.purge_partition("x"),
        world.store.purge_tag("/a"),
        world.store.purge_url("/x"),
        world.store.purge_partition(""),
        world.store.purge_tag(""),
        world.store.purge_tag("*"),
    ] {
        let _ = purge.await.unwrap();
        assert!(world.ask(in_partition("p", get("/a"))).await.is_hit());
    }
}

// Questions: POSTs keyed by their body

/// Takes the bodies that [`BodyDigestLayer`] hands on.
#[derive(Clone)]
struct Adapted(Origin);

impl Service<Request<Replay<Body>>> for Adapted {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = <Origin as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<Replay<Body>>) -> Self::Future {
        self.0.call(request.map(BodyExt::boxed_unsync))
    }
}

type Questions = BodyDigestService<Cache<Adapted>>;

fn questions(rules: Rules, digest: &BodyDigestLayer, origin: Origin) -> (Store, Questions) {
    let store = Store::memory();
    let service = digest.layer(CacheLayer::new(store.clone()).rules(rules).layer(Adapted(origin)));
    (store, service)
}

fn post(uri: &str, body: impl Into<Bytes>) -> Request<Body> {
    ask(Method::POST, uri, &[]).map(|_| full(body))
}

fn five_minutes() -> Rules {
    Rules::new().default_ttl(secs(300))
}

#[tokio::test]
async fn a_question_is_its_whole_body_however_it_is_cut() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), Origin::counting(&[]));
    assert_eq!(call(&service, post("/", "findings")).await.text(), "1");
    let cut = |pieces: &[&'static str]| {
        let (feed, body) = fed();
        for piece in pieces {
            assert!(feed.send(*piece));
        }
        ask(Method::POST, "/", &[]).map(|_| body)
    };
    for pieces in [&["find", "ings"][..], &["", "f", "indings", ""], &["findings"]] {
        assert!(call(&service, cut(pieces)).await.is_hit(), "{pieces:?}");
    }
    for other in ["finding", "findings ", "Findings", ""] {
        assert!(!call(&service, post("/", other)).await.is_hit(), "{other:?}");
    }
}

#[tokio::test]
async fn a_question_is_also_its_url_and_how_its_body_is_to_be_read() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), Origin::counting(&[]));
    call(&service, post("/", "x")).await;
    for (uri, fields) in [
        ("/other", &[][..]),
        ("/?q", &[]),
        ("http://example.org/", &[]),
        ("/", &[("content-type", "text/plain")]),
        ("/", &[("content-encoding", "gzip")]),
    ] {
        let ask = || ask(Method::POST, uri, fields).map(|_| full("x"));
        assert!(!call(&service, ask()).await.is_hit(), "{uri} {fields:?}");
        assert!(call(&service, ask()).await.is_hit(), "{uri} {fields:?}");
    }
    assert!(!call(&service, get("/")).await.is_hit(), "a GET is another question");
}

#[tokio::test]
async fn the_origin_reads_the_whole_question() {
    let origin = Origin::new(|request| async {
        let body = request.into_body().collect().await?.to_bytes();
        Ok(text(&[], body))
    });
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new().limit(10), origin);
    for body in ["", "short", "0123456789", "more than ten bytes"] {
        assert_eq!(call(&service, post("/", body)).await.text(), body);
    }
}

#[tokio::test]
async fn a_question_over_the_limit_is_passed_on_uncached() {
    let origin = Origin::counting(&[]);
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new().limit(10), origin.clone());
    for (body, calls) in [("0123456789", 1), ("0123456789x", 3)] {
        for _ in 0..2 {
            call(&service, post("/", body)).await;
        }
        assert_eq!(origin.calls(), calls);
    }
}

#[tokio::test]
async fn a_question_whose_body_fails_reaches_the_origin_with_its_failure() {
    let origin = Origin::new(|request| async {
        request.into_body().collect().await?;
        Ok(text(&[], "never"))
    });
    let (_, mut service) = questions(five_minutes(), &BodyDigestLayer::new(), origin.clone());
    for _ in 0..2 {
        let (feed, body) = fed();
        feed.send("half");
        feed.fail("reset");
        let error = service.call(ask(Method::POST, "/", &[]).map(|_| body)).await.map(|_| ()).unwrap_err();
        assert_eq!(error, Failure("reset"));
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn only_complete_successful_answers_to_questions_are_stored() {
    type Make = fn() -> Response<Body>;
    let cases: [(&str, Make, bool); 8] = [
        ("200", || text(&[], "verdict"), true),
        ("400", || respond(400, &[], full("x")), false),
        ("422", || respond(422, &[], full("x")), false),
        ("500", || respond(500, &[], full("x")), false),
        ("504", || respond(504, &[], full("x")), false),
        ("206", || respond(206, &[("content-range", "bytes 0-0/9")], full("x")), false),
        ("too short", || respond(200, &[("content-length", "9")], full("x")), false),
        (
            "broken",
            || {
                let mut first = true;
                respond(
                    200,
                    &[],
                    scripted(move |_, _| {
                        let frame =
                            if std::mem::take(&mut first) { Ok(Frame::data("x".into())) } else { Err(Failure("x")) };
                        Poll::Ready(Some(frame))
                    }),
                )
            },
            false,
        ),
    ];
    for (name, make, stored) in cases {
        let origin = Origin::answering(move |_| make());
        let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), origin.clone());
        for _ in 0..3 {
            let mut service = service.clone();
            let response = service.call(post("/", "q")).await.map_err(|_| ()).unwrap();
            let _ = terrace_tests::read(response).await;
        }
        assert_eq!(origin.calls(), if stored { 1 } else { 3 }, "{name}");
    }
    let failing = Origin::new(|_| async { Err(Failure("timeout")) });
    let (_, mut service) = questions(five_minutes(), &BodyDigestLayer::new(), failing.clone());
    for _ in 0..2 {
        assert!(service.call(post("/", "q")).await.is_err());
    }
    assert_eq!(failing.calls(), 2);
}

#[tokio::test]
async fn another_version_of_the_validator_asks_anew() {
    let origin = Origin::counting(&[]);
    let store = Store::memory();
    let at = |version: &'static str| {
        let cache = CacheLayer::new(store.clone()).rules(five_minutes().version(version));
        BodyDigestLayer::new().layer(cache.layer(Adapted(origin.clone())))
    };
    let (one, two) = (at("v1"), at("v2"));
    assert_eq!(call(&one, post("/", "q")).await.text(), "1");
    assert_eq!(call(&two, post("/", "q")).await.text(), "2");
    assert_eq!(call(&one, post("/", "q")).await.text(), "1");
    let _ = store.purge_url("/").await.unwrap();
    assert_eq!(call(&one, post("/", "q")).await.text(), "3");
}

#[tokio::test]
async fn a_question_invalidates_nothing_and_a_command_still_does() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new().limit(3), Origin::counting(&[]));
    call(&service, get("/")).await;
    call(&service, post("/", "abc")).await;
    assert!(call(&service, get("/")).await.is_hit());
    call(&service, ask(Method::PUT, "/", &[]).map(|_| full("abc"))).await;
    assert!(!call(&service, get("/")).await.is_hit());
    assert!(!call(&service, post("/", "abc")).await.is_hit(), "what was answered before the change is gone too");
}

#[tokio::test]
async fn personal_questions_are_not_shared() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), Origin::counting(&[]));
    let mine = || ask(Method::POST, "/", &[("authorization", "me")]).map(|_| full("q"));
    assert_ne!(call(&service, mine()).await.text(), call(&service, mine()).await.text());
    assert!(
        call(&service, in_partition("me", mine())).await.text()
            == call(&service, in_partition("me", mine())).await.text()
    );
}

// Overrides

#[tokio::test]
async fn rules_belong_to_a_route_in_axum() {
    use axum::{Router, routing::get as on_get};
    let calls = Arc::new(AtomicUsize::new(0));
    let handler = move || {
        let n = calls.fetch_add(1, SeqCst) + 1;
        async move { n.to_string() }
    };
    let store = Store::memory();
    let cache = CacheLayer::new(store);
    let long = cache.clone().rules(Rules::new().default_ttl(secs(60)));
    let app: Router = Router::new()
        .route("/long", on_get(handler.clone()).layer(long))
        .route("/none", on_get(handler.clone()).layer(cache))
        .route("/uncached", on_get(handler));
    let fetch = async |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
        terrace_tests::read(response).await.unwrap()
    };
    assert_eq!(fetch("/long").await.text(), fetch("/long").await.text());
    for path in ["/none", "/uncached"] {
        assert_ne!(fetch(path).await.text(), fetch(path).await.text());
    }
}

#[tokio::test]
async fn rules_in_a_request_count_for_that_request() {
    let world = World::counting(Rules::new(), &[]);
    let with = |rules: Rules| {
        let mut request = get("/");
        request.extensions_mut().insert(rules);
        request
    };
    assert!(!world.stores(|| get("/")).await);
    assert!(world.stores(|| with(Rules::new().default_ttl(secs(60)))).await);
}

#[tokio::test]
async fn a_bypass_neither_reads_nor_writes() {
    let world = World::counting(Rules::new(), &[FRESH]);
    let bypassing = || {
        let mut request = get("/");
        request.extensions_mut().insert(Bypass);
        request
    };
    assert_eq!(world.ask(bypassing()).await.text(), "1");
    assert_eq!(world.get("/").await.text(), "2");
    assert_eq!(world.ask(bypassing()).await.text(), "3");
    let hit = world.get("/").await;
    assert_eq!((hit.text(), hit.is_hit()), ("2", true));
}

#[tokio::test]
async fn a_response_says_itself_how_it_is_treated() {
    let overriding = |fields: Fields, directives: ResponseOverride| {
        Origin::answering(move |_| {
            let mut response = text(fields, "x");
            response.extensions_mut().insert(directives.clone());
            response
        })
    };
    let world =
        World::new(Rules::new(), overriding(&[("cache-control", "no-store")], ResponseOverride::fresh_for(secs(9))));
    let first = world.get("/").await;
    assert_eq!(first.field("cache-control"), "no-store", "what other caches are told is left alone");
    world.clock.advance(secs(8));
    assert!(world.get("/").await.is_hit());
    world.clock.advance(secs(1));
    assert!(!world.get("/").await.is_hit());
    let world = World::new(Rules::new(), overriding(&[FRESH], ResponseOverride::no_store()));
    world.get("/").await;
    assert!(!world.get("/").await.is_hit());
    let window = ResponseOverride::fresh_for(secs(9)).stale_while_revalidate(secs(9));
    let world = World::new(Rules::new(), overriding(&[], window));
    world.get("/").await;
    assert_eq!(after(&world, 12).await.unwrap().field("cache-status"), "terrace; hit; ttl=-3");
    let shared = World::new(Rules::new(), overriding(&[], ResponseOverride::fresh_for(secs(9))));
    shared.ask(get_with("/", &[("authorization", "x")])).await;
    assert!(shared.get("/").await.is_hit());
}

#[tokio::test]
async fn the_application_never_sees_its_overrides_leave() {
    let origin = Origin::answering(|_| {
        let mut response = text(&[FRESH], "x");
        response.extensions_mut().insert(CacheTags::new().with("t"));
        response.extensions_mut().insert(ResponseOverride::fresh_for(secs(9)));
        response
    });
    let world = World::new(Rules::new(), origin);
    let response = terrace_tests::head(&world.service, get("/")).await;
    assert!(response.extensions().get::<CacheTags>().is_none());
    assert!(response.extensions().get::<ResponseOverride>().is_none());
}

#[tokio::test]
async fn a_stored_field_map_can_be_large() {
    let origin = Origin::answering(|_| {
        let mut response = text(&[FRESH], "x");
        let fields: HeaderMap = (0..500)
            .map(|n| (HeaderName::try_from(format!("x-{n}")).unwrap(), format!("{n}").parse().unwrap()))
            .collect();
        response.headers_mut().extend(fields);
        response
    });
    let world = World::new(Rules::new(), origin);
    world.get("/").await;
    let hit = world.get("/").await;
    assert!(hit.is_hit());
    assert_eq!(hit.field("x-499"), "499");
}
