//! hitbox 0.2 and its crates.

use crate::harness::{Answer, Origin, Patience, Site, eager, get, is_pending, reply, secs, status, until, with};
use axum::body::Body;
use http::Method;
use std::sync::Arc;
use terrace::stats::Feature;
use terrace::{CacheLayer, Config, Rules, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt};

/// An origin that answers when it is let.
fn gated(rules: Rules, fields: &'static [(&'static str, &'static str)]) -> (Site, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let site = Site::new(rules, move |n, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            reply(fields, n.to_string())
        }
    });
    (site, opened)
}

fn ask(site: &Site, all: &mut JoinSet<String>) {
    let cache = site.cache.clone();
    all.spawn(async move {
        let response = cache.oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
        Answer::read(response).await.text().to_owned()
    });
}

/// HB-1: the client leaves before the origin has answered.
#[tokio::test(start_paused = true)]
async fn those_who_wait_do_not_wait_for_a_client_that_left() {
    let (site, gate) = gated(eager(), &[]);
    let request = get("/").body(Body::empty()).unwrap();
    let mut first = Box::pin(site.cache.clone().oneshot(request));
    assert!(is_pending(first.as_mut()).await);
    let mut all = JoinSet::new();
    (0..100).for_each(|_| ask(&site, &mut all));
    tokio::task::yield_now().await;
    assert_eq!(site.calls(), 1);
    drop(first);
    // One of them asks in its place, long before any time limit.
    until(|| site.calls() == 2).await;
    gate.add_permits(1);
    assert!(all.join_all().await.iter().all(|page| page == "2"));
    assert_eq!((site.calls(), site.store.stats().inflight_fills()), (2, 0));
}

/// HB-1: the client leaves in the middle of the body.
#[tokio::test(start_paused = true)]
async fn those_who_wait_read_on_when_the_first_client_leaves_or_stalls() {
    for leaves in [true, false] {
        let (mut sender, channel) = http_body_util::Channel::<bytes::Bytes>::new(8);
        let channel = std::sync::Mutex::new(Some(channel));
        let site = Site::new(eager(), move |_, _| {
            let body = Body::new(channel.lock().unwrap().take().expect("asked once"));
            async { reply(&[], body) }
        });
        let first = site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
        let mut all = JoinSet::new();
        (0..100).for_each(|_| ask(&site, &mut all));
        tokio::task::yield_now().await;
        sender.send_data("the ".into()).await.unwrap();
        tokio::task::yield_now().await;
        let first = (!leaves).then_some(first);
        sender.send_data("page".into()).await.unwrap();
        drop(sender);
        assert!(all.join_all().await.iter().all(|page| page == "the page"));
        if let Some(first) = first {
            assert_eq!(Answer::read(first).await.text(), "the page");
        }
        assert_eq!((site.calls(), site.store.stats().inflight_fills()), (1, 0));
    }
}

/// HB-1: nothing is left behind by those who leave.
#[tokio::test]
async fn a_key_that_was_given_up_can_be_asked_for_again() {
    let (site, gate) = gated(eager(), &[]);
    for _ in 0..10 {
        let mut given_up = Box::pin(site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()));
        assert!(is_pending(given_up.as_mut()).await);
    }
    assert_eq!((site.calls(), site.store.stats().inflight_fills()), (10, 0));
    gate.add_permits(1);
    assert_eq!(site.get("/").await.text(), "11");
    assert!(site.get("/").await.is_hit());
}

/// HB-1: an origin that never answers keeps nobody for longer than the time limit.
#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_waited_for_only_so_long() {
    let site = Site::configured(Config::default().fill_wait(secs(3)), eager(), async |n, _| {
        if n == 1 {
            std::future::pending::<()>().await;
        }
        reply(&[], n.to_string())
    });
    let mut hanging = Box::pin(site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()));
    assert!(is_pending(hanging.as_mut()).await);
    let started = tokio::time::Instant::now();
    assert_eq!(site.get("/").await.text(), "2");
    assert_eq!(started.elapsed(), secs(3));
}

/// HB-2, beside THC-18: failures as responses. They are not stored, and nobody is made to wait for the next one.
#[tokio::test]
async fn a_failure_costs_each_request_one_call_at_most() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let site = Site::new(eager(), move |n, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            status(503, reply(&[], n.to_string()))
        }
    });
    let mut all = JoinSet::new();
    (0..100).for_each(|_| ask(&site, &mut all));
    until(|| site.calls() == 1).await;
    opened.add_permits(100);
    let answers: std::collections::HashSet<_> = all.join_all().await.into_iter().collect();
    assert_eq!((answers.len(), site.calls()), (100, 100));
}

/// HB-3.
#[tokio::test]
async fn a_stale_page_is_fetched_once_however_many_ask() {
    for (fields, stale) in [
        (&[("cache-control", "max-age=1"), ("etag", "\"1\"")][..], "2"),
        (&[("cache-control", "max-age=1"), ("last-modified", "Tue, 31 Dec 2024 00:00:00 GMT")], "2"),
        (&[("cache-control", "max-age=1, stale-while-revalidate=60")], "1"),
    ] {
        let (site, gate) = gated(Rules::new(), fields);
        gate.add_permits(1);
        site.get("/").await;
        site.time.advance(secs(2));
        let mut all = JoinSet::new();
        (0..100).for_each(|_| ask(&site, &mut all));
        until(|| site.calls() == 2).await;
        tokio::task::yield_now().await;
        gate.add_permits(1);
        assert!(all.join_all().await.iter().all(|page| page == stale));
        // A refresh ends behind the answers.
        let patience = Patience::new();
        while site.get("/").await.text() != "2" {
            patience.yields().await;
        }
        assert_eq!(site.calls(), 2);
    }
}

/// HB-4, THC-15.
#[tokio::test]
async fn services_that_must_be_ready_can_be_cached() {
    let origin = Origin::new(async |_, request| reply(&[], request.uri().path().to_owned()));
    let limited = ServiceBuilder::new()
        .layer(CacheLayer::new(Store::memory()).rules(eager()))
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(BufferLayer::new(1))
        .service(origin.clone());
    let mut all = JoinSet::new();
    for n in 0..150 {
        let (service, path) = (limited.clone(), format!("/{}", n % 25));
        let method = if n % 3 == 0 { Method::POST } else { Method::GET };
        let asked = service.oneshot(with(method, &path).body(Body::empty()).unwrap());
        all.spawn(async move { assert_eq!(Answer::read(asked.await.unwrap()).await.text(), path) });
    }
    all.join_all().await;
    assert!((75..=150).contains(&origin.calls()), "{}", origin.calls());
}

/// HB-10.
#[tokio::test]
async fn nothing_is_stored_that_was_not_meant_to_be() {
    let twice = async |method: Method, code: u16, field: (&'static str, &'static str)| {
        let site = Site::new(eager(), move |n, _| async move { status(code, reply(&[field], n.to_string())) });
        for n in ["1", "2"] {
            assert_eq!(site.send(with(method.clone(), "/")).await.text(), n, "{method} {code} {field:?}");
        }
    };
    for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::TRACE] {
        twice(method, 200, ("x", "y")).await;
    }
    for code in [201, 202, 302, 304, 307, 400, 401, 403, 404, 405, 408, 410, 412, 416, 429, 500, 502, 503, 504] {
        twice(Method::GET, code, ("x", "y")).await;
    }
    for field in [("cache-control", "private"), ("set-cookie", "id=1"), ("cache-control", "no-store"), ("vary", "*")] {
        twice(Method::GET, 200, field).await;
    }
}

/// HB-10, the other side: without rules that say so, a response that says nothing is not stored either.
#[tokio::test]
async fn nothing_is_stored_by_default_without_a_word_from_the_response() {
    let site = Site::new(Rules::new(), async |n, _| reply(&[], n.to_string()));
    assert_eq!((site.get("/").await.text(), site.get("/").await.text()), ("1", "2"));
    assert!(site.store.flags().is_on(Feature::Cache));
}

/// HB-11. Keys are compared whole, so texts that are alike in any number of places are different keys.
#[tokio::test]
async fn two_secrets_are_two_keys_however_alike() {
    let secret = |request: &http::request::Parts| Some(request.headers.get("x-secret")?.to_str().ok()?.to_owned());
    let site = Site::new(eager().key_with(secret), async |_, request| {
        reply(&[], crate::harness::sent(&request, "x-secret").to_owned())
    });
    let alike = |at: usize| -> String { (0..1000).map(|n| if n == at { 'b' } else { 'a' }).collect() };
    for round in 0..2 {
        for at in 0..=1000 {
            let answer = site.send(get("/").header("x-secret", alike(at))).await;
            assert_eq!((answer.text(), answer.is_hit()), (&*alike(at), round == 1));
        }
    }
}
