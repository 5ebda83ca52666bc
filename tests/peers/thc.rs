//! tower-http-cache 0.6.1.

use crate::harness::{
    Answer, Origin, Patience, Pieces, Site, Source, alone, eager, fetch, get, is_alone, reply, secs, sent, serve,
    status, until, with,
};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Channel};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use terrace::{CacheLayer, Config, Rules, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// THC-1.
#[tokio::test]
async fn nobody_sees_what_another_user_was_sent() {
    for field in ["authorization", "cookie"] {
        for lifetime in ["", "max-age=60"] {
            let site = Site::new(eager(), move |_, request| async move {
                let user = sent(&request, field).to_owned();
                reply(&[("cache-control", lifetime), ("set-cookie", &user)], user.clone())
            });
            for user in ["ann", "bob", "ann"] {
                let answer = site.send(get("/account").header(field, user)).await;
                assert_eq!((answer.text(), answer.field("set-cookie")), (user, user), "{field}, {lifetime:?}");
            }
            let anonymous = site.get("/account").await;
            assert_eq!((anonymous.text(), anonymous.is_hit()), ("", false), "{field}, {lifetime:?}");
            assert_eq!(site.calls(), 4);
        }
    }
}

/// THC-1: users without credentials whom the response gives a cookie.
#[tokio::test]
async fn a_cookie_is_set_for_one_client_only() {
    for lifetime in ["", "public", "max-age=60"] {
        let site = Site::new(eager(), move |n, _| async move {
            reply(&[("cache-control", lifetime), ("set-cookie", &format!("id={n}"))], "welcome")
        });
        for id in ["id=1", "id=2"] {
            assert_eq!(site.get("/").await.field("set-cookie"), id, "{lifetime:?}");
        }
    }
}

/// THC-2.
#[tokio::test]
async fn hosts_and_tenants_have_entries_of_their_own() {
    let tenants = eager().key_with(|request| Some(request.headers.get("x-tenant")?.to_str().ok()?.to_owned()));
    let site = Site::new(tenants, async |_, request| {
        reply(&[], format!("{} of {}", sent(&request, "x-tenant"), sent(&request, "host")))
    });
    for round in 0..2 {
        for (host, tenant) in [("a.example", "1"), ("b.example", "1"), ("a.example", "2"), ("a.example", "")] {
            let request = http::Request::get("/").header("host", host).header("x-tenant", tenant);
            let answer = site.send(request).await;
            assert_eq!(answer.text(), format!("{tenant} of {host}"));
            assert_eq!(answer.is_hit(), round == 1);
        }
    }
    assert_eq!(site.calls(), 4);
}

/// THC-3.
#[tokio::test]
async fn a_head_request_does_not_empty_the_page() {
    let site = Site::new(eager(), async |_, request| {
        let body = if request.method() == Method::HEAD { "" } else { "the page" };
        reply(&[("content-length", "8")], body)
    });
    assert_eq!(site.send(with(Method::HEAD, "/")).await.text(), "");
    let page = site.get("/").await;
    assert_eq!((page.text(), page.is_hit()), ("the page", false));
    let head = site.send(with(Method::HEAD, "/")).await;
    assert_eq!((head.text(), head.field("content-length"), head.is_hit()), ("", "8", true));
    assert_eq!(site.get("/").await.text(), "the page");
}

/// THC-4.
#[tokio::test]
async fn a_refusal_is_for_the_one_who_was_refused() {
    for code in [401, 403, 429] {
        let site = Site::new(eager(), move |_, request| async move {
            if sent(&request, "authorization").is_empty() { status(code, reply(&[], "no")) } else { reply(&[], "yes") }
        });
        assert_eq!(site.get("/").await.status, code);
        assert_eq!(site.send(get("/").header("authorization", "Bearer a")).await.text(), "yes");
        assert_eq!(site.get("/").await.status, code);
        assert_eq!(site.calls(), 3, "{code}");
    }
}

/// `the page` in gzip.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03+\xc9HU(HLO\x05\x00P\x9a\xd7Y\x08\x00\x00\x00";

/// THC-5.
#[tokio::test]
async fn a_client_gets_the_coding_it_can_read_with_the_right_length() {
    let page = async |request: http::HeaderMap| -> Response {
        if request.get("accept-encoding").is_some_and(|coding| coding == "gzip") {
            ([("vary", "accept-encoding"), ("content-encoding", "gzip")], GZIP).into_response()
        } else {
            ([("vary", "accept-encoding")], "the page").into_response()
        }
    };
    let address =
        serve(Router::new().route("/", routing::get(page)).layer(CacheLayer::new(Store::memory()).rules(eager())))
            .await;
    for round in 0..2 {
        for (accepted, coding, body) in [("gzip", "gzip", GZIP), ("", "", b"the page"), ("identity", "", b"the page")] {
            let fields = [("accept-encoding", accepted)];
            let answer = Answer::read(fetch(&address, "/", &fields[usize::from(accepted.is_empty())..]).await).await;
            assert_eq!(answer.field("content-encoding"), coding);
            assert_eq!((&*answer.body, answer.field("content-length")), (body, &*body.len().to_string()));
            assert_eq!(answer.is_hit(), round == 1);
        }
    }
}

/// THC-6.
#[tokio::test]
async fn the_responses_own_lifetime_counts() {
    for (said, seconds) in [("max-age=0", 0), ("s-maxage=5", 5), ("max-age=60, s-maxage=5", 5), ("max-age=7", 7)] {
        let site = Site::new(eager(), move |_, _| async move { reply(&[("cache-control", said)], "") });
        site.get("/").await;
        if seconds > 0 {
            site.time.advance(secs(seconds - 1));
            assert!(site.get("/").await.is_hit(), "{said}");
            site.time.advance(secs(1));
        }
        assert!(!site.get("/").await.is_hit(), "{said}");
    }
}

/// THC-9.
#[tokio::test]
async fn parts_of_a_private_response_are_private() {
    let site = Site::new(eager(), async |n, request| {
        let response = reply(&[("cache-control", "private, max-age=60"), ("etag", "\"1\"")], format!("secret {n}"));
        if sent(&request, "range").is_empty() {
            return response;
        }
        let (mut head, _) = response.into_parts();
        head.headers.insert("content-range", "bytes 0-1/8".parse().unwrap());
        status(206, http::Response::from_parts(head, Body::from("se")))
    });
    for n in 1..=2 {
        assert_eq!(site.get("/").await.text(), format!("secret {}", 2 * n - 1));
        let part = site.send(get("/").header("range", "bytes=0-1")).await;
        assert_eq!((part.status, part.is_hit()), (206, false));
    }
    assert_eq!(site.calls(), 4);
}

/// THC-10.
#[tokio::test]
async fn ranges_are_of_one_version_only() {
    let versions = ["aaaaaaaa", "bbbbbbbb"];
    let current = Arc::new(AtomicUsize::new(0));
    let served = Arc::clone(&current);
    let site = Site::new(Rules::new(), move |_, request| {
        let version = served.load(Ordering::SeqCst);
        let range = sent(&request, "range").to_owned();
        async move {
            let (body, etag) = (versions[version], format!("\"{version}\""));
            let fields = [("cache-control", "max-age=60"), ("etag", &*etag)];
            match &*range {
                "bytes=0-3" => {
                    status(206, reply(&[&fields[..], &[("content-range", "bytes 0-3/8")]].concat(), &body[..4]))
                }
                "bytes=4-7" => {
                    status(206, reply(&[&fields[..], &[("content-range", "bytes 4-7/8")]].concat(), &body[4..]))
                }
                _ => reply(&fields, body),
            }
        }
    });
    let range = async |range| site.send(get("/").header("range", range)).await;
    assert_eq!(range("bytes=0-3").await.text(), "aaaa");
    current.store(1, Ordering::SeqCst);
    assert_eq!(range("bytes=4-7").await.text(), "bbbb");
    for asked in ["bytes=0-7", "bytes=2-5", "bytes=0-3"] {
        let answer = range(asked).await;
        let (a, b) = (answer.text().contains('a'), answer.text().contains('b'));
        assert!(a != b, "{asked} gave {}", answer.text());
        assert_eq!(answer.field("etag"), if a { "\"0\"" } else { "\"1\"" });
    }
    assert_eq!(site.get("/").await.text(), "bbbbbbbb");
}

/// THC-11.
#[tokio::test]
async fn background_work_goes_on_when_the_layer_and_the_service_are_dropped() {
    let gate = Arc::new(Semaphore::new(1));
    let opened = Arc::clone(&gate);
    let site = Site::new(eager().stale_while_revalidate(secs(60)), move |n, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            reply(&[], format!("version {n}"))
        }
    });
    let layer = CacheLayer::new(site.store.clone()).rules(eager().stale_while_revalidate(secs(60)));
    let cache = layer.layer(site.origin.clone());
    let ask = async |cache: &terrace::Cache<_>| {
        let answer = Service::call(&mut cache.clone(), get("/").body(Body::empty()).unwrap()).await.unwrap();
        Answer::read(answer).await
    };
    assert_eq!(ask(&cache).await.text(), "version 1");
    site.time.advance(secs(61));
    assert_eq!(ask(&cache).await.text(), "version 1");
    drop((layer.clone(), layer, cache));
    opened.add_permits(1);
    let patience = Patience::new();
    while site.get("/").await.text() != "version 2" {
        patience.yields().await;
    }
    assert_eq!(site.calls(), 2);
}

/// THC-12.
#[tokio::test]
async fn the_first_event_of_a_stream_comes_at_once() {
    for said in ["max-age=60", "no-store"] {
        let (mut events, channel) = Channel::<Bytes, Infallible>::new(8);
        let channel = Arc::new(Mutex::new(Some(channel)));
        let stream = move || {
            let body = Body::new(channel.lock().unwrap().take().unwrap());
            async move { ([("cache-control", said), ("content-type", "text/event-stream")], body) }
        };
        let app = Router::new().route("/", routing::get(stream)).layer(CacheLayer::new(Store::memory()));
        let mut response = fetch(&serve(app).await, "/", &[]).await;
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            events.send_data(Bytes::from(event)).await.unwrap();
            // Nothing more is sent until this one has arrived.
            assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), event, "{said}");
        }
    }
}

const PIECE: usize = 64 * 1024;

/// THC-13.
#[tokio::test]
async fn an_endless_body_takes_no_more_memory_than_the_limit() {
    let pieces = Pieces::default();
    let source = pieces.clone();
    let limited = Config::default().max_body_bytes(1 << 20);
    let site = Site::configured(limited, eager(), move |_, _| {
        let body = Body::new(Source::new(&source, PIECE, usize::MAX));
        async { reply(&[], body) }
    });
    let ask = || site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap());
    let mut body = ask().await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    // Whoever waits for the same response reads ahead of the first client, until it is known to be too long.
    let other = ask().await.unwrap();
    assert_eq!(site.calls(), 2);
    for _ in 0..1024 {
        drop(body.frame().await.unwrap().unwrap());
        assert!(pieces.held() * PIECE <= (1 << 20) + PIECE, "{} pieces", pieces.held());
    }
    drop((body, other));
    assert_eq!(pieces.held(), 0);
    let _receipt = site.store.purge_all().await.unwrap();
    assert!(
        !site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap().headers().contains_key("age")
    );
}

/// THC-15.
#[tokio::test]
async fn a_service_with_one_place_is_waited_for() {
    let running = Arc::new(AtomicUsize::new(0));
    let origin = Origin::new(move |_, request| {
        let running = Arc::clone(&running);
        async move {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            reply(&[], request.uri().path().to_owned())
        }
    });
    let cache = ServiceBuilder::new()
        .layer(CacheLayer::new(Store::memory()).rules(eager()))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let all = (0..30).map(|n| {
        let (cache, path) = (cache.clone(), format!("/{}", n % 10));
        tokio::spawn(async move {
            let response = cache.oneshot(get(&path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(Answer::read(response).await.text(), path);
        })
    });
    for task in all.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(origin.calls(), 10);
}

/// How many pages of memory this process holds.
#[cfg(target_os = "linux")]
fn resident_pages() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse().unwrap()
}

/// THC-16, ARC-5. Measured in a process of its own, where no other test allocates.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_of_different_urls_takes_no_more_memory_than_the_limit() {
    if is_alone() {
        return flood();
    }
    alone("thc::a_flood_of_different_urls_takes_no_more_memory_than_the_limit");
}

#[cfg(target_os = "linux")]
#[tokio::main(flavor = "current_thread")]
async fn flood() {
    let small = Config::default().l1_max_bytes(1 << 20);
    let store = Store::new(small);
    let rules = eager().tag_with(|request| [request.uri.to_string()]);
    let origin = tower::service_fn(async |_: http::Request<Body>| Ok::<_, Infallible>(reply(&[], "page")));
    let mut cache = CacheLayer::new(store.clone()).rules(rules).layer(origin);
    let mut before = 0;
    for n in 0..60_000 {
        if n == 20_000 {
            before = resident_pages();
        }
        let path = format!("/?{n}");
        let response = Service::call(&mut cache, get(&path).body(Body::empty()).unwrap()).await.unwrap();
        Answer::read(response).await;
        if n % 10 == 0 {
            store.purge_tag(&path).await.map(drop).unwrap();
        }
    }
    let grown = resident_pages().saturating_sub(before) * 4096;
    assert!(grown < 1 << 20, "{grown} bytes for 40,000 URLs, a limit of 1 MiB that was reached before");
}

/// THC-18, with a leader that fails: the others do not go all at once.
#[tokio::test]
async fn one_waiter_at_a_time_goes_after_a_failure() {
    let running = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let (opened, most) = (Arc::clone(&gate), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let site = Site::new(eager(), move |n, _| {
        let (running, gate, most) = (Arc::clone(&running), Arc::clone(&gate), Arc::clone(&seen));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            assert!(n > 2, "the first two panic");
            reply(&[], "page")
        }
    });
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let cache = site.cache.clone();
            tokio::spawn(async move {
                let response = cache.oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
                Answer::read(response).await.text().to_owned()
            })
        })
        .collect();
    until(|| site.calls() == 1).await;
    opened.add_permits(100);
    let mut panicked = 0;
    for task in tasks {
        match task.await {
            Ok(page) => assert_eq!(page, "page"),
            Err(_) => panicked += 1,
        }
    }
    assert_eq!((panicked, site.calls(), most.load(Ordering::SeqCst)), (2, 3, 1));
}

/// THC-18, with a leader whose response is for itself alone: everybody asks once, and nobody waits a second time.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_shared_is_asked_for_once_each_and_side_by_side() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let site = Site::new(eager(), move |n, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            reply(&[("cache-control", "no-store")], n.to_string())
        }
    });
    let mut all = JoinSet::new();
    let ask = |all: &mut JoinSet<_>| {
        let cache = site.cache.clone();
        all.spawn(async move {
            let response = cache.oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
            Answer::read(response).await.text().to_owned()
        });
    };
    (0..100).for_each(|_| ask(&mut all));
    until(|| site.calls() == 1).await;
    opened.add_permits(1);
    // All others are with the origin at once, and none of them has an answer.
    until(|| site.calls() == 100).await;
    // And so are those that come now: nobody leads any more.
    (0..100).for_each(|_| ask(&mut all));
    until(|| site.calls() == 200).await;
    opened.add_permits(199);
    let answers: std::collections::HashSet<_> = all.join_all().await.into_iter().collect();
    assert_eq!((answers.len(), site.calls()), (200, 200));
}
