//! http-cache-tower-server 0.2.6. What its options do is in `options`.

use crate::harness::{Answer, Down, Origin, Site, eager, get, reply, secs, sent, status, until, with};
use axum::body::Body;
use http::{HeaderValue, Method, Request, Response};
use std::sync::Arc;
use std::task::{Context, Poll};
use terrace::{CacheLayer, Config, Rules};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

/// HCTS-1.
#[tokio::test]
async fn two_queries_are_two_pages() {
    let site = Site::new(eager(), async |_, request| reply(&[], request.uri().to_string()));
    for round in 0..2 {
        for query in ["/search?q=a", "/search?q=b", "/search", "/search?"] {
            let answer = site.get(query).await;
            assert_eq!(answer.text(), query);
            assert_eq!(answer.is_hit(), round == 1, "{query}");
        }
    }
}

/// HCTS-2, PLUS-1, ARC-2.
#[tokio::test]
async fn a_request_that_changes_something_always_reaches_the_handler() {
    for rules in [eager(), Rules::rfc9111().default_ttl(secs(60))] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            for lifetime in ["", "public", "max-age=60", "public, max-age=60"] {
                let site = Site::new(rules.clone(), move |n, _| async move {
                    reply(&[("cache-control", lifetime)], n.to_string())
                });
                for n in ["1", "2", "3"] {
                    let answer = site.send(with(method.clone(), "/orders")).await;
                    assert_eq!((answer.text(), answer.is_hit()), (n, false), "{method} {lifetime}");
                }
            }
        }
    }
}

/// HCTS-3.
#[tokio::test]
async fn each_language_gets_its_own_page() {
    for lifetime in ["", "public", "public, max-age=60"] {
        let site = Site::new(eager(), move |_, request| async move {
            let fields = [("cache-control", lifetime), ("vary", "accept-language")];
            reply(&fields, sent(&request, "accept-language").to_owned())
        });
        for round in 0..2 {
            for language in ["de", "en", "fr"] {
                let answer = site.send(get("/").header("accept-language", language)).await;
                assert_eq!((answer.text(), answer.is_hit()), (language, round == 1), "{lifetime:?}");
            }
        }
        let none = site.get("/").await;
        assert_eq!((none.text(), none.is_hit()), ("", false));
    }
}

/// HCTS-3.
#[tokio::test]
async fn what_varies_with_anything_is_never_reused() {
    for vary in ["*", "accept, *", "accept-language, not a name"] {
        let fields = move || [("cache-control", "public, max-age=60"), ("vary", vary)];
        let site = Site::new(eager(), move |n, _| async move { reply(&fields(), n.to_string()) });
        assert_eq!((site.get("/").await.text(), site.get("/").await.text()), ("1", "2"), "{vary}");
    }
}

/// HCTS-5, HCS-1.
#[tokio::test]
async fn directives_count_in_any_case_and_on_any_line() {
    let refusals: [&[&str]; 6] = [
        &["Private"],
        &["Private, Max-Age=60"],
        &["NO-STORE"],
        &["max-age=60", "no-store"],
        &["public", "max-age=60, PRIVATE"],
        &["max-age=60,no-store"],
    ];
    for lines in refusals {
        let site = Site::new(eager(), move |n, _| async move {
            let fields: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
            reply(&fields, n.to_string())
        });
        assert_eq!((site.get("/").await.text(), site.get("/").await.text()), ("1", "2"), "{lines:?}");
    }
}

/// Panics when it is called without having been asked whether it is ready, as tower allows and many services do.
struct Strict {
    ready: bool,
    origin: Origin,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, origin: self.origin.clone() }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Down;
    type Future = <Origin as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Down>> {
        self.ready = true;
        self.origin.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "poll_ready must be called first");
        self.origin.call(request)
    }
}

/// HCTS-6, HB-4.
#[tokio::test]
async fn whoever_is_called_was_asked_whether_it_is_ready() {
    let site = Site::new(eager().stale_while_revalidate(secs(60)), async |n, _| reply(&[], n.to_string()));
    let rules = eager().stale_while_revalidate(secs(60));
    let strict = Strict { ready: false, origin: site.origin.clone() };
    let cache = CacheLayer::new(site.store.clone()).rules(rules).layer(strict);
    // Forwarded, invalidating, missing, hitting, stale and refreshed behind the answer.
    for method in [Method::OPTIONS, Method::POST, Method::GET, Method::GET] {
        Answer::read(cache.clone().oneshot(with(method, "/").body(Body::empty()).unwrap()).await.unwrap()).await;
    }
    assert_eq!(site.calls(), 3);
    site.time.advance(secs(61));
    Answer::read(cache.clone().oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap()).await;
    until(|| site.calls() == 4).await;
}

/// HCTS-7, ARC-3.
#[tokio::test]
async fn a_body_over_the_limit_passes_and_is_not_stored() {
    for (len, calls) in [(1000, 1), (1001, 2)] {
        for declared in [true, false] {
            let config = Config::default().max_body_bytes(1000);
            let site = Site::configured(config, eager(), move |_, _| async move {
                let body = Body::from(vec![b'x'; len]);
                if declared { reply(&[], body) } else { reply(&[], crate::harness::of_unknown_length(body)) }
            });
            for _ in 0..2 {
                let answer = site.get("/").await;
                assert_eq!((answer.status, answer.body.len()), (200, len));
            }
            assert_eq!(site.calls(), calls, "{len} bytes, declared: {declared}");
        }
    }
}

/// HCTS-8.
#[tokio::test]
async fn a_stored_body_takes_its_own_size() {
    let site = Site::new(eager(), async |_, _| reply(&[("content-type", "text/plain")], vec![b'x'; 1 << 20]));
    site.get("/").await;
    let stored = site.store.stats().size_bytes();
    assert!((1 << 20..(1 << 20) + 2048).contains(&stored), "{stored}");
}

/// HCTS-9, ARC-1.
#[tokio::test]
async fn a_part_is_not_taken_for_the_whole() {
    for fields in [&[("cache-control", "max-age=60")][..], &[("cache-control", "max-age=60"), ("etag", "\"1\"")], &[]] {
        let site = Site::new(eager(), move |_, request| async move {
            match sent(&request, "range") {
                "bytes=0-9" => {
                    status(206, reply(&[fields, &[("content-range", "bytes 0-9/26")]].concat(), "abcdefghij"))
                }
                _ => reply(fields, "abcdefghijklmnopqrstuvwxyz"),
            }
        });
        assert_eq!(site.send(get("/").header("range", "bytes=0-9")).await.text(), "abcdefghij");
        for _ in 0..2 {
            let whole = site.get("/").await;
            assert_eq!((whole.status, whole.text()), (200, "abcdefghijklmnopqrstuvwxyz"));
        }
    }
}

/// HCTS-10.
#[tokio::test]
async fn a_hit_has_an_age_and_every_field_as_it_came() {
    let site = Site::new(eager(), async |_, _| {
        let mut response = reply(&[("z", "1"), ("a", "1"), ("m", "1"), ("a", "2"), ("etag", "\"1\"")], "page");
        response.headers_mut().append("m", HeaderValue::from_bytes(b"caf\xe9 \xff").unwrap());
        response.headers_mut().append("x-empty", HeaderValue::from_static(""));
        response
    });
    let miss = site.get("/").await;
    site.time.advance(secs(7));
    let hit = site.get("/").await;
    assert!(!miss.is_hit() && hit.is_hit());
    assert_eq!(hit.field("age"), "7");
    let fields = |answer: &Answer| -> Vec<_> {
        let own = ["age", "cache-status", "date"];
        let all = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    assert_eq!(fields(&miss), fields(&hit));
    assert_eq!(fields(&hit).len(), 7);
}

/// HCTS-11.
#[tokio::test]
async fn a_thousand_requests_at_once_are_one_for_the_origin() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let site = Site::new(eager(), move |n, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            reply(&[], n.to_string())
        }
    });
    let mut all = JoinSet::new();
    for _ in 0..1000 {
        let cache = site.cache.clone();
        all.spawn(async move {
            let response = cache.oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
            Answer::read(response).await.text().to_owned()
        });
    }
    tokio::task::yield_now().await;
    opened.add_permits(1000);
    assert!(all.join_all().await.iter().all(|page| page == "1"));
    assert_eq!(site.calls(), 1);
}

/// HCTS-11.
#[tokio::test]
async fn what_has_been_read_is_a_hit_at_once() {
    let site = Site::new(eager(), async |_, _| reply(&[], "page"));
    for n in 0..1000 {
        let path = format!("/{n}");
        assert!(!site.get(&path).await.is_hit());
        assert!(site.get(&path).await.is_hit(), "{path}");
    }
}
