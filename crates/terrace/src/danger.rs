//! Protections that a test switches off, to see that it would notice if they were missing. Never in a program.
//!
//! The names are those of the rules in the model of the coherence protocol (`tests/model`).

#[cfg(feature = "test-util")]
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering::Relaxed};
#[cfg(feature = "test-util")]
use std::time::Duration;
use std::time::SystemTime;

/// Something that keeps answers from being older than they may be, or a way to make that hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// An entry is stamped with what was invalidated before its fetch began.
    StampBeforeFetch,
    /// An entry in memory is checked whenever it is read.
    CheckedAtRead,
    /// Memory is believed no longer than its proof allows.
    ProofLimitsL1,
    /// Redis is believed no longer than its server is known to take writes.
    ProofLimitsL2,
    /// An entry of another past than the record's, by its epoch or its position, is dead.
    EpochCompared,
    /// A connection is used after the fence only.
    FenceOnConnect,
}

/// The protections that are switched off. This and what follows is for the whole process.
#[cfg(feature = "test-util")]
static SWITCHES: AtomicU8 = AtomicU8::new(0);

/// Of a hundred messages so many are lost.
#[cfg(feature = "test-util")]
static LOST_BELLS: AtomicU8 = AtomicU8::new(0);

#[cfg(feature = "test-util")]
static POLLS_HELD: AtomicBool = AtomicBool::new(false);

/// By so many seconds the wall clock is wrong.
#[cfg(feature = "test-util")]
static WALL_MOVED: AtomicI64 = AtomicI64::new(0);

/// Every protection, with its name in the model.
#[cfg(feature = "test-util")]
pub const ALL: [(Protection, &str); 6] = [
    (Protection::StampBeforeFetch, "stamp_before_fetch"),
    (Protection::CheckedAtRead, "checked_at_read"),
    (Protection::ProofLimitsL1, "proof_limits_l1"),
    (Protection::ProofLimitsL2, "proof_limits_l2"),
    (Protection::EpochCompared, "epoch_compared"),
    (Protection::FenceOnConnect, "fence_on_connect"),
];

/// From now on this process does without a protection.
#[cfg(feature = "test-util")]
pub fn switch_off(protection: Protection) {
    SWITCHES.fetch_or(1 << protection as u8, Relaxed);
}

/// From now on `percent` of the messages about invalidations do not reach this process, chosen at random.
#[cfg(feature = "test-util")]
pub fn lose_bells(percent: u8) {
    LOST_BELLS.store(percent, Relaxed);
}

/// Whether the polls of this process are held up.
#[cfg(feature = "test-util")]
pub fn hold_polls(held: bool) {
    POLLS_HELD.store(held, Relaxed);
}

/// From now on the wall clock of this process is wrong by so many seconds: fast if more than zero, slow if less.
#[cfg(feature = "test-util")]
pub fn move_wall_clock(seconds: i64) {
    WALL_MOVED.store(seconds, Relaxed);
}

/// Whether a protection is switched off.
#[cfg(feature = "test-util")]
#[inline]
pub(crate) fn is_off(protection: Protection) -> bool {
    SWITCHES.load(Relaxed) & (1 << protection as u8) != 0
}

/// Whether this message is lost.
#[cfg(feature = "test-util")]
pub(crate) fn bell_is_lost() -> bool {
    fastrand::u8(..100) < LOST_BELLS.load(Relaxed)
}

#[cfg(feature = "test-util")]
pub(crate) fn polls_are_held() -> bool {
    POLLS_HELD.load(Relaxed)
}

/// What the wall clock shows.
#[cfg(feature = "test-util")]
pub(crate) fn shown(wall: SystemTime) -> SystemTime {
    let moved = WALL_MOVED.load(Relaxed);
    let by = Duration::from_secs(moved.unsigned_abs());
    if moved < 0 { wall - by } else { wall + by }
}

/// No protection is ever off.
#[cfg(not(feature = "test-util"))]
#[inline]
pub(crate) const fn is_off(_: Protection) -> bool {
    false
}

/// No message is lost on purpose.
#[cfg(not(feature = "test-util"))]
pub(crate) const fn bell_is_lost() -> bool {
    false
}

/// No poll is held up on purpose.
#[cfg(not(feature = "test-util"))]
pub(crate) const fn polls_are_held() -> bool {
    false
}

/// The wall clock shows the time.
#[cfg(not(feature = "test-util"))]
pub(crate) const fn shown(wall: SystemTime) -> SystemTime {
    wall
}
