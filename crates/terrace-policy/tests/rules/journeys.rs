//! Requests one after the other, against a cache of a few lines that does what the rules say.
//!
//! The cases are those that the public tests of HTTP caches ask about, for both rule sets.

use crate::support::{Lines, Trip, asking, at, headers, policies};
use http::{HeaderMap, HeaderName, Method};
use std::collections::HashMap;
use terrace_policy::{
    Answer, Demands, Plan, Policy, RequestDirectives, StoredResponse, Validated, content_language, freshen,
    invalidates, plan, preferred_language, selecting_values, selecting_values_in,
};

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// From the cache, with this status code.
    Cached(u16),
    /// From the cache, after the origin said that it still holds.
    Validated,
    /// By the origin.
    Fetched,
    /// Not at all.
    Failed,
}

use Seen::{Cached, Failed, Fetched, Validated as Revalidated};

/// One request, and what the origin would answer.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    /// Seconds since the first request.
    at: u32,
    method: &'a str,
    uri: &'a str,
    request: Lines<'a>,
    /// `None`: the origin cannot be reached.
    status: Option<u16>,
    response: Lines<'a>,
    /// Under the safe rules, and under RFC 9111.
    seen: [Seen; 2],
}

const URI: &str = "http://origin.example/dir/page";

/// The first request: nothing is stored yet.
fn first(response: Lines<'_>) -> Step<'_> {
    Step { at: 0, method: "GET", uri: URI, request: &[], status: Some(200), response, seen: [Fetched; 2] }
}

/// A request three seconds later, to an origin that would answer with the same head again.
fn then(before: Step<'_>, seen: Seen) -> Step<'_> {
    Step { at: before.at + 3, seen: [seen; 2], ..before }
}

struct Kept {
    fields: Vec<HeaderName>,
    selecting: Vec<u8>,
    /// The values it would have been selected by, had its request named nothing but its language.
    in_language: Option<Vec<u8>>,
    stored: StoredResponse,
    since: u32,
}

struct Cache {
    policy: Policy,
    kept: HashMap<String, Vec<Kept>>,
}

impl Cache {
    fn ask(&mut self, step: &Step<'_>) -> Seen {
        let method = Method::from_bytes(step.method.as_bytes()).expect("a method");
        let (request, mut trip) = (headers(step.request), Trip::new(step.response).received(step.at.into()));
        trip.target = step.uri.parse().expect("a URI");
        (trip.request, trip.method) = (request.clone(), method.clone());
        let answerable = matches!(method, Method::GET | Method::HEAD) && !Demands::of(&request).origin_conditions();
        let found = self.find(step.uri, &request).filter(|_| answerable);
        if let Some(kept) = found {
            let age = u64::from(step.at - self.kept[step.uri][kept].since);
            let stored = self.kept[step.uri][kept].stored.clone();
            match plan(&stored, &asking(&method, &request, age), &self.policy) {
                Plan::Serve(answer) | Plan::ServeWhileRevalidating(answer) => return Cached(code(&answer, &stored)),
                Plan::Validate(_) if step.status.is_none() => {
                    let allowed = stored.freshness().may_serve_on_error(asking(&method, &request, age).resident, true);
                    return if allowed { Cached(stored.status().as_u16()) } else { Failed };
                }
                Plan::Validate(_) if step.status == Some(304) => return self.validated(step, kept, &stored, trip),
                Plan::Validate(_) | Plan::Forward(_) => {}
            }
        }
        if RequestDirectives::from_cache_control(&request).only_if_cached {
            return Failed;
        }
        let Some(status) = step.status else { return Failed };
        self.fetched(step, found, &trip.status(status));
        Fetched
    }

    fn find(&self, uri: &str, request: &HeaderMap) -> Option<usize> {
        let variants = self.kept.get(uri)?;
        let exact = variants.iter().position(|kept| selecting_values(&kept.fields, request) == kept.selecting);
        exact.or_else(|| {
            let language = preferred_language(request).filter(|_| self.policy.match_language)?;
            let wanted = |kept: &Kept| Some(selecting_values_in(&kept.fields, request, &language)) == kept.in_language;
            variants.iter().position(wanted)
        })
    }

    fn validated(&mut self, step: &Step<'_>, kept: usize, stored: &StoredResponse, trip: Trip) -> Seen {
        let mut asked = trip.request.clone();
        stored.validators().expect("nobody is answered with 304 who has nothing").apply(&mut asked);
        let keep_head = stored.validated_by(&trip.response) == Validated::KeepHead;
        let variants = self.kept.get_mut(step.uri).expect("it is stored");
        match freshen(stored, &trip.status(304).exchange(), keep_head, &self.policy) {
            Ok(fresh) => (variants[kept].stored, variants[kept].since) = (fresh, step.at),
            Err(_) => drop(variants.remove(kept)),
        }
        Revalidated
    }

    fn fetched(&mut self, step: &Step<'_>, found: Option<usize>, trip: &Trip) {
        for uri in invalidates(&trip.method, &trip.target, trip.status, &trip.response) {
            self.kept.remove(&uri.to_string());
        }
        if trip.method == Method::HEAD {
            return self.described(step, found, trip);
        }
        let Ok(storable) = trip.judge(&self.policy) else { return };
        let fields = storable.vary().to_vec();
        let selecting = selecting_values(&fields, &trip.request);
        let language = content_language(&fields, &trip.response);
        let in_language = language.map(|language| selecting_values_in(&fields, &trip.request, &language));
        let length = trip.response.get("content-range").map_or(10, |_| 5);
        let Ok(stored) = storable.received(length) else { return };
        let variants = self.kept.entry(step.uri.to_owned()).or_default();
        variants.retain(|kept| kept.selecting != selecting);
        variants.push(Kept { fields, selecting, in_language, stored, since: step.at });
    }

    fn described(&mut self, step: &Step<'_>, found: Option<usize>, trip: &Trip) {
        let (Some(found), true) = (found, trip.status.as_u16() == 200) else { return };
        let variants = self.kept.get_mut(step.uri).expect("it is stored");
        if !variants[found].stored.described_by(&trip.response) {
            drop(variants.remove(found));
        } else if let Ok(fresh) = freshen(&variants[found].stored, &trip.exchange(), false, &self.policy) {
            (variants[found].stored, variants[found].since) = (fresh, step.at);
        }
    }
}

fn code(answer: &Answer, stored: &StoredResponse) -> u16 {
    match answer {
        Answer::Full => stored.status().as_u16(),
        Answer::NotModified => 304,
        Answer::Partial(_) => 206,
        Answer::Unsatisfiable => 416,
    }
}

/// Walks through the steps under both rule sets.
#[track_caller]
fn walk(steps: &[Step<'_>]) -> Vec<Cache> {
    let mut caches = Vec::new();
    for (index, (name, policy)) in policies().into_iter().enumerate() {
        let mut cache = Cache { policy, kept: HashMap::new() };
        for step in steps {
            assert_eq!(cache.ask(step), step.seen[index], "{name}: {step:?} of {steps:#?}");
        }
        caches.push(cache);
    }
    caches
}

/// Asked twice, three seconds apart: is the answer the stored one under (safe rules, RFC 9111)?
#[track_caller]
fn twice(request: Lines<'_>, response: Lines<'_>, later: Lines<'_>, cached: [bool; 2]) {
    let seen = cached.map(|cached| if cached { Cached(200) } else { Fetched });
    let before = Step { request, ..first(response) };
    walk(&[before, Step { request: later, seen, ..then(before, Fetched) }]);
}

const FRESH: Lines<'_> = &[("expires", "@100000"), ("last-modified", "@0"), ("date", "@0")];
const YES: [bool; 2] = [true; 2];
const NO: [bool; 2] = [false; 2];

#[test]
fn explicit_lifetimes() {
    let cases: &[(Lines<'_>, bool)] = &[
        (&[], false),
        (&[("cache-control", "max-age=3600")], true),
        (&[("cache-control", "max-age=0")], false),
        (&[("cache-control", "max-age=2147483647")], true),
        (&[("cache-control", "max-age=2147483648")], true),
        (&[("cache-control", "max-age=2147483649")], true),
        (&[("cache-control", "max-age=99999999999")], true),
        (&[("cache-control", "max-age=3600"), ("age", "7200"), ("date", "@0")], false),
        (&[("cache-control", "max-age=3600"), ("date", "@-7200")], false),
        (&[("cache-control", "max-age=3600"), ("expires", "@-7200"), ("date", "@0")], true),
        (&[("cache-control", "max-age=3600"), ("expires", "0"), ("date", "@0")], true),
        (&[("cache-control", "max-age=0"), ("expires", "@3600"), ("date", "@0")], false),
        (&[("cache-control", "foobar, max-age=3600")], true),
        (&[("cache-control", "MaX-aGe=3600")], true),
        (&[("cache-control", "max-age=-3600")], false),
        (&[("cache-control", "s-maxage=3600")], true),
        (&[("cache-control", "max-age=3600, s-maxage=1")], false),
        (&[("cache-control", "s-maxage=1, max-age=3600")], false),
        (&[("cache-control", "max-age=3600"), ("cache-control", "s-maxage=1")], false),
        (&[("cache-control", "max-age=1, s-maxage=3600")], true),
        (&[("cache-control", "max-age=0, s-maxage=3600"), ("expires", "@-10")], true),
        (&[("cache-control", "max-age=\"3600\"")], true),
        (&[("cache-control", "max-age='3600'")], false),
        (&[("cache-control", "extension=\"max-age=3600\", max-age=1")], false),
        (&[("cache-control", "max-age=1, extension=\"max-age=3600\"")], false),
        (&[("cache-control", "extension=\"max-age=3600\", max-age=\"1\"")], false),
        (&[("cache-control", "max-age=003600")], true),
        (&[("cache-control", "max-age=3600.0")], false),
        (&[("cache-control", "max-age =3600")], false),
        (&[("cache-control", "max-age= 3600")], false),
        (&[("cache-control", "max-age=a3600")], false),
        (&[("cache-control", "max-age=3600a")], false),
        (&[("cache-control", "max-age=1800, max-age=1")], true),
        (&[("cache-control", "max-age=1, max-age=1800")], false),
        (&[("expires", "@2592000"), ("date", "@0")], true),
        (&[("expires", "@-2592000"), ("date", "@0")], false),
        (&[("expires", "@0"), ("date", "@0")], false),
        (&[("expires", "@300"), ("date", "@400")], false),
        (&[("expires", "0"), ("date", "@0")], false),
        (&[("expires", "@10"), ("date", "foo")], true),
        (&[("expires", "@10"), ("date", "@-10"), ("age", "25")], false),
        (&[("expires", "@20"), ("date", "@10"), ("age", "15")], false),
        (&[("expires", "Thursday, 18-Aug-50 02:01:18 GMT"), ("date", "@0")], true),
        (&[("expires", "Thu Aug 18 02:01:18 2050"), ("date", "@0")], true),
        (&[("expires", "Thu, 18 Aug 2050 02:01:18 AEST"), ("date", "@0")], false),
        (&[("cache-control", "max-age=3600"), ("pragma", "no-cache")], true),
        (&[("cache-control", "max-age=3600"), ("content-disposition", "attachment; filename=example.txt")], true),
    ];
    for (response, cached) in cases {
        twice(&[], response, &[], [*cached; 2]);
    }
}

#[test]
fn ages_of_upstream_caches() {
    let cases: &[(&[&str], bool)] = &[
        (&["7200"], false),
        (&["1800"], true),
        (&["abc"], false),
        (&["-7200"], false),
        (&["7200.0"], false),
        (&["7200,0"], false),
        (&["0,7200"], true),
        (&["7200", "0"], false),
        (&["0", "7200"], false),
        (&["0, 0"], false),
        (&["0", "0"], false),
        (&["7200;foo=bar"], false),
        (&["7200;foo=111"], false),
    ];
    for (lines, cached) in cases {
        let mut response: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        response.extend([("cache-control", "max-age=3600"), ("date", "@0")]);
        twice(&[], &response, &[], [*cached; 2]);
    }
    // The answer's Age goes on from the stored one's, and its Date stays.
    let before = first(&[("cache-control", "max-age=600"), ("age", "30"), ("date", "@0")]);
    for cache in walk(&[before, then(before, Cached(200))]) {
        let stored = &cache.kept[URI][0].stored;
        assert_eq!(stored.freshness().age(crate::support::secs(3)), crate::support::secs(33));
        assert_eq!(stored.headers()["date"], terrace_policy::format_date(at(0)));
    }
}

#[test]
fn heuristic_lifetimes() {
    let modified: Lines<'_> = &[("last-modified", "@-86400"), ("date", "@0")];
    for (status, cached) in [
        (200, true),
        (203, true),
        (204, true),
        (404, true),
        (405, true),
        (410, true),
        (414, true),
        (501, true),
        (201, false),
        (202, false),
        (403, false),
        (502, false),
        (503, false),
        (504, false),
        (599, false),
    ] {
        let before = Step { status: Some(status), ..first(modified) };
        walk(&[before, then(before, if cached { Cached(status) } else { Fetched })]);
    }
    let public = [("last-modified", "@-86400"), ("date", "@0"), ("cache-control", "public")];
    let before = Step { status: Some(599), ..first(&public) };
    walk(&[before, then(before, Cached(599))]);
    for (delta, cached) in [("@-5", false), ("@-30", false), ("@-60", true), ("@-3600", true)] {
        twice(&[], &[("last-modified", delta), ("date", "@0")], &[], [cached; 2]);
    }
}

#[test]
fn every_status_with_a_lifetime_is_reused_while_it_is_fresh() {
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        let before = Step { status: Some(status), ..first(FRESH) };
        walk(&[before, then(before, Cached(status))]);
        let stale = [("expires", "@-5000"), ("last-modified", "@-100000"), ("date", "@0")];
        let before = Step { status: Some(status), ..first(&stale) };
        walk(&[before, then(before, Fetched)]);
    }
    let before = Step { status: Some(599), ..first(&[("cache-control", "max-age=3600, must-understand")]) };
    walk(&[before, then(before, Fetched)]);
}

#[test]
fn directives_of_the_response() {
    for value in [
        "private, max-age=3600",
        "Private, Max-Age=3600",
        "no-store",
        "No-StOrE",
        "max-age=10000, no-store",
        "max-age=10000, no-cache",
        "max-age=10000, No-CaChE",
        "no-cache",
    ] {
        twice(&[], &[("cache-control", value), ("expires", "@10000"), ("date", "@0")], &[], NO);
    }
    // no-cache with a validator: each use is validated.
    for value in ["no-cache", "max-age=10000, no-cache"] {
        let response = [("cache-control", value), ("etag", "\"abcd\"")];
        let before = first(&response);
        let again = Step { status: Some(304), ..then(before, Revalidated) };
        walk(&[before, again, then(again, Revalidated)]);
    }
    let before = first(&[("cache-control", "max-age=10, must-revalidate"), ("etag", "\"abcd\"")]);
    let stale = Step { at: 11, status: Some(304), ..then(before, Revalidated) };
    walk(&[before, then(before, Cached(200)), stale, then(stale, Cached(200))]);
    let before = first(&[("cache-control", "no-cache=\"a, b\", max-age=3600"), ("a", "1"), ("b", "2"), ("c", "3")]);
    for cache in walk(&[before, then(before, Cached(200))]) {
        let stored = cache.kept[URI][0].stored.headers();
        assert_eq!((stored.get("a"), stored.get("b"), stored.contains_key("c")), (None, None, true));
    }
}

/// The field that a CDN would be told by.
#[test]
fn targeted_lifetimes() {
    let cases: &[(Lines<'_>, bool)] = &[
        (&[("cdn-cache-control", "max-age=3600")], true),
        (&[("cdn-cache-control", "max-age=2147483648")], true),
        (&[("cdn-cache-control", "max-age=99999999999")], true),
        (&[("cdn-cache-control", "max-age=3600"), ("age", "7200"), ("date", "@0")], false),
        (&[("cdn-cache-control", "max-age=3600;other"), ("age", "7200"), ("date", "@0")], false),
        (&[("cdn-cache-control", "max-age =100"), ("cache-control", "max-age=1")], false),
        (&[("cdn-cache-control", "max-age= 100"), ("cache-control", "max-age=1")], false),
        (&[("cdn-cache-control", "max-age=0")], false),
        (&[("cdn-cache-control", "foobar, max-age=3600")], true),
        (&[("cdn-cache-control", "max-age=3600"), ("expires", "@-10000"), ("date", "@0")], true),
        (&[("cdn-cache-control", "max-age=3600"), ("expires", "0"), ("date", "@0")], true),
        (&[("cdn-cache-control", "max-age=0"), ("expires", "@10000"), ("date", "@0")], false),
        (&[("cdn-cache-control", "max-age=3600"), ("cache-control", "max-age=1")], true),
        (&[("cdn-cache-control", "max-age=1"), ("cache-control", "max-age=3600")], false),
        (&[("cdn-cache-control", "no-store")], false),
        (&[("cdn-cache-control", "no-store"), ("cache-control", "max-age=10000"), ("expires", "@10000")], false),
        (&[("cdn-cache-control", "max-age=10000"), ("cache-control", "no-store")], true),
        (&[("surrogate-control", "max-age=3600")], false),
    ];
    for (response, cached) in cases {
        twice(&[], response, &[], [*cached; 2]);
    }
}

#[test]
fn an_origin_that_cannot_be_reached() {
    for (value, later, seen) in [
        ("max-age=2", 5, [Failed, Cached(200)]),
        ("max-age=2, stale-if-error=60", 5, [Cached(200), Cached(200)]),
        ("max-age=2, stale-if-error=60", 100, [Failed, Cached(200)]),
        ("max-age=2, stale-while-revalidate=60", 5, [Cached(200), Cached(200)]),
        ("max-age=2, must-revalidate", 5, [Failed; 2]),
        ("max-age=2, proxy-revalidate", 5, [Failed; 2]),
        ("max-age=2, no-cache", 5, [Failed; 2]),
        ("max-age=2, s-maxage=2", 5, [Failed; 2]),
        ("max-age=2, stale-if-error=60, must-revalidate", 5, [Failed; 2]),
        ("max-age=2, stale-if-error=60, s-maxage=2", 5, [Cached(200), Failed]),
    ] {
        let response = [("cache-control", value), ("etag", "\"a\"")];
        let before = first(&response);
        walk(&[before, Step { at: later, status: None, seen, ..before }]);
    }
    // Nothing is served that never was fresh for anybody.
    let before = first(&[("cache-control", "max-age=2")]);
    walk(&[Step { status: None, seen: [Failed; 2], ..before }]);
}

#[test]
fn directives_of_the_request() {
    let hour: Lines<'_> = &[("cache-control", "max-age=3600")];
    let cases: &[(Lines<'_>, &str, [bool; 2])] = &[
        (FRESH, "max-age=0", [true, false]),
        (FRESH, "max-age=1", [true, false]),
        (&[("cache-control", "max-age=3600"), ("age", "1800")], "max-age=600", [true, false]),
        (&[("cache-control", "max-age=1")], "max-stale=1000", [false, true]),
        (&[("cache-control", "max-age=1500"), ("age", "2000"), ("etag", "\"a\"")], "max-stale=1000", [false, true]),
        (&[("cache-control", "max-age=1500"), ("age", "2000")], "max-stale=1000", [false, true]),
        (&[("cache-control", "max-age=1500")], "min-fresh=2000", [true, false]),
        (&[("cache-control", "max-age=1500"), ("age", "1000")], "min-fresh=1000", [true, false]),
        (hour, "no-cache", [true, false]),
        (hour, "only-if-cached", YES),
    ];
    for (response, later, cached) in cases {
        twice(&[], response, &[("cache-control", later)], *cached);
    }
    for validator in [("last-modified", "@-10000"), ("etag", "\"a\"")] {
        let response = [("cache-control", "max-age=3600"), validator];
        let request: Lines<'_> = &[("cache-control", "no-cache")];
        let reload =
            Step { request, status: Some(304), seen: [Cached(200), Revalidated], ..then(first(&response), Fetched) };
        walk(&[first(&response), reload]);
    }
    walk(&[Step { request: &[("cache-control", "only-if-cached")], seen: [Failed; 2], ..first(hour) }]);
    // What a request with no-store brings is not stored.
    twice(&[("cache-control", "no-store")], hour, &[], NO);
    twice(&[], hour, &[("pragma", "no-cache")], YES);
}

#[test]
fn credentials_and_cookies() {
    let authorized: Lines<'_> = &[("authorization", "FOO")];
    twice(authorized, &[("expires", "@2592000"), ("date", "@0")], &[], NO);
    twice(authorized, &[("cache-control", "max-age=3600")], authorized, NO);
    twice(authorized, &[("cache-control", "max-age=3600, public")], &[], YES);
    twice(authorized, &[("cache-control", "max-age=3600, must-revalidate")], &[], [false, true]);
    twice(authorized, &[("cache-control", "s-maxage=3600")], &[], YES);
    twice(&[], &[("cache-control", "max-age=3600"), ("set-cookie", "a=b")], &[], [false, true]);
    twice(&[], &[("cache-control", "max-age=3600")], &[("cookie", "a=b")], YES);
    twice(&[("cookie", "a=b")], &[("cache-control", "max-age=3600")], &[], [false, true]);
    twice(&[], &[("last-modified", "@-86400")], &[("cookie", "a=b")], [false, true]);
}

#[test]
fn negotiated_responses() {
    let cases: &[(&str, Lines<'_>, Lines<'_>, bool)] = &[
        ("Foo", &[("foo", "1")], &[("foo", "1")], true),
        ("Foo", &[("foo", "1")], &[("foo", "2")], false),
        ("Foo", &[], &[("foo", "1")], false),
        ("Foo", &[("foo", "1")], &[], false),
        ("Foo", &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")], true),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("foo", "1"), ("bar", "abc")], true),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("foo", "2"), ("bar", "abc")], false),
        ("Foo, Bar", &[("foo", "1")], &[], false),
        ("Foo, Bar, Baz", &[("foo", "1"), ("baz", "789")], &[("foo", "1"), ("baz", "789")], true),
        (
            "Foo, Bar, Baz",
            &[("foo", "1"), ("bar", "abc4"), ("baz", "789")],
            &[("foo", "1"), ("bar", "abc"), ("baz", "789")],
            false,
        ),
        ("*", &[("foo", "1")], &[("foo", "1")], false),
        ("*, *", &[], &[], false),
        (", *", &[], &[], false),
        ("*, Foo", &[("foo", "1")], &[("foo", "1")], false),
        ("Foo, *", &[("foo", "1")], &[("foo", "1")], false),
        ("Foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")], true),
        ("Foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")], true),
        ("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "de, en")], true),
        ("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "eN, De")], true),
        ("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", " en ,   de")], true),
        ("Accept-Language", &[("accept-language", "en, de")], &[("accept-language", "fr;q=0.5, de;q=1.0")], false),
    ];
    for (vary, request, later, cached) in cases {
        let response = [("expires", "@5000"), ("last-modified", "@-3000"), ("date", "@0"), ("vary", vary)];
        twice(request, &response, later, [*cached; 2]);
    }
    // The language of the answer, not the list that was asked with, under RFC 9111 (match_language).
    let response = [("cache-control", "max-age=60"), ("vary", "Accept-Language, Foo"), ("content-language", "de")];
    let asked: Lines<'_> = &[("accept-language", "en, de"), ("foo", "1")];
    for (language, foo, cached) in [
        ("fr;q=0.5, DE;q=1.0", "1", [false, true]),
        ("de", "1", [false, true]),
        ("de", "2", NO),
        ("fr, de;q=0.5", "1", NO),
        ("fr, de", "1", NO),
        ("de-at", "1", NO),
        ("*", "1", NO),
    ] {
        twice(asked, &response, &[("accept-language", language), ("foo", foo)], cached);
    }
    // One variant does not push the other out.
    let response = [("expires", "@5000"), ("date", "@0"), ("vary", "Foo")];
    let one = Step { request: &[("foo", "1")], ..first(&response) };
    let two = Step { request: &[("foo", "2")], ..then(one, Fetched) };
    let again = Step { request: &[("foo", "1")], ..then(two, Cached(200)) };
    walk(&[one, two, again, Step { request: &[("foo", "2")], ..again }]);
    // A stale variant is validated by those whom it would answer.
    let response = [("expires", "@1"), ("etag", "\"abcdef\""), ("date", "@0"), ("vary", "Abc")];
    let before = Step { request: &[("abc", "123")], ..first(&response) };
    walk(&[before, Step { status: Some(304), ..then(before, Revalidated) }]);
    walk(&[before, Step { request: &[("abc", "456")], ..then(before, Fetched) }]);
}

#[test]
fn conditions_are_answered_from_the_store() {
    let dated: Lines<'_> = &[("cache-control", "max-age=100000"), ("last-modified", "@-3000"), ("date", "@0")];
    let undated: Lines<'_> = &[("cache-control", "max-age=100000"), ("date", "@0")];
    let strong: Lines<'_> =
        &[("expires", "@100000"), ("etag", "\"abcdef\""), ("last-modified", "@-5000"), ("date", "@0")];
    let weak: Lines<'_> = &[("expires", "@100000"), ("etag", "W/\"abcdef\""), ("date", "@0")];
    let cases: &[(Lines<'_>, Lines<'_>, u16)] = &[
        (dated, &[("if-modified-since", "@-3000")], 304),
        (dated, &[("if-modified-since", "@-2000")], 304),
        (dated, &[("if-modified-since", "@-4000")], 200),
        (dated, &[("if-modified-since", "Friday, 20-Nov-26 23:10:00 GMT")], 304),
        (undated, &[("if-modified-since", "@-3000")], 200),
        (undated, &[("if-modified-since", "@0")], 304),
        (strong, &[("if-none-match", "\"abcdef\"")], 304),
        (strong, &[("if-none-match", "\"abcdef\""), ("if-modified-since", "@-99999")], 304),
        (strong, &[("if-none-match", "\"other\""), ("if-modified-since", "@-1")], 200),
        (strong, &[("if-none-match", "\"abcdef\", \"1234\", \"5678\"")], 304),
        (strong, &[("if-none-match", "\"1234\", \"abcdef\", \"5678\"")], 304),
        (strong, &[("if-none-match", "\"1234\", \"5678\", \"abcdef\"")], 304),
        (strong, &[("if-none-match", "abcdef")], 200),
        (weak, &[("if-none-match", "W/\"abcdef\"")], 304),
        (weak, &[("if-none-match", "\"abcdef\"")], 304),
    ];
    for (response, request, status) in cases {
        walk(&[first(response), Step { request, ..then(first(response), Cached(*status)) }]);
    }
    // Stale, and the origin says it holds: the client's own condition is answered from what is then fresh.
    let response = [("cache-control", "max-age=2"), ("last-modified", "@-3000"), ("date", "@0")];
    let request: Lines<'_> = &[("if-modified-since", "@-3000")];
    let head: Lines<'_> = &[("cache-control", "max-age=60")];
    let stale = Step { request, status: Some(304), response: head, ..then(first(&response), Revalidated) };
    walk(&[first(&response), stale, then(stale, Cached(304))]);
}

#[test]
fn a_304_freshens_and_a_200_replaces() {
    for (validator, named) in
        [(("etag", "\"1\""), ("etag", "\"1\"")), (("last-modified", "@-99"), ("last-modified", "@-99"))]
    {
        let before = [("cache-control", "max-age=2"), validator, ("test-header", "A"), ("x-kept", "A"), ("date", "@0")];
        let after = [("cache-control", "max-age=60"), named, ("test-header", "B"), ("date", "@3")];
        let freshened = Step { status: Some(304), response: &after, ..then(first(&before), Revalidated) };
        for cache in walk(&[first(&before), freshened, then(freshened, Cached(200))]) {
            let stored = cache.kept[URI][0].stored.headers();
            assert_eq!((&stored["test-header"], &stored["x-kept"]), (&"B".parse().unwrap(), &"A".parse().unwrap()));
        }
        let replaced = Step { status: Some(200), ..freshened };
        for cache in walk(&[first(&before), Step { seen: [Fetched; 2], ..replaced }, then(freshened, Cached(200))]) {
            assert!(!cache.kept[URI][0].stored.headers().contains_key("x-kept"));
        }
    }
}

#[test]
fn a_head_request_uses_and_freshens_what_get_stored() {
    let stored = first(&[("cache-control", "max-age=2"), ("template-a", "1"), ("etag", "\"1\"")]);
    let head = Step { method: "HEAD", ..then(stored, Fetched) };
    let fresh = first(&[("cache-control", "max-age=60")]);
    walk(&[fresh, Step { method: "HEAD", ..then(fresh, Cached(200)) }]);
    // HEAD alone stores nothing.
    let alone = Step { method: "HEAD", ..fresh };
    walk(&[alone, then(Step { method: "GET", ..alone }, Fetched)]);
    let newer = Step { response: &[("cache-control", "max-age=1000"), ("template-a", "2")], ..head };
    let again = Step { method: "GET", ..then(newer, Cached(200)) };
    for cache in walk(&[stored, newer, again]) {
        assert_eq!(cache.kept[URI][0].stored.headers()["template-a"], "2");
    }
    let other = Step { response: &[("cache-control", "max-age=1000"), ("etag", "\"2\"")], ..head };
    walk(&[stored, other, Step { method: "GET", ..then(other, Fetched) }]);
    let longer = Step { response: &[("cache-control", "max-age=1000"), ("content-length", "11")], ..head };
    walk(&[stored, longer, Step { method: "GET", ..then(longer, Fetched) }]);
    let gone = Step { status: Some(410), ..newer };
    walk(&[stored, gone, Step { method: "GET", ..then(gone, Fetched) }]);
}

#[test]
fn unsafe_methods_invalidate() {
    let other = "http://origin.example/dir/other";
    let located = "http://origin.example/dir/located";
    for method in ["POST", "PUT", "DELETE", "M-SEARCH"] {
        for (status, seen) in [(200, Fetched), (204, Fetched), (302, Fetched), (404, Cached(200)), (500, Cached(200))] {
            let before = first(FRESH);
            let change = Step { method, status: Some(status), response: &[], ..then(before, Fetched) };
            walk(&[before, change, Step { at: 9, ..then(before, seen) }]);
        }
        let response: Lines<'_> = &[("location", "located"), ("content-location", "other")];
        for uri in [located, other] {
            let before = Step { uri, ..first(FRESH) };
            let change = Step { method, response, uri: URI, ..then(before, Fetched) };
            walk(&[before, change, Step { at: 9, ..then(before, Fetched) }]);
        }
    }
    let before = first(FRESH);
    for method in ["OPTIONS", "TRACE"] {
        let change = Step { method, ..then(before, Fetched) };
        walk(&[before, change, Step { at: 9, ..then(before, Cached(200)) }]);
    }
    walk(&[before, Step { uri: "http://origin.example/dir/page?test=1", ..then(before, Fetched) }]);
    let post = Step { method: "POST", ..first(&[("expires", "@2592000"), ("content-location", ""), ("date", "@0")]) };
    walk(&[post, Step { method: "GET", seen: [Fetched, Cached(200)], ..then(post, Fetched) }]);
}

#[test]
fn ranges_of_what_is_stored() {
    let complete = first(&[("cache-control", "max-age=3600")]);
    let ranged: [(Lines<'_>, u16); 5] = [
        (&[("range", "bytes=0-1")], 206),
        (&[("range", "bytes=1-")], 206),
        (&[("range", "bytes=-1")], 206),
        (&[("range", "bytes=10-")], 416),
        (&[("range", "lines=0-1")], 200),
    ];
    for (request, status) in ranged {
        walk(&[complete, Step { request, ..then(complete, Cached(status)) }]);
    }
    let lines = [("cache-control", "max-age=3600"), ("content-range", "bytes 5-9/10")];
    let part = Step { request: &[("range", "bytes=-5")], status: Some(206), ..first(&lines) };
    let asked: [(Lines<'_>, Seen); 6] = [
        (&[("range", "bytes=-5")], Cached(206)),
        (&[("range", "bytes=6-8")], Cached(206)),
        (&[("range", "bytes=6-")], Cached(206)),
        (&[("range", "bytes=-1")], Cached(206)),
        (&[("range", "bytes=4-8")], Fetched),
        (&[], Fetched),
    ];
    for (request, seen) in asked {
        walk(&[part, Step { request, ..then(part, seen) }]);
    }
    // As the public tests have it: five bytes for a range of six.
    let lines = [("cache-control", "max-age=3600"), ("content-range", "bytes 4-9/10")];
    let part = Step { request: &[("range", "bytes=-5")], status: Some(206), ..first(&lines) };
    let asked: [Lines<'_>; 4] =
        [&[("range", "bytes=-5")], &[("range", "bytes=6-8")], &[("range", "bytes=6-")], &[("range", "bytes=-1")]];
    for request in asked {
        walk(&[part, Step { request, seen: [Fetched, Cached(206)], ..then(part, Fetched) }]);
    }
}
