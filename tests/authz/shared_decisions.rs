//! Decisions that processes share: found by others, sealed, and ended everywhere by one revocation.

use super::alike::{Seen, answer, audited, explained};
use super::fleet::Fleet;
use super::judge::{Judge, NO, context};
use super::process::{Process, Writer};
use super::seams::{LOGGED, listen};
use super::*;
use proptest::prelude::*;
use terrace::authz::{Consistency, Decision, DenyReason, Requirement, Scope, all_of, any_of, perm};
use terrace::chaos::Failure;
use terrace::stats::{BypassReason, RejectReason};
use terrace_redis_server::Server;
use terrace_tests::until;
use tokio::runtime::Builder;

/// Of rights.
const MEMORY: &[(&str, &str)] = &[];
const SHARED: &[(&str, &str)] = &[("AUTHZ_CACHE_L1_MAX_BYTES", "0")];

/// Processes of one judge, who lets alice read.
async fn fleet(size: usize, vars: &[(&str, &str)]) -> (Fleet, Judge) {
    let judge = Judge::new();
    judge.says("acme/alice read", Decision::Allow);
    let fleet = Fleet::built(size, vars, |it| it.authorizer(judge.clone()).cache_decisions("judge")).await;
    fleet.directory.set(&fleet.alice.who, Grants::partial(["granted"]));
    (fleet, judge)
}

async fn check(fleet: &Fleet, process: usize, requirement: impl Into<Requirement>) -> Option<Decision> {
    fleet.authz[process].check(&fleet.alice, requirement).await.ok()
}

#[tokio::test(start_paused = true)]
async fn what_one_process_was_told_the_others_find() {
    let (fleet, judge) = fleet(2, MEMORY).await;
    let denied = Decision::Deny(DenyReason::TenantMismatch);
    judge.says("acme/alice open", denied);
    let all = || ["read", "open", "granted"];
    let expected = vec![Decision::Allow, denied, Decision::Allow];
    for _ in 0..2 {
        for process in 0..2 {
            assert_eq!(
                fleet.authz[process].check_many(&fleet.alice, all()).await.unwrap(),
                expected,
                "with its reason"
            );
            fleet.pass(100).await;
        }
    }
    assert_eq!((judge.calls(), fleet.directory.loads(), fleet.chaos.entries()), (1, 1, 3));
    let hits = |process: usize| {
        let by = statuses(&fleet.authz[process].stats());
        ["cache_miss", "l2_cache_hit", "l1_cache_hit"].map(|how| by.get(how).copied().unwrap_or_default())
    };
    assert_eq!((hits(0), hits(1)), ([3, 0, 3], [0, 3, 3]));
    // What has ended has ended for all: the tiers do not add up.
    fleet.pass(4700).await;
    assert_eq!((check(&fleet, 1, "open").await, judge.calls()), (Some(denied), 2));
    fleet.later(100).await;
    assert_eq!((check(&fleet, 1, "read").await, judge.calls()), (Some(Decision::Allow), 2));
    fleet.later(200).await;
    assert_eq!((check(&fleet, 1, "read").await, judge.calls()), (Some(Decision::Allow), 3));
}

#[tokio::test(start_paused = true)]
async fn a_deny_may_live_no_longer_than_who_finds_it_lets_it() {
    let (fleet, judge) = fleet(2, &[("AUTHZ_CACHE_DENY_TTL", "60")]).await;
    assert_eq!((check(&fleet, 0, "open").await, check(&fleet, 0, "read").await), (Some(NO), Some(Decision::Allow)));
    fleet.pass(2000).await;
    fleet.stores[1].settings().set("AUTHZ_CACHE_DENY_TTL", "1").unwrap();
    assert_eq!((check(&fleet, 1, "open").await, judge.calls()), (Some(NO), 3));
    assert_eq!((check(&fleet, 1, "read").await, judge.calls()), (Some(Decision::Allow), 3));
    fleet.stores[0].settings().set("AUTHZ_CACHE_DENY_TTL", "0").unwrap();
    assert_eq!((check(&fleet, 0, "open").await, judge.calls()), (Some(NO), 4));
}

/// T8 for this kind.
#[tokio::test(start_paused = true)]
async fn every_change_ends_decisions_in_every_tier() {
    for (tier, vars) in [("memory", MEMORY), ("shared", SHARED)] {
        for announced in [false, true] {
            for scale in 0..4 {
                let (fleet, judge) = fleet(2, vars).await;
                let alice = fleet.alice.who.clone();
                let scope = match scale {
                    0 => Scope::Subject(alice.clone()),
                    1 => Scope::Subjects(vec![who("acme", "bob"), alice.clone()]),
                    2 => Scope::Tenant(alice.tenant.clone()),
                    _ => Scope::All,
                };
                let what = format!("{tier}, announced: {announced}, {scope:?}");
                for calls in [2, 2] {
                    let said = (check(&fleet, 1, "read").await, check(&fleet, 1, "open").await);
                    assert_eq!(said, (Some(Decision::Allow), Some(NO)), "{what}");
                    fleet.pass(100).await;
                    assert_eq!(judge.calls(), calls, "{what}: from what is cached");
                }
                let changes = || {
                    judge.says("acme/alice read", NO);
                    judge.says("acme/alice open", Decision::Allow);
                };
                if announced {
                    let change = fleet.authz[0].begin_change(scope).await.unwrap();
                    changes();
                    drop(change.commit().await.unwrap());
                } else {
                    changes();
                    drop(fleet.authz[0].revoke(scope).await.unwrap());
                }
                assert_eq!(check(&fleet, 0, "read").await, Some(NO), "{what}: at once where it was changed");
                fleet.pass(1000).await;
                for process in [1, 0, 1] {
                    let said = (check(&fleet, process, "read").await, check(&fleet, process, "open").await);
                    assert_eq!(said, (Some(NO), Some(Decision::Allow)), "{what}");
                    fleet.pass(100).await;
                }
            }
        }
    }
}

/// Whatever fails, of the judge and of the tier: allowed is only whom the judge or a valid entry allows.
#[tokio::test(start_paused = true)]
async fn no_failure_of_any_part_allows_anybody() {
    let slow = Failure::Slow(Duration::from_millis(20));
    let all = [Failure::Refuses, Failure::Hangs, Failure::ReadOnly, Failure::Full, Failure::StoresHang, slow];
    for vars in [MEMORY, SHARED] {
        for failure in [Failure::None].into_iter().chain(all) {
            for mode in [Mode::Answers, Mode::Fails, Mode::Panics, Mode::Hangs] {
                let what = format!("{failure:?}, {mode:?}, {vars:?}");
                let (fleet, judge) = fleet(2, vars).await;
                for process in 0..2 {
                    assert_eq!(check(&fleet, process, "read").await, Some(Decision::Allow), "{what}");
                    fleet.pass(100).await;
                }
                judge.says("acme/alice read", NO);
                drop(fleet.authz[0].revoke(fleet.scope()).await.unwrap());
                judge.mode(mode);
                fleet.chaos.fails(failure);
                fleet.pass(1000).await;
                for _ in 0..2 {
                    let expected = (mode == Mode::Answers).then_some(NO);
                    for process in 0..2 {
                        assert_eq!(check(&fleet, process, "read").await, expected, "{what}");
                    }
                    fleet.pass(300).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_knows_of_a_change_or_cannot_hear_of_one_is_not_answered_from_before() {
    let (fleet, judge) = fleet(2, MEMORY).await;
    fleet.chaos.is_silent(true);
    for _ in 0..2 {
        assert_eq!(check(&fleet, 1, "read").await, Some(Decision::Allow));
    }
    assert_eq!(judge.calls(), 1);
    judge.says("acme/alice read", NO);
    let receipt = fleet.authz[0].revoke(fleet.scope()).await.unwrap();
    let after = perm("read").consistency(Consistency::AtLeast(receipt));
    assert_eq!((check(&fleet, 1, after).await, judge.calls()), (Some(NO), 2));
    assert!(fleet.authz[1].stats().bypasses(BypassReason::Behind) >= 1);
    // And who is cut off asks each time.
    fleet.pass(1000).await;
    assert_eq!(check(&fleet, 1, "read").await, Some(NO));
    judge.says("acme/alice read", Decision::Allow);
    fleet.chaos.fails(Failure::Refuses);
    fleet.pass(1100).await;
    let calls = judge.calls();
    assert_eq!((check(&fleet, 1, "read").await, judge.calls()), (Some(Decision::Allow), calls + 1));
    assert_eq!((check(&fleet, 1, "read").await, judge.calls()), (Some(Decision::Allow), calls + 2));
}

fn reason() -> impl Strategy<Value = Decision> {
    prop::sample::select(vec![
        Decision::Allow,
        Decision::Allow,
        NO,
        Decision::Deny(DenyReason::Denied),
        Decision::Deny(DenyReason::InsufficientScope),
        Decision::Deny(DenyReason::TenantMismatch),
    ])
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let some = prop::sample::subsequence(vec!["a", "b", "granted", "denied"], 1..4).prop_shuffle();
    let rule = (0..3, some).prop_map(|(kind, some)| match kind {
        0 => perm(some[0]),
        1 => all_of(some),
        _ => any_of(some),
    });
    (rule, any::<bool>(), any::<bool>()).prop_map(|(rule, one, inside)| {
        let rule = if one { rule.resource("1") } else { rule };
        if inside { rule.context(context(&[("address", "inside")])) } else { rule }
    })
}

async fn is_alike(said: &[Decision], requirement: &Requirement, scopes: &str) {
    let mut all: Vec<(Seen, Option<String>, Vec<String>)> = Vec::new();
    let token = format!("Bearer acme/alice/{scopes}");
    let limits = scopes.split(',').filter(|scope| !scope.is_empty()).map(Into::into).collect();
    let judged = async || {
        let (fleet, judge) = fleet(2, &[]).await;
        for (at, decision) in said.iter().enumerate() {
            let (action, rest) = (["a", "b"][at % 2], ["", " [1]", " address=inside", " [1] address=inside"][at / 2]);
            judge.says(&format!("acme/alice {action}{rest}"), *decision);
        }
        let grants = Grants::partial(["granted", "granted:1"]).deny("denied").deny("denied:1");
        fleet.directory.set(&fleet.alice.who, grants);
        (fleet, judge)
    };
    let ((answering, asked), (explaining, _)) = (judged().await, judged().await);
    let principal = Principal { scopes: limits, ..explaining.alice.clone() };
    for (process, status) in [(0, "cache_miss"), (0, "l1_cache_hit"), (1, "l2_cache_hit")] {
        LOGGED.set(Some(Vec::new()));
        let seen = answer(&answering.authz[process], requirement, &token).await;
        let (why, how) = explained(&explaining.authz[process], requirement, &principal).await;
        all.push((seen, why, audited()));
        assert_eq!(how, status);
        answering.pass(20).await;
        explaining.pass(20).await;
    }
    assert_eq!(all[0], all[1], "from memory");
    assert_eq!(all[0], all[2], "from the shared tier");
    assert_eq!(all[0].2.len(), 2, "both are audited");
    assert!(asked.calls() <= 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn where_decisions_come_from_makes_no_difference(
        said in prop::collection::vec(reason(), 8),
        requirement in requirement(),
        scopes in prop::sample::select(vec!["", "a", "a,b", "x"]),
    ) {
        listen();
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(is_alike(&said, &requirement, scopes));
    }
}

/// What decisions are called in Redis.
fn names(server: &Server) -> Vec<String> {
    ::redis::from_redis_value(server.command(&["KEYS", "auth:check:*"])).unwrap()
}

async fn process(server: &Server, directory: &Directory, judge: &Judge, vars: &[(&str, &str)], id: &str) -> Process {
    let store = Process::store(server, vars);
    let builder = Authz::builder(store.clone(), directory.clone()).source_id("db").identify(Tokens);
    let authz = builder.authorizer(judge.clone()).cache_decisions(id).build().unwrap();
    Process { store, authz }.joined().await
}

/// A server, a directory that decides nothing, and a judge who lets alice read.
fn court() -> (Server, Directory, Judge, Principal) {
    let (directory, judge, alice) = (Directory::new(), Judge::new(), who("acme-corp", "alice"));
    directory.set(&alice, Grants::partial(["granted"]));
    judge.says("acme-corp/alice read", Decision::Allow);
    (Server::start(), directory, judge, Principal::new(alice))
}

/// Asks until a new decision is in Redis; its name.
async fn fills(server: &Server, process: &Process, alice: &Principal, requirement: Requirement) -> String {
    let before = names(server);
    drop(process.authz.check(alice, requirement).await.map(|_| ()));
    until("it is there", || names(server).len() > before.len()).await;
    names(server).into_iter().find(|name| !before.contains(name)).unwrap()
}

#[tokio::test]
async fn decisions_are_found_sealed_and_revoked_in_redis() {
    let (server, directory, judge, alice) = court();
    // Nothing else is read as entries are.
    let vars = [("CACHE_FLEET_SWITCHES", "false")];
    let (one, other) = (
        process(&server, &directory, &judge, &vars, "judge").await,
        process(&server, &directory, &judge, &vars, "judge").await,
    );
    let name = fills(&server, &one, &alice, perm("read")).await;
    let digest = name.strip_prefix("auth:check:{shop}:").unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|c| c.is_ascii_hexdigit()), "{name}");
    until("permissions are there", || super::process::names(&server).len() == 1).await;
    assert!(other.authz.check(&alice, "read").await.unwrap().is_allow());
    assert_eq!((judge.calls(), directory.loads(), other.shared_hits()), (1, 1, 1));
    let left: i64 = ::redis::from_redis_value(server.command(&["PTTL", &name])).unwrap();
    assert!((1000..=300_000).contains(&left), "{left}");
    // A deny is there for as long as denies live.
    let denied = fills(&server, &one, &alice, perm("open")).await;
    let left: i64 = ::redis::from_redis_value(server.command(&["PTTL", &denied])).unwrap();
    assert!(left <= 5000, "{left}");
    // Many of them together, of which the other is told nothing.
    let many: Vec<String> = (0..50).map(|at| format!("p:{at}")).collect();
    let before = names(&server);
    let _ = one.authz.check_many(&alice, many.clone()).await.unwrap();
    let is_new = |name: &&String| !before.contains(name);
    until("all are there", || names(&server).iter().filter(is_new).count() == 50).await;
    let (calls, gets) = (judge.calls(), server.info("commandstats", "cmdstat_getrange"));
    let _ = other.authz.check_many(&alice, many).await.unwrap();
    assert_eq!(judge.calls(), calls);
    let count = |calls: &str| calls.split(',').next().unwrap().strip_prefix("calls=").unwrap().parse::<u64>().unwrap();
    let after = server.info("commandstats", "cmdstat_getrange");
    assert_eq!(count(&after) - count(&gets), 51, "each is read once, and the permissions");
    for scope in [Scope::Subject(alice.who.clone()), Scope::Tenant(alice.who.tenant.clone()), Scope::All] {
        judge.says("acme-corp/alice read", Decision::Allow);
        drop(one.authz.revoke(Scope::All).await.unwrap());
        let hits = other.shared_hits();
        let found = async || {
            let _ = one.authz.check(&alice, "read").await.unwrap();
            let _ = other.authz.check(&alice, "read").await.unwrap();
            other.shared_hits() > hits
        };
        while !found().await {}
        judge.says("acme-corp/alice read", NO);
        drop(one.authz.revoke(scope).await.unwrap());
        assert_eq!(other.authz.check(&alice, "read").await.unwrap(), NO);
        assert_eq!(one.authz.check(&alice, "read").await.unwrap(), NO);
    }
}

/// T2 and T25 for this kind: of another question, another kind, another authorizer.
#[tokio::test]
async fn an_entry_decides_nothing_under_another_name() {
    let (server, directory, judge, alice) = court();
    let vars = [("AUTHZ_CACHE_DENY_TTL", "300")];
    let one = process(&server, &directory, &judge, &vars, "judge").await;
    let another = process(&server, &directory, &judge, &vars, "another").await;
    let mallory = Principal::new(who("acme-corp", "mallory"));
    directory.set(&mallory.who, Grants::partial(["granted"]));
    let allow = fills(&server, &one, &alice, perm("read")).await;
    until("permissions are there", || super::process::names(&server).len() == 1).await;
    let permissions = super::process::names(&server).remove(0);
    let mut writer = Writer::of(&server);
    let inside = || perm("read").context(context(&[("address", "inside")]));
    judge.says("acme-corp/alice read", NO);
    let rejected = |process: &Process| process.rejected(RejectReason::Key) + process.rejected(RejectReason::Seal);
    for (process, who, requirement) in [
        (&one, &alice, perm("read").resource("7")),
        (&one, &alice, perm("read").resource("")),
        (&one, &alice, perm("open")),
        (&one, &alice, inside()),
        (&one, &mallory, perm("read")),
        (&another, &alice, perm("read")),
    ] {
        judge.mode(Mode::Answers);
        let name = fills(&server, process, who, requirement.clone()).await;
        let own = writer.get(&name);
        // Nothing is stored from here on.
        judge.mode(Mode::Fails);
        for from in [&allow, &permissions] {
            server.command(&["COPY", from, &name, "REPLACE"]);
            let (before, calls) = (rejected(process), judge.calls());
            assert!(process.authz.check(who, requirement.clone()).await.is_err(), "{requirement:?}");
            assert_eq!((rejected(process), judge.calls()), (before + 1, calls + 1), "{requirement:?}");
        }
        writer.put(&name, &own);
        assert_eq!(process.authz.check(who, requirement).await.unwrap(), NO, "their own is found");
    }
    // Nor does a decision say what somebody may do.
    directory.mode(Mode::Fails);
    let (own, before) = (writer.get(&permissions), rejected(&one));
    server.command(&["COPY", &allow, &permissions, "REPLACE"]);
    assert!(one.authz.check(&alice, "granted").await.is_err());
    assert_eq!(rejected(&one), before + 1);
    writer.put(&permissions, &own);
    // No bit of one can be changed.
    let sealed = writer.get(&allow);
    assert!(one.authz.check(&alice, "read").await.unwrap().is_allow(), "as it was it is found");
    for bit in 0..sealed.len() * 8 {
        let mut forged = sealed.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        writer.put(&allow, &forged);
        assert!(one.authz.check(&alice, "read").await.is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        writer.put(&allow, &sealed[..len]);
        assert!(one.authz.check(&alice, "read").await.is_err(), "{len} bytes");
    }
}

#[tokio::test]
async fn neither_redis_nor_a_log_is_told_what_was_decided_about_what() {
    listen();
    let (server, directory, judge, alice) = court();
    let monitor = server.monitor();
    let one = process(&server, &directory, &judge, &[], "judge-of-acme").await;
    let secret = perm("salary:approve").resource("contract-7").context(context(&[("address", "10.1.2.3")]));
    LOGGED.set(Some(Vec::new()));
    fills(&server, &one, &alice, secret.clone()).await;
    let _ = one.authz.check(&alice, secret.clone()).await.unwrap();
    judge.mode(Mode::Fails);
    assert!(one.authz.check(&alice, secret.clone().fresh()).await.is_err());
    server.command(&["ECHO", "the end"]);
    let heard = std::cell::RefCell::new(String::new());
    until("all is heard", || {
        heard.borrow_mut().push_str(&monitor.said().join("\n"));
        heard.borrow().contains("the end")
    })
    .await;
    let logged = String::from_utf8(LOGGED.replace(None).unwrap()).unwrap();
    let (heard, shown) = (heard.into_inner(), format!("{secret:?} {:?}", one.authz));
    assert!(heard.contains("auth:check:{shop}:") && logged.contains("authz"));
    for part in ["acme-corp", "alice", "contract-7", "10.1.2.3", "judge-of-acme"] {
        assert!(!heard.contains(part), "{part}");
        assert!(!logged.contains(part), "{part}: {logged}");
    }
    assert!(!heard.contains("salary") && !shown.contains("10.1.2.3") && !shown.contains("address"));
}
