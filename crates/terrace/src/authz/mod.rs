//! Authorization: may this subject do this in this tenant?
//!
//! What is cached is **facts**, the permissions that a subject has in a tenant, and never verdicts: the rule is evaluated
//! for every request. Facts are answered with only while it is proven that nobody has revoked them, and where nothing
//! proves it, the source is asked. Whatever fails, nobody is allowed by it.

mod answer;
mod change;
mod codec;
mod decision;
mod drive;
mod engine;
mod evaluate;
mod facts;
mod future;
mod grants;
mod key;
mod layer;
mod load;
#[cfg(feature = "axum")]
mod path;
mod pattern;
mod principal;
mod requirement;
mod ruling;
mod service;
mod source;

pub use crate::authorized::Authorized;
pub use answer::AuthorizeBody;
pub use change::{Change, Scope};
pub use decision::{Decision, DenyReason, Unavailable, UnavailableReason};
pub use engine::{Authz, AuthzBuilder, Explanation};
pub use future::AuthorizeFuture;
pub use grants::{Grant, Grants, SourceVersion};
pub(crate) use key::partition;
pub use layer::AuthzLayer;
pub use principal::{Identity, IdentityError, InvalidName, Principal, Subject, Tenant, Who};
pub use requirement::{Consistency, Requirement, all_of, any_of, perm};
pub use service::Authorize;
pub use source::{Authorizer, Identify, LoadHint, PermissionSource, Query};

#[cfg(test)]
mod tests;
