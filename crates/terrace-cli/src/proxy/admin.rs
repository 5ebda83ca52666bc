//! `/healthz`, `/metrics` and `/terrace/`, on a port of their own.

use super::body::Body;
use super::metrics;
use super::reply::{self, Refusal};
use super::server::Shutdown;
use crate::failure::Failure;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use std::net::SocketAddr;
use terrace::admin::{self, SecretToken};
use terrace::prometheus::MetricsHandle;
use terrace::{Rules, Store};
use tower_service::Service;

/// What the admin port serves from.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) metrics: MetricsHandle,
    pub(crate) shutdown: Shutdown,
    /// What is below `/terrace/`, where there is a cache.
    pub(crate) routes: Option<admin::Admin>,
}

/// Who knows it may use what is below `/terrace/`. No flag, for everyone on the machine can read those.
const TOKEN: &str = "TERRACE_ADMIN_TOKEN";

/// The routes for a store: for who has the token, or for this machine alone if there is none.
///
/// # Errors
///
/// When the token cannot be one.
pub(crate) fn routes(store: &Store, rules: Rules) -> Result<admin::Admin, Failure> {
    let routes = admin::Admin::new(store.clone()).rules(rules);
    match std::env::var(TOKEN) {
        Err(std::env::VarError::NotPresent) => Ok(routes.loopback_only()),
        Err(error) => Err(Failure::usage(format_args!("{TOKEN}: {error}"))),
        Ok(token) => {
            let token = SecretToken::new(&token).map_err(|error| Failure::usage(format_args!("{TOKEN}: {error}")))?;
            Ok(routes.token(token))
        }
    }
}

impl Admin {
    /// Answers one request.
    pub(crate) async fn answer(mut self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if let (Some(routes), Some(uri)) = (&mut self.routes, below(request.uri())) {
            let (mut parts, body) = request.into_parts();
            parts.uri = uri;
            parts.extensions.insert(admin::Peer(peer));
            let Ok(response) = routes.call(Request::from_parts(parts, body)).await;
            return response.map(|body| Body::Admin { body });
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return NOT_READ.into_response();
        }
        match request.uri().path() {
            "/healthz" => health(*self.shutdown.borrow()),
            "/metrics" => {
                let (content_type, text) = metrics::render(&self.metrics).await;
                reply::typed(StatusCode::OK, content_type, text)
            }
            _ if self.routes.is_none() => NOTHING_ELSE.into_response(),
            _ => NOT_FOUND.into_response(),
        }
    }
}

const NOT_READ: Refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
const NOTHING_ELSE: Refusal = Refusal::new(StatusCode::NOT_FOUND, "there are /healthz and /metrics here");
const NOT_FOUND: Refusal = Refusal::new(StatusCode::NOT_FOUND, "there are /healthz, /metrics and /terrace/ here");

/// What `/terrace` or something below it is called there.
fn below(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str().strip_prefix("/terrace")?;
    let path = match path.chars().next() {
        Some('/') => path.to_owned(),
        Some('?') | None => format!("/{path}"),
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// 503 from the moment the process was told to end, which is also when it takes no more connections: whoever watches sees
/// why. A load balancer has to have stopped sending before.
fn health(ending: bool) -> Response<Body> {
    let (status, body) = if ending {
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
    } else {
        (StatusCode::OK, r#"{"status":"healthy"}"#)
    };
    reply::typed(status, "application/json", body)
}
