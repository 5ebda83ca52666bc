//! What a route asks of its callers.

use super::context::Context;
use super::grants::SourceVersion;
use crate::Receipt;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// What a caller must be allowed, and how the answer is found.
///
/// A text becomes a requirement by itself: `authz.require("invoice:read")`.
#[derive(Clone, Debug)]
pub struct Requirement {
    pub(super) rule: Rule,
    /// A resource that is known.
    pub(super) resource: Option<Arc<str>>,
    #[cfg(feature = "axum")]
    pub(super) resource_param: Option<Arc<str>>,
    #[cfg(feature = "axum")]
    pub(super) tenant_param: Option<Arc<str>>,
    pub(super) context: Context,
    pub(super) demand: Demand,
    pub(super) stale: Duration,
    pub(super) hides: bool,
}

/// The permissions that a requirement is made of.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) permissions: Arc<[Cow<'static, str>]>,
    pub(super) needs: Needs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    All,
    Any,
}

/// How recent the facts are that a decision rests on. As a request extension it counts for the one request; it is never
/// read from what a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What is cached and proven to be valid.
    #[default]
    Cached,
    /// Nothing from before the invalidation of this receipt. A [`Receipt`] among the extensions of a request demands it too.
    AtLeast(Receipt),
    /// This version of the source or a later one.
    AtLeastVersion(SourceVersion),
    /// What the source says now.
    Fresh,
}

/// What is demanded of facts: of several demands, all that each of them demands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// What the source says now.
    pub(super) fresh: bool,
    /// Nothing from before the invalidation of this receipt.
    pub(super) receipt: Option<Receipt>,
    /// This version of the source or a later one.
    pub(super) version: Option<SourceVersion>,
}

impl From<Consistency> for Demand {
    fn from(consistency: Consistency) -> Self {
        let nothing = Self::default();
        match consistency {
            Consistency::Cached => nothing,
            Consistency::AtLeast(receipt) => Self { receipt: Some(receipt), ..nothing },
            Consistency::AtLeastVersion(version) => Self { version: Some(version), ..nothing },
            Consistency::Fresh => Self { fresh: true, ..nothing },
        }
    }
}

impl Demand {
    /// What satisfies both.
    pub(super) fn and(self, other: Self) -> Self {
        let (fresh, version) = (self.fresh || other.fresh, self.version.max(other.version));
        match (self.receipt, other.receipt) {
            (Some(one), Some(other)) => {
                let receipt = one.later(other);
                // Of two epochs nobody can say which is the later one.
                Self { fresh: fresh || receipt.is_none(), receipt, version }
            }
            (one, other) => Self { fresh, receipt: one.or(other), version },
        }
    }
}

/// Requires one permission. A `*` in it means nothing special.
pub fn perm(permission: impl Into<Cow<'static, str>>) -> Requirement {
    Requirement::new([permission.into()].into(), Needs::All)
}

/// Requires all of these permissions. Of none at all nobody has all.
pub fn all_of(permissions: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Requirement {
    Requirement::new(permissions.into_iter().map(Into::into).collect(), Needs::All)
}

/// Requires one of these permissions.
pub fn any_of(permissions: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Requirement {
    Requirement::new(permissions.into_iter().map(Into::into).collect(), Needs::Any)
}

impl Requirement {
    fn new(permissions: Arc<[Cow<'static, str>]>, needs: Needs) -> Self {
        Self {
            rule: Rule { permissions, needs },
            resource: None,
            #[cfg(feature = "axum")]
            resource_param: None,
            #[cfg(feature = "axum")]
            tenant_param: None,
            context: Context::default(),
            demand: Demand::default(),
            stale: Duration::ZERO,
            hides: false,
        }
    }

    /// Asks for the permissions on one resource: `invoice:read` on `7` is granted by `invoice:read:7` and
    /// `invoice:read:*`, and not by `invoice:read`.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<Arc<str>>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// As [`resource`](Self::resource), which is the parameter of this name in the route's path. A route without it is
    /// answered with 503.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn resource_param(mut self, name: impl Into<Arc<str>>) -> Self {
        self.resource_param = Some(name.into());
        self
    }

    /// Demands that the parameter of this name in the route's path is the caller's tenant. A route without it is answered
    /// with 503.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn tenant_param(mut self, name: impl Into<Arc<str>>) -> Self {
        self.tenant_param = Some(name.into());
        self
    }

    /// Tells an [`Authorizer`](super::Authorizer) under which circumstances this is asked for. What a [`Context`] among the
    /// request's extensions has beside it is told too; where both have a name, the value here counts.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Asks the source each time: for what must not be done a second after the right to it is gone. Costs a read of the
    /// source.
    #[must_use]
    pub fn fresh(self) -> Self {
        self.consistency(Consistency::Fresh)
    }

    /// How recent the facts have to be. A request extension that demands more counts instead.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.demand = consistency.into();
        self
    }

    /// Accepts facts that ended up to this long ago if the source fails, at most `AUTHZ_CACHE_STALE_IF_ERROR`. Only those
    /// that are proven not to be revoked, and never past their own end: so it has no effect where not all revocations are
    /// heard.
    #[must_use]
    pub fn stale_if_source_fails(mut self, longest: Duration) -> Self {
        self.stale = longest;
        self
    }

    /// Answers who may not with 404 instead of 403, as if there were nothing.
    #[must_use]
    pub fn hide_as_not_found(mut self) -> Self {
        self.hides = true;
        self
    }

    /// The permissions that it asks for.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.rule.permissions.iter().map(|permission| &**permission)
    }
}

impl From<&'static str> for Requirement {
    fn from(permission: &'static str) -> Self {
        perm(permission)
    }
}

impl From<String> for Requirement {
    fn from(permission: String) -> Self {
        perm(permission)
    }
}

impl From<&Requirement> for Requirement {
    fn from(requirement: &Requirement) -> Self {
        requirement.clone()
    }
}
