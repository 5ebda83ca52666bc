//! Keys are rotated while everybody works: no check fails, none is answered with what was revoked, and what is cached is
//! found again.

use super::process::{OTHER, Process};
use super::*;
use std::sync::atomic::AtomicU64;
use terrace::authz::Scope;
use terrace_redis_server::Server;
use terrace_tests::until;
use tokio::task::JoinHandle;

/// Odd while alice's rights are revoked, and that is acknowledged.
#[derive(Default)]
struct Watch {
    turn: AtomicU64,
    checks: AtomicUsize,
    failed: AtomicUsize,
    stale: AtomicUsize,
}

/// Asks again and again, until it is aborted.
fn asks(process: &Arc<Process>, alice: &Who, watch: &Arc<Watch>) -> JoinHandle<()> {
    let (process, alice, watch) = (Arc::clone(process), alice.clone(), Arc::clone(watch));
    tokio::spawn(async move {
        loop {
            let turn = watch.turn.load(SeqCst);
            let asked = process.asked(&alice).await;
            watch.checks.fetch_add(1, SeqCst);
            let same = watch.turn.load(SeqCst) == turn;
            watch.failed.fetch_add(usize::from(asked.is_none()), SeqCst);
            watch.stale.fetch_add(usize::from(same && turn % 2 == 1 && asked == Some(true)), SeqCst);
            tokio::task::yield_now().await;
        }
    })
}

/// Grants and revokes, each time by another process.
async fn revokes(processes: &[Arc<Process>], directory: &Directory, alice: &Who, watch: &Watch) {
    let checked = async |more: usize| {
        let enough = watch.checks.load(SeqCst) + more;
        until("they have checked", || watch.checks.load(SeqCst) >= enough).await;
    };
    for turn in 0..10 {
        let process = &processes[turn % processes.len()];
        directory.set(alice, Grants::complete(["invoice:read"]));
        drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
        checked(20).await;
        directory.set(alice, Grants::complete(["x"]));
        let scope = if turn % 2 == 0 { Scope::Subject(alice.clone()) } else { Scope::Tenant(alice.tenant.clone()) };
        drop(process.authz.revoke(scope).await.unwrap());
        watch.turn.fetch_add(1, SeqCst);
        checked(20).await;
        watch.turn.fetch_add(1, SeqCst);
    }
}

#[tokio::test]
async fn keys_are_rotated_under_load() {
    let (server, directory, alice) = (Server::start(), Directory::new(), who("acme-corp", "alice"));
    let rings = [KEYS.1.to_owned(), format!("{},{OTHER}", KEYS.1), format!("{OTHER},{}", KEYS.1), OTHER.to_owned()];
    let process = async |keys: &str| Arc::new(Process::of(&server, &directory, &[("AUTHZ_CACHE_KEYS", keys)]).await);
    let watch = Arc::new(Watch::default());
    let mut processes = vec![process(&rings[0]).await, process(&rings[0]).await];
    let mut tasks: Vec<JoinHandle<()>> = processes.iter().map(|it| asks(it, &alice, &watch)).collect();
    for keys in &rings[1..] {
        if *keys == OTHER {
            // Those who had the old key alone are gone for a minute.
            let rings: Vec<String> =
                ::redis::from_redis_value(server.command(&["ZRANGE", "{shop}:ring", "0", "-1"])).unwrap();
            let old = rings.into_iter().min_by_key(String::len).unwrap();
            server.command(&["ZREM", "{shop}:ring", &old]);
        }
        // One after the other is replaced.
        for at in 0..2 {
            processes[at] = process(keys).await;
            std::mem::replace(&mut tasks[at], asks(&processes[at], &alice, &watch)).abort();
            revokes(&processes, &directory, &alice, &watch).await;
        }
        directory.set(&alice, Grants::complete(["invoice:read"]));
        drop(processes[0].authz.revoke(Scope::All).await.unwrap());
        processes[0].found_by(&processes[1], &alice).await;
    }
    tasks.iter().for_each(JoinHandle::abort);
    let count = |of: &AtomicUsize| of.load(SeqCst);
    assert_eq!((count(&watch.failed), count(&watch.stale)), (0, 0), "of {} checks", count(&watch.checks));
}
