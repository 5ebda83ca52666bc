//! What is broken, and when.

use crate::door::Door;
use clap::ValueEnum;
use std::process::Child;
use std::time::Duration;
use terrace_redis_server::Server;

/// What happens while the processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Breakage {
    /// Nothing.
    None,
    /// The polls of all processes are held up.
    PollsHeld,
    /// The server stops, and goes on a second to four later, again and again.
    Pause,
    /// The server is killed, and starts again without data.
    Restart,
    /// The server is killed, and starts again with the data of some time ago.
    Rollback,
    /// Everything in the server is deleted.
    Flush,
    /// The control record is deleted, and nothing else.
    ControlLost,
    /// The replica takes over, without the writes of the last 400 ms, some of which were acknowledged.
    LossyFailover,
}

/// The servers of a run. The processes are told of a door in front of them, so that a failover is seen as it is behind
/// a name that moves.
pub(crate) struct Servers {
    primary: Server,
    replica: Option<Server>,
    door: Door,
}

impl Servers {
    fn start(replicated: bool) -> Self {
        let primary = Server::start();
        let replica = replicated.then(|| Server::replica_of(&primary));
        let door = Door::to(primary.port());
        Self { primary, replica, door }
    }

    /// What tells a process where they are.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        vec![("REDIS_URL".to_owned(), format!("redis://127.0.0.1:{}", self.door.port()))]
    }

    /// The replica takes over while the primary still takes writes for a while, which are lost.
    fn fail_over(&mut self) {
        let replica = self.replica.take().expect("a replica");
        replica.command(&["REPLICAOF", "NO", "ONE"]);
        std::thread::sleep(Duration::from_millis(400));
        self.primary.kill();
        self.door.leads_to(replica.port());
        self.primary = replica;
    }
}

impl Breakage {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "nothing breaks",
            Self::PollsHeld => "polls held up",
            Self::Pause => "server stopped 1-4 s",
            Self::Restart => "server killed, restarted empty",
            Self::Rollback => "server killed, restarted with old data",
            Self::Flush => "FLUSHALL",
            Self::ControlLost => "control record deleted",
            Self::LossyFailover => "failover that loses 400 ms",
        }
    }

    pub(crate) fn servers(self) -> Servers {
        Servers::start(self == Self::LossyFailover)
    }

    /// Breaks it, until the nodes end by themselves.
    pub(crate) fn carry_out(self, servers: &mut Servers, _nodes: &[Child], time: Duration) {
        let rest = |share: u32| std::thread::sleep(time * share / 10);
        match self {
            Self::None | Self::PollsHeld => {}
            Self::Pause => {
                for pause in [1, 2] {
                    rest(2);
                    servers.primary.pause();
                    std::thread::sleep(Duration::from_secs(pause));
                    servers.primary.resume();
                }
            }
            Self::Restart => {
                rest(4);
                servers.primary.kill();
                servers.primary.restart();
            }
            Self::Rollback => {
                rest(3);
                servers.primary.command(&["SAVE"]);
                rest(2);
                servers.primary.kill();
                servers.primary.restart();
            }
            Self::Flush => {
                for _ in 0..3 {
                    rest(2);
                    servers.primary.command(&["FLUSHALL"]);
                }
            }
            Self::ControlLost => {
                for _ in 0..3 {
                    rest(2);
                    servers.primary.command(&["DEL", "{default}:ctl"]);
                }
            }
            Self::LossyFailover => {
                rest(5);
                servers.fail_over();
            }
        }
    }
}
