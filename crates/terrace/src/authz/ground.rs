//! What a request was let through for, as long as its answer lasts.

use super::context::Context;
use super::decision::{Decision, Unavailable};
use super::facts::{Facts, Tagger};
use super::layer::Shared;
use super::requirement::Consistency;
use super::ruling::{Begun, Question};
use crate::Authorized;
use crate::clock::Instant;
use crate::store::{Entry, Standing};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a decision rests on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(super) shared: Arc<Shared>,
    /// What the route was about in this request.
    pub(super) resource: Option<String>,
    /// `None` if something else than facts has decided.
    pub(super) entry: Option<Arc<Entry<Facts>>>,
    /// Where an authorizer may take part. Apart, for it mostly does not.
    pub(super) judged: Option<Box<Judged>>,
    /// It does not hold from here on.
    pub(super) ends: Instant,
}

/// What a decision of an authorizer rests on.
#[derive(Clone)]
pub(super) struct Judged {
    /// What the request said about its circumstances.
    pub(super) context: Option<Context>,
    /// What is cached of its decisions.
    pub(super) decisions: Vec<Arc<Entry<Facts>>>,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").finish_non_exhaustive()
    }
}

impl Ground {
    pub(super) fn is_by(&self, layer: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, layer)
    }

    pub(crate) fn engine(&self) -> u64 {
        self.shared.engine.id
    }

    /// The store by which it is revoked.
    pub(crate) fn store(&self) -> usize {
        self.shared.engine.store.id()
    }

    pub(crate) fn tagger(&self) -> &Tagger {
        &self.shared.engine.tagger
    }

    /// When to look again; `None` if it does not hold any more. Without proof, and while somebody changes rights, it holds
    /// for as long as what the source has just said may be used.
    fn lasts(&self) -> Option<Duration> {
        let tiers = &self.shared.engine.tiers;
        let (now, settings) = (tiers.clock().now(), tiers.settings());
        if now >= self.ends {
            return None;
        }
        let holds = self.entry.iter().chain(self.judged.iter().flat_map(|judged| &judged.decisions)).all(|entry| {
            let is_new = entry.value().age(now) <= settings.max_lag();
            match entry.standing() {
                Standing::Current => is_new || self.shared.engine.hears(now),
                Standing::Held => is_new,
                Standing::Expired | Standing::Dead => false,
            }
        });
        holds.then(|| self.ends.duration_since(now).min(settings.poll_interval()))
    }
}

impl Authorized {
    /// Whether this layer has let the request pass.
    pub(super) fn is_by(&self, layer: &Arc<Shared>) -> bool {
        self.ground.is_by(layer)
    }

    /// Waits until what was decided may not be true any more: it was revoked or is being changed, the credential or what is
    /// cached has ended, or nothing proves that it was not revoked. Within
    /// [`Authz::revocation_bound`](super::Authz::revocation_bound); after it, ask [`revalidate`](Self::revalidate). For
    /// answers that go on, such as streams and sockets:
    ///
    /// ```
    /// # async fn send_next() -> bool { false }
    /// # async fn stream(mut authorized: terrace::Authorized) -> Result<(), terrace::authz::Unavailable> {
    /// loop {
    ///     tokio::select! {
    ///         more = send_next() => if !more { return Ok(()) },
    ///         () = authorized.revoked() => match authorized.revalidate().await? {
    ///             Some(again) => authorized = again,
    ///             None => return Ok(()), // they may not any more
    ///         },
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// It only waits.
    pub async fn revoked(&self) {
        while let Some(time) = self.ground.lasts() {
            tokio::time::sleep(time).await;
        }
    }

    /// Asks the source whether the caller still may what the layer required of them: `None` if they may not.
    ///
    /// # Errors
    ///
    /// If there is no decision: treat that as no permission, or ask again a little later. Closing at once what waits for
    /// it would close everything when Redis or the source fails for a moment.
    ///
    /// # Cancel safety
    ///
    /// As [`Authz::check`](super::Authz::check).
    pub async fn revalidate(&self) -> Result<Option<Self>, Unavailable> {
        let Ground { shared, resource, judged, .. } = &self.ground;
        let context = judged.as_ref().and_then(|judged| judged.context.clone());
        let Some(requirement) = &shared.requirement else { return Ok(None) };
        let demand = requirement.demand.clone().and(Consistency::Fresh.into());
        let question = Question { requirement, resource: resource.as_deref(), demand, context: context.as_ref() };
        let begun = Begun::at(shared.engine.tiers.clock().now());
        let rulings = shared.engine.rule(&self.principal, &[question], begun).await?;
        let allowed = rulings.first().filter(|ruling| ruling.decision == Decision::Allow);
        let about = || (resource.clone(), context.clone());
        Ok(allowed.map(|ruling| ruling.authorized(shared, self.principal.clone(), about())))
    }
}
