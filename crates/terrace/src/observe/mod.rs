//! What the rest of the crate tells about itself: the only place that writes metrics, statistics and log events.
//!
//! A store has one [`Observe`]. Counting is an addition to a cell of this thread's shard: no lock, no allocation, no
//! look-up, no formatting. Everything that costs more happens when somebody reads: [`Stats`] for the application,
//! [`prometheus`] for a scrape. Without the features `metrics` and `tracing` the numbers are still counted.
//!
//! Every request is counted once, as one [`CacheStatus`]: a memory hit by [`Observe::l1_hit`], everything else by
//! [`Observe::request`] or by dropping a [`PendingRequest`].

mod authz;
mod buckets;
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "names and texts are only published"))]
mod catalogue;
#[cfg(feature = "tracing")]
mod events;
mod histogram;
mod labels;
#[cfg(feature = "metrics")]
pub mod prometheus;
#[cfg(feature = "metrics")]
mod publish;
mod registry;
mod shared;
mod span;
pub mod stats;
#[cfg(test)]
pub(crate) mod tests;
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "only the admin routes begin to watch"))]
mod watch;

pub(crate) use authz::{Audit, OpenChange};
#[cfg(feature = "metrics")]
pub use publish::publish_metrics;
pub(crate) use registry::Namespace;
pub(crate) use span::Span;
pub(crate) use watch::Watch;
#[cfg(feature = "admin")]
pub(crate) use watch::{Class, Trip};

use crate::clock::{Clock, Instant};
use crate::config::Config;
use catalogue::{COMPAT_METRICS, Id, cell, first_cell};
use registry::Registry;
use stats::{
    BypassReason, CacheName, CacheStatus, Cells, EvictionReason, Feature, FlightJoin, ForwardReason, Found,
    InvalidationResult, Kind, LOCAL, LockKind, LockResult, LookupResult, OriginOutcome, RejectReason, SampleResult,
    Scope, Stats, StoreResult, Tier,
};
use std::fmt::Display;
#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// For whom a switch was set, by whom and why.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "the log tells them"))]
pub(crate) struct Said<'a> {
    /// `process` or `fleet`.
    pub(crate) scope: &'static str,
    pub(crate) by: &'a str,
    pub(crate) why: &'a str,
}

/// Where one store counts, for one of the caches in it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Observe(Arc<Inner>, CacheName);

#[derive(Debug)]
struct Inner {
    cells: Cells,
    clock: Clock,
    registry: Arc<Registry>,
    /// Made when somebody begins to watch.
    watch: OnceLock<Watch>,
    #[cfg(feature = "tracing")]
    log_hits: u64,
    /// When an error of the shared tier was last logged, in nanoseconds.
    #[cfg(feature = "tracing")]
    logged: AtomicU64,
    /// Whether the log says that the server was refused.
    #[cfg(feature = "tracing")]
    refused: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.registry.retire(&self.cells);
    }
}

/// Whether and with which weight a time is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timing {
    /// Not: the clock is not read.
    Untimed,
    /// Since this start, for [`Observe::sample`] said yes: it stands for 64.
    Sampled(Instant),
    /// Since this start.
    Since(Instant),
}

/// The weight of a sample.
pub(crate) const SAMPLE: u64 = 64;

impl Observe {
    /// Counts for a new store, and says that it exists (`cache_initialized`). Published unless the settings say
    /// otherwise.
    pub(crate) fn new(clock: Clock, config: &Config) -> Self {
        let observe = if config.metrics_enabled() {
            Self::within(Registry::global(), clock, config)
        } else {
            Self::private(clock, config)
        };
        #[cfg(feature = "tracing")]
        events::initialized(config.name(), config.l1_limit());
        observe
    }

    /// Counts for the store alone.
    pub(crate) fn private(clock: Clock, config: &Config) -> Self {
        Self::within(Arc::default(), clock, config)
    }

    fn within(registry: Arc<Registry>, clock: Clock, config: &Config) -> Self {
        let cells = Cells::new(clock.clone());
        cells.set(cell(Id::MaxSizeBytes, [CacheName::Response as usize]), config.l1_limit());
        cells.set(cell(Id::FeatureEnabled, [COMPAT_METRICS]), u64::from(config.compat_metrics()));
        registry.join(cells.clone());
        let inner = Arc::new(Inner {
            cells,
            clock,
            registry,
            watch: OnceLock::new(),
            #[cfg(feature = "tracing")]
            log_hits: config.log_hits(),
            #[cfg(feature = "tracing")]
            logged: AtomicU64::default(),
            #[cfg(feature = "tracing")]
            refused: AtomicBool::new(false),
        });
        Self(inner, CacheName::Response)
    }

    /// As this one, for another cache.
    pub(crate) fn of(&self, cache: CacheName) -> Self {
        Self(Arc::clone(&self.0), cache)
    }

    /// The limit of what the cache keeps in memory.
    pub(crate) fn limit(&self, max_bytes: u64) {
        self.0.cells.set(cell(Id::MaxSizeBytes, [self.1 as usize]), max_bytes);
    }

    /// Gives a namespace its place among the metrics' labels. Takes a lock: once per layer, not per request.
    pub(crate) fn namespace(&self, name: &str) -> Namespace {
        self.0.registry.namespace(name)
    }

    /// Everything counted so far.
    pub(crate) fn stats(&self) -> Stats {
        self.0.cells.read()
    }

    /// From now on it is kept what is asked for most, and why requests went to the origin.
    #[cfg(feature = "admin")]
    pub(crate) fn watch(&self) -> &Watch {
        self.0.watch.get_or_init(Watch::new)
    }

    /// What watches, if anything does.
    #[inline]
    pub(crate) fn watched(&self) -> Option<&Watch> {
        self.0.watch.get()
    }

    fn count(&self, cell: usize) {
        self.0.cells.add(cell, 1);
    }

    fn record<const N: usize>(&self, id: Id, values: [usize; N], timing: Timing) {
        let (started, weight) = match timing {
            Timing::Untimed => return,
            Timing::Sampled(started) => (started, SAMPLE),
            Timing::Since(started) => (started, 1),
        };
        let took = self.0.clock.now().duration_since(started);
        histogram::record(&self.0.cells, id, values, took, weight);
    }
}

/// Requests.
impl Observe {
    /// Whether to time this request, before any clock is read: true once in 64 on average, at random.
    #[inline]
    #[expect(clippy::unused_self, reason = "the ticks are the thread's; the callers need not know")]
    pub(crate) fn sample(&self) -> bool {
        LOCAL.with(stats::Local::sample)
    }

    /// Counts a request answered by a fresh entry in memory, and with it the lookup that found the entry: do not
    /// count that too. `sampled` is the request's start if [`sample`](Observe::sample) said yes.
    #[inline]
    pub(crate) fn l1_hit(&self, namespace: Namespace, sampled: Option<Instant>) {
        let before = self.0.cells.add(requests_cell(namespace, CacheStatus::L1CacheHit), 1);
        if let Some(started) = sampled {
            self.l1_hit_took(started);
        }
        #[cfg(feature = "tracing")]
        if events::hit_is_due(self.0.log_hits, before == 0) {
            events::l1_hit(&self.0.registry.name(namespace));
        }
        #[cfg(not(feature = "tracing"))]
        let _ = before;
    }

    #[cold]
    fn l1_hit_took(&self, started: Instant) {
        self.record(Id::RequestDuration, [CacheStatus::L1CacheHit as usize], Timing::Sampled(started));
    }

    /// Counts a request whose response head (or error) is known now.
    pub(crate) fn request(&self, namespace: Namespace, status: CacheStatus, timing: Timing) {
        self.count(requests_cell(namespace, status));
        self.record(Id::RequestDuration, [status as usize], timing);
    }

    /// Counts a request when the returned guard is dropped, however that comes about.
    pub(crate) fn pending(&self, namespace: Namespace, timing: Timing) -> PendingRequest {
        PendingRequest { observe: self.clone(), namespace, status: CacheStatus::Error, timing, name: None }
    }

    /// Counts a request forwarded to the origin.
    pub(crate) fn forward(&self, reason: ForwardReason) {
        self.count(cell(Id::Forwards, [reason as usize]));
    }

    /// Counts why a request is [`CacheStatus::Bypass`]; the request itself is counted apart.
    pub(crate) fn bypass(&self, reason: BypassReason) {
        self.count(cell(Id::Bypasses, [self.1 as usize, reason as usize]));
    }
}

#[inline]
fn requests_cell(namespace: Namespace, status: CacheStatus) -> usize {
    const FIRST: usize = first_cell(Id::Requests);
    FIRST + namespace.place() * CacheStatus::WORDS.len() + status as usize
}

/// A request on its slow path: counted once, when this is dropped, under the last [`status`](PendingRequest::status)
/// it was given.
///
/// A future may be dropped half-way, because its client left. Such a request is counted like any other, under what
/// was known of it by then, `cache_error` if that is nothing, and its time until then is recorded: leaving aborted
/// requests out would make a cache that hangs look fast.
#[derive(Debug)]
#[must_use = "dropping it counts the request"]
pub(crate) struct PendingRequest {
    observe: Observe,
    namespace: Namespace,
    status: CacheStatus,
    timing: Timing,
    /// What it is called by who watches.
    name: Option<Box<str>>,
}

impl PendingRequest {
    /// With a name for who watches.
    pub(crate) fn called(mut self, name: Option<Box<str>>) -> Self {
        self.name = name;
        self
    }

    /// Notes what the request has become so far.
    pub(crate) fn status(&mut self, status: CacheStatus) {
        self.status = status;
    }

    /// Counts the request now: its response head is known.
    pub(crate) fn finish(mut self, status: CacheStatus) {
        self.status = status;
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.observe.request(self.namespace, self.status, self.timing);
        if let (Some(watch), Some(name)) = (self.observe.watched(), &self.name) {
            watch.count(self.status, name, 1);
        }
    }
}

/// The origin and the fills.
impl Observe {
    /// A call of the origin begins; `cancelled` unless it is finished.
    pub(crate) fn origin_call(&self) -> OriginCall {
        let started = self.0.clock.now();
        OriginCall { observe: self.clone(), started, took: None, outcome: OriginOutcome::Cancelled }
    }

    /// A fill begins; it ends when the returned guard is dropped.
    pub(crate) fn fill(&self, started: Instant) -> Fill {
        self.count(cell(Id::InflightFills, [self.1 as usize]));
        Fill { observe: self.clone(), started, span: Span::none() }
    }

    /// Says at level DEBUG why a response was not stored (`cache_fill_error`).
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn fill_error(&self, reason: &dyn Display) {
        #[cfg(feature = "tracing")]
        events::fill_error(reason);
        #[cfg(not(feature = "tracing"))]
        let _ = reason;
    }
}

/// A call of the origin, until its response head.
#[derive(Debug)]
#[must_use = "dropping it counts a cancelled call"]
pub(crate) struct OriginCall {
    observe: Observe,
    started: Instant,
    took: Option<Duration>,
    outcome: OriginOutcome,
}

impl OriginCall {
    /// Counts the call now. Says when that is, and how long it took.
    pub(crate) fn finish(mut self, outcome: OriginOutcome) -> (Instant, Duration) {
        self.outcome = outcome;
        let now = self.observe.0.clock.now();
        (now, *self.took.insert(now.duration_since(self.started)))
    }
}

impl Drop for OriginCall {
    fn drop(&mut self) {
        let took = self.took.unwrap_or_else(|| self.observe.0.clock.now().duration_since(self.started));
        histogram::record(
            &self.observe.0.cells,
            Id::OriginDuration,
            [self.observe.1 as usize, self.outcome as usize],
            took,
            1,
        );
    }
}

/// A fill under way.
#[derive(Debug)]
#[must_use = "dropping it ends the fill"]
pub(crate) struct Fill {
    observe: Observe,
    started: Instant,
    /// What lasts as long.
    span: Span,
}

impl Fill {
    /// The span of the fetch lasts until this ends.
    pub(crate) fn with(mut self, span: &Span) -> Self {
        self.span = span.clone();
        self
    }

    /// The span of the fetch.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Ends a fill whose entry is stored, and records its time.
    pub(crate) fn stored(self, now: Instant) {
        histogram::record(
            &self.observe.0.cells,
            Id::FillDuration,
            [self.observe.1 as usize],
            now.duration_since(self.started),
            1,
        );
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.observe.0.cells.add(cell(Id::InflightFills, [self.observe.1 as usize]), 1_u64.wrapping_neg());
    }
}

/// The tiers.
impl Observe {
    /// Counts a lookup, except the memory hit that [`l1_hit`](Observe::l1_hit) counts.
    pub(crate) fn lookup(&self, tier: Tier, result: LookupResult) {
        self.count(cell(Id::Lookups, [self.1 as usize, tier as usize, result as usize]));
    }

    /// Records the time of a lookup in memory that [`sample`](Observe::sample) picked, from its start to now.
    #[cold]
    pub(crate) fn l1_lookup_took(&self, found: Found, started: Instant) {
        self.record(Id::LookupDuration, [self.1 as usize, 0, found as usize], Timing::Sampled(started));
    }

    /// Counts an entry that was found and must not be served.
    pub(crate) fn rejected(&self, tier: Tier, reason: RejectReason) {
        self.count(cell(Id::Rejected, [self.1 as usize, tier as usize, reason as usize]));
        #[cfg(feature = "tracing")]
        if (self.1, tier) == (CacheName::Authz, Tier::L2) {
            events::l2_rejected(reason);
        }
    }

    /// Counts an attempt to store an entry.
    pub(crate) fn stored(&self, tier: Tier, result: StoreResult) {
        self.count(cell(Id::Stores, [self.1 as usize, tier as usize, result as usize]));
        #[cfg(feature = "tracing")]
        if (self.1, tier, result) == (CacheName::Authz, Tier::L2, StoreResult::Ok) {
            events::l2_populated();
        }
    }

    /// An entry of this size is in memory now.
    pub(crate) fn entry_added(&self, namespace: Namespace, bytes: u64) {
        self.count(cell(Id::Entries, [self.1 as usize, namespace.place()]));
        self.0.cells.add(cell(Id::SizeBytes, [self.1 as usize, namespace.place()]), bytes);
    }

    /// An entry that was [added](Observe::entry_added) with this size is gone.
    pub(crate) fn entry_removed(&self, namespace: Namespace, bytes: u64, reason: EvictionReason) {
        self.count(cell(Id::Evictions, [self.1 as usize, reason as usize]));
        let cells = &self.0.cells;
        cells.add(cell(Id::Entries, [self.1 as usize, namespace.place()]), 1_u64.wrapping_neg());
        cells.add(cell(Id::SizeBytes, [self.1 as usize, namespace.place()]), bytes.wrapping_neg());
    }
}

/// Coherence, coalescing and switches.
impl Observe {
    /// Counts an invalidation issued here.
    pub(crate) fn invalidation(&self, scope: Scope, kind: Kind, result: InvalidationResult) {
        self.count(cell(Id::Invalidations, [scope as usize, kind as usize, result as usize]));
    }

    /// The position of the last invalidation applied.
    pub(crate) fn position(&self, position: u64) {
        self.0.cells.set(first_cell(Id::Position), position);
    }

    /// Counts a request that waited for another's fetch.
    pub(crate) fn flight_join(&self, result: FlightJoin) {
        self.count(cell(Id::FlightJoins, [self.1 as usize, result as usize]));
    }

    /// Counts a hit that was compared with a fresh answer.
    pub(crate) fn sampled(&self, result: SampleResult) {
        self.count(cell(Id::Consistency, [self.1 as usize, result as usize]));
    }

    /// Counts an attempt to be the one who fetches.
    pub(crate) fn lock(&self, kind: LockKind, result: LockResult) {
        self.count(cell(Id::Locks, [kind as usize, result as usize]));
    }

    /// Records how long a request waited for another's fetch, from this start to now.
    pub(crate) fn lock_wait(&self, kind: LockKind, started: Instant) {
        self.record(Id::LockWait, [kind as usize], Timing::Since(started));
    }

    /// The state of a switch, at start.
    pub(crate) fn flag_is(&self, feature: Feature, on: bool) {
        self.0.cells.set(cell(Id::FeatureEnabled, [feature as usize]), u64::from(on));
    }

    /// Shows and says that a switch was set (`cache_flag_changed`).
    pub(crate) fn flag_changed(&self, feature: Feature, on: bool, said: Said<'_>) {
        self.flag_is(feature, on);
        #[cfg(feature = "tracing")]
        events::flag_changed(feature, on, said);
        #[cfg(not(feature = "tracing"))]
        let _ = said;
    }

    /// Says that a setting was changed while running (`cache_setting_changed`).
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn setting_changed(&self, setting: &str, value: &str) {
        #[cfg(feature = "tracing")]
        events::setting_changed(setting, value);
        #[cfg(not(feature = "tracing"))]
        let _ = (setting, value);
    }
}
