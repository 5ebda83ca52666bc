//! Changes that nobody ends: whoever has announced them has died, or nobody has, and somebody who can write to Redis
//! pretends it.

use super::process::{Process, Writer, house};
use super::*;
use std::time::Instant;
use terrace::authz::Scope;
use terrace::stats::ChangeResult;
use terrace_redis_server::Server;
use terrace_tests::until;

const CONTROL: &str = "{shop}:ctl";
/// Later than every position; holds are this and the time at which they end, in milliseconds.
const BASE: f64 = 4_503_599_627_370_496.0;

impl Process {
    fn swept(&self) -> u64 {
        self.store.stats().changes(ChangeResult::Swept)
    }
}

impl Writer {
    /// The marker of whoever was revoked last.
    fn marker(&mut self) -> Vec<u8> {
        let members: Vec<Vec<u8>> = self.ask(&["ZREVRANGEBYSCORE", CONTROL, "(4503599627370496", "-inf"]);
        members.into_iter().find(|member| member.starts_with(b"h:")).expect("somebody was revoked")
    }

    fn score(&mut self, member: &[u8]) -> Option<f64> {
        ::redis::cmd("ZSCORE").arg(CONTROL).arg(member).query(self.connection()).unwrap()
    }

    /// Waits until this is gone, or where a marker may be.
    async fn sees_swept(&mut self, member: &[u8], what: &str) {
        let begun = Instant::now();
        while self.score(member).is_some_and(|score| score >= BASE) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Forgets what look-ups read, as if it were evicted.
    fn forgets_latest(&mut self) {
        let _: i64 = self.ask(&["DEL", "{shop}:latest"]);
    }
}

/// A hold of `marker` that ends so many seconds from now.
fn hold(server: &Server, marker: &[u8], seconds: f64) -> (f64, Vec<u8>) {
    let (now, _): (f64, u64) = ::redis::from_redis_value(server.command(&["TIME"])).unwrap();
    (BASE + (now + seconds) * 1000.0, [&b"\0c00000000000000000000000000forged"[..], marker].concat())
}

/// A process that has revoked alice, and her marker.
async fn revoked() -> (Server, Directory, Who, Process, Writer, Vec<u8>) {
    let (server, directory, alice) = house();
    let process = Process::of(&server, &directory, &[("AUTHZ_CACHE_HOLD_S", "60")]).await;
    process.cached(&alice, true).await;
    drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
    let mut writer = Writer::of(&server);
    let marker = writer.marker();
    (server, directory, alice, process, writer, marker)
}

#[tokio::test]
async fn what_somebody_pretends_to_hold_is_let_go() {
    let (server, directory, alice, process, mut writer, marker) = revoked().await;
    let held = |seconds| vec![(f64::INFINITY, marker.clone()), hold(&server, &marker, seconds)];
    let all: [(&str, Vec<(f64, Vec<u8>)>); 6] = [
        ("nobody is behind it", vec![(f64::INFINITY, marker.clone())]),
        ("for ten minutes", held(600.0)),
        ("for a thousand years", held(3e10)),
        ("for ever", vec![(f64::INFINITY, marker.clone()), (f64::INFINITY, hold(&server, &marker, 0.0).1)]),
        ("at a position that none can be", vec![(BASE + 5.0, marker.clone())]),
        ("what is no marker", vec![(f64::INFINITY, b"anything".to_vec()), hold(&server, b"", 600.0)]),
    ];
    for (what, members) in all {
        let before = writer.score(&marker).unwrap();
        for (score, member) in &members {
            writer.add(CONTROL, *score, member);
        }
        // Else those who look things up would not be told.
        writer.forgets_latest();
        for (_, member) in &members {
            writer.sees_swept(member, what).await;
        }
        for (_, member) in members.iter().filter(|(_, member)| *member != marker) {
            assert_eq!(writer.score(member), None, "{what}");
        }
        let after = writer.score(&marker).unwrap();
        let is_new = members.iter().any(|(_, member)| *member == marker);
        assert!(if is_new { after > before && after < BASE } else { after <= before }, "{what}: {before}, {after}");
        process.cached(&alice, true).await;
    }
    until("each is counted", || process.swept() >= 6).await;
    directory.set(&alice, Grants::complete(["x"]));
    drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
    assert!(!process.reads(&alice).await, "and revocations are what they were");
}

/// Also one that is as long as any may be, and whatever is forged beside it.
#[tokio::test]
async fn a_hold_that_somebody_has_announced_is_not_swept_with_those_that_are_forged() {
    let (server, _, alice, process, mut writer, marker) = revoked().await;
    let other = Process::of(&server, &Directory::new(), &[]).await;
    let change = process.authz.begin_change(Scope::Subject(alice.clone())).await.unwrap();
    let own: Vec<Vec<u8>> = writer.ask(&["ZRANGEBYSCORE", CONTROL, "4503599627370496", "(+inf"]);
    let own = own.into_iter().find(|member| member.ends_with(&marker)).expect("it holds her");
    for round in 0..3 {
        let nobodys = [&b"h:0123456789abcde"[..], &[b'0' + round]].concat();
        writer.add(CONTROL, f64::INFINITY, &nobodys);
        let (score, forged) = hold(&server, &marker, 600.0);
        writer.add(CONTROL, score, &forged);
        let hits = process.hits();
        writer.sees_swept(&nobodys, "nobody holds it").await;
        writer.sees_swept(&forged, "nobody holds it for so long").await;
        assert_eq!((writer.score(&forged), writer.score(&marker)), (None, Some(f64::INFINITY)));
        assert!(writer.score(&own).is_some() && writer.score(&nobodys).unwrap() < BASE);
        for _ in 0..10 {
            assert!(process.reads(&alice).await);
        }
        assert_eq!(process.hits(), hits, "nothing is cached while she is held");
    }
    until("each is counted, by who has swept it", || process.swept() + other.swept() == 6).await;
    change.confirm().await.unwrap();
    drop(change.commit().await.unwrap());
    process.cached(&alice, true).await;
}

#[tokio::test]
async fn what_nobody_renews_is_counted_when_it_is_let_go() {
    let (server, _, alice, process, mut writer, marker) = revoked().await;
    for (score, member) in [(f64::INFINITY, marker.clone()), hold(&server, &marker, 0.5)] {
        writer.add(CONTROL, score, &member);
    }
    until("it has ended", || process.swept() == 1).await;
    process.cached(&alice, true).await;
}
