use super::*;
use crate::store::redis::link::Opener;
use terrace_redis_server::{Certificates, Proxy, form_cluster};
use tokio::time::Instant;

fn addresses(servers: &[Server]) -> String {
    servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect::<Vec<_>>().join(",")
}

#[cfg(feature = "redis-tls")]
mod tls {
    use super::*;
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

    fn trusting(certificates: &Certificates, url: &str, socket_timeout: Duration) -> Redis {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificates.authority().as_bytes()).unwrap()).unwrap();
        let plain = tier(url);
        let mut settings = plain.connector.settings().clone();
        settings.socket_timeout = socket_timeout;
        let tls = Some(crate::store::redis::tls::Tls::with_roots(roots).unwrap());
        let opener = Opener { socket_timeout: settings.socket_timeout, tls };
        Redis::with_opener(settings, Names::new("test", "node"), plain.budgets, Clock::default(), opener).unwrap()
    }

    #[tokio::test]
    async fn connections_are_encrypted_and_the_server_is_who_it_says() {
        let certificates = Certificates::new();
        let server = Server::with_tls(&certificates);
        let url = format!("rediss://localhost:{}", server.port());
        let tier = trusting(&certificates, &url, PATIENCE);
        let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
        assert_eq!(tier.current().await.unwrap(), receipt);
        tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();

        let stranger = trusting(&Certificates::new(), &url, PATIENCE);
        assert_eq!(stranger.current().await.unwrap_err(), Fault::Connect);
        let Status::Down(_, why) = stranger.status().borrow().clone() else { panic!() };
        assert!(why.contains("certificate"), "{why}");
        // Without encryption there is no reply that makes sense.
        let plain = at(server.port()).current().await.unwrap_err();
        assert!(matches!(plain, Fault::Connect | Fault::Protocol), "{plain:?}");
    }

    #[tokio::test]
    async fn who_listens_does_not_wait_for_ever_for_a_hand_to_shake() {
        let certificates = Certificates::new();
        let server = Server::with_tls(&certificates);
        let proxy = Proxy::to(server.port());
        let url = format!("rediss://localhost:{}", proxy.port());
        let tier = trusting(&certificates, &url, Duration::from_secs(2));
        tier.current().await.unwrap();
        until_ok(async || tier.invalidate(&[hard(A)]).await).await;
        proxy.hang_all();
        let listening = tier.listen(&["channel"], Arc::new(|_| {}));
        assert_eq!(tokio::time::timeout(PATIENCE, listening).await.unwrap(), Err(Fault::Timeout));
    }
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_and_after_its_death_to_the_next() {
    let mut primary = Server::start();
    let replicas = [Server::replica_of(&primary), Server::replica_of(&primary)];
    let secret = "requirepass two\nsentinel sentinel-pass two";
    let mut sentinels = [(); 3].map(|()| Server::sentinel_of(&primary, 2, secret));
    for sentinel in &mut sentinels {
        // Both others, and both replicas.
        for _ in 0..2 {
            sentinel.wait_for("+sentinel sentinel");
        }
    }
    let list = addresses(&sentinels);
    let with = |password: &str| {
        tier_with(&[("REDIS_SENTINELS", &list), ("REDIS_MASTER_NAME", "main"), ("REDIS_SENTINEL_PASSWORD", password)])
    };
    assert_eq!(with("wrong").current().await.unwrap_err(), Fault::Auth);
    let tier = with("two");
    let before = tier.invalidate(&[hard(A)]).await.unwrap();
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();

    primary.kill();
    let after = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    assert_ne!(after.epoch, before.epoch, "a promoted server begins an epoch");
    until_ok(|| tier.lookup(&after.epoch, 0, tier.entry(b"key"))).await;
    until_ok(|| tier.probe()).await;
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    assert!(replicas.iter().any(Server::is_primary));
}

/// For some ten seconds it takes itself for the primary: until the Sentinels are sure enough that it is none.
#[tokio::test]
async fn a_primary_that_was_left_while_it_lives_is_left_for_the_next() {
    let primary = Server::with(&["--min-replicas-to-write", "1"]);
    let replicas = [Server::replica_of(&primary), Server::replica_of(&primary)];
    let mut sentinel = Server::sentinel_of(&primary, 1, "");
    for _ in &replicas {
        sentinel.wait_for("+slave slave");
    }
    let list = addresses(std::slice::from_ref(&sentinel));
    let tier = tier_with(&[("REDIS_SENTINELS", &list), ("REDIS_MASTER_NAME", "main"), ("REDIS_SOCKET_TIMEOUT", "1s")]);
    let before = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    sentinel.fails_over();
    sentinel.wait_for("+switch-master main");
    // The last replica may be on its way.
    let after = loop {
        let receipt = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
        if receipt.epoch != before.epoch {
            break receipt;
        }
    };
    let found = until_ok(|| tier.lookup(&after.epoch, 0, tier.entry(b"key"))).await;
    assert!(matches!(found.news, Polled::Changes { .. }), "{found:?}");
    assert_eq!(primary.info("replication", "role"), "master", "it is still there");
}

#[tokio::test]
async fn a_hung_primary_is_left_for_the_next() {
    let primary = Server::start();
    let _replica = Server::replica_of(&primary);
    let mut sentinel = Server::sentinel_of(&primary, 1, "");
    sentinel.wait_for("+slave slave");
    let list = addresses(std::slice::from_ref(&sentinel));
    let tier = tier_with(&[("REDIS_SENTINELS", &list), ("REDIS_MASTER_NAME", "main"), ("REDIS_SOCKET_TIMEOUT", "1s")]);
    let tier = Redis { budgets: Arc::default(), ..tier };
    let before = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    until_ok(|| tier.lookup(&before.epoch, 0, tier.entry(b"key"))).await;
    primary.pause();
    let after = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    assert_ne!(after.epoch, before.epoch);
    // What control has found out holds for the connections that look-ups use.
    let found = until_ok(|| tier.lookup(&after.epoch, 0, tier.entry(b"key"))).await;
    assert!(matches!(found.news, Polled::Changes { .. }), "{:?}", found.news);
    // The old primary is not believed when it wakes up.
    primary.resume();
    let found = until_ok(|| tier.lookup(&after.epoch, 0, tier.entry(b"key"))).await;
    assert!(matches!(found.news, Polled::Changes { .. }), "{:?}", found.news);
}

#[tokio::test]
async fn any_node_of_a_cluster_leads_to_the_one_that_has_the_record() {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    let mut epochs = Vec::new();
    for node in &nodes {
        let seed = addresses(std::slice::from_ref(node));
        let tier = tier_with(&[("REDIS_CLUSTER_NODES", &seed)]);
        let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
        tier.store(tier.entry(b"key").0, Bytes::from_static(b"body"), PATIENCE).await.unwrap();
        assert!(tier.lookup(&receipt.epoch, 0, tier.entry(b"key")).await.unwrap().entry.is_some());
        tier.probe().await.unwrap();
        tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
        epochs.push(receipt.epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
}

#[tokio::test]
async fn entries_are_spread_over_the_nodes_of_a_cluster() {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &addresses(&nodes))]);
    let epoch = tier.current().await.unwrap().epoch;
    for number in 0..60_u8 {
        tier.store(tier.entry(&[number]).0, Bytes::from(vec![number; 3]), PATIENCE).await.unwrap();
    }
    for number in 0..60_u8 {
        let looked = tier.lookup(&epoch, 0, tier.entry(&[number])).await.unwrap();
        assert_eq!(looked.entry, Some(vec![number; 3].into()));
        assert_eq!(looked.news, Polled::Changes { marks: vec![], position: 0, floor: 0 });
    }
    let (mut cursor, mut found) = (0, std::collections::BTreeSet::new());
    loop {
        let page = tier.scan(cursor).await.unwrap();
        assert_eq!((page.keys.len(), page.unreadable), (0, 0), "these are no envelopes");
        let (next, names) = tier.scan_names(cursor, &tier.names.all_entries()).await.unwrap();
        found.extend(names);
        if next == 0 {
            break;
        }
        cursor = next;
    }
    assert_eq!(found.len(), 60);
    let size = |node: &Server| match node.command(&["DBSIZE"]) {
        redis::Value::Int(keys) => keys,
        other => panic!("{other:?}"),
    };
    let sizes: Vec<i64> = nodes.iter().map(size).collect();
    assert!(sizes.iter().all(|keys| *keys >= 10), "{sizes:?}");
    // Whatever somebody else has put there.
    let name = tier.names.entry(b"other");
    let name = std::str::from_utf8(&name).unwrap();
    assert!(nodes.iter().any(|node| node.try_command(&["RPUSH", name, "x"]).is_ok()));
    assert_eq!(tier.lookup(&epoch, 0, tier.entry(b"other")).await.unwrap().entry, None);
}

#[tokio::test]
async fn a_node_of_a_cluster_that_comes_back_is_used_again() {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &addresses(&nodes)), ("REDIS_SOCKET_TIMEOUT", "2s")]);
    let epoch = tier.current().await.unwrap().epoch;
    let owner = nodes.iter().position(|node| node.try_command(&["ZCARD", "{test}:ctl"]).is_ok()).unwrap();
    let other = (owner + 1) % nodes.len();
    let key = key_on(&nodes[other], &tier);
    tier.store(tier.entry(&key).0, Bytes::from_static(b"old"), PATIENCE).await.unwrap();
    assert!(tier.lookup(&epoch, 0, tier.entry(&key)).await.unwrap().entry.is_some());
    nodes[other].restart();
    // It has forgotten the entry, and the cluster what it was, for a moment.
    let looked = until_ok(|| tier.lookup(&epoch, 0, tier.entry(&key))).await;
    assert_eq!((looked.entry, looked.news == Polled::OtherEpoch), (None, false));
    until_ok(|| tier.store(tier.entry(&key).0, Bytes::from_static(b"new"), PATIENCE)).await;
    assert!(until_ok(|| tier.lookup(&epoch, 0, tier.entry(&key))).await.entry.is_some());
}

/// A key whose entry is on this node.
fn key_on(node: &Server, tier: &Redis) -> [u8; 1] {
    let is_there = |key: &[u8; 1]| {
        let name = tier.names.entry(key);
        node.try_command(&["EXISTS", std::str::from_utf8(&name).unwrap()]).is_ok()
    };
    (0..=u8::MAX).map(|number| [number]).find(is_there).expect("one of so many is there")
}

/// Three nodes that go on when one is gone, the one with the control record first.
fn cluster_of_parts() -> [Server; 3] {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    for node in &nodes {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let owner = nodes.iter().position(|node| node.try_command(&["ZCARD", "{test}:ctl"]).is_ok()).unwrap();
    nodes.swap(0, owner);
    nodes
}

#[tokio::test]
async fn a_hung_node_of_a_cluster_costs_its_own_entries_and_no_others() {
    let nodes = cluster_of_parts();
    let list = addresses(&nodes);
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &list), ("REDIS_SOCKET_TIMEOUT", "400ms")]);
    let tier = Redis { budgets: Arc::default(), ..tier };
    let epoch = until_ok(|| tier.current()).await.epoch;
    let [hung, well] = [&nodes[1], &nodes[2]].map(|node| key_on(node, &tier));
    for key in [hung, well] {
        until_ok(|| tier.store(tier.entry(&key).0, Bytes::from_static(b"body"), PATIENCE)).await;
        until_ok(|| tier.lookup(&epoch, 0, tier.entry(&key))).await;
    }
    nodes[1].pause();
    // Past the socket's limit, after which the silence was taken for that of all nodes.
    let (begun, mut found, mut missed) = (Instant::now(), 0, 0);
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(tier.lookup(&epoch, 0, tier.entry(&hung)).await.unwrap_err(), Fault::Timeout);
        assert_eq!(
            tier.store(tier.entry(&hung).0, Bytes::from_static(b"new"), PATIENCE).await.unwrap_err(),
            Fault::Timeout
        );
        for _ in 0..5 {
            let looked = tier.lookup(&epoch, 0, tier.entry(&well)).await;
            if looked.is_ok_and(|looked| looked.entry.is_some()) { found += 1 } else { missed += 1 }
        }
    }
    // Not all, on a busy machine: each look-up has 30 ms.
    assert!(missed < found, "{missed} missed, {found} found");
    nodes[1].resume();
    assert!(until_ok(|| tier.lookup(&epoch, 0, tier.entry(&hung))).await.entry.is_some());
}

#[tokio::test]
async fn who_comes_while_a_node_of_a_cluster_hangs_has_the_entries_of_the_others() {
    let nodes = cluster_of_parts();
    nodes[1].pause();
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &addresses(&nodes)), ("REDIS_SOCKET_TIMEOUT", "1s")]);
    let epoch = until_ok(|| tier.current()).await.epoch;
    let key = key_on(&nodes[2], &tier);
    until_ok(|| tier.store(tier.entry(&key).0, Bytes::from_static(b"body"), PATIENCE)).await;
    assert!(until_ok(|| tier.lookup(&epoch, 0, tier.entry(&key))).await.entry.is_some());
}

#[tokio::test]
async fn a_slot_that_nobody_has_costs_no_connection() {
    let nodes = cluster_of_parts();
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &addresses(&nodes))]);
    let epoch = tier.current().await.unwrap().epoch;
    let key = key_on(&nodes[1], &tier);
    tier.store(tier.entry(&key).0, Bytes::from_static(b"body"), PATIENCE).await.unwrap();
    let name = tier.names.entry(&key);
    let redis::Value::Int(slot) = nodes[0].command(&["CLUSTER", "KEYSLOT", std::str::from_utf8(&name).unwrap()]) else {
        panic!()
    };
    for node in &nodes {
        node.command(&["CLUSTER", "DELSLOTS", &slot.to_string()]);
    }
    let pools = tier.pools();
    let control = pools.control.link().await.unwrap();
    let entries = pools.entries.as_ref().unwrap().link().await.unwrap();
    let body = Bytes::from_static(b"body");
    assert!(tier.store(tier.entry(&key).0, body, PATIENCE).await.is_err());
    assert!(tier.lookup(&epoch, 0, tier.entry(&key)).await.is_err());
    for link in [control, entries] {
        assert!(tier.connector.is_usable(&link), "it leads to where it did");
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    let text = |node: &Server, words: &[&str]| match node.command(words) {
        redis::Value::BulkString(text) => String::from_utf8(text).unwrap(),
        redis::Value::Int(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &addresses(&nodes))]);
    let before = tier.current().await.unwrap();
    let slot = text(&nodes[0], &["CLUSTER", "KEYSLOT", "{test}:ctl"]);
    let owner = nodes.iter().position(|node| node.try_command(&["ZCARD", "{test}:ctl"]).is_ok()).unwrap();
    let next = (owner + 1) % nodes.len();
    nodes[owner].command(&["UNLINK", "{test}:ctl", "{test}:latest"]);
    let id = text(&nodes[next], &["CLUSTER", "MYID"]);
    for node in [next, owner] {
        nodes[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
    }
    let after = tier.current().await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    nodes[next].try_command(&["ZCARD", "{test}:ctl"]).unwrap();
}
