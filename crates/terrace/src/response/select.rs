//! Which of the variants of a URL a request may have (RFC 9111 section 4.1).

use super::key::{variant, variant_in};
use super::stored::{Cached, Variants};
use crate::clock::Instant;
use crate::store::KeyBuf;
use crate::store::{Found, Key, Tiers};
use http::HeaderMap;
use terrace_policy::{Policy, Stored, content_language, preferred_language};

/// The keys under which a variant for this request may be found, likeliest first.
pub(super) fn keys<'a>(
    variants: &'a Variants,
    primary: &'a [u8],
    request: &'a HeaderMap,
) -> impl Iterator<Item = KeyBuf> + 'a {
    variants.fields().map(move |fields| variant(primary, fields, request))
}

/// The variant in the language that the request prefers to all others, if the policy lets language alone decide.
pub(super) fn in_language(
    tiers: &Tiers<Cached>,
    variants: &Variants,
    (primary, now): (&[u8], Instant),
    request: &HeaderMap,
    policy: &Policy,
) -> Option<Found<Cached>> {
    if !policy.match_language {
        return None;
    }
    let language = preferred_language(request)?;
    let key = variants.fields().find_map(|fields| {
        let key = variant_in(primary, fields, request, &language);
        variants.in_language(tiers.hash(&key))
    })?;
    let found = tiers.peek(key.hash(), key.bytes(), now)?;
    let Cached::Response(cached) = found.entry.value() else {
        return None;
    };
    let headers = cached.headers();
    let own = variants.fields().find_map(|fields| content_language(fields, &headers))?;
    own.as_bytes().eq_ignore_ascii_case(language.as_bytes()).then_some(found)
}

/// The hash of the key that a response would have for its language alone, if the policy lets language alone decide.
pub(super) fn language(
    tiers: &Tiers<Cached>,
    primary: &Key,
    fields: &[http::HeaderName],
    request: &HeaderMap,
    response: &HeaderMap,
    policy: &Policy,
) -> Option<u64> {
    let language = content_language(fields, response).filter(|_| policy.match_language)?;
    Some(tiers.hash(&variant_in(primary.bytes(), fields, request, &language)))
}
