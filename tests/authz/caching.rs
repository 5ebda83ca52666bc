//! What is cached, for whom, and for how long.

use super::*;
use terrace::authz::{
    Authorizer, Consistency, Decision, DenyReason, Grant, Query, Scope, SourceVersion, Subject, perm,
};
use terrace::stats::{LookupResult, Tier};

#[tokio::test]
async fn facts_are_loaded_once_for_all_questions_about_a_subject() {
    let house = House::new();
    for permission in ["invoice:read", "invoice:write", "invoice:read"] {
        let expected = permission == "invoice:read";
        assert_eq!(house.authz.check(&house.principal(), permission).await.unwrap().is_allow(), expected);
    }
    assert_eq!(house.directory.loads(), 1);
    assert_eq!(house.statuses(), [("cache_miss", 1), ("l1_cache_hit", 2)].into());
}

#[tokio::test]
async fn many_questions_cost_one_look_up() {
    let house = House::new();
    let questions: Vec<String> =
        (0..100).map(|at| if at % 2 == 0 { "invoice:read".into() } else { format!("p:{at}") }).collect();
    let decisions = house.authz.check_many(&house.principal(), questions.clone()).await.unwrap();
    assert!(decisions.iter().enumerate().all(|(at, decision)| decision.is_allow() == (at % 2 == 0)));
    assert_eq!(house.directory.loads(), 1);
    let _ = house.authz.check_many(&house.principal(), questions).await.unwrap();
    let stats = house.stats();
    assert_eq!((stats.lookups(Tier::L1, LookupResult::Hit), stats.lookups(Tier::L1, LookupResult::Miss)), (1, 1));
    assert_eq!(stats.checks(CheckStatus::L1CacheHit, CheckDecision::Allow), 50);
    assert_eq!(stats.checks(CheckStatus::Miss, CheckDecision::Deny), 50);
    assert!(house.authz.check_many(&house.principal(), Vec::<String>::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_part_of_who_asks_tells_facts_apart() {
    let house = House::new();
    assert_eq!(house.reads().await, Some(true));
    for (tenant, subject) in [
        ("acme", "bob"),
        ("other", "alice"),
        ("acm", "ealice"),
        ("acmea", "lice"),
        ("acme:alice", "x"),
        ("alice", "acme"),
    ] {
        let other = Principal::new(who(tenant, subject));
        assert_eq!(house.authz.check(&other, "invoice:read").await.unwrap(), Decision::Deny(DenyReason::NotGranted));
    }
    assert_eq!(house.directory.loads(), 7);
}

#[tokio::test]
async fn sources_and_policies_that_share_a_store_share_no_facts() {
    let house = House::new();
    let other = |id: &str, policy: &str| {
        let builder = Authz::builder(house.store.clone(), house.directory.clone());
        builder.source_id(id).policy_version(policy).single_process().build().unwrap()
    };
    assert_eq!(house.reads().await, Some(true));
    for (at, authz) in [other("a", ""), other("a", "b"), other("b", "a"), other("ab", "")].into_iter().enumerate() {
        assert!(authz.check(&house.principal(), "invoice:read").await.unwrap().is_allow());
        assert_eq!(house.directory.loads(), at + 2);
    }
}

#[tokio::test]
async fn a_life_is_never_extended_by_being_asked_for() {
    let house = House::with(&[("AUTHZ_CACHE_TTL", "100")]);
    for _ in 0..20 {
        assert_eq!(house.reads().await, Some(true));
        house.advance(50);
    }
    assert!((10..=11).contains(&house.directory.loads()), "{} loads", house.directory.loads());
}

#[tokio::test]
async fn a_right_that_ends_is_not_cached_past_its_end() {
    let house = House::new();
    let boxed = Grant::new("invoice:read").not_after(wall(10));
    house.directory.set(&house.alice, Grants::complete([boxed, Grant::new("a")]));
    house.advance(9);
    assert_eq!(house.reads().await, Some(true));
    house.advance(1);
    assert_eq!(house.reads().await, Some(false));
    assert_eq!(house.directory.loads(), 2);
    house.directory.set(&house.alice, Grants::complete(["invoice:read"]).not_after(wall(10)));
    let ended = house.authz.check(&house.principal(), perm("invoice:read").fresh()).await.unwrap_err();
    assert_eq!(ended.reason(), terrace::authz::UnavailableReason::Ended);
}

#[tokio::test]
async fn a_deny_rests_on_young_facts_only_and_an_allow_need_not() {
    let house = House::new();
    let writes = async || house.authz.check(&house.principal(), "invoice:write").await.unwrap().is_allow();
    assert!(!writes().await);
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "invoice:write"]));
    house.clock.advance(Duration::from_millis(4999));
    assert!(!writes().await);
    assert_eq!(house.reads().await, Some(true));
    house.clock.advance(Duration::from_millis(1));
    assert!(writes().await, "who was granted something waits for it no longer than that");
    house.directory.set(&house.alice, Grants::complete(["x"]));
    house.advance(200);
    assert_eq!(house.reads().await, Some(true), "what was not announced shows at the deadline");
    assert_eq!(house.directory.loads(), 2);
}

#[tokio::test]
async fn who_was_granted_something_is_let_in_a_few_seconds_after_a_refusal() {
    let house = House::new();
    let app = app(&house.authz, "invoice:write");
    for _ in 0..3 {
        assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 403);
    }
    house.directory.set(&house.alice, Grants::complete(["invoice:write"]));
    house.clock.advance(Duration::from_millis(4999));
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 403);
    house.clock.advance(Duration::from_millis(1));
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    assert_eq!(house.directory.loads(), 2);
}

#[tokio::test]
async fn a_deny_stands_if_nobody_can_say_better() {
    let house = House::new();
    let bob = Principal::new(who("acme", "bob"));
    assert!(!house.authz.check(&bob, "invoice:read").await.unwrap().is_allow());
    house.advance(6);
    house.directory.mode(Mode::Fails);
    assert!(!house.authz.check(&bob, "invoice:read").await.unwrap().is_allow());
    assert_eq!(house.directory.loads(), 2);
}

#[tokio::test]
async fn fresh_asks_each_time_and_what_it_learns_is_kept() {
    let house = House::new();
    let fresh = async || house.authz.check(&house.principal(), perm("invoice:read").fresh()).await.unwrap().is_allow();
    assert!(fresh().await && fresh().await);
    assert_eq!((house.reads().await, house.directory.loads()), (Some(true), 2));
    house.directory.set(&house.alice, Grants::complete(["x"]));
    assert!(!fresh().await);
    assert_eq!(house.reads().await, Some(false));
}

#[tokio::test]
async fn a_version_that_is_demanded_is_loaded_and_an_older_answer_is_not_kept() {
    let house = House::new();
    let version = |at| Grants::complete(["invoice:read"]).version(SourceVersion(at));
    let at_least = |at| perm("invoice:read").consistency(Consistency::AtLeastVersion(SourceVersion(at)));
    house.directory.set(&house.alice, version(3));
    assert_eq!(house.reads().await, Some(true));
    assert!(house.authz.check(&house.principal(), at_least(3)).await.unwrap().is_allow());
    assert_eq!(house.directory.loads(), 1);
    let behind = house.authz.check(&house.principal(), at_least(4)).await.unwrap_err();
    assert_eq!(behind.reason(), terrace::authz::UnavailableReason::Behind);
    assert_eq!(house.directory.loads(), 2);
    house.directory.set(&house.alice, version(5));
    assert!(house.authz.check(&house.principal(), at_least(4)).await.unwrap().is_allow());
    assert!(house.authz.check(&house.principal(), at_least(5)).await.unwrap().is_allow());
    assert_eq!(house.directory.loads(), 3);
}

/// Whatever else is demanded beside it: an answer that is older is none.
#[tokio::test]
async fn a_version_that_is_demanded_is_demanded_of_whatever_answers() {
    let house = House::with(&[("AUTHZ_CACHE_DENY_TTL", "0")]);
    let version = |grants: [&'static str; 1], at| Grants::complete(grants).version(SourceVersion(at));
    let demanded = Consistency::AtLeastVersion(SourceVersion(5));
    house.directory.set(&house.alice, version(["x"], 5));
    let reads =
        async || house.authz.check(&house.principal(), perm("invoice:read").consistency(demanded.clone())).await;
    assert!(!reads().await.unwrap().is_allow());
    // What a replica says that lags.
    house.directory.set(&house.alice, version(["invoice:read"], 4));
    house.advance(1);
    assert!(!reads().await.unwrap().is_allow(), "a deny that is asked for again is not for an older version");
    assert_eq!(house.directory.loads(), 2);

    let receipt = house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap();
    let fresh = app(&house.authz, perm("invoice:read").fresh()).layer(axum::Extension(demanded.clone()));
    let after = perm("invoice:read").consistency(Consistency::AtLeast(receipt.clone()));
    let after = app(&house.authz, after).layer(axum::Extension(demanded.clone()));
    let known = app(&house.authz, perm("invoice:read").consistency(demanded)).layer(axum::Extension(receipt));
    for app in [&fresh, &after, &known] {
        assert_eq!(send(app, "/invoices", &[ALICE]).await.status(), 503);
    }
    house.directory.set(&house.alice, version(["invoice:read"], 5));
    for app in [&fresh, &after, &known] {
        assert_eq!(send(app, "/invoices", &[ALICE]).await.status(), 200);
    }
}

#[tokio::test]
async fn sets_over_the_limits_are_used_once_and_not_kept() {
    let house = House::new();
    let many = (0..=Grants::MAX_ENTRIES).map(|at| format!("p:{at}"));
    house.directory.set(&house.alice, Grants::complete(many.chain(["invoice:read".into()])));
    assert_eq!((house.reads().await, house.reads().await), (Some(true), Some(true)));
    assert_eq!((house.directory.loads(), house.stats().entries()), (2, 0));
}

#[tokio::test]
async fn guests_and_invalid_credentials_leave_nothing_behind() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    for at in 0..1000 {
        let token = format!("Basic {at}");
        assert_eq!(send(&app, "/invoices", &[("authorization", &token)]).await.status(), 401);
        assert_eq!(send(&app, "/invoices", &[("x-guest", &at.to_string())]).await.status(), 401);
    }
    assert_eq!((house.directory.loads(), house.stats().entries()), (0, 0));
}

#[tokio::test]
async fn a_tenant_fills_its_share_of_memory_and_no_more() {
    let house = House::with(&[("AUTHZ_CACHE_L1_MAX_BYTES", "1MiB")]);
    let names: Vec<Who> = (0..1000).map(|at| who("flood", &format!("s{at}"))).collect();
    for name in &names {
        house.directory.set(name, Grants::complete(["p"]));
        assert!(house.authz.check(&Principal::new(name.clone()), "p").await.unwrap().is_allow());
    }
    let flooded = house.stats().size_bytes();
    assert!(flooded > 1 << 17 && flooded <= (1 << 20) * 27 / 100, "{flooded}");
    assert_eq!(house.reads().await, Some(true));
    let before = house.directory.loads();
    assert_eq!((house.reads().await, house.directory.loads()), (Some(true), before), "others have room");
    // Those who may do nothing take less.
    for at in 0..1000 {
        let nobody = Principal::new(who(&format!("t{at}"), "s"));
        assert!(!house.authz.check(&nobody, "p").await.unwrap().is_allow());
    }
    assert!(house.stats().size_bytes() - flooded <= (1 << 20) * 12 / 100, "{}", house.stats().size_bytes());
}

struct Relations;

impl Authorizer for Relations {
    type Error = Broken;

    async fn check(&self, query: &Query<'_>) -> Result<Decision, Broken> {
        match (query.action, query.resource) {
            ("fails", _) => Err(Broken),
            ("document:read", Some(owned)) if owned == query.who.subject.as_str() => Ok(Decision::Allow),
            _ => Ok(Decision::Deny(DenyReason::NotGranted)),
        }
    }
}

#[tokio::test]
async fn an_authorizer_decides_what_a_partial_set_does_not_and_nothing_else() {
    let directory = Directory::new();
    let alice = who("acme", "alice");
    directory.set(&alice, Grants::partial(["a"]).deny("document:read:bob"));
    let store = Store::with_fake_clock(Config::default(), &clock());
    let authz = Authz::builder(store, directory.clone()).authorizer(Relations).single_process().build().unwrap();
    let alice = Principal::new(alice);
    let check = async |requirement: terrace::authz::Requirement| authz.check(&alice, requirement).await;
    assert!(check(perm("a")).await.unwrap().is_allow());
    assert!(check(perm("document:read").resource("alice")).await.unwrap().is_allow());
    assert!(!check(perm("document:read").resource("carol")).await.unwrap().is_allow());
    let denied = check(perm("document:read").resource("bob")).await.unwrap();
    assert_eq!(denied, Decision::Deny(DenyReason::Denied), "an explicit deny is nobody's to override");
    assert!(check(perm("fails")).await.is_err());
    let scoped = Principal { scopes: ["x".into()].into(), ..alice.clone() };
    let limited = authz.check(&scoped, perm("document:read").resource("alice")).await.unwrap();
    assert_eq!(limited, Decision::Deny(DenyReason::InsufficientScope));
    let many = authz.check_many(&alice, [perm("a"), perm("b"), perm("document:read").resource("alice")]).await.unwrap();
    assert_eq!(many.iter().map(|decision| decision.is_allow()).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(directory.loads(), 1);

    let alone = Authz::deciding(Store::memory(), Relations).build().unwrap();
    assert!(alone.check(&alice, perm("document:read").resource("alice")).await.unwrap().is_allow());
    assert!(!alone.check(&alice, "document:read").await.unwrap().is_allow());
}

#[tokio::test]
async fn permissions_are_those_of_the_source() {
    let house = House::new();
    let all = house.authz.permissions(&house.alice).await.unwrap();
    assert_eq!(all, Grants::complete(["invoice:read"]));
    let nobody = Who { tenant: house.alice.tenant.clone(), subject: Subject::new("nobody").unwrap() };
    assert_eq!(house.authz.permissions(&nobody).await.unwrap().granted().count(), 0);
}

#[tokio::test]
async fn revoking_works_for_each_scope_and_only_there() {
    let house = House::new();
    let all = [who("acme", "alice"), who("acme", "bob"), who("other", "alice")];
    for name in &all {
        house.directory.set(name, Grants::complete(["invoice:read"]));
    }
    let load = async || {
        let before = house.directory.loads();
        let mut loaded = Vec::new();
        for name in &all {
            assert!(house.authz.check(&Principal::new(name.clone()), "invoice:read").await.unwrap().is_allow());
            loaded.push(house.directory.loads() - before - loaded.iter().filter(|it| **it).count() > 0);
        }
        loaded
    };
    assert_eq!(load().await, [true, true, true]);
    assert_eq!(load().await, [false, false, false]);
    let tenant = || all[0].tenant.clone();
    for (scope, expected) in [
        (Scope::Subject(all[0].clone()), [true, false, false]),
        (Scope::Subjects(all[1..].to_vec()), [false, true, true]),
        (Scope::Tenant(tenant()), [true, true, false]),
        (Scope::All, [true, true, true]),
    ] {
        let receipt = house.authz.revoke(scope.clone()).await.unwrap();
        assert!(receipt.position() > 0);
        assert_eq!(load().await, expected, "{scope:?}");
    }
    for subjects in [Vec::new(), vec![all[0].clone(); 101]] {
        let error = house.authz.revoke(Scope::Subjects(subjects)).await.unwrap_err();
        assert!(error.to_string().contains("accepts 1 to 100"), "{error}");
    }
}
