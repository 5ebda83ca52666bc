//! http-cache and http-cache-tower 1.0.0-alpha.9, and http-cache-semantics 3.0.0 below them.

use crate::harness::{Down, Pieces, Site, Source, eager, get, of_unknown_length, reply, secs, sent, status};
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use terrace::stats::Feature;
use terrace::{Config, Rules};
use tower::ServiceExt;

/// HC-1.
#[tokio::test]
async fn what_must_be_revalidated_is_never_served_because_the_origin_fails() {
    for rules in [Rules::new(), Rules::rfc9111()] {
        for said in ["max-age=1, must-revalidate", "max-age=1, proxy-revalidate", "no-cache"] {
            let said = format!("{said}, stale-if-error=3600");
            let site = Site::new(rules.clone().stale_if_error(secs(3600)), move |n, _| {
                let said = said.clone();
                async move {
                    let page = reply(&[("cache-control", &said), ("etag", "\"1\"")], "page");
                    if n == 1 { page } else { status(503, reply(&[], "failed")) }
                }
            });
            assert_eq!(site.get("/").await.text(), "page");
            site.time.advance(secs(2));
            let answer = site.get("/").await;
            assert_eq!((answer.status, answer.text()), (503, "failed"));
            assert_eq!(site.origin.latest().headers()["if-none-match"], "\"1\"");
            site.origin.go_down();
            assert_eq!(site.try_send(get("/")).await.unwrap_err(), Down);
        }
    }
}

/// HC-1, the other way round: where it is allowed, it is done, and only then.
#[tokio::test]
async fn a_stale_response_stands_in_for_a_failure_within_its_window() {
    let site = Site::new(Rules::new(), async |n, _| {
        let page = reply(&[("cache-control", "max-age=1, stale-if-error=60"), ("etag", "\"1\"")], "page");
        if n == 1 { page } else { status(502, reply(&[], "failed")) }
    });
    site.get("/").await;
    site.time.advance(secs(61));
    let stale = site.get("/").await;
    assert_eq!((stale.status, stale.text(), stale.field("age")), (200, "page", "61"));
    site.origin.go_down();
    assert_eq!(site.try_send(get("/")).await.unwrap().text(), "page");
    site.time.advance(secs(1));
    assert_eq!(site.try_send(get("/")).await.unwrap_err(), Down);
}

/// HC-2.
#[tokio::test]
async fn a_failure_does_not_uncover_another_users_variant() {
    for field in ["cookie", "accept-language"] {
        let site = Site::new(Rules::rfc9111(), move |_, request| async move {
            let fields =
                [("cache-control", "public, max-age=60, stale-if-error=60"), ("vary", field), ("etag", "\"1\"")];
            reply(&fields, sent(&request, field).to_owned())
        });
        assert_eq!(site.send(get("/").header(field, "ann")).await.text(), "ann");
        site.origin.go_down();
        for wait in [0, 61] {
            site.time.advance(secs(wait));
            assert_eq!(site.try_send(get("/").header(field, "bob")).await.unwrap_err(), Down);
            assert_eq!(site.try_send(get("/").header(field, "ann")).await.unwrap().text(), "ann");
        }
    }
}

/// HC-3.
#[tokio::test]
async fn a_304_about_the_clients_copy_does_not_freshen_the_stored_one() {
    for rules in [Rules::new(), Rules::rfc9111()] {
        let site = Site::new(rules, async |n, request| {
            let fields = |etag| [("cache-control", "max-age=1"), ("etag", etag)];
            match (n, sent(&request, "if-none-match")) {
                (1, _) => reply(&fields("\"v1\""), "old"),
                // It has v2 by now, and once answers an entity tag as if it was that one.
                (2, _) | (_, "\"v2\"") => status(304, reply(&fields("\"v2\""), "")),
                (..) => reply(&fields("\"v2\""), "new"),
            }
        });
        site.get("/").await;
        site.time.advance(secs(2));
        let answer = site.send(get("/").header("if-none-match", "\"v2\"")).await;
        assert_eq!((answer.status, answer.field("etag"), answer.text()), (304, "\"v2\"", ""));
        for _ in 0..2 {
            let answer = site.get("/").await;
            assert_eq!((answer.field("etag"), answer.text()), ("\"v2\"", "new"));
        }
    }
}

/// HC-4.
#[tokio::test]
async fn a_target_may_be_in_origin_or_in_absolute_form() {
    let site = Site::new(eager(), async |n, _| reply(&[], n.to_string()));
    assert_eq!(site.get("/page?a").await.text(), "1");
    let absolute = site.send(Request::get("http://Example.com/page?a")).await;
    assert_eq!((absolute.text(), absolute.is_hit()), ("1", true));
    // Without any host, too.
    assert_eq!(site.send(Request::get("/page?a")).await.text(), "2");
}

/// HC-5. What is stored does not grow with what the client said about itself.
#[tokio::test]
async fn credentials_are_not_stored() {
    let stored = async |vary: &'static str, secret: usize| {
        let site = Site::new(Rules::rfc9111(), move |_, _| async move {
            reply(&[("cache-control", "public, max-age=60"), ("vary", vary), ("content-length", "4")], "page")
        });
        let request = || get("/").header("authorization", "a".repeat(secret)).header("cookie", "c".repeat(secret));
        site.send(request()).await;
        assert!(site.send(request()).await.is_hit());
        site.store.stats().size_bytes()
    };
    for vary in ["", "cookie", "authorization", "authorization, cookie"] {
        assert_eq!(stored(vary, 1000).await, stored(vary, 10).await, "vary: {vary}");
    }
}

/// HC-6.
#[tokio::test]
async fn every_line_of_a_field_is_on_the_hit() {
    let site = Site::new(Rules::rfc9111(), async |_, _| {
        let mut response = reply(&[("cache-control", "max-age=60")], "page");
        for name in ["set-cookie", "link", "x-many"] {
            for value in ["a=1", "b=2", "a=1"] {
                response.headers_mut().append(name, value.parse().unwrap());
            }
        }
        for value in ["accept", "accept-language, accept-encoding"] {
            response.headers_mut().append("vary", value.parse().unwrap());
        }
        response
    });
    site.get("/").await;
    let hit = site.get("/").await;
    assert!(hit.is_hit());
    for name in ["set-cookie", "link", "x-many"] {
        assert_eq!(hit.fields(name), ["a=1", "b=2", "a=1"]);
    }
    assert_eq!(hit.fields("vary"), ["accept", "accept-language, accept-encoding"]);
    assert!(!site.send(get("/").header("accept-encoding", "br")).await.is_hit());
}

/// HC-7.
#[tokio::test]
async fn a_response_that_cannot_be_kept_is_served_all_the_same() {
    let page = async |n: usize, _| reply(&[("cache-tag", "a b c")], n.to_string());
    let off = Site::new(eager(), page);
    off.store.flags().set(Feature::L1, false);
    let tags = Site::configured(Config::from_vars([("CACHE_MAX_TAGS", "2")]).unwrap(), eager(), page);
    let body = Site::configured(Config::default().max_body_bytes(0), eager(), page);
    for site in [off, tags, body] {
        for n in ["1", "2", "3"] {
            let answer = site.get("/").await;
            assert_eq!((answer.status, answer.text()), (200, n));
        }
    }
}

/// HC-8: 100 MiB, of which the client gets each piece before the next one is made.
#[tokio::test]
async fn a_large_body_streams_and_is_never_held_whole() {
    const MIB: usize = 1 << 20;
    for declared in [true, false] {
        let pieces = Pieces::default();
        let source = pieces.clone();
        let site = Site::new(eager(), move |_, _| {
            let body = Body::new(Source::new(&source, MIB, 100));
            let len = (100 * MIB).to_string();
            async move {
                if declared { reply(&[("content-length", &len)], body) } else { reply(&[], of_unknown_length(body)) }
            }
        });
        let response = site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
        let (mut body, mut len) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            len += frame.unwrap().into_data().unwrap().len();
            assert_eq!(pieces.made(), len / MIB, "made ahead of the client");
            assert!(pieces.held() <= 2, "the default limit is 2 MiB, and {} pieces are held", pieces.held());
        }
        assert_eq!(len, 100 * MIB);
    }
}

/// HC-9, HB-9: every hit sends the very bytes that are stored, neither copied nor decoded.
#[tokio::test]
async fn a_hit_sends_the_stored_bytes_themselves() {
    for len in [1 << 10, 1 << 20] {
        let site = Site::new(eager(), move |_, _| async move { reply(&[], vec![b'x'; len]) });
        site.get("/").await;
        let ask = async |request| {
            let response = site.cache.clone().oneshot(request).await.unwrap();
            response.into_body().frame().await.unwrap().unwrap().into_data().unwrap()
        };
        // All are held until the end, so that no two of them can be in the same place one after the other.
        let first = ask(get("/").body(Body::empty()).unwrap()).await;
        let second = ask(get("/").body(Body::empty()).unwrap()).await;
        let part = ask(get("/").header("range", "bytes=100-").body(Body::empty()).unwrap()).await;
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert_eq!(first[100..].as_ptr(), part.as_ptr());
    }
}
