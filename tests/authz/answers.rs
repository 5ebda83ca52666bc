//! Every row of the table of answers.

use super::*;
use terrace::Authorized;
use terrace::authz::{Unavailable, UnavailableReason, all_of, any_of, perm};
use terrace::stats::{Feature, LookupResult, Tier};

fn field<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    let fields: Vec<_> = response.headers().get_all(name).iter().collect();
    assert!(fields.len() <= 1, "{name}");
    fields.first().map(|field| field.to_str().unwrap())
}

fn assert_refused(response: &Response<Body>, status: u16, challenge: Option<&str>) {
    assert_eq!(response.status(), status);
    assert_eq!(field(response, "www-authenticate"), challenge);
    assert_eq!(field(response, "cache-control"), Some("no-store"));
    match status {
        503 => assert!((1..=5).contains(&field(response, "retry-after").unwrap().parse::<u8>().unwrap())),
        _ => assert_eq!(field(response, "retry-after"), None),
    }
}

#[tokio::test]
async fn who_may_is_served() {
    let house = House::new();
    let response = send(&app(&house.authz, "invoice:read"), "/invoices", &[ALICE]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(content(response).await, "an invoice");
}

#[tokio::test]
async fn nobody_and_who_names_no_tenant_is_challenged() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    for fields in [&[][..], &[("authorization", "Bearer ")], &[("x-guest", "1")]] {
        assert_refused(&send(&app, "/invoices", fields).await, 401, Some("Bearer"));
    }
    assert_eq!((house.directory.loads(), house.stats().entries()), (0, 0));
}

#[tokio::test]
async fn a_malformed_or_ended_credential_is_an_invalid_token() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    let invalid = Some(r#"Bearer error="invalid_token""#);
    let long = format!("Bearer acme/{}", "x".repeat(300));
    for token in ["Basic xyz", "Bearer acme", "Bearer acme/alice//1", &long] {
        assert_refused(&send(&app, "/invoices", &[("authorization", token)]).await, 401, invalid);
    }
    assert_eq!(house.directory.loads(), 0);
}

#[tokio::test]
async fn a_credential_that_ends_while_facts_are_cached_is_not_served_a_second_longer() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    let end = wall(2).duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = format!("Bearer acme/alice//{end}");
    let fields = [("authorization", token.as_str())];
    house.advance(1);
    assert_eq!(send(&app, "/invoices", &fields).await.status(), 200);
    house.advance(1);
    assert_refused(&send(&app, "/invoices", &fields).await, 401, Some(r#"Bearer error="invalid_token""#));
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200, "the facts are those of all tokens");
    assert_eq!(house.directory.loads(), 1);
    let ended = Principal { valid_until: Some(wall(2)), ..house.principal() };
    assert!(!house.authz.check(&ended, "invoice:read").await.unwrap().is_allow());
}

#[tokio::test]
async fn who_may_not_is_forbidden() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    assert_refused(&send(&app, "/invoices", &[BOB]).await, 403, None);
}

#[tokio::test]
async fn a_credential_that_is_limited_is_told_that_its_scopes_are_the_cause() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    let limited = Some(r#"Bearer error="insufficient_scope""#);
    let fields = [("authorization", "Bearer acme/alice/openid")];
    assert_refused(&send(&app, "/invoices", &fields).await, 403, limited);
    let fields = [("authorization", "Bearer acme/bob/openid")];
    assert_refused(&send(&app, "/invoices", &fields).await, 403, None);
    let fields = [("authorization", "Bearer acme/alice/openid,invoice:read")];
    assert_eq!(send(&app, "/invoices", &fields).await.status(), 200);
}

#[tokio::test]
async fn another_tenants_path_is_forbidden_without_asking_the_source() {
    let house = House::new();
    let app = app(&house.authz, perm("invoice:read").tenant_param("org"));
    assert_refused(&send(&app, "/orgs/other/invoices/1", &[ALICE]).await, 403, None);
    for org in ["Acme", "acme%20", "%ff", "acme%2f"] {
        assert_refused(
            &send(&app, &format!("/orgs/{org}/invoices/1"), &[ALICE]).await,
            if org == "%ff" { 503 } else { 403 },
            None,
        );
    }
    assert_eq!(house.directory.loads(), 0);
    assert_eq!(send(&app, "/orgs/acme/invoices/1", &[ALICE]).await.status(), 200);
}

#[tokio::test]
async fn what_is_hidden_looks_like_what_is_not_there() {
    let house = House::new();
    let requirement = || perm("invoice:read").tenant_param("org").hide_as_not_found();
    let app = app(&house.authz, requirement());
    let absent = send(&app, "/nothing", &[BOB]).await;
    let absent = (absent.status(), content(absent).await);
    for (uri, fields) in [("/orgs/acme/invoices/1", BOB), ("/orgs/other/invoices/1", ALICE)] {
        let response = send(&app, uri, &[fields]).await;
        assert_refused(&response, 404, None);
        assert_eq!((response.status(), content(response).await), absent);
    }
    let scoped = [("authorization", "Bearer acme/alice/openid")];
    assert_refused(&send(&app, "/orgs/acme/invoices/1", &scoped).await, 404, None);
    house.directory.mode(Mode::Fails);
    house.advance(301);
    assert_refused(&send(&app, "/orgs/acme/invoices/1", &[ALICE]).await, 503, None);
    assert_refused(&send(&app, "/orgs/acme/invoices/1", &[]).await, 401, Some("Bearer"));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_panics_or_hangs_is_unavailable_and_nothing_else() {
    for mode in [Mode::Fails, Mode::Panics, Mode::Hangs] {
        let house = House::new();
        house.directory.mode(mode);
        let app = app(&house.authz, "invoice:read");
        for fields in [ALICE, BOB] {
            assert_refused(&send(&app, "/invoices", &[fields]).await, 503, None);
        }
        assert_eq!(house.stats().entries(), 0, "{mode:?}");
        assert_eq!(house.stats().checks(CheckStatus::Error, CheckDecision::Error), 2);
        house.directory.mode(Mode::Answers);
        assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200, "an error is not remembered");
    }
}

#[tokio::test]
async fn what_does_not_decide_is_unavailable() {
    let house = House::new();
    house.directory.set(&house.alice, Grants::partial(["invoice:write"]));
    assert_refused(&send(&app(&house.authz, "invoice:read"), "/invoices", &[ALICE]).await, 503, None);
    let undecided = house.authz.check(&house.principal(), "invoice:read").await.unwrap_err();
    assert_eq!(undecided.reason(), UnavailableReason::Undecided);
    let source = |error: &Unavailable| std::error::Error::source(error).map(ToString::to_string);
    assert_eq!(source(&undecided), None);
    house.directory.mode(Mode::Fails);
    let failed = house.authz.check(&house.principal(), perm("invoice:read").fresh()).await.unwrap_err();
    assert_eq!(
        (failed.reason(), source(&failed).as_deref()),
        (UnavailableReason::Source, Some("the directory is broken"))
    );
}

#[tokio::test]
async fn an_identity_provider_that_is_unreachable_or_panics_is_unavailable() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    for token in ["Bearer unreachable", "Bearer panics"] {
        assert_refused(&send(&app, "/invoices", &[("authorization", token)]).await, 503, None);
    }
    assert_eq!(house.directory.loads(), 0);
}

#[tokio::test]
async fn a_source_that_is_down_does_not_matter_until_the_deadline() {
    let house = House::new();
    let app = app(&house.authz, "invoice:read");
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    house.directory.mode(Mode::Fails);
    house.advance(269);
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    house.advance(32);
    assert_refused(&send(&app, "/invoices", &[ALICE]).await, 503, None);
}

#[tokio::test]
async fn past_the_deadline_only_who_asked_for_it_is_served_and_not_for_ever() {
    let house = House::with(&[("AUTHZ_CACHE_STALE_IF_ERROR", "60")]);
    let (plain, stale) = (
        app(&house.authz, "invoice:read"),
        app(&house.authz, perm("invoice:read").stale_if_source_fails(Duration::from_secs(90))),
    );
    assert_eq!(send(&plain, "/invoices", &[ALICE]).await.status(), 200);
    house.directory.mode(Mode::Fails);
    house.advance(301);
    let looked = |result| house.stats().lookups(Tier::L1, result);
    let found = || [LookupResult::Hit, LookupResult::Stale, LookupResult::Rejected].map(looked);
    assert_refused(&send(&plain, "/invoices", &[ALICE]).await, 503, None);
    assert_eq!(found(), [0, 0, 1], "what is found and not used is no hit");
    assert_eq!(send(&stale, "/invoices", &[ALICE]).await.status(), 200);
    assert_eq!((house.stats().stale_checks(), found()), (1, [0, 1, 2]));
    let revoked = house.authz.revoke(terrace::authz::Scope::Subject(house.alice.clone())).await.unwrap();
    assert_refused(&send(&stale, "/invoices", &[ALICE]).await, 503, None);
    let _ = revoked;
    house.directory.mode(Mode::Answers);
    assert_eq!(send(&stale, "/invoices", &[ALICE]).await.status(), 200);
    house.directory.mode(Mode::Fails);
    house.advance(361);
    assert_refused(&send(&stale, "/invoices", &[ALICE]).await, 503, None);
}

#[tokio::test]
async fn where_others_are_not_heard_nothing_lives_longer_than_half_a_minute_whatever_fails() {
    let house = House::new();
    let vars = [("AUTHZ_CACHE_STALE_IF_ERROR", "60")];
    let builder = Authz::from_vars(house.store.clone(), house.directory.clone(), vars).unwrap();
    let authz = builder.identify(Tokens).build().unwrap();
    assert_eq!(authz.revocation_bound(), Duration::from_secs(30));
    let app = app(&authz, perm("invoice:read").stale_if_source_fails(Duration::from_secs(60)));
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    house.directory.mode(Mode::Fails);
    house.advance(26);
    assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
    house.advance(5);
    assert_refused(&send(&app, "/invoices", &[ALICE]).await, 503, None);
}

#[tokio::test]
async fn a_route_without_the_parameter_of_its_requirement_serves_nobody() {
    let house = House::new();
    for requirement in [perm("invoice:read").tenant_param("nothing"), perm("invoice:read").resource_param("nothing")] {
        assert_refused(&send(&app(&house.authz, requirement.clone()), "/invoices", &[ALICE]).await, 503, None);
        let error = house.authz.check(&house.principal(), requirement).await.unwrap_err();
        assert_eq!(error.reason(), UnavailableReason::Parameter);
    }
}

#[tokio::test]
async fn a_right_to_one_resource_is_none_to_another() {
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "invoice:read:7"]));
    let app = app(&house.authz, perm("invoice:read").resource_param("id"));
    for (id, status) in [("7", 200), ("8", 403), ("7%3A8", 403), ("*", 403), ("%2A", 403)] {
        assert_eq!(send(&app, &format!("/orgs/acme/invoices/{id}"), &[ALICE]).await.status(), status, "{id}");
    }
    assert_eq!(house.directory.loads(), 1);
}

/// Two routes with different rules, in any order, cold and warm.
#[tokio::test]
async fn a_verdict_is_never_that_of_another_rule() {
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["a", "b"]).deny("x"));
    let rules = [
        (perm("a"), 200),
        (perm("c"), 403),
        (all_of(["a", "b"]), 200),
        (all_of(["a", "x"]), 403),
        (any_of(["c", "b"]), 200),
        (perm("a").resource("1"), 403),
    ];
    for (requirement, status) in rules.iter().chain(rules.iter().rev()) {
        assert_eq!(send(&app(&house.authz, requirement.clone()), "/invoices", &[ALICE]).await.status(), *status);
    }
    assert_eq!(house.directory.loads(), 1);
}

#[tokio::test]
async fn an_identity_is_resolved_once_and_layers_nest() {
    let house = House::new();
    house.directory.set(&house.alice, Grants::complete(["a", "b"]));
    let handler = async |authorized: Authorized| format!("{:?}", authorized.cache_status());
    let both = get(handler).route_layer(house.authz.require("b")).route_layer(house.authz.require("a"));
    let one = get(async || "").route_layer(house.authz.require("c")).route_layer(house.authz.require("a"));
    let app = Router::new().route("/both", both).route("/one", one).layer(house.authz.identify());
    let response = send(&app, "/both", &[ALICE, ("x-slow", "1")]).await;
    assert_eq!((response.status().as_u16(), content(response).await.as_str()), (200, "L1CacheHit"));
    assert_refused(&send(&app, "/one", &[ALICE]).await, 403, None);
}

#[tokio::test]
async fn identifying_alone_lets_guests_pass_and_no_invalid_credential() {
    let house = House::new();
    let handler = async |axum::Extension(identity): axum::Extension<Identity>| match identity {
        Identity::Anonymous => "a guest",
        Identity::Known(_) => "somebody",
    };
    let app = Router::new().route("/", get(handler)).layer(house.authz.identify());
    for (fields, expected) in [(&[][..], "a guest"), (&[("x-guest", "1")], "a guest"), (&[ALICE], "somebody")] {
        assert_eq!(content(send(&app, "/", fields).await).await, expected);
    }
    let invalid = send(&app, "/", &[("authorization", "Basic x")]).await;
    assert_refused(&invalid, 401, Some(r#"Bearer error="invalid_token""#));
    assert_eq!(house.directory.loads(), 0);
}

#[tokio::test]
async fn a_handler_that_needs_an_authorized_caller_does_not_run_without_a_layer() {
    let house = House::new();
    let optional = async |authorized: Option<Authorized>| authorized.is_some().to_string();
    let app = Router::new()
        .route("/needs", get(async |_: Authorized| "it ran"))
        .route("/may", get(optional))
        .route("/guarded", get(optional).route_layer(house.authz.require("invoice:read")));
    assert_eq!(send(&app, "/needs", &[ALICE]).await.status(), 500);
    assert_eq!(content(send(&app, "/may", &[ALICE]).await).await, "false");
    assert_eq!(content(send(&app, "/guarded", &[ALICE]).await).await, "true");
}

#[tokio::test]
async fn unknown_paths_stay_not_found() {
    let house = House::new();
    assert_eq!(send(&app(&house.authz, "invoice:read"), "/nothing", &[]).await.status(), 404);
}

#[tokio::test]
async fn a_hit_is_a_miss_but_for_the_debug_header() {
    for debug in ["false", "true"] {
        let house = House::with(&[("AUTHZ_CACHE_DEBUG_HEADER", debug)]);
        let app = app(&house.authz, "invoice:read");
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut response = send(&app, "/invoices", &[ALICE]).await;
            let how = response.headers_mut().remove("x-authz-cache").map(|how| how.to_str().unwrap().to_owned());
            answers.push((how, response.status(), format!("{:?}", response.headers()), content(response).await));
        }
        let how: Vec<Option<&str>> = answers.iter().map(|answer| answer.0.as_deref()).collect();
        let expected = [Some("cache_miss"), Some("l1_cache_hit")].map(|how| how.filter(|_| debug == "true"));
        assert_eq!(how, expected);
        assert_eq!((answers[0].1, &answers[0].2, &answers[0].3), (answers[1].1, &answers[1].2, &answers[1].3));
    }
}

#[tokio::test]
async fn the_audit_of_a_hit_says_what_that_of_a_miss_says() {
    let house = House::new();
    let granted = terrace::authz::Grant::new("invoice:read").via("role:clerk");
    house.directory.set(&house.alice, Grants::complete([granted]).version(terrace::authz::SourceVersion(7)));
    let miss = house.authz.explain(&house.principal(), "invoice:read").await.unwrap();
    let hit = house.authz.explain(&house.principal(), "invoice:read").await.unwrap();
    assert_eq!(miss.via.as_deref(), Some("role:clerk"));
    assert_eq!((miss.cache_status, hit.cache_status), (CheckStatus::Miss, CheckStatus::L1CacheHit));
    assert_eq!(miss.decision, hit.decision);
    assert_eq!((miss.via, miss.permissions, miss.source_version), (hit.via, hit.permissions, hit.source_version));
}

#[tokio::test]
async fn switched_off_it_answers_as_before_and_asks_each_time() {
    let house = House::new();
    house.store.flags().set(Feature::Authz, false);
    let app = app(&house.authz, "invoice:read");
    for _ in 0..3 {
        assert_eq!(send(&app, "/invoices", &[ALICE]).await.status(), 200);
        assert_eq!(send(&app, "/invoices", &[BOB]).await.status(), 403);
    }
    assert_eq!((house.directory.loads(), house.stats().entries()), (6, 0));
    assert_eq!(house.statuses(), [("cache_bypass", 6)].into());
}
