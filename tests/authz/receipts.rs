//! Receipts of changes that somebody brings back: nothing from before the change answers them, in any process.

use super::fleet::Fleet;
use super::process::{OTHER, Process, house};
use super::*;
use axum::Extension;
use http::HeaderName;
use terrace::authz::{Consistency, Scope, perm};
use terrace::stats::BypassReason;
use terrace::{Receipt, SessionLayer};

#[tokio::test]
async fn only_who_has_the_key_reads_or_makes_a_receipt() {
    let (server, directory, alice) = house();
    let process = Process::of(&server, &directory, &[]).await;
    let receipt = process.authz.revoke(Scope::Subject(alice)).await.unwrap();
    let text = process.authz.seal_receipt(&receipt).unwrap();
    assert!(
        text.len() < 400 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "{text}"
    );
    let with = |vars: &[(&str, &str)]| Process::joining(&server, &directory, vars).authz;
    let rotated = format!("{OTHER},{}", KEYS.1);
    assert_eq!(with(&[]).open_receipt(&text).as_ref(), Some(&receipt));
    assert_eq!(
        with(&[("AUTHZ_CACHE_KEYS", &rotated)]).open_receipt(&text).as_ref(),
        Some(&receipt),
        "after a rotation"
    );
    assert_eq!(with(&[("AUTHZ_CACHE_KEYS", OTHER)]).open_receipt(&text), None);
    assert_eq!(with(&[("CACHE_NAMESPACE", "stall")]).open_receipt(&text), None);
    for at in 0..text.len() {
        let mut forged = text.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(process.authz.open_receipt(&String::from_utf8(forged).unwrap()), None, "at {at}");
        assert_eq!(process.authz.open_receipt(&text[..at]), None, "{at} characters");
    }
    for forged in ["no base64!", "AAAA", &"A".repeat(4096), &format!("{text}A"), &format!("{text}{text}")] {
        assert_eq!(process.authz.open_receipt(forged), None);
    }
    // What is sealed for responses is sealed for nothing else.
    let keys = KEYS.1;
    let of_responses = Process::joining(&server, &directory, &[("CACHE_KEYS", keys)]);
    let session = SessionLayer::header(of_responses.store.clone(), HeaderName::from_static("x-seen")).unwrap();
    let app = Router::new().route("/", get(async move || Extension(receipt))).layer(session);
    let sealed = send(&app, "/", &[]).await.headers()["x-seen"].to_str().unwrap().to_owned();
    assert_eq!(of_responses.authz.open_receipt(&sealed), None);
}

#[tokio::test]
async fn without_redis_there_is_nobody_to_bring_it_to() {
    let house = House::new();
    let receipt = house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap();
    assert_eq!((house.authz.seal_receipt(&receipt), house.authz.open_receipt("AAAA")), (None, None));
}

/// Processes that hear of one another only when they poll.
async fn behind() -> Fleet {
    let fleet = Fleet::with(2, &[("CACHE_KEYS", KEYS.1)]).await;
    fleet.chaos.is_silent(true);
    for process in [0, 1, 1] {
        assert_eq!(fleet.reads(process).await, Some(true));
    }
    fleet.revoked();
    fleet
}

#[tokio::test(start_paused = true)]
async fn who_brings_a_receipt_is_answered_with_nothing_from_before_it() {
    let fleet = behind().await;
    let receipt = fleet.authz[0].revoke(fleet.scope()).await.unwrap();
    let text = fleet.authz[0].seal_receipt(&receipt).unwrap();
    assert_eq!(fleet.reads(1).await, Some(true), "it has not heard of it");
    let brought = fleet.authz[1].open_receipt(&text).unwrap();
    let rule = perm("invoice:read").consistency(Consistency::AtLeast(brought));
    assert!(!fleet.authz[1].check(&fleet.alice, rule.clone()).await.unwrap().is_allow());
    assert_eq!(fleet.authz[1].stats().bypasses(BypassReason::Behind), 1);
    fleet.pass(500).await;
    let loads = fleet.directory.loads();
    for _ in 0..3 {
        assert!(!fleet.authz[1].check(&fleet.alice, rule.clone()).await.unwrap().is_allow());
    }
    assert_eq!(fleet.directory.loads(), loads + 1, "and costs nothing once it has");
}

/// A layer around both hands receipts out and takes them back, for the caches of responses and of rights alike.
#[tokio::test(start_paused = true)]
async fn a_session_is_answered_with_nothing_from_before_its_own_change() {
    let fleet = behind().await;
    let session = |process: usize| {
        SessionLayer::header(fleet.stores[process].clone(), HeaderName::from_static("x-seen")).unwrap()
    };
    let (authz, scope) = (fleet.authz[0].clone(), fleet.scope());
    let leave = async move || -> Extension<Receipt> { Extension(authz.revoke(scope.clone()).await.unwrap()) };
    let one = Router::new().route("/leave", get(leave)).layer(session(0));
    let seen = send(&one, "/leave", &[]).await.headers()["x-seen"].to_str().unwrap().to_owned();
    let other = app(&fleet.authz[1], "invoice:read").layer(session(1));
    assert_eq!(send(&other, "/invoices", &[ALICE]).await.status(), 200, "it has not heard of it");
    assert_eq!(send(&other, "/invoices", &[ALICE, ("x-seen", "made up")]).await.status(), 200, "nor is it told");
    assert_eq!(send(&other, "/invoices", &[ALICE, ("x-seen", &seen)]).await.status(), 403);
}
