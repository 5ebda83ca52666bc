//! A plain fresh hit is decided without touching the heap.

use allocation_counter::measure;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::time::{Duration, UNIX_EPOCH};
use terrace_policy::{Answer, Exchange, Plan, Policy, Presented, StoredResponse, Timing, plan, storable};

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    lines.collect()
}

/// A page as an application sends it, fresh for ten minutes.
fn stored(policy: &Policy) -> StoredResponse {
    let response = headers(&[
        ("cache-control", "public, max-age=600, stale-while-revalidate=60"),
        ("content-type", "text/html; charset=utf-8"),
        ("date", "Sat, 21 Nov 2026 00:00:00 GMT"),
        ("etag", "\"33a64df5\""),
        ("last-modified", "Fri, 20 Nov 2026 00:00:00 GMT"),
    ]);
    let exchange = Exchange {
        method: &Method::GET,
        target: &Uri::from_static("http://origin.example/"),
        request: &HeaderMap::new(),
        status: StatusCode::OK,
        response: &response,
        timing: Timing { received: UNIX_EPOCH + Duration::from_secs(1_795_219_200), delay: Duration::ZERO },
        extension: None,
        partitioned: false,
        keyed_by_body: false,
    };
    storable(&exchange, policy).and_then(|storable| storable.received(1024)).expect("storable")
}

/// What browsers send with a navigation.
const BROWSER: &[(&str, &str)] = &[
    ("host", "origin.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("connection", "keep-alive"),
    ("referer", "http://origin.example/start"),
    ("cookie", "session=8d2c; theme=dark"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("priority", "u=0, i"),
];

/// Asserts the answer and that deciding on it allocated nothing.
#[track_caller]
fn decides(request: &[(&'static str, &'static str)], expected: &Answer) {
    let request = headers(request);
    for policy in [Policy::safe(), Policy::rfc9111()] {
        let stored = stored(&policy);
        let presented = Presented {
            method: &Method::GET,
            headers: &request,
            resident: Duration::from_secs(30),
            expired: false,
            collapsed: false,
            partitioned: false,
        };
        let mut decided = None;
        let counted = measure(|| decided = Some(plan(&stored, &presented, &policy)));
        assert_eq!(decided, Some(Plan::Serve(expected.clone())));
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn a_plain_get_allocates_nothing() {
    decides(&[], &Answer::Full);
}

#[test]
fn a_browsers_get_allocates_nothing() {
    decides(BROWSER, &Answer::Full);
}

#[test]
fn a_get_with_cache_control_allocates_nothing() {
    let directives = ("cache-control", "max-age=300, Min-Fresh=\"10\", max-stale, no-transform, x=\"a, b\"");
    decides(&[directives], &Answer::Full);
    let mut browser = BROWSER.to_vec();
    browser.push(directives);
    decides(&browser, &Answer::Full);
}

#[test]
fn a_conditional_get_allocates_nothing() {
    decides(&[("if-none-match", "W/\"1\", \"33a64df5\"")], &Answer::NotModified);
    decides(&[("if-modified-since", "Fri, 20 Nov 2026 00:00:00 GMT")], &Answer::NotModified);
    decides(&[("if-modified-since", "Thu, 19 Nov 2026 00:00:00 GMT")], &Answer::Full);
    decides(&[("if-none-match", "\"other\"")], &Answer::Full);
}
