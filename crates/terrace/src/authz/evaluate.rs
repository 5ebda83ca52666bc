//! The rule, applied to facts. Pure: it is done anew for every request, so that no verdict outlives its rule.

use super::decision::{Decision, DenyReason};
use super::grants::{Grant, Grants, Standing};
use super::pattern::covers;
use super::requirement::{Needs, Rule};
use std::time::SystemTime;

/// What facts say about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// With what grants it, as far as one does.
    Allow(Option<&'a Grant>),
    Deny(DenyReason),
    /// The facts are a part, and not enough.
    Undecided,
}

impl Verdict<'_> {
    /// `None` if it is undecided.
    pub(super) fn decision(self) -> Option<Decision> {
        match self {
            Self::Allow(_) => Some(Decision::Allow),
            Self::Deny(reason) => Some(Decision::Deny(reason)),
            Self::Undecided => None,
        }
    }
}

impl From<Decision> for Verdict<'_> {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Allow => Self::Allow(None),
            Decision::Deny(reason) => Self::Deny(reason),
        }
    }
}

/// Evaluates a rule, for one resource if it is about one.
pub(super) fn evaluate<'a>(
    rule: &Rule,
    resource: Option<&str>,
    grants: &'a Grants,
    scopes: &[Box<str>],
    now: &impl Fn() -> SystemTime,
) -> Verdict<'a> {
    combine(rule.needs, rule.permissions.iter().map(|permission| judge((permission, resource), grants, scopes, now)))
}

/// What facts say about one permission.
pub(super) fn judge<'a>(
    asked: (&str, Option<&str>),
    grants: &'a Grants,
    scopes: &[Box<str>],
    now: &impl Fn() -> SystemTime,
) -> Verdict<'a> {
    match grants.standing(asked, now) {
        Standing::Denied => Verdict::Deny(DenyReason::Denied),
        Standing::Granted(grant) => in_scope(asked, scopes, Verdict::Allow(Some(grant))),
        Standing::Absent if grants.is_complete() => Verdict::Deny(DenyReason::NotGranted),
        Standing::Absent => Verdict::Undecided,
    }
}

/// A verdict as far as the credential is not limited to other things. Scopes name permissions, not resources, and nothing
/// in them is special.
pub(super) fn in_scope<'a>(
    (asked, resource): (&str, Option<&str>),
    scopes: &[Box<str>],
    verdict: Verdict<'a>,
) -> Verdict<'a> {
    let names = |scope: &str| scope == asked || (!scope.contains('*') && covers(scope, (asked, resource)));
    let is_limited = !scopes.is_empty() && !scopes.iter().any(|scope| names(scope));
    if is_limited && matches!(verdict, Verdict::Allow(_)) {
        return Verdict::Deny(DenyReason::InsufficientScope);
    }
    verdict
}

/// What the verdicts on its permissions say about a rule. No permission at all is no permission.
pub(super) fn combine<'a>(needs: Needs, verdicts: impl Iterator<Item = Verdict<'a>>) -> Verdict<'a> {
    let prefers = |new: Verdict<'a>, old: Verdict<'a>| match needs {
        Needs::All => rank(new) < rank(old),
        Needs::Any => rank(new) > rank(old),
    };
    let picked = verdicts.reduce(|old, new| if prefers(new, old) { new } else { old });
    picked.unwrap_or(Verdict::Deny(DenyReason::NotGranted))
}

/// The worst verdict decides where all are needed, the best where any is.
fn rank(verdict: Verdict<'_>) -> u8 {
    match verdict {
        Verdict::Deny(DenyReason::InsufficientScope) => 1,
        Verdict::Deny(_) => 0,
        Verdict::Undecided => 2,
        Verdict::Allow(_) => 3,
    }
}
