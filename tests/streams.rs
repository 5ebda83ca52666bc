//! Responses stream: what the client gets, when, what is kept meanwhile, and what is never stored.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use terrace::clock::FakeClock;
use terrace::{Cache, CacheLayer, Config, Store};
use terrace_tests::{
    Answer, Body, Origin, Scripted, ask, call, empty, fed, full, get, head, read, respond, scripted, spawn, text,
    until, waits,
};
use tokio::task::JoinHandle;
use tower::Layer;

const MIB: usize = 1 << 20;

fn cached(origin: &Origin) -> Cache<Origin> {
    CacheLayer::new(Store::memory()).layer(origin.clone())
}

/// An origin that answers once with each of these responses.
fn once_each(responses: impl IntoIterator<Item = Response<Body>>) -> Origin {
    let responses: Vec<_> = responses.into_iter().collect();
    let responses = std::sync::Mutex::new(responses.into_iter());
    Origin::answering(move |_| responses.lock().unwrap().next().expect("one more call than the test expects"))
}

/// Bytes that are counted while they live.
#[derive(Clone, Default)]
struct Alive {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Counted(Vec<u8>, Alive);

impl Alive {
    fn piece(&self, len: usize) -> Bytes {
        let now = self.now.fetch_add(len, SeqCst) + len;
        self.most.fetch_max(now, SeqCst);
        Bytes::from_owner(Counted(vec![b'x'; len], self.clone()))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len(), SeqCst);
    }
}

/// `pieces` pieces of `len` bytes, made when they are asked for.
fn pieces(alive: &Alive, pieces: usize, len: usize, hint: SizeHint) -> Body {
    let alive = alive.clone();
    let next = move |polls, _: &mut std::task::Context<'_>| {
        Poll::Ready((polls < pieces).then(|| Ok(Frame::data(alive.piece(len)))))
    };
    Scripted { next, polls: 0, hint, at_end: |_| false }.boxed_unsync()
}

#[tokio::test]
async fn the_first_byte_arrives_before_the_second_is_made() {
    let (feed, body) = fed();
    let service = cached(&once_each([respond(200, &[("cache-control", "max-age=60")], body)]));
    let mut response = head(&service, get("/")).await.into_body();
    assert!(feed.send("1"));
    assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "1");
    assert!(feed.send("2"));
    assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "2");
    drop(feed);
    assert!(response.frame().await.is_none());
    assert_eq!(call(&service, get("/")).await.text(), "12");
}

#[tokio::test]
async fn a_gibibyte_streams_in_bounded_memory() {
    const PIECE: usize = 64 << 10;
    for hint in [SizeHint::default(), SizeHint::with_exact(1 << 30)] {
        let alive = Alive::default();
        let body = pieces(&alive, (1 << 30) / PIECE, PIECE, hint);
        let service = cached(&once_each([respond(200, &[("cache-control", "max-age=60")], body)]));
        let mut body = head(&service, get("/")).await.into_body();
        let mut len = 0;
        while let Some(frame) = body.frame().await {
            len += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(len, 1 << 30);
        let most = alive.most.load(SeqCst);
        assert!(most <= 2 * MIB + 2 * PIECE, "{most} bytes alive at once with {hint:?}");
        drop(body);
        assert_eq!(alive.now.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn a_length_over_the_limit_is_known_at_once_and_nothing_is_kept() {
    let alive = Alive::default();
    let body = pieces(&alive, 4, MIB, SizeHint::with_exact(4 * MIB as u64));
    let service = cached(&once_each([respond(200, &[("cache-control", "max-age=60")], body)]));
    let mut body = head(&service, get("/")).await.into_body();
    while body.frame().await.is_some() {}
    assert_eq!(alive.most.load(SeqCst), MIB);
}

#[tokio::test]
async fn a_source_is_not_read_ahead_of_its_only_client() {
    let polled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polled);
    let body = scripted(move |polls, _| {
        counter.fetch_add(1, SeqCst);
        Poll::Ready((polls < 100).then(|| Ok(Frame::data(Bytes::from_static(b"x")))))
    });
    let service = cached(&once_each([respond(200, &[("cache-control", "max-age=60")], body)]));
    let mut body = head(&service, get("/")).await.into_body();
    for read in 1..=5 {
        body.frame().await.unwrap().unwrap();
        assert_eq!(polled.load(SeqCst), read);
    }
}

/// Reads the first response with `reader`, and says whether it was stored.
async fn is_stored_after<F: Future<Output = ()>>(
    first: Response<Body>,
    reader: impl FnOnce(Response<terrace::ResponseBody<Body>>) -> F,
) -> bool {
    let origin = once_each([first, text(&[("cache-control", "no-store")], "from the origin")]);
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    reader(head(&service, get("/")).await).await;
    let again = call(&service, get("/")).await;
    assert_eq!(again.is_hit(), origin.calls() == 1, "{again:?}");
    assert_eq!(store.stats().inflight_fills(), 0);
    origin.calls() == 1
}

async fn to_the_end(response: Response<terrace::ResponseBody<Body>>) {
    let _ = read(response).await;
}

fn fresh(extra: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut fields = vec![("cache-control", "max-age=60")];
    fields.extend(extra);
    respond(200, &fields, body)
}

#[tokio::test]
async fn a_body_at_the_limit_is_stored_and_one_byte_more_is_not() {
    for (len, stored) in [(2 * MIB, true), (2 * MIB + 1, false)] {
        assert_eq!(is_stored_after(fresh(&[], full(vec![0; len])), to_the_end).await, stored);
        let in_two = {
            let (feed, body) = fed();
            feed.send(vec![0; len - 1]);
            feed.send("x");
            body
        };
        assert_eq!(is_stored_after(fresh(&[], in_two), to_the_end).await, stored);
    }
}

#[tokio::test]
async fn a_client_gets_all_of_a_body_that_is_too_large_to_be_stored() {
    let content: Vec<u8> = (0..3 * MIB).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let (feed, body) = fed();
    content.chunks(1000).for_each(|piece| assert!(feed.send(piece.to_vec())));
    drop(feed);
    let answer = call(&cached(&once_each([fresh(&[], body)])), get("/")).await;
    assert!(answer.content == content);
}

fn broken() -> Body {
    let (feed, body) = fed();
    feed.send("half");
    feed.fail("reset");
    body
}

#[tokio::test]
async fn a_body_that_fails_is_passed_on_and_not_stored() {
    let service = cached(&once_each([fresh(&[], broken())]));
    let mut body = head(&service, get("/")).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), terrace_tests::Failure("reset"));
    assert!(body.frame().await.is_none());
    assert!(!is_stored_after(fresh(&[], broken()), to_the_end).await);
}

#[tokio::test]
async fn a_body_that_its_client_aborts_is_not_stored_and_its_source_is_dropped() {
    let (feed, body) = fed();
    feed.send("half");
    let stored = is_stored_after(fresh(&[], body), async |response| {
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        feed.abandoned().await;
    });
    assert!(!stored.await);
}

#[tokio::test]
async fn a_body_that_its_client_never_reads_is_not_stored() {
    let (feed, body) = fed();
    let stored = is_stored_after(fresh(&[], body), async |response| {
        drop(response);
        feed.abandoned().await;
    });
    assert!(!stored.await);
}

#[tokio::test]
async fn a_body_shorter_or_longer_than_its_content_length_is_not_stored() {
    for (declared, content, stored) in [("4", "1234", true), ("5", "1234", false), ("0", "", true), ("1", "", false)] {
        for body in [full(content), scripted_text(content)] {
            let first = fresh(&[("content-length", declared)], body);
            assert_eq!(is_stored_after(first, to_the_end).await, stored, "{content:?} of {declared}");
        }
    }
    let first = fresh(&[("content-length", "3")], scripted_text("1234"));
    assert!(!is_stored_after(first, to_the_end).await, "longer than its Content-Length");
}

/// A body in one piece that knows nothing of its length and end.
fn scripted_text(content: &'static str) -> Body {
    let mut content = Some(Bytes::from_static(content.as_bytes())).filter(|content| !content.is_empty());
    scripted(move |_, _| Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))))
}

#[tokio::test]
async fn a_body_is_stored_though_nobody_asks_for_its_end() {
    // Known by Content-Length, as a server over HTTP/1 does it.
    let stored = is_stored_after(fresh(&[("content-length", "4")], scripted_text("1234")), async |response| {
        response.into_body().frame().await.unwrap().unwrap();
    });
    assert!(stored.await, "by Content-Length");
    // Known because the body says so.
    let next = |_, _: &mut std::task::Context<'_>| Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"1234")))));
    let body = Scripted { next, polls: 0, hint: SizeHint::default(), at_end: |polls| polls == 1 }.boxed_unsync();
    let stored = is_stored_after(fresh(&[], body), async |response| {
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
    });
    assert!(stored.await, "by is_end_stream");
}

#[tokio::test]
async fn a_body_of_unknown_end_that_is_dropped_before_its_end_is_not_stored() {
    let stored = is_stored_after(fresh(&[], scripted_text("1234")), async |response| {
        response.into_body().frame().await.unwrap().unwrap();
    });
    assert!(!stored.await);
}

#[tokio::test]
async fn empty_bodies_are_stored_however_they_say_that_they_are_empty() {
    for body in [empty(), scripted(|_, _| Poll::Ready(None)), full("")] {
        assert!(is_stored_after(fresh(&[], body), to_the_end).await);
    }
    // A server does not poll what is at its end from the start.
    assert!(is_stored_after(fresh(&[], empty()), async |response| drop(response)).await);
    assert!(is_stored_after(respond(204, &[("cache-control", "max-age=60")], empty()), to_the_end).await);
}

/// The fields without those that the cache adds.
fn without_ours(answer: &Answer) -> Vec<(HeaderName, HeaderValue)> {
    let ours = |name: &HeaderName| name == "age" || name == "cache-status";
    let mut fields: Vec<_> = answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    fields.retain(|(name, _)| !ours(name));
    // Names have no order between them; the lines of one name have.
    fields.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    fields
}

fn elaborate(status: u16) -> Response<Body> {
    let mut response =
        respond(status, &[("cache-control", "max-age=60"), ("date", "Wed, 01 Jan 2025 00:00:00 GMT")], {
            let (feed, body) = fed();
            feed.send("one ");
            feed.send("");
            feed.send(&b"\xff\x00two"[..]);
            let mut trailers = HeaderMap::new();
            trailers.append("x-checksum", "1".parse().unwrap());
            trailers.append("x-checksum", "0".parse().unwrap());
            trailers.append("x-raw", HeaderValue::from_bytes(b"\xfe\xff").unwrap());
            feed.trailers(trailers);
            body
        });
    let fields = response.headers_mut();
    for value in ["z", "a", "m", "a"] {
        fields.append("x-many", value.parse().unwrap());
    }
    fields.append("x-raw", HeaderValue::from_bytes(b"caf\xe9 \xff\t!").unwrap());
    fields.append("x-empty", HeaderValue::from_static(""));
    fields.append("content-type", HeaderValue::from_static("application/octet-stream"));
    fields.append("x-long", HeaderValue::try_from("v".repeat(10_000)).unwrap());
    response
}

#[tokio::test]
async fn a_stored_response_is_reproduced_exactly() {
    for status in [200, 203, 301, 404, 410, 501, 299, 599] {
        // Its wall clock stands at the `Date` of the response.
        let store = Store::with_fake_clock(Config::default(), &FakeClock::new());
        let service = CacheLayer::new(store).layer(once_each([elaborate(status)]));
        let first = call(&service, get("/")).await;
        assert!(!first.is_hit());
        let hit = call(&service, get("/")).await;
        assert!(hit.is_hit());
        assert_eq!(hit.status, first.status);
        assert_eq!(without_ours(&hit), without_ours(&first));
        assert_eq!(hit.headers.get_all("x-many").iter().collect::<Vec<_>>(), ["z", "a", "m", "a"]);
        assert_eq!(hit.content, &b"one \xff\x00two"[..]);
        assert_eq!(hit.trailers, first.trailers);
        assert_eq!(hit.trailers.unwrap().get_all("x-checksum").iter().collect::<Vec<_>>(), ["1", "0"]);
    }
}

#[tokio::test]
async fn trailers_after_a_declared_length_are_stored_too() {
    let response = || {
        let (feed, body) = fed();
        feed.send("1234");
        feed.trailers(HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("10"))]));
        fresh(&[("content-length", "4")], body)
    };
    let service = cached(&once_each([response()]));
    let first = call(&service, get("/")).await;
    let hit = call(&service, get("/")).await;
    assert!(hit.is_hit());
    assert_eq!(hit.trailers, first.trailers);
    assert!(hit.trailers.is_some());
}

#[tokio::test]
async fn lengths_are_known_on_both_sides_of_the_store() {
    let service = cached(&once_each([fresh(&[], full("1234"))]));
    for _ in 0..2 {
        let response = head(&service, get("/")).await;
        assert_eq!(response.body().size_hint().exact(), Some(4));
        assert!(!response.body().is_end_stream());
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
    }
}

#[tokio::test]
async fn a_head_is_answered_from_a_stored_get_without_content() {
    let service = cached(&once_each([fresh(&[("x-field", "kept")], full("1234"))]));
    let first = call(&service, get("/")).await;
    let hit = call(&service, ask(Method::HEAD, "/", &[])).await;
    assert!(hit.is_hit());
    assert_eq!((hit.status, hit.field("x-field"), hit.text()), (first.status, "kept".into(), ""));
    assert_eq!(hit.field("content-length"), "4");
    assert_eq!(hit.trailers, None);
}

#[tokio::test]
async fn a_head_never_becomes_the_answer_to_a_get() {
    let origin = Origin::answering(|request| match request.method {
        Method::HEAD => fresh(&[("content-length", "4")], empty()),
        _ => fresh(&[("content-length", "4")], full("1234")),
    });
    let service = cached(&origin);
    assert_eq!(call(&service, ask(Method::HEAD, "/", &[])).await.text(), "");
    let first = call(&service, get("/")).await;
    assert_eq!((first.is_hit(), first.text()), (false, "1234"));
    assert_eq!(call(&service, get("/")).await.text(), "1234");
    assert_eq!(origin.calls(), 2);
}

/// Sends a second request, and waits until it waits for what the first brings.
async fn with_a_waiter(store: &Store, service: &Cache<Origin>) -> JoinHandle<Answer> {
    let before = waits(store);
    let waiter = spawn(service, get("/"));
    until("the second request waits", || waits(store) > before).await;
    waiter
}

#[tokio::test]
async fn reading_ahead_for_those_who_wait_is_bounded_by_the_limit() {
    let alive = Alive::default();
    let body = pieces(&alive, 1000, 100, SizeHint::default());
    let origin = once_each([fresh(&[], body), fresh(&[], full("another"))]);
    let store = Store::new(Config::default().max_body_bytes(1000));
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    let slow = head(&service, get("/")).await;
    let waiter = with_a_waiter(&store, &service).await;
    assert_eq!(waiter.await.unwrap().text(), "another");
    assert!(alive.most.load(SeqCst) <= 1100, "{} bytes were read ahead", alive.most.load(SeqCst));
    assert_eq!(read(slow).await.unwrap().content.len(), 100_000);
}

#[tokio::test]
async fn a_client_sees_the_end_that_another_request_found() {
    // Its end shows only to a second look, for which nothing wakes anybody.
    let body = scripted(|polls, _| match polls {
        0 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"all"))))),
        1 => Poll::Pending,
        _ => Poll::Ready(None),
    });
    let origin = once_each([fresh(&[], body)]);
    let store = Store::memory();
    let service = CacheLayer::new(store.clone()).layer(origin.clone());
    let response = head(&service, get("/")).await;
    let client = tokio::spawn(async move { read(response).await.unwrap() });
    let waiting = Arc::new(AtomicUsize::new(0));
    until("the client waits", || waiting.fetch_add(1, SeqCst) > 10).await;
    let waiter = with_a_waiter(&store, &service).await;
    assert_eq!(waiter.await.unwrap().text(), "all");
    until("the client has its response", || client.is_finished()).await;
    assert_eq!(client.await.unwrap().text(), "all");
}

#[tokio::test]
async fn a_stored_body_is_polled_to_the_same_end_again_and_again() {
    let service = cached(&once_each([fresh(&[], full("1234"))]));
    call(&service, get("/")).await;
    let mut body = head(&service, get("/")).await.into_body();
    body.frame().await.unwrap().unwrap();
    for _ in 0..3 {
        assert!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_none());
    }
}
