use super::answer::{AuthorizeBody, Refusal};
use super::context::Context as Circumstances;
use super::decision::Decision;
use super::drive::{Passed, Undecided, Waiting as Asked, drive};
use super::future::AuthorizeFuture;
use super::layer::Shared;
use super::principal::{Identity, IdentityError, Principal};
use super::requirement::{Consistency, Demand, Requirement};
use super::ruling::{Begun, Question, Ruling};
use super::source::Identified;
use crate::authorized::{Credentialed, Outside};
use crate::clock::Instant;
use crate::{Authorized, Receipt};
use http::request::Parts;
use http::{Request, Response};
use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tower_service::Service;

/// The middleware: identifies the caller, decides, and calls the inner service only for who may.
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Authorize<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for Authorize<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<AuthorizeBody<R>>;
    type Error = S::Error;
    type Future = AuthorizeFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let came = self.shared.engine.tiers.clock().now();
        let (parts, body) = request.into_parts();
        match self.shared.start(parts, came) {
            Step::Refuse(refusal) => AuthorizeFuture::refuse(refusal),
            Step::Pass(Passed { parts, marks, label }) => {
                let called = self.inner.call(Request::from_parts(parts, body));
                AuthorizeFuture::call(called, marks, label)
            }
            Step::Wait(waiting) => {
                // The one that is ready is called later, and a clone takes its place.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                AuthorizeFuture::drive(drive(Arc::clone(&self.shared), waiting, came), ready, body)
            }
        }
    }
}

/// What comes next.
#[expect(clippy::large_enum_variant, reason = "who passes at once does not pay for a box")]
pub(super) enum Step {
    Refuse(Refusal),
    Pass(Passed),
    /// Something has to be waited for.
    Wait(Asked),
}

impl Shared {
    /// Identifies and decides, as far as nothing has to be waited for.
    pub(super) fn start(self: &Arc<Self>, parts: Parts, came: Instant) -> Step {
        match self.identified(&parts) {
            Some(identity) => self.step((parts, Ok(identity)), Begun::at(came)),
            None => self.begin(parts, came),
        }
    }

    /// Who another layer of the same engine around this one has identified.
    fn identified(&self, parts: &Parts) -> Option<Identity> {
        if let Some(authorized) = parts.extensions.get::<Authorized>().filter(|it| it.is_of(self.engine.id)) {
            return Some(Identity::Known(authorized.principal().clone()));
        }
        let known = parts.extensions.get::<Resolved>().is_some_and(|resolved| resolved.0 == self.engine.id);
        if known { parts.extensions.get::<Identity>().cloned() } else { None }
    }

    /// Asks who it is, and goes on if that is known at once.
    fn begin(self: &Arc<Self>, parts: Parts, came: Instant) -> Step {
        let Some(identifier) = self.engine.identifier.clone() else {
            return Step::Refuse(Refusal::Unavailable);
        };
        let mut identifying = identifier.identify(parts);
        match identifying.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(who) => self.step(who, Begun::at(came)),
            Poll::Pending => Step::Wait(Asked::Identifying(identifying)),
        }
    }

    /// Decides, as far as nothing has to be waited for.
    pub(super) fn step(self: &Arc<Self>, (mut parts, identity): Identified, begun: Begun) -> Step {
        let identity = match identity {
            Err(IdentityError::Missing) if self.requirement.is_none() => Ok(Identity::Anonymous),
            other => other,
        };
        let principal = match identity {
            Err(error) => return Step::Refuse(Refusal::Unidentified(error)),
            Ok(Identity::Known(known)) if self.engine.has_ended(&known) => {
                return Step::Refuse(Refusal::Unidentified(IdentityError::Expired));
            }
            Ok(identity) if self.requirement.is_none() => return Step::Pass(self.identifies(parts, identity)),
            Ok(Identity::Anonymous) => return Step::Refuse(Refusal::Unidentified(IdentityError::Missing)),
            Ok(Identity::Known(known)) => known,
        };
        let requirement = self.requirement.as_ref().expect("without one it has passed");
        let demand = demand(requirement, &parts);
        let resource = match self.about(requirement, &principal, &mut parts) {
            Ok(resource) => resource.map(Cow::into_owned),
            Err(refusal) => {
                self.count_refusal(&principal, (requirement, refusal), begun);
                return Step::Refuse(refusal);
            }
        };
        // Facts do not depend on circumstances.
        let question = Question { requirement, resource: resource.as_deref(), demand, context: None };
        if let Some(ruling) = self.engine.rule_now(&principal, &question, begun) {
            return self.apply(parts, (principal, resource), &ruling);
        }
        let demand = question.demand;
        Step::Wait(Asked::Ruling(Box::new(Undecided { parts, principal, resource, demand })))
    }

    /// What a ruling means for the request.
    pub(super) fn apply(
        self: &Arc<Self>,
        mut parts: Parts,
        (principal, resource): (Principal, Option<String>),
        ruling: &Ruling,
    ) -> Step {
        match ruling.decision {
            Decision::Allow => {
                let marks = self.marks(&parts);
                let label = self.engine.tiers.settings().authz_debug_header().then(|| ruling.status.as_str());
                let about = (resource, self.circumstances(&parts));
                parts.extensions.insert(ruling.authorized(self, principal, about));
                Step::Pass(Passed { parts, marks, label })
            }
            Decision::Deny(reason) => Step::Refuse(Refusal::Denied(reason, self.hides())),
        }
    }

    /// What the application has put into the request for an authorizer, if there is one.
    pub(super) fn circumstances(&self, parts: &Parts) -> Option<Circumstances> {
        self.engine.authorizer.as_ref().and_then(|_| parts.extensions.get().cloned())
    }

    pub(super) fn hides(&self) -> bool {
        self.requirement.as_ref().is_some_and(|requirement| requirement.hides)
    }

    /// Whether a cache is around this layer that would answer without it. One of which this very layer is around too asks it
    /// each time, and one that knows the caller by the same engine learns nothing of a layer that only identifies.
    fn marks(self: &Arc<Self>, parts: &Parts) -> bool {
        let asked = |around: &Authorized| match self.requirement {
            Some(_) => around.is_by(self),
            None => around.is_of(self.engine.id),
        };
        parts.extensions.get::<Outside>().is_some() && !parts.extensions.get().is_some_and(asked)
    }

    fn identifies(self: &Arc<Self>, mut parts: Parts, identity: Identity) -> Passed {
        let marks = self.marks(&parts);
        if matches!(identity, Identity::Known(_)) {
            parts.extensions.insert(Credentialed);
        }
        parts.extensions.insert(identity);
        parts.extensions.insert(Resolved(self.engine.id));
        Passed { parts, marks, label: None }
    }

    /// A check that needs no facts is one all the same.
    fn count_refusal(&self, principal: &Principal, (requirement, refusal): (&Requirement, Refusal), begun: Begun) {
        match refusal {
            Refusal::Denied(reason, _) => self.engine.deny(principal, requirement, reason, begun),
            _ => self.engine.fail(1, begun),
        }
    }

    #[cfg(not(feature = "axum"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with axum there are parameters in paths")]
    fn about<'a>(
        &self,
        requirement: &'a Requirement,
        _: &Principal,
        _: &mut Parts,
    ) -> Result<Option<Cow<'a, str>>, Refusal> {
        Ok(requirement.resource.as_deref().map(Cow::Borrowed))
    }
}

/// A request extension: which engine has put the [`Identity`] there.
#[derive(Clone, Copy, Debug)]
struct Resolved(u64);

/// What a requirement and a request together demand, and what its client knows of (see
/// [`SessionLayer`](crate::SessionLayer)).
fn demand(requirement: &Requirement, parts: &Parts) -> Demand {
    let demanded = parts.extensions.get::<Consistency>().cloned();
    let known = parts.extensions.get::<Receipt>().cloned().map(Consistency::AtLeast);
    let demands = [demanded, known].into_iter().flatten().map(Demand::from);
    demands.fold(requirement.demand.clone(), Demand::and)
}
