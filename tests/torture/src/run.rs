//! A run: processes that share a store, while something breaks, and what came of it.

use crate::breakage::Breakage;
use crate::ledger::{Bounds, Ledger, Verdict};
use crate::origin::Origin;
use crate::process::Process;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    #[arg(long, default_value_t = 4)]
    pub(crate) nodes: usize,
    /// So many different things to read: the fewer, the more often each changes.
    #[arg(long)]
    pub(crate) keys: Option<u64>,
    /// A setting of the nodes, such as `CACHE_L1_MAX_LAG=5m`: the bounds stay those of the defaults.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Do without a protection, named as in the model, and fail unless an answer was too old.
    #[arg(long)]
    pub(crate) without: Option<String>,
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// How many answers of the origin were held until what they say was invalidated.
    pub(crate) held: u64,
}

impl Load {
    pub(crate) fn carry_out(&self, breakage: Breakage, time: Duration) -> Outcome {
        let directory = tempfile::tempdir().expect("a directory for what is written down");
        let mut servers = breakage.servers();
        let origin = if breakage.holds_answers() { Origin::holding_answers() } else { Origin::start() };
        let logs: Vec<PathBuf> = (0..self.nodes).map(|node| directory.path().join(node.to_string())).collect();
        let arguments = self.arguments(breakage, &origin.url(), time);
        let only_reads = |number| breakage.spares_the_first() && number == 0;
        let start = |(number, log): (usize, &PathBuf)| {
            self.node((number, only_reads(number)), log, &arguments, servers.variables())
        };
        let mut nodes: Vec<Process> = logs.iter().enumerate().map(start).collect();
        let _outages = breakage.carry_out(&mut servers, &mut nodes, time);
        for mut node in nodes {
            let status = node.wait();
            assert!(status.success(), "a node ended with {status}");
        }
        let bounds = if breakage == Breakage::TwoPrimaries { Bounds::TWO_PRIMARIES } else { Bounds::DEFAULT };
        Outcome { verdict: Ledger::read(&logs).verdict(bounds), held: origin.held() }
    }

    fn arguments(&self, breakage: Breakage, origin: &str, time: Duration) -> Vec<String> {
        // Where answers are held, most of those who read wait for one. And a process serves nothing that it has changed
        // itself until it knows how: among so many things that is seldom.
        let (readers, keys) = if breakage.holds_answers() { (100, 64) } else { (8, 16) };
        let keys = self.keys.unwrap_or(keys);
        // Messages promise nothing, so they may be lost in any run.
        let mut arguments = format!("node --origin {origin} --lose-bells 50 --keys {keys}");
        let _ = write!(arguments, " --milliseconds {} --readers {readers}", time.as_millis());
        if let Some(name) = &self.without {
            let _ = write!(arguments, " --without {name}");
        }
        arguments.split(' ').map(str::to_owned).collect()
    }

    fn node(
        &self,
        (number, only_reads): (usize, bool),
        log: &Path,
        arguments: &[String],
        redis: Vec<(String, String)>,
    ) -> Process {
        let log = log.display().to_string();
        let more = ["--log", &log].into_iter().chain(only_reads.then_some("--only-reads"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more).collect();
        let mut variables = redis;
        let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
        // What is believed without proof is another promise.
        set("CACHE_L1_DEGRADED_MAX", "0");
        set("CACHE_METRICS_ENABLED", "false");
        if number == 0 {
            // It reads from Redis whatever is there.
            set("CACHE_L1_ENABLED", "false");
        }
        if only_reads {
            // Whoever writes anything to a server that was left hears that it takes no writes.
            set("CACHE_L2_WRITES", "0");
            set("CACHE_L2_LEASE", "0");
        }
        self.set.iter().filter_map(|setting| setting.split_once('=')).for_each(|(name, value)| set(name, value));
        Process::start(&arguments, &variables)
    }
}
