//! One of the processes that are measured: it does what it is told, one order after the other.

use crate::client::{Read, Web, read, request, web};
use crate::ledger::now;
use crate::origin::Origin;
use crate::process::{Process, orders};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use std::fmt::Write as _;
use std::time::Duration;
use terrace::stats::CoherenceState;
use terrace::{Cache, CacheLayer, Partition, Store, danger};
use terrace_redis_server::Server;
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the origin listens.
    #[arg(long)]
    origin: String,
    /// Of a hundred messages about invalidations so many are lost.
    #[arg(long, default_value_t = 0)]
    lose_bells: u8,
}

struct Member {
    origin: String,
    store: Store,
    web: Web,
    service: Cache<Web>,
    runtime: Runtime,
}

pub(crate) fn run(options: &Options) {
    danger::lose_bells(options.lose_bells);
    let runtime = Runtime::new().expect("a runtime");
    let store = runtime.block_on(Store::from_env()).unwrap_or_else(|error| panic!("{error}"));
    let web = {
        let _within = runtime.enter();
        web()
    };
    let service = CacheLayer::new(store.clone()).layer(web.clone());
    let member = Member { origin: options.origin.clone(), store, web, service, runtime };
    while member.store.stats().coherence() != Some(CoherenceState::Coherent) {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("ready");
    for order in orders() {
        member.obey(&order.split(' ').collect::<Vec<_>>());
    }
}

impl Member {
    fn obey(&self, order: &[&str]) {
        match *order {
            ["warm", path] => println!("{}", self.warm(path)),
            ["watch", path, version] => println!("{}", self.watch(path, number(version))),
            ["change", path, scope] => println!("{}", self.change(path, scope)),
            ["expire", path] => println!("{}", self.expire(path)),
            ["get", path, count, delay] => self.get(path, number(count), delay),
            ["load", path, milliseconds, tasks, lifetime] => {
                self.load(path, number(milliseconds), number(tasks), lifetime);
            }
            _ => panic!("{order:?} is no order"),
        }
    }

    fn request(&self, path: &str, fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let process = std::process::id().to_string();
        let fields: Vec<_> = fields.iter().copied().chain([("process", process.as_str())]).collect();
        let mut request = request(Method::GET, &format!("{}{path}", self.origin), &fields);
        if is_partitioned(path) {
            request.extensions_mut().insert(Partition::new(tag(path)));
        }
        request
    }

    async fn ask(&self, path: &str) -> Read {
        let fields = [("delay", "0"), ("lifetime", "max-age=600")];
        read(self.service.clone().oneshot(self.request(path, &fields)).await).await.expect("an answer")
    }

    /// Reads until memory answers; with which version.
    fn warm(&self, path: &str) -> u64 {
        loop {
            let read = self.runtime.block_on(self.ask(path));
            if read.source.letter() == "m" {
                return read.version;
            }
        }
    }

    /// Reads until something else answers than this version; when the last answer was asked for that was still of this
    /// version, or zero. The next one may be asked for much later, on a machine that stands still.
    fn watch(&self, path: &str, version: u64) -> u64 {
        let mut last = 0;
        println!("watching");
        loop {
            let asked = now();
            if self.runtime.block_on(self.ask(path)).version != version {
                return last;
            }
            last = asked;
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Makes the next version, and invalidates those before; when that was acknowledged.
    fn change(&self, path: &str, scope: &str) -> u64 {
        self.runtime.block_on(async {
            let url = format!("{}{path}", self.origin);
            let committed = read(self.web.request(request(Method::POST, &url, &[])).await).await;
            committed.expect("the origin never fails");
            let purge = match scope {
                "url" => self.store.purge_url(&url),
                "tag" => self.store.purge_tag(tag(path)),
                "prefix" => self.store.purge_prefix(path.rsplit_once('/').map_or("/", |(prefix, _)| prefix)),
                "partition" => self.store.purge_partition(tag(path)),
                "everything" => self.store.purge_all(),
                _ => panic!("{scope} is no scope"),
            };
            let _receipt = purge.await.unwrap_or_else(|error| panic!("{error}"));
            now()
        })
    }

    /// Makes stale what is known of a path; when that was begun.
    fn expire(&self, path: &str) -> u64 {
        let begun = now();
        let expired = self.runtime.block_on(async { self.store.purge_tag(tag(path)).soft().await });
        let _receipt = expired.unwrap_or_else(|error| panic!("{error}"));
        begun
    }

    /// Many requests at once. A line for each: from where, asked when, answered when.
    fn get(&self, path: &str, count: u64, delay: &str) {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let request = self.request(path, &[("delay", delay), ("lifetime", "max-age=600")]);
                let service = self.service.clone();
                self.runtime.spawn(async move {
                    let asked = now();
                    let read = read(service.oneshot(request).await).await;
                    let letter = read.map_or("f", |read| read.source.letter());
                    (letter, asked, now())
                })
            })
            .collect();
        println!("asking");
        let lines = tasks.into_iter().fold(String::new(), |mut lines, task| {
            let (letter, asked, answered) = self.runtime.block_on(task).expect("no task panics");
            let _ = writeln!(lines, "{letter} {asked} {answered}");
            lines
        });
        println!("{lines}end");
    }

    /// So many tasks that read again and again, for a time; meanwhile other orders are obeyed. A line for each answer:
    /// from where, asked when, answered when.
    fn load(&self, path: &str, milliseconds: u64, tasks: u64, lifetime: &str) {
        let until = now() + milliseconds * 1_000_000;
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let requests = self.request(path, &[("delay", "20"), ("lifetime", lifetime)]);
                self.runtime.spawn(ask_until(self.service.clone(), requests, until))
            })
            .collect();
        println!("loading");
        self.runtime.spawn(async move {
            let mut lines = String::new();
            for task in tasks {
                lines.push_str(&task.await.expect("no task panics"));
            }
            println!("{lines}end");
        });
    }
}

async fn ask_until(service: Cache<Web>, requests: Request<Empty<Bytes>>, until: u64) -> String {
    let mut lines = String::new();
    loop {
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..100_000))).await;
        let asked = now();
        if asked >= until {
            return lines;
        }
        let read = read(service.clone().oneshot(requests.clone()).await).await;
        let _ = writeln!(lines, "{} {asked} {}", read.map_or("f", |read| read.source.letter()), now());
    }
}

fn is_partitioned(path: &str) -> bool {
    path.starts_with("/partition/")
}

/// The last segment, which is also the tag.
fn tag(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// Starts one, and waits until it follows what others do.
pub(crate) fn start(server: &Server, origin: &Origin, options: &[&str]) -> Process {
    start_with(server, origin, options, &[])
}

/// The same, with these variables too.
pub(crate) fn start_with(server: &Server, origin: &Origin, options: &[&str], variables: &[(&str, &str)]) -> Process {
    let (origin, redis) = (origin.url(), server.url());
    let mut arguments = vec!["member", "--origin", &origin];
    arguments.extend(options);
    let own = [("REDIS_URL", redis.as_str()), ("CACHE_METRICS_ENABLED", "false")];
    let variables = own.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut member = Process::start(&arguments, &variables.collect::<Vec<_>>());
    assert_eq!(member.hear(), "ready");
    member
}
