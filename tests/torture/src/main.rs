//! Processes that share a store, while everything under them breaks: whether an answer was ever older than it may be.
//!
//! One process is the origin and breaks things. Others read through a cache each, and change what they read: they commit
//! a new version at the origin, then invalidate. Everybody writes down what happened when, by one clock of the machine;
//! in the end each answer is compared with what had been acknowledged when it was asked for.

mod breakage;
mod door;
mod ledger;
mod node;
mod origin;

use breakage::Breakage;
use clap::{Parser, Subcommand};
use ledger::{Bounds, Ledger};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Tortures processes that share a store")]
struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Runs everything, and fails if an answer was too old.
    Run {
        /// What to break: all of them one after the other, if none is named.
        #[arg(long, value_enum)]
        breakage: Vec<Breakage>,
        /// For how long each.
        #[arg(long, default_value_t = 12)]
        seconds: u64,
        #[arg(long, default_value_t = 4)]
        nodes: usize,
        /// So many different things to read: the fewer, the more often each changes.
        #[arg(long, default_value_t = 16)]
        keys: u64,
        /// A setting of the nodes, such as `CACHE_L1_MAX_LAG=5m`: the bounds stay those of the defaults.
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Do without a protection, named as in the model, and fail unless an answer was too old.
        #[arg(long)]
        without: Option<String>,
    },
    /// One of the processes.
    Node(node::Options),
}

fn main() -> ExitCode {
    match Options::parse().role {
        Role::Node(options) => node::run(&options),
        Role::Run { breakage, seconds, nodes, keys, set, without } => {
            let all = if breakage.is_empty() { Breakage::all() } else { breakage };
            let expected = without.is_some();
            let run = Run { seconds, nodes, keys, set, without };
            println!("{}", ledger::Verdict::HEADING);
            let bad = all.into_iter().filter(|breakage| run.carried_out(*breakage).is_bad()).count();
            return if (bad > 0) == expected { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}

struct Run {
    seconds: u64,
    nodes: usize,
    keys: u64,
    set: Vec<String>,
    without: Option<String>,
}

impl Run {
    fn carried_out(&self, breakage: Breakage) -> ledger::Verdict {
        let directory = tempfile::tempdir().expect("a directory for what is written down");
        let mut servers = breakage.servers();
        let origin = origin::Origin::start();
        let logs: Vec<PathBuf> = (0..self.nodes).map(|node| directory.path().join(node.to_string())).collect();
        let nodes: Vec<Child> =
            logs.iter().map(|log| self.node(breakage, &servers.variables(), &origin.url(), log)).collect();
        breakage.carry_out(&mut servers, &nodes, Duration::from_secs(self.seconds));
        for mut node in nodes {
            let status = node.wait().expect("a node can be waited for");
            assert!(status.success(), "a node ended with {status}");
        }
        let ledger = Ledger::read(&logs);
        let verdict = ledger.verdict(Bounds::DEFAULT);
        println!("{}", verdict.row(breakage.name()));
        verdict
    }

    fn node(&self, breakage: Breakage, redis: &[(String, String)], origin: &str, log: &Path) -> Child {
        let program = std::env::current_exe().expect("the name of this program");
        let mut command = Command::new(program);
        command.arg("node").arg("--origin").arg(origin).arg("--log").arg(log);
        command.arg("--seconds").arg(self.seconds.to_string()).arg("--keys").arg(self.keys.to_string());
        command.args(self.without.iter().flat_map(|name| ["--without", name]));
        // Messages promise nothing, so they may be lost in any run.
        command.arg("--lose-bells");
        if breakage == Breakage::PollsHeld {
            command.arg("--hold-polls");
        }
        command.envs(redis.iter().cloned());
        // What is believed without proof is another promise.
        command.env("CACHE_L1_DEGRADED_MAX", "0").env("CACHE_METRICS_ENABLED", "false");
        command.envs(self.set.iter().filter_map(|setting| setting.split_once('=')));
        command.spawn().expect("this program can be started again")
    }
}
