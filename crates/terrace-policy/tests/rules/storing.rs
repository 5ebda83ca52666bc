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

#[test]
fn a_quote_hides_no_store_only_if_it_encloses_an_argument() {
    for (value, hidden) in [
        ("max-age=60, x=\"no-store\"", true),
        ("max-age=60, x=\"a, no-store\"", true),
        ("max-age=60, x=\"a, \\\", no-store\"", true),
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
