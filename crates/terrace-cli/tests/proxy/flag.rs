//! `terrace flag` against a fleet that runs.

use crate::fleet::{Fleet, get, run};
use crate::harness::{terrace, within};
use serde_json::json;
use std::time::Duration;
use terrace_redis_server::Server;

const A: &str = "a.example";
const FRESH: [(&str, &str); 1] = [("cache-control", "public, max-age=3600")];

/// Until every proxy answers from the cache, or none does.
async fn all_answer_from_the_cache(fleet: &Fleet, expected: bool) {
    for proxy in &fleet.proxies {
        let so = async {
            while get(proxy, A, "/1").await.header("cache-status").unwrap_or_default().contains("; hit") != expected {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within("the switch to be followed", so).await;
    }
}

#[tokio::test]
async fn a_switch_reaches_processes_that_run_and_says_who_set_it_and_why() {
    let fleet = Fleet::start_with(Server::start(), &[], &FRESH).await;
    fleet.warm(A, "/1").await;
    let said = fleet.run(&["flag", "set", "cache", "off", "--by", "alice", "--why", "incident 12"]).ok().out;
    assert!(said.contains("cache is off for default"), "{said}");
    all_answer_from_the_cache(&fleet, false).await;
    let shown = fleet.run(&["flag", "get", "-o", "json"]).ok().json();
    let flags = shown["flags"].as_array().unwrap();
    let of = |name: &str| flags.iter().find(|flag| flag["feature"] == name).unwrap();
    let expected = json!({"feature": "cache", "state": "off", "by": "alice", "why": "incident 12"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&of("cache")[name], value, "{shown}");
    }
    assert_eq!((&of("l2")["state"], &of("l2")["since"]), (&json!("as-started"), &json!(null)));
    let said = fleet.run(&["flag", "set", "cache", "on", "-o", "json"]).ok().json();
    assert!(said["by"].as_str().unwrap().contains('@'), "{said}");
    all_answer_from_the_cache(&fleet, true).await;
    let text = fleet.run(&["flag", "get", "cache", "--history"]).ok().out;
    assert!(text.contains("incident 12") && text.contains("alice") && text.lines().count() == 6, "{text}");
}

#[test]
fn what_is_not_confirmed_is_a_failure_and_mistakes_are_named() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://:hunter2@{}", silent.local_addr().unwrap());
    for arguments in
        [&["flag", "set", "cache", "off", "--timeout", "300ms"][..], &["flag", "get", "--timeout", "300ms"]]
    {
        let ended = run(terrace().env("REDIS_URL", &url).args(arguments)).failed(1, &["Redis"]);
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
    }
    for (arguments, words) in [
        (&["flag", "set", "cache", "maybe"][..], &["maybe", "on, off or as-started"][..]),
        (&["flag", "set", "telepathy", "on"], &["telepathy", "authz_l2"]),
        (&["flag", "get", "cash"], &["cash", "cache"]),
    ] {
        run(terrace().env("REDIS_URL", &url).args(arguments)).failed(2, words);
    }
    run(terrace().args(["flag", "get"])).failed(2, &["REDIS_URL"]);
}
