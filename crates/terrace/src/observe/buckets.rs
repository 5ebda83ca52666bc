//! The upper edges of the histograms' buckets, in nanoseconds.

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;

/// From 500 ns to 5 s, with an edge on every promised threshold (1, 5, 15, 20, 30, 50, 100, 500 ms). A lookup in memory
/// takes some hundred nanoseconds, one in Redis up to its budget.
pub(super) const LOOKUP: &[u64] = &[
    500,
    MICROSECOND,
    2_500,
    5 * MICROSECOND,
    10 * MICROSECOND,
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    15 * MILLISECOND,
    20 * MILLISECOND,
    30 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
];

/// The same from 10 µs on.
pub(super) const REQUEST: &[u64] = LOOKUP.split_at(4).1;

/// From 500 µs to 30 s.
pub(super) const LAG: &[u64] = &[
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
];

/// From 100 ms to an hour, with an edge on the default lifetimes of facts (5 s, 300 s).
pub(super) const AGE: &[u64] = &[
    100 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
    600 * SECOND,
    1800 * SECOND,
    3600 * SECOND,
];

/// The edges for requests, in seconds.
#[cfg(feature = "metrics")]
pub(super) fn request_seconds() -> Vec<f64> {
    REQUEST.iter().map(|edge| super::histogram::seconds(*edge)).collect()
}
