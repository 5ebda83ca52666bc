//! The endpoint for services that ask over HTTP.

use super::answer::Refusal;
use super::context::Context;
use super::decision::{Decision, DenyReason, Unavailable};
use super::engine::{Authz, Explanation};
use super::principal::{Principal, Subject, Tenant, Who};
use super::requirement::{Requirement, perm};
use super::ruling::Begun;
use crate::Authorized;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::routing::{MethodRouter, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_core::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Value, json};
use std::fmt;

/// Bodies are not read further: the names and a permission need less.
const MAX_BYTES: usize = 16 << 10;

impl Authz {
    /// Answers services that ask over HTTP, as a route of axum. The field's path for it is
    /// `/api/v1/authorization/check`.
    ///
    /// A `POST` of `{"user_id":"alice","org_id":"acme","permission":"invoice:read"}`, to which `"resource":"7"` may be
    /// added, and `"context":{"address":"10.0.0.1"}` for an [`Authorizer`](super::Authorizer), is answered with 200 and `{"allowed":true,"reason":"granted"}`, or `false` and why not; `via` says where the
    /// permission comes from, if that is known. **A deny is a 200 too**: who asks has to read `allowed`, and to take
    /// everything else for no answer. Without a decision it is 503 with `Retry-After`; a body that is not understood is 400
    /// and one over 16 KiB 413, with an `error` that says why. Fields that are not known are errors, because what they
    /// ask for would not be answered.
    ///
    /// It tells who may do what, so callers need a right themselves, and it tells them of their own tenant alone: about
    /// another one they are answered with 403. For a service of the operator's that asks about all tenants, put a guard
    /// around [`open_check_endpoint`](Self::open_check_endpoint).
    ///
    /// ```
    /// use axum::Router;
    /// # use terrace::Authz;
    ///
    /// # fn example(authz: &Authz) {
    /// let app: Router = Router::new().route("/api/v1/authorization/check", authz.check_endpoint("authorization:check"));
    /// # let _ = app; }
    /// ```
    pub fn check_endpoint<S: Clone + Send + Sync + 'static>(&self, right: impl Into<Requirement>) -> MethodRouter<S> {
        let authz = self.clone();
        // No async closure: compilers up to 1.95 at least find a cycle in one here when they optimise.
        let answer = move |caller: Authorized, body: Result<Bytes, BytesRejection>| {
            let authz = authz.clone();
            async move { authz.answer(body, Some(&caller.principal().who.tenant)).await }
        };
        post(answer).layer(DefaultBodyLimit::max(MAX_BYTES)).route_layer(self.require(right))
    }

    /// As [`check_endpoint`](Self::check_endpoint), for everybody who reaches it, and about everybody: whoever can send it
    /// a request learns who may do what. For a port that only services of one's own reach, or behind a guard.
    pub fn open_check_endpoint<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let authz = self.clone();
        let answer = move |body: Result<Bytes, BytesRejection>| {
            let authz = authz.clone();
            async move { authz.answer(body, None).await }
        };
        post(answer).layer(DefaultBodyLimit::max(MAX_BYTES))
    }

    /// Answers about everybody, or within one tenant.
    async fn answer(&self, body: Result<Bytes, BytesRejection>, within: Option<&Tenant>) -> Response<Body> {
        let asked = match body.map(|body| serde_json::from_slice::<Asked>(&body)) {
            Err(unread) => return failed(unread.status(), &unread.body_text()),
            Ok(Err(malformed)) => return failed(StatusCode::BAD_REQUEST, &malformed.to_string()),
            Ok(Ok(asked)) => asked,
        };
        let (principal, requirement) = (Principal::new(asked.who), asked.requirement);
        if within.is_some_and(|tenant| *tenant != principal.who.tenant) {
            let (reason, begun) = (DenyReason::TenantMismatch, Begun::at(self.engine.tiers.clock().now()));
            self.engine.deny(&principal, &requirement, reason, begun);
            let refusal = Refusal::Denied(reason, false);
            return said(refusal.with(json!({ "error": "org_id is not the tenant of who asks" })));
        }
        let explained = self.explain(&principal, requirement).await;
        said(explained.map_or_else(|unavailable| undecided(&unavailable), |explanation| decided(&explanation)))
    }
}

fn decided(explanation: &Explanation) -> Response<Value> {
    let reason = match explanation.decision {
        Decision::Allow => "granted",
        Decision::Deny(reason) => reason.as_str(),
    };
    let mut answer = json!({ "allowed": explanation.decision.is_allow(), "reason": reason });
    if let Some(via) = &explanation.via {
        answer["via"] = via.as_str().into();
    }
    Response::new(answer)
}

fn undecided(unavailable: &Unavailable) -> Response<Value> {
    let error = unavailable.to_string();
    Refusal::Unavailable.with(json!({ "error": error, "reason": unavailable.reason().as_str() }))
}

fn failed(status: StatusCode, error: &str) -> Response<Body> {
    let mut response = Response::new(json!({ "error": error }));
    *response.status_mut() = status;
    said(response)
}

fn said(response: Response<Value>) -> Response<Body> {
    let mut response = response.map(|said| Body::from(said.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A question, as it is sent.
struct Asked {
    who: Who,
    requirement: Requirement,
}

const FIELDS: &[&str] = &["user_id", "org_id", "permission", "resource", "context"];

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with user_id, org_id and permission")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Asked, M::Error> {
        let (mut subject, mut tenant, mut permission) = (None, None, None);
        let (mut resource, mut context) = (None, None);
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "user_id" => once::<Subject, M>(&mut subject, &mut fields, "user_id")?,
                "org_id" => once::<Tenant, M>(&mut tenant, &mut fields, "org_id")?,
                "permission" => once::<String, M>(&mut permission, &mut fields, "permission")?,
                "resource" => once::<Option<String>, M>(&mut resource, &mut fields, "resource")?,
                "context" => once::<Option<Circumstances>, M>(&mut context, &mut fields, "context")?,
                unknown => return Err(M::Error::unknown_field(unknown, FIELDS)),
            }
        }
        let missing = M::Error::missing_field;
        let who = Who {
            tenant: tenant.ok_or_else(|| missing("org_id"))?,
            subject: subject.ok_or_else(|| missing("user_id"))?,
        };
        let requirement = perm(permission.ok_or_else(|| missing("permission"))?);
        let requirement = requirement.context(context.flatten().map(|Circumstances(it)| it).unwrap_or_default());
        Ok(match resource.flatten() {
            Some(resource) => Asked { who, requirement: requirement.resource(resource) },
            None => Asked { who, requirement },
        })
    }
}

/// Names with texts, each once.
struct Circumstances(Context);

impl<'de> Deserialize<'de> for Circumstances {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Circumstances;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<Circumstances, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = fields.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                Context::new(pairs).map(Circumstances).map_err(M::Error::custom)
            }
        }

        from.deserialize_map(Pairs)
    }
}

/// Reads a field. A second one of its name would be read by some and not by others.
pub(super) fn once<'de, T: Deserialize<'de>, M: MapAccess<'de>>(
    field: &mut Option<T>,
    fields: &mut M,
    name: &'static str,
) -> Result<(), M::Error> {
    match field.replace(fields.next_value()?) {
        Some(_) => Err(M::Error::duplicate_field(name)),
        None => Ok(()),
    }
}
