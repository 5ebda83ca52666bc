//! What Redis forgets, of what it has acknowledged, costs what is cached, and shows nothing old.

use super::process::{Process, Writer, house};
use super::*;
use std::sync::atomic::AtomicU16;
use std::time::Instant;
use terrace::authz::Scope;
use terrace_redis_server::Server;
use terrace_tests::until;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long memory may be believed, which is the bound.
const BOUND: Duration = Duration::from_secs(1);
const MEMORY: [(&str, &str); 2] = [("AUTHZ_CACHE_L1_MAX_BYTES", "32MiB"), ("CACHE_L1_MAX_LAG", "1s")];

/// A name that is led from one server to another.
struct Door {
    url: String,
    to: Arc<AtomicU16>,
    closed: watch::Sender<()>,
}

impl Door {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let door = Self { url, to: Arc::new(AtomicU16::new(server.port())), closed: watch::Sender::new(()) };
        let (to, closed) = (Arc::clone(&door.to), door.closed.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (port, mut closed) = (to.load(SeqCst), closed.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = closed.changed() => {}
                    }
                });
            }
        });
        door
    }

    fn leads_to(&self, server: &Server) {
        self.to.store(server.port(), SeqCst);
        self.closed.send_replace(());
    }
}

/// Processes, one of which has memory, and a right that was taken away and acknowledged.
struct Scene {
    directory: Directory,
    alice: Who,
    shared: Process,
    memory: Process,
    name: String,
    entry: Vec<u8>,
}

impl Scene {
    async fn of(server: &Server, url: &str) -> Self {
        let (directory, alice) = (Directory::new(), who("acme-corp", "alice"));
        directory.set(&alice, Grants::complete(["invoice:read"]));
        let at = ("REDIS_URL", url);
        let shared = Process::of(server, &directory, &[at]).await;
        let memory = Process::of(server, &directory, &[at, MEMORY[0], MEMORY[1]]).await;
        let name = shared.fills(server, &alice).await;
        let entry = Writer::of(server).get(&name);
        memory.cached(&alice, true).await;
        Self { directory, alice, shared, memory, name, entry }
    }

    /// Takes the right away, by a process that is gone then and does not repeat it; when it was acknowledged.
    async fn revokes(&self, server: &Server, url: &str) -> Instant {
        let revoking = Process::of(server, &self.directory, &[("REDIS_URL", url)]).await;
        self.directory.set(&self.alice, Grants::complete(["x"]));
        drop(revoking.authz.revoke(Scope::Subject(self.alice.clone())).await.unwrap());
        Instant::now()
    }

    /// Never an allow from Redis, though the old entry is put back, and none from memory later than the bound; then
    /// everything is cached again.
    async fn holds(&self, server: &Server, acked: Instant) {
        let mut looks = 0;
        while acked.elapsed() < 3 * BOUND || looks < 50 {
            Writer::of(server).put(&self.name, &self.entry);
            assert!(!self.shared.reads(&self.alice).await, "from Redis, {:?} after", acked.elapsed());
            let is_late = acked.elapsed() > BOUND;
            assert!(!self.memory.reads(&self.alice).await || !is_late, "from memory, {:?} after", acked.elapsed());
            looks += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.shared.cached(&self.alice, false).await;
        self.memory.cached(&self.alice, false).await;
    }
}

#[tokio::test]
async fn what_is_flushed_or_deleted_costs_what_was_cached() {
    for keys in [&[][..], &["{shop}:ctl"], &["{shop}:latest"], &["{shop}:ctl", "{shop}:latest"]] {
        let server = Server::start();
        let scene = Scene::of(&server, &server.url()).await;
        let acked = scene.revokes(&server, &server.url()).await;
        if keys.is_empty() {
            server.command(&["FLUSHALL"]);
        } else {
            server.command(&[&["DEL"], keys].concat());
        }
        scene.holds(&server, acked).await;
    }
}

#[tokio::test]
async fn a_record_that_is_evicted_costs_what_was_cached() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-random"]);
    let scene = Scene::of(&server, &server.url()).await;
    let epoch = || format!("{:?}", server.command(&["ZRANGE", "{shop}:ctl", "0", "0"]));
    let before = epoch();
    let acked = scene.revokes(&server, &server.url()).await;
    server.command(&["CONFIG", "SET", "maxmemory", "4mb"]);
    let mut writer = Writer::of(&server);
    let (mut filled, junk) = (0, vec![0; 4096]);
    while epoch() == before {
        writer.put(&format!("junk:{filled}"), &junk);
        filled += 1;
        assert!(filled < 200_000, "it was never evicted");
    }
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    scene.holds(&server, acked).await;
}

#[tokio::test]
async fn a_server_that_comes_back_without_data_or_with_old_data_shows_nothing_old() {
    for keeps in [false, true] {
        let mut server = Server::start();
        let scene = Scene::of(&server, &server.url()).await;
        if keeps {
            // On disk as it is now.
            server.command(&["SAVE"]);
        }
        let acked = scene.revokes(&server, &server.url()).await;
        server.restart();
        let kept = server.command(&["EXISTS", &scene.name]) == ::redis::Value::Int(1);
        assert_eq!(kept, keeps);
        scene.holds(&server, acked).await;
    }
}

/// A replica takes over that never heard of the revocation, while the server that acknowledged it still runs.
#[tokio::test]
async fn a_failover_that_loses_a_revocation_shows_nothing_old() {
    let primary = Server::start();
    let replica = Server::replica_of(&primary);
    let door = Door::to(&primary).await;
    let scene = Scene::of(&primary, &door.url).await;
    until("the replica has it", || replica.command(&["EXISTS", &scene.name]) == ::redis::Value::Int(1)).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let acked = scene.revokes(&primary, &door.url).await;
    door.leads_to(&replica);
    scene.holds(&replica, acked).await;
    drop(primary);
}

/// Who is told nothing cannot be told what is not so: a process that has lost its server asks the source.
#[tokio::test]
async fn without_a_server_memory_is_believed_no_longer_than_the_bound() {
    let (mut server, directory, alice) = house();
    let memory = Process::of(&server, &directory, &MEMORY).await;
    memory.cached(&alice, true).await;
    server.kill();
    let gone = Instant::now();
    directory.set(&alice, Grants::complete(["x"]));
    until("the bound has passed", || gone.elapsed() > BOUND).await;
    for _ in 0..20 {
        assert!(!memory.reads(&alice).await);
    }
}
