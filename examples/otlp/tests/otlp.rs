//! Starts the example with a collector, and looks at what that is sent.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use terrace_redis_server::{PATIENT, Server};
use tokio::net::TcpListener;

/// Nothing here takes this long unless it will never happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Where it listens.
    async fn start(&self) -> String {
        let this = self.clone();
        let receive = async move |body: Bytes| match ExportTraceServiceRequest::decode(body) {
            Ok(request) => {
                this.take(request);
                StatusCode::OK
            }
            Err(_) => StatusCode::BAD_REQUEST,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/v1/traces", post(receive));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    fn take(&self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            self.services.lock().unwrap().extend(text(&attributes, "service.name"));
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
    }

    /// The spans of a trace.
    fn trace(&self, id: &str) -> Vec<Span> {
        let all = self.spans.lock().unwrap();
        all.iter().filter(|span| hex(&span.trace_id) == id).cloned().collect()
    }

    /// The spans of a trace, once all of these are there.
    async fn complete(&self, id: &str, names: &[&str]) -> Trace {
        let begun = Instant::now();
        loop {
            let spans = self.trace(id);
            if names.iter().all(|name| spans.iter().any(|span| span.name == **name)) {
                return Trace(spans);
            }
            assert!(begun.elapsed() < PATIENCE, "not all of {names:?} in {:?}", Trace(spans).names());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

struct Trace(Vec<Span>);

impl Trace {
    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| &*span.name).collect()
    }

    /// The only one of this name, in this tier if it is in one.
    fn get(&self, name: &str, tier: Option<&str>) -> &Span {
        let is_it = |span: &&Span| span.name == name && text(&span.attributes, "cache.tier").as_deref() == tier;
        let found: Vec<&Span> = self.0.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name}, {tier:?} in {:?}", self.names());
        found[0]
    }
}

/// The text of an attribute, whatever its type.
fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match &found.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text.clone()),
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => Some(number.to_string()),
        _ => None,
    }
}

fn says(span: &Span, name: &str) -> String {
    text(&span.attributes, name).unwrap_or_else(|| panic!("no {name} in {span:?}"))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The example, until this is dropped.
struct Example {
    process: Child,
    url: String,
}

impl Example {
    fn start(collector: &str, more: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otlp"));
        command.env_clear().env("PORT", "0").env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
        command.env("OTEL_BSP_SCHEDULE_DELAY", "50").envs(more.iter().copied());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Self { process, url }
    }

    /// Asks for a product as part of a trace.
    async fn get(&self, id: u32, trace: &str) -> StatusCode {
        let request = Request::get(format!("{}/products/{id}", self.url));
        let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let status = response.status();
        response.into_body().collect().await.unwrap();
        status
    }

    /// Ends it as an operator does. What it has logged.
    async fn stop(mut self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let mut stderr = self.process.stderr.take().unwrap();
        let mut log = String::new();
        // The collector goes on meanwhile.
        let ended = tokio::task::spawn_blocking(move || {
            stderr.read_to_string(&mut log).unwrap();
            (self.process.wait().unwrap(), log)
        });
        let (status, log) = ended.await.unwrap();
        assert!(status.success(), "{log}");
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const MISS: &str = "0af7651916cd43dd8448eb211c80319c";
const HIT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LAST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[tokio::test]
async fn a_miss_and_its_fill_are_in_the_trace_of_their_request_and_a_hit_in_that_of_its_own() {
    let collector = Collector::default();
    let example = Example::start(&collector.start().await, &[]);
    assert_eq!(example.get(7, MISS).await, StatusCode::OK);
    let miss = collector.complete(MISS, &["GET /products/{id}", "cache fill", "read product"]).await;
    let (request, fill) = (miss.get("GET /products/{id}", None), miss.get("cache fill", None));
    // The client's span is its parent.
    assert_eq!((request.kind(), hex(&request.parent_span_id)), (SpanKind::Server, "00f067aa0ba902b7".to_owned()));
    let status = "http.response.status_code";
    assert_eq!((says(request, status), says(fill, status)), ("200".to_owned(), "200".to_owned()));
    let lookup = miss.get("cache lookup", Some("l1"));
    assert_eq!((&lookup.parent_span_id, says(lookup, "cache.result")), (&request.span_id, "miss".to_owned()));
    assert_eq!((&fill.parent_span_id, says(fill, "cache.forward")), (&request.span_id, "uri_miss".to_owned()));
    assert_eq!(says(fill, "http.request.method"), "GET");
    // What the handler does is in the fill, which takes as long as that.
    let work = miss.get("read product", None);
    assert_eq!(work.parent_span_id, fill.span_id);
    assert!(fill.end_time_unix_nano - fill.start_time_unix_nano >= 20_000_000);

    assert_eq!(example.get(7, HIT).await, StatusCode::OK);
    let hit = collector.complete(HIT, &["GET /products/{id}", "cache lookup"]).await;
    assert_eq!(hit.names().len(), 2, "{:?}", hit.names());
    assert_eq!(says(hit.get("cache lookup", Some("l1")), "cache.result"), "hit");
    assert!(collector.services.lock().unwrap().iter().all(|name| name == "terrace-example"));

    let log = example.stop().await;
    let line = |event: &str, trace: Option<&str>| {
        let is_it = |line: &&serde_json::Map<String, serde_json::Value>| {
            let told = line.get("trace_id").and_then(|id| id.as_str());
            line["event"] == event && told == trace
        };
        log.iter().find(is_it).unwrap_or_else(|| panic!("no {event} of {trace:?} in {log:?}"))
    };
    // What the handler and the service log is in the same traces.
    assert_eq!(line("product_read", Some(MISS))["id"], 7);
    assert_eq!(line("product_read", Some(MISS))["span_id"], hex(&work.span_id));
    assert_eq!(line("request_answered", Some(MISS))["level"], "INFO");
    line("request_answered", Some(HIT));
    line("cache_initialized", None);
    assert!(!log.iter().any(|line| line["event"] == "cache_l1_hit"), "hits are for DEBUG");
}

/// The first hit always: the others are thinned.
#[tokio::test]
async fn a_hit_is_logged_with_its_trace_for_who_listens_at_debug() {
    let collector = Collector::default();
    let example =
        Example::start(&collector.start().await, &[("LOG_LEVEL", "debug"), ("CACHE_LOG_HITS", "sample:1000")]);
    for trace in [MISS, HIT, LAST, LAST, LAST] {
        example.get(7, trace).await;
    }
    let log = example.stop().await;
    let hits: Vec<_> = log.iter().filter(|line| line.get("event").is_some_and(|it| it == "cache_l1_hit")).collect();
    // For each thread of the runtime one, and the very first.
    assert!((1..=3).contains(&hits.len()), "{hits:?}");
    assert_eq!((&hits[0]["trace_id"], &hits[0]["level"]), (&HIT.into(), &"DEBUG".into()));
}

#[tokio::test]
async fn what_is_asked_of_redis_is_in_the_trace_too() {
    let (server, collector) = (Server::start(), Collector::default());
    let (redis, collecting) = (server.url(), collector.start().await);
    // What is slow here is the machine. Without memory each request looks further.
    let vars = [&[("REDIS_URL", redis.as_str()), ("CACHE_L1_ENABLED", "off")][..], &PATIENT].concat();
    let example = Example::start(&collecting, &vars);
    // Until it follows what others do it asks nobody, and stores nothing there.
    let (id, miss) = asks_until(&example, &collector, (1, "miss"), |n| n).await;
    let (fill, lookup) = (miss.get("cache fill", None), miss.get("cache lookup", Some("l2")));
    let told = ["db.system.name", "db.operation.name", "cache.name"].map(|name| says(lookup, name));
    assert_eq!((lookup.kind(), told), (SpanKind::Client, ["redis", "GET", "response"].map(str::to_owned)));
    assert_eq!(lookup.parent_span_id, fill.parent_span_id);
    let stored = collector.complete(&hex(&fill.trace_id), &["cache store"]).await;
    let store = stored.get("cache store", Some("l2"));
    assert_eq!((store.kind(), says(store, "cache.result")), (SpanKind::Client, "ok".to_owned()));
    assert_eq!(store.parent_span_id, fill.span_id);

    // What one process has stored another finds there.
    let other = Example::start(&collecting, &vars);
    let (_, hit) = asks_until(&other, &collector, (1000, "hit"), |_| id).await;
    assert!(!hit.names().contains(&"cache fill"), "{:?}", hit.names());
}

/// Asks for products until a look into Redis has this result. Which product that was, and its trace.
async fn asks_until(
    example: &Example,
    collector: &Collector,
    (first, result): (u32, &str),
    products: impl Fn(u32) -> u32,
) -> (u32, Trace) {
    for n in first..first + 500 {
        let trace = format!("{n:032x}");
        example.get(products(n), &trace).await;
        let trace = collector.complete(&trace, &["GET /products/{id}"]).await;
        let is_it = |span: &Span| {
            let told = |name| text(&span.attributes, name);
            told("cache.tier").is_some_and(|tier| tier == "l2") && told("cache.result").is_some_and(|it| it == result)
        };
        if trace.0.iter().any(is_it) {
            return (products(n), trace);
        }
    }
    panic!("it never looks into Redis")
}
