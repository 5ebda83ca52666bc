//! What the system knows about this process, and a server about itself.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use terrace_redis_server::Server;

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
    total(ClockId::ThreadCPUTime)
}

/// As [`thread_nanoseconds`], for all threads of this process.
///
/// # Panics
///
/// Never: the time is not negative.
pub fn process_nanoseconds() -> u64 {
    total(ClockId::ProcessCPUTime)
}

fn total(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let part = |value: i64| u64::try_from(value).expect("not negative");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Nanoseconds for which processors ran a server.
///
/// # Panics
///
/// When the server does not answer.
pub fn server_nanoseconds(server: &Server) -> u64 {
    let seconds = |field: &str| server.info("cpu", field).trim().parse::<f64>().expect("seconds");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds of some minutes")]
    let nanoseconds = |seconds: f64| (seconds * 1e9) as u64;
    nanoseconds(seconds("used_cpu_user")) + nanoseconds(seconds("used_cpu_sys"))
}
