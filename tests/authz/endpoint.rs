//! The endpoint that answers services which ask over HTTP.

use super::*;
use axum::extract::Path;
use terrace::authz::{Grant, Scope};

const CHECK: &str = "/api/v1/authorization/check";

/// Somebody of acme who may ask, and somebody of another tenant who may.
const SERVICE: (&str, &str) = ("authorization", "Bearer acme/service");
const STRANGER: (&str, &str) = ("authorization", "Bearer other/service");

fn guarded(house: &House) -> Router {
    for tenant in ["acme", "other"] {
        house.directory.set(&who(tenant, "service"), Grants::complete(["authorization:check"]));
    }
    Router::new().route(CHECK, house.authz.check_endpoint("authorization:check"))
}

fn open(house: &House) -> Router {
    Router::new().route(CHECK, house.authz.open_check_endpoint())
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    text: String,
}

async fn ask(app: &Router, fields: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::post(CHECK);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let field = |name| response.headers().get(name).map(|field| field.to_str().unwrap().to_owned());
    assert_eq!(field("cache-control").as_deref(), Some("no-store"));
    assert_eq!(field("cache-status"), None);
    let (status, retry_after) = (response.status().as_u16(), field("retry-after"));
    let said = field("content-type");
    let text = content(response).await;
    assert!(text.is_empty() || said.as_deref() == Some("application/json"), "{said:?} {text}");
    Answer { status, retry_after, text }
}

fn question(user: &str, permission: &str) -> String {
    format!(r#"{{"user_id":"{user}","org_id":"acme","permission":"{permission}"}}"#)
}

#[tokio::test]
async fn it_answers_as_the_engine_does_cold_and_warm() {
    let house = House::new();
    let app = open(&house);
    house.directory.set(&house.alice, Grants::complete([Grant::new("invoice:read").via("role:clerk")]).deny("x"));
    for _ in 0..2 {
        for (permission, expected) in [
            ("invoice:read", r#"{"allowed":true,"reason":"granted","via":"role:clerk"}"#),
            ("invoice:write", r#"{"allowed":false,"reason":"not_granted"}"#),
            ("x", r#"{"allowed":false,"reason":"denied"}"#),
            ("", r#"{"allowed":false,"reason":"not_granted"}"#),
        ] {
            let answer = ask(&app, &[], question("alice", permission)).await;
            assert_eq!((answer.status, &*answer.text), (200, expected), "{permission}");
        }
    }
    let nobody = ask(&app, &[], question("nobody", "invoice:read")).await;
    assert_eq!((nobody.status, &*nobody.text), (200, r#"{"allowed":false,"reason":"not_granted"}"#));
    assert_eq!(house.directory.loads(), 2);
    assert_eq!(house.statuses(), [("cache_miss", 2), ("l1_cache_hit", 7)].into());
}

#[tokio::test]
async fn a_resource_that_is_asked_for_counts() {
    let house = House::new();
    let app = open(&house);
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "invoice:write:7"]));
    let about = |permission: &str, resource: &str| {
        format!(r#"{{"user_id":"alice","org_id":"acme","permission":"{permission}","resource":{resource}}}"#)
    };
    for (permission, resource, allowed) in [
        ("invoice:read", "null", true),
        ("invoice:read", r#""7""#, false),
        ("invoice:write", r#""7""#, true),
        ("invoice:write", r#""8""#, false),
        ("invoice:write", "null", false),
    ] {
        let answer = ask(&app, &[], about(permission, resource)).await;
        assert_eq!(answer.status, 200);
        let start = format!(r#"{{"allowed":{allowed},"#);
        assert!(answer.text.starts_with(&start), "{permission} {resource}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_revocation_is_in_the_next_answer() {
    let house = House::new();
    let app = open(&house);
    assert!(ask(&app, &[], question("alice", "invoice:read")).await.text.contains("true"));
    house.directory.set(&house.alice, Grants::complete(["x"]));
    let receipt = house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap();
    assert!(ask(&app, &[], question("alice", "invoice:read")).await.text.contains("false"));
    let _ = receipt;
}

#[tokio::test]
async fn who_asks_needs_the_right_to_and_learns_of_no_other_tenant() {
    let house = House::new();
    let app = guarded(&house);
    for (fields, status) in [
        (&[][..], 401),
        (&[("x-guest", "1")], 401),
        (&[("authorization", "Basic x")], 401),
        (&[ALICE], 403),
        (&[BOB], 403),
        (&[("authorization", "Bearer acme/service/openid")], 403),
        (&[STRANGER], 403),
        (&[SERVICE], 200),
    ] {
        let answer = ask(&app, fields, question("alice", "invoice:read")).await;
        assert_eq!(answer.status, status, "{fields:?}");
        assert_eq!(answer.text.contains("allowed"), status == 200, "{fields:?}: {}", answer.text);
    }
    // What is wrong with a body is told to nobody else.
    assert_eq!(ask(&app, &[], "{").await.status, 401);
    assert_eq!(ask(&app, &[SERVICE], "{").await.status, 400);
    let loads = house.directory.loads();
    assert_eq!(ask(&app, &[STRANGER], question("nobody", "invoice:read")).await.status, 403);
    assert_eq!(house.directory.loads(), loads, "the source is not asked about another tenant");
}

#[tokio::test]
async fn a_body_that_is_not_understood_is_the_fault_of_who_sent_it() {
    let house = House::new();
    let app = open(&house);
    let long = question(&"x".repeat(257), "a");
    let deep = format!(r#"{{"user_id":{}"#, "[".repeat(10_000));
    for (body, why) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("null", "an object with user_id, org_id and permission"),
        ("[]", "an object with user_id, org_id and permission"),
        (r#""alice""#, "an object with user_id, org_id and permission"),
        ("user_id=alice&org_id=acme", "expected value"),
        (r#"{"org_id":"acme","permission":"a"}"#, "missing field `user_id`"),
        (r#"{"user_id":"alice","permission":"a"}"#, "missing field `org_id`"),
        (r#"{"user_id":"alice","org_id":"acme"}"#, "missing field `permission`"),
        (r#"{"user_id":"","org_id":"acme","permission":"a"}"#, "a subject has 0 bytes"),
        (r#"{"user_id":"alice","org_id":"","permission":"a"}"#, "a tenant has 0 bytes"),
        (r#"{"user_id":"alice","org_id":null,"permission":"a"}"#, "invalid type: null"),
        (r#"{"user_id":7,"org_id":"acme","permission":"a"}"#, "invalid type: integer `7`"),
        (r#"{"user_id":"alice","org_id":"acme","permission":true}"#, "invalid type: boolean"),
        (r#"{"user_id":"alice","org_id":"acme","permission":["a"]}"#, "invalid type: sequence"),
        (r#"{"user_id":"alice","org_id":"acme","permission":"a","resource":7}"#, "invalid type: integer"),
        (r#"{"user_id":"alice","org_id":"acme","permission":"a","resource_id":"7"}"#, "unknown field `resource_id`"),
        (r#"{"user_id":"bob","user_id":"alice","org_id":"acme","permission":"a"}"#, "duplicate field `user_id`"),
        (r#"{"user_id":"alice","org_id":"acme","permission":"a"} {}"#, "trailing characters"),
        (&long, "a subject has 257 bytes, but accepts 1 to 256"),
        (&deep, "invalid type: sequence"),
    ] {
        let answer = ask(&app, &[], body.to_owned()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text.starts_with(r#"{"error":""#) && answer.text.contains(why), "{body}: {}", answer.text);
    }
    for bytes in [&b"{\"user_id\":\"\xff\"}"[..], &b"\x00"[..]] {
        assert_eq!(ask(&app, &[], bytes).await.status, 400);
    }
    assert_eq!((house.directory.loads(), house.statuses()), (0, HashMap::new()));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read_to_its_end() {
    let house = House::new();
    let app = open(&house);
    let longest = |bytes: usize| format!("{:<bytes$}", question("alice", "invoice:read"));
    assert_eq!(ask(&app, &[], longest(16 << 10)).await.status, 200);
    let answer = ask(&app, &[], longest((16 << 10) + 1)).await;
    assert_eq!((answer.status, answer.text.starts_with(r#"{"error":""#)), (413, true), "{}", answer.text);
    let endless = Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, Broken>("                ")));
    assert_eq!(ask(&app, &[], endless).await.status, 413);
    let broken = Body::from_stream(futures_util::stream::once(async { Err::<&str, _>(Broken) }));
    assert_eq!(ask(&app, &[], broken).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn no_decision_is_unavailable_and_says_nothing_of_allowed() {
    for mode in [Mode::Fails, Mode::Panics, Mode::Hangs] {
        let house = House::new();
        house.directory.mode(mode);
        let answer = ask(&open(&house), &[], question("alice", "invoice:read")).await;
        assert_eq!(answer.status, 503, "{mode:?}");
        assert!((1..=5).contains(&answer.retry_after.unwrap().parse::<u8>().unwrap()));
        assert!(answer.text.starts_with(r#"{"error":""#) && !answer.text.contains("allowed"), "{}", answer.text);
        assert_eq!(house.statuses(), [("cache_error", 1)].into());
    }
    let house = House::new();
    house.directory.set(&house.alice, Grants::partial(["x"]));
    let answer = ask(&open(&house), &[], question("alice", "invoice:read")).await;
    assert_eq!((answer.status, answer.text.contains(r#""reason":"undecided""#)), (503, true), "{}", answer.text);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let house = House::new();
    assert_eq!(send(&open(&house), CHECK, &[]).await.status(), 405);
    assert_eq!(send(&guarded(&house), CHECK, &[SERVICE]).await.status(), 405);
}

#[tokio::test]
async fn parameters_of_a_path_are_names_or_the_request_is_malformed() {
    let handler = async |Path((org, user)): Path<(Tenant, Subject)>| format!("{} {}", org.as_str(), user.as_str());
    let app: Router = Router::new().route("/orgs/{org}/members/{user}", get(handler));
    let path = |user: &str| format!("/orgs/acme/members/{user}");
    let longest = "x".repeat(256);
    for (user, expected) in [("alice", "alice"), ("a%2Fb", "a/b"), ("%20", " "), (&*longest, &*longest)] {
        let response = send(&app, &path(user), &[]).await;
        assert_eq!((response.status().as_u16(), content(response).await), (200, format!("acme {expected}")));
    }
    for user in [&*"x".repeat(257), "%ff"] {
        let response = send(&app, &path(user), &[]).await;
        assert_eq!(response.status(), 400, "{user}");
        assert!(!content(response).await.contains("acme"));
    }
}
