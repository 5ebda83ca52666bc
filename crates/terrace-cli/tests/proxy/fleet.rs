//! Two proxies that share a Redis, and the commands that an operator gives them.

use crate::harness::{Answer, Origin, PATIENCE, Proxy, full, terrace, within};
use http::Response;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use terrace_redis_server::{PATIENT, Server};

/// `CACHE_L1_MAX_LAG`.
const MAX_LAG: Duration = Duration::from_secs(1);

/// A fleet, with an origin that answers with the number of its answer.
pub(crate) struct Fleet {
    pub(crate) redis: Server,
    pub(crate) proxies: [Proxy; 2],
    variables: Vec<(String, String)>,
}

impl Fleet {
    /// With further variables, and what the origin says of its answers.
    pub(crate) async fn start_with(redis: Server, variables: &[(&str, &str)], head: &[(&'static str, &str)]) -> Self {
        Self::over(&numbered(head).await, redis, variables).await
    }

    /// What its proxies fetch is for both of them from the beginning.
    pub(crate) async fn over(origin: &Origin, redis: Server, variables: &[(&str, &str)]) -> Self {
        let url = redis.url();
        let variables: Vec<(&str, &str)> =
            PATIENT.into_iter().chain([("REDIS_URL", url.as_str())]).chain(variables.iter().copied()).collect();
        let start = || Proxy::start_with(&format!("http://{}", origin.address), &["--access-log", "off"], &variables);
        let proxies = [start(), start()];
        for proxy in &proxies {
            proxy.joined().await;
        }
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { redis, proxies, variables }
    }

    /// `terrace` with the variables of the fleet, and with time for each call of Redis.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = terrace();
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).args(arguments);
        command.args(["--timeout", "60s"]);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    /// Asks until it answers from the cache, so that it is in the memory of each proxy. Answers what each has.
    pub(crate) async fn warm(&self, host: &str, path: &str) -> [usize; 2] {
        let mut numbers = [0; 2];
        for (proxy, number) in self.proxies.iter().zip(&mut numbers) {
            let warmed = async {
                loop {
                    let answer = get(proxy, host, path).await;
                    if is_fresh_hit(&answer) {
                        return answer;
                    }
                }
            };
            *number = self::number(&within("a hit", warmed).await);
        }
        numbers
    }

    /// Waits until Redis has so many entries.
    pub(crate) async fn has_stored(&self, entries: usize) {
        let stored = async {
            while self.entries().len() < entries {
                tokio::task::yield_now().await;
            }
        };
        within("the entries in Redis", stored).await;
    }

    /// The names of the entries in Redis.
    pub(crate) fn entries(&self) -> Vec<String> {
        self.names("{*}:e:*")
    }

    /// The names in Redis that match a pattern, sorted.
    pub(crate) fn names(&self, pattern: &str) -> Vec<String> {
        let redis::Value::Array(all) = self.redis.command(&["KEYS", pattern]) else { panic!("KEYS answers a list") };
        let mut names: Vec<String> = all.into_iter().map(|name| redis::from_redis_value(name).unwrap()).collect();
        names.sort();
        names
    }

    /// Both proxies soon answer with something newer than `before`, and with nothing else once their memory may no
    /// longer lag behind a purge that was acknowledged at `acknowledged`.
    pub(crate) async fn forget(&self, acknowledged: Instant, host: &str, path: &str, before: [usize; 2]) {
        let newest = before.into_iter().max().unwrap();
        for proxy in &self.proxies {
            let renewed = async {
                loop {
                    let asked = Instant::now();
                    if number(&get(proxy, host, path).await) > newest {
                        return;
                    }
                    assert!(asked < acknowledged + MAX_LAG, "{host}{path} is still served after the maximal lag");
                }
            };
            within("the purge to take effect", renewed).await;
        }
    }

    /// Both proxies still have it, or what the other one has.
    pub(crate) async fn keep(&self, host: &str, path: &str, before: [usize; 2]) {
        for proxy in &self.proxies {
            let number = number(&get(proxy, host, path).await);
            assert!(before.contains(&number), "{host}{path} is now {number}, and was {before:?}");
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// It has succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It has failed, and says all of this.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "it does not say {word:?}: {self:?}");
        }
        self
    }

    /// The only line of its log with this event.
    #[track_caller]
    pub(crate) fn event(&self, event: &str) -> Value {
        let lines = self.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut all: Vec<Value> = lines.filter(|line| line["event"] == event).collect();
        assert_eq!(all.len(), 1, "{event}: {self:?}");
        all.remove(0)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command to its end, without a terminal.
pub(crate) fn run(command: &mut Command) -> Ended {
    let started = Instant::now();
    let ended = command.stdin(Stdio::null()).output().expect("the binary starts");
    let took = started.elapsed();
    assert!(took < PATIENCE, "{command:?} took {took:?}");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr), took }
}

pub(crate) async fn get(proxy: &Proxy, host: &str, path: &str) -> Answer {
    proxy.exchange(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
}

pub(crate) fn number(answer: &Answer) -> usize {
    answer.text().parse().unwrap_or_else(|_| panic!("no number: {answer:?}"))
}

fn is_fresh_hit(answer: &Answer) -> bool {
    let status = answer.header("cache-status").unwrap_or_default();
    status.contains("; hit") && !status.contains("stale")
}

/// Answers each request with its number.
async fn numbered(head: &[(&'static str, &str)]) -> Origin {
    let head: Arc<[(&'static str, String)]> = head.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::builder();
        for (name, value) in &*head {
            response = response.header(*name, value);
        }
        let response = response.body(full(number.to_string())).unwrap();
        async { response }
    })
    .await
}
