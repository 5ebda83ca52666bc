//! Where the origin is.

use super::OriginError;
use crate::proxy::target::is_host_and_port;
use http::Uri;
use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};
use std::fmt;
use std::str::FromStr;

/// An origin: scheme, authority and a path that is put before every request's.
#[derive(Clone, Debug)]
pub(crate) struct OriginUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    prefix: String,
}

impl OriginUrl {
    pub(crate) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The authority, for requests that name none.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The authority as a `Host` field.
    pub(crate) fn host(&self) -> HeaderValue {
        HeaderValue::from_str(self.authority.as_str()).expect("an authority is visible ASCII")
    }

    /// Where at the origin the resource `uri` is.
    ///
    /// # Errors
    /// When the prefix makes the path longer than a URI may be.
    pub(crate) fn locate(&self, uri: &Uri) -> Result<Uri, OriginError> {
        let path = uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let path = if self.prefix.is_empty() || path == "*" {
            path
        } else {
            let path = format!("{}{path}", self.prefix);
            PathAndQuery::from_maybe_shared(path.into_bytes()).map_err(OriginError::uri)?
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(OriginError::uri)
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

impl FromStr for OriginUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected http://HOST[:PORT][/PREFIX]";
        let uri: Uri = text.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(EXPECTED.into());
        };
        check_scheme(&scheme, EXPECTED)?;
        if !is_host_and_port(&authority) {
            return Err(format!("there is user information or no valid host and port; {EXPECTED}"));
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
        if path.contains('?') || text.contains('#') {
            return Err(format!("a query or fragment has no meaning here; {EXPECTED}"));
        }
        Ok(Self { scheme, authority, prefix: path.trim_end_matches('/').to_owned() })
    }
}

/// Whether it can be spoken by this build.
pub(crate) fn check_scheme(scheme: &Scheme, expected: &str) -> Result<(), String> {
    match scheme.as_str() {
        "http" => Ok(()),
        "https" if cfg!(feature = "tls") => Ok(()),
        "https" => Err(format!("this build has no TLS (cargo feature `tls`); {expected}")),
        _ => Err(expected.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(origin: &str, uri: &str) -> String {
        let origin: OriginUrl = origin.parse().unwrap();
        origin.locate(&uri.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn the_prefix_goes_before_the_path() {
        let client = "http://shop.example/a?b=c";
        assert_eq!(located("http://127.0.0.1:3000", client), "http://127.0.0.1:3000/a?b=c");
        assert_eq!(located("http://o.example/", client), "http://o.example/a?b=c");
        assert_eq!(located("http://o.example/v1/", client), "http://o.example/v1/a?b=c");
        assert_eq!(located("http://o.example/v1", "http://shop.example"), "http://o.example/v1/");
    }

    #[test]
    fn other_urls_are_refused() {
        for bad in [
            "",
            "localhost:3000",
            "/x",
            "ftp://o.example",
            "http://",
            "http://u:p@o.example",
            "http://o.example/?q",
            "http://o.example/#f",
            "http://o.example:port/",
        ] {
            assert!(bad.parse::<OriginUrl>().is_err(), "{bad}");
        }
        let https = "https://o.example".parse::<OriginUrl>();
        assert_eq!(https.is_ok(), cfg!(feature = "tls"));
    }
}
