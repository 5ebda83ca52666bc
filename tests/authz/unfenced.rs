//! Servers that do not say who they are: what they have forgotten is not noticed.

use super::process::names;
use super::*;
use std::time::Instant;
use terrace::authz::{Scope, perm};
use terrace::stats::CoherenceState;
use terrace_redis_server::{PATIENT, Server};
use terrace_tests::until;

/// As one that has an administrator who thinks that `INFO` is nobody's business.
fn server() -> Server {
    Server::with(&["--user", "app", "on", ">secret", "~*", "&*", "+@all", "-info"])
}

fn store(server: &Server, vars: &[(&str, &str)]) -> Store {
    let url = server.url();
    let mut all = vec![("REDIS_URL", url.as_str()), ("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "secret")];
    all.extend([KEYS, NAMESPACE, ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "5s")]);
    all.extend(PATIENT);
    all.extend_from_slice(vars);
    Store::from_vars(all).unwrap()
}

/// A process in which facts are used for so many seconds.
async fn process(server: &Server, directory: &Directory, seconds: u64, vars: &[(&str, &str)]) -> (Store, Authz) {
    let store = store(server, vars);
    let builder = Authz::builder(store.clone(), directory.clone()).identify(Tokens);
    let authz = builder.unfenced(Duration::from_secs(seconds)).build().unwrap();
    let joined = || store.stats().coherence() == Some(CoherenceState::Coherent) && store.stats().ring_joined();
    until("it has joined", joined).await;
    (store, authz)
}

fn house() -> (Server, Directory, Principal) {
    let (directory, alice) = (Directory::new(), who("acme", "alice"));
    directory.set(&alice, Grants::complete(["invoice:read"]));
    (server(), directory, Principal::new(alice))
}

async fn reads(authz: &Authz, alice: &Principal) -> bool {
    authz.check(alice, "invoice:read").await.unwrap().is_allow()
}

/// Processes that keep nothing in their own memory.
const SHARED: [(&str, &str); 1] = [("AUTHZ_CACHE_L1_MAX_BYTES", "0")];

#[tokio::test]
async fn who_does_not_say_that_it_may_be_so_caches_nothing() {
    let (server, directory, alice) = house();
    let store = store(&server, &[]);
    let authz = Authz::builder(store.clone(), directory.clone()).build().unwrap();
    until("it follows", || store.stats().coherence() == Some(CoherenceState::Coherent)).await;
    for loads in 1..=3 {
        assert!(reads(&authz, &alice).await);
        assert_eq!((directory.loads(), names(&server).len(), store.stats().ring_joined()), (loads, 0, false));
    }
    assert!(authz.revoke(Scope::Subject(alice.who.clone())).await.unwrap_err().is_unconfirmed());
    assert!(authz.begin_change(Scope::Subject(alice.who)).await.is_err());
}

#[tokio::test]
async fn who_says_so_caches_and_revokes() {
    let (server, directory, alice) = house();
    let (one, other) = (process(&server, &directory, 30, &SHARED).await, process(&server, &directory, 30, &[]).await);
    let hits = |stats: &Stats, how: &str| statuses(stats).get(how).copied().unwrap_or_default();
    while hits(&one.1.stats(), "l2_cache_hit") == 0 || hits(&other.1.stats(), "l1_cache_hit") == 0 {
        assert!(reads(&one.1, &alice).await && reads(&other.1, &alice).await);
    }
    assert_eq!(one.1.revocation_bound(), Duration::from_secs(30));
    assert_eq!(one.1.stats().revocation_bound(), Duration::from_secs(30), "it is exported");
    directory.set(&alice.who, Grants::complete(["x"]));
    drop(one.1.revoke(Scope::Subject(alice.who.clone())).await.unwrap());
    let revoked = Instant::now();
    assert!(!reads(&one.1, &alice).await);
    let mut asked = revoked.elapsed();
    while reads(&other.1, &alice).await {
        assert!(asked < Duration::from_secs(1), "as long as the server forgets nothing it is heard as ever");
        asked = revoked.elapsed();
    }
}

/// Restarted with the data of before a revocation, of which it knows nothing any more, nor does any process that lives.
#[tokio::test]
async fn a_revocation_that_the_server_forgets_is_in_effect_within_the_time_that_was_said() {
    const TTL: Duration = Duration::from_secs(6);
    let (mut server, directory, alice) = house();
    let first = process(&server, &directory, 30, &[]).await;
    assert!(reads(&first.1, &alice).await);
    let loaded = Instant::now();
    until("it is there", || names(&server).len() == 1).await;
    server.command(&["SAVE"]);
    directory.set(&alice.who, Grants::complete(["x"]));
    drop(first.1.revoke(Scope::Subject(alice.who.clone())).await.unwrap());
    drop(first);
    server.restart();
    let (_store, authz) = process(&server, &directory, TTL.as_secs(), &[("AUTHZ_CACHE_STALE_IF_ERROR", "300")]).await;
    // What allows from here on is what is cached: the source would not, if it were there.
    directory.mode(Mode::Fails);
    let always = perm("invoice:read").stale_if_source_fails(Duration::from_secs(300));
    let (mut allowed, mut last) = (0, Duration::ZERO);
    while loaded.elapsed() < TTL + Duration::from_secs(1) {
        let asked = loaded.elapsed();
        if authz.check(&alice, always.clone()).await.is_ok_and(terrace::authz::Decision::is_allow) {
            (allowed, last) = (allowed + 1, asked);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(allowed > 0, "nobody has noticed");
    assert!(last <= TTL && TTL == authz.revocation_bound(), "{last:?}");
}

#[tokio::test]
async fn what_others_may_use_for_longer_is_used_for_no_longer() {
    let (server, directory, alice) = house();
    let (_lasting, one) = process(&server, &directory, 30, &SHARED).await;
    // Long enough to find it first, also on a machine that stands still for a moment.
    let (_brief, other) = process(&server, &directory, 4, &[SHARED[0], ("CACHE_L1_MAX_LAG", "10s")]).await;
    assert!(reads(&one, &alice).await);
    until("it is there", || names(&server).len() == 1).await;
    let stored = Instant::now();
    while directory.loads() == 1 {
        assert!(reads(&other, &alice).await);
        assert!(stored.elapsed() < Duration::from_secs(10), "it is still used");
    }
    assert!(statuses(&other.stats())["l2_cache_hit"] > 0);
}

#[tokio::test]
async fn it_is_not_for_long_and_nothing_for_who_shares_nothing() {
    let build = |store, seconds| Authz::builder(store, Directory::new()).unfenced(Duration::from_secs(seconds)).build();
    let error = build(Store::memory(), 31).unwrap_err();
    assert!(error.is_config() && error.to_string().contains("31s") && error.to_string().contains("30s"), "{error}");
    let alone = Authz::builder(Store::memory(), Directory::new()).single_process().unfenced(Duration::from_secs(30));
    assert_eq!(alone.build().unwrap().revocation_bound(), Duration::from_millis(800), "that of the source");
}
