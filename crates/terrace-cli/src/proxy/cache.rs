//! The library, as this command uses it: the store, the rules, the layer around the origin, and purging.

use super::body::OriginBody;
use super::options::RuleSet;
use super::origin::Origin;
use super::reply::Refusal;
use crate::failure::Failure;
use http::{StatusCode, Uri};
use terrace::{CacheLayer, ResponseBody, Rules, Store};
use tower_layer::Layer;

/// The origin behind the cache.
pub(crate) type CachedOrigin = <CacheLayer as Layer<Origin>>::Service;

/// The body of what the cache answers.
pub(crate) type CachedBody = ResponseBody<OriginBody>;

/// Puts the cache around the origin and nothing else.
pub(crate) fn wrap(origin: Origin, store: &Store, rules: RuleSet) -> CachedOrigin {
    CacheLayer::new(store.clone()).rules(self::rules(rules)).layer(origin)
}

/// What a set of rules is called in the library.
pub(crate) fn rules(set: RuleSet) -> Rules {
    match set {
        RuleSet::Safe => Rules::new(),
        RuleSet::Rfc9111 => Rules::rfc9111(),
    }
}

/// Opens the store as the environment says.
///
/// # Errors
///
/// When the environment says something that cannot be.
pub(crate) async fn open() -> Result<Store, Failure> {
    Store::from_env()
        .await
        .map_err(|error| if error.is_config() { Failure::usage(error) } else { Failure::runtime(error) })
}

/// Removes what is stored for `uri`, and gives the position of the purge.
///
/// # Errors
///
/// When the store did not acknowledge it.
pub(crate) async fn purge(store: &Store, uri: &Uri) -> Result<u64, Refusal> {
    match store.purge_url(&uri.to_string()).await {
        Ok(receipt) => Ok(receipt.position()),
        Err(error) => {
            tracing::warn!(event = "proxy_purge_failed", "proxy_purge_failed: {error}");
            Err(NOT_PURGED)
        }
    }
}

const NOT_PURGED: Refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the purge was not acknowledged");
