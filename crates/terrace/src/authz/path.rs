//! The parameters in the path of a route of axum.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Those of one request. Empty outside of a route, and where one of them is not UTF-8.
pub(super) struct Params(Option<RawPathParams>);

impl Params {
    pub(super) fn of(parts: &mut Parts) -> Self {
        // They are there or not: nothing is waited for.
        let extracted = pin!(RawPathParams::from_request_parts(parts, &()));
        match extracted.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(params)) => Self(Some(params)),
            Poll::Ready(Err(_)) | Poll::Pending => Self(None),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
