//! The slow path of a request: what has to be waited for.

use super::answer::Refusal;
use super::layer::Shared;
use super::principal::Principal;
use super::requirement::Consistency;
use super::ruling::Question;
use super::service::Step;
use super::source::{Boxed, Identified};
use crate::clock::Instant;
use http::request::Parts;
use std::sync::Arc;

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
    pub(super) consistency: Consistency,
}

/// Identifies and decides, with whatever has to be waited for.
pub(super) fn drive(
    shared: Arc<Shared>,
    mut waiting: Waiting,
    asked: Instant,
) -> Boxed<'static, Result<Passed, Refusal>> {
    Box::pin(async move {
        loop {
            let step = match waiting {
                Waiting::Identifying(identifying) => shared.step(identifying.await, asked),
                Waiting::Ruling(undecided) => rule(&shared, *undecided, asked).await,
            };
            waiting = match step {
                Step::Pass(passed) => return Ok(passed),
                Step::Refuse(refusal) => return Err(refusal),
                Step::Wait(next) => next,
            };
        }
    })
}

async fn rule(shared: &Arc<Shared>, undecided: Undecided, asked: Instant) -> Step {
    let Undecided { parts, principal, resource, consistency } = undecided;
    let requirement = shared.requirement.as_ref().expect("only what is required is decided");
    let context = shared.circumstances(&parts);
    let question = Question { requirement, resource: resource.as_deref(), consistency, context: context.as_ref() };
    match shared.engine.rule(&principal, &[question], asked).await {
        Ok(rulings) => shared.apply(parts, (principal, resource), &rulings[0]),
        Err(_) => Step::Refuse(Refusal::Unavailable),
    }
}
