//! Where authorization and the cache of responses meet: in the extensions of requests and responses.

use crate::authz::{Ground, Principal, SourceVersion, partition};
use crate::clock::Instant;
use crate::observe::stats::CheckStatus;
use crate::store::Tag;
use http::Extensions;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// A request extension, and an extractor of axum: the caller may do what the layer around requires.
///
/// A handler that takes it runs only behind such a layer: without one, axum answers 500 and the log says
/// `authz_layer_missing`. `Option<Authorized>` is `None` then.
#[derive(Clone, Debug)]
pub struct Authorized {
    pub(crate) principal: Principal,
    pub(crate) ground: Ground,
    pub(crate) decision_id: u64,
    pub(crate) cache_status: CheckStatus,
    pub(crate) age: Duration,
    pub(crate) position: u64,
    pub(crate) version: Option<SourceVersion>,
    /// Until when what the decision rests on may be used.
    pub(crate) until: Instant,
}

impl Authorized {
    /// Who may.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Names the decision in the audit (`authz_decision`).
    pub fn decision_id(&self) -> u64 {
        self.decision_id
    }

    /// How the check was answered.
    pub fn cache_status(&self) -> CheckStatus {
        self.cache_status
    }

    /// How old the facts are that the decision rests on.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// The position of the last invalidation that was known when it was decided.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The version of the source, if it said so.
    pub fn source_version(&self) -> Option<SourceVersion> {
        self.version
    }

    pub(crate) fn is_of(&self, engine: u64) -> bool {
        self.ground.engine() == engine
    }

    /// Names the entries that only this caller may be answered with.
    pub(crate) fn partition(&self) -> String {
        partition(&self.principal)
    }

    /// By which those entries are revoked, with the decision.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.ground.tagger().tags(&self.principal.who)
    }
}

/// A request extension: it is known who asks, by whatever the request has, and nothing was required of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentialed;

/// A request extension: a cache is around whoever sees it, and knows of no authorization but that of the request's
/// [`Authorized`] when it came there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside;

/// Whether this process has a layer that asks for [`Outside`]. Most have none, and each extension costs a request.
static ASKED_FOR: AtomicBool = AtomicBool::new(false);

impl Outside {
    /// A layer is made that asks. It is made before any request can reach it.
    pub(crate) fn is_asked_for() {
        ASKED_FOR.store(true, Relaxed);
    }

    /// Says it to whoever asks.
    pub(crate) fn mark(extensions: &mut Extensions) {
        if ASKED_FOR.load(Relaxed) {
            extensions.insert(Self);
        }
    }
}

/// A response extension: a layer that authorizes has let its request pass, was told that a cache is around it, and is not
/// around that cache as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guarded;

#[cfg(feature = "axum")]
mod extractor {
    use super::Authorized;
    use crate::observe::Observe;
    use axum::extract::{FromRequestParts, OptionalFromRequestParts};
    use http::StatusCode;
    use http::request::Parts;
    use std::convert::Infallible;

    impl<S: Sync> FromRequestParts<S> for Authorized {
        type Rejection = StatusCode;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
            parts.extensions.get::<Self>().cloned().ok_or_else(|| {
                Observe::layer_missing();
                StatusCode::INTERNAL_SERVER_ERROR
            })
        }
    }

    impl<S: Sync> OptionalFromRequestParts<S> for Authorized {
        type Rejection = Infallible;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
            Ok(parts.extensions.get::<Self>().cloned())
        }
    }
}
