//! Behind real servers: axum's and hyper's.

use crate::Told;
use axum::Router;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use terrace::Store;
use terrace::admin::{Admin, Peer, SecretToken};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn ask(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Told {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", address.to_string());
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let (head, body): (_, Incoming) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    Told { status: head.status, fields: head.headers, text }
}

fn in_axum(admin: Admin) -> Router {
    Router::new().route("/", axum::routing::get(async || "the application")).nest_service("/terrace", admin)
}

#[tokio::test]
async fn axum_tells_where_connections_come_from() {
    let (listener, address) = listener().await;
    let app = in_axum(Admin::new(Store::memory()).loopback_only());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for path in ["/terrace", "/terrace/", "/terrace/stats", "/terrace/flags"] {
        let told = ask(address, path, &[]).await;
        assert_eq!(told.status, StatusCode::OK, "{path} {}", told.text);
    }
    assert!(ask(address, "/terrace", &[]).await.text.contains("<!doctype html>"));
    assert_eq!(ask(address, "/", &[]).await.text, "the application");
    assert_eq!(ask(address, "/terrace/other", &[]).await.status, StatusCode::NOT_FOUND);
    for refused in [("host", "evil.example"), ("x-forwarded-for", "127.0.0.1"), ("via", "1.1 front")] {
        assert_eq!(ask(address, "/terrace/stats", &[refused]).await.status, StatusCode::FORBIDDEN, "{refused:?}");
    }
}

#[tokio::test]
async fn axum_that_does_not_tell_it_admits_nobody() {
    let (listener, address) = listener().await;
    let app = in_axum(Admin::new(Store::memory()).loopback_only());
    tokio::spawn(async move { axum::serve(listener, app).await });
    for path in ["/terrace/", "/terrace/stats"] {
        let told = ask(address, path, &[]).await;
        assert_eq!(told.status, StatusCode::FORBIDDEN, "{path}");
        assert!(told.text.contains("into_make_service_with_connect_info"), "{}", told.text);
    }
}

#[tokio::test]
async fn hyper_serves_it_under_any_path() {
    let (listener, address) = listener().await;
    let token = SecretToken::new("correct-horse-battery-staple").unwrap();
    let (by_peer, by_token) = (Admin::new(Store::memory()).loopback_only(), Admin::new(Store::memory()).token(token));
    tokio::spawn(async move {
        for admin in [by_peer, by_token] {
            // One connection for each request.
            for _ in 0..4 {
                let (stream, peer) = listener.accept().await.unwrap();
                let with_peer = move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(Peer(peer));
                    request
                };
                let service = ServiceBuilder::new().map_request(with_peer).service(admin.clone());
                let service = TowerToHyperService::new(service);
                let connection = async move {
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.unwrap();
                };
                tokio::spawn(connection);
            }
        }
    });
    assert_eq!(ask(address, "/stats", &[]).await.status, StatusCode::OK);
    assert_eq!(ask(address, "/deep/below/terrace/stats", &[]).await.status, StatusCode::OK);
    assert_eq!(ask(address, "/", &[]).await.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(ask(address, "/stats", &[("forwarded", "for=127.0.0.1")]).await.status, StatusCode::FORBIDDEN);

    let bearer = ("authorization", "Bearer correct-horse-battery-staple");
    assert_eq!(ask(address, "/stats", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(address, "/stats", &[bearer]).await.status, StatusCode::OK);
    assert_eq!(ask(address, "/", &[]).await.status, StatusCode::OK, "the page asks for the token");
    assert_eq!(ask(address, "/none", &[]).await.status, StatusCode::UNAUTHORIZED);
}
