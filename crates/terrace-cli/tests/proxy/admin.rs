//! The admin port, PURGE, and the access log.

use crate::harness::{Answer, Origin, PATIENCE, Proxy, Raw, full, no_store, raw_origin, run_to_end, terrace, within};
use std::time::Instant;
use tokio::sync::mpsc;

async fn admin(proxy: &Proxy, method: &str, path: &str) -> Answer {
    let mut client = Raw::connect(proxy.admin).await;
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: admin\r\n\r\n")).await;
    client.answer(method).await
}

#[tokio::test]
async fn health_and_metrics_have_a_port_of_their_own() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &[]);
    let health = admin(&proxy, "GET", "/healthz").await;
    assert_eq!((health.status, health.text().as_str()), (200, r#"{"status":"healthy"}"#));
    assert_eq!(admin(&proxy, "HEAD", "/healthz").await.status, 200);
    assert_eq!(admin(&proxy, "POST", "/healthz").await.status, 405);
    assert_eq!(admin(&proxy, "GET", "/").await.status, 404);

    for path in ["/healthz", "/metrics"] {
        let answer = proxy.get(path).await;
        assert!(answer.text().starts_with(&format!("GET {path} ")), "the origin's own {path}");
    }
}

#[tokio::test]
async fn metrics_count_connections_and_the_origin_s_failures() {
    let origin = raw_origin(|mut client, _| async move {
        client.head().await;
    })
    .await;
    let proxy = Proxy::start(origin, &[]);
    let open = proxy.connect().await;
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer("POST").await.status, 502);
    let metrics = admin(&proxy, "GET", "/metrics").await;
    assert_eq!(metrics.status, 200);
    let text = metrics.text();
    assert!(text.contains("# TYPE proxy_connections gauge"), "{text}");
    assert!(text.contains("\nproxy_connections 2\n"), "{text}");
    let errors = r#"proxy_origin_errors_total{error="connection_terminated"} 1"#;
    assert!(text.contains(errors), "{text}");

    drop(open);
    let start = Instant::now();
    while !admin(&proxy, "GET", "/metrics").await.text().contains("\nproxy_connections 1\n") {
        assert!(start.elapsed() < PATIENCE, "a closed connection is still counted");
    }
}

const PURGE: &str = "PURGE /x HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[tokio::test]
async fn purge_is_for_the_allow_list_and_never_forwarded() {
    let origin = Origin::mirror().await;
    for flags in [["--purge-allow", "none"], ["--purge-allow", "10.0.0.0/8,::1"]] {
        let proxy = Proxy::start(origin.address, &flags);
        assert_eq!(proxy.exchange(PURGE).await.status, 405, "{flags:?}");
    }
    let proxy = Proxy::start(origin.address, &[]);
    for relayed in ["Via: 1.1 front", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1"] {
        let purge = format!("PURGE /x HTTP/1.1\r\nHost: a.example\r\n{relayed}\r\n\r\n");
        assert_eq!(proxy.exchange(&purge).await.status, 405, "{relayed}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn access_lines_hold_no_secrets() {
    let origin = Origin::start(|_| async { no_store(full("four")) }).await;
    let secrets = "GET /path?token=secret1 HTTP/1.1\r\nHost: a.example\r\nCookie: c=secret2\r\n\
         Authorization: Bearer secret3\r\nX-Other: secret4\r\n\r\n";
    let proxy = Proxy::start(origin.address, &["--access-log", "json"]);
    proxy.exchange(secrets).await;
    let line = proxy.line();
    assert!(!line.contains("secret"), "{line}");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["method"], "GET");
    assert_eq!(line["host"], "a.example");
    assert_eq!(line["target"], "/path?");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes"], 4);
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["complete"], true);
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0);

    let proxy = Proxy::start(origin.address, &["--access-log", "text", "--access-log-query"]);
    proxy.exchange(secrets).await;
    let line = proxy.line();
    assert!(
        line.contains(" method=GET host=a.example target=/path?token=secret1 version=HTTP/1.1 status=200 bytes=4 "),
        "{line}"
    );
    assert_eq!(line.matches("secret").count(), 1, "{line}");
}

#[tokio::test]
async fn access_lines_name_the_trace_that_a_request_says_it_is_part_of() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let origin = Origin::start(|_| async { no_store(full("four")) }).await;
    let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
    let proxy = Proxy::start(origin.address, &["--access-log", "json"]);
    let traced = async |parents: &[&str]| {
        let fields: Vec<String> = parents.iter().map(|parent| format!("traceparent: {parent}\r\n")).collect();
        proxy.exchange(&format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{}\r\n", fields.concat())).await;
        let mut line: serde_json::Value = serde_json::from_str(&proxy.line()).unwrap();
        line.as_object_mut().unwrap().remove("trace_id")
    };
    assert_eq!(traced(&[&valid]).await, Some(TRACE.into()));
    assert_eq!(traced(&[&format!("cc{}-more", &valid[2..])]).await, Some(TRACE.into()), "of a later version");
    assert_eq!(traced(&[]).await, None);
    assert_eq!(traced(&[&valid, &valid]).await, None);
    for bad in [
        String::new(),
        valid.to_uppercase(),
        valid.replace(TRACE, &TRACE.to_uppercase()),
        valid.replace(TRACE, &"0".repeat(32)),
        valid.replace(TRACE, &TRACE[1..]),
        valid.replace(TRACE, &format!("{TRACE}0")),
        valid.replace(TRACE, &TRACE.replace('f', "g")),
        valid.replace("b7ad6b7169203331", &"0".repeat(16)),
        valid.replace("b7ad6b7169203331", "b7ad6b716920333"),
        format!("ff{}", &valid[2..]),
        format!("0{}", &valid[2..]),
        format!("{valid}-more"),
        valid[..valid.len() - 1].to_owned(),
        valid.replace('-', "_"),
        format!("{TRACE}\" level=ERROR"),
    ] {
        assert_eq!(traced(&[&bad]).await, None, "{bad}");
    }
}

#[tokio::test]
async fn access_lines_tell_answers_that_nobody_heard() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let origin = raw_origin(move |mut client, _| {
        let arrived = arrived.clone();
        async move {
            let head = client.head().await;
            if head.starts_with("GET /half") {
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
            }
            arrived.send(()).unwrap();
            client.rest().await;
        }
    })
    .await;
    let proxy = Proxy::start(origin, &["--access-log", "json"]);
    for (path, status, bytes) in [("/half", 200, 4), ("/none", 499, 0)] {
        let mut client = proxy.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        within("the request", arrivals.recv()).await.unwrap();
        if status == 200 {
            client.until("half").await;
        }
        drop(client);
        let line: serde_json::Value = serde_json::from_str(&proxy.line()).unwrap();
        assert_eq!(line["target"], path);
        assert_eq!(line["status"], status);
        assert_eq!(line["bytes"], bytes);
        assert_eq!(line["complete"], false);
    }
}

#[tokio::test]
async fn access_lines_can_be_left_out() {
    let origin = Origin::mirror().await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    proxy.get("/").await;
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.output().await, Vec::<String>::new());
}

async fn below_terrace(proxy: &Proxy, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let mut client = Raw::connect(proxy.admin).await;
    let head = format!("{method} /terrace{path} HTTP/1.1\r\nHost: {}\r\n{fields}", proxy.admin);
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    client.answer(method).await
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn operators_are_served_on_the_admin_port_alone() {
    let origin = Origin::start(|request| async move {
        let body = full(format!("the origin's {}", request.uri()));
        http::Response::builder().header("cache-control", "max-age=60").body(body).unwrap()
    })
    .await;
    let proxy = Proxy::start(origin.address, &[]);
    for path in ["", "/", "/?x"] {
        let page = below_terrace(&proxy, "GET", path, "", "").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
    }
    assert_eq!(admin(&proxy, "GET", "/terraces").await.status, 404);
    for path in ["/terrace/", "/terrace/stats"] {
        assert_eq!(proxy.get(path).await.text(), format!("the origin's {path}"), "the origin has that path itself");
    }

    assert_eq!(proxy.get("/p/7").await.header("age"), None);
    assert!(proxy.get("/p/7").await.header("age").is_some());
    let asked = r#"{"url":"http://test.example/p/7"}"#;
    let explained = below_terrace(&proxy, "POST", "/explain", JSON, asked).await.text();
    assert!(explained.contains(r#""verdict":"l1_hit""#), "{explained}");
    let purged = below_terrace(&proxy, "POST", "/purge", JSON, r#"{"prefix":"http://test.example/p"}"#).await;
    assert_eq!(purged.status, 200, "{}", purged.text());
    assert_eq!(proxy.get("/p/7").await.header("age"), None);
    let stats: serde_json::Value =
        serde_json::from_slice(&below_terrace(&proxy, "GET", "/stats", "", "").await.body).unwrap();
    assert_eq!(stats["requests"]["l1_cache_hit"], 1, "{stats}");
    assert_eq!(stats["top"]["miss"][0]["name"], "GET test.example/p/7");

    let off = r#"{"on":false,"reason":"test"}"#;
    assert_eq!(below_terrace(&proxy, "PUT", "/flags/cache", JSON, off).await.status, 200);
    let metrics = admin(&proxy, "GET", "/metrics").await.text();
    assert!(metrics.contains("\ncache_feature_enabled{feature=\"cache\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn without_a_token_only_this_machine_is_admitted() {
    let proxy = Proxy::start(Origin::mirror().await.address, &[]);
    assert_eq!(below_terrace(&proxy, "GET", "/stats", "", "").await.status, 200);
    for relayed in ["Via: 1.1 front\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "Forwarded: for=127.0.0.1\r\n"] {
        assert_eq!(below_terrace(&proxy, "GET", "/stats", relayed, "").await.status, 403, "{relayed}");
    }
    assert_eq!(admin(&proxy, "GET", "/terrace/stats").await.status, 403, "called by a name that is not this machine's");
    assert_eq!(admin(&proxy, "GET", "/metrics").await.status, 200);
}

#[tokio::test]
async fn with_a_token_only_who_has_it_is_admitted() {
    let origin = format!("http://{}", Origin::mirror().await.address);
    let token = "correct-horse-battery-staple";
    let proxy = Proxy::start_with(&origin, &[], &[("TERRACE_ADMIN_TOKEN", token)]);
    assert_eq!(below_terrace(&proxy, "GET", "/stats", "", "").await.status, 401);
    assert_eq!(below_terrace(&proxy, "POST", "/purge", JSON, r#"{"all":true}"#).await.status, 401);
    let right = format!("Authorization: Bearer {token}\r\nX-Forwarded-For: 10.0.0.1\r\n");
    assert_eq!(below_terrace(&proxy, "GET", "/stats", &right, "").await.status, 200);
    for path in ["/metrics", "/healthz"] {
        assert_eq!(admin(&proxy, "GET", path).await.status, 200, "{path} needs none");
    }

    for bad in ["short-secret", "", "with a space in it"] {
        let mut command = terrace();
        command.args(["proxy", "--origin", &origin, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let (code, text) = run_to_end(command.env("TERRACE_ADMIN_TOKEN", bad));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("TERRACE_ADMIN_TOKEN") && (bad.is_empty() || !text.contains(bad)), "{text}");
    }
}
