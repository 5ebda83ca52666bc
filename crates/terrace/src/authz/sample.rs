//! Facts that are compared with what the source says now: a measurement, which is off unless somebody asks for it.

use super::engine::Engine;
use super::facts::Facts;
use super::principal::Who;
use super::source::LoadHint;
use crate::observe::stats::SampleResult;
use crate::store::{Entry, Standing};
use std::sync::Arc;

impl Engine {
    /// Asks the source in the background about facts that have just answered, and counts whether it says the same. Does
    /// nothing while others are being compared, or where as many refreshes run as may.
    #[cold]
    pub(super) fn compare(self: &Arc<Self>, who: &Who, entry: &Arc<Entry<Facts>>) {
        let limit = self.tiers.settings().max_refreshes();
        let (Some(turn), Some(place)) = (self.samples.reserve(1), self.store.refreshes().reserve(limit)) else {
            return;
        };
        let (engine, who, entry) = (Arc::clone(self), who.clone(), Arc::clone(entry));
        let observe = self.tiers.observe();
        let work = observe.sampling().within(async move {
            if let Some(result) = engine.compared(&who, &entry).await {
                engine.tiers.observe().sampled(result);
            }
            drop(turn);
        });
        place.run(observe.within_span(work));
    }

    /// `None` if they have been revoked since: then the source may differ.
    async fn compared(&self, who: &Who, entry: &Entry<Facts>) -> Option<SampleResult> {
        let limit = self.tiers.settings().source_timeout();
        let Ok(said) = self.bounded(self.source.load(who, LoadHint::at_least(None)), limit).await else {
            return Some(SampleResult::Error);
        };
        if entry.value().grants.permits_as(&said) {
            return Some(SampleResult::Match);
        }
        // Who changes rights and then revokes them does not do both at once, nor is it known everywhere at once.
        let settings = self.tiers.settings();
        tokio::time::sleep(settings.max_lag() + settings.source_lag()).await;
        (entry.standing() == Standing::Current).then_some(SampleResult::Mismatch)
    }
}
