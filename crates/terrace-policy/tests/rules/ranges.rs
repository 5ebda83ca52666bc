//! Ranges and partial responses (RFC 9110 section 14, RFC 9111 sections 3.3 and 3.4).

use crate::support::{Trip, get};
use terrace_policy::{Answer, Forward, Plan, Policy, StoredResponse};

/// A stored part of a representation with a strong validator.
fn part(content_range: &str, len: u64, policy: &Policy) -> StoredResponse {
    let trip = Trip::new(&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-range", content_range)]);
    trip.status(206).store(policy, len)
}

#[test]
fn a_range_before_the_stored_part_goes_to_the_origin() {
    let stored = part("bytes 4-9/10", 6, &Policy::safe());
    for range in ["bytes=0-4", "bytes=0-9", "bytes=3-", "bytes=-7", "bytes=0-0"] {
        let plan = get(&stored, &[("range", range)], 0, &Policy::safe());
        assert_eq!(plan, Plan::Forward(Forward::Partial), "{range}");
    }
    let plan = get(&stored, &[("range", "bytes=4-9")], 0, &Policy::safe());
    assert!(matches!(plan, Plan::Serve(Answer::Partial(_))));
}
