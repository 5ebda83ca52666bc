//! The routes for operators: who is admitted, what they answer, and whether an explanation is true.

mod admission;
mod explain;
mod routes;
mod served;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value as Json;
use std::net::SocketAddr;
use terrace::Store;
use terrace::admin::{Admin, AdminBody, Peer};
use tower_service::Service;

/// What an admin route answered.
struct Told {
    status: StatusCode,
    fields: HeaderMap,
    text: String,
}

impl Told {
    async fn of(response: Response<AdminBody>) -> Self {
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Self { status: head.status, fields: head.headers, text }
    }

    fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Admits everyone: what is tested is not the admission.
fn open(store: &Store) -> Admin {
    Admin::new(store.clone()).admitted_by(|_| true)
}

fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(HOST, "localhost:9180");
    }
    if !body.is_empty() && !fields.iter().any(|(name, _)| *name == "content-type") {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned().into()).unwrap()
}

fn from(peer: &str, mut request: Request<Full<bytes::Bytes>>) -> Request<Full<bytes::Bytes>> {
    request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
    request
}

async fn send(admin: &Admin, request: Request<Full<bytes::Bytes>>) -> Told {
    let Ok(response) = admin.clone().call(request).await;
    Told::of(response).await
}

async fn get(admin: &Admin, path: &str) -> Told {
    send(admin, request("GET", path, &[], "")).await
}

async fn post(admin: &Admin, path: &str, body: &Json) -> Told {
    send(admin, request("POST", path, &[], &body.to_string())).await
}
