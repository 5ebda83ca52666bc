//! Protections that a test switches off, to see that it would notice if they were missing. Never in a program.
//!
//! The names are those of the rules in the model of the coherence protocol (`tests/model`).

#[cfg(feature = "test-util")]
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Something that keeps answers from being older than they may be, or a way to make that hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// An entry is stamped with what was invalidated before its fetch began.
    StampBeforeFetch,
    /// An entry in memory is checked whenever it is read.
    CheckedAtRead,
    /// Memory is believed no longer than its proof allows.
    ProofLimitsL1,
    /// An entry of another epoch is dead.
    EpochCompared,
    /// A connection is used after the fence only.
    FenceOnConnect,
}

/// The protections, and injections, that are switched. All of them are for the whole process.
#[cfg(feature = "test-util")]
static SWITCHES: AtomicU8 = AtomicU8::new(0);

#[cfg(feature = "test-util")]
const LOSES_BELLS: u8 = 1 << 6;
#[cfg(feature = "test-util")]
const HOLDS_POLLS: u8 = 1 << 7;

/// Every protection, with its name in the model.
#[cfg(feature = "test-util")]
pub const ALL: [(Protection, &str); 5] = [
    (Protection::StampBeforeFetch, "stamp_before_fetch"),
    (Protection::CheckedAtRead, "checked_at_read"),
    (Protection::ProofLimitsL1, "proof_limits_l1"),
    (Protection::EpochCompared, "epoch_compared"),
    (Protection::FenceOnConnect, "fence_on_connect"),
];

/// From now on this process does without a protection.
#[cfg(feature = "test-util")]
pub fn switch_off(protection: Protection) {
    SWITCHES.fetch_or(1 << protection as u8, Relaxed);
}

/// From now on half of the messages about invalidations do not reach this process.
#[cfg(feature = "test-util")]
pub fn lose_bells() {
    SWITCHES.fetch_or(LOSES_BELLS, Relaxed);
}

/// Whether the polls of this process are held up.
#[cfg(feature = "test-util")]
pub fn hold_polls(held: bool) {
    if held {
        SWITCHES.fetch_or(HOLDS_POLLS, Relaxed);
    } else {
        SWITCHES.fetch_and(!HOLDS_POLLS, Relaxed);
    }
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
    SWITCHES.load(Relaxed) & LOSES_BELLS != 0 && fastrand::bool()
}

#[cfg(feature = "test-util")]
pub(crate) fn polls_are_held() -> bool {
    SWITCHES.load(Relaxed) & HOLDS_POLLS != 0
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
