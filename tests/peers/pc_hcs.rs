//! pingora-cache 0.9.1, and http-cache-semantics 3.0.0. Directives in any case (HCS-1) are in `hcts`.

use crate::harness::{Answer, Origin, Site, eager, get, reply, secs, sent, serve, status, until};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Channel};
use std::sync::{Arc, Mutex};
use terrace::{BodyDigestLayer, CacheLayer, Partition, Rules, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// PC-1.
#[tokio::test]
async fn the_parts_of_a_key_do_not_run_into_each_other() {
    let part = |request: &http::request::Parts| Some(request.headers.get("x-part")?.to_str().ok()?.to_owned());
    let site = Site::new(eager().key_with(part), async |n, _| reply(&[], n.to_string()));
    let requests = [
        ("tenant_a", "", "h", "/path"),
        ("tenant_", "a", "h", "/path"),
        ("", "tenant_a", "h", "/path"),
        ("tenant_", "", "ah", "/path"),
        ("tenant_a", "", "h/path", "/"),
        ("tenant_a", "", "h", "/path/"),
        ("tenant_a", "", "h", "/pa?th"),
        ("tenant_a", "", "h", "/pa%3Fth"),
        ("tenant_a", "", "h", "/?path"),
        ("tenant_ah/path", "", "", "/"),
        ("", "", "tenant_ah", "/path"),
        ("-", "", "h", "/path"),
        ("-", "-", "h", "/path"),
    ];
    for round in 0..2 {
        for (n, (partition, part, host, path)) in requests.into_iter().enumerate() {
            let mut request = Request::get(path).header("host", host);
            if partition != "-" {
                request = request.extension(Partition::new(partition));
            }
            if part != "-" {
                request = request.header("x-part", part);
            }
            let answer = site.send(request).await;
            assert_eq!((answer.text(), answer.is_hit()), (&*(n + 1).to_string(), round == 1));
        }
    }
}

/// Sends bytes over one connection and reads what comes back until it is closed.
async fn exchange(address: &str, bytes: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// PC-2. The body of a request that is answered without being read is not taken for the next request.
#[tokio::test]
async fn a_body_nobody_reads_is_not_the_next_request() {
    let origin = Origin::new(async |_, request| reply(&[], format!("page {}", request.uri())));
    let app = Router::new().fallback_service(tower::service_fn({
        let origin = origin.clone();
        move |request| {
            let origin = origin.clone();
            async move { Ok::<_, std::convert::Infallible>(origin.oneshot(request).await.unwrap()) }
        }
    }));
    let cache = CacheLayer::new(Store::memory()).rules(eager());
    let address = serve(app.layer(cache).layer(BodyDigestLayer::new())).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let len = smuggled.len();
    for head in ["GET /a", "HEAD /a", "POST /a", "OPTIONS /a"] {
        let chunked = format!(
            "{head} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{len:x}\r\n{smuggled}\r\n0\r\n\r\n"
        );
        let sized = format!("{head} HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{smuggled}");
        let end = "GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        for first in [chunked, sized] {
            let answers = exchange(&address, &[&first, &*first, end].concat()).await;
            assert!(!answers.contains("smuggled"), "{first}\n{answers}");
            // Or the connection was closed after the first one.
            assert!(answers.ends_with("page /end") || answers.matches("HTTP/1.1 ").count() == 1, "{first}\n{answers}");
        }
    }
    assert!(origin.calls() > 0);
}

/// PC-3.
#[tokio::test]
async fn the_age_that_a_response_comes_with_counts() {
    let site = Site::new(Rules::new(), async |_, _| reply(&[("age", "50"), ("cache-control", "max-age=60")], ""));
    site.get("/").await;
    site.time.advance(secs(9));
    let hit = site.get("/").await;
    assert_eq!((hit.is_hit(), hit.field("age")), (true, "59"));
    site.time.advance(secs(1));
    assert!(!site.get("/").await.is_hit());
}

/// PC-4.
#[tokio::test]
async fn a_304_with_another_vary_changes_what_is_compared() {
    for (before, after) in
        [("", "accept-language"), ("accept", "accept-language"), ("accept", "accept, accept-language")]
    {
        let site = Site::new(Rules::new(), move |n, request| async move {
            let language = sent(&request, "accept-language");
            let fields = |vary| [("cache-control", "max-age=10"), ("vary", vary), ("etag", "\"de\"")];
            match n {
                1 => reply(&fields(before), "de"),
                _ if language == "de" => status(304, reply(&fields(after), "")),
                _ => reply(&[("cache-control", "max-age=10"), ("vary", after)], language.to_owned()),
            }
        });
        let ask = async |language| site.send(get("/").header("accept-language", language)).await;
        assert_eq!(ask("de").await.text(), "de");
        site.time.advance(secs(11));
        assert_eq!(ask("de").await.text(), "de");
        assert_eq!(site.calls(), 2);
        for language in ["en", "fr", "de"] {
            let answer = ask(language).await;
            assert_eq!(answer.text(), language, "vary: {before:?}, then {after:?}");
        }
        assert!(ask("de").await.is_hit() && ask("en").await.is_hit());
    }
}

/// Beside PC-4: what a 304 repeats is not added once more each time.
#[tokio::test]
async fn an_entry_does_not_grow_with_every_validation() {
    let site = Site::new(Rules::new(), async |n, request| {
        let fields = [("cache-control", "max-age=1"), ("etag", "\"1\""), ("cache-tag", "a, b"), ("x-many", "1")];
        let validates = !sent(&request, "if-none-match").is_empty();
        assert_eq!(validates, (2..=5).contains(&n));
        if validates { status(304, reply(&fields, "")) } else { reply(&fields, "page") }
    });
    let mut sizes = Vec::new();
    for _ in 0..5 {
        assert_eq!(site.get("/").await.text(), "page");
        site.time.advance(secs(2));
        sizes.push(site.store.stats().size_bytes());
    }
    assert_eq!(site.calls(), 5);
    // The first head may be another than those that were updated.
    assert!(sizes[2..].iter().all(|size| *size == sizes[1]), "{sizes:?}");
    site.store.purge_tag("b").await.map(drop).unwrap();
    assert_eq!(site.get("/").await.field("cache-status"), "terrace; fwd=uri-miss; stored");
}

/// PC-5.
#[tokio::test]
async fn a_broken_body_is_not_taken_for_a_complete_one() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::clone(&bodies);
    let site = Site::new(eager(), move |_, _| {
        let body: Channel<Bytes, crate::harness::Down> = next.lock().unwrap().pop().expect("a body for each call");
        async { reply(&[], Body::new(body)) }
    });
    let channel = || {
        let (sender, channel) = Channel::new(8);
        bodies.lock().unwrap().push(channel);
        sender
    };
    let mut broken = channel();
    let first = site.cache.clone().oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..10 {
        let cache = site.cache.clone();
        waiting.spawn(async move {
            let response = cache.oneshot(get("/").body(Body::empty()).unwrap()).await.unwrap();
            Answer::read(response).await.text().to_owned()
        });
    }
    tokio::task::yield_now().await;
    let mut whole = channel();
    broken.send_data("the p".into()).await.unwrap();
    broken.abort(crate::harness::Down);
    until(|| site.calls() == 2).await;
    whole.send_data("the page".into()).await.unwrap();
    drop(whole);
    assert!(first.into_body().collect().await.is_err());
    assert!(waiting.join_all().await.iter().all(|page| page == "the page"));
    assert_eq!(site.get("/").await.text(), "the page");
    assert_eq!(site.calls(), 2);
}

/// PC-5: a body that ends too early.
#[tokio::test]
async fn a_body_shorter_than_it_said_is_not_stored() {
    let site = Site::new(eager(), async |n, _| {
        let body = Body::new(crate::harness::of_unknown_length(if n == 1 { "the p" } else { "the page" }.into()));
        reply(&[("content-length", "8")], body)
    });
    assert_eq!(site.get("/").await.text(), "the p");
    let whole = site.get("/").await;
    assert_eq!((whole.text(), whole.is_hit()), ("the page", false));
    assert!(site.get("/").await.is_hit());
}

/// HCS-2.
#[tokio::test]
async fn fields_that_are_private_are_not_shared_and_the_rest_is() {
    for said in ["max-age=60, private=\"set-cookie, x-user\"", "no-cache=\"X-User,Set-Cookie\", max-age=60"] {
        let site = Site::new(Rules::rfc9111(), move |n, _| async move {
            let n = n.to_string();
            reply(&[("cache-control", said), ("set-cookie", &n), ("x-user", &n), ("x-page", &n)], "page")
        });
        assert_eq!(site.get("/").await.field("x-user"), "1");
        let hit = site.get("/").await;
        assert!(hit.is_hit());
        assert_eq!((hit.field("set-cookie"), hit.field("x-user"), hit.field("x-page")), ("", "", "1"));
    }
}

/// HCS-3.
#[tokio::test]
async fn a_hit_has_the_date_of_the_origin() {
    let date = "Tue, 31 Dec 2024 23:59:50 GMT";
    for own in [date, ""] {
        let site = Site::new(eager(), move |_, _| async move {
            let mut response = reply(&[("date", own)], "");
            if own.is_empty() {
                response.headers_mut().remove("date");
            }
            response
        });
        site.get("/").await;
        site.time.advance(secs(7));
        // Without one, that of its arrival.
        let expected = if own.is_empty() { "Wed, 01 Jan 2025 00:00:00 GMT" } else { own };
        assert_eq!(site.get("/").await.fields("date"), [expected]);
    }
}

/// HCS-4.
#[tokio::test]
async fn a_date_in_the_past_is_an_age() {
    let site = Site::new(Rules::new(), async |_, _| {
        reply(&[("date", "Tue, 31 Dec 2024 23:59:30 GMT"), ("cache-control", "max-age=60")], "")
    });
    site.get("/").await;
    site.time.advance(secs(29));
    let hit = site.get("/").await;
    assert_eq!((hit.is_hit(), hit.field("age")), (true, "59"));
    site.time.advance(secs(1));
    assert!(!site.get("/").await.is_hit());
}

/// HCS-4.
#[tokio::test]
async fn the_newer_directives_are_known() {
    let said: [(&[(&str, &str)], bool); 4] = [
        (&[("cache-control", "max-age=0"), ("cdn-cache-control", "max-age=60")], true),
        (&[("cache-control", "max-age=60"), ("cdn-cache-control", "no-store")], false),
        (&[("cache-control", "max-age=60, must-understand, no-store")], true),
        (&[("cache-control", "max-age=60, no-store")], false),
    ];
    for (fields, is_stored) in said {
        let site = Site::new(Rules::new(), move |_, _| async move { reply(fields, "") });
        site.get("/").await;
        assert_eq!(site.get("/").await.is_hit(), is_stored, "{fields:?}");
    }
}

/// HCS-5.
#[tokio::test]
async fn all_lines_of_a_field_tell_variants_apart() {
    let site = Site::new(eager(), async |n, _| reply(&[("vary", "x-role")], n.to_string()));
    let roles: [&[&str]; 6] = [&["a"], &["a", "b"], &["a", "c"], &["b", "a"], &[], &[""]];
    for round in 0..2 {
        for (n, lines) in roles.into_iter().enumerate() {
            let request = lines.iter().fold(get("/"), |request, line| request.header("x-role", *line));
            let answer = site.send(request).await;
            assert_eq!((answer.text(), answer.is_hit()), (&*(n + 1).to_string(), round == 1), "{lines:?}");
        }
    }
}
