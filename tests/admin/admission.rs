//! Who is admitted, and what is refused from those who are.

use crate::{Told, from, open, request, send};
use http::StatusCode;
use terrace::admin::{Admin, SecretToken};
use terrace::stats::Feature;
use terrace::{Rules, Store};

const TOKEN: &str = "correct-horse-battery-staple";
const ROUTES: [(&str, &str); 7] = [
    ("GET", "/stats"),
    ("GET", "/flags"),
    ("PUT", "/flags/cache"),
    ("POST", "/purge"),
    ("GET", "/inspect?url=http://example.com/"),
    ("POST", "/explain"),
    ("GET", "/nothing-of-the-kind"),
];

fn by_token() -> Admin {
    Admin::new(Store::memory()).rules(Rules::new()).token(SecretToken::new(TOKEN).unwrap())
}

fn by_loopback() -> Admin {
    Admin::new(Store::memory()).loopback_only()
}

#[tokio::test]
async fn no_route_answers_without_the_token() {
    let admin = by_token();
    let right = format!("Bearer {TOKEN}");
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Basic {TOKEN}"),
        TOKEN.into(),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
    ];
    for (method, path) in ROUTES {
        for given in &wrong {
            let told = send(&admin, request(method, path, &[("authorization", given)], "{}")).await;
            assert_eq!(told.status, StatusCode::UNAUTHORIZED, "{method} {path} {given:?}");
            assert!(told.field("www-authenticate").starts_with("Bearer"), "{path}");
            assert!(!told.text.contains(TOKEN));
        }
        let told = send(&admin, request(method, path, &[("authorization", &right)], "{}")).await;
        assert_ne!(told.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
    let twice = [("authorization", right.as_str()), ("authorization", right.as_str())];
    assert_eq!(send(&admin, request("GET", "/stats", &twice, "")).await.status, StatusCode::UNAUTHORIZED);
    let told = send(&admin, request("GET", &format!("/stats?token={TOKEN}"), &[], "")).await;
    assert_eq!(told.status, StatusCode::UNAUTHORIZED, "not in the URL");
    let scheme = format!("bearer {TOKEN}");
    assert_eq!(send(&admin, request("GET", "/stats", &[("authorization", &scheme)], "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_page_that_asks_for_a_token_holds_nothing() {
    let told = send(&by_token(), request("GET", "/", &[], "")).await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.text, send(&open(&Store::memory()), request("GET", "/", &[], "")).await.text);
}

#[tokio::test]
async fn loopback_admits_this_machine_under_its_own_names_alone() {
    let admin = by_loopback();
    for (method, path) in ROUTES.into_iter().chain([("GET", "/")]) {
        let admitted = |told: &Told| told.status != StatusCode::FORBIDDEN;
        let ask = |peer: &str, fields: &[(&str, &str)]| from(peer, request(method, path, fields, "{}"));
        for peer in ["127.0.0.1:50000", "127.9.9.9:1", "[::1]:50000", "[::ffff:127.0.0.1]:50000"] {
            for host in ["localhost", "localhost:9180", "127.0.0.1:9180", "[::1]:9180"] {
                assert!(admitted(&send(&admin, ask(peer, &[("host", host)])).await), "{path} {peer} {host}");
            }
        }
        for peer in ["10.0.0.1:50000", "[fe80::1]:50000", "[::ffff:10.0.0.1]:50000", "0.0.0.0:1"] {
            assert!(!admitted(&send(&admin, ask(peer, &[])).await), "{path} {peer}");
        }
        let told = send(&admin, request(method, path, &[], "{}")).await;
        assert!(!admitted(&told) && told.text.contains("where the connection comes from"), "{path} {}", told.text);
        for relayed in ["via", "forwarded", "x-forwarded-for", "x-real-ip"] {
            let told = send(&admin, ask("127.0.0.1:50000", &[(relayed, "127.0.0.1")])).await;
            assert!(!admitted(&told), "{path} {relayed}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""] {
            let told = send(&admin, ask("127.0.0.1:50000", &[("host", host)])).await;
            assert!(!admitted(&told), "{path} {host:?}");
        }
        let two = [("host", "localhost"), ("host", "localhost")];
        assert!(!admitted(&send(&admin, ask("127.0.0.1:50000", &two)).await), "{path} two hosts");
    }
}

#[tokio::test]
async fn an_own_admission_decides_by_the_head_of_the_request() {
    let knows = |request: &http::request::Parts| request.extensions.get::<&str>() == Some(&"operator");
    let admin = Admin::new(Store::memory()).admitted_by(knows);
    for (method, path) in ROUTES.into_iter().chain([("GET", "/")]) {
        let mut ask = request(method, path, &[], "{}");
        assert_eq!(send(&admin, ask.clone()).await.status, StatusCode::FORBIDDEN, "{path}");
        ask.extensions_mut().insert("guest");
        assert_eq!(send(&admin, ask.clone()).await.status, StatusCode::FORBIDDEN, "{path}");
        ask.extensions_mut().insert("operator");
        assert_ne!(send(&admin, ask).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

/// As a form, an image or a script on another site's page would ask.
#[tokio::test]
async fn nothing_that_another_site_can_send_changes_anything() {
    let store = Store::memory();
    let admin = open(&store);
    let off = r#"{"on":false,"reason":"test"}"#;
    let forms =
        ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "text/plain; application/json", ""];
    for (method, path, body) in [("PUT", "/flags/cache", off), ("POST", "/purge", r#"{"all":true}"#)] {
        for form in forms {
            let told = send(&admin, request(method, path, &[("content-type", form)], body)).await;
            assert_eq!(told.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {form:?}");
        }
        for other in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"] {
            let told = send(&admin, request(other, path, &[], body)).await;
            assert_eq!((told.status, told.field("allow")), (StatusCode::METHOD_NOT_ALLOWED, method), "{other} {path}");
            assert!(told.fields.keys().all(|name| !name.as_str().starts_with("access-control")));
        }
        let foreign = [
            ("origin", "http://evil.example"),
            ("origin", "http://localhost:9181"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ];
        for field in foreign {
            assert_eq!(
                send(&admin, request(method, path, &[field], body)).await.status,
                StatusCode::FORBIDDEN,
                "{field:?}"
            );
        }
    }
    assert!(store.flags().is_on(Feature::Cache));
    assert_eq!(store.stats().position(), 0, "nothing was purged");
    let own = [
        ("origin", "http://localhost:9180"),
        ("sec-fetch-site", "same-origin"),
        ("content-type", "Application/JSON; charset=utf-8"),
    ];
    assert_eq!(send(&admin, request("PUT", "/flags/cache", &own, off)).await.status, StatusCode::OK);
    assert!(!store.flags().is_on(Feature::Cache));
}

#[tokio::test]
async fn every_answer_keeps_out_of_caches_frames_and_other_sites() {
    let admin = by_token();
    let right = format!("Bearer {TOKEN}");
    for given in ["", &right] {
        for (method, path) in ROUTES.into_iter().chain([("GET", "/")]) {
            let told = send(&admin, request(method, path, &[("authorization", given)], "{}")).await;
            for (name, value) in
                [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")]
            {
                assert_eq!(told.field(name), value, "{path}");
            }
            let policy = told.field("content-security-policy");
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path} {policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{path} {policy}");
        }
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let admin = open(&Store::memory());
    let large = format!(r#"{{"url":"/{}"}}"#, "x".repeat(200_000));
    let told = send(&admin, request("POST", "/purge", &[], &large)).await;
    assert_eq!(told.status, StatusCode::PAYLOAD_TOO_LARGE);
    let deep = "[".repeat(100_000);
    for bad in [&*deep, "[]", "null", "{", "\u{feff}{}", r#"{"url":1}"#, r#"{"url":""}"#, "{}", r#"{"all":false}"#] {
        let told = send(&admin, request("POST", "/purge", &[], bad)).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{}", &bad[..bad.len().min(20)]);
        assert!(told.json()["error"].is_string());
    }
}
