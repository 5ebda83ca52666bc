//! What is stored, for how long, under which key, and how it answers: end to end through the layer.

mod conditional;
mod demands;
mod keys;
mod lifetimes;
mod overrides;
mod personal;
mod purges;
mod question;
mod ranges;
mod stale;
mod unsafe_methods;
mod vary;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use terrace::clock::FakeClock;
use terrace::stats::{CacheStatus, StoreResult, Tier};
use terrace::{
    BodyDigestLayer, BodyDigestService, Bypass, Cache, CacheLayer, CacheTags, Config, Partition, Purge, Query, Replay,
    ResponseOverride, Rules, Store,
};
use terrace_tests::{
    Answer, Body, Failure, Origin, ask, call, empty, fed, full, get, get_with, respond, scripted, text, until,
};
use tower::{Layer, Service};

type Fields = &'static [(&'static str, &'static str)];

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cache with a clock and an origin.
struct World {
    clock: FakeClock,
    store: Store,
    origin: Origin,
    service: Cache<Origin>,
}

impl World {
    fn new(rules: Rules, origin: Origin) -> Self {
        Self::with_config(Config::default(), rules, origin)
    }

    fn with_config(config: Config, rules: Rules, origin: Origin) -> Self {
        let clock = FakeClock::new();
        let store = Store::with_fake_clock(config, &clock);
        let service = CacheLayer::new(store.clone()).rules(rules).layer(origin.clone());
        Self { clock, store, origin, service }
    }

    fn counting(rules: Rules, fields: Fields) -> Self {
        Self::new(rules, Origin::counting(fields))
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        call(&self.service, request).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.ask(get(uri)).await
    }

    /// Whether the response to `request`, asked twice, is stored.
    async fn stores(&self, request: impl Fn() -> Request<Body>) -> bool {
        let first = self.ask(request()).await;
        let again = self.ask(request()).await;
        assert!(!first.is_hit());
        assert_eq!(first.text() == again.text(), again.is_hit());
        again.is_hit()
    }
}

/// At the time at which a fake clock starts, plus so many seconds.
fn date(seconds: i64) -> &'static str {
    let start = SystemTime::UNIX_EPOCH + secs(1_735_689_600);
    let time = if seconds < 0 { start - secs(seconds.unsigned_abs()) } else { start + secs(seconds.unsigned_abs()) };
    Box::leak(httpdate::fmt_http_date(time).into_boxed_str())
}

fn leak<const N: usize>(fields: [(&'static str, &'static str); N]) -> Fields {
    Box::leak(Box::new(fields))
}

fn sets() -> [(&'static str, Rules); 2] {
    [("safe", Rules::new()), ("rfc9111", Rules::rfc9111())]
}

fn in_partition(name: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Partition::new(name));
    request
}

fn questions(rules: Rules, digest: &BodyDigestLayer, origin: Origin) -> (Store, Questions) {
    let store = Store::memory();
    let service = digest.layer(CacheLayer::new(store.clone()).rules(rules).layer(Adapted(origin)));
    (store, service)
}

fn post(uri: &str, body: impl Into<Bytes>) -> Request<Body> {
    ask(Method::POST, uri, &[]).map(|_| full(body))
}

fn five_minutes() -> Rules {
    Rules::new().default_ttl(secs(300))
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

async fn after(world: &World, seconds: u64) -> Option<Answer> {
    world.clock.advance(secs(seconds));
    let mut service = world.service.clone();
    let response = service.call(get("/")).await.ok()?;
    Some(terrace_tests::read(response).await.unwrap())
}

type Questions = BodyDigestService<Cache<Adapted>>;

/// Takes the bodies that [`BodyDigestLayer`] hands on.
#[derive(Clone)]
struct Adapted(Origin);

impl Service<Request<Replay<Body>>> for Adapted {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = <Origin as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<Replay<Body>>) -> Self::Future {
        self.0.call(request.map(BodyExt::boxed_unsync))
    }
}

const TAGGED: Fields = &[("cache-control", "max-age=60"), ("etag", "\"one\""), ("x-field", "1")];
