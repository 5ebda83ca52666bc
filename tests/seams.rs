//! Where the layer meets the services around and inside of it.

use axum::extract::{ConnectInfo, Extension, MatchedPath, OriginalUri, Path, Query, State};
use axum::{Router, routing};
use bytes::{Buf, BufMut, Bytes};
use http::{Method, Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomPinned;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;
use terrace::clock::FakeClock;
use terrace::{BodyDigestLayer, Bypass, Cache, CacheLayer, Config, ResponseBody, ResponseOverride, Rules, Store};
use terrace_tests::{Answer, Body, Failure, Gate, Origin, ask, call, fed, get, read, respond, spawn, text, until};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn layer() -> CacheLayer {
    CacheLayer::new(Store::memory())
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

// axum

async fn fetch(app: &Router, request: Request<axum::body::Body>) -> Answer {
    read(app.clone().oneshot(request).await.unwrap()).await.unwrap()
}

async fn fetch_path(app: &Router, path: &str) -> Answer {
    fetch(app, Request::get(path).header("host", "example.com").body(axum::body::Body::empty()).unwrap()).await
}

#[derive(Clone)]
struct Shop {
    calls: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Tenant(&'static str);

/// Says all that the extractors found.
async fn product(
    State(shop): State<Shop>,
    Path(id): Path<u32>,
    Query(query): Query<HashMap<String, String>>,
    matched: MatchedPath,
    OriginalUri(original): OriginalUri,
    Extension(tenant): Extension<Tenant>,
    uri: Uri,
) -> ([(&'static str, &'static str); 1], String) {
    let calls = shop.calls.fetch_add(1, SeqCst) + 1;
    let (matched, page, tenant) = (matched.as_str(), query.get("page").map_or("-", String::as_str), tenant.0);
    ([FRESH], format!("{calls} id={id} page={page} matched={matched} uri={uri} original={original} tenant={tenant}"))
}

fn shop() -> Shop {
    Shop { calls: Arc::default() }
}

#[tokio::test]
async fn under_router_layer_every_extractor_works_and_hits_skip_the_handler() {
    let app = Router::new().route("/products/{id}", routing::get(product)).layer(layer());
    let app = app.layer(Extension(Tenant("t"))).with_state(shop());
    let first = fetch_path(&app, "/products/7?page=2").await;
    let said = "1 id=7 page=2 matched=/products/{id} uri=/products/7?page=2 original=/products/7?page=2 tenant=t";
    assert_eq!(first.text(), said);
    let hit = fetch_path(&app, "/products/7?page=2").await;
    assert!(hit.is_hit());
    assert_eq!(hit.text(), said);
    assert!(fetch_path(&app, "/products/8?page=2").await.text().starts_with("2 id=8 "));
}

#[tokio::test]
async fn under_route_layer_every_extractor_works_and_other_routes_are_not_cached() {
    let plain = routing::get(|| async { ([FRESH], "plain") });
    let app = Router::new().route("/products/{id}", routing::get(product)).route_layer(layer());
    let app = app.route("/plain", plain).layer(Extension(Tenant("t"))).with_state(shop());
    for _ in 0..2 {
        assert!(fetch_path(&app, "/products/7").await.text().starts_with("1 id=7 page=- matched=/products/{id} "));
        assert!(!fetch_path(&app, "/plain").await.headers.contains_key("cache-status"));
    }
    assert_eq!(fetch_path(&app, "/nowhere").await.status, 404);
}

#[tokio::test]
async fn around_nested_routers_every_extractor_works() {
    let inner = Router::new().route("/products/{id}", routing::get(product));
    let app = Router::new().nest("/api", inner).layer(layer()).layer(Extension(Tenant("t"))).with_state(shop());
    let said = "1 id=7 page=- matched=/api/products/{id} uri=/products/7 original=/api/products/7 tenant=t";
    for hit in [false, true] {
        let answer = fetch_path(&app, "/api/products/7").await;
        assert_eq!((answer.text(), answer.is_hit()), (said, hit));
    }
}

#[tokio::test]
async fn inside_nested_routers_every_extractor_works() {
    let inner = Router::new().route("/products/{id}", routing::get(product)).layer(layer());
    let app = Router::new().nest("/api", inner).layer(Extension(Tenant("t"))).with_state(shop());
    let said = "1 id=7 page=- matched=/api/products/{id} uri=/products/7 original=/api/products/7 tenant=t";
    for hit in [false, true] {
        let answer = fetch_path(&app, "/api/products/7").await;
        assert_eq!((answer.text(), answer.is_hit()), (said, hit));
    }
}

#[tokio::test]
async fn two_nested_routers_over_one_store_never_answer_for_each_other() {
    let store = Store::memory();
    let inner = |name: &'static str| {
        Router::<()>::new()
            .route("/me", routing::get(move || async move { ([FRESH], name) }))
            .layer(CacheLayer::new(store.clone()))
    };
    let app = Router::new().nest("/v1", inner("one")).nest("/v2", inner("two"));
    assert_eq!(fetch_path(&app, "/v1/me").await.text(), "one");
    assert_eq!(fetch_path(&app, "/v2/me").await.text(), "two");
    assert_eq!(fetch_path(&app, "/v1/me").await.text(), "one");
}

/// A layer inside the router may rewrite the URI before the cache sees it.
#[tokio::test]
async fn a_uri_rewritten_on_the_way_counts_too() {
    let rewrite = tower::util::MapRequestLayer::new(|mut request: Request<axum::body::Body>| {
        if request.headers().contains_key("x-beta") {
            *request.uri_mut() = Uri::from_static("/beta");
        }
        request
    });
    let echo = async |uri: Uri| ([FRESH], uri.path().to_owned());
    let app: Router = Router::new().route("/page", routing::get(echo)).layer(layer()).layer(rewrite);
    let request = |beta: bool| {
        let request = Request::get("/page").header("host", "example.com");
        let request = if beta { request.header("x-beta", "1") } else { request };
        request.body(axum::body::Body::empty()).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(fetch(&app, request(false)).await.text(), "/page");
        assert_eq!(fetch(&app, request(true)).await.text(), "/beta");
    }
}

#[tokio::test]
async fn a_purge_by_url_and_prefix_reaches_what_a_nested_router_stored() {
    let store = Store::memory();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let handler = move || async move { ([FRESH], (counter.fetch_add(1, SeqCst) + 1).to_string()) };
    let inner = Router::<()>::new().route("/me", routing::get(handler)).layer(CacheLayer::new(store.clone()));
    let app = Router::new().nest("/v1", inner);
    assert_eq!(fetch_path(&app, "/v1/me").await.text(), "1");
    let _ = store.purge_url("http://example.com/v1/me").await.unwrap();
    assert_eq!(fetch_path(&app, "/v1/me").await.text(), "2");
    let _ = store.purge_prefix("/v1").await.unwrap();
    assert_eq!(fetch_path(&app, "/v1/me").await.text(), "3");
}

#[tokio::test]
async fn around_a_whole_router_hits_skip_the_routing() {
    let shop = shop();
    let router = Router::new().route("/products/{id}", routing::get(product));
    let router = router.layer(Extension(Tenant("t"))).with_state(shop.clone());
    let cache = layer().layer(router);
    for _ in 0..2 {
        let request = Request::get("/products/7").body(axum::body::Body::empty()).unwrap();
        assert!(read(cache.clone().oneshot(request).await.unwrap()).await.unwrap().text().starts_with("1 id=7 "));
    }
    // And it can be a fallback or a nested service itself.
    let app: Router = Router::new().nest_service("/shop", cache);
    assert!(fetch_path(&app, "/shop/products/9").await.text().starts_with("2 id=9 "));
}

#[tokio::test]
async fn a_post_to_a_route_invalidates_what_its_get_stored() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let read_it = move || async move { ([FRESH], (counter.fetch_add(1, SeqCst) + 1).to_string()) };
    let app: Router = Router::new().route("/it", routing::get(read_it).post(|| async { "done" })).layer(layer());
    assert_eq!(fetch_path(&app, "/it").await.text(), "1");
    assert_eq!(fetch_path(&app, "/it").await.text(), "1");
    let post = Request::post("/it").header("host", "example.com").body(axum::body::Body::from("x")).unwrap();
    assert_eq!(fetch(&app, post).await.text(), "done");
    assert_eq!(fetch_path(&app, "/it").await.text(), "2");
}

/// Listens on a free port, and serves there in the background.
async fn serve<F: Future<Output = ()> + Send + 'static>(server: impl FnOnce(TcpListener) -> F) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(server(listener)));
    address
}

type Client = hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>;

fn client(http2: bool) -> Client {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

async fn fetch_from(client: &Client, method: Method, address: SocketAddr, path: &str) -> Answer {
    let uri = format!("http://{address}{path}");
    let request = Request::builder().method(method).uri(uri).body(Full::default()).unwrap();
    read(client.request(request).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn connect_info_reaches_the_handler_over_real_connections() {
    let handler = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { ([FRESH], peer.ip().to_string()) };
    let app = Router::new().route("/", routing::get(handler)).layer(layer());
    let address = serve(|listener| async {
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    })
    .await;
    for (hit, http2) in [(false, false), (true, false), (true, true)] {
        let answer = fetch_from(&client(http2), Method::GET, address, "/").await;
        // HTTP/2 names the authority in the URI, HTTP/1 in Host; both are one key.
        assert_eq!((answer.text(), answer.is_hit()), ("127.0.0.1", hit));
    }
}

// hyper

/// Serves connections with hyper alone.
async fn serve_hyper<B>(cache: Cache<Tap<B>>, http2: bool) -> SocketAddr
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send> + Send + 'static,
{
    serve(move |listener| async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(cache.clone()));
            drop(tokio::spawn(async move {
                if http2 {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            }));
        }
    })
    .await
}

type Respond<B> = dyn Fn(&Request<hyper::body::Incoming>) -> Response<B> + Send + Sync;

/// A plain tower service over hyper's own request bodies.
struct Tap<B> {
    answer: Arc<Respond<B>>,
    calls: Arc<AtomicUsize>,
}

impl<B> Clone for Tap<B> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), calls: Arc::clone(&self.calls) }
    }
}

impl<B> Tap<B> {
    fn new(answer: impl Fn(&Request<hyper::body::Incoming>) -> Response<B> + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), calls: Arc::default() }
    }
}

impl<B> Service<Request<hyper::body::Incoming>> for Tap<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        self.calls.fetch_add(1, SeqCst);
        std::future::ready(Ok((self.answer)(&request)))
    }
}

#[tokio::test]
async fn bare_hyper_serves_misses_and_hits_over_http1_and_http2() {
    for http2 in [false, true] {
        let tap = Tap::new(|request| {
            let path = request.uri().path().to_owned();
            Response::builder().header(FRESH.0, FRESH.1).body(Full::new(Bytes::from(path))).unwrap()
        });
        let calls = Arc::clone(&tap.calls);
        let address = serve_hyper(layer().layer(tap), http2).await;
        let client = client(http2);
        for (hit, expected) in [(false, 1), (true, 1), (true, 1)] {
            let answer = fetch_from(&client, Method::GET, address, "/page").await;
            assert_eq!((answer.text(), answer.is_hit(), calls.load(SeqCst)), ("/page", hit, expected));
            assert_eq!(answer.field("content-length"), "5");
        }
        let described = fetch_from(&client, Method::HEAD, address, "/page").await;
        assert_eq!((described.text(), described.is_hit(), described.field("content-length")), ("", true, "5".into()));
    }
}

#[tokio::test]
async fn bare_hyper_stores_bodies_whose_end_it_never_asks_for() {
    // Over HTTP/1 hyper drops a body after the last byte of its Content-Length.
    let tap = Tap::new(|_| {
        let (feed, body) = fed();
        feed.send("12");
        feed.send("34");
        respond(200, &[FRESH, ("content-length", "4")], body).map(|body| body.map_err(|_| std::io::Error::other("x")))
    });
    for http2 in [false, true] {
        let address = serve_hyper(layer().layer(tap.clone()), http2).await;
        let client = client(http2);
        for hit in [false, true] {
            let answer = fetch_from(&client, Method::GET, address, "/").await;
            assert_eq!((answer.text(), answer.is_hit()), ("1234", hit));
        }
    }
}

#[tokio::test]
async fn trailers_are_stored_and_sent_again() {
    for http2 in [false, true] {
        let tap = Tap::new(|_| {
            let (feed, body) = fed();
            feed.send("1234");
            feed.trailers([("x-sum".parse().unwrap(), "10".parse().unwrap())].into_iter().collect());
            respond(200, &[FRESH, ("trailer", "x-sum")], body).map(|body| body.map_err(|_| std::io::Error::other("x")))
        });
        let address = serve_hyper(layer().layer(tap), http2).await;
        let client = client(http2);
        for hit in [false, true] {
            let request = Request::get(format!("http://{address}/")).header("te", "trailers").body(Full::default());
            let answer = read(client.request(request.unwrap()).await.unwrap()).await.unwrap();
            assert_eq!((answer.text(), answer.is_hit()), ("1234", hit));
            if http2 {
                assert_eq!(answer.trailers.expect("trailers")["x-sum"], "10", "hit: {hit}");
            }
        }
    }
}

#[tokio::test]
async fn a_cache_around_a_client_answers_instead_of_the_server() {
    let tap = Tap::new(|_| Response::builder().header(FRESH.0, FRESH.1).body(Full::new(Bytes::from("x"))).unwrap());
    let calls = Arc::clone(&tap.calls);
    // The server is a plain one: the cache that answers is the client's.
    let address = serve(move |listener| async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(tap.clone());
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(tokio::spawn(served));
        }
    })
    .await;
    let client = layer().layer(client(false));
    for hit in [false, true, true] {
        let request = Request::get(format!("http://{address}/page")).body(Full::default()).unwrap();
        let answer = read(client.clone().oneshot(request).await.unwrap()).await.unwrap();
        assert_eq!((answer.text(), answer.is_hit()), ("x", hit));
    }
    assert_eq!(calls.load(SeqCst), 1);
    // A client's error stays a client's error.
    let nobody: Request<Full<Bytes>> = Request::get("http://127.0.0.1:1/").body(Full::default()).unwrap();
    let error: hyper_util::client::legacy::Error = client.oneshot(nobody).await.unwrap_err();
    assert!(error.is_connect());
}

// tonic

/// Passes messages as they are.
#[derive(Clone, Default)]
struct Raw;

impl tonic::codec::Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, item: Bytes, to: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put(item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Raw {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A service with one method: it says its argument and the number of the call, or fails if that is asked for.
#[derive(Clone, Default)]
struct Echo(Arc<AtomicUsize>);

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tonic::server::UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Boxed<Result<tonic::Response<Bytes>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let calls = self.0.fetch_add(1, SeqCst) + 1;
        Box::pin(async move {
            let asked = String::from_utf8(request.into_inner().to_vec()).unwrap();
            if asked == "fail" {
                return Err(tonic::Status::unavailable(format!("call {calls}")));
            }
            let mut response = tonic::Response::new(Bytes::from(format!("{asked} {calls}")));
            if asked == "by extension" {
                response.extensions_mut().insert(ResponseOverride::fresh_for(Duration::from_secs(60)));
            }
            response.metadata_mut().insert("x-kept", "yes".parse().unwrap());
            Ok(response)
        })
    }
}

impl<B> Service<Request<B>> for Echo
where
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Boxed<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).unary(method, request).await) })
    }
}

struct EchoClient(tonic::client::Grpc<tonic::transport::Channel>);

impl EchoClient {
    async fn ask(&mut self, message: &'static str) -> Result<tonic::Response<Bytes>, tonic::Status> {
        self.send(tonic::Request::new(Bytes::from(message))).await
    }

    async fn send(&mut self, request: tonic::Request<Bytes>) -> Result<tonic::Response<Bytes>, tonic::Status> {
        self.0.ready().await.unwrap();
        self.0.unary(request, "/test.Echo/Say".parse().unwrap(), Raw).await
    }
}

/// A real server and client, with the layers around all services of the server.
async fn echo(rules: Rules) -> (EchoClient, Arc<AtomicUsize>) {
    let echo = Echo::default();
    let calls = Arc::clone(&echo.0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let cache = CacheLayer::new(Store::memory()).rules(rules);
    let server = tonic::transport::Server::builder().layer(BodyDigestLayer::new()).layer(cache).add_service(echo);
    drop(tokio::spawn(server.serve_with_incoming(incoming)));
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    (EchoClient(tonic::client::Grpc::new(channel)), calls)
}

fn a_minute() -> Rules {
    Rules::new().default_ttl(Duration::from_secs(60))
}

#[tokio::test]
async fn a_unary_call_is_cached_with_its_trailers() {
    let (mut client, calls) = echo(a_minute()).await;
    for round in 0..3 {
        let response = client.ask("hello").await.expect("a status of OK, which is in the trailers");
        assert_eq!(response.metadata().get("x-kept").unwrap(), "yes");
        assert_eq!(response.metadata().get("grpc-status").unwrap(), "0");
        let said = response.metadata().get("cache-status").unwrap().to_str().unwrap().to_owned();
        assert_eq!(said.contains("hit"), round > 0, "{said}");
        assert_eq!(response.into_inner(), "hello 1");
    }
    assert_eq!(client.ask("other").await.unwrap().into_inner(), "other 2");
    assert_eq!(client.ask("hello").await.unwrap().into_inner(), "hello 1");
    assert_eq!(calls.load(SeqCst), 2);
}

#[tokio::test]
async fn a_method_can_say_itself_that_its_answer_is_cached() {
    let (mut client, calls) = echo(Rules::new()).await;
    for _ in 0..2 {
        assert_eq!(client.ask("by extension").await.unwrap().into_inner(), "by extension 1");
    }
    assert_eq!(client.ask("silent").await.unwrap().into_inner(), "silent 2");
    assert_eq!(client.ask("silent").await.unwrap().into_inner(), "silent 3");
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test]
async fn an_error_of_a_unary_call_is_never_stored() {
    let (mut client, calls) = echo(a_minute()).await;
    for call in 1..=3 {
        let status = client.ask("fail").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, &*format!("call {call}")));
    }
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test]
async fn calls_with_credentials_are_not_shared() {
    let (mut client, calls) = echo(a_minute()).await;
    for _ in 0..2 {
        let mut request = tonic::Request::new(Bytes::from("secret"));
        request.metadata_mut().insert("authorization", "Bearer x".parse().unwrap());
        client.send(request).await.unwrap();
    }
    assert_eq!(client.ask("secret").await.unwrap().into_inner(), "secret 3");
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test]
async fn an_error_in_the_trailers_after_content_is_never_stored() {
    // As a stream that fails half-way ends over gRPC: HTTP knows of no failure.
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let origin = Origin::answering(move |_| {
        counter.fetch_add(1, SeqCst);
        let (feed, body) = fed();
        feed.send("half");
        feed.trailers([("grpc-status".parse().unwrap(), "13".parse().unwrap())].into_iter().collect());
        respond(200, &[FRESH, ("content-type", "application/grpc")], body)
    });
    let service = layer().layer(origin);
    for calls_so_far in 1..=2 {
        assert_eq!(call(&service, get("/")).await.text(), "half");
        assert_eq!(calls.load(SeqCst), calls_so_far);
    }
}

// Readiness

/// Panics when a handle is called that was not made ready for that call.
struct Strict<S> {
    inner: S,
    ready: bool,
}

impl<S: Clone> Clone for Strict<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ready: false }
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Strict<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let ready = self.inner.poll_ready(cx);
        self.ready = ready.is_ready();
        ready
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.inner.call(request)
    }
}

#[tokio::test]
async fn every_way_to_the_inner_service_makes_it_ready_first() {
    let clock = FakeClock::new();
    let store = Store::with_fake_clock(Config::default(), &clock);
    let origin = Origin::counting(&[("cache-control", "max-age=60, stale-while-revalidate=60"), ("etag", "\"x\"")]);
    let cache = CacheLayer::new(store.clone()).layer(Strict { inner: origin.clone(), ready: false });
    let service = cache.clone();
    let asks = async |request| call(&service, request).await.text().to_owned();
    assert_eq!(asks(get("/")).await, "1", "a miss");
    assert_eq!(asks(get("/")).await, "1", "a hit");
    let mut bypassing = get("/");
    bypassing.extensions_mut().insert(Bypass);
    assert_eq!(asks(bypassing).await, "2", "a bypass");
    assert_eq!(asks(ask(Method::OPTIONS, "/", &[])).await, "3", "a method that is not cached");
    assert_eq!(asks(ask(Method::HEAD, "/other", &[])).await, "4");
    assert_eq!(asks(ask(Method::GET, "/other", &[("range", "bytes=0-")])).await, "5");
    clock.advance(Duration::from_secs(61));
    assert_eq!(asks(get("/")).await, "1", "stale");
    until("it is refreshed", || origin.calls() == 6).await;
    tokio::task::yield_now().await;
    clock.advance(Duration::from_secs(200));
    assert_eq!(asks(get("/")).await, "7", "revalidated");
    assert_eq!(asks(ask(Method::POST, "/", &[])).await, "8", "an unsafe method");
    assert_eq!(asks(get("/")).await, "9", "invalidated");
    store.flags().set(terrace::stats::Feature::Cache, false);
    assert_eq!(asks(get("/")).await, "10", "switched off");
}

#[tokio::test]
async fn the_early_refresh_makes_the_inner_service_ready_first() {
    let origin = Origin::counting(&[FRESH]);
    let clock = FakeClock::new();
    let passing = clock.clone();
    let slow = tower::service_fn(move |request| {
        passing.advance(Duration::from_secs(1));
        origin.clone().oneshot(request)
    });
    let rules = Rules::new().early_refresh(1e9);
    let store = Store::with_fake_clock(Config::default(), &clock);
    let service = CacheLayer::new(store).rules(rules).layer(Strict { inner: slow, ready: false });
    assert_eq!(call(&service, get("/")).await.text(), "1");
    assert_eq!(call(&service, get("/")).await.text(), "1");
    tokio::task::yield_now().await;
    assert_eq!(call(&service, get("/")).await.text(), "2");
}

#[tokio::test]
async fn a_hit_does_not_wait_for_a_full_inner_service_and_a_miss_does() {
    let gate = Gate::default();
    let origin = gate.before(|request| text(&[FRESH], request.uri.path().to_owned()));
    let service = layer().layer(tower::limit::ConcurrencyLimit::new(origin.clone(), 1));
    gate.admit(1);
    call(&service, get("/hit")).await;
    let busy = spawn(&service, get("/busy"));
    until("the inner service is full", || gate.arrived() == 2).await;
    for _ in 0..10 {
        assert!(call(&service, get("/hit")).await.is_hit());
    }
    let miss = spawn(&service, get("/miss"));
    let post = spawn(&service, ask(Method::POST, "/post", &[]));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(origin.calls(), 2, "nobody else is let in");
    gate.open();
    for (task, path) in [(busy, "/busy"), (miss, "/miss"), (post, "/post")] {
        assert_eq!(task.await.unwrap().text(), path);
    }
}

#[tokio::test(start_paused = true)]
async fn idle_handles_hold_no_place_of_the_inner_service() {
    let origin = Origin::counting(&[FRESH]);
    let service = layer().layer(tower::limit::ConcurrencyLimit::new(origin, 1));
    // A server makes each connection's handle ready long before its next request.
    let mut handles: Vec<_> = (0..20).map(|_| service.clone()).collect();
    for handle in &mut handles {
        std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(handle, cx)).await.unwrap();
    }
    let miss = tokio::time::timeout(Duration::from_secs(5), call(&service, get("/")));
    assert_eq!(miss.await.expect("no place is taken by a handle that is idle").text(), "1");
    for (n, handle) in handles.iter_mut().enumerate() {
        let request = get(&format!("/{n}"));
        let response = tokio::time::timeout(Duration::from_secs(5), handle.call(request)).await.expect("no deadlock");
        read(response.unwrap()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn many_requests_for_many_keys_get_through_a_narrow_inner_service() {
    let origin = Origin::new(|request| async move {
        tokio::task::yield_now().await;
        Ok(text(&[FRESH], request.uri().path().to_owned()))
    });
    let service = layer().layer(tower::limit::ConcurrencyLimit::new(origin.clone(), 1));
    let tasks: Vec<_> = (0..300).map(|n| spawn(&service, get(&format!("/{}", n % 30)))).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        let answer = tokio::time::timeout(Duration::from_secs(60), task).await.expect("no deadlock").unwrap();
        assert_eq!(answer.text(), format!("/{}", n % 30));
    }
    assert_eq!(origin.calls(), 30);
}

#[tokio::test]
async fn buffer_and_load_shed_keep_their_meaning() {
    let gate = Gate::default();
    let origin = gate.before(|request| text(&[FRESH], request.uri.path().to_owned()));
    let named = tower::util::MapErr::new(origin.clone(), |Failure(why): Failure| std::io::Error::other(why));
    let limited = ServiceBuilder::new().load_shed().concurrency_limit(1).service(named.clone());
    let service = layer().layer(limited);
    gate.admit(1);
    call(&service, get("/hit")).await;
    let busy = spawn(&service, get("/busy"));
    until("the inner service is full", || gate.arrived() == 2).await;
    assert!(call(&service, get("/hit")).await.is_hit());
    let shed = service.clone().call(get("/other")).await.map(|_| ()).unwrap_err();
    assert!(shed.is::<tower::load_shed::error::Overloaded>(), "{shed:?}");
    gate.open();
    busy.await.unwrap();
    assert_eq!(call(&service, get("/other")).await.text(), "/other", "nothing was stored of what was shed");

    let service = layer().layer(tower::buffer::Buffer::new(named, 2));
    let tasks: Vec<_> = (0..20).map(|n| spawn(&service, get(&format!("/{}", n % 4)))).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().text(), format!("/{}", n % 4));
    }
}

#[tokio::test]
async fn an_inner_service_that_fails_to_become_ready_fails_the_request_and_hits_go_on() {
    #[derive(Clone)]
    struct Closing(Origin, Arc<std::sync::atomic::AtomicBool>);
    impl Service<Request<Body>> for Closing {
        type Response = Response<Body>;
        type Error = Failure;
        type Future = <Origin as Service<Request<Body>>>::Future;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
            Poll::Ready(if self.1.load(SeqCst) { Err(Failure("closed")) } else { Ok(()) })
        }
        fn call(&mut self, request: Request<Body>) -> Self::Future {
            self.0.call(request)
        }
    }
    let closed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let service = layer().layer(Closing(Origin::counting(&[FRESH]), Arc::clone(&closed)));
    call(&service, get("/")).await;
    closed.store(true, SeqCst);
    assert!(call(&service, get("/")).await.is_hit());
    for request in [get("/other"), ask(Method::POST, "/", &[])] {
        assert_eq!(service.clone().call(request).await.map(|_| ()).unwrap_err(), Failure("closed"));
    }
}

// Types

fn same_error<S: Service<Request<Body>, Error = Failure>>(_: &S) {}
fn sendable<T: Send + 'static>(value: T) -> T {
    value
}
fn shareable<T: Clone + Send + Sync + 'static>(_: &T) {}

#[tokio::test]
async fn an_error_that_is_no_error_type_passes_unchanged() {
    let origin = Origin::new(|_| async { Err(Failure("mine")) });
    let service = layer().layer(origin);
    same_error(&service);
    for request in [get("/"), ask(Method::POST, "/", &[]), ask(Method::HEAD, "/", &[])] {
        assert_eq!(service.clone().call(request).await.map(|_| ()).unwrap_err(), Failure("mine"));
    }
}

/// Neither `Sync` nor `Unpin`.
struct Lonely {
    content: Cell<Option<Bytes>>,
    _pinned: PhantomPinned,
}

impl http_body::Body for Lonely {
    type Data = Bytes;
    type Error = Bare;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Bare>>> {
        Poll::Ready(self.content.take().map(|content| Ok(Frame::data(content))))
    }
}

/// An error that is only `Send`.
struct Bare(#[expect(dead_code, reason = "makes it not Sync")] Cell<u8>);

#[derive(Clone)]
struct LonelyService;

impl Service<Request<Cell<u8>>> for LonelyService {
    type Response = Response<Lonely>;
    type Error = Bare;
    type Future = std::future::Ready<Result<Response<Lonely>, Bare>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Bare>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Cell<u8>>) -> Self::Future {
        let fail = request.body().get() == 1;
        let body = Lonely { content: Cell::new(Some(Bytes::from_static(b"x"))), _pinned: PhantomPinned };
        let response = Response::builder().header(FRESH.0, FRESH.1).body(body).unwrap();
        std::future::ready(if fail { Err(Bare(Cell::new(1))) } else { Ok(response) })
    }
}

#[tokio::test]
async fn bodies_and_errors_need_be_no_more_than_send() {
    let mut service = layer().layer(LonelyService);
    shareable(&service);
    for hit in [false, true] {
        let future = sendable(service.call(Request::get("/").body(Cell::new(0)).unwrap()));
        let Ok(response) = future.await else { panic!("it answers") };
        let response: Response<ResponseBody<Lonely>> = sendable(response);
        let Ok(answer) = read(response).await else { panic!("the body is whole") };
        assert_eq!((answer.text(), answer.is_hit()), ("x", hit));
    }
    assert!(service.call(Request::get("/other").body(Cell::new(1)).unwrap()).await.is_err());
}
