//! `terrace flush` against a fleet that runs.

use crate::fleet::{Ended, Fleet, run};
use crate::harness::{Origin, Proxy, full, terrace, within};
use http::Response;
use redis::Value;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};
use terrace_redis_server::{PATIENT, Server, form_cluster};

const A: &str = "a.example";
const B: &str = "b.example";
const FRESH: [(&str, &str); 1] = [("cache-control", "max-age=3600")];
const DIGEST: &str = "AAAAAAAAAAAAAAAAAAAAAA";

#[tokio::test]
async fn everything_is_forgotten_by_all_processes_in_one_step() {
    let fleet = Fleet::start_with(Server::start(), &[], &FRESH).await;
    let before = [fleet.warm(A, "/x").await, fleet.warm(B, "/y").await];
    fleet.has_stored(2).await;
    let ended = fleet.run(&["flush", "--namespace", "default", "--yes", "-o", "json"]).ok();
    let acknowledged = Instant::now();
    fleet.forget(acknowledged, A, "/x", before[0]).await;
    fleet.forget(acknowledged, B, "/y", before[1]).await;
    let said = ended.json();
    assert_eq!(
        (&said["acknowledged"], &said["error"], &said["unlinked"]),
        (&true.into(), &().into(), &().into()),
        "{said}"
    );
    assert_eq!(
        (&said["purges"][0]["scope"], said["purges"].as_array().unwrap().len()),
        (&"everything".into(), 1),
        "{said}"
    );
    assert!(said["purges"][0]["position"].as_u64() > Some(0), "{said}");
    let text = fleet.run(&["flush", "--namespace", "default", "--yes", "--soft"]).ok().out;
    assert!(text.contains("soft, acknowledged in namespace `default`"), "{text}");
}

#[tokio::test]
async fn memory_is_freed_of_this_namespace_alone_and_the_fleet_stays_coherent() {
    let fleet = Fleet::start_with(Server::start(), &[], &FRESH).await;
    let warmed = fleet.warm(A, "/x").await;
    fleet.has_stored(1).await;
    let others = ["{other}:e:1:", "{default:e}:e:1:", "auth:perms:{other}:"].map(|front| format!("{front}{DIGEST}"));
    let mine = ["{default}:e:9:", "{default}:l:1:"].map(|front| format!("{front}{DIGEST}"));
    let sealed = ["auth:perms:{default}:", "auth:check:{default}:"].map(|front| front.to_owned() + &"0a".repeat(32));
    let mine = [mine, sealed].concat();
    for key in others
        .iter()
        .map(String::as_str)
        .chain(mine.iter().map(String::as_str))
        .chain(["a program's", "{default}:task:backup"])
    {
        fleet.redis.command(&["SET", key, "x"]);
    }
    let epoch = || fleet.run(&["inspect", "-o", "json"]).ok().json()["epoch"].clone();
    let before = epoch();
    let ended = fleet.run(&["flush", "--namespace", "default", "--yes", "--unlink", "-o", "json"]).ok();
    let acknowledged = Instant::now();
    let said = ended.json();
    assert_eq!(said["unlinked"].as_u64(), Some(mine.len() as u64 + 1), "{said}");
    assert_eq!(
        (fleet.entries(), epoch()),
        (vec![format!("{{default:e}}:e:1:{DIGEST}"), format!("{{other}}:e:1:{DIGEST}")], before)
    );
    for key in others.iter().map(String::as_str).chain(["a program's", "{default}:task:backup", "{default}:ctl"]) {
        assert_eq!(fleet.redis.command(&["EXISTS", key]), Value::Int(1), "{key}");
    }
    for key in &mine {
        assert_eq!(fleet.redis.command(&["EXISTS", key]), Value::Int(0), "{key}");
    }
    fleet.forget(acknowledged, A, "/x", warmed).await;
    // Everything goes on.
    let warmed = fleet.warm(A, "/x").await;
    fleet.run(&["purge", "/x"]).ok();
    fleet.forget(Instant::now(), A, "/x", warmed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_freed_on_all_nodes_of_a_cluster() {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port())).join(",");
    let variables: Vec<_> = PATIENT.into_iter().chain([("REDIS_CLUSTER_NODES", addresses.as_str())]).collect();
    let origin = Origin::start(|_| async {
        Response::builder().header("cache-control", "max-age=600").body(full("a page")).unwrap()
    })
    .await;
    let proxy = Proxy::start_with(&format!("http://{}", origin.address), &["--access-log", "off"], &variables);
    let entries = || -> usize {
        let count = |node: &Server| match node.command(&["KEYS", "default:e:*"]) {
            Value::Array(names) => names.len(),
            other => panic!("{other:?}"),
        };
        nodes.iter().map(count).sum()
    };
    // What it fetches before it follows the cluster, it keeps to itself.
    let mut page = 0;
    within("entries on the nodes", async {
        while entries() < 30 {
            for _ in 0..30 {
                page += 1;
                proxy.get(&format!("/{page}")).await;
            }
        }
    })
    .await;
    drop(proxy);
    let stored = entries();
    let mut flush = terrace();
    flush.envs(variables).args(["flush", "--namespace", "default", "--yes", "--unlink", "-o", "json"]);
    let said = run(flush.args(["--timeout", "60s"])).ok().json();
    assert_eq!((entries(), said["unlinked"].as_u64() >= Some(stored as u64)), (0, true), "{said}");
    let records =
        nodes.iter().filter(|node| matches!(node.try_command(&["EXISTS", "{default}:ctl"]), Ok(Value::Int(1))));
    assert_eq!(records.count(), 1);
}

/// Without a fleet.
fn flush_shop(server: &Server, more: &[&str]) -> Ended {
    let mut flush = terrace();
    flush.env("REDIS_URL", server.url()).env("REDIS_SOCKET_TIMEOUT", "30s");
    run(flush.args(["flush", "--namespace", "shop", "--yes", "--unlink"]).args(more))
}

#[test]
fn it_looks_at_no_more_keys_in_a_second_than_it_may() {
    let server = Server::start();
    server.command(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'other' .. i, 'x') end", "0"]);
    let ended = flush_shop(&server, &["--rate", "3000", "--timeout", "60s"]).ok();
    assert!(ended.took > Duration::from_millis(900), "{ended:?}");
    assert!(ended.out.contains("0 keys removed"), "{ended:?}");
}

#[test]
fn nothing_is_removed_unless_the_purge_is_acknowledged() {
    let server = Server::start();
    let key = format!("{{shop}}:e:1:{DIGEST}");
    server.command(&["SET", &key, "x"]);
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    flush_shop(&server, &["--timeout", "500ms"]).failed(1, &["was not acknowledged"]);
    assert_eq!(server.command(&["EXISTS", &key]), Value::Int(1));
}

#[test]
fn the_namespace_has_to_be_named_and_to_be_the_one_that_is_meant() {
    let server = Server::start();
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = terrace();
        run(command.env("REDIS_URL", server.url()).envs(variables.iter().copied()).arg("flush").args(arguments))
    };
    with(&[], &[]).failed(2, &["--namespace <NAME>"]);
    with(&[], &["--namespace"]).failed(2, &["--namespace <NAME>"]);
    with(&[("CACHE_NAMESPACE", "shop")], &["--namespace", "stall", "--yes"]).failed(2, &["`stall`", "`shop`"]);
    with(&[], &["--namespace", "a{b", "--yes"]).failed(2, &["CACHE_NAMESPACE", "a{b"]);
    with(&[], &["--namespace", "shop"]).failed(2, &["namespace `shop`", "--yes"]);
    with(&[], &["--namespace", "shop", "--unlink", "--soft"]).failed(2, &["--soft"]);
    with(&[], &["--namespace", "shop", "--rate", "5"]).failed(2, &["--unlink"]);
    with(&[("CACHE_NAMESPACE", "shop")], &["--namespace", "shop", "--yes"]).ok();
    // What is switched off can be emptied all the same.
    with(&[("CACHE_ENABLED", "false")], &["--namespace", "stall", "--yes"]).ok();
    let records = server.command(&["EXISTS", "{shop}:ctl", "{stall}:ctl", "{default}:ctl"]);
    assert_eq!(records, Value::Int(2));
}

/// The two ends of a terminal: the person's, and the program's.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (person.into(), program)
}

#[test]
fn before_everything_is_purged_somebody_at_a_terminal_is_asked() {
    let server = Server::start();
    for (answer, code) in [("n\n", 2), ("\n", 2), ("yes\n", 0)] {
        let (mut person, program) = terminal();
        let mut command = terrace();
        command.env("REDIS_URL", server.url()).env("CACHE_NAMESPACE", "shop").args(["flush", "--namespace", "shop"]);
        let mut child = command.stdin(program).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut asked = [0; 53];
        let stderr = child.stderr.as_mut().unwrap();
        stderr.read_exact(&mut asked).unwrap();
        let asked = String::from_utf8_lossy(&asked).into_owned();
        assert!(asked.starts_with("Purge everything in namespace `shop` (Redis at"), "{asked}");
        person.write_all(answer.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{answer:?}");
    }
}
