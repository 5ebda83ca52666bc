//! Conditional requests, validation and freshening (RFC 9111 section 4.3, RFC 9110 section 13).

use crate::support::{Lines, Trip, asking, at, headers, policies, secs};
use http::header::ACCEPT;
use http::{HeaderMap, Method};
use terrace_policy::{
    Answer, Demands, Policy, StoredResponse, Validated, Vary, answer, format_date, freshen, strip_preconditions,
};

#[test]
fn only_get_and_head_are_answered_with_304() {
    let conditions: [Lines<'_>; 3] =
        [&[("if-none-match", "\"a\"")], &[("if-none-match", "*")], &[("if-modified-since", "@-60")]];
    for (name, policy) in policies() {
        let mut trip = Trip::new(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("last-modified", "@-60")]);
        trip.keyed_by_body = true;
        let stored = trip.method("POST").store(&policy, 10);
        for condition in conditions {
            let condition = headers(condition);
            for (method, expected) in [
                (Method::GET, Answer::NotModified),
                (Method::HEAD, Answer::NotModified),
                // "A recipient MUST ignore the If-Modified-Since header field if … the request method
                // is neither GET nor HEAD" (RFC 9110 section 13.1.3); 13.1.2 keeps 304 for these two.
                (Method::POST, Answer::Full),
            ] {
                let given = answer(&stored, &asking(&method, &condition, 0));
                assert_eq!(given, Some(expected), "{name} {method} {condition:?}");
            }
        }
    }
}

/// A response of a minute ago whose validators are a tag and a date.
fn tagged(tag: &str) -> Trip {
    Trip::new(&[("cache-control", "max-age=600"), ("etag", tag), ("last-modified", "@-1000"), ("date", "@-60")])
}

/// What a `GET` with these fields gets from a stored response of ten bytes.
fn given(trip: &Trip, request: Lines<'_>) -> Option<Answer> {
    answer(&trip.store(&Policy::rfc9111(), 10), &asking(&Method::GET, &headers(request), 0))
}

/// RFC 9110 section 13.1.2, with the weak comparison of section 8.8.3.2.
#[test]
fn if_none_match_is_answered_by_weak_comparison() {
    for (stored, asked, matches) in [
        ("\"1\"", "\"1\"", true),
        ("W/\"1\"", "W/\"1\"", true),
        ("W/\"1\"", "\"1\"", true),
        ("\"1\"", "W/\"1\"", true),
        ("\"1\"", "\"2\"", false),
        ("W/\"1\"", "W/\"2\"", false),
        ("\"a\"", "\"A\"", false),
        ("\"1\"", "*", true),
        ("\"1\"", " * ", true),
        ("\"1\"", "\"1\", \"2\", \"3\"", true),
        ("\"1\"", "\"2\", \"1\", \"3\"", true),
        ("\"1\"", "\"3\",\"2\",W/\"1\"", true),
        ("\"1\"", ",, \"1\" ,", true),
        ("\"1\"", "\"2\", \"3\"", false),
        ("\"a,b\"", "\"a,b\"", true),
        ("\"a,b\"", "\"x\", \"a,b\"", true),
        ("\"a\"", "\"a,b\"", false),
        ("\"1\"", "", false),
        ("\"caf\u{e9}\"", "\"caf\u{e9}\"", true),
        // Without quotes a tag equals itself and nothing else.
        ("1", "1", true),
        ("\"1\"", "1", false),
        ("1", "\"1\"", false),
        ("w/\"1\"", "w/\"1\"", true),
        ("w/\"1\"", "\"1\"", false),
    ] {
        let expected = if matches { Answer::NotModified } else { Answer::Full };
        assert_eq!(given(&tagged(stored), &[("if-none-match", asked)]), Some(expected), "{stored} {asked}");
    }
    let lines = [("if-none-match", "\"2\""), ("if-none-match", "\"1\"")];
    assert_eq!(given(&tagged("\"1\""), &lines), Some(Answer::NotModified));
    let untagged = Trip::new(&[("cache-control", "max-age=60")]);
    assert_eq!(given(&untagged, &[("if-none-match", "\"1\"")]), Some(Answer::Full));
    assert_eq!(given(&untagged, &[("if-none-match", "*")]), Some(Answer::NotModified));
}

/// RFC 9110 section 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an
/// If-None-Match header field".
#[test]
fn if_none_match_takes_precedence() {
    let trip = tagged("\"1\"");
    let both = |tag, date| given(&trip, &[("if-none-match", tag), ("if-modified-since", date)]);
    assert_eq!(both("\"1\"", "@-5000"), Some(Answer::NotModified));
    assert_eq!(both("\"2\"", "@0"), Some(Answer::Full));
    assert_eq!(both("", "@0"), Some(Answer::Full));
}

/// RFC 9111 section 4.3.2: against Last-Modified, else Date, else the time of arrival.
#[test]
fn if_modified_since_is_answered_by_date() {
    let modified: Lines<'_> = &[("cache-control", "max-age=60"), ("last-modified", "@-1000"), ("date", "@-60")];
    let dated: Lines<'_> = &[("cache-control", "max-age=600"), ("date", "@-60")];
    let arrived: Lines<'_> = &[("cache-control", "max-age=60")];
    for (response, since, not_modified) in [
        (modified, "@-1000", true),
        (modified, "@-999", true),
        (modified, "@0", true),
        (modified, "@-1001", false),
        (dated, "@-60", true),
        (dated, "@-61", false),
        (arrived, "@0", true),
        (arrived, "@-1", false),
        (modified, "Friday, 20-Nov-26 23:43:20 GMT", true),
        (modified, "Fri Nov 20 23:43:20 2026", true),
        (modified, "Friday, 20-Nov-26 23:43:19 GMT", false),
        // "MUST ignore … if the received field value is not a valid HTTP-date, the field value has
        // more than one member" (RFC 9110 section 13.1.3)
        (modified, "", false),
        (modified, "0", false),
        (modified, "tomorrow", false),
        (modified, "Sat, 21 Nov 2026 00:00:00 GMT, Sat, 21 Nov 2026 00:00:00 GMT", false),
    ] {
        let expected = if not_modified { Answer::NotModified } else { Answer::Full };
        assert_eq!(
            given(&Trip::new(response), &[("if-modified-since", since)]),
            Some(expected),
            "{response:?} {since}"
        );
    }
    let twice = [("if-modified-since", "@0"), ("if-modified-since", "@0")];
    assert_eq!(given(&Trip::new(modified), &twice), Some(Answer::Full));
}

/// RFC 9110 section 13.2.1: preconditions are ignored where the answer without them would be no 2xx.
#[test]
fn preconditions_count_for_successful_responses_only() {
    for (code, conditional) in [(200, true), (404, false), (410, false), (301, false), (503, false)] {
        let trip = tagged("\"1\"").status(code);
        let expected = if conditional { Answer::NotModified } else { Answer::Full };
        assert_eq!(given(&trip, &[("if-none-match", "\"1\"")]), Some(expected.clone()), "{code}");
        assert_eq!(given(&trip, &[("if-modified-since", "@0")]), Some(expected), "{code}");
    }
}

/// Section 4.3.2: fields "that only apply to an origin server" are not for a cache to evaluate.
#[test]
fn if_match_and_if_unmodified_since_are_for_the_origin() {
    for (field, origin) in [
        ("if-match", true),
        ("if-unmodified-since", true),
        ("if-none-match", false),
        ("if-modified-since", false),
        ("if-range", false),
        ("range", false),
    ] {
        assert_eq!(Demands::of(&headers(&[(field, "*")])).origin_conditions(), origin, "{field}");
    }
    assert!(!Demands::of(&headers(&[])).origin_conditions());
}

/// RFC 9110 section 13.1.5: a strong comparison, or the exact date if that is a strong validator.
#[test]
fn if_range_decides_whether_the_range_counts() {
    for (etag, condition, holds) in [
        (Some("\"1\""), "\"1\"", true),
        (Some("\"1\""), "\"2\"", false),
        (Some("W/\"1\""), "W/\"1\"", false),
        (Some("W/\"1\""), "\"1\"", false),
        (Some("\"1\""), "W/\"1\"", false),
        (None, "\"1\"", false),
        (Some("\"1\""), "", false),
        (Some("\"1\""), "\"2\", \"1\"", false),
        // Last-Modified was 940 seconds before Date: strong.
        (Some("\"1\""), "@-1000", true),
        (None, "@-1000", true),
        (None, "@-999", false),
        (None, "@-1001", false),
        (None, "@0", false),
        (None, "yesterday", false),
    ] {
        let mut response = vec![("cache-control", "max-age=600"), ("last-modified", "@-1000"), ("date", "@-60")];
        response.extend(etag.map(|etag| ("etag", etag)));
        let given = given(&Trip::new(&response), &[("range", "bytes=0-1"), ("if-range", condition)]);
        let partial = matches!(given, Some(Answer::Partial(_)));
        assert!(partial || given == Some(Answer::Full));
        assert_eq!(partial, holds, "{etag:?} {condition}");
    }
    // RFC 9110 section 8.8.2.2: a date is weak unless the response was generated well after it.
    for (date, strong) in [("@-1000", false), ("@-999", false), ("@-941", false), ("@-940", true), ("@0", true)] {
        let response = [("cache-control", "max-age=6000"), ("last-modified", "@-1000"), ("date", date)];
        let given = given(&Trip::new(&response), &[("range", "bytes=0-1"), ("if-range", "@-1000")]);
        assert_eq!(matches!(given, Some(Answer::Partial(_))), strong, "{date}");
    }
    // Without Range it says nothing (13.1.5), and a 304 comes before it (13.2.2).
    assert_eq!(given(&tagged("\"1\""), &[("if-range", "\"2\"")]), Some(Answer::Full));
    let all = [("range", "bytes=0-1"), ("if-range", "\"1\""), ("if-none-match", "\"1\"")];
    assert_eq!(given(&tagged("\"1\""), &all), Some(Answer::NotModified));
}

#[test]
fn the_origin_is_asked_about_the_stored_response_and_nothing_else() {
    let client: Lines<'_> = &[
        ("if-none-match", "\"mine\""),
        ("if-none-match", "\"other\""),
        ("if-modified-since", "@-5"),
        ("accept", "text/html"),
    ];
    let cases: &[(Lines<'_>, Lines<'_>)] = &[
        (&[("etag", "\"1\"")], &[("accept", "text/html"), ("if-none-match", "\"1\"")]),
        (&[("last-modified", "@-1000")], &[("accept", "text/html"), ("if-modified-since", "@-1000")]),
        (
            &[("etag", "W/\"1\""), ("last-modified", "@-1000")],
            &[("accept", "text/html"), ("if-none-match", "W/\"1\""), ("if-modified-since", "@-1000")],
        ),
    ];
    for (response, expected) in cases {
        let mut lines = response.to_vec();
        lines.push(("cache-control", "max-age=60"));
        let stored = Trip::new(&lines).store(&Policy::safe(), 1);
        let mut request = headers(client);
        stored.validators().expect("it has validators").apply(&mut request);
        assert_eq!(request, headers(expected), "{response:?}");
    }
    assert_eq!(Trip::new(&[("cache-control", "max-age=60")]).store(&Policy::safe(), 1).validators(), None);
    let mut request = headers(client);
    strip_preconditions(&mut request);
    assert_eq!(request, headers(&[("accept", "text/html")]));
}

/// Section 4.3.4.
#[test]
fn a_304_updates_the_response_whose_validator_it_names() {
    for (stored, named, expected) in [
        (Some("\"1\""), None, Validated::Update),
        (Some("\"1\""), Some("\"1\""), Validated::Update),
        (Some("W/\"1\""), Some("W/\"1\""), Validated::Update),
        (Some("\"1\""), Some("W/\"1\""), Validated::Update),
        (None, Some("\"1\""), Validated::Update),
        (None, None, Validated::Update),
        (Some("\"1\""), Some("\"2\""), Validated::KeepHead),
        (Some("W/\"1\""), Some("W/\"2\""), Validated::KeepHead),
        // "If the new response contains one or more strong validators …, each of those strong
        // validators identifies a selected representation": a weak one of the same text does not match.
        (Some("W/\"1\""), Some("\"1\""), Validated::KeepHead),
    ] {
        let mut lines = vec![("cache-control", "max-age=60"), ("last-modified", "@-1000")];
        lines.extend(stored.map(|etag| ("etag", etag)));
        let kept = Trip::new(&lines).store(&Policy::safe(), 1);
        let head: Vec<_> = named.into_iter().map(|etag| ("etag", etag)).collect();
        assert_eq!(kept.validated_by(&headers(&head)), expected, "{stored:?} {named:?}");
    }
}

/// A client that has what a foreign 304 stands for gets that 304.
#[test]
fn a_foreign_304_is_for_the_client_that_asked_about_it() {
    let bypassed = |request, head| StoredResponse::is_bypassed_by(&headers(request), &headers(head));
    assert!(bypassed(&[("if-none-match", "\"2\"")], &[("etag", "\"2\"")]));
    assert!(bypassed(&[("if-none-match", "\"1\", W/\"2\"")], &[("etag", "\"2\"")]));
    assert!(!bypassed(&[("if-none-match", "\"1\"")], &[("etag", "\"2\"")]));
    assert!(!bypassed(&[("if-none-match", "\"1\"")], &[]));
    assert!(!bypassed(&[("if-modified-since", "@0")], &[("etag", "\"2\"")]));
    assert!(!bypassed(&[], &[("etag", "\"2\"")]));
}

/// The stored head after a validation `later` seconds on, by a 304 with this head.
fn validated(stored: Lines<'_>, head: Lines<'_>, later: i64, keep_head: bool) -> Result<StoredResponse, HeaderMap> {
    let policy = Policy::rfc9111();
    let stored = Trip::new(stored).store(&policy, 10);
    let trip = Trip::new(head).status(304).received(later);
    freshen(&stored, &trip.exchange(), keep_head, &policy)
}

/// Section 3.2: all fields of the newer head, but what belongs to the bytes that are kept.
#[test]
fn freshening_takes_the_newer_fields_and_keeps_what_describes_the_content() {
    let stored: Lines<'_> = &[
        ("cache-control", "max-age=10"),
        ("etag", "\"1\""),
        ("last-modified", "@-1000"),
        ("content-length", "10"),
        ("content-encoding", "gzip"),
        ("content-type", "text/plain"),
        ("content-md5", "old"),
        ("content-digest", "old"),
        ("repr-digest", "old"),
        ("digest", "old"),
        ("x-two", "1"),
        ("x-two", "2"),
        ("x-kept", "1"),
        ("set-cookie", "a=1"),
    ];
    let newer: Lines<'_> = &[
        ("cache-control", "max-age=50"),
        ("etag", "W/\"1\""),
        ("last-modified", "@-900"),
        ("content-length", "0"),
        ("content-encoding", "br"),
        ("content-range", "bytes 0-1/2"),
        ("content-type", "text/html"),
        ("content-md5", "new"),
        ("content-digest", "new"),
        ("repr-digest", "new"),
        ("digest", "new"),
        ("x-two", "3"),
        ("x-new", "1"),
        ("x-new", "2"),
        ("set-cookie", "a=2"),
        // That connection's fields, one of which the stored response has too.
        ("connection", "x-hop, x-kept"),
        ("x-hop", "1"),
        ("x-kept", "2"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("age", "7"),
        ("date", "@98"),
    ];
    let fresh = validated(stored, newer, 100, false).expect("still storable");
    let expected = headers(&[
        ("cache-control", "max-age=50"),
        ("etag", "\"1\""),
        ("last-modified", "@-900"),
        ("content-length", "10"),
        ("content-encoding", "gzip"),
        ("content-type", "text/html"),
        ("content-md5", "old"),
        ("content-digest", "old"),
        ("repr-digest", "old"),
        ("digest", "old"),
        ("x-two", "3"),
        ("x-kept", "1"),
        ("x-new", "1"),
        ("x-new", "2"),
        ("set-cookie", "a=2"),
        ("date", "@98"),
    ]);
    assert_eq!(*fresh.headers(), expected);
    assert_eq!((fresh.status().as_u16(), fresh.complete_len()), (200, Some(10)));
    assert_eq!(fresh.freshness().lifetime(), secs(50));
    assert_eq!(fresh.freshness().age(secs(0)), secs(7));
}

#[test]
fn a_validation_makes_the_response_as_old_as_its_answer() {
    let stored: Lines<'_> = &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("age", "5"), ("x", "1")];
    // Without a Date of its own the answer was made when it came.
    let fresh = validated(stored, &[], 100, false).expect("still storable");
    assert_eq!((fresh.freshness().lifetime(), fresh.freshness().age(secs(0))), (secs(10), secs(0)));
    assert_eq!(fresh.headers()["date"], format_date(at(100)));
    // Another validator than the stored one's: nothing of that head is taken.
    let head: Lines<'_> =
        &[("etag", "\"2\""), ("cache-control", "max-age=999"), ("x", "2"), ("age", "9"), ("date", "@0")];
    let kept = validated(stored, head, 100, true).expect("still storable");
    assert_eq!((kept.freshness().lifetime(), kept.freshness().age(secs(0))), (secs(10), secs(0)));
    let expected: Lines<'_> = &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("date", "@100"), ("x", "1")];
    assert_eq!(*kept.headers(), headers(expected));
    // Expires counts from the newer Date.
    let expires: Lines<'_> = &[("expires", "@30"), ("etag", "\"1\""), ("date", "@0")];
    let fresh = validated(expires, &[("expires", "@160"), ("date", "@100")], 100, false).expect("still storable");
    assert_eq!(fresh.freshness().lifetime(), secs(60));
}

#[test]
fn a_head_that_forbids_to_store_ends_the_stored_response() {
    let stored: Lines<'_> = &[("cache-control", "max-age=10"), ("etag", "\"1\"")];
    for (name, value) in [
        ("cache-control", "no-store"),
        ("cache-control", "max-age=10, private"),
        ("cdn-cache-control", "no-store"),
        ("vary", "*"),
    ] {
        // The new head is given back, for the client that asked.
        let head = validated(stored, &[(name, value)], 5, false).expect_err("it says that it may not be stored");
        assert_eq!((head[name].to_str().ok(), head["etag"].to_str().ok()), (Some(value), Some("\"1\"")));
    }
    // Fields that it makes private leave.
    let named: Lines<'_> = &[("cache-control", "max-age=10"), ("etag", "\"1\""), ("x", "1")];
    let fresh = validated(named, &[("cache-control", "max-age=10, private=\"x\"")], 5, false).expect("storable");
    assert!(!fresh.headers().contains_key("x"));
    // And a newer Vary is the one that selects from now on.
    let fresh = validated(named, &[("vary", "accept")], 5, false).expect("storable");
    assert_eq!(Vary::of(fresh.headers()), Vary::Fields(vec![ACCEPT]));
}

#[test]
fn a_part_that_is_validated_stays_that_part() {
    let policy = Policy::safe();
    let lines = [("cache-control", "max-age=10"), ("etag", "\"1\""), ("content-range", "bytes 2-5/10")];
    let part = Trip::new(&lines).status(206).store(&policy, 4);
    let trip = Trip::new(&[("content-range", "bytes 0-9/10")]).status(304).received(20);
    let fresh = freshen(&part, &trip.exchange(), false, &policy).expect("storable");
    assert_eq!(fresh.headers()["content-range"], "bytes 2-5/10");
    assert_eq!((fresh.status().as_u16(), fresh.complete_len(), fresh.representation_len()), (206, None, Some(10)));
}

/// Section 4.3.5: "If the stored response and HEAD response have matching values for any received
/// validator fields … and, if the HEAD response has a Content-Length header field, the value of
/// Content-Length matches that of the stored response, the cache SHOULD update the stored response".
#[test]
fn a_head_response_describes_the_stored_one_if_nothing_speaks_against_it() {
    let stored = tagged("\"1\"").store(&Policy::safe(), 10);
    let cases: &[(Lines<'_>, bool)] = &[
        (&[], true),
        (&[("x", "1")], true),
        (&[("etag", "\"1\"")], true),
        (&[("etag", "\"2\"")], false),
        (&[("etag", "W/\"1\"")], false),
        (&[("last-modified", "@-1000")], true),
        (&[("last-modified", "@-999")], false),
        (&[("content-length", "10")], true),
        (&[("content-length", "11")], false),
        (&[("content-length", "x")], false),
        (&[("etag", "\"1\""), ("last-modified", "@-1000"), ("content-length", "10")], true),
        (&[("etag", "\"1\""), ("last-modified", "@-1000"), ("content-length", "9")], false),
    ];
    for (head, describes) in cases {
        assert_eq!(stored.described_by(&headers(head)), *describes, "{head:?}");
    }
    let plain = Trip::new(&[("cache-control", "max-age=10")]).store(&Policy::safe(), 10);
    assert!(!plain.described_by(&headers(&[("etag", "\"1\"")])), "the stored response had no tag");
    let part = [("cache-control", "max-age=10"), ("content-range", "bytes 2-5/10")];
    let part = Trip::new(&part).status(206).store(&Policy::safe(), 4);
    assert!(part.described_by(&headers(&[("content-length", "10")])));
    assert!(!part.described_by(&headers(&[("content-length", "4")])));
    let head = Trip::new(&[("cache-control", "max-age=1000"), ("x", "2")]).method("HEAD").received(20);
    let fresh = freshen(&plain, &head.exchange(), false, &Policy::safe()).expect("storable");
    assert_eq!((fresh.freshness().lifetime(), &fresh.headers()["x"]), (secs(1000), &"2".parse().unwrap()));
}

/// A cookie that a validation sets is for the client that caused it; RFC 9111 alone makes no exception of it.
#[test]
fn a_cookie_of_a_304_is_not_kept_for_others_under_the_safe_rules() {
    let stored: Lines<'_> = &[("cache-control", "public, max-age=10"), ("etag", "\"1\""), ("set-cookie", "a=1")];
    let (clean, head): (Lines<'_>, Lines<'_>) = (&stored[..2], &[("set-cookie", "session=secret")]);
    for (name, policy) in policies() {
        for (before, partitioned) in [(stored, false), (clean, false), (stored, true), (clean, true)] {
            let kept = Trip::new(before).store(&policy, 10);
            let mut trip = Trip::new(head).status(304).received(20);
            trip.partitioned = partitioned;
            let fresh = freshen(&kept, &trip.exchange(), false, &policy).expect("still storable");
            let cookie = fresh.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
            let own = kept.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok());
            let taken = partitioned || !policy.guard_cookies;
            assert_eq!(cookie, if taken { Some("session=secret") } else { own }, "{name} {partitioned}");
        }
    }
}

/// Whoever validates a stored response, it stays what it was allowed to be.
#[test]
fn credentials_of_the_client_that_validates_do_not_matter() {
    for (name, policy) in policies() {
        let kept = Trip::new(&[("cache-control", "max-age=10"), ("etag", "\"1\"")]).store(&policy, 10);
        let requests: [Lines<'_>; 2] = [&[("cookie", "a=b")], &[("authorization", "Basic eDp5")]];
        for request in requests {
            let trip = Trip::new(&[]).status(304).request(request).received(20);
            assert!(freshen(&kept, &trip.exchange(), false, &policy).is_ok(), "{name} {request:?}");
        }
    }
}
