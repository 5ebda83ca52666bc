//! The configuration, tried out by stores of this process: what they fill, read and purge is theirs alone.

use crate::ask::Verdict;
use crate::findings::Finding;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use terrace::authz::{Grants, LoadHint, PermissionSource, Principal, Subject, Tenant, Who};
use terrace::stats::{CacheStatus, CoherenceState, StoreResult, Tier};
use terrace::{Authz, Cache, CacheLayer, Store};
use tokio::net::TcpListener;
use tower_layer::Layer;
use tower_service::Service;

/// The longest name of a namespace.
const LONGEST: usize = 64;
const SUFFIX: &str = ".check";
/// How often an answer from Redis is measured.
const READS: usize = 20;
/// Requests while Redis is silent.
const REQUESTS: usize = 30;
/// How long a store may take to ask Redis for the first time.
const JOINS: Duration = Duration::from_secs(10);
/// Of those that a store accepts (`CACHE_L2_READ_BUDGET` and others).
const LONGEST_BUDGET: Duration = Duration::from_secs(5 * 60);
/// What a request may take besides its wait for Redis.
const SLACK: Duration = Duration::from_millis(100);

/// The fleet's variables, from which those of a store of ours are made.
pub(super) struct Vars(Vec<(String, String)>);

impl Vars {
    /// Those of this process.
    pub(super) fn of_this_process() -> Self {
        let vars = std::env::vars_os();
        Self(vars.filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok())).collect())
    }

    /// With a namespace that is not the fleet's.
    pub(super) fn apart(&self, namespace: &str) -> Self {
        self.with(&[("CACHE_NAMESPACE", &ours(namespace)), ("CACHE_METRICS_ENABLED", "off")])
    }

    fn with(&self, more: &[(&str, &str)]) -> Self {
        let is_ours = |name: &str| more.iter().any(|(our, _)| *our == name) || METRICS.contains(&name);
        let theirs = self.0.iter().filter(|(name, _)| !is_ours(name)).cloned();
        Self(theirs.chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect())
    }

    /// At another server, without a login.
    fn at(&self, port: u16) -> Self {
        let theirs = self.0.iter().filter(|(name, _)| !name.starts_with("REDIS_")).cloned();
        let url = format!("redis://127.0.0.1:{port}");
        Self(theirs.chain([("REDIS_URL".to_owned(), url)]).collect())
    }

    /// With time limits of somebody who waits, so that what is slow is measured and not given up.
    fn patient(&self, patience: Duration) -> Self {
        let limit = format!("{}ms", patience.min(LONGEST_BUDGET).as_millis());
        self.with(&["CACHE_L2_READ_BUDGET", "CACHE_L2_WRITE_BUDGET", "CACHE_L2_POOL_WAIT"].map(|name| (name, &*limit)))
    }

    pub(super) fn store(&self) -> Result<Store, terrace::Error> {
        Store::from_vars(self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// Other names for the switch that is set here: two that differ are a mistake.
const METRICS: [&str; 3] = ["ENABLE_PROMETHEUS_ENDPOINT", "ENABLE_METRICS", "ENABLE_HTTP_METRICS"];

pub(super) fn ours(namespace: &str) -> String {
    namespace.chars().take(LONGEST - SUFFIX.len()).collect::<String>() + SUFFIX
}

/// An origin that counts.
#[derive(Clone, Debug)]
struct Source {
    body: Bytes,
    calls: Arc<AtomicU64>,
}

impl Service<Request<Empty<Bytes>>> for Source {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        self.calls.fetch_add(1, SeqCst);
        let mut response = Response::new(Full::from(self.body.clone()));
        response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("max-age=60"));
        ready(Ok(response))
    }
}

/// A process of a fleet of ours.
struct Member {
    store: Store,
    service: Cache<Source>,
    calls: Arc<AtomicU64>,
}

struct Answer {
    status: StatusCode,
    verdict: Verdict,
    body: Bytes,
    took: Duration,
}

impl Member {
    fn new(vars: &Vars, body: &str) -> Result<Self, String> {
        let store = vars.store().map_err(|error| error.to_string())?;
        let calls = Arc::new(AtomicU64::new(0));
        let source = Source { body: Bytes::copy_from_slice(body.as_bytes()), calls: Arc::clone(&calls) };
        Ok(Self { service: CacheLayer::new(store.clone()).layer(source), store, calls })
    }

    /// Waits until Redis has been asked; if it is not, why.
    async fn joined(self, patience: Duration) -> Result<Self, String> {
        let is_coherent = || self.store.stats().coherence() == Some(CoherenceState::Coherent);
        if until(patience, is_coherent).await {
            return Ok(self);
        }
        let why = self.store.inspect_namespace().await.err();
        Err(why.map_or_else(|| "it did not join in time".into(), |error| error.to_string()))
    }

    async fn get(&self, url: &str) -> Result<Answer, String> {
        let request = Request::get(url).body(Empty::new()).map_err(|error| error.to_string())?;
        let started = Instant::now();
        let response = self.service.clone().call(request).await.unwrap_or_else(|never| match never {});
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: head.status, verdict: Verdict::of(&head.headers), body, took: started.elapsed() })
    }
}

/// Whether it came true in time.
async fn until(patience: Duration, is_true: impl Fn() -> bool) -> bool {
    let waited = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(patience, waited).await.is_ok()
}

/// What came of a round trip.
struct Trip {
    position: u64,
    /// Of answers from Redis, in their order.
    reads: Vec<Duration>,
}

/// Fills an entry, reads it without a memory of its own, purges it and reads again: `l2-hit` and `round-trip`.
pub(super) async fn round_trip(vars: &Vars, patience: Duration, within: Duration) -> [Finding; 2] {
    match trip(vars, patience).await {
        Ok(Trip { position, reads }) => {
            let measured = format!("filled by one, read by another, purged at position {position}");
            [l2_hit(&reads, within), Finding::ok("round-trip", measured)]
        }
        Err(why) => ["l2-hit", "round-trip"].map(|id| failed(id, &why)),
    }
}

/// Half of the answers may take no longer.
pub(super) fn l2_hit(reads: &[Duration], within: Duration) -> Finding {
    let median = median(reads);
    let measured = format!("{} by the median of {}", millis(median), reads.len());
    let fix = "look at the way to Redis: SLOWLOG, CPU, network; or at --l2-hit-within";
    let finding =
        if median < within { Finding::ok("l2-hit", measured) } else { Finding::fail("l2-hit", measured, fix) };
    finding.threshold(format!("< {}", millis(within)))
}

fn failed(id: &'static str, why: &str) -> Finding {
    let is_denied = ["noperm", "permission"].iter().any(|word| why.to_ascii_lowercase().contains(word));
    if is_denied {
        let fix = "permit this user the namespace of checks, too: ~{NAMESPACE.check}:* &{NAMESPACE.check}:bell";
        return Finding::skip(id, format!("not tried: {why}"), fix);
    }
    Finding::fail(id, why, "mend what the checks of redis-* say; `terrace inspect` shows the namespace")
}

async fn trip(vars: &Vars, patience: Duration) -> Result<Trip, String> {
    let (token, vars) = (nonce(), vars.patient(patience));
    let url = format!("https://terrace-check.invalid/{token}");
    let writer = Member::new(&vars, &token)?.joined(patience).await?;
    let reader = Member::new(&vars.with(&[("CACHE_L1_ENABLED", "off")]), "of the reader")?.joined(patience).await?;
    writer.get(&url).await?;
    if !until(patience, || writer.store.stats().stores(Tier::L2, StoreResult::Ok) > 0).await {
        return Err("what was filled was not stored in Redis (CACHE_ENABLED, CACHE_L2_ENABLED?)".into());
    }
    let mut reads = Vec::new();
    for _ in 0..READS {
        let answer = reader.get(&url).await?;
        if answer.verdict != Verdict::Hit || answer.body != token {
            return Err(format!("what one has filled another does not find: {:?}", answer.verdict));
        }
        reads.push(answer.took);
    }
    let hits = reader.store.stats().requests(CacheStatus::L2CacheHit);
    if hits < READS as u64 {
        return Err(format!("{hits} of {READS} answers came from Redis"));
    }
    let _acknowledged = writer.store.purge_url(&url).await.map_err(|error| error.to_string())?;
    let after = reader.get(&url).await?;
    if after.body == token || reader.calls.load(SeqCst) != 1 {
        return Err("what was purged was answered again".into());
    }
    // What the reader has stored meanwhile goes as well.
    let last = writer.store.purge_url(&url).await.map_err(|error| error.to_string())?;
    Ok(Trip { position: last.position(), reads })
}

/// With Redis switched off, memory still answers: `l1-compatibility`.
pub(super) async fn memory_alone(vars: &Vars) -> Finding {
    let id = "l1-compatibility";
    let fix = "switch CACHE_ENABLED and CACHE_L1_ENABLED on, with CACHE_L1_MAX_BYTES above 0";
    match alone(vars).await {
        Ok((hits, calls)) if hits == 1 && calls == 1 => Finding::ok(id, "the second answer came from memory"),
        Ok((hits, calls)) => Finding::fail(id, format!("{hits} answers from memory, {calls} from the origin"), fix),
        Err(why) => Finding::fail(id, why, fix),
    }
    .threshold("a hit without Redis")
}

async fn alone(vars: &Vars) -> Result<(u64, u64), String> {
    let member = Member::new(&vars.with(&[("CACHE_L2_ENABLED", "off")]), "once")?;
    for _ in 0..2 {
        member.get("https://terrace-check.invalid/alone").await?;
    }
    Ok((member.store.stats().requests(CacheStatus::L1CacheHit), member.calls.load(SeqCst)))
}

/// With a Redis that accepts and never answers, requests are answered within their budget: `degradation`.
pub(super) async fn silence(vars: &Vars, budget: Duration) -> Finding {
    match silent(vars).await {
        Ok(all) => degraded(&all, budget * 2 + SLACK),
        Err(why) => Finding::fail("degradation", why, "mend what it says, and try it again"),
    }
}

fn degraded(Answered { asked, right, slowest }: &Answered, most: Duration) -> Finding {
    let id = "degradation";
    let measured = format!("{right} of {asked} answered as without a cache, the slowest in {}", millis(*slowest));
    let fix = "lower CACHE_L2_READ_BUDGET; is the machine overloaded?";
    let is_well = right == asked && *slowest <= most;
    let finding = if is_well { Finding::ok(id, measured) } else { Finding::fail(id, measured, fix) };
    finding.threshold(format!("all, each <= {}", millis(most)))
}

/// What became of requests and of checks of rights.
#[derive(Default)]
struct Answered {
    asked: usize,
    /// As they are without a cache.
    right: usize,
    slowest: Duration,
}

impl Answered {
    fn add(&mut self, is_right: bool, took: Duration) {
        self.asked += 1;
        self.right += usize::from(is_right);
        self.slowest = self.slowest.max(took);
    }
}

/// Somebody who may read and nothing else.
struct Rights;

impl PermissionSource for Rights {
    type Error = Infallible;

    async fn load(&self, _: &Who, _: LoadHint<'_>) -> Result<Grants, Infallible> {
        Ok(Grants::complete(["check:read"]))
    }
}

/// Requests and checks while a connection to Redis is there that nobody answers.
async fn silent(vars: &Vars) -> Result<Answered, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let (accepted, count) = tokio::sync::watch::channel(0);
    // Held open, and nothing is ever read or written.
    let silence = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            accepted.send_replace(held.len());
        }
    });
    let member = Member::new(&vars.at(port), "from the origin")?;
    if !until(JOINS, || *count.borrow() > 0).await {
        return Err("Redis was not asked, so nothing was tried (CACHE_L2_ENABLED?)".into());
    }
    let mut all = Answered::default();
    for number in 0..REQUESTS {
        let answer = member.get(&format!("https://terrace-check.invalid/{number}")).await?;
        all.add(answer.status == StatusCode::OK && answer.body == "from the origin", answer.took);
    }
    if vars.0.iter().any(|(name, keys)| name == "AUTHZ_CACHE_KEYS" && keys != "none") {
        decide(&member.store, &mut all).await?;
    }
    silence.abort();
    Ok(all)
}

/// What is granted is allowed, and nothing else, whatever the cache cannot do.
async fn decide(store: &Store, all: &mut Answered) -> Result<(), String> {
    let authz = Authz::builder(store.clone(), Rights).build().map_err(|error| error.to_string())?;
    for number in 0..REQUESTS {
        let subject = Subject::new(format!("terrace-check-{number}")).map_err(|error| error.to_string())?;
        let who = Principal::new(Who { tenant: Tenant::single(), subject });
        for (permission, is_allowed) in [("check:read", true), ("check:write", false)] {
            let started = Instant::now();
            let decision = authz.check(&who, permission).await.map_err(|error| error.to_string())?;
            all.add(decision.is_allow() == is_allowed, started.elapsed());
        }
    }
    Ok(())
}

pub(super) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

pub(super) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// 16 hexadecimal digits that nobody else has.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 8];
    // Without randomness of the system, time is as good for a name.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        bytes = now.as_nanos().to_le_bytes()[..8].try_into().unwrap_or_default();
    }
    format!("{:016x}", u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Status;

    #[test]
    fn the_namespace_is_never_the_fleets() {
        assert_eq!(ours("shop"), "shop.check");
        assert_eq!(ours(&"a".repeat(64)).len(), 64);
    }

    #[test]
    fn the_longest_patience_still_makes_a_store() {
        let vars = Vars(vec![("REDIS_URL".into(), "redis://127.0.0.1:1".into())]);
        for seconds in [1, 300, 301, 600] {
            let made = vars.patient(Duration::from_secs(seconds)).store();
            assert!(made.is_ok(), "{seconds} s: {:?}", made.err());
        }
    }

    #[test]
    fn everybody_is_answered_and_nobody_waits_for_long() {
        for (right, milliseconds, status) in [(30, 160, Status::Ok), (30, 161, Status::Fail), (29, 1, Status::Fail)] {
            let slowest = Duration::from_millis(milliseconds);
            let judged = degraded(&Answered { asked: 30, right, slowest }, Duration::from_millis(160));
            assert_eq!(judged.status, status, "{judged:?}");
        }
    }

    #[test]
    fn half_of_the_answers_decide() {
        let times = [1, 2, 3, 50, 60].map(Duration::from_millis);
        for (within, status) in [(4, Status::Ok), (3, Status::Fail)] {
            assert_eq!(l2_hit(&times, Duration::from_millis(within)).status, status);
        }
    }

    #[tokio::test]
    async fn requests_are_answered_beside_a_server_that_never_does() {
        let keys = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let vars = [
            ("AUTHZ_CACHE_KEYS", keys),
            ("CACHE_NAMESPACE", "a.check"),
            // A machine that stands still for a moment is not a source that fails.
            ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "60s"),
        ];
        let vars = Vars(Vec::from(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))));
        let well = silence(&vars, Duration::from_secs(20)).await;
        assert!(well.measured.starts_with("90 of 90"), "{well:?}");
        assert_eq!(well.status, Status::Ok, "{well:?}");
    }

    #[tokio::test]
    async fn memory_answers_alone_unless_it_is_switched_off() {
        assert_eq!(memory_alone(&Vars(Vec::new())).await.status, Status::Ok);
        let off = memory_alone(&Vars(vec![("CACHE_L1_ENABLED".into(), "off".into())])).await;
        assert_eq!(off.status, Status::Fail, "{off:?}");
    }
}
