//! Who sends very much of something: it takes neither memory nor the source nor Redis from others.

use super::fleet::Fleet;
use super::process::{Process, Writer, house, names};
use super::*;
use std::collections::BTreeSet;
use std::time::Instant;
use terrace::authz::Scope;
use terrace::chaos::Failure;
use terrace::stats::{PollResult, Tier};
use terrace_tests::until;

/// What nobody has vouched for leaves nothing behind, anywhere.
#[tokio::test]
async fn invalid_credentials_leave_nothing_behind() {
    let (server, directory, alice) = house();
    let memory = [("AUTHZ_CACHE_L1_MAX_BYTES", "32MiB")];
    let process = Process::of(&server, &directory, &memory).await;
    process.cached(&alice, true).await;
    until("it is in Redis too", || names(&server).len() == 1).await;
    let app = app(&process.authz, "invoice:read");
    // What says that the process lives ends while it is busy.
    let kept = || {
        let all: Vec<String> = ::redis::from_redis_value(server.command(&["KEYS", "*"])).unwrap();
        all.into_iter().filter(|name| !name.starts_with("{shop}:hb:")).collect::<BTreeSet<_>>()
    };
    let (before, loads, entries) = (kept(), directory.loads(), process.authz.stats().entries());
    for at in 0..20_000 {
        let token = match at % 3 {
            0 => format!("Basic {at}"),
            1 => format!("Bearer tenant{at}"),
            _ => format!("Bearer {at}/subject//1"),
        };
        assert_eq!(send(&app, "/invoices", &[("authorization", &token)]).await.status(), 401);
    }
    assert_eq!((kept(), directory.loads(), process.authz.stats().entries()), (before, loads, entries));
}

/// A bell only says that there may be something to know: however often it rings, nobody is asked all the time.
#[tokio::test]
async fn who_rings_all_the_time_makes_nobody_poll_all_the_time() {
    let (server, directory, alice) = house();
    let process = Process::of(&server, &directory, &[]).await;
    let polls = || process.store.stats().polls(PollResult::Ok);
    let (before, begun) = (polls(), Instant::now());
    let rings = std::thread::spawn({
        let mut writer = Writer::of(&server);
        move || {
            let mut rung = 0;
            while begun.elapsed() < Duration::from_secs(2) {
                let texts = ["0", "18446744073709551615", "-", "h:*", ""];
                let _: i64 = writer.ask(&["PUBLISH", "{shop}:bell", texts[rung % texts.len()]]);
                rung += 1;
            }
            rung
        }
    });
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(process.reads(&alice).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (polled, took, rung) = (polls() - before, begun.elapsed(), rings.join().unwrap());
    // One in 5 ms, and those that are due anyway.
    let most = took.as_millis() / 5 + took.as_millis() / 250 + 5;
    assert!(u128::from(polled) <= most, "{polled} polls in {took:?}");
    assert!(rung > 2 * usize::try_from(most).unwrap(), "rung {rung} times in {took:?}");
    assert!(process.shared_hits() > 0);
}

/// Somebody without a key can keep from being cached what was revoked once; what is answered is right all the same.
#[tokio::test]
async fn a_change_that_somebody_else_pretends_costs_no_more_than_the_cache() {
    let (server, directory, alice) = house();
    let process = Process::of(&server, &directory, &[]).await;
    drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
    let mut writer = Writer::of(&server);
    let members: Vec<Vec<u8>> = writer.ask(&["ZRANGE", "{shop}:ctl", "0", "-1"]);
    let tag = members.iter().find(|member| member.starts_with(b"h:")).unwrap();
    writer.add("{shop}:ctl", f64::INFINITY, tag);
    let _: i64 = writer.ask(&["DEL", "{shop}:latest"]);
    for may in [true, false] {
        directory.set(&alice, Grants::complete([if may { "invoice:read" } else { "x" }]));
        drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
        for _ in 0..20 {
            assert_eq!(process.reads(&alice).await, may);
        }
    }
    // It is nobody else's concern.
    let bob = who("other", "bob");
    directory.set(&bob, Grants::complete(["invoice:read"]));
    process.cached(&bob, true).await;
}

/// Whoever leads leaves, at each moment at which they can: the others are answered all the same, and nothing is half done.
#[tokio::test(start_paused = true)]
async fn whoever_leaves_and_whenever_the_others_are_answered() {
    let fleet = Fleet::with(1, &[("CACHE_L2_READ_BUDGET", "1s")]).await;
    fleet.directory.mode(Mode::Gated);
    let mut left = 0;
    for polls in 1.. {
        fleet.chaos.fails(Failure::Slow(Duration::from_millis(10)));
        let leader = who("acme", &format!("s{polls}"));
        fleet.directory.set(&leader, Grants::complete(["invoice:read"]));
        let (authz, principal) = (fleet.authz[0].clone(), Principal::new(leader.clone()));
        let check = || {
            let (authz, principal) = (authz.clone(), principal.clone());
            async move { authz.check(&principal, "invoice:read").await.is_ok_and(terrace::authz::Decision::is_allow) }
        };
        let mut leading = Box::pin(check());
        let followers: Vec<_> = (0..5).map(|_| tokio::spawn(check())).collect();
        let mut ended = false;
        for _ in 0..polls {
            let poll = std::future::poll_fn(|cx| std::task::Poll::Ready(leading.as_mut().poll(cx))).await;
            ended = poll.is_ready();
            if ended {
                break;
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        drop(leading);
        left += usize::from(!ended);
        fleet.directory.release(1);
        for follower in followers {
            assert!(follower.await.unwrap(), "after {polls} polls of who has left");
        }
        assert_eq!(fleet.directory.loads(), polls, "one load for all, whoever began it");
        fleet.chaos.fails(Failure::None);
        fleet.pass(50).await;
        let checked = fleet.authz[0].check(&principal, "invoice:read").await.unwrap();
        assert!(checked.is_allow());
        if ended || polls == 12 {
            break;
        }
    }
    assert!(left >= 3, "{left} have left");
    assert_eq!(fleet.stores[0].stats().stores(Tier::L1, terrace::stats::StoreResult::Error), 0);
}
