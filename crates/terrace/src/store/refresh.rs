//! Work behind the answers: refreshes that nobody waits for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;

/// Bounds the refreshes that run at once. One too many is simply not made: the next request asks again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refreshes(Arc<AtomicU64>);

impl Refreshes {
    /// Takes a place among `limit`; `None` if all are taken, or if no tokio runtime is there to run anything.
    pub(crate) fn reserve(&self, limit: u64) -> Option<Place> {
        let runtime = Handle::try_current().ok()?;
        let more = |running| (running < limit).then_some(running + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place { runtime, running: self.clone() })
    }
}

/// A place for one refresh, free again when it is dropped.
pub(crate) struct Place {
    runtime: Handle,
    running: Refreshes,
}

impl Place {
    /// Runs `work` in the background, in this place.
    pub(crate) fn run(self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.clone();
        // Detached on purpose: it ends with the runtime, and nobody waits for it.
        drop(runtime.spawn(async move {
            work.await;
            drop(self);
        }));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.0.fetch_sub(1, Ordering::Relaxed);
    }
}
