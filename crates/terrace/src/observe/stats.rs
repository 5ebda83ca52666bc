//! The counters themselves, and the snapshot of them that [`Store::stats`](crate::Store) returns.

pub use super::labels::{
    BypassReason, CacheStatus, EvictionReason, Feature, FlightJoin, ForwardReason, Found, InvalidationResult, Kind,
    LockKind, LockResult, LookupResult, OriginOutcome, RejectReason, Scope, StoreResult, Tier,
};

use super::catalogue::{CELLS, FAMILIES, Family, FamilyKind, Id, Merge, NAMESPACES, cell, first_cell, values_of};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What threads count in: one copy of all cells per shard, threads dealt to shards in turn, so that two cores seldom
/// write the same cache line. A value is the sum over the shards; a gauge that falls wraps in one shard and not in
/// the sum.
#[derive(Clone)]
pub(super) struct Cells(Arc<[Shard]>);

/// A multiple of two cache lines, because processors fetch lines in pairs.
#[repr(align(128))]
struct Shard([AtomicU64; CELLS]);

impl Cells {
    /// As many shards as cores, rounded up to a power of two, at most 16.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = cores.next_power_of_two().min(16);
        Self((0..shards).map(|_| Shard([const { AtomicU64::new(0) }; CELLS])).collect())
    }

    /// Adds in this thread's shard and returns what was there.
    #[inline]
    pub(super) fn add(&self, cell: usize, n: u64) -> u64 {
        self.0[LOCAL.with(Local::shard) & (self.0.len() - 1)].0[cell].fetch_add(n, Relaxed)
    }

    /// Sets the value of a cell to which nobody adds.
    pub(super) fn set(&self, cell: usize, value: u64) {
        self.0[0].0[cell].store(value, Relaxed);
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Reads all cells. Each is exact; together they are not of one moment.
    pub(super) fn read(&self) -> Stats {
        let sum = |cell: usize| self.0.iter().fold(0, |sum: u64, shard| sum.wrapping_add(shard.0[cell].load(Relaxed)));
        let mut stats = Stats((0..CELLS).map(sum).collect());
        stats.clamp();
        stats.derive();
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
        }
    };
}

/// What each thread keeps for itself.
pub(super) struct Local {
    shard: Cell<usize>,
    until_sample: Cell<u32>,
    #[cfg(feature = "tracing")]
    pub(super) until_log: Cell<u64>,
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
pub struct Stats(Box<[u64]>);

impl Stats {
    pub(super) fn zero() -> Self {
        Self([0; CELLS].into())
    }

    /// A reader may see an entry leave in one shard before it sees it arrive in another.
    fn clamp(&mut self) {
        let level = |family: &&Family| matches!(family.kind, FamilyKind::Gauge(Merge::Sum));
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
        self.get(Id::Bypasses, [0, reason as usize])
    }

    /// Lookups in this tier that ended like this.
    pub fn lookups(&self, tier: Tier, result: LookupResult) -> u64 {
        self.get(Id::Lookups, [0, tier as usize, result as usize])
    }

    /// Entries found in this tier and not served for this reason.
    pub fn rejected(&self, tier: Tier, reason: RejectReason) -> u64 {
        self.get(Id::Rejected, [0, tier as usize, reason as usize])
    }

    /// Attempts to store in this tier that ended like this.
    pub fn stores(&self, tier: Tier, result: StoreResult) -> u64 {
        self.get(Id::Stores, [0, tier as usize, result as usize])
    }

    /// Entries that left this process's memory for this reason.
    pub fn evictions(&self, reason: EvictionReason) -> u64 {
        self.get(Id::Evictions, [0, reason as usize])
    }

    /// Invalidations of this scope and kind that ended like this.
    pub fn invalidations(&self, scope: Scope, kind: Kind, result: InvalidationResult) -> u64 {
        self.get(Id::Invalidations, [scope as usize, kind as usize, result as usize])
    }

    /// Requests that waited for another's fetch, by what became of them.
    pub fn flight_joins(&self, result: FlightJoin) -> u64 {
        self.get(Id::FlightJoins, [0, result as usize])
    }

    /// Attempts to take this kind of lock that ended like this.
    pub fn locks(&self, kind: LockKind, result: LockResult) -> u64 {
        self.get(Id::Locks, [kind as usize, result as usize])
    }

    /// Entries in this process's memory.
    pub fn entries(&self) -> u64 {
        over_namespaces(|namespace| self.get(Id::Entries, [0, namespace]))
    }

    /// Bytes of the entries in this process's memory, overhead included.
    pub fn size_bytes(&self) -> u64 {
        over_namespaces(|namespace| self.get(Id::SizeBytes, [0, namespace]))
    }

    /// The limit of [`size_bytes`](Stats::size_bytes).
    pub fn max_size_bytes(&self) -> u64 {
        self.get(Id::MaxSizeBytes, [0])
    }

    /// Fills running now.
    pub fn inflight_fills(&self) -> u64 {
        self.get(Id::InflightFills, [0])
    }

    /// Position of the last invalidation applied.
    pub fn position(&self) -> u64 {
        self.get(Id::Position, [])
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
