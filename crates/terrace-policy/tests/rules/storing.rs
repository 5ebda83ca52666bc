//! Storing responses (RFC 9111 section 3).

use crate::support::{Lines, Trip, headers, now, policies, secs};
use http::{HeaderName, StatusCode, Uri};
use terrace_policy::{LifetimeSource, Policy, ResponseDirectives, Unstorable, format_date};

const FRESH: Lines<'_> = &[("cache-control", "max-age=60")];

/// Asserts what both rule sets say to `trip`.
#[track_caller]
fn both(trip: &Trip, expected: Result<(), Unstorable>) {
    for (name, policy) in policies() {
        assert_eq!(trip.verdict(&policy), expected, "{name}: {trip:?}");
    }
}

#[test]
fn a_post_response_is_stored_for_get_only_if_the_policy_says_so() {
    let located = Trip::new(&[("cache-control", "max-age=60"), ("content-location", "/a/b")]).method("POST");
    assert_eq!(located.verdict(&Policy::rfc9111()), Ok(()));
    assert_eq!(located.verdict(&Policy::safe()), Err(Unstorable::Method));
    for (name, mut policy) in policies() {
        policy.store_post = !policy.store_post;
        assert_eq!(located.verdict(&policy).is_ok(), policy.store_post, "{name}");
    }
}

#[test]
fn a_quote_hides_no_store_only_if_it_encloses_an_argument() {
    for (value, hidden) in [
        ("max-age=60, x=\"no-store\"", true),
        ("max-age=60, x=\"a, no-store\"", true),
        ("max-age=60, x=\"a, \\\", no-store\"", true),
        ("max-age=60, x=\"a\\\", no-store, b\"", true),
        ("max-age=60, x=\"a\", no-store", false),
        ("max-age=60, x=\"a, no-store", false),
        ("max-age=60, x=\", no-store", false),
        ("max-age=60, x\"y, no-store, z\"", false),
        ("max-age=60, \", no-store, \"", false),
        ("max-age=60\", no-store, x\"", false),
    ] {
        for (name, policy) in policies() {
            let verdict = Trip::new(&[("cache-control", value)]).verdict(&policy);
            assert_eq!(verdict, if hidden { Ok(()) } else { Err(Unstorable::NoStore) }, "{name} {value}");
        }
    }
}

#[test]
fn only_get_gives_something_to_store() {
    for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY", "PROPFIND", "get"]
    {
        both(&Trip::new(FRESH).method(method), Err(Unstorable::Method));
    }
    both(&Trip::new(FRESH), Ok(()));
}

/// RFC 9110 section 9.3.3: POST responses "are only cacheable when they include explicit freshness
/// information and a Content-Location header field that has the same value as the POST's target URI".
#[test]
fn a_post_response_needs_a_lifetime_and_its_own_location() {
    let expires: Lines<'_> = &[("expires", "@60"), ("content-location", "/a/b")];
    let cases: &[(Lines<'_>, bool)] = &[
        (&[("cache-control", "max-age=60"), ("content-location", "/a/b")], true),
        (&[("cache-control", "max-age=60"), ("content-location", "http://origin.example/a/b")], true),
        (&[("cache-control", "max-age=60"), ("content-location", "b")], true),
        (&[("cache-control", "max-age=60"), ("content-location", "")], true),
        (expires, true),
        (&[("cache-control", "max-age=60"), ("content-location", "/a/c")], false),
        (&[("cache-control", "max-age=60"), ("content-location", "/a/b?q")], false),
        (&[("cache-control", "max-age=60"), ("content-location", "http://other.example/a/b")], false),
        (&[("cache-control", "max-age=60")], false),
        (&[("last-modified", "@-1000"), ("content-location", "/a/b")], false),
        (&[("etag", "\"a\""), ("content-location", "/a/b")], false),
    ];
    for (response, storable) in cases {
        let trip = Trip::new(response).method("POST");
        assert_eq!(trip.verdict(&Policy::rfc9111()).is_ok(), *storable, "{response:?}");
        assert_eq!(trip.clone().status(404).verdict(&Policy::rfc9111()), Err(Unstorable::Method), "{response:?}");
    }
}

#[test]
fn a_post_whose_body_is_in_the_key_is_stored_like_a_get() {
    let mut trip = Trip::new(FRESH).method("POST");
    trip.keyed_by_body = true;
    both(&trip, Ok(()));
    both(&Trip { response: headers(&[("cache-control", "no-store")]), ..trip.clone() }, Err(Unstorable::NoStore));
    both(&trip.clone().method("PUT"), Err(Unstorable::Method));
    both(&trip.method("GET"), Ok(()));
}

#[test]
fn any_final_status_is_stored_that_names_a_lifetime() {
    for code in [200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 418, 451, 499] {
        both(&Trip::new(FRESH).status(code), Ok(()));
        both(&Trip::new(&[("expires", "@60")]).status(code), Ok(()));
    }
    for code in [500, 501, 502, 503, 504, 599, 600, 999] {
        both(&Trip::new(FRESH).status(code), Ok(()));
    }
    // Not final, or about one request's preconditions, ranges and expectations.
    for code in [100, 101, 102, 103, 199, 304, 412, 416, 417] {
        both(&Trip::new(FRESH).status(code), Err(Unstorable::Status));
    }
}

/// RFC 9111 section 5.2.2.3.
#[test]
fn must_understand_stores_known_statuses_only_and_overrules_no_store_for_them() {
    let both_directives: Lines<'_> = &[("cache-control", "max-age=60, must-understand, no-store")];
    for code in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        both(&Trip::new(both_directives).status(code), Ok(()));
    }
    for code in [299, 418, 499, 599, 999] {
        both(&Trip::new(both_directives).status(code), Err(Unstorable::Status));
        both(&Trip::new(&[("cache-control", "max-age=60, must-understand")]).status(code), Err(Unstorable::Status));
    }
    let private = Trip::new(&[("cache-control", "max-age=60, must-understand, no-store, private")]);
    both(&private, Err(Unstorable::Private));
}

#[test]
fn no_store_wins_however_it_is_written() {
    for value in [
        "no-store",
        "No-StOrE",
        "max-age=60, no-store",
        "no-store, max-age=60",
        "no-store=x",
        "no-store=\"x\"",
        "public,no-store,s-maxage=60",
        " ,, no-store ,",
        "max-age=60,\tno-store",
        "no-store =1",
        "private=\"x\", no-store",
    ] {
        both(&Trip::new(&[("cache-control", value)]), Err(Unstorable::NoStore));
        both(&Trip::new(&[("cache-control", "max-age=60"), ("cache-control", value)]), Err(Unstorable::NoStore));
        both(&Trip::new(&[("cache-control", value), ("cache-control", "max-age=60")]), Err(Unstorable::NoStore));
    }
    for value in ["max-age=60, no-storex", "max-age=60, xno-store", "max-age=60, x=no-store", "max-age=60, no_store"] {
        both(&Trip::new(&[("cache-control", value)]), Ok(()));
    }
}

/// Section 5.2.1.5: "a cache MUST NOT store any part of either this request or any response to it".
#[test]
fn no_store_in_the_request_wins_too() {
    for value in ["no-store", "NO-STORE", "max-age=0, no-store", "no-store=1"] {
        both(&Trip::new(FRESH).request(&[("cache-control", value)]), Err(Unstorable::NoStore));
    }
    both(&Trip::new(FRESH).request(&[("cache-control", "no-cache")]), Ok(()));
    let understood = Trip::new(&[("cache-control", "max-age=60, must-understand")]);
    both(&understood.request(&[("cache-control", "no-store")]), Err(Unstorable::NoStore));
}

#[test]
fn private_is_not_stored_however_it_is_written() {
    for value in [
        "private",
        "PRIVATE, Max-Age=60",
        "public, s-maxage=60, private",
        "max-age=60, private=",
        "max-age=60, private=\"\"",
        "max-age=60, private=\" , \"",
        "max-age=60, private=\"a b\"",
        "max-age=60, private=\"x",
        "max-age=60, private =x",
        "max-age=60, private= x y",
        "max-age=60, private=\"x\", private",
        "max-age=60, private, private=\"x\"",
    ] {
        both(&Trip::new(&[("cache-control", value)]), Err(Unstorable::Private));
        both(&Trip::new(&[("cache-control", "s-maxage=9"), ("cache-control", value)]), Err(Unstorable::Private));
    }
}

/// Sections 5.2.2.4 and 5.2.2.7: with field names only these fields must not be stored, or not be
/// sent without validation.
#[test]
fn fields_that_private_and_no_cache_name_are_left_out() {
    for directive in ["private", "no-cache", "Private", "NO-CACHE"] {
        for (fields, kept, left) in [
            ("\"x\"", &["y", "z"][..], &["x"][..]),
            ("\"x, Y\"", &["z"], &["x", "y"]),
            ("\"x\", \"y\"", &["y", "z"], &["x"]),
            ("x", &["y", "z"], &["x"]),
            ("\",x,,y,\"", &["z"], &["x", "y"]),
            ("\"unknown\"", &["x", "y", "z"], &[]),
        ] {
            let value = format!("max-age=60, {directive}={fields}");
            let trip = Trip::new(&[("cache-control", &value), ("x", "1"), ("x", "2"), ("y", "1"), ("z", "1")]);
            for (name, policy) in policies() {
                let stored = trip.store(&policy, 1);
                assert!(kept.iter().all(|field| stored.headers().contains_key(*field)), "{name} {value}");
                assert!(!left.iter().any(|field| stored.headers().contains_key(*field)), "{name} {value}");
            }
        }
    }
    let two = Trip::new(&[("cache-control", "max-age=60, private=\"x\", private=\"y\""), ("x", "1"), ("y", "1")]);
    let stored = two.store(&Policy::safe(), 1);
    assert!(!stored.headers().contains_key("x") && !stored.headers().contains_key("y"));
}

/// Section 3.5. `must-revalidate` allows it by the letter; the safe rules want the response to be
/// meant for everybody.
#[test]
fn a_response_to_a_request_with_authorization_needs_a_word_that_allows_it() {
    let authorized: Lines<'_> = &[("authorization", "Basic eDp5")];
    let cases: &[(Lines<'_>, bool, bool)] = &[
        (&[("cache-control", "max-age=60")], false, false),
        (&[("expires", "@60")], false, false),
        (&[("last-modified", "@-1000")], false, false),
        (&[("etag", "\"a\"")], false, false),
        (&[("cache-control", "max-age=60, public")], true, true),
        (&[("cache-control", "s-maxage=60")], true, true),
        (&[("cache-control", "max-age=60, must-revalidate")], false, true),
        (&[("cache-control", "max-age=60, proxy-revalidate")], false, false),
        (&[("cdn-cache-control", "max-age=60")], true, true),
        (&[("cdn-cache-control", "max-age=60, private")], false, false),
        (&[("cdn-cache-control", "immutable"), ("expires", "@60")], false, false),
        (&[("cdn-cache-control", "broken=\""), ("cache-control", "max-age=60")], false, false),
    ];
    for (response, safe, rfc) in cases {
        let trip = Trip::new(response).request(authorized);
        assert_eq!(trip.verdict(&Policy::safe()).is_ok(), *safe, "safe {response:?}");
        assert_eq!(trip.verdict(&Policy::rfc9111()).is_ok(), *rfc, "rfc9111 {response:?}");
    }
}

#[test]
fn cookies_are_personal_under_the_safe_rules_only() {
    let cases: &[(Lines<'_>, Lines<'_>, Result<(), Unstorable>)] = &[
        (&[("cookie", "a=b")], &[("cache-control", "max-age=60")], Err(Unstorable::Personal)),
        (&[("cookie", "a=b")], &[("cache-control", "max-age=60, public")], Ok(())),
        (&[("cookie", "a=b")], &[("cache-control", "s-maxage=60")], Ok(())),
        (&[("cookie", "a=b")], &[("cache-control", "max-age=60, must-revalidate")], Err(Unstorable::Personal)),
        (&[("cookie", "a=b")], &[("cdn-cache-control", "max-age=60")], Ok(())),
        (&[("cookie", "a=b")], &[("last-modified", "@-1000")], Err(Unstorable::Personal)),
        (&[("cookie", "a=b")], &[("cache-control", "public"), ("last-modified", "@-1000")], Ok(())),
        (&[], &[("set-cookie", "a=b"), ("cache-control", "max-age=60")], Err(Unstorable::Personal)),
        (&[], &[("set-cookie", "a=b"), ("cache-control", "max-age=60, public")], Ok(())),
        (&[], &[("set-cookie", "a=b"), ("cache-control", "s-maxage=60")], Ok(())),
        (&[], &[("set-cookie", "a=b"), ("cdn-cache-control", "max-age=60")], Ok(())),
        // Never by a lifetime that nobody named.
        (
            &[],
            &[("set-cookie", "a=b"), ("cache-control", "public"), ("last-modified", "@-1000")],
            Err(Unstorable::Personal),
        ),
        (&[("cookie", "a=b")], &[("set-cookie", "a=b"), ("cache-control", "s-maxage=60")], Ok(())),
    ];
    for (request, response, safe) in cases {
        let trip = Trip::new(response).request(request);
        assert_eq!(trip.verdict(&Policy::safe()), *safe, "{request:?} {response:?}");
        assert_eq!(trip.verdict(&Policy::rfc9111()), Ok(()), "{request:?} {response:?}");
    }
    let mut policy = Policy::safe();
    policy.default_ttl = Some(secs(60));
    assert_eq!(Trip::new(&[("set-cookie", "a=b")]).verdict(&policy), Err(Unstorable::Personal));
    assert_eq!(Trip::new(&[]).request(&[("cookie", "a=b")]).verdict(&policy), Err(Unstorable::Personal));
}

#[test]
fn in_a_principals_partition_credentials_do_not_matter_but_private_and_no_store_do() {
    let requests: [Lines<'_>; 2] = [&[("authorization", "Bearer x")], &[("cookie", "a=b")]];
    for request in requests {
        let response = [("cache-control", "max-age=60"), ("set-cookie", "a=b")];
        let mut trip = Trip::new(&response).request(request);
        trip.partitioned = true;
        both(&trip, Ok(()));
        trip.response = headers(&[("cache-control", "private, max-age=60")]);
        both(&trip, Err(Unstorable::Private));
        trip.response = headers(&[("cache-control", "no-store")]);
        both(&trip, Err(Unstorable::NoStore));
    }
}

#[test]
fn what_an_extension_says_counts_instead_of_every_field() {
    let mut said = ResponseDirectives::default();
    said.max_age = Some(secs(60));
    let response = [("cache-control", "no-store, private"), ("cdn-cache-control", "no-store"), ("expires", "0")];
    let mut trip = Trip::new(&response);
    trip.extension = Some(said.clone());
    for (name, policy) in policies() {
        let stored = trip.store(&policy, 1);
        assert_eq!(stored.freshness().lifetime(), secs(60), "{name}");
        assert_eq!(stored.freshness().source(), LifetimeSource::Extension, "{name}");
    }
    said.no_store = true;
    trip.extension = Some(said);
    both(&trip, Err(Unstorable::NoStore));
}

#[test]
fn a_vary_that_matches_nothing_is_not_stored() {
    for value in ["*", "foo, *", "*, *", " * ", "a b", "foo, (", "f\"o"] {
        both(&Trip::new(&[("cache-control", "max-age=60"), ("vary", value)]), Err(Unstorable::Vary));
    }
    let trip = Trip::new(&[("cache-control", "max-age=60"), ("vary", "Foo, accept"), ("vary", "foo,")]);
    let storable = trip.judge(&Policy::safe()).expect("storable");
    assert_eq!(storable.vary(), [HeaderName::from_static("accept"), HeaderName::from_static("foo")]);
}

#[test]
fn what_can_never_be_used_is_not_stored() {
    let cases: &[(Lines<'_>, bool)] = &[
        (&[], false),
        (&[("cache-control", "max-age=0")], false),
        (&[("cache-control", "no-cache")], false),
        (&[("cache-control", "max-age=60, no-cache")], false),
        (&[("expires", "0")], false),
        (&[("cache-control", "max-age=0"), ("etag", "\"a\"")], true),
        (&[("cache-control", "no-cache"), ("etag", "W/\"a\"")], true),
        (&[("cache-control", "no-cache"), ("last-modified", "@-60")], true),
        (&[("cache-control", "max-age=0, stale-while-revalidate=5")], true),
        (&[("cache-control", "max-age=0, stale-if-error=5")], true),
        (&[("etag", "\"a\"")], true),
        (&[("last-modified", "@-1000")], true),
        (&[("cache-control", "max-age=60"), ("age", "59")], true),
    ];
    for (response, storable) in cases {
        both(&Trip::new(response), if *storable { Ok(()) } else { Err(Unstorable::NothingToReuse) });
    }
    // Statuses that no heuristic covers are stored for a reason given in the response.
    both(&Trip::new(&[("etag", "\"a\""), ("last-modified", "@-1000")]).status(403), Err(Unstorable::NothingToReuse));
    both(&Trip::new(&[("cache-control", "public"), ("last-modified", "@-1000")]).status(403), Ok(()));
}

#[test]
fn a_part_is_stored_with_a_content_range_that_is_possible() {
    for range in ["bytes 0-4/10", "bytes 4-9/10", "bytes 4-9/*", "bytes 5-9/99999999999999999999", "bytes  0-4/10"] {
        let trip = Trip::new(&[("cache-control", "max-age=60"), ("content-range", range)]).status(206);
        both(&trip, Ok(()));
        assert!(trip.judge(&Policy::safe()).is_ok_and(|storable| storable.is_partial()), "{range}");
    }
    for range in [
        "",
        "bytes",
        "bytes */10",
        "bytes 0-4",
        "bytes 0-4/",
        "bytes 0-10/10",
        "bytes 4-0/10",
        "bytes -4/10",
        "bytes 4-/10",
        "bytes a-b/10",
        "bytes 0-4/x",
        "lines 0-4/10",
        "0-4/10",
        "bytes=0-4/10",
        "bytes 0-4/10, bytes 5-9/10",
        "bytes 0-18446744073709551615/*",
    ] {
        let trip = Trip::new(&[("cache-control", "max-age=60"), ("content-range", range)]).status(206);
        both(&trip, Err(Unstorable::Partial));
    }
    both(&Trip::new(FRESH).status(206), Err(Unstorable::Partial));
    let twice = [("cache-control", "max-age=60"), ("content-range", "bytes 0-4/10"), ("content-range", "bytes 0-4/10")];
    both(&Trip::new(&twice).status(206), Err(Unstorable::Partial));
    // Only a 206 is a part.
    let whole = Trip::new(&[("cache-control", "max-age=60"), ("content-range", "bytes 0-4/10")]);
    assert!(whole.judge(&Policy::safe()).is_ok_and(|storable| !storable.is_partial()));
}

#[test]
fn a_part_is_as_long_as_it_says_unless_the_policy_is_lenient() {
    let trip = |range| Trip::new(&[("cache-control", "max-age=60"), ("content-range", range)]).status(206);
    for (name, policy) in policies() {
        for (len, possible) in [(0, false), (4, policy.lenient_partial), (5, true), (6, policy.lenient_partial)] {
            let received = trip("bytes 0-4/10").judge(&policy).and_then(|storable| storable.received(len));
            assert_eq!(received.as_ref().err(), (!possible).then_some(&Unstorable::Partial), "{name} {len}");
            if let Ok(stored) = received {
                assert_eq!((stored.complete_len(), stored.representation_len()), (None, Some(10)), "{name} {len}");
                assert_eq!(stored.status(), StatusCode::PARTIAL_CONTENT);
            }
        }
        // All of it is no part: it can answer every request.
        let whole = trip("bytes 0-9/10").judge(&policy).and_then(|storable| storable.received(10)).expect("stored");
        assert_eq!((whole.status(), whole.complete_len()), (StatusCode::OK, Some(10)));
        assert!(!whole.headers().contains_key("content-range"));
        assert_eq!(whole.headers()["content-length"], "10");
        let unknown = trip("bytes 0-9/*").judge(&policy).and_then(|storable| storable.received(10)).expect("stored");
        assert_eq!((unknown.complete_len(), unknown.representation_len()), (None, None));
    }
}

/// Section 3.1.
#[test]
fn fields_of_the_connection_and_of_proxies_are_not_stored() {
    let response = [
        ("cache-control", "max-age=60"),
        ("connection", "close, X-Hop,  x-other "),
        ("connection", "x-third"),
        ("x-hop", "1"),
        ("x-other", "1"),
        ("x-other", "2"),
        ("x-third", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authentication-info", "x"),
        ("proxy-authorization", "Basic eDp5"),
        ("te", "trailers"),
        ("trailer", "x-checksum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("age", "5"),
        ("x-end-to-end", "1"),
        ("x-end-to-end", "2"),
        ("content-type", "text/plain"),
    ];
    for (name, policy) in policies() {
        let stored = Trip::new(&response).store(&policy, 1);
        let mut kept: Vec<_> = stored.headers().keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        // Trailer is for the recipient (RFC 9110 section 6.6.2), who has no trailers from a server without it.
        assert_eq!(kept, ["cache-control", "content-type", "date", "trailer", "x-end-to-end"], "{name}");
        let both: Vec<_> = stored.headers().get_all("x-end-to-end").iter().collect();
        assert_eq!(both, ["1", "2"], "{name}");
    }
}

/// RFC 9110 section 6.6.1: "a recipient with a clock that receives a response message without a Date
/// header field MUST record the time it was received and append a corresponding Date header field".
#[test]
fn a_response_without_a_usable_date_gets_the_one_of_its_arrival() {
    let received = format_date(now());
    let cases: &[(Lines<'_>, &http::HeaderValue)] = &[
        (&[("cache-control", "max-age=60")], &received),
        (&[("cache-control", "max-age=60"), ("date", "yesterday")], &received),
        (&[("cache-control", "max-age=60"), ("date", "")], &received),
    ];
    for (response, date) in cases {
        assert_eq!(Trip::new(response).store(&Policy::safe(), 1).headers()["date"], *date, "{response:?}");
    }
    let own = Trip::new(&[("cache-control", "max-age=60"), ("date", "@-30")]).store(&Policy::safe(), 1);
    assert_eq!(own.headers()["date"], format_date(crate::support::at(-30)));
}

#[test]
fn values_that_are_no_text_are_stored_as_they_are() {
    let mut trip = Trip::new(FRESH);
    let value = http::HeaderValue::from_bytes(b"caf\xe9 \xff").expect("obs-text is possible");
    trip.response.insert("x-name", value.clone());
    assert_eq!(trip.store(&Policy::safe(), 1).headers()["x-name"], value);
}

#[test]
fn targets_in_origin_form_are_judged_like_absolute_ones() {
    let mut trip = Trip::new(&[("cache-control", "max-age=60"), ("content-location", "/a/b")]).method("POST");
    trip.target = Uri::from_static("/a/b");
    assert_eq!(trip.verdict(&Policy::rfc9111()), Ok(()));
    trip.target = Uri::from_static("/a/c");
    assert_eq!(trip.verdict(&Policy::rfc9111()), Err(Unstorable::Method));
}

#[test]
fn each_reason_has_a_name_of_its_own() {
    use Unstorable::{Method, NoStore, NothingToReuse, Partial, Personal, Private, Status, Vary};
    let reasons = [Method, Status, NoStore, Private, Personal, Vary, NothingToReuse, Partial];
    let mut names: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), reasons.len());
}

/// A response that says it is `public` may be stored for its validator, whatever its status.
#[test]
fn public_is_a_reason_to_store_what_can_be_validated() {
    let public: Lines<'_> = &[("cache-control", "public"), ("etag", "\"a\"")];
    for code in [201, 202, 302, 403, 499, 599] {
        both(&Trip::new(public).status(code), Ok(()));
        both(&Trip::new(&public[1..]).status(code), Err(Unstorable::NothingToReuse));
        both(&Trip::new(&public[..1]).status(code), Err(Unstorable::NothingToReuse));
    }
}
