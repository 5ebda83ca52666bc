//! What a proxy takes out of a message's header section and what it adds. No I/O.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::Scheme;
use http::{Method, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Removes the fields that are about one connection only, those that `Connection` names included (RFC 9110 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let options: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for name in options.iter().flat_map(tokens) {
        headers.remove(name);
    }
    for name in [CONNECTION, PROXY_CONNECTION, KEEP_ALIVE, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// Removes what must not leave the client's connection.
///
/// `TE: trailers` is renewed, because this proxy passes trailers on. `Expect` goes because this proxy answers
/// `100-continue` itself as soon as the origin's connection wants the body.
pub(crate) fn clean_request(headers: &mut HeaderMap) {
    let trailers = headers.get_all(TE).iter().flat_map(tokens).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    join_cookies(headers);
}

/// Removes what must not leave the origin's connection, before the cache can store it.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    // RFC 9112 6.3: Transfer-Encoding overrides Content-Length, which must not be forwarded then.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
}

/// HTTP/2 may split `Cookie`; outside of it there is one line (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    join(headers, &COOKIE, "; ");
}

fn join(headers: &mut HeaderMap, name: &HeaderName, separator: &str) {
    if headers.get_all(name).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let line = lines.join(separator.as_bytes());
    // Joining valid values with visible characters gives a valid value.
    if let Ok(line) = HeaderValue::from_bytes(&line) {
        headers.insert(name, line);
    }
}

/// Adds this proxy to `Via`; `version` is that of the message as it was received (RFC 9110 7.6.3).
pub(crate) fn add_via(headers: &mut HeaderMap, version: Version) {
    let via = match version {
        Version::HTTP_10 => "1.0 terrace",
        Version::HTTP_2 => "2 terrace",
        _ => "1.1 terrace",
    };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// Tells the origin who asked, and for what.
///
/// The client's address is appended to `X-Forwarded-For`. What an untrusted peer says in the other fields is replaced:
/// they are not in the cache key, so believing them would let anyone choose what others are served.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, client: &HeaderValue, trusted: bool, scheme: &Scheme) {
    headers.append(X_FORWARDED_FOR, client.clone());
    join(headers, &X_FORWARDED_FOR, ", ");
    if !trusted {
        headers.remove(FORWARDED);
    }
    if !(trusted && headers.contains_key(X_FORWARDED_HOST))
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    let scheme = if *scheme == Scheme::HTTPS { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
}

/// The scheme the client used, as far as it can be known: this proxy is reached without TLS, so `https` only when a
/// trusted peer says so.
pub(crate) fn scheme(headers: &HeaderMap, trusted: bool) -> Scheme {
    let https =
        trusted && headers.get(X_FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    if https { Scheme::HTTPS } else { Scheme::HTTP }
}

/// The protocol that a request asks to switch to, if it is one to pass on.
///
/// `h2c` is not: the offer is about this hop, and RFC 9110 7.8 lets a server ignore it.
pub(crate) fn upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let named = |name: &HeaderName, wanted: &str| {
        headers.get_all(name).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(wanted))
    };
    if version != Version::HTTP_11 || !named(&CONNECTION, "upgrade") || named(&UPGRADE, "h2c") {
        return None;
    }
    headers.get(UPGRADE).cloned()
}

/// What `Max-Forwards` says of a `TRACE` or `OPTIONS` request (RFC 9110 7.6.2).
#[derive(Debug, PartialEq)]
pub(crate) enum Hops {
    /// Pass it on; the field was counted down where there was one.
    Forward,
    /// This proxy is its final recipient.
    Answer,
}

/// Counts `Max-Forwards` down.
pub(crate) fn count_hop(method: &Method, headers: &mut HeaderMap) -> Hops {
    if *method != Method::TRACE && *method != Method::OPTIONS {
        return Hops::Forward;
    }
    let left = headers.get(MAX_FORWARDS).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    match left {
        None => Hops::Forward,
        Some(0) => Hops::Answer,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            Hops::Forward
        }
    }
}

/// Whether another proxy passed this request on.
pub(crate) fn relayed(headers: &HeaderMap) -> bool {
    [VIA, FORWARDED, X_FORWARDED_FOR].iter().any(|name| headers.contains_key(name))
}

/// The members of a comma-separated list of tokens; none of a value that is not ASCII.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn hop_by_hop_fields_go_also_those_that_connection_names() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "foo/1"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn te_trailers_is_renewed() {
        let mut headers = map(&[("te", "gzip, Trailers"), ("connection", "te")]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("te", "trailers"), ("connection", "te")]));
    }

    #[test]
    fn a_length_beside_a_transfer_coding_goes() {
        let mut headers = map(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        clean_response(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn split_cookies_become_one_line() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        clean_request(&mut headers);
        assert_eq!(headers, map(&[("cookie", "a=1; b=2")]));
    }

    #[test]
    fn an_untrusted_peer_says_nothing_about_host_and_scheme() {
        let spoof = [
            ("host", "a.example"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "host=evil.example"),
        ];
        let client = HeaderValue::from_static("192.0.2.1");
        let mut headers = map(&spoof);
        let seen = scheme(&headers, false);
        add_forwarded(&mut headers, &client, false, &seen);
        let expected = map(&[
            ("host", "a.example"),
            ("x-forwarded-for", "203.0.113.1, 192.0.2.1"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-proto", "http"),
        ]);
        assert_eq!(headers, expected);

        let mut headers = map(&spoof);
        let seen = scheme(&headers, true);
        add_forwarded(&mut headers, &client, true, &seen);
        assert_eq!(headers["x-forwarded-host"], "evil.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-for"], "203.0.113.1, 192.0.2.1");
    }

    #[test]
    fn only_http_1_1_upgrades_and_never_to_h2c() {
        let websocket = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&websocket, Version::HTTP_11).unwrap(), "websocket");
        assert_eq!(upgrade(&websocket, Version::HTTP_10), None);
        let unnamed = map(&[("upgrade", "websocket")]);
        assert_eq!(upgrade(&unnamed, Version::HTTP_11), None);
        let h2c = map(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")]);
        assert_eq!(upgrade(&h2c, Version::HTTP_11), None);
    }

    #[test]
    fn max_forwards_counts_down_for_trace_and_options_only() {
        let mut headers = map(&[("max-forwards", "2")]);
        assert_eq!(count_hop(&Method::OPTIONS, &mut headers), Hops::Forward);
        assert_eq!(headers["max-forwards"], "1");
        assert_eq!(count_hop(&Method::GET, &mut headers), Hops::Forward);
        assert_eq!(headers["max-forwards"], "1");
        headers.insert("max-forwards", HeaderValue::from_static("0"));
        assert_eq!(count_hop(&Method::TRACE, &mut headers), Hops::Answer);
    }
}
