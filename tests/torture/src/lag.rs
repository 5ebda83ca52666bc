//! How soon an invalidation that was acknowledged in one process has its effect in another: how long after that
//! the last answer was asked for with which its memory still says what was before.

use crate::member;
use crate::origin::Origin;
use crate::process::Process;
use crate::report::{Report, milliseconds, percentile};
use std::time::Duration;
use terrace_redis_server::Server;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Also fail if with messages half of them take longer than this, in milliseconds.
    #[arg(long)]
    median: Option<u64>,
}

const SCOPES: [&str; 5] = ["url", "tag", "prefix", "partition", "everything"];
/// What is promised, whatever messages are lost.
const MAX_LAG: Duration = Duration::from_secs(1);

/// One process that invalidates, and two that watch: one hears messages, one hears none.
struct Fleet {
    changes: Process,
    watch: [Process; 2],
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> bool {
    let (server, origin) = (Server::start(), Origin::start());
    let start = |lost: &str| member::start(&server, &origin, &["--lose-bells", lost]);
    let mut fleet = Fleet { changes: start("0"), watch: ["0", "100"].map(start) };
    report.line("| scope | messages | rounds | median, ms | p95, ms | longest, ms |\n|---|---|---:|---:|---:|---:|");
    let mut is_good = true;
    for scope in SCOPES {
        let path = format!("/{scope}/of/one");
        let mut lags = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            let round = fleet.round(&path, scope);
            lags.iter_mut().zip(round).for_each(|(lags, lag)| lags.push(lag));
        }
        for (lags, heard) in lags.iter_mut().zip(["heard", "all lost"]) {
            lags.sort_unstable();
            let [median, late, last] = [50.0, 95.0, 100.0].map(|percent| percentile(lags, percent));
            let cells = [median, late, last].map(milliseconds).join(" | ");
            report.line(&format!("| {scope} | {heard} | {} | {cells} |", lags.len()));
            let bound = options.median.filter(|_| heard == "heard").map_or(MAX_LAG, Duration::from_millis);
            is_good &= last < MAX_LAG && median < bound;
        }
    }
    is_good
}

impl Fleet {
    /// How long it took with messages, and without.
    fn round(&mut self, path: &str, scope: &str) -> [Duration; 2] {
        for process in &mut self.watch {
            process.tell(&format!("warm {path}"));
            let version = process.hear();
            process.tell(&format!("watch {path} {version}"));
            assert_eq!(process.hear(), "watching");
        }
        // At any time between two polls.
        std::thread::sleep(Duration::from_millis(fastrand::u64(..250)));
        self.changes.tell(&format!("change {path} {scope}"));
        let acknowledged: u64 = self.changes.hear().parse().expect("a time");
        self.watch.each_mut().map(|process| {
            let last: u64 = process.hear().parse().expect("a time");
            Duration::from_nanos(last.saturating_sub(acknowledged))
        })
    }
}
