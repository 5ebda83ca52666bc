//! Whether processes hear each other's revocations: those that have no key in common do not.

use super::engine::Engine;
use crate::store::remote::Vault;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// What is known of the keys of others.
#[derive(Debug)]
pub(super) struct Ring {
    fingerprints: Vec<String>,
    state: AtomicU8,
}

const UNKNOWN: u8 = 0;
const JOINED: u8 = 1;
const BARRED: u8 = 2;

/// How often a process says which keys it has: a few times before it counts as gone.
const AGAIN: Duration = Duration::from_secs(15);

/// How soon it tries again while nobody answers, or others have other keys.
const SOON: Duration = Duration::from_millis(250);

impl Ring {
    pub(super) fn new(vaults: &[Arc<dyn Vault>]) -> Self {
        let mut fingerprints: Vec<String> = vaults.iter().map(|vault| vault.fingerprint()).collect();
        // The same keys are the same ring, whichever of them seals.
        fingerprints.sort_unstable();
        Self { fingerprints, state: AtomicU8::new(UNKNOWN) }
    }

    /// Whether all who live have one of our keys. Nobody else is concerned where nothing is shared.
    #[inline]
    pub(super) fn is_joined(&self) -> bool {
        self.fingerprints.is_empty() || self.state.load(Relaxed) == JOINED
    }
}

/// Says which keys this process has, as long as the engine is there.
pub(super) fn start(engine: &Arc<Engine>) {
    let Ok(runtime) = Handle::try_current() else { return };
    if engine.ring.fingerprints.is_empty() {
        return;
    }
    let engine = Arc::downgrade(engine);
    drop(runtime.spawn(async move {
        while let Some(wait) = say(&engine).await {
            tokio::time::sleep(wait).await;
        }
    }));
}

/// Says it once; how long to wait then. `None` if the engine is gone.
async fn say(engine: &Weak<Engine>) -> Option<Duration> {
    let engine = engine.upgrade()?;
    let ring = &engine.ring;
    let Some(joined) = engine.tiers.join_ring(&ring.fingerprints).await else {
        // What was known goes on until it is proven to be otherwise: without Redis nothing is used anyway.
        return Some(SOON);
    };
    let was = ring.state.swap(if joined { JOINED } else { BARRED }, Relaxed);
    engine.tiers.observe().ring(joined, (was != UNKNOWN).then_some(was == JOINED));
    Some(if joined { AGAIN } else { SOON })
}
