//! The cache in a server on bare hyper, for HTTP/1 and HTTP/2 on one port: `cargo run --bin hyper`.
//!
//! Without a framework: a function, the layer around it, and hyper-util's adapter from tower to hyper.

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use terrace::{CacheLayer, Store};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}; try these:\n  curl -i {url}/one\n  curl -i --http2-prior-knowledge {url}/one");

    // Made once: every connection's clone is the same cache.
    let service = ServiceBuilder::new().layer(CacheLayer::new(Store::memory())).service_fn(answer);
    let service = TowerToHyperService::new(service);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            if let Err(error) = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
            {
                eprintln!("a connection failed: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    static ANSWERS: AtomicU64 = AtomicU64::new(1);
    let content = format!("answer {} is for {}\n", ANSWERS.fetch_add(1, Ordering::Relaxed), request.uri().path());
    let mut response = Response::new(Full::from(content));
    response.headers_mut().insert(CACHE_CONTROL, http::HeaderValue::from_static("max-age=60"));
    Ok(response)
}
