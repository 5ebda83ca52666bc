//! Spans, at level DEBUG: what a request waits for, and what goes on without it. While nobody listens at that level, one
//! costs a load and a branch.
//!
//! Fields have the names of OpenTelemetry's semantic conventions where it has any (`db.*`, `http.*`, `error.type`), and
//! `cache.*` otherwise. None holds a key, a URL, a tag or anything a client sent, but for the method.

use super::Observe;
use super::labels::{ErrorKind, ForwardReason, Found, InvalidationResult, Kind, LockKind, Scope, StoreResult, Tier};
use std::future::Future;

/// A span, or nothing: where nobody listens, and without the feature `tracing`. It lasts until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Span(#[cfg(feature = "tracing")] tracing::Span);

/// Makes a span of the feature `tracing`, and nothing without it. First comes what it is about.
macro_rules! span {
    ($about:expr, $($what:tt)+) => {{
        let _ = $about;
        Span(
            #[cfg(feature = "tracing")]
            tracing::debug_span!($($what)+),
        )
    }};
}

impl Observe {
    /// A look for an entry in one tier. In memory it takes no time worth knowing, but says where the answer came from.
    #[inline]
    pub(crate) fn looking(&self, tier: Tier) -> Span {
        match tier {
            Tier::L1 => span!(
                (self, "memory"),
                "cache lookup",
                cache.name = self.1.as_str(),
                cache.tier = "l1",
                cache.result = tracing::field::Empty
            ),
            Tier::L2 => span!(
                (self, "Redis"),
                "cache lookup",
                otel.kind = "client",
                otel.status_code = tracing::field::Empty,
                db.system.name = "redis",
                db.operation.name = "GET",
                "error.type" = tracing::field::Empty,
                cache.name = self.1.as_str(),
                cache.tier = "l2",
                cache.result = tracing::field::Empty
            ),
        }
    }

    /// Waiting for another request's fetch, or for another process's.
    pub(crate) fn waiting(&self, kind: LockKind) -> Span {
        span!((self, kind), "cache wait", cache.name = self.1.as_str(), cache.lock = kind.as_str())
    }

    /// A fetch, until what it brought is stored.
    pub(crate) fn filling(&self) -> Span {
        span!(
            self,
            "cache fill",
            otel.status_code = tracing::field::Empty,
            http.request.method = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
            cache.name = self.1.as_str(),
            cache.forward = tracing::field::Empty
        )
    }

    /// Writing an entry where processes share it.
    pub(crate) fn storing(&self) -> Span {
        span!(
            self,
            "cache store",
            otel.kind = "client",
            db.system.name = "redis",
            db.operation.name = "SET",
            cache.name = self.1.as_str(),
            cache.tier = "l2",
            cache.result = tracing::field::Empty
        )
    }

    /// An invalidation, until it is acknowledged or given up for now.
    pub(crate) fn invalidating(&self, scope: Scope, kind: Kind) -> Span {
        span!(
            (self, scope, kind),
            "cache invalidate",
            cache.scope = scope.as_str(),
            cache.kind = kind.as_str(),
            cache.result = tracing::field::Empty
        )
    }

    /// A refresh that nobody waits for.
    pub(crate) fn refreshing(&self) -> Span {
        span!(self, "cache refresh", cache.name = self.1.as_str())
    }

    /// The comparison of a hit with a fresh answer.
    pub(crate) fn sampling(&self) -> Span {
        span!(self, "cache sample", cache.name = self.1.as_str())
    }
}

impl Span {
    pub(super) fn none() -> Self {
        Self(
            #[cfg(feature = "tracing")]
            tracing::Span::none(),
        )
    }

    /// Does some work in it.
    #[inline]
    pub(crate) fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _within = self.enter();
        work()
    }

    /// Is in it until what is returned is dropped, which has to be before anything is awaited.
    #[inline]
    pub(crate) fn enter(&self) -> Within<'_> {
        #[cfg(feature = "tracing")]
        return self.0.enter();
        #[cfg(not(feature = "tracing"))]
        self
    }

    /// Work that is in it whenever it goes on.
    #[cfg_attr(not(feature = "tracing"), expect(clippy::unused_self, reason = "there are no spans"))]
    pub(crate) fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        #[cfg(feature = "tracing")]
        return tracing::Instrument::instrument(work, self.0.clone());
        #[cfg(not(feature = "tracing"))]
        work
    }

    /// What was found.
    #[inline]
    pub(crate) fn found(&self, found: Found) {
        self.says("cache.result", found.as_str());
    }

    /// Why it failed.
    pub(crate) fn failed(&self, kind: ErrorKind) {
        self.says("error.type", kind.as_str());
        self.says("otel.status_code", "ERROR");
    }

    /// What is asked of the origin, and why.
    pub(crate) fn asks(&self, method: &str, reason: ForwardReason) {
        self.says("http.request.method", method);
        self.says("cache.forward", reason.as_str());
    }

    /// With which status the origin answered; `None` if it did not.
    pub(crate) fn answered(&self, status: Option<u16>) {
        #[cfg(feature = "tracing")]
        if let Some(status) = status {
            self.0.record("http.response.status_code", status);
        }
        if status.is_none_or(|status| status >= 500) {
            self.says("otel.status_code", "ERROR");
        }
    }

    /// How storing ended.
    pub(crate) fn stored(&self, result: StoreResult) {
        self.says("cache.result", result.as_str());
    }

    /// How an invalidation ended.
    pub(crate) fn issued(&self, result: InvalidationResult) {
        self.says("cache.result", result.as_str());
    }

    #[inline]
    #[cfg_attr(not(feature = "tracing"), expect(clippy::unused_self, reason = "there are no spans"))]
    fn says(&self, field: &'static str, word: &str) {
        // Or the field would be looked for by its name, though nobody listens.
        #[cfg(feature = "tracing")]
        if !self.0.is_disabled() {
            self.0.record(field, word);
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (field, word);
    }
}

/// Being in a span.
#[cfg(feature = "tracing")]
pub(crate) type Within<'a> = tracing::span::Entered<'a>;
#[cfg(not(feature = "tracing"))]
pub(crate) type Within<'a> = &'a Span;
