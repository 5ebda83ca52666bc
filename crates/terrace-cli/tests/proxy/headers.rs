//! What passes a proxy, and what it adds.

use crate::harness::{Origin, Proxy, raw_origin};

#[tokio::test]
async fn hop_by_hop_fields_do_not_pass_to_the_origin() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\
             Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: 2\r\n\r\n",
        )
        .await;
    assert_eq!(answer.status, 200);
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(answer.mirrored(name), Vec::<String>::new(), "{name}");
    }
    assert_eq!(answer.mirrored("x-end"), ["2"]);
}

#[tokio::test]
async fn hop_by_hop_fields_do_not_pass_to_the_client() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
        client
            .send(
                "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\n\
                 Proxy-Connection: x\r\nUpgrade: h2c\r\nTE: x\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    let answer = proxy.get("/").await;
    assert_eq!(answer.text(), "ok");
    for name in ["connection", "x-mine", "keep-alive", "proxy-connection", "upgrade", "te"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-end"), Some("2"));
}

#[tokio::test]
async fn via_is_appended_both_ways() {
    let origin = raw_origin(|mut client, _| async move {
        let head = client.head().await;
        let seen: Vec<&str> = head.lines().filter(|line| line.starts_with("via: ")).collect();
        let seen = seen.join("|");
        let length = seen.len();
        client.send(format!("HTTP/1.0 200 OK\r\nVia: 1.1 inner\r\nContent-Length: {length}\r\n\r\n{seen}")).await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    let answer = proxy.exchange("GET / HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 outer\r\n\r\n").await;
    assert_eq!(answer.text(), "via: 1.1 outer|via: 1.1 terrace");
    assert_eq!(answer.headers("via").collect::<Vec<_>>(), ["1.1 inner", "1.0 terrace"]);
    assert_eq!(answer.version, "HTTP/1.1", "the origin's version is not the client's");
}

#[tokio::test]
async fn the_origin_learns_who_asked_for_what() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy.get("/").await;
    assert_eq!(answer.mirrored("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.mirrored("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.mirrored("x-forwarded-host"), ["test.example"]);

    let spoofed = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n\r\n";
    let answer = proxy.exchange(spoofed).await;
    assert_eq!(answer.mirrored("x-forwarded-for"), ["192.0.2.1, 192.0.2.2, 127.0.0.1"]);
    assert_eq!(answer.mirrored("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.mirrored("x-forwarded-host"), ["a.example"]);
    assert_eq!(answer.mirrored("forwarded"), Vec::<String>::new());

    let proxy = Proxy::start(origin.address, &["--trust-forwarded", "127.0.0.0/8"]);
    let answer = proxy.exchange(spoofed).await;
    assert_eq!(answer.mirrored("x-forwarded-proto"), ["https"]);
    assert_eq!(answer.mirrored("x-forwarded-host"), ["evil.example"]);
}

#[tokio::test]
async fn host_is_preserved_unless_asked_otherwise() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    assert_eq!(proxy.get("/").await.mirrored("host"), ["test.example"]);
    let proxy = Proxy::start(origin.address, &["--rewrite-host"]);
    let answer = proxy.get("/").await;
    assert_eq!(answer.mirrored("host"), [origin.address.to_string()]);
    assert_eq!(answer.mirrored("x-forwarded-host"), ["test.example"]);
}

#[tokio::test]
async fn the_origin_may_live_under_a_prefix() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start_at(&format!("http://{}/v1/", origin.address), &[]);
    let answer = proxy.get("/a?b").await;
    assert!(answer.text().starts_with("GET /v1/a?b HTTP/1.1\n"), "{}", answer.text());
}

#[tokio::test]
async fn an_absolute_target_wins_over_host() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy.exchange("GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert!(answer.text().starts_with("GET /x HTTP/1.1\n"), "{}", answer.text());
    assert_eq!(answer.mirrored("host"), ["b.example"]);
}

#[tokio::test]
async fn a_request_without_one_valid_host_is_400_and_goes_nowhere() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    for fields in [
        "",
        "Host: a.example\r\nHost: a.example\r\n",
        "Host: a.example\r\nHost: b.example\r\n",
        "Host: a b\r\n",
        "Host: \r\n",
        "Host: u@a.example\r\n",
    ] {
        let answer = proxy.exchange(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
        assert_eq!(answer.status, 400, "{fields:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let absolute = proxy.exchange("GET http://a.example/ HTTP/1.1\r\n\r\n").await;
    assert_eq!(absolute.status, 400);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy.exchange("GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("transfer-encoding"), None, "HTTP/1.0 has no chunks");
    assert!(answer.text().starts_with("GET /x HTTP/1.1\n"), "{}", answer.text());
    assert_eq!(answer.mirrored("host"), [origin.address.to_string()]);
    assert_eq!(answer.mirrored("via"), ["1.0 terrace"]);
}

#[tokio::test]
async fn max_forwards_ends_trace_and_options() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let last = |method: &str| {
        format!("{method} /x HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 0\r\nCookie: s=1\r\nX-Seen: 1\r\n\r\n")
    };
    let answer = proxy.exchange(&last("OPTIONS")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("allow").unwrap().contains("GET"));
    let answer = proxy.exchange(&last("TRACE")).await;
    assert_eq!(answer.header("content-type"), Some("message/http"));
    assert!(answer.text().starts_with("TRACE http://a.example/x HTTP/1.1\r\n"));
    assert!(answer.text().contains("x-seen: 1"));
    assert!(!answer.text().contains("cookie"), "a reflection holds no secrets");
    assert_eq!(origin.connections(), 0);

    let answer = proxy.exchange("OPTIONS * HTTP/1.1\r\nHost: a.example\r\nMax-Forwards: 3\r\n\r\n").await;
    assert!(answer.text().starts_with("OPTIONS * HTTP/1.1\n"), "{}", answer.text());
    assert_eq!(answer.mirrored("max-forwards"), ["2"]);
}

#[tokio::test]
async fn connect_is_not_a_reverse_proxy_s_business() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let answer = proxy.exchange("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").await;
    assert_eq!(answer.status, 501);
    assert_eq!(origin.connections(), 0);
}
