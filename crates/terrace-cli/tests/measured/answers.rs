//! What answers for Prometheus and is none, or does not answer.

use crate::harness::{Origin, Raw, full, raw_origin, terrace};
use crate::page;
use crate::prometheus::{Ended, Prometheus, WINDOW, run};
use http::{Response, StatusCode};
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

const BASELINE: &str = r#"{"schema": 1, "caches": {}, "l2": {"present": false}}"#;

/// Asks for a judgement, which is never one.
fn gate(address: SocketAddr) -> Ended {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("baseline.json");
    fs::write(&file, BASELINE).unwrap();
    let mut command = terrace();
    command.args([
        "gate",
        "--timeout",
        "2s",
        "--prometheus",
        &format!("http://{address}/base"),
        "-o",
        "json",
        "--baseline",
    ]);
    run(command.arg(file).env("TERRACE_PROMETHEUS_TOKEN", "a-secret"))
}

fn inconclusive(ended: Ended, words: &str) {
    let ended = ended.with(3);
    let json = ended.json();
    assert_eq!(json["verdict"], "inconclusive");
    let measured = json["findings"][0]["measured"].as_str().unwrap().to_owned();
    assert!(measured.contains(words) && !measured.contains("a-secret"), "{measured}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_sent_and_what_it_opens_is_below_the_base() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let origin = Origin::start(move |request| {
        let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        all.lock().unwrap().push((request.method().to_string(), request.uri().path().to_owned(), token));
        async {
            let error = r#"{"status":"error","errorType":"forbidden","error":"not for you"}"#;
            Response::builder().status(StatusCode::FORBIDDEN).body(full(error)).unwrap()
        }
    })
    .await;
    inconclusive(gate(origin.address), "status 403: not for you");
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], ("POST".into(), "/base/api/v1/query_range".into(), Some("Bearer a-secret".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_not_waited_for() {
    let silent = raw_origin(|mut client: Raw, _| async move {
        client.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    inconclusive(gate(silent), "no complete answer within 2s");
    let closed = raw_origin(|client: Raw, _| async move { drop(client) }).await;
    inconclusive(gate(closed), "Prometheus at http://");
    let page = Origin::start(|_| async { Response::new(full("<html>a login</html>")) }).await;
    inconclusive(gate(page.address), "no answer of Prometheus's HTTP API");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_bounds_is_given_up() {
    let endless = raw_origin(|mut client: Raw, _| async move {
        client.head().await;
        let _ = client.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await;
        let part = vec![b' '; 1 << 20];
        while client.stream.write_all(&part).await.is_ok() {}
    })
    .await;
    let ended = gate(endless).with(3).json();
    let measured = ended["findings"][0]["measured"].as_str().unwrap();
    assert!(measured.contains("length limit exceeded") || measured.contains("no complete answer"), "{measured}");
}

/// A process of which each look finds a thousand requests more, all of which took longer than anything that is timed.
async fn slow() -> Origin {
    let looks = Arc::new(Mutex::new(0));
    Origin::start(move |_| {
        let count = {
            let mut looks = looks.lock().unwrap();
            *looks += 1000;
            *looks
        };
        let (bucket, hit) = ("cache_request_duration_seconds_bucket", "cache_status=\"l1_cache_hit\"");
        let text = format!(
            "cache_build_info{{version=\"1\",revision=\"r\"}} 1\ncache_requests_total{{{hit}}} {count}\n\
             {bucket}{{{hit},le=\"1\"}} 0\n{bucket}{{{hit},le=\"5\"}} 0\n{bucket}{{{hit},le=\"+Inf\"}} {count}\n"
        );
        async move { Response::builder().header("content-type", "text/plain; version=0.0.4").body(full(text)).unwrap() }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_slower_than_anything_that_is_timed_never_passes() {
    let slow = slow().await;
    let prometheus = Prometheus::start(&[slow.address]);
    let captured = prometheus.eventually(0, "\"p95_above\"", &["baseline", "capture", "--for", WINDOW]).json();
    let all = &captured["caches"]["response"]["latency_seconds"]["all"];
    assert_eq!((&all["p95"], all["p95_above"].as_f64()), (&serde_json::Value::Null, Some(5.0)), "{captured:#}");

    let usual = prometheus.file("usual.json");
    let usually = serde_json::json!({ "requests": 1000, "latency_seconds": { "all": { "p95": 0.2 } } });
    let document = serde_json::json!({ "schema": 1, "caches": { "response": usually } });
    fs::write(&usual, document.to_string()).unwrap();
    let gate = ["gate", "--for", WINDOW, "--baseline", &usual];
    let failed = prometheus.eventually(1, "failed: request-p95", &gate);
    assert!(failed.out.contains("> 5.00 s") && !failed.out.contains("inf "), "{failed:#?}");
    // By itself it cannot be judged either.
    fs::write(&usual, captured.to_string()).unwrap();
    prometheus.eventually(3, "could not be judged: request-p95", &gate);

    let file = prometheus.file("page.html");
    let report = prometheus.eventually(0, "Over the time", &["report", "--for", WINDOW, "--html", &file]);
    assert!(report.out.contains(r"| all | \> 5.00 s | \> 5.00 s | \> 5.00 s |"), "{}", report.out);
    assert!(report.out.contains(r"| P95 | \> 5.00 s |"), "{}", report.out);
    assert!(!report.out.contains("NaN") && !report.out.contains("inf "), "{}", report.out);
    let text = page::check(&fs::read_to_string(&file).unwrap());
    assert!(text.contains("P95 (at 5.00 s: ") && text.contains("&gt; 5.00 s"), "{text}");
}

#[test]
fn mistakes_are_told_from_what_is_inconclusive() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (good, other, none) = (file("a", BASELINE), file("b", r#"{"schema": 2}"#), file("c", "{"));
    let at = "--prometheus=http://127.0.0.1:1";
    for (arguments, code, words) in [
        (vec!["gate", "--baseline", &good, at], 3, "could not be judged: data"),
        (vec!["gate", "--baseline", &other, at], 2, "schema 2, and only 1 is known here"),
        (vec!["gate", "--baseline", &none, at], 2, "no baseline"),
        (vec!["gate", "--baseline", "/nowhere/at/all", at], 2, "/nowhere/at/all"),
        (vec!["gate", "--baseline", &good], 2, "--prometheus"),
        (vec!["gate", "--baseline", &good, at, "--for", "0s"], 2, "above zero"),
        (vec!["gate", at], 2, "--baseline"),
        (vec!["report"], 2, "--prometheus"),
        (vec!["report", at, "--from", "yesterday"], 2, "RFC 3339"),
        (vec!["report", at], 3, "Connection refused"),
        (vec!["baseline", "capture"], 2, "--scrape"),
        (vec!["baseline", "capture", at], 3, "Connection refused"),
        (vec!["baseline", "diff", &good, &none], 2, "no baseline"),
        (vec!["baseline", "diff", &good], 2, "<B>"),
    ] {
        let ended = run(terrace().args(&arguments)).with(code);
        assert!(ended.err.contains(words), "{arguments:?}: {ended:#?}");
    }
}
