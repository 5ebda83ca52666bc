//! Asks a service at a steady rate, and prints how long its answers took: `cargo run`, and beside it
//! `cargo run --bin load -- http://127.0.0.1:3000/products/{key} --keys 500 --order zipf`.
//!
//! The loop is open: each request is due at its time, whatever became of those before it, and its latency counts from
//! then. A service that falls behind does not hide that by being asked less. Hits are those of `Cache-Status` (RFC 9211).

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::header::{CACHE_STATUS, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use sfv::{BareItem, List, ListEntry};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Asks a service at a steady rate, and prints how long its answers took.
///
/// A request that is due while as many as --concurrency are under way begins later, and its latency counts from when it
/// was due. What has no answer ten seconds after it was due has failed, and so has a status of 400 or more. Latencies are
/// of the answers that did not fail, read to their end; up to a millisecond of each is this program's own timer.
#[derive(Parser)]
#[command(name = "load", verbatim_doc_comment)]
struct Options {
    /// What to ask for: `http://HOST[:PORT]/PATH`, where `{key}` stands for the number of a key, from 1.
    #[arg(value_name = "URL")]
    target: Target,
    /// Requests a second.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long they become due.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How many different keys there are.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
    /// How keys are chosen.
    #[arg(long, value_enum, default_value_t = Order::InTurn)]
    order: Order,
    /// The most requests that are under way at once, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    concurrency: u32,
    /// Ask other machines than this one too.
    #[arg(long)]
    anywhere: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Order {
    /// One after the other, each as often as the others.
    InTurn,
    /// By Zipf's law: the second half as often as the first, the third a third as often. The same keys in each run.
    Zipf,
}

/// Only the path differs from key to key: the host is the one that was looked up.
#[derive(Clone)]
struct Target {
    authority: Authority,
    path: String,
}

/// How long after it was due a request may be answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests of one run: each is remembered.
const MOST: u32 = 10_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run(Options::parse()).await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("load: {error}");
    ExitCode::FAILURE
}

async fn run(options: Options) -> Result<(), String> {
    let keys = keys(&options)?;
    let address = address(&options.target.authority, options.anywhere).await?;
    let load = Arc::new(Load {
        client: Client::builder(TokioExecutor::new()).build_http(),
        address: address.to_string().parse().map_err(|error| format!("{address}: {error}"))?,
        target: options.target,
        keys,
        next: AtomicU32::new(0),
        start: Instant::now(),
        apart: Duration::from_secs(1) / options.rate,
    });
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        let load = Arc::clone(&load);
        workers.spawn(async move { load.work().await });
    }
    let tallies = workers.join_all().await;
    let elapsed = load.start.elapsed();
    Tally::sum(tallies).print(elapsed)
}

/// Which key each request is for.
fn keys(options: &Options) -> Result<Vec<u32>, String> {
    let &Options { rate, seconds, keys, .. } = options;
    let requests = rate.checked_mul(seconds).filter(|requests| *requests <= MOST).ok_or_else(|| {
        format!("--rate {rate} for --seconds {seconds} are more requests than the {MOST} that one run may have")
    })?;
    if keys > 1 && !options.target.path.contains(KEY) {
        return Err(format!("with --keys {keys} the URL must say where the key belongs: {KEY}"));
    }
    Ok(match options.order {
        Order::InTurn => (0..requests).map(|nth| 1 + nth % keys).collect(),
        Order::Zipf => zipf(requests, keys),
    })
}

fn zipf(requests: u32, keys: u32) -> Vec<u32> {
    let weights = (1..=keys).map(|key| 1.0 / f64::from(key));
    // The weight of each key with all before it.
    let sums: Vec<f64> = weights
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut pick = || {
        let at = random.f64() * sums[sums.len() - 1];
        sums.partition_point(|sum| *sum <= at)
    };
    (0..requests).map(|_| u32::try_from(pick()).map_or(keys, |before| keys.min(before + 1))).collect()
}

/// Where the target is. Whatever else its name may stand for later, this is what is asked.
async fn address(target: &Authority, anywhere: bool) -> Result<SocketAddr, String> {
    let host = target.host();
    let found = lookup_host(format!("{host}:{}", target.port_u16().unwrap_or(80))).await;
    let found: Vec<SocketAddr> = found.map_err(|error| format!("cannot look up {host}: {error}"))?.collect();
    let other = found.iter().map(SocketAddr::ip).find(|ip| !ip.to_canonical().is_loopback());
    if let Some(ip) = other.filter(|_| !anywhere) {
        return Err(format!("{ip} is not a loopback address; if its owner agrees to the load, say --anywhere"));
    }
    let connected = timeout(PATIENCE, TcpStream::connect(&*found)).await;
    let connected = connected.map_err(|_| format!("cannot connect to {target}: no answer within {PATIENCE:?}"))?;
    connected.and_then(|stream| stream.peer_addr()).map_err(|error| format!("cannot connect to {target}: {error}"))
}

/// Where a target has the number of the key.
const KEY: &str = "{key}";

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected http://HOST[:PORT]/PATH";
        let rest = url.strip_prefix("http://").ok_or(EXPECTED)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority: Authority = host.parse().map_err(|error| format!("{error}; {EXPECTED}"))?;
        if host.contains('@') {
            return Err(format!("there is user information; {EXPECTED}"));
        }
        let target = Self { authority, path: if path.is_empty() { "/" } else { path }.to_owned() };
        target.path(1).map_err(|error| format!("{error}; {EXPECTED}"))?;
        Ok(target)
    }
}

impl Target {
    fn path(&self, key: u32) -> Result<PathAndQuery, http::uri::InvalidUri> {
        self.path.replace(KEY, &key.to_string()).parse()
    }
}

/// What all workers do together.
struct Load {
    client: Client<HttpConnector, Empty<Bytes>>,
    address: Authority,
    target: Target,
    keys: Vec<u32>,
    /// The first request that nobody has taken.
    next: AtomicU32,
    start: Instant,
    apart: Duration,
}

impl Load {
    /// Takes one request after the other, until there are no more.
    async fn work(&self) -> Tally {
        let mut tally = Tally::default();
        loop {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&key) = self.keys.get(nth as usize) else {
                return tally;
            };
            let due = self.start + self.apart * nth;
            sleep_until(due).await;
            let result = self.ask(key, due + PATIENCE).await;
            tally.add(result, due.elapsed());
        }
    }

    /// Whether a cache had the answer, or why there is none.
    async fn ask(&self, key: u32, until: Instant) -> Result<bool, String> {
        let late = || format!("no answer within {PATIENCE:?}");
        if until <= Instant::now() {
            return Err(late());
        }
        timeout_at(until, self.exchange(key)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn exchange(&self, key: u32) -> Result<bool, String> {
        let request = self.request(key).map_err(|error| error.to_string())?;
        let (head, mut body) = self.client.request(request).await.map_err(|error| chain(&error))?.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| chain(&error))?;
        }
        if head.status.is_client_error() || head.status.is_server_error() {
            return Err(format!("status {}", head.status));
        }
        Ok(is_hit(&head.headers))
    }

    fn request(&self, key: u32) -> Result<Request<Empty<Bytes>>, http::Error> {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.address.clone());
        let uri = uri.path_and_query(self.target.path(key)?).build()?;
        let host = HeaderValue::from_str(self.target.authority.as_str())?;
        Request::get(uri).header(HOST, host).body(Empty::new())
    }
}

/// An error, and what caused it.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether one of the caches on the way says that it had the answer.
fn is_hit(headers: &HeaderMap) -> bool {
    let lines: Vec<&str> = headers.get_all(CACHE_STATUS).iter().filter_map(|line| line.to_str().ok()).collect();
    let caches: List = sfv::Parser::new(&lines.join(", ")).parse().unwrap_or_default();
    caches.iter().any(|cache| match cache {
        ListEntry::Item(cache) => {
            cache.params.iter().any(|(name, value)| name.as_str() == "hit" && *value == BareItem::Boolean(true))
        }
        ListEntry::InnerList(_) => false,
    })
}

/// What came of requests.
#[derive(Default)]
struct Tally {
    /// Of those that did not fail, in microseconds.
    took: Vec<u32>,
    hits: u32,
    failures: u32,
    /// Why one of them failed.
    failure: Option<String>,
}

impl Tally {
    fn add(&mut self, result: Result<bool, String>, took: Duration) {
        match result {
            Ok(hit) => {
                self.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                self.hits += u32::from(hit);
            }
            Err(failure) => {
                self.failures += 1;
                self.failure.get_or_insert(failure);
            }
        }
    }

    fn sum(tallies: Vec<Self>) -> Self {
        let mut sum = tallies.into_iter().fold(Self::default(), |mut sum, other| {
            sum.took.extend(other.took);
            sum.hits += other.hits;
            sum.failures += other.failures;
            sum.failure = sum.failure.or(other.failure);
            sum
        });
        sum.took.sort_unstable();
        sum
    }

    /// # Errors
    ///
    /// When nothing was answered.
    fn print(&self, elapsed: Duration) -> Result<(), String> {
        if let Some(failure) = &self.failure {
            eprintln!("load: of {} that failed one had: {failure}", self.failures);
        }
        if self.took.is_empty() {
            return Err("no request was answered".into());
        }
        let answered = u32::try_from(self.took.len()).unwrap_or(MOST);
        let mean = self.took.iter().copied().map(f64::from).sum::<f64>() / f64::from(answered);
        println!("requests: {}", answered + self.failures);
        println!("failures: {}", self.failures);
        println!("answered: {:.1} a second", f64::from(answered) / elapsed.as_secs_f64());
        println!("mean: {:.3} ms", mean / 1000.0);
        for percent in [50, 95, 99] {
            println!("P{percent}: {:.3} ms", f64::from(quantile(&self.took, percent)) / 1000.0);
        }
        println!("hits: {} ({:.1} %)", self.hits, 100.0 * f64::from(self.hits) / f64::from(answered));
        Ok(())
    }
}

/// The least of the values that so many percent do not exceed.
fn quantile(sorted: &[u32], percent: usize) -> u32 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(more: &[&str]) -> Result<Vec<u32>, String> {
        let target = "http://localhost/{key}";
        keys(&Options::parse_from(["load", target].iter().chain(more)))
    }

    fn count(keys: &[u32]) -> Vec<usize> {
        let last = keys.iter().max().copied().unwrap();
        (1..=last).map(|key| keys.iter().filter(|other| **other == key).count()).collect()
    }

    #[test]
    fn in_turn_each_key_is_as_frequent_as_the_others() {
        let keys = keys_of(&["--keys", "3", "--rate", "9", "--seconds", "1"]).unwrap();
        assert_eq!(keys, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn by_zipfs_law_the_nth_key_is_an_nth_as_frequent_as_the_first() {
        let keys = keys_of(&["--keys", "4", "--order", "zipf", "--rate", "25000", "--seconds", "10"]).unwrap();
        // 1 + 1/2 + 1/3 + 1/4 is 25/12: shares of 12, 6, 4 and 3 in 25.
        let counted = count(&keys);
        for (counted, expected) in counted.iter().zip([120_000, 60_000, 40_000, 30_000]) {
            assert!(counted.abs_diff(expected) < 1000, "{counted} is not about {expected}");
        }
        assert_eq!(counted.len(), 4);
    }

    #[test]
    fn more_than_one_run_can_remember_is_refused() {
        let refused = keys_of(&["--rate", "100000", "--seconds", "101"]).unwrap_err();
        assert_eq!(
            refused,
            "--rate 100000 for --seconds 101 are more requests than the 10000000 that one run may have"
        );
        assert_eq!(keys_of(&["--rate", "100000", "--seconds", "100"]).unwrap().len(), 10_000_000);
    }

    #[test]
    fn a_url_that_is_not_one_of_http_is_refused() {
        for bad in
            ["", "localhost/a", "https://h/", "http://", "http:///a", "http://{key}/", "http://u:p@h/", "http://h/a b"]
        {
            let refused = bad.parse::<Target>().err().unwrap_or_else(|| panic!("{bad} was accepted"));
            assert!(refused.contains("expected http://HOST[:PORT]/PATH"), "{bad}: {refused}");
        }
        let target: Target = "http://[::1]:80/a/{key}?b={key}".parse().unwrap();
        assert_eq!((target.authority.as_str(), target.path(7).unwrap().as_str()), ("[::1]:80", "/a/7?b=7"));
        assert_eq!("http://h".parse::<Target>().unwrap().path(1).unwrap(), "/");
    }

    #[test]
    fn a_quantile_is_the_least_value_that_so_many_do_not_exceed() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!([50, 95, 99].map(|percent| quantile(&hundred, percent)), [50, 95, 99]);
        assert_eq!([50, 95, 99].map(|percent| quantile(&[1, 2, 3], percent)), [2, 3, 3]);
        assert_eq!(quantile(&[7], 50), 7);
    }

    #[test]
    fn what_any_cache_on_the_way_had_is_a_hit() {
        for (lines, expected) in [
            (&["terrace; hit; ttl=30"][..], true),
            (&["origin; hit", "terrace; fwd=miss; stored"], true),
            (&["terrace; fwd=uri-miss; stored"], false),
            (&["terrace; hit=?0"], false),
            (&["(a b); hit"], false),
            (&["((( hit"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_STATUS, HeaderValue::from_static(line));
            }
            assert_eq!(is_hit(&headers), expected, "{lines:?}");
        }
    }
}
