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
pub(crate) async fn open() -> Result<Store, Failure> {
    Store::from_env().await.map_err(Failure::usage)
}

/// Removes what is stored for `uri`, over http and https alike, and says what that was.
///
/// # Errors
/// When the store could not do it.
pub(crate) async fn purge(store: &Store, uri: &Uri) -> Result<Vec<String>, Refusal> {
    const REFUSED: Refusal = Refusal::new(StatusCode::BAD_REQUEST, "this URL cannot be purged");
    let url = uri.to_string();
    match store.purge_url(&url).await {
        Ok(_receipt) => Ok(vec![url]),
        Err(_) => Err(REFUSED),
    }
}
