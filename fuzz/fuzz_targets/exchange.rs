//! A life in the cache: an exchange is judged, stored, asked for, freshened and combined.
//!
//! Header fields are made of words that matter and of the fuzzer's own bytes.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use std::ops::Range;
use std::time::Duration;
use terrace_fuzz::clock;
use terrace_policy::{
    Answer, CacheStatus, Exchange, Forward, Plan, Policy, Presented, RequestDirectives, ResponseDirectives, Slice,
    StoredResponse, Timing, Vary, answer, freshen, invalidates, Demands, plan, selecting_values, storable,
    unsatisfied_range,
};

const NAMES: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-length",
    "content-location",
    "content-range",
    "cookie",
    "date",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "range",
    "set-cookie",
    "transfer-encoding",
    "vary",
    "x",
    "accept-encoding",
    "accept-language",
];

const WORDS: &[&str] = &[
    "max-age=",
    "s-maxage=",
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate=",
    "stale-if-error=",
    "max-stale",
    "min-fresh=",
    "only-if-cached",
    "=",
    "\"",
    ",",
    ", ",
    "0",
    "1",
    "60",
    "3600",
    "99999999999999999999",
    "-",
    "bytes=",
    "bytes ",
    "/",
    "*",
    "W/",
    "\"a\"",
    "\"b\"",
    "x",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Fri, 15 Jan 2027 08:00:00 GMT",
    "Friday, 15-Jan-27 07:00:00 GMT",
    "Fri Jan 15 08:01:00 2027",
    "gzip",
    "de",
    ";q=0.5",
    "accept-encoding",
    "?0",
    ";a",
    "http://origin.example/",
    "//origin.example",
    "../",
    "?",
    "#",
    ":",
    "cookie",
];

/// The wall clock, 15 Jan 2027 at eight, or thereabouts.
const NOW: u32 = 1_800_000_000;

#[derive(Debug)]
struct Headers(HeaderMap);

impl<'a> Arbitrary<'a> for Headers {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for _ in 0..u.int_in_range(0..=8)? {
            let name = HeaderName::from_static(u.choose(NAMES)?);
            let mut value = Vec::new();
            for _ in 0..u.int_in_range(0..=6)? {
                match u.int_in_range(0..=WORDS.len())? {
                    at if at < WORDS.len() => value.extend_from_slice(WORDS[at].as_bytes()),
                    _ => value.push(u.arbitrary()?),
                }
            }
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        Ok(Self(headers))
    }
}

#[derive(Arbitrary, Debug)]
struct Reply {
    headers: Headers,
    status: u8,
    /// Seconds from [`NOW`].
    clock: i8,
    delay: u8,
}

#[derive(Arbitrary, Debug)]
struct Input {
    rfc: bool,
    options: u8,
    method: u8,
    request: Headers,
    reply: Reply,
    len: u8,
    later: Headers,
    later_method: u8,
    resident: u16,
    longer: u16,
    freshening: Reply,
    keep_head: bool,
    part: Reply,
    part_len: u8,
}

fn status(choice: u8) -> StatusCode {
    let common = [200, 206, 203, 204, 301, 302, 304, 404, 416, 500, 503, 599, 100];
    let code = common.get(usize::from(choice)).copied().unwrap_or(u16::from(choice) * 3 + 100);
    StatusCode::from_u16(code).expect("three digits")
}

fn method(choice: u8) -> Method {
    let methods = [Method::GET, Method::GET, Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS];
    methods.get(usize::from(choice)).cloned().unwrap_or(Method::GET)
}

fn timing(reply: &Reply) -> Timing {
    Timing {
        received: clock(NOW.saturating_add_signed(reply.clock.into())),
        delay: Duration::from_secs(reply.delay.into()),
    }
}

fn policy(input: &Input) -> Policy {
    let mut policy = if input.rfc { Policy::rfc9111() } else { Policy::safe() };
    if input.options & 1 != 0 {
        policy.default_ttl = Some(Duration::from_secs(60));
        policy.status_ttl = vec![(StatusCode::NOT_FOUND, Duration::from_secs(5))];
    }
    if input.options & 2 != 0 {
        policy.stale_while_revalidate = Duration::from_secs(30);
        policy.stale_if_error = Duration::MAX;
    }
    policy
}

fuzz_target!(|input: Input| {
    let policy = policy(&input);
    let method = method(input.method);
    let target = Uri::from_static("http://origin.example/a/b?c");
    let extension = (input.options & 8 != 0).then(|| ResponseDirectives::from_cache_control(&input.later.0));
    let exchange = Exchange {
        method: &method,
        target: &target,
        request: &input.request.0,
        status: status(input.reply.status),
        response: &input.reply.headers.0,
        timing: timing(&input.reply),
        extension: extension.as_ref(),
        partitioned: input.options & 16 != 0,
        keyed_by_body: input.options & 32 != 0,
    };
    for uri in invalidates(&method, &target, exchange.status, exchange.response) {
        assert_eq!(uri.authority(), target.authority());
        assert_eq!(uri.scheme(), target.scheme());
    }
    let Some(mut stored) = keep(&exchange, &policy, input.len.into()) else { return };
    if input.options & 4 != 0 {
        stored.shorten(0.25);
    }
    let content: Vec<u8> = (0..input.len).collect();
    reuse(&stored, &input, &policy, content.len() as u64);
    freshened(&stored, &input, &exchange, &policy);
    let part = Exchange {
        status: StatusCode::PARTIAL_CONTENT,
        response: &input.part.headers.0,
        timing: timing(&input.part),
        ..exchange
    };
    if let Some(newer) = keep(&part, &policy, input.part_len.into()) {
        combined(&stored, &content, &newer, &vec![0xff; input.part_len.into()]);
    }
});

fn keep(exchange: &Exchange<'_>, policy: &Policy, len: u64) -> Option<StoredResponse> {
    let storable = storable(exchange, policy).ok()?;
    let Vary::Fields(fields) = Vary::of(exchange.response) else { panic!("stored though it varies by everything") };
    assert_eq!(storable.vary(), fields);
    assert_eq!(selecting_values(&fields, exchange.request), selecting_values(&fields, &exchange.request.clone()));
    let stored = storable.received(len).ok()?;
    for gone in ["connection", "transfer-encoding", "age", "te", "upgrade", "proxy-authenticate"] {
        assert!(!stored.headers().contains_key(gone), "{gone}");
    }
    assert!(stored.headers().contains_key("date"));
    Some(stored)
}

fn reuse(stored: &StoredResponse, input: &Input, policy: &Policy, len: u64) {
    let method = method(input.later_method);
    let ask = |resident| Presented {
        method: &method,
        headers: &input.later.0,
        resident: Duration::from_secs(resident),
        expired: input.options & 64 != 0,
        collapsed: input.options & 128 != 0,
        partitioned: input.options & 16 != 0,
    };
    let (soon, later) = (ask(input.resident.into()), ask(u64::from(input.resident) + u64::from(input.longer)));
    let freshness = stored.freshness();
    assert!(freshness.remaining(later.resident) <= freshness.remaining(soon.resident));
    assert!(freshness.staleness(later.resident) >= freshness.staleness(soon.resident));
    assert!(freshness.is_fresh(soon.resident) || !freshness.is_fresh(later.resident));
    let (first, second) = (plan(stored, &soon, policy), plan(stored, &later, policy));
    // What had to ask the origin never answers again. Nor as fresh, unless the client tolerates staleness
    // beyond the window in which the answer was to be validated.
    let serves = |plan: &Plan| matches!(plan, Plan::Serve(_));
    let answers = |plan: &Plan| serves(plan) || matches!(plan, Plan::ServeWhileRevalidating(_));
    let tolerant = RequestDirectives::from_cache_control(&input.later.0).max_stale.is_some();
    assert!(answers(&first) || !answers(&second), "{first:?}, then {second:?}");
    assert!(serves(&first) || !serves(&second) || tolerant, "{first:?}, then {second:?}");
    for plan in [first, second] {
        match plan {
            Plan::Serve(answer) | Plan::ServeWhileRevalidating(answer) => check_answer(&answer, stored, &soon, len),
            Plan::Validate(_) | Plan::Forward(_) => {}
        }
    }
    if let Some(answer) = answer(stored, &soon) {
        check_answer(&answer, stored, &soon, len);
    }
    let status = CacheStatus::hit(freshness.remaining(later.resident), freshness.staleness(later.resident));
    assert!(status.to_value().len() < 64);
    let _ = Demands::of(&input.later.0).origin_conditions();
    let mut asked = input.later.0.clone();
    if let Some(validators) = stored.validators() {
        validators.apply(&mut asked);
        assert!(asked.contains_key("if-none-match") || asked.contains_key("if-modified-since"));
    }
}

fn check_answer(answer: &Answer, stored: &StoredResponse, request: &Presented<'_>, len: u64) {
    match answer {
        Answer::Full => assert_eq!(stored.complete_len(), Some(len)),
        Answer::NotModified => {
            assert!(matches!(*request.method, Method::GET | Method::HEAD), "a precondition of {}", request.method);
        }
        Answer::Unsatisfiable => assert!(unsatisfied_range(len).to_str().expect("ASCII").starts_with("bytes */")),
        Answer::Partial(slices) => slices.iter().for_each(|slice| check_slice(slice, stored, len)),
    }
}

fn check_slice(slice: &Slice, stored: &StoredResponse, len: u64) {
    match slice.within(len) {
        Some((cut, Range { start, end })) => {
            assert!(start < end && end as u64 <= len);
            assert_eq!(cut.range.len(), (end - start) as u64);
        }
        // Only content shorter than it promised can lack what was found in it.
        None => assert_eq!(stored.complete_len(), None),
    }
}

fn freshened(stored: &StoredResponse, input: &Input, exchange: &Exchange<'_>, policy: &Policy) {
    let head = &input.freshening.headers.0;
    let (_, _) = (stored.validated_by(head), stored.described_by(head));
    let asked = Exchange { request: &input.later.0, response: head, timing: timing(&input.freshening), ..*exchange };
    let Ok(fresh) = freshen(stored, &asked, input.keep_head, policy) else { return };
    assert_eq!(fresh.status(), stored.status());
    assert_eq!(fresh.complete_len(), stored.complete_len());
    // What describes the bytes that are kept stays, unless it is dropped because the new head says so.
    for name in ["content-length", "content-encoding", "content-range", "etag"] {
        let (old, new) = (stored.headers().get(name), fresh.headers().get(name));
        assert!(new.is_none() || new == old, "{name}");
    }
}

fn combined(earlier: &StoredResponse, content: &[u8], newer: &StoredResponse, bytes: &[u8]) {
    assert_eq!(earlier.complete_len().is_some(), earlier.status() != StatusCode::PARTIAL_CONTENT);
    let Some(combined) = earlier.combine(newer) else { return };
    let (before, until) = (usize::try_from(combined.before).unwrap(), usize::try_from(combined.until).unwrap());
    assert!(before <= until && until <= content.len(), "{before}, {until} of {}", content.len());
    let body = [&content[..before], bytes, &content[until..]].concat();
    if let Some(len) = combined.stored.complete_len() {
        assert_eq!(len, body.len() as u64);
    } else {
        let range = combined.stored.headers()["content-range"].to_str().unwrap().to_owned();
        let (first, last) = range[6..].split_once('/').unwrap().0.split_once('-').unwrap();
        assert_eq!(last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1, body.len() as u64);
    }
    assert_eq!(combined.stored.headers()["content-length"], body.len().to_string());
    let _ = Forward::Partial;
}
