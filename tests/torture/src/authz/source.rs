//! The truth about rights, as the processes see it: the origin has a version for each subject, and every second version
//! takes the right away that the one before gave.

use crate::client::{Web, read, request};
use http::Method;
use std::io;
use terrace::authz::{Grants, LoadHint, PermissionSource, SourceVersion, Subject, Tenant, Who};

/// What checks ask for.
pub(crate) const RIGHT: &str = "invoice:read";
/// So many tenants.
const TENANTS: u64 = 4;

/// Whether that version lets somebody do it.
pub(crate) fn allows(version: u64) -> bool {
    version.is_multiple_of(2)
}

/// The subjects from this number on, so many, have a tenant of their own: nobody changes their rights but a process that is
/// about to be killed.
pub(crate) const LAST: std::ops::Range<u64> = 1000..1004;

/// The subject of this number.
pub(crate) fn who(number: u64) -> Who {
    let tenant = if LAST.contains(&number) { TENANTS } else { number % TENANTS };
    let tenant = Tenant::new(format!("tenant-{tenant}")).expect("a name");
    Who { tenant, subject: Subject::new(format!("subject-{number}")).expect("a name") }
}

/// The numbers below `subjects` of those in the tenant of one of them.
pub(crate) fn colleagues(number: u64, subjects: u64) -> impl Iterator<Item = u64> {
    (0..subjects).filter(move |other| other % TENANTS == number % TENANTS)
}

/// Asks the origin.
#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) web: Web,
    pub(crate) origin: String,
}

impl Directory {
    fn url(&self, who: &Who) -> String {
        format!("{}/{}/{}", self.origin, who.tenant.as_str(), who.subject.as_str())
    }

    async fn ask(&self, method: Method, who: &Who, field: (&str, u64)) -> Option<u64> {
        let request = request(method, &self.url(who), &[(field.0, &field.1.to_string())]);
        Some(read(self.web.request(request).await).await?.version)
    }

    /// Makes the next version.
    pub(crate) async fn change(&self, who: &Who) -> u64 {
        self.ask(Method::POST, who, ("delay", 0)).await.expect("the origin never fails")
    }

    /// Says that it is acknowledged that nothing before this version is used.
    pub(crate) async fn acknowledged(&self, who: &Who, version: u64) {
        let _ = self.ask(Method::PUT, who, ("version", version)).await;
    }
}

impl PermissionSource for Directory {
    type Error = io::Error;

    /// Takes 5 to 50 ms, and longer where the origin holds the answer.
    async fn load(&self, who: &Who, _: LoadHint<'_>) -> Result<Grants, io::Error> {
        let version = self.ask(Method::GET, who, ("delay", fastrand::u64(5..=50))).await;
        let version = version.ok_or_else(|| io::Error::other("no answer"))?;
        let granted = allows(version).then_some(RIGHT);
        Ok(Grants::complete(granted).version(SourceVersion(version)))
    }
}
