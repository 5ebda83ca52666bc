//! Authorization: may this subject do this in this tenant?
//!
//! What is cached is **facts**, the permissions that a subject has in a tenant, and never verdicts: the rule is evaluated
//! for every request. Facts are answered with only while it is proven that nobody has revoked them, and where nothing
//! proves it, the source is asked. Whatever fails, nobody is allowed by it.

mod codec;
mod decision;
mod evaluate;
mod grants;
mod key;
mod pattern;
mod principal;
mod requirement;

pub use decision::{Decision, DenyReason, Unavailable, UnavailableReason};
pub use grants::{Grant, Grants, SourceVersion};
pub use principal::{Identity, IdentityError, InvalidName, Principal, Subject, Tenant, Who};
pub use requirement::{Consistency, Requirement, all_of, any_of, perm};

#[cfg(test)]
mod tests;
