//! Storing responses (RFC 9111 section 3).

use crate::support::{Trip, policies};
use terrace_policy::{Policy, Unstorable};

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
