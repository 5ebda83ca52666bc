//! Freshness lifetime and age (RFC 9111 section 4.2), with the targeted fields of RFC 9213.

use crate::support::{Trip, headers, secs};
use http::HeaderName;
use std::time::Duration;
use terrace_policy::{Policy, Qualified, ResponseDirectives};

#[test]
fn jitter_takes_a_share_of_any_lifetime_and_never_panics() {
    for ttl in [Duration::ZERO, secs(1), secs(100), Duration::MAX - secs(1), Duration::MAX] {
        let mut policy = Policy::safe();
        policy.default_ttl = Some(ttl);
        for share in [0.0, 0.1, 0.5, 1.0, 2.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            let mut stored = Trip::new(&[("etag", "\"a\"")]).store(&policy, 1);
            stored.freshness_mut().shorten(share);
            let left = stored.freshness().lifetime();
            assert!(left <= ttl, "{ttl:?} less {share} is {left:?}");
            if share >= 1.0 {
                assert_eq!(left, Duration::ZERO, "{ttl:?} less {share}");
            }
            if share.is_nan() || share <= 0.0 {
                assert_eq!(left, ttl, "{ttl:?} less {share}");
            }
        }
    }
    let mut stored = Trip::new(&[("cache-control", "max-age=100")]).store(&Policy::safe(), 1);
    stored.freshness_mut().shorten(0.25);
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
