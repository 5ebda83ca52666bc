//! Validators, conditional requests and freshening (RFC 9111 section 4.3, RFC 9110 sections 8.8 and 13).

use crate::StoredResponse;
use crate::time::parse_date;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::{Duration, SystemTime};

/// An entity tag (RFC 9110 section 8.8.3). Tags that lack their quotes are kept as they are: they
/// equal only themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let text = text.trim_ascii();
        match text.strip_prefix(b"W/") {
            Some(opaque) => Self { weak: true, opaque },
            None => Self { weak: false, opaque: text },
        }
    }

    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        headers.get(ETAG).map(|value| Self::new(value.as_bytes()))
    }

    /// "two entity tags are equivalent if both are not weak and their opaque-tags match" (8.8.3.2).
    pub(crate) fn strong_eq(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    pub(crate) fn weak_eq(self, other: Self) -> bool {
        self.opaque == other.opaque
    }

    pub(crate) fn is_strong(self) -> bool {
        !self.weak
    }
}

/// Splits a list of entity tags at the commas outside their quotes.
fn entity_tags(list: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    let mut quoted = false;
    list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|tag| !tag.is_empty())
    .map(EntityTag::new)
}

/// Does `If-None-Match` name `tag`? Weak comparison (RFC 9110 section 13.1.2). `*` matches any.
pub(crate) fn none_match_names(request: &HeaderMap, tag: Option<EntityTag<'_>>) -> bool {
    request.get_all(IF_NONE_MATCH).iter().any(|line| {
        line.as_bytes().trim_ascii() == b"*"
            || entity_tags(line.as_bytes()).any(|asked| tag.is_some_and(|tag| asked.weak_eq(tag)))
    })
}

/// Would the client of `request` already have what a response with these `headers` carries?
/// (RFC 9111 section 4.3.2.) `received` stands in where the response has no date of its own.
pub(crate) fn not_modified(request: &HeaderMap, headers: &HeaderMap, received: SystemTime) -> bool {
    // "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match" (RFC 9110 section 13.1.3).
    if request.contains_key(IF_NONE_MATCH) {
        return none_match_names(request, EntityTag::of(headers));
    }
    let Some(since) = single(request, &IF_MODIFIED_SINCE).and_then(|value| parse_date(value, received)) else {
        return false;
    };
    let own = headers.get(LAST_MODIFIED).or_else(|| headers.get(DATE));
    let modified = own.map_or(Some(received), |value| parse_date(value, received));
    modified.is_some_and(|modified| modified <= since)
}

/// May the `Range` of this request be applied to a response with these `headers`, as far as
/// `If-Range` is concerned? (RFC 9110 section 13.1.5)
pub(crate) fn if_range_holds(request: &HeaderMap, headers: &HeaderMap, received: SystemTime) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    if let Some(date) = parse_date(condition, received) {
        let modified = headers.get(LAST_MODIFIED).and_then(|value| parse_date(value, received));
        return modified == Some(date) && has_strong_date(headers, received);
    }
    let asked = EntityTag::new(condition.as_bytes());
    EntityTag::of(headers).is_some_and(|tag| tag.strong_eq(asked))
}

/// "at least one second apart" is not enough for clocks of whole seconds that are read at different
/// moments; the RFC's own example of a minute is what deployed caches use (RFC 9110 section 8.8.2.2).
fn has_strong_date(headers: &HeaderMap, received: SystemTime) -> bool {
    let read = |name: &HeaderName| headers.get(name).and_then(|value| parse_date(value, received));
    let (Some(modified), Some(date)) = (read(&LAST_MODIFIED), read(&DATE)) else {
        return false;
    };
    date.duration_since(modified).is_ok_and(|apart| apart >= Duration::from_secs(60))
}

/// Do both heads carry the same strong validator, so that their contents may be combined (RFC 9111 section 3.4)?
pub(crate) fn same_strong_validator(a: &HeaderMap, b: &HeaderMap, received: SystemTime) -> bool {
    match (EntityTag::of(a), EntityTag::of(b)) {
        (Some(a), Some(b)) => a.strong_eq(b),
        (None, None) => {
            let same = a.get(LAST_MODIFIED).is_some() && a.get(LAST_MODIFIED) == b.get(LAST_MODIFIED);
            same && has_strong_date(a, received) && has_strong_date(b, received)
        }
        _ => false,
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// The conditional fields that ask the origin whether a stored response still holds (section 4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) last_modified: Option<HeaderValue>,
}

impl Validators {
    /// The validators of a response head; `None` if it has none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let (etag, last_modified) = (headers.get(ETAG).cloned(), headers.get(LAST_MODIFIED).cloned());
        (etag.is_some() || last_modified.is_some()).then_some(Self { etag, last_modified })
    }

    /// Puts them into a request in the place of the client's own preconditions, so that the answer
    /// is about the stored response and nothing else.
    pub fn apply(&self, request: &mut HeaderMap) {
        strip_preconditions(request);
        if let Some(etag) = &self.etag {
            request.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(date) = &self.last_modified {
            request.insert(IF_MODIFIED_SINCE, date.clone());
        }
    }
}

/// Removes `If-None-Match` and `If-Modified-Since`, so that the origin sends a response that can be stored.
pub fn strip_preconditions(request: &mut HeaderMap) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
}

/// What a 304 says about the one stored response whose validators were sent (section 4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validated {
    /// It holds, and the head of the 304 updates it.
    Update,
    /// It holds, for nothing else was asked about; but the 304 names another validator, so that it
    /// "MUST NOT" be used "to update any stored responses". The stored response is as old as this
    /// validation (Age counts "since the origin server generated or validated the response",
    /// section 5.1) and keeps its head.
    KeepHead,
}

impl StoredResponse {
    /// Judges the head of a 304 that answered a request with this response's validators.
    pub fn validated_by(&self, not_modified: &HeaderMap) -> Validated {
        let Some(named) = EntityTag::of(not_modified) else {
            let (own, named) = (self.headers().get(LAST_MODIFIED), not_modified.get(LAST_MODIFIED));
            let other = own.is_some() && named.is_some() && own != named;
            return if other { Validated::KeepHead } else { Validated::Update };
        };
        let own = EntityTag::of(self.headers());
        let matches = own.is_some_and(|own| if named.is_strong() { own.strong_eq(named) } else { own.weak_eq(named) });
        if matches || own.is_none() { Validated::Update } else { Validated::KeepHead }
    }

    /// Does a 200 to `HEAD` describe the stored response? Only then may it freshen it (section 4.3.5).
    pub fn described_by(&self, head: &HeaderMap) -> bool {
        let same = |name: &HeaderName| head.get(name).is_none_or(|value| self.headers().get(name) == Some(value));
        let length = head.get(CONTENT_LENGTH).is_none_or(|value| {
            self.representation_len().is_some_and(|len| value.as_bytes() == len.to_string().as_bytes())
        });
        same(&ETAG) && same(&LAST_MODIFIED) && length
    }

    /// Does the client of `request` already have what a 304 with this head stands for, though it is
    /// not the stored response?
    pub fn is_bypassed_by(request: &HeaderMap, not_modified: &HeaderMap) -> bool {
        request.contains_key(IF_NONE_MATCH) && none_match_names(request, EntityTag::of(not_modified))
    }
}

/// Copies the fields of a newer head over those of a stored one (section 3.2), except what is
/// excepted from storage and what describes the stored bytes themselves.
pub(crate) fn update(stored: &mut HeaderMap, newer: &HeaderMap) {
    for name in newer.keys().filter(|name| !describes_bytes(name)) {
        stored.remove(name);
    }
    for (name, value) in newer.iter().filter(|(name, _)| !describes_bytes(name)) {
        stored.append(name, value.clone());
    }
}

/// `Content-Length` by name, the others because changing them would "affect … integrity of the
/// stored response" (section 3.2): the validator, the coding, the range and the digests belong to
/// the bytes that are kept.
fn describes_bytes(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, ETAG].contains(name)
        || matches!(name.as_str(), "content-md5" | "digest" | "content-digest" | "repr-digest")
}
