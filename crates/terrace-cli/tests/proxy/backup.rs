//! `terrace backup`, and servers that start with what it has made.

use crate::fleet::{Ended, run};
use crate::harness::{PATIENCE, terrace};
use redis::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use terrace_redis_server::{Certificates, Server};

/// What a user needs to copy, as `deploy/redis/users.acl` has it.
const OPERATOR: &str = "~{default}:* &{default}:bell -@all +get +getrange +set +pttl +del +unlink +zadd +zincrby +zscore \
    +zmscore +zrange +zrangebyscore +zcount +zcard +zrem +eval +evalsha +script|load +time +info +publish +subscribe +wait \
    +ping +bgsave +lastsave +psync +sync +replconf";

fn backup(server: &Server, to: &Path, flags: &[&str]) -> Command {
    let mut command = terrace();
    command.env("REDIS_URL", server.url()).env("REDIS_SOCKET_TIMEOUT", "30s");
    command.args(["backup", "-o", "json", "--to"]).arg(to).args(flags);
    command
}

/// One that its primary counts among its replicas.
fn replica_of(primary: &Server) -> Server {
    let (replica, started) = (Server::replica_of(primary), Instant::now());
    while !format!("{:?}", primary.command(&["INFO", "replication"])).contains("state=online") {
        assert!(started.elapsed() < PATIENCE, "the replica is not online");
        std::thread::sleep(Duration::from_millis(10));
    }
    replica
}

/// Some small values, one that is larger than any buffer, and a list.
fn fill(server: &Server) {
    server.command(&["EVAL", "for i = 1, 2000 do redis.call('SET', 'key:' .. i, 'value ' .. i) end", "0"]);
    server.command(&["EVAL", "redis.call('SET', 'large', string.rep('terrace ', 400000))", "0"]);
    server.command(&["CONFIG", "SET", "rdbcompression", "no"]);
    server.command(&["RPUSH", "list", "a", "b"]);
}

/// The file that was made.
fn file(ended: &Ended) -> PathBuf {
    let said = ended.json();
    said["file"].as_str().unwrap_or_else(|| panic!("{said}")).into()
}

/// A server that starts with a file.
fn restored(file: &Path) -> Server {
    let (directory, name) = (file.parent().unwrap().to_str().unwrap(), file.file_name().unwrap().to_str().unwrap());
    Server::with(&["--dir", directory, "--dbfilename", name])
}

fn text(value: &str) -> Value {
    Value::BulkString(value.into())
}

fn has_everything(server: &Server) {
    for key in ["1", "77", "2000"] {
        assert_eq!(server.command(&["GET", &format!("key:{key}")]), text(&format!("value {key}")));
    }
    assert_eq!(server.command(&["STRLEN", "large"]), Value::Int(3_200_000));
    assert_eq!(server.command(&["LRANGE", "list", "0", "-1"]), Value::Array(vec![text("a"), text("b")]));
}

/// The files that are there, without the lock.
fn files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != ".terrace-backup.lock").collect();
    names.sort();
    names
}

#[test]
fn a_server_that_starts_with_a_copy_has_the_data() {
    for is_diskless in ["yes", "no"] {
        let (server, to) = (Server::with(&["--repl-diskless-sync", is_diskless]), TempDir::new().unwrap());
        fill(&server);
        let ended = run(&mut backup(&server, to.path(), &["--new-epoch"])).ok();
        let said = ended.json();
        assert_eq!(
            (&said["error"], &said["checksum"], &said["role"]),
            (&().into(), &true.into(), &"primary".into()),
            "{said}"
        );
        let logged = ended.event("cache_backup_done");
        assert_eq!((&logged["level"], &logged["removed"]), (&"INFO".into(), &0.into()), "{logged}");
        assert_eq!((&logged["bytes"], &logged["seconds"]), (&said["bytes"], &said["seconds"]), "{logged}");
        let file = file(&ended);
        assert_eq!(Some(fs::metadata(&file).unwrap().len()), said["bytes"].as_u64(), "{said}");
        assert!(said["bytes"].as_u64() > Some(3_200_000), "{said}");
        assert_eq!(files(to.path()), [file.file_name().unwrap().to_str().unwrap()], "and nothing unfinished");
        has_everything(&restored(&file));
        // For the watcher, for 35 days.
        let Value::Int(life) = server.command(&["TTL", "{default}:task:backup"]) else {
            panic!("TTL answers a number")
        };
        assert!((34 * 86_400..=35 * 86_400).contains(&life), "{life}");
        let Value::BulkString(note) = server.command(&["GET", "{default}:task:backup"]) else { panic!("no note") };
        assert_eq!(String::from_utf8(note).unwrap().split(' ').count(), 2);
    }
}

#[test]
fn a_lone_primary_is_not_copied_unless_its_cache_may_be_lost() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    let past = server.info("replication", "master_replid");
    let ended =
        run(&mut backup(&server, to.path(), &[])).failed(1, &["a new epoch", "--new-epoch", "repl-backlog-ttl 0"]);
    let said = ended.json();
    assert!(said["error"].as_str().unwrap().contains("a new epoch") && said["file"].is_null(), "{said}");
    assert_eq!(server.info("replication", "master_replid"), past, "nothing has happened");
    assert_eq!(files(to.path()), Vec::<String>::new());
    assert_eq!(server.command(&["EXISTS", "{default}:task:backup"]), Value::Int(0));
    run(&mut backup(&server, to.path(), &["--new-epoch"])).ok();
    assert_ne!(server.info("replication", "master_replid"), past, "this is what is warned of");
    // From then on it has a past that a copy does not end.
    let past = server.info("replication", "master_replid");
    run(&mut backup(&server, to.path(), &[])).ok();
    assert_eq!(server.info("replication", "master_replid"), past);
    assert_eq!(files(to.path()).len(), 2);
}

#[test]
fn of_a_primary_with_replicas_a_replica_is_copied_and_the_epoch_stays() {
    let primary = Server::start();
    let replica = replica_of(&primary);
    let sentinel = Server::sentinel_of(&primary, 1, "");
    fill(&primary);
    let to = TempDir::new().unwrap();
    let sentinels = format!("127.0.0.1:{}", sentinel.port());
    let with = |arguments: &[&str]| {
        let mut command = terrace();
        command.env("REDIS_SENTINELS", &sentinels).env("REDIS_MASTER_NAME", "main");
        command.env("REDIS_SOCKET_TIMEOUT", "30s").args(arguments);
        run(&mut command).ok()
    };
    let epoch = || with(&["inspect", "-o", "json", "--timeout", "60s"]).json()["epoch"].clone();
    let (before, past) = (epoch(), primary.info("replication", "master_replid"));
    let ended = with(&["backup", "-o", "json", "--to", to.path().to_str().unwrap()]);
    let said = ended.json();
    let expected = (&"replica".into(), &format!("127.0.0.1:{}", replica.port()).into());
    assert_eq!((&said["role"], &said["server"]), expected, "{said}");
    assert_eq!((epoch(), primary.info("replication", "master_replid")), (before, past));
    assert_eq!(primary.info("replication", "connected_slaves"), "1", "the primary was not asked for a copy");
    assert_eq!(primary.command(&["EXISTS", "{default}:task:backup"]), Value::Int(1));
    has_everything(&restored(&file(&ended)));
}

#[test]
fn the_primary_is_copied_when_its_replica_does_not_answer() {
    let primary = Server::start();
    let replica = replica_of(&primary);
    fill(&primary);
    replica.pause();
    let to = TempDir::new().unwrap();
    let ended = run(&mut backup(&primary, to.path(), &["--timeout", "5s"])).ok();
    assert!(ended.err.contains(&format!("127.0.0.1:{} is not copied", replica.port())), "{ended:?}");
    assert_eq!(ended.json()["role"], "primary");
    replica.resume();
    has_everything(&restored(&file(&ended)));
}

fn is_part(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "part")
}

/// A backup under way, of which some bytes have come and many are missing.
fn under_way(server: &Server, to: &Path, flags: &[&str]) -> Child {
    fill(server);
    // Large enough that some of them fill a buffer, and something comes soon: ten milliseconds for each.
    server.command(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'filler' .. i, string.rep('x', 4096)) end", "0"]);
    server.command(&["CONFIG", "SET", "rdb-key-save-delay", "10000"]);
    let mut command = backup(server, to, &[&["--new-epoch"], flags].concat());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let is_there = |name: &String| is_part(name) && fs::metadata(to.join(name)).is_ok_and(|file| file.len() > 0);
    while !files(to).iter().any(is_there) {
        assert!(started.elapsed() < PATIENCE, "nothing has come");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_nothing_behind() {
    let (mut server, to) = (Server::start(), TempDir::new().unwrap());
    fs::write(to.path().join("terrace-20200101T000000.000Z.rdb"), "an older one").unwrap();
    let child = under_way(&server, to.path(), &["--keep", "1"]);
    server.kill();
    let ended = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("broke") && error.contains("bytes of the copy"), "{error}");
    assert_eq!(files(to.path()), ["terrace-20200101T000000.000Z.rdb"], "the older copy is still the newest");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    let child = under_way(&server, to.path(), &["--timeout", "5s"]);
    server.pause();
    let ended = child.wait_with_output().unwrap();
    server.resume();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && error.contains("nothing has come for longer than --timeout"), "{error}");
    assert_eq!(files(to.path()), Vec::<String>::new());
}

#[test]
fn a_second_one_in_the_same_directory_waits_for_nobody() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    let mut child = under_way(&server, to.path(), &[]);
    run(&mut backup(&server, to.path(), &["--new-epoch"])).failed(1, &["another backup"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let left = files(to.path());
    assert!(left.len() == 1 && is_part(&left[0]), "killed, it could not clean up: {left:?}");
    server.command(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    let made = file(&run(&mut backup(&server, to.path(), &["--new-epoch"])).ok());
    assert_eq!(files(to.path()), [made.file_name().unwrap().to_str().unwrap()]);
}

#[test]
fn only_the_newest_of_its_own_copies_are_kept() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    let old = |day: u8| format!("terrace-202001{day:02}T000000.000Z.rdb");
    for name in (1..=5).map(old).chain(["dump.rdb".to_owned(), "notes".to_owned()]) {
        fs::write(to.path().join(name), "x").unwrap();
    }
    let ended = run(&mut backup(&server, to.path(), &["--new-epoch", "--keep", "3"])).ok();
    let made = file(&ended).file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(files(to.path()), ["dump.rdb".to_owned(), "notes".into(), old(4), old(5), made]);
    assert_eq!(ended.json()["removed"], serde_json::json!([old(3), old(2), old(1)]));
}

#[test]
fn who_may_copy_logs_in_and_who_may_not_is_told_so() {
    let to = TempDir::new().unwrap();
    let server = Server::with_password("right");
    let with =
        |variables: &[(&str, &str)]| run(backup(&server, to.path(), &["--new-epoch"]).envs(variables.iter().copied()));
    with(&[]).failed(1, &["NOAUTH"]);
    with(&[("REDIS_PASSWORD", "wrong")]).failed(1, &["authentication failed"]);
    with(&[("REDIS_PASSWORD", "right")]).ok();
    let rights: Vec<&str> =
        ["ACL", "SETUSER", "operator", "on", ">secret"].into_iter().chain(OPERATOR.split_whitespace()).collect();
    server.command(&rights);
    let operator = [("REDIS_USERNAME", "operator"), ("REDIS_PASSWORD", "secret")];
    with(&operator).ok();
    let ended = run(backup(&server, to.path(), &["--new-epoch", "--bgsave"]).envs(operator)).ok();
    assert!(ended.json()["file"].is_string());
    for (right, word) in [("-sync", "refused SYNC: NOPERM"), ("-replconf", "refused REPLCONF: NOPERM")] {
        server.command(&["ACL", "SETUSER", "operator", right]);
        let ended = with(&operator).failed(1, &[word]);
        assert!(!format!("{ended:?}").contains("secret"), "{ended:?}");
    }
    assert_eq!(files(to.path()).len(), 3, "one for each success");
}

#[test]
fn a_copy_comes_over_tls() {
    let certificates = Certificates::new();
    let (server, to) = (Server::with_tls(&certificates), TempDir::new().unwrap());
    server.command(&["SET", "key", "over tls"]);
    let mut command = backup(&server, to.path(), &["--new-epoch"]);
    let ended = run(command.env("SSL_CERT_FILE", certificates.authority_file())).ok();
    assert_eq!(restored(&file(&ended)).command(&["GET", "key"]), text("over tls"));
    let stranger = Certificates::new();
    let mut command = backup(&server, to.path(), &["--new-epoch"]);
    run(command.env("SSL_CERT_FILE", stranger.authority_file())).failed(1, &["certificate"]);
}

#[test]
fn the_servers_own_snapshot_has_moved_before_the_copy_is_made() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    fill(&server);
    let number = |field| server.info("persistence", field).parse::<u64>().unwrap();
    // One is under way already, which is not the one that is asked for.
    server.command(&["CONFIG", "SET", "rdb-key-save-delay", "500"]);
    let (before, saves) = (number("rdb_last_save_time"), number("rdb_saves"));
    server.command(&["BGSAVE"]);
    let ended = run(&mut backup(&server, to.path(), &["--new-epoch", "--bgsave"])).ok();
    assert!(number("rdb_last_save_time") > before, "{ended:?}");
    assert!(number("rdb_saves") >= saves + 2, "the one that was under way, and its own");
    has_everything(&restored(&file(&ended)));
}

/// A way to the server on which each of its answers has `to` in place of `from`, which is as long.
fn rewritten(server: &Server, from: &str, to: &str) -> u16 {
    assert_eq!(from.len(), to.len());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), server.port());
    let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)) else { return };
            let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let (from, to) = (from.clone(), to.clone());
            std::thread::spawn(move || pass(client, server, |_| {}));
            std::thread::spawn(move || pass(back, forth, move |bytes| replace(bytes, &from, &to)));
        }
    });
    port
}

/// Until one of them closes.
fn pass(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut [u8])) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        change(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    while let Some(at) = bytes.windows(from.len()).position(|part| part == from) {
        bytes[at..at + from.len()].copy_from_slice(to);
    }
}

/// With a snapshot, through such a way. It ends, or is ended.
fn backup_through(port: u16, to: &Path, flags: &[&str]) -> Ended {
    let mut command = terrace();
    command.env("REDIS_URL", format!("redis://127.0.0.1:{port}")).env("REDIS_SOCKET_TIMEOUT", "30s");
    command.args(["backup", "-o", "json", "--new-epoch", "--bgsave", "--to"]).arg(to).args(flags);
    let (started, piped) = (Instant::now(), Stdio::piped);
    let mut child = command.stdin(Stdio::null()).stdout(piped()).stderr(piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it waits without bound: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (took, ended) = (started.elapsed(), child.wait_with_output().unwrap());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr), took }
}

#[test]
fn a_server_whose_clock_was_set_back_is_not_waited_for_longer_than_the_timeout() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    // Decades from now, by the first of its digits.
    let said = format!("rdb_last_save_time:{}", &server.info("persistence", "rdb_last_save_time")[..1]);
    let port = rewritten(&server, &said, "rdb_last_save_time:9");
    let saves = server.info("persistence", "rdb_saves");
    backup_through(port, to.path(), &["--timeout", "2s"]).failed(1, &["did not save", "clock", "--timeout"]);
    assert_eq!((server.info("persistence", "rdb_saves"), files(to.path())), (saves, vec![]));
}

#[test]
fn a_server_that_says_no_time_in_info_is_asked_for_it() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    server.command(&["SET", "key", "value"]);
    let port = rewritten(&server, "server_time_usec:", "server_time_none:");
    let ended = backup_through(port, to.path(), &[]).ok();
    assert_eq!(restored(&file(&ended)).command(&["GET", "key"]), text("value"));
    server.command(&["ACL", "SETUSER", "default", "-time"]);
    backup_through(port, to.path(), &[]).failed(1, &["refused TIME: NOPERM"]);
}

#[test]
fn a_server_that_cannot_save_is_not_taken_for_one_that_has() {
    // Nobody can make a file there.
    let (server, to) = (Server::with(&["--dir", "/proc"]), TempDir::new().unwrap());
    run(&mut backup(&server, to.path(), &["--new-epoch", "--bgsave"])).failed(1, &["did not save"]);
    assert_eq!(files(to.path()), Vec::<String>::new());
    run(&mut backup(&server, to.path(), &["--new-epoch"])).ok();
}

#[test]
fn mistakes_are_told_from_failures() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    run(terrace().env("REDIS_URL", server.url()).arg("backup")).failed(2, &["--to <DIR>"]);
    run(&mut backup(&server, Path::new("no/such/directory"), &[])).failed(2, &["--to no/such/directory"]);
    run(&mut backup(&server, to.path(), &["--keep", "0"])).failed(2, &["--keep"]);
    run(terrace().args(["backup", "--to"]).arg(to.path())).failed(2, &["REDIS_URL"]);
    let cluster = [("REDIS_CLUSTER_NODES", "127.0.0.1:1")];
    run(terrace().envs(cluster).args(["backup", "--to"]).arg(to.path()))
        .failed(2, &["REDIS_CLUSTER_NODES", "REDIS_HOST"]);
    let ended = run(terrace().env("REDIS_URL", "redis://127.0.0.1:1").args(["backup", "--to"]).arg(to.path()));
    ended.failed(1, &["127.0.0.1:1"]);
}

#[test]
fn a_server_that_goes_on_saving_for_ever_is_waited_for_until_the_deadline() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    let port = rewritten(&server, "rdb_bgsave_in_progress:0", "rdb_bgsave_in_progress:1");
    backup_through(port, to.path(), &["--timeout", "3s", "--deadline", "6s"]).failed(1, &["6s", "--deadline"]);
    assert_eq!(files(to.path()), Vec::<String>::new());
}

#[test]
fn a_copy_is_told_of_though_an_older_one_cannot_be_removed() {
    let (server, to) = (Server::start(), TempDir::new().unwrap());
    fs::create_dir(to.path().join("terrace-20200101T000000.000Z.rdb")).unwrap();
    let ended = run(&mut backup(&server, to.path(), &["--new-epoch", "--keep", "1"]));
    let said = ended.failed(1, &["is made, but", "cannot be removed"]).json();
    assert!(said["error"].as_str().unwrap().contains("cannot be removed"), "{said}");
    assert!(Path::new(said["file"].as_str().unwrap()).is_file(), "{said}");
    assert_ne!(server.command(&["GET", "{default}:task:backup"]), Value::Nil, "the watcher hears of it");
}
