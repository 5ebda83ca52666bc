//! Which resource a request is about: one absolute URI, whatever form the request had (RFC 9110 7.1).
//!
//! The cache sees this URI and a `Host` field that says the same, so two hosts never share an entry, and a request that
//! a TLS terminator received over https never shares one with the same request over http.

use super::reply::Refusal;
use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version};

/// Puts the effective request URI into `parts.uri` and its authority into `Host`.
///
/// `fallback` is the authority of an HTTP/1.0 request that names none.
pub(crate) fn resolve(parts: &mut Parts, scheme: Scheme, fallback: &Authority) -> Result<(), Refusal> {
    let authority = authority(parts, fallback)?;
    let stated = parts.headers.get(HOST);
    if stated.is_none_or(|host| host != authority.as_str()) {
        let host = HeaderValue::from_str(authority.as_str());
        parts.headers.insert(HOST, host.map_err(|_| BAD_TARGET_HOST)?);
    }
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(path(uri.path_and_query, &parts.method)?);
    uri.scheme = Some(scheme);
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri).map_err(|_| BAD_TARGET)?;
    Ok(())
}

const BAD_TARGET: Refusal = Refusal::bad_request("the request target is neither a path nor an http URI");
const BAD_TARGET_HOST: Refusal = Refusal::bad_request("the host in the request target is not valid");
const BAD_HOST: Refusal = Refusal::bad_request("the Host field is not a host and port");
const NO_HOST: Refusal = Refusal::bad_request("the Host field is missing");
const TWO_HOSTS: Refusal = Refusal::bad_request("there is more than one Host field");
const OTHER_HOST: Refusal = Refusal::bad_request("Host and :authority differ");

fn authority(parts: &Parts, fallback: &Authority) -> Result<Authority, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(TWO_HOSTS);
    }
    let Some(named) = parts.uri.authority() else {
        return match host {
            Some(host) => parse_host(host),
            None if parts.version == Version::HTTP_10 => Ok(fallback.clone()),
            None => Err(NO_HOST),
        };
    };
    match parts.version {
        // RFC 9113 8.3.1
        Version::HTTP_2 if host.is_some_and(|host| host != named.as_str()) => Err(OTHER_HOST),
        // RFC 9112 3.2.2 and 3.2: the target wins, but there must be a Host.
        Version::HTTP_11 if host.is_none() => Err(NO_HOST),
        Version::HTTP_10 | Version::HTTP_11 if !is_http(parts.uri.scheme()) => Err(BAD_TARGET),
        _ if !is_host_and_port(named) => Err(BAD_TARGET_HOST),
        _ => Ok(named.clone()),
    }
}

fn is_http(scheme: Option<&Scheme>) -> bool {
    scheme.is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
}

fn parse_host(host: &HeaderValue) -> Result<Authority, Refusal> {
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| BAD_HOST)?;
    if is_host_and_port(&authority) { Ok(authority) } else { Err(BAD_HOST) }
}

/// An authority may also hold user information, which has no place in a request, and a port that is no number.
pub(crate) fn is_host_and_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let Some(rest) = text.strip_prefix(authority.host()) else {
        return false;
    };
    !authority.host().is_empty() && (rest.is_empty() || rest == ":" || authority.port_u16().is_some())
}

fn path(path: Option<PathAndQuery>, method: &Method) -> Result<PathAndQuery, Refusal> {
    let Some(path) = path else {
        return Ok(PathAndQuery::from_static("/"));
    };
    match path.as_str().as_bytes().first() {
        Some(b'/') => Ok(path),
        Some(b'*') if *method == Method::OPTIONS => Ok(path),
        Some(b'?') => format!("/{path}").parse().map_err(|_| BAD_TARGET),
        None => Ok(PathAndQuery::from_static("/")),
        Some(_) => Err(BAD_TARGET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn resolved(version: Version, target: &str, hosts: &[&str]) -> Result<(String, String), Refusal> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let fallback = Authority::from_static("origin.example:81");
        resolve(&mut parts, Scheme::HTTP, &fallback)?;
        let host = parts.headers[HOST].to_str().unwrap().to_owned();
        Ok((parts.uri.to_string(), host))
    }

    #[test]
    fn every_form_gives_one_uri_and_a_matching_host() {
        let ok = |version, target, hosts: &[&str], uri: &str, host: &str| {
            let seen = resolved(version, target, hosts).unwrap();
            assert_eq!(seen, (uri.to_owned(), host.to_owned()), "{target}");
        };
        let (h10, h11, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        ok(h11, "/p?q", &["a.example"], "http://a.example/p?q", "a.example");
        ok(h11, "/", &["a.example:8080"], "http://a.example:8080/", "a.example:8080");
        ok(h11, "/", &["[::1]:80"], "http://[::1]:80/", "[::1]:80");
        ok(h11, "http://b.example/x", &["a.example"], "http://b.example/x", "b.example");
        ok(h11, "http://b.example", &["a.example"], "http://b.example/", "b.example");
        ok(h10, "/x", &[], "http://origin.example:81/x", "origin.example:81");
        ok(h10, "/x", &["a.example"], "http://a.example/x", "a.example");
        ok(h2, "https://a.example/x", &[], "http://a.example/x", "a.example");
        ok(h2, "http://a.example/x", &["a.example"], "http://a.example/x", "a.example");
    }

    #[test]
    fn what_names_no_single_host_is_refused() {
        let (h11, h2) = (Version::HTTP_11, Version::HTTP_2);
        let refused = |version, target, hosts: &[&str]| {
            let refusal = resolved(version, target, hosts).unwrap_err();
            assert_eq!(refusal.status, 400, "{target} {hosts:?}");
        };
        refused(h11, "/", &[]);
        refused(h11, "http://a.example/", &[]);
        refused(h11, "/", &["a.example", "a.example"]);
        for bad in ["", "a b", "user@a.example", "a.example:port", "a.example/x", "a.example,b.example:1:2"] {
            refused(h11, "/", &[bad]);
        }
        refused(h11, "ftp://a.example/", &["a.example"]);
        refused(h11, "http://user@a.example/", &["a.example"]);
        refused(h11, "a.example:80", &["a.example"]);
        refused(h11, "*", &["a.example"]);
        refused(h2, "http://a.example/", &["b.example"]);
    }
}
