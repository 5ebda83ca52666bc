//! A stored response, as facts for people: never its content, nor the value of a field that may be a secret.

#![cfg_attr(not(feature = "redis"), expect(unreachable_pub, reason = "only `inspect` shows them to others"))]

use super::stored::CachedResponse;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::time::{Duration, SystemTime};
use terrace_policy::{LifetimeSource, Stored};

/// A stored response, without its content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// 206 if only a part is stored.
    pub status: StatusCode,
    /// The header fields, in their order.
    pub fields: Vec<Field>,
    /// How many trailer fields there are.
    pub trailers: usize,
    /// The length of the content.
    pub content_bytes: u64,
    /// The length of the whole representation, if that is known.
    pub complete_bytes: Option<u64>,
    /// When it arrived, by the clock of the process that fetched it.
    pub received: SystemTime,
    /// The current age (RFC 9111 section 4.2.3).
    pub age: Duration,
    /// The freshness lifetime (section 4.2.1).
    pub lifetime: Duration,
    /// Who named the lifetime: `s-maxage`, `max-age`, `expires`, `targeted`, `extension`, `rules`, `heuristic` or `nobody`.
    pub lifetime_from: &'static str,
    /// How much longer it is fresh, unless it was invalidated.
    pub fresh_for: Duration,
    /// How long it has been stale.
    pub stale_for: Duration,
    /// For how long it may be served stale while it is revalidated.
    pub stale_while_revalidate: Duration,
    /// For how long it may be served stale when the origin fails.
    pub stale_if_error: Duration,
    /// Whether each use needs a validation (`no-cache`).
    pub needs_validation: bool,
    /// How long the origin took.
    pub cost: Duration,
}

/// A stored header field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Its name.
    pub name: HeaderName,
    /// Its value; `None` if it may be a secret.
    pub value: Option<HeaderValue>,
    /// The length of its value.
    pub bytes: usize,
}

impl Response {
    /// What is known of a response that has been stored so long since it came here.
    pub(super) fn of(cached: &CachedResponse, resident: Duration) -> Self {
        let (facts, packed) = (cached.facts(), cached.packed());
        let freshness = facts.freshness();
        Self {
            status: facts.status(),
            fields: fields(&packed.headers(0)),
            trailers: packed.trailers().map_or(0, |trailers| trailers.len()),
            content_bytes: packed.content().len() as u64,
            complete_bytes: facts.representation_len(),
            received: freshness.received(),
            age: freshness.age(resident),
            lifetime: freshness.lifetime(),
            lifetime_from: source(freshness.source()),
            fresh_for: freshness.remaining(resident),
            stale_for: freshness.staleness(resident),
            stale_while_revalidate: freshness.stale_while_revalidate(),
            stale_if_error: freshness.stale_if_error(),
            needs_validation: freshness.needs_validation(),
            cost: cached.cost(),
        }
    }
}

fn source(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::Extension => "extension",
        LifetimeSource::Targeted => "targeted",
        LifetimeSource::SMaxage => "s-maxage",
        LifetimeSource::MaxAge => "max-age",
        LifetimeSource::Expires => "expires",
        LifetimeSource::Policy => "rules",
        LifetimeSource::Heuristic => "heuristic",
        _ => "nobody",
    }
}

fn fields(headers: &HeaderMap) -> Vec<Field> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| Field {
        name: name.clone(),
        value: (!is_secret(name)).then(|| value.clone()),
        bytes: value.len(),
    };
    headers.iter().map(field).collect()
}

/// Whether a field is one of those whose values are secrets, or is called like one.
fn is_secret(name: &HeaderName) -> bool {
    const WORDS: [&str; 8] = ["auth", "cookie", "token", "secret", "password", "session", "api-key", "apikey"];
    WORDS.iter().any(|word| name.as_str().contains(word))
}
