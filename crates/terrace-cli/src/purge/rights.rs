//! Revoking rights, and with them the responses that are for their holders alone: named with the keys of the fleet.

use super::{Options, Target};
use crate::failure::Failure;
use crate::fleet::Fleet;
use std::convert::Infallible;
use terrace::authz::{Authz, Grants, LoadHint, PermissionSource, Scope, Subject, Tenant, Who};
use terrace::{Error, Receipt};

/// Those of a tenant, or of one subject in it.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    authz: Authz,
    scope: Scope,
    name: String,
}

/// Nobody asks it: what is loaded is loaded by the fleet.
struct Nobody;

impl PermissionSource for Nobody {
    type Error = Infallible;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        Ok(Grants::partial(Vec::<String>::new()))
    }
}

impl Rights {
    /// What the command line names. To be called in a runtime: it asks Redis whether the fleet has the same keys.
    ///
    /// # Errors
    ///
    /// When a name cannot be one, or the environment has no keys, or no namespace of its own.
    pub(super) fn targets(fleet: &Fleet, options: &Options) -> Result<Vec<Target>, Failure> {
        let Some(tenant) = &options.tenant else { return Ok(Vec::new()) };
        let authz = Authz::builder(fleet.store.clone(), Nobody).build().map_err(Failure::usage)?;
        let rights = |scope, name| Target::Rights(Self { authz: authz.clone(), scope, name });
        let of = Tenant::new(tenant).map_err(Failure::usage)?;
        if options.subject.is_empty() {
            return Ok(vec![rights(Scope::Tenant(of), tenant.clone())]);
        }
        let subject = |name: &String| {
            let subject = Subject::new(name).map_err(Failure::usage)?;
            Ok(rights(Scope::subject(&of, &subject), format!("{tenant}/{name}")))
        };
        options.subject.iter().map(subject).collect()
    }

    pub(super) fn parts(&self) -> (&'static str, &str) {
        (if matches!(self.scope, Scope::Tenant(_)) { "tenant" } else { "subject" }, &self.name)
    }

    /// # Errors
    ///
    /// As [`Authz::revoke`], and until Redis has said that the fleet has the same keys.
    pub(super) async fn revoke(&self) -> Result<Receipt, Error> {
        self.authz.revoke(self.scope.clone()).await
    }

    /// Why a revocation that Redis has acknowledged does not count.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        (!self.authz.stats().ring_joined()).then_some(
            "the fleet has other keys in AUTHZ_CACHE_KEYS and hears nothing of it, or Redis does not say who it is",
        )
    }
}
