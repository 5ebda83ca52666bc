//! Changes of rights, and their end.

use super::engine::Authz;
use super::facts::Tagger;
use super::principal::{Subject, Tenant, Who};
use crate::observe::stats::{InvalidationResult, Kind, Scope as Scale};
use crate::store::{self, Store, Tag};
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
/// Dropped without [`commit`](Change::commit), whoever is concerned stays uncached for `AUTHZ_CACHE_HOLD_S`, and then it
/// ends as if it had been committed: a request whose client has left is dropped with its change while its transaction may
/// still take effect. So the transaction has to have ended by then: bound it in the database. Better, run all three in a
/// task of its own, which nobody drops, as the example `authorization` does. If the process dies, whoever is concerned
/// stays uncached for as long and a second, and is never stale. Outside of a runtime it ends at once.
#[derive(Debug)]
#[must_use = "dropped, whoever is concerned stays uncached until it lapses"]
pub struct Change {
    inner: store::Change,
    authz: Authz,
    tags: Vec<Tag>,
    scale: Scale,
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
    /// Dropped before its end, it has announced nothing that lasts.
    pub async fn begin_change(&self, scope: Scope) -> Result<Change, Error> {
        let tiers = &self.engine.tiers;
        let tags = scope.tags(&self.engine.tagger)?;
        if tiers.is_cut_off() || !self.engine.ring.is_joined(tiers.clock().now()) {
            // The others would not be told.
            return Err(Error::unannounced());
        }
        // A process that dies after its transaction leaves the source behind for as long as it may lag.
        let hold = tiers.settings().authz_hold().max(tiers.settings().source_lag());
        let inner = self.engine.store.begin_change_of(tags.clone(), hold).await?.counted(tiers.observe().open_change());
        Ok(Change { inner, authz: self.clone(), tags, scale: scope.scale() })
    }

    /// Makes nothing of what was known of somebody's rights be used again: after a change of them that was not announced,
    /// for a grant as for a revocation. Works whatever is switched off.
    ///
    /// In this process it has taken effect when it is first polled.
    ///
    /// # Errors
    ///
    /// If Redis did not confirm it ([`Error::is_unconfirmed`]): other processes may use what they have until it does. It is
    /// repeated until then, as long as this process lives, and once more after `AUTHZ_CACHE_SOURCE_LAG_MS`. As
    /// [`begin_change`](Self::begin_change), for the scope.
    ///
    /// # Cancel safety
    ///
    /// Once it is polled, it goes on even if nobody waits for it.
    pub async fn revoke(&self, scope: Scope) -> Result<Receipt, Error> {
        let (tiers, store) = (&self.engine.tiers, &self.engine.store);
        let tags = scope.tags(&self.engine.tagger)?;
        let lag = tiers.settings().source_lag();
        // In a task of its own, so that it lasts even if nobody waits for it.
        let lingering = (!lag.is_zero()).then(|| tokio::spawn(linger(store.clone(), tags.clone(), lag)));
        let issued = store.purge_tags(scope.scale(), tags).await;
        let lingers = match lingering {
            Some(task) => task.await.unwrap_or(false),
            None => true,
        };
        // While the tier is switched off the others are told later.
        let result = issued.and_then(|receipt| {
            let told =
                !tiers.is_shared() || (receipt.epoch().is_some() && self.engine.ring.is_joined(tiers.clock().now()));
            if told && lingers { Ok(receipt) } else { Err(Error::unconfirmed(None)) }
        });
        tiers.observe().revoked(scope.scale(), result.is_ok());
        result
    }
}

/// Keeps what carries `tags` uncached until the source has caught up. Whether everybody does: if not, it is invalidated
/// then all the same, whatever the others have stored meanwhile.
async fn linger(store: Store, tags: Vec<Tag>, lag: Duration) -> bool {
    let announced = store.begin_change_of(tags.clone(), lag).await.ok();
    let is_announced = announced.is_some();
    announced.unwrap_or_else(|| store.begin_change_here(tags, lag)).commit_after(lag);
    is_announced
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
        let Self { inner, authz, tags, scale } = self;
        let tiers = &authz.engine.tiers;
        let (lag, observe) = (tiers.settings().source_lag(), tiers.observe());
        if !lag.is_zero() {
            // It is held until the source has caught up, and what was known before is invalid now.
            inner.commit_after(lag);
            let committed = authz.engine.store.purge_tags(scale, tags).await;
            observe.revoked(scale, committed.is_ok());
            return committed;
        }
        let committed = inner.commit().await;
        let result = if committed.is_ok() { InvalidationResult::Acked } else { InvalidationResult::Pending };
        observe.invalidation(scale, Kind::Hard, result);
        observe.revoked(scale, committed.is_ok());
        committed
    }
}
