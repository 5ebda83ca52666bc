//! Accepting connections, serving HTTP on them, and ending in good order.

use super::watched::Watched;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{SockRef, TcpKeepalive};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

/// A place among the connections that may be open; given back when the last copy is dropped.
pub(crate) type Slot = Arc<OwnedSemaphorePermit>;

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) slot: Slot,
}

/// What a listener allows its clients.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) header_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) max_header_size: u32,
    pub(crate) max_connections: u32,
}

/// Whether the process should go on; `true` once it was told to end.
pub(crate) type Shutdown = watch::Receiver<bool>;

/// Serves HTTP/1 and HTTP/2 (prior knowledge) until `shutdown`, then waits up to `drain` for what is under way.
///
/// `answer_to` makes the service of each connection. Returns how many connections were still open at the end.
pub(crate) async fn run<S, B>(
    listener: TcpListener,
    limits: Limits,
    drain: Duration,
    mut shutdown: Shutdown,
    answer_to: impl Fn(Peer) -> S,
) -> usize
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits.max_connections as usize));
    let http = http(&limits);
    while let Some((stream, address, slot)) = next(&listener, &slots, &mut shutdown).await {
        let slot = Arc::new(slot);
        let service = answer_to(Peer { address, slot: Arc::clone(&slot) });
        tokio::spawn(serve(http.clone(), stream, service, limits.clone(), shutdown.clone(), slot));
    }
    drop(listener);
    let all = slots.acquire_many(limits.max_connections);
    match timeout(drain, all).await {
        Ok(_) => 0,
        Err(_) => limits.max_connections as usize - slots.available_permits(),
    }
}

fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_size as usize);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.max_header_size)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout);
    http
}

/// The next connection; `None` at shutdown.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &mut Shutdown,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let slot = Arc::clone(slots).acquire_owned().await.ok()?;
        let (stream, address) = accept(listener).await;
        Some((stream, address, slot))
    };
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|ended| *ended) => None,
        connection = accepted => connection,
    }
}

/// Errors of `accept` are about one connection, or about a process out of descriptors, which only time can cure.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                tune(&stream);
                return (stream, address);
            }
            Err(error) => {
                tracing::warn!(event = "proxy_accept_failed", "proxy_accept_failed: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Small answers go out at once, and a client whose machine vanished is noticed, also on an upgraded connection.
fn tune(stream: &TcpStream) {
    let keep_alive = TcpKeepalive::new().with_time(Duration::from_secs(60));
    // A socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

async fn serve<S, B>(
    http: Builder<TokioExecutor>,
    stream: TcpStream,
    service: S,
    limits: Limits,
    mut shutdown: Shutdown,
    slot: Slot,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    let service = service_fn(move |request| {
        heard.store(true, Ordering::Relaxed);
        service.call(request)
    });
    let io = TokioIo::new(Watched::new(stream, limits.write_timeout));
    let mut connection = pin!(http.serve_connection_with_upgrades(io, service));
    // hyper times a head from its first byte on, but not the wait for the version, nor an HTTP/2 client without requests.
    let mut first = pin!(sleep(limits.header_timeout));
    let (mut waiting, mut ending) = (true, false);
    loop {
        tokio::select! {
            // The end comes first, so that an answer that is there at once with it says `Connection: close`.
            biased;
            _ = shutdown.wait_for(|ended| *ended), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!("client connection: {error}");
                }
                break;
            }
            () = &mut first, if waiting => {
                waiting = false;
                if !asked.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    }
    drop(slot);
}
