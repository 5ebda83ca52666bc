//! `terrace watch`: what programs in other languages publish, as a fleet of proxies feels it.

use crate::harness::{Origin, PATIENCE, Proxy, Raw, full, run_to_end, terrace, within};
use http::Response;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use terrace_redis_server::{PATIENT, Server};
use tokio::sync::Notify;

/// A running `terrace watch`.
pub(crate) struct Watch {
    child: Child,
    admin: SocketAddr,
}

impl Watch {
    /// Starts one, and waits until it listens.
    pub(crate) async fn start(server: &Server, flags: &[&str]) -> Self {
        let mut child = terrace()
            .args(["watch", "--admin", "127.0.0.1:0"])
            .args(flags)
            .envs(PATIENT)
            .env("REDIS_URL", server.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let admin = line.trim().strip_prefix("admin on http://").unwrap_or_else(|| panic!("{line:?}"));
        let admin = admin.parse().expect("an address");
        let watch = Self { child, admin };
        watch.eventually("cache_bridge_connected", 1).await;
        watch
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        let mut client = Raw::connect(self.admin).await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n")).await;
        let answer = client.answer("GET").await;
        (answer.status, answer.text())
    }

    /// The value of a series.
    async fn metric(&self, series: &str) -> u64 {
        self.text_of(series).await.parse().expect("a whole number")
    }

    /// The same, of a gauge that may be between two whole numbers.
    pub(crate) async fn gauge(&self, series: &str) -> f64 {
        self.text_of(series).await.parse().expect("a number")
    }

    async fn text_of(&self, series: &str) -> String {
        let (_, text) = self.ask("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).to_owned()
    }

    async fn eventually(&self, series: &str, value: u64) {
        eventually(&format!("{series} is {value}"), async || self.metric(series).await == value).await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    /// Waits for it to end by itself; its status, and what it has logged.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
        (self.child.wait().expect("a child can be waited for").code(), text)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for what other processes do, of which nobody here is told.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// Counts the requests that it answers, with the number as content.
async fn counting() -> (Origin, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::start(move |_| {
        let number = count.fetch_add(1, SeqCst) + 1;
        async move { Response::builder().header("cache-control", "max-age=600").body(full(number.to_string())).unwrap() }
    })
    .await;
    (origin, asked)
}

/// Two proxies of a fleet.
async fn fleet(server: &Server, origin: &Origin) -> [Proxy; 2] {
    let (origin, url) = (format!("http://{}", origin.address), server.url());
    let variables: Vec<_> = PATIENT.into_iter().chain([("REDIS_URL", url.as_str())]).collect();
    let proxies = [(); 2].map(|()| Proxy::start_with(&origin, &["--access-log", "off"], &variables));
    for proxy in &proxies {
        proxy.joined().await;
    }
    proxies
}

/// Asks until the answer is a stored one, and gives its content.
async fn hit(proxy: &Proxy, path: &str) -> String {
    eventually("it is stored", async || is_hit(proxy, path).await).await;
    proxy.get(path).await.text()
}

async fn is_hit(proxy: &Proxy, path: &str) -> bool {
    proxy.get(path).await.header("cache-status").is_some_and(|status| status.starts_with("terrace; hit"))
}

fn publish(server: &Server, channel: &str, text: &str) -> String {
    format!("{:?}", server.command(&["PUBLISH", channel, text]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_another_program_takes_effect_in_every_proxy() {
    let (server, (origin, _)) = (Server::start(), counting().await);
    let proxies = fleet(&server, &origin).await;
    let watch = Watch::start(&server, &[]).await;
    for message in [r#"{"keys": ["http://test.example/products/1"]}"#, r#"{"patterns": ["/products/*"]}"#, r#""*""#] {
        let before = [hit(&proxies[0], "/products/1").await, hit(&proxies[1], "/products/1").await];
        assert_eq!(publish(&server, "cache:invalidate", message), "int(1)");
        for (proxy, before) in proxies.iter().zip(before) {
            eventually(message, async || proxy.get("/products/1").await.text() != before).await;
        }
    }
    watch.eventually(r#"cache_bridge_messages_total{channel="invalidate",result="ok"}"#, 3).await;
    // It is counted once Redis has replied, and the proxies may have heard of it before.
    watch.eventually(r#"cache_invalidations_total{scope="all",kind="hard",result="acked"}"#, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_watchers_one_warms() {
    let (server, (origin, asked)) = (Server::start(), counting().await);
    let to = format!("http://{}", origin.address);
    let watches = [Watch::start(&server, &["--origin", &to]).await, Watch::start(&server, &["--origin", &to]).await];
    for round in 1..=3 {
        // The same message again is another message.
        assert_eq!(publish(&server, "cache:prewarm", r#"{"keys": ["/a", "http://shop.example/b"]}"#), "int(2)");
        let told = async || {
            let mut all = [0, 0];
            for watch in &watches {
                all[0] += watch.metric(r#"cache_bridge_prewarms_total{result="claimed"}"#).await;
                all[1] += watch.metric(r#"cache_bridge_prewarms_total{result="elsewhere"}"#).await;
            }
            all == [round, round]
        };
        eventually("one has claimed it, and the other has not", told).await;
        let answered = async || {
            let mut all = 0;
            for watch in &watches {
                all += watch.metric(r#"watch_prewarm_requests_total{result="not_stored"}"#).await;
            }
            all == 2 * round
        };
        eventually("both URLs are answered", answered).await;
        assert_eq!(asked.load(SeqCst) as u64, 2 * round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_warmed_is_there_before_somebody_asks() {
    let (server, (origin, asked)) = (Server::start(), counting().await);
    let proxies = fleet(&server, &origin).await;
    let to = format!("http://{}", proxies[0].address);
    let watches = [Watch::start(&server, &["--origin", &to]).await, Watch::start(&server, &["--origin", &to]).await];
    let before = hit(&proxies[1], "/a").await;
    // As a program does that has changed something. Both watchers carry out the first; what is warmed before the later
    // of them has done so is lost again.
    publish(&server, "cache:invalidate", r#"{"keys": ["/a"]}"#);
    for watch in &watches {
        watch.eventually(r#"cache_invalidations_total{scope="key",kind="hard",result="acked"}"#, 1).await;
    }
    publish(&server, "cache:prewarm", r#"{"keys": ["http://test.example/a"]}"#);
    let stored = async || {
        let mut all = 0;
        for watch in &watches {
            all += watch.metric(r#"watch_prewarm_requests_total{result="stored"}"#).await;
        }
        all == 1
    };
    eventually("it is stored", stored).await;
    assert_eq!(asked.load(SeqCst), before.parse::<usize>().unwrap() + 1);
    eventually("it is in Redis", async || is_hit(&proxies[1], "/a").await).await;
    assert_eq!(asked.load(SeqCst), before.parse::<usize>().unwrap() + 1, "nobody had to wait for the origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_counted_and_large_ones_refused() {
    let (server, (origin, _)) = (Server::start(), counting().await);
    let to = format!("http://{}", origin.address);
    let watch = Watch::start(&server, &["--origin", &to]).await;
    let large = format!("[\"/{}\"]", "a".repeat(1 << 20));
    for (channel, text, result) in [
        ("invalidate", "/a", "syntax"),
        ("invalidate", &large, "too_large"),
        ("update", "42", "shape"),
        ("update", r#"{"url": "/a"}"#, "empty"),
        ("prewarm", r#"["tenant:42"]"#, "item"),
        ("prewarm", r#"["/a", "/b/*"]"#, "partial"),
    ] {
        publish(&server, &format!("cache:{channel}"), text);
        let series = format!(r#"cache_bridge_messages_total{{channel="{channel}",result="{result}"}}"#);
        watch.eventually(&series, 1).await;
    }
    watch.eventually(r#"watch_prewarm_requests_total{result="not_stored"}"#, 1).await;
    assert_eq!(watch.ask("/healthz").await, (200, r#"{"status":"healthy"}"#.into()));
    watch.signal(Signal::TERM);
    let (status, log) = watch.ended();
    assert_eq!(status, Some(0), "{log}");
    // For people, and nothing of what was sent.
    assert!(log.contains(" level=WARNING") && log.contains("event=cache_bridge_refused"), "{log}");
    assert!(log.contains("reason=too_large") && !log.contains("tenant:42") && !log.contains("aaaa"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_redis_it_hears_again() {
    let (mut server, (origin, _)) = (Server::start(), counting().await);
    let proxies = fleet(&server, &origin).await;
    let watch = Watch::start(&server, &[]).await;
    server.kill();
    watch.eventually("cache_bridge_connected", 0).await;
    assert_eq!(watch.ask("/healthz").await.0, 200, "another watcher would hear no more");
    server.restart();
    watch.eventually("cache_bridge_connected", 1).await;
    assert_eq!(watch.metric("cache_bridge_gaps_total").await, 1);
    let before = hit(&proxies[0], "/a").await;
    publish(&server, "cache:invalidate", r#"["/a"]"#);
    eventually("it is carried out", async || proxies[0].get("/a").await.text() != before).await;
    watch.signal(Signal::INT);
    let (status, log) = watch.ended();
    assert_eq!(status, Some(0));
    assert!(log.contains("event=cache_bridge_lost") && log.contains("event=cache_bridge_gap"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_at_once_also_while_it_warms() {
    let server = Server::start();
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let origin = Origin::start(move |_| {
        told.notify_one();
        std::future::pending()
    })
    .await;
    let to = format!("http://{}", origin.address);
    let watch = Watch::start(&server, &["--origin", &to]).await;
    publish(&server, "cache:prewarm", r#""/a""#);
    within("the request", arrived.notified()).await;
    let started = std::time::Instant::now();
    watch.signal(Signal::TERM);
    assert_eq!(watch.ended().0, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_measures_until_a_second_store_has_heard() {
    let mut server = Server::start();
    let watch = Watch::start(&server, &["--probe", "50ms"]).await;
    let probed = |result| format!("watch_probes_total{{result=\"{result}\"}}");
    eventually("it has probed", async || watch.metric(&probed("ok")).await >= 5).await;
    let (_, text) = watch.ask("/metrics").await;
    let number = |name: &str| -> f64 {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
    };
    let (count, sum) = (number("watch_probe_duration_seconds_count"), number("watch_probe_duration_seconds_sum"));
    assert!(count >= 5.0 && sum > 0.0 && sum / count < 30.0, "{count} {sum}");
    assert!(text.contains("watch_probe_duration_seconds_bucket{le="), "{text}");
    // One marker, however often: what is probed leaves nothing else behind.
    let redis::Value::Int(members) = server.command(&["ZCARD", "{default}:ctl"]) else {
        panic!("ZCARD answers a number")
    };
    assert_eq!(members, 4, "the epoch, the floor, the position, and the tag of the probe");
    server.kill();
    eventually("it fails", async || watch.metric(&probed("failed")).await >= 1).await;
    server.restart();
    let before = watch.metric(&probed("ok")).await;
    eventually("it measures again", async || watch.metric(&probed("ok")).await > before).await;
}

#[test]
fn without_redis_there_is_nothing_to_watch() {
    let mut command = terrace();
    command.args(["watch", "--admin", "off"]);
    let (status, text) = run_to_end(&mut command);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("REDIS_URL"), "{text}");
    for (flag, value, accepted) in [
        ("--origin", "localhost", "expected http://HOST"),
        ("--rate", "0", "1..=100000"),
        ("--concurrency", "0", "1..=1000"),
        ("--timeout", "0s", "above zero"),
    ] {
        let mut command = terrace();
        command.args(["watch", flag, value]);
        let (status, text) = run_to_end(&mut command);
        assert!(status == Some(2) && text.contains(flag) && text.contains(accepted), "{text}");
    }
}
