//! A key that everybody has and wants all the time, and that becomes stale again and again.

use super::Answer;
use crate::member;
use crate::origin::Origin;
use crate::process::Process;
use crate::report::{Report, milliseconds, percentile};
use std::time::{Duration, Instant};
use terrace_redis_server::Server;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 4)]
    processes: usize,
    /// Tasks in each process, which read about twenty times a second each.
    #[arg(long, default_value_t = 250)]
    tasks: u64,
    /// For how long each phase.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Fail if a hundredth of the answers take longer than so many times what they take when nothing is stale.
    #[arg(long)]
    ratio: Option<f64>,
}

/// How often it is made stale.
const OFTEN: Duration = Duration::from_millis(500);
/// The answers that were asked for so soon after are looked at apart.
const SOON: u64 = 50_000_000;
const HEADING: &str = "| the key | answers | origin calls | failed | median, ms | p99, ms | p99.9, ms | longest, ms |\n|---|---:|---:|---:|---:|---:|---:|---:|";

pub(crate) fn measure(options: &Options, report: &mut Report) -> bool {
    let (server, origin) = (Server::start(), Origin::start());
    let mut members: Vec<Process> = (0..options.processes).map(|_| member::start(&server, &origin, &[])).collect();
    let mut phase =
        |path: &str, lifetime: &str, stale: bool| run(&mut members, &origin, options, (path, lifetime), stale);
    // So that what is only done once is done.
    phase("/hot/warming", "max-age=600", false);
    let steady = phase("/hot/steady", "max-age=600", false);
    let purged = phase("/hot/purged", "max-age=600,stale-while-revalidate=600", true);
    let expiring = phase("/hot/expiring", "max-age=1,stale-while-revalidate=600", false);
    let strict = phase("/hot/strict", "max-age=1", false);
    report.line(HEADING);
    let least = steady.tell("stays fresh", &|_| true, report);
    let after = |asked| purged.made_stale.iter().any(|at| (*at..at + SOON).contains(&asked));
    let worst = [
        purged.tell("is purged softly every 500 ms", &|_| true, report),
        expiring.tell("expires every second", &|_| true, report),
    ];
    // What every request meets then, and what there is no bound for: somebody has to wait for the origin.
    purged.tell("is purged softly: what is asked for up to 50 ms after", &after, report);
    strict.tell("expires every second, and may not be served stale", &|_| true, report);
    let failed = [&steady, &purged, &expiring, &strict].iter().any(|phase| phase.failed() > 0);
    let bound = options.ratio.map(|ratio| least.mul_f64(ratio));
    !failed && bound.is_none_or(|bound| worst.iter().all(|p99| *p99 <= bound))
}

struct Phase {
    answers: Vec<Answer>,
    calls: usize,
    made_stale: Vec<u64>,
}

fn run(
    members: &mut [Process],
    origin: &Origin,
    options: &Options,
    (path, lifetime): (&str, &str),
    stale: bool,
) -> Phase {
    let (started, time) = (Instant::now(), Duration::from_secs(options.seconds));
    let milliseconds = time.as_millis();
    for member in &mut *members {
        member.tell(&format!("load {path} {milliseconds} {} {lifetime}", options.tasks));
    }
    for member in &mut *members {
        assert_eq!(member.hear(), "loading");
    }
    let mut made_stale = Vec::new();
    // One of those that read also purges.
    while stale && started.elapsed() + OFTEN * 2 < time {
        std::thread::sleep(OFTEN);
        members[0].tell(&format!("expire {path}"));
        made_stale.push(members[0].hear().parse().expect("a time"));
    }
    let answers: Vec<Answer> =
        members.iter_mut().flat_map(Process::hear_to_end).map(|line| Answer::read(&line)).collect();
    // The first time it is asked for it is not there, which is another matter.
    let first = answers.iter().map(|answer| answer.asked).min().unwrap_or_default();
    let answers = answers.into_iter().filter(|answer| answer.asked > first + 500_000_000).collect();
    let calls = std::iter::from_fn(|| origin.call(Duration::ZERO)).filter(|call| call.path == path).count();
    Phase { answers, calls, made_stale }
}

impl Phase {
    fn failed(&self) -> usize {
        self.answers.iter().filter(|answer| answer.source.is_none()).count()
    }

    /// Prints how long the answers took that were asked for at such times; what a hundredth of them took at least.
    fn tell(&self, name: &str, counts: &dyn Fn(u64) -> bool, report: &mut Report) -> Duration {
        let mut took: Vec<Duration> =
            self.answers.iter().filter(|answer| counts(answer.asked)).map(Answer::took).collect();
        took.sort_unstable();
        let times = [50.0, 99.0, 99.9, 100.0].map(|percent| percentile(&took, percent));
        let cells = times.map(milliseconds).join(" | ");
        report.line(&format!("| {name} | {} | {} | {} | {cells} |", took.len(), self.calls, self.failed()));
        times[1]
    }
}
