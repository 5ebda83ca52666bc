//! One clock for all processes of the machine.

use std::time::Duration;

/// Nanoseconds since the machine started.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// So many milliseconds are so many nanoseconds.
pub(crate) const fn milliseconds(count: u64) -> u64 {
    count * 1_000_000
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
