//! What coherence costs: a hit in memory with Redis behind it, and an invalidation, whatever the number of entries.

use axum::body::Body;
use axum::http::Method;
use clap::Parser;
use std::rc::Rc;
use terrace::{CacheLayer, Store};
use terrace_benches::app::{BROWSER, HOST, answer, calls, product, products, request, router};
use terrace_benches::askers::shared_store;
use terrace_benches::measure::{Contender, Plan, Spread, Table, Times, alone, nanoseconds, per, runtime};
use terrace_redis_server::Server;
use tokio::runtime::Runtime;
use tower::Layer;

/// Measures a hit in memory with and without Redis behind it, and invalidations among few and many entries.
#[derive(Parser)]
struct Options {
    /// How often each contender has its turn.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// Requests in one turn.
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// How many entries are many.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u32,
    /// No table: only this contender, for `--iterations` requests, for callgrind and its like.
    #[arg(long, value_name = "CONTENDER")]
    only: Option<String>,
    /// For `--only`.
    #[arg(long, default_value_t = 1000)]
    iterations: u32,
}

fn main() {
    let options = Options::parse();
    let _metrics = terrace::prometheus::install().expect("the first recorder of this process");
    // What the store does in the background runs here, on a thread of its own.
    let background = Runtime::new().expect("a runtime");
    let server = Server::start();
    let mut hits = hits(&server, &background);
    if let Some(only) = options.only {
        alone(&mut hits, &only, options.iterations, options.batch);
        return;
    }
    compare_hits(&mut hits, Plan { rounds: options.rounds, batch: options.batch });
    compare_invalidations(&background, options.entries);
}

const MEMORY: &str = "terrace, memory alone";
const SHARED: &str = "terrace, Redis behind it";

fn hits(server: &Server, background: &Runtime) -> Vec<Contender> {
    // A hit under callgrind takes as long as fifty.
    let store = background.block_on(shared_store(server, &[("CACHE_L1_MAX_LAG", "5m")]));
    let (foreground, both) = (runtime(), [(MEMORY, Store::memory()), (SHARED, store)]);
    both.into_iter().map(|(name, store)| hit(name, store, &foreground)).collect()
}

fn hit(name: &'static str, store: Store, runtime: &Rc<Runtime>) -> Contender {
    let template = request(Method::GET, "/item/42", BROWSER);
    let request = move || template.clone().map(|()| Body::empty());
    let mut contender = Contender::service(name, runtime, CacheLayer::new(store).layer(router()), request);
    contender.run(1000, nanoseconds);
    contender
}

fn compare_hits(hits: &mut [Contender], plan: Plan) {
    let before = calls();
    let times = Times::measure(hits, plan);
    assert_eq!(calls(), before, "all of them are hits");
    let mut table = Table::new(&["hit in memory", "ns", "quartiles", "÷ memory alone"]);
    for (who, contender) in hits.iter().enumerate() {
        let Spread { low, median, high } = times.of(who);
        let ratio = times.ratio(who, 0).median;
        let cells = [format!("{median:.0}"), format!("{low:.0} – {high:.0}"), format!("{ratio:.3}")];
        table.row(&[&[contender.name.to_owned()][..], &cells].concat());
    }
    table.print();
}

/// A server and a store, both with so many entries.
struct Fleet {
    server: Server,
    store: Store,
    entries: u32,
}

const FEW: u32 = 1000;
/// Invalidations in one turn, and turns.
const INVALIDATIONS: u32 = 100;
const TURNS: usize = 40;

fn compare_invalidations(runtime: &Runtime, many: u32) {
    let mut fleets = [FEW, many].map(|entries| runtime.block_on(Fleet::with(entries)));
    let mut turns = [Vec::new(), Vec::new()];
    for turn in 0..2 * TURNS {
        let who = (turn + turn / 2) % 2;
        turns[who].push(runtime.block_on(fleets[who].invalidate()));
    }
    let mut table = Table::new(&["one invalidation", "entries in memory", "keys in Redis", "p50, µs", "÷ few"]);
    for (who, fleet) in fleets.iter().enumerate() {
        let ratio = turns[who].iter().zip(&turns[0]).map(|(one, few)| one / few).collect();
        table.row(&[
            if who == 0 { "few entries" } else { "many entries" }.to_owned(),
            fleet.entries.to_string(),
            redis::from_redis_value::<u64>(fleet.server.command(&["DBSIZE"])).expect("a number").to_string(),
            format!("{:.1}", Spread::of(turns[who].clone()).median / 1e3),
            format!("{:.2}", Spread::of(ratio).median),
        ]);
    }
    table.print();
}

impl Fleet {
    /// In memory they are entries, in Redis as many other keys: what it does about an invalidation does
    /// not depend on whose they are.
    async fn with(entries: u32) -> Self {
        let server = Server::start();
        let populate = "for i = 1, ARGV[1] do redis.call('SET', 'key' .. i, ARGV[2], 'PX', 3600000) end";
        server.command(&["EVAL", populate, "0", &entries.to_string(), &"x".repeat(256)]);
        // Nothing of it is evicted, and nothing sent to Redis that is there already.
        let settings = [("CACHE_L1_MAX_BYTES", "64GiB"), ("CACHE_L2_WRITES", "0"), ("CACHE_L2_LEASE", "0s")];
        let store = shared_store(&server, &settings).await;
        let service = CacheLayer::new(store.clone()).layer(products());
        let workers: Vec<_> = (0..64)
            .map(|worker| {
                let mut service = service.clone();
                tokio::spawn(async move {
                    for number in (worker..entries).step_by(64) {
                        let request = request(Method::GET, &product(number), HOST).map(|()| Body::empty());
                        answer(&mut service, request).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("it does not panic");
        }
        assert_eq!(store.stats().entries(), u64::from(entries));
        Self { server, store, entries }
    }

    /// The median, in nanoseconds, of some invalidations of a tag of their own.
    async fn invalidate(&mut self) -> f64 {
        let mut took = Vec::new();
        for number in 0..INVALIDATIONS {
            let (tag, before) = (format!("tag {number}"), nanoseconds());
            let _receipt = self.store.purge_tag(&tag).await.expect("the server confirms it");
            took.push(per(nanoseconds() - before, 1_u32));
        }
        Spread::of(took).median
    }
}
