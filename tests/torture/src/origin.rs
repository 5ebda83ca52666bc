//! The origin: slow, and always right.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server with a version for each key. `GET /k/7` tells it, `POST /k/7` makes the next one.
pub(crate) struct Origin {
    port: u16,
    _runtime: Runtime,
}

type Versions = Arc<Mutex<HashMap<String, u64>>>;

impl Origin {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        runtime.spawn(serve(listener));
        Self { port, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn serve(listener: TcpListener) {
    let versions = Versions::default();
    while let Ok((stream, _)) = listener.accept().await {
        let versions = Arc::clone(&versions);
        let service = service_fn(move |request| answer(Arc::clone(&versions), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(versions: Versions, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let version = |more: u64| {
        let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
        let version = versions.entry(path.clone()).or_default();
        *version += more;
        *version
    };
    if request.method() == Method::POST {
        return Ok(Response::new(version(1).to_string().into()));
    }
    // It reads in the middle of its work.
    pause(10).await;
    let version = version(0);
    pause(20).await;
    // Half of the keys are stale soon, and revalidated while they are served.
    let odd = path.bytes().last().is_some_and(|byte| byte % 2 == 1);
    let lifetime = if odd { "max-age=1, stale-while-revalidate=30" } else { "max-age=60" };
    let tag = path.trim_start_matches("/k/");
    let response = Response::builder().header("cache-control", lifetime).header("cache-tag", tag);
    Ok(response.body(version.to_string().into()).expect("a response"))
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(..milliseconds * 1000))).await;
}
