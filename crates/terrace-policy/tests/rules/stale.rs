//! Stale answers (RFC 9111 section 4.2.4, RFC 5861), `immutable` (RFC 8246), and what requests ask of
//! freshness (RFC 9111 section 5.2.1).

use crate::support::{Lines, Trip, asking, get, headers, policies, secs};
use http::Method;
use std::time::Duration;
use terrace_policy::{Answer, Forward, Plan, Policy, Presented, RequestDirectives, StoredResponse, plan};

const FULL: Plan = Plan::Serve(Answer::Full);
const MEANWHILE: Plan = Plan::ServeWhileRevalidating(Answer::Full);
const STALE: Plan = Plan::Validate(Forward::Stale);
const REQUEST: Plan = Plan::Validate(Forward::Request);

/// A stored response with this `Cache-Control`, and a validator so that it may always be stored.
#[track_caller]
fn stored(cache_control: &str, policy: &Policy) -> StoredResponse {
    Trip::new(&[("cache-control", cache_control), ("etag", "\"a\"")]).store(policy, 1)
}

#[test]
fn a_stale_response_is_validated_unless_something_allows_it() {
    for (name, policy) in policies() {
        let stored = stored("max-age=10", &policy);
        assert_eq!(get(&stored, &[], 9, &policy), FULL, "{name}");
        assert_eq!(get(&stored, &[], 10, &policy), STALE, "{name}");
        assert_eq!(get(&stored, &[], 1_000_000, &policy), STALE, "{name}");
        assert!(!stored.freshness().may_serve_on_error(secs(11), false), "{name}");
    }
}

/// RFC 5861 section 3.
#[test]
fn while_revalidating_it_is_served_within_the_window_and_not_a_second_longer() {
    for (name, policy) in policies() {
        for value in [
            "max-age=10, stale-while-revalidate=5",
            "stale-while-revalidate=5, max-age=10",
            "max-age=10, Stale-While-Revalidate=\"5\"",
            "max-age=10, stale-while-revalidate=x, stale-while-revalidate=5, stale-while-revalidate=50",
        ] {
            let stored = stored(value, &policy);
            for (resident, expected) in [(9, FULL), (10, MEANWHILE), (15, MEANWHILE), (16, STALE)] {
                assert_eq!(get(&stored, &[], resident, &policy), expected, "{name} {value} {resident}");
            }
        }
        // A window that cannot be read is no window.
        for window in ["stale-while-revalidate", "stale-while-revalidate=-5", "stale-while-revalidate=5.0"] {
            let stored = stored(&format!("max-age=10, {window}"), &policy);
            assert_eq!(get(&stored, &[], 10, &policy), STALE, "{name} {window}");
        }
        let none = stored("max-age=0, stale-while-revalidate=5", &policy);
        assert_eq!(get(&none, &[], 0, &policy), MEANWHILE, "{name}");
        assert!(!none.freshness().always_validates(), "{name}");
    }
}

/// RFC 5861 section 4.
#[test]
fn on_error_it_is_served_within_the_window_and_not_a_second_longer() {
    for (name, policy) in policies() {
        let stored = stored("max-age=10, stale-if-error=5", &policy);
        assert_eq!(get(&stored, &[], 10, &policy), STALE, "{name}: the origin is asked first");
        for (resident, allowed) in [(9, true), (10, true), (15, true), (16, false)] {
            assert_eq!(stored.freshness().may_serve_on_error(secs(resident), false), allowed, "{name} {resident}");
        }
        let repeated = self::stored("max-age=10, stale-if-error=x, stale-if-error=5, stale-if-error=50", &policy);
        assert!(repeated.freshness().may_serve_on_error(secs(15), false), "{name}: the first that can be read");
        assert!(!repeated.freshness().may_serve_on_error(secs(16), false), "{name}: the first that can be read");
        let disconnected = stored.freshness().may_serve_on_error(secs(16), true);
        assert_eq!(disconnected, policy.stale_when_disconnected, "{name}");
    }
}

/// Section 4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit
/// in-protocol directive (e.g., by a no-cache response directive, a must-revalidate response
/// directive, or an applicable s-maxage or proxy-revalidate response directive".
#[test]
fn what_prohibits_stale_answers_wins_over_every_window() {
    let windows = "stale-while-revalidate=100, stale-if-error=100";
    for (name, mut policy) in policies() {
        policy.stale_while_revalidate = secs(100);
        policy.stale_if_error = secs(100);
        for directive in ["must-revalidate", "proxy-revalidate", "no-cache", "Must-Revalidate", "must-revalidate=x"] {
            for value in [format!("max-age=10, {directive}"), format!("{windows}, {directive}, max-age=10")] {
                let stored = stored(&value, &policy);
                assert_eq!(get(&stored, &[], 11, &policy), STALE, "{name} {value}");
                assert_eq!(get(&stored, &[("cache-control", "max-stale")], 11, &policy), STALE, "{name} {value}");
                for disconnected in [false, true] {
                    assert!(!stored.freshness().may_serve_on_error(secs(11), disconnected), "{name} {value}");
                }
            }
        }
        // must-revalidate is about stale responses only; no-cache about all.
        assert_eq!(get(&stored("max-age=10, must-revalidate", &policy), &[], 9, &policy), FULL, "{name}");
        assert_eq!(get(&stored("max-age=10, no-cache", &policy), &[], 0, &policy), STALE, "{name}");
        assert_eq!(get(&stored("max-age=10, no-cache=\"x\"", &policy), &[], 0, &policy), FULL, "{name}");
        assert!(stored("max-age=10, no-cache", &policy).freshness().always_validates(), "{name}");
    }
}

/// Section 5.2.2.10: s-maxage "incorporates the semantics of the proxy-revalidate response
/// directive". The safe rules let an explicit window say otherwise, as the field's CDNs do.
#[test]
fn s_maxage_prohibits_stale_answers_that_the_origin_did_not_name() {
    for (name, mut policy) in policies() {
        policy.stale_while_revalidate = secs(100);
        policy.stale_if_error = secs(100);
        let silent = stored("s-maxage=10", &policy);
        assert_eq!(get(&silent, &[], 11, &policy), STALE, "{name}");
        assert_eq!(get(&silent, &[("cache-control", "max-stale")], 11, &policy), STALE, "{name}");
        assert!(!silent.freshness().may_serve_on_error(secs(11), true), "{name}");
        let named = stored("s-maxage=10, stale-while-revalidate=5, stale-if-error=5", &policy);
        let lenient = !policy.s_maxage_forbids_stale;
        assert_eq!(get(&named, &[], 11, &policy), if lenient { MEANWHILE } else { STALE }, "{name}");
        assert_eq!(named.freshness().may_serve_on_error(secs(11), false), lenient, "{name}");
        assert_eq!(get(&named, &[], 16, &policy), STALE, "{name}");
    }
}

#[test]
fn the_rules_windows_fill_silence_only() {
    for (name, mut policy) in policies() {
        policy.stale_while_revalidate = secs(7);
        policy.stale_if_error = secs(9);
        let silent = stored("max-age=10", &policy);
        assert_eq!(get(&silent, &[], 17, &policy), MEANWHILE, "{name}");
        assert_eq!(get(&silent, &[], 18, &policy), STALE, "{name}");
        assert!(silent.freshness().may_serve_on_error(secs(19), false), "{name}");
        assert!(!silent.freshness().may_serve_on_error(secs(20), false), "{name}");
        let named = stored("max-age=10, stale-while-revalidate=0, stale-if-error=0", &policy);
        assert_eq!(get(&named, &[], 10, &policy), STALE, "{name}");
        assert!(!named.freshness().may_serve_on_error(secs(10), false), "{name}");
    }
}

#[test]
fn a_softly_invalidated_response_is_stale_however_young() {
    for (name, policy) in policies() {
        let (plain, window) = (stored("max-age=10", &policy), stored("max-age=10, stale-while-revalidate=5", &policy));
        let request = headers(&[]);
        let expired = Presented { expired: true, ..asking(&Method::GET, &request, 1) };
        assert_eq!(plan(&plain, &expired, &policy), STALE, "{name}");
        assert_eq!(plan(&window, &expired, &policy), MEANWHILE, "{name}");
        let tolerant = headers(&[("cache-control", "max-stale=100")]);
        let expired = Presented { expired: true, ..asking(&Method::GET, &tolerant, 1) };
        assert_eq!(plan(&plain, &expired, &policy), STALE, "{name}: an invalidation is no mere age");
    }
}

/// Section 4: "a cache can use a response that is stored … to satisfy … requests that arrive while
/// it waits", as good to them as one of their own.
#[test]
fn a_request_that_waited_for_the_fetch_takes_what_it_brought() {
    for (name, policy) in policies() {
        for request in [&[][..], &[("cache-control", "no-cache")], &[("cache-control", "max-age=0")]] {
            let request = headers(request);
            let waited = Presented { collapsed: true, ..asking(&Method::GET, &request, 0) };
            assert_eq!(plan(&stored("max-age=0", &policy), &waited, &policy), FULL, "{name} {request:?}");
            assert_eq!(plan(&stored("max-age=60", &policy), &waited, &policy), FULL, "{name} {request:?}");
            // But what needs a validation for each use needs it for each.
            assert_eq!(plan(&stored("no-cache", &policy), &waited, &policy), STALE, "{name} {request:?}");
        }
    }
}

/// Sections 5.2.1.1 to 5.2.1.4: what a request with this `Cache-Control` meets, under RFC 9111, on a
/// response of 100 seconds.
#[test]
fn directives_of_the_request_are_honoured_under_the_rfc() {
    let policy = Policy::rfc9111();
    let stored = stored("max-age=100", &policy);
    let cases: &[(&str, u64, Plan)] = &[
        ("no-cache", 0, REQUEST),
        ("No-Cache", 0, REQUEST),
        ("x, no-cache=y", 0, REQUEST),
        ("max-age=0", 0, REQUEST),
        ("max-age=5", 5, FULL),
        ("max-age=5", 6, REQUEST),
        ("max-age=5, max-age=50", 6, REQUEST),
        ("max-age=x", 1, REQUEST),
        ("max-age", 1, REQUEST),
        ("MAX-AGE=\"5\"", 6, REQUEST),
        ("max-age=1000", 99, FULL),
        ("max-age=1000", 100, STALE),
        ("min-fresh=50", 50, FULL),
        ("min-fresh=50", 51, REQUEST),
        ("min-fresh=200", 0, REQUEST),
        ("min-fresh=x", 50, FULL),
        ("min-fresh=0", 99, FULL),
        ("max-stale=10", 110, FULL),
        ("max-stale=10", 111, STALE),
        ("max-stale", 1_000_000, FULL),
        ("max-stale=x", 110, STALE),
        ("max-stale=5, max-age=1000", 105, FULL),
        ("max-stale=5, max-age=104", 105, STALE),
        ("max-stale=5, min-fresh=1", 105, STALE),
        ("no-cache, max-stale", 100, STALE),
        ("only-if-cached", 50, FULL),
        ("no-transform, unknown=1", 50, FULL),
        ("no-store", 50, FULL),
    ];
    for (value, resident, expected) in cases {
        assert_eq!(get(&stored, &[("cache-control", value)], *resident, &policy), *expected, "{value} {resident}");
    }
    let lines = [("cache-control", "x"), ("cache-control", "no-cache")];
    assert_eq!(get(&stored, &lines, 0, &policy), REQUEST);
    // Section 5.4 leaves Pragma to history where there is Cache-Control; nothing here reads it.
    assert_eq!(get(&stored, &[("pragma", "no-cache")], 0, &policy), FULL);
}

#[test]
fn under_the_safe_rules_nobody_can_force_a_trip_to_the_origin_or_a_stale_answer() {
    let policy = Policy::safe();
    let stored = stored("max-age=100", &policy);
    for value in ["no-cache", "max-age=0", "max-age=5", "min-fresh=200", "no-store", "only-if-cached"] {
        assert_eq!(get(&stored, &[("cache-control", value)], 50, &policy), FULL, "{value}");
    }
    assert_eq!(get(&stored, &[("cache-control", "max-stale")], 100, &policy), STALE);
}

/// RFC 8246 section 2: "proxies SHOULD skip conditionally revalidating fresh responses containing the
/// immutable extension unless there is a signal from the client that a validation is necessary
/// (e.g., a no-cache Cache-Control request directive".
#[test]
fn immutable_spares_the_fresh_response_a_reload() {
    let policy = Policy::rfc9111();
    for value in ["max-age=100, immutable", "Immutable, max-age=100", "max-age=100, immutable=x"] {
        let stored = stored(value, &policy);
        for (request, resident, expected) in [
            ("max-age=0", 50, FULL),
            ("max-age=5", 50, FULL),
            ("no-cache", 50, REQUEST),
            ("min-fresh=80", 50, REQUEST),
            ("max-age=0", 100, STALE),
        ] {
            assert_eq!(get(&stored, &[("cache-control", request)], resident, &policy), expected, "{value} {request}");
        }
    }
    let cdn = Trip::new(&[("cdn-cache-control", "max-age=100, immutable")]).store(&policy, 1);
    assert_eq!(get(&cdn, &[("cache-control", "max-age=0")], 50, &policy), FULL);
}

#[test]
fn request_directives_are_read_from_every_line() {
    let of = |lines: Lines<'_>| RequestDirectives::from_cache_control(&headers(lines));
    let read =
        of(&[("cache-control", "max-age=1, Min-Fresh=\"2\""), ("cache-control", "max-stale=3,no-cache, NO-STORE")]);
    assert_eq!((read.max_age, read.min_fresh, read.max_stale), (Some(secs(1)), Some(secs(2)), Some(secs(3))));
    assert!(read.no_cache && read.no_store && !read.only_if_cached);
    let read = of(&[("cache-control", "only-if-cached, stale-if-error=4, max-stale")]);
    assert_eq!((read.max_stale, read.stale_if_error), (Some(Duration::MAX), Some(secs(4))));
    assert!(read.only_if_cached);
    assert_eq!(of(&[]), RequestDirectives::default());
}

/// Credentials in a request ask for a response of their own, unless the origin gave the stored one a lifetime.
#[test]
fn a_guess_never_answers_a_request_with_credentials_under_the_safe_rules() {
    for (name, mut policy) in policies() {
        policy.default_ttl = Some(secs(60));
        let guessed = Trip::new(&[("etag", "\"a\"")]).store(&policy, 1);
        policy.default_ttl = None;
        let heuristic = Trip::new(&[("last-modified", "@-10000")]).store(&policy, 1);
        let stated = stored("max-age=60", &policy);
        let requests: [Lines<'_>; 2] = [&[("cookie", "a=b")], &[("authorization", "Basic eDp5")]];
        for request in requests {
            let guess = if policy.guard_cookies { Plan::Forward(Forward::Request) } else { FULL };
            assert_eq!(get(&guessed, request, 0, &policy), guess, "{name} {request:?}");
            assert_eq!(get(&heuristic, request, 0, &policy), guess, "{name} {request:?}");
            assert_eq!(get(&stated, request, 0, &policy), FULL, "{name} {request:?}");
            // In a partition the credentials are those of the one it belongs to.
            let request = headers(request);
            let own = Presented { partitioned: true, ..asking(&Method::GET, &request, 0) };
            assert_eq!(plan(&guessed, &own, &policy), FULL, "{name} {request:?}");
        }
        assert_eq!(get(&guessed, &[], 0, &policy), FULL, "{name}");
    }
}

#[test]
fn max_stale_needs_no_permission_to_serve_stale_when_disconnected() {
    for (name, mut policy) in policies() {
        policy.honor_reload = true;
        for disconnected in [false, true] {
            policy.stale_when_disconnected = disconnected;
            let tolerant = [("cache-control", "max-stale=10")];
            assert_eq!(get(&stored("max-age=100", &policy), &tolerant, 110, &policy), FULL, "{name} {disconnected}");
            assert_eq!(get(&stored("s-maxage=100", &policy), &tolerant, 110, &policy), STALE, "{name} {disconnected}");
            let strict = stored("max-age=100, must-revalidate", &policy);
            assert_eq!(get(&strict, &tolerant, 110, &policy), STALE, "{name} {disconnected}");
        }
    }
}
