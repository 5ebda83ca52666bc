//! What an authorizer decides, cached: for which question, for how long, and what nobody is ever answered with.

use super::judge::{Court, Judge, NO, context};
use super::ongoing::let_in;
use super::*;
use axum::middleware::{Next, from_fn};
use terrace::authz::{
    AuthzBuilder, Consistency, Context, Decision, DenyReason, Requirement, Scope, SourceVersion, UnavailableReason,
    all_of, any_of, perm,
};
use terrace::stats::{BypassReason, Feature, FlightJoin};
use tokio::task::JoinSet;

const DENIED: Decision = Decision::Deny(DenyReason::Denied);

#[tokio::test]
async fn decisions_are_cached_where_the_builder_says_so_and_nowhere_else() {
    let plain = Court::built(&[], |builder| builder);
    for calls in 1..=3 {
        assert_eq!((plain.reads().await, plain.judge.calls()), (Some(true), calls));
    }
    assert_eq!(plain.statuses(), [("cache_miss", 3)].into());
    let court = Court::new();
    for _ in 0..3 {
        assert_eq!((court.reads().await, court.judge.calls()), (Some(true), 1));
    }
    assert_eq!(court.statuses(), [("cache_miss", 1), ("l1_cache_hit", 2)].into());
    court.store.flags().set(Feature::Authz, false);
    assert_eq!((court.reads().await, court.reads().await, court.judge.calls()), (Some(true), Some(true), 3));
    let builder = Authz::builder(Store::memory(), Directory::new()).cache_decisions("nobody");
    assert!(builder.build().unwrap_err().to_string().contains("needs an authorizer"));
}

/// Each of these was answered for one question, and is asked of the judge for all others.
#[tokio::test]
async fn every_part_of_a_question_is_a_part_of_what_is_cached() {
    let court = Court::new();
    let at = |pairs: &[(&str, &str)]| perm("read").resource("7").context(context(pairs));
    let (alice, other) = (court.alice.clone(), |tenant: &str, subject: &str| Principal::new(who(tenant, subject)));
    let all = [
        (alice.clone(), at(&[("a", "1"), ("b", "2")])),
        (other("acme", "bob"), at(&[("a", "1"), ("b", "2")])),
        (other("other", "alice"), at(&[("a", "1"), ("b", "2")])),
        (alice.clone(), perm("write").resource("7").context(context(&[("a", "1"), ("b", "2")]))),
        (alice.clone(), perm("read").resource("8").context(context(&[("a", "1"), ("b", "2")]))),
        (alice.clone(), perm("read").resource("").context(context(&[("a", "1"), ("b", "2")]))),
        (alice.clone(), perm("read").context(context(&[("a", "1"), ("b", "2")]))),
        (alice.clone(), at(&[])),
        (alice.clone(), at(&[("a", "1")])),
        (alice.clone(), at(&[("a", "2"), ("b", "1")])),
        (alice.clone(), at(&[("a", "1"), ("b", "")])),
        (alice.clone(), at(&[("a", "1"), ("b2", "")])),
        (alice, at(&[("a", "1b2")])),
    ];
    for (principal, _) in &all {
        court.directory.set(&principal.who, Grants::partial(["x"]));
    }
    court.judge.says("acme/alice read [7] a=1 b=2", Decision::Allow);
    for round in 0..2 {
        for (at, (principal, requirement)) in all.iter().enumerate() {
            let decision = court.authz.check(principal, requirement.clone()).await.unwrap();
            assert_eq!(decision.is_allow(), at == 0, "{requirement:?}");
            assert_eq!(court.judge.calls(), if round == 0 { at + 1 } else { all.len() });
        }
    }
}

/// Another authorizer, another policy and another namespace; the same as before is found.
#[tokio::test]
async fn authorizers_and_policies_that_share_a_store_share_no_decisions() {
    let court = Court::new();
    assert_eq!(court.reads().await, Some(true));
    let other = |more: fn(AuthzBuilder) -> AuthzBuilder| {
        let judge = Judge::new();
        let builder = Authz::builder(court.store.clone(), court.directory.clone()).authorizer(judge.clone());
        (more(builder.single_process()).build().unwrap(), judge)
    };
    for more in [
        |it: AuthzBuilder| it.cache_decisions("another"),
        |it: AuthzBuilder| it.cache_decisions("judge").policy_version("2"),
    ] {
        let (authz, judge) = other(more);
        assert_eq!(authz.check(&court.alice, "read").await.unwrap(), NO);
        assert_eq!(judge.calls(), 1);
    }
    let (same, judge) = other(|it| it.cache_decisions("judge"));
    assert!(same.check(&court.alice, "read").await.unwrap().is_allow());
    assert_eq!(judge.calls(), 0);
}

#[tokio::test]
async fn an_allow_lives_as_permissions_do_and_a_deny_for_a_few_seconds() {
    let court = Court::with(&[("AUTHZ_CACHE_TTL", "100")]);
    court.judge.says("acme/alice open", DENIED);
    // Lives end up to a tenth earlier, so that not all end at once.
    for (milliseconds, calls) in [(0, 2), (4400, 2), (600, 3), (80_000, 4), (4400, 4), (10_600, 6)] {
        court.advance(milliseconds);
        let said = (court.check("read").await, court.check("open").await);
        assert_eq!(said, (Some(Decision::Allow), Some(DENIED)), "with its reason");
        assert_eq!(court.judge.calls(), calls, "after {milliseconds} ms");
    }
    court.judge.says("acme/alice open", Decision::Allow);
    court.judge.says("acme/alice read", NO);
    court.advance(5000);
    assert_eq!(court.check("open").await, Some(Decision::Allow), "who was granted something waits no longer");
    court.advance(95_000);
    assert_eq!(court.check("read").await, Some(NO), "what was not announced shows at the deadline");
}

#[tokio::test]
async fn a_deny_that_may_not_live_is_never_stored() {
    let court = Court::with(&[("AUTHZ_CACHE_DENY_TTL", "0")]);
    for calls in 1..=3 {
        assert_eq!((court.check("open").await, court.judge.calls()), (Some(NO), calls));
    }
    assert_eq!((court.reads().await, court.reads().await, court.judge.calls()), (Some(true), Some(true), 4));
    assert_eq!(court.authz.stats().entries(), 2, "of alice, and that she may read");
    // One that was stored while that was allowed.
    let court = Court::new();
    assert_eq!((court.check("open").await, court.check("open").await, court.judge.calls()), (Some(NO), Some(NO), 1));
    court.store.settings().set("AUTHZ_CACHE_DENY_TTL", "0").unwrap();
    court.advance(1);
    assert_eq!((court.check("open").await, court.judge.calls()), (Some(NO), 2));
    let court = Court::with(&[("AUTHZ_CACHE_TTL", "0")]);
    assert_eq!((court.reads().await, court.reads().await, court.judge.calls()), (Some(true), Some(true), 2));
    assert_eq!(court.authz.stats().entries(), 0);
}

/// Every rule over the same three permissions, of which the judge allows one, in every order: as if nothing were cached.
#[tokio::test]
async fn no_verdict_is_that_of_another_rule() {
    let rules: [fn() -> Requirement; 6] = [
        || perm("read"),
        || perm("open"),
        || any_of(["open", "read"]),
        || all_of(["read", "open"]),
        || all_of(["read"]),
        || any_of(["open", "shut"]),
    ];
    let expected = [true, false, true, false, true, false];
    for first in 0..rules.len() {
        let court = Court::new();
        for at in (0..rules.len()).cycle().skip(first).take(2 * rules.len()) {
            let decision = court.check(rules[at]()).await.unwrap();
            assert_eq!(decision.is_allow(), expected[at], "{:?} after {:?}", rules[at](), rules[first]());
        }
        assert!(court.judge.calls() <= 3, "and each permission is asked for once");
    }
}

/// What is judged for each request is judged, whatever is cached.
#[tokio::test]
async fn a_cached_allow_is_no_way_around_what_each_request_is_judged_by() {
    let court = Court::new();
    court.judge.says("acme/alice read [7]", Decision::Allow);
    let route = get(async || "an invoice").route_layer(court.authz.require(perm("read").tenant_param("org")));
    let app = Router::new().route("/orgs/{org}/invoices", route);
    let soon = wall(10).duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = format!("Bearer acme/alice//{soon}");
    for (org, token, status) in [
        ("acme", "Bearer acme/alice", 200),
        ("acme", &*token, 200),
        ("other", "Bearer acme/alice", 403),
        ("acme", "Bearer acme/alice/open", 403),
        ("acme", "Bearer acme/alice/open,read", 200),
    ] {
        let response = send(&app, &format!("/orgs/{org}/invoices"), &[("authorization", token)]).await;
        assert_eq!(response.status(), status, "{org} {token}");
    }
    let limited = Principal { scopes: ["open".into()].into(), ..court.alice.clone() };
    let decision = court.authz.check(&limited, "read").await.unwrap();
    assert_eq!(decision, Decision::Deny(DenyReason::InsufficientScope));
    assert!(court.check(perm("read").resource("7")).await.unwrap().is_allow());
    assert_eq!(court.judge.calls(), 2);
    court.advance(10_000);
    assert_eq!(send(&app, "/orgs/acme/invoices", &[("authorization", &token)]).await.status(), 401);
    // A deny that is explicit now: the decision of before is still there, and decides nothing.
    court.directory.set(&court.alice.who, Grants::partial(["x"]).deny("read").deny("read:7"));
    let fresh_facts = perm("x").fresh();
    assert!(court.check(fresh_facts).await.unwrap().is_allow());
    assert_eq!(court.check("read").await, Some(DENIED));
    assert_eq!(court.check(perm("read").resource("7")).await, Some(DENIED));
    assert_eq!(court.judge.calls(), 2);
}

#[tokio::test]
async fn what_is_cached_of_many_questions_is_not_asked_and_the_rest_in_one_call() {
    let court = Court::new();
    court.judge.says("acme/alice c", Decision::Allow);
    court.directory.set(&court.alice.who, Grants::partial(["granted"]));
    assert_eq!(court.reads().await, Some(true));
    let questions = ["a", "read", "b", "granted", "c"];
    for _ in 0..2 {
        let decisions = court.authz.check_many(&court.alice, questions).await.unwrap();
        let allowed: Vec<bool> = decisions.iter().map(|decision| decision.is_allow()).collect();
        assert_eq!(allowed, [false, true, false, true, true]);
        assert_eq!(
            (court.judge.calls(), court.judge.last()),
            (2, ["a", "b", "c"].map(|it| format!("acme/alice {it}")).into())
        );
    }
    // Each is there by itself.
    for (question, allowed) in [("a", false), ("b", false), ("c", true)] {
        assert_eq!(court.check(question).await.map(Decision::is_allow), Some(allowed));
    }
    assert_eq!(court.judge.calls(), 2);
    // The same action on different resources, under different circumstances.
    court.judge.says("acme/alice open [7]", Decision::Allow);
    court.judge.says("acme/alice open a=1", Decision::Allow);
    let open = || perm("open");
    let about = || [open(), open().resource("7"), open().resource("8"), open().context(context(&[("a", "1")]))];
    for _ in 0..2 {
        let decisions = court.authz.check_many(&court.alice, about()).await.unwrap();
        assert_eq!(decisions, [NO, Decision::Allow, NO, Decision::Allow]);
        assert_eq!(court.judge.calls(), 3);
    }
    let twice = court.authz.check_many(&court.alice, ["d", "d", "e"]).await.unwrap();
    assert_eq!((twice, court.judge.last()), (vec![NO; 3], vec!["acme/alice d".to_owned(), "acme/alice e".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_neither_an_allow_nor_kept() {
    for (mode, surplus, reason) in [
        (Mode::Fails, 0, UnavailableReason::Source),
        (Mode::Panics, 0, UnavailableReason::Panic),
        (Mode::Hangs, 0, UnavailableReason::Timeout),
        (Mode::Answers, 1, UnavailableReason::Source),
        (Mode::Answers, -1, UnavailableReason::Source),
    ] {
        let court = Court::new();
        court.judge.mode(mode);
        court.judge.surplus(surplus);
        for _ in 0..2 {
            for questions in [vec!["read"], vec!["read", "open"]] {
                let error = court.authz.check_many(&court.alice, questions).await.unwrap_err();
                assert_eq!(error.reason(), reason, "{mode:?} {surplus}");
            }
        }
        assert!(court.authz.stats().entries() <= 1, "nothing but what the directory says");
        let response = send(&app(&court.authz, "read"), "/invoices", &[ALICE]).await;
        assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
        court.judge.mode(Mode::Answers);
        court.judge.surplus(0);
        // A call that has just run out of time ends.
        tokio::task::yield_now().await;
        assert_eq!((court.reads().await, court.check("open").await), (Some(true), Some(NO)));
    }
    // What is cached goes on while it is valid, and no longer.
    let court = Court::new();
    assert_eq!(court.reads().await, Some(true));
    court.judge.mode(Mode::Fails);
    assert_eq!((court.reads().await, court.check(perm("read").fresh()).await), (Some(true), None));
    court.advance(300_000);
    let stale = perm("read").stale_if_source_fails(Duration::from_secs(600));
    assert_eq!((court.reads().await, court.check(stale).await), (None, None));
}

#[tokio::test]
async fn a_revocation_ends_decisions_for_each_scope_and_only_there() {
    for (at, scope) in [
        Scope::Subject(who("acme", "alice")),
        Scope::Subjects(vec![who("acme", "bob"), who("acme", "alice")]),
        Scope::Tenant(Tenant::new("acme").unwrap()),
        Scope::All,
        Scope::Subject(who("acme", "bob")),
        Scope::Tenant(Tenant::new("other").unwrap()),
    ]
    .into_iter()
    .enumerate()
    {
        let court = Court::new();
        assert_eq!((court.reads().await, court.check("open").await), (Some(true), Some(NO)));
        court.judge.says("acme/alice read", NO);
        court.judge.says("acme/alice open", Decision::Allow);
        drop(court.authz.revoke(scope.clone()).await.unwrap());
        let expected = if at < 4 { (Some(false), Some(Decision::Allow)) } else { (Some(true), Some(NO)) };
        assert_eq!((court.reads().await, court.check("open").await), expected, "{scope:?}");
    }
}

/// Asks in so many tasks, and waits until they wait.
async fn crowd(court: &Court, size: usize, requirement: impl Fn() -> Requirement) -> JoinSet<Option<bool>> {
    let mut tasks = JoinSet::new();
    for _ in 0..size {
        let (authz, alice, requirement) = (court.authz.clone(), court.alice.clone(), requirement());
        tasks.spawn(async move { authz.check(&alice, requirement).await.ok().map(Decision::is_allow) });
    }
    for _ in 0..size + 50 {
        tokio::task::yield_now().await;
    }
    tasks
}

/// The slow answer that brings a revoked right back: never a hit, and nobody who comes later takes it.
#[tokio::test(start_paused = true)]
async fn a_decision_that_is_under_way_when_it_is_revoked_is_of_no_use_after_it() {
    let alice = who("acme", "alice");
    for scope in [Scope::Subject(alice.clone()), Scope::Tenant(alice.tenant.clone()), Scope::All] {
        let court = Court::new();
        // The permissions are there, before and after.
        assert_eq!(court.check("x").await, Some(NO));
        court.judge.mode(Mode::Gated);
        let before = crowd(&court, 1, || perm("read")).await;
        court.judge.called(2).await;
        court.advance(1);
        court.judge.says("acme/alice read", NO);
        drop(court.authz.revoke(scope).await.unwrap());
        court.advance(1);
        let later = crowd(&court, 10, || perm("read")).await;
        assert_eq!(court.judge.calls(), 2, "they wait for the one that is under way");
        court.judge.release(2);
        assert_eq!(before.join_all().await, [Some(true)], "it asked before");
        assert_eq!(later.join_all().await, vec![Some(false); 10]);
        assert!(court.authz.stats().flight_joins(FlightJoin::Refused) >= 1);
        assert_eq!((court.judge.calls(), court.reads().await), (3, Some(false)));
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_change_is_announced_decisions_are_asked_for_each_time() {
    let court = Court::new();
    assert_eq!(court.reads().await, Some(true));
    let change = court.authz.begin_change(Scope::Subject(court.alice.who.clone())).await.unwrap();
    court.advance(1);
    let asked = court.judge.calls();
    assert_eq!((court.reads().await, court.judge.calls()), (Some(true), asked + 1));
    court.advance(1);
    court.judge.says("acme/alice read", NO);
    assert_eq!((court.reads().await, court.judge.calls()), (Some(false), asked + 2));
    drop(change.commit().await.unwrap());
    court.advance(1);
    assert_eq!((court.reads().await, court.reads().await, court.judge.calls()), (Some(false), Some(false), asked + 3));
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_one_call_and_whoever_leaves_the_others_are_answered() {
    let court = Court::new();
    assert_eq!(court.check("x").await, Some(NO));
    court.judge.mode(Mode::Gated);
    let (authz, alice) = (court.authz.clone(), court.alice.clone());
    let leader = tokio::spawn(async move { authz.check(&alice, "read").await.is_ok() });
    court.judge.called(2).await;
    let tasks = crowd(&court, 1000, || perm("read")).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    court.judge.release(1);
    assert_eq!(tasks.join_all().await, vec![Some(true); 1000]);
    assert_eq!((court.judge.calls(), court.statuses()["cache_coalesced"]), (2, 1000));
    // Of several, each by itself: what somebody asks already is not asked again.
    let first = crowd(&court, 1, || all_of(["a", "b"])).await;
    let second = crowd(&court, 1, || all_of(["b", "c"])).await;
    assert_eq!(court.judge.last(), ["acme/alice c"]);
    court.judge.release(2);
    assert_eq!((first.join_all().await, second.join_all().await), (vec![Some(false)], vec![Some(false)]));
}

#[tokio::test(start_paused = true)]
async fn who_demands_what_is_so_now_does_not_take_an_answer_of_before() {
    let court = Court::new();
    assert_eq!(court.reads().await, Some(true));
    let fresh = || perm("read").fresh();
    let version = || perm("read").consistency(Consistency::AtLeastVersion(SourceVersion(1)));
    court.directory.set(&court.alice.who, Grants::partial(["x"]).version(SourceVersion(1)));
    for (calls, demanding) in (2..).zip([fresh(), version(), fresh()]) {
        assert!(court.check(demanding).await.unwrap().is_allow());
        assert_eq!(court.judge.calls(), calls);
    }
    assert_eq!((court.reads().await, court.judge.calls()), (Some(true), 4));
    // Nor one that is under way.
    court.judge.mode(Mode::Gated);
    let older = crowd(&court, 1, || perm("open")).await;
    court.advance(1);
    let newer = crowd(&court, 10, || perm("open").fresh()).await;
    court.judge.says("acme/alice open", Decision::Allow);
    court.advance(1);
    court.judge.release(100);
    assert_eq!(older.join_all().await, [Some(false)]);
    assert_eq!(newer.join_all().await, vec![Some(true); 10]);
    assert_eq!(court.judge.calls(), 6, "one for all who demand it");
    // What that learned is what is known now.
    court.judge.mode(Mode::Fails);
    assert_eq!(court.check("open").await, Some(Decision::Allow));
}

/// The application's middleware says it, around the layer; the requirement has the last word; and a client none.
#[tokio::test]
async fn circumstances_come_from_the_application_alone_and_reach_the_authorizer_alone() {
    let court = Court::new();
    for (address, hour) in [("inside", "9"), ("outside", "9")] {
        let decision = if address == "inside" { Decision::Allow } else { NO };
        court.judge.says(&format!("acme/alice read address={address} hour={hour}"), decision);
    }
    let says = async |mut request: axum::extract::Request, next: Next| {
        let address = request.headers().get("x-address").map(|it| it.to_str().unwrap().to_owned());
        if let Some(address) = address {
            request.extensions_mut().insert(Context::new([("address", &*address), ("hour", "23")]).unwrap());
        }
        next.run(request).await
    };
    let requirement = perm("read").context(context(&[("hour", "9")]));
    let app = app(&court.authz, requirement).layer(from_fn(says));
    let status = async |fields: &[(&str, &str)]| send(&app, "/invoices", fields).await.status().as_u16();
    for _ in 0..2 {
        assert_eq!(status(&[ALICE, ("x-address", "inside")]).await, 200);
        assert_eq!(status(&[ALICE, ("x-address", "outside")]).await, 403);
        assert_eq!(status(&[ALICE]).await, 403);
        assert_eq!(status(&[ALICE, ("x-slow", "1"), ("x-address", "inside")]).await, 200);
    }
    assert_eq!((court.judge.calls(), court.judge.last()), (3, vec!["acme/alice read hour=9".to_owned()]));
    assert_eq!(court.directory.loads(), 1, "permissions are those of the subject");
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_ends_with_the_first_decision_that_it_rests_on() {
    let court = Court::with(&[("AUTHZ_CACHE_TTL", "100")]);
    court.judge.says("acme/alice write", Decision::Allow);
    let token = "Bearer acme/alice";
    let told = async |authorized: &terrace::Authorized, seconds: u64| {
        let authorized = authorized.clone();
        let waits = tokio::spawn(async move { authorized.revoked().await });
        for _ in 0..seconds * 10 {
            court.advance(100);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if waits.is_finished() {
                return true;
            }
        }
        waits.abort();
        false
    };
    assert_eq!(court.reads().await, Some(true));
    court.advance(60_000);
    // One decision is a minute old; the other new, and so is what the directory says.
    assert!(court.check(perm("x").fresh()).await.is_some());
    let both = let_in(&court.authz, all_of(["read", "write"]), token).await;
    assert_eq!(both.age(), Duration::from_secs(60));
    assert!(!told(&both, 25).await && told(&both, 16).await);
    // A deny that lives for five seconds is nothing that an allow rests on.
    let one = let_in(&court.authz, any_of(["open", "write"]), token).await;
    assert!(!told(&one, 20).await);
    drop(court.authz.revoke(Scope::Subject(court.alice.who.clone())).await.unwrap());
    assert!(told(&one, 1).await, "revoked");
    let again = one.revalidate().await.unwrap().unwrap();
    assert!(!told(&again, 20).await);
    court.judge.says("acme/alice write", NO);
    drop(court.authz.revoke(Scope::All).await.unwrap());
    assert!(told(&again, 1).await);
    assert!(again.revalidate().await.unwrap().is_none());
    // Without a cache it rests on nothing that would be told of.
    let plain = Court::built(&[], |builder| builder);
    let asked = let_in(&plain.authz, perm("read"), token).await;
    plain.advance(1000);
    tokio::time::timeout(Duration::from_secs(1), asked.revoked()).await.unwrap();
}

/// What goes on asks again under the circumstances in which it was let in.
#[tokio::test]
async fn what_asks_again_does_so_under_the_same_circumstances() {
    let court = Court::new();
    court.judge.says("acme/alice read address=inside", Decision::Allow);
    court.judge.says("acme/alice read", NO);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |authorized: terrace::Authorized| {
        tell.send(authorized).unwrap();
        std::future::ready(())
    };
    let says = async |mut request: axum::extract::Request, next: Next| {
        request.extensions_mut().insert(context(&[("address", "inside")]));
        next.run(request).await
    };
    let app = Router::new().route("/", get(handler).route_layer(court.authz.require("read"))).layer(from_fn(says));
    assert_eq!(send(&app, "/", &[ALICE]).await.status(), 200);
    let authorized = told.recv().await.unwrap();
    assert!(authorized.revalidate().await.unwrap().is_some());
    assert_eq!(court.judge.last(), ["acme/alice read address=inside"]);
}

/// Who asks about what is not there fills a tenth of the memory and no more, and nobody else is kept out.
#[tokio::test]
async fn who_asks_for_everything_fills_no_more_than_what_is_for_denies() {
    let court = Court::with(&[("AUTHZ_CACHE_L1_MAX_BYTES", "1MiB")]);
    for at in 0..5000 {
        let asked = perm("read").resource(format!("{at}:{}", "x".repeat(200)));
        assert_eq!(court.check(asked).await, Some(NO));
    }
    let flooded = court.authz.stats().size_bytes();
    assert!(flooded > 1 << 15 && flooded <= (1 << 20) * 12 / 100, "{flooded}");
    let calls = court.judge.calls();
    assert_eq!((court.reads().await, court.reads().await, court.judge.calls()), (Some(true), Some(true), calls + 1));
    // What has ended keeps nobody out.
    court.advance(6000);
    let is_kept = async |at: usize| {
        let asked = || perm("read").resource(format!("new {at}"));
        assert_eq!(court.check(asked()).await, Some(NO));
        let calls = court.judge.calls();
        assert_eq!(court.check(asked()).await, Some(NO));
        court.judge.calls() == calls
    };
    let mut kept = 0;
    for at in 0..200 {
        kept += usize::from(is_kept(at).await);
    }
    assert!(kept > 50, "{kept}");
}

/// The same for a tenant's share, which its members fill with what they may.
#[tokio::test]
async fn what_a_tenant_was_allowed_once_does_not_keep_it_out_of_memory() {
    let court = Court::with(&[("AUTHZ_CACHE_L1_MAX_BYTES", "1MiB"), ("AUTHZ_CACHE_TTL", "100")]);
    let asked = |at: usize| perm("open").resource(at.to_string());
    for at in 0..1000 {
        court.judge.says(&format!("acme/alice open [{at}]"), Decision::Allow);
        assert_eq!(court.check(asked(at)).await, Some(Decision::Allow));
    }
    let size = court.authz.stats().size_bytes();
    assert!(size > 1 << 17 && size <= (1 << 20) * 27 / 100, "{size}");
    court.advance(100_000);
    let (mut kept, bob) = (0, Principal::new(who("acme", "bob")));
    court.directory.set(&bob.who, Grants::partial(["x"]));
    for _ in 0..200 {
        let loads = court.directory.loads();
        assert!(court.authz.check(&bob, "x").await.unwrap().is_allow());
        kept += usize::from(court.directory.loads() == loads);
    }
    assert!(kept > 100, "{kept}");
}

/// Decisions have no version: while the facts are as they are demanded, the decision alone is asked for anew, and says so.
#[tokio::test]
async fn a_decision_that_is_asked_for_anew_is_a_bypass_that_says_why() {
    let court = Court::new();
    court.directory.set(&court.alice.who, Grants::partial(Vec::<String>::new()).version(SourceVersion(3)));
    assert_eq!(court.reads().await, Some(true));
    let demanded = perm("read").consistency(Consistency::AtLeastVersion(SourceVersion(3)));
    for again in 1..=2 {
        court.advance(10);
        assert_eq!(court.check(demanded.clone()).await, Some(Decision::Allow));
        assert_eq!((court.directory.loads(), court.judge.calls()), (1, 1 + again));
        assert_eq!(court.authz.stats().bypasses(BypassReason::Fresh), again as u64);
    }
    assert_eq!(court.statuses(), [("cache_miss", 1), ("cache_bypass", 2)].into());
}
