//! `terrace purge` of rights, of a process that checks them.

use crate::fleet::{Ended, run};
use crate::harness::{terrace, within};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use terrace::Store;
use terrace::authz::{Authz, Grants, LoadHint, PermissionSource, Principal, Subject, Tenant, Who, perm};
use terrace_redis_server::{PATIENT, Server};

const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "k2:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
/// `CACHE_L1_MAX_LAG`.
const MAX_LAG: Duration = Duration::from_secs(10);

/// Allows everything, and counts how often it is asked.
struct Source(Arc<AtomicUsize>);

impl PermissionSource for Source {
    type Error = Infallible;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Grants::complete(["invoice:read"]))
    }
}

/// A process that checks rights.
struct Process {
    authz: Authz,
    loads: Arc<AtomicUsize>,
    redis: Server,
}

impl Process {
    async fn start() -> Self {
        let (redis, loads) = (Server::start(), Arc::<AtomicUsize>::default());
        let url = redis.url();
        let own = [
            ("REDIS_URL", &*url),
            ("CACHE_NAMESPACE", "shop"),
            ("AUTHZ_CACHE_KEYS", KEY),
            // Only what was purged is to be loaded again, and the source never fails.
            ("CACHE_L1_MAX_LAG", "10s"),
            ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "60s"),
        ];
        let vars = PATIENT.into_iter().chain(own);
        let authz = Authz::builder(Store::from_vars(vars).unwrap(), Source(Arc::clone(&loads))).build().unwrap();
        let process = Self { authz, loads, redis };
        within("the store to join", async {
            while !process.authz.stats().ring_joined() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        process
    }

    /// Whether a check had to ask the source.
    async fn loads(&self, tenant: &str, subject: &str) -> bool {
        let who = Who { tenant: Tenant::new(tenant).unwrap(), subject: Subject::new(subject).unwrap() };
        let before = self.loads.load(Ordering::SeqCst);
        assert!(self.authz.check(&Principal::new(who), perm("invoice:read")).await.unwrap().is_allow());
        self.loads.load(Ordering::SeqCst) != before
    }

    async fn warm(&self, everybody: &[(&str, &str)]) {
        for (tenant, subject) in everybody {
            within("a hit", async { while self.loads(tenant, subject).await {} }).await;
        }
    }

    fn purge(&self, keys: &str, arguments: &[&str]) -> Ended {
        let patience = if arguments.contains(&"--timeout") { &[][..] } else { &["--timeout", "60s"] };
        let mut command = terrace();
        command.envs(PATIENT).env("REDIS_URL", self.redis.url());
        command.env("CACHE_NAMESPACE", "shop").env("AUTHZ_CACHE_KEYS", keys);
        run(command.arg("purge").args(patience).args(arguments))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_are_revoked_of_whom_they_are_and_of_nobody_else() {
    let process = Process::start().await;
    let everybody = [("acme", "alice"), ("acme", "bob"), ("acme", "carol"), ("other", "alice")];
    for (arguments, revoked) in [
        (&["--tenant", "acme", "--subject", "alice"][..], &everybody[..1]),
        (&["--tenant", "acme", "--subject", "alice", "--subject", "bob"], &everybody[..2]),
        (&["--tenant", "acme"], &everybody[..3]),
    ] {
        process.warm(&everybody).await;
        let said = process.purge(KEY, arguments).ok().out;
        assert!(said.contains("acme") && said.contains("acknowledged in namespace `shop`"), "{said}");
        let acknowledged = Instant::now();
        for (tenant, subject) in revoked {
            let asked_again = async {
                loop {
                    let asked = Instant::now();
                    if process.loads(tenant, subject).await {
                        return;
                    }
                    assert!(asked < acknowledged + MAX_LAG, "{subject} of {tenant} keeps rights after the maximal lag");
                }
            };
            within("the revocation", asked_again).await;
        }
        for (tenant, subject) in &everybody[revoked.len()..] {
            assert!(!process.loads(tenant, subject).await, "{subject} of {tenant} was not meant: {arguments:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_other_keys_than_the_fleet_no_revocation_is_acknowledged() {
    let process = Process::start().await;
    process.warm(&[("acme", "alice")]).await;
    let ended = process.purge(OTHER, &["--tenant", "acme", "--timeout", "5s"]);
    ended.failed(1, &["tenant `acme` was not acknowledged", "AUTHZ_CACHE_KEYS"]);
    // And the fleet goes on with its own.
    assert!(process.authz.stats().ring_joined() && !process.loads("acme", "alice").await);
    assert!(process.purge(&format!("{OTHER},{KEY}"), &["--tenant", "acme"]).ok().out.contains("tenant"));
}

#[test]
fn whose_rights_are_revoked_is_said_in_full() {
    let redis = Server::start();
    let purge = |vars: &[(&str, &str)], arguments: &[&str]| {
        let mut command = terrace();
        command.env("REDIS_URL", redis.url()).envs(vars.iter().copied());
        run(command.arg("purge").args(arguments))
    };
    let named = [("CACHE_NAMESPACE", "shop"), ("AUTHZ_CACHE_KEYS", KEY)];
    purge(&named[1..], &["--tenant", "acme"]).failed(2, &["CACHE_NAMESPACE"]);
    purge(&named[..1], &["--tenant", "acme"]).failed(2, &["AUTHZ_CACHE_KEYS", "terrace keygen"]);
    purge(&named, &["--tenant", ""]).failed(2, &["accepts 1 to 256"]);
    purge(&named, &["--tenant", &"x".repeat(257)]).failed(2, &["accepts 1 to 256"]);
    purge(&named, &["--subject", "alice"]).failed(2, &["--tenant"]);
    for other in [&["--soft"][..], &["--replicas", "1"], &["--tag", "x"], &["/x"], &["--glob", "/*"]] {
        purge(&named, &[&["--tenant", "acme"][..], other].concat()).failed(2, &["cannot be used with"]);
    }
}
