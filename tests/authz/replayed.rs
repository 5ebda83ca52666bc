//! What was sealed once, put back by somebody who kept it: it is as dead as it was, or as old.

use super::process::{Process, Writer, house, names};
use super::*;
use std::time::Instant;
use terrace::authz::Scope;
use terrace::stats::{EpochChange, RejectReason};
use terrace_tests::until;

const CONTROL: &str = "{shop}:ctl";
const LATEST: &str = "{shop}:latest";

/// What somebody kept of a time when alice might read.
struct Kept {
    name: String,
    entry: Vec<u8>,
    control: Vec<u8>,
    latest: Vec<u8>,
}

impl Kept {
    async fn of(process: &Process, server: &terrace_redis_server::Server, alice: &Who, writer: &mut Writer) -> Self {
        let name = process.fills(server, alice).await;
        let entry = writer.get(&name);
        Self { name, entry, control: writer.dump(CONTROL), latest: writer.dump(LATEST) }
    }
}

/// Looks for so long, with the entry put back each time, and finds it never.
async fn never_allowed(processes: &[&Process], alice: &Who, kept: &Kept, writer: &mut Writer, time: Duration) {
    let begun = Instant::now();
    let mut looks = 0;
    while begun.elapsed() < time || looks < 50 {
        for process in processes {
            writer.put(&kept.name, &kept.entry);
            assert_ne!(process.asked(alice).await, Some(true), "after {:?}", begun.elapsed());
        }
        looks += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_entry_from_before_a_revocation_stays_dead() {
    let (server, directory, alice) = house();
    let (one, other) = (Process::of(&server, &directory, &[]).await, Process::of(&server, &directory, &[]).await);
    let mut writer = Writer::of(&server);
    for scope in [Scope::Subject(alice.clone()), Scope::Tenant(alice.tenant.clone()), Scope::All] {
        directory.mode(Mode::Answers);
        for name in names(&server) {
            server.command(&["DEL", &name]);
        }
        let kept = Kept::of(&one, &server, &alice, &mut writer).await;
        assert!(other.reads(&alice).await);
        // Nothing is stored from here on.
        directory.mode(Mode::Fails);
        drop(one.authz.revoke(scope).await.unwrap());
        for process in [&one, &other] {
            writer.put(&kept.name, &kept.entry);
            process.disbelieves(&directory, &alice, "an old entry").await;
        }
        // One that comes later knows no better, and asks.
        let late = Process::of(&server, &directory, &[]).await;
        never_allowed(&[&one, &other, &late], &alice, &kept, &mut writer, Duration::ZERO).await;
        assert!(one.rejected(RejectReason::Marker) + one.rejected(RejectReason::Held) >= 1);
        assert!(late.rejected(RejectReason::Marker) >= 1);
    }
}

/// With the record of invalidations as it was then, as it was then but further on, and as it was in an epoch which is over:
/// who has seen the revocation does not unsee it.
#[tokio::test]
async fn who_has_seen_a_revocation_is_not_told_otherwise() {
    for trick in ["as it was", "further on", "further on and not told", "of an epoch that is over"] {
        let (server, directory, alice) = house();
        let process = Process::of(&server, &directory, &[]).await;
        let mut writer = Writer::of(&server);
        let kept = Kept::of(&process, &server, &alice, &mut writer).await;
        directory.mode(Mode::Fails);
        // Who has revoked it would say so again.
        let revoking = Process::of(&server, &directory, &[]).await;
        let revoked = revoking.authz.revoke(Scope::Subject(alice.clone())).await.unwrap();
        until("it has seen it", || process.store.stats().position() >= revoked.position()).await;
        drop((revoked, revoking));
        never_allowed(&[&process], &alice, &kept, &mut writer, Duration::from_millis(500)).await;
        if trick == "of an epoch that is over" {
            server.command(&["FLUSHALL"]);
            let lost = || process.store.stats().epoch_changes(EpochChange::Lost) > 0;
            until("it follows the next", lost).await;
        }
        writer.restore(CONTROL, &kept.control);
        writer.restore(LATEST, &kept.latest);
        if trick.starts_with("further on") {
            // As if more had happened than the revocation.
            let _: f64 = writer.ask(&["ZINCRBY", CONTROL, "7", "\0s"]);
        }
        if trick == "further on and not told" {
            let _: i64 = writer.ask(&["DEL", LATEST]);
        }
        never_allowed(&[&process], &alice, &kept, &mut writer, Duration::from_secs(2)).await;
    }
}

/// Who has not seen the revocation believes what is put back, no longer than it was sealed for.
#[tokio::test]
async fn what_is_put_back_with_its_record_ends_when_it_was_to_end() {
    let (server, directory, alice) = house();
    let ttl = [("AUTHZ_CACHE_TTL", "8s")];
    let mut writer = Writer::of(&server);
    let process = Process::of(&server, &directory, &ttl).await;
    let kept = Kept::of(&process, &server, &alice, &mut writer).await;
    let sealed = Instant::now();
    directory.mode(Mode::Fails);
    drop(process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap());
    drop(process);
    writer.restore(CONTROL, &kept.control);
    writer.restore(LATEST, &kept.latest);
    let cold = Process::of(&server, &directory, &ttl).await;
    let (mut believed, in_time) = (false, sealed.elapsed() < Duration::from_secs(6));
    while sealed.elapsed() < Duration::from_secs(8) {
        writer.put(&kept.name, &kept.entry);
        believed |= cold.asked(&alice).await == Some(true);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(believed || !in_time, "else nothing is tried here");
    never_allowed(&[&cold], &alice, &kept, &mut writer, Duration::from_secs(1)).await;
}

/// Whoever looks before the next poll counts it, and the poll begins another epoch.
#[tokio::test]
async fn a_record_that_went_back_is_counted_and_ends() {
    let (server, directory, alice) = house();
    let mut writer = Writer::of(&server);
    let begun = Instant::now();
    loop {
        directory.mode(Mode::Answers);
        let process = Process::of(&server, &directory, &[("CACHE_POLL_INTERVAL", "900ms")]).await;
        let kept = Kept::of(&process, &server, &alice, &mut writer).await;
        directory.mode(Mode::Fails);
        let revoked = process.authz.revoke(Scope::Subject(alice.clone())).await.unwrap();
        until("it has seen it", || process.store.stats().position() >= revoked.position()).await;
        writer.restore(CONTROL, &kept.control);
        writer.restore(LATEST, &kept.latest);
        writer.put(&kept.name, &kept.entry);
        assert_ne!(process.asked(&alice).await, Some(true));
        until("another epoch begins", || process.store.stats().epoch_changes(EpochChange::Lost) > 0).await;
        if process.rejected(RejectReason::Regress) == 1 {
            return;
        }
        server.command(&["DEL", &kept.name]);
        assert!(begun.elapsed() < Duration::from_secs(60), "the poll is always first");
    }
}

/// It would survive every revocation up to its stamp.
#[tokio::test]
async fn an_entry_from_after_the_record_is_not_believed() {
    let (server, directory, alice) = house();
    let mut writer = Writer::of(&server);
    let process = Process::of(&server, &directory, &[]).await;
    let (control, latest) = (writer.dump(CONTROL), writer.dump(LATEST));
    drop(process.authz.revoke(Scope::Subject(who("acme-corp", "bob"))).await.unwrap());
    let kept = Kept::of(&process, &server, &alice, &mut writer).await;
    directory.mode(Mode::Fails);
    drop(process);
    writer.restore(CONTROL, &control);
    writer.restore(LATEST, &latest);
    let cold = Process::of(&server, &directory, &[]).await;
    writer.put(&kept.name, &kept.entry);
    cold.disbelieves(&directory, &alice, "an entry that was stored later").await;
    assert_eq!(cold.rejected(RejectReason::Regress), 1);
}
