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

#[test]
fn content_that_is_not_as_long_as_its_range_is_never_combined() {
    let policy = Policy::rfc9111();
    let (short, long) = (part("bytes 0-4/10", 3, &policy), part("bytes 0-4/10", 7, &policy));
    let (rest, short_rest) = (part("bytes 5-9/10", 5, &policy), part("bytes 5-9/10", 4, &policy));
    for (earlier, newer) in
        [(&short, &rest), (&long, &rest), (&rest, &short), (&part("bytes 0-4/10", 5, &policy), &short_rest)]
    {
        assert!(earlier.combine(newer).is_none());
        assert!(newer.combine(earlier).is_none());
    }
    let combined = part("bytes 0-4/10", 5, &policy).combine(&rest).expect("both as long as they say");
    assert_eq!(combined.stored.complete_len(), Some(10));
}
