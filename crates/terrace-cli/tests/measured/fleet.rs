//! A proxy with its Redis under load: what is usual, what is judged by it, and what is reported.

use crate::harness::{Origin, PATIENCE, Proxy, Raw, full, terrace, within};
use crate::page;
use crate::prometheus::{Prometheus, WINDOW, run};
use http::Response;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use terrace_redis_server::{PATIENT, Server};
use tokio::task::JoinHandle;

async fn origin() -> Origin {
    Origin::start(|_| async { Response::builder().header("cache-control", "max-age=600").body(full("x")).unwrap() })
        .await
}

fn proxy(origin: &Origin, redis: &Server) -> Proxy {
    let url = redis.url();
    let variables: Vec<_> = PATIENT.into_iter().chain([("REDIS_URL", url.as_str())]).collect();
    Proxy::start_with(&format!("http://{}", origin.address), &["--access-log", "off"], &variables)
}

/// One client that never stops asking; of ten requests, one is for something new.
struct Load(JoinHandle<()>);

impl Load {
    fn start(address: SocketAddr, name: &'static str) -> Self {
        Self(tokio::spawn(async move {
            let mut client = Raw::connect(address).await;
            for number in 0_u64.. {
                let path = if number % 10 == 0 { number } else { 1 };
                client.send(format!("GET /{name}/{path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")).await;
                client.answer("GET").await;
            }
        }))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A baseline of so many requests, with another P95 of them, in seconds.
fn with_p95(prometheus: &Prometheus, baseline: &Value, p95: f64, requests: u32) -> String {
    let mut baseline = baseline.clone();
    let responses = &mut baseline["caches"]["response"];
    (responses["latency_seconds"]["all"]["p95"], responses["requests"]) = (json!(p95), json!(requests));
    let file = prometheus.file(&format!("p95-{p95}-{requests}.json"));
    fs::write(&file, baseline.to_string()).unwrap();
    file
}

fn finding(judged: &Value, id: &str) -> Value {
    let all = judged["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id}: {judged:#}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_passes_what_is_well_fails_what_is_not_and_never_passes_what_it_did_not_see() {
    let (redis, origin) = (Server::start(), origin().await);
    let proxy = proxy(&origin, &redis);
    let prometheus = Prometheus::start(&[proxy.admin]);
    let mut redis = redis;
    let load = Load::start(proxy.address, "a");

    let usual = prometheus.eventually(0, "\"requests\"", &["baseline", "capture", "--for", WINDOW]).json();
    let [generous, strict, few] =
        [(60.0, 1000), (1e-9, 1000), (60.0, 99)].map(|(p95, requests)| with_p95(&prometheus, &usual, p95, requests));
    let gate = |baseline: &'static str| vec!["gate", "--for", WINDOW, "-o", "json", baseline];
    let generous = &*format!("--baseline={generous}").leak();
    let strict = &*format!("--baseline={strict}").leak();
    let few = &*format!("--baseline={few}").leak();

    // Of some it may still warn at the beginning.
    let well = ["data", "requests", "request-errors", "request-p95", "response-stores", "redis-connection"];
    let begin = Instant::now();
    let passed = loop {
        let passed = prometheus.eventually(0, "\"pass\"", &gate(generous)).json();
        if well.iter().all(|id| finding(&passed, id)["status"] == "ok") {
            break passed;
        }
        assert!(begin.elapsed() < PATIENCE, "{passed:#}");
    };
    assert_eq!(finding(&passed, "checks")["status"], "skip", "nothing is authorized here: {passed:#}");
    let mut later = gate(generous);
    later.push("--wait");
    let begin = Instant::now();
    prometheus.eventually(0, "\"pass\"", &later);
    assert!(begin.elapsed() >= Duration::from_secs(5), "it lets the time pass first");

    // Slower than is usual.
    let failed = prometheus.eventually(1, "request-p95", &gate(strict));
    let slow = finding(&failed.json(), "request-p95");
    assert_eq!((&slow["status"], &slow["threshold"]), (&json!("fail"), &json!("<= 1.5 x 0.0 µs")), "{slow:#}");
    assert!(failed.err.contains("request-p95"), "{failed:#?}");

    // What is usual was told from too few.
    let untold = prometheus.eventually(3, "could not be judged: request-p95", &gate(few)).json();
    assert_eq!(finding(&untold, "request-p95")["status"], "unknown", "{untold:#}");

    // Somebody else's, of whom nothing is known.
    let mut other = gate(generous);
    other.extend(["--job", "nobody"]);
    let unseen = prometheus.terrace(&other).with(3).json();
    assert_eq!((&unseen["verdict"], &finding(&unseen, "data")["status"]), (&json!("inconclusive"), &json!("unknown")));

    // Warnings count if they are to: Redis answers nothing of what a single process asks for once.
    let mut counted = gate(generous);
    counted.push("--strict");
    prometheus.eventually(4, "response-l2-share", &counted);

    // Nobody asks any more.
    drop(load);
    let idle = prometheus.eventually(3, "could not be judged: requests", &gate(generous)).json();
    assert_eq!(finding(&idle, "data")["status"], "ok", "{idle:#}");
    prometheus.eventually(3, "no traffic", &["baseline", "capture", "--for", WINDOW]);

    // Redis is gone.
    let _load = Load::start(proxy.address, "b");
    prometheus.eventually(0, "\"pass\"", &gate(generous));
    redis.kill();
    let broken = prometheus.eventually(1, "redis-connection", &gate(generous)).json();
    assert_eq!(finding(&broken, "request-errors")["status"], "ok", "a cache fails soft: {broken:#}");

    // And then the process: what it did a moment ago does not pass either.
    drop(proxy);
    let gone = prometheus.eventually(3, "could not be judged: data, processes", &gate(generous)).json();
    assert_eq!(finding(&gone, "processes")["status"], "unknown", "{gone:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_what_happened() {
    let (redis, origin) = (Server::start(), origin().await);
    let proxy = proxy(&origin, &redis);
    let prometheus = Prometheus::start(&[proxy.admin]);
    let begin = Instant::now();
    prometheus.until("sum(cache_requests_total)", 0.0).await;
    for number in 0..600 {
        let answer = within("an answer", proxy.get(&format!("/{}", number % 20))).await;
        assert_eq!(answer.status, 200);
    }
    prometheus.until("sum(cache_requests_total)", 600.0).await;
    let whole = format!("{}ms", begin.elapsed().as_millis());

    let captured = prometheus.terrace(&["baseline", "capture", "--for", &whole]).with(0).json();
    let responses = &captured["caches"]["response"];
    let number =
        |pointer: &str| responses.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{captured:#}"));
    // Prometheus extends what it saw to the ends of the time, by a scrape or so at each.
    let most = 600.0 * (1.0 + 2.0 / captured["seconds"].as_f64().unwrap());
    assert!((540.0..=most).contains(&number("/requests")), "{captured:#}");
    assert!((number("/ratios/combined") - 580.0 / 600.0).abs() < 0.005, "{captured:#}");
    assert!((number("/saved/origin_calls") / number("/requests") - 580.0 / 600.0).abs() < 0.005, "{captured:#}");
    assert!(number("/error_share").abs() < 1e-9 && number("/latency_seconds/uncached/p95") > 0.0, "{captured:#}");
    assert!(number("/latency_seconds/cached/p50") <= number("/latency_seconds/cached/p99"), "{captured:#}");
    assert_eq!(captured["caches"]["authz"]["ratios"]["combined"], Value::Null, "{captured:#}");
    let build = &captured["builds"][0];
    assert_eq!((&build["version"], build["processes"].as_f64()), (&json!(env!("CARGO_PKG_VERSION")), Some(1.0)));
    assert_eq!(captured["l2"]["present"], true);

    // The report has the same figures, for people and for programs.
    let page = prometheus.file("page.html");
    let report = prometheus.terrace(&["report", "--for", &whole, "--html", &page]).with(0);
    for part in [
        "## Responses: latency",
        "## Responses: namespaces",
        "| default | ",
        "| a process, of what it has for the cache response | ",
        "None fired, if the rules were loaded",
        "time saved, an estimate",
        "## Why requests went further",
        "| uri_miss | ",
        "No call failed.",
    ] {
        assert!(report.out.contains(part), "no {part:?} in {}", report.out);
    }
    assert!(report.out.contains("## Authorization\n\nNo traffic.\n"), "{}", report.out);
    let text = page::check(&fs::read_to_string(&page).unwrap());
    assert!(text.contains("time saved, an estimate") && text.contains("Responses: hit ratios"), "{text}");
    let figures = prometheus.terrace(&["report", "--for", &whole, "-o", "json"]).with(0).json();
    assert!(figures["caches"]["response"]["requests"].as_f64().is_some_and(|requests| requests > 500.0), "{figures:#}");

    let namespace = &figures["caches"]["response"]["namespaces"]["default"];
    let told = |name: &str| namespace[name].as_f64().unwrap_or_else(|| panic!("{figures:#}"));
    assert!((told("ratio") - 580.0 / 600.0).abs() < 0.005 && told("hits") > 500.0, "{figures:#}");
    assert!((told("hits") / (told("hits") + told("misses")) - told("ratio")).abs() < 0.001, "{figures:#}");
    let memory = figures["memory"]["response"].as_f64();
    assert!(memory.is_some_and(|part| part > 0.0 && part < 0.5), "twenty small responses: {figures:#}");
    assert_eq!((&figures["memory"]["redis"], &figures["alerts"]), (&Value::Null, &json!({})), "{figures:#}");

    // Long before there was anything, there was nothing.
    let early = ["report", "--from", "2001-01-01", "--to", "2001-01-02T12:00:00Z"];
    assert!(prometheus.terrace(&early).with(3).err.contains("nothing of Terrace in that time"));
    prometheus.terrace(&["report", "--from", "2001-01-02", "--to", "2001-01-01"]).with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_prometheus_processes_are_asked_themselves() {
    let (redis, origin) = (Server::start(), origin().await);
    let proxies = [proxy(&origin, &redis), proxy(&origin, &redis)];
    let _loads = [Load::start(proxies[0].address, "a"), Load::start(proxies[1].address, "a")];
    let scrapes = proxies.each_ref().map(|proxy| format!("--scrape=http://{}/metrics", proxy.admin));
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let mut files = Vec::new();
    for name in ["one.json", "two.json"] {
        let capture = ["baseline", "capture", "--for", "1s", "--markdown", &file("page.md")];
        let captured = run(terrace().args(capture).args(&scrapes)).with(0);
        let (json, responses) = (captured.json(), captured.json()["caches"]["response"].clone());
        assert_eq!((&json["memory"], &json["alerts"]), (&json!({}), &Value::Null), "nobody has watched: {json:#}");
        assert_eq!(responses["namespaces"]["default"]["ratio"], responses["ratios"]["combined"], "{json:#}");
        assert_eq!(
            (&json["source"], json["builds"][0]["processes"].as_f64()),
            (&json!("scrapes"), Some(2.0)),
            "{json:#}"
        );
        assert!(responses["requests"].as_f64().is_some_and(|requests| requests > 10.0), "{json:#}");
        // Nine of ten are for the same, and one of the two proxies has fetched what the other asks for.
        assert!(responses["ratios"]["combined"].as_f64().is_some_and(|ratio| ratio > 0.8 && ratio <= 1.0), "{json:#}");
        fs::write(file(name), &captured.out).unwrap();
        files.push(file(name));
    }
    assert!(fs::read_to_string(file("page.md")).unwrap().starts_with("# Baseline\n"));
    // In both times as many may have been asked for.
    let [first, mut second]: [Value; 2] =
        [&files[0], &files[1]].map(|file| serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap());
    let requests = |document: &Value| document["caches"]["response"]["requests"].as_f64().unwrap();
    second["caches"]["response"]["requests"] = json!(requests(&first) + 1.0);
    fs::write(&files[1], second.to_string()).unwrap();
    let diff = run(terrace().args(["baseline", "diff", &files[0], &files[1]])).with(0);
    assert!(diff.out.starts_with("FIGURE") && diff.out.contains("caches.response.requests "), "{}", diff.out);
    let same = run(terrace().args(["baseline", "diff", &files[0], &files[0]])).with(0);
    assert_eq!(same.out, "nothing differs\n");
    let changes = run(terrace().args(["baseline", "diff", "-o", "json", &files[0], &files[1]])).with(0).json();
    assert!(changes["changes"].as_array().is_some_and(|all| !all.is_empty()), "{changes:#}");

    // What is no process of Terrace is not measured, and neither is one that is gone.
    let address = proxies[0].address;
    for (url, words) in
        [(format!("http://{address}/metrics"), "not the metrics of Terrace"), ("http://127.0.0.1:1".into(), "refused")]
    {
        let ended = run(terrace().args(["baseline", "capture", "--for", "1s", "--scrape", &url])).with(3);
        assert!(ended.err.contains(words), "{ended:#?}");
    }
}
