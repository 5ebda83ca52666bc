//! What unsafe requests invalidate (RFC 9111 section 4.4).

use crate::support::{Lines, headers};
use http::{Method, StatusCode, Uri};
use terrace_policy::{invalidates, is_safe};

/// The URIs that a request to `target` invalidates, as text.
fn invalidated(method: &str, target: &str, status: u16, response: Lines<'_>) -> Vec<String> {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let (target, status) = (target.parse::<Uri>().expect("a URI"), StatusCode::from_u16(status).expect("a status"));
    invalidates(&method, &target, status, &headers(response)).iter().map(ToString::to_string).collect()
}

#[test]
fn an_origin_is_scheme_host_and_port_however_they_are_written() {
    let target = "http://origin.example/a";
    for (location, same) in [
        ("http://origin.example/b", true),
        ("HTTP://origin.example/b", true),
        ("hTTp://ORIGIN.example:80/b", true),
        ("http://origin.example:/b", true),
        ("//origin.example/b", true),
        ("http://origin.example:8080/b", false),
        ("http://origin.example:99999/b", false),
        ("http://origin.example:65616/b", false),
        ("https://origin.example/b", false),
        ("https://origin.example:80/b", false),
        ("http://other.example/b", false),
        ("http://origin.example.evil/b", false),
        ("http://origin.example@evil.example/b", false),
        ("//other.example/b", false),
        ("ftp://origin.example/b", false),
        ("urn:origin.example:b", false),
    ] {
        let uris = invalidated("POST", target, 201, &[("location", location)]);
        assert_eq!(uris.contains(&"http://origin.example/b".to_owned()), same, "{location}: {uris:?}");
        assert_eq!(uris.len(), if same { 2 } else { 1 }, "{location}: {uris:?}");
    }
    assert_eq!(invalidated("POST", "http://80:8080/a", 201, &[("location", "http://80/b")]).len(), 1);
    assert_eq!(invalidated("POST", "http://[::1]:80/a", 201, &[("location", "http://[::1]/b")]).len(), 2);
    assert_eq!(invalidated("POST", "https://[::1]/a", 201, &[("location", "https://[::1]:443/b")]).len(), 2);
}

/// "a non-error response is one with a 2xx (Successful) or 3xx (Redirection) status code".
#[test]
fn unsafe_requests_invalidate_their_target_unless_they_failed() {
    let target = "http://origin.example/a/b?c";
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "LINK", "PROPPATCH", "MKCOL", "PURGE", "post"] {
        for status in [200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308] {
            assert_eq!(invalidated(method, target, status, &[]), [target], "{method} {status}");
        }
        for status in [100, 199, 400, 401, 403, 404, 409, 412, 418, 500, 502, 503, 599] {
            assert_eq!(invalidated(method, target, status, &[("location", "/x")]), [""; 0], "{method} {status}");
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY"] {
        assert_eq!(invalidated(method, target, 200, &[("location", "/x")]), [""; 0], "{method}");
        assert!(is_safe(&Method::from_bytes(method.as_bytes()).expect("a method")), "{method}");
    }
}

/// RFC 3986 section 5.2 in the places that count.
#[test]
fn locations_of_the_same_origin_are_invalidated_too() {
    let target = "http://origin.example/a/b?c";
    for (reference, resolved) in [
        ("x", "http://origin.example/a/x"),
        ("./x", "http://origin.example/a/x"),
        ("../x", "http://origin.example/x"),
        ("../../../x", "http://origin.example/x"),
        ("/x", "http://origin.example/x"),
        ("/x/./y/../z?q=../r", "http://origin.example/x/z?q=../r"),
        ("?q", "http://origin.example/a/b?q"),
        ("x#fragment", "http://origin.example/a/x"),
        ("//origin.example/x", "http://origin.example/x"),
        ("http://origin.example/x?y#z", "http://origin.example/x?y"),
        ("http://origin.example", "http://origin.example/"),
        ("http://origin.example?y", "http://origin.example/?y"),
        ("http://user@origin.example/x", "http://origin.example/x"),
        (" /x ", "http://origin.example/x"),
        ("/a%20b", "http://origin.example/a%20b"),
    ] {
        for field in ["location", "content-location"] {
            let uris = invalidated("PUT", target, 201, &[(field, reference)]);
            assert_eq!(uris, [target, resolved], "{field}: {reference}");
        }
    }
    let both = [("location", "x"), ("content-location", "y")];
    let expected = [target, "http://origin.example/a/x", "http://origin.example/a/y"];
    assert_eq!(invalidated("POST", target, 200, &both), expected);
    // Each once.
    for same in ["", "b?c", "#x", "http://ORIGIN.example:80/a/b?c"] {
        let lines = [("location", same), ("content-location", same)];
        assert_eq!(invalidated("POST", target, 200, &lines), [target], "{same}");
    }
}

#[test]
fn a_reference_that_cannot_be_read_invalidates_nothing_more() {
    for reference in
        ["http://", "//", "http:///x", "http://[::1/x", "/a b", "/\u{e9}", "x:y", "1http://origin.example/x"]
    {
        let uris = invalidated("POST", "http://origin.example/a", 200, &[("location", reference)]);
        assert_eq!(uris, ["http://origin.example/a"], "{reference}");
    }
}

/// A server's target has no origin: only what names none can be compared.
#[test]
fn targets_in_origin_form_keep_to_their_own_paths() {
    for (reference, expected) in [
        ("/x", &["/a/b", "/x"][..]),
        ("x", &["/a/b", "/a/x"]),
        ("http://origin.example/x", &["/a/b"]),
        ("//origin.example/x", &["/a/b"]),
    ] {
        assert_eq!(invalidated("POST", "/a/b", 200, &[("location", reference)]), expected, "{reference}");
    }
    assert_eq!(invalidated("POST", "*", 200, &[]), ["*"]);
}
