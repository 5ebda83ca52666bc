//! The metric families: one table from which come the counters' places in memory, what is published, the
//! descriptions, the manual's chapter and the tests that hold `/metrics` to all of it.

use super::buckets::{AGE, LAG, LOOKUP, REQUEST};
use super::labels::{
    BellDirection, BreakerName, BreakerState, BridgeChannel, BridgeResult, BypassReason, CacheName, CacheStatus,
    ChangeResult, CheckDecision, CheckStatus, CoherenceState, EpochChange, ErrorKind, EvictionReason, Feature,
    FenceMode, FenceResult, FlightJoin, ForwardReason, Found, InvalidationResult, Kind, L2Op, LockKind, LockResult,
    LookupResult, OriginOutcome, PollResult, PoolState, PrewarmResult, RejectReason, SampleResult, Scope, StoreResult,
    Task, Tier, Weakness,
};

/// One metric family.
pub(super) struct Family {
    pub(super) id: Id,
    pub(super) name: &'static str,
    pub(super) kind: FamilyKind,
    pub(super) labels: &'static [Label],
    pub(super) exists: Exists,
    pub(super) help: &'static str,
}

/// In which processes a family has series.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exists {
    Always,
    /// Where a store has a tier that processes share.
    Shared,
    /// Where a store reports tasks.
    Tasks,
    /// With `CACHE_COMPAT_METRICS`: other names for what other families have.
    Compat,
}

/// What a family measures.
#[derive(Clone, Copy)]
pub(super) enum FamilyKind {
    Counter,
    /// A value that also falls; how the values of several stores become one.
    Gauge(Merge),
    /// A gauge of time: nanoseconds here, seconds in the text.
    Seconds(Merge),
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
    /// These words, of which those after the first few exist only where a store has a tier that processes share.
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
    L2Up,
    L2Errors,
    PoolConnections,
    PoolMax,
    Breakers,
    BreakerMoves,
    Pending,
    OldestPending,
    AckDuration,
    Coherence,
    ProofAge,
    MaxLag,
    Lag,
    Polls,
    Bells,
    BusConnected,
    Markers,
    EpochChanges,
    Fences,
    FenceMode,
    Unsafe,
    Changes,
    BridgeConnected,
    BridgeMessages,
    BridgeGaps,
    BridgePrewarms,
    Checks,
    CheckDuration,
    EntryAge,
    RevocationBound,
    OpenChanges,
    StaleUsed,
    RingJoined,
    TaskSuccess,
    TaskDuration,
    Consistency,
    ToolHits,
    ToolMisses,
    ToolDuration,
}

/// What can be switched while running, and what is decided when a store starts.
const FEATURES: [&str; COMPAT_METRICS + 1] = {
    let (mut words, mut at) = (["compat_metrics"; COMPAT_METRICS + 1], 0);
    while at < COMPAT_METRICS {
        words[at] = Feature::WORDS[at];
        at += 1;
    }
    words
};

/// The place of the other names among the features.
pub(super) const COMPAT_METRICS: usize = Feature::WORDS.len();

/// What the field calls a tool, of which Terrace is one.
const TOOL: Label = label("tool", &["response"]);
const CACHED: Label = label("cached", &["true", "false"]);

const fn label(name: &'static str, words: &'static [&'static str]) -> Label {
    Label { name, values: Values::Closed(words) }
}

const CACHE: Label = label("cache", CacheName::WORDS);
const TIER: Label = Label { name: "tier", values: Values::First(1, Tier::WORDS) };
const NAMESPACE: Label = Label { name: "cache_namespace", values: Values::Namespaces };
const STATUS: Label = label("cache_status", CacheStatus::WORDS);
const CHECKED: Label = label("cache_status", CheckStatus::WORDS);

pub(super) static FAMILIES: [Family; Id::ToolDuration as usize + 1] = [
    Family {
        id: Id::Requests,
        name: "cache_requests_total",
        kind: FamilyKind::Counter,
        labels: &[NAMESPACE, STATUS],
        exists: Exists::Always,
        help: "Requests seen by the response layer, by outcome.",
    },
    Family {
        id: Id::RequestDuration,
        name: "cache_request_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[STATUS],
        exists: Exists::Always,
        help: "Time to the response head, by outcome. One memory hit in 64 is timed and weighs 64.",
    },
    Family {
        id: Id::Forwards,
        name: "cache_forwards_total",
        kind: FamilyKind::Counter,
        labels: &[label("reason", ForwardReason::WORDS)],
        exists: Exists::Always,
        help: "Requests forwarded to the origin, by RFC 9211 fwd reason.",
    },
    Family {
        id: Id::Bypasses,
        name: "cache_bypass_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("reason", BypassReason::WORDS)],
        exists: Exists::Always,
        help: "Requests answered without a ticket: cache not consulted or not usable.",
    },
    Family {
        id: Id::Lookups,
        name: "cache_lookups_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, TIER, label("result", LookupResult::WORDS)],
        exists: Exists::Always,
        help: "Lookups per tier, by result.",
    },
    Family {
        id: Id::LookupDuration,
        name: "cache_lookup_duration_seconds",
        kind: FamilyKind::Histogram(LOOKUP),
        labels: &[CACHE, TIER, label("result", Found::WORDS)],
        exists: Exists::Always,
        help: "Lookup time per tier. One memory lookup in 64 is timed and weighs 64; those of authorization are not, its checks are timed as a whole.",
    },
    Family {
        id: Id::Rejected,
        name: "cache_entries_rejected_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, TIER, label("reason", RejectReason::WORDS)],
        exists: Exists::Always,
        help: "Entries found but not served.",
    },
    Family {
        id: Id::Stores,
        name: "cache_stores_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, TIER, label("result", StoreResult::WORDS)],
        exists: Exists::Always,
        help: "Attempts to store an entry, by result.",
    },
    Family {
        id: Id::FillDuration,
        name: "cache_fill_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[CACHE],
        exists: Exists::Always,
        help: "Time from a miss to the stored entry.",
    },
    Family {
        id: Id::OriginDuration,
        name: "cache_origin_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[CACHE, label("outcome", OriginOutcome::WORDS)],
        exists: Exists::Always,
        help: "Time of the origin, to the response head.",
    },
    Family {
        id: Id::InflightFills,
        name: "cache_inflight_fills",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE],
        exists: Exists::Always,
        help: "Fills running now.",
    },
    Family {
        id: Id::Entries,
        name: "cache_entries",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE, NAMESPACE],
        exists: Exists::Always,
        help: "Entries held in process memory.",
    },
    Family {
        id: Id::SizeBytes,
        name: "cache_size_bytes",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE, NAMESPACE],
        exists: Exists::Always,
        help: "Bytes held in process memory.",
    },
    Family {
        id: Id::MaxSizeBytes,
        name: "cache_max_size_bytes",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[CACHE],
        exists: Exists::Always,
        help: "Configured byte limit of process memory.",
    },
    Family {
        id: Id::Evictions,
        name: "cache_evictions_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("reason", EvictionReason::WORDS)],
        exists: Exists::Always,
        help: "Entries that left process memory.",
    },
    Family {
        id: Id::Invalidations,
        name: "cache_invalidations_total",
        kind: FamilyKind::Counter,
        labels: &[label("scope", Scope::WORDS), label("kind", Kind::WORDS), label("result", InvalidationResult::WORDS)],
        exists: Exists::Always,
        help: "Invalidations issued by this process.",
    },
    Family {
        id: Id::Position,
        name: "cache_coherence_position",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[],
        exists: Exists::Always,
        help: "Position of the last invalidation applied.",
    },
    Family {
        id: Id::FlightJoins,
        name: "cache_flight_joins_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("result", FlightJoin::WORDS)],
        exists: Exists::Always,
        help: "Followers of a fetch: outcome taken, or refused because a later invalidation was known.",
    },
    Family {
        id: Id::Locks,
        name: "cache_lock_acquisitions_total",
        kind: FamilyKind::Counter,
        labels: &[label("kind", LockKind::WORDS), label("result", LockResult::WORDS)],
        exists: Exists::Always,
        help: "Single-flight and lease acquisitions.",
    },
    Family {
        id: Id::LockWait,
        name: "cache_lock_wait_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[label("kind", LockKind::WORDS)],
        exists: Exists::Always,
        help: "Time waited for another fill.",
    },
    Family {
        id: Id::FeatureEnabled,
        name: "cache_feature_enabled",
        kind: FamilyKind::Gauge(Merge::Min),
        labels: &[label("feature", &FEATURES)],
        exists: Exists::Always,
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
        exists: Exists::Always,
        help: "Always 1; what the program was built from and with.",
    },
    Family {
        id: Id::LabelOverflow,
        name: "cache_label_overflow_total",
        kind: FamilyKind::Counter,
        labels: &[label("label", &["cache_namespace"])],
        exists: Exists::Always,
        help: "Requests counted under another name because the label had too many values.",
    },
    Family {
        id: Id::L2Up,
        name: "cache_l2_up",
        kind: FamilyKind::Gauge(Merge::Min),
        labels: &[],
        exists: Exists::Shared,
        help: "1 while Redis answers polls and takes writes; 0 also while it is switched off.",
    },
    Family {
        id: Id::L2Errors,
        name: "cache_l2_errors_total",
        kind: FamilyKind::Counter,
        labels: &[label("op", L2Op::WORDS), label("kind", ErrorKind::WORDS)],
        exists: Exists::Shared,
        help: "Calls of Redis that failed or were too late.",
    },
    Family {
        id: Id::PoolConnections,
        name: "cache_l2_pool_connections",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[label("state", PoolState::WORDS)],
        exists: Exists::Shared,
        help: "Connections to Redis.",
    },
    Family {
        id: Id::PoolMax,
        name: "cache_l2_pool_max_connections",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[],
        exists: Exists::Shared,
        help: "Configured limit of connections to Redis.",
    },
    Family {
        id: Id::Breakers,
        name: "cache_breaker_state",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[label("breaker", BreakerName::WORDS), label("state", BreakerState::WORDS)],
        exists: Exists::Shared,
        help: "1 for the state that the circuit breaker is in.",
    },
    Family {
        id: Id::BreakerMoves,
        name: "cache_breaker_transitions_total",
        kind: FamilyKind::Counter,
        labels: &[label("breaker", BreakerName::WORDS), label("to", BreakerState::WORDS)],
        exists: Exists::Shared,
        help: "Changes of the state of a circuit breaker.",
    },
    Family {
        id: Id::Pending,
        name: "cache_invalidations_pending",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[],
        exists: Exists::Shared,
        help: "Invalidations of this process that are not acknowledged yet, and are repeated.",
    },
    Family {
        id: Id::OldestPending,
        name: "cache_invalidation_oldest_pending_seconds",
        kind: FamilyKind::Seconds(Merge::Max),
        labels: &[],
        exists: Exists::Shared,
        help: "Age of the oldest invalidation that is not acknowledged; 0 if none.",
    },
    Family {
        id: Id::AckDuration,
        name: "cache_invalidation_ack_seconds",
        kind: FamilyKind::Histogram(LAG),
        labels: &[],
        exists: Exists::Shared,
        help: "Time from the call of an invalidation to its acknowledgement.",
    },
    Family {
        id: Id::Coherence,
        name: "cache_coherence_state",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[label("state", CoherenceState::WORDS)],
        exists: Exists::Shared,
        help: "1 for the state that process memory is in: nothing proven yet, proven within the bound, not proven, or alone because Redis is switched off.",
    },
    Family {
        id: Id::ProofAge,
        name: "cache_coherence_proof_age_seconds",
        kind: FamilyKind::Seconds(Merge::Max),
        labels: &[],
        exists: Exists::Shared,
        help: "Age of the newest proof that process memory is up to date; before the first, of the store; 0 while alone.",
    },
    Family {
        id: Id::MaxLag,
        name: "cache_coherence_max_lag_seconds",
        kind: FamilyKind::Seconds(Merge::Min),
        labels: &[],
        exists: Exists::Shared,
        help: "Bound of the age of a proof.",
    },
    Family {
        id: Id::Lag,
        name: "cache_coherence_lag_seconds",
        kind: FamilyKind::Histogram(LAG),
        labels: &[],
        exists: Exists::Shared,
        help: "Upper bound of the time until an invalidation was known here: since the last proof without it.",
    },
    Family {
        id: Id::Polls,
        name: "cache_coherence_polls_total",
        kind: FamilyKind::Counter,
        labels: &[label("result", PollResult::WORDS)],
        exists: Exists::Shared,
        help: "Looks for invalidations of other processes, by result.",
    },
    Family {
        id: Id::Bells,
        name: "cache_coherence_bells_total",
        kind: FamilyKind::Counter,
        labels: &[label("direction", BellDirection::WORDS)],
        exists: Exists::Shared,
        help: "Messages by which a process wakes the others: sent with invalidations, received for whatever reason.",
    },
    Family {
        id: Id::BusConnected,
        name: "cache_coherence_bus_connected",
        kind: FamilyKind::Gauge(Merge::Min),
        labels: &[],
        exists: Exists::Shared,
        help: "1 while messages about invalidations can arrive.",
    },
    Family {
        id: Id::Markers,
        name: "cache_coherence_markers",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[],
        exists: Exists::Shared,
        help: "Invalidations that Redis remembers.",
    },
    Family {
        id: Id::EpochChanges,
        name: "cache_coherence_epoch_changes_total",
        kind: FamilyKind::Counter,
        labels: &[label("reason", EpochChange::WORDS)],
        exists: Exists::Shared,
        help: "Times that everything stored before died, because invalidations may have been lost.",
    },
    Family {
        id: Id::Fences,
        name: "cache_coherence_fence_total",
        kind: FamilyKind::Counter,
        labels: &[label("result", FenceResult::WORDS)],
        exists: Exists::Shared,
        help: "Connections to Redis by what was found out before their first use.",
    },
    Family {
        id: Id::FenceMode,
        name: "cache_coherence_fence_mode",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[label("mode", FenceMode::WORDS)],
        exists: Exists::Shared,
        help: "1 for what becomes of entries of another epoch.",
    },
    Family {
        id: Id::Unsafe,
        name: "cache_l2_unsafe",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[label("weakness", Weakness::WORDS)],
        exists: Exists::Shared,
        help: "1 for what is unsafe about Redis; the log line of that name says what the bound then is.",
    },
    Family {
        id: Id::Changes,
        name: "cache_changes_total",
        kind: FamilyKind::Counter,
        labels: &[label("result", ChangeResult::WORDS)],
        exists: Exists::Shared,
        help: "Announced changes that ended.",
    },
    Family {
        id: Id::BridgeConnected,
        name: "cache_bridge_connected",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[],
        exists: Exists::Shared,
        help: "1 while messages of other programs arrive; 0 also in a process that does not listen to them.",
    },
    Family {
        id: Id::BridgeMessages,
        name: "cache_bridge_messages_total",
        kind: FamilyKind::Counter,
        labels: &[label("channel", BridgeChannel::WORDS), label("result", BridgeResult::WORDS)],
        exists: Exists::Shared,
        help: "Messages of other programs, by what became of them.",
    },
    Family {
        id: Id::BridgeGaps,
        name: "cache_bridge_gaps_total",
        kind: FamilyKind::Counter,
        labels: &[],
        exists: Exists::Shared,
        help: "Times that nobody here listened to other programs for a while: their messages may have been lost.",
    },
    Family {
        id: Id::BridgePrewarms,
        name: "cache_bridge_prewarms_total",
        kind: FamilyKind::Counter,
        labels: &[label("result", PrewarmResult::WORDS)],
        exists: Exists::Shared,
        help: "Lists that other programs asked to warm, by which process does it.",
    },
    Family {
        id: Id::Checks,
        name: "authz_check_total",
        kind: FamilyKind::Counter,
        labels: &[CHECKED, label("decision", CheckDecision::WORDS)],
        exists: Exists::Always,
        help: "Authorization checks, by how they were answered and what came of them.",
    },
    Family {
        id: Id::CheckDuration,
        name: "authz_check_duration_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[CHECKED],
        exists: Exists::Always,
        help: "Time of an authorization check, by how it was answered.",
    },
    Family {
        id: Id::EntryAge,
        name: "authz_entry_age_seconds",
        kind: FamilyKind::Histogram(AGE),
        labels: &[],
        exists: Exists::Always,
        help: "Age of the facts that an authorization check rests on.",
    },
    Family {
        id: Id::RevocationBound,
        name: "authz_revocation_bound_seconds",
        kind: FamilyKind::Seconds(Merge::Max),
        labels: &[],
        exists: Exists::Always,
        help: "Longest time that a right survives its acknowledged revocation; 0 where nothing is authorized.",
    },
    Family {
        id: Id::OpenChanges,
        name: "authz_open_changes",
        kind: FamilyKind::Gauge(Merge::Sum),
        labels: &[],
        exists: Exists::Always,
        help: "Changes of rights that this process has announced and not ended.",
    },
    Family {
        id: Id::StaleUsed,
        name: "authz_stale_used_total",
        kind: FamilyKind::Counter,
        labels: &[],
        exists: Exists::Always,
        help: "Authorization checks that rest on facts past their deadline, because the source failed.",
    },
    Family {
        id: Id::RingJoined,
        name: "authz_ring_joined",
        kind: FamilyKind::Gauge(Merge::Max),
        labels: &[],
        exists: Exists::Shared,
        help: "1 if every process that lives has one of our sealing keys; 0: rights are not cached, or not shared.",
    },
    Family {
        id: Id::TaskSuccess,
        name: "cache_task_last_success_timestamp_seconds",
        kind: FamilyKind::Seconds(Merge::Max),
        labels: &[label("task", Task::WORDS)],
        exists: Exists::Tasks,
        help: "When a task last succeeded; before that is known, when this process began to look.",
    },
    Family {
        id: Id::TaskDuration,
        name: "cache_task_duration_seconds",
        kind: FamilyKind::Seconds(Merge::Max),
        labels: &[label("task", Task::WORDS)],
        exists: Exists::Tasks,
        help: "How long a task took when it last succeeded; 0 before that is known.",
    },
    Family {
        id: Id::Consistency,
        name: "cache_consistency_samples_total",
        kind: FamilyKind::Counter,
        labels: &[CACHE, label("result", SampleResult::WORDS)],
        exists: Exists::Always,
        help: "Hits that were compared with a fresh answer, by what came of it.",
    },
    Family {
        id: Id::ToolHits,
        name: "tool_cache_hits_total",
        kind: FamilyKind::Counter,
        labels: &[Label { name: "namespace", values: Values::Namespaces }],
        exists: Exists::Compat,
        help: "Requests answered by the response cache: cache_requests_total of all hits.",
    },
    Family {
        id: Id::ToolMisses,
        name: "tool_cache_misses_total",
        kind: FamilyKind::Counter,
        labels: &[Label { name: "namespace", values: Values::Namespaces }],
        exists: Exists::Compat,
        help: "Requests that the response cache could not answer: cache_requests_total of cache_miss and cache_error.",
    },
    Family {
        id: Id::ToolDuration,
        name: "tool_run_seconds",
        kind: FamilyKind::Histogram(REQUEST),
        labels: &[TOOL, CACHED],
        exists: Exists::Compat,
        help: "Time to the response head, by whether the cache alone answered: cache_request_duration_seconds.",
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
            FamilyKind::Counter | FamilyKind::Gauge(_) | FamilyKind::Seconds(_) => 1,
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
