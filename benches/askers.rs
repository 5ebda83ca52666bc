//! Everything that answers from one Redis: Redis itself, Terrace and its peers.

use crate::app::{HOST, answer, request, response};
use crate::measure::nanoseconds;
use axum::body::Body;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use hitbox::policy::PolicyConfig;
use hitbox_http::extractors::Method as MethodKey;
use hitbox_http::extractors::path::PathExtractor;
use hitbox_http::predicates::{NeutralRequestPredicate, NeutralResponsePredicate};
use hitbox_redis::ConnectionMode;
use http_body_util::Full;
use redis::aio::{ConnectionManager, MultiplexedConnection};
use std::convert::Infallible;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terrace::stats::CoherenceState;
use terrace::{CacheLayer, Store};
use terrace_redis_server::Server;
use tower::{Layer, Service, service_fn};
use tower_http_cache::backend::redis::RedisBackend;

/// What all are compared with.
pub const GET: &str = "redis, GET on one connection";
/// The whole layer, its own memory switched off.
pub const TERRACE: &str = "terrace, from Redis";

/// Entries that are asked for.
pub const KEYS: u32 = 1024;

const LIFE: Duration = Duration::from_hours(1);

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often an application was called that one of them stands around.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

type Work = Pin<Box<dyn Future<Output = Vec<u64>> + Send>>;

/// Something that is asked for entries by number.
pub struct Asker {
    /// What the tables call it.
    pub name: &'static str,
    work: Box<dyn Fn(Vec<u32>) -> Work>,
}

impl Asker {
    /// Asks for one after the other: the nanoseconds that each took.
    pub fn ask(&self, keys: Vec<u32>) -> Work {
        (self.work)(keys)
    }

    /// A request is made when its turn comes, as a server does, out of one that is parsed already.
    fn service<S, P>(name: &'static str, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<P>, Error: Send, Future: Send> + Clone + Send + 'static,
        P: http_body::Body<Data = Bytes, Error: Send> + Send,
    {
        let parsed = |key| request(Method::GET, &format!("/item/{key}"), HOST);
        let parsed: Arc<[Request<()>]> = (0..KEYS).map(parsed).collect();
        let work = move |keys: Vec<u32>| -> Work {
            let (mut service, parsed) = (service.clone(), Arc::clone(&parsed));
            Box::pin(async move {
                let mut took = Vec::with_capacity(keys.len());
                for key in keys {
                    let before = nanoseconds();
                    let request = parsed[key as usize].clone().map(|()| Body::empty());
                    black_box(answer(&mut service, request).await);
                    took.push(nanoseconds() - before);
                }
                took
            })
        };
        Self { name, work: Box::new(work) }
    }
}

/// An application that each stands around: whoever finds the response in Redis does not call it.
fn application<B: Send + 'static>()
-> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|_: Request<B>| async {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Ok(response())
    })
}

/// All of them, with all entries stored. `patience` is what Terrace has with Redis, as its variable has it.
///
/// # Panics
///
/// When one does not store what it is to answer, and without a server.
pub async fn all(server: &Server, patience: &str, wanted: impl Fn(&str) -> bool) -> Vec<Asker> {
    let settings = [("CACHE_L1_ENABLED", "off"), ("CACHE_L2_READ_BUDGET", patience)];
    let mut all = vec![terrace(server, TERRACE, &settings).await];
    stored(&all[0]).await;
    // The values that the others are asked for are those that Terrace has stored.
    all.insert(0, plain(server).await);
    for peer in [tower_http_cache(server).await, hitbox(server)] {
        if wanted(peer.name) {
            stored(&peer).await;
            all.push(peer);
        }
    }
    all
}

/// Asks until nothing is missing: some store in the background.
async fn stored(asker: &Asker) {
    let every: Vec<u32> = (0..KEYS).collect();
    for _ in 0..10 {
        let before = calls();
        asker.ask(every.clone()).await;
        if calls() == before {
            return;
        }
    }
    panic!("{} does not store what it answers", asker.name);
}

async fn terrace(server: &Server, name: &'static str, more: &[(&str, &str)]) -> Asker {
    Asker::service(name, CacheLayer::new(shared_store(server, more).await).layer(application()))
}

/// A store that shares, and follows what others invalidate.
///
/// # Panics
///
/// When a variable is malformed.
pub async fn shared_store(server: &Server, more: &[(&str, &str)]) -> Store {
    let url = server.url();
    let vars = [("REDIS_URL", url.as_str())].into_iter().chain(more.iter().copied());
    let store = Store::from_vars(vars).expect("well-formed variables");
    while store.stats().coherence() != Some(CoherenceState::Coherent) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store
}

/// Redis itself.
async fn plain(server: &Server) -> Asker {
    let mut connection = connection(server).await;
    let names: Vec<String> = redis::cmd("KEYS").arg("*:e:*").query_async(&mut connection).await.expect("names");
    assert_eq!(names.len(), KEYS as usize, "as many as there are entries");
    let names: Arc<[String]> = names.into();
    let work = move |keys: Vec<u32>| -> Work {
        let (mut connection, names) = (connection.clone(), Arc::clone(&names));
        Box::pin(async move {
            let mut took = Vec::with_capacity(keys.len());
            for key in keys {
                let before = nanoseconds();
                let value = redis::cmd("GET").arg(&names[key as usize]).query_async::<Vec<u8>>(&mut connection).await;
                black_box(value.expect("an answer"));
                took.push(nanoseconds() - before);
            }
            took
        })
    };
    Asker { name: GET, work: Box::new(work) }
}

async fn connection(server: &Server) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}

/// Around a plain service, for it demands a body that is `Sync`.
async fn tower_http_cache(server: &Server) -> Asker {
    let client = redis::Client::open(server.url()).expect("a URL");
    let connection: ConnectionManager = client.get_connection_manager().await.expect("a connection");
    let layer = tower_http_cache::CacheLayer::builder(RedisBackend::new(connection)).ttl(LIFE).build();
    Asker::service("tower-http-cache, Redis", layer.layer(application()))
}

/// Any request and any response may be cached, which is the least work; values in its own default format.
fn hitbox(server: &Server) -> Asker {
    let config = hitbox::Config::builder()
        .request_predicate(NeutralRequestPredicate::new())
        .response_predicate(NeutralResponsePredicate::new())
        .extractor(MethodKey::new().path("/item/{id}"))
        .policy(PolicyConfig::builder().ttl(LIFE).build())
        .build();
    let backend = hitbox_redis::RedisBackend::builder().connection(ConnectionMode::single(server.url()));
    let backend = backend.build().expect("a connection is not made yet");
    let layer = hitbox_tower::Cache::builder().backend(backend).config(config).build();
    Asker::service("hitbox-tower, Redis", layer.layer(application()))
}
