//! A test that every application needs: is there a guard in front of each route?

use super::answer::Refused;
use super::source::caught;
use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;
use tower_service::Service;

/// A guard needs no credential to refuse who has none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends each of these routes a request without a credential, and makes sure that a layer made by
/// [`Authz::require`](super::Authz::require), or a function made by
/// [`Authz::authorize_request`](super::Authz::authorize_request), answers it: that its handler does not run.
///
/// Routes are methods and paths; parameters need not be filled in. A handler that answers 401 or 403 itself is no guard, for
/// it has run.
///
/// # Panics
///
/// If one of them is answered by something else, with all that are.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use http::Method;
/// # use http::request::Parts;
/// # use terrace::Store;
/// # use terrace::authz::*;
/// # struct Sessions;
/// # impl Identify for Sessions {
/// #     async fn identify(&self, _: &Parts) -> Result<Identity, IdentityError> { Err(IdentityError::Missing) }
/// # }
/// # struct Roles;
/// # impl PermissionSource for Roles {
/// #     type Error = std::io::Error;
/// #     async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Self::Error> { Ok(Grants::complete(["a"])) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let authz = Authz::builder(Store::memory(), Roles).identify(Sessions).build().unwrap();
/// use terrace::authz::assert_guarded;
///
/// let invoices = get(async || "invoices").route_layer(authz.require("invoice:read"));
/// let app = Router::new().route("/orgs/{org}/invoices", invoices).route("/health", get(async || "well"));
/// assert_guarded(&app, [(Method::GET, "/orgs/{org}/invoices")]).await;
/// # });
/// ```
pub async fn assert_guarded<'a>(app: &Router, routes: impl IntoIterator<Item = (Method, &'a str)>) {
    let mut open = Vec::new();
    for (method, path) in routes {
        if let Some(how) = unguarded(app, &method, path).await {
            open.push(format!("{method} {path}: {how}"));
        }
    }
    assert!(open.is_empty(), "routes without a guard:\n  {}", open.join("\n  "));
}

/// What answers instead of a guard.
enum Instead {
    Answered(StatusCode),
    Panicked,
    NotInTime,
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) => {
                write!(f, "answered with {status}; is there such a route?")
            }
            Self::Answered(status) => write!(f, "answered with {status} to a request without a credential"),
            Self::Panicked => f.write_str("the handler ran, and panicked"),
            Self::NotInTime => write!(f, "no answer within {} s", PATIENCE.as_secs()),
        }
    }
}

async fn unguarded(app: &Router, method: &Method, path: &str) -> Option<Instead> {
    let request = Request::builder().method(method).uri(path).body(Body::empty());
    let request = request.unwrap_or_else(|error| panic!("{method} {path} is no route: {error}"));
    let mut app = app.clone();
    let answer = async move {
        let Ok(()) = poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut app, cx)).await;
        let Ok(response) = app.call(request).await;
        response
    };
    match tokio::time::timeout(PATIENCE, caught(pin!(answer))).await {
        Err(_) => Some(Instead::NotInTime),
        Ok(Err(_)) => Some(Instead::Panicked),
        Ok(Ok(response)) if response.extensions().get::<Refused>().is_some() => None,
        Ok(Ok(response)) => Some(Instead::Answered(response.status())),
    }
}
