//! What is answered, and to whom.

use crate::database::{Database, DatabaseError};
use crate::log;
use axum::Router;
use axum::extract::{Path, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{StatusCode, header};
use std::time::Duration;
use terrace::authz::{Scope, Subject, Tenant, Who, perm};
use terrace::prometheus::MetricsHandle;
use terrace::stats::CoherenceState;
use terrace::{Authorized, Authz, CacheLayer, Rules, Store};
use tokio::task::spawn_blocking;

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) authz: Authz,
    pub(crate) database: Database,
}

pub(crate) fn all(app: App, store: Store, metrics: MetricsHandle) -> Router {
    let database = app.database.clone();
    let health = store.clone();
    guarded(app, store)
        .route("/health", get(move || healthy(database, health)))
        .route("/metrics", get(move || render(metrics.clone())))
        // Around all, so that what the cache logs of a request has its trace.
        .layer(from_fn(log::trace))
}

/// Healthy as long as the database answers. What the cache has to say is a field: without it the answers are the same.
async fn healthy(database: Database, store: Store) -> impl IntoResponse {
    let asked = database.answers().await.inspect_err(failed);
    let (code, status, answers) = match asked {
        Ok(()) => (StatusCode::OK, "healthy", "answers"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "fails"),
    };
    let cache = store.stats().coherence().map_or("alone", CoherenceState::as_str);
    let text = format!(r#"{{"status":"{status}","database":"{answers}","cache":"{cache}"}}"#);
    (code, [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/json")], text)
}

/// What needs a right. The organisation of each path has to be the caller's own.
fn guarded(app: App, store: Store) -> Router {
    let authz = &app.authz;
    let reads = authz.require(perm("invoice:read").tenant_param("org"));
    // Asked of the database each time: a second is long for who is not an administrator any more.
    let administers = authz.require(perm("member:remove").tenant_param("org").fresh());
    let cache = CacheLayer::new(store).rules(Rules::new().default_ttl(Duration::from_secs(60)));
    Router::new()
        // The outer one first: only who may is answered from the cache, and with what is theirs.
        .route("/orgs/{org}/invoices", get(invoices).route_layer((reads, cache)))
        .route("/orgs/{org}/members/{user}", delete(remove).route_layer(administers.clone()))
        .route("/orgs/{org}/members/{user}/revoke", post(revoke).route_layer(administers))
        .route("/api/v1/authorization/check", authz.check_endpoint("authorization:check"))
        .with_state(app)
}

async fn invoices(State(app): State<App>, Path(org): Path<Tenant>) -> Result<impl IntoResponse, Failure> {
    let report = app.database.invoices(org).await?.ok_or(Failure::Unknown)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report))
}

/// Takes all roles from a member. In a task of its own: a client that leaves takes its request with it, and the change must
/// not end before its transaction.
async fn remove(
    State(app): State<App>,
    Path((tenant, subject)): Path<(Tenant, Subject)>,
    by: Authorized,
) -> Result<StatusCode, Failure> {
    let by = by.principal().who.subject.clone();
    tokio::spawn(removal(app, Who { tenant, subject }, by)).await.map_err(DatabaseError::Thread)?
}

/// Announced before the transaction, so that no process answers from what was before it, even if this one dies in between.
async fn removal(app: App, who: Who, by: Subject) -> Result<StatusCode, Failure> {
    let change = app.authz.begin_change(Scope::Subject(who.clone())).await.map_err(Failure::Unannounced)?;
    let removed = app.database.remove_member(who, by).await?;
    let ended = change.commit().await;
    if !removed {
        return Err(Failure::Unknown);
    }
    told(ended.map(drop))
}

/// For what was changed without being announced: by hand, or by a program that does not know of this one.
async fn revoke(
    State(app): State<App>,
    Path((tenant, subject)): Path<(Tenant, Subject)>,
) -> Result<StatusCode, Failure> {
    told(app.authz.revoke(Scope::Subject(Who { tenant, subject })).await.map(drop))
}

/// Done, or done and not yet heard of by all.
fn told(result: Result<(), terrace::Error>) -> Result<StatusCode, Failure> {
    match result {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) if error.is_unconfirmed() => Ok(StatusCode::ACCEPTED),
        Err(error) => Err(Failure::Unannounced(error)),
    }
}

async fn render(metrics: MetricsHandle) -> Result<impl IntoResponse, StatusCode> {
    let text = spawn_blocking(move || metrics.render()).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, terrace::prometheus::CONTENT_TYPE)], text))
}

/// Why there is no answer.
enum Failure {
    Unknown,
    /// Nothing was changed: the other processes could not be told.
    Unannounced(terrace::Error),
    Database(DatabaseError),
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

fn failed(error: &DatabaseError) {
    tracing::error!(event = "database_failed", "database_failed: {error}");
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "there is none of this name\n"),
            Self::Unannounced(error) => {
                tracing::error!(event = "change_unannounced", "change_unannounced: {error}");
                (StatusCode::SERVICE_UNAVAILABLE, "nothing was changed; try again\n")
            }
            Self::Database(error) => {
                failed(&error);
                (StatusCode::INTERNAL_SERVER_ERROR, "the database failed\n")
            }
        };
        (status, text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Bearer;
    use crate::issuer::{AUDIENCE, Issuer, NAME};
    use http::Method;
    use terrace::authz::assert_guarded;

    /// Whoever adds a route adds it here.
    #[tokio::test]
    async fn no_route_lacks_its_guard() {
        let directory = tempfile::tempdir().unwrap();
        let issuer = Issuer::open(directory.path(), NAME.into(), AUDIENCE.into()).unwrap();
        let bearer = Bearer::read(&issuer.publish(directory.path()).unwrap(), NAME, AUDIENCE).unwrap();
        let database = Database::open(&directory.path().join("permissions.db")).unwrap();
        let authz = Authz::builder(Store::memory(), database.clone()).identify(bearer).build().unwrap();
        let routes = [
            (Method::GET, "/orgs/{org}/invoices"),
            (Method::DELETE, "/orgs/{org}/members/{user}"),
            (Method::POST, "/orgs/{org}/members/{user}/revoke"),
            (Method::POST, "/api/v1/authorization/check"),
        ];
        assert_guarded(&guarded(App { authz, database }, Store::memory()), routes).await;
    }
}
