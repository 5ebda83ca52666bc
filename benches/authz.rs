//! What a check of authorization costs: from memory, from Redis beside a plain GET, and at the pace of a service.

use axum::body::Body;
use axum::http::Method;
use axum::http::request::Parts;
use clap::Parser;
use redis::aio::MultiplexedConnection;
use std::convert::Infallible;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use terrace::authz::{
    Authz, Grant, Grants, Identify, Identity, IdentityError, LoadHint, PermissionSource, Principal, Subject, Tenant,
    Who,
};
use terrace::stats::{CacheName, CheckStatus, StoreResult, Tier};
use terrace::{Store, stats::CheckDecision};
use terrace_benches::app::{BROWSER, plain, request};
use terrace_benches::askers::shared_store;
use terrace_benches::measure::{Contender, Plan, Spread, Table, Times, alone, nanoseconds, per, runtime};
use terrace_redis_server::Server;
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tower::Layer;

/// Measures checks from memory, from Redis and from the source.
#[derive(Parser)]
struct Options {
    /// How often each contender has its turn.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// Requests in one turn.
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// How long a service is asked at its pace, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
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
    let plan = Plan { rounds: options.rounds, batch: options.batch };
    let mut checks = from_memory();
    if let Some(only) = options.only {
        alone(&mut checks, &only, options.iterations, options.batch);
        return;
    }
    compare_in_memory(&mut checks, plan);
    let (server, runtime) = (Server::start(), Runtime::new().expect("a runtime"));
    let (authz, asked) = runtime.block_on(in_redis(&server, &[]));
    runtime.block_on(compare_in_redis(&server, &authz, plan));
    assert_eq!(asked.0.load(Ordering::Relaxed), u64::from(SUBJECTS), "all were found in Redis");
    let (uncached, _) = runtime.block_on(in_redis(&server, &[("AUTHZ_CACHE_ENABLED", "off")]));
    runtime.block_on(compare_at_pace([("from Redis", authz), ("from the source", uncached)], options.seconds));
}

/// Takes as long as a query of a database, and counts how often it is asked.
#[derive(Clone)]
struct Database(Arc<AtomicU64>);

const QUERY: Duration = Duration::from_millis(20);

impl PermissionSource for Database {
    type Error = Infallible;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        self.0.fetch_add(1, Ordering::Relaxed);
        sleep(QUERY).await;
        let grant = |nth| Grant::from(format!("invoice:{nth}"));
        Ok(Grants::complete((0..30).map(grant)))
    }
}

const PERMISSION: &str = "invoice:15";

struct Always(Principal);

impl Identify for Always {
    async fn identify(&self, _: &Parts) -> Result<Identity, IdentityError> {
        Ok(Identity::Known(self.0.clone()))
    }
}

fn principal(number: u32) -> Principal {
    let (tenant, subject) = (Tenant::new("acme"), Subject::new(format!("subject {number}")));
    Principal::new(Who { tenant: tenant.expect("a name"), subject: subject.expect("a name") })
}

const BARE: &str = "plain service, unguarded";
const GUARDED: &str = "the same behind a check";

fn from_memory() -> Vec<Contender> {
    let runtime = runtime();
    let asked = Database(Arc::default());
    let builder = Authz::builder(Store::memory(), asked).identify(Always(principal(0))).single_process();
    let authz = builder.build().expect("it needs no keys");
    let template = request(Method::GET, "/item/42", BROWSER);
    let made = move || template.clone().map(|()| Body::empty());
    let mut guarded = Contender::service(GUARDED, &runtime, authz.require(PERMISSION).layer(plain()), made.clone());
    guarded.run(10, nanoseconds);
    let engine = {
        let (runtime, principal) = (Rc::clone(&runtime), principal(0));
        Contender::new("a check of the engine alone", move |times, meter| {
            let before = meter();
            for _ in 0..times {
                let _decision = black_box(runtime.block_on(authz.check(&principal, PERMISSION)).expect("a decision"));
            }
            meter() - before
        })
    };
    vec![Contender::service(BARE, &runtime, plain::<Body>(), made), guarded, engine]
}

fn compare_in_memory(checks: &mut [Contender], plan: Plan) {
    let times = Times::measure(checks, plan);
    let mut table = Table::new(&["a check from memory", "ns", "quartiles", "more than unguarded, ns"]);
    let bare = times.of(0).median;
    for (who, check) in checks.iter().enumerate() {
        let Spread { low, median, high } = times.of(who);
        let more = if check.name == GUARDED { format!("{:.0}", median - bare) } else { String::new() };
        table.row(&[check.name.to_owned(), format!("{median:.0}"), format!("{low:.0} – {high:.0}"), more]);
    }
    table.print();
}

const SUBJECTS: u32 = 1024;

/// An engine that keeps nothing in memory, and all subjects in Redis.
async fn in_redis(server: &Server, more: &[(&str, &str)]) -> (Authz, Database) {
    let keys = "bench:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let mut vars = vec![("CACHE_NAMESPACE", "bench"), ("AUTHZ_CACHE_KEYS", keys), ("AUTHZ_CACHE_L1_MAX_BYTES", "0")];
    vars.extend_from_slice(more);
    let store = shared_store(server, &vars).await;
    let asked = Database(Arc::default());
    let authz = Authz::builder(store.clone(), asked.clone()).source_id("db").build().expect("well-formed keys");
    while !store.stats().ring_joined() {
        sleep(Duration::from_millis(1)).await;
    }
    if more.is_empty() {
        let loads = (0..SUBJECTS).map(|number| {
            let authz = authz.clone();
            tokio::spawn(async move { authz.check(&principal(number), PERMISSION).await.is_ok() })
        });
        for load in loads.collect::<Vec<_>>() {
            assert!(load.await.expect("it does not panic"), "the source has time for all");
        }
        while authz.stats().of(CacheName::Authz).stores(Tier::L2, StoreResult::Ok) < u64::from(SUBJECTS) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    (authz, asked)
}

async fn get(connection: &mut MultiplexedConnection, name: &str) {
    let value = redis::cmd("GET").arg(name).query_async::<Vec<u8>>(connection).await;
    black_box(value.expect("an answer"));
}

/// One after the other, in turns.
async fn compare_in_redis(server: &Server, authz: &Authz, plan: Plan) {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let names: Vec<String> = redis::cmd("KEYS").arg("auth:perms:*").query_async(&mut connection).await.expect("names");
    let bytes: usize = redis::cmd("STRLEN").arg(&names[0]).query_async(&mut connection).await.expect("a length");
    let principals: Vec<Principal> = (0..SUBJECTS).map(principal).collect();
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..2 * plan.rounds {
        // Neither is always the one that follows the other.
        let who = ((round + round / 2) % 2) as usize;
        let mut took = Vec::new();
        for nth in 0..plan.batch {
            let at = ((round * plan.batch + nth) % SUBJECTS) as usize;
            let before = nanoseconds();
            if who == 0 {
                get(&mut connection, &names[at]).await;
            } else {
                assert!(authz.check(&principals[at], PERMISSION).await.expect("a decision").is_allow());
            }
            took.push(per(nanoseconds() - before, 1_u32));
        }
        rounds[who].push(Spread::of(took).median);
    }
    let ratios = rounds[1].iter().zip(&rounds[0]).map(|(check, get)| check / get).collect();
    let mut table = Table::new(&[&format!("from Redis, one at once, {bytes} bytes"), "p50, µs", "÷ GET"]);
    let median = |who: usize| format!("{:.1}", Spread::of(rounds[who].clone()).median / 1e3);
    table.row(&["redis, GET on one connection".to_owned(), median(0), "1.00".to_owned()]);
    table.row(&["a check".to_owned(), median(1), format!("{:.2}", Spread::of(ratios).median)]);
    table.print();
}

const CHECKS_A_SECOND: u64 = 2000;

/// As a service is asked: so many a second, however long each takes.
async fn compare_at_pace(engines: [(&str, Authz); 2], seconds: u64) {
    let title = format!("{CHECKS_A_SECOND} checks a second, a query takes 20 ms");
    let mut table = Table::new(&[&title, "p50, ms", "p95, ms", "p99, ms", "from Redis", "refused"]);
    for (name, authz) in engines {
        let hits = || authz.stats().checks(CheckStatus::L2CacheHit, CheckDecision::Allow);
        let before = hits();
        let mut took = at_pace(&authz, seconds).await;
        took.sort_unstable();
        let quantile = |of: usize| format!("{:.2}", per(took[took.len() * of / 100], 1_u32) / 1e6);
        let stats = authz.stats();
        let refused: u64 = CheckStatus::ALL.iter().map(|status| stats.checks(*status, CheckDecision::Error)).sum();
        table.row(&[
            name.to_owned(),
            quantile(50),
            quantile(95),
            quantile(99),
            (hits() - before).to_string(),
            refused.to_string(),
        ]);
    }
    table.print();
}

async fn at_pace(authz: &Authz, seconds: u64) -> Vec<u64> {
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut checks = Vec::new();
    for tick in 0..seconds * 1000 {
        ticks.tick().await;
        for nth in 0..CHECKS_A_SECOND / 1000 {
            let (authz, number) = (authz.clone(), u32::try_from((tick * 2 + nth) * 619 % u64::from(SUBJECTS)));
            let principal = principal(number.expect("one of the subjects"));
            checks.push(tokio::spawn(async move {
                let before = nanoseconds();
                black_box(authz.check(&principal, PERMISSION).await).ok();
                nanoseconds() - before
            }));
        }
    }
    let mut took = Vec::new();
    for check in checks {
        took.push(check.await.expect("it does not panic"));
    }
    took
}
