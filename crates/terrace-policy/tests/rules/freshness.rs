//! Freshness lifetime and age (RFC 9111 section 4.2), with the targeted fields of RFC 9213.

use crate::support::{Lines, Trip, at, get, headers, policies, secs};
use http::{HeaderName, StatusCode};
use std::time::Duration;
use terrace_policy::{
    Answer, Forward, Freshness, LifetimeSource, Plan, Policy, Qualified, ResponseDirectives, Unstorable,
};

/// The freshness of a response that may always be stored.
#[track_caller]
fn freshness(response: Lines<'_>, policy: &Policy) -> Freshness {
    let mut lines = response.to_vec();
    lines.push(("etag", "\"a\""));
    Trip::new(&lines).store(policy, 1).freshness().clone()
}

/// Asserts how many seconds each rule set gives a response, whoever gave them.
#[track_caller]
fn lives(response: Lines<'_>, seconds: u64) {
    for (name, policy) in policies() {
        assert_eq!(freshness(response, &policy).lifetime(), secs(seconds), "{name}: {response:?}");
    }
}

#[test]
fn jitter_takes_a_share_of_any_lifetime_and_never_panics() {
    for ttl in [Duration::ZERO, secs(1), secs(100), secs(u64::MAX), Duration::MAX] {
        let mut policy = Policy::safe();
        policy.default_ttl = Some(ttl);
        for share in [0.0, 0.1, 0.5, 1.0, 2.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            let mut stored = Trip::new(&[("etag", "\"a\"")]).store(&policy, 1);
            let whole = stored.freshness().lifetime();
            stored.shorten(share);
            let left = stored.freshness().lifetime();
            assert!(left <= whole, "{ttl:?} less {share} is {left:?}");
            if share >= 1.0 {
                assert_eq!(left, Duration::ZERO, "{ttl:?} less {share}");
            }
            if share.is_nan() || share <= 0.0 {
                assert_eq!(left, whole, "{ttl:?} less {share}");
            }
        }
    }
    let mut stored = Trip::new(&[("cache-control", "max-age=100")]).store(&Policy::safe(), 1);
    stored.shorten(0.25);
    assert_eq!(stored.freshness().lifetime(), secs(75));
}

const TARGETED: HeaderName = HeaderName::from_static("cdn-cache-control");

fn targeted(value: &str) -> Option<ResponseDirectives> {
    ResponseDirectives::from_targeted(&headers(&[("cdn-cache-control", value)]), &TARGETED)
}

/// RFC 9213 section 2.1: recipients "SHOULD NOT consume values that violate these inferred
/// constraints on the directive's value (e.g., coerce a max-age with a decimal value into an integer)".
#[test]
fn targeted_lifetimes_are_integers_and_nothing_that_looks_like_one() {
    for value in
        ["max-age=\"60\"", "max-age=60.0", "max-age=a60", "max-age=:NjA=:", "max-age=(60)", "max-age", "max-age=-60"]
    {
        let directives = targeted(value).unwrap_or_else(|| panic!("{value} is a dictionary"));
        assert_eq!(directives.max_age, Some(Duration::ZERO), "{value}");
    }
    assert_eq!(targeted("max-age=60").and_then(|directives| directives.max_age), Some(secs(60)));
    let names = |value| targeted(value).map(|directives| directives.private);
    let x = HeaderName::from_static("x");
    assert_eq!(names("private=\"x\""), Some(Qualified::Fields(vec![x.clone()])));
    assert_eq!(names("private=\"x, set-cookie\""), Some(Qualified::Fields(vec![x, http::header::SET_COOKIE])));
    for value in ["private", "private=\"\"", "private=\" , \"", "private=\"a b\"", "private=x", "private=(x)"] {
        assert_eq!(names(value), Some(Qualified::Whole), "{value}");
    }
}

/// Section 4.2.1, "using the first match", with RFC 9213 section 2.2 before it.
#[test]
fn the_first_source_that_names_a_lifetime_counts() {
    use LifetimeSource::{Expires, Heuristic, MaxAge, Nobody, SMaxage, Targeted};
    let all = [
        ("cdn-cache-control", "max-age=1"),
        ("cache-control", "s-maxage=2"),
        ("cache-control", "max-age=3"),
        ("expires", "@4"),
        ("last-modified", "@-50"),
    ];
    for (skipped, lifetime, source) in
        [(0, 1, Targeted), (1, 2, SMaxage), (2, 3, MaxAge), (3, 4, Expires), (4, 5, Heuristic), (5, 0, Nobody)]
    {
        for (name, policy) in policies() {
            let freshness = freshness(&all[skipped..], &policy);
            assert_eq!((freshness.lifetime(), freshness.source()), (secs(lifetime), source), "{name} {skipped}");
            let explicit = !matches!(source, Heuristic | Nobody);
            assert_eq!(freshness.source().is_explicit(), explicit, "{name} {skipped}");
        }
    }
    // The first one counts even if it says that the response is stale, or nonsense.
    lives(&[("cdn-cache-control", "max-age=0"), ("cache-control", "max-age=3"), ("expires", "@4")], 0);
    lives(&[("cache-control", "s-maxage=0, max-age=3"), ("expires", "@4")], 0);
    lives(&[("cache-control", "s-maxage=x, max-age=3"), ("expires", "@4")], 0);
    lives(&[("cache-control", "max-age=0"), ("expires", "@4")], 0);
    lives(&[("expires", "0"), ("last-modified", "@-50")], 0);
}

/// "Caches are encouraged to consider responses that have invalid freshness information … to be
/// stale" (section 4.2.1): nothing but digits is a number of seconds.
const ARGUMENTS: &[(&str, u64)] = &[
    ("=60", 60),
    ("=\"60\"", 60),
    ("=0", 0),
    ("=000060", 60),
    ("=2147483647", 2_147_483_647),
    ("=2147483648", 2_147_483_648),
    ("=2147483649", 2_147_483_648),
    ("=4294967296", 2_147_483_648),
    ("=18446744073709551616", 2_147_483_648),
    ("=99999999999999999999999999999999999999", 2_147_483_648),
    ("", 0),
    ("=", 0),
    ("=\"\"", 0),
    ("=-60", 0),
    ("=+60", 0),
    ("=60.0", 0),
    ("=60.5", 0),
    ("=6e1", 0),
    ("=0x3c", 0),
    ("=a60", 0),
    ("=60a", 0),
    ("=60s", 0),
    ("='60'", 0),
    (" =60", 0),
    ("= 60", 0),
    ("=\"60", 0),
    ("=60\"", 0),
    ("=\" 60\"", 0),
    ("=60;x=1", 0),
    ("=\u{661}", 0),
];

#[test]
fn lifetimes_are_read_as_the_grammar_has_them() {
    for name in ["max-age", "s-maxage", "MaX-aGe", "S-MAXAGE"] {
        for (argument, seconds) in ARGUMENTS {
            let value = format!("{name}{argument}");
            lives(&[("cache-control", &value)], *seconds);
            lives(&[("cache-control", &format!("x, {value}, y=z"))], *seconds);
        }
    }
    for value in ["max_age=60", "maxage=60", "xmax-age=60", "max-agex=60", "x=\"max-age=60\"", "x=max-age=60", "60"] {
        let source = freshness(&[("cache-control", value)], &Policy::safe()).source();
        assert_eq!(source, LifetimeSource::Nobody, "{value}");
    }
}

/// Section 4.2.1: "either the first occurrence should be used or the response should be considered stale".
#[test]
fn of_a_repeated_directive_the_first_counts() {
    lives(&[("cache-control", "max-age=60, max-age=1")], 60);
    lives(&[("cache-control", "max-age=1, max-age=60")], 1);
    lives(&[("cache-control", "max-age=60"), ("cache-control", "max-age=1")], 60);
    lives(&[("cache-control", "max-age=1"), ("cache-control", "max-age=60")], 1);
    lives(&[("cache-control", "max-age=x, max-age=60")], 0);
    lives(&[("cache-control", "x=\"max-age=60\", max-age=1")], 1);
    lives(&[("cache-control", "max-age=1, x=\"max-age=60\"")], 1);
    lives(&[("cache-control", "s-maxage=1, s-maxage=60")], 1);
    lives(&[("expires", "@60"), ("expires", "@1")], 60);
}

/// The lines of a targeted field beside `Cache-Control: max-age=5`, and the lifetime.
const TARGETED_FIELDS: &[(&[&str], u64)] = &[
    (&["max-age=60"], 60),
    (&["s-maxage=60"], 60),
    (&["max-age=1, s-maxage=60"], 60),
    (&["max-age=60, unknown, other=\"x\", more=(1 2)"], 60),
    (&["max-age=60;a;b=1, no-cache=?0"], 60),
    (&["max-age=60", "must-revalidate"], 60),
    (&["must-revalidate", "max-age=60"], 60),
    // Of repeated keys the last counts (RFC 9651 section 4.2.2).
    (&["max-age=1, max-age=60"], 60),
    (&["max-age=1", "max-age=60"], 60),
    (&["  max-age=60  "], 60),
    (&["max-age=999999999999999"], 2_147_483_648),
    // Valid, of the wrong type or sign: stale.
    (&["max-age=-60"], 0),
    (&["max-age"], 0),
    (&["max-age=?0, s-maxage=60"], 60),
    // Valid, and silent about the lifetime: the other fields are ignored all the same.
    (&["unknown"], 0),
    (&["must-revalidate"], 0),
    // Ignored: the five seconds of Cache-Control count.
    (&[""], 5),
    (&["   "], 5),
    (&["max-age=60,"], 5),
    (&[",max-age=60"], 5),
    (&["max-age=60,,x"], 5),
    (&["max-age = 60"], 5),
    (&["Max-Age=60"], 5),
    (&["max-age=60 s-maxage=60"], 5),
    (&["max-age=\"60"], 5),
    (&["max-age=1234567890123456"], 5),
    (&["max-age='60'"], 5),
    (&["max-age=60, \"x\""], 5),
    (&["max-age=60", "b@d"], 5),
    (&["max-age=60;"], 5),
];

/// RFC 9213 section 2: a dictionary of structured fields; what is not one is ignored.
#[test]
fn a_targeted_field_counts_alone_if_it_is_valid_and_not_empty() {
    for (lines, seconds) in TARGETED_FIELDS {
        let mut response: Vec<_> = lines.iter().map(|line| ("cdn-cache-control", *line)).collect();
        response.push(("cache-control", "max-age=5"));
        lives(&response, *seconds);
    }
    // It is the only voice: nothing in Cache-Control or Expires counts beside it, for or against.
    lives(&[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store, private"), ("expires", "0")], 60);
    for forbidding in ["no-store", "private", "no-store;x", "max-age=60, private=(\"x\")"] {
        let response = [("cdn-cache-control", forbidding), ("cache-control", "public, max-age=60"), ("expires", "@60")];
        for (name, policy) in policies() {
            assert!(Trip::new(&response).verdict(&policy).is_err(), "{name} {forbidding}");
        }
    }
    for allowing in ["no-store=?0, max-age=60", "private=?0, max-age=60"] {
        lives(&[("cdn-cache-control", allowing)], 60);
    }
}

#[test]
fn the_target_list_is_the_policys_and_in_its_order() {
    let response =
        [("cdn-cache-control", "max-age=1"), ("terrace-cache-control", "max-age=2"), ("cache-control", "max-age=3")];
    let own = HeaderName::from_static("terrace-cache-control");
    let cdn = HeaderName::from_static("cdn-cache-control");
    for (list, seconds) in [
        (vec![own.clone(), cdn.clone()], 2),
        (vec![cdn.clone(), own.clone()], 1),
        (vec![own.clone()], 2),
        (vec![cdn.clone()], 1),
        (vec![], 3),
        (vec![HeaderName::from_static("surrogate-control")], 3),
    ] {
        let mut policy = Policy::safe();
        policy.targeted = list;
        assert_eq!(freshness(&response, &policy).lifetime(), secs(seconds), "{:?}", policy.targeted);
    }
    let mut policy = Policy::safe();
    policy.targeted = vec![own, cdn];
    let broken = [("terrace-cache-control", "max-age=\""), ("cdn-cache-control", "max-age=1")];
    assert_eq!(freshness(&broken, &policy).lifetime(), secs(1));
}

/// Section 5.3.
#[test]
fn expires_counts_from_date_and_nonsense_is_the_past() {
    lives(&[("expires", "@60")], 60);
    lives(&[("expires", "@60"), ("date", "@0")], 60);
    lives(&[("expires", "@60"), ("date", "@20")], 40);
    lives(&[("expires", "@60"), ("date", "@-20")], 80);
    lives(&[("expires", "@60"), ("date", "foo")], 60);
    lives(&[("expires", "@0")], 0);
    lives(&[("expires", "@-60")], 0);
    lives(&[("expires", "@60"), ("date", "@100")], 0);
    lives(&[("expires", "Sunday, 22-Nov-26 00:00:00 GMT")], 86_400);
    lives(&[("expires", "Sun Nov 22 00:00:00 2026")], 86_400);
    for value in ["", "0", "-1", "60", "foo", "Sun, 22 Nov 2026 00:00:00 UTC", "sun, 22 nov 2026 00:00:00 gmt"] {
        lives(&[("expires", value), ("last-modified", "@-10000")], 0);
    }
}

/// Section 4.2.2 and RFC 9110 section 15.1.
#[test]
fn heuristics_are_for_statuses_that_allow_them_and_for_public_responses() {
    let allowed = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
    let other = [201, 202, 299, 302, 303, 307, 400, 401, 403, 429, 499, 500, 502, 503, 504, 599];
    for (name, policy) in policies() {
        for code in allowed.into_iter().chain(other) {
            let trip = Trip::new(&[("last-modified", "@-1000")]).status(code);
            let expected = if allowed.contains(&code) { Ok(()) } else { Err(Unstorable::NothingToReuse) };
            assert_eq!(trip.verdict(&policy), expected, "{name} {code}");
            let public = Trip::new(&[("last-modified", "@-1000"), ("cache-control", "public")]).status(code);
            let stored = public.store(&policy, 1);
            assert_eq!(stored.freshness().lifetime(), secs(100), "{name} {code}");
            assert_eq!(stored.freshness().source(), LifetimeSource::Heuristic);
        }
    }
}

#[test]
fn a_heuristic_lifetime_is_a_tenth_of_the_time_unchanged_within_bounds() {
    for (name, policy) in policies() {
        let of = |response| freshness(response, &policy).lifetime();
        assert_eq!(of(&[("last-modified", "@-5")]), Duration::from_millis(500), "{name}");
        assert_eq!(of(&[("last-modified", "@-1000"), ("date", "@-500")]), secs(50), "{name}");
        assert_eq!(of(&[("last-modified", "@-864000")]), secs(86_400), "{name}");
        assert_eq!(of(&[("last-modified", "@-99999999")]), secs(86_400), "{name}");
        for modified in ["@0", "@60", "foo", ""] {
            let source = freshness(&[("last-modified", modified)], &policy).source();
            assert_eq!(source, LifetimeSource::Nobody, "{name} {modified}");
        }
        let mut bounded = policy.clone();
        bounded.heuristic_max = Duration::ZERO;
        assert_eq!(freshness(&[("last-modified", "@-1000")], &bounded).source(), LifetimeSource::Nobody);
        bounded.heuristic_max = secs(7);
        assert_eq!(freshness(&[("last-modified", "@-1000")], &bounded).lifetime(), secs(7));
    }
}

#[test]
fn the_rules_own_lifetimes_fill_silence_only() {
    for (name, mut policy) in policies() {
        policy.default_ttl = Some(secs(30));
        policy.status_ttl = vec![(StatusCode::NOT_FOUND, secs(5)), (StatusCode::SERVICE_UNAVAILABLE, secs(1))];
        let of = |code, response: Lines<'_>| {
            let judged = Trip::new(response).status(code).judge(&policy);
            judged.map(|storable| (storable.freshness().lifetime(), storable.freshness().source()))
        };
        let policys = |seconds| Ok((secs(seconds), LifetimeSource::Policy));
        let stated = |seconds| Ok((secs(seconds), LifetimeSource::MaxAge));
        for (code, response, expected) in [
            (200, &[][..], policys(30)),
            (301, &[], policys(30)),
            (308, &[], policys(30)),
            (200, &[("last-modified", "@-10000")], policys(30)),
            (404, &[], policys(5)),
            (503, &[], policys(1)),
            (200, &[("cache-control", "max-age=60")], stated(60)),
            (404, &[("cache-control", "max-age=60")], stated(60)),
            (200, &[("expires", "0")], Err(Unstorable::NothingToReuse)),
            (404, &[("cache-control", "no-store")], Err(Unstorable::NoStore)),
            (404, &[("cache-control", "private")], Err(Unstorable::Private)),
        ] {
            assert_eq!(of(code, response), expected, "{name} {code} {response:?}");
        }
        for code in [201, 202, 302, 307, 400, 401, 403, 405, 410, 429, 500, 501, 502] {
            assert_eq!(of(code, &[]), Err(Unstorable::NothingToReuse), "{name} {code}");
        }
        policy.status_ttl.push((StatusCode::OK, secs(9)));
        let ok = Trip::new(&[]).judge(&policy).expect("storable").freshness().lifetime();
        assert_eq!(ok, secs(9), "{name}: the status is more specific");
    }
}

/// Section 4.2.3: `corrected_initial_age = max(apparent_age, age_value + response_delay)`.
#[test]
fn a_response_is_as_old_as_its_date_or_its_age_and_journey_say() {
    for (date, age, delay, initial) in [
        ("@0", "0", 0, 0),
        ("@-20", "0", 0, 20),
        ("@0", "20", 0, 20),
        ("@-20", "30", 0, 30),
        ("@-30", "20", 0, 30),
        ("@0", "0", 7, 7),
        ("@0", "20", 7, 27),
        ("@-25", "20", 7, 27),
        ("@-28", "20", 7, 28),
        ("@50", "0", 0, 0),
        ("@50", "20", 3, 23),
        ("foo", "20", 0, 20),
        ("@0", "99999999999999999999", 0, 2_147_483_648),
    ] {
        for (name, policy) in policies() {
            let response = [("cache-control", "max-age=100"), ("etag", "\"a\""), ("date", date), ("age", age)];
            let mut trip = Trip::new(&response);
            trip.timing.delay = secs(delay);
            let freshness = trip.store(&policy, 1).freshness().clone();
            let case = format!("{name} date {date} age {age} delay {delay}");
            assert_eq!(freshness.age(Duration::ZERO), secs(initial), "{case}");
            assert_eq!(freshness.age(secs(5)), secs(initial + 5), "{case}");
            assert_eq!(freshness.remaining(secs(5)), secs(100u64.saturating_sub(initial + 5)), "{case}");
            assert_eq!(freshness.staleness(secs(5)), secs((initial + 5).saturating_sub(100)), "{case}");
            assert_eq!(freshness.is_fresh(secs(5)), initial + 5 < 100, "{case}");
        }
    }
    // The clock's fractions of a second are no age.
    let mut trip = Trip::new(&[("cache-control", "max-age=100"), ("date", "@0")]);
    trip.timing.received = at(0) + Duration::from_millis(999);
    assert_eq!(trip.store(&Policy::safe(), 1).freshness().age(Duration::ZERO), Duration::ZERO);
}

/// Section 5.1; an `Age` that names no single age is invalid freshness information.
#[test]
fn an_age_is_one_number_or_the_response_is_stale() {
    let cases: &[(&[&str], Option<u64>)] = &[
        (&["30"], Some(30)),
        (&["0"], Some(0)),
        (&["030"], Some(30)),
        (&["0,7200"], Some(0)),
        (&["30, 20, 10"], Some(30)),
        (&["30,foo"], Some(30)),
        (&[""], None),
        (&["abc"], None),
        (&["-30"], None),
        (&["30.0"], None),
        (&["\"30\""], None),
        (&["30;foo=bar"], None),
        (&["3 0"], None),
        (&[",30"], None),
        (&["0, 0"], None),
        (&["30, 20, 30"], None),
        (&["30", "20"], None),
        (&["0", "0"], None),
        (&["30", ""], None),
    ];
    for (lines, age) in cases {
        let mut response: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        response.push(("cache-control", "max-age=3600"));
        for (name, policy) in policies() {
            let freshness = freshness(&response, &policy);
            assert_eq!(freshness.is_fresh(Duration::ZERO), age.is_some(), "{name} {lines:?}");
            if let Some(age) = age {
                assert_eq!(freshness.age(Duration::ZERO), secs(*age), "{name} {lines:?}");
            }
        }
    }
}

/// `response_is_fresh = (freshness_lifetime > current_age)` (section 4.2).
#[test]
fn a_response_is_fresh_for_its_lifetime_and_not_a_second_longer() {
    for (name, policy) in policies() {
        let stored = Trip::new(&[("cache-control", "max-age=60"), ("age", "10")]).store(&policy, 1);
        for (resident, fresh) in [(0, true), (49, true), (50, false), (51, false), (u64::MAX, false)] {
            let expected = if fresh { Plan::Serve(Answer::Full) } else { Plan::Validate(Forward::Stale) };
            assert_eq!(get(&stored, &[], resident, &policy), expected, "{name} {resident}");
        }
        assert!(!stored.freshness().always_validates(), "{name}");
        let old = Trip::new(&[("cache-control", "max-age=60"), ("age", "60"), ("etag", "\"a\"")]).store(&policy, 1);
        assert!(old.freshness().always_validates(), "{name}");
    }
}
