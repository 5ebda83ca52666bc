//! The servers that processes share a store on.

use crate::door::Door;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use terrace_redis_server::Server;

/// The servers of a run.
pub(crate) enum Servers {
    /// Behind a door, so that a failover is seen as it is behind a name that moves.
    One { primary: Box<Server>, replica: Option<Box<Server>>, door: Door },
    /// One primary and two replicas, and three Sentinels that watch them.
    Watched { nodes: Vec<Server>, sentinels: Vec<Server> },
}

impl Servers {
    pub(crate) fn one() -> Self {
        let primary = Box::new(Server::start());
        let door = Door::to(primary.port());
        Self::One { primary, replica: None, door }
    }

    pub(crate) fn replicated() -> Self {
        let mut servers = Self::one();
        servers.replicate();
        servers
    }

    pub(crate) fn watched() -> Self {
        let primary = Server::start();
        let replicas = [Server::replica_of(&primary), Server::replica_of(&primary)];
        let nodes: Vec<Server> = std::iter::once(primary).chain(replicas).collect();
        for node in &nodes {
            // One that is left, or cut off, stops taking writes.
            node.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        }
        let primary = &nodes[0];
        let mut sentinels = Vec::from([(); 3].map(|()| Server::sentinel_of(primary, 2, "")));
        for sentinel in &mut sentinels {
            for _ in 0..2 {
                sentinel.wait_for("+sentinel sentinel");
            }
        }
        Self::Watched { nodes, sentinels }
    }

    /// What tells a process where they are.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let variables = match self {
            Self::One { door, .. } => vec![("REDIS_URL", format!("redis://127.0.0.1:{}", door.port()))],
            Self::Watched { sentinels, .. } => {
                let list = sentinels.iter().fold(String::new(), |mut list, sentinel| {
                    let comma = if list.is_empty() { "" } else { "," };
                    let _ = write!(list, "{comma}127.0.0.1:{}", sentinel.port());
                    list
                });
                vec![("REDIS_SENTINELS", list), ("REDIS_MASTER_NAME", "main".to_owned())]
            }
        };
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The one that takes writes.
    pub(crate) fn primary(&mut self) -> &mut Server {
        match self {
            Self::One { primary, .. } => primary,
            Self::Watched { nodes, sentinels } => {
                let port = named(&sentinels[0]);
                nodes.iter_mut().find(|node| node.port() == port).expect("one of the nodes")
            }
        }
    }

    /// Gives the primary a replica.
    pub(crate) fn replicate(&mut self) {
        if let Self::One { primary, replica, .. } = self {
            *replica = Some(Box::new(Server::replica_of(primary)));
        }
    }

    /// The replica takes over while the primary still takes writes for a while, which are lost.
    pub(crate) fn fail_over(&mut self) {
        let Self::One { primary, replica, door } = self else { return };
        let replica = replica.take().expect("a replica");
        replica.command(&["REPLICAOF", "NO", "ONE"]);
        std::thread::sleep(Duration::from_millis(400));
        primary.kill();
        door.leads_to(replica.port());
        *primary = replica;
    }

    /// Kills the primary, waits until every Sentinel names another one, and starts the old one again, as a replica of
    /// that.
    pub(crate) fn kill_watched_primary(&mut self) {
        let Self::Watched { nodes, sentinels } = self else { return };
        let port = named(&sentinels[0]);
        let dead = nodes.iter_mut().find(|node| node.port() == port).expect("one of the nodes");
        dead.kill();
        await_another(sentinels, port, || {});
        dead.restart();
        dead.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    }

    /// Has a Sentinel promote another while the primary lives, and waits until every Sentinel names that.
    pub(crate) fn leave_watched_primary(&mut self) {
        let Self::Watched { sentinels, .. } = self else { return };
        let port = named(&sentinels[0]);
        // It refuses while it is at it, and gives up a replica that takes too long to become the primary.
        await_another(sentinels, port, || {
            if named(&sentinels[0]) == port {
                let _ = sentinels[0].try_command(&["SENTINEL", "FAILOVER", "main"]);
            }
        });
    }
}

/// Until every Sentinel names another primary than that on this port; what is done until then.
fn await_another(sentinels: &[Server], port: u16, meanwhile: impl Fn()) {
    let patience = Instant::now() + Duration::from_secs(120);
    for sentinel in sentinels {
        while named(sentinel) == port {
            assert!(Instant::now() < patience, "the Sentinels never agreed on another primary");
            meanwhile();
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The port of the primary, as a Sentinel knows it.
fn named(sentinel: &Server) -> u16 {
    let found = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
    let text = format!("{found:?}");
    let mut ports = text.rsplit(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    ports.next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("a primary, not {text}"))
}
