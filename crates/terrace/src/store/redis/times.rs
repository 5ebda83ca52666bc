//! What a server's clock says.

use crate::clock::Instant;
use crate::store::remote::ServerTime;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far the server's clock is ahead of ours, in milliseconds; zero until it was asked. A reply was made some time
/// between its question and its arrival, hence two of them.
#[derive(Debug, Default)]
pub(super) struct Times {
    least: AtomicU64,
    most: AtomicU64,
}

impl Times {
    /// A question that was sent and answered then was told `time`.
    pub(super) fn told(&self, time: u64, sent: Instant, received: Instant) {
        let ahead = |at| time.saturating_sub(milliseconds(at));
        self.least.store(ahead(received), Relaxed);
        self.most.store(ahead(sent), Relaxed);
    }

    /// What it says now; `None` before it was told.
    pub(super) fn at(&self, now: Instant) -> Option<ServerTime> {
        let [least, most] = [&self.least, &self.most].map(|ahead| ahead.load(Relaxed));
        let now = milliseconds(now);
        // One may be of an older question than the other.
        (most != 0).then(|| ServerTime { earliest: least.min(most) + now, latest: least.max(most) + now })
    }
}

fn milliseconds(at: Instant) -> u64 {
    at.as_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn the_truth_is_between_what_the_clock_said_at_the_question_and_at_the_answer() {
        let times = Times::default();
        assert_eq!(times.at(at(5)), None);
        times.told(1_700_000_000_000, at(100), at(130));
        let time = times.at(at(150)).unwrap();
        assert_eq!((time.earliest, time.latest), (1_700_000_000_020, 1_700_000_000_050));
    }
}
