use super::digest::BodyDigest;
use super::extension::Partition;
use super::rules::{Query, Rules};
use crate::Authorized;
use crate::store::{KeyBuf, Tag, Tags, lower_case};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use terrace_policy::{selecting_values, selecting_values_in};

/// How many parts a key has, other than what tells variants apart.
pub(super) const PARTS: usize = 9;

/// The parts of a request that make its key.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    keyed_by_body: Option<&'a BodyDigest>,
    scheme: &'a str,
    host: Cow<'a, str>,
    path: &'a str,
    query: Option<Cow<'a, str>>,
    partition: Option<Cow<'a, str>>,
    /// What the handler will see instead, if something on the way has rewritten the URI that the client sent.
    rewritten: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Reads a request. `None` if it names no host, or more than one, in a way that could be understood differently by
    /// the origin.
    #[inline]
    pub(super) fn of<B>(request: &'a Request<B>, rules: &Rules) -> Option<Self> {
        let (uri, extensions) = (original_uri(request), request.extensions());
        let keyed_by_body = if request.method() == Method::POST { extensions.get() } else { None };
        Some(Self {
            keyed_by_body,
            // Servers leave it out of HTTP/1 requests and put it into HTTP/2 ones.
            scheme: uri.scheme_str().unwrap_or("http"),
            host: host(uri, request.headers())?,
            path: uri.path(),
            query: significant(uri.query(), rules.query_rule()),
            partition: partition(extensions),
            rewritten: rewritten(request.uri(), uri),
        })
    }

    /// Encodes the key, so that no two different requests have the same one: first the lengths of all parts, then the parts.
    #[inline]
    pub(super) fn encode(&self, rules: &Rules, extra: Option<&str>) -> KeyBuf {
        let mut key = KeyBuf::new();
        let parts: [_; PARTS] = [
            Some(self.scheme.as_bytes()),
            Some(self.host.as_bytes()),
            Some(self.path.as_bytes()),
            self.query.as_deref().map(str::as_bytes),
            Some(rules.version_text().as_bytes()),
            self.keyed_by_body.map(BodyDigest::bytes),
            self.partition.as_deref().map(str::as_bytes),
            extra.map(str::as_bytes),
            self.rewritten.map(str::as_bytes),
        ];
        let mut lengths = Lengths::new();
        for part in parts {
            lengths.push(part.map(<[u8]>::len));
        }
        key.push(lengths.bytes());
        for part in parts.into_iter().flatten() {
            if !part.is_empty() {
                key.push(part);
            }
        }
        key
    }

    /// Whether a `POST` is to be treated like a `GET`, for its body is part of the key.
    pub(super) fn is_question<B>(request: &Request<B>) -> bool {
        request.method() == Method::POST && request.extensions().get::<BodyDigest>().is_some()
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }
}

/// Whose entries they are. Those of an authorized caller are apart from all others, and in the application's partition too
/// if it names one.
fn partition(extensions: &Extensions) -> Option<Cow<'_, str>> {
    let named = extensions.get::<Partition>().map(Partition::name);
    match extensions.get::<Authorized>() {
        Some(authorized) => Some(format!("\0{}{}", authorized.partition(), named.unwrap_or_default()).into()),
        None => named.map(Cow::from),
    }
}

/// Whether the entries for a request are for some callers alone.
pub(super) fn is_partitioned(extensions: &Extensions) -> bool {
    extensions.get::<Partition>().is_some() || extensions.get::<Authorized>().is_some()
}

/// What a request is called by who watches: its method, host and path. Neither its query nor anything of a partition is
/// told, and no more than 256 bytes.
#[cold]
pub(super) fn name<B>(request: &Request<B>, host: &str) -> Box<str> {
    const MOST: usize = 256;
    if is_partitioned(request.extensions()) {
        return "(personal)".into();
    }
    let mut name = format!("{} {host}{}", request.method(), original_uri(request).path());
    if name.len() > MOST {
        name.truncate((0..=MOST).rev().find(|at| name.is_char_boundary(*at)).unwrap_or_default());
        name.push('…');
    }
    name.into()
}

pub(super) fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The tags that an entry under this key of a [`Target`] carries without being told.
pub(super) fn implicit_tags(key: &[u8], tags: &Tags) -> Vec<Tag> {
    let Parts { host, path, query, partition } = Parts::of(key);
    let mut all = tags.implicit(host, path, query);
    all.extend(partition.map(|partition| tags.partition(partition)));
    all
}

/// The parts of a key and what follows them, which tells variants apart; `None` if that is no key.
#[inline]
pub(super) fn parts(key: &[u8]) -> Option<([Option<&[u8]>; PARTS], &[u8])> {
    let (mut rest, mut lengths) = (key, [0; PARTS]);
    for len in &mut lengths {
        *len = read_len(&mut rest)?;
    }
    let mut parts = [None; PARTS];
    for (part, len) in parts.iter_mut().zip(lengths) {
        if len > 0 {
            let (front, after) = rest.split_at_checked(len - 1)?;
            (*part, rest) = (Some(front), after);
        }
    }
    Some((parts, rest))
}

/// A length as [`Lengths`] writes it.
#[inline]
pub(super) fn read_len(from: &mut &[u8]) -> Option<usize> {
    let mut len = 0;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(len);
        }
    }
    None
}

/// What an encoded key says about its [`Target`], as far as tags are made of it.
struct Parts<'a> {
    host: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
    partition: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(key: &'a [u8]) -> Self {
        let (parts, _) = parts(key).unwrap_or_default();
        let [_, host, path, query, _, _, partition, ..] = parts;
        Self {
            host: host.unwrap_or_default(),
            path: path.unwrap_or_default(),
            query: query.unwrap_or_default(),
            partition: partition.and_then(|name| std::str::from_utf8(name).ok()),
        }
    }
}

/// A target URI in absolute form (RFC 9110 section 7.1), as far as it can be written as one.
pub(super) fn absolute(uri: &Uri, host: &str) -> Uri {
    let absolute = || {
        let mut parts = uri.clone().into_parts();
        parts.scheme.get_or_insert(Scheme::HTTP);
        parts.authority = Some(Authority::try_from(host).ok()?);
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        Uri::from_parts(parts).ok()
    };
    absolute().unwrap_or_else(|| uri.clone())
}

/// The lengths of the parts of a key, seven bits to a byte. Zero stands for a part that is not there, and each length is
/// one more than it is.
struct Lengths {
    bytes: [u8; 48],
    len: usize,
}

impl Lengths {
    fn new() -> Self {
        Self { bytes: [0; 48], len: 0 }
    }

    #[inline]
    fn push(&mut self, len: Option<usize>) {
        // Nothing that is longer than a key may be is stored.
        let mut rest = len.map_or(0, |len| u32::try_from(len).unwrap_or(u32::MAX).saturating_add(1));
        while rest >= 0x80 {
            self.push_byte(rest.to_be_bytes()[3] | 0x80);
            rest >>= 7;
        }
        self.push_byte(rest.to_be_bytes()[3]);
    }

    #[inline]
    fn push_byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The URI that the client sent. A nested axum router has taken its prefix off the request's own, and two of them may
/// share a store.
#[cfg(feature = "axum")]
pub(super) fn original_uri<B>(request: &Request<B>) -> &Uri {
    let original = request.extensions().get::<axum::extract::OriginalUri>();
    original.map_or_else(|| request.uri(), |original| &original.0)
}

/// The URI that the client sent, for all we know.
#[cfg(not(feature = "axum"))]
pub(super) fn original_uri<B>(request: &Request<B>) -> &Uri {
    request.uri()
}

/// The path and query of the request's own URI, if they are not those that the client sent.
#[inline]
fn rewritten<'a>(own: &'a Uri, original: &Uri) -> Option<&'a str> {
    let differs = !std::ptr::eq(own, original) && own.path_and_query() != original.path_and_query();
    own.path_and_query().filter(|_| differs).map(PathAndQuery::as_str)
}

/// The host in lower case: from the URI if it is absolute, else from the one `Host` line (RFC 9112 section 3.2.2).
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str().rsplit('@').next().unwrap_or_default(),
        None => single_host(headers)?,
    };
    Some(lower_case(host))
}

fn single_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = hosts(headers);
    let Some(host) = hosts.next() else {
        return Some("");
    };
    host.to_str().ok().filter(|_| hosts.next().is_none())
}

/// The `Host` lines. Looking through few fields costs less than hashing the name.
pub(super) fn hosts(headers: &HeaderMap) -> impl Iterator<Item = &HeaderValue> {
    headers.iter().filter(|(name, _)| *name == HOST).map(|(_, value)| value)
}

/// The query as it counts for the key. An empty one is not the same as none, where it counts exactly as it is.
pub(super) fn significant<'a>(query: Option<&'a str>, rule: &Query) -> Option<Cow<'a, str>> {
    let kept: &dyn Fn(&str) -> bool = match rule {
        Query::Exact => return query.map(Cow::from),
        Query::Sorted => &|_| true,
        Query::Without(names) => &|name| !names.iter().any(|other| other == name),
        Query::Only(names) => &|name| names.iter().any(|other| other == name),
    };
    let name = |parameter: &'a str| parameter.split('=').next().unwrap_or_default();
    let parameters =
        query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty() && kept(name(parameter)));
    let mut parameters: Vec<&str> = parameters.collect();
    // Stable: parameters of one name keep their order, which may mean something.
    parameters.sort_by_key(|parameter| name(parameter));
    Some(parameters.join("&").into())
}

/// What a rule adds to the key.
pub(super) fn extra_part<B>(request: Request<B>, rules: &Rules) -> (Request<B>, Option<String>) {
    let Some(part) = rules.key_part() else {
        return (request, None);
    };
    let (parts, body) = request.into_parts();
    let extra = part(&parts);
    (Request::from_parts(parts, body), extra)
}

/// The key of one variant: that of all of them, and what the request has for the selecting header fields.
pub(super) fn variant(primary: &[u8], fields: &[HeaderName], request: &HeaderMap) -> KeyBuf {
    with_values(primary, fields, &selecting_values(fields, request))
}

/// The key that a variant would have for a request that wants nothing but `language`.
pub(super) fn variant_in(primary: &[u8], fields: &[HeaderName], request: &HeaderMap, language: &HeaderValue) -> KeyBuf {
    with_values(primary, fields, &selecting_values_in(fields, request, language))
}

/// A digest stands for values that may be secrets (`Cookie`, `Authorization`, `X-Api-Key`): keys are kept, and
/// credentials must not be.
fn with_values(primary: &[u8], fields: &[HeaderName], values: &[u8]) -> KeyBuf {
    let mut key = KeyBuf::new();
    key.push(primary);
    for field in fields {
        let mut length = Lengths::new();
        length.push(Some(field.as_str().len()));
        key.push(length.bytes());
        key.push(field.as_str().as_bytes());
    }
    key.push(&[0]);
    if fields.iter().all(is_negotiation) {
        key.push(values);
    } else {
        key.push(&Sha256::digest(values));
    }
    key
}

/// `Accept`, `Accept-Encoding` and the like, which tell nothing about who asks.
pub(super) fn is_negotiation(field: &HeaderName) -> bool {
    field.as_str().starts_with("accept")
}
