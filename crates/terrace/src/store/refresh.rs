//! Work behind the answers: refreshes that nobody waits for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// Whether to refresh what ends when so much is `left` (`XFetch`, Vattani et al. 2015): of the `chance`s from 0 to 1 that
/// are drawn, `exp(-left / scale)` say yes. The scale is in seconds.
#[inline]
pub(crate) fn is_due(left: Duration, scale: f64, chance: f64) -> bool {
    left.as_secs_f64() < -scale * (1.0 - chance).ln()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_is_left_the_more_chances_say_yes() {
        let due = |left: u64, scale: f64| {
            let all = (0..10_000).filter(|at| is_due(Duration::from_millis(left), scale, f64::from(*at) / 10_000.0));
            all.count()
        };
        for (left, scale, expected) in [(0, 1.0, 9_999), (1000, 1.0, 3_678), (5000, 1.0, 67), (5000, 5.0, 3_678)] {
            assert!(due(left, scale).abs_diff(expected) <= 1, "{left} ms at {scale} s: {}", due(left, scale));
        }
        assert_eq!((due(1, 0.0), due(0, 0.0)), (0, 0), "what cost nothing is not refreshed early");
    }
}
