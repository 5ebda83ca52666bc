//! Tags, and purges by them and by everything else.

use super::*;
use terrace::stats::{InvalidationResult, Kind, Scope};

async fn tagged(origin: Origin, rules: Rules, tag: &str) {
    let world = World::new(rules, origin);
    world.get("/one").await;
    assert!(world.get("/one").await.is_hit());
    let _ = world.store.purge_tag("another").await.unwrap();
    assert!(world.get("/one").await.is_hit(), "another tag");
    let _ = world.store.purge_tag(tag).await.unwrap();
    assert!(!world.get("/one").await.is_hit(), "tag {tag}");
    assert!(world.get("/one").await.is_hit(), "what was stored after the purge");
}

#[tokio::test]
async fn tags_come_from_rules_fields_and_extensions() {
    let plain = || Origin::counting(&[FRESH]);
    let by_path = |parts: &Parts| [format!("path:{}", parts.uri.path()), "all".to_owned()];
    for tag in ["path:/one", "all"] {
        tagged(plain(), Rules::new().tag_with(by_path), tag).await;
    }
    for tag in ["a", "b", "c", "d"] {
        tagged(Origin::counting(&[FRESH, ("cache-tag", "a,b c"), ("surrogate-key", "d")]), Rules::new(), tag).await;
    }
    tagged(
        Origin::counting(&[FRESH, ("x-tags", "t")]),
        Rules::new().tag_fields([HeaderName::from_static("x-tags")]),
        "t",
    )
    .await;
    for tag in ["typed", "other typed"] {
        let origin = Origin::answering(|_| {
            let mut response = text(&[FRESH], "x");
            response.extensions_mut().insert(CacheTags::new().with("typed").with("other typed".to_owned()));
            response
        });
        tagged(origin, Rules::new(), tag).await;
    }
}

#[tokio::test]
async fn tag_fields_are_removed_from_answers_unless_kept() {
    for keep in [false, true] {
        let fields = &[FRESH, ("cache-tag", "a"), ("surrogate-key", "b")];
        let world = World::counting(Rules::new().keep_tag_fields(keep), fields);
        for hit in [false, true] {
            let answer = world.get("/").await;
            assert_eq!(answer.is_hit(), hit);
            assert_eq!(answer.headers.contains_key("cache-tag"), keep);
            assert_eq!(answer.headers.contains_key("surrogate-key"), keep);
        }
    }
}

#[tokio::test]
async fn tag_fields_are_removed_from_answers_that_could_not_be_stored() {
    let world = World::counting(Rules::new(), &[("cache-control", "no-store"), ("cache-tag", "a")]);
    for request in [get("/"), get("/"), ask(Method::HEAD, "/", &[])] {
        assert!(!world.ask(request).await.headers.contains_key("cache-tag"));
    }
}

#[tokio::test]
async fn tags_of_a_304_count_beside_those_of_the_stored_response() {
    let origin = Origin::answering(|request| {
        if request.headers.contains_key("if-none-match") {
            return respond(304, &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("cache-tag", "new")], empty());
        }
        text(&[FRESH, ("etag", "\"1\""), ("cache-tag", "old")], "x")
    });
    for tag in ["old", "new"] {
        let world = World::new(Rules::new(), origin.clone());
        world.get("/").await;
        world.clock.advance(secs(61));
        world.get("/").await;
        assert!(world.get("/").await.is_hit());
        let _ = world.store.purge_tag(tag).await.unwrap();
        assert!(!world.get("/").await.is_hit(), "{tag}");
    }
}

#[tokio::test]
async fn a_response_with_too_many_tags_is_not_stored() {
    for (tags, stored) in [(64, true), (65, false)] {
        let names = Box::leak((0..tags).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",").into_boxed_str());
        let world = World::counting(Rules::new(), leak([FRESH, ("cache-tag", names)]));
        assert_eq!(world.stores(|| get("/")).await, stored, "{tags} tags");
    }
}

const URLS: [&str; 7] = [
    "http://example.com/a/b?x=1&y=2",
    "http://example.com/a/b",
    "http://example.com/a/bc",
    "http://example.com/a/b/c",
    "http://example.com/",
    "http://example.org/a/b",
    "https://example.com/a/b",
];

#[tokio::test]
async fn purges_reach_what_they_name_and_nothing_else() {
    type Case = (&'static str, fn(&Store) -> Purge, &'static [usize]);
    let table: [Case; 12] = [
        ("url", |store| store.purge_url("http://example.com/a/b"), &[1, 6]),
        ("url on any host", |store| store.purge_url("/a/b"), &[1, 5, 6]),
        ("url with a query", |store| store.purge_url("http://example.com/a/b?y=2&x=1"), &[0]),
        ("host in capitals", |store| store.purge_url("http://EXAMPLE.com/a/b"), &[1, 6]),
        ("url with a fragment", |store| store.purge_url("http://example.com/a/b#part"), &[1, 6]),
        ("host without a path", |store| store.purge_url("http://example.com"), &[4]),
        ("prefix", |store| store.purge_prefix("http://example.com/a/b"), &[0, 1, 3, 6]),
        ("prefix with a slash", |store| store.purge_prefix("/a/b/"), &[0, 1, 3, 5, 6]),
        ("prefix of any host", |store| store.purge_prefix("/a"), &[0, 1, 2, 3, 5, 6]),
        ("prefix of a host", |store| store.purge_prefix("http://example.org/"), &[5]),
        ("all", Store::purge_all, &[0, 1, 2, 3, 4, 5, 6]),
        ("nothing", |store| store.purge_url("/a"), &[]),
    ];
    for (name, purge, reached) in table {
        for soft in [false, true] {
            let world = World::counting(Rules::new(), &[FRESH]);
            for url in URLS {
                world.get(url).await;
            }
            let purge = purge(&world.store);
            let _ = if soft { purge.soft().await } else { purge.await }.unwrap();
            for (at, url) in URLS.iter().enumerate() {
                let only = ask(Method::GET, url, &[("cache-control", "only-if-cached")]);
                assert_eq!(!world.ask(only).await.is_hit(), reached.contains(&at), "{name}: {url}, soft: {soft}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_again_and_again_obeys_as_what_is_asked_for_once() {
    let asked_often = async |rules: Rules, fields: Fields| {
        let world = World::counting(rules, fields);
        for _ in 0..10 {
            assert_eq!(world.get("/").await.text(), "1");
        }
        world
    };
    let swr: Fields = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
    let world = asked_often(Rules::new(), swr).await;
    let _ = world.store.purge_all().soft().await.unwrap();
    let stale = world.get("/").await;
    assert_eq!((stale.text(), world.store.stats().requests(CacheStatus::Stale)), ("1", 1), "softly purged");
    let world = asked_often(Rules::new(), swr).await;
    let _ = world.store.purge_url("/").await.unwrap();
    assert_eq!(world.get("/").await.text(), "2", "purged");
    let world = asked_often(Rules::new(), &[FRESH]).await;
    world.ask(ask(Method::POST, "/", &[])).await;
    assert_eq!(world.get("/").await.text(), "3", "changed");
    let world = asked_often(Rules::new(), &[FRESH]).await;
    world.clock.advance(Duration::from_millis(59_999));
    assert_eq!(world.get("/").await.text(), "1");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.get("/").await.text(), "2", "stale to the millisecond");
    let world = asked_often(Rules::new(), &[FRESH]).await;
    world.clock.advance(secs(7));
    assert_eq!(world.get("/").await.age(), Some(7));
    for flag in [terrace::stats::Feature::L1, terrace::stats::Feature::Cache] {
        let world = asked_often(Rules::new(), &[FRESH]).await;
        world.store.flags().set(flag, false);
        assert_eq!(world.get("/").await.text(), "2", "{flag:?} off");
    }
    let world = asked_often(Rules::new().default_ttl(secs(60)), &[]).await;
    assert_eq!(world.ask(get_with("/", &[("cookie", "a=b")])).await.text(), "2", "with credentials");
    assert_eq!(world.ask(in_partition("p", get("/"))).await.text(), "3", "in a partition");
    assert_eq!(world.ask(get_with("/", &[("range", "bytes=0-0")])).await.status, 206);
    assert_eq!(world.ask(ask(Method::HEAD, "/", &[])).await.text(), "");
}

#[tokio::test]
async fn malformed_purges_name_what_they_got() {
    let store = Store::memory();
    for url in ["", "example.com/a", "a"] {
        for purge in [store.purge_url(url), store.purge_prefix(url)] {
            let error = purge.await.unwrap_err().to_string();
            assert!(error.contains(&format!("`{url}`")) && error.contains("begins with a slash"), "{error}");
        }
    }
    let failed = [Scope::Key, Scope::Prefix]
        .map(|scope| store.stats().invalidations(scope, Kind::Hard, InvalidationResult::Failed));
    assert_eq!(failed, [3, 3]);
}

#[tokio::test]
async fn names_of_tags_partitions_and_paths_are_never_confused() {
    let world = World::counting(Rules::new().tag_with(|_| ["x".to_owned()]), &[FRESH]);
    world.ask(in_partition("p", get("/a"))).await;
    for purge in [
        world.store.purge_tag("p"),
        world.store.purge_partition("x"),
        world.store.purge_tag("/a"),
        world.store.purge_url("/x"),
        world.store.purge_partition(""),
        world.store.purge_tag(""),
        world.store.purge_tag("*"),
    ] {
        let _ = purge.await.unwrap();
        assert!(world.ask(in_partition("p", get("/a"))).await.is_hit());
    }
}
