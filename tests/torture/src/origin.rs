//! The origin: slow, and always right.

use crate::ledger::now;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// A server with a version for each path. `GET` tells it, `POST` makes the next one, `PUT` says that the invalidation of
/// those before a version was acknowledged.
///
/// A request may say in its header fields how long the answer takes (`delay`, in milliseconds) and lives (`lifetime`).
pub(crate) struct Origin {
    port: u16,
    work: Arc<Work>,
    calls: Receiver<Call>,
    _runtime: Runtime,
}

/// A `GET` that came here.
pub(crate) struct Call {
    /// Of the process that sent it, as it says.
    pub(crate) process: String,
    pub(crate) path: String,
    pub(crate) at: u64,
}

struct Work {
    things: Mutex<HashMap<String, Thing>>,
    /// Something was acknowledged.
    news: Notify,
    /// How long at most answers are held up until they are out of date, and sometimes longer then.
    holds: Option<(Duration, Duration)>,
    held: AtomicU64,
    calls: Sender<Call>,
}

#[derive(Clone, Copy, Default)]
struct Thing {
    version: u64,
    acknowledged: u64,
}

/// An answer is held no longer than this if nobody invalidates it.
const HELD: Duration = Duration::from_secs(2);
/// Longer than memory may answer with what was invalidated.
const HELD_ON: Duration = Duration::from_secs(2);

impl Origin {
    pub(crate) fn start() -> Self {
        Self::new(None)
    }

    /// One that holds up one answer of eight until what it says was invalidated, and sometimes longer.
    pub(crate) fn holding_answers() -> Self {
        Self::new(Some((HELD, HELD_ON)))
    }

    /// The same, but never longer than this.
    pub(crate) fn holding_answers_for(longest: Duration) -> Self {
        Self::new(Some((longest, Duration::ZERO)))
    }

    fn new(holds: Option<(Duration, Duration)>) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        let (sender, calls) = channel();
        let (things, news, held) = (Mutex::default(), Notify::new(), AtomicU64::new(0));
        let work = Arc::new(Work { things, news, holds, held, calls: sender });
        runtime.spawn(serve(listener, Arc::clone(&work)));
        Self { port, work, calls, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many answers were held up until what they say was invalidated.
    pub(crate) fn held(&self) -> u64 {
        self.work.held.load(Relaxed)
    }

    /// The next `GET`, if it comes in time.
    pub(crate) fn call(&self, patience: Duration) -> Option<Call> {
        self.calls.recv_timeout(patience).ok()
    }
}

async fn serve(listener: TcpListener, work: Arc<Work>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let work = Arc::clone(&work);
        let service = service_fn(move |request| {
            let work = Arc::clone(&work);
            async move { Ok::<_, Infallible>(work.answer(&request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Work {
    fn with<T>(&self, path: &str, work: impl FnOnce(&mut Thing) -> T) -> T {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        work(things.entry(path.to_owned()).or_default())
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let version = match *request.method() {
            Method::POST => self.with(path, |thing| {
                thing.version += 1;
                thing.version
            }),
            Method::PUT => {
                let version = field(request, "version").and_then(|text| text.parse().ok()).unwrap_or_default();
                self.with(path, |thing| thing.acknowledged = thing.acknowledged.max(version));
                self.news.notify_waiters();
                version
            }
            _ => return self.tell(request, path).await,
        };
        Response::new(version.to_string().into())
    }

    async fn tell(&self, request: &Request<Incoming>, path: &str) -> Response<Full<Bytes>> {
        let process = field(request, "process").unwrap_or_default().to_owned();
        let _ = self.calls.send(Call { process, path: path.to_owned(), at: now() });
        let delay = field(request, "delay").and_then(|text| text.parse().ok());
        // It reads in the middle of its work.
        pause(delay.unwrap_or_else(|| fastrand::u64(..20)) / 2).await;
        let version = self.with(path, |thing| thing.version);
        pause(delay.unwrap_or_else(|| fastrand::u64(..40)) / 2).await;
        if let Some(holds) = self.holds
            && fastrand::u8(..8) == 0
        {
            self.hold(path, version, holds).await;
        }
        // Half of the keys are stale soon, and revalidated while they are served.
        let odd = path.bytes().last().is_some_and(|byte| byte % 2 == 1);
        let lifetime = if odd { "max-age=1, stale-while-revalidate=30" } else { "max-age=60" };
        let lifetime = field(request, "lifetime").unwrap_or(lifetime);
        let tag = path.rsplit('/').next().unwrap_or_default();
        let response = Response::builder().header("cache-control", lifetime).header("cache-tag", tag);
        response.body(version.to_string().into()).expect("a response")
    }

    /// Until a later version than this was invalidated.
    async fn hold(&self, path: &str, version: u64, (held, on): (Duration, Duration)) {
        let over = async {
            loop {
                let mut news = std::pin::pin!(self.news.notified());
                news.as_mut().enable();
                if self.with(path, |thing| thing.acknowledged) > version {
                    return;
                }
                news.await;
            }
        };
        if timeout(held, over).await.is_ok() {
            self.held.fetch_add(1, Relaxed);
            if fastrand::u8(..4) == 0 {
                sleep(on).await;
            }
        }
    }
}

fn field<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        sleep(Duration::from_millis(milliseconds)).await;
    }
}
