//! May a response be stored? (RFC 9111 section 3)

use crate::Policy;
use crate::directives::{Qualified, RequestDirectives, ResponseDirectives};
use crate::freshness::{Freshness, LifetimeSource, Stated, StatedBy, Timing, is_heuristically_cacheable};
use crate::has::Has;
use crate::invalidate::resolve;
use crate::range::{ByteRange, ContentRange};
use crate::stored::{Extent, Facts, Part, StoredResponse};
use crate::time::{format_date, parse_date, whole_seconds};
use crate::validate::{same_strong_validator, update};
use crate::vary::Vary;
use http::header::{
    AGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, COOKIE, DATE, HeaderName,
    SET_COOKIE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use std::time::Duration;

/// One exchange with the origin, to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The target URI: absolute, or in origin form.
    pub target: &'a Uri,
    /// The request's header fields, as the client sent them.
    pub request: &'a HeaderMap,
    /// The response's status code.
    pub status: StatusCode,
    /// The response's header fields.
    pub response: &'a HeaderMap,
    /// When it happened.
    pub timing: Timing,
    /// What the application said in a typed extension; it then counts instead of `Cache-Control`.
    pub extension: Option<&'a ResponseDirectives>,
    /// The entry will be kept apart for one principal, so that credentials in the request do not matter.
    pub partitioned: bool,
    /// A `POST` whose body is part of the cache key: its response is treated like that of a `GET`.
    pub keyed_by_body: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unstorable {
    /// The request method gives nothing to store (section 3).
    Method,
    /// The status code is not final, or its meaning depends on this one request.
    Status,
    /// `no-store` in the request or the response.
    NoStore,
    /// `private`.
    Private,
    /// Credentials or cookies, and nothing that allows to share the response (section 3.5).
    Personal,
    /// `Vary: *`, or a `Vary` that is not understood.
    Vary,
    /// Neither fresh at any time nor possible to validate.
    NothingToReuse,
    /// A partial response without a usable `Content-Range`, or shorter or longer than that says.
    Partial,
}

impl Unstorable {
    /// A short name, for `Cache-Status` details and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Personal => "personal",
            Self::Vary => "vary",
            Self::NothingToReuse => "no-lifetime",
            Self::Partial => "partial",
        }
    }
}

/// Proof that a response may be stored, with the head as it is to be stored.
///
/// Only [`storable`], [`storable_in_place`] and [`freshen`] make one, and nothing else makes a [`StoredResponse`]: what
/// nobody judged cannot be stored.
///
/// ```compile_fail,E0451
/// # use terrace_policy::Storable;
/// fn forge(judged: Storable) -> Storable {
///     Storable { ..judged }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Storable<H = HeaderMap> {
    status: StatusCode,
    head: H,
    freshness: Freshness,
    vary: Vec<HeaderName>,
    part: Option<ContentRange>,
    lenient_partial: bool,
}

/// Judges an exchange by section 3.
///
/// # Errors
/// Says why the response may not be stored, or is not worth it.
pub fn storable(exchange: &Exchange<'_>, policy: &Policy) -> Result<Storable, Unstorable> {
    let judged = storable_in_place(exchange, policy)?;
    Ok(judged.map(|fields| fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect()))
}

/// As [`storable`], for who keeps the head in a form of its own: it is still in the response.
///
/// # Errors
/// As [`storable`].
pub fn storable_in_place<'a>(
    exchange: &Exchange<'a>,
    policy: &Policy,
) -> Result<Storable<StoredFields<'a>>, Unstorable> {
    let has = Has::of(exchange.response);
    let stated = Stated::of(exchange.response, exchange.extension, policy);
    let directives = &stated.directives;
    allowed_by_method(exchange, &stated, policy)?;
    let part = allowed_by_status(exchange, directives)?;
    if RequestDirectives::from_cache_control(exchange.request).no_store {
        return Err(Unstorable::NoStore);
    }
    allowed_by_directives(exchange.status, directives)?;
    if !exchange.partitioned {
        allowed_by_credentials(exchange, &stated, has, policy)?;
    }
    let Vary::Fields(vary) = (if has.vary() { Vary::of(exchange.response) } else { Vary::Fields(Vec::new()) }) else {
        return Err(Unstorable::Vary);
    };
    let freshness = Freshness::of(exchange.status, (exchange.response, has), &stated, exchange.timing, policy);
    worth_storing(exchange, (directives, has), &freshness, policy)?;
    let head = StoredFields::of(exchange.response, has, directives, exchange.timing);
    let lenient_partial = policy.lenient_partial;
    Ok(Storable { status: exchange.status, head, freshness, vary, part, lenient_partial })
}

/// "the request method is understood by the cache". A `POST` response only if it has "explicit
/// freshness information … and a Content-Location header field that has the same value as the
/// POST's target URI" (RFC 9110 section 9.3.3).
fn allowed_by_method(exchange: &Exchange<'_>, stated: &Stated, policy: &Policy) -> Result<(), Unstorable> {
    if exchange.method == Method::GET || (exchange.keyed_by_body && exchange.method == Method::POST) {
        return Ok(());
    }
    let located = || {
        let location = exchange.response.get(CONTENT_LOCATION)?.to_str().ok()?;
        Some(resolve(exchange.target, location)? == *exchange.target)
    };
    let reusable = policy.store_post
        && exchange.method == Method::POST
        && exchange.status.is_success()
        && stated.names_lifetime(exchange.response)
        && located() == Some(true);
    if reusable { Ok(()) } else { Err(Unstorable::Method) }
}

/// "the response status code is final", and "understood" if it is 206, 304 or marked
/// `must-understand`. Codes that answer a precondition, a range or an expectation of one request
/// say nothing to another.
fn allowed_by_status(
    exchange: &Exchange<'_>,
    directives: &ResponseDirectives,
) -> Result<Option<ContentRange>, Unstorable> {
    let code = exchange.status.as_u16();
    if code < 200 || matches!(code, 304 | 412 | 416 | 417) || (directives.must_understand && !is_understood(code)) {
        return Err(Unstorable::Status);
    }
    if exchange.status != StatusCode::PARTIAL_CONTENT {
        return Ok(None);
    }
    ContentRange::of(exchange.response).map(Some).ok_or(Unstorable::Partial)
}

/// The final status codes of RFC 9110 section 15 (and 308, 421, 422, 426, 451 beside them) whose
/// caching requirements are obeyed here.
fn is_understood(code: u16) -> bool {
    matches!(code, 200..=206 | 300..=303 | 305 | 307 | 308 | 400..=411 | 413..=415 | 421 | 422 | 426 | 451 | 500..=505)
}

fn allowed_by_directives(status: StatusCode, directives: &ResponseDirectives) -> Result<(), Unstorable> {
    // 5.2.2.3: a cache that understands the status "SHOULD ignore the no-store directive" beside must-understand.
    let understood = directives.must_understand && is_understood(status.as_u16());
    if directives.no_store && !understood {
        return Err(Unstorable::NoStore);
    }
    if directives.private == Qualified::Whole {
        return Err(Unstorable::Private);
    }
    Ok(())
}

/// Section 3.5 for `Authorization`: `must-revalidate`, `public` and `s-maxage` allow to store. With
/// [`Policy::guard_cookies`] the response must have been meant for everybody, and cookies count as credentials.
fn allowed_by_credentials(
    exchange: &Exchange<'_>,
    stated: &Stated,
    has: Has,
    policy: &Policy,
) -> Result<(), Unstorable> {
    let directives = &stated.directives;
    let targeted = stated.by != StatedBy::CacheControl && stated.names_lifetime(exchange.response);
    let shared = directives.public || directives.s_maxage.is_some() || targeted;
    if exchange.request.contains_key(AUTHORIZATION) {
        let revalidated = directives.must_revalidate && !policy.guard_cookies;
        return if shared || revalidated { Ok(()) } else { Err(Unstorable::Personal) };
    }
    let sets = has.set_cookie();
    let cookies = sets || exchange.request.contains_key(COOKIE);
    if !policy.guard_cookies || !cookies {
        return Ok(());
    }
    // With Set-Cookie, `public` alone does not make a lifetime that nobody named.
    if shared && (!sets || stated.names_lifetime(exchange.response)) { Ok(()) } else { Err(Unstorable::Personal) }
}

/// Section 3 allows more to be stored than can ever be used. What is never fresh is kept only if it
/// can be validated or served stale.
fn worth_storing(
    exchange: &Exchange<'_>,
    (directives, has): (&ResponseDirectives, Has),
    freshness: &Freshness,
    policy: &Policy,
) -> Result<(), Unstorable> {
    let validates = has.validator();
    let fresh = freshness.is_fresh(Duration::ZERO);
    let stale = !freshness.stale_while_revalidate().is_zero() || !freshness.stale_if_error().is_zero();
    let expires_again = !freshness.lifetime().is_zero() && policy.stale_when_disconnected;
    if freshness.needs_validation() && !validates {
        return Err(Unstorable::NothingToReuse);
    }
    // A status that no heuristic covers needs a reason to be stored that is in the response (section 3).
    let cacheable = freshness.source() != LifetimeSource::Nobody
        || directives.public
        || is_heuristically_cacheable(exchange.status);
    let useful = fresh || stale || expires_again || validates;
    if cacheable && useful { Ok(()) } else { Err(Unstorable::NothingToReuse) }
}

/// The fields to store: all but those of section 3.1, those that `private` or `no-cache` name, and
/// `Age`, which becomes part of the freshness. A response without a `Date` gets one (RFC 9110 section 6.6.1).
#[derive(Clone, Debug)]
pub struct StoredFields<'a> {
    response: &'a HeaderMap,
    without: Vec<HeaderName>,
    /// In the place of what is no date.
    date: Option<HeaderValue>,
}

impl<'a> StoredFields<'a> {
    fn of(response: &'a HeaderMap, has: Has, directives: &ResponseDirectives, timing: Timing) -> Self {
        let named = directives.private.fields().iter().chain(directives.no_cache.fields());
        let mut without: Vec<HeaderName> = named.cloned().collect();
        if has.age() || has.connection() {
            without.push(AGE);
            without.extend(connection_fields(response));
        }
        let date = response.get(DATE).filter(|_| has.date() && !without.contains(&DATE));
        let dated = date.and_then(|value| parse_date(value, timing.received)).is_some();
        let date = (!dated).then(|| format_date(whole_seconds(timing.received)));
        if date.is_some() && has.date() {
            without.push(DATE);
        }
        Self { response, without, date }
    }

    /// Each field line.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let kept = self.response.iter().filter(|(name, _)| !self.without.contains(name));
        kept.chain(self.date.as_ref().map(|date| (&DATE, date)))
    }
}

/// Removes the fields that belong to one connection, those named in `Connection` included (RFC 9110
/// section 7.6.1), and those of a proxy (RFC 9111 section 3.1).
pub(crate) fn remove_connection_fields(headers: &mut HeaderMap) {
    for name in connection_fields(headers) {
        headers.remove(name);
    }
}

fn connection_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = named_in_connection(headers);
    names.extend(headers.keys().filter(|name| belongs_to_connection(name.as_str())).cloned());
    names
}

fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

pub(crate) fn belongs_to_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

impl<H> Storable<H> {
    /// The selecting header fields: empty if the response does not vary.
    pub fn vary(&self) -> &[HeaderName] {
        &self.vary
    }

    /// How long the response may be used, and how.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The head as it is to be stored.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Keeps the head in another form.
    pub fn map<T>(self, form: impl FnOnce(H) -> T) -> Storable<T> {
        let Self { status, head, freshness, vary, part, lenient_partial } = self;
        Storable { status, head: form(head), freshness, vary, part, lenient_partial }
    }

    /// Takes `share` (0 to 1) off the lifetime, so that entries stored together do not expire together.
    pub fn shorten(&mut self, share: f64) {
        self.freshness.shorten(share);
    }

    /// Whether it is a part of a representation.
    pub fn is_partial(&self) -> bool {
        self.part.is_some()
    }

    /// What there is to know once `len` bytes of content have arrived, and the head. If it is a part,
    /// [`StoredResponse::from_parts`] and [`StoredResponse::completed`] put them together.
    ///
    /// # Errors
    /// [`Unstorable::Partial`] if a 206 has another length than its `Content-Range` says.
    pub fn received_in_place(self, len: u64) -> Result<(Facts, H), Unstorable> {
        let Self { status, head, freshness, part, lenient_partial, .. } = self;
        let extent = match part {
            None => Extent::Complete { len },
            Some(part) if len == 0 || (part.range.len() != len && !lenient_partial) => return Err(Unstorable::Partial),
            Some(ContentRange { range, complete }) => Extent::Part(Box::new(Part { range, complete, len })),
        };
        Ok((Facts { status, freshness, extent }, head))
    }
}

impl Storable {
    /// Completes the head once `len` bytes of content have arrived.
    ///
    /// # Errors
    /// [`Unstorable::Partial`] if a 206 has another length than its `Content-Range` says.
    pub fn received(self, len: u64) -> Result<StoredResponse, Unstorable> {
        let (facts, headers) = self.received_in_place(len)?;
        Ok(StoredResponse { facts, headers }.completed())
    }
}

/// Two parts of one representation put together (section 3.4).
#[derive(Debug)]
pub struct Combined {
    /// The head, complete if nothing is missing any more.
    pub stored: StoredResponse,
    /// How many bytes of the earlier part come before the later part.
    pub before: u64,
    /// How many bytes at the start of the earlier part lie before and inside the later part; what
    /// follows them comes after the later part.
    pub until: u64,
}

impl StoredResponse {
    /// A part that is all there is of its representation, as a complete response; anything else as it is.
    #[must_use]
    pub fn completed(self) -> Self {
        match &self.facts.extent {
            Extent::Part(part) if part.range.first == 0 && part.complete == Some(part.len) => {
                let len = part.len;
                self.into_complete(len)
            }
            _ => self,
        }
    }

    fn into_complete(mut self, len: u64) -> Self {
        self.facts.status = StatusCode::OK;
        self.facts.extent = Extent::Complete { len };
        self.headers.remove(CONTENT_RANGE);
        self.headers.insert(CONTENT_LENGTH, len.into());
        self
    }

    /// Combines a stored part with a newer one that overlaps or touches it, "if they all share the
    /// same strong validator" (section 3.4). The newer head counts. `None` if they do not combine.
    pub fn combine(&self, newer: &Self) -> Option<Combined> {
        let (Extent::Part(a), Extent::Part(b)) = (&self.facts.extent, &newer.facts.extent) else {
            return None;
        };
        // Content of another length than its range has no certain place in the whole.
        if a.len != a.range.len() || b.len != b.range.len() {
            return None;
        }
        let (Part { range: a, complete, .. }, Part { range: b, complete: same, .. }) = (**a, **b);
        let touches = a.first <= b.last + 1 && b.first <= a.last + 1;
        let received = newer.freshness().received();
        if !touches || complete != same || !same_strong_validator(&self.headers, &newer.headers, received) {
            return None;
        }
        let range = ByteRange { first: a.first.min(b.first), last: a.last.max(b.last), suffix: false };
        let mut stored = newer.clone();
        stored.facts.extent = Extent::Part(Box::new(Part { range, complete, len: range.len() }));
        stored.headers.insert(CONTENT_RANGE, range.content_range(complete));
        stored.headers.insert(CONTENT_LENGTH, range.len().into());
        if range.first == 0 && complete == Some(range.len()) {
            stored = stored.into_complete(range.len());
        }
        let before = b.first.saturating_sub(a.first).min(a.len());
        let until = (b.last + 1).saturating_sub(a.first).min(a.len());
        Some(Combined { stored, before, until })
    }
}

/// Judges a stored response anew after a 304, or a 200 to `HEAD`, whose head is `exchange.response`
/// (sections 3.2, 4.3.4 and 4.3.5). With `keep_head` nothing of that head is taken but its arrival.
///
/// # Errors
/// Gives back the new head of a response that may not stay stored with it: for the client, and for nobody else.
pub fn freshen(
    stored: &StoredResponse,
    exchange: &Exchange<'_>,
    keep_head: bool,
    policy: &Policy,
) -> Result<StoredResponse, HeaderMap> {
    let mut newer = exchange.response.clone();
    remove_connection_fields(&mut newer);
    if policy.guard_cookies && !exchange.partitioned {
        // A cookie that a validation sets is for the client that caused it.
        newer.remove(SET_COOKIE);
    }
    let mut merged = stored.headers.clone();
    // A validation makes the stored response as old as its answer, which may lack a Date.
    merged.insert(DATE, format_date(whole_seconds(exchange.timing.received)));
    if !keep_head {
        update(&mut merged, &newer);
    }
    // The content came with another request, whose credentials were judged then.
    let exchange =
        Exchange { method: &Method::GET, status: stored.status(), response: &merged, partitioned: true, ..*exchange };
    let Ok(Storable { head: headers, freshness, .. }) = storable(&exchange, policy) else {
        return Err(merged);
    };
    let facts = Facts { status: stored.status(), freshness, extent: stored.facts.extent.clone() };
    Ok(StoredResponse { facts, headers })
}
