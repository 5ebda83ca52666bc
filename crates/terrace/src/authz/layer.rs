use super::engine::{Authz, Engine};
use super::requirement::Requirement;
use super::service::Authorize;
use crate::authorized::Outside;
use std::sync::Arc;
use tower_layer::Layer;

/// Wraps a service in an [`Authorize`]; made by [`Authz::require`] and [`Authz::identify`].
///
/// Put it outside of a [`CacheLayer`](crate::CacheLayer): a stored response is then served only to who may see it, and
/// those of one caller are kept apart from those of others. In axum, `Router::route_layer` keeps unknown paths at 404, and
/// knows the parameters of the path.
#[derive(Clone, Debug)]
pub struct AuthzLayer {
    shared: Arc<Shared>,
}

/// What all requests of one layer have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    /// `None` for one that identifies only.
    pub(super) requirement: Option<Requirement>,
}

impl AuthzLayer {
    pub(super) fn new(authz: &Authz, requirement: Option<Requirement>) -> Self {
        Self { shared: authz.shared(requirement) }
    }
}

impl Authz {
    pub(super) fn shared(&self, requirement: Option<Requirement>) -> Arc<Shared> {
        Outside::is_asked_for();
        Arc::new(Shared { engine: Arc::clone(&self.engine), requirement })
    }
}

impl<S> Layer<S> for AuthzLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize::new(inner, Arc::clone(&self.shared))
    }
}
