//! What the system knows about this process.

use rustix::time::{ClockId, clock_gettime};
use std::fs;

/// Bytes of this process in memory.
///
/// # Panics
///
/// Where there is no `/proc`.
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * rustix::param::page_size() as u64
}

/// Nanoseconds for which a processor ran this thread. Unlike a clock it stands still while another process has the
/// processor.
///
/// # Panics
///
/// Never: the time is not negative.
pub fn thread_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).expect("not negative");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}
