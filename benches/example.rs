//! What the cache is worth to a service whose source is slow and takes only so many queries at once, over HTTP.

use axum::extract::{Path, State};
use axum::{Router, routing::get};
use clap::Parser;
use std::env::current_exe;
use std::io::{BufRead, BufReader, Lines, Write, stdin};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terrace::{CacheLayer, Rules, Store};
use terrace_benches::app::CONTENT_LEN;
use terrace_benches::measure::{Table, per};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Loads a service without a cache and with one, and measures latency, what reaches its source, and how much it takes.
#[derive(Parser)]
struct Options {
    /// The load generator: `load` of the examples.
    #[arg(value_name = "PROGRAM", required_unless_present = "serve")]
    load: Option<PathBuf>,
    /// For how long latency is measured, in seconds; a twelfth of it for what the service takes.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// For itself: be the service, until nobody holds its standard input.
    #[arg(long)]
    serve: bool,
}

fn main() {
    let options = Options::parse();
    let Some(load) = options.load.filter(|_| !options.serve) else {
        return Runtime::new().expect("a runtime").block_on(serve());
    };
    let [without, with] = [false, true].map(|cached| Measured::of(cached, &load, options.seconds));
    let title = format!("{RATE} requests a second, {KEYS} keys by Zipf's law");
    let mut table = Table::new(&[&title, "goal", "`CACHE_ENABLED=false`", "`CACHE_ENABLED=true`"]);
    let mut row = |name: &str, goal: &str, of: fn(&Measured) -> String| {
        table.row(&[name.to_owned(), goal.to_owned(), of(&without), of(&with)]);
    };
    row("mean, ms", "200 → below 100", |measured| format!("{:.1}", measured.mean));
    row("P95, ms", "500 → below 50", |measured| format!("{:.1}", measured.p95));
    row("requests that reach the source, %", "100 → 15", |measured| format!("{:.1}", measured.forwarded));
    row("requests/s that it can take", "1000 → 5000", |measured| format!("{:.0}", measured.most));
    table.print();
}

const KEYS: u32 = 1000;

/// Four fifths of what the source can take.
const RATE: u32 = 800;

/// More than the service can take without a cache, and with one; not so much more that the generator, which waits ten
/// seconds for an answer, gives up what is under way.
const FLOOD: [u32; 2] = [1500, 60_000];

/// What one service did.
struct Measured {
    mean: f64,
    p95: f64,
    forwarded: f64,
    most: f64,
}

impl Measured {
    /// At a pace that the source can take, and then, with what is stored by then, at one that the service cannot take.
    fn of(cached: bool, load: &PathBuf, seconds: u32) -> Self {
        let mut service = Service::start(cached);
        let usual = service.load(load, RATE, seconds);
        assert!(usual.contains("\nfailures: 0\n"), "{usual}");
        let forwarded = per(100 * service.queries(), RATE * seconds);
        let flood = service.load(load, FLOOD[usize::from(cached)], seconds.div_ceil(12));
        Self { mean: number(&usual, "mean"), p95: number(&usual, "P95"), forwarded, most: number(&flood, "answered") }
    }
}

/// What the load generator prints after a name.
fn number(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.split(' ').next());
    found.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// The service, in a process of its own.
struct Service {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Service {
    fn start(cached: bool) -> Self {
        let mut command = Command::new(current_exe().expect("this program"));
        command.arg("--serve").env_clear().env("CACHE_ENABLED", cached.to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let url = said.next().expect("it says where it is").expect("text");
        Self { process, said, url }
    }

    /// What the load generator says of it.
    fn load(&self, load: &PathBuf, rate: u32, seconds: u32) -> String {
        let mut command = Command::new(load);
        command.arg(format!("{}/products/{{key}}", self.url)).args(["--order", "zipf", "--concurrency", "256"]);
        let numbers = [("--rate", rate), ("--seconds", seconds), ("--keys", KEYS)];
        command.args(numbers.iter().flat_map(|(name, number)| [(*name).to_owned(), number.to_string()]));
        let output = command.output().expect("it starts");
        assert!(output.status.success(), "{command:?}: {}", output.stderr.escape_ascii());
        String::from_utf8(output.stdout).expect("text")
    }

    /// How many queries its source has had.
    fn queries(&mut self) -> u64 {
        writeln!(self.process.stdin.as_ref().expect("piped")).expect("it reads");
        self.said.next().expect("an answer").expect("text").parse().expect("a number")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Answers with the number of queries whenever it gets a line.
async fn serve() {
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    let store = Store::from_env().await.expect("an environment of one variable");
    let source = Arc::new(Source { places: Semaphore::new(PLACES), queries: AtomicU64::new(0) });
    let cache = CacheLayer::new(store).rules(Rules::new().default_ttl(Duration::from_mins(1)));
    let app = Router::new().route("/products/{id}", get(product)).layer(cache).with_state(Arc::clone(&source));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, app).into_future());
    let tell = move || stdin().lines().for_each(|_| println!("{}", source.queries.load(Ordering::Relaxed)));
    tokio::task::spawn_blocking(tell).await.expect("it does not panic");
}

/// A database that takes between 100 and 200 ms for a query, and so many at once: about a thousand in a second.
struct Source {
    places: Semaphore,
    queries: AtomicU64,
}

const PLACES: usize = 150;

impl Source {
    async fn query(&self) {
        let nth = self.queries.fetch_add(1, Ordering::Relaxed);
        let _place = self.places.acquire().await.expect("nobody closes it");
        // Each of the 101 times as often as the others.
        sleep(Duration::from_millis(100 + nth * 37 % 101)).await;
    }
}

async fn product(State(source): State<Arc<Source>>, Path(id): Path<u32>) -> String {
    source.query().await;
    format!("{id:0CONTENT_LEN$}")
}
