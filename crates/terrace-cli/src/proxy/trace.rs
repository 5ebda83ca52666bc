//! `TRACE` and `OPTIONS` requests that go no further than this proxy (RFC 9110 7.6.2, 9.3.7, 9.3.8).

use super::body::Body;
use super::reply;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{Method, Response, StatusCode};

/// The answer of the final recipient: what arrived for `TRACE`, what is understood for `OPTIONS`.
pub(crate) fn final_answer(parts: &Parts) -> Response<Body> {
    if parts.method == Method::OPTIONS {
        return reply::options();
    }
    reply::typed(StatusCode::OK, "message/http", reflection(parts))
}

/// The request's head, without fields that hold secrets.
fn reflection(parts: &Parts) -> Vec<u8> {
    let mut head = format!("{} {} {:?}\r\n", parts.method, parts.uri, parts.version).into_bytes();
    for (name, value) in &parts.headers {
        if [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
