//! What can be wrong with Redis, how it is brought about, and how it is healed.

use crate::process::{App, may_have_names};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use terrace_redis_server::{Proxy, Server};
use tokio::runtime::Handle;

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// SIGSTOP: connections are accepted by the system, and nobody answers.
    Stopped,
    /// kill -9, and started again without its data.
    Killed,
    /// The port is closed.
    Refusing,
    /// Each reply takes 50 ms.
    Slow,
    /// A replica of another server.
    ReadOnly,
    /// No memory, and nothing may be evicted.
    Full,
    /// Connections are there, new ones can be made, and nothing arrives on any of them.
    HalfOpen,
    /// The host name does not resolve any more, and the connections are gone.
    NameGone,
    /// The password is another one, and the connections are gone.
    PasswordChanged,
    /// The primary of three nodes is killed, and three Sentinels elect another.
    Failover,
    /// `CACHE_L2_ENABLED` is off: no fault, and what the others are compared with.
    SwitchedOff,
    /// Large responses are fetched as fast as can be.
    Storm,
    /// The same, and Redis takes them slowly.
    SlowStorm,
}

impl Fault {
    pub(crate) fn all() -> Vec<Self> {
        <Self as clap::ValueEnum>::value_variants().to_vec()
    }

    pub(crate) fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether this machine permits what it needs.
    pub(crate) fn can_be_tried(self) -> bool {
        self != Self::NameGone || may_have_names()
    }

    /// Whether Redis cannot be used at all while it lasts. What is full still has what it has.
    pub(crate) fn is_outage(self) -> bool {
        !matches!(self, Self::Full | Self::SwitchedOff | Self::Storm | Self::SlowStorm)
    }

    /// Whether nothing can be proven while it lasts. What is only slow still tells what was invalidated.
    pub(crate) fn hides_invalidations(self) -> bool {
        self.is_outage() && !matches!(self, Self::Slow | Self::Failover)
    }

    pub(crate) fn is_storm(self) -> bool {
        matches!(self, Self::Storm | Self::SlowStorm)
    }
}

const HOST: &str = "redis.outage.test";
const REPLY: Duration = Duration::from_millis(50);
/// Bytes a second that a connection takes in a slow storm.
const NARROW: u32 = 1_000_000;
const PASSWORD: &str = "the first";

/// The servers of one run, and what stands between them and the app.
pub(crate) struct Stage {
    fault: Fault,
    nodes: Vec<Server>,
    sentinels: Vec<Server>,
    pub(crate) proxy: Option<Proxy>,
    names: Option<TempDir>,
    admin: Option<redis::Connection>,
}

impl Stage {
    pub(crate) fn new(fault: Fault) -> Self {
        let mut nodes = match fault {
            Fault::PasswordChanged => vec![Server::with_password(PASSWORD)],
            Fault::ReadOnly => vec![Server::start(), Server::start()],
            _ => vec![Server::start()],
        };
        let (mut sentinels, mut proxy) = (Vec::new(), None);
        if fault == Fault::Failover {
            nodes.extend([Server::replica_of(&nodes[0]), Server::replica_of(&nodes[0])]);
            sentinels = (0..3).map(|_| Server::sentinel_of(&nodes[0], 2, "")).collect();
        } else {
            proxy = Some(Proxy::to(nodes[0].port()));
        }
        let names = (fault == Fault::NameGone).then(resolving);
        let admin = (fault == Fault::PasswordChanged).then(|| logged_in(&nodes[0]));
        Self { fault, nodes, sentinels, proxy, names, admin }
    }

    /// The variables that lead the app there.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let port = self.proxy.as_ref().map_or(0, Proxy::port);
        let sentinels: Vec<String> = self.sentinels.iter().map(|it| format!("127.0.0.1:{}", it.port())).collect();
        let variables = match self.fault {
            Fault::Failover => vec![("REDIS_SENTINELS", sentinels.join(",")), ("REDIS_MASTER_NAME", "main".to_owned())],
            Fault::NameGone => vec![("REDIS_HOST", HOST.to_owned()), ("REDIS_PORT", port.to_string())],
            Fault::PasswordChanged => {
                vec![("REDIS_URL", format!("redis://127.0.0.1:{port}")), ("REDIS_PASSWORD", PASSWORD.to_owned())]
            }
            _ => vec![("REDIS_URL", format!("redis://127.0.0.1:{port}"))],
        };
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The directory of the app's own `hosts`.
    pub(crate) fn names(&self) -> Option<&Path> {
        self.names.as_ref().map(TempDir::path)
    }

    pub(crate) fn begin(&mut self, runtime: &Handle, app: &App) {
        match self.fault {
            Fault::Stopped => self.nodes[0].pause(),
            Fault::Killed | Fault::Failover => self.nodes[0].kill(),
            Fault::Refusing => self.proxy().refuse(),
            Fault::Slow => self.proxy().delay_replies(REPLY),
            Fault::ReadOnly => {
                let other = self.nodes[1].port().to_string();
                self.nodes[0].command(&["REPLICAOF", "127.0.0.1", &other]);
            }
            Fault::Full => drop(self.nodes[0].command(&["CONFIG", "SET", "maxmemory", "1"])),
            Fault::HalfOpen => self.proxy().hang_all(),
            Fault::NameGone => {
                self.resolve("");
                self.proxy().cut();
            }
            Fault::PasswordChanged => {
                self.admin(&["CONFIG", "SET", "requirepass", "another"]);
                for kind in ["normal", "pubsub"] {
                    self.admin(&["CLIENT", "KILL", "TYPE", kind]);
                }
            }
            Fault::SwitchedOff => app.switch(runtime, "l2", false),
            Fault::Storm => app.switch(runtime, "storm", true),
            Fault::SlowStorm => {
                self.proxy().narrow(NARROW);
                app.switch(runtime, "storm", true);
            }
        }
    }

    /// Returns when Redis can be used again.
    pub(crate) fn end(&mut self, runtime: &Handle, app: &App) {
        match self.fault {
            Fault::Stopped => self.nodes[0].resume(),
            Fault::Killed => self.nodes[0].restart(),
            Fault::Refusing | Fault::Slow | Fault::HalfOpen => self.proxy().mend(),
            Fault::ReadOnly => drop(self.nodes[0].command(&["REPLICAOF", "NO", "ONE"])),
            Fault::Full => drop(self.nodes[0].command(&["CONFIG", "SET", "maxmemory", "0"])),
            Fault::NameGone => self.resolve(&format!("127.0.0.1 {HOST}\n")),
            Fault::PasswordChanged => self.admin(&["CONFIG", "SET", "requirepass", PASSWORD]),
            Fault::Failover => self.wait_for_election(),
            Fault::SwitchedOff => app.switch(runtime, "l2", true),
            Fault::Storm | Fault::SlowStorm => {
                app.switch(runtime, "storm", false);
                self.proxy().mend();
            }
        }
    }

    /// How many clients the server has, apart from whoever asks.
    pub(crate) fn clients(&self) -> usize {
        let list = self.nodes[0].command(&["CLIENT", "LIST"]);
        let list: String = redis::from_redis_value(list).expect("a text");
        list.lines().filter(|line| !line.contains("cmd=client")).count()
    }

    pub(crate) fn fault(&self) -> Fault {
        self.fault
    }

    fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("all but a failover have one")
    }

    fn resolve(&self, hosts: &str) {
        let names = self.names().expect("this run has names of its own");
        // In place: what is mounted is the file, not its name.
        fs::write(names.join("hosts"), hosts).expect("a file of ours");
    }

    fn admin(&mut self, words: &[&str]) {
        let admin = self.admin.as_mut().expect("this run has a connection that stays logged in");
        redis::cmd(words[0]).arg(&words[1..]).exec(admin).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// Until one of the replicas is the primary.
    fn wait_for_election(&self) {
        let until = crate::clock::now() + crate::clock::nanoseconds(Duration::from_secs(60));
        while !self.nodes[1..].iter().any(Server::is_primary) {
            assert!(crate::clock::now() < until, "no primary was elected");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn resolving() -> TempDir {
    let names = TempDir::new().expect("a temporary directory");
    let write = |name, text: &str| fs::write(names.path().join(name), text).expect("a new file");
    write("hosts", &format!("127.0.0.1 {HOST}\n"));
    write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    names
}

fn logged_in(server: &Server) -> redis::Connection {
    let client = redis::Client::open(format!("redis://:the%20first@127.0.0.1:{}", server.port())).expect("a URL");
    client.get_connection().expect("a connection")
}
