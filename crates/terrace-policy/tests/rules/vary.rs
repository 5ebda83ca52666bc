//! Negotiated responses (RFC 9111 section 4.1, RFC 9110 section 12.5).

use crate::support::{Lines, headers};
use http::{HeaderName, HeaderValue};
use terrace_policy::{Vary, content_language, preferred_language, selecting_values, selecting_values_in};

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

#[test]
fn vary_is_a_set_of_names_or_matches_nothing() {
    let of = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        Vary::of(&headers(&lines))
    };
    let names = |names: &[&'static str]| Vary::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect());
    for (lines, expected) in [
        (&[][..], names(&[])),
        (&[""], names(&[])),
        (&[" , ,"], names(&[])),
        (&["Foo"], names(&["foo"])),
        (&["foo, BAR,foo"], names(&["bar", "foo"])),
        (&["foo", "bar"], names(&["bar", "foo"])),
        (&["bar", "foo"], names(&["bar", "foo"])),
        (&["*"], Vary::Any),
        (&["*, *"], Vary::Any),
        (&["*", "*"], Vary::Any),
        (&[", *"], Vary::Any),
        (&["", "*"], Vary::Any),
        (&["*, foo"], Vary::Any),
        (&["foo, *"], Vary::Any),
        (&["foo", "*"], Vary::Any),
        (&["foo bar"], Vary::Any),
        (&["foo;q=1"], Vary::Any),
        (&["\"foo\""], Vary::Any),
    ] {
        assert_eq!(of(lines), expected, "{lines:?}");
    }
}

/// Section 4.1: fields match if they "can be transformed to be equal" by what means nothing.
#[test]
fn selecting_fields_match_if_their_values_mean_the_same() {
    for (field, a, b, equal) in [
        ("foo", &["1"][..], &["1"][..], true),
        ("foo", &["1"], &["2"], false),
        ("foo", &["1"], &["1 "], true),
        ("foo", &["1, 2"], &["1", "2"], true),
        ("foo", &["1,2"], &[" 1 ,\t2 "], true),
        ("foo", &["1,2"], &["2,1"], false),
        ("foo", &["1", "2"], &["2", "1"], false),
        ("foo", &["a"], &["A"], false),
        ("foo", &["1 2"], &["1  2"], false),
        ("foo", &["12"], &["1,2"], false),
        ("foo", &["\"a, b\""], &["\"a,b\""], false),
        ("foo", &["\"a\\\", b\""], &["\"a\\\",b\""], false),
        ("foo", &["\"a\" , \"b\""], &["\"a\",\"b\""], true),
        // "If a header field is absent from a request, it can only match another request if it is
        // also absent there."
        ("foo", &[], &[], true),
        ("foo", &[], &[""], false),
        ("foo", &[""], &[""], true),
        ("foo", &["1,"], &["1"], false),
        ("accept-language", &["en, de"], &["de, en"], true),
        ("accept-language", &["en, de"], &["eN ,  De"], true),
        ("accept-language", &["en", "de"], &["de,en"], true),
        ("accept-language", &["en;q=1.0, de;q=0.5"], &["de;q=0.50,en"], true),
        ("accept-language", &["en, de"], &["en, de;q=0.9"], false),
        ("accept-language", &["en;q=0.1, de;q=0.2"], &["en;q=0.2, de;q=0.1"], false),
        ("accept-language", &["en"], &["en-gb"], false),
        ("accept-language", &["en"], &["en;q=0"], false),
        ("accept-language", &[], &[""], false),
        ("accept-encoding", &["gzip, br"], &["br,gzip"], true),
        ("accept-encoding", &["gzip"], &["GZIP"], true),
        ("accept-encoding", &["gzip, gzip"], &["gzip"], true),
        ("accept-encoding", &["gzip"], &["br"], false),
        ("accept-encoding", &["gzip;q=0"], &["gzip"], false),
        ("accept-encoding", &["*"], &["identity"], false),
        ("accept", &["a/b, c/d"], &["c/d, a/b"], false),
        ("cookie", &["a=1; b=2"], &["a=1; b=2"], true),
        ("cookie", &["a=1, 2"], &["a=1,2"], false),
        ("cookie", &["a=1"], &["A=1"], false),
        ("authorization", &["Basic a"], &["Basic b"], false),
        ("authorization", &["Digest a=1, b=2"], &["Digest a=1,b=2"], false),
        ("authorization", &["Basic a"], &["Basic  a"], false),
    ] {
        assert_eq!(same(field, a, b), equal, "{field}: {a:?} {b:?}");
        assert_eq!(same(field, b, a), equal, "{field}: {b:?} {a:?}");
    }
}

#[test]
fn every_selecting_field_counts_and_no_other() {
    let fields = ["accept-language", "bar", "foo"].map(HeaderName::from_static);
    let values = |lines: Lines<'_>| selecting_values(&fields, &headers(lines));
    let stored = values(&[("foo", "1"), ("bar", "abc"), ("accept-language", "de"), ("other", "x")]);
    assert_eq!(values(&[("accept-language", "DE"), ("bar", "abc"), ("foo", "1"), ("other", "y")]), stored);
    for request in [
        &[("foo", "2"), ("bar", "abc"), ("accept-language", "de")][..],
        &[("foo", "1"), ("bar", "ab"), ("accept-language", "de")],
        &[("foo", "1"), ("bar", "abc")],
        &[("foo", "1"), ("bar", "abc"), ("accept-language", "de"), ("foo", "1")],
        &[("foo", "abc"), ("bar", "1"), ("accept-language", "de")],
        &[],
    ] {
        assert_ne!(values(request), stored, "{request:?}");
    }
    assert_eq!(selecting_values(&[], &headers(&[("foo", "1")])), selecting_values(&[], &headers(&[])));
    // A field cannot be read as another's.
    let two = ["a", "b"].map(HeaderName::from_static);
    let of = |lines: Lines<'_>| selecting_values(&two, &headers(lines));
    assert_ne!(of(&[("a", "xy"), ("b", "z")]), of(&[("a", "x"), ("b", "yz")]));
    assert_ne!(of(&[("a", "x")]), of(&[("b", "x")]));
    assert_ne!(of(&[("a", "")]), of(&[("b", "")]));
}

#[test]
fn a_language_is_preferred_if_it_outweighs_all_others() {
    for (lines, expected) in [
        (&["de"][..], Some("de")),
        (&["DE"], Some("de")),
        (&["de, en;q=0.9"], Some("de")),
        (&["en;q=0.9, de"], Some("de")),
        (&["en;q=0.9", "de;q=0.95"], Some("de")),
        (&["de;q=0.001"], Some("de")),
        (&["de, *;q=0.5"], Some("de")),
        (&["de, en"], None),
        (&["de", "en"], None),
        (&["de, de"], None),
        (&["de;q=0"], None),
        (&["*"], None),
        (&["*, de;q=0.5"], None),
        (&[""], None),
        (&[], None),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("accept-language", *line)).collect();
        let expected = expected.map(HeaderValue::from_static);
        assert_eq!(preferred_language(&headers(&lines)), expected, "{lines:?}");
    }
}

#[test]
fn a_response_is_in_one_language_or_in_none_that_selects() {
    let language = ["accept-language"].map(HeaderName::from_static);
    let both = ["accept-language", "foo"].map(HeaderName::from_static);
    let of = |fields: &[HeaderName], lines: Lines<'_>| content_language(fields, &headers(lines));
    let de = Some(HeaderValue::from_static("de"));
    assert_eq!(of(&language, &[("content-language", "de")]), de);
    assert_eq!(of(&both, &[("content-language", "de")]), de);
    assert_eq!(of(&both[1..], &[("content-language", "de")]), None);
    assert_eq!(of(&language, &[("content-language", "de, en")]), None);
    assert_eq!(of(&language, &[("content-language", "de"), ("content-language", "en")]), None);
    assert_eq!(of(&language, &[]), None);
}

#[test]
fn language_alone_replaces_the_list_and_nothing_else() {
    let fields = ["accept-language", "foo"].map(HeaderName::from_static);
    let de = HeaderValue::from_static("de");
    let of = |lines: Lines<'_>| selecting_values_in(&fields, &headers(lines), &de);
    let plain = selecting_values(&fields, &headers(&[("accept-language", "de"), ("foo", "1")]));
    assert_eq!(of(&[("accept-language", "en, fr;q=0.3"), ("foo", "1")]), plain);
    assert_eq!(of(&[("foo", "1")]), plain);
    assert_ne!(of(&[("accept-language", "de"), ("foo", "2")]), plain);
}
