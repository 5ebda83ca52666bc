//! What unsafe requests invalidate (RFC 9111 section 4.4).

use crate::support::{Lines, headers};
use http::{Method, StatusCode, Uri};
use terrace_policy::invalidates;

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
