//! The counters themselves, and the snapshot of them that [`Store::stats`](crate::Store) returns.

pub use super::labels::{
    BellDirection, BreakerName, BreakerState, BridgeChannel, BridgeResult, BypassReason, CacheName, CacheStatus,
    ChangeResult, CheckDecision, CheckStatus, CoherenceState, EpochChange, ErrorKind, EvictionReason, Feature,
    FenceMode, FenceResult, FlightJoin, ForwardReason, Found, InvalidationResult, Kind, L2Op, LockKind, LockResult,
    LookupResult, OriginOutcome, PollResult, PoolState, PrewarmResult, RejectReason, SampleResult, Scope, StoreResult,
    Task, Tier, Weakness,
};

use super::catalogue::{
    CELLS, COMPAT_METRICS, FAMILIES, Family, FamilyKind, Id, Merge, NAMESPACES, cell, first_cell, values_of,
};
use crate::clock::{Clock, Instant, nanoseconds};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What threads count in: one copy of all cells per shard, threads dealt to shards in turn, so that two cores seldom
/// write the same cache line. A value is the sum over the shards; a gauge that falls wraps in one shard and not in
/// the sum.
#[derive(Clone)]
pub(super) struct Cells {
    shards: Arc<[Shard]>,
    /// By which cells that hold a point in time are read as ages.
    clock: Clock,
}

/// A multiple of two cache lines, because processors fetch lines in pairs.
#[repr(align(128))]
struct Shard([AtomicU64; CELLS]);

impl Cells {
    /// As many shards as cores, rounded up to a power of two, at most 16.
    pub(super) fn new(clock: Clock) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = cores.next_power_of_two().min(16);
        let shards = (0..shards).map(|_| Shard([const { AtomicU64::new(0) }; CELLS])).collect();
        Self { shards, clock }
    }

    /// Adds in this thread's shard and returns what was there.
    #[inline]
    pub(super) fn add(&self, cell: usize, n: u64) -> u64 {
        self.shards[LOCAL.with(Local::shard) & (self.shards.len() - 1)].0[cell].fetch_add(n, Relaxed)
    }

    /// Sets the value of a cell to which nobody adds.
    pub(super) fn set(&self, cell: usize, value: u64) {
        self.shards[0].0[cell].store(value, Relaxed);
    }

    /// As [`set`](Self::set); returns what was there.
    pub(super) fn swap(&self, cell: usize, value: u64) -> u64 {
        self.shards[0].0[cell].swap(value, Relaxed)
    }

    /// What a cell was last [set](Self::set) to.
    pub(super) fn last(&self, cell: usize) -> u64 {
        self.shards[0].0[cell].load(Relaxed)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shards, &other.shards)
    }

    /// Reads all cells. Each is exact; together they are not of one moment.
    pub(super) fn read(&self) -> Stats {
        let sum =
            |cell: usize| self.shards.iter().fold(0, |sum: u64, shard| sum.wrapping_add(shard.0[cell].load(Relaxed)));
        let mut stats = Stats((0..CELLS).map(sum).collect(), CacheName::Response);
        stats.clamp();
        stats.derive();
        stats.grow_old(self.clock.now());
        stats
    }
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

thread_local! {
    pub(super) static LOCAL: Local = const {
        Local {
            shard: Cell::new(usize::MAX),
            until_sample: Cell::new(0),
            #[cfg(feature = "tracing")]
            until_log: Cell::new(0),
            #[cfg(feature = "tracing")]
            until_authz_log: Cell::new(0),
        }
    };
}

/// What each thread keeps for itself.
pub(super) struct Local {
    shard: Cell<usize>,
    until_sample: Cell<u32>,
    #[cfg(feature = "tracing")]
    pub(super) until_log: Cell<u64>,
    /// The same, of hits in Redis about what subjects may do.
    #[cfg(feature = "tracing")]
    pub(super) until_authz_log: Cell<u64>,
}

impl Local {
    #[inline]
    fn shard(&self) -> usize {
        match self.shard.get() {
            usize::MAX => self.join(),
            shard => shard,
        }
    }

    #[cold]
    fn join(&self) -> usize {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // At most 16 shards: the low bits are all that is used.
        let shard = (NEXT.fetch_add(1, Relaxed) & 0xff) as usize;
        self.shard.set(shard);
        shard
    }

    /// True once in 64 calls on average. The gaps are random, so that no rhythm of the traffic can hide from the
    /// samples or dominate them.
    #[inline]
    pub(super) fn sample(&self) -> bool {
        let left = self.until_sample.get();
        if left > 1 {
            self.until_sample.set(left - 1);
            return false;
        }
        self.draw_gap()
    }

    #[cold]
    fn draw_gap(&self) -> bool {
        // Uniform, with the mean 64.
        let first = self.until_sample.replace(fastrand::u32(1..=127)) == 0;
        !first
    }
}

/// What a store has counted since it was made, and what it holds now.
///
/// The same numbers, summed over the stores of the process, are published as metrics; the manual's chapter on metrics
/// says what each one means. Taking a snapshot costs some microseconds, and nothing is reset by it.
#[derive(Clone, PartialEq, Eq)]
pub struct Stats(Box<[u64]>, CacheName);

impl Stats {
    pub(super) fn zero() -> Self {
        Self([0; CELLS].into(), CacheName::Response)
    }

    /// A reader may see an entry leave in one shard before it sees it arrive in another.
    fn clamp(&mut self) {
        let level = |family: &&Family| matches!(family.kind, FamilyKind::Gauge(Merge::Sum | Merge::Max));
        for family in FAMILIES.iter().filter(level) {
            for value in &mut self.0[first_cell(family.id)..][..family.places()] {
                *value = value.cast_signed().max(0).cast_unsigned();
            }
        }
    }

    /// A memory hit is written down once, as a request, and read here as a lookup too. So are the requests of
    /// namespaces that have no series of their own.
    fn derive(&mut self) {
        let hits = self.requests(CacheStatus::L1CacheHit);
        let lookups = cell(Id::Lookups, [0, Tier::L1 as usize, LookupResult::Hit as usize]);
        self.0[lookups] = self.0[lookups].wrapping_add(hits);
        let other = |status: &CacheStatus| self.0[cell(Id::Requests, [usize::from(NAMESPACES), *status as usize])];
        self.0[first_cell(Id::LabelOverflow)] = CacheStatus::ALL.iter().map(other).sum();
        self.rename();
    }

    /// What other names stand for. Who waited for another's fetch, or for the origin's 304, has a hit and was not served
    /// by the cache alone.
    fn rename(&mut self) {
        use CacheStatus::{Coalesced, Error, L1CacheHit, L2CacheHit, Miss, Revalidated, Stale};
        for place in 0..=usize::from(NAMESPACES) {
            let requests =
                |all: &[CacheStatus]| all.iter().map(|one| self.get(Id::Requests, [place, *one as usize])).sum();
            let hits: u64 = requests(&[L1CacheHit, L2CacheHit, Stale, Revalidated, Coalesced]);
            let misses: u64 = requests(&[Miss, Error]);
            self.0[cell(Id::ToolHits, [place])] = hits;
            self.0[cell(Id::ToolMisses, [place])] = misses;
        }
        let series = FAMILIES[Id::ToolDuration as usize].cells_per_series();
        let statuses: [&[CacheStatus]; 2] = [&[L1CacheHit, L2CacheHit, Stale], &[Revalidated, Coalesced, Miss, Error]];
        for (cached, all) in statuses.into_iter().enumerate() {
            for at in 0..series {
                let took = |status: &CacheStatus| self.0[cell(Id::RequestDuration, [*status as usize]) + at];
                self.0[cell(Id::ToolDuration, [0, cached]) + at] = all.iter().map(took).fold(0, u64::wrapping_add);
            }
        }
    }

    /// Points in time are read as ages, and how old the proof is decides about the state of coherence.
    fn grow_old(&mut self, now: Instant) {
        for id in [Id::ProofAge, Id::OldestPending] {
            let cell = &mut self.0[first_cell(id)];
            if *cell != 0 {
                *cell = nanoseconds(now.duration_since(Instant::from_nanos(*cell)));
            }
        }
        let place = |state| cell(Id::Coherence, [state as usize]);
        let is_in = |state| self.0[place(state)] != 0;
        if self.is_shared() && !is_in(CoherenceState::Starting) && !is_in(CoherenceState::Alone) {
            let late = self.0[first_cell(Id::ProofAge)] > self.0[first_cell(Id::MaxLag)];
            self.0[place(CoherenceState::Coherent)] = u64::from(!late);
            self.0[place(CoherenceState::Degraded)] = u64::from(late);
        }
    }

    /// Whether the store's numbers are published under the other names too.
    pub(super) fn is_compatible(&self) -> bool {
        self.get(Id::FeatureEnabled, [COMPAT_METRICS]) != 0
    }

    /// Whether the store has a tier that processes share: its memory is bound to prove that it is up to date.
    pub(super) fn is_shared(&self) -> bool {
        self.get(Id::MaxLag, []) != 0
    }

    /// Whether the store tells when tasks succeeded.
    #[cfg(feature = "metrics")]
    pub(super) fn reports_tasks(&self) -> bool {
        self.get(Id::TaskSuccess, [0]) != 0
    }

    pub(super) fn cells(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn cells_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    fn get<const N: usize>(&self, id: Id, values: [usize; N]) -> u64 {
        self.0[cell(id, values)]
    }

    /// The same numbers, of which those that each cache has for itself are this one's. Those of a store are those of
    /// its responses.
    #[must_use]
    pub fn of(mut self, cache: CacheName) -> Self {
        self.1 = cache;
        self
    }

    /// Checks of authorization that were answered in this way and came to this.
    pub fn checks(&self, status: CheckStatus, decision: CheckDecision) -> u64 {
        self.get(Id::Checks, [status as usize, decision as usize])
    }

    /// Announced changes that ended in this way; `swept` are those of others that this process has ended.
    pub fn changes(&self, result: ChangeResult) -> u64 {
        self.get(Id::Changes, [result as usize])
    }

    /// Changes of rights that this process has announced and not ended.
    pub fn open_changes(&self) -> u64 {
        self.get(Id::OpenChanges, [])
    }

    /// Checks that rest on facts past their deadline, because the source failed.
    pub fn stale_checks(&self) -> u64 {
        self.get(Id::StaleUsed, [])
    }

    /// Whether every process that lives has one of the keys of this one. If not, rights are not cached.
    pub fn ring_joined(&self) -> bool {
        self.get(Id::RingJoined, []) != 0
    }

    /// The longest time that a right survives its acknowledged revocation; zero where nothing is authorized.
    pub fn revocation_bound(&self) -> Duration {
        Duration::from_nanos(self.get(Id::RevocationBound, []))
    }

    /// Requests answered in this way.
    pub fn requests(&self, status: CacheStatus) -> u64 {
        over_namespaces(|namespace| self.get(Id::Requests, [namespace, status as usize]))
    }

    /// Requests forwarded to the origin for this reason.
    pub fn forwards(&self, reason: ForwardReason) -> u64 {
        self.get(Id::Forwards, [reason as usize])
    }

    /// Requests answered without the cache for this reason.
    pub fn bypasses(&self, reason: BypassReason) -> u64 {
        self.get(Id::Bypasses, [self.1 as usize, reason as usize])
    }

    /// Lookups in this tier that ended like this.
    pub fn lookups(&self, tier: Tier, result: LookupResult) -> u64 {
        self.get(Id::Lookups, [self.1 as usize, tier as usize, result as usize])
    }

    /// Entries found in this tier and not served for this reason.
    pub fn rejected(&self, tier: Tier, reason: RejectReason) -> u64 {
        self.get(Id::Rejected, [self.1 as usize, tier as usize, reason as usize])
    }

    /// Attempts to store in this tier that ended like this.
    pub fn stores(&self, tier: Tier, result: StoreResult) -> u64 {
        self.get(Id::Stores, [self.1 as usize, tier as usize, result as usize])
    }

    /// Entries that left this process's memory for this reason.
    pub fn evictions(&self, reason: EvictionReason) -> u64 {
        self.get(Id::Evictions, [self.1 as usize, reason as usize])
    }

    /// Invalidations of this scope and kind that ended like this.
    pub fn invalidations(&self, scope: Scope, kind: Kind, result: InvalidationResult) -> u64 {
        self.get(Id::Invalidations, [scope as usize, kind as usize, result as usize])
    }

    /// Hits that were compared with a fresh answer, by what came of it.
    pub fn consistency_samples(&self, result: SampleResult) -> u64 {
        self.get(Id::Consistency, [self.1 as usize, result as usize])
    }

    /// Requests that waited for another's fetch, by what became of them.
    pub fn flight_joins(&self, result: FlightJoin) -> u64 {
        self.get(Id::FlightJoins, [self.1 as usize, result as usize])
    }

    /// Attempts to take this kind of lock that ended like this.
    pub fn locks(&self, kind: LockKind, result: LockResult) -> u64 {
        self.get(Id::Locks, [kind as usize, result as usize])
    }

    /// Entries in this process's memory.
    pub fn entries(&self) -> u64 {
        over_namespaces(|namespace| self.get(Id::Entries, [self.1 as usize, namespace]))
    }

    /// Bytes of the entries in this process's memory, overhead included.
    pub fn size_bytes(&self) -> u64 {
        over_namespaces(|namespace| self.get(Id::SizeBytes, [self.1 as usize, namespace]))
    }

    /// The limit of [`size_bytes`](Stats::size_bytes).
    pub fn max_size_bytes(&self) -> u64 {
        self.get(Id::MaxSizeBytes, [self.1 as usize])
    }

    /// Fills running now.
    pub fn inflight_fills(&self) -> u64 {
        self.get(Id::InflightFills, [self.1 as usize])
    }

    /// Position of the last invalidation applied.
    pub fn position(&self) -> u64 {
        self.get(Id::Position, [])
    }
}

/// The tier that processes share. Of a store without one, all of this is zero or `None`.
impl Stats {
    /// Calls of Redis of this kind that failed for this reason.
    pub fn l2_errors(&self, op: L2Op, kind: ErrorKind) -> u64 {
        self.get(Id::L2Errors, [op as usize, kind as usize])
    }

    /// The state of this circuit breaker.
    pub fn breaker(&self, name: BreakerName) -> Option<BreakerState> {
        let is_in = |state: &BreakerState| self.get(Id::Breakers, [name as usize, *state as usize]) != 0;
        BreakerState::ALL.iter().copied().find(is_in)
    }

    /// How often this circuit breaker came into this state.
    pub fn breaker_transitions(&self, name: BreakerName, to: BreakerState) -> u64 {
        self.get(Id::BreakerMoves, [name as usize, to as usize])
    }

    /// Invalidations issued here that are not acknowledged yet. They are repeated until they are.
    pub fn pending_invalidations(&self) -> u64 {
        self.get(Id::Pending, [])
    }

    /// How long ago the oldest of the [pending invalidations](Stats::pending_invalidations) was issued; zero if there
    /// is none.
    pub fn oldest_pending(&self) -> Duration {
        Duration::from_nanos(self.get(Id::OldestPending, []))
    }

    /// Whether this process's memory could be believed at the moment of this snapshot.
    pub fn coherence(&self) -> Option<CoherenceState> {
        let is_in = |state: &CoherenceState| self.get(Id::Coherence, [*state as usize]) != 0;
        CoherenceState::ALL.iter().copied().find(is_in)
    }

    /// At the moment of this snapshot, how long ago this process's memory was last proven up to date. Before the first
    /// proof, how long the store has waited for it; zero while it is alone.
    pub fn proof_age(&self) -> Option<Duration> {
        self.is_shared().then(|| Duration::from_nanos(self.get(Id::ProofAge, [])))
    }

    /// Looks for invalidations of other processes that ended like this.
    pub fn polls(&self, result: PollResult) -> u64 {
        self.get(Id::Polls, [result as usize])
    }

    /// Messages that wake those who look for invalidations and went this way.
    pub fn bells(&self, direction: BellDirection) -> u64 {
        self.get(Id::Bells, [direction as usize])
    }

    /// Other programs' messages by what became of them.
    pub fn bridge_messages(&self, channel: BridgeChannel, result: BridgeResult) -> u64 {
        self.get(Id::BridgeMessages, [channel as usize, result as usize])
    }

    /// How often listening to other programs was interrupted: what they published meanwhile is lost.
    pub fn bridge_gaps(&self) -> u64 {
        self.get(Id::BridgeGaps, [])
    }

    /// Lists to be warmed by which process does it.
    pub fn bridge_prewarms(&self, result: PrewarmResult) -> u64 {
        self.get(Id::BridgePrewarms, [result as usize])
    }

    /// Whether other programs are listened to now.
    pub fn bridge_is_connected(&self) -> bool {
        self.get(Id::BridgeConnected, []) > 0
    }

    /// How often everything stored before died for this reason.
    pub fn epoch_changes(&self, reason: EpochChange) -> u64 {
        self.get(Id::EpochChanges, [reason as usize])
    }
}

/// How long requests took, by the buckets of the histogram.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "the admin routes show them"))]
pub(crate) struct Times {
    /// The upper edges of the buckets but the last, which has none, in nanoseconds.
    pub(crate) edges: &'static [u64],
    /// How many requests are in each bucket.
    pub(crate) counts: Vec<u64>,
}

#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "the admin routes show them"))]
impl Times {
    /// The time within which this share of the requests was answered: evenly spread within a bucket, and the highest edge
    /// if it is above that. `None` if there were none.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let wanted = exact(total) * share;
        let (mut below, mut lower) = (0.0, 0.0);
        for (edge, count) in self.edges.iter().zip(&self.counts).filter(|_| total > 0) {
            let (edge, count) = (exact(*edge), exact(*count));
            if count > 0.0 && below + count >= wanted {
                let nanoseconds = lower + (edge - lower) * ((wanted - below) / count).clamp(0.0, 1.0);
                return Some(Duration::from_secs_f64(nanoseconds / 1e9));
            }
            (below, lower) = (below + count, edge);
        }
        (total > 0).then(|| Duration::from_nanos(self.edges.last().copied().unwrap_or_default()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "the admin routes show them"))]
impl Stats {
    /// How long all requests took whose times are recorded.
    pub(crate) fn request_times(&self) -> Times {
        let FamilyKind::Histogram(edges) = FAMILIES[Id::RequestDuration as usize].kind else {
            unreachable!("times are in histograms");
        };
        let count = |bucket| {
            let of = |status: &CacheStatus| self.0[cell(Id::RequestDuration, [*status as usize]) + bucket];
            CacheStatus::ALL.iter().map(of).fold(0, u64::wrapping_add)
        };
        Times { edges, counts: (0..=edges.len()).map(count).collect() }
    }

    /// How old a proof may be, of a store with a tier that processes share.
    pub(crate) fn max_lag(&self) -> Option<Duration> {
        self.is_shared().then(|| Duration::from_nanos(self.get(Id::MaxLag, [])))
    }
}

fn over_namespaces(value: impl Fn(usize) -> u64) -> u64 {
    (0..=usize::from(NAMESPACES)).map(value).sum()
}

/// Counters and gauges that are not zero.
impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        let scalar = |family: &&Family| !matches!(family.kind, FamilyKind::Histogram(_));
        for family in FAMILIES.iter().filter(scalar) {
            for series in 0..family.places() {
                let value = self.0[first_cell(family.id) + series];
                if value != 0 {
                    map.entry(&(family.name, values_of(family, series)), &value);
                }
            }
        }
        map.finish()
    }
}
