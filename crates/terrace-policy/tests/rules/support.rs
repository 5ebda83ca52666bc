//! Exchanges and requests in one line each.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terrace_policy::{
    Exchange, Plan, Policy, Presented, ResponseDirectives, Storable, StoredResponse, Timing, Unstorable, format_date,
    plan, storable,
};

/// Header fields. The value `@-60` is the date a minute before [`now`].
pub(crate) type Lines<'a> = &'a [(&'static str, &'a str)];

/// Sat, 21 Nov 2026 00:00:00 GMT
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

/// The moment `offset` seconds from [`now`].
pub(crate) fn at(offset: i64) -> SystemTime {
    let distance = secs(offset.unsigned_abs());
    if offset < 0 { now() - distance } else { now() + distance }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, text) in lines {
        let value = match text.strip_prefix('@') {
            Some(offset) => format_date(at(offset.parse().expect("seconds after the @"))),
            None => HeaderValue::from_bytes(text.as_bytes()).expect("a header value"),
        };
        map.append(HeaderName::from_static(name), value);
    }
    map
}

/// Both rule sets, with their names.
pub(crate) fn policies() -> [(&'static str, Policy); 2] {
    [("safe", Policy::safe()), ("rfc9111", Policy::rfc9111())]
}

/// One exchange with the origin that owns its parts. A `GET` answered by a 200, unless changed.
#[derive(Clone, Debug)]
pub(crate) struct Trip {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) request: HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: HeaderMap,
    pub(crate) timing: Timing,
    pub(crate) extension: Option<ResponseDirectives>,
    pub(crate) partitioned: bool,
    pub(crate) keyed_by_body: bool,
}

impl Trip {
    pub(crate) fn new(response: Lines<'_>) -> Self {
        Self {
            method: Method::GET,
            target: Uri::from_static("http://origin.example/a/b"),
            request: HeaderMap::new(),
            status: StatusCode::OK,
            response: headers(response),
            timing: Timing { received: now(), delay: Duration::ZERO },
            extension: None,
            partitioned: false,
            keyed_by_body: false,
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = Method::from_bytes(method.as_bytes()).expect("a method");
        self
    }

    pub(crate) fn status(mut self, code: u16) -> Self {
        self.status = StatusCode::from_u16(code).expect("a status code");
        self
    }

    pub(crate) fn request(mut self, lines: Lines<'_>) -> Self {
        self.request = headers(lines);
        self
    }

    pub(crate) fn received(mut self, offset: i64) -> Self {
        self.timing.received = at(offset);
        self
    }

    pub(crate) fn exchange(&self) -> Exchange<'_> {
        Exchange {
            method: &self.method,
            target: &self.target,
            request: &self.request,
            status: self.status,
            response: &self.response,
            timing: self.timing,
            extension: self.extension.as_ref(),
            partitioned: self.partitioned,
            keyed_by_body: self.keyed_by_body,
        }
    }

    pub(crate) fn judge(&self, policy: &Policy) -> Result<Storable, Unstorable> {
        storable(&self.exchange(), policy)
    }

    /// Whether, and if not why.
    pub(crate) fn verdict(&self, policy: &Policy) -> Result<(), Unstorable> {
        self.judge(policy).map(|_| ())
    }

    /// Stores it with `len` bytes of content.
    #[track_caller]
    pub(crate) fn store(&self, policy: &Policy, len: u64) -> StoredResponse {
        self.judge(policy).and_then(|storable| storable.received(len)).expect("storable")
    }
}

/// What a `GET` with these fields meets after `resident` seconds.
pub(crate) fn get(stored: &StoredResponse, request: Lines<'_>, resident: u64, policy: &Policy) -> Plan {
    let request = headers(request);
    plan(stored, &asking(&Method::GET, &request, resident), policy)
}

pub(crate) fn asking<'a>(method: &'a Method, headers: &'a HeaderMap, resident: u64) -> Presented<'a> {
    Presented { method, headers, resident: secs(resident), expired: false, collapsed: false, partitioned: false }
}
