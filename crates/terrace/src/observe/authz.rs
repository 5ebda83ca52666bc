//! What is told of authorization. No tenant, subject or permission is a label, or in a line above level DEBUG.

use super::Observe;
use super::catalogue::{Id, cell, first_cell};
#[cfg(feature = "tracing")]
use super::events;
use super::histogram;
#[cfg(feature = "tracing")]
use super::stats::CacheName;
use super::stats::{CheckDecision, CheckStatus, ErrorKind, L2Op, LookupResult, Scope, Tier};
use crate::clock::{Instant, nanoseconds};
use crate::store::remote::RingState;
#[cfg(feature = "tracing")]
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

impl Observe {
    /// Counts checks that were answered together, the time of each from this start to now.
    pub(crate) fn checks(&self, status: CheckStatus, counts: [u64; CheckDecision::ALL.len()], started: Instant) {
        let took = self.0.clock.now().duration_since(started);
        for (decision, count) in CheckDecision::ALL.iter().zip(counts) {
            if count > 0 {
                self.0.cells.add(cell(Id::Checks, [status as usize, *decision as usize]), count);
            }
        }
        histogram::record(&self.0.cells, Id::CheckDuration, [status as usize], took, counts.iter().sum());
    }

    /// Counts one check.
    #[inline]
    pub(crate) fn check(&self, status: CheckStatus, decision: CheckDecision, started: Instant) {
        let mut counts = [0; CheckDecision::ALL.len()];
        counts[decision as usize] = 1;
        self.checks(status, counts, started);
    }

    /// Counts so many checks as answered by nobody when the returned guard is dropped before it is
    /// [finished](PendingCheck::finish).
    pub(crate) fn pending_checks(&self, count: u64, started: Instant) -> PendingCheck {
        PendingCheck { observe: self.clone(), started, count }
    }

    /// Records how old the facts are that a check rests on.
    #[inline]
    pub(crate) fn entry_age(&self, age: Duration) {
        histogram::record(&self.0.cells, Id::EntryAge, [], age, 1);
    }

    /// Counts a check that rests on facts past their deadline.
    pub(crate) fn stale_used(&self) {
        self.count(first_cell(Id::StaleUsed));
    }

    /// How long a right survives its acknowledged revocation at most.
    pub(crate) fn revocation_bound(&self, bound: Duration) {
        self.0.cells.set(first_cell(Id::RevocationBound), nanoseconds(bound));
    }

    /// A change of rights is announced, until the returned guard is dropped.
    pub(crate) fn open_change(&self) -> OpenChange {
        self.count(first_cell(Id::OpenChanges));
        OpenChange(self.clone())
    }

    /// Says that a revocation is in effect (`authz_revoked`), or not yet everywhere (`authz_revocation_pending`).
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn revoked(&self, scope: Scope, acked: bool) {
        #[cfg(feature = "tracing")]
        events::revoked(scope, acked);
        #[cfg(not(feature = "tracing"))]
        let _ = (scope, acked);
    }

    /// Work that goes on without its request, in whose span it is all the same: its log lines have the same trace.
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn within_span<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        #[cfg(feature = "tracing")]
        return tracing::Instrument::in_current_span(work);
        #[cfg(not(feature = "tracing"))]
        work
    }

    /// Counts a hit in the shared tier, and says so as often as hits are logged (`authz_l2_cache_hit`).
    pub(crate) fn authz_l2_hit(&self) {
        let found = [self.1 as usize, Tier::L2 as usize, LookupResult::Hit as usize];
        let before = self.0.cells.add(cell(Id::Lookups, found), 1);
        #[cfg(feature = "tracing")]
        if events::authz_hit_is_due(self.0.log_hits, before == 0) {
            events::authz_l2_hit();
        }
        #[cfg(not(feature = "tracing"))]
        let _ = before;
    }

    /// Says that the shared tier failed or was too late (`authz_l2_cache_error`), at most once in a second.
    #[cfg_attr(not(feature = "tracing"), expect(clippy::unused_self, reason = "there is no log to limit"))]
    pub(crate) fn authz_l2_error(&self, op: L2Op, kind: ErrorKind) {
        #[cfg(feature = "tracing")]
        if self.1 == CacheName::Authz {
            const SECOND: u64 = 1_000_000_000;
            let now = self.0.clock.now().as_nanos();
            let due = |last| (last == 0 || now.saturating_sub(last) >= SECOND).then_some(now);
            if self.0.logged.fetch_update(Relaxed, Relaxed, due).is_ok() {
                events::authz_l2_error(op, kind);
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (op, kind);
    }

    /// Whether all who live have one of our keys. Says it if they have not (`authz_ring_differs`), and if the server hides
    /// who it is (`authz_server_hidden`).
    pub(crate) fn ring(&self, state: RingState) {
        self.0.cells.set(first_cell(Id::RingJoined), u64::from(state == RingState::Joined));
        #[cfg(feature = "tracing")]
        match state {
            RingState::Joined => {}
            RingState::Differs => events::ring_differs(),
            RingState::Hidden => events::server_hidden(),
        }
    }

    /// Says that a handler runs without a layer that authorizes (`authz_layer_missing`).
    #[cfg(feature = "axum")]
    pub(crate) fn layer_missing() {
        #[cfg(feature = "tracing")]
        events::layer_missing();
    }

    /// Says once that a cache is around the layer that authorizes (`authz_layer_order`).
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn layer_order(&self) {
        #[cfg(feature = "tracing")]
        events::layer_order();
    }

    /// Says that a route lacks the parameter that its requirement names (`authz_parameter_missing`).
    #[cfg(feature = "axum")]
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn parameter_missing(&self, name: &str) {
        #[cfg(feature = "tracing")]
        events::parameter_missing(name);
        #[cfg(not(feature = "tracing"))]
        let _ = name;
    }

    /// Says what was decided and on what grounds (`authz_decision`, at level DEBUG), for audits. `audit` is made only if
    /// somebody listens.
    #[inline]
    #[expect(clippy::unused_self, reason = "where a log line goes is not the caller's business")]
    pub(crate) fn decided<'a>(&self, audit: impl FnOnce() -> Audit<'a>) {
        #[cfg(feature = "tracing")]
        if events::audits() {
            events::decided(&audit());
        }
        #[cfg(not(feature = "tracing"))]
        let _ = audit;
    }
}

/// What an audit says of a check.
#[derive(Debug)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only logged"))]
pub(crate) struct Audit<'a> {
    pub(crate) decision_id: u64,
    pub(crate) decision: CheckDecision,
    pub(crate) reason: &'static str,
    pub(crate) via: Option<&'a str>,
    pub(crate) requirement: String,
    pub(crate) status: CheckStatus,
    pub(crate) age: Duration,
    pub(crate) position: u64,
    pub(crate) version: Option<u64>,
    pub(crate) stale: bool,
    /// A keyed digest, other in each process.
    pub(crate) subject: u64,
}

/// Checks under way. Dropped before their end, because their caller left, they are counted as errors.
#[derive(Debug)]
#[must_use = "dropping it counts the checks"]
pub(crate) struct PendingCheck {
    observe: Observe,
    started: Instant,
    count: u64,
}

impl PendingCheck {
    /// Counts them now.
    pub(crate) fn finish(mut self, status: CheckStatus, counts: [u64; CheckDecision::ALL.len()]) {
        self.count = 0;
        self.observe.checks(status, counts, self.started);
    }
}

impl Drop for PendingCheck {
    fn drop(&mut self) {
        if self.count > 0 {
            self.observe.checks(CheckStatus::Error, [0, 0, self.count], self.started);
        }
    }
}

/// An announced change of rights.
#[derive(Debug)]
pub(crate) struct OpenChange(Observe);

impl Drop for OpenChange {
    fn drop(&mut self) {
        self.0.0.cells.add(first_cell(Id::OpenChanges), 1_u64.wrapping_neg());
    }
}
