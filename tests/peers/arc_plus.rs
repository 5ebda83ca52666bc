//! axum-response-cache 0.5.0 and tower-http-cache-plus 0.0.2. A part for the whole (ARC-1) and a body over the limit
//! (ARC-3) are in `hcts`, a flood of URLs (ARC-5) is in `thc`, and methods that change something (PLUS-1) are in `hcts`.

use crate::harness::{Answer, Site, eager, get, is_pending, reply, secs, sent, status, until, with};
use axum::body::Body;
use axum::body::to_bytes;
use http::{Method, Request};
use std::sync::Arc;
use terrace::{BodyDigestLayer, CacheLayer, Partition, Rules, Store};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};

/// ARC-2, for the endpoints that ask for it: a question with another body is another question.
#[tokio::test]
async fn a_post_is_answered_by_what_it_carries() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let judge = service_fn(move |request: Request<_>| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            let body = to_bytes(Body::new(request.into_body()), usize::MAX).await.unwrap();
            Ok::<_, std::convert::Infallible>(reply(&[], body))
        }
    });
    let service = BodyDigestLayer::new().layer(CacheLayer::new(Store::memory()).rules(eager()).layer(judge));
    for (n, body) in ["a", "b", "", "a", "b", ""].into_iter().enumerate() {
        let request = with(Method::POST, "/judge").body(Body::from(body)).unwrap();
        let answer = Answer::read(service.clone().oneshot(request).await.unwrap()).await;
        assert_eq!((answer.text(), answer.is_hit()), (body, n >= 3));
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 3);
}

/// ARC-4.
#[tokio::test]
async fn an_entry_stays_stale_when_the_client_that_refreshes_it_leaves() {
    let gate = Arc::new(Semaphore::new(1));
    let opened = Arc::clone(&gate);
    let site = Site::new(Rules::new(), move |n, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            reply(&[("cache-control", "max-age=10, stale-if-error=60"), ("etag", "\"1\"")], n.to_string())
        }
    });
    site.get("/").await;
    site.time.advance(secs(11));
    let mut leaves = Box::pin(site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()));
    assert!(is_pending(leaves.as_mut()).await);
    drop(leaves);
    opened.add_permits(1);
    assert_eq!(site.get("/").await.text(), "3");
}

/// ARC-5.
#[tokio::test]
async fn a_panic_of_the_handler_or_of_a_rule_is_over_with_its_request() {
    let rules = eager().key_with(|request| {
        assert!(!request.headers.contains_key("x-panic-in-key"), "as told");
        None
    });
    let rules = rules.tag_with(|request| {
        assert!(!request.headers.contains_key("x-panic-in-tags"), "as told");
        None
    });
    let site = Site::new(rules, async |_, request| {
        assert_eq!(sent(&request, "x-panic"), "");
        reply(&[], "page")
    });
    for name in ["x-panic", "x-panic-in-key", "x-panic-in-tags"] {
        let cache = site.cache.clone();
        let request = get("/").header(name, "now").body(Body::empty()).unwrap();
        let task = tokio::spawn(async move { cache.oneshot(request).await.map(drop) });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(site.get("/").await.text(), "page");
        assert!(site.get("/").await.is_hit());
        site.store.purge_all().await.map(drop).unwrap();
    }
}

/// ARC-6.
#[tokio::test]
async fn a_client_cannot_empty_the_cache() {
    let site = Site::new(eager(), async |n, request| match request.method().as_str() {
        "GET" => reply(&[], n.to_string()),
        _ => status(405, reply(&[], "")),
    });
    site.get("/").await;
    for (name, value) in [
        ("x-invalidate-cache", "true"),
        ("x-purge", "1"),
        ("cache-control", "no-cache"),
        ("cache-control", "max-age=0"),
        ("pragma", "no-cache"),
        ("surrogate-control", "no-store"),
        ("cache-tag", "a"),
    ] {
        assert!(site.send(get("/").header(name, value)).await.is_hit(), "{name}: {value}");
    }
    // What the application refuses changes nothing.
    for method in ["PURGE", "BAN", "DELETE", "POST", "INVALIDATE"] {
        assert_eq!(site.send(with(method.parse().unwrap(), "/")).await.status, 405);
        assert!(site.get("/").await.is_hit(), "{method}");
    }
    // Nor does a client that refuses to be answered from the cache change it for others.
    assert!(!site.send(get("/").header("cache-control", "no-store")).await.is_hit());
    assert!(site.get("/").await.is_hit());
}

/// PLUS-2.
#[tokio::test]
async fn hosts_credentials_and_cookies_are_isolated_from_one_another() {
    let site = Site::new(eager(), async |n, request| {
        let who = format!("{} {}", sent(&request, "host"), sent(&request, "authorization"));
        reply(&[("cache-control", "max-age=60"), ("set-cookie", &format!("id={n}"))], who)
    });
    for (host, user) in [("a", "ann"), ("b", "ann"), ("a", "bob"), ("a", ""), ("b", ""), ("a", "ann")] {
        let request = Request::get("/").header("host", host);
        let request = if user.is_empty() { request } else { request.header("authorization", user) };
        let answer = site.send(request).await;
        assert_eq!((answer.text(), answer.is_hit()), (&*format!("{host} {user}"), false));
        assert_eq!(answer.field("set-cookie"), format!("id={}", site.calls()));
    }
}

/// PLUS-2, for users who are told apart: each has entries, and only theirs.
#[tokio::test]
async fn a_partition_is_one_users_own() {
    let site = Site::new(eager(), async |_, request| reply(&[], sent(&request, "authorization").to_owned()));
    for round in 0..2 {
        for user in ["ann", "bob"] {
            let request = get("/").header("authorization", user).extension(Partition::new(user));
            let answer = site.send(request).await;
            assert_eq!((answer.text(), answer.is_hit()), (user, round == 1));
        }
        assert_eq!(site.get("/").await.text(), "");
    }
}

/// PLUS-3.
#[tokio::test]
async fn what_nobody_gave_a_lifetime_is_not_kept_for_ever() {
    let day = 86_400;
    let ages = [("Tue, 31 Dec 2024 23:50:00 GMT", 60), ("Fri, 01 Jan 2010 00:00:00 GMT", day)];
    for (modified, lifetime) in ages {
        let site =
            Site::new(Rules::new(), move |n, _| async move { reply(&[("last-modified", modified)], n.to_string()) });
        site.get("/").await;
        site.time.advance(secs(lifetime - 1));
        assert!(site.get("/").await.is_hit());
        site.time.advance(secs(1));
        assert!(!site.get("/").await.is_hit());
    }
}

/// PLUS-5.
#[tokio::test]
async fn each_coding_is_validated_by_its_own_tag() {
    let site = Site::new(Rules::new(), async |_, request| {
        let gzip = sent(&request, "accept-encoding") == "gzip";
        let (etag, coding) = if gzip { ("\"1-gzip\"", "gzip") } else { ("\"1\"", "identity") };
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-encoding"), ("etag", etag)];
        reply(&[&fields[..], &[("content-encoding", coding), ("content-type", "text/plain")]].concat(), coding)
    });
    let ask =
        async |coding, etag| site.send(get("/").header("accept-encoding", coding).header("if-none-match", etag)).await;
    site.send(get("/").header("accept-encoding", "gzip")).await;
    site.send(get("/").header("accept-encoding", "identity")).await;
    for (coding, own, others) in [("gzip", "\"1-gzip\"", "\"1\""), ("identity", "\"1\"", "\"1-gzip\"")] {
        let same = ask(coding, own).await;
        assert_eq!((same.status, same.text(), same.field("etag")), (304, "", own));
        assert_eq!((same.field("cache-control"), same.field("vary")), ("max-age=60", "accept-encoding"));
        assert_eq!((same.field("content-encoding"), same.field("content-type")), ("", ""));
        let other = ask(coding, others).await;
        assert_eq!((other.status, other.text(), other.field("etag")), (200, coding, own));
    }
    assert_eq!(site.calls(), 2);
    until(|| site.store.stats().entries() == 3).await;
}
