//! `terrace check --prometheus`: a real one, with the rules of deploy, that also watches what is not ours.

use crate::Said;
use crate::harness::{Origin, PATIENCE, Proxy, Raw, full, within};
use crate::post::post;
use http::Response;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use terrace_redis_server::Port;

const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus/*.yml");

/// Somebody else's: named as one of ours, and one that cannot be evaluated as soon as two targets are there.
const OTHERS: &str = "groups: [{name: shop, rules: [{alert: RedisDown, expr: 'up * on () up'}]}]";

/// Gone when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _port: Port,
    _directory: TempDir,
}

impl Prometheus {
    fn start(rules: &[&str], jobs: &[(&str, SocketAddr)]) -> Self {
        let directory = TempDir::new().unwrap();
        let job =
            |(job, at): &(&str, SocketAddr)| format!("{{job_name: {job}, static_configs: [{{targets: ['{at}']}}]}}");
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\n\
             rule_files: {rules:?}\nscrape_configs: [{}]\n",
            jobs.iter().map(job).collect::<Vec<_>>().join(", ")
        );
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        fs::write(directory.path().join("others.yml"), OTHERS).unwrap();
        let port = Port::free();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(directory.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("these tests need prometheus ({error})"));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line.contains("Server is ready to receive web requests"));
        // Until it ends: who cannot write waits.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { child, address, _port: port, _directory: directory };
        assert!(is_ready, "prometheus has ended");
        server
    }

    /// What is said when these two have become of it: what has happened has to be scraped first.
    fn until(&self, targets: (&str, &str), rules: (&str, &str)) -> Said {
        let (start, url) = (Instant::now(), format!("http://{}", self.address));
        loop {
            let said = post(&[], &["--prometheus", &url]);
            let is =
                |id: &str, (status, words): (&str, &str)| said.of(id) == status && said.measured(id).contains(words);
            if is("prometheus-targets", targets) && is("prometheus-rules", rules) {
                return said;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {targets:?} and {rules:?}: {said:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Until the rule of others cannot be evaluated.
    async fn until_broken(&self) {
        let broken = async {
            loop {
                let mut client = Raw::connect(self.address).await;
                client.send("GET /api/v1/rules HTTP/1.1\r\nHost: p\r\n\r\n").await;
                let rules: Value = serde_json::from_slice(&client.answer("GET").await.body).expect("JSON");
                let groups = rules["data"]["groups"].as_array().expect("groups");
                let others = groups.iter().find(|group| group["name"] == "shop").expect("they are loaded");
                if others["rules"][0]["health"] == "err" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within("the rule of others", broken).await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_asked_what_it_scrapes_of_ours_and_which_rules_of_ours_it_has() {
    let origin = Origin::start(|_| async { Response::new(full("")) }).await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let all = Prometheus::start(&[OURS, "others.yml"], &[("fleet", proxy.admin), ("others", nobody)]);
    all.until_broken().await;
    // Neither that nobody answers for the other job nor the rule of others is a fault of ours.
    let said = all.until(("ok", "1 are up"), ("ok", "are loaded"));
    assert_eq!(said.finding("prometheus-targets")["fix"], Value::Null, "{said:?}");
    let address = proxy.admin;
    drop(proxy);
    let said = all.until(("fail", "refused"), ("ok", "are loaded"));
    said.failed("prometheus-targets", &format!("http://{address}/metrics: "));
    assert!(!said.measured("prometheus-targets").contains("127.0.0.1:1/"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_watches_somebody_else_is_found_out() {
    let origin = Origin::start(|_| async { Response::new(full("")) }).await;
    let other = Prometheus::start(&["others.yml"], &[("others", origin.address)]);
    let said = other.until(("fail", "nothing with cache_build_info"), ("fail", "missing: RedisDown, RedisHighMemory"));
    said.failed("prometheus-targets", "is scraped");
    said.failed("prometheus-rules", "BackupStale");
    drop(other);
    let said = post(&[], &["--prometheus", "http://127.0.0.1:1"]);
    let seen = ["prometheus-targets", "prometheus-rules", "prometheus-tasks"].map(|id| said.of(id));
    assert_eq!((seen, said.status), (["unknown"; 3], Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_not_succeeded_in_its_time_is_told() {
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let backup = Arc::new(AtomicU64::new(begin));
    let noted = Arc::clone(&backup);
    let watch = Origin::start(move |_| {
        let (name, noted) = ("cache_task_last_success_timestamp_seconds", noted.load(Ordering::SeqCst));
        let text = format!(
            "cache_build_info{{version=\"1\"}} 1\n{name}{{task=\"warm_full\"}} {begin}\n\
             {name}{{task=\"warm_hot\"}} {begin}\n{name}{{task=\"backup\"}} {noted}\n"
        );
        async move { Response::builder().header("content-type", "text/plain; version=0.0.4").body(full(text)).unwrap() }
    })
    .await;
    let prometheus = Prometheus::start(&[OURS], &[("watch", watch.address)]);
    let (up, loaded) = (("ok", "1 are up"), ("ok", "are loaded"));
    let said = prometheus.until(up, loaded);
    assert_eq!(said.of("prometheus-tasks"), "ok", "{said:?}");
    backup.store(begin - 8 * 3600, Ordering::SeqCst);
    let (start, mut said) = (Instant::now(), said);
    while said.of("prometheus-tasks") != "warn" {
        assert!(start.elapsed() < PATIENCE, "{said:?}");
        said = prometheus.until(up, loaded);
    }
    assert_eq!(said.measured("prometheus-tasks"), "backup of watch: 8.0 h ago", "{said:?}");
    // A process that serves runs no task, and nothing is said of any.
    let origin = Origin::start(|_| async { Response::new(full("")) }).await;
    let proxy = Proxy::start(origin.address, &["--access-log", "off"]);
    let prometheus = Prometheus::start(&[OURS], &[("fleet", proxy.admin)]);
    assert_eq!(prometheus.until(up, loaded).of("prometheus-tasks"), "skip");
}
