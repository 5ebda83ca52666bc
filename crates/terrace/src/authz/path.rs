//! The parameters in the path of a route of axum.

use super::answer::Refusal;
use super::decision::DenyReason;
use super::layer::Shared;
use super::principal::Principal;
use super::requirement::Requirement;
use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use std::borrow::Cow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Those of one request. Empty outside of a route, and where one of them is not UTF-8.
struct Params(Option<RawPathParams>);

impl Params {
    fn of(parts: &mut Parts) -> Self {
        // They are there or not: nothing is waited for.
        let extracted = pin!(RawPathParams::from_request_parts(parts, &()));
        match extracted.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(params)) => Self(Some(params)),
            Poll::Ready(Err(_)) | Poll::Pending => Self(None),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl Shared {
    /// The resource that a request is about, if it is about the caller's tenant.
    pub(super) fn about<'a>(
        &self,
        requirement: &'a Requirement,
        principal: &Principal,
        parts: &mut Parts,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        let own = requirement.resource.as_deref().map(Cow::Borrowed);
        if requirement.tenant_param.is_none() && requirement.resource_param.is_none() {
            return Ok(own);
        }
        let params = Params::of(parts);
        let find = |name: &str| {
            params.get(name).ok_or_else(|| {
                self.engine.tiers.observe().parameter_missing(name);
                Refusal::Unavailable
            })
        };
        if let Some(name) = &requirement.tenant_param
            && find(name)? != principal.who.tenant.as_str()
        {
            return Err(Refusal::Denied(DenyReason::TenantMismatch, requirement.hides));
        }
        match &requirement.resource_param {
            Some(name) => Ok(Some(Cow::Owned(find(name)?.to_owned()))),
            None => Ok(own),
        }
    }
}
