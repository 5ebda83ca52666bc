//! Freshness lifetime and age (RFC 9111 section 4.2).

use crate::Policy;
use crate::directives::{Qualified, ResponseDirectives};
use crate::has::Has;
use crate::time::{delta_seconds, parse_date, whole_seconds};
use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a response was asked for and received.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The wall clock when the response head arrived: `response_time` of section 4.2.3.
    pub received: SystemTime,
    /// How long it took to arrive: `response_delay` of section 4.2.3.
    pub delay: Duration,
}

/// Who gave a response its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifetimeSource {
    /// The application, through a typed extension.
    Extension,
    /// A targeted field (RFC 9213).
    Targeted,
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// [`Policy::default_ttl`] or [`Policy::status_ttl`].
    Policy,
    /// A guess from `Last-Modified` (section 4.2.2).
    Heuristic,
    /// Nobody: the response is never fresh.
    Nobody,
}

impl LifetimeSource {
    /// In the order of their numbers.
    const ALL: [Self; 8] = [
        Self::Extension,
        Self::Targeted,
        Self::SMaxage,
        Self::MaxAge,
        Self::Expires,
        Self::Policy,
        Self::Heuristic,
        Self::Nobody,
    ];

    /// Whether the origin named the lifetime itself: "explicit expiration" (section 4.2.1).
    pub fn is_explicit(self) -> bool {
        !matches!(self, Self::Policy | Self::Heuristic | Self::Nobody)
    }
}

/// How long a stored response may be used, and how. Computed once, when it is stored.
///
/// There is one per entry, so it is small: milliseconds and seconds instead of [`Duration`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// `corrected_initial_age` (section 4.2.3): how old it already was when it arrived.
    initial_age_ms: u64,
    /// `freshness_lifetime` (section 4.2.1).
    lifetime_ms: u64,
    /// Wall clock at arrival, in seconds since 1970.
    received_s: u32,
    stale_while_revalidate_s: u32,
    stale_if_error_s: u32,
    source: LifetimeSource,
    stale_use: StaleUse,
    /// `no-cache`: each use needs a successful validation.
    always_validate: bool,
    immutable: bool,
}

const _: () = assert!(size_of::<Freshness>() == 32);

/// When a stale response may be used (section 4.2.4). Each allows what those before it allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StaleUse {
    /// A directive prohibits it.
    Never,
    /// Within the windows of RFC 5861, if the response has any.
    InWindows,
    /// If the client accepts it.
    IfAccepted,
    /// While the origin cannot be reached.
    WhenDisconnected,
}

impl Freshness {
    pub(crate) fn of(
        status: StatusCode,
        head: (&HeaderMap, Has),
        stated: &Stated,
        timing: Timing,
        policy: &Policy,
    ) -> Self {
        let directives = &stated.directives;
        let (lifetime, source) = lifetime(status, head, stated, timing, policy);
        let initial_age = initial_age(head, timing);
        let stale_use = StaleUse::of(directives, policy);
        let window = |own: Option<Duration>, default: Duration| match own {
            _ if stale_use == StaleUse::Never => 0,
            Some(window) => seconds(window),
            // s-maxage alone prohibits stale answers (5.2.2.10); only an explicit window lifts that.
            None if directives.s_maxage.is_some() => 0,
            None => seconds(default),
        };
        let received = timing.received.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            initial_age_ms: milliseconds(initial_age.unwrap_or_default()),
            lifetime_ms: if initial_age.is_some() { milliseconds(lifetime) } else { 0 },
            received_s: seconds(received),
            stale_while_revalidate_s: window(directives.stale_while_revalidate, policy.stale_while_revalidate),
            stale_if_error_s: window(directives.stale_if_error, policy.stale_if_error),
            source,
            stale_use,
            always_validate: directives.no_cache == Qualified::Whole,
            immutable: directives.immutable,
        }
    }

    /// `current_age` of a response that has been stored for `resident` (section 4.2.3).
    pub fn age(&self, resident: Duration) -> Duration {
        Duration::from_millis(self.age_ms(resident))
    }

    /// How much longer it is fresh; zero when it is stale.
    pub fn remaining(&self, resident: Duration) -> Duration {
        Duration::from_millis(self.lifetime_ms.saturating_sub(self.age_ms(resident)))
    }

    /// How long it has been stale; zero while it is fresh.
    pub fn staleness(&self, resident: Duration) -> Duration {
        Duration::from_millis(self.age_ms(resident).saturating_sub(self.lifetime_ms))
    }

    /// `response_is_fresh = (freshness_lifetime > current_age)` (section 4.2).
    pub fn is_fresh(&self, resident: Duration) -> bool {
        self.lifetime_ms > self.age_ms(resident)
    }

    fn age_ms(&self, resident: Duration) -> u64 {
        self.initial_age_ms.saturating_add(milliseconds(resident))
    }

    /// The freshness lifetime.
    pub fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime_ms)
    }

    /// Who gave the lifetime.
    pub fn source(&self) -> LifetimeSource {
        self.source
    }

    /// For how long it may be served stale while it is revalidated.
    pub fn stale_while_revalidate(&self) -> Duration {
        Duration::from_secs(self.stale_while_revalidate_s.into())
    }

    /// For how long it may be served stale when the origin fails.
    pub fn stale_if_error(&self) -> Duration {
        Duration::from_secs(self.stale_if_error_s.into())
    }

    /// When the response arrived, in whole seconds of the wall clock.
    pub fn received(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.received_s.into())
    }

    /// `no-cache` (section 5.2.2.4): each use needs a successful validation.
    pub fn needs_validation(&self) -> bool {
        self.always_validate
    }

    /// Whether no request can ever be answered without asking the origin first.
    pub fn always_validates(&self) -> bool {
        self.always_validate || (self.lifetime_ms <= self.initial_age_ms && self.stale_while_revalidate_s == 0)
    }

    pub(crate) fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// Whether it may be served stale to a client that accepts it (`max-stale`, section 5.2.1.2).
    pub(crate) fn is_stale_if_accepted(&self) -> bool {
        self.stale_use >= StaleUse::IfAccepted
    }

    /// Whether it may be served however stale it is, while the origin cannot be reached.
    pub fn may_be_stale(&self) -> bool {
        self.stale_use == StaleUse::WhenDisconnected
    }

    /// Takes `share` (0 to 1) off the lifetime, so that entries stored together do not expire together.
    pub fn shorten(&mut self, share: f64) {
        if share.is_nan() {
            return;
        }
        // Only nearly all of the longest lifetime rounds to more than a Duration holds.
        let cut = Duration::try_from_secs_f64(self.lifetime().as_secs_f64() * share.clamp(0.0, 1.0));
        self.lifetime_ms = self.lifetime_ms.saturating_sub(milliseconds(cut.unwrap_or(Duration::MAX)));
    }

    /// May it be served stale because its origin failed (RFC 5861 section 4) or, if `disconnected`,
    /// did not answer at all (RFC 9111 section 4.2.4)?
    pub fn may_serve_on_error(&self, resident: Duration, disconnected: bool) -> bool {
        if self.always_validate || self.stale_use == StaleUse::Never {
            return false;
        }
        let window = self.stale_if_error();
        let within = self.staleness(resident) <= window && !window.is_zero();
        within || (disconnected && self.may_be_stale())
    }
}

/// As bytes: see [`Facts::encode`](crate::Facts::encode).
impl Freshness {
    pub(crate) const ENCODED_LEN: usize = 2 * 8 + 3 * 4 + 4;

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend(self.initial_age_ms.to_be_bytes());
        to.extend(self.lifetime_ms.to_be_bytes());
        for seconds in [self.received_s, self.stale_while_revalidate_s, self.stale_if_error_s] {
            to.extend(seconds.to_be_bytes());
        }
        to.extend([self.source as u8, self.stale_use as u8, self.always_validate.into(), self.immutable.into()]);
    }

    pub(crate) fn decode(bytes: &[u8; Self::ENCODED_LEN], ago: Duration) -> Option<Self> {
        let (long, rest) = bytes.split_first_chunk::<16>()?;
        let (short, rest) = rest.split_first_chunk::<12>()?;
        let ([initial_age, lifetime], [received, revalidate, error]) = (long.as_chunks().0, short.as_chunks().0) else {
            return None;
        };
        let [source, stale_use, always_validate @ (0 | 1), immutable @ (0 | 1)] = *rest else {
            return None;
        };
        Some(Self {
            initial_age_ms: u64::from_be_bytes(*initial_age).saturating_add(milliseconds(ago)),
            lifetime_ms: u64::from_be_bytes(*lifetime),
            received_s: u32::from_be_bytes(*received),
            stale_while_revalidate_s: u32::from_be_bytes(*revalidate),
            stale_if_error_s: u32::from_be_bytes(*error),
            source: *LifetimeSource::ALL.get(usize::from(source))?,
            stale_use: *StaleUse::ALL.get(usize::from(stale_use))?,
            always_validate: always_validate == 1,
            immutable: immutable == 1,
        })
    }
}

impl StaleUse {
    const ALL: [Self; 4] = [Self::Never, Self::InWindows, Self::IfAccepted, Self::WhenDisconnected];

    fn of(directives: &ResponseDirectives, policy: &Policy) -> Self {
        let s_maxage = directives.s_maxage.is_some();
        if directives.must_revalidate || directives.proxy_revalidate || (s_maxage && policy.s_maxage_forbids_stale) {
            Self::Never
        } else if s_maxage {
            // "also incorporates the semantics of the proxy-revalidate response directive" (section 5.2.2.10).
            Self::InWindows
        } else if policy.stale_when_disconnected {
            Self::WhenDisconnected
        } else {
            Self::IfAccepted
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The directives that count for a response, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Stated {
    pub(crate) directives: ResponseDirectives,
    pub(crate) by: StatedBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatedBy {
    Extension,
    Targeted,
    CacheControl,
}

impl Stated {
    /// "selects the first (in target list order) field with a valid, non-empty value … and MUST
    /// ignore the Cache-Control and Expires header fields in that response" (RFC 9213 section 2.2).
    pub(crate) fn of(headers: &HeaderMap, extension: Option<&ResponseDirectives>, policy: &Policy) -> Self {
        if let Some(directives) = extension {
            return Self { directives: directives.clone(), by: StatedBy::Extension };
        }
        let mut targeted = policy.targeted.iter();
        if let Some(directives) = targeted.find_map(|name| ResponseDirectives::from_targeted(headers, name)) {
            return Self { directives, by: StatedBy::Targeted };
        }
        Self { directives: ResponseDirectives::from_cache_control(headers), by: StatedBy::CacheControl }
    }

    /// Whether the response says itself how long it is fresh.
    pub(crate) fn names_lifetime(&self, headers: &HeaderMap) -> bool {
        self.directives.max_age.is_some()
            || self.directives.s_maxage.is_some()
            || (self.by == StatedBy::CacheControl && headers.contains_key(EXPIRES))
    }
}

/// `freshness_lifetime`, "by evaluating the following rules and using the first match" (section 4.2.1).
fn lifetime(
    status: StatusCode,
    (headers, has): (&HeaderMap, Has),
    stated: &Stated,
    timing: Timing,
    policy: &Policy,
) -> (Duration, LifetimeSource) {
    let directives = &stated.directives;
    if let Some(lifetime) = directives.s_maxage {
        return (lifetime, stated.source(LifetimeSource::SMaxage));
    }
    if let Some(lifetime) = directives.max_age {
        return (lifetime, stated.source(LifetimeSource::MaxAge));
    }
    if has.expires() && stated.names_lifetime(headers) {
        return (expires(headers, timing), LifetimeSource::Expires);
    }
    if let Some(lifetime) = policy_ttl(status, policy) {
        return (lifetime, LifetimeSource::Policy);
    }
    match heuristic(status, headers, directives, timing, policy) {
        Some(lifetime) => (lifetime, LifetimeSource::Heuristic),
        None => (Duration::ZERO, LifetimeSource::Nobody),
    }
}

impl Stated {
    fn source(&self, own: LifetimeSource) -> LifetimeSource {
        match self.by {
            StatedBy::Extension => LifetimeSource::Extension,
            StatedBy::Targeted => LifetimeSource::Targeted,
            StatedBy::CacheControl => own,
        }
    }
}

/// `Expires` minus `Date`. "A cache recipient MUST interpret invalid date formats, especially the
/// value "0", as representing a time in the past" (section 5.3).
fn expires(headers: &HeaderMap, timing: Timing) -> Duration {
    let expires = headers.get(EXPIRES).and_then(|value| parse_date(value, timing.received));
    let since = expires.and_then(|expires| expires.duration_since(date(headers, timing)).ok());
    since.unwrap_or_default()
}

/// When the response was generated: `Date`, or the time it arrived if that is missing or invalid
/// (RFC 9110 section 6.6.1).
pub(crate) fn date(headers: &HeaderMap, timing: Timing) -> SystemTime {
    let date = headers.get(DATE).and_then(|value| parse_date(value, timing.received));
    date.unwrap_or_else(|| whole_seconds(timing.received))
}

fn policy_ttl(status: StatusCode, policy: &Policy) -> Option<Duration> {
    let by_status = policy.status_ttl.iter().find(|(code, _)| *code == status);
    let by_status = by_status.map(|(_, ttl)| *ttl);
    by_status.or_else(|| policy.default_ttl.filter(|_| is_positive(status)))
}

/// A success or permanent redirect of the heuristically cacheable ones.
fn is_positive(status: StatusCode) -> bool {
    status.as_u16() < 400 && is_heuristically_cacheable(status)
}

/// RFC 9110 section 15.1.
pub(crate) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// A tenth of the time since `Last-Modified`, for status codes that allow it or responses marked
/// `public` (section 4.2.2).
fn heuristic(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    timing: Timing,
    policy: &Policy,
) -> Option<Duration> {
    if !is_heuristically_cacheable(status) && !directives.public {
        return None;
    }
    let modified = parse_date(headers.get(LAST_MODIFIED)?, timing.received)?;
    let unchanged = date(headers, timing).duration_since(modified).ok()?;
    let lifetime = (unchanged / 10).min(policy.heuristic_max);
    (!lifetime.is_zero()).then_some(lifetime)
}

/// `corrected_initial_age` (section 4.2.3). `None` if there is an `Age` that names no single age:
/// the response then counts as stale, as section 4.2.1 encourages for invalid freshness information.
fn initial_age((headers, has): (&HeaderMap, Has), timing: Timing) -> Option<Duration> {
    let age_value = if has.age() { age_value(headers)? } else { Duration::ZERO };
    let since_date = || whole_seconds(timing.received).duration_since(date(headers, timing)).ok();
    let apparent = if has.date() { since_date().unwrap_or_default() } else { Duration::ZERO };
    Some(apparent.max(age_value.saturating_add(timing.delay)))
}

/// Parses `Age`. In a list the first member counts (section 5.1). But several lines, or a list with
/// a repeated member, which is what joining such lines makes of them (RFC 9110 section 5.3), come
/// from more than one sender, and nobody can tell which of them spoke last.
fn age_value(headers: &HeaderMap) -> Option<Duration> {
    let mut lines = headers.get_all(AGE).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    let mut members = line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let first = members.next()?;
    if members.any(|member| member == first) {
        return None;
    }
    delta_seconds(first)
}
