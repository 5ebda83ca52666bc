//! Tells what is found out about the server.

use super::Redis;
use super::connect::{Hearing, Status};
use super::facts::{ServerFacts, Warning};
use crate::observe::Observe;
use crate::observe::stats::{FenceMode, Weakness};
use crate::store::race::first;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How often what changes without a sign is looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// Tells until the tier is gone.
pub(crate) fn start(redis: &Arc<Redis>, observe: Observe, runtime: &Handle) {
    let (weak, mut status, mut hearing) = (Arc::downgrade(redis), redis.status(), redis.hearing());
    drop(runtime.spawn(async move {
        let mut said = Vec::new();
        loop {
            let changed = first(status.changed(), hearing.changed());
            let _ = tokio::time::timeout(PERIOD, changed).await;
            let Some(redis) = weak.upgrade() else {
                return;
            };
            let used = redis.usage();
            observe.pool(used.idle.into(), used.in_use.into(), used.max.into());
            for (result, times) in redis.take_fences() {
                (0..times).for_each(|_| observe.fence(result));
            }
            observe.markers(redis.markers());
            observe.swept(redis.take_ended());
            let heard = *hearing.borrow_and_update();
            observe.bus(heard == Hearing::Messages);
            let now = status.borrow_and_update().clone();
            if let Status::Up(facts) = &now {
                warn(facts, heard, &observe, &mut said);
            }
        }
    }));
}

/// Each weakness once, until it is gone.
fn warn(facts: &ServerFacts, heard: Hearing, observe: &Observe, said: &mut Vec<Weakness>) {
    let mut facts = facts.clone();
    if heard == Hearing::Denied {
        facts.deny(["SUBSCRIBE".to_owned()]);
    }
    let warnings = facts.warnings();
    let found: Vec<Weakness> = warnings.iter().map(Warning::weakness).collect();
    let is_hidden = found.contains(&Weakness::HiddenIdentity);
    observe.fence_mode(if is_hidden { FenceMode::Off } else { FenceMode::Strict });
    observe.weaknesses(&found);
    for warning in warnings.iter().filter(|warning| !said.contains(&warning.weakness())) {
        observe.server_unsafe(warning.weakness(), &warning.to_string(), warning.unbounds_staleness());
    }
    *said = found;
}
