//! `terrace purge` against a fleet that runs.

use crate::fleet::{Fleet, run};
use crate::harness::{Origin, PATIENCE, full, terrace, within};
use http::{Request, Response};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use terrace::stats::CoherenceState;
use terrace::{CacheLayer, Partition, Store};
use terrace_redis_server::{PATIENT, Port, Server};
use tokio::sync::Semaphore;
use tower_layer::Layer;
use tower_service::Service;

const A: &str = "a.example";
const B: &str = "b.example";

#[tokio::test]
async fn each_scope_takes_effect_in_all_processes_and_nowhere_else() {
    let head = [("cache-control", "max-age=3600"), ("cache-tag", "shop, all")];
    let fleet = Fleet::start_with(Server::start(), &[], &head).await;
    for (arguments, spares) in [
        (&["http://A.example:80/shop/1?b=2&a=1"][..], &[(B, "/shop/1?a=1&b=2"), (A, "/shop/1"), (A, "/news")][..]),
        (&["https://a.example/shop/1?a=1&b=2"], &[(B, "/shop/1?a=1&b=2")]),
        (&["/shop/1?a=1&b=2"], &[(A, "/shop/1")]),
        (&["--prefix", "http://a.example/shop"], &[(A, "/shopping"), (B, "/shop/1?a=1&b=2")]),
        (&["--prefix", "/shop/"], &[(A, "/shopping"), (A, "/news")]),
        (&["--tag", "none", "--tag", "shop"], &[]),
    ] {
        let before = fleet.warm(A, "/shop/1?a=1&b=2").await;
        let mut others = Vec::new();
        for (host, path) in spares {
            others.push((host, path, fleet.warm(host, path).await));
        }
        let ended = fleet.run(&[&["purge", "-o", "json"], arguments].concat()).ok();
        fleet.forget(Instant::now(), A, "/shop/1?a=1&b=2", before).await;
        for (host, path, before) in others {
            fleet.keep(host, path, before).await;
        }
        let said = ended.json();
        assert_eq!((&said["acknowledged"], &said["error"]), (&true.into(), &().into()), "{said}");
        let last = said["purges"].as_array().unwrap().last().unwrap();
        assert!(last["position"].as_u64() > Some(0) && last["epoch"].as_str().unwrap().len() == 56, "{said}");
    }
}

#[tokio::test]
async fn what_is_purged_softly_is_served_stale_while_it_is_fetched() {
    let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(100)));
    let (count, passes) = (Arc::clone(&asked), Arc::clone(&gate));
    let origin = Origin::start(move |_| {
        let (number, passes) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&passes));
        async move {
            passes.acquire().await.unwrap().forget();
            let response = Response::builder().header("cache-control", "max-age=3600, stale-while-revalidate=600");
            response.body(full(number.to_string())).unwrap()
        }
    });
    let fleet = Fleet::over(&origin.await, Server::start(), &[]).await;
    let before = fleet.warm(A, "/x").await;
    gate.forget_permits(100);
    let fetched = asked.load(Ordering::SeqCst);
    let ended = fleet.run(&["purge", "--soft", "/x"]).ok();
    let said = format!("soft, acknowledged in namespace `default` by Redis at 127.0.0.1:{}", fleet.redis.port());
    assert!(ended.out.contains(&said), "{ended:?}");
    // The origin is asked, does not answer, and nobody waits for it.
    let refreshing = async {
        while asked.load(Ordering::SeqCst) == fetched {
            fleet.keep(A, "/x", before).await;
        }
    };
    within("a refresh", refreshing).await;
    fleet.keep(A, "/x", before).await;
    gate.add_permits(100);
    fleet.forget(Instant::now() + PATIENCE, A, "/x", before).await;
}

/// Answers with how often it was asked.
#[derive(Clone)]
struct Counting(Arc<AtomicUsize>);

impl Service<Request<()>> for Counting {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let body = self.0.fetch_add(1, Ordering::SeqCst).to_string();
        ready(Ok(Response::builder().header("cache-control", "max-age=3600").body(body).unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_partition_is_purged_and_the_others_are_not() {
    let redis = Server::start();
    let url = redis.url();
    let store = Store::from_vars(PATIENT.into_iter().chain([("REDIS_URL", url.as_str())])).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let mut cache = CacheLayer::new(store.clone()).layer(Counting(Arc::clone(&count)));
    let mut asked = async |partition: &str| {
        let mut request = Request::get("http://a.example/").body(()).unwrap();
        request.extensions_mut().insert(Partition::new(partition));
        poll_fn(|cx| cache.poll_ready(cx)).await.unwrap();
        cache.call(request).await.unwrap().headers().get("age").is_some()
    };
    within("the store to join", async {
        while store.stats().coherence() != Some(CoherenceState::Coherent) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for partition in ["jane", "joe"] {
        within("a hit", async { while !asked(partition).await {} }).await;
    }
    run(terrace().env("REDIS_URL", &url).args(["purge", "--partition", "jane"])).ok();
    let before = count.load(Ordering::SeqCst);
    within("the purge", async { while asked("jane").await {} }).await;
    assert!(asked("joe").await);
    assert_eq!(count.load(Ordering::SeqCst), before + 1);
}

const KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What a list of URLs holds, in some order.
fn sorted(list: &Value) -> Vec<&str> {
    let mut all: Vec<&str> = list.as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn urls_that_match_a_pattern_are_listed_and_then_purged() {
    let head = [("cache-control", "max-age=3600")];
    for variables in [&[][..], &[("CACHE_KEYS", KEY)]] {
        let fleet = Fleet::start_with(Server::start(), variables, &head).await;
        let wanted = [(A, "/img/a.jpg"), (A, "/img/b/c.jpg"), (B, "/img/a.jpg")];
        let others = [(A, "/img/a.jpg?w=1"), (A, "/img/a.png"), (A, "/axb")];
        let mut before = Vec::new();
        for (host, path) in wanted.into_iter().chain(others) {
            before.push((host, path, fleet.warm(host, path).await));
        }
        fleet.has_stored(6).await;
        let listed = fleet.run(&["purge", "--glob", "/img/*.jpg", "--dry-run", "-o", "json"]).ok().json();
        let expected = ["http://a.example/img/a.jpg", "http://a.example/img/b/c.jpg", "http://b.example/img/a.jpg"];
        assert_eq!(sorted(&listed["matches"]), expected, "{listed}");
        assert_eq!(listed["scan"], json!({ "keys": listed["scan"]["keys"], "entries": 6, "unreadable": 0 }));
        assert_eq!((&listed["dry_run"], &listed["purges"]), (&json!(true), &json!([])), "{listed}");
        for (host, path, before) in &before {
            fleet.keep(host, path, *before).await;
        }
        let said = fleet.run(&["purge", "--glob", "https://A.example/img/*.jpg", "-o", "json"]).ok().json();
        let acknowledged = Instant::now();
        let targets: Value = said["purges"].as_array().unwrap().iter().map(|purge| purge["target"].clone()).collect();
        assert_eq!(sorted(&targets), expected[..2], "{said}");
        for (host, path, before) in &before[..2] {
            fleet.forget(acknowledged, host, path, *before).await;
        }
        for (host, path, before) in &before[2..] {
            fleet.keep(host, path, *before).await;
        }
        let none = fleet.run(&["purge", "--soft", "--glob", "/a?b", "--glob", "/none*"]).ok();
        assert_eq!(none.out, "0 URLs among 6 entries match\n");
        assert_eq!(fleet.run(&["purge", "--glob", "/*.png", "--dry-run"]).ok().out, "http://a.example/img/a.png\n");
    }
}

#[tokio::test]
async fn what_cannot_be_read_may_match_so_it_is_a_failure() {
    let head = [("cache-control", "max-age=3600")];
    let fleet = Fleet::start_with(Server::start(), &[("CACHE_KEYS", KEY)], &head).await;
    fleet.warm(A, "/x").await;
    fleet.has_stored(1).await;
    for more in [&[][..], &["--dry-run"]] {
        let mut command = fleet.command(&["purge", "--glob", "/*"]);
        run(command.args(more).env("CACHE_KEYS", "none")).failed(1, &["1 entries cannot be read", "CACHE_KEYS"]);
    }
    let (mut command, nobody) = (fleet.command(&["purge", "--glob", "/*"]), Port::free());
    let url = format!("redis://127.0.0.1:{}", nobody.number());
    run(command.env("REDIS_URL", url)).failed(1, &["cannot look into Redis", "refused", "0 URLs were purged before"]);
}

#[tokio::test]
async fn many_entries_are_gone_through_at_the_pace_that_is_asked_for() {
    let fleet = Fleet::start_with(Server::start(), &[], &[("cache-control", "max-age=3600")]).await;
    let mut client = fleet.proxies[0].connect().await;
    for number in 0..1200 {
        client.send(format!("GET /many/{number} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        client.answer("GET").await;
    }
    within("most of them", async {
        while fleet.entries().len() < 1100 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let before = fleet.entries().len();
    fleet.redis.command(&["EVAL", "for i = 1, 1000 do redis.call('SET', 'other:' .. i, i) end", "0"]);
    let purge = |rate| fleet.run(&["purge", "-o", "json", "--glob", "/many/*", "--dry-run", "--rate", rate]).ok();
    let fast = purge("1000000");
    let said = fast.json();
    let matches: HashSet<&str> = sorted(&said["matches"]).into_iter().collect();
    assert_eq!(Some(matches.len() as u64), said["scan"]["entries"].as_u64(), "each once");
    // Others may come meanwhile.
    assert!((before..=fleet.entries().len()).contains(&matches.len()), "{before} {}", matches.len());
    // Two thousand keys, of which the first five hundred are looked at without waiting.
    let slow = purge("2000");
    assert!(slow.took > Duration::from_millis(500), "{:?}", slow.took);
    let said = fleet.run(&["purge", "-o", "json", "--glob", "/many/1*", "--rate", "1000000"]).ok().json();
    let least = matches.iter().filter(|url| url.contains("/many/1")).count();
    let most = (0..1200).filter(|number: &u32| number.to_string().starts_with('1')).count();
    assert!((least..=most).contains(&said["purges"].as_array().unwrap().len()), "{least} {said}");
}

#[test]
fn without_redis_it_fails_in_time_and_says_which_without_a_password() {
    let mut server = Server::with_password("hunter2");
    let port = server.port();
    let url = format!("redis://:hunter2@127.0.0.1:{port}");
    let purge = |timeout| {
        let mut command = terrace();
        command.env("REDIS_URL", &url).args(["purge", "-o", "json", "--timeout", timeout, "/x", "/y"]);
        run(&mut command)
    };
    assert_eq!(purge("5s").ok().json()["purges"].as_array().unwrap().len(), 2);
    let address = format!("Redis at 127.0.0.1:{port}");
    let words = ["the purge of url `/x` was not acknowledged", address.as_str(), "1 more were not tried"];
    let failed = |timeout| {
        let ended = purge(timeout).failed(1, &words);
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
        let said = ended.json();
        assert_eq!((&said["acknowledged"], said["purges"].as_array().unwrap().len()), (&false.into(), 0), "{said}");
        ended
    };
    server.pause();
    assert!(failed("5s").took < Duration::from_secs(15), "it hangs for little longer than it may");
    server.resume();
    server.kill();
    let ended = failed("5s");
    assert!(ended.took < Duration::from_secs(15) && ended.err.contains("refused"), "{ended:?}");
}

#[test]
fn it_goes_on_trying_until_redis_is_back() {
    let mut server = Server::start();
    server.kill();
    let mut command = terrace();
    command.env("REDIS_URL", server.url()).args(["purge", "--timeout", "30s", "/x"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    server.restart();
    assert!(child.wait().unwrap().success());
}

#[test]
fn fewer_replicas_than_asked_for_are_a_failure() {
    let primary = Server::start();
    let purge = |replicas, wait| {
        let mut command = terrace();
        let arguments = ["purge", "-o", "json", "--replicas", replicas, "--wait", wait, "/x"];
        run(command.env("REDIS_URL", primary.url()).args(arguments))
    };
    let ended = purge("1", "50ms").failed(1, &["url `/x` was purged, but 0 of 1 replicas had it in time"]);
    let said = ended.json();
    assert_eq!((&said["acknowledged"], &said["purges"][0]["replicas"]), (&false.into(), &0.into()), "{said}");
    assert!(said["purges"][0]["position"].as_u64() > Some(0), "it was purged: {said}");
    let replica = Server::replica_of(&primary);
    let said = purge("1", "30s").ok().json();
    assert_eq!((&said["acknowledged"], &said["purges"][0]["replicas"]), (&true.into(), &1.into()), "{said}");
    drop(replica);
    purge("2", "50ms").failed(1, &["of 2 replicas"]);
}

#[test]
fn mistakes_are_told_from_failures() {
    let server = Server::start();
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = terrace();
        run(command.envs(variables.iter().copied()).arg("purge").args(arguments))
    };
    let url = server.url();
    let redis = [("REDIS_URL", url.as_str())];
    with(&redis, &[]).failed(2, &["--tag <TAG>"]);
    with(&redis, &["shop/1"]).failed(2, &["shop/1", "a path that begins with a slash"]);
    with(&redis, &["--prefix", "ftp://h/"]).failed(2, &["https://HOST/PATH"]);
    with(&redis, &["--glob", "/*", "--tag", "a"]).failed(2, &["--glob"]);
    with(&redis, &["--glob", "a.example/*"]).failed(2, &["a.example/*", "a pattern that begins with"]);
    for arguments in [&["/x", "--dry-run"][..], &["/x", "--rate", "1"]] {
        with(&redis, arguments).failed(2, &["cannot be used with"]);
    }
    with(&redis, &["/x", "--wait", "1s"]).failed(2, &["--replicas"]);
    with(&[], &["/x"]).failed(2, &["REDIS_URL", "REDIS_HOST"]);
    with(&[("REDIS_HOST", "a b")], &["/x"]).failed(2, &["REDIS_HOST", "a b"]);
    with(&[redis[0], ("CACHE_L2_ENABLED", "false")], &["/x"]).failed(2, &["CACHE_L2_ENABLED"]);
    with(&[redis[0], ("CACHE_LEVELS", "3")], &["/x"]).failed(2, &["CACHE_LEVELS"]);
}
