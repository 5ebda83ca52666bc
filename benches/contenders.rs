//! Everything that answers the one cached request, Terrace and its peers.

use crate::app::{calls, plain, request, router};
use crate::measure::{Contender, nanoseconds};
use axum::body::Body;
use axum::http::{Method, Request};
use hitbox::policy::PolicyConfig;
use hitbox_http::extractors::Method as MethodKey;
use hitbox_http::extractors::path::PathExtractor;
use hitbox_http::predicates::{NeutralRequestPredicate, NeutralResponsePredicate};
use hitbox_moka::MokaBackend;
use http_cache::{MokaCache, MokaManager};
use http_cache_tower_server::ServerCacheLayer;
use std::rc::Rc;
use std::time::Duration;
use terrace::{CacheLayer, Store};
use tokio::runtime::Runtime;
use tower::Layer;
use tower_http_cache::backend::memory::InMemoryBackend;

/// What the others are compared with.
pub const BARE: &str = "axum, no cache";
/// The layer around the application, with its defaults.
pub const TERRACE: &str = "terrace around axum";

const LIFE: Duration = Duration::from_hours(1);
const ENTRIES: u64 = 10_000;

/// All of them, each ready to answer the same request, with `fields`, from its cache.
///
/// # Panics
///
/// When one of the caches calls the application for a request that it answered before.
pub fn all(runtime: &Rc<Runtime>, fields: &str, wanted: impl Fn(&str) -> bool) -> Vec<Contender> {
    let mut all = ours(runtime, fields);
    all.extend(peers(runtime, fields));
    all.retain(|contender| wanted(contender.name));
    let _entered = runtime.enter();
    for contender in &mut all {
        // Two at first, for one stores its entries in the background.
        for times in [1, 1, 1000] {
            contender.run(times, nanoseconds);
        }
        let before = calls();
        contender.run(1000, nanoseconds);
        let expected = if contender.name.ends_with("no cache") { 1000 } else { 0 };
        assert_eq!(calls() - before, expected, "{} called the application", contender.name);
    }
    all
}

fn ours(runtime: &Rc<Runtime>, fields: &str) -> Vec<Contender> {
    let around = CacheLayer::new(Store::memory()).layer(router());
    let inside = router().layer(CacheLayer::new(Store::memory()));
    let over_plain = CacheLayer::new(Store::memory()).layer(plain());
    vec![
        Contender::service(BARE, runtime, router(), get(fields)),
        Contender::service(TERRACE, runtime, around, get(fields)),
        Contender::service("terrace inside axum", runtime, inside, get(fields)),
        Contender::service("plain service, no cache", runtime, plain(), get(fields)),
        Contender::service("terrace around a plain service", runtime, over_plain, get(fields)),
    ]
}

/// Each with the settings of its own documentation, and keys that tell URLs apart; around the application, so that a hit
/// does not pay for routing.
fn peers(runtime: &Rc<Runtime>, fields: &str) -> Vec<Contender> {
    let axum_response_cache = axum_response_cache::CacheLayer::with_lifespan(LIFE);
    let server = ServerCacheLayer::new(MokaManager::new(MokaCache::new(ENTRIES)));
    let over_plain = tower_http_cache::CacheLayer::builder(InMemoryBackend::new(ENTRIES)).ttl(LIFE).build();
    vec![
        Contender::service("axum-response-cache", runtime, axum_response_cache.layer(router()), get(fields)),
        Contender::service("tower-http-cache, plain service", runtime, over_plain.layer(plain()), get(fields)),
        Contender::service("http-cache-tower-server, moka", runtime, server.layer(router()), get(fields)),
        hitbox(runtime, fields),
    ]
}

/// Any request and any response may be cached, which is the least work; values as hitbox keeps them by default, in JSON.
fn hitbox(runtime: &Rc<Runtime>, fields: &str) -> Contender {
    let config = hitbox::Config::builder()
        .request_predicate(NeutralRequestPredicate::new())
        .response_predicate(NeutralResponsePredicate::new())
        .extractor(MethodKey::new().path("/item/{id}"))
        .policy(PolicyConfig::builder().ttl(LIFE).build())
        .build();
    let backend = MokaBackend::builder().max_entries(ENTRIES).build();
    let layer = hitbox_tower::Cache::builder().backend(backend).config(config).build();
    Contender::service("hitbox-tower, moka", runtime, layer.layer(router()), get(fields))
}

fn get(fields: &str) -> impl FnMut() -> Request<Body> + 'static {
    let template = request(Method::GET, "/item/42", fields);
    move || template.clone().map(|()| Body::empty())
}
