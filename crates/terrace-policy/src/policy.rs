//! Where RFC 9111 leaves a choice to the cache.

use http::{HeaderName, StatusCode};
use std::time::Duration;

/// The choices that the rules of HTTP leave to a cache.
///
/// [`Policy::rfc9111`] takes the RFC at its word; [`Policy::safe`] is stricter about personal data
/// and about what clients may demand. Fields may be changed one by one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "independent choices, each with its own section")]
pub struct Policy {
    /// The target list of RFC 9213 section 2.2, most specific first. Default: `CDN-Cache-Control`.
    pub targeted: Vec<HeaderName>,
    /// Lifetime of a successful response or permanent redirect that names none. Default: none.
    pub default_ttl: Option<Duration>,
    /// Lifetimes of responses with these status codes that name none (negative caching). Default: empty.
    pub status_ttl: Vec<(StatusCode, Duration)>,
    /// The longest heuristic lifetime (RFC 9111 section 4.2.2), which is otherwise a tenth of the
    /// time since `Last-Modified`. Zero switches heuristics off. Default: one day.
    pub heuristic_max: Duration,
    /// How long a stale response is served while it is revalidated, where the response does not
    /// say (RFC 5861 section 3). Default: zero.
    pub stale_while_revalidate: Duration,
    /// How long a stale response is served when the origin fails, where the response does not say
    /// (RFC 5861 section 4). Default: zero.
    pub stale_if_error: Duration,
    /// Serve any stale response that nothing prohibits while the origin cannot be reached ("unless
    /// it is disconnected", RFC 9111 section 4.2.4).
    pub stale_when_disconnected: bool,
    /// `s-maxage` prohibits stale answers even beside `stale-while-revalidate` or `stale-if-error`
    /// (RFC 9111 section 5.2.2.10 against RFC 5861; the field's CDNs read it the other way).
    pub s_maxage_forbids_stale: bool,
    /// Honour the request directives that can force a trip to the origin or a stale answer:
    /// `no-cache`, `max-age`, `min-fresh`, `max-stale`. `no-store` and `only-if-cached` always are.
    pub honor_reload: bool,
    /// Treat requests with `Cookie` and responses with `Set-Cookie` as personal, like those with
    /// `Authorization` (RFC 9111 section 3.5), and answer requests with credentials only from
    /// responses to which the origin itself gave a lifetime.
    pub guard_cookies: bool,
    /// Store `POST` responses that RFC 9110 section 9.3.3 allows to be reused for `GET`.
    pub store_post: bool,
    /// Let a response match by its `Content-Language` instead of by `Accept-Language`, if that is the language which the
    /// request prefers to all others: negotiation (RFC 9110 section 12.5.4) can only choose it again.
    pub match_language: bool,
    /// Store a 206 whose content is not as long as its `Content-Range` says.
    pub lenient_partial: bool,
}

impl Policy {
    /// The safe defaults, for a cache beside an application that was not written with caches in mind.
    pub fn safe() -> Self {
        Self {
            targeted: vec![HeaderName::from_static("cdn-cache-control")],
            default_ttl: None,
            status_ttl: Vec::new(),
            heuristic_max: Duration::from_secs(86_400),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_when_disconnected: false,
            s_maxage_forbids_stale: false,
            honor_reload: false,
            guard_cookies: true,
            store_post: false,
            match_language: false,
            lenient_partial: false,
        }
    }

    /// Exactly RFC 9111, as a shared cache.
    pub fn rfc9111() -> Self {
        Self {
            stale_when_disconnected: true,
            s_maxage_forbids_stale: true,
            honor_reload: true,
            guard_cookies: false,
            store_post: true,
            match_language: true,
            lenient_partial: true,
            ..Self::safe()
        }
    }
}
