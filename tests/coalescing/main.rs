//! One fetch for many requests, whatever happens to the one that fetches.

mod everything;
mod failing;
mod leaving;
mod purged;
mod refreshes;
mod thousand;
mod unshared;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use terrace::clock::FakeClock;
use terrace::stats::{CacheStatus, FlightJoin, StoreResult, Tier};
use terrace::{BodyDigestLayer, Cache, CacheLayer, Config, Purge, ResponseBody, Rules, Store};
use terrace_tests::{
    Answer, Body, Failure, Feed, Gate, Origin, ask, call, fed, full, get, get_with, head, read, respond, scripted,
    spawn, text, until, waits,
};
use tokio::task::JoinHandle;
use tower::Layer;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cached(store: &Store, origin: &Origin) -> Cache<Origin> {
    CacheLayer::new(store.clone()).layer(origin.clone())
}

/// Sends requests that come to wait for a fetch that is under way.
async fn waiters(store: &Store, service: &Cache<Origin>, n: usize) -> Vec<JoinHandle<Answer>> {
    let before = waits(store);
    let tasks = (0..n).map(|_| spawn(service, get("/"))).collect();
    until("all wait", || waits(store) == before + n as u64).await;
    tasks
}

async fn answers(tasks: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    join_all(tasks).await.into_iter().map(|answer| answer.expect("answered")).collect()
}

/// An origin that answers the calls in turn with what these functions make.
fn in_turn(gate: &Gate, responses: Vec<Response<Body>>) -> Origin {
    let responses = Mutex::new(responses.into_iter());
    gate.before(move |_| responses.lock().unwrap().next().expect("one more call than the test expects"))
}

fn opened() -> Gate {
    let gate = Gate::default();
    gate.open();
    gate
}

/// A fetch whose head is here, its client, and requests that wait for it. A second call is answered with `again`.
async fn streaming(n: usize) -> (Store, Cache<Origin>, Feed, Response<ResponseBody<Body>>, Vec<JoinHandle<Answer>>) {
    let (feed, body) = fed();
    let origin = in_turn(&opened(), vec![respond(200, &[FRESH], body), text(&[FRESH], "again")]);
    let store = Store::memory();
    let service = cached(&store, &origin);
    let client = head(&service, get("/")).await;
    let others = waiters(&store, &service, n).await;
    (store, service, feed, client, others)
}
