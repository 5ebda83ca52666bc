//! A cache around hyper-util's client: `cargo run --bin client`. The origin it asks runs in the same program.
//!
//! It is a shared cache (RFC 9111), whoever uses it: what is `private` or belongs to credentials is not stored.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CACHE_STATUS, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use terrace::{CacheLayer, Rules, Store};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = start_origin().await?;
    let mut client = ServiceBuilder::new()
        .layer(CacheLayer::new(Store::memory()).rules(Rules::rfc9111()))
        .service(Client::builder(TokioExecutor::new()).build_http());

    for path in ["/fresh", "/fresh", "/checked", "/checked", "/private", "/private"] {
        let request = Request::get(format!("{origin}{path}")).body(Empty::<Bytes>::new())?;
        let response = client.ready().await?.call(request).await?;
        let (head, body) = response.into_parts();
        // What has been read to its end is stored.
        let body = body.collect().await?.to_bytes();
        println!("GET {path}: {}; Cache-Status: {}", body.escape_ascii(), head.headers[CACHE_STATUS].to_str()?);
    }
    Ok(())
}

async fn start_origin() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/fresh", get(async || answer("max-age=60")))
        .route("/checked", get(checked))
        .route("/private", get(async || answer("private")));
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}

/// Has to be asked every time, but need not send the content again.
async fn checked(request: HeaderMap) -> Response {
    if request.get(IF_NONE_MATCH).is_some_and(|etag| etag == "\"v1\"") {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(ETAG, "\"v1\"")], answer("no-cache")).into_response()
}

fn answer(cache_control: &'static str) -> impl IntoResponse {
    static ANSWERS: AtomicU64 = AtomicU64::new(1);
    let content = format!("answer {} of the origin", ANSWERS.fetch_add(1, Ordering::Relaxed));
    ([(CACHE_CONTROL, cache_control)], content)
}
