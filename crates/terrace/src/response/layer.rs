use super::rules::Rules;
use super::service::{Cache, Shared};
use crate::Store;
use std::sync::Arc;
use tower_layer::Layer;

/// Wraps a service in a [`Cache`].
///
/// ```
/// # use axum::{Router, routing::get};
/// # use std::time::Duration;
/// use terrace::{CacheLayer, Rules, Store};
///
/// let cache = CacheLayer::new(Store::memory()).rules(Rules::new().default_ttl(Duration::from_secs(60)));
/// let app: Router = Router::new().route("/products/{id}", get(async || "a product")).layer(cache);
/// ```
///
/// In axum, `Router::layer` puts the cache around each handler, and `Router::route_layer` around those that exist
/// already; a hit then still pays for the routing. `cache.layer(router)` puts it around the whole router instead. Inside
/// nested routers the cache needs the feature `axum` (default), and axum 0.8 with its own default feature
/// `original-uri`, to know the whole URI: without it two nested routers that share a store share their keys.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    /// Made here and not in `layer`, which axum calls for every request.
    pub(super) shared: Arc<Shared>,
}

impl CacheLayer {
    /// Caches in `store`, with [`Rules::new`].
    pub fn new(store: Store) -> Self {
        Self { shared: Arc::new(Shared::new(store, Rules::new())) }
    }

    /// Replaces the rules.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { shared: Arc::new(Shared::new(self.shared.store.clone(), rules)) }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache::new(inner, Arc::clone(&self.shared))
    }
}
