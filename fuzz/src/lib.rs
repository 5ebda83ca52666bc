//! What the fuzz targets share: header maps made of bytes, and times within reason.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terrace_policy::{Exchange, Timing};

/// One header map with each line of `text` that is a possible value, under `name`.
pub fn lines(name: &HeaderName, text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    append(&mut headers, name, text);
    headers
}

/// Adds each line of `text` that is a possible value to `headers`, under `name`.
pub fn append(headers: &mut HeaderMap, name: &HeaderName, text: &[u8]) {
    for line in text.split(|&byte| byte == b'\n') {
        // As a server's parser hands it over: without white space around it.
        if let Ok(value) = HeaderValue::from_bytes(trim(line)) {
            headers.append(name, value);
        }
    }
}

/// Without the white space that HTTP allows around a value.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A wall clock between 1970 and 2106.
pub fn clock(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.into())
}

/// A `GET` for `/` and its 200.
pub fn exchange<'a>(request: &'a HeaderMap, response: &'a HeaderMap, received: SystemTime) -> Exchange<'a> {
    static TARGET: std::sync::LazyLock<Uri> = std::sync::LazyLock::new(|| Uri::from_static("http://origin.example/"));
    Exchange {
        method: &Method::GET,
        target: &TARGET,
        request,
        status: StatusCode::OK,
        response,
        timing: Timing { received, delay: Duration::ZERO },
        extension: None,
        partitioned: false,
        keyed_by_body: false,
    }
}
