//! The answers that a layer gives itself.

use super::decision::DenyReason;
use super::principal::IdentityError;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The body of a response of [`Authorize`](super::Authorize): that of the inner service, or none.
    #[derive(Debug)]
    pub struct AuthorizeBody<R> {
        #[pin]
        inner: Option<R>,
    }
}

impl<R> AuthorizeBody<R> {
    pub(super) fn of(inner: R) -> Self {
        Self { inner: Some(inner) }
    }

    fn empty() -> Self {
        Self { inner: None }
    }
}

/// An empty body, for middleware that answers instead of the layer.
impl<R> Default for AuthorizeBody<R> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<R: Body> Body for AuthorizeBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<R::Data>, R::Error>>> {
        self.project().inner.as_pin_mut().map_or(Poll::Ready(None), |inner| inner.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A response extension, for tests: a layer answered, and not a handler.
#[cfg(feature = "test-util")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

/// What a layer answers instead of the inner service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not known who asks; the error.
    Unidentified(IdentityError),
    /// They may not; whether that is hidden.
    Denied(DenyReason, bool),
    /// Nobody can say.
    Unavailable,
}

impl From<Refusal> for StatusCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unidentified(IdentityError::Unavailable) | Refusal::Unavailable => Self::SERVICE_UNAVAILABLE,
            Refusal::Unidentified(_) | Refusal::Denied(DenyReason::CredentialEnded, _) => Self::UNAUTHORIZED,
            Refusal::Denied(_, true) => Self::NOT_FOUND,
            Refusal::Denied(_, false) => Self::FORBIDDEN,
        }
    }
}

impl Refusal {
    /// RFC 6750 section 3: no error where no credential was sent, and a challenge for a deny only where a credential with
    /// more scopes would help.
    fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Unidentified(IdentityError::Missing) => Some("Bearer"),
            Self::Unidentified(IdentityError::Invalid | IdentityError::Expired)
            | Self::Denied(DenyReason::CredentialEnded, _) => Some(r#"Bearer error="invalid_token""#),
            Self::Denied(DenyReason::InsufficientScope, false) => Some(r#"Bearer error="insufficient_scope""#),
            _ => None,
        }
    }

    pub(super) fn response<R>(self) -> Response<AuthorizeBody<R>> {
        let mut response = self.with(AuthorizeBody::empty());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        #[cfg(feature = "test-util")]
        response.extensions_mut().insert(Refused);
        response
    }

    /// Its status and fields, with a body that says more.
    pub(super) fn with<R>(self, body: R) -> Response<R> {
        let mut response = Response::new(body);
        *response.status_mut() = self.into();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            // Not all at once.
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(fastrand::u16(1..=5)));
        }
        response
    }
}
