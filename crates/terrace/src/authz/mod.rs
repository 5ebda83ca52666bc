//! Authorization: may this subject do this in this tenant?
//!
//! What is cached is **facts**, the permissions that a subject has in a tenant, and never verdicts: the rule is evaluated
//! for every request. Facts are answered with only while it is proven that nobody has revoked them, and where nothing
//! proves it, the source is asked. Whatever fails, nobody is allowed by it.
//!
//! ```
//! use axum::{Router, routing::get};
//! use http::request::Parts;
//! use terrace::authz::{
//!     Authz, Grants, Identify, Identity, IdentityError, LoadHint, PermissionSource, Principal, Subject, Tenant, Who,
//! };
//! use terrace::{CacheLayer, Store};
//!
//! struct Sessions;
//!
//! impl Identify for Sessions {
//!     async fn identify(&self, parts: &Parts) -> Result<Identity, IdentityError> {
//!         let user = parts.headers.get("x-user").ok_or(IdentityError::Missing)?;
//!         let subject = user.to_str().ok().and_then(|user| Subject::new(user).ok());
//!         let who = Who { tenant: Tenant::single(), subject: subject.ok_or(IdentityError::Invalid)? };
//!         Ok(Identity::Known(Principal::new(who)))
//!     }
//! }
//!
//! struct Roles;
//!
//! impl PermissionSource for Roles {
//!     type Error = std::io::Error;
//!
//!     async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Self::Error> {
//!         Ok(Grants::complete(["invoice:read"])) // one read of the database
//!     }
//! }
//!
//! # fn example() -> Result<(), terrace::Error> {
//! let store = Store::memory();
//! let authz = Authz::from_env(store.clone(), Roles)?.identify(Sessions).build()?;
//! let app: Router = Router::new().route(
//!     "/invoices",
//!     // The outer one first: only who may is answered from the cache.
//!     get(async || "invoices").route_layer((authz.require("invoice:read"), CacheLayer::new(store))),
//! );
//! # let _ = app; Ok(()) }
//! ```

mod ahead;
mod answer;
mod change;
mod codec;
mod context;
mod decision;
mod decisions;
mod drive;
#[cfg(feature = "axum")]
mod endpoint;
mod engine;
mod evaluate;
mod facts;
mod filter;
mod future;
mod grants;
mod ground;
#[cfg(all(feature = "axum", feature = "test-util"))]
mod guarded;
mod key;
mod layer;
mod load;
#[cfg(feature = "axum")]
mod path;
mod pattern;
mod principal;
#[cfg(feature = "redis")]
mod receipt;
#[cfg(feature = "axum")]
mod remote;
mod requirement;
mod ring;
mod ruling;
mod sample;
mod service;
mod source;

pub use crate::authorized::Authorized;
pub use answer::AuthorizeBody;
pub use change::{Change, Scope};
#[cfg(fuzzing)]
pub use codec::read as read_grants;
pub use context::{Context, InvalidContext};
pub use decision::{Decision, DenyReason, Unavailable, UnavailableReason};
pub use engine::{Authz, AuthzBuilder, Explanation};
pub use future::AuthorizeFuture;
pub use grants::{Grant, Grants, SourceVersion};
pub(crate) use ground::Ground;
#[cfg(all(feature = "axum", feature = "test-util"))]
pub use guarded::assert_guarded;
pub(crate) use key::partition;
pub use layer::AuthzLayer;
pub use principal::{Identity, IdentityError, InvalidName, Principal, Subject, Tenant, Who};
#[cfg(feature = "axum")]
pub use remote::{RemoteAuthorizer, RemoteError};
pub use requirement::{Consistency, Requirement, all_of, any_of, perm};
pub use service::Authorize;
pub use source::{Authorizer, Identify, LoadHint, PermissionSource, Query};

#[cfg(test)]
mod tests;
