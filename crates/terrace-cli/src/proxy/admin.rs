//! `/healthz` and `/metrics`, on a port of their own.

use super::body::Body;
use super::metrics;
use super::reply::{self, Refusal};
use super::server::Shutdown;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use terrace::prometheus::MetricsHandle;

/// What the admin port serves from.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) metrics: MetricsHandle,
    pub(crate) shutdown: Shutdown,
}

impl Admin {
    /// Answers one request.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return NOT_READ.into_response();
        }
        match request.uri().path() {
            "/healthz" => health(*self.shutdown.borrow()),
            "/metrics" => {
                let (content_type, text) = metrics::render(&self.metrics).await;
                reply::typed(StatusCode::OK, content_type, text)
            }
            _ => NOT_FOUND.into_response(),
        }
    }
}

const NOT_READ: Refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
const NOT_FOUND: Refusal = Refusal::new(StatusCode::NOT_FOUND, "there are /healthz and /metrics here");

/// 503 from the moment the process was told to end, so that a load balancer stops sending.
fn health(ending: bool) -> Response<Body> {
    let (status, body) = if ending {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    } else {
        (StatusCode::OK, r#"{"status":"healthy"}"#)
    };
    reply::typed(status, "application/json", body)
}
