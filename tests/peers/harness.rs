//! A site behind a cache, in this process or on a port.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use terrace::clock::FakeClock;
use terrace::{Cache, CacheLayer, Config, Rules, Store};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Rules under which everything that may be cached is, for a minute.
pub(crate) fn eager() -> Rules {
    Rules::new().default_ttl(secs(60))
}

/// A path that is asked for with `GET`, or a whole request.
pub(crate) fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "example.com")
}

pub(crate) fn with(method: Method, path: &str) -> http::request::Builder {
    get(path).method(method)
}

/// A response with these fields.
pub(crate) fn reply(fields: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

pub(crate) fn status<B>(status: u16, mut response: Response<B>) -> Response<B> {
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The value of a request's field; empty if it has none.
pub(crate) fn sent<'a, B>(request: &'a Request<B>, name: &str) -> &'a str {
    request.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The origin could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the origin is down")
    }
}

impl std::error::Error for Down {}

type Handler = dyn Fn(usize, Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync;

/// The service behind a cache. It writes down what it is asked.
#[derive(Clone)]
pub(crate) struct Origin {
    handler: Arc<Handler>,
    asked: Arc<Mutex<Vec<Request<()>>>>,
    down: Arc<AtomicBool>,
}

impl Origin {
    /// Answers with what `handler` makes of the number of the call, from 1, and the request.
    pub(crate) fn new<F>(handler: impl Fn(usize, Request<Body>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handler = Arc::new(move |n, request| Box::pin(handler(n, request)) as _);
        Self { handler, asked: Arc::default(), down: Arc::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The latest request, without its body.
    pub(crate) fn latest(&self) -> Request<()> {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// From now on it cannot be reached.
    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = Down;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Down>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut seen = Request::new(());
        *seen.method_mut() = request.method().clone();
        *seen.uri_mut() = request.uri().clone();
        *seen.headers_mut() = request.headers().clone();
        let n = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(seen);
            asked.len()
        };
        if self.down.load(Ordering::SeqCst) {
            return Answering(Box::pin(std::future::ready(Err(Down))));
        }
        let answer = (self.handler)(n, request);
        Answering(Box::pin(async { Ok(answer.await) }))
    }
}

/// Has a name because, as a part of a buffered service's type, a boxed future is too much for the compiler.
pub(crate) struct Answering(Pin<Box<dyn Future<Output = Result<Response<Body>, Down>> + Send>>);

impl Future for Answering {
    type Output = Result<Response<Body>, Down>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// An origin with a cache in front of it, and a time that is moved by hand.
pub(crate) struct Site {
    pub(crate) time: FakeClock,
    pub(crate) store: Store,
    pub(crate) origin: Origin,
    pub(crate) cache: Cache<Origin>,
}

impl Site {
    pub(crate) fn new<F>(rules: Rules, handler: impl Fn(usize, Request<Body>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::configured(Config::default(), rules, handler)
    }

    pub(crate) fn configured<F>(
        config: Config,
        rules: Rules,
        handler: impl Fn(usize, Request<Body>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (time, origin) = (FakeClock::new(), Origin::new(handler));
        let store = Store::with_fake_clock(config, &time);
        let cache = CacheLayer::new(store.clone()).rules(rules).layer(origin.clone());
        Self { time, store, origin, cache }
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&self, request: http::request::Builder) -> Result<Answer, Down> {
        let request = request.body(Body::empty()).unwrap();
        let response = self.cache.clone().oneshot(request).await?;
        Ok(Answer::read(response).await)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(get(path)).await
    }

    pub(crate) fn calls(&self) -> usize {
        self.origin.calls()
    }
}

/// A response that has been read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn read<B>(response: Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: fmt::Debug,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The value of a field; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// All values of a field.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.field("cache-status").starts_with("terrace; hit")
    }
}

/// Serves on a free loopback port and returns the address.
pub(crate) async fn serve(app: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(axum::serve(listener, app).into_future());
    url
}

/// Sends a request over a connection.
pub(crate) async fn fetch(address: &str, path: &str, fields: &[(&str, &str)]) -> Response<hyper::body::Incoming> {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::get(format!("http://{address}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.request(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// Pieces of content that know how many of them are held in memory.
#[derive(Clone, Default)]
pub(crate) struct Pieces(Arc<Count>);

#[derive(Default)]
struct Count {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

struct Piece(Vec<u8>, Arc<Count>);

impl Drop for Piece {
    fn drop(&mut self) {
        self.1.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Pieces {
    pub(crate) fn piece(&self, len: usize) -> Bytes {
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Piece(vec![b'x'; len], Arc::clone(&self.0)))
    }

    /// How many there have been.
    pub(crate) fn made(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }

    /// How many there are now.
    pub(crate) fn held(&self) -> usize {
        self.made() - self.0.dropped.load(Ordering::SeqCst)
    }
}

/// A body of pieces.
pub(crate) struct Source {
    pieces: Pieces,
    len: usize,
    left: usize,
}

impl Source {
    /// `count` pieces of `len` bytes.
    pub(crate) fn new(pieces: &Pieces, len: usize, count: usize) -> Self {
        Self { pieces: pieces.clone(), len, left: count }
    }
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.pieces.piece(self.len)))))
    }
}

/// Polls once, and says whether there is something to wait for.
pub(crate) async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// Lets other tasks run until `reached`, which has to be soon.
pub(crate) async fn until(mut reached: impl FnMut() -> bool) {
    let patience = Patience::new();
    while !reached() {
        patience.yields().await;
    }
}

/// Bounds how long a test may turn round for what never comes. Read from the machine, for tokio's time may be paused.
pub(crate) struct Patience(std::time::Instant);

impl Patience {
    pub(crate) fn new() -> Self {
        Self(std::time::Instant::now())
    }

    /// Lets other tasks run.
    pub(crate) async fn yields(&self) {
        assert!(self.0.elapsed() < secs(20), "it never came to that");
        tokio::task::yield_now().await;
    }
}

/// The same body without a `Content-Length`.
pub(crate) fn of_unknown_length(body: Body) -> Body {
    Body::new(Unknown(body))
}

struct Unknown(Body);

impl http_body::Body for Unknown {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

const ALONE: &str = "TERRACE_TEST_ALONE";

/// Runs one test in a process of its own, where it finds itself [alone](is_alone).
pub(crate) fn alone(test: &str) {
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

pub(crate) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}
