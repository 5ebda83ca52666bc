//! When what is cached ends: at one moment in all tiers, whatever clocks say and however often it is asked for.

use super::fleet::Fleet;
use super::process::{Process, Writer, house};
use super::*;
use std::process::{Command, Stdio};
use std::time::Instant;
use terrace::authz::{Decision, DenyReason, Grant};
use terrace::danger;
use terrace_tests::until;

const SHARED: (&str, &str) = ("AUTHZ_CACHE_L1_MAX_BYTES", "0");

#[tokio::test(start_paused = true)]
async fn a_life_in_the_shared_tier_is_not_extended_by_being_asked_for() {
    let fleet = Fleet::with(1, &[("AUTHZ_CACHE_TTL", "100"), SHARED]).await;
    for _ in 0..20 {
        assert_eq!(fleet.reads(0).await, Some(true));
        fleet.later(50).await;
    }
    let found = statuses(&fleet.authz[0].stats())["l2_cache_hit"];
    assert_eq!((fleet.directory.loads(), found), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn the_tiers_do_not_add_up() {
    let fleet = Fleet::with(2, &[("AUTHZ_CACHE_TTL", "100")]).await;
    assert_eq!(fleet.reads(0).await, Some(true));
    fleet.later(85).await;
    assert_eq!((fleet.reads(1).await, fleet.reads(1).await, fleet.directory.loads()), (Some(true), Some(true), 1));
    assert_eq!(fleet.hits(1), 1, "it is in memory now");
    fleet.revoked();
    fleet.later(15).await;
    assert_eq!((fleet.reads(1).await, fleet.directory.loads()), (Some(false), 2), "it ends when it was to end");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_ends_and_a_credential_that_ends_do_so_in_every_tier() {
    for vars in [&[SHARED][..], &[]] {
        let fleet = Fleet::with(2, vars).await;
        let boxed = Grant::new("invoice:read").not_after(wall(60));
        fleet.directory.set(&fleet.alice.who, Grants::complete([boxed, Grant::new("a")]));
        assert_eq!(fleet.reads(0).await, Some(true));
        fleet.later(20).await;
        let limited = Principal { valid_until: Some(wall(40)), ..fleet.alice.clone() };
        let check = async || fleet.authz[1].check(&limited, "invoice:read").await.unwrap();
        assert_eq!(check().await, Decision::Allow);
        assert_eq!((fleet.reads(1).await, fleet.directory.loads()), (Some(true), 1));
        fleet.later(20).await;
        assert_eq!(check().await, Decision::Deny(DenyReason::CredentialEnded));
        assert_eq!((fleet.reads(1).await, fleet.directory.loads()), (Some(true), 1), "others go on");
        fleet.later(20).await;
        assert_eq!((fleet.reads(1).await, fleet.directory.loads()), (Some(false), 2), "the right has ended");
    }
}

/// What Redis removes in time is not needed in time: somebody made it stay.
#[tokio::test]
async fn an_entry_that_stays_in_redis_ends_all_the_same() {
    let (server, directory, alice) = house();
    let (one, other) = pair(&server, &directory).await;
    persists(&server, &directory, &alice, &one, &other).await;
}

async fn pair(server: &terrace_redis_server::Server, directory: &Directory) -> (Process, Process) {
    let ttl = [("AUTHZ_CACHE_TTL", "8s")];
    (Process::of(server, directory, &ttl).await, Process::of(server, directory, &ttl).await)
}

async fn persists(
    server: &terrace_redis_server::Server,
    directory: &Directory,
    alice: &Who,
    one: &Process,
    other: &Process,
) {
    let begun = Instant::now();
    let name = one.fills(server, alice).await;
    // It was loaded before.
    let filled = Instant::now();
    let mut writer = Writer::of(server);
    let (entry, persisted): (Vec<u8>, i64) = (writer.get(&name), writer.ask(&["PERSIST", &name]));
    assert_eq!(persisted, 1);
    let hits = other.shared_hits();
    if begun.elapsed() < Duration::from_secs(6) {
        assert!(other.reads(alice).await);
        assert!(other.shared_hits() == hits + 1 || begun.elapsed() > Duration::from_secs(6), "it is found");
    }
    directory.mode(Mode::Fails);
    tokio::time::sleep(Duration::from_secs(8).saturating_sub(filled.elapsed())).await;
    assert_eq!((writer.get(&name), writer.ask::<i64>(&["PTTL", &name])), (entry, -1), "it is still there");
    for process in [one, other] {
        let loads = directory.loads();
        assert_eq!((process.asked(alice).await, directory.loads()), (None, loads + 1));
    }
    directory.mode(Mode::Answers);
}

const MOVED: &str = "TERRACE_TEST_WALL_MOVED";

/// In a process of its own, for the wall clock is one for all.
#[test]
fn wall_clocks_that_are_wrong_extend_nothing() {
    if let Ok(seconds) = std::env::var(MOVED) {
        danger::move_wall_clock(seconds.parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let (server, directory, alice) = house();
            let (one, other) = pair(&server, &directory).await;
            persists(&server, &directory, &alice, &one, &other).await;
        });
    }
    let this = std::env::current_exe().unwrap();
    let name = "ends::wall_clocks_that_are_wrong_extend_nothing";
    let start = |seconds: &str| {
        let mut command = Command::new(&this);
        command.args(["--exact", name]).env(MOVED, seconds).stdout(Stdio::piped()).spawn().unwrap()
    };
    // Side by side, for most of the time they wait.
    for child in ["3600", "-3600"].map(start) {
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// A server whose clock is set back says of everything that it is younger than it is.
#[tokio::test(start_paused = true)]
async fn a_server_whose_clock_is_set_back_extends_nothing() {
    let fleet = Fleet::with(1, &[("AUTHZ_CACHE_TTL", "100"), SHARED]).await;
    assert_eq!(fleet.reads(0).await, Some(true));
    fleet.pass(100).await;
    assert_eq!((fleet.reads(0).await, fleet.directory.loads()), (Some(true), 1));
    fleet.chaos.sets_clock_back(Duration::from_secs(500));
    fleet.revoked();
    fleet.later(101).await;
    assert_eq!((fleet.reads(0).await, fleet.directory.loads()), (Some(false), 2));
    fleet.pass(100).await;
    until("it is cached by the clock as it is", || fleet.chaos.entries() == 1).await;
    assert_eq!((fleet.reads(0).await, fleet.directory.loads()), (Some(false), 2));
}
