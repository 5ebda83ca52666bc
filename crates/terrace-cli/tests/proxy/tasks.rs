//! Jobs: what `terrace warm` notes in Redis when it has succeeded, and what `terrace watch` tells of it.

use crate::fleet::run;
use crate::harness::{Origin, full, terrace};
use crate::watch::{Watch, eventually};
use http::Response;
use redis::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use terrace_redis_server::Server;

const DAY: i64 = 24 * 60 * 60;

async fn pages() -> Origin {
    Origin::start(|request| async move {
        let status = if request.uri().path() == "/missing" { 404 } else { 200 };
        Response::builder().status(status).body(full("a page")).unwrap()
    })
    .await
}

/// Warms these paths, of which there is a list in the directory.
fn warm(server: &Server, base: SocketAddr, (directory, list): (&TempDir, &str), flags: &[&str]) -> Command {
    let file = directory.path().join("list");
    std::fs::write(&file, list).unwrap();
    let mut command = terrace();
    command.env("REDIS_URL", server.url()).args(["warm", "--base", &format!("http://{base}"), "-o", "json"]);
    command.arg("--urls").arg(file).args(flags);
    command
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn success(task: &str) -> String {
    format!("cache_task_last_success_timestamp_seconds{{task=\"{task}\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_succeeded_is_known_for_35_days() {
    let (server, origin, lists) = (Server::start(), pages().await, TempDir::new().unwrap());
    for (mode, task) in [("full", "warm_full"), ("hot", "warm_hot")] {
        let mut command = warm(&server, origin.address, (&lists, "/a\n/b\n"), &["--mode", mode]);
        let before = now();
        let ended = tokio::task::spawn_blocking(move || run(&mut command).ok()).await.unwrap();
        let said = ended.event("cache_warm_done");
        assert_eq!(
            (&said["level"], &said["task"], &said["not_stored"]),
            (&"INFO".into(), &task.into(), &2.into()),
            "{said}"
        );
        assert!(said["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{said}");
        let Value::BulkString(note) = server.command(&["GET", &format!("{{default}}:task:{task}")]) else {
            panic!("no note")
        };
        let note = String::from_utf8(note).unwrap();
        let at: f64 = note.split(' ').next().unwrap().parse().unwrap();
        assert!((before - 1.0..=now() + 1.0).contains(&(at / 1e3)), "{note}");
        let Value::Int(life) = server.command(&["TTL", &format!("{{default}}:task:{task}")]) else { panic!("no life") };
        assert!((34 * DAY..=35 * DAY).contains(&life), "{life}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_failed_or_is_none_is_not_noted() {
    let (server, origin, lists) = (Server::start(), pages().await, TempDir::new().unwrap());
    let address = origin.address;
    let run_to_end = async |mut command: Command| tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    run_to_end(warm(&server, address, (&lists, "/a\n/missing\n"), &["--mode", "full"])).await.failed(1, &["1 failed"]);
    let slow = ["--mode", "hot", "--rate", "1", "--deadline", "1200ms"];
    let late = run_to_end(warm(&server, address, (&lists, "/1\n/2\n/3\n/4\n/5\n/6\n"), &slow)).await;
    let left = late.json()["left"].as_u64();
    assert!((Some(1)..=Some(6)).contains(&left), "{late:?}");
    assert!(!late.err.contains("cache_warm_done"), "{late:?}");
    late.failed(1, &["the deadline has come", "were not asked for"]);
    run_to_end(warm(&server, address, (&lists, "/a\n"), &[])).await.ok();
    assert_eq!(server.command(&["KEYS", "*task*"]), Value::Array(vec![]));
    // Without a mode nobody needs to know where Redis is; with one, it is said before anything is asked for.
    let mut command = warm(&server, address, (&lists, "/a\n"), &["--mode", "full"]);
    command.env_remove("REDIS_URL");
    run_to_end(command).await.failed(2, &["REDIS_URL"]);
    let mut command = warm(&server, address, (&lists, "/a\n"), &["--mode", "full"]);
    command.env("REDIS_URL", "redis://127.0.0.1:1");
    run_to_end(command).await.failed(1, &["the watcher will not hear of it", "127.0.0.1:1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_tells_when_each_job_last_succeeded() {
    let (server, origin, lists) = (Server::start(), pages().await, TempDir::new().unwrap());
    server.command(&["SET", "{default}:task:backup", "1000000 2500"]);
    server.command(&["SET", "{default}:task:warm_full", "nonsense"]);
    let before = now();
    let watch = Watch::start(&server, &[]).await;
    eventually("what was noted is told", async || (watch.gauge(&success("backup")).await - 1000.0).abs() < 1e-6).await;
    assert!((watch.gauge("cache_task_duration_seconds{task=\"backup\"}").await - 2.5).abs() < 1e-6);
    // Of those that never ran, its own start.
    let start = watch.gauge(&success("warm_hot")).await;
    assert!((before - 1.0..=now() + 1.0).contains(&start), "{start}");
    assert!((watch.gauge(&success("warm_full")).await - start).abs() < 1.0);
    let mut command = warm(&server, origin.address, (&lists, "/a\n"), &["--mode", "hot"]);
    tokio::task::spawn_blocking(move || run(&mut command).ok()).await.unwrap();
    eventually("the new success is told", async || watch.gauge(&success("warm_hot")).await > start).await;
}
