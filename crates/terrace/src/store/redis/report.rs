//! Tells what is found out about the server.

use super::connect::Status;
use super::facts::Warning;
use super::{Redis, ServerFacts};
use crate::observe::Observe;
use crate::observe::stats::{FenceMode, FenceResult};
use crate::store::remote::Fault;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How often the connections are counted.
const PERIOD: Duration = Duration::from_secs(5);

/// Tells until the tier is gone.
pub(crate) fn start(redis: &Arc<Redis>, observe: Observe, runtime: &Handle) {
    let (weak, mut status) = (Arc::downgrade(redis), redis.status());
    drop(runtime.spawn(async move {
        let mut said = HashSet::new();
        loop {
            let changed = tokio::time::timeout(PERIOD, status.changed()).await;
            let Some(redis) = weak.upgrade() else {
                return;
            };
            observe.pool(redis.connections().into(), 0, redis.max_connections().into());
            if changed.is_ok() {
                let now = status.borrow_and_update().clone();
                tell(&now, &observe, &mut said);
            }
        }
    }));
}

fn tell(status: &Status, observe: &Observe, said: &mut HashSet<&'static str>) {
    match status {
        Status::Unknown => {}
        Status::Up(facts) => {
            observe.fence(FenceResult::Ok);
            warn(facts, observe, said);
        }
        Status::Down(fault, _) => observe.fence(match fault {
            Fault::Auth => FenceResult::Denied,
            Fault::ReadOnly => FenceResult::NotPrimary,
            _ => FenceResult::Error,
        }),
    }
}

/// Each weakness once.
fn warn(facts: &ServerFacts, observe: &Observe, said: &mut HashSet<&'static str>) {
    let warnings = facts.warnings();
    let hidden = warnings.iter().any(|warning| matches!(warning, Warning::HiddenIdentity));
    observe.fence_mode(if hidden { FenceMode::Off } else { FenceMode::Strict });
    for warning in &warnings {
        if said.insert(warning.as_str()) {
            observe.server_unsafe(warning.as_str(), &warning.to_string(), warning.unbounds_staleness());
        }
    }
    said.retain(|word| warnings.iter().any(|warning| warning.as_str() == *word));
}
