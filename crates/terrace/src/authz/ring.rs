//! Whether processes hear each other's revocations: those that have no key in common do not, and nobody hears of what a
//! server has forgotten that hides who it is.

use super::engine::Engine;
use crate::clock::Instant;
use crate::store::remote::{RingState, Vault};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// What is known of the keys of others.
#[derive(Debug)]
pub(super) struct Ring {
    fingerprints: Vec<String>,
    /// A server that hides who it is will do.
    unfenced: bool,
    /// When it was last asked whether all who live have one of our keys, and was so, in nanoseconds; zero if never, or not
    /// any more.
    joined: AtomicU64,
}

/// How long a process counts as one of the others after it has said which keys it has. A second less than where that is
/// kept: whoever joins when we do not count any more is not heard.
const COUNTS: Duration = Duration::from_secs(59);

/// How often it says it.
const AGAIN: Duration = Duration::from_secs(15);

/// How soon it tries again while nobody answers, or others have other keys.
const SOON: Duration = Duration::from_millis(250);

impl Ring {
    pub(super) fn new(vaults: &[Arc<dyn Vault>], unfenced: bool) -> Self {
        let mut fingerprints: Vec<String> = vaults.iter().map(|vault| vault.fingerprint()).collect();
        // The same keys are the same ring, whichever of them seals.
        fingerprints.sort_unstable();
        Self { fingerprints, unfenced, joined: AtomicU64::new(0) }
    }

    /// Whether revocations of all who live are heard. Nobody else is concerned where nothing is shared.
    #[inline]
    pub(super) fn is_joined(&self, now: Instant) -> bool {
        if self.fingerprints.is_empty() {
            return true;
        }
        let joined = self.joined.load(Relaxed);
        joined != 0 && now.duration_since(Instant::from_nanos(joined)) < COUNTS
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
        let mut was = None;
        while let Some(wait) = say(&engine, &mut was).await {
            tokio::time::sleep(wait).await;
        }
    }));
}

/// Says it once; how long to wait then. `None` if the engine is gone.
async fn say(engine: &Weak<Engine>, was: &mut Option<RingState>) -> Option<Duration> {
    let engine = engine.upgrade()?;
    let (ring, asked) = (&engine.ring, engine.tiers.clock().now());
    // Without an answer it counts for a while.
    let Some(state) = engine.tiers.join_ring(&ring.fingerprints).await else { return Some(SOON) };
    let state = if ring.unfenced && state == RingState::Hidden { RingState::Joined } else { state };
    let joined = state == RingState::Joined;
    ring.joined.store(if joined { asked.as_nanos().max(1) } else { 0 }, Relaxed);
    if was.replace(state) != Some(state) {
        engine.tiers.observe().ring(state);
    }
    Some(if joined { AGAIN } else { SOON })
}
