use super::decision::DenyReason::{Denied, InsufficientScope, NotGranted};
use super::evaluate::{Verdict, evaluate};
use super::*;
use crate::Store;
use crate::observe::stats::{RejectReason, Tier};
use crate::store::{Glance, Key, Memory};
use proptest::prelude::*;
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn decide(requirement: &Requirement, grants: &Grants) -> Option<Decision> {
    evaluate(&requirement.rule, requirement.resource.as_deref(), grants, &[], &|| at(100)).decision()
}

const NO: Option<Decision> = Some(Decision::Deny(NotGranted));
const YES: Option<Decision> = Some(Decision::Allow);

#[test]
fn absence_is_a_deny_in_a_complete_set_and_undecided_in_a_partial_one() {
    let rule = perm("invoice:read");
    assert_eq!(decide(&rule, &Grants::complete(["invoice:write"])), NO);
    assert_eq!(decide(&rule, &Grants::partial(["invoice:write"])), None);
    assert_eq!(decide(&rule, &Grants::partial(["invoice:read"])), YES);
    assert_eq!(decide(&rule, &Grants::complete(Vec::<Grant>::new())), NO);
}

#[test]
fn an_explicit_deny_beats_every_grant() {
    let all = || Grants::complete(["invoice:read", "invoice:*", "*:*"]);
    for denied in ["invoice:read", "invoice:*", "*:read", "*:*"] {
        assert_eq!(decide(&perm("invoice:read"), &all().deny(denied)), Some(Decision::Deny(Denied)), "{denied}");
    }
    assert_eq!(decide(&perm("invoice:read"), &all().deny("invoice:write")), YES);
    assert_eq!(decide(&perm("a"), &Grants::partial(["a"]).deny("a")), Some(Decision::Deny(Denied)));
}

#[test]
fn a_rule_of_several_is_all_or_any_and_of_none_never() {
    let grants = Grants::complete(["a", "b"]);
    for (rule, expected) in [
        (all_of(["a", "b"]), YES),
        (all_of(["a", "c"]), NO),
        (any_of(["c", "b"]), YES),
        (any_of(["c", "d"]), NO),
        (all_of(Vec::<String>::new()), NO),
        (any_of(Vec::<String>::new()), NO),
    ] {
        assert_eq!(decide(&rule, &grants), expected, "{rule:?}");
    }
    let partial = Grants::partial(["a"]).deny("x");
    assert_eq!(decide(&all_of(["a", "c"]), &partial), None);
    assert_eq!(
        decide(&all_of(["c", "x"]), &partial),
        Some(Decision::Deny(Denied)),
        "a deny decides whatever is unknown"
    );
    assert_eq!(decide(&any_of(["c", "a"]), &partial), YES, "a grant decides whatever is unknown");
    assert_eq!(decide(&any_of(["c", "x"]), &partial), None);
}

#[test]
fn a_grant_that_has_ended_grants_nothing() {
    let grants = |end| Grants::complete([Grant::new("a").not_after(at(end)), Grant::new("b:*").not_after(at(end))]);
    for permission in ["a", "b:c"] {
        assert_eq!(decide(&perm(permission), &grants(101)), YES);
        assert_eq!(decide(&perm(permission), &grants(100)), NO);
    }
    let twice = Grants::complete([Grant::new("a").not_after(at(1)), Grant::new("a").via("admins")]);
    assert_eq!(decide(&perm("a"), &twice), YES, "another grant of the same goes on");
    assert_eq!(grants(101).first_end(at(100)), Some(at(101)));
    assert_eq!(twice.first_end(at(100)), None, "what has ended ends nothing");
}

#[test]
fn a_credential_is_limited_by_its_scopes_and_extends_nothing() {
    let grants = Grants::complete(["invoice:read", "invoice:write", "invoice:read:7"]);
    let decide = |rule: &Requirement, scopes: &[&str]| {
        let scopes: Vec<Box<str>> = scopes.iter().map(|scope| (*scope).into()).collect();
        evaluate(&rule.rule, rule.resource.as_deref(), &grants, &scopes, &|| at(0)).decision()
    };
    let (read, other) = (perm("invoice:read"), perm("user:read"));
    assert_eq!(decide(&read, &[]), YES, "no scopes: no limit");
    assert_eq!(decide(&read, &["openid", "invoice:read"]), YES);
    assert_eq!(decide(&read, &["invoice:write"]), Some(Decision::Deny(InsufficientScope)));
    assert_eq!(decide(&read, &["invoice:*"]), Some(Decision::Deny(InsufficientScope)), "`*` is for grants");
    assert_eq!(decide(&other, &["user:read"]), NO, "a scope grants nothing");
    assert_eq!(decide(&other, &["x"]), NO, "scopes are not the cause");
    assert_eq!(decide(&read.clone().resource("7"), &["invoice:read"]), YES, "a scope is for all resources");
    assert_eq!(decide(&read.resource("7"), &["invoice:read:8"]), Some(Decision::Deny(InsufficientScope)));
    assert_eq!(decide(&any_of(["invoice:read", "invoice:write"]), &["invoice:write"]), YES);
    assert_eq!(
        decide(&all_of(["invoice:read", "invoice:write"]), &["invoice:write"]),
        Some(Decision::Deny(InsufficientScope))
    );
}

#[test]
fn what_allows_says_where_it_comes_from() {
    let grants = Grants::complete([Grant::new("a:b").via("role:viewer"), Grant::new("c:*").via("role:admin")]);
    for (permission, via) in [("a:b", "role:viewer"), ("c:d", "role:admin")] {
        let Verdict::Allow(Some(grant)) = evaluate(&perm(permission).rule, None, &grants, &[], &|| at(0)) else {
            panic!("{permission} is granted");
        };
        assert_eq!(grant.via.as_deref(), Some(via));
    }
}

fn permission() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab*]|", 1..4).prop_map(|segments| segments.join(":"))
}

fn grant() -> impl Strategy<Value = Grant> {
    (permission(), prop::option::of("[a-z]{0,3}"), prop::option::of(0_u64..200)).prop_map(|(permission, via, end)| {
        Grant { permission: Cow::Owned(permission), via: via.map(String::into), not_after: end.map(at) }
    })
}

fn grants() -> impl Strategy<Value = Grants> {
    let parts = (any::<bool>(), prop::collection::vec(grant(), 0..8), prop::collection::vec(permission(), 0..3));
    (parts, prop::option::of(any::<u64>()), prop::option::of(0_u64..200)).prop_map(
        |((complete, granted, denied), version, end)| {
            let grants = if complete { Grants::complete(granted) } else { Grants::partial(granted) };
            let grants = denied.into_iter().fold(grants, Grants::deny);
            let grants = version.map_or(grants.clone(), |version| grants.version(SourceVersion(version)));
            end.map_or(grants.clone(), |end| grants.not_after(at(end)))
        },
    )
}

/// The same, as one would write it down: every entry looked at.
fn model(asked: &str, grants: &Grants) -> Option<Decision> {
    let matches = |pattern: &str| {
        let (pattern, asked): (Vec<&str>, Vec<&str>) = (pattern.split(':').collect(), asked.split(':').collect());
        let same = |(one, other): (&&str, &&str)| one == other || (*one == "*" && !other.is_empty());
        pattern.len() == asked.len() && pattern.iter().zip(&asked).all(same)
    };
    if asked.is_empty() {
        return if grants.is_complete() { NO } else { None };
    }
    if grants.denied().any(matches) {
        return Some(Decision::Deny(Denied));
    }
    let live = |grant: &&Grant| grant.not_after.is_none_or(|end| at(100) < end);
    if grants.granted().filter(live).any(|grant| matches(&grant.permission)) {
        return YES;
    }
    if grants.is_complete() { NO } else { None }
}

proptest! {
    #[test]
    fn a_permission_is_judged_as_its_definition_says(asked in permission(), grants in grants()) {
        prop_assert_eq!(decide(&perm(asked.clone()), &grants), model(&asked, &grants));
    }

    #[test]
    fn what_a_text_grants_the_same_text_denies(
        text in permission(), asked in permission(), resource in prop::option::of(permission()),
    ) {
        let joined = resource.iter().fold(asked.clone(), |asked, resource| format!("{asked}:{resource}"));
        let rule = perm(asked.clone());
        let rule = resource.map_or(rule.clone(), |resource| rule.resource(resource));
        let granted = || Grants::complete([text.clone(), "*".into(), "*:*".into(), "*:*:*".into(), joined.clone()]);
        if decide(&rule, &Grants::complete([text.clone()])) == YES {
            prop_assert_eq!(decide(&rule, &granted().deny(text.clone())), Some(Decision::Deny(Denied)));
        }
        if !asked.is_empty() {
            prop_assert_eq!(decide(&rule, &granted().deny(joined)), Some(Decision::Deny(Denied)));
        }
    }

    #[test]
    fn more_grants_never_take_away_and_more_denies_never_add(
        asked in permission(), grants in grants(), more in grant(), less in permission(),
    ) {
        let rule = perm(asked);
        let before = decide(&rule, &grants);
        let all: Vec<Grant> = grants.granted().cloned().chain([more]).collect();
        let more = if grants.is_complete() { Grants::complete(all) } else { Grants::partial(all) };
        let more = grants.denied().fold(more, |more, denied| more.deny(denied.to_owned()));
        prop_assert!(before != YES || decide(&rule, &more) == YES);
        let less = grants.deny(less);
        prop_assert!(before == YES || decide(&rule, &less) != YES);
    }

    #[test]
    fn a_set_is_what_was_encoded(grants in grants()) {
        let bytes = codec::encode(&grants).unwrap();
        prop_assert_eq!(bytes.len(), codec::encoded_len(&grants));
        prop_assert_eq!(codec::decode(&bytes), Some(grants));
    }

    #[test]
    fn what_is_cut_short_or_longer_is_no_set(grants in grants(), cut in any::<prop::sample::Index>(), add in any::<u8>()) {
        let mut bytes = codec::encode(&grants).unwrap();
        prop_assert_eq!(codec::decode(&bytes[..cut.index(bytes.len())]), None);
        bytes.push(add);
        prop_assert_eq!(codec::decode(&bytes), None);
    }

    #[test]
    fn each_set_has_one_encoding(grants in grants(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = codec::encode(&grants).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Some(other) = codec::decode(&bytes) {
            // In order, whatever order they were in.
            prop_assert!(other != grants || codec::encode(&other).unwrap() != bytes);
        }
    }

    #[test]
    fn hostile_bytes_are_no_set(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(grants) = codec::decode(&bytes) {
            prop_assert!(codec::encoded_len(&grants) == bytes.len());
        }
    }
}

#[test]
fn a_count_that_is_not_true_makes_no_room() {
    let mut bytes = codec::encode(&Grants::complete(["a"])).unwrap();
    bytes[18..22].fill(0xff);
    assert_eq!(codec::decode(&bytes), None);
    bytes[18..22].copy_from_slice(&[0x10, 0, 0, 0]);
    assert_eq!(codec::decode(&bytes), None);
}

#[test]
fn sets_over_the_limits_are_not_kept() {
    let many = |count: usize| Grants::complete((0..count).map(|at| format!("p:{at}")));
    assert!(many(2000).is_kept());
    assert!(!many(Grants::MAX_ENTRIES + 1).is_kept() && codec::encode(&many(Grants::MAX_ENTRIES + 1)).is_none());
    let long = |bytes: usize| Grants::complete(["x".repeat(bytes)]);
    assert!(long(40 << 10).is_kept() && !long(48 << 10).is_kept() && !long(1 << 20).is_kept());
    assert!(codec::decode(&vec![1; Grants::MAX_BYTES + 1]).is_none());
}

#[test]
fn sets_are_encoded_as_yesterday() {
    let grants = Grants::partial([Grant::new("a:b").via("r").not_after(at(1)), Grant::new("c:*")])
        .deny("d")
        .version(SourceVersion(7));
    let expected = b"\x01\x02\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\x02\0\x01\
        \0\x03a:b\0\x01r\x05\0\0\0\0\0\0\x03\xe8\0\x03c:*\0\0\0\0\0\0\0\0\0\0\0\0\x01d";
    assert_eq!(codec::encode(&grants).unwrap(), expected);
}

/// Says of everybody that they may do everything.
struct Generous;

impl PermissionSource for Generous {
    type Error = std::io::Error;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Self::Error> {
        Ok(Grants::complete(["*"]))
    }
}

/// As if a hash were the same for all.
#[tokio::test]
async fn keys_whose_hashes_meet_are_told_apart() {
    let authz = Authz::builder(Store::memory(), Generous).single_process().build().unwrap();
    let who = |subject| Who { tenant: Tenant::new("acme").unwrap(), subject: Subject::new(subject).unwrap() };
    let (alice, mallory) = (who("alice"), who("mallory"));
    assert!(authz.check(&Principal::new(alice.clone()), "a").await.unwrap().is_allow());
    let engine = &authz.engine;
    let (hers, his) = (engine.keys.permissions(&alice), engine.keys.permissions(&mallory));
    let (hash, now) = (engine.tiers.hash(&hers), engine.tiers.clock().now());
    assert!(matches!(engine.tiers.glance(hash, &hers, now), Glance::Found(_)));
    assert!(matches!(engine.tiers.glance(hash, &his, now), Glance::Unusable));
    let (found, _) = engine.tiers.lookup(Key::new(hash, &his), now);
    assert!(matches!(found, Memory::Nothing));
    assert_eq!(authz.stats().rejected(Tier::L1, RejectReason::Key), 1);
}
