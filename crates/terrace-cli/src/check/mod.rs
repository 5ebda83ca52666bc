//! `terrace check`: whether what the cache needs is there, and whether what is deployed does what it is to do.
//!
//! ```text
//! options ─┬ redis: what the server says, judged             ┐
//!          ├ configured: what is switched and set            │
//!          ├ exercise: stores of this process, tried out     │
//!          ├ service, shadow: what is deployed, asked        ├ findings
//!          ├ tail: what it writes meanwhile                  │
//!          ├ process: its metrics, judged                    │
//!          └ monitoring: who watches                         ┘
//! ```

mod configured;
mod exercise;
mod monitoring;
mod options;
mod process;
mod redis;
mod service;
mod shadow;
mod tail;

pub(crate) use options::Options;

use crate::config;
use crate::failure::Failure;
use crate::findings::{Finding, Findings, Status, Verdict};
use crate::fleet::Fleet;
use crate::prometheus::Prometheus;
use crate::text::{Format, print};
use crate::web::Web;
use configured::keys;
use exercise::Vars;
use serde_json::json;
use service::{Services, not_given};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};
use terrace::Store;
use terrace::config::{Environment, Source};
use tokio::time::timeout;

/// How long after a round that did not pass the next one begins.
const AGAIN: Duration = Duration::from_secs(1);

/// Checks, and prints what came of it.
///
/// # Errors
///
/// With the exit status of the worst that was found.
pub(crate) fn main(options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    let expected = if options.metrics.is_empty() { BTreeSet::new() } else { names()? };
    let left = || options.wait.unwrap_or_default().saturating_sub(started.elapsed());
    let mut round = Round::run(options, &expected, None)?;
    while round.all.verdict(options.strict) != Verdict::Pass && !left().is_zero() {
        std::thread::sleep(AGAIN.min(left()));
        round = Round::run(options, &expected, Some((round, left())))?;
    }
    let printed = round.print(options);
    round.all.outcome(options.strict).and(printed)
}

/// The names of all metrics of a process that shares its store, as this version has them.
fn names() -> Result<BTreeSet<String>, Failure> {
    let metrics = terrace::prometheus::install().map_err(Failure::inconclusive)?;
    // It connects to nothing.
    let _store = Store::from_vars([("REDIS_URL", "redis://127.0.0.1")]).map_err(Failure::inconclusive)?;
    let names = process::Scrape::read(&metrics.render()).names;
    Ok(names.into_iter().filter(|name| name.starts_with("cache_")).collect())
}

/// All checks, once.
struct Round {
    all: Findings,
    /// How many of the ten passed, unless it was before deploying.
    ready: Option<usize>,
}

impl Round {
    /// One after another has to end in time, or that other one stays.
    ///
    /// # Errors
    ///
    /// When it cannot begin.
    fn run(options: &Options, expected: &BTreeSet<String>, before: Option<(Self, Duration)>) -> Result<Self, Failure> {
        let environment = config::read();
        // Outside of the runtime: it follows nothing.
        let fleet = open(&environment, options.timeout);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(Failure::inconclusive)?;
        let round = runtime.block_on(async {
            let Some((before, left)) = before else {
                return Self::check(options, expected, &environment, fleet, None).await;
            };
            let next = Self::check(options, expected, &environment, fleet, Some(&before.all));
            timeout(left, next).await.unwrap_or(Ok(before))
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
        round
    }

    async fn check(
        options: &Options,
        expected: &BTreeSet<String>,
        environment: &Environment,
        fleet: Result<Opened, Finding>,
        before: Option<&Findings>,
    ) -> Result<Self, Failure> {
        let looked = Looked::at(&fleet, options).await;
        let mut rest = config::judged(environment).0;
        if options.pre {
            rest.push(looked.connection);
            rest.extend(looked.server);
            rest.push(keys(environment, options));
            return Ok(Self { all: Findings(rest), ready: None });
        }
        let (web, prometheus) = (Web::new(options.timeout)?, prometheus(options)?);
        let services = Services::new(&web, options)?;
        let vars = Vars::of_this_process().apart(namespace(environment));
        let [in_process, trip] = if looked.connection.status == Status::Ok {
            exercise::round_trip(&vars, options.timeout, options.l2_hit_within).await
        } else {
            ["l2-hit", "round-trip"].map(|id| skipped(id, "there is no Redis to try it with"))
        };
        let [performance, same] = match ["performance", "same-answer"].map(|id| passed(before, id)) {
            [Some(performance), Some(same)] => [performance, same],
            _ => services.pairs().await,
        };
        let ten = vec![
            services.health().await,
            looked.connection,
            services.source(source_timeout(environment)).await,
            configured::shared(&fleet, environment, &looked.server, &keys(environment, options)).await,
            services.l2_hit().await.unwrap_or(in_process),
            performance,
            same,
            degradation(&vars, environment, options).await,
            services.logs().await,
            exercise::memory_alone(&vars).await,
        ];
        let ready = ten.iter().filter(|finding| passes(finding, options.strict)).count();
        rest.extend(looked.server);
        rest.push(keys(environment, options));
        rest.push(trip);
        rest.extend(processes(&services, options, expected).await);
        rest.extend(monitoring::watched(prometheus.as_ref()).await);
        match passed(before, shadow::ID) {
            Some(passed) => rest.push(passed),
            None => rest.extend(shadow::compare(&web, options).await),
        }
        Ok(Self { all: Findings(ten.into_iter().chain(rest).collect()), ready: Some(ready) })
    }

    fn print(&self, options: &Options) -> Result<(), Failure> {
        let ready = self.ready.map(|passed| format!("{passed} of 10"));
        let more = ready.as_ref().map_or_else(|| json!({}), |ready| json!({ "ready": ready }));
        self.all.print(options.output, options.strict, more)?;
        match (ready, options.output) {
            (Some(ready), Format::Table) => print(&format!("readiness: {ready}\n")),
            _ => Ok(()),
        }
    }
}

/// What need not be asked of a service once more: it takes many requests.
fn passed(before: Option<&Findings>, id: &str) -> Option<Finding> {
    before?.0.iter().find(|finding| finding.id == id && finding.status == Status::Ok).cloned()
}

/// Whether it is one of those that passed: a warning is none that did not, unless they count.
fn passes(finding: &Finding, strict: bool) -> bool {
    finding.status == Status::Ok || (finding.status == Status::Warn && !strict)
}

/// The way to the fleet.
struct Opened {
    /// As somebody who waits has it.
    fleet: Fleet,
    /// As every process has it.
    process: Store,
}

/// If there is no way, why, as what is found about the connection.
fn open(environment: &Environment, patience: Duration) -> Result<Opened, Finding> {
    let id = "redis-connection";
    if !environment.problems.is_empty() {
        return Err(skipped(id, "the environment is wrong"));
    }
    let places = ["REDIS_URL", "REDIS_HOST", "REDIS_SENTINELS", "REDIS_CLUSTER_NODES"];
    let is_given = |name: &str| {
        environment.variables.iter().any(|variable| variable.name == name && variable.source != Source::Default)
    };
    if !places.iter().any(|name| is_given(name)) {
        let fix = format!("set one of {}, or load the environment file of the fleet", places.join(", "));
        return Err(Finding::unknown(id, "nothing says where Redis is, so nothing of it is checked", fix));
    }
    let fix = "give this command the environment that the fleet has, with the cache switched on";
    let fleet = Fleet::open(patience).map_err(|failure| Finding::fail(id, failure.to_string(), fix))?;
    let process = Vars::of_this_process().store();
    let process = process.map_err(|error| Finding::fail(id, error.to_string(), fix))?;
    Ok(Opened { fleet, process })
}

/// What was seen of Redis.
struct Looked {
    connection: Finding,
    server: Vec<Finding>,
}

impl Looked {
    async fn at(fleet: &Result<Opened, Finding>, options: &Options) -> Self {
        let Opened { fleet, process } = match fleet {
            Ok(opened) => opened,
            Err(why) => return Self { connection: why.clone(), server: Vec::new() },
        };
        let (id, fix) = ("redis-connection", "start Redis, and check REDIS_*, the network and the password");
        let before = SystemTime::now();
        let seen = match process.examine().await {
            Ok(seen) => seen,
            Err(why) => return Self { connection: Finding::fail(id, why.to_string(), fix), server: Vec::new() },
        };
        let demands = redis::Demands { min_memory: options.min_memory, processes: options.processes };
        let server = redis::judge(&seen, (before, SystemTime::now()), demands);
        // As every process connects: this runs the fence, and refuses what is no primary.
        let connection = match fleet.store.inspect_namespace().await {
            Ok(state) => Finding::ok(id, format!("{}, the primary, in epoch {}", seen.address, state.epoch)),
            Err(why) => Finding::fail(id, why.to_string(), fix),
        };
        Self { connection: connection.threshold("a primary, fenced"), server }
    }
}

/// What a variable is, as it was written.
fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.variables.iter().find(|variable| variable.name == name).map(|variable| &*variable.value)
}

fn namespace(environment: &Environment) -> &str {
    value(environment, "CACHE_NAMESPACE").unwrap_or("default")
}

/// What a check may wait for the source. A plain number is in milliseconds.
fn source_timeout(environment: &Environment) -> Duration {
    time(environment, "AUTHZ_CACHE_SOURCE_TIMEOUT_MS", Duration::from_millis(1)).unwrap_or(Duration::from_millis(800))
}

/// A time as the library reads it, a plain number in `unit`.
fn time(environment: &Environment, name: &str, unit: Duration) -> Option<Duration> {
    let text = value(environment, name)?;
    let plain = text.parse::<u32>().ok().map(|count| unit * count);
    plain.or_else(|| humantime::parse_duration(text).ok())
}

async fn degradation(vars: &Vars, environment: &Environment, options: &Options) -> Finding {
    if !options.exercise_degradation {
        return not_given("degradation", "--exercise-degradation");
    }
    let budget = time(environment, "CACHE_L2_READ_BUDGET", Duration::from_secs(1));
    exercise::silence(vars, budget.unwrap_or(Duration::from_millis(30))).await
}

/// What each process says in its metrics. Of several, the first that is not well counts.
async fn processes(services: &Services<'_>, options: &Options, expected: &BTreeSet<String>) -> Vec<Finding> {
    let ids = ["metrics-present", "coherence", "fence-mode", "breaker"];
    let mut all: Vec<Finding> = Vec::new();
    for url in &options.metrics {
        let judged = match services.scraped(url).await {
            Ok(seen) => process::judge(&seen, expected),
            Err(why) => vec![Finding::fail("metrics-present", why, "is it the address that Prometheus scrapes?")],
        };
        for finding in judged {
            match all.iter_mut().find(|one| one.id == finding.id) {
                Some(known) if known.status == Status::Ok => *known = finding,
                Some(_) => {}
                None => all.push(finding),
            }
        }
    }
    if options.metrics.is_empty() {
        all.extend(ids.map(|id| not_given(id, "--metrics")));
    }
    all
}

fn prometheus(options: &Options) -> Result<Option<Prometheus>, Failure> {
    options.prometheus.clone().map(|base| Prometheus::new(base, options.timeout)).transpose()
}

fn skipped(id: &'static str, why: &str) -> Finding {
    Finding::skip(id, why, "mend what is said above it first")
}
