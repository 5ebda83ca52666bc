//! Whether what is explained is what then happens.

use crate::{open, post};
use http::{Method, Request, StatusCode};
use serde_json::{Value as Json, json};
use std::time::Duration;
use terrace::admin::Admin;
use terrace::chaos::{Chaos, Failure};
use terrace::clock::FakeClock;
use terrace::stats::{BreakerName, BreakerState, CoherenceState, Feature, StoreResult, Tier};
use terrace::{Cache, CacheLayer, Config, Partition, Rules, Store};
use terrace_redis_server::{PATIENT, Server};
use terrace_tests::{Body, Origin, ask, call, get, get_with, respond, text, until};
use tower::Layer;

/// A store on a clock of its own, a service and what explains it.
struct World {
    clock: FakeClock,
    store: Store,
    service: Cache<Origin>,
    admin: Admin,
}

impl World {
    fn new(rules: Rules, origin: &Origin) -> Self {
        let clock = FakeClock::new();
        let store = Store::with_fake_clock(Config::default(), &clock);
        Self::over(store, clock, rules, origin)
    }

    fn over(store: Store, clock: FakeClock, rules: Rules, origin: &Origin) -> Self {
        let service = CacheLayer::new(store.clone()).rules(rules.clone()).layer(origin.clone());
        let admin = Admin::new(store.clone()).rules(rules).admitted_by(|_| true);
        Self { clock, store, service, admin }
    }

    fn answering(fields: &'static [(&'static str, &'static str)]) -> Self {
        Self::new(Rules::new(), &Origin::answering(move |_| text(fields, "content")))
    }

    async fn explained(&self, request: &Request<Body>) -> Json {
        let fields = request.headers().iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())));
        let url = format!("http://example.com{}", request.uri());
        let partition = request.extensions().get::<Partition>().map(Partition::name);
        let asked = json!({ "method": request.method().as_str(), "url": url, "partition": partition,
                            "headers": fields.collect::<serde_json::Map<_, _>>() });
        let told = post(&self.admin, "/explain", &asked).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.text);
        told.json()
    }

    /// Explains a request, then makes it: both say the same. Gives the verdict, and the reasons of the steps that fail.
    async fn agrees(&self, request: Request<Body>) -> (String, Vec<String>) {
        let before = self.store.stats();
        let explained = self.explained(&request).await;
        assert_eq!(self.store.stats(), before, "an explanation counts nothing");
        let answer = call(&self.service, request).await;
        let said = answer.field("cache-status");
        let verdict = explained["verdict"].as_str().unwrap();
        let happened = match said.strip_prefix("terrace; ").unwrap_or_default() {
            said if said.starts_with("hit") => {
                let stale = said.contains("ttl=-");
                let from_l2 = said.contains("detail=l2");
                if stale && verdict != "l1_hit" {
                    "stale"
                } else if from_l2 {
                    "l2_hit"
                } else {
                    "l1_hit"
                }
            }
            "" => "bypass",
            _ if answer.status == 504 => "error",
            _ if verdict == "bypass" && !answer.is_stored() => "bypass",
            _ => "miss",
        };
        assert_eq!(happened, verdict, "{said:?} {explained:#}");
        if let Some((_, reason)) = said.split_once("fwd=") {
            let reason = reason.split(';').next().unwrap();
            assert_eq!(explained["forward"], reason, "{said:?} {explained:#}");
        }
        (verdict.to_owned(), failing(&explained))
    }
}

fn failing(explained: &Json) -> Vec<String> {
    let steps = explained["steps"].as_array().unwrap().iter();
    let failing = steps.filter(|step| step["outcome"] == "fails");
    failing.map(|step| step["reason"].as_str().unwrap().to_owned()).collect()
}

macro_rules! assert_explains {
    ($told:expr, $verdict:expr, [$($reason:expr),*]) => {
        assert_eq!($told, ($verdict.to_owned(), vec![$($reason.to_owned()),*] as Vec<String>))
    };
}

#[tokio::test]
async fn a_first_request_and_a_second_one() {
    let world = World::answering(&[("cache-control", "max-age=60")]);
    assert_explains!(world.agrees(get("/")).await, "miss", ["absent"]);
    assert_explains!(world.agrees(get("/")).await, "l1_hit", []);
    assert_explains!(world.agrees(ask(Method::HEAD, "/", &[])).await, "l1_hit", []);
    let told = world.explained(&get("/")).await;
    assert_eq!((&told["last_trip"]["forward"], &told["last_trip"]["status"]), (&json!("uri_miss"), &json!(200)));
    assert_eq!(told["last_trip"]["unstored"], Json::Null);
}

#[tokio::test]
async fn requests_that_no_store_answers() {
    let world = World::answering(&[("cache-control", "max-age=60")]);
    call(&world.service, get("/")).await;
    for (request, reason) in [
        (ask(Method::OPTIONS, "/other", &[]), "method"),
        (ask(Method::POST, "/other", &[]), "unsafe"),
        (ask(Method::DELETE, "/other", &[]), "unsafe"),
        (get_with("/", &[("if-match", "\"1\"")]), "conditions"),
        (get_with("/", &[("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT")]), "conditions"),
        (get_with("/", &[("upgrade", "websocket")]), "upgrade"),
        (get_with("/", &[("content-length", "1")]), "content"),
        (get_with("/", &[("cache-control", "no-store")]), "no-store"),
    ] {
        assert_explains!(world.agrees(request).await, "bypass", [reason]);
    }
    let long = format!("/{}", "x".repeat(20_000));
    assert_explains!(world.agrees(get(&long)).await, "bypass", ["too-long"]);
    world.store.flags().set(Feature::Cache, false);
    assert_explains!(world.agrees(get("/")).await, "bypass", ["disabled"]);
}

#[tokio::test]
async fn memory_that_is_off_or_has_nothing_of_use() {
    let world = World::answering(&[("cache-control", "max-age=60")]);
    call(&world.service, get("/")).await;
    world.store.flags().set(Feature::L1, false);
    assert_explains!(world.agrees(get("/")).await, "miss", ["off"]);
    world.store.flags().set(Feature::L1, true);
    let _receipt = world.store.purge_url("/").await.unwrap();
    assert_explains!(world.agrees(get("/")).await, "miss", ["marker"]);
    world.clock.advance(Duration::from_secs(61));
    assert_explains!(world.agrees(get("/")).await, "miss", ["expired"]);
}

#[tokio::test]
async fn what_could_not_be_stored_is_remembered_with_its_reason() {
    for (fields, reason) in [
        (&[("cache-control", "private")][..], "private"),
        (&[("cache-control", "no-store")], "no-store"),
        (&[("vary", "*"), ("cache-control", "max-age=60")], "vary"),
        (&[], "no-lifetime"),
        (&[("set-cookie", "id=1"), ("expires", "0")], "personal"),
    ] {
        let world = World::new(Rules::new(), &Origin::answering(move |_| text(fields, "content")));
        assert_explains!(world.agrees(get("/")).await, "miss", ["absent"]);
        assert_explains!(world.agrees(get("/")).await, "miss", ["hit-for-miss"]);
        assert_eq!(world.explained(&get("/")).await["last_trip"]["unstored"], reason, "{fields:?}");
    }
    let large = Origin::answering(|_| text(&[("cache-control", "max-age=60")], vec![0; 3 << 20]));
    let world = World::new(Rules::new(), &large);
    call(&world.service, get("/")).await;
    assert_eq!(world.explained(&get("/")).await["last_trip"]["unstored"], "too-large");
    assert_explains!(world.agrees(get("/")).await, "miss", ["hit-for-miss"]);
}

#[tokio::test]
async fn credentials_and_what_may_not_be_shared() {
    let world =
        World::new(Rules::new().default_ttl(Duration::from_secs(60)), &Origin::answering(|_| text(&[], "content")));
    call(&world.service, get("/")).await;
    let (verdict, reasons) = world.agrees(get_with("/", &[("cookie", "id=1")])).await;
    assert_eq!((verdict.as_str(), &reasons[..]), ("bypass", &["personal".to_owned()][..]));
    let told = world.explained(&get_with("/", &[("authorization", "Bearer hidden-value")])).await;
    assert_eq!(failing(&told), ["personal"]);
    assert!(!told.to_string().contains("hidden-value"));
    let mut own = get_with("/", &[("cookie", "id=1")]);
    own.extensions_mut().insert(Partition::new("jane"));
    assert_explains!(world.agrees(own).await, "miss", ["absent"]);
}

#[tokio::test]
async fn variants() {
    let world = World::answering(&[("cache-control", "max-age=60"), ("vary", "accept-language, x-tenant")]);
    call(&world.service, get_with("/", &[("accept-language", "de")])).await;
    assert_explains!(world.agrees(get_with("/", &[("accept-language", "de")])).await, "l1_hit", []);
    let french = || get_with("/", &[("accept-language", "fr")]);
    let told = world.explained(&french()).await;
    let steps = told["steps"].to_string();
    assert!(steps.contains("accept-language, x-tenant"), "{steps}");
    let (verdict, reasons) = world.agrees(french()).await;
    assert_eq!((verdict.as_str(), reasons.last().map(String::as_str)), ("miss", Some("vary-miss")));
}

#[tokio::test]
async fn what_is_stale() {
    let world = World::answering(&[("cache-control", "max-age=60"), ("etag", "\"1\"")]);
    call(&world.service, get("/")).await;
    let _receipt = world.store.purge_url("/").soft().await.unwrap();
    assert_explains!(world.agrees(get("/")).await, "miss", ["soft-purged"]);
    world.clock.advance(Duration::from_secs(61));
    assert_explains!(world.agrees(get("/")).await, "miss", ["stale"]);

    let world = World::answering(&[("cache-control", "no-cache, max-age=60"), ("etag", "\"1\"")]);
    call(&world.service, get("/")).await;
    assert_explains!(world.agrees(get("/")).await, "miss", ["no-cache"]);

    let world = World::answering(&[("cache-control", "max-age=60, stale-while-revalidate=60")]);
    call(&world.service, get("/")).await;
    world.clock.advance(Duration::from_secs(61));
    world.store.flags().set(Feature::Swr, false);
    assert_eq!(failing(&world.explained(&get("/")).await), ["swr-off"]);
    world.store.flags().set(Feature::Swr, true);
    assert_explains!(world.agrees(get("/")).await, "stale", []);
}

#[tokio::test]
async fn what_requests_demand() {
    let origin = Origin::answering(|_| text(&[("cache-control", "max-age=60"), ("etag", "\"1\"")], "content"));
    let world = World::new(Rules::rfc9111(), &origin);
    call(&world.service, get("/")).await;
    let (verdict, reasons) = world.agrees(get_with("/", &[("cache-control", "no-cache")])).await;
    assert_eq!((verdict.as_str(), &reasons[..]), ("miss", &["reload".to_owned()][..]));
    world.clock.advance(Duration::from_secs(61));
    assert_explains!(world.agrees(get_with("/", &[("cache-control", "max-stale=600")])).await, "l1_hit", []);
    let only = &[("cache-control", "only-if-cached")];
    assert_explains!(world.agrees(get_with("/none", only)).await, "error", ["absent", "only-if-cached"]);
}

#[tokio::test]
async fn a_part_is_not_the_whole() {
    let part = [("cache-control", "max-age=60"), ("content-range", "bytes 0-3/7"), ("etag", "\"1\"")];
    let origin = Origin::answering(move |_| respond(206, &part, terrace_tests::full("cont")));
    let world = World::new(Rules::new(), &origin);
    call(&world.service, get_with("/", &[("range", "bytes=0-3")])).await;
    assert_explains!(world.agrees(get_with("/", &[("range", "bytes=1-2")])).await, "l1_hit", []);
    assert_eq!(failing(&world.explained(&get("/")).await), ["partial"]);
}

#[tokio::test]
async fn the_other_scheme_is_looked_at_too() {
    let world = World::answering(&[("cache-control", "max-age=60")]);
    call(&world.service, get("/")).await;
    let told = post(&world.admin, "/explain", &json!({ "url": "https://example.com/" })).await.json();
    assert_eq!(
        (&told["verdict"], failing(&told)),
        (&json!("miss"), vec!["absent".to_owned(), "other-scheme".to_owned()])
    );
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused() {
    let admin = open(&Store::memory());
    for bad in [
        json!({}),
        json!({ "url": "/path" }),
        json!({ "url": "http://" }),
        json!({ "url": "http://a/\u{0}" }),
        json!({ "url": "http://a/", "method": "G E T" }),
        json!({ "url": "http://a/", "headers": [] }),
        json!({ "url": "http://a/", "headers": { "a b": "c" } }),
        json!({ "url": "http://a/", "headers": { "cookie": "hidden-value\n" } }),
        json!({ "url": "http://a/", "headers": { "cookie": 1 } }),
        json!({ "url": "http://a/", "header": {} }),
    ] {
        let told = post(&admin, "/explain", &bad).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(!told.text.contains("hidden-value"));
    }
}

async fn shared(server: &Server, more: &[(&str, &str)]) -> World {
    let url = server.url();
    // A proof holds for longer than the machine may stand still.
    let vars = [("REDIS_URL", url.as_str()), ("CACHE_L1_MAX_LAG", "1m")];
    let store = Store::from_vars(PATIENT.into_iter().chain(vars).chain(more.iter().copied())).unwrap();
    until("it has joined", || store.stats().coherence() == Some(CoherenceState::Coherent)).await;
    let origin = Origin::answering(|_| text(&[("cache-control", "max-age=600")], "content"));
    World::over(store, FakeClock::new(), Rules::new(), &origin)
}

impl World {
    /// As [`agrees`](Self::agrees), where polls are counted all the time.
    async fn agrees_in_the_end(&self, request: fn() -> Request<Body>) -> (String, Vec<String>) {
        let explained = self.explained(&request()).await;
        let answer = call(&self.service, request()).await;
        let verdict = explained["verdict"].as_str().unwrap();
        let said = answer.field("cache-status");
        assert_eq!(said.contains("hit"), verdict.ends_with("hit"), "{said} {explained:#}");
        assert_eq!(said.contains("detail=l2"), verdict == "l2_hit", "{said} {explained:#}");
        (verdict.to_owned(), failing(&explained))
    }
}

#[tokio::test]
async fn what_redis_has_and_why_it_is_not_asked() {
    let mut server = Server::start();
    let unproven = [("CACHE_L1_DEGRADED_MAX", "0s")];
    let (one, other) = (shared(&server, &unproven).await, shared(&server, &unproven).await);
    let request = || get("/");
    assert_explains!(one.agrees_in_the_end(request).await, "miss", ["absent", "absent"]);
    until("it is stored", || one.store.stats().stores(Tier::L2, StoreResult::Ok) == 1).await;
    assert_explains!(other.agrees_in_the_end(request).await, "l2_hit", ["absent"]);
    assert_explains!(other.agrees_in_the_end(request).await, "l1_hit", []);
    let third = shared(&server, &[]).await;
    let _receipt = one.store.purge_url("/").await.unwrap();
    assert_explains!(third.agrees_in_the_end(request).await, "miss", ["absent", "marker"]);
    third.store.flags().set(Feature::L2, false);
    let told = third.explained(&get("/elsewhere")).await;
    assert_eq!(failing(&told), ["absent", "off"], "{told:#}");

    one.store.settings().set("CACHE_L1_MAX_LAG", "1s").unwrap();
    server.kill();
    until("nothing is proven", || one.store.stats().coherence() == Some(CoherenceState::Degraded)).await;
    let told = one.explained(&get("/")).await;
    assert_eq!(failing(&told)[0], "unproven", "{told:#}");
    let told = one.explained(&get("/elsewhere")).await;
    assert!(failing(&told).iter().any(|it| ["not-ready", "breaker", "unreachable"].contains(&&**it)), "{told:#}");
    assert_eq!(told["verdict"], "miss");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker() {
    let clock = FakeClock::new();
    // Not at the beginning of time.
    clock.advance(Duration::from_secs(3600));
    let chaos = Chaos::new(&clock);
    let store = Store::with_chaos(Config::default(), &clock, &chaos);
    until("it has joined", || store.stats().coherence() == Some(CoherenceState::Coherent)).await;
    let world = World::over(store, clock, Rules::new(), &Origin::counting(&[("cache-control", "max-age=60")]));
    chaos.fails(Failure::Hangs);
    for number in 0..20 {
        call(&world.service, get(&format!("/{number}"))).await;
    }
    assert_eq!(world.store.stats().breaker(BreakerName::Data), Some(BreakerState::Open));
    assert_eq!(failing(&world.explained(&get("/elsewhere")).await), ["absent", "breaker"]);
    assert_eq!(call(&world.service, get("/elsewhere")).await.field("cache-status"), "terrace; fwd=uri-miss; stored");
}
