//! Conditional requests, validation and freshening (RFC 9111 section 4.3, RFC 9110 section 13).

use crate::support::{Lines, Trip, asking, headers, policies};
use http::Method;
use terrace_policy::{Answer, answer};

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
