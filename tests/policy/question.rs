//! Questions: `POST`s keyed by their body.

use super::*;

#[tokio::test]
async fn a_question_is_its_whole_body_however_it_is_cut() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), Origin::counting(&[]));
    assert_eq!(call(&service, post("/", "findings")).await.text(), "1");
    let cut = |pieces: &[&'static str]| {
        let (feed, body) = fed();
        for piece in pieces {
            assert!(feed.send(*piece));
        }
        ask(Method::POST, "/", &[]).map(|_| body)
    };
    for pieces in [&["find", "ings"][..], &["", "f", "indings", ""], &["findings"]] {
        assert!(call(&service, cut(pieces)).await.is_hit(), "{pieces:?}");
    }
    for other in ["finding", "findings ", "Findings", ""] {
        assert!(!call(&service, post("/", other)).await.is_hit(), "{other:?}");
    }
}

#[tokio::test]
async fn a_question_is_also_its_url_and_how_its_body_is_to_be_read() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), Origin::counting(&[]));
    call(&service, post("/", "x")).await;
    for (uri, fields) in [
        ("/other", &[][..]),
        ("/?q", &[]),
        ("http://example.org/", &[]),
        ("/", &[("content-type", "text/plain")]),
        ("/", &[("content-encoding", "gzip")]),
    ] {
        let ask = || ask(Method::POST, uri, fields).map(|_| full("x"));
        assert!(!call(&service, ask()).await.is_hit(), "{uri} {fields:?}");
        assert!(call(&service, ask()).await.is_hit(), "{uri} {fields:?}");
    }
    assert!(!call(&service, get("/")).await.is_hit(), "a GET is another question");
}

#[tokio::test]
async fn the_origin_reads_the_whole_question() {
    let origin = Origin::new(|request| async {
        let body = request.into_body().collect().await?.to_bytes();
        Ok(text(&[], body))
    });
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new().limit(10), origin);
    for body in ["", "short", "0123456789", "more than ten bytes"] {
        assert_eq!(call(&service, post("/", body)).await.text(), body);
    }
}

#[tokio::test]
async fn a_question_over_the_limit_is_passed_on_uncached() {
    let origin = Origin::counting(&[]);
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new().limit(10), origin.clone());
    for (body, calls) in [("0123456789", 1), ("0123456789x", 3)] {
        for _ in 0..2 {
            call(&service, post("/", body)).await;
        }
        assert_eq!(origin.calls(), calls);
    }
}

#[tokio::test]
async fn a_question_whose_body_fails_reaches_the_origin_with_its_failure() {
    let origin = Origin::new(|request| async {
        request.into_body().collect().await?;
        Ok(text(&[], "never"))
    });
    let (_, mut service) = questions(five_minutes(), &BodyDigestLayer::new(), origin.clone());
    for _ in 0..2 {
        let (feed, body) = fed();
        feed.send("half");
        feed.fail("reset");
        let error = service.call(ask(Method::POST, "/", &[]).map(|_| body)).await.map(|_| ()).unwrap_err();
        assert_eq!(error, Failure("reset"));
    }
    assert_eq!(origin.calls(), 2);
}

#[tokio::test]
async fn only_complete_successful_answers_to_questions_are_stored() {
    type Make = fn() -> Response<Body>;
    let cases: [(&str, Make, bool); 8] = [
        ("200", || text(&[], "verdict"), true),
        ("400", || respond(400, &[], full("x")), false),
        ("422", || respond(422, &[], full("x")), false),
        ("500", || respond(500, &[], full("x")), false),
        ("504", || respond(504, &[], full("x")), false),
        ("206", || respond(206, &[("content-range", "bytes 0-0/9")], full("x")), false),
        ("too short", || respond(200, &[("content-length", "9")], full("x")), false),
        (
            "broken",
            || {
                let mut first = true;
                respond(
                    200,
                    &[],
                    scripted(move |_, _| {
                        let frame =
                            if std::mem::take(&mut first) { Ok(Frame::data("x".into())) } else { Err(Failure("x")) };
                        Poll::Ready(Some(frame))
                    }),
                )
            },
            false,
        ),
    ];
    for (name, make, stored) in cases {
        let origin = Origin::answering(move |_| make());
        let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), origin.clone());
        for _ in 0..3 {
            let mut service = service.clone();
            let response = service.call(post("/", "q")).await.map_err(|_| ()).unwrap();
            let _ = terrace_tests::read(response).await;
        }
        assert_eq!(origin.calls(), if stored { 1 } else { 3 }, "{name}");
    }
    let failing = Origin::new(|_| async { Err(Failure("timeout")) });
    let (_, mut service) = questions(five_minutes(), &BodyDigestLayer::new(), failing.clone());
    for _ in 0..2 {
        assert!(service.call(post("/", "q")).await.is_err());
    }
    assert_eq!(failing.calls(), 2);
}

#[tokio::test]
async fn another_version_of_the_validator_asks_anew() {
    let origin = Origin::counting(&[]);
    let store = Store::memory();
    let at = |version: &'static str| {
        let cache = CacheLayer::new(store.clone()).rules(five_minutes().version(version));
        BodyDigestLayer::new().layer(cache.layer(Adapted(origin.clone())))
    };
    let (one, two) = (at("v1"), at("v2"));
    assert_eq!(call(&one, post("/", "q")).await.text(), "1");
    assert_eq!(call(&two, post("/", "q")).await.text(), "2");
    assert_eq!(call(&one, post("/", "q")).await.text(), "1");
    let _ = store.purge_url("/").await.unwrap();
    assert_eq!(call(&one, post("/", "q")).await.text(), "3");
}

#[tokio::test]
async fn a_question_invalidates_nothing_and_a_command_still_does() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new().limit(3), Origin::counting(&[]));
    call(&service, get("/")).await;
    call(&service, post("/", "abc")).await;
    assert!(call(&service, get("/")).await.is_hit());
    call(&service, ask(Method::PUT, "/", &[]).map(|_| full("abc"))).await;
    assert!(!call(&service, get("/")).await.is_hit());
    assert!(!call(&service, post("/", "abc")).await.is_hit(), "what was answered before the change is gone too");
}

#[tokio::test]
async fn personal_questions_are_not_shared() {
    let (_, service) = questions(five_minutes(), &BodyDigestLayer::new(), Origin::counting(&[]));
    let mine = || ask(Method::POST, "/", &[("authorization", "me")]).map(|_| full("q"));
    assert_ne!(call(&service, mine()).await.text(), call(&service, mine()).await.text());
    assert!(
        call(&service, in_partition("me", mine())).await.text()
            == call(&service, in_partition("me", mine())).await.text()
    );
}
