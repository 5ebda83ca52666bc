//! What to ask for, and where.

use crate::proxy::origin::OriginUrl;
use http::Uri;
use http::uri::{Parts, PathAndQuery};

/// A resource that a fleet is asked for. The connection always goes to the fleet's own address; an absolute URL says which
/// `Host` to name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource(Uri);

impl Resource {
    /// Reads an absolute URL, or a path, which is one of `base`. A fragment is left out.
    ///
    /// # Errors
    ///
    /// What would have been accepted.
    pub(crate) fn parse(text: &str, base: &OriginUrl) -> Result<Self, String> {
        const EXPECTED: &str = "expected http://HOST/PATH, https://HOST/PATH or /PATH";
        let text = text.split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
        let mut parts = uri.into_parts();
        match (&parts.scheme, &parts.authority) {
            (Some(scheme), Some(authority)) if matches!(scheme.as_str(), "http" | "https") => {
                if authority.as_str().contains('@') {
                    return Err(format!("there is user information; {EXPECTED}"));
                }
            }
            (None, None) if text.starts_with('/') => {
                (parts.scheme, parts.authority) = (Some(base.scheme().clone()), Some(base.authority().clone()));
            }
            _ => return Err(EXPECTED.into()),
        }
        Self::from_parts(parts).map_err(|error| format!("{error}; {EXPECTED}"))
    }

    fn from_parts(mut parts: Parts) -> Result<Self, http::Error> {
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        Ok(Self(Uri::from_parts(parts)?))
    }

    /// The absolute URL.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        let base: OriginUrl = "http://fleet.example:8080".parse().unwrap();
        Resource::parse(text, &base).map(|resource| resource.uri().to_string())
    }

    #[test]
    fn a_path_is_one_of_the_base_and_a_url_stays_what_it_is() {
        assert_eq!(parsed("/a?b=c#d").unwrap(), "http://fleet.example:8080/a?b=c");
        assert_eq!(parsed("https://shop.example/a").unwrap(), "https://shop.example/a");
        assert_eq!(parsed("https://shop.example").unwrap(), "https://shop.example/");
        assert_eq!(parsed("http://[::1]:80/").unwrap(), "http://[::1]:80/");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "a", "shop.example/a", "ftp://h/a", "http://u:p@h/", "http://", "/a b", "*", "mailto:me@h"] {
            assert!(parsed(bad).unwrap_err().contains("expected http://HOST/PATH"), "{bad}");
        }
    }
}
