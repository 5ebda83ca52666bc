//! One fetch for many requests, whatever happens to the one that fetches.

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

// The thousand

async fn a_thousand_requests_cause_one_call() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "one"));
    let service = cached(&store, &origin);
    let first = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 999).await;
    gate.open();
    assert_eq!(first.await.unwrap().text(), "one");
    for answer in answers(others).await {
        assert_eq!(answer.text(), "one");
        assert!(answer.field("cache-status").contains("collapsed"), "{answer:?}");
    }
    assert_eq!(origin.calls(), 1);
    let stats = store.stats();
    assert_eq!((stats.requests(CacheStatus::Miss), stats.requests(CacheStatus::Coalesced)), (1, 999));
}

#[tokio::test]
async fn a_thousand_requests_cause_one_call_on_one_thread() {
    a_thousand_requests_cause_one_call().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_cause_one_call_on_several_threads() {
    a_thousand_requests_cause_one_call().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_through_a_router_cause_one_call_though_the_body_is_slow() {
    use axum::{Router, routing::get as on_get};
    let (store, calls) = (Store::memory(), Arc::new(AtomicUsize::new(0)));
    let (feed, body) = fed();
    let body = Arc::new(Mutex::new(Some(body.map_err(|_| std::io::Error::other("broken")))));
    let counter = Arc::clone(&calls);
    let handler = async move || {
        counter.fetch_add(1, SeqCst);
        ([FRESH], axum::body::Body::new(body.lock().unwrap().take().expect("called once")))
    };
    let app = Router::new().route("/slow/{id}", on_get(handler)).layer(CacheLayer::new(store.clone()));
    let ask = || {
        let request = Request::get("/slow/1").body(axum::body::Body::empty()).unwrap();
        tokio::spawn(tower::ServiceExt::oneshot(app.clone(), request))
    };
    let first = ask();
    until("the handler runs", || calls.load(SeqCst) == 1).await;
    let others: Vec<_> = (0..999).map(|_| ask()).collect();
    until("all wait", || waits(&store) >= 999).await;
    for piece in ["o", "n", "e"] {
        assert!(feed.send(piece));
        tokio::task::yield_now().await;
    }
    drop(feed);
    for task in std::iter::once(first).chain(others) {
        assert_eq!(read(task.await.unwrap().unwrap()).await.unwrap().text(), "one");
    }
    assert_eq!(calls.load(SeqCst), 1);
}

// Leaders that leave

#[tokio::test]
async fn when_the_leader_is_cancelled_before_the_head_a_waiter_leads() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 10).await;
    leader.abort();
    until("another leads", || gate.arrived() == 2).await;
    gate.open();
    assert!(answers(others).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn when_leader_after_leader_is_cancelled_the_last_waiter_still_gets_an_answer() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    // Who leads is known by its call: each call is told to end in turn.
    let mut tasks = vec![spawn(&service, get("/"))];
    until("the origin is asked", || gate.arrived() == 1).await;
    tasks.extend(waiters(&store, &service, 5).await);
    for led in 2..=6 {
        // Aborting all but the last in turn ends whoever leads sooner or later.
        tasks.remove(0).abort();
        until("nobody is missing", || gate.arrived() >= led.min(6) || tasks.len() < 6).await;
    }
    gate.open();
    assert_eq!(tasks.pop().unwrap().await.unwrap().text(), "x");
}

#[tokio::test]
async fn when_a_lone_leader_is_cancelled_the_next_request_does_not_wait() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[FRESH], "x"));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.open();
    assert_eq!(call(&service, get("/")).await.text(), "x");
    assert_eq!((waits(&store), store.stats().inflight_fills()), (0, 0));
}

#[tokio::test]
async fn when_a_lone_client_leaves_after_the_head_or_in_mid_body_the_fetch_ends() {
    for frames in 0..2 {
        let (feed, body) = fed();
        feed.send("a");
        let store = Store::memory();
        let service = cached(&store, &in_turn(&opened(), vec![respond(200, &[FRESH], body), text(&[FRESH], "b")]));
        let mut body = head(&service, get("/")).await.into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        assert!(feed.is_abandoned());
        assert_eq!(call(&service, get("/")).await.text(), "b");
        assert_eq!((waits(&store), store.stats().inflight_fills()), (0, 0));
    }
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

#[tokio::test]
async fn when_the_client_leaves_after_the_head_the_fetch_goes_on_for_those_who_wait() {
    let (store, service, feed, client, others) = streaming(10).await;
    drop(client);
    assert!(feed.send("on"));
    assert!(feed.send("e"));
    drop(feed);
    assert!(answers(others).await.iter().all(|answer| answer.text() == "one"));
    assert!(call(&service, get("/")).await.is_hit());
    assert_eq!(store.stats().inflight_fills(), 0);
}

#[tokio::test]
async fn when_the_client_leaves_in_mid_body_the_fetch_goes_on_for_those_who_wait() {
    let (_, service, feed, client, others) = streaming(10).await;
    let mut body = client.into_body();
    assert!(feed.send("on"));
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(feed.send("e"));
    drop(feed);
    assert!(answers(others).await.iter().all(|answer| answer.text() == "one"));
    assert_eq!(call(&service, get("/")).await.text(), "one");
}

#[tokio::test]
async fn when_all_have_left_the_fetch_ends() {
    for client_first in [true, false] {
        let (store, service, feed, client, others) = streaming(3).await;
        let mut client = Some(client);
        if client_first {
            client = None;
        }
        for other in others {
            assert!(!feed.is_abandoned());
            other.abort();
            let _ = other.await;
        }
        assert_eq!(feed.is_abandoned(), client_first);
        drop(client);
        assert!(feed.is_abandoned());
        assert_eq!(call(&service, get("/")).await.text(), "again");
        assert_eq!(store.stats().inflight_fills(), 0);
    }
}

#[tokio::test]
async fn a_stalled_client_does_not_stall_those_who_wait() {
    let (_, service, feed, client, others) = streaming(10).await;
    assert!(feed.send("one"));
    drop(feed);
    assert!(answers(others).await.iter().all(|answer| answer.text() == "one"));
    assert!(call(&service, get("/")).await.is_hit());
    // And it still gets its own.
    assert_eq!(read(client).await.unwrap().text(), "one");
}

#[tokio::test]
async fn a_slow_client_gets_what_others_have_read_in_order() {
    let (_, _, feed, client, others) = streaming(1).await;
    let mut body = client.into_body();
    for (sent, piece) in ["a", "b", "c", "d"].into_iter().enumerate() {
        assert!(feed.send(piece));
        if sent % 2 == 1 {
            body.frame().await.unwrap().unwrap();
        }
        tokio::task::yield_now().await;
    }
    drop(feed);
    assert_eq!(answers(others).await[0].text(), "abcd");
    assert_eq!(body.collect().await.unwrap().to_bytes(), "cd");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stalled_client_does_not_stall_those_who_wait_on_other_threads() {
    // The head arrives while others begin to wait, again and again.
    for _ in 0..500 {
        let (store, gate) = (Store::memory(), Gate::default());
        let origin = gate.before(|_| {
            let content = Mutex::new(Some(Bytes::from_static(b"one")));
            let body = scripted(move |_, _| Poll::Ready(content.lock().unwrap().take().map(|it| Ok(Frame::data(it)))));
            respond(200, &[FRESH], body)
        });
        let service = cached(&store, &origin);
        let (leading, first) = (service.clone(), tokio::sync::oneshot::channel());
        let leader = tokio::spawn(async move { first.0.send(head(&leading, get("/")).await).map_err(drop).unwrap() });
        until("the origin is asked", || gate.arrived() == 1).await;
        let others: Vec<_> = (0..4).map(|_| spawn(&service, get("/"))).collect();
        until("one waits", || waits(&store) > 0).await;
        gate.open();
        let stalled = first.1.await.unwrap();
        leader.await.unwrap();
        let all = tokio::time::timeout(secs(3), answers(others)).await.expect("nobody waits for the stalled client");
        assert!(all.iter().all(|answer| answer.text() == "one"));
        assert_eq!(origin.calls(), 1);
        drop(stalled);
    }
}

// Leaders that panic

#[tokio::test]
async fn when_the_service_panics_a_waiter_leads() {
    let (store, gate) = (Store::memory(), Gate::default());
    let calls = AtomicUsize::new(0);
    let origin = gate.before(move |_| {
        assert!(calls.fetch_add(1, SeqCst) > 0, "the first call panics");
        text(&[FRESH], "x")
    });
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 10).await;
    gate.open();
    assert!(leader.await.unwrap_err().is_panic());
    assert!(answers(others).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn when_the_body_panics_its_client_sees_the_panic_and_a_waiter_leads() {
    for client_reads in [false, true] {
        let gate = Gate::default();
        let opened = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (go, wake) = (Arc::clone(&opened), Arc::new(Mutex::new(None::<std::task::Waker>)));
        let waker = Arc::clone(&wake);
        let body = scripted(move |polls, cx| match polls {
            0 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a"))))),
            _ if !go.load(SeqCst) => {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => panic!("the body panics"),
        });
        let origin = in_turn(&gate, vec![respond(200, &[FRESH], body), text(&[FRESH], "again")]);
        gate.open();
        let store = Store::memory();
        let service = cached(&store, &origin);
        let client = head(&service, get("/")).await;
        let mut client = Some(client);
        let reading = if client_reads { client.take() } else { None };
        let reading = reading.map(|client| tokio::spawn(async move { read(client).await.map(|_| ()) }));
        let others = waiters(&store, &service, 5).await;
        opened.store(true, SeqCst);
        wake.lock().unwrap().take().expect("somebody reads").wake();
        assert!(answers(others).await.iter().all(|answer| answer.text() == "again"));
        let reading = reading.unwrap_or_else(|| {
            let client = client.take().expect("it has not read yet");
            tokio::spawn(async move { read(client).await.map(|_| ()) })
        });
        assert!(reading.await.unwrap_err().is_panic());
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test]
async fn when_the_body_fails_a_waiter_leads() {
    let (_, service, feed, client, others) = streaming(5).await;
    feed.send("half");
    feed.fail("reset");
    assert!(answers(others).await.iter().all(|answer| answer.text() == "again"));
    assert!(read(client).await.is_err());
    assert!(call(&service, get("/")).await.is_hit());
}

// What cannot be shared

/// Sends `n` requests to an origin that holds them all, and says how many were in it at once.
async fn at_once(
    store: &Store,
    gate: &Gate,
    service: &Cache<Origin>,
    n: usize,
    request: fn() -> Request<Body>,
) -> usize {
    let (arrived, waited) = (gate.arrived(), waits(store));
    let tasks: Vec<_> = (0..n).map(|_| spawn(service, request())).collect();
    let here = || gate.arrived() - arrived;
    until("each is in the origin or waits", || here() + usize::try_from(waits(store) - waited).unwrap() == n).await;
    let at_once = here();
    gate.admit(n);
    answers(tasks).await;
    // Nothing is left over for those who come next.
    gate.admit(0);
    at_once
}

#[tokio::test]
async fn what_turns_out_uncacheable_is_fetched_by_all_who_waited_side_by_side() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[("cache-control", "no-store")], "mine"));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 50).await;
    gate.admit(1);
    leader.await.unwrap();
    until("all are in the origin at once", || gate.arrived() == 51).await;
    gate.open();
    answers(others).await;
    assert_eq!(origin.calls(), 51);
}

#[tokio::test]
async fn what_is_uncacheable_is_remembered_for_the_time_that_is_set() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default().hit_for_miss(secs(7)), &clock);
    let gate = Gate::default();
    let service = cached(&store, &gate.before(|_| text(&[("cache-control", "private")], "mine")));
    let request = || get("/");
    assert_eq!(at_once(&store, &gate, &service, 1, request).await, 1);
    assert_eq!(at_once(&store, &gate, &service, 20, request).await, 20);
    clock.advance(secs(6));
    assert_eq!(at_once(&store, &gate, &service, 20, request).await, 20);
    clock.advance(secs(7));
    let tasks: Vec<_> = (0..20).map(|_| spawn(&service, get("/"))).collect();
    until("the others wait", || waits(&store) == 19).await;
    gate.open();
    answers(tasks).await;
}

#[tokio::test]
async fn without_hit_for_miss_nothing_is_remembered() {
    let gate = Gate::default();
    let store = Store::new(Config::default().hit_for_miss(Duration::ZERO));
    let service = cached(&store, &gate.before(|_| text(&[("cache-control", "private")], "mine")));
    assert_eq!(at_once(&store, &gate, &service, 1, || get("/")).await, 1);
    let tasks: Vec<_> = (0..20).map(|_| spawn(&service, get("/"))).collect();
    until("the others wait", || waits(&store) == 19).await;
    gate.open();
    answers(tasks).await;
}

#[tokio::test]
async fn what_becomes_cacheable_is_stored_though_it_was_remembered_as_uncacheable() {
    let gate = opened();
    let no_store = || text(&[("cache-control", "no-store")], "x");
    let origin = in_turn(&gate, vec![no_store(), no_store(), text(&[FRESH], "y")]);
    let service = cached(&Store::memory(), &origin);
    for _ in 0..3 {
        call(&service, get("/")).await;
    }
    assert!(call(&service, get("/")).await.is_hit());
}

#[tokio::test]
async fn a_body_over_the_limit_is_remembered_as_uncacheable() {
    for declared in [true, false] {
        let (store, gate) = (Store::new(Config::default().max_body_bytes(10)), Gate::default());
        let origin = gate.before(move |_| {
            let mut polls = vec![Bytes::from_static(b"0123456789"), Bytes::from_static(b"x")].into_iter();
            let body = scripted(move |_, _| Poll::Ready(polls.next().map(|data| Ok(Frame::data(data)))));
            if declared { text(&[FRESH], "0123456789x") } else { respond(200, &[FRESH], body) }
        });
        let service = cached(&store, &origin);
        assert_eq!(at_once(&store, &gate, &service, 1, || get("/")).await, 1);
        assert_eq!(at_once(&store, &gate, &service, 20, || get("/")).await, 20, "length declared: {declared}");
    }
}

#[tokio::test]
async fn a_response_with_too_many_tags_is_remembered_as_uncacheable() {
    let (store, gate) = (Store::memory(), Gate::default());
    store.settings().set("CACHE_MAX_TAGS", "1").unwrap();
    let service = cached(&store, &gate.before(|_| text(&[FRESH, ("cache-tag", "a b")], "x")));
    assert_eq!(at_once(&store, &gate, &service, 1, || get("/")).await, 1);
    assert_eq!(at_once(&store, &gate, &service, 20, || get("/")).await, 20);
}

#[tokio::test]
async fn an_uncacheable_answer_to_a_post_keyed_by_its_body_is_remembered() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| text(&[("cache-control", "no-store")], "x"));
    let service = BodyDigestLayer::new().layer(CacheLayer::new(store.clone()).layer(Adapted(origin)));
    let post = || ask(Method::POST, "/", &[]).map(|_| full("question"));
    let first = spawn(&service, post());
    gate.admit(1);
    first.await.unwrap();
    let tasks: Vec<_> = (0..20).map(|_| spawn(&service, post())).collect();
    until("each is in the origin or waits", || gate.arrived() - 1 + usize::try_from(waits(&store)).unwrap() == 20)
        .await;
    assert_eq!(gate.arrived(), 21, "all are in the origin at once");
    gate.open();
    answers(tasks).await;
}

/// Takes the bodies that [`BodyDigestLayer`] hands on.
#[derive(Clone)]
struct Adapted(Origin);

impl tower::Service<Request<terrace::Replay<Body>>> for Adapted {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = <Origin as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Failure>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<terrace::Replay<Body>>) -> Self::Future {
        self.0.call(request.map(BodyExt::boxed_unsync))
    }
}

#[tokio::test]
async fn nobody_gets_the_personal_response_of_a_leader() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|request| {
        let who = request.headers.get("cookie").map_or("nobody", |cookie| cookie.to_str().unwrap());
        text(&[FRESH], who.to_owned())
    });
    let service = cached(&store, &origin);
    let leader = spawn(&service, get_with("/", &[("cookie", "anne")]));
    until("the origin is asked", || gate.arrived() == 1).await;
    let names = ["ben", "cleo", "dora"];
    let others: Vec<_> = names.iter().map(|name| spawn(&service, get_with("/", &[("cookie", name)]))).collect();
    until("all wait", || waits(&store) == 3).await;
    gate.open();
    assert_eq!(leader.await.unwrap().text(), "anne");
    assert_eq!(answers(others).await.iter().map(Answer::text).collect::<Vec<_>>(), names);
}

#[tokio::test]
async fn heads_ranges_and_only_if_cached_do_not_wait() {
    let (store, gate) = (Store::memory(), Gate::default());
    let service = cached(&store, &gate.before(|_| text(&[FRESH], "x")));
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let at_once = call(&service, get_with("/", &[("cache-control", "only-if-cached")])).await;
    assert_eq!(at_once.status, 504);
    let head = spawn(&service, ask(Method::HEAD, "/", &[]));
    let range = spawn(&service, get_with("/", &[("range", "bytes=0-0")]));
    until("both are in the origin", || gate.arrived() == 3).await;
    gate.open();
    answers(vec![leader, head, range]).await;
    assert_eq!(waits(&store), 0);
}

#[tokio::test]
async fn variants_that_wait_for_one_flight_each_get_their_own() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|request| {
        let wanted = request.headers["x-variant"].to_str().unwrap().to_owned();
        text(&[FRESH, ("vary", "x-variant")], wanted)
    });
    let service = cached(&store, &origin);
    let variant = |name: &str| spawn(&service, get_with("/", &[("x-variant", name)]));
    let leader = variant("a");
    until("the origin is asked", || gate.arrived() == 1).await;
    let wanted = ["b", "a", "c", "b", "a", "c"];
    let others: Vec<_> = wanted.iter().map(|name| variant(name)).collect();
    until("all wait", || waits(&store) == 6).await;
    gate.open();
    assert_eq!(leader.await.unwrap().text(), "a");
    assert_eq!(answers(others).await.iter().map(Answer::text).collect::<Vec<_>>(), wanted);
    assert_eq!(origin.calls(), 3, "one call for each variant");
}

// Patience

#[tokio::test(start_paused = true)]
async fn a_waiter_goes_itself_when_its_time_is_up() {
    let store = Store::new(Config::default().fill_wait(secs(3)));
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let stuck = calls.fetch_add(1, SeqCst) == 0;
        async move {
            if stuck {
                std::future::pending::<()>().await;
            }
            Ok(text(&[FRESH], "x"))
        }
    });
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || origin.calls() == 1).await;
    let started = tokio::time::Instant::now();
    let others = waiters(&store, &service, 10).await;
    assert!(answers(others).await.iter().all(|answer| answer.text() == "x"));
    assert_eq!(started.elapsed().as_secs(), 3);
    assert!(call(&service, get("/")).await.is_hit(), "what they fetched is stored, whoever leads");
    leader.abort();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_does_not_hold_those_who_wait_for_longer() {
    let (_, _, feed, client, others) = streaming(1).await;
    feed.send("and then nothing");
    let started = tokio::time::Instant::now();
    assert_eq!(answers(others).await[0].text(), "again");
    assert_eq!(started.elapsed().as_secs(), 5);
    drop(client);
}

// Purges during a fetch

type NamedPurge = (&'static str, fn(&Store) -> Purge);

fn purges() -> [NamedPurge; 5] {
    [
        ("url", |store| store.purge_url("http://example.com/dir/page?q=1")),
        ("url on any host", |store| store.purge_url("/dir/page?q=1")),
        ("tag", |store| store.purge_tag("red")),
        ("prefix", |store| store.purge_prefix("/dir")),
        ("all", Store::purge_all),
    ]
}

const PAGE: &str = "/dir/page?q=1";

fn versions(gate: &Gate, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let version = AtomicUsize::new(0);
    gate.before(move |_| text(fields, format!("v{}", version.fetch_add(1, SeqCst) + 1)))
}

#[tokio::test]
async fn a_purge_before_the_head_is_not_undone_by_the_fetch() {
    for (name, purge) in purges() {
        let (store, gate) = (Store::memory(), Gate::default());
        let origin = versions(&gate, &[FRESH, ("cache-tag", "red")]);
        let service = cached(&store, &origin);
        let leader = spawn(&service, get(PAGE));
        until("the origin is asked", || gate.arrived() == 1).await;
        let others: Vec<_> = (0..5).map(|_| spawn(&service, get(PAGE))).collect();
        until("all wait", || waits(&store) == 5).await;
        let _ = purge(&store).await.unwrap();
        gate.open();
        assert_eq!(leader.await.unwrap().text(), "v1");
        for answer in answers(others).await {
            assert_eq!(answer.text(), "v2", "purge by {name}");
        }
        assert_eq!(call(&service, get(PAGE)).await.text(), "v2", "purge by {name}");
        assert!(store.stats().flight_joins(FlightJoin::Refused) >= 1);
    }
}

#[tokio::test]
async fn a_purge_in_mid_body_is_not_undone_by_the_fetch() {
    for (name, purge) in purges() {
        let (feed, body) = fed();
        let store = Store::memory();
        let fields = [FRESH, ("cache-tag", "red")];
        let origin = in_turn(&opened(), vec![respond(200, &fields, body), text(&fields, "new")]);
        let service = cached(&store, &origin);
        let client = head(&service, get(PAGE)).await;
        let waiter = spawn(&service, get(PAGE));
        until("it waits", || waits(&store) == 1).await;
        feed.send("old");
        let _ = purge(&store).await.unwrap();
        drop(feed);
        assert_eq!(waiter.await.unwrap().text(), "new", "purge by {name}");
        assert_eq!(read(client).await.unwrap().text(), "old");
        assert_eq!(call(&service, get(PAGE)).await.text(), "new", "purge by {name}");
    }
}

#[tokio::test]
async fn an_unsafe_request_during_a_fetch_is_not_undone_by_it() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = versions(&gate, &[FRESH]);
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let post = spawn(&service, ask(Method::POST, "/", &[]));
    until("both are in the origin", || gate.arrived() == 2).await;
    // The gate is fair: the first who came is the first to go. Both answers are on their way before either is taken.
    gate.open();
    post.await.unwrap();
    leader.await.unwrap();
    let after = call(&service, get("/")).await;
    assert!(!after.is_hit() || after.text() == "v3", "{after:?}");
}

#[tokio::test]
async fn a_purge_during_a_background_refresh_is_not_undone_by_it() {
    for (name, purge) in purges() {
        let clock = FakeClock::new();
        let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
        let fields = &[("cache-control", "max-age=60, stale-while-revalidate=60"), ("cache-tag", "red")];
        let origin = versions(&gate, fields);
        let service = cached(&store, &origin);
        gate.admit(1);
        call(&service, get(PAGE)).await;
        clock.advance(secs(61));
        assert_eq!(call(&service, get(PAGE)).await.text(), "v1");
        until("the refresh is in the origin", || gate.arrived() == 2).await;
        let _ = purge(&store).await.unwrap();
        // One who comes now may wait for the refresh, but must not be answered with what it brings.
        let waiter = spawn(&service, get(PAGE));
        until("it waits or asks", || waits(&store) == 1 || gate.arrived() == 3).await;
        gate.open();
        assert_eq!(waiter.await.unwrap().text(), "v3", "purge by {name}");
        assert_eq!(call(&service, get(PAGE)).await.text(), "v3", "purge by {name}");
    }
}

#[tokio::test]
async fn a_purge_during_a_revalidation_is_not_undone_by_a_304() {
    let clock = FakeClock::new();
    let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
    let origin = gate.before(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[FRESH, ("etag", "\"1\"")], terrace_tests::empty());
        }
        text(&[FRESH, ("etag", "\"1\"")], "x")
    });
    let service = cached(&store, &origin);
    gate.admit(1);
    call(&service, get("/")).await;
    clock.advance(secs(61));
    let validating = spawn(&service, get("/"));
    until("it is in the origin", || gate.arrived() == 2).await;
    let _ = store.purge_all().await.unwrap();
    gate.open();
    assert_eq!(validating.await.unwrap().text(), "x");
    assert!(!call(&service, get("/")).await.is_hit());
}

// Refreshes

/// An origin whose answers take a second of the store's time.
fn taking_a_second(gate: &Gate, clock: &FakeClock, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let (number, clock) = (AtomicUsize::new(0), clock.clone());
    gate.before(move |_| {
        clock.advance(secs(1));
        text(fields, (number.fetch_add(1, SeqCst) + 1).to_string())
    })
}

#[tokio::test]
async fn a_stale_response_is_refreshed_once_for_a_hundred_requests() {
    let clock = FakeClock::new();
    let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
    let origin = taking_a_second(&gate, &clock, &[("cache-control", "max-age=60, stale-while-revalidate=60")]);
    let service = cached(&store, &origin);
    gate.admit(1);
    call(&service, get("/")).await;
    clock.advance(secs(70));
    for answer in answers((0..100).map(|_| spawn(&service, get("/"))).collect()).await {
        assert_eq!((answer.text(), answer.is_hit()), ("1", true));
    }
    until("the refresh is in the origin", || gate.arrived() == 2).await;
    gate.open();
    until("the refresh is stored", || store.stats().stores(Tier::L1, StoreResult::Ok) == 2).await;
    assert_eq!(call(&service, get("/")).await.text(), "2");
    assert_eq!((origin.calls(), store.stats().requests(CacheStatus::Stale)), (2, 100));
}

#[tokio::test]
async fn an_early_refresh_happens_once_for_a_hundred_requests() {
    let clock = FakeClock::new();
    let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
    let origin = taking_a_second(&gate, &clock, &[FRESH]);
    let layer = CacheLayer::new(store.clone()).rules(Rules::new().early_refresh(1e6));
    let service = layer.layer(origin.clone());
    gate.admit(1);
    call(&service, get("/")).await;
    for answer in answers((0..100).map(|_| spawn(&service, get("/"))).collect()).await {
        assert_eq!((answer.text(), answer.is_hit()), ("1", true));
    }
    until("the refresh is in the origin", || gate.arrived() == 2).await;
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn early_refreshes_are_the_likelier_the_less_time_is_left() {
    // With beta 1 and a fetch of one second, a refresh with t seconds left has the probability exp(-t).
    let refreshed_at = async |left: u64| {
        let mut refreshed = 0_u32;
        for _ in 0..300 {
            let clock = FakeClock::new();
            let store = Store::with_fake_clock(Config::default(), &clock);
            let origin = taking_a_second(&opened(), &clock, &[FRESH]);
            let service = CacheLayer::new(store).rules(Rules::new().early_refresh(1.0)).layer(origin.clone());
            call(&service, get("/")).await;
            clock.advance(secs(59 - left));
            assert!(call(&service, get("/")).await.is_hit());
            tokio::task::yield_now().await;
            refreshed += u32::from(origin.calls() == 2);
        }
        refreshed
    };
    // The age counts from the request, a second ago: 60 - left seconds.
    let (soon, later, early) = (refreshed_at(1).await, refreshed_at(3).await, refreshed_at(20).await);
    assert!((66..=155).contains(&soon), "exp(-1) of 300 is 110, not {soon}");
    assert!((3..=32).contains(&later), "exp(-3) of 300 is 15, not {later}");
    assert_eq!(early, 0, "exp(-20) of 300 is nothing");
}

#[tokio::test]
async fn without_early_refresh_a_fresh_response_is_left_alone() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let origin = taking_a_second(&opened(), &clock, &[FRESH]);
    let service = cached(&store, &origin);
    call(&service, get("/")).await;
    clock.advance(secs(58));
    for _ in 0..1000 {
        assert!(call(&service, get("/")).await.is_hit());
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn a_refresh_that_fails_keeps_the_stale_response_within_its_window() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let outcome = match calls.fetch_add(1, SeqCst) {
            0 => Ok(text(&[("cache-control", "max-age=60, stale-while-revalidate=60")], "good")),
            n if n % 2 == 0 => Err(Failure("refused")),
            _ => Ok(respond(500, &[], full("bad"))),
        };
        async { outcome }
    });
    let service = cached(&store, &origin);
    call(&service, get("/")).await;
    clock.advance(secs(70));
    for refreshes in 1..=4 {
        let answer = call(&service, get("/")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "good"));
        until("the refresh has failed", || origin.calls() == 1 + refreshes).await;
        tokio::task::yield_now().await;
    }
    clock.advance(secs(60));
    assert_eq!(call(&service, get("/")).await.status, 500);
}

// Failing leaders

#[tokio::test(start_paused = true)]
async fn when_the_leader_gets_a_503_nobody_hangs_and_each_asks_at_most_once() {
    let (store, gate) = (Store::memory(), Gate::default());
    let origin = gate.before(|_| respond(503, &[], full("down")));
    let service = cached(&store, &origin);
    let leader = spawn(&service, get("/"));
    until("the origin is asked", || gate.arrived() == 1).await;
    let others = waiters(&store, &service, 100).await;
    gate.open();
    assert_eq!(leader.await.unwrap().status, 503);
    assert!(answers(others).await.iter().all(|answer| answer.status == 503));
    assert!(origin.calls() <= 101, "{} calls", origin.calls());
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_gets_an_error_nobody_hangs_and_each_asks_at_most_once() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let passing = clock.clone();
    let origin = Origin::new(move |_| {
        let clock = passing.clone();
        async move {
            // The store's clock and tokio's go together.
            clock.advance(secs(1));
            tokio::time::sleep(secs(1)).await;
            Err(Failure("refused"))
        }
    });
    let service = cached(&store, &origin);
    let started = tokio::time::Instant::now();
    let tasks = (0..101).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { tower::Service::call(&mut service, get("/")).await.map(|_| ()) })
    });
    for task in join_all(tasks.collect::<Vec<_>>()).await {
        assert_eq!(task.unwrap().unwrap_err(), Failure("refused"));
    }
    assert!(origin.calls() <= 101, "{} calls", origin.calls());
    // The time that a request may wait for others, and its own call.
    assert!(started.elapsed() <= secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn when_the_leader_fails_a_stale_response_answers_all_who_waited() {
    for with_status in [true, false] {
        let clock = FakeClock::new();
        let (store, gate) = (Store::with_fake_clock(Config::default(), &clock), Gate::default());
        let (calls, inside) = (AtomicUsize::new(0), gate.clone());
        let origin = Origin::new(move |_| {
            let (first, gate) = (calls.fetch_add(1, SeqCst) == 0, inside.clone());
            async move {
                gate.pass().await;
                match first {
                    true => Ok(text(&[("cache-control", "max-age=60, stale-if-error=60")], "good")),
                    false if with_status => Ok(respond(503, &[], full("bad"))),
                    false => Err(Failure("refused")),
                }
            }
        });
        let service = cached(&store, &origin);
        gate.admit(1);
        call(&service, get("/")).await;
        clock.advance(secs(61));
        let leader = spawn(&service, get("/"));
        until("the origin is asked", || gate.arrived() == 2).await;
        let others = waiters(&store, &service, 100).await;
        gate.open();
        assert_eq!(leader.await.unwrap().text(), "good");
        for answer in answers(others).await {
            assert_eq!(answer.text(), "good");
        }
        assert_eq!(origin.calls(), 2, "nobody asks a failing origin again who can have the stale response");
    }
}

// Everything at once

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_mixture_of_cancelling_failing_and_purging_leaves_anybody_hanging() {
    let store = Store::new(Config::default().fill_wait(secs(600)));
    let calls = AtomicUsize::new(0);
    let origin = Origin::new(move |_| {
        let n = calls.fetch_add(1, SeqCst);
        async move {
            for _ in 0..n % 7 {
                tokio::task::yield_now().await;
            }
            let slow = scripted(move |polls, cx| {
                if polls % 2 == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready((polls < 5).then(|| Ok(Frame::data(Bytes::from_static(b"piece")))))
            });
            match n % 11 {
                0 => Err(Failure("refused")),
                1 => Ok(text(&[("cache-control", "no-store")], "x")),
                2 => Ok(respond(503, &[], full("x"))),
                3 => Ok(text(&[("cache-control", "max-age=0")], "x")),
                4 => Ok(respond(200, &[("cache-control", "max-age=60"), ("content-length", "99")], slow)),
                _ => Ok(respond(200, &[FRESH], slow)),
            }
        }
    });
    let service = cached(&store, &origin);
    let tasks = (0..4000_u64).map(|n| {
        let (mut service, store) = (service.clone(), store.clone());
        tokio::spawn(async move {
            if n % 13 == 0 {
                let _ = store.purge_all().await.unwrap();
            }
            let path = format!("/{}", n % 5);
            let request = async {
                if let Ok(response) = tower::Service::call(&mut service, get(&path)).await {
                    let mut body = response.into_body();
                    let frames = n % 4;
                    for _ in 0..if frames == 3 { 100 } else { frames } {
                        match body.frame().await {
                            Some(Ok(_)) => {}
                            _ => break,
                        }
                    }
                }
            };
            if n % 3 == 0 {
                // Leaves after a few turns.
                let patience = async {
                    for _ in 0..n % 17 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! { () = request => {} () = patience => {} }
            } else {
                request.await;
            }
        })
    });
    let all = join_all(tasks.collect::<Vec<_>>());
    for task in tokio::time::timeout(secs(60), all).await.expect("nobody hangs") {
        task.unwrap();
    }
    assert_eq!(store.stats().inflight_fills(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_purge_returned_no_thread_is_answered_with_what_was_fetched_before_it() {
    // The origin's answer is the version that was current when it was asked; a purge follows each change.
    let version = Arc::new(AtomicUsize::new(0));
    let current = Arc::clone(&version);
    let origin = Origin::new(move |_| {
        let version = current.load(SeqCst);
        async move {
            tokio::task::yield_now().await;
            let control = "max-age=60, stale-while-revalidate=60";
            Ok(text(&[("cache-control", control), ("cache-tag", "t"), ("vary", "x-v")], version.to_string()))
        }
    });
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).rules(Rules::new().early_refresh(1.0)).layer(origin);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // What the purges have promised so far.
    let promised = Arc::new(AtomicUsize::new(0));
    let reads = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..8)
        .map(|n| {
            let (service, done, promised) = (service.clone(), Arc::clone(&done), Arc::clone(&promised));
            let reads = Arc::clone(&reads);
            tokio::spawn(async move {
                while !done.load(SeqCst) {
                    let at_least = promised.load(SeqCst);
                    let answer = call(&service, get_with("/", &[("x-v", if n % 2 == 0 { "a" } else { "b" })])).await;
                    let seen: usize = answer.text().parse().unwrap();
                    assert!(seen >= at_least, "version {seen} after {at_least} was promised");
                    reads.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for change in 1.. {
        let failed = readers.iter().any(JoinHandle::is_finished);
        if failed || (change > 2000 && reads.load(SeqCst) > 2000) {
            break;
        }
        version.store(change, SeqCst);
        let _ = match change % 3 {
            0 => store.purge_tag("t").await,
            1 => store.purge_url("/").await,
            _ => store.purge_all().await,
        }
        .unwrap();
        promised.store(change, SeqCst);
        for _ in 0..change % 5 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}
