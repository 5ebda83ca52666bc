//! When the machine had no time: seen by a thread that does nothing but wake up every millisecond. It has no part in
//! anything that is measured, so that what delays it is not Terrace.

use crate::clock::{milliseconds, now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

/// Less is the ordinary work of a scheduler.
const NOTICED: u64 = milliseconds(1);

/// The thread should have been awake from the first to the second, in nanoseconds.
pub(crate) type Stall = (u64, u64);

pub(crate) struct Stalls {
    ends: Arc<AtomicBool>,
    watcher: JoinHandle<Vec<Stall>>,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        let ends = Arc::<AtomicBool>::default();
        let over = Arc::clone(&ends);
        let watcher = std::thread::spawn(move || {
            let mut stalls = Vec::new();
            while !over.load(SeqCst) {
                let due = now() + milliseconds(1);
                std::thread::sleep(Duration::from_millis(1));
                let awake = now();
                if awake > due + NOTICED {
                    stalls.push((due, awake));
                }
            }
            stalls
        });
        Self { ends, watcher }
    }

    pub(crate) fn finish(self) -> Vec<Stall> {
        self.ends.store(true, SeqCst);
        self.watcher.join().expect("it only sleeps")
    }
}

/// How much of the time from `begun` to `ended` the machine stood still.
pub(crate) fn overlap(stalls: &[Stall], begun: u64, ended: u64) -> u64 {
    let from = stalls.partition_point(|(_, awake)| *awake <= begun);
    let touching = stalls[from..].iter().take_while(|(due, _)| *due < ended);
    touching.map(|(due, awake)| (*awake).min(ended) - (*due).max(begun)).sum()
}

/// When the machine has run for so long since then.
pub(crate) fn running_for(time: u64, stalls: &[Stall], since: u64) -> u64 {
    let from = stalls.partition_point(|(_, awake)| *awake <= since);
    let later = |end: u64, (due, awake): &Stall| if *due < end { end + awake - (*due).max(since) } else { end };
    stalls[from..].iter().fold(since + time, later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_neither_and_ends_what_it_interrupts_later() {
        let stalls = [(10, 20), (50, 150), (400, 410)];
        assert_eq!((overlap(&stalls, 15, 60), overlap(&stalls, 20, 50), overlap(&stalls, 0, 1000)), (15, 0, 120));
        assert_eq!(running_for(30, &stalls, 20), 50, "it is over when the machine stands still");
        assert_eq!(running_for(31, &stalls, 20), 151);
        assert_eq!(running_for(5, &stalls, 100), 155, "it began in the middle of a stall");
        assert_eq!(running_for(260, &stalls, 150), 420);
        assert_eq!(running_for(7, &stalls, 500), 507);
    }
}
