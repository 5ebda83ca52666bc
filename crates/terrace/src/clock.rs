//! The only place that reads the time.
//!
//! A store reads two clocks: a monotonic one for lifetimes and waits, and the wall clock to compare with `Date`
//! header fields. On Linux the monotonic clock is `CLOCK_BOOTTIME`, which goes on while the machine is suspended:
//! what was fresh before a laptop or a virtual machine slept is not fresh when it wakes. Elsewhere it is the standard
//! library's.
//!
//! # In tests
//!
//! With the feature `test-util` there is a clock that tests move by hand.
//! A `FakeClock` stands still until `FakeClock::advance` moves it. It knows nothing of tokio's clock:
//! `#[tokio::test(start_paused = true)]` pauses tokio's *timers* (how long a request waits), while a fake clock
//! decides what a store thinks the *time* is (what is fresh). A test that needs both moves both, the fake clock first
//! so that a timer that fires already sees the new time:
//!
//! ```
//! # #[cfg(feature = "test-util")] {
//! # use std::time::Duration;
//! let time = terrace::clock::FakeClock::new();
//! let clock = time.clock(); // hand this to the store
//! time.advance(Duration::from_secs(60));
//! // and, where timers matter: tokio::time::advance(Duration::from_secs(60)).await;
//! # let _ = clock; }
//! ```

use std::ops::Add;
use std::time::{Duration, SystemTime};

#[cfg(any(test, feature = "test-util"))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What a store reads the time from: the machine's clocks by [`default`](Clock::default), or a `FakeClock`'s. Cheap
/// to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    #[cfg(any(test, feature = "test-util"))]
    fake: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// Reads the monotonic clock.
    #[cfg_attr(not(any(test, feature = "test-util")), expect(clippy::unused_self, reason = "only a fake has state"))]
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(fake) = &self.fake {
            return Instant(fake.load(Ordering::SeqCst));
        }
        monotonic()
    }

    /// Reads the wall clock, which may jump: only for comparing with dates that others wrote.
    #[cfg_attr(not(any(test, feature = "test-util")), expect(clippy::unused_self, reason = "only a fake has state"))]
    pub(crate) fn wall(&self) -> SystemTime {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(fake) = &self.fake {
            let since_start = Duration::from_nanos(fake.load(Ordering::SeqCst));
            return SystemTime::UNIX_EPOCH + FAKE_WALL_START + since_start;
        }
        crate::danger::shown(SystemTime::now())
    }
}

#[cfg(target_os = "linux")]
fn monotonic() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // A time since boot is never negative, and 64 bits of nanoseconds are 584 years.
    Instant(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

#[cfg(not(target_os = "linux"))]
fn monotonic() -> Instant {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    // What another process has stored before may be older than this one.
    Instant(nanoseconds(Duration::from_secs(24 * 60 * 60) + start.elapsed()))
}

/// A point of a [`Clock`]'s monotonic time. Points of different clocks can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instant(u64);

impl Instant {
    /// As a number, to be kept in an atomic.
    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    /// The reverse of [`as_nanos`](Self::as_nanos).
    pub(crate) fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The moment so long before; `None` if it is before the clock began.
    pub(crate) fn checked_sub(self, earlier: Duration) -> Option<Self> {
        self.0.checked_sub(nanoseconds(earlier)).map(Self)
    }

    /// The time from `earlier` to here, zero if `earlier` is later.
    #[inline]
    pub(crate) fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Later by a duration, or the end of time if that is sooner.
impl Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(later)))
    }
}

/// Whole nanoseconds, at most `u64::MAX`.
#[inline]
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// 2025-01-01 00:00:00 UTC after the Unix epoch.
#[cfg(any(test, feature = "test-util"))]
const FAKE_WALL_START: Duration = Duration::from_secs(1_735_689_600);

/// A clock that stands still until a test moves it. Both times move together; the wall clock starts at 2025-01-01
/// 00:00:00 UTC. Clones move the same clock.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Debug, Default)]
pub struct FakeClock {
    nanoseconds: Arc<AtomicU64>,
}

#[cfg(any(test, feature = "test-util"))]
impl FakeClock {
    /// A clock at its start.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock to hand to a store.
    pub fn clock(&self) -> Clock {
        Clock { fake: Some(Arc::clone(&self.nanoseconds)) }
    }

    /// Moves the time forward for everything that reads this clock.
    pub fn advance(&self, by: Duration) {
        self.nanoseconds.fetch_add(nanoseconds(by), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_passes_and_never_goes_back() {
        let clock = Clock::default();
        let start = clock.now();
        let mut last = start;
        while last == start {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        assert!(clock.wall() > SystemTime::UNIX_EPOCH + FAKE_WALL_START);
    }

    #[test]
    fn arithmetic_saturates() {
        let (early, late) = (Instant(5), Instant(8));
        assert_eq!(late.duration_since(early), Duration::from_nanos(3));
        assert_eq!(early.duration_since(late), Duration::ZERO);
        assert_eq!(early + Duration::from_nanos(3), late);
        assert_eq!(late + Duration::MAX, Instant(u64::MAX));
    }

    #[test]
    fn fake_time_moves_by_hand_in_all_clones() {
        let time = FakeClock::new();
        let clock = time.clock().clone();
        let (start, wall) = (clock.now(), clock.wall());
        assert_eq!(clock.now(), start);
        time.clone().advance(Duration::from_secs(60));
        assert_eq!(clock.now().duration_since(start), Duration::from_secs(60));
        assert_eq!(clock.wall().duration_since(wall).unwrap(), Duration::from_secs(60));
    }

    #[test]
    fn the_price_of_one_read() {
        let clock = Clock::default();
        let reads = 200_000_u32;
        let start = clock.now();
        for _ in 0..reads {
            std::hint::black_box(clock.now());
        }
        let total = clock.now().duration_since(start).as_secs_f64();
        println!("Clock::now: {:.1} ns each", total * 1e9 / f64::from(reads));
    }
}
