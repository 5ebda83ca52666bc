//! From where the facts come makes no difference to what is answered, explained and audited.

use super::fleet::Fleet;
use super::seams::{LOGGED, listen};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use terrace::authz::{Explanation, Grant, Requirement, SourceVersion, all_of, any_of, perm};
use terrace::stats::BypassReason;
use tokio::runtime::Builder;

/// Few of them, so that they meet.
fn permission() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a:b", "a:1", "b:1"]).prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a:b", "a:1", "*", "a:*", "*:1"]).prop_map(str::to_owned)
}

fn grants() -> impl Strategy<Value = Grants> {
    let via = prop::option::of(prop::sample::select(vec!["role:one", "role:two"]));
    let grant = (pattern(), via, prop::option::of(50_u64..200)).prop_map(|(permission, via, end)| {
        let grant = Grant::new(permission);
        let grant = if let Some(via) = via { grant.via(via) } else { grant };
        if let Some(end) = end { grant.not_after(wall(end)) } else { grant }
    });
    let parts = (prop::bool::weighted(0.8), prop::collection::vec(grant, 0..5), prop::collection::vec(pattern(), 0..2));
    (parts, prop::option::of(0_u64..9)).prop_map(|((complete, granted, denied), version)| {
        let grants = if complete { Grants::complete(granted) } else { Grants::partial(granted) };
        let grants = denied.into_iter().fold(grants, Grants::deny);
        if let Some(version) = version { grants.version(SourceVersion(version)) } else { grants }
    })
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let some = prop::collection::vec(permission(), 1..3);
    let rule = (0..3, some).prop_map(|(kind, some)| match kind {
        0 => perm(some[0].clone()),
        1 => all_of(some),
        _ => any_of(some),
    });
    (rule, any::<bool>(), any::<bool>()).prop_map(|(rule, one, hidden)| {
        let rule = if one { rule.resource("1") } else { rule };
        if hidden { rule.hide_as_not_found() } else { rule }
    })
}

/// What is seen of an answer: status, header fields and body. When to try again is not the same for all.
pub(super) type Seen = (u16, BTreeMap<String, String>, String);

pub(super) async fn answer(authz: &Authz, requirement: &Requirement, token: &str) -> Seen {
    let response = send(&app(authz, requirement.clone()), "/invoices", &[("authorization", token)]).await;
    let mut fields = BTreeMap::new();
    for (name, value) in response.headers() {
        let value = value.to_str().unwrap().to_owned();
        fields.insert(name.to_string(), if name == "retry-after" { "soon".to_owned() } else { value });
    }
    (response.status().as_u16(), fields, content(response).await)
}

/// What is explained, but for where from and how old; nothing if there is no decision.
pub(super) async fn explained(
    authz: &Authz,
    requirement: &Requirement,
    principal: &Principal,
) -> (Option<String>, String) {
    match authz.explain(principal, requirement.clone()).await {
        Ok(Explanation { decision, permissions, via, cache_status, source_version, .. }) => {
            let why = format!("{decision:?} {permissions:?} {via:?} {source_version:?}");
            (Some(why), cache_status.as_str().to_owned())
        }
        Err(unavailable) => (None, unavailable.reason().as_str().to_owned()),
    }
}

/// The audit of what this thread has decided since the last time, without what names the decision, and says where the
/// facts are from, how old they are, and who is behind the digest, which each process keeps for itself.
pub(super) fn audited() -> Vec<String> {
    let text = String::from_utf8(LOGGED.replace(Some(Vec::new())).unwrap()).unwrap();
    let own = ["decision_id=", "cache_status=", "age=", "position=", "subject="];
    let lines = text.lines().filter(|line| line.contains("DEBUG terrace::audit"));
    lines
        .map(|line| {
            let (_, line) = line.split_once("terrace::audit").unwrap();
            let words = line.split(' ').filter(|word| !own.iter().any(|own| word.starts_with(own)));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

async fn is_alike(grants: &Grants, requirement: &Requirement, scopes: &str) {
    let mut all: Vec<(Seen, Option<String>, Vec<String>)> = Vec::new();
    let token = format!("Bearer acme/alice/{scopes}");
    let limits = scopes.split(',').filter(|scope| !scope.is_empty()).map(Into::into).collect();
    // Cold, from memory, and from the tier that is shared, each asked in both ways.
    let answering = Fleet::with(2, &[]).await;
    let explaining = Fleet::with(2, &[]).await;
    for fleet in [&answering, &explaining] {
        fleet.directory.set(&fleet.alice.who, grants.clone());
    }
    let principal = Principal { scopes: limits, ..explaining.alice.clone() };
    for (process, status) in [(0, "cache_miss"), (0, "l1_cache_hit"), (1, "l2_cache_hit")] {
        LOGGED.set(Some(Vec::new()));
        let before = statuses(&answering.authz[process].stats()).get(status).copied().unwrap_or_default();
        let seen = answer(&answering.authz[process], requirement, &token).await;
        let (why, how) = explained(&explaining.authz[process], requirement, &principal).await;
        let audits = audited();
        let after = statuses(&answering.authz[process].stats()).get(status).copied().unwrap_or_default();
        assert!(why.is_none() || (how == status && after == before + 1), "{how}, not {status}");
        assert_eq!(audits.len(), if why.is_some() { 2 } else { 0 });
        all.push((seen, why, audits));
        answering.pass(20).await;
        explaining.pass(20).await;
    }
    assert_eq!(all[0], all[1], "from memory");
    assert_eq!(all[0], all[2], "from the shared tier");
    let allowed = all[0].1.as_ref().is_some_and(|why| why.starts_with("Allow"));
    assert_eq!(all[0].0.0 == 200, allowed, "{:?}", all[0]);
}

/// Who asks for what is another tenant's is refused without a look at facts, and that is a check like any other.
#[tokio::test]
async fn a_request_about_another_tenant_is_counted_and_audited() {
    listen();
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "authorization:check"]));
    let invoices = app(&house.authz, perm("invoice:read").tenant_param("org"));
    let check = house.authz.check_endpoint("authorization:check");
    let endpoint = Router::new().route("/api/v1/authorization/check", check);
    assert_eq!(send(&invoices, "/orgs/other/invoices/1", &[ALICE]).await.status(), 403);
    let denials = || {
        let said = audited();
        said.into_iter().filter(|line| line.contains("tenant_mismatch")).collect::<Vec<_>>()
    };
    let counted = || house.stats().checks(CheckStatus::Bypass, CheckDecision::Deny);
    let said = denials();
    assert_eq!((said.len(), counted()), (1, 1), "{said:?}");
    assert!(said[0].contains("deny") && said[0].contains("invoice:read"), "{said:?}");

    let body = r#"{"user_id":"bob","org_id":"other","permission":"salary:read"}"#;
    let request = Request::post("/api/v1/authorization/check").header(ALICE.0, ALICE.1).body(Body::from(body)).unwrap();
    assert_eq!(endpoint.oneshot(request).await.unwrap().status(), 403);
    let said = denials();
    assert_eq!((said.len(), counted()), (1, 2), "{said:?}");
    assert!(said[0].contains("deny") && said[0].contains("salary:read"), "{said:?}");
    assert_eq!(house.stats().bypasses(BypassReason::Request), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn where_facts_come_from_makes_no_difference(
        grants in grants(), requirement in requirement(), scopes in prop::sample::select(vec!["", "a", "a,b", "x"]),
    ) {
        listen();
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(is_alike(&grants, &requirement, scopes));
    }
}
