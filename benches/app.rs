//! The application that is cached, and the requests that it gets.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use tower::{Service, service_fn};

/// Bytes of content in each response.
pub const CONTENT_LEN: usize = 1024;

static CONTENT: [u8; CONTENT_LEN] = [b'x'; CONTENT_LEN];

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// How often the application was called on this thread. Without an atomic, which the uncached route would pay.
pub fn calls() -> u64 {
    CALLS.get()
}

fn head() -> [(HeaderName, HeaderValue); 2] {
    let content_type = HeaderValue::from_static("application/json");
    let cache_control = HeaderValue::from_static("public, max-age=3600");
    [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache_control)]
}

/// An axum application with one route, as cheap as a handler can be: it reads its path and returns a static 1 KiB with
/// `content-type` and `cache-control`; axum adds `content-length`. A `POST` for item 0 finds nothing, any other
/// succeeds.
pub fn router() -> Router {
    Router::new().route("/item/{id}", get(item).post(change))
}

async fn item(Path(_): Path<u64>) -> impl IntoResponse {
    CALLS.set(CALLS.get() + 1);
    (head(), Bytes::from_static(&CONTENT))
}

async fn change(Path(id): Path<u64>) -> StatusCode {
    if id == 0 { StatusCode::NOT_FOUND } else { StatusCode::NO_CONTENT }
}

/// The same response from a plain tower service, without routing.
pub fn plain<B: Send + 'static>()
-> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|_: Request<B>| async {
        CALLS.set(CALLS.get() + 1);
        Ok(response())
    })
}

/// What both answer.
pub fn response() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(&CONTENT)));
    response.headers_mut().extend(head());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(CONTENT_LEN));
    response
}

/// An application with as many products as anyone asks for, each with content of its own, and with the head that such
/// responses have.
pub fn products<B: Send + 'static>()
-> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone + Send + Sync {
    service_fn(|request: Request<B>| async move {
        let content: Vec<u8> = request.uri().path().bytes().cycle().take(CONTENT_LEN).collect();
        let mut response = Response::new(Full::from(content));
        for (name, value) in PRODUCT_HEAD {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    })
}

/// The fields of every product's response.
pub const PRODUCT_HEAD: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "application/json"),
    (header::CONTENT_LENGTH, "1024"),
    (header::CACHE_CONTROL, "public, max-age=3600"),
    (header::DATE, "Thu, 05 Feb 2026 10:22:31 GMT"),
    (header::ETAG, "\"5b0c1f2d3e4a6978\""),
];

/// The path of a product.
pub fn product(number: u32) -> String {
    format!("/api/v1/products/{number:08}?currency=EUR")
}

/// What a browser sends to an application on its own origin.
pub const BROWSER: &str = "\
Host: shop.example.com
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: application/json, text/plain, */*
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Referer: https://shop.example.com/products
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: cors
Sec-Fetch-Site: same-origin";

/// The least that HTTP/1.1 allows.
pub const HOST: &str = "Host: shop.example.com";

/// A request as hyper hands it over: an origin-form target, and field values that are slices of one buffer.
///
/// # Panics
///
/// When `path` or `fields` are not what HTTP allows.
pub fn request(method: Method, path: &str, fields: &str) -> Request<()> {
    let buffer = Bytes::from([path, "\n", fields].concat());
    let slice = |text: &str| buffer.slice_ref(text.as_bytes());
    let text = std::str::from_utf8(&buffer).expect("made of text");
    let mut lines = text.lines();
    let mut request = Request::new(());
    *request.method_mut() = method;
    let target = lines.next().unwrap_or_default();
    *request.uri_mut() = Uri::from_maybe_shared(slice(target)).expect("an origin-form target");
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::try_from(name).expect("a field name");
        let value = HeaderValue::from_maybe_shared(slice(value)).expect("a field value");
        request.headers_mut().append(name, value);
    }
    request
}

/// Sends a request and reads the body to its end, as a server does; its length.
///
/// # Panics
///
/// When the service or the body fails, which here they never do.
pub async fn answer<S, Q, P>(service: &mut S, request: Request<Q>) -> usize
where
    S: Service<Request<Q>, Response = Response<P>>,
    P: Body<Data = Bytes>,
{
    let ready = poll_fn(|cx| service.poll_ready(cx)).await;
    assert!(ready.is_ok(), "the service is ready");
    let Ok(response) = service.call(request).await else { panic!("the service answers") };
    let (mut body, mut len) = (pin!(response.into_body()), 0);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else { panic!("the body has an end") };
        len += frame.data_ref().map_or(0, Bytes::len);
    }
    len
}
