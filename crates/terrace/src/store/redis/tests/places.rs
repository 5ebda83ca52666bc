use super::*;
use crate::store::redis::link::Opener;
use terrace_redis_server::{Certificates, form_cluster};

fn addresses(servers: &[Server]) -> String {
    servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect::<Vec<_>>().join(",")
}

#[cfg(feature = "redis-tls")]
mod tls {
    use super::*;
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

    fn trusting(certificates: &Certificates, url: &str) -> Redis {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificates.authority().as_bytes()).unwrap()).unwrap();
        let plain = tier(url);
        let settings = plain.connector.settings().clone();
        let tls = Some(crate::store::redis::tls::Tls::with_roots(roots).unwrap());
        let opener = Opener { socket_timeout: settings.socket_timeout, tls };
        Redis::with_opener(settings, Names::new("test", "node"), plain.budgets, Clock::default(), opener)
    }

    #[tokio::test]
    async fn connections_are_encrypted_and_the_server_is_who_it_says() {
        let certificates = Certificates::new();
        let server = Server::with_tls(&certificates);
        let url = format!("rediss://localhost:{}", server.port());
        let tier = trusting(&certificates, &url);
        let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
        assert_eq!(tier.current().await.unwrap(), receipt);
        tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();

        let stranger = trusting(&Certificates::new(), &url);
        assert_eq!(stranger.current().await.unwrap_err(), Fault::Connect);
        let Status::Down(_, why) = stranger.status().borrow().clone() else { panic!() };
        assert!(why.contains("certificate"), "{why}");
        // Without encryption there is no reply that makes sense.
        let plain = at(server.port()).current().await.unwrap_err();
        assert!(matches!(plain, Fault::Connect | Fault::Protocol), "{plain:?}");
    }
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_and_after_its_death_to_the_next() {
    let mut primary = Server::start();
    let mut replicas = [Server::replica_of(&primary), Server::replica_of(&primary)];
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
    until_ok(|| tier.lookup(&after.epoch, 0, b"key")).await;
    until_ok(|| tier.probe()).await;
    tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
    let promoted = replicas.iter_mut().find(|replica| replica.info("replication", "role") == "master");
    assert!(promoted.is_some());
}

#[tokio::test]
async fn a_hung_primary_is_left_for_the_next() {
    let primary = Server::start();
    let _replica = Server::replica_of(&primary);
    let mut sentinel = Server::sentinel_of(&primary, 1, "");
    sentinel.wait_for("+slave slave");
    let list = addresses(std::slice::from_ref(&sentinel));
    let tier = tier_with(&[("REDIS_SENTINELS", &list), ("REDIS_MASTER_NAME", "main")]);
    let tier = Redis { budgets: Arc::default(), ..tier };
    let before = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    until_ok(|| tier.lookup(&before.epoch, 0, b"key")).await;
    primary.pause();
    let after = until_ok(async || tier.invalidate(&[hard(A)]).await).await;
    assert_ne!(after.epoch, before.epoch);
    // What control has found out holds for the connections that look-ups use.
    let found = until_ok(|| tier.lookup(&after.epoch, 0, b"key")).await;
    assert!(matches!(found.news, Polled::Changes { .. }), "{:?}", found.news);
    // The old primary is not believed when it wakes up.
    primary.resume();
    let found = until_ok(|| tier.lookup(&after.epoch, 0, b"key")).await;
    assert!(matches!(found.news, Polled::Changes { .. }), "{:?}", found.news);
}

#[tokio::test]
async fn any_node_of_a_cluster_leads_to_the_one_that_has_the_record() {
    let mut nodes = [(); 3].map(|()| Server::cluster_node());
    form_cluster(&mut nodes);
    let mut epochs = Vec::new();
    for node in &nodes {
        let seed = addresses(std::slice::from_ref(node));
        let tier = tier_with(&[("REDIS_CLUSTER_NODES", &seed), ("REDIS_SOCKET_TIMEOUT", "30s")]);
        let receipt = tier.invalidate(&[hard(A)]).await.unwrap();
        tier.store(b"key", Bytes::from_static(b"body"), PATIENCE).await.unwrap();
        assert!(tier.lookup(&receipt.epoch, 0, b"key").await.unwrap().entry.is_some());
        tier.probe().await.unwrap();
        tokio::time::timeout(PATIENCE, tier.bell()).await.unwrap();
        epochs.push(receipt.epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
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
    let tier = tier_with(&[("REDIS_CLUSTER_NODES", &addresses(&nodes)), ("REDIS_SOCKET_TIMEOUT", "30s")]);
    let before = tier.current().await.unwrap();
    let slot = text(&nodes[0], &["CLUSTER", "KEYSLOT", "{test}:ctl"]);
    let owner = nodes.iter().position(|node| node.try_command(&["ZCARD", "{test}:ctl"]).is_ok()).unwrap();
    let next = (owner + 1) % nodes.len();
    nodes[owner].command(&["UNLINK", "{test}:ctl"]);
    let id = text(&nodes[next], &["CLUSTER", "MYID"]);
    for node in [next, owner] {
        nodes[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
    }
    let after = tier.current().await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    nodes[next].try_command(&["ZCARD", "{test}:ctl"]).unwrap();
}
