//! The slow path of a request: what has to be waited for.

use super::answer::Refusal;
use super::layer::Shared;
use super::principal::{IdentityError, Principal};
use super::requirement::Demand;
use super::ruling::{Begun, Question};
use super::service::Step;
use super::source::{Boxed, Identified};
use crate::clock::Instant;
use http::request::Parts;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A request that may pass.
pub(super) struct Passed {
    pub(super) parts: Parts,
    /// A cache is around this layer, and has to be told that it must not be.
    pub(super) marks: bool,
    /// How the check was answered, if the response is to say so.
    pub(super) label: Option<&'static str>,
}

/// What is waited for.
pub(super) enum Waiting {
    Identifying(Boxed<'static, Identified>),
    Ruling(Box<Undecided>),
}

/// A request that memory does not decide.
pub(super) struct Undecided {
    pub(super) parts: Parts,
    pub(super) principal: Principal,
    pub(super) resource: Option<String>,
    pub(super) demand: Demand,
}

/// Identifies and decides, with whatever has to be waited for.
pub(super) fn drive(
    shared: Arc<Shared>,
    mut waiting: Waiting,
    came: Instant,
) -> Boxed<'static, Result<Passed, Refusal>> {
    Box::pin(async move {
        let mut begun = Begun::at(came);
        loop {
            let step = match waiting {
                Waiting::Identifying(identifying) => {
                    let identified = in_time(&shared, identifying).await;
                    // What was known when the request came may have ended since.
                    begun.asked = shared.engine.tiers.clock().now();
                    identified.map_or_else(Step::Refuse, |identified| shared.step(identified, begun))
                }
                Waiting::Ruling(undecided) => rule(&shared, *undecided, begun).await,
            };
            waiting = match step {
                Step::Pass(passed) => return Ok(passed),
                Step::Refuse(refusal) => return Err(refusal),
                Step::Wait(next) => next,
            };
        }
    })
}

/// Who it is, if that is known as soon as the source of permissions has to answer.
async fn in_time(shared: &Shared, identifying: Boxed<'static, Identified>) -> Result<Identified, Refusal> {
    const LATE: Refusal = Refusal::Unidentified(IdentityError::Unavailable);
    // Where there is no runtime nothing tells how late it is.
    Handle::try_current().map_err(|_| LATE)?;
    let limit = shared.engine.tiers.settings().source_timeout();
    tokio::time::timeout(limit, identifying).await.map_err(|_| LATE)
}

async fn rule(shared: &Arc<Shared>, undecided: Undecided, begun: Begun) -> Step {
    let Undecided { parts, principal, resource, demand } = undecided;
    let requirement = shared.requirement.as_ref().expect("only what is required is decided");
    let context = shared.circumstances(&parts);
    let question = Question { requirement, resource: resource.as_deref(), demand, context: context.as_ref() };
    match shared.engine.rule(&principal, &[question], begun).await {
        Ok(rulings) => shared.apply(parts, (principal, resource), &rulings[0]),
        Err(_) => Step::Refuse(Refusal::Unavailable),
    }
}
