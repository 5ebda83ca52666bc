//! Another service that decides, asked over HTTP: the endpoint, and everything that is no answer.

use super::judge::{Court, NO, context};
use super::*;
use bytes::Bytes;
use http::{HeaderValue, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Instant;
use terrace::authz::{Decision, DenyReason, RemoteAuthorizer, Scope, UnavailableReason, perm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

const CHECK: &str = "/api/v1/authorization/check";
const ALLOWED: &str = r#"{"allowed":true}"#;

/// Ends with the test.
struct Serving {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Serving {
    async fn with<F: Future<Output = ()> + Send + 'static>(serve: impl FnOnce(TcpListener) -> F) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, task: tokio::spawn(serve(listener)).abort_handle() }
    }

    async fn app(app: Router) -> Self {
        Self::with(|listener| async move { axum::serve(listener, app).await.unwrap() }).await
    }

    fn uri(&self) -> Uri {
        format!("http://{}{CHECK}", self.address).parse().unwrap()
    }

    fn asked(&self) -> RemoteAuthorizer {
        RemoteAuthorizer::new(client(), self.uri())
    }
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Of one who waits for a service, however slow the machine is.
fn store() -> Store {
    Store::from_vars([("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "10s")]).unwrap()
}

/// One that asks that service about everything.
fn asking(authorizer: RemoteAuthorizer) -> Authz {
    Authz::deciding(store(), authorizer).cache_decisions("remote").identify(Tokens).single_process().build().unwrap()
}

fn alice() -> Principal {
    Principal::new(who("acme", "alice"))
}

#[tokio::test]
async fn it_decides_as_the_endpoint_that_it_asks() {
    let house = House::new();
    let service = who("acme", "service");
    house.directory.set(&service, Grants::complete(["authorization:check"]));
    house.directory.set(&house.alice, Grants::complete(["invoice:read", "invoice:write:7"]).deny("x"));
    let endpoint = house.authz.check_endpoint("authorization:check");
    let serving = Serving::app(Router::new().route(CHECK, endpoint)).await;
    let credential = HeaderValue::from_static("Bearer acme/service");
    let authz = asking(serving.asked().credential(credential));
    for _ in 0..2 {
        for (requirement, expected) in [
            (perm("invoice:read"), Decision::Allow),
            (perm("invoice:write"), NO),
            (perm("invoice:write").resource("7"), Decision::Allow),
            (perm("invoice:write").resource(""), NO),
            (perm("x"), Decision::Deny(DenyReason::Denied)),
            (perm(r#"q":"x","permission":"invoice:read"#), NO),
        ] {
            assert_eq!(authz.check(&alice(), requirement.clone()).await.unwrap(), expected, "{requirement:?}");
        }
    }
    assert_eq!(house.statuses().values().sum::<u64>(), 6 + 6, "six checks, each of which needed a right");
    assert_eq!(authz.check(&Principal::new(who("acme", "bob")), "invoice:read").await.unwrap(), NO);
    // The other service says nothing of other tenants.
    let elsewhere = authz.check(&Principal::new(who("other", "alice")), "invoice:read").await.unwrap_err();
    assert_eq!(elsewhere.reason(), UnavailableReason::Source);
    // What it says later is known once it is asked again.
    house.directory.set(&house.alice, Grants::complete(["y"]));
    drop(house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap());
    assert!(authz.check(&alice(), "invoice:read").await.unwrap().is_allow(), "here nobody has revoked it");
    assert_eq!(authz.check(&alice(), perm("invoice:read").fresh()).await.unwrap(), NO);
    assert_eq!(authz.check(&alice(), "invoice:read").await.unwrap(), NO);
    // Without a credential, with a wrong one, and when the other service cannot decide.
    for authorizer in [serving.asked(), serving.asked().credential(HeaderValue::from_static("Bearer acme/bob"))] {
        assert!(asking(authorizer).check(&alice(), "invoice:read").await.is_err());
    }
    house.directory.mode(Mode::Fails);
    drop(house.authz.revoke(Scope::Subject(house.alice.clone())).await.unwrap());
    let error = authz.check(&alice(), perm("y").fresh()).await.unwrap_err();
    assert_eq!(error.reason(), UnavailableReason::Source);
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "the service that decides answered with 503 Service Unavailable, not 200");
    let gone = asking(serving.asked());
    let uri = serving.address.to_string();
    drop(serving);
    assert_eq!(gone.check(&alice(), "y").await.unwrap_err().reason(), UnavailableReason::Source);
    assert!(!format!("{gone:?}").contains(&uri));
    assert!(!format!("{:?}", RemoteAuthorizer::new(client(), Uri::from_static("http://secret/"))).contains("secret"));
}

#[tokio::test]
async fn the_context_is_a_part_of_what_is_asked() {
    let court = Court::new();
    court.judge.says("acme/alice open [7] address=in\"side hour=9", Decision::Allow);
    let serving = Serving::app(Router::new().route(CHECK, court.authz.open_check_endpoint())).await;
    let authz = asking(serving.asked());
    let at = |pairs: &[(&str, &str)]| perm("open").resource("7").context(context(pairs));
    for (pairs, allowed) in [
        (&[("address", "in\"side"), ("hour", "9")][..], true),
        (&[("address", "in\"side")], false),
        (&[("address", "outside"), ("hour", "9")], false),
        (&[], false),
    ] {
        assert_eq!(authz.check(&alice(), at(pairs)).await.unwrap().is_allow(), allowed, "{pairs:?}");
    }
    assert_eq!(court.judge.calls(), 4);
    // What is no context is refused, and not left out.
    let question = |context: &str| {
        format!(r#"{{"user_id":"alice","org_id":"acme","permission":"open","resource":"7","context":{context}}}"#)
    };
    let app = Router::new().route(CHECK, court.authz.open_check_endpoint());
    let ask = async |body: String| {
        let request = Request::post(CHECK).body(Body::from(body)).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), content(response).await)
    };
    let many: Vec<String> = (0..33).map(|at| format!(r#""{at}":"""#)).collect();
    for (context, why) in [
        ("[]", "an object of texts"),
        ("7", "an object of texts"),
        (r#"{"a":7}"#, "invalid type: integer"),
        (r#"{"a":null}"#, "invalid type: null"),
        (r#"{"":"a"}"#, "accepts no empty name"),
        (r#"{"a":"1","a":"2"}"#, "accepts each name once"),
        (&format!("{{{}}}", many.join(",")), "accepts at most 32 pairs"),
        (&format!(r#"{{"a":"{}"}}"#, "x".repeat(5000)), "accepts at most 4096 bytes"),
    ] {
        let (status, text) = ask(question(context)).await;
        assert_eq!((status, text.contains(why)), (400, true), "{context}: {text}");
    }
    for none in ["null", "{}"] {
        assert_eq!(ask(question(none)).await, (200, r#"{"allowed":false,"reason":"not_granted"}"#.to_owned()));
    }
    assert_eq!(court.judge.last(), ["acme/alice open [7]"]);
}

/// A server that says what it is told to, and keeps what it was asked.
#[derive(Clone)]
struct Script {
    says: Arc<Mutex<Says>>,
    heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
enum Says {
    /// These bytes, and no more.
    Bytes(Vec<u8>),
    /// These, again and again.
    Endless(Vec<u8>, Vec<u8>),
    Nothing,
}

impl Script {
    async fn start() -> (Self, Serving) {
        let script = Self { says: Arc::new(Mutex::new(Says::Nothing)), heard: Arc::default() };
        let own = script.clone();
        let serve = |listener: TcpListener| async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(own.clone().answer(stream));
            }
        };
        (script, Serving::with(serve).await)
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Hears one request, to the end of its object, and answers it.
    async fn answer(self, mut stream: TcpStream) {
        let mut heard = Vec::new();
        while !heard.ends_with(b"}") {
            if stream.read_buf(&mut heard).await.unwrap_or_default() == 0 {
                return;
            }
        }
        self.heard.lock().unwrap().push(String::from_utf8(heard).unwrap());
        let says = self.says.lock().unwrap().clone();
        match says {
            Says::Bytes(bytes) => drop(stream.write_all(&bytes).await),
            Says::Endless(first, rest) => {
                let mut more = stream.write_all(&first).await;
                while more.is_ok() {
                    more = stream.write_all(&rest).await;
                }
            }
            Says::Nothing => std::future::pending().await,
        }
    }
}

fn response(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into()
}

fn json(status: &str, body: &str) -> Vec<u8> {
    response(status, "content-type: application/json\r\n", body)
}

const STATUSES: &[&str] = &[
    "100 Continue",
    "201 Created",
    "202 Accepted",
    "203 Changed",
    "205 Reset",
    "206 Partial",
    "226 Used",
    "300 Choose",
    "304 Same",
    "400 Bad",
    "401 Who",
    "403 No",
    "404 Nowhere",
    "418 Teapot",
    "500 Broken",
    "502 Behind",
    "503 Busy",
    "299 Almost",
    "999 Beyond",
];

const BODIES: &[&str] = &[
    "",
    " ",
    "null",
    "true",
    "1",
    "[true]",
    r#""allowed""#,
    "{}",
    "OK",
    "allowed=true",
    "{'allowed':true}",
    r#"{"allowed":"true"}"#,
    r#"{"allowed":"false"}"#,
    r#"{"allowed":1}"#,
    r#"{"allowed":0}"#,
    r#"{"allowed":null}"#,
    r#"{"allowed":[true]}"#,
    r#"{"allowed":{"allowed":true}}"#,
    r#"{"Allowed":true}"#,
    r#"{"allow":true}"#,
    r#"{"data":{"allowed":true}}"#,
    r#"[{"allowed":true}]"#,
    r#"{"allowed":True}"#,
    r#"{"allowed":true,"allowed":true}"#,
    r#"{"allowed":false,"allowed":true}"#,
    r#"{"allowed":true,"\u0061llowed":false}"#,
    r#"{"allowed":true}{"allowed":true}"#,
    r#"{"allowed":true} x"#,
    r#"{"allowed":true"#,
    r#"{"allowed":tru"#,
    r#"{"allowed":true,}"#,
    "\u{feff}{\"allowed\":true}",
    r#"{"allowed":true,"reason":"a","reason":"b"}"#,
];

/// None of them says that there is one JSON text.
const TYPES: &[&str] = &[
    "",
    "content-type: text/html\r\n",
    "content-type: text/json\r\n",
    "content-type: application/jsonp\r\n",
    "content-type: application\r\n",
    "content-type: \r\n",
    "content-type: multipart/x; a=application/json\r\n",
    "content-type: application/json\r\ncontent-type: application/json\r\n",
];

/// What is no answer, with a word for people.
fn no_answers(good: &Uri) -> Vec<(String, Says)> {
    let mut all = Vec::new();
    let mut add = |what: &str, bytes: Vec<u8>| all.push((what.to_owned(), Says::Bytes(bytes)));
    for status in STATUSES {
        add(status, json(status, ALLOWED));
    }
    for status in ["301 Moved", "302 Found", "303 See", "307 There", "308 Moved"] {
        add(status, response(status, &format!("content-type: application/json\r\nlocation: {good}\r\n"), ALLOWED));
    }
    add("204", b"HTTP/1.1 204 Nothing\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n".to_vec());
    let long = format!(r#"{{"allowed":true,"x":"{}"}}"#, "x".repeat(16 << 10));
    for body in BODIES.iter().copied().chain([&*long]) {
        let what: String = body.chars().take(60).collect();
        add(&what, json("200 OK", body));
    }
    for fields in TYPES {
        add(fields, response("200 OK", fields, ALLOWED));
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    for (what, rest) in [
        ("shorter than it says", format!("content-length: 17\r\n\r\n{ALLOWED}")),
        ("cut in a chunk", format!("transfer-encoding: chunked\r\n\r\n20\r\n{ALLOWED}")),
        ("cut between chunks", format!("transfer-encoding: chunked\r\n\r\n10\r\n{ALLOWED}\r\n")),
        ("two lengths", format!("content-length: 16\r\ncontent-length: 17\r\n\r\n{ALLOWED}x")),
        ("no body", "content-length: 0\r\n\r\n".to_owned()),
        ("half a head", String::new()),
    ] {
        add(what, format!("{head}{rest}").into());
    }
    add("nothing", Vec::new());
    add("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec());
    add("no protocol", vec![0xff; 100]);
    let endless = format!("{head}transfer-encoding: chunked\r\n\r\n10\r\n{ALLOWED}\r\n");
    let spaces = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    all.push(("endless".to_owned(), Says::Endless(endless.into(), spaces.into())));
    all.push(("no answer at all".to_owned(), Says::Nothing));
    all
}

/// Of all that is no answer nothing allows, denies, or stays.
#[tokio::test]
async fn whatever_is_no_answer_is_an_error_and_the_next_answer_counts() {
    let (script, serving) = Script::start().await;
    let good = Serving::app(Router::new().route(CHECK, axum::routing::any(async || ALLOWED))).await;
    let store = store();
    let builder = Authz::builder(store.clone(), Unknowing).authorizer(serving.asked());
    let authz = builder.cache_decisions("remote").identify(Tokens).single_process().build().unwrap();
    let app = app(&authz, "invoice:read");
    let waits = |limit: &str| store.settings().set("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", limit).unwrap();
    let answers = no_answers(&good.uri());
    assert!(answers.len() > 70);
    for (what, says) in answers {
        let is_late = matches!(says, Says::Nothing);
        script.says(says);
        // What comes is waited for, however slow the machine is.
        waits(if is_late { "500" } else { "10s" });
        let error = authz.check(&alice(), "invoice:read").await.expect_err(&what);
        let expected = if is_late { UnavailableReason::Timeout } else { UnavailableReason::Source };
        assert_eq!(error.reason(), expected, "{what}");
        let status = send(&app, "/invoices", &[ALICE]).await.status();
        assert_eq!(status, 503, "{what}");
        waits("10s");
        for (body, allowed) in [(ALLOWED, true), (r#"{"allowed":false}"#, false)] {
            script.says(Says::Bytes(json("200 OK", body)));
            drop(authz.revoke(Scope::All).await.unwrap());
            // A call that has run out of time may still be ending.
            let begun = Instant::now();
            let mut decided = authz.check(&alice(), "invoice:read").await;
            while is_late && decided.is_err() && begun.elapsed() < Duration::from_secs(10) {
                decided = authz.check(&alice(), "invoice:read").await;
            }
            assert_eq!(decided.unwrap().is_allow(), allowed, "after {what}");
        }
        drop(authz.revoke(Scope::All).await.unwrap());
    }
    drop(serving);
    drop(script);
}

/// A part of which nothing is known.
struct Unknowing;

impl PermissionSource for Unknowing {
    type Error = Broken;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Broken> {
        Ok(Grants::partial(Vec::<String>::new()))
    }
}

#[tokio::test]
async fn answers_of_other_services_are_understood() {
    let (script, serving) = Script::start().await;
    let authz = Authz::deciding(store(), serving.asked()).build().unwrap();
    let longest = format!(r#"{{"allowed":true,"x":"{}"}}"#, "x".repeat((16 << 10) - 23));
    assert_eq!(longest.len(), 16 << 10);
    let deep = format!(r#"{{"x":{}{},"allowed":true}}"#, "[".repeat(8000), "]".repeat(8000));
    for (body, expected) in [
        (ALLOWED, Decision::Allow),
        (" { \"allowed\" : true } \n", Decision::Allow),
        (r#"{"x":{"allowed":false},"allowed":true,"reason":null}"#, Decision::Allow),
        (r#"{"allowed":false}"#, NO),
        (r#"{"allowed":false,"reason":"denied"}"#, Decision::Deny(DenyReason::Denied)),
        // Of a credential that is not the caller's.
        (r#"{"allowed":false,"reason":"credential_ended"}"#, NO),
        (r#"{"allowed":false,"reason":{"code":7}}"#, NO),
        (&longest, Decision::Allow),
        (&deep, Decision::Allow),
    ] {
        for kind in ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;q=1"]
        {
            script.says(Says::Bytes(response("200 OK", &format!("content-type: {kind}\r\n"), body)));
            assert_eq!(authz.check(&alice(), "invoice:read").await.unwrap(), expected, "{kind} {body}");
        }
    }
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
        8\r\n{\"allowe\r\n8\r\nd\":true}\r\n0\r\nallowed: false\r\n\r\n";
    script.says(Says::Bytes(chunked.into()));
    assert!(authz.check(&alice(), "invoice:read").await.unwrap().is_allow());
    let request = script.heard.lock().unwrap().pop().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("POST {CHECK} HTTP/1.1\r\n")) && !head.contains("authorization:"), "{head}");
    assert!(head.contains("content-type: application/json") && head.contains("accept: application/json"), "{head}");
    assert_eq!(body, r#"{"org_id":"acme","permission":"invoice:read","user_id":"alice"}"#);
}
