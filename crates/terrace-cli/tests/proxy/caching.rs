//! The cache behind the proxy: that it is there, where it sits, and what it sees. What it decides is tested elsewhere.

use crate::harness::{Answer, Origin, Proxy, full, raw_origin, within};
use http::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use terrace_redis_server::{Certificates, PATIENT, Server, form_cluster};

/// Answers each request with its number, host and scheme, fresh for an hour.
async fn numbered() -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let headers = request.headers();
        let field = |name: &str| headers[name].to_str().unwrap().to_owned();
        let text = format!("{number} {} {}", field("host"), field("x-forwarded-proto"));
        let response = Response::builder().header("cache-control", "max-age=3600").header("connection", "x-mine");
        let response = response.header("x-mine", "1").header("x-kept", "2").body(full(text)).unwrap();
        async { response }
    })
    .await
}

async fn get(proxy: &Proxy, host: &str, more: &str) -> Answer {
    proxy.exchange(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).await
}

#[tokio::test]
async fn the_second_answer_is_the_cache_s() {
    for rules in ["safe", "rfc9111"] {
        let proxy = Proxy::start(numbered().await.address, &["--rules", rules, "--access-log", "json"]);
        let first = get(&proxy, "a.example", "").await;
        assert_eq!((first.status, first.text().as_str()), (200, "0 a.example http"));
        let second = get(&proxy, "a.example", "").await;
        assert_eq!(second.text(), "0 a.example http", "{rules}");
        assert!(second.header("age").is_some(), "{second:?}");
        assert!(second.header("cache-status").unwrap().contains("hit"), "{second:?}");
        assert_eq!(second.header("x-mine"), None, "what Connection names is not stored");
        assert_eq!(second.header("x-kept"), Some("2"));
        assert_eq!(second.headers("via").count(), 1);
        proxy.line();
        let line: serde_json::Value = serde_json::from_str(&proxy.line()).unwrap();
        assert!(line["cache"].as_str().unwrap().contains("hit"), "{line}");
    }
}

/// Whether two proxies with these variables share what they fetched and purged.
async fn shared_by_two(variables: &[(&str, &str)]) {
    let origin = format!("http://{}", numbered().await.address);
    let variables = [&PATIENT, variables].concat();
    let start = || Proxy::start_with(&origin, &[], &variables);
    let (one, other) = (start(), start());
    let first = get(&one, "a.example", "").await.text();
    // What one stored is there for the other as soon as it has arrived.
    let shared = async {
        let mut uri = 0;
        loop {
            uri += 1;
            let request = format!("GET /{uri} HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let fetched = one.exchange(&request).await.text();
            if other.exchange(&request).await.text() == fetched {
                return;
            }
        }
    };
    within("the proxies to share", shared).await;
    let purge = one.exchange("PURGE /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(purge.status, 200);
    let told = async { while get(&other, "a.example", "").await.text() == first {} };
    within("the other proxy to be told", told).await;
}

#[tokio::test]
async fn proxies_share_through_redis_what_they_fetched_and_purged() {
    let redis = Server::start();
    shared_by_two(&[("REDIS_URL", &redis.url())]).await;
}

#[tokio::test]
async fn proxies_share_through_a_cluster_with_encrypted_connections() {
    let certificates = Certificates::new();
    let mut nodes = [(); 3].map(|()| Server::cluster_node_with_tls(&certificates));
    form_cluster(&mut nodes);
    let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect::<Vec<_>>().join(",");
    let trusted = certificates.authority_file();
    shared_by_two(&[("REDIS_CLUSTER_NODES", &addresses), ("REDIS_TLS", "yes"), ("SSL_CERT_FILE", &trusted)]).await;
}

#[tokio::test]
async fn hosts_and_schemes_do_not_share() {
    let proxy = Proxy::start(numbered().await.address, &["--trust-forwarded", "127.0.0.1"]);
    let https = "X-Forwarded-Proto: https\r\n";
    for _ in 0..2 {
        assert_eq!(get(&proxy, "a.example", "").await.text(), "0 a.example http");
        assert_eq!(get(&proxy, "b.example", "").await.text(), "1 b.example http");
        assert_eq!(get(&proxy, "a.example", https).await.text(), "2 a.example https");
    }
    let absolute = "GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(proxy.exchange(absolute).await.text(), "1 b.example http");
}

#[tokio::test]
async fn what_an_untrusted_client_says_of_itself_changes_nobody_else_s_answer() {
    let proxy = Proxy::start(numbered().await.address, &[]);
    let spoof = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n";
    assert_eq!(get(&proxy, "a.example", spoof).await.text(), "0 a.example http");
    assert_eq!(get(&proxy, "a.example", "").await.text(), "0 a.example http");
}

#[tokio::test]
async fn a_purge_makes_the_next_answer_the_origin_s() {
    let proxy = Proxy::start(numbered().await.address, &[]);
    get(&proxy, "a.example", "").await;
    get(&proxy, "b.example", "").await;
    let purge = proxy.exchange("PURGE /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(purge.status, 200);
    let said: serde_json::Value = serde_json::from_str(&purge.text()).unwrap();
    assert_eq!(said["purged"], "http://a.example/x");
    assert_eq!(get(&proxy, "a.example", "").await.text(), "2 a.example http");
    assert_eq!(get(&proxy, "b.example", "").await.text(), "1 b.example http", "the others stay");
}

#[tokio::test]
async fn an_origin_that_fails_is_an_error_to_the_cache() {
    let origin = raw_origin(|mut client, number| async move {
        client.head().await;
        if number == 0 {
            client
                .send(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=0, stale-if-error=3600\r\nETag: \"e\"\r\n\
                     Connection: close\r\nContent-Length: 4\r\n\r\nkept",
                )
                .await;
        }
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    assert_eq!(get(&proxy, "a.example", "").await.text(), "kept");
    let stale = get(&proxy, "a.example", "").await;
    assert_eq!((stale.status, stale.text().as_str()), (200, "kept"), "{stale:?}");
}

#[tokio::test]
async fn a_head_is_answered_from_a_stored_get() {
    let proxy = Proxy::start(numbered().await.address, &[]);
    let stored = get(&proxy, "a.example", "").await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send("HEAD /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        let head = client.answer("HEAD").await;
        assert!(head.header("age").is_some(), "{head:?}");
        assert_eq!(head.header("content-length"), Some(stored.body.len().to_string().as_str()));
    }
}

#[tokio::test]
async fn a_switch_of_protocols_passes_around_the_cache() {
    let proxy = Proxy::start(numbered().await.address, &[]);
    get(&proxy, "a.example", "").await;
    let answer = get(&proxy, "a.example", "Connection: upgrade\r\nUpgrade: websocket\r\n").await;
    assert_eq!(answer.text(), "1 a.example http");
    assert_eq!(answer.header("age"), None);
}

#[tokio::test]
async fn the_rule_set_is_the_one_asked_for() {
    for (rules, second) in [("safe", "1"), ("rfc9111", "0")] {
        let count = Arc::new(AtomicUsize::new(0));
        let origin = Origin::start(move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let response = Response::builder().header("cache-control", "max-age=3600").header("set-cookie", "a=b");
            let response = response.body(full(number.to_string())).unwrap();
            async { response }
        })
        .await;
        let proxy = Proxy::start(origin.address, &["--rules", rules]);
        assert_eq!(proxy.get("/").await.text(), "0");
        // The safe rules keep nobody's cookie for somebody else.
        assert_eq!(proxy.get("/").await.text(), second, "{rules}");
    }
}
