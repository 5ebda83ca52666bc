//! What an unsafe request invalidates (RFC 9111 section 4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri};

/// The URIs to invalidate after a response to an unsafe request: the target, then `Location` and
/// `Content-Location` if they have its origin.
///
/// Empty if the method is safe or the response is an error: "a non-error response is one with a 2xx
/// (Successful) or 3xx (Redirection) status code". A method that is not known to be safe counts as unsafe.
pub fn invalidates(method: &Method, target: &Uri, status: StatusCode, response: &HeaderMap) -> Vec<Uri> {
    if is_safe(method) || !is_success(status) {
        return Vec::new();
    }
    let mut uris = vec![target.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let located = response.get(name).and_then(|value| value.to_str().ok());
        let located = located.and_then(|reference| resolve(target, reference));
        uris.extend(located.filter(|uri| !uris.contains(uri)));
    }
    uris
}

/// "a non-error response is one with a 2xx (Successful) or 3xx (Redirection) status code" (section 4.4).
pub fn is_success(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// The safe methods of the IANA registry that an origin may be sent.
pub fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "REPORT" | "SEARCH" | "QUERY")
}

/// Resolves a URI reference against the target (RFC 3986 section 5.2). `None` if it is malformed or
/// names another origin: "a cache MUST NOT trigger an invalidation … if the origin of the URI to be
/// invalidated differs from that of the target URI". The fragment is dropped.
pub(crate) fn resolve(target: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default().trim();
    if let Some(rest) = reference.strip_prefix("//") {
        return same_origin(target, None, rest);
    }
    let scheme = reference.split(['/', '?']).next().and_then(|start| start.split_once(':'));
    if let Some((scheme, _)) = scheme {
        let rest = reference[scheme.len() + 1..].strip_prefix("//")?;
        // `http` compares only its own schemes in lower case with theirs (RFC 3986 section 3.1: without case).
        return same_origin(target, Some(&Scheme::try_from(scheme.to_ascii_lowercase().as_str()).ok()?), rest);
    }
    let (path, query) = split_query(reference);
    let base = target.path();
    let (path, query) = match path {
        "" if query.is_none() => (base.to_owned(), target.query()),
        "" => (base.to_owned(), query),
        _ if path.starts_with('/') => (remove_dot_segments(path), query),
        _ => {
            let directory = base.rfind('/').map_or("/", |slash| &base[..=slash]);
            (remove_dot_segments(&format!("{directory}{path}")), query)
        }
    };
    with_path(target, &path, query)
}

fn same_origin(target: &Uri, scheme: Option<&Scheme>, rest: &str) -> Option<Uri> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = Authority::try_from(&rest[..end]).ok()?;
    // A target in origin form does not know its own origin; then only its path can be compared.
    let same_scheme = match (scheme, target.scheme()) {
        (Some(named), Some(own)) => named == own,
        _ => true,
    };
    let same_authority = target.authority().is_some_and(|own| is_same_authority(own, &authority, target.scheme_str()));
    if !same_scheme || !same_authority {
        return None;
    }
    let (path, query) = split_query(&rest[end..]);
    let path = if path.is_empty() { "/" } else { path };
    with_path(target, &remove_dot_segments(path), query)
}

fn is_same_authority(a: &Authority, b: &Authority, scheme: Option<&str>) -> bool {
    let default = if scheme == Some("https") { 443 } else { 80 };
    // `None` for a port that is no number: that is nobody's origin.
    let port = |authority: &Authority| {
        let host_and_port = authority.as_str().rsplit('@').next()?;
        match host_and_port.strip_prefix(authority.host())?.trim_start_matches(':') {
            "" => Some(default),
            digits => digits.parse::<u16>().ok(),
        }
    };
    a.host().eq_ignore_ascii_case(b.host()) && port(a).is_some() && port(a) == port(b)
}

fn split_query(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    }
}

fn with_path(target: &Uri, path: &str, query: Option<&str>) -> Option<Uri> {
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// RFC 3986 section 5.2.4, for a path that starts with a slash.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments = path.split('/').skip(1);
    let ends_in_directory = path.ends_with("/.") || path.ends_with("/..");
    for segment in segments {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &kept {
        clean.push('/');
        clean.push_str(segment);
    }
    if ends_in_directory || clean.is_empty() {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(reference: &str) -> Option<String> {
        let target = Uri::from_static("http://a/b/c/d;p?q");
        resolve(&target, reference).map(|uri| uri.to_string())
    }

    /// The examples of RFC 3986 section 5.4 that stay within the origin.
    #[test]
    fn references_resolve_as_in_rfc_3986() {
        let cases = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
        ];
        for (reference, uri) in cases {
            assert_eq!(resolved(reference).as_deref(), Some(uri), "{reference:?}");
        }
        assert_eq!(resolved("http://A:80/x").as_deref(), Some("http://a/x"));
        assert_eq!(resolved("//a/x?y").as_deref(), Some("http://a/x?y"));
    }

    #[test]
    fn other_origins_are_left_alone() {
        for reference in ["//g", "http://g/", "https://a/", "http://a:8080/", "g:h", "mailto:a@b"] {
            assert_eq!(resolved(reference), None, "{reference:?}");
        }
    }

    #[test]
    fn only_successful_unsafe_requests_invalidate() {
        let target = Uri::from_static("/x");
        let count = |method: &str, status| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            invalidates(&method, &target, StatusCode::from_u16(status).unwrap(), &HeaderMap::new()).len()
        };
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
            assert_eq!(count(method, 204), 1, "{method}");
            assert_eq!(count(method, 303), 1, "{method}");
            assert_eq!(count(method, 404), 0, "{method}");
            assert_eq!(count(method, 500), 0, "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert_eq!(count(method, 200), 0, "{method}");
        }
    }
}
