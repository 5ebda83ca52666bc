//! `terrace warm`: from lists, sitemaps and access logs, whole and interrupted.

use crate::harness::{Origin, PATIENCE, Proxy, full, run_to_end, terrace, within};
use http::{Request, Response};
use hyper::body::Incoming;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terrace_redis_server::Port;
use tokio::sync::Semaphore;

/// What an origin was asked for, in order: Host, target and User-Agent.
type Asked = Arc<Mutex<Vec<[String; 3]>>>;

fn note(asked: &Asked, request: &Request<Incoming>) {
    let field = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    asked.lock().unwrap().push([field("host"), request.uri().to_string(), field("user-agent")]);
}

fn targets(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap().iter().map(|[_, target, _]| target.clone()).collect()
}

/// An origin whose answers may be stored, but for some paths: `/private`, `/moved` and `/missing`.
async fn shop() -> (Origin, Asked) {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let origin = Origin::start(move |request| {
        note(&noted, &request);
        let path = request.uri().path().to_owned();
        async move {
            let response = Response::builder();
            let response = match path.as_str() {
                "/private" => response.header("cache-control", "private"),
                "/moved" => {
                    response.status(302).header("location", "http://127.0.0.1:9/").header("cache-control", "no-store")
                }
                "/missing" => response.status(404),
                _ => response.header("cache-control", "max-age=600"),
            };
            response.body(full("ten bytes.")).unwrap()
        }
    })
    .await;
    (origin, asked)
}

fn warm(base: &impl std::fmt::Display, flags: &[&str]) -> Command {
    let mut command = terrace();
    command.args(["warm", "--base", &format!("http://{base}"), "-o", "json"]).args(flags);
    command
}

/// Runs to the end, with `input` on standard input.
async fn run(mut command: Command, input: &str) -> (i32, Value) {
    let input = input.to_owned();
    let output: Output = within(
        "the command",
        tokio::task::spawn_blocking(move || {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("the binary starts");
            // It may end without reading.
            let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
            child.wait_with_output().expect("a child can be waited for")
        }),
    )
    .await
    .expect("no panic");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains('\u{1b}'), "nothing is drawn where there is no terminal: {error}");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report, but {error}"));
    (output.status.code().expect("it ends by itself"), report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_stored_and_then_there() {
    let (origin, asked) = shop().await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let list = "# of the shop\n/a\n\n  /b?c=d#fragment  \nhttp://shop.example/a\n/a\nnot a url\n/private\n";
    let (status, report) = run(warm(&proxy.address, &["--urls", "-"]), list).await;
    assert_eq!(status, 0, "{report}");
    assert_eq!((&report["stored"], &report["hit"], &report["ignored"]), (&3.into(), &0.into(), &1.into()), "{report}");
    assert_eq!(report["not_stored"], serde_json::json!({ "uri-miss": 1 }));
    assert_eq!((&report["bytes"], &report["failed"]), (&40.into(), &serde_json::json!({})));
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    let (status, again) = run(warm(&proxy.address, &["--urls", "-"]), list).await;
    assert_eq!((status, &again["hit"], &again["stored"]), (0, &3.into(), &0.into()), "{again}");
    // For the client that comes next.
    let answer = proxy.exchange("GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
    assert!(answer.header("cache-status").unwrap().contains("hit"), "{answer:?}");
    let own = proxy.address.to_string();
    let agent = format!("terrace-warm/{}", env!("CARGO_PKG_VERSION"));
    let expected: HashSet<[&str; 3]> = [
        [own.as_str(), "/a", &agent],
        [&own, "/b?c=d", &agent],
        ["shop.example", "/a", &agent],
        [&own, "/private", &agent],
    ]
    .into();
    let asked = asked.lock().unwrap();
    let asked: HashSet<[&str; 3]> = asked.iter().map(|asked| asked.each_ref().map(String::as_str)).collect();
    assert_eq!(asked, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_reason_and_redirects_are_not_followed() {
    let (origin, asked) = shop().await;
    let (status, report) = run(warm(&origin.address, &["--urls", "-"]), "/missing\n/moved\n/a\n").await;
    assert_eq!(status, 1, "{report}");
    assert_eq!(report["failed"], serde_json::json!({ "status 404": 1 }));
    assert_eq!(report["not_stored"], serde_json::json!({ "no Cache-Status": 2 }), "the redirect is an answer");
    assert_eq!(targets(&asked).len(), 3);
    let nobody = Port::free();
    let place = format!("127.0.0.1:{}", nobody.number());
    let (status, report) = run(warm(&place, &["--urls", "-"]), "/a\n/b\n").await;
    assert_eq!((status, &report["failed"]), (1, &serde_json::json!({ "the origin refused the connection": 2 })));
    let silent = Origin::start(|_| std::future::pending()).await;
    let (status, report) = run(warm(&silent.address, &["--urls", "-", "--timeout", "100ms"]), "/a\n").await;
    assert_eq!((status, &report["failed"]), (1, &serde_json::json!({ "timeout": 1 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_is_asked_again_the_most_requested_first() {
    let (origin, asked) = shop().await;
    let line = |target: &str| format!("127.0.0.1 - - [10/Oct/2026:13:55:36 +0000] \"GET {target} HTTP/1.1\" 200 10\n");
    let json = r#"{"method":"GET","host":"shop.example","target":"/json","status":200}"#;
    let log = line("/once") + &line("/often").repeat(5) + &format!("{json}\n").repeat(3) + &line("/twice").repeat(2);
    let flags = ["--access-log", "-", "--top", "3", "--concurrency", "1"];
    let (status, report) = run(warm(&origin.address, &flags), &log).await;
    assert_eq!((status, targets(&asked)), (0, vec!["/often".into(), "/json".into(), "/twice".into()]), "{report}");
    assert_eq!(asked.lock().unwrap()[1][0], "shop.example");
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn urlset(urls: &[&str]) -> String {
    let urls = urls.iter().map(|url| format!("<url><loc>{url}</loc></url>")).collect::<Vec<_>>().concat();
    format!("<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sitemap_is_read_from_the_fleet_and_from_a_file() {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    let origin = Origin::start(move |request| {
        note(&noted, &request);
        let document = match request.uri().path() {
            "/index.xml" => {
                let parts =
                    ["https://shop.example/1.xml.gz", "http://shop.example/2.xml", "http://shop.example/none.xml"];
                let parts = parts.map(|part| format!("<sitemap><loc>{part}</loc></sitemap>")).concat();
                format!("<sitemapindex>{parts}</sitemapindex>").into_bytes()
            }
            "/1.xml.gz" => packed(&urlset(&["http://shop.example/a?b=1&amp;c=2", "http://shop.example/b"])),
            "/2.xml" => urlset(&["http://shop.example/c"]).into_bytes(),
            "/none.xml" => b"<html>not found</html>".to_vec(),
            _ => b"page".to_vec(),
        };
        async move { Response::builder().header("cache-control", "max-age=600").body(full(document)).unwrap() }
    })
    .await;
    let flags = ["--sitemap", "http://shop.example/index.xml", "--concurrency", "1"];
    let (status, report) = run(warm(&origin.address, &flags), "").await;
    assert_eq!(status, 1, "one of the sitemaps is none: {report}");
    assert_eq!(report["failed"], serde_json::json!({ "sitemap not read": 1 }));
    assert_eq!(targets(&asked)[4..], ["/a?b=1&c=2", "/b", "/c"].map(str::to_owned));
    assert!(asked.lock().unwrap().iter().all(|[host, ..]| host == "shop.example"), "nobody but the fleet is asked");

    asked.lock().unwrap().clear();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sitemap.xml.gz");
    fs::write(&file, packed(&urlset(&["/x", "/y"]))).unwrap();
    let (status, report) = run(warm(&origin.address, &["--sitemap", file.to_str().unwrap(), "--top", "1"]), "").await;
    assert_eq!((status, targets(&asked), &report["ignored"]), (0, vec!["/x".to_owned()], &1.into()), "{report}");
}

/// An origin that answers as often as it is let.
async fn held() -> (Origin, Asked, Arc<Semaphore>) {
    let (asked, turns) = (Asked::default(), Arc::new(Semaphore::new(0)));
    let (noted, gate) = (Arc::clone(&asked), Arc::clone(&turns));
    let origin = Origin::start(move |request| {
        note(&noted, &request);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.expect("never closed").forget();
            Response::new(full("a page"))
        }
    })
    .await;
    (origin, asked, turns)
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn list(directory: &Path, urls: usize) -> String {
    let file = directory.join("list");
    let urls = (0..urls).map(|number| format!("/{number}\n")).collect::<Vec<_>>().concat();
    fs::write(&file, urls).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_goes_on_where_it_was() {
    let (origin, asked, turns) = held().await;
    let directory = tempfile::tempdir().unwrap();
    let (list, state) = (list(directory.path(), 200), directory.path().join("state"));
    let flags = ["--urls", &list, "--concurrency", "1", "--state", state.to_str().unwrap()];
    let mut command = warm(&origin.address, &[&flags[..], &["--rate", "10"]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    turns.add_permits(3);
    eventually("the fourth is asked for", || targets(&asked).len() == 4).await;
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    // What is under way is awaited, also what begins before it is told.
    turns.add_permits(200);
    let ended =
        within("the end", tokio::task::spawn_blocking(move || child.wait_with_output())).await.unwrap().unwrap();
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let done = targets(&asked).len();
    assert_eq!((ended.status.code(), report["left"].as_u64()), (Some(1), Some(200 - done as u64)), "{report}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("interrupted"));
    assert_eq!(fs::read_to_string(&state).unwrap().lines().count(), 1 + done);

    let (status, report) = run(warm(&origin.address, &[&flags[..], &["--rate", "100000"]].concat()), "").await;
    assert_eq!((status, report["done_before"].as_u64()), (0, Some(done as u64)), "{report}");
    let once: Vec<String> = (0..200).map(|number| format!("/{number}")).collect();
    assert_eq!(targets(&asked), once, "each once");
    assert!(!state.exists(), "the next run begins anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn also_after_it_was_killed() {
    let (origin, asked, turns) = held().await;
    turns.add_permits(1000);
    let directory = tempfile::tempdir().unwrap();
    let (list, state) = (list(directory.path(), 200), directory.path().join("state"));
    let flags = ["--urls", &list, "--concurrency", "2", "--state", state.to_str().unwrap()];
    let mut slowly = warm(&origin.address, &[&flags[..], &["--rate", "50"]].concat());
    let mut child = slowly.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("something is remembered", || state.exists()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let remembered = fs::read_to_string(&state).unwrap();
    let remembered: Vec<&str> = remembered.lines().skip(1).collect();
    assert!((1..200).contains(&remembered.len()), "{}", remembered.len());
    asked.lock().unwrap().clear();
    let (status, report) = run(warm(&origin.address, &[&flags[..], &["--rate", "100000"]].concat()), "").await;
    assert_eq!((status, report["done_before"].as_u64()), (0, Some(remembered.len() as u64)), "{report}");
    let asked: HashSet<String> =
        targets(&asked).into_iter().map(|target| format!("http://{}{target}", origin.address)).collect();
    assert!(remembered.iter().all(|url| !asked.contains(*url)));
    assert_eq!(asked.len() + remembered.len(), 200);
}

#[test]
fn mistakes_are_named() {
    let base = ["--base", "http://127.0.0.1:9"];
    for (flags, words) in [
        (&["--urls", "-"][..], ["--base <URL>", "required"]),
        (&base, ["--urls", "--sitemap"]),
        (&[&base[..], &["--urls", "-", "--sitemap", "x"]].concat(), ["--urls", "cannot be used with"]),
        (&["--base", "127.0.0.1", "--urls", "-"], ["127.0.0.1", "expected http://HOST"]),
        (&[&base[..], &["--urls", "-", "--rate", "0"]].concat(), ["--rate", "1..=100000"]),
        (&[&base[..], &["--urls", "-", "--top", "0"]].concat(), ["--top", "0"]),
    ] {
        let (status, text) = run_to_end(terrace().arg("warm").args(flags));
        assert_eq!(status, Some(2), "{flags:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{flags:?}: {text}");
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("diary");
    fs::write(&state, "Dear diary\n").unwrap();
    let state = state.to_str().unwrap();
    let (status, text) = run_to_end(terrace().arg("warm").args(base).args(["--urls", "-", "--state", state]));
    assert!(status == Some(2) && text.contains("Dear diary") && text.contains("terrace-warm 1"), "{text}");
    for flag in ["--urls", "--access-log", "--sitemap"] {
        let (status, text) = run_to_end(terrace().arg("warm").args(base).args([flag, "no/such/file"]));
        assert!(status == Some(1) && text.contains(flag) && text.contains("no/such/file"), "{text}");
    }
}
