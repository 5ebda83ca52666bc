//! Changes of rights, and their end.

use super::engine::Authz;
use super::facts::Tagger;
use super::principal::{Subject, Tenant, Who};
use crate::observe::OpenChange;
use crate::observe::stats::{InvalidationResult, Kind, Scope as Scale};
use crate::store::{self, Tag};
use crate::{Error, Receipt};
use std::time::Duration;

/// Whose rights change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one subject in one tenant.
    Subject(Who),
    /// Those of some subjects, 1 to 100: the members of a role or group.
    Subjects(Vec<Who>),
    /// Those of all subjects of a tenant.
    Tenant(Tenant),
    /// All. Empties the stored responses of the store too.
    All,
}

impl Scope {
    /// More subjects than these are their tenant.
    pub const MAX_SUBJECTS: usize = 100;

    /// The rights of one subject in one tenant.
    pub fn subject(tenant: &Tenant, subject: &Subject) -> Self {
        Self::Subject(Who { tenant: tenant.clone(), subject: subject.clone() })
    }

    fn scale(&self) -> Scale {
        match self {
            Self::Subject(_) | Self::Subjects(_) => Scale::Subject,
            Self::Tenant(_) => Scale::Tenant,
            Self::All => Scale::All,
        }
    }

    fn tags(&self, tagger: &Tagger) -> Result<Vec<Tag>, Error> {
        Ok(match self {
            Self::Subject(who) => tagger.subject(who),
            Self::Subjects(all) if all.is_empty() || all.len() > Self::MAX_SUBJECTS => {
                return Err(Error::subjects(all.len(), Self::MAX_SUBJECTS));
            }
            Self::Subjects(all) => all.iter().flat_map(|who| tagger.subject(who)).collect(),
            Self::Tenant(tenant) => tagger.tenant(tenant),
            Self::All => vec![Tag::EVERYTHING],
        })
    }
}

/// A change of rights, between its announcement and its end: meanwhile the source is asked about everybody whose rights
/// change, in every process, and nothing of it is stored.
///
/// ```
/// # use terrace::authz::{Authz, Scope, Subject, Tenant};
/// # async fn remove_member() {}
/// # async fn example(authz: Authz, tenant: Tenant, subject: Subject) -> Result<(), terrace::Error> {
/// let change = authz.begin_change(Scope::subject(&tenant, &subject)).await?;
/// remove_member().await; // the database transaction
/// let receipt = change.commit().await?;
/// # let _ = receipt; Ok(()) }
/// ```
///
/// Dropped, it ends as if it had been committed: what has not changed is loaded once more. If the process dies, whoever
/// is concerned stays uncached for `AUTHZ_CACHE_HOLD_S` and a second, and is never stale.
#[derive(Debug)]
#[must_use = "dropped, it ends at once"]
pub struct Change {
    inner: store::Change,
    authz: Authz,
    tags: Vec<Tag>,
    scale: Scale,
    open: OpenChange,
}

impl Authz {
    /// Announces a change of rights, before the transaction that makes it.
    ///
    /// # Errors
    ///
    /// If Redis did not take the announcement: change nothing, and try again. If a scope of subjects names none, or more
    /// than 100.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, it ends as if the change had been dropped.
    pub async fn begin_change(&self, scope: Scope) -> Result<Change, Error> {
        let tiers = &self.engine.tiers;
        let tags = scope.tags(&self.engine.tagger)?;
        if tiers.is_cut_off() || !self.engine.ring.is_joined(tiers.clock().now()) {
            // The others would not be told.
            return Err(Error::unannounced());
        }
        let inner = self.engine.store.begin_change_of(tags.clone(), tiers.settings().authz_hold()).await?;
        let open = tiers.observe().open_change();
        Ok(Change { inner, authz: self.clone(), tags, scale: scope.scale(), open })
    }

    /// Makes nothing of what was known of somebody's rights be used again: after a change of them that was not announced,
    /// for a grant as for a revocation. Works whatever is switched off.
    ///
    /// In this process it has taken effect when it is first polled.
    ///
    /// # Errors
    ///
    /// If Redis did not confirm it ([`Error::is_unconfirmed`]): other processes may use what they have until it does. It is
    /// repeated until then, as long as this process lives. As [`begin_change`](Self::begin_change), for the scope.
    pub async fn revoke(&self, scope: Scope) -> Result<Receipt, Error> {
        let (tiers, store) = (&self.engine.tiers, &self.engine.store);
        let tags = scope.tags(&self.engine.tagger)?;
        let lag = tiers.settings().source_lag();
        let lingering = if lag.is_zero() { Ok(()) } else { self.linger(tags.clone(), lag).await };
        let issued = store.purge_tags(scope.scale(), tags).await;
        // While the tier is switched off the others are told later.
        let told = issued.and_then(|receipt| {
            let told =
                !tiers.is_shared() || (receipt.epoch().is_some() && self.engine.ring.is_joined(tiers.clock().now()));
            if told { Ok(receipt) } else { Err(Error::unconfirmed(None)) }
        });
        let result = lingering.and(told);
        tiers.observe().revoked(scope.scale(), result.is_ok());
        result
    }

    /// Keeps what carries `tags` uncached until the source has caught up.
    async fn linger(&self, tags: Vec<Tag>, lag: Duration) -> Result<(), Error> {
        let change = self.engine.store.begin_change_of(tags, lag).await.map_err(|_| Error::unconfirmed(None))?;
        tokio::spawn(async move {
            tokio::time::sleep(lag).await;
            // What fails is repeated.
            drop(change.commit().await);
        });
        Ok(())
    }
}

impl Change {
    /// Waits until no process answers from what was known before. After that, what is changed is in effect everywhere as
    /// soon as it is committed.
    pub async fn settled(&self) {
        self.inner.settled().await;
    }

    /// Makes sure that the change is still held: right before the transaction commits.
    ///
    /// # Errors
    ///
    /// If the announcement was lost, or cannot be renewed: roll the transaction back.
    pub async fn confirm(&self) -> Result<(), Error> {
        self.inner.confirm().await
    }

    /// Ends the change, after its transaction: everything that is loaded from now on is new.
    ///
    /// # Errors
    ///
    /// If Redis did not confirm it ([`Error::is_unconfirmed`]). Nobody is answered with what was before all the same: whoever
    /// is concerned stays uncached until the end is repeated, or the hold runs out.
    ///
    /// # Cancel safety
    ///
    /// Once it is polled, the change ends even if nobody waits for it.
    pub async fn commit(self) -> Result<Receipt, Error> {
        let Self { inner, authz, tags, scale, open } = self;
        let lag = authz.engine.tiers.settings().source_lag();
        if !lag.is_zero() {
            authz.linger(tags, lag).await?;
        }
        let committed = inner.commit().await;
        let observe = authz.engine.tiers.observe();
        let result = if committed.is_ok() { InvalidationResult::Acked } else { InvalidationResult::Pending };
        observe.invalidation(scale, Kind::Hard, result);
        observe.revoked(scale, committed.is_ok());
        drop(open);
        committed
    }
}
