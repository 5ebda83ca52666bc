//! Facts in Redis: who finds them, who does not, and what is not believed.

use super::process::{OTHER, Process, house, names};
use super::*;
use terrace::authz::Scope;
use terrace::stats::CoherenceState;
use terrace_redis_server::Server;
use terrace_tests::until;

fn both(first: &str, second: &str) -> String {
    format!("{first},{second}")
}

fn rings(server: &Server) -> Vec<String> {
    ::redis::from_redis_value(server.command(&["ZRANGE", "{shop}:ring", "0", "-1"])).unwrap()
}

#[tokio::test]
async fn what_one_process_has_loaded_another_finds_sealed() {
    let (server, directory, alice) = house();
    let (one, other) = (Process::of(&server, &directory, &[]).await, Process::of(&server, &directory, &[]).await);
    one.fills(&server, &alice).await;
    assert!(other.reads(&alice).await && other.reads(&alice).await);
    assert_eq!((directory.loads(), other.shared_hits()), (1, 2));
    let [name] = &names(&server)[..] else { panic!("{:?}", names(&server)) };
    let digest = name.strip_prefix("auth:perms:{shop}:").unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit()), "{name}");
}

#[tokio::test]
async fn a_hundred_questions_about_one_caller_are_one_look_into_redis() {
    let (server, directory, alice) = house();
    // Nothing else is read as entries are.
    let vars = [("AUTHZ_CACHE_DENY_TTL", "300"), ("CACHE_FLEET_SWITCHES", "false")];
    let (one, other) = (Process::of(&server, &directory, &vars).await, Process::of(&server, &directory, &vars).await);
    one.fills(&server, &alice).await;
    let gets = || server.info("commandstats", "cmdstat_getrange").split(',').next().map(str::to_owned);
    let before = gets();
    let questions = (0..99).map(|nth| format!("invoice:{nth}")).chain(["invoice:read".to_owned()]);
    let decisions = other.authz.check_many(&Principal::new(alice.clone()), questions).await.unwrap();
    assert_eq!(decisions.iter().filter(|decision| decision.is_allow()).count(), 1);
    let count = |calls: Option<String>| calls.unwrap().strip_prefix("calls=").unwrap().parse::<u64>().unwrap();
    assert_eq!((count(gets()) - count(before), directory.loads()), (1, 1));
}

#[tokio::test]
async fn a_revocation_that_is_acknowledged_is_in_effect_in_redis_at_once() {
    let (server, directory, alice) = house();
    let (one, other) = (Process::of(&server, &directory, &[]).await, Process::of(&server, &directory, &[]).await);
    for scope in [Scope::Subject(alice.clone()), Scope::Tenant(alice.tenant.clone()), Scope::All] {
        directory.set(&alice, Grants::complete(["invoice:read"]));
        drop(one.authz.revoke(Scope::All).await.unwrap());
        one.found_by(&other, &alice).await;
        directory.set(&alice, Grants::complete(["x"]));
        drop(one.authz.revoke(scope).await.unwrap());
        assert!(!other.reads(&alice).await && !one.reads(&alice).await);
    }
}

#[tokio::test]
async fn a_deployment_of_another_namespace_finds_nothing() {
    let (server, directory, alice) = house();
    let one = Process::of(&server, &directory, &[]).await;
    let other = Process::of(&server, &directory, &[("CACHE_NAMESPACE", "staging")]).await;
    one.fills(&server, &alice).await;
    other.fills(&server, &alice).await;
    assert_eq!((directory.loads(), names(&server).len()), (2, 2));
    directory.set(&alice, Grants::complete(["x"]));
    drop(one.authz.revoke(Scope::Tenant(alice.tenant.clone())).await.unwrap());
    assert!(!one.reads(&alice).await && other.reads(&alice).await);
}

#[tokio::test]
async fn keys_are_rotated_without_a_cold_cache_and_without_a_gap_in_revocations() {
    let (server, directory, alice) = house();
    let [old, both_old, both_new, new] =
        [KEYS.1.to_owned(), both(KEYS.1, OTHER), both(OTHER, KEYS.1), OTHER.to_owned()];
    let process = |keys: String| {
        let (server, directory) = (&server, &directory);
        async move { Process::of(server, directory, &[("AUTHZ_CACHE_KEYS", &keys)]).await }
    };
    let mut running = process(old).await;
    running.fills(&server, &alice).await;
    for keys in [both_old, both_new] {
        let next = process(keys).await;
        assert!(next.reads(&alice).await && next.shared_hits() == 1, "what the one before has stored is found");
        for (revoking, other) in [(&running, &next), (&next, &running)] {
            directory.set(&alice, Grants::complete(["x"]));
            drop(revoking.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
            assert!(!other.reads(&alice).await && !revoking.reads(&alice).await);
            directory.set(&alice, Grants::complete(["invoice:read"]));
            drop(revoking.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
            next.reads(&alice).await;
        }
        running.found_by(&next, &alice).await;
        running = next;
    }
    // A minute later nobody counts on those who had the old key alone.
    server.command(&["ZREM", "{shop}:ring", &rings(&server).into_iter().min_by_key(String::len).unwrap()]);
    let loads = directory.loads();
    let last = process(new).await;
    assert!(last.reads(&alice).await && last.shared_hits() == 1, "the new key has sealed it for a while already");
    assert_eq!(directory.loads(), loads);
}

#[tokio::test]
async fn a_process_that_has_none_of_the_others_keys_caches_nothing_and_acknowledges_no_revocation() {
    let (server, directory, alice) = house();
    let one = Process::of(&server, &directory, &[]).await;
    let stranger = Process::joining(&server, &directory, &[("AUTHZ_CACHE_KEYS", OTHER)]);
    until("it follows", || stranger.store.stats().coherence() == Some(CoherenceState::Coherent)).await;
    for _ in 0..3 {
        assert!(stranger.reads(&alice).await);
    }
    assert_eq!((directory.loads(), names(&server).len(), stranger.store.stats().ring_joined()), (3, 0, false));
    assert!(stranger.authz.revoke(Scope::Subject(alice.clone())).await.unwrap_err().is_unconfirmed());
    assert!(stranger.authz.begin_change(Scope::Subject(alice.clone())).await.is_err());
    assert!(one.authz.revoke(Scope::Subject(alice.clone())).await.is_ok(), "who was there before goes on");
}

#[test]
fn redis_without_keys_or_a_namespace_is_refused_at_the_start() {
    let refused = |vars: &[(&str, &str)]| {
        let all = [("REDIS_URL", "redis://127.0.0.1:1")].iter().chain(vars).copied();
        let store = Store::from_vars(all).unwrap();
        let error = Authz::builder(store, Directory::new()).build().unwrap_err();
        assert!(error.is_config());
        error.to_string()
    };
    let error = refused(&[NAMESPACE]);
    assert!(error.contains("AUTHZ_CACHE_KEYS") && error.contains("terrace keygen"), "{error}");
    let error = refused(&[KEYS]);
    assert!(error.contains("CACHE_NAMESPACE"), "{error}");
    let error = refused(&[NAMESPACE, ("AUTHZ_CACHE_KEYS", "k1:c2VjcmV0")]);
    assert!(
        error.contains("AUTHZ_CACHE_KEYS") && error.contains("32 random bytes") && !error.contains("c2Vjc"),
        "{error}"
    );
}

#[test]
fn engines_of_one_store_have_the_same_keys() {
    let store = Store::from_vars([("REDIS_URL", "redis://127.0.0.1:1"), KEYS, NAMESPACE]).unwrap();
    drop(Authz::builder(store.clone(), Directory::new()).build().unwrap());
    let vars = [("AUTHZ_CACHE_KEYS", OTHER), NAMESPACE];
    let error = Authz::from_vars(store, Directory::new(), vars).unwrap().build().unwrap_err();
    assert!(error.to_string().contains("another engine"), "{error}");
}

/// A server that does not say who it is may have been restarted, or replaced, without the revocations that it took.
#[tokio::test]
async fn a_server_that_hides_who_it_is_is_not_trusted_with_rights() {
    let (_, directory, alice) = house();
    // As a proxy does that knows no INFO.
    let server = Server::with(&["--rename-command", "INFO", ""]);
    let process = Process::joining(&server, &directory, &[("AUTHZ_CACHE_L1_MAX_BYTES", "32MiB")]);
    until("it follows", || process.store.stats().coherence() == Some(CoherenceState::Coherent)).await;
    for _ in 0..3 {
        assert!(process.reads(&alice).await);
    }
    assert_eq!((directory.loads(), names(&server).len(), process.store.stats().ring_joined()), (3, 0, false));
    assert!(process.authz.revoke(Scope::Subject(alice)).await.unwrap_err().is_unconfirmed());
}
