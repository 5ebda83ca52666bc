//! Starts each example and uses it as its text says.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const QUICK_START: &str = env!("CARGO_BIN_EXE_quick-start");
const CLIENT: &str = env!("CARGO_BIN_EXE_client");
const HYPER: &str = env!("CARGO_BIN_EXE_hyper");
const LOAD: &str = env!("CARGO_BIN_EXE_load");

/// An example that runs until this is dropped.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut child = Command::new(program).arg("0").stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The commands that it prints, of which there are this many.
    fn commands(&mut self, count: usize) -> Vec<Curl> {
        let lines = self.output.by_ref().lines().map(Result::unwrap);
        lines.filter_map(|line| Curl::parse(&line)).take(count).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A printed command line.
#[derive(Debug, Clone)]
struct Curl {
    method: Method,
    body: Bytes,
    http2: bool,
    url: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Curl {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim().strip_prefix("curl ")?.split(' ');
        let mut curl = Self { method: Method::GET, body: Bytes::new(), http2: false, url: String::new() };
        while let Some(word) = words.next() {
            match word {
                "-i" => {}
                "-X" => curl.method = words.next()?.parse().unwrap(),
                "-d" => curl.body = words.next()?.to_owned().into(),
                "--http2-prior-knowledge" => curl.http2 = true,
                url => {
                    assert!(url.starts_with("http://127.0.0.1:"), "{line}");
                    url.clone_into(&mut curl.url);
                }
            }
        }
        Some(curl)
    }

    async fn run(&self) -> Answer {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).http2_only(self.http2).build_http();
        let request = Request::builder().method(&self.method).uri(&self.url).body(self.body.clone().into()).unwrap();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    fn assert_miss(&self) {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        assert_eq!(self.field("cache-status"), "terrace; fwd=uri-miss; stored");
        assert!(!self.headers.contains_key("age"));
    }

    fn assert_hit(&self) {
        assert_eq!(self.status, StatusCode::OK);
        assert!(self.field("cache-status").starts_with("terrace; hit; ttl="), "{:?}", self.headers);
        assert!(self.field("age").parse::<u64>().unwrap() < 60);
    }

    async fn of_twice(curl: &Curl) -> Self {
        let (first, second) = (curl.run().await, curl.run().await);
        first.assert_miss();
        second.assert_hit();
        assert_eq!(first.body, second.body);
        second
    }
}

#[tokio::test]
async fn the_quick_start_misses_then_hits_until_a_new_price_purges() {
    let mut server = Server::start(QUICK_START);
    let commands = server.commands(4);
    let [product, search, price, metrics] = &commands[..] else {
        panic!("{commands:?}");
    };
    let shown = Answer::of_twice(product).await;
    assert_eq!(shown.field("content-type"), "application/json");
    assert!(!shown.body.contains(r#""price":1999"#), "{}", shown.body);
    Answer::of_twice(search).await;

    assert_eq!(price.run().await.status, StatusCode::NO_CONTENT);
    let changed = Answer::of_twice(product).await;
    assert!(changed.body.contains(r#""price":1999"#), "{}", changed.body);

    let text = metrics.run().await;
    let hits = r#"cache_requests_total{cache_namespace="default",cache_status="l1_cache_hit"} 3"#;
    assert!(text.body.lines().any(|line| line == hits), "{}", text.body);
}

#[tokio::test]
async fn the_quick_start_shows_this_machine_what_the_cache_does() {
    let mut server = Server::start(QUICK_START);
    let [product, .., stats] = &server.commands(5)[..] else { panic!("there are five commands") };
    Answer::of_twice(product).await;
    let told = stats.run().await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    assert!(
        told.body.contains(r#""name":"GET 127.0.0.1:"#) && told.body.contains(r#""l1_cache_hit":1"#),
        "{}",
        told.body
    );
    let page = Curl { url: stats.url.replace("/stats", "/"), ..stats.clone() }.run().await;
    assert_eq!((page.status, page.field("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
}

#[tokio::test]
async fn a_new_price_purges_searches_that_show_the_product_and_no_other() {
    let mut server = Server::start(QUICK_START);
    let [product, search, price, _] = server.commands(4).try_into().unwrap();
    let found = Answer::of_twice(&search).await.body;
    Answer::of_twice(&product).await;
    let id = found.split([':', ',']).nth(1).unwrap();
    let url = price.url.replace("/products/7", &format!("/products/{id}"));
    assert_ne!(url, price.url, "product 7 is to stay as it is");

    assert_eq!(Curl { url, ..price }.run().await.status, StatusCode::NO_CONTENT);
    let changed = Answer::of_twice(&search).await.body;
    assert!(!found.contains(r#""price":1999"#) && changed.contains(r#""price":1999"#), "{changed}");
    product.run().await.assert_hit();
}

#[tokio::test]
async fn the_quick_start_answers_mistakes_with_what_is_wrong() {
    let mut server = Server::start(QUICK_START);
    let [product, search, price, _] = server.commands(4).try_into().unwrap();
    let at = |curl: &Curl, url: &str| Curl { url: format!("{}{url}", curl.url), ..curl.clone() };
    assert_eq!(at(&product, "777").run().await.body, "there is no product 7777\n");
    assert_eq!(at(&price, "777").run().await.status, StatusCode::NOT_FOUND);
    let malformed = Curl { body: "cheap".into(), ..price }.run().await;
    assert_eq!(
        (malformed.status, &*malformed.body),
        (StatusCode::BAD_REQUEST, "a price is a whole number of cents, not \"cheap\"\n")
    );
    let syntax = at(&search, "%22%20OR%20*").run().await;
    assert_eq!((syntax.status, &*syntax.body), (StatusCode::OK, "[]"));
}

#[test]
fn the_quick_start_names_the_port_that_it_cannot_have() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let failed = Command::new(QUICK_START).env("PORT", &port).output().unwrap();
    let text = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text.starts_with(&format!("quick-start: cannot listen on 127.0.0.1:{port}: Address already in use")),
        "{text}"
    );

    let failed = Command::new(QUICK_START).arg("http").env("PORT", "0").output().unwrap();
    let text = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(text, "quick-start: the port must be a number from 0 to 65535, not \"http\"\n");
}

#[test]
fn the_client_asks_the_origin_only_when_it_has_to() {
    let output = Command::new(CLIENT).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.split_once("; Cache-Status: terrace; ").unwrap()).collect();
    let lines: Vec<_> =
        lines.into_iter().map(|(said, status)| (said, status.trim_end_matches(char::is_numeric))).collect();
    let expected = [
        ("GET /fresh: answer 1 of the origin", "fwd=uri-miss; stored"),
        ("GET /fresh: answer 1 of the origin", "hit; ttl="),
        ("GET /checked: answer 2 of the origin", "fwd=uri-miss; stored"),
        ("GET /checked: answer 2 of the origin", "fwd=stale; fwd-status=304; ttl=0; stored"),
        ("GET /private: answer 3 of the origin", "fwd=uri-miss"),
        ("GET /private: answer 4 of the origin", "fwd=uri-miss"),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn the_hyper_server_shares_its_cache_between_http1_and_http2() {
    let mut server = Server::start(HYPER);
    let [http1, http2] = server.commands(2).try_into().unwrap();
    assert!(http2.http2 && !http1.http2);
    let first = http1.run().await;
    first.assert_miss();
    let second = http2.run().await;
    second.assert_hit();
    assert_eq!((&*first.body, &*second.body), ("answer 1 is for /one\n", "answer 1 is for /one\n"));

    let other = Curl { url: http2.url.replace("/one", "/two"), ..http2 };
    assert_eq!(Answer::of_twice(&other).await.body, "answer 2 is for /two\n");
}

fn load(url: &str, more: &str) -> Output {
    Command::new(LOAD).arg(url).args(more.split(' ')).output().unwrap()
}

/// The numbers that the load generator prints, by their names.
struct Loaded(HashMap<String, String>);

impl Loaded {
    fn counts<const N: usize>(&self, names: [&str; N]) -> [u32; N] {
        names.map(|name| self.0[name].parse().unwrap())
    }

    fn milliseconds(&self, name: &str) -> f64 {
        self.0[name].parse().unwrap()
    }
}

fn loaded(url: &str, more: &str) -> Loaded {
    let Output { status, stdout, stderr } = load(url, more);
    assert!(status.success(), "{}", stderr.escape_ascii());
    let text = String::from_utf8(stdout).unwrap();
    let lines = text.lines().map(|line| line.split_once(": ").unwrap());
    Loaded(lines.map(|(name, value)| (name.into(), value.split(' ').next().unwrap().into())).collect())
}

#[tokio::test]
async fn the_load_generator_counts_requests_and_hits_as_the_service_does() {
    let mut server = Server::start(QUICK_START);
    let [product, _, _, metrics] = server.commands(4).try_into().unwrap();
    let url = product.url.replace("/7", "/{key}");
    let first = loaded(&url, "--keys 5 --rate 100 --seconds 1");
    let [requests, failures, hits] = first.counts(["requests", "failures", "hits"]);
    assert_eq!((requests, failures), (100, 0));
    assert!(hits <= 95, "each key was a miss once, and yet there are {hits} hits");
    let second = loaded(&url, "--keys 5 --rate 200 --seconds 1 --order zipf");
    assert_eq!(second.counts(["requests", "failures", "hits"]), [200, 0, 200]);
    for run in [first, second] {
        let [mean, p50, p95, p99] = ["mean", "P50", "P95", "P99"].map(|name| run.milliseconds(name));
        assert!(mean > 0.0 && p50 <= p95 && p95 <= p99, "{mean} {p50} {p95} {p99}");
    }

    let text = metrics.run().await.body;
    let count = |status: &str| -> u32 {
        let lines = text.lines().filter(|line| line.starts_with("cache_requests_total{") && line.contains(status));
        lines.map(|line| line.split(' ').next_back().unwrap().parse::<u32>().unwrap()).sum()
    };
    assert_eq!((count(""), count(r#""l1_cache_hit""#)), (300, hits + 200), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_generator_counts_latency_from_when_a_request_was_due() {
    #[derive(Default)]
    struct Asked {
        all: AtomicU32,
        now: AtomicU32,
        most: AtomicU32,
    }
    let asked = Arc::new(Asked::default());
    let counted = Arc::clone(&asked);
    let answer = async move || {
        counted.most.fetch_max(counted.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if counted.all.fetch_add(1, Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        counted.now.fetch_sub(1, Ordering::SeqCst);
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/", get(answer))).into_future());

    let run = loaded(&url, "--rate 100 --seconds 1 --concurrency 1");
    assert_eq!(run.counts(["requests", "failures", "hits"]), [100, 0, 0]);
    assert_eq!((asked.all.load(Ordering::SeqCst), asked.most.load(Ordering::SeqCst)), (100, 1));
    // While the first is answered, 99 more become due, ten milliseconds apart: half of all take half a second or longer.
    let [mean, p50, p99] = ["mean", "P50", "P99"].map(|name| run.milliseconds(name));
    assert!(mean >= 500.0 && p50 >= 500.0 && p99 >= 990.0, "{mean} {p50} {p99}");
}

#[test]
fn the_load_generator_asks_other_machines_only_if_told_so() {
    let mut server = Server::start(QUICK_START);
    let [product, ..] = &server.commands(1)[..] else { panic!("there is a command") };
    let at = |host: &str| product.url.replace("127.0.0.1", host);
    let few = "--rate 10 --seconds 1";
    // Which is this machine, but is not what loopback addresses are.
    let refused = load(&at("0.0.0.0"), few);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "load: 0.0.0.0 is not a loopback address; if its owner agrees to the load, say --anywhere\n"
    );
    assert_eq!(loaded(&at("0.0.0.0"), "--anywhere --rate 10 --seconds 1").counts(["requests"]), [10]);
    assert_eq!(loaded(&at("localhost"), few).counts(["requests"]), [10]);
}

#[test]
fn the_load_generator_tells_failures_from_answers() {
    let mut server = Server::start(QUICK_START);
    let [product, ..] = &server.commands(1)[..] else { panic!("there is a command") };
    let few = "--keys 6 --rate 12 --seconds 1";
    // There are 500 products.
    let some = loaded(&product.url.replace("/7", "/{key}00"), few);
    assert_eq!(some.counts(["requests", "failures"]), [12, 2]);

    let said = |failed: Output| (failed.status.code(), String::from_utf8(failed.stderr).unwrap());
    let none = load(&product.url.replace("/7", "/50{key}"), few);
    let why = "load: of 12 that failed one had: status 404 Not Found\nload: no request was answered\n";
    assert_eq!(said(none), (Some(1), why.to_owned()));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = format!("load: cannot connect to {nobody}: Connection refused (os error 111)\n");
    assert_eq!(said(load(&format!("http://{nobody}/{{key}}"), few)), (Some(1), why));
    let why = "load: with --keys 6 the URL must say where the key belongs: {key}\n";
    assert_eq!(said(load(&product.url, few)), (Some(1), why.to_owned()));
}

#[test]
fn the_load_generator_ends_when_nobody_answers() {
    // The system takes connections for it, and nobody looks at them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let failed = load(&format!("http://{}", silent.local_addr().unwrap()), "--rate 5 --seconds 1 --concurrency 1");
    let why = "load: of 5 that failed one had: no answer within 10s\nload: no request was answered\n";
    assert_eq!((failed.status.code(), &*String::from_utf8(failed.stderr).unwrap()), (Some(1), why));
}
