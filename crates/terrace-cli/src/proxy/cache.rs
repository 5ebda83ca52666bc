//! The library, as this command uses it: the store, the rules, the layer around the origin, and purging.

use super::body::OriginBody;
use super::options::RuleSet;
use super::origin::Origin;
use super::reply::Refusal;
use crate::failure::Failure;
use http::{StatusCode, Uri};
use terrace::{CacheLayer, Rules, Store};
use tower_layer::Layer;

/// The origin behind the cache.
pub(crate) type CachedOrigin = <CacheLayer as Layer<Origin>>::Service;

/// The body of what the cache answers.
pub(crate) type CachedBody = OriginBody;

/// Puts the cache around the origin and nothing else.
pub(crate) fn wrap(origin: Origin, store: &Store, rules: RuleSet) -> CachedOrigin {
    let rules = match rules {
        RuleSet::Safe => Rules::new(),
        RuleSet::Rfc9111 => Rules::rfc9111(),
    };
    CacheLayer::new(store.clone()).rules(rules).layer(origin)
}

/// Opens the store.
///
/// # Errors
/// When the environment configures it wrongly.
#[allow(clippy::unused_async)]
pub(crate) async fn open() -> Result<Store, Failure> {
    Ok(Store::memory())
}

/// Removes what is stored for `uri`, over http and https alike, and says what that was.
///
/// # Errors
/// When the store could not do it.
#[allow(clippy::unused_async)]
pub(crate) async fn purge(_store: &Store, _uri: &Uri) -> Result<Vec<String>, Refusal> {
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "this store cannot purge yet"))
}
