//! Invoices of several organisations: who may see them is in a database, and cached.
//!
//! `cargo run --bin authorization` starts it on port 3000, with `-- 8080` or `PORT=8080` on another one. It prints what to
//! try. The environment may have
//!
//! | variable | for |
//! |---|---|
//! | `DATA_DIR` | the directory of the database; without it, one that is removed at the end |
//! | `JWKS_FILE`, `JWT_ISSUER`, `JWT_AUDIENCE` | an identity provider: its public keys, the `iss` and the `aud` of its tokens |
//! | `REDIS_URL` and the like, `CACHE_*`, `AUTHZ_*` | see the manual of Terrace |
//!
//! Its log is JSON on standard error, with the trace of requests that are part of one (`traceparent`).

mod database;
mod identity;
mod issuer;
#[path = "../json.rs"]
mod json;
mod log;
mod routes;

use database::Database;
use identity::Bearer;
use issuer::Issuer;
use routes::App;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::TempDir;
use terrace::{Authz, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    log::start();
    let Err(error) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("authorization: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    // Before it says that it listens.
    let terminated = signal(SignalKind::terminate())?;
    let listener = listen(port()?).await?;
    let metrics = terrace::prometheus::install()?;
    let directory = Directory::find()?;
    let (bearer, issuer) = who_identifies(directory.path())?;
    let database = Database::open(&directory.path().join("permissions.db"))?;

    // One store for responses and permissions: one revocation ends both.
    let store = Store::from_env().await?;
    let authz = Authz::from_env(store.clone(), database.clone())?.identify(bearer).build()?;
    greet(&format!("http://{}", listener.local_addr()?), directory.path(), &store, &authz);
    if let Some(issuer) = issuer {
        suggest(&format!("http://{}", listener.local_addr()?), &issuer)?;
    }

    let app = routes::all(App { authz, database }, store, metrics);
    axum::serve(listener, app).with_graceful_shutdown(ended(terminated)).await?;
    Ok(())
}

/// By who started it at a terminal, or by who runs it as a service.
async fn ended(mut terminated: Signal) {
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminated.recv() => {}
        // Nobody will tell.
        else => std::future::pending().await,
    }
}

/// Where the files are.
enum Directory {
    Given(PathBuf),
    /// Removed when dropped.
    Temporary(TempDir),
}

impl Directory {
    fn find() -> Result<Self, String> {
        let Some(given) = std::env::var_os("DATA_DIR").map(PathBuf::from) else {
            let made = TempDir::with_prefix("terrace-authorization-");
            return made.map(Self::Temporary).map_err(|error| format!("cannot make a temporary directory: {error}"));
        };
        std::fs::create_dir_all(&given)
            .map_err(|error| format!("DATA_DIR: cannot make {}: {error}", given.display()))?;
        Ok(Self::Given(given))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}

/// The identity provider whose keys are in `JWKS_FILE`, or one of our own, to try it with.
fn who_identifies(directory: &Path) -> Result<(Bearer, Option<Issuer>), Box<dyn Error>> {
    let from_env = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let issuer = from_env("JWT_ISSUER", issuer::NAME);
    let audience = from_env("JWT_AUDIENCE", issuer::AUDIENCE);
    if let Some(file) = std::env::var_os("JWKS_FILE") {
        return Ok((Bearer::read(Path::new(&file), &issuer, &audience)?, None));
    }
    let own = Issuer::open(directory, issuer.clone(), audience.clone())?;
    Ok((Bearer::read(&own.publish(directory)?, &issuer, &audience)?, Some(own)))
}

/// From the first argument, else from `PORT`.
fn port() -> Result<u16, String> {
    let Some(port) = std::env::args_os().nth(1).or_else(|| std::env::var_os("PORT")) else {
        return Ok(3000);
    };
    let port = port.to_string_lossy();
    port.parse().map_err(|_| format!("the port must be a number from 0 to 65535, not {port:?}"))
}

async fn listen(port: u16) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let another = "for another port: cargo run --bin authorization -- 8080";
    listener.map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}; {another}"))
}

fn greet(url: &str, directory: &Path, store: &Store, authz: &Authz) {
    let (directory, bound) = (directory.display(), authz.revocation_bound());
    println!("listening on {url}, with its files in {directory}");
    match store.shared_through() {
        Some(redis) => println!(
            "It hears of others through {redis}: a right that one of them takes away survives here for {bound:?} at most.
Another one, with the same environment:
  DATA_DIR={directory} cargo run --bin authorization -- 3001"
        ),
        None => println!(
            "It hears of no other, for there is no REDIS_URL: a right that one took away would survive here for {bound:?} at most."
        ),
    }
}

fn suggest(url: &str, issuer: &Issuer) -> Result<(), Box<dyn Error>> {
    let alice = issuer.token("acme", "alice", None)?;
    let bob = issuer.token("acme", "bob", None)?;
    let limited = issuer.token("acme", "bob", Some("openid profile"))?;
    println!(
        r#"
Tokens for an hour: alice administers acme, bob works there, and one of his applications may not read invoices:
  ALICE={alice}
  BOB={bob}
  LIMITED={limited}

401 without one, 403 in another organisation and with too small a scope, and twice the same answer, the second from the cache:
  curl -i {url}/orgs/acme/invoices
  curl -i -H "authorization: Bearer $BOB" {url}/orgs/globex/invoices
  curl -i -H "authorization: Bearer $LIMITED" {url}/orgs/acme/invoices
  curl -i -H "authorization: Bearer $BOB" {url}/orgs/acme/invoices

Services ask what somebody may do:
  curl -i -H "authorization: Bearer $ALICE" -d '{{"user_id":"bob","org_id":"acme","permission":"invoice:read"}}' {url}/api/v1/authorization/check

Bob leaves acme, and none of this is true any more:
  curl -i -H "authorization: Bearer $ALICE" -X DELETE {url}/orgs/acme/members/bob

After a change that somebody else has made in the database:
  curl -i -H "authorization: Bearer $ALICE" -X POST {url}/orgs/acme/members/bob/revoke

Whether the database answers, and what the cache does, for Prometheus:
  curl -i {url}/health
  curl {url}/metrics"#
    );
    Ok(())
}
