//! What may be personal.

use super::*;

#[tokio::test]
async fn what_may_be_personal_is_stored_only_if_it_is_said_to_be_for_all() {
    const AUTH: Fields = &[("authorization", "Bearer x")];
    const COOKIE: Fields = &[("cookie", "session=1")];
    const NONE: Fields = &[];
    let table: &[(Fields, Fields, bool, bool)] = &[
        // request, response, stored under safe rules, under rfc9111
        (NONE, &[("cache-control", "max-age=60")], true, true),
        (AUTH, &[("cache-control", "max-age=60")], false, false),
        (AUTH, &[("cache-control", "max-age=60, public")], true, true),
        (AUTH, &[("cache-control", "s-maxage=60")], true, true),
        (AUTH, &[("cache-control", "max-age=60, must-revalidate")], false, true),
        (AUTH, &[("cdn-cache-control", "max-age=60")], true, true),
        (AUTH, &[("cache-control", "private, max-age=60")], false, false),
        (COOKIE, &[("cache-control", "max-age=60")], false, true),
        (COOKIE, &[("cache-control", "max-age=60, public")], true, true),
        (COOKIE, &[("cache-control", "s-maxage=60")], true, true),
        (COOKIE, &[("cdn-cache-control", "max-age=60")], true, true),
        (COOKIE, &[], false, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "max-age=60")], false, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "max-age=60, public")], true, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "s-maxage=60")], true, true),
        (NONE, &[("set-cookie", "a=b"), ("cache-control", "public")], false, true),
        (NONE, &[("set-cookie", "a=b")], false, true),
        (NONE, &[], true, true),
    ];
    for (request, response, safe, rfc) in table {
        for (rules, stored) in [(Rules::new(), *safe), (Rules::rfc9111(), *rfc)] {
            let world = World::counting(rules.default_ttl(secs(60)), response);
            assert_eq!(world.stores(|| get_with("/", request)).await, stored, "{request:?} {response:?} rfc: {rfc}");
        }
    }
}

#[tokio::test]
async fn requests_with_credentials_get_only_what_the_origin_gave_a_lifetime() {
    for (fields, served) in [(&[][..], false), (&[("cache-control", "max-age=60")], true)] {
        let world = World::counting(Rules::new().default_ttl(secs(60)), fields);
        world.get("/").await;
        assert!(world.get("/").await.is_hit());
        for credential in [("cookie", "a=b"), ("authorization", "x")] {
            assert_eq!(world.ask(get_with("/", &[credential])).await.is_hit(), served, "{fields:?} {credential:?}");
        }
        assert!(world.get("/").await.is_hit(), "and they leave it where it is");
    }
}

#[tokio::test]
async fn a_partition_keeps_personal_responses_of_one_apart_from_those_of_all_others() {
    let world = World::new(
        Rules::new(),
        Origin::answering(|request| {
            let who = request.headers.get("cookie").map_or("nobody", |who| who.to_str().unwrap());
            text(&[("cache-control", "max-age=60")], who.to_owned())
        }),
    );
    let as_user = |name: &'static str| in_partition(name, get_with("/", &[("cookie", name)]));
    for hit in [false, true] {
        for name in ["anne", "ben"] {
            let answer = world.ask(as_user(name)).await;
            assert_eq!((answer.text(), answer.is_hit()), (name, hit));
        }
        let answer = world.get("/").await;
        assert_eq!((answer.text(), answer.is_hit()), ("nobody", hit));
    }
    let _ = world.store.purge_partition("anne").await.unwrap();
    assert!(!world.ask(as_user("anne")).await.is_hit());
    assert!(world.ask(as_user("ben")).await.is_hit());
    assert!(world.get("/").await.is_hit());
}

#[tokio::test]
async fn private_and_no_store_win_in_a_partition_too() {
    for control in ["private, max-age=60", "no-store", "no-store, max-age=60"] {
        let world = World::counting(Rules::new(), leak([("cache-control", control)]));
        assert!(!world.stores(|| in_partition("a", get("/"))).await, "{control}");
    }
}
