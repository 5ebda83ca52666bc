//! Authorization: what is answered, what is cached and for how long, and what no failure may ever allow.

mod ahead;
mod alike;
mod answers;
mod caching;
mod changes;
mod decisions;
mod endpoint;
mod ends;
mod failing;
mod filter;
mod fleet;
mod floods;
mod forged;
mod guarded;
mod identified;
mod judge;
mod killed;
mod kinds;
mod lost;
mod ongoing;
mod process;
mod receipts;
mod redis;
mod remote;
mod replayed;
mod responses;
mod rotated;
mod sampled;
mod sealed;
mod seams;
mod settings;
mod shared_decisions;
mod storm;
mod swept;
mod told;
mod unfenced;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::request::Parts;
use http::{Request, Response};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use terrace::authz::{
    Authz, Grants, Identify, Identity, IdentityError, LoadHint, PermissionSource, Principal, Subject, Tenant, Who,
};
use terrace::clock::FakeClock;
use terrace::stats::{CheckDecision, CheckStatus, Stats};
use terrace::{Config, Store};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// What processes that share rights need.
pub(crate) const KEYS: (&str, &str) = ("AUTHZ_CACHE_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
pub(crate) const NAMESPACE: (&str, &str) = ("CACHE_NAMESPACE", "shop");

/// What a source does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Answers,
    /// In a while.
    Slow,
    Fails,
    Panics,
    Hangs,
    /// Reads what is there, and answers when it is let.
    Gated,
}

/// A directory of permissions that a test writes.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Inner>);

struct Inner {
    grants: Mutex<HashMap<Who, Grants>>,
    mode: Mutex<Mode>,
    loads: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the directory is broken")
    }
}

impl std::error::Error for Broken {}

impl Directory {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            grants: Mutex::default(),
            mode: Mutex::new(Mode::Answers),
            loads: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        }))
    }

    pub(crate) fn set(&self, who: &Who, grants: Grants) {
        self.0.grants.lock().unwrap().insert(who.clone(), grants);
    }

    pub(crate) fn mode(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    pub(crate) fn release(&self, loads: usize) {
        self.0.gate.add_permits(loads);
    }

    pub(crate) fn loads(&self) -> usize {
        self.0.loads.load(SeqCst)
    }

    /// The most loads that ran at once.
    pub(crate) fn most(&self) -> usize {
        self.0.most.load(SeqCst)
    }

    /// Waits until so many loads have begun.
    pub(crate) async fn begun(&self, loads: usize) {
        while self.loads() < loads {
            tokio::task::yield_now().await;
        }
    }
}

/// Counts a load, however it ends.
struct Running<'a>(&'a Inner);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl PermissionSource for Directory {
    type Error = Broken;

    async fn load(&self, who: &Who, _: LoadHint<'_>) -> Result<Grants, Broken> {
        let running = self.0.running.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(running, SeqCst);
        self.0.loads.fetch_add(1, SeqCst);
        let _running = Running(&self.0);
        let none = || Grants::complete(Vec::<String>::new());
        let grants = self.0.grants.lock().unwrap().get(who).cloned().unwrap_or_else(none);
        let mode = *self.0.mode.lock().unwrap();
        match mode {
            Mode::Answers => Ok(grants),
            Mode::Slow => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(grants)
            }
            Mode::Fails => Err(Broken),
            Mode::Panics => panic!("a source that panics, as this test wants it"),
            Mode::Hangs => std::future::pending().await,
            Mode::Gated => {
                self.0.gate.acquire().await.unwrap().forget();
                Ok(grants)
            }
        }
    }
}

/// `authorization: Bearer tenant/subject`, then `/scopes` with commas between them, then `/seconds` of its end.
pub(crate) struct Tokens;

impl Identify for Tokens {
    async fn identify(&self, parts: &Parts) -> Result<Identity, IdentityError> {
        let token = match parts.headers.get("authorization").map(|field| field.to_str().unwrap_or_default()) {
            None if parts.headers.contains_key("x-guest") => return Ok(Identity::Anonymous),
            None => return Err(IdentityError::Missing),
            Some("Bearer unreachable") => return Err(IdentityError::Unavailable),
            Some("Bearer panics") => panic!("an identifier that panics, as this test wants it"),
            Some(token) => token.strip_prefix("Bearer ").ok_or(IdentityError::Invalid)?,
        };
        // As one that asks somebody.
        if parts.headers.contains_key("x-slow") {
            tokio::task::yield_now().await;
        }
        let mut parts = token.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let tenant = Tenant::new(next().ok_or(IdentityError::Missing)?).map_err(|_| IdentityError::Invalid)?;
        let subject = Subject::new(next().ok_or(IdentityError::Invalid)?).map_err(|_| IdentityError::Invalid)?;
        let scopes = parts.next().unwrap_or_default().split(',').filter(|it| !it.is_empty()).map(Into::into).collect();
        let end = parts.next().map(|end| UNIX_EPOCH + Duration::from_secs(end.parse().unwrap()));
        Ok(Identity::Known(Principal { who: Who { tenant, subject }, valid_until: end, scopes }))
    }
}

pub(crate) fn who(tenant: &str, subject: &str) -> Who {
    Who { tenant: Tenant::new(tenant).unwrap(), subject: Subject::new(subject).unwrap() }
}

/// What a fake clock's wall clock says in the tests' first second.
pub(crate) fn wall(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_735_689_600 + 1000 + seconds)
}

/// One process.
pub(crate) struct House {
    pub(crate) clock: FakeClock,
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) authz: Authz,
    pub(crate) alice: Who,
}

pub(crate) fn clock() -> FakeClock {
    let clock = FakeClock::new();
    // Not at the beginning of time.
    clock.advance(Duration::from_secs(1000));
    clock
}

impl House {
    /// In which alice of acme may read invoices.
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(vars: &[(&str, &str)]) -> Self {
        let (clock, directory, alice) = (clock(), Directory::new(), who("acme", "alice"));
        let store = Store::with_fake_clock(Config::default(), &clock);
        directory.set(&alice, Grants::complete(["invoice:read"]));
        let builder = Authz::from_vars(store.clone(), directory.clone(), vars.iter().copied()).unwrap();
        let authz = builder.identify(Tokens).single_process().build().unwrap();
        Self { clock, directory, store, authz, alice }
    }

    pub(crate) fn principal(&self) -> Principal {
        Principal::new(self.alice.clone())
    }

    pub(crate) async fn reads(&self) -> Option<bool> {
        let checked = self.authz.check(&self.principal(), "invoice:read").await;
        checked.ok().map(terrace::authz::Decision::is_allow)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn stats(&self) -> Stats {
        self.authz.stats()
    }

    /// How many checks were answered in each way.
    pub(crate) fn statuses(&self) -> HashMap<&'static str, u64> {
        statuses(&self.stats())
    }
}

pub(crate) fn statuses(stats: &Stats) -> HashMap<&'static str, u64> {
    let sum = |status: &CheckStatus| CheckDecision::ALL.iter().map(|decision| stats.checks(*status, *decision)).sum();
    CheckStatus::ALL.iter().map(|status| (status.as_str(), sum(status))).filter(|(_, count)| *count > 0).collect()
}

/// A router whose one route is behind this requirement.
pub(crate) fn app(authz: &Authz, requirement: impl Into<terrace::authz::Requirement>) -> Router {
    let route = get(async || "an invoice").route_layer(authz.require(requirement));
    Router::new().route("/orgs/{org}/invoices/{id}", route.clone()).route("/invoices", route)
}

pub(crate) async fn send(app: &Router, uri: &str, fields: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(uri).header("host", "example.com");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

pub(crate) async fn content(response: Response<Body>) -> String {
    String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().into()).unwrap()
}

pub(crate) const ALICE: (&str, &str) = ("authorization", "Bearer acme/alice");
pub(crate) const BOB: (&str, &str) = ("authorization", "Bearer acme/bob");
