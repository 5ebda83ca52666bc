//! The ten readiness checks, against the real authorization service in two processes over one Redis, one of them without
//! a memory of its own, and against a service behind the real proxy, whose access lines are the log.

use crate::harness::{Body, Origin, PATIENCE, Proxy, full};
use crate::pre::SOUND;
use crate::{KEY, Said, check};
use http::Response;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tempfile::TempDir;
use terrace_redis_server::{PATIENT, Server};

const TEN: [&str; 10] = [
    "service-health",
    "redis-connection",
    "source",
    "l2-configured",
    "l2-hit",
    "performance",
    "same-answer",
    "degradation",
    "structured-logs",
    "l1-compatibility",
];

/// The example, beside the command that is tested, built now if it is not there yet.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_BIN_EXE_terrace")).parent().unwrap();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "terrace-example-authorization", "--bin", "authorization"]);
        build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
        build.arg("--target-dir").arg(directory.parent().unwrap());
        if directory.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "the example is built");
        directory.join("authorization")
    })
}

/// A process of the authorization service.
struct Service {
    child: Child,
    url: String,
    /// Of who may ask.
    token: String,
}

impl Service {
    fn start(directory: &TempDir, redis: &Server, more: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example());
        command.arg("0").env_clear().env("DATA_DIR", directory.path()).env("REDIS_URL", redis.url());
        command.envs(PATIENT).envs(FLEET).envs(UNHURRIED).envs(more.iter().copied());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut service = Self { child, url: String::new(), token: String::new() };
        for line in BufReader::new(service.child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let Some(rest) = line.strip_prefix("listening on ") {
                rest.split_once(',').unwrap().0.clone_into(&mut service.url);
            } else if let Some(rest) = line.trim().strip_prefix("ALICE=") {
                rest.clone_into(&mut service.token);
            } else if line.contains("/metrics") {
                return service;
            }
        }
        panic!("the example ended");
    }

    fn check_url(&self) -> String {
        format!("{}/api/v1/authorization/check", self.url)
    }

    fn metrics(&self) -> String {
        format!("{}/metrics", self.url)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const FLEET: [(&str, &str); 2] = [("CACHE_NAMESPACE", "invoices"), ("AUTHZ_CACHE_KEYS", KEY)];

/// A machine that stands still for a moment is neither a source that fails nor a memory that nobody vouches for.
const UNHURRIED: [(&str, &str); 2] = [("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "60s"), ("CACHE_L1_MAX_LAG", "30s")];

/// Everything that the ten are about.
struct House {
    redis: Server,
    directory: TempDir,
    first: Service,
    peer: Service,
    proxy: Proxy,
    log: PathBuf,
}

impl House {
    async fn start(first: &[(&str, &str)], peer: &[(&str, &str)], form: &str) -> Self {
        let redis = Server::with(&SOUND);
        let directory = TempDir::new().unwrap();
        let first = Service::start(&directory, &redis, first);
        let peer = Service::start(&directory, &redis, &[&[("AUTHZ_CACHE_L1_MAX_BYTES", "0")], peer].concat());
        let log = directory.path().join("log");
        let proxy = logging(&service().await, form, &log);
        Self { redis, directory, first, peer, proxy, log }
    }

    /// `terrace check` with all targets, and these variables and arguments instead of those that they are in place of.
    fn check(&self, variables: &[(&str, &str)], more: &[&str]) -> Said {
        let (redis, proxy, admin) = (self.redis.url(), self.proxy.address, self.proxy.admin);
        let targets = [
            ("--url", format!("http://{admin}/healthz")),
            ("--authz-url", self.first.check_url()),
            ("--metrics", self.first.metrics()),
            ("--peer-url", self.peer.check_url()),
            ("--peer-metrics", self.peer.metrics()),
            ("--probe-url", format!("http://{proxy}/page?a=b")),
            ("--log", self.log.display().to_string()),
        ];
        let mut arguments: Vec<&str> =
            vec!["--exercise-degradation", "--authz-org", "acme", "--authz-permission", "invoice:read"];
        for (option, target) in &targets {
            if !more.contains(option) {
                arguments.extend([*option, target.as_str()]);
            }
        }
        // What is slow here is the machine.
        arguments.extend(["--l2-hit-within", "10s"].into_iter().filter(|_| !more.contains(&"--l2-hit-within")));
        arguments.extend(more);
        let own = [
            ("REDIS_URL", &*redis),
            ("TERRACE_AUTHZ_TOKEN", &*self.first.token),
            ("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "60s"),
        ];
        let vars = [&PATIENT[..], &FLEET, &own, variables].concat();
        tokio::task::block_in_place(|| check(&vars, &arguments))
    }

    /// The same until so many are ready: what a hit saves is little beside a machine that is busy with something else.
    fn ready(&self, variables: &[(&str, &str)], count: &str) -> Said {
        let (start, mut said) = (Instant::now(), self.check(variables, &[]));
        while said.json["ready"] != count {
            assert!(start.elapsed() < PATIENCE, "{said:?}");
            said = self.check(variables, &[]);
        }
        said
    }
}

/// A service whose answers, each another one, may be stored for a minute.
async fn service() -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            // So that it costs something to ask, as an origin does.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            answer(number)
        }
    })
    .await
}

/// The proxy in front of it, with its access lines in this form at the end of a file.
fn logging(origin: &Origin, form: &str, log: &Path) -> Proxy {
    let mut proxy = Proxy::start(origin.address, &["--access-log", form]);
    let lines = std::mem::replace(&mut proxy.lines, channel().1);
    let mut file = OpenOptions::new().create(true).append(true).open(log).unwrap();
    std::thread::spawn(move || lines.iter().for_each(|line| writeln!(file, "{line}").unwrap()));
    proxy
}

fn answer(number: usize) -> Response<Body> {
    Response::builder().header("cache-control", "max-age=60").body(full(number.to_string())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_of_ten_pass_in_their_order() {
    let house = House::start(&[], &[], "json").await;
    // What a hit saves is little beside a machine that is busy with something else for a while.
    let said = house.check(&[], &["--wait", "90s"]);
    let ten: Vec<&str> =
        said.json["findings"].as_array().unwrap()[..10].iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ten, TEN);
    assert_eq!((said.status, &said.json["ready"]), (Some(0), &"10 of 10".into()), "{said:?}");
    assert!(said.measured("performance").ends_with("200 pairs"), "{said:?}");
    assert!(said.measured("l2-hit").ends_with("by the median of 20"), "{said:?}");
    for id in ["round-trip", "metrics-present", "coherence", "fence-mode", "breaker"] {
        assert_eq!(said.of(id), "ok", "{said:?}");
    }
    // Besides who watches, which nothing was said about.
    assert_eq!(said.bad(), ["prometheus-targets", "prometheus-rules", "prometheus-tasks"], "{said:?}");
    // What was tried out is not the fleet's: nothing of the fleet has `.check` in its name, and of the other nothing is left.
    let redis::Value::Array(names) = house.redis.command(&["KEYS", "*"]) else { panic!() };
    let names: Vec<String> = names.into_iter().map(|name| redis::from_redis_value(name).unwrap()).collect();
    assert!(names.iter().any(|name| name.contains("{invoices.check}")), "{names:?}");
    drop(house.directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_ten_is_seen_to_fail() {
    let house = House::start(&[], &[], "text").await;
    let nobody = "http://127.0.0.1:1/x";
    house.check(&[], &["--url", nobody]).failed("service-health", "refused");
    house.check(&[("TERRACE_AUTHZ_TOKEN", "nonsense")], &[]).failed("source", "status 401");
    house.check(&[("AUTHZ_CACHE_SOURCE_TIMEOUT_MS", "1")], &[]).failed("source", "ms");
    house.check(&[], &["--log", "nothing.log"]).failed("structured-logs", "No such file");
    house.check(&[], &["--log", "/dev/zero"]).failed("structured-logs", "no regular file");
    let said = house.ready(&[("CACHE_L1_ENABLED", "off")], "8 of 10");
    said.failed("structured-logs", " not JSON, 1 with the trace id");
    said.failed("l1-compatibility", "0 answers from memory");
    house.redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(house.ready(&[], "9 of 10").of("l2-configured"), "warn");
    house.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    house.check(&[], &[]).failed("l2-configured", "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_share_and_a_service_that_does_not_cache_are_found_out() {
    let house = House::start(&[("AUTHZ_CACHE_ENABLED", "off")], &[("CACHE_NAMESPACE", "elsewhere")], "json").await;
    let said = house.check(&[], &["--timeout", "5s"]);
    said.failed("l2-hit", "stored nothing in Redis");
    let saved: f64 = said.measured("performance").split(' ').next().unwrap().parse().unwrap();
    assert_eq!(said.of("performance"), if saved < 40.0 { "fail" } else { "ok" }, "{said:?}");
    assert_eq!(said.of("same-answer"), "ok", "it answers the same all the same: {said:?}");

    let house = House::start(&[], &[("CACHE_NAMESPACE", "elsewhere")], "json").await;
    let said = house.check(&[], &[]);
    said.failed("l2-hit", "came from Redis");
}

/// Without a memory, a hit of what answers differently each time is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_hit_that_differs_from_its_miss_is_found_out() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { crate::harness::no_store(full(format!("answer {number}"))) }
    })
    .await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let url = format!("http://{}/page", proxy.address);
    let said = tokio::task::block_in_place(|| check(&[], &["--probe-url", &url]));
    said.failed("same-answer", "");
    said.failed("performance", "saved");
    assert_eq!(said.of("source"), "skip", "{said:?}");
    let origin = Origin::start(|_| async { answer(7) }).await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let url = format!("http://{}/page", proxy.address);
    let said = tokio::task::block_in_place(|| check(&[], &["--probe-url", &url]));
    assert_eq!(said.of("same-answer"), "ok", "{said:?}");
}

/// It may be the log of a year, of which only what is new is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_log_only_what_is_new_is_read() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    std::fs::File::create(&log).unwrap().set_len(1 << 40).unwrap();
    let proxy = logging(&service().await, "json", &log);
    let (url, log) = (format!("http://{}/page", proxy.address), log.display().to_string());
    let said = tokio::task::block_in_place(|| check(&[], &["--probe-url", &url, "--log", &log]));
    assert_eq!(said.of("structured-logs"), "ok", "{said:?}");
    assert!(said.measured("structured-logs").ends_with(" lines, 0 not JSON, 1 with the trace id"), "{said:?}");
}
