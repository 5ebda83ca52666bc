//! What the tests of Terrace's layers share: an origin that does what a test says, and bodies that can be watched.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use terrace::Store;
use terrace::stats::{LockKind, LockResult};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tower_service::Service;

/// An error that has none of the traits that libraries like to ask for.
#[derive(PartialEq, Eq)]
pub struct Failure(pub &'static str);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({})", self.0)
    }
}

/// A body that is not `Sync`.
pub type Body = UnsyncBoxBody<Bytes, Failure>;

/// What a call of the origin comes to.
pub type Outcome = Result<Response<Body>, Failure>;

type Handler = dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

/// The inner service: a handler, the number of its calls, and what each call was asked.
#[derive(Clone)]
pub struct Origin {
    handler: Arc<Handler>,
    calls: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<request::Parts>>>,
}

impl Origin {
    /// Answers with what `handler` returns.
    pub fn new<F>(handler: impl Fn(Request<Body>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let handler: Arc<Handler> = Arc::new(move |request| Box::pin(handler(request)));
        Self { handler, calls: Arc::default(), seen: Arc::default() }
    }

    /// Answers at once.
    pub fn answering(answer: impl Fn(&request::Parts) -> Response<Body> + Send + Sync + 'static) -> Self {
        Self::new(move |request| std::future::ready(Ok(answer(&request.into_parts().0))))
    }

    /// Answers with `number` (1, 2, …) as text and these header fields.
    pub fn counting(fields: &'static [(&'static str, &'static str)]) -> Self {
        let number = AtomicUsize::new(0);
        Self::answering(move |_| text(fields, (number.fetch_add(1, Ordering::SeqCst) + 1).to_string()))
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far.
    pub fn seen(&self) -> Vec<request::Parts> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The head of the last request.
    pub fn last(&self) -> request::Parts {
        self.seen().pop().expect("the origin was not called")
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (parts, body) = request.into_parts();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(parts.clone());
        (self.handler)(Request::from_parts(parts, body))
    }
}

/// No content.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// This content.
pub fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A 200 with these header fields and this content.
pub fn text(fields: &[(&str, &str)], content: impl Into<Bytes>) -> Response<Body> {
    respond(200, fields, full(content))
}

/// A response.
///
/// # Panics
///
/// If the status or a field is malformed.
pub fn respond(status: u16, fields: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body).expect("a valid response")
}

/// A request without content, for `http://example.com` unless `uri` is absolute.
///
/// # Panics
///
/// If the URI or a field is malformed.
pub fn ask(method: Method, uri: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if uri.starts_with('/') {
        request = request.header("host", "example.com");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(empty()).expect("a valid request")
}

/// A `GET`.
pub fn get(uri: &str) -> Request<Body> {
    ask(Method::GET, uri, &[])
}

/// A `GET` with these header fields.
pub fn get_with(uri: &str, fields: &[(&str, &str)]) -> Request<Body> {
    ask(Method::GET, uri, fields)
}

/// A response of which all content has been read.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The content.
    pub content: Bytes,
    /// The trailer fields.
    pub trailers: Option<HeaderMap>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = String::from_utf8_lossy(&self.content[..self.content.len().min(200)]);
        write!(f, "{} {:?} {content:?} {:?}", self.status, self.headers, self.trailers)
    }
}

impl Answer {
    /// The content as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap_or("(not UTF-8)")
    }

    /// All lines of a header field, separated by `, `; empty if there are none.
    pub fn field(&self, name: &str) -> String {
        let lines: Vec<_> = self.headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
        lines.join(", ")
    }

    /// Whether the store answered without asking the origin.
    pub fn is_hit(&self) -> bool {
        self.field("cache-status").starts_with("terrace; hit")
    }

    /// Whether the origin's response is being stored, by the cache's own word.
    pub fn is_stored(&self) -> bool {
        self.field("cache-status").contains("stored")
    }

    /// `Age` in seconds.
    pub fn age(&self) -> Option<u64> {
        self.headers.get("age")?.to_str().ok()?.parse().ok()
    }
}

/// Reads all of a response.
///
/// # Errors
///
/// That of the body.
pub async fn read<B>(response: Response<B>) -> Result<Answer, B::Error>
where
    B: http_body::Body<Data = Bytes>,
{
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Answer { status: parts.status, headers: parts.headers, content: collected.to_bytes(), trailers })
}

/// Calls a service that is always ready and reads all of its response.
///
/// # Panics
///
/// If the service or the body fails.
pub async fn call<S, B>(service: &S, request: Request<Body>) -> Answer
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    read(head(service, request).await).await.expect("the body is whole")
}

/// Calls a service that is always ready and reads no more than the head.
///
/// # Panics
///
/// If the service fails.
pub async fn head<S, B>(service: &S, request: Request<Body>) -> Response<B>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: fmt::Debug,
{
    let mut service = service.clone();
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.expect("the service is ready");
    service.call(request).await.expect("the service answers")
}

/// The writing end of a [`fed`] body; the body ends when it is dropped.
#[derive(Debug)]
pub struct Feed(mpsc::UnboundedSender<Result<Frame<Bytes>, Failure>>);

impl Feed {
    /// Sends content. Says whether anybody still reads.
    pub fn send(&self, content: impl Into<Bytes>) -> bool {
        self.0.send(Ok(Frame::data(content.into()))).is_ok()
    }

    /// Sends trailers.
    pub fn trailers(&self, trailers: HeaderMap) -> bool {
        self.0.send(Ok(Frame::trailers(trailers))).is_ok()
    }

    /// Ends the body with an error.
    pub fn fail(self, why: &'static str) {
        let _ = self.0.send(Err(Failure(why)));
    }

    /// Waits until nobody reads the body any more.
    pub async fn abandoned(&self) {
        self.0.closed().await;
    }

    /// Whether nobody reads the body any more.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// A body of unknown length that a test writes while it is read.
pub fn fed() -> (Feed, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Feed(sender), Fed(receiver).boxed_unsync())
}

struct Fed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, Failure>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.0.poll_recv(cx)
    }
}

/// A body made of a function that is asked for each frame, and of what it says about its length and end.
pub struct Scripted<F> {
    /// Asked for the next frame; the number counts the polls from 0.
    pub next: F,
    /// How often it was polled.
    pub polls: usize,
    /// What it says of its length.
    pub hint: SizeHint,
    /// Whether it says that nothing follows, given the number of polls.
    pub at_end: fn(usize) -> bool,
}

impl<F> http_body::Body for Scripted<F>
where
    F: FnMut(usize, &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> + Unpin,
{
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polls = self.polls;
        self.polls += 1;
        (self.next)(polls, cx)
    }

    fn is_end_stream(&self) -> bool {
        (self.at_end)(self.polls)
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// A body of unknown length and end whose frames a function makes.
pub fn scripted<F>(next: F) -> Body
where
    F: FnMut(usize, &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> + Unpin + Send + 'static,
{
    Scripted { next, polls: 0, hint: SizeHint::default(), at_end: |_| false }.boxed_unsync()
}

/// Lets other tasks run until `condition` holds.
///
/// # Panics
///
/// If it never does.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    // With a current-thread runtime every turn runs every task that is ready, so few turns are needed unless another
    // process is waited for; with more threads the others work meanwhile.
    const TURNS: u32 = 10_000;
    let begun = Instant::now();
    let mut turns = 0;
    while turns < TURNS || begun.elapsed() < Duration::from_secs(60) {
        if condition() {
            return;
        }
        turns += 1;
        if turns > TURNS {
            std::thread::sleep(Duration::from_millis(1));
        }
        tokio::task::yield_now().await;
    }
    panic!("waited in vain until {what}");
}

/// How many requests have ever waited for another's fetch.
pub fn waits(store: &Store) -> u64 {
    store.stats().locks(LockKind::Local, LockResult::Contended)
}

/// A place where calls wait until they are let through.
#[derive(Clone)]
pub struct Gate {
    open: Arc<Semaphore>,
    here: Arc<AtomicUsize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), here: Arc::default() }
    }
}

impl Gate {
    /// Waits until there is a permit, and uses it up.
    ///
    /// # Panics
    ///
    /// Never: the gate is not closed for good.
    pub async fn pass(&self) {
        self.here.fetch_add(1, Ordering::SeqCst);
        self.open.acquire().await.expect("never closed").forget();
    }

    /// Lets `calls` through.
    pub fn admit(&self, calls: usize) {
        self.open.add_permits(calls);
    }

    /// Lets all calls through from now on.
    pub fn open(&self) {
        self.admit(Semaphore::MAX_PERMITS / 2);
    }

    /// How many have ever come.
    pub fn arrived(&self) -> usize {
        self.here.load(Ordering::SeqCst)
    }

    /// An origin whose calls pass this gate before they are answered.
    pub fn before(&self, answer: impl Fn(&request::Parts) -> Response<Body> + Send + Sync + 'static) -> Origin {
        let (gate, answer) = (self.clone(), Arc::new(answer));
        Origin::new(move |request| {
            let (gate, answer) = (gate.clone(), Arc::clone(&answer));
            async move {
                gate.pass().await;
                Ok(answer(&request.into_parts().0))
            }
        })
    }
}

/// Calls a service in a task of its own.
pub fn spawn<S, B>(service: &S, request: Request<Body>) -> JoinHandle<Answer>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: fmt::Debug + Send,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: fmt::Debug + Send,
{
    let service = service.clone();
    tokio::spawn(async move { call(&service, request).await })
}
