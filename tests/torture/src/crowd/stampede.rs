//! A key that nobody has, and everybody wants: who asks the origin, and how soon the others have its answer.

use super::Answer;
use crate::ledger::now;
use crate::member;
use crate::origin::Origin;
use crate::process::Process;
use crate::report::{Report, milliseconds, percentile};
use std::time::{Duration, SystemTime};
use terrace_redis_server::{Monitor, Server};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 4)]
    processes: usize,
    /// In each process.
    #[arg(long, default_value_t = 250)]
    requests: u64,
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Also fail if half of those that wait in other processes have the answer later than this after it came to Redis, in
    /// milliseconds.
    #[arg(long)]
    median: Option<u64>,
}

/// The time of a lease, and some more to fetch.
const LEASE: Duration = Duration::from_secs(3);
/// A process that Redis leaves without an answer goes to the origin by itself, as it should, and so does a request that
/// has waited long enough. Here that is no part of what is asked, and a machine that stands still for a moment is no
/// failure.
const PATIENT: [(&str, &str); 5] = [
    ("CACHE_L2_READ_BUDGET", "2s"),
    ("CACHE_L2_WRITE_BUDGET", "2s"),
    ("CACHE_L2_POOL_WAIT", "2s"),
    ("REDIS_SOCKET_TIMEOUT", "30s"),
    ("CACHE_FILL_WAIT", "20s"),
];
const HEADING: &str = "| | requests | origin calls | failed | after it came to Redis: median, ms | p99, ms | longest, ms |\n|---|---:|---:|---:|---:|---:|---:|";

/// What a round came to.
struct Round {
    calls: usize,
    requests: usize,
    failed: usize,
    /// How long after its arrival in Redis those in other processes had the answer.
    waited: Vec<Duration>,
}

pub(crate) fn measure(options: &Options, report: &mut Report) -> bool {
    let (server, origin) = (Server::start(), Origin::start());
    let mut members: Vec<Process> =
        (0..options.processes).map(|_| member::start_with(&server, &origin, &[], &PATIENT)).collect();
    let monitor = server.monitor();
    report.line(HEADING);
    let mut is_good = true;
    let mut all = Round { calls: 0, requests: 0, failed: 0, waited: Vec::new() };
    for number in 0..options.rounds {
        let round = stampede(&mut members, &origin, &monitor, options.requests, &format!("/cold/{number}"));
        is_good &= round.calls == 1 && round.failed == 0;
        all.calls += round.calls;
        all.requests += round.requests;
        all.failed += round.failed;
        all.waited.extend(round.waited);
    }
    let median = all.tell(&format!("{} cold keys, one after the other", options.rounds), report);
    is_good &= options.median.is_none_or(|bound| median < Duration::from_millis(bound));
    is_good & killed(&mut members, &origin, &monitor, options.requests, report)
}

impl Round {
    /// Prints it; the median of the waits.
    fn tell(&mut self, name: &str, report: &mut Report) -> Duration {
        self.waited.sort_unstable();
        let times = [50.0, 99.0, 100.0].map(|percent| percentile(&self.waited, percent));
        let (requests, calls, failed, times_told) =
            (self.requests, self.calls, self.failed, times.map(milliseconds).join(" | "));
        report.line(&format!("| {name} | {requests} | {calls} | {failed} | {times_told} |"));
        times[0]
    }
}

/// All processes ask at once for what nobody has, and what takes the origin 200 ms.
fn stampede(members: &mut [Process], origin: &Origin, monitor: &Monitor, requests: u64, path: &str) -> Round {
    ask(members, path, requests, 200);
    let first = origin.call(LEASE).expect("somebody asks the origin");
    let (answers, arrived) = (hear(members), arrival(monitor));
    round(&answers, &first.process, arrived, 1 + others(origin))
}

/// The same, but the process that asks the origin is killed before it has the answer.
fn killed(members: &mut Vec<Process>, origin: &Origin, monitor: &Monitor, requests: u64, report: &mut Report) -> bool {
    ask(members, "/cold/killed", requests, 1000);
    let first = origin.call(LEASE).expect("somebody asks the origin");
    let at = members.iter().position(|member| member.id().to_string() == first.process).expect("a member");
    members.remove(at).kill();
    let second = origin.call(LEASE * 3).expect("somebody else asks the origin");
    let after = Duration::from_nanos(second.at - first.at);
    let (answers, arrived) = (hear(members), arrival(monitor));
    let mut round = round(&answers, &second.process, arrived, 2 + others(origin));
    round.tell(&format!("the process that fetches is killed; another asks {} ms later", milliseconds(after)), report);
    round.calls == 2 && round.failed == 0 && after < LEASE * 2
}

fn ask(members: &mut [Process], path: &str, requests: u64, delay: u64) {
    for member in &mut *members {
        member.tell(&format!("get {path} {requests} {delay}"));
    }
    for member in members {
        assert_eq!(member.hear(), "asking");
    }
}

/// The answers, with the process that got them.
fn hear(members: &mut [Process]) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    for member in members {
        let process = member.id().to_string();
        let lines = member.hear_to_end();
        answers.extend(lines.iter().map(|line| (process.clone(), Answer::read(line))));
    }
    answers
}

/// Who else asked the origin.
fn others(origin: &Origin) -> usize {
    std::iter::from_fn(|| origin.call(Duration::ZERO)).count()
}

/// When the last entry came to Redis, by the clock of everybody else.
fn arrival(monitor: &Monitor) -> u64 {
    let entry = last_entry(monitor);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let ahead = since_epoch.saturating_sub(Duration::from_nanos(now()));
    let (time, _) = entry.split_once(' ').expect("a time");
    let time = Duration::from_secs_f64(time.parse().expect("seconds"));
    u64::try_from(time.saturating_sub(ahead).as_nanos()).unwrap_or(u64::MAX)
}

/// What Redis tells of it comes on a connection of its own, after the answers perhaps.
fn last_entry(monitor: &Monitor) -> String {
    const STORES: &str = "\"SET\" \"{default}:e:";
    let told = monitor.said().into_iter().rfind(|line| line.contains(STORES));
    told.unwrap_or_else(|| monitor.wait_for(STORES))
}

fn round(answers: &[(String, Answer)], fetcher: &str, arrived: u64, calls: usize) -> Round {
    let waited = answers.iter().filter(|(process, _)| process != fetcher);
    let waited = waited.map(|(_, answer)| Duration::from_nanos(answer.answered.saturating_sub(arrived))).collect();
    let failed = answers.iter().filter(|(_, answer)| answer.source.is_none()).count();
    Round { calls, requests: answers.len(), failed, waited }
}
