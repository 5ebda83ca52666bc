//! The program that has to go on: an axum app with a cache, in a process of its own.
//!
//! Its origin takes a known time and says how long it took, so that the rest of a request's time can be told apart. A
//! second listener tells what was counted, and switches things.

use crate::clock::now;
use crate::state::State;
use axum::Router;
use axum::extract::{Path, Request, State as With};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use terrace::stats::Feature;
use terrace::{CacheLayer, Store};
use tokio::net::TcpListener;
use tower::ServiceExt;

/// How long the origin works.
const WORK: Duration = Duration::from_millis(5);
const SMALL: &[u8] = &[b's'; 1024];
const LARGE: &[u8] = &[b'l'; 512 * 1024];
/// So many fetch large responses at once, each as fast as it can.
const STORMING: u64 = 4;

/// Serves until standard input ends.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(serve());
    // Stays until whoever started it is gone.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.shutdown_background();
}

async fn serve() {
    let store = Store::from_env().await.unwrap_or_else(|error| panic!("{error}"));
    let app =
        Router::new().route("/{kind}/{key}", get(origin)).layer(CacheLayer::new(store.clone())).layer(from_fn(timed));
    let controls = Controls { store, app: app.clone(), storm: Arc::default() };
    let controls = Router::new()
        .route("/state", get(|With(controls): With<Controls>| async move { State::of(&controls.store).to_string() }))
        .route("/{what}/{on}", post(switch))
        .with_state(controls);
    for router in [app, controls] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("bound").port());
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    }
}

/// The work that the cache saves. `once` is never asked for twice, `hot` very often, `large` is large and free.
async fn origin(Path((kind, _)): Path<(String, String)>) -> Response {
    let started = now();
    if kind != "large" {
        tokio::time::sleep(WORK).await;
    }
    let made = now();
    let fields = [
        ("cache-control", "max-age=3600".to_owned()),
        ("x-made", made.to_string()),
        ("x-origin", (made - started).to_string()),
    ];
    (fields, Bytes::from_static(if kind == "large" { LARGE } else { SMALL })).into_response()
}

/// Says how long the app had the request until it had a response, the origin's work included.
async fn timed(request: Request, next: Next) -> Response {
    let started = now();
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-inside", (now() - started).into());
    response
}

#[derive(Clone)]
struct Controls {
    store: Store,
    app: Router,
    storm: Arc<Storm>,
}

#[derive(Default)]
struct Storm {
    rages: AtomicBool,
    fetched: AtomicU64,
}

async fn switch(With(controls): With<Controls>, Path((what, on)): Path<(String, String)>) -> StatusCode {
    let on = on == "on";
    match what.as_str() {
        "l2" => controls.store.flags().set(Feature::L2, on),
        "storm" if controls.storm.rages.swap(on, SeqCst) != on && on => {
            for _ in 0..STORMING {
                drop(tokio::spawn(rage(controls.app.clone(), Arc::clone(&controls.storm))));
            }
        }
        "storm" => {}
        _ => return StatusCode::NOT_FOUND,
    }
    StatusCode::NO_CONTENT
}

/// Fetches one large response after the other, each for the first time.
async fn rage(app: Router, storm: Arc<Storm>) {
    while storm.rages.load(SeqCst) {
        let number = storm.fetched.fetch_add(1, SeqCst);
        let request = Request::get(format!("/large/{number}")).body(axum::body::Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        drop(response.into_body().collect().await);
        // Others have their turn too.
        tokio::task::yield_now().await;
    }
}
