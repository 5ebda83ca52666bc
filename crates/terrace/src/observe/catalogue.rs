//! The metric families: one table from which come the counters' places in memory, what is published, the
//! descriptions, the manual's chapter and the tests that hold `/metrics` to all of it.

use super::labels::{
    BypassReason, CacheStatus, EvictionReason, Feature, FlightJoin, ForwardReason, Found, InvalidationResult, Kind,
    LockKind, LockResult, LookupResult, OriginOutcome, RejectReason, Scope, StoreResult, Tier,
};

/// One metric family.
pub(super) struct Family {
    pub(super) id: Id,
    pub(super) name: &'static str,
    pub(super) kind: FamilyKind,
    pub(super) labels: &'static [Label],
    pub(super) help: &'static str,
}

/// What a family measures.
#[derive(Clone, Copy)]
pub(super) enum FamilyKind {
    Counter,
    /// A value that also falls; how the values of several stores become one.
    Gauge(Merge),
    /// Times; the upper edges of the buckets, in nanoseconds.
    Histogram(&'static [u64]),
}

#[derive(Clone, Copy)]
pub(super) enum Merge {
    Sum,
    Min,
    Max,
    /// 1, whatever the stores say.
    One,
}

pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) values: Values,
}

#[derive(Clone, Copy)]
pub(super) enum Values {
    /// These words.
    Closed(&'static [&'static str]),
    /// These words, of which only the first few exist yet.
    First(usize, &'static [&'static str]),
    /// The registered namespaces and `other`.
    Namespaces,
}

/// How many namespaces have series of their own.
pub(super) const NAMESPACES: u8 = 32;

/// The bound on the series of one process that a test holds.
#[cfg(test)]
pub(super) const MAX_SERIES: usize = 2_000;

impl Values {
    /// How many values there are places for.
    pub(super) const fn places(self) -> usize {
        match self {
            Self::Closed(words) | Self::First(_, words) => words.len(),
            Self::Namespaces => NAMESPACES as usize + 1,
        }
    }
}

/// Names a family; its place in the table.
#[derive(Clone, Copy)]
pub(super) enum Id {
    Requests,
    RequestDuration,
    Forwards,
    Bypasses,
    Lookups,
    LookupDuration,
    Rejected,
    Stores,
    FillDuration,
    OriginDuration,
    InflightFills,
    Entries,
    SizeBytes,
    MaxSizeBytes,
    Evictions,
    Invalidations,
    Position,
    FlightJoins,
    Locks,
    LockWait,
    FeatureEnabled,
    BuildInfo,
    LabelOverflow,
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;

/// From 10 µs to 5 s, with an edge on every promised threshold (1, 5, 15, 20, 30, 50, 100, 500 ms).
const REQUEST: &[u64] = &[
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

/// From 500 ns to 1 ms.
const MEMORY: &[u64] = &[
    500,
    MICROSECOND,
    2_500,
    5 * MICROSECOND,
    10 * MICROSECOND,
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    MILLISECOND,
];

const fn label(name: &'static str, words: &'static [&'static str]) -> Label {
    Label { name, values: Values::Closed(words) }
}

const CACHE: Label = label("cache", &["response"]);
/// Redis has a place in memory, but no series before it exists.
const TIER: Label = Label { name: "tier", values: Values::First(1, Tier::WORDS) };
const NAMESPACE: Label = Label { name: "cache_namespace", values: Values::Namespaces };
const STATUS: Label = label("cache_status", CacheStatus::WORDS);

pub(super) static FAMILIES: [Family; Id::LabelOverflow as usize + 1] = [
    Family {
        id: Id::Requests,
        name: "cache_requests_total",
        kind: FamilyKind::Counter,
        labels: &[NAMESPACE, STATUS],
        help: "Requests seen by the response layer, by outcome.",
    },
    Family {
        id: Id::RequestDuration,
        name: "cache_request_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[STATUS],
        help: "Time to the response head, by outcome. One memory hit in 64 is timed and weighs 64.",
    },
    Family {
        id: Id::Forwards,
        name: "cache_forwards_total",
        kind: FamilyKind::Counter,
        labels: &[label("reason", ForwardReason::WORDS)],
        help: "Requests forwarded to the origin, by RFC 9211 fwd reason.",
    },
    Family {
        id: Id::Bypasses,
        name: "cache_bypass_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("reason", BypassReason::WORDS)],
        help: "Requests answered without a ticket: cache not consulted or not usable.",
    },
    Family {
        id: Id::Lookups,
        name: "cache_lookups_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, TIER, label("result", LookupResult::WORDS)],
        help: "Lookups per tier, by result.",
    },
    Family {
        id: Id::LookupDuration,
        name: "cache_lookup_duration_seconds",
        kind: FamilyKind::Histogram(MEMORY),
        labels: &[CACHE, label("tier", &["l1"]), label("result", Found::WORDS)],
        help: "Lookup time per tier. One memory lookup in 64 is timed and weighs 64.",
    },
    Family {
        id: Id::Rejected,
        name: "cache_entries_rejected_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, TIER, label("reason", RejectReason::WORDS)],
        help: "Entries found but not served.",
    },
    Family {
        id: Id::Stores,
        name: "cache_stores_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, TIER, label("result", StoreResult::WORDS)],
        help: "Attempts to store an entry, by result.",
    },
    Family {
        id: Id::FillDuration,
        name: "cache_fill_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[CACHE],
        help: "Time from a miss to the stored entry.",
    },
    Family {
        id: Id::OriginDuration,
        name: "cache_origin_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[CACHE, label("outcome", OriginOutcome::WORDS)],
        help: "Time of the origin, to the response head.",
    },
    Family {
        id: Id::InflightFills,
        name: "cache_inflight_fills",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE],
        help: "Fills running now.",
    },
    Family {
        id: Id::Entries,
        name: "cache_entries",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE, NAMESPACE],
        help: "Entries held in process memory.",
    },
    Family {
        id: Id::SizeBytes,
        name: "cache_size_bytes",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE, NAMESPACE],
        help: "Bytes held in process memory.",
    },
    Family {
        id: Id::MaxSizeBytes,
        name: "cache_max_size_bytes",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE],
        help: "Configured byte limit of process memory.",
    },
    Family {
        id: Id::Evictions,
        name: "cache_evictions_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("reason", EvictionReason::WORDS)],
        help: "Entries that left process memory.",
    },
    Family {
        id: Id::Invalidations,
        name: "cache_invalidations_total",
        kind: FamilyKind::Counter,
        labels: &[label("scope", Scope::WORDS), label("kind", Kind::WORDS), label("result", InvalidationResult::WORDS)],
        help: "Invalidations issued by this process.",
    },
    Family {
        id: Id::Position,
        name: "cache_coherence_position",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[],
        help: "Position of the last invalidation applied.",
    },
    Family {
        id: Id::FlightJoins,
        name: "cache_flight_joins_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("result", FlightJoin::WORDS)],
        help: "Followers of a fetch: outcome taken, or refused because a later invalidation was known.",
    },
    Family {
        id: Id::Locks,
        name: "cache_lock_acquisitions_total",
        kind: FamilyKind::Counter,
        labels: &[label("kind", LockKind::WORDS), label("result", LockResult::WORDS)],
        help: "Single-flight and lease acquisitions.",
    },
    Family {
        id: Id::LockWait,
        name: "cache_lock_wait_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[label("kind", LockKind::WORDS)],
        help: "Time waited for another fill.",
    },
    Family {
        id: Id::FeatureEnabled,
        name: "cache_feature_enabled",
        kind: FamilyKind::Gauge(Merge::Min),
        labels: &[label("feature", Feature::WORDS)],
        help: "1 while the feature is on in every store of the process.",
    },
    Family {
        id: Id::BuildInfo,
        name: "cache_build_info",
        kind: FamilyKind::Gauge(Merge::One),
        labels: &[
            label("version", &[env!("CARGO_PKG_VERSION")]),
            label("revision", &[revision()]),
            label("rustc", &[env!("TERRACE_RUSTC")]),
        ],
        help: "Always 1; what the program was built from and with.",
    },
    Family {
        id: Id::LabelOverflow,
        name: "cache_label_overflow_total",
        kind: FamilyKind::Counter,
        labels: &[label("label", &["cache_namespace"])],
        help: "Requests counted under another name because the label had too many values.",
    },
];

/// What a release build says of itself.
const fn revision() -> &'static str {
    match option_env!("TERRACE_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    }
}

impl Family {
    /// How many series there are places for.
    pub(super) const fn places(&self) -> usize {
        let (mut product, mut at) = (1, 0);
        while at < self.labels.len() {
            product *= self.labels[at].values.places();
            at += 1;
        }
        product
    }

    /// How many cells one series needs: a histogram's are its buckets, the last without an upper edge, and the sum.
    pub(super) const fn cells_per_series(&self) -> usize {
        match self.kind {
            FamilyKind::Counter | FamilyKind::Gauge(_) => 1,
            FamilyKind::Histogram(edges) => edges.len() + 2,
        }
    }
}

/// A family's first cell. All cells of a family follow one another, series by series.
pub(super) const fn first_cell(id: Id) -> usize {
    FIRST_CELLS[id as usize]
}

/// How many cells all families need.
pub(super) const CELLS: usize = FIRST_CELLS[FAMILIES.len()];

const FIRST_CELLS: [usize; FAMILIES.len() + 1] = {
    let mut first = [0; FAMILIES.len() + 1];
    let mut at = 0;
    while at < FAMILIES.len() {
        assert!(FAMILIES[at].id as usize == at, "the table is in the order of its ids");
        first[at + 1] = first[at] + FAMILIES[at].places() * FAMILIES[at].cells_per_series();
        at += 1;
    }
    first
};

/// The first cell of the series with these label values, given by their places.
#[inline]
pub(super) const fn cell<const N: usize>(id: Id, values: [usize; N]) -> usize {
    let family = &FAMILIES[id as usize];
    let (mut series, mut at) = (0, 0);
    while at < N {
        series = series * family.labels[at].values.places() + values[at];
        at += 1;
    }
    first_cell(id) + series * family.cells_per_series()
}

/// The places of a series' label values; the reverse of [`cell`].
pub(super) fn values_of(family: &Family, mut series: usize) -> Vec<usize> {
    let mut values: Vec<usize> = family
        .labels
        .iter()
        .rev()
        .map(|label| {
            let places = label.values.places();
            let value = series % places;
            series /= places;
            value
        })
        .collect();
    values.reverse();
    values
}

/// The edges for requests, in seconds.
#[cfg(feature = "metrics")]
pub(super) fn request_seconds() -> Vec<f64> {
    REQUEST.iter().map(|edge| super::histogram::seconds(*edge)).collect()
}
