//! Answers that this proxy makes itself.

use super::body::Body;
use super::origin::OriginError;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// Why a request was not passed on, or came back without an answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    reason: &'static str,
    /// The word for `Proxy-Status` (RFC 9209) where the origin is the reason.
    error: Option<HeaderValue>,
}

impl Refusal {
    pub(crate) const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, error: None }
    }

    pub(crate) const fn bad_request(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// The response for the client.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = text(self.status, self.reason);
        let headers = response.headers_mut();
        // Nobody else may remember a failure of this moment.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(error) = self.error {
            headers.insert(PROXY_STATUS, error);
        }
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static(METHODS));
            }
            // The rest of such a body is not worth reading.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

impl From<OriginError> for Refusal {
    fn from(error: OriginError) -> Self {
        let (status, reason) = error.answer();
        Self { status, reason, error: error.proxy_status().map(HeaderValue::from_static) }
    }
}

/// A plain text response of one line.
pub(crate) fn text(status: StatusCode, line: &'static str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// The answer to an `OPTIONS` request that was to go no further.
pub(crate) fn options() -> Response<Body> {
    let mut response = typed(StatusCode::OK, "text/plain; charset=utf-8", "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

/// A response with a whole body.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Whole { body: body.into() });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
