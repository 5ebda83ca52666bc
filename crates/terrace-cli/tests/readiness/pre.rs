//! `terrace check --pre`: what is needed before deploying.

use crate::{KEY, Said, check, harness};
use std::process::{Child, Stdio};
use terrace_redis_server::{PATIENT, Server, form_cluster};

pub(crate) const SOUND: [&str; 11] = [
    "--maxmemory",
    "3gb",
    "--maxmemory-policy",
    "volatile-lru",
    "--appendonly",
    "yes",
    "--save",
    "900",
    "1",
    "--maxclients",
    "1000",
];

fn sound(more: &[&str]) -> Server {
    Server::with(&[&SOUND, more].concat())
}

/// With the variables of a fleet at this server.
fn pre(server: &Server, more: &[(&str, &str)], arguments: &[&str]) -> Said {
    let url = server.url();
    let own = [("REDIS_URL", &*url), ("CACHE_NAMESPACE", "shop"), ("AUTHZ_CACHE_KEYS", KEY)];
    check(&[&PATIENT[..], &own, more].concat(), &[&["--pre"], arguments].concat())
}

#[test]
fn a_server_as_it_should_be_passes_even_strictly() {
    let server = sound(&[]);
    let said = pre(&server, &[], &["--strict"]);
    assert_eq!((said.status, said.bad()), (Some(0), vec![]), "{said:?}");
    assert_eq!(said.json["verdict"], "pass");
    for id in
        ["redis-connection", "redis-primary", "redis-fence-mode", "redis-rights", "redis-persistence", "authz-keys"]
    {
        assert_eq!(said.of(id), "ok", "{said:?}");
    }
    assert!(said.measured("redis-connection").contains("in epoch"), "the fence has run: {said:?}");
    // A process has 50 for look-ups, and a dozen more.
    assert!(said.measured("redis-clients").starts_with("up to 61 connections of 1000"), "{said:?}");
    assert_eq!(
        server.command(&["KEYS", "*check*"]),
        redis::Value::Array(vec![]),
        "before deploying nothing is written"
    );
}

#[test]
fn each_thing_that_is_wrong_with_a_server_is_said_with_its_repair() {
    let server = sound(&[]);
    for (setting, value, id, why) in [
        ("maxmemory", "0", "redis-memory-limit", "none"),
        ("maxclients", "70", "redis-clients", "up to 61 connections of 70"),
    ] {
        server.command(&["CONFIG", "SET", setting, value]);
        let said = pre(&server, &[], &[]);
        said.failed(id, why);
        assert_eq!(said.bad(), [id], "{said:?}");
        let at = SOUND.iter().position(|word| *word == format!("--{setting}")).unwrap();
        server.command(&["CONFIG", "SET", setting, SOUND[at + 1]]);
    }
    pre(&server, &[], &["--min-memory", "4GiB"]).failed("redis-free-memory", "GiB");
    pre(&server, &[], &["--processes", "14"]).failed("redis-clients", "up to 854 connections of 1000");
    assert_eq!(pre(&server, &[], &["--processes", "13"]).of("redis-clients"), "ok");
}

#[test]
fn warnings_count_if_they_are_to() {
    let server = Server::with(&["--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru"]);
    let said = pre(&server, &[], &[]);
    assert_eq!((said.status, said.bad()), (Some(0), vec!["redis-free-memory", "redis-persistence"]), "{said:?}");
    let said = pre(&server, &[], &["--strict"]);
    assert_eq!((said.status, &said.json["verdict"]), (Some(4), &"warned".into()), "{said:?}");
    let said = pre(&server, &[("AUTHZ_CACHE_KEYS", "none")], &["--min-memory", "100MiB"]);
    assert_eq!(said.bad(), ["redis-persistence", "authz-keys"], "{said:?}");
    assert!(said.measured("redis-persistence").starts_with("none: "), "{said:?}");
    for (setting, value, alone) in [("appendonly", "yes", "AOF alone"), ("save", "900 1", "AOF and RDB")] {
        server.command(&["CONFIG", "SET", setting, value]);
        let said = pre(&server, &[], &[]);
        assert_eq!(said.measured("redis-persistence"), alone, "{said:?}");
    }
}

/// With it the control record may go, which costs entries and never lets one live too long.
#[test]
fn a_policy_that_evicts_anything_is_a_warning() {
    let server = sound(&["--maxmemory-policy", "allkeys-lru"]);
    let said = pre(&server, &[], &[]);
    assert_eq!((said.status, said.of("redis-eviction")), (Some(0), "warn"), "{said:?}");
    assert!(said.measured("redis-eviction").starts_with("allkeys-lru: "), "{said:?}");
    assert_eq!(pre(&server, &[], &["--strict"]).status, Some(4));
}

#[test]
fn a_right_that_is_missing_is_named() {
    let server = sound(&[]);
    server.command(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-zadd", "-subscribe", "-config"]);
    let login = [("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "secret")];
    let said = pre(&server, &login, &[]);
    said.failed("redis-rights", "not permitted: ZADD, SUBSCRIBE");
    server.command(&["ACL", "SETUSER", "app", "+zadd", "+subscribe"]);
    assert_eq!(pre(&server, &login, &[]).of("redis-rights"), "ok");
    let said = pre(&server, &[("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "wrong")], &[]);
    said.failed("redis-connection", "cannot connect");
    assert!(!format!("{said:?}").contains("wrong\""), "{said:?}");
}

#[test]
fn a_replica_is_no_server_to_deploy_on() {
    let primary = sound(&[]);
    let replica = Server::replica_of(&primary);
    let said = pre(&replica, &[], &[]);
    said.failed("redis-primary", "is a slave");
    said.failed("redis-connection", "is a replica");
    assert_eq!(said.of("redis-rights"), "unknown", "they cannot be tried there: {said:?}");
    let said = pre(&primary, &[], &[]);
    said.failed("redis-min-replicas", "with 1 replicas");
    primary.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let said = pre(&primary, &[], &["--strict", "--wait", "60s"]);
    assert_eq!((said.status, said.bad()), (Some(0), vec![]), "{said:?}");
    assert!(said.measured("redis-replication-lag").ends_with("of 1"), "{said:?}");
}

#[test]
fn a_server_that_is_down_or_silent_fails_in_time() {
    let mut server = sound(&[]);
    server.pause();
    let said = pre(&server, &[("REDIS_SOCKET_TIMEOUT", "200ms")], &[]);
    said.failed("redis-connection", "timed out");
    server.resume();
    server.kill();
    let said = pre(&server, &[], &[]);
    said.failed("redis-connection", "Connection refused");
    assert_eq!(said.json["findings"].as_array().unwrap().len(), 3, "what cannot be asked is not judged: {said:?}");
}

/// `check --wait`, which repeats until all is well.
#[test]
fn it_waits_for_a_server_that_is_on_its_way() {
    let mut server = sound(&[]);
    server.kill();
    let waiting = waiting(&server);
    // It has found nobody by then, or will find the server: both is right.
    server.restart();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

fn waiting(server: &Server) -> Child {
    let mut command = harness::terrace();
    command.args(["check", "--pre", "--wait", "90s"]).env("REDIS_URL", server.url());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_wrong_environment_is_said_before_anything_is_asked() {
    let said = check(&[("CACHE_UNKNOWN", "1"), ("REDIS_URL", "redis://127.0.0.1:1")], &["--pre"]);
    said.failed("environment", "CACHE_UNKNOWN is not a setting");
    assert_eq!(said.of("redis-connection"), "skip");
    for variables in [&[][..], &[("REDIS_PORT", "6379")]] {
        let said = check(variables, &["--pre"]);
        assert_eq!((said.status, said.of("redis-connection")), (Some(3), "unknown"), "{said:?}");
        assert!(said.finding("redis-connection")["fix"].as_str().unwrap().contains("environment file"), "{said:?}");
    }
    let said = check(&[("REDIS_URL", "redis://127.0.0.1:1"), ("CACHE_L2_ENABLED", "off")], &["--pre"]);
    said.failed("redis-connection", "CACHE_L2_ENABLED is off");
    for wrong in [&["--pre", "--post"][..], &["--shadow", "3"], &["--min-memory", "much"], &["--authz-url", "/x"]] {
        assert_eq!(check(&[], wrong).status, Some(2), "{wrong:?}");
    }
}

#[test]
fn sentinels_have_a_quorum_and_are_enough() {
    let primary = sound(&["--min-replicas-to-write", "1"]);
    let _replicas = [Server::replica_of(&primary), Server::replica_of(&primary)];
    let mut sentinels: Vec<Server> = (0..3).map(|_| Server::sentinel_of(&primary, 2, "")).collect();
    let list: Vec<String> = sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
    let list = list.join(",");
    let vars = [
        ("REDIS_SENTINELS", &*list),
        ("REDIS_MASTER_NAME", "main"),
        ("CACHE_NAMESPACE", "shop"),
        ("AUTHZ_CACHE_KEYS", KEY),
    ];
    // They find one another and the replica in the course of time.
    let said = check(&vars, &["--pre", "--strict", "--wait", "90s"]);
    assert_eq!((said.status, said.bad()), (Some(0), vec![]), "{said:?}");
    assert!(said.measured("sentinel-quorum").contains("3 Sentinels agree on 127.0.0.1"), "{said:?}");
    assert_eq!((said.measured("sentinel-count"), said.measured("sentinel-replicas")), ("3", "2"));
    sentinels[0].kill();
    check(&vars, &["--pre"]).failed("sentinel-quorum", &format!("127.0.0.1:{}", sentinels[0].port()));

    let lonely = Server::sentinel_of(&primary, 2, "");
    let at = format!("127.0.0.1:{}", lonely.port());
    let alone = [("REDIS_SENTINELS", &*at), ("REDIS_MASTER_NAME", "none")];
    check(&[&PATIENT[..], &alone].concat(), &["--pre"])
        .failed("redis-connection", "no Sentinel knows a primary called `none`");
}

#[test]
fn one_sentinel_and_no_replica_are_too_few() {
    let primary = sound(&[]);
    let sentinel = Server::sentinel_of(&primary, 1, "");
    let at = format!("127.0.0.1:{}", sentinel.port());
    let said = check(&[("REDIS_SENTINELS", &at), ("REDIS_MASTER_NAME", "main")], &["--pre"]);
    assert_eq!(said.of("sentinel-quorum"), "ok", "{said:?}");
    said.failed("sentinel-count", "1");
    said.failed("sentinel-replicas", "0");
}

#[test]
fn a_cluster_is_found_from_any_of_its_nodes() {
    let mut nodes = [Server::cluster_node(), Server::cluster_node(), Server::cluster_node()];
    form_cluster(&mut nodes);
    for node in &nodes {
        node.command(&["CONFIG", "SET", "maxmemory", "3gb"]);
        node.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    }
    let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port()));
    let mut owners = Vec::new();
    for address in &addresses {
        let own = [("REDIS_CLUSTER_NODES", address.as_str()), ("CACHE_NAMESPACE", "shop")];
        let said = check(&[&PATIENT[..], &own].concat(), &["--pre"]);
        assert_eq!(
            (said.status, said.of("redis-connection"), said.of("redis-rights")),
            (Some(0), "ok", "ok"),
            "{said:?}"
        );
        owners.push(said.measured("redis-primary").to_owned());
    }
    owners.dedup();
    assert_eq!(owners.len(), 1, "each leads to the node that has the control record: {owners:?}");
}
