//! Freshness lifetime and age (RFC 9111 section 4.2), with the targeted fields of RFC 9213.

use crate::support::{Trip, secs};
use std::time::Duration;
use terrace_policy::Policy;

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
