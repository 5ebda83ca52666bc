//! Negotiated responses (RFC 9111 section 4.1, RFC 9110 section 12.5).

use crate::support::{Lines, headers};
use http::HeaderName;
use terrace_policy::selecting_values;

/// Do two requests select the same response that varies by `field`?
fn same(field: &'static str, a: &[&str], b: &[&str]) -> bool {
    let values = |values: &[&str]| {
        let lines: Vec<_> = values.iter().map(|value| (field, *value)).collect();
        let lines: Lines<'_> = &lines;
        selecting_values(&[HeaderName::from_static(field)], &headers(lines))
    };
    values(a) == values(b)
}

#[test]
fn a_weight_that_cannot_be_read_equals_no_weight_that_can() {
    for field in ["accept-encoding", "accept-language"] {
        for (invalid, valid) in [
            ("de;q=500", "de;q=0.5"),
            ("de;q=5", "de;q=0.005"),
            ("de;q=0", "de;q=0.0001"),
            ("de;q=1.5", "de;q=1"),
            ("de;q=0.5;q=0.5", "de;q=0.5"),
            ("de;q=", "de"),
            ("de;q=.5", "de;q=0.5"),
            ("de;q=0,5", "de;q=0.5"),
        ] {
            assert!(!same(field, &[invalid], &[valid]), "{field}: {invalid} {valid}");
        }
        assert!(same(field, &["de;q=0.5"], &["DE ; Q=0.500"]), "{field}");
    }
}
