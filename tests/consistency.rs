//! Hits that are compared with a fresh answer of the origin, which is off unless it is asked for.

use http::Method;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terrace::stats::{CacheStatus, SampleResult};
use terrace::{Cache, CacheLayer, Config, Store};
use terrace_tests::{Answer, Failure, Gate, Origin, ask, call, fed, full, get, get_with, respond, text, until};
use tower::Layer;

const FRESH: (&str, &str) = ("cache-control", "max-age=600");
const FIELDS: [(&str, &str); 2] = [FRESH, ("etag", "\"1\"")];

/// What the origin does now.
#[derive(Clone, Debug)]
enum Now {
    Says(u16, &'static str),
    Fails,
    BreaksOff(&'static str),
}

/// A cache in front of an origin whose answers change without telling.
struct Shop {
    store: Store,
    origin: Origin,
    service: Cache<Origin>,
    now: Arc<Mutex<Now>>,
}

impl Shop {
    /// One hit in so many is compared; differences count if nothing is invalidated for so long.
    fn new(one_in: &str, lag: &str) -> Self {
        let vars = [("CACHE_CONSISTENCY_SAMPLE", one_in), ("CACHE_L1_MAX_LAG", lag)];
        let store = Store::new(Config::from_vars(vars).unwrap());
        let now = Arc::new(Mutex::new(Now::Says(200, "a book")));
        let said = Arc::clone(&now);
        let origin = Origin::new(move |_| {
            let now = said.lock().unwrap().clone();
            std::future::ready(match now {
                Now::Says(status, content) => Ok(respond(status, &FIELDS, full(content))),
                Now::Fails => Err(Failure("out of order")),
                Now::BreaksOff(content) => {
                    let (feed, body) = fed();
                    feed.send(content);
                    feed.fail("out of order");
                    Ok(respond(200, &FIELDS, body))
                }
            })
        });
        let service = CacheLayer::new(store.clone()).layer(origin.clone());
        Self { store, origin, service, now }
    }

    fn says(&self, now: Now) {
        *self.now.lock().unwrap() = now;
    }

    async fn get(&self) -> Answer {
        call(&self.service, get("/")).await
    }

    /// How many were compared, by what came of it: the same, another, none.
    fn samples(&self) -> [u64; 3] {
        [SampleResult::Match, SampleResult::Mismatch, SampleResult::Error]
            .map(|result| self.store.stats().consistency_samples(result))
    }

    async fn hits(&self, samples: [u64; 3]) {
        let answer = self.get().await;
        assert!(answer.is_hit() && answer.text() == "a book", "{answer:?}");
        until(&format!("it is compared: {samples:?}"), || self.samples() == samples).await;
    }
}

#[tokio::test]
async fn a_hit_is_compared_with_what_the_origin_says_now() {
    let shop = Shop::new("1", "10ms");
    assert_eq!(shop.get().await.text(), "a book");
    assert_eq!(shop.samples(), [0; 3], "a miss is not compared");
    shop.hits([1, 0, 0]).await;
    let differing = [
        Now::Says(200, "another book"),
        Now::Says(200, "a bo"),
        Now::Says(200, "a book and more"),
        Now::Says(200, ""),
        Now::Says(404, "a book"),
    ];
    for (mismatches, now) in (1..).zip(differing) {
        shop.says(now);
        shop.hits([1, mismatches, 0]).await;
    }
    // Of an origin that fails nothing is known, also if it fails late.
    let failing = [Now::Says(503, "a book"), Now::Says(500, "a bo"), Now::Fails, Now::BreaksOff("a bo")];
    for (errors, now) in (1..).zip(failing) {
        shop.says(now);
        shop.hits([1, 5, errors]).await;
    }
    // What begins differently differs, however it ends.
    shop.says(Now::BreaksOff("nothing"));
    shop.hits([1, 6, 4]).await;
    shop.says(Now::Says(200, "a book"));
    shop.hits([2, 6, 4]).await;
    let stats = shop.store.stats();
    assert_eq!((stats.requests(CacheStatus::Miss), shop.origin.calls()), (1, 13));
}

#[tokio::test]
async fn the_origin_is_asked_for_the_whole_response_whatever_the_client_has() {
    let shop = Shop::new("1", "10ms");
    shop.get().await;
    let fields = [("if-none-match", "\"1\""), ("accept", "text/plain")];
    assert_eq!(call(&shop.service, get_with("/", &fields)).await.status, 304);
    until("it is compared", || shop.samples() == [1, 0, 0]).await;
    let asked = shop.origin.last();
    assert_eq!(asked.headers.get("accept").unwrap(), "text/plain");
    assert!(!asked.headers.contains_key("if-none-match"), "{asked:?}");
    // A part of what is stored whole.
    assert_eq!(call(&shop.service, get_with("/", &[("range", "bytes=0-1")])).await.status, 206);
    until("it is compared", || shop.samples() == [2, 0, 0]).await;
    assert!(!shop.origin.last().headers.contains_key("range"));
}

#[tokio::test]
async fn nothing_is_compared_unless_it_is_asked_for() {
    let origin = Origin::counting(&[FRESH]);
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    for _ in 0..1000 {
        call(&service, get("/")).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(origin.calls(), 1);
    // From the next hit on.
    store.settings().set("CACHE_CONSISTENCY_SAMPLE", "1").unwrap();
    call(&service, get("/")).await;
    until("it is compared", || origin.calls() == 2).await;
}

#[tokio::test]
async fn only_get_is_compared() {
    let shop = Shop::new("1", "10ms");
    shop.get().await;
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let before = shop.origin.calls();
        call(&shop.service, ask(method.clone(), "/other", &[])).await;
        for _ in 0..100 {
            call(&shop.service, ask(Method::HEAD, "/", &[])).await;
            tokio::task::yield_now().await;
        }
        let own = usize::from(shop.origin.seen()[before..].iter().any(|asked| asked.uri.path() == "/other"));
        assert_eq!(shop.origin.calls() - before, own, "{method}: nothing but the request itself");
    }
    assert_eq!(shop.samples(), [0; 3]);
}

#[tokio::test]
async fn one_is_compared_at_a_time_and_nobody_waits_for_it() {
    let gate = Gate::default();
    let origin = gate.before(|_| text(&[FRESH], "a book"));
    let store = Store::new(Config::from_vars([("CACHE_CONSISTENCY_SAMPLE", "1")]).unwrap());
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    gate.admit(1);
    call(&service, get("/")).await;
    for _ in 0..200 {
        assert!(call(&service, get("/")).await.is_hit());
        tokio::task::yield_now().await;
    }
    assert_eq!((gate.arrived(), origin.calls()), (2, 2), "the miss, and one that is compared");
    gate.admit(1);
    until("it is counted", || store.stats().consistency_samples(SampleResult::Match) == 1).await;
    assert!(call(&service, get("/")).await.is_hit());
    until("it is another's turn", || gate.arrived() == 3).await;
    // As many as refreshes may run.
    store.settings().set("CACHE_MAX_REFRESHES", "0").unwrap();
    gate.open();
    until("it is counted", || store.stats().consistency_samples(SampleResult::Match) == 2).await;
    for _ in 0..100 {
        assert!(call(&service, get("/")).await.is_hit());
        tokio::task::yield_now().await;
    }
    assert_eq!(origin.calls(), 3);
}

/// Who changes something and then purges it is no reason for an alarm, though the hit came between.
#[tokio::test]
async fn what_is_invalidated_meanwhile_is_no_mismatch() {
    for soft in [false, true] {
        let shop = Shop::new("1", "1s");
        shop.get().await;
        shop.says(Now::Says(200, "another book"));
        assert_eq!(shop.get().await.text(), "a book");
        until("the origin is asked", || shop.origin.calls() == 2).await;
        let purge = shop.store.purge_url("/");
        let receipt = if soft { purge.soft().await } else { purge.await };
        assert!(receipt.is_ok());
        // The next one that is compared comes after the one that was not counted.
        let begun = std::time::Instant::now();
        while shop.samples() == [0; 3] && begun.elapsed() < Duration::from_secs(30) {
            shop.get().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(shop.samples()[1..], [0, 0], "soft: {soft}");
        assert!(shop.samples()[0] > 0);
    }
}

#[tokio::test]
async fn one_hit_in_so_many_is_compared() {
    let shop = Shop::new("10", "10ms");
    shop.get().await;
    for _ in 0..5_000 {
        assert!(shop.get().await.is_hit());
        // None is left out because another is under way.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        until("it is compared", || shop.samples()[0] == shop.origin.calls() as u64 - 1).await;
    }
    // Ten standard deviations.
    assert!(shop.samples()[0].abs_diff(500) < 212, "{:?}", shop.samples());
}
