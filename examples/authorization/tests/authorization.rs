//! Starts the example and uses it as it says.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rusqlite::Connection;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use terrace_redis_server::PATIENT;

const EXAMPLE: &str = env!("CARGO_BIN_EXE_authorization");

/// Nothing here takes this long unless it will never happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn command(vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(EXAMPLE);
    // A machine that stands still for a moment is not a database that fails.
    command.arg("0").env_clear().env("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "10s").envs(vars.iter().copied());
    command
}

/// An example that runs until this is dropped.
struct Server {
    child: Child,
    said: Vec<String>,
    /// The lines of its log.
    log: Receiver<String>,
}

impl Server {
    fn start(vars: &[(&str, &str)]) -> Self {
        let mut child = command(vars).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = channel();
        // To the end, so that it never waits for somebody to read.
        std::thread::spawn(move || errors.lines().for_each(|line| drop(lines.send(line.unwrap()))));
        let mut server = Self { child, said: Vec::new(), log };
        let last = if vars.iter().any(|(name, _)| *name == "JWKS_FILE") { "It hears of" } else { "/metrics" };
        for line in output.lines().map(Result::unwrap) {
            let ends = line.contains(last);
            server.said.push(line);
            if ends {
                return server;
            }
        }
        panic!("it ended after {:?}", server.said);
    }

    /// On files of its own.
    fn alone(directory: &TempDir) -> Self {
        Self::start(&[("DATA_DIR", path(directory.path()))])
    }

    fn url(&self) -> &str {
        let first = self.said[0].strip_prefix("listening on ").unwrap();
        first.split_once(',').unwrap().0
    }

    /// What the words `NAME=value` that it prints are.
    fn vars(&self) -> HashMap<&str, &str> {
        self.said.iter().filter_map(|line| line.strip_prefix("  ")?.split_once('=')).collect()
    }

    /// The commands that it prints.
    fn commands<const N: usize>(&self) -> [Curl; N] {
        let vars = self.vars();
        let all: Vec<Curl> = self.said.iter().filter_map(|line| Curl::parse(line, &vars)).collect();
        all.try_into().unwrap_or_else(|all: Vec<Curl>| panic!("{} commands", all.len()))
    }

    /// With the token of that name.
    fn request(&self, token: &str, method: Method, target: &str) -> Curl {
        let bearer = format!("Bearer {}", self.vars()[token]);
        let url = format!("{}{target}", self.url());
        Curl { method, url, fields: vec![("authorization".into(), bearer)], body: Bytes::new() }
    }

    /// What it logs, up to a line with this word.
    fn logs(&self, word: &str) -> Vec<String> {
        let (mut lines, mut found) = (Vec::new(), false);
        while !found {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {word} in {lines:?}"));
            found = line.contains(word);
            lines.push(line);
        }
        lines
    }

    /// Until it hears of others, and may tell them.
    async fn joins(&self) {
        let health = Curl { fields: Vec::new(), ..self.request("BOB", Method::GET, "/health") };
        health.until("it is coherent", |answer| answer.body.contains("coherent")).await;
        while self.metric("authz_ring_joined").await < 1.0 {}
    }

    async fn metric(&self, series: &str) -> f64 {
        let curl = Curl { url: format!("{}/metrics", self.url()), ..self.request("BOB", Method::GET, "") };
        let text = curl.run().await.body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// By whoever runs it as a service.
#[test]
fn told_to_end_it_ends_by_itself() {
    let directory = TempDir::new().unwrap();
    let mut server = Server::alone(&directory);
    let process = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A printed command line.
#[derive(Debug, Clone)]
struct Curl {
    method: Method,
    fields: Vec<(String, String)>,
    body: Bytes,
    url: String,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

/// The words of a shell's line, with its variables.
fn words(line: &str, vars: &HashMap<&str, &str>) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for letter in line.chars() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    let replaced =
        |word: String| vars.iter().fold(word, |word, (name, value)| word.replace(&format!("${name}"), value));
    words.into_iter().map(replaced).collect()
}

impl Curl {
    fn parse(line: &str, vars: &HashMap<&str, &str>) -> Option<Self> {
        let mut words = words(line.trim().strip_prefix("curl ")?, vars).into_iter();
        let mut curl = Self { method: Method::GET, fields: Vec::new(), body: Bytes::new(), url: String::new() };
        while let Some(word) = words.next() {
            match &*word {
                "-i" => {}
                "-X" => curl.method = words.next()?.parse().unwrap(),
                "-H" => {
                    let field = words.next()?;
                    let (name, value) = field.split_once(": ").unwrap();
                    curl.fields.push((name.to_owned(), value.to_owned()));
                }
                "-d" => (curl.method, curl.body) = (Method::POST, words.next()?.into()),
                _ => {
                    assert!(word.starts_with("http://127.0.0.1:"), "{line}");
                    curl.url = word;
                }
            }
        }
        Some(curl)
    }

    fn body(self, body: &str) -> Self {
        Self { body: body.to_owned().into(), ..self }
    }

    async fn run(&self) -> Answer {
        let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::builder().method(&self.method).uri(&self.url);
        let request = self.fields.iter().fold(request, |request, (name, value)| request.header(name, value));
        let (head, body) = client.request(request.body(self.body.clone().into()).unwrap()).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn status(&self) -> u16 {
        self.run().await.status
    }

    /// Until it is answered like this.
    async fn until(&self, what: &str, is: impl Fn(&Answer) -> bool) -> Answer {
        let start = Instant::now();
        loop {
            let answer = self.run().await;
            if is(&answer) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {} {}", answer.status, answer.body);
        }
    }
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |field| field.to_str().unwrap())
    }

    fn is_hit(&self) -> bool {
        self.status == 200 && self.field("cache-status").starts_with("terrace; hit")
    }
}

fn by_hand(directory: &TempDir) -> Connection {
    let database = Connection::open(directory.path().join("permissions.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database
}

#[tokio::test]
async fn it_does_what_it_says() {
    let server = Server::start(&[]);
    let [nobody, elsewhere, limited, bob, check, leaves, revoke, health, metrics] = server.commands();

    let answer = nobody.run().await;
    assert_eq!((answer.status, answer.field("www-authenticate")), (401, "Bearer"));
    assert_eq!(elsewhere.status().await, 403);
    let answer = limited.run().await;
    assert_eq!((answer.status, answer.field("www-authenticate")), (403, r#"Bearer error="insufficient_scope""#));
    let (first, second) = (bob.run().await, bob.run().await);
    assert_eq!((first.status, first.field("cache-status")), (200, "terrace; fwd=uri-miss; stored"));
    assert!(second.is_hit(), "{:?}", second.headers);
    assert_eq!(first.body, second.body);
    assert!(first.body.starts_with(r#"{"organisation":"Acme Kettles","owed":[{"customer":"#), "{}", first.body);

    let answer = check.run().await;
    assert_eq!((answer.status, &*answer.body), (200, r#"{"allowed":true,"reason":"granted","via":"role:clerk"}"#));
    assert_eq!(revoke.status().await, 204);
    assert_eq!(bob.status().await, 200, "nothing had changed");

    assert_eq!(leaves.status().await, 204);
    let answer = bob.run().await;
    assert_eq!((answer.status, answer.field("cache-control")), (403, "no-store"));
    let answer = check.run().await;
    assert_eq!((answer.status, &*answer.body), (200, r#"{"allowed":false,"reason":"not_granted"}"#));
    assert_eq!(leaves.status().await, 404, "he has left already");

    let answer = health.run().await;
    assert_eq!((answer.status, answer.field("cache-control")), (200, "no-store"));
    assert_eq!(answer.body, r#"{"status":"healthy","database":"answers","cache":"alone"}"#);
    let text = metrics.run().await.body;
    assert!(text.contains(r#"authz_check_total{cache_status="l1_cache_hit",decision="allow"} "#), "{text}");
}

#[tokio::test]
async fn what_a_role_includes_denies_or_holds_until_some_time_counts() {
    let directory = TempDir::new().unwrap();
    let server = Server::alone(&directory);
    let check = |user: &str, permission: &str| {
        let body = format!(r#"{{"user_id":"{user}","org_id":"acme","permission":"{permission}"}}"#);
        server.request("ALICE", Method::POST, "/api/v1/authorization/check").body(&body)
    };
    for (user, permission, expected) in [
        ("alice", "invoice:read", r#"{"allowed":true,"reason":"granted","via":"role:administrator"}"#),
        ("carol", "invoice:read", r#"{"allowed":true,"reason":"granted","via":"role:reader"}"#),
        ("carol", "invoice:write", r#"{"allowed":false,"reason":"not_granted"}"#),
        ("dave", "invoice:read", r#"{"allowed":true,"reason":"granted","via":"role:clerk"}"#),
        ("dave", "invoice:write", r#"{"allowed":false,"reason":"denied"}"#),
        ("nobody", "invoice:read", r#"{"allowed":false,"reason":"not_granted"}"#),
    ] {
        assert_eq!(check(user, permission).run().await.body, expected, "{user} {permission}");
    }
    let end = "UPDATE membership SET until = unixepoch() + 1 WHERE user = 'carol'";
    assert_eq!(by_hand(&directory).execute(end, []).unwrap(), 1);
    assert_eq!(server.request("ALICE", Method::POST, "/orgs/acme/members/carol/revoke").status().await, 204);
    let ended = |answer: &Answer| answer.body.contains("false");
    check("carol", "invoice:read").until("it ends by itself", ended).await;
}

#[tokio::test]
async fn who_may_not_administer_or_ask_is_refused() {
    let server = Server::start(&[]);
    let question = r#"{"user_id":"alice","org_id":"acme","permission":"invoice:read"}"#;
    let check = |token| server.request(token, Method::POST, "/api/v1/authorization/check");
    assert_eq!(check("BOB").body(question).status().await, 403);
    assert_eq!(check("ALICE").body(&question.replace("acme", "globex")).status().await, 403);
    assert_eq!(check("ALICE").body(&question.replace("user_id", "user")).status().await, 400);
    for target in ["/orgs/acme/members/alice", "/orgs/globex/members/dave"] {
        let tokens = if target.contains("globex") { &["BOB", "ALICE"][..] } else { &["BOB"] };
        for token in tokens {
            assert_eq!(server.request(token, Method::DELETE, target).status().await, 403);
            assert_eq!(server.request(token, Method::POST, &format!("{target}/revoke")).status().await, 403);
        }
    }
    let long = format!("/orgs/acme/members/{}", "x".repeat(257));
    assert_eq!(server.request("ALICE", Method::DELETE, &long).status().await, 400);
    assert_eq!(server.request("ALICE", Method::GET, "/orgs/acme/invoices").status().await, 200);
}

#[tokio::test]
async fn a_change_by_hand_counts_once_it_is_told() {
    let directory = TempDir::new().unwrap();
    let server = Server::alone(&directory);
    let invoices = server.request("BOB", Method::GET, "/orgs/acme/invoices");
    assert_eq!(invoices.status().await, 200);
    let suspended = by_hand(&directory).execute("UPDATE user SET suspended = 1 WHERE id = 'bob'", []).unwrap();
    assert_eq!((suspended, invoices.status().await), (1, 200), "nobody told");
    assert_eq!(server.request("ALICE", Method::POST, "/orgs/acme/members/bob/revoke").status().await, 204);
    assert_eq!(invoices.status().await, 403);
}

/// What a client has asked for is done, and told, when it does not wait for it.
#[tokio::test]
async fn a_client_that_leaves_takes_no_revocation_with_it() {
    let directory = TempDir::new().unwrap();
    let server = Server::alone(&directory);
    let bob = server.request("BOB", Method::GET, "/orgs/acme/invoices");
    assert_eq!(bob.status().await, 200);
    let mut database = by_hand(&directory);
    let writes = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let leaves = server.request("ALICE", Method::DELETE, "/orgs/acme/members/bob");
    let asked = tokio::spawn(async move { leaves.run().await.status });
    while server.metric("authz_open_changes").await < 1.0 {}
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    // It is noticed meanwhile, and the database does not wait for ever.
    let left = Instant::now();
    while left.elapsed() < Duration::from_millis(500) {
        assert_eq!(bob.status().await, 200, "not yet");
    }
    drop(writes);
    let told = r#"cache_invalidations_total{scope="subject",kind="hard",result="acked"}"#;
    let started = Instant::now();
    // It is counted once the change has ended.
    while server.metric("authz_open_changes").await > 0.0 || server.metric(told).await < 1.0 {
        assert!(started.elapsed() < PATIENCE, "it never ends");
    }
    assert_eq!((server.metric(told).await, bob.status().await), (1.0, 403), "it was committed and told");
}

#[tokio::test]
async fn a_database_that_fails_allows_and_denies_nobody() {
    let directory = TempDir::new().unwrap();
    let server = Server::alone(&directory);
    let invoices = server.request("BOB", Method::GET, "/orgs/acme/invoices");
    by_hand(&directory).execute_batch("ALTER TABLE role_permission RENAME TO gone").unwrap();
    let check = server.request("ALICE", Method::POST, "/api/v1/authorization/check").body("{}");
    for request in [&invoices, &check] {
        let answer = request.run().await;
        assert_eq!((answer.status, answer.field("cache-control")), (503, "no-store"));
        assert!((1..=5).contains(&answer.field("retry-after").parse::<u8>().unwrap()));
    }
    let health = Curl { url: format!("{}/health", server.url()), fields: Vec::new(), ..invoices.clone() };
    let answer = health.run().await;
    assert_eq!((answer.status, answer.field("cache-control")), (503, "no-store"));
    assert_eq!(answer.body, r#"{"status":"unhealthy","database":"fails","cache":"alone"}"#);
    let log = server.logs("database_failed");
    assert_eq!(query(&log, "database_failed", "ERROR").len(), 1, "{log:?}");
    by_hand(&directory).execute_batch("ALTER TABLE gone RENAME TO role_permission").unwrap();
    assert_eq!((invoices.status().await, health.status().await), (200, 200));
}

/// A cache that lost its Redis is no reason to take the service out.
#[tokio::test]
async fn without_redis_it_is_healthy_and_says_so() {
    let (directory, redis) = (TempDir::new().unwrap(), terrace_redis_server::Server::start());
    let url = redis.url();
    let keys = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let vars = [("DATA_DIR", path(directory.path())), ("REDIS_URL", &*url), ("CACHE_NAMESPACE", "invoices")];
    let server = Server::start(&[&vars[..], &[("AUTHZ_CACHE_KEYS", keys)]].concat());
    let health = Curl { fields: Vec::new(), ..server.request("BOB", Method::GET, "/health") };
    let coherent = r#"{"status":"healthy","database":"answers","cache":"coherent"}"#;
    health.until("it is coherent", |answer| answer.body == coherent).await;
    drop(redis);
    let degraded = health.until("it is degraded", |answer| answer.body != coherent).await;
    assert_eq!((degraded.status, &*degraded.body), (200, &*coherent.replace("coherent", "degraded")));
}

/// What `|= "WORD" | json | level="LEVEL"` finds in a log.
fn query(lines: &[String], word: &str, level: &str) -> Vec<Map<String, Value>> {
    let with_word = lines.iter().filter(|line| line.contains(word));
    let parsed = with_word.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    parsed.filter(|line: &Map<String, Value>| line["level"] == level).collect()
}

#[tokio::test]
async fn what_redis_does_for_a_request_is_logged_with_its_trace_and_without_its_secrets() {
    const FILLS: &str = "0af7651916cd43dd8448eb211c80319c";
    const FINDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const FAILS: &str = "5759e988bd862e3fe1be46a994272793";
    let (directory, redis) = (TempDir::new().unwrap(), terrace_redis_server::Server::start());
    let url = redis.url();
    let vars = [
        ("DATA_DIR", path(directory.path())),
        ("REDIS_URL", &url),
        ("CACHE_NAMESPACE", "invoices"),
        ("AUTHZ_CACHE_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("CACHE_L1_MAX_LAG", "1m"),
    ];
    // What is slow here is the machine.
    let vars = [&vars[..], &PATIENT].concat();
    let first = Server::start(&vars);
    let second = Server::start(&[&vars[..], &[("AUTHZ_CACHE_L1_MAX_BYTES", "0")]].concat());
    let asks = async |server: &Server, trace: &str| {
        let mut invoices = server.request("BOB", Method::GET, "/orgs/acme/invoices");
        invoices.fields.push(("traceparent".into(), format!("00-{trace}-00f067aa0ba902b7-01")));
        assert_eq!(invoices.status().await, 200);
    };
    for server in [&first, &second] {
        server.joins().await;
    }

    asks(&first, FILLS).await;
    let mut filled = first.logs("authz_l2_cache_populated");
    asks(&second, FINDS).await;
    let mut found = second.logs("authz_l2_cache_hit");
    // What is asked for requests fails, and nothing else: who notices by itself that Redis is gone asks it no more.
    redis.command(&["ACL", "SETUSER", "default", "-getrange"]);
    asks(&second, FAILS).await;
    found.extend(second.logs("authz_l2_cache_error"));

    let secrets = ["ALICE", "BOB", "LIMITED"].map(|name| first.vars()[name].to_owned());
    for (mut server, lines) in [(first, &mut filled), (second, &mut found)] {
        server.child.kill().unwrap();
        lines.extend(server.log.iter());
    }
    for (lines, word, level, trace) in [
        (&filled, "authz_l2_cache_populated", "INFO", FILLS),
        (&found, "authz_l2_cache_hit", "INFO", FINDS),
        (&found, "authz_l2_cache_error", "WARNING", FAILS),
    ] {
        let told = query(lines, word, level);
        assert!(!told.is_empty(), "no {word} in {lines:?}");
        let is_well = |line: &Map<String, Value>| line["event"] == word && line.get("trace_id") == Some(&trace.into());
        assert!(told.iter().all(is_well), "{told:?}");
    }
    for line in filled.iter().chain(&found) {
        assert!(serde_json::from_str::<Map<String, Value>>(line).is_ok(), "no JSON: {line}");
        let told = ["acme", "alice", "bob"].into_iter().chain(secrets.iter().map(String::as_str));
        assert_eq!(told.filter(|word| line.contains(word)).collect::<Vec<_>>(), [""; 0], "{line}");
    }
}

#[tokio::test]
async fn processes_on_one_directory_and_those_with_its_keys_take_the_same_tokens() {
    let (directory, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let one = Server::alone(&directory);
    let same = Server::alone(&directory);
    let keys = directory.path().join("jwks.json");
    let given = Server::start(&[("DATA_DIR", path(other.path())), ("JWKS_FILE", path(&keys))]);
    let stranger = Server::alone(&other);
    assert!(given.vars().is_empty(), "who is no issuer has no tokens");
    let bob = one.request("BOB", Method::GET, "/orgs/acme/invoices");
    for (server, status) in [(&one, 200), (&same, 200), (&given, 200), (&stranger, 401)] {
        let there = Curl { url: bob.url.replace(one.url(), server.url()), ..bob.clone() };
        assert_eq!(there.status().await, status);
    }
}

/// What one process takes away, with its database and Redis, is gone in the other one: at once if it is asked of Redis, and
/// in its memory as soon as that is not believed any more.
#[tokio::test]
async fn a_second_process_takes_rights_away_from_the_first() {
    let (directory, redis) = (TempDir::new().unwrap(), terrace_redis_server::Server::start());
    let url = redis.url();
    let vars = [
        ("DATA_DIR", path(directory.path())),
        ("REDIS_URL", &url),
        ("CACHE_NAMESPACE", "invoices"),
        ("AUTHZ_CACHE_KEYS", "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    // What is slow here is the machine.
    let vars = [&vars[..], &PATIENT].concat();
    let (first, second) = (Server::start(&vars), Server::start(&vars));
    for server in [&first, &second] {
        server.joins().await;
    }
    let bob = |server: &Server| server.request("BOB", Method::GET, "/orgs/acme/invoices");
    let alice = |method, target| second.request("ALICE", method, target);
    let bound = Duration::from_secs_f64(first.metric("authz_revocation_bound_seconds").await);
    assert_eq!(bound, Duration::from_secs(10), "that of the database, which is given more time here");
    // `CACHE_L1_MAX_LAG`.
    let lag = Duration::from_secs(1);
    let database = by_hand(&directory);

    for round in 0..5 {
        for server in [&first, &second] {
            bob(server).until("it is cached", Answer::is_hit).await;
        }
        // In turn: a change that is announced, and one that is told afterwards.
        let told = if round % 2 == 0 {
            alice(Method::DELETE, "/orgs/acme/members/bob")
        } else {
            assert_eq!(database.execute("DELETE FROM membership WHERE user = 'bob'", []).unwrap(), 1);
            alice(Method::POST, "/orgs/acme/members/bob/revoke")
        };
        assert_eq!(told.status().await, 204);
        let acknowledged = Instant::now();
        let mut asked = Instant::now();
        while bob(&first).status().await == 200 {
            assert!(asked - acknowledged < lag, "allowed {:?} after the end", asked - acknowledged);
            asked = Instant::now();
        }
        assert_eq!(bob(&second).status().await, 403);
        for _ in 0..20 {
            assert_eq!(bob(&first).status().await, 403, "it does not come back");
        }
        // He comes back, which is a change too.
        let joins = "INSERT INTO membership VALUES ('acme', 'bob', 2, NULL)";
        assert_eq!(database.execute(joins, []).unwrap(), 1);
        assert_eq!(alice(Method::POST, "/orgs/acme/members/bob/revoke").status().await, 204);
        bob(&first).until("he may again", |answer| answer.status == 200).await;
    }
    let hits = r#"authz_check_total{cache_status="l1_cache_hit",decision="allow"}"#;
    assert!(first.metric(hits).await >= 5.0, "it was answered from memory before");
}

#[test]
fn what_it_cannot_use_it_names() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let text = |mut command: Command| {
        let failed = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        String::from_utf8(failed.stderr).unwrap()
    };
    let mut on_port = Command::new(EXAMPLE);
    on_port.env_clear().env("PORT", &port);
    let start = format!("authorization: cannot listen on 127.0.0.1:{port}: Address already in use");
    let said = text(on_port);
    assert!(said.starts_with(&start), "{said}");
    for (name, value) in
        [("AUTHZ_CACHE_TTL", "never"), ("JWKS_FILE", "nothing.json"), ("DATA_DIR", "/proc/nothing"), ("REDIS_URL", "x")]
    {
        let said = text(command(&[(name, value)]));
        let named = if name == "JWKS_FILE" { value } else { name };
        assert!(said.starts_with("authorization: ") && said.contains(named), "{said}");
    }
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let server = Server::start(&[]);
    let nothing = server.request("ALICE", Method::GET, "/orgs/acme");
    assert_eq!(nothing.status().await, StatusCode::NOT_FOUND.as_u16());
}
