//! Facts are loaded again before they end, so that no request has to wait for that.

use super::engine::Engine;
use super::facts::Facts;
use super::load::{Look, Want};
use super::principal::Who;
use crate::clock::Instant;
use crate::store::{Entry, Key};
use std::sync::Arc;

impl Engine {
    /// For facts that have just answered: sets out to load them again if they end soon, or to compare them if that is
    /// asked for. Nobody waits for that, and what fails changes nothing.
    #[inline]
    pub(super) fn look_ahead(self: &Arc<Self>, who: &Who, entry: &Arc<Entry<Facts>>, asked: Instant) {
        if entry.value().is_due(asked, fastrand::f64) {
            self.set_out(who, entry.value());
        } else if self.tiers.settings().samples_consistency() {
            self.compare(who, entry);
        }
    }

    #[cold]
    fn set_out(self: &Arc<Self>, who: &Who, facts: &Facts) {
        let limit = self.tiers.settings().max_refreshes();
        let Some(place) = self.store.refreshes().reserve(limit) else { return };
        // Another process may have loaded them meanwhile; what has as little left as these is not worth a place.
        let want = Want { below: Some(facts.life() / 2), ..Want::default() };
        let (engine, who) = (Arc::clone(self), who.clone());
        let observe = self.tiers.observe();
        let work = observe.refreshing().within(async move { engine.renew(&who, &want).await });
        place.run(observe.within_span(work));
    }

    async fn renew(self: &Arc<Self>, who: &Who, want: &Want) {
        let (bytes, now) = (self.keys.permissions(who), self.tiers.clock().now());
        let key = Key::new(self.tiers.hash(&bytes), &bytes);
        // What is held, or not proven, could not be kept.
        let Look::Load(ticket) = self.look(&key, want, now) else { return };
        // Whoever is at it brings the same.
        let Some(lead) = self.flights.lead(key.hash(), now) else { return };
        // Those who wait for it are told of a failure, and it is logged.
        let _ = self.lead(lead, who, ticket, (want, false), now).await;
    }
}
