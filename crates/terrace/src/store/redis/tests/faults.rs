use super::*;
use crate::observe::stats::FenceResult;
use crate::store::redis::connect::Hearing;
use futures_util::future::{join, join_all};
use terrace_redis_server::Proxy;
use tokio::sync::Notify;
use tokio::time::Instant;

const LIFE: Duration = Duration::from_secs(60);

/// With the time limits that it has by default, but for the socket's, which is far away.
fn impatient(port: u16) -> Redis {
    let url = format!("redis://127.0.0.1:{port}");
    let tier = tier_with(&[("REDIS_URL", &url)]);
    let budgets = Arc::default();
    Redis { budgets, ..tier }
}

async fn current(tier: &Redis) -> Receipt {
    until_ok(|| tier.current()).await
}

#[tokio::test]
async fn whatever_a_restarted_server_still_knows_is_of_another_epoch() {
    for (options, keeps) in [(&["--appendonly", "yes", "--appendfsync", "always"][..], true), (&[], false)] {
        let mut server = Server::with(options);
        let tier = at(server.port());
        let before = tier.invalidate(&[hard(A)]).await.unwrap();
        tier.store(tier.entry(b"key").0, Bytes::from_static(b"old"), LIFE).await.unwrap();
        server.restart();
        // The first thing anybody hears of it is the new epoch.
        let found = until_ok(|| tier.lookup(&before.epoch, 0, tier.entry(b"key"))).await;
        assert_eq!((found.entry.is_some(), found.news), (keeps, Polled::OtherEpoch));
        let after = current(&tier).await;
        assert_ne!(after.epoch, before.epoch);
        // And everybody agrees on it.
        assert_eq!(current(&at(server.port())).await.epoch, after.epoch);
    }
}

#[tokio::test]
async fn a_second_connection_leaves_the_epoch_as_it_is() {
    let server = Server::start();
    let first = at(server.port()).current().await.unwrap();
    assert_eq!(at(server.port()).current().await.unwrap(), first);
}

#[tokio::test]
async fn after_a_closed_socket_the_next_command_succeeds() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let tier = at(proxy.port());
    let epoch = tier.current().await.unwrap().epoch;
    for _ in 0..10 {
        proxy.cut();
        tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap();
        proxy.cut();
        tier.invalidate(&[hard(A)]).await.unwrap();
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        tier.store(tier.entry(b"key").0, Bytes::from_static(b"body"), LIFE).await.unwrap();
    }
    assert_eq!(tier.current().await.unwrap().epoch, epoch);
}

#[tokio::test]
async fn a_hung_server_costs_the_read_budget_and_nothing_more() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let tier = impatient(proxy.port());
    let epoch = current(&tier).await.epoch;
    server.pause();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap_err(), Fault::Timeout);
        slowest = slowest.max(start.elapsed());
    }
    println!("slowest look-up while the server hung: {slowest:?}");
    // Far from the socket's limit, however busy the machine.
    assert!(slowest < PATIENCE / 10, "{slowest:?}");
    let connections = proxy.accepted();
    server.resume();
    until_ok(|| tier.lookup(&epoch, 0, tier.entry(b"key"))).await;
    assert_eq!(proxy.accepted(), connections, "a server that was slow for less than the socket's limit is the same");
}

#[tokio::test]
async fn an_invalidation_that_is_not_answered_takes_its_budget_once() {
    let server = Server::start();
    let tier = impatient(server.port());
    until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    let budget = PATIENCE / 10;
    tier.budgets.write.set(budget);
    server.pause();
    let start = Instant::now();
    assert_eq!(tier.invalidate(&[hard(A)]).await.unwrap_err(), Fault::Timeout);
    let taken = start.elapsed();
    assert!(taken >= budget && taken < budget * 2, "{taken:?}");
    server.resume();
    until_ok(async || tier.invalidate(&[hard(A)]).await).await;
}

#[tokio::test]
async fn a_connection_that_is_silent_for_too_long_is_replaced() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let tier =
        Redis { budgets: Arc::default(), ..tier_with(&[("REDIS_URL", &url), ("REDIS_SOCKET_TIMEOUT", "200ms")]) };
    let epoch = current(&tier).await.epoch;
    until_ok(|| tier.probe()).await;
    proxy.hang();
    let start = Instant::now();
    assert_eq!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap_err(), Fault::Timeout);
    // All that are in the pool take their turn.
    let all = async || {
        for _ in 0..20 {
            tier.lookup(&epoch, 0, tier.entry(b"key")).await?;
        }
        Ok(())
    };
    until_ok(all).await;
    println!("all look-ups succeed {:?} after the cable was cut", start.elapsed());
    // Control does not wait for the socket's limit.
    assert_eq!(until_ok(async || tier.invalidate(&[hard(A)]).await).await.epoch, epoch);
}

#[tokio::test]
async fn the_wait_for_a_connection_is_bounded() {
    let server = Server::start();
    server.pause();
    let tier = impatient(server.port());
    let start = Instant::now();
    assert_eq!(tier.current().await.unwrap_err(), Fault::Pool);
    assert!(start.elapsed() < PATIENCE / 10, "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(tier.invalidate(&[hard(A)]).await.unwrap_err(), Fault::Pool);
    let (wait, waited) = (Duration::from_millis(100), start.elapsed());
    assert!(waited >= wait && waited < PATIENCE / 10, "{waited:?}");
    server.resume();
    until_ok(async || tier.invalidate(&[hard(A)]).await).await;
}

#[tokio::test]
async fn a_tier_starts_without_its_server_and_joins_when_that_comes() {
    let mut server = Server::start();
    server.kill();
    // A refusal is known at once, however long one may wait.
    let tier = at(server.port());
    let start = Instant::now();
    assert_eq!(tier.current().await.unwrap_err(), Fault::Connect);
    assert!(start.elapsed() < PATIENCE / 10, "{:?}", start.elapsed());
    let Status::Down(Fault::Connect, why) = status(&tier, |status| *status != Status::Unknown).await else { panic!() };
    assert!(why.contains(&format!("127.0.0.1:{}", server.port())), "{why}");
    let (rung, _) = tokio::join!(tokio::time::timeout(PATIENCE, tier.bell()), async {
        server.restart();
        current(&tier).await
    });
    rung.expect("the bell listens too");
    assert!(matches!(&*tier.status().borrow(), Status::Up(_)));
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let server = Server::with_password("opensesame");
    let tier = |password: &str| tier_with(&[("REDIS_URL", &server.url()), ("REDIS_PASSWORD", password)]);
    tier("opensesame").current().await.unwrap();
    let wrong = tier("hunter2");
    assert_eq!(wrong.current().await.unwrap_err(), Fault::Auth);
    assert_eq!(tier_with(&[("REDIS_URL", &server.url())]).current().await.unwrap_err(), Fault::Auth);
    let status = status(&wrong, |status| *status != Status::Unknown).await;
    assert!(matches!(status, Status::Down(Fault::Auth, _)));
    let shown = format!("{wrong:?} {status:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_password_that_changes_ends_at_the_next_connection() {
    let server = Server::with_password("first");
    let tier = tier_with(&[("REDIS_URL", &server.url()), ("REDIS_PASSWORD", "first")]);
    tier.current().await.unwrap();
    server.command(&["CONFIG", "SET", "requirepass", "second"]);
    tier.current().await.expect("the login lasts as long as the connection");
    reconnect(&tier).await;
    assert_eq!(tier.current().await.unwrap_err(), Fault::Auth);
}

/// The rights that the manual asks for.
const RIGHTS: &str = "+get +getrange +set +del +unlink +pttl +zadd +zrem +zscore +zmscore +zrange +zrangebyscore +zcount \
                      +zcard +zincrby +evalsha +script|load +publish +subscribe +info +time +wait";

async fn as_user(server: &Server, rights: &str) -> Redis {
    let mut words = vec!["ACL", "SETUSER", "app", "on", ">secret", "~{test}:*", "&{test}:bell"];
    words.extend(rights.split_whitespace());
    server.command(&words);
    let tier = tier_with(&[("REDIS_URL", &server.url()), ("REDIS_USERNAME", "app"), ("REDIS_PASSWORD", "secret")]);
    let _ = tier.current().await;
    tier
}

fn warnings(tier: &Redis) -> Vec<String> {
    match &*tier.status().borrow() {
        Status::Up(facts) => facts.warnings().iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_with_just_the_rights_it_needs_can_do_everything() {
    let server = Server::start();
    let tier = as_user(&server, RIGHTS).await;
    assert_eq!(warnings(&tier), [""; 0]);
    let epoch = tier.current().await.unwrap().epoch;
    tier.store(tier.entry(b"key").0, Bytes::from_static(b"body"), LIFE).await.unwrap();
    assert!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap().entry.is_some());
    let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
    tier.poll(&epoch, 0).await.unwrap();
    tier.probe().await.unwrap();
    let token = Token::new();
    tier.hold(&token, &[A], LIFE).await.unwrap();
    tier.end(&token, &[A]).await.unwrap();
    assert!(tier.lease(b"key", &token, LIFE).await.unwrap());
    assert!(tier.release(b"key", &token).await.unwrap());
    tier.invalidate_replicated(&[hard(A)], 0, LIFE).await.unwrap();
    tier.switch("cache off alice why").await.unwrap();
    assert!(tier.switches().await.unwrap().ends_with(b" cache off alice why\n"));
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    server.command(&["DEL", "{test}:ctl"]);
    assert_ne!(tier.current().await.unwrap().epoch, receipt.epoch);
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let server = Server::start();
    let tier = as_user(&server, &RIGHTS.replace("+zincrby", "").replace("+publish", "")).await;
    let [warning] = &*warnings(&tier) else { panic!() };
    assert!(warning.contains("ZINCRBY, PUBLISH"), "{warning}");
    assert_eq!(tier.invalidate(&[hard(A)]).await.unwrap_err(), Fault::Auth);
    // Without the right to ring, all the rest works.
    let tier = as_user(&server, RIGHTS).await;
    server.command(&["ACL", "SETUSER", "app", "-publish"]);
    server.command(&["DEL", "{test}:ctl"]);
    tier.invalidate(&[hard(A)]).await.unwrap();
    let without = async |right: &str| {
        server.command(&["ACL", "DELUSER", "app"]);
        server.command(&["DEL", "{test}:ctl"]);
        as_user(&server, &RIGHTS.replace(right, "")).await
    };
    // Without this one the server is as one behind a proxy that hides who it is.
    let tier = without("+info").await;
    let [policy, identity] = &*warnings(&tier) else { panic!() };
    assert!(policy.contains("maxmemory-policy") && identity.contains("permit INFO"), "{policy}, {identity}");
    tier.invalidate(&[hard(A)]).await.unwrap();
    tier.probe().await.unwrap();
    // Without this one there is no connection, and that is said.
    let tier = without("+evalsha").await;
    let Status::Down(Fault::Auth, why) = tier.status().borrow().clone() else { panic!() };
    assert!(why.contains("can't run this command") || why.contains("evalsha"), "{why}");
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = Server::start();
    let replica = Server::replica_of(&primary);
    let tier = at(replica.port());
    assert_eq!(tier.current().await.unwrap_err(), Fault::ReadOnly);
    let Status::Down(_, why) = tier.status().borrow().clone() else { panic!() };
    assert!(why.contains("Terrace needs the primary"), "{why}");
}

#[tokio::test]
async fn a_primary_that_is_demoted_is_noticed_and_so_is_one_that_is_promoted() {
    let (server, other) = (Server::start(), Server::start());
    let tier = at(server.port());
    let before = tier.invalidate(&[hard(A)]).await.unwrap();
    tier.probe().await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    assert_eq!(tier.probe().await.unwrap_err(), Fault::Moved);
    // No connection made before is used again, and none is made to a replica.
    assert_eq!(tier.lookup(&before.epoch, 0, tier.entry(b"key")).await.unwrap_err(), Fault::ReadOnly);
    server.command(&["REPLICAOF", "NO", "ONE"]);
    tier.probe().await.unwrap();
    assert_ne!(tier.current().await.unwrap().epoch, before.epoch);
}

#[tokio::test]
async fn a_connection_that_outlived_a_demotion_and_back_is_not_used() {
    let (server, other) = (Server::start(), Server::start());
    let tier = at(server.port());
    let before = tier.invalidate(&[hard(A)]).await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    server.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(tier.probe().await.unwrap_err(), Fault::Moved);
    assert_ne!(tier.current().await.unwrap().epoch, before.epoch);
}

#[tokio::test]
async fn a_server_that_lacks_replicas_fails_the_probe() {
    let server = Server::start();
    let tier = at(server.port());
    tier.probe().await.unwrap();
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(tier.probe().await.unwrap_err(), Fault::ReadOnly);
    assert_eq!(tier.invalidate(&[hard(A)]).await.unwrap_err(), Fault::ReadOnly);
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    tier.probe().await.unwrap();
}

/// What it reads would prove nothing, for it hears of no invalidation (the model's `poll_takes_write`), and neither would what
/// is stamped there (`fence_takes_write`).
#[tokio::test]
async fn a_server_that_lacks_replicas_answers_no_poll_and_lets_nobody_connect() {
    let server = Server::start();
    let tier = at(server.port());
    let now = tier.current().await.unwrap();
    tier.poll(&now.epoch, now.position).await.unwrap();
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(tier.poll(&now.epoch, now.position).await.unwrap_err(), Fault::ReadOnly);
    let other = at(server.port());
    assert_eq!(other.current().await.unwrap_err(), Fault::ReadOnly);
    let Status::Down(Fault::ReadOnly, why) = other.status().borrow().clone() else { panic!() };
    assert!(why.contains("NOREPLICAS"), "{why}");
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    tier.poll(&now.epoch, now.position).await.unwrap();
    other.current().await.unwrap();
}

#[tokio::test]
async fn a_full_server_refuses_fills_and_takes_invalidations() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let body = Bytes::from_static(b"body");
    assert_eq!(tier.store(tier.entry(b"key").0, body, LIFE).await.unwrap_err(), Fault::Oom);
    let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
    assert_eq!((&receipt.epoch, receipt.position), (&epoch, 1));
    let token = Token::new();
    tier.hold(&token, &[A], LIFE).await.unwrap();
    tier.end(&token, &[A]).await.unwrap();
    // Also what a new connection runs first.
    reconnect(&tier).await;
    tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap();
}

#[tokio::test]
async fn weaknesses_of_the_server_are_told() {
    let server = Server::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let tier = at(server.port());
    tier.current().await.unwrap();
    let [warning] = &*warnings(&tier) else { panic!() };
    assert!(warning.contains("allkeys-lru"), "{warning}");
    let _replica = Server::replica_of(&server);
    reconnect(&tier).await;
    current(&tier).await;
    let told = warnings(&tier);
    assert!(told.len() == 2 && told[1].contains("min-replicas-to-write"), "{told:?}");
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    reconnect(&tier).await;
    until_ok(|| tier.current()).await;
    assert_eq!(warnings(&tier).len(), 1);
}

#[tokio::test]
async fn replicas_are_waited_for_when_asked() {
    let primary = Server::start();
    let tier = tier_with(&[("REDIS_URL", &primary.url()), ("REDIS_SOCKET_TIMEOUT", "2s")]);
    let replica = Server::replica_of(&primary);
    let (receipt, reached) = tier.invalidate_replicated(&[hard(A)], 1, PATIENCE).await.unwrap();
    assert_eq!((receipt.position, reached), (1, 1));
    // However long one is ready to wait.
    let tags = [hard(A)];
    let forever = tier.invalidate_replicated(&tags, 1, Duration::MAX);
    assert_eq!(tokio::time::timeout(PATIENCE, forever).await.unwrap().unwrap().1, 1);
    // Beyond the socket's own limit, and without keeping others waiting.
    replica.pause();
    let mut waiting =
        std::pin::pin!(async { tier.invalidate_replicated(&[hard(B)], 1, Duration::from_secs(3)).await.unwrap().1 });
    let quick = async { tier.invalidate_replicated(&[hard(A)], 0, PATIENCE).await.unwrap().1 };
    assert_eq!(crate::store::race::first(waiting.as_mut(), quick).await, Err(0));
    assert_eq!(waiting.await, 0);
    let (receipt, reached) = tier.invalidate_replicated(&[hard(A)], 1, Duration::from_millis(50)).await.unwrap();
    assert_eq!((receipt.position, reached), (5, 0));
}

#[tokio::test]
async fn what_is_disconnected_has_no_connection_until_it_is_used_again() {
    let server = Server::start();
    let tier = at(server.port());
    assert_eq!(connections(&tier), 0, "nothing is connected before it is used");
    tier.current().await.unwrap();
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    tier.disconnect();
    // Only the connection that asks.
    until_ok(|| async { if server.info("clients", "connected_clients") == "1" { Ok(()) } else { Err(Fault::Other) } })
        .await;
    tier.current().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lookups_share_few_sockets() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let tier = Arc::new(at(proxy.port()));
    let epoch = tier.current().await.unwrap().epoch;
    tier.store(tier.entry(b"key").0, Bytes::from_static(b"body"), LIFE).await.unwrap();
    let readers: Vec<_> = (0..64)
        .map(|_| {
            let (tier, epoch) = (Arc::clone(&tier), epoch.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    assert!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap().entry.is_some());
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    println!("64 readers used {} connections", proxy.accepted());
    assert!(proxy.accepted() < 20, "{}", proxy.accepted());
}

#[tokio::test]
async fn budgets_can_be_changed() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    server.pause();
    tier.budgets.read.set(Duration::from_millis(1));
    let start = Instant::now();
    assert_eq!(tier.lookup(&epoch, 0, tier.entry(b"key")).await.unwrap_err(), Fault::Timeout);
    assert!(start.elapsed() < PATIENCE / 10, "{:?}", start.elapsed());
}

#[tokio::test]
async fn whoever_waits_together_with_others_waits_no_longer_than_its_own_time() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    server.pause();
    tier.budgets.read.set(Duration::from_millis(50));
    // As many as are asked for at once, and one that waits for them.
    let hurried = [b"a", b"b", b"c"].map(|key| tier.lookup(&epoch, 0, tier.entry(key)));
    tier.budgets.read.set(PATIENCE);
    let mut patient = tier.lookup(&epoch, 0, tier.entry(b"d"));
    let told = crate::store::race::first(join_all(hurried), patient.as_mut()).await.expect("not the patient one");
    assert!(told.iter().all(|looked| *looked == Err(Fault::Timeout)), "{told:?}");
    server.resume();
    assert_eq!(patient.await.unwrap().entry, None);
}

#[tokio::test]
async fn a_connection_is_in_use_while_somebody_waits_for_a_reply() {
    let server = Server::start();
    let tier = at(server.port());
    let epoch = tier.current().await.unwrap().epoch;
    let Usage { in_use: 0, max, .. } = tier.usage() else { panic!("{:?}", tier.usage()) };
    assert_eq!(max, tier.connector.settings().max_connections + 4 + 2 + 4, "look-ups, fills, control, replicas");
    // Those for look-ups and that for control, which are made without being asked for, and the one that takes the place
    // of what has been in use. Not a number that is passed on the way to that: nobody may be looking at that moment.
    until_ok(async || if connections(&tier) == READY + 2 { Ok(()) } else { Err(Fault::Other) }).await;
    server.pause();
    let mut looking =
        std::pin::pin!(async { join(tier.lookup(&epoch, 0, tier.entry(b"key")), tier.poll(&epoch, 0)).await });
    let used = until_ok(async || if tier.usage().in_use == 2 { Ok(()) } else { Err(Fault::Other) });
    assert_eq!(crate::store::race::first(looking.as_mut(), used).await.err(), Some(()));
    assert_eq!((connections(&tier), tier.usage().max), (tier.usage().idle + 2, max));
    server.resume();
    let (looked, polled) = looking.await;
    assert!(looked.is_ok() && polled.is_ok());
    assert_eq!(tier.usage().in_use, 0);
}

#[tokio::test]
async fn each_connection_is_counted_by_what_was_found_before_its_first_use() {
    let server = Server::start();
    let fences = |tier: &Redis| tier.take_fences().filter(|(_, times)| *times > 0).collect::<Vec<_>>();
    let only = async |tier: &Redis| tier.connector.connect().await.map(drop);
    let tier = at(server.port());
    for _ in 0..3 {
        only(&tier).await.unwrap();
    }
    assert_eq!(fences(&tier), [(FenceResult::Ok, 2), (FenceResult::NewEpoch, 1)]);
    assert_eq!(fences(&tier), [], "they are told once");
    let second = Server::replica_of(&server);
    let replica = at(second.port());
    assert_eq!(only(&replica).await, Err(Fault::ReadOnly));
    assert_eq!(fences(&replica), [(FenceResult::NotPrimary, 1)]);
    server.command(&["CONFIG", "SET", "requirepass", "secret"]);
    assert_eq!(only(&tier).await, Err(Fault::Auth));
    assert_eq!(fences(&tier), [(FenceResult::Denied, 1)]);
}

#[tokio::test]
async fn what_is_heard_late_does_not_replace_what_was_asked_later() {
    let server = Server::start();
    let tier = at(server.port());
    let connector = &tier.connector;
    connector.connect().await.unwrap();
    let mut status = connector.status();
    status.mark_unchanged();
    connector.tell(0, &Status::Down(Fault::Timeout, "asked before".into()));
    assert!(!status.has_changed().unwrap());
    assert!(matches!(*status.borrow(), Status::Up(_)));
    connector.tell(u64::MAX, &Status::Down(Fault::Timeout, "asked after".into()));
    assert!(status.has_changed().unwrap());
}

#[tokio::test]
async fn whether_messages_arrive_is_known() {
    let server = Server::start();
    let heard = async |tier: &Redis, expected| {
        let mut hearing = tier.hearing();
        let known = hearing.wait_for(|now| *now == expected);
        tokio::time::timeout(PATIENCE, known).await.expect("it is known at last").unwrap();
    };
    let tier = as_user(&server, RIGHTS).await;
    tier.bell().await;
    heard(&tier, Hearing::Messages).await;
    tier.disconnect();
    heard(&tier, Hearing::Nothing).await;
    server.command(&["ACL", "DELUSER", "app"]);
    let deaf = as_user(&server, &RIGHTS.replace("+subscribe", "")).await;
    let listening = tokio::spawn(async move {
        let bell = deaf.bell();
        crate::store::race::first(bell, heard(&deaf, Hearing::Denied)).await
    });
    assert_eq!(listening.await.unwrap(), Err(()));
}

/// Else the bridge of other programs' messages had a gap, and told of it, whenever Redis was slow for a moment.
#[tokio::test]
async fn who_listens_goes_on_when_a_reply_to_others_is_late() {
    let server = Server::start();
    let tier = at(server.port());
    let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
    let (begun, heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_begin, on_message) = (Arc::clone(&begun), Arc::clone(&heard));
    let ear = move |said: Heard<'_>| match said {
        Heard::Begun => on_begin.notify_one(),
        Heard::Message { .. } => on_message.notify_one(),
    };
    let mut listening = std::pin::pin!(tier.listen(&["channel"], Arc::new(ear)));
    assert_eq!(crate::store::race::first(listening.as_mut(), begun.notified()).await, Err(()));
    server.pause();
    tier.budgets.poll.set(Duration::from_millis(1));
    // Every connection for control is given up, whichever led to the server.
    for _ in 0..CONTROL {
        assert_eq!(tier.poll(&receipt.epoch, 0).await.unwrap_err(), Fault::Timeout);
    }
    server.resume();
    // Longer than until the connection is looked at.
    assert!(tokio::time::timeout(PATIENCE / 12, listening.as_mut()).await.is_err());
    server.command(&["PUBLISH", "channel", "still there"]);
    assert_eq!(crate::store::race::first(listening, heard.notified()).await, Err(()));
}

#[tokio::test]
async fn a_poll_counts_the_markers() {
    let server = Server::start();
    let tier = at(server.port());
    let receipt = tier.invalidate(&[hard(A), soft(B)]).await.unwrap();
    assert_eq!(tier.markers(), 0);
    tier.poll(&receipt.epoch, 0).await.unwrap();
    assert_eq!(tier.markers(), 2);
}
