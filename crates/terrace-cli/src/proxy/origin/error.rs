//! What can go wrong between this proxy and the origin.

use crate::proxy::body::RequestBodyError;
use http::StatusCode;
use hyper_util::client::legacy;
use std::error::Error;
use std::{fmt, io};

/// No response from the origin, or not all of it.
#[derive(Debug)]
pub(crate) struct OriginError {
    kind: Kind,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Refused,
    Unreachable,
    ConnectTimeout,
    ResponseTimeout,
    BodyTimeout,
    /// The connection ended before the answer.
    Lost,
    Protocol,
    /// A 101 that nobody asked for.
    Upgrade,
    TargetTooLong,
    RequestTooLarge,
    RequestIdle,
    /// The client is gone.
    Client,
}

impl OriginError {
    pub(super) fn response_timeout() -> Self {
        Kind::ResponseTimeout.into()
    }

    pub(crate) fn body_timeout() -> Self {
        Kind::BodyTimeout.into()
    }

    pub(super) fn unasked_upgrade() -> Self {
        Kind::Upgrade.into()
    }

    pub(super) fn uri(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Kind::TargetTooLong, cause)
    }

    /// The body of a response broke off.
    pub(crate) fn body(cause: hyper::Error) -> Self {
        Self::new(Kind::Lost, cause)
    }

    fn new(kind: Kind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, cause: Some(Box::new(cause)) }
    }

    /// Whether the connection ended before any part of the answer came.
    pub(super) fn is_lost(&self) -> bool {
        self.kind == Kind::Lost
    }

    /// The status and the sentence for the client.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str) {
        let (status, reason, _) = self.row();
        (status, reason)
    }

    /// The value for `Proxy-Status` (RFC 9209 2.3); `None` when the client is at fault.
    pub(crate) fn proxy_status(&self) -> Option<&'static str> {
        self.row().2
    }

    #[rustfmt::skip]
    fn row(&self) -> (StatusCode, &'static str, Option<&'static str>) {
        use StatusCode as S;
        match self.kind {
            Kind::Refused => (S::BAD_GATEWAY, "the origin refused the connection", Some("terrace; error=connection_refused")),
            Kind::Unreachable => (S::BAD_GATEWAY, "the origin cannot be reached", Some("terrace; error=destination_unavailable")),
            Kind::ConnectTimeout => (S::GATEWAY_TIMEOUT, "connecting to the origin took too long", Some("terrace; error=connection_timeout")),
            Kind::ResponseTimeout => (S::GATEWAY_TIMEOUT, "the origin did not answer in time", Some("terrace; error=http_response_timeout")),
            Kind::BodyTimeout => (S::GATEWAY_TIMEOUT, "the origin stopped sending", Some("terrace; error=connection_read_timeout")),
            Kind::Lost => (S::BAD_GATEWAY, "the origin closed the connection", Some("terrace; error=connection_terminated")),
            Kind::Protocol => (S::BAD_GATEWAY, "the origin did not answer with valid HTTP", Some("terrace; error=http_protocol_error")),
            Kind::Upgrade => (S::BAD_GATEWAY, "the origin switched protocols unasked", Some("terrace; error=http_upgrade_failed")),
            Kind::TargetTooLong => (S::URI_TOO_LONG, "the request target is too long", None),
            Kind::RequestTooLarge => (S::PAYLOAD_TOO_LARGE, "the request body is larger than allowed", None),
            Kind::RequestIdle => (S::REQUEST_TIMEOUT, "the request body did not arrive in time", None),
            Kind::Client => (S::BAD_REQUEST, "the request body broke off", None),
        }
    }

    /// Counts and logs a failure that is the origin's.
    pub(crate) fn report(&self) {
        let Some(error) = self.proxy_status() else {
            return;
        };
        let error = error.trim_start_matches("terrace; error=");
        metrics::counter!("proxy_origin_errors_total", "error" => error).increment(1);
        tracing::warn!(event = "proxy_origin_error", error, "proxy_origin_error: {self}");
    }
}

impl From<Kind> for OriginError {
    fn from(kind: Kind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<legacy::Error> for OriginError {
    fn from(error: legacy::Error) -> Self {
        Self::new(classify(&error), error)
    }
}

fn classify(error: &legacy::Error) -> Kind {
    let request = find::<RequestBodyError>(error);
    let io = find::<io::Error>(error).map(io::Error::kind);
    let http = find::<hyper::Error>(error);
    match (request, io, http) {
        (Some(RequestBodyError::TooLarge), ..) => Kind::RequestTooLarge,
        (Some(RequestBodyError::Idle), ..) => Kind::RequestIdle,
        (Some(RequestBodyError::Client(_)), ..) => Kind::Client,
        (_, Some(io::ErrorKind::ConnectionRefused), _) => Kind::Refused,
        (_, Some(io::ErrorKind::TimedOut), _) if error.is_connect() => Kind::ConnectTimeout,
        _ if error.is_connect() => Kind::Unreachable,
        (.., Some(http)) if http.is_parse() => Kind::Protocol,
        _ => Kind::Lost,
    }
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.answer().1)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for OriginError {}
