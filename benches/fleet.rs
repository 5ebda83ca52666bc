//! What following one another costs the Redis that processes share: when nothing happens, and when much is invalidated.

use clap::Parser;
use redis::Value;
use std::env::current_exe;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use terrace::Store;
use terrace::stats::CoherenceState;
use terrace_benches::measure::{Table, nanoseconds, per};
use terrace_benches::process::server_nanoseconds;
use terrace_redis_server::Server;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Counts the commands of a process that idles, and measures the server under a fleet.
#[derive(Parser)]
struct Options {
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How large the fleet is.
    #[arg(long, default_value_t = 50)]
    processes: u32,
    /// How many of them share an operating system's process: each is a store with connections, polls and a runtime's
    /// tasks of its own.
    #[arg(long, default_value_t = 10)]
    together: u32,
    /// Invalidations in a second, by all of the fleet.
    #[arg(long, default_value_t = 50)]
    invalidations: u32,
    /// For itself: be such processes, `--invalidations` in a second, of the server there, until nobody reads what they say.
    #[arg(long, value_name = "URL")]
    member: Option<String>,
}

fn main() {
    let options = Options::parse();
    if let Some(url) = &options.member {
        return tokio::runtime::Runtime::new().expect("a runtime").block_on(be(url, &options));
    }
    let mut table = Table::new(&["the server", "commands a second, each", "in scripts", "processor, % of one"]);
    for (name, processes, invalidations) in [
        ("one process, nothing happens".to_owned(), 1, 0),
        (format!("{} processes, nothing happens", options.processes), options.processes, 0),
        (
            format!("{} processes, {} invalidations a second", options.processes, options.invalidations),
            options.processes,
            options.invalidations,
        ),
    ] {
        let used = observe(&options, processes, invalidations);
        table.row(&[
            name,
            format!("{:.1}", used.sent / f64::from(processes)),
            format!("{:.1}", used.in_scripts / f64::from(processes)),
            format!("{:.1}", used.processor * 100.0),
        ]);
    }
    table.print();
}

/// What a server did in a second.
struct Used {
    /// Commands that were sent to it.
    sent: f64,
    /// Commands that its scripts called.
    in_scripts: f64,
    /// The part of the time in which a processor was busy with it.
    processor: f64,
}

/// A server with its fleet, for some time.
fn observe(options: &Options, processes: u32, invalidations: u32) -> Used {
    let server = Server::start();
    let groups = processes.div_ceil(options.together);
    let members: Vec<Member> = (0..groups)
        .map(|group| {
            let stores = options.together.min(processes - group * options.together);
            Member::start(&server, stores, invalidations / groups)
        })
        .collect();
    let time = Duration::from_secs(options.seconds.into());
    std::thread::sleep(Duration::from_secs(1));
    let before = (server_nanoseconds(&server), calls(&server), nanoseconds());
    std::thread::sleep(time);
    let (calls, elapsed) = (calls(&server), nanoseconds() - before.2);
    let busy = server_nanoseconds(&server) - before.0;
    drop(members);
    let seconds = per(elapsed, 1_000_000_000_u32);
    Used {
        // One of them was ours.
        sent: per(calls.0 - before.1.0 - 1, 1_u32) / seconds,
        in_scripts: per(calls.1 - before.1.1, 1_u32) / seconds,
        processor: per(busy, 1_u32) / per(elapsed, 1_u32),
    }
}

/// How many commands were sent, and how many were called by scripts: nobody looks anything up, so only scripts touch the
/// control record or publish.
fn calls(server: &Server) -> (u64, u64) {
    let Value::BulkString(text) = server.command(&["INFO", "commandstats"]) else { panic!("INFO answers with text") };
    let text = String::from_utf8_lossy(&text);
    let (mut sent, mut in_scripts) = (0, 0);
    for line in text.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
        let (name, fields) = line.split_once(":calls=").expect("a name and its calls");
        let calls: u64 = fields.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number");
        let count = if name.starts_with('z') || ["publish", "get", "time"].contains(&name) {
            &mut in_scripts
        } else {
            &mut sent
        };
        *count += calls;
    }
    (sent, in_scripts)
}

/// An operating system's process with one or more of a fleet's.
struct Member(Child);

impl Member {
    /// Starts one, and waits until all in it follow what the others invalidate.
    fn start(server: &Server, stores: u32, invalidations: u32) -> Self {
        let mut command = Command::new(current_exe().expect("this program"));
        let numbers = [("--processes", stores), ("--invalidations", invalidations)];
        command.args(["--member", &server.url()]);
        command.args(numbers.iter().flat_map(|(name, number)| [(*name).to_owned(), number.to_string()]));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let output = process.stdout.take().expect("piped");
        let said = BufReader::new(output).lines().next().expect("it says when it is ready").expect("text");
        assert_eq!(said, READY);
        Self(process)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

const READY: &str = "ready";

/// Ends when nobody holds its standard input any more.
async fn be(url: &str, options: &Options) {
    let stores: Vec<Store> =
        (0..options.processes).map(|_| Store::from_vars([("REDIS_URL", url)]).expect("a URL")).collect();
    for store in &stores {
        while store.stats().coherence() != Some(CoherenceState::Coherent) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    println!("{READY}");
    let invalidations = options.invalidations;
    tokio::spawn(async move { invalidate(&stores, invalidations).await });
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(wait).await.expect("it does not panic");
}

/// So many times in a second, each time another of the stores.
async fn invalidate(stores: &[Store], a_second: u32) {
    if a_second == 0 {
        return std::future::pending().await;
    }
    let mut ticks = interval(Duration::from_secs(1) / a_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (number, store) in stores.iter().cycle().enumerate() {
        ticks.tick().await;
        let _receipt = store.purge_tag(&format!("tag {}", number % 1000)).await.expect("the server confirms it");
    }
}
