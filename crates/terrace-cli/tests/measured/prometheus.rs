//! A real Prometheus, on a free port, gone when dropped.

use crate::harness::{PATIENCE, Raw, terrace, within};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use terrace_redis_server::Port;

/// Between two scrapes; four of them are in each part of [`WINDOW`] that the gate looks at.
const INTERVAL: &str = "250ms";

/// What is measured.
pub(crate) const WINDOW: &str = "5s";

pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _port: Port,
    pub(crate) directory: TempDir,
}

impl Prometheus {
    /// Watches these, and waits until it answers.
    pub(crate) fn start(targets: &[SocketAddr]) -> Self {
        let directory = TempDir::new().unwrap();
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let config = format!(
            "global: {{scrape_interval: {INTERVAL}, scrape_timeout: {INTERVAL}}}\n\
             scrape_configs: [{{job_name: shop, static_configs: [{{targets: [{}]}}]}}]\n",
            targets.join(", ")
        );
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let port = Port::free();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let mut child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("these tests need prometheus; scripts/test installs it ({error})"));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line.contains("Server is ready to receive web requests"));
        // Until it ends: who cannot write waits.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { child, address, _port: port, directory };
        assert!(is_ready, "prometheus has ended");
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The value of an expression without blanks, if it has one.
    pub(crate) async fn value(&self, query: &str) -> Option<f64> {
        let mut client = Raw::connect(self.address).await;
        client.send(format!("GET /api/v1/query?query={query} HTTP/1.1\r\nHost: p\r\n\r\n")).await;
        let answer: Value = serde_json::from_slice(&client.answer("GET").await.body).expect("JSON");
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    pub(crate) async fn until(&self, query: &str, value: f64) {
        let equal = async || self.value(query).await.is_some_and(|found| (found - value).abs() < 1e-9);
        let waiting = async {
            while !equal().await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within(query, waiting).await;
    }

    /// Runs `terrace` with these arguments, and this Prometheus.
    pub(crate) fn terrace(&self, arguments: &[&str]) -> Ended {
        run(terrace().args(arguments).args(["--prometheus", &self.url()]))
    }

    /// The same, until it ends like that: what has happened has to be scraped, and what was before has to be past.
    pub(crate) fn eventually(&self, code: i32, words: &str, arguments: &[&str]) -> Ended {
        let begin = std::time::Instant::now();
        loop {
            let ended = self.terrace(arguments);
            if ended.code == Some(code) && (ended.out.contains(words) || ended.err.contains(words)) {
                return ended;
            }
            assert!(begin.elapsed() < PATIENCE, "waited in vain for {code} and {words:?}: {ended:#?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The path of a file beside its own.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

pub(crate) fn run(command: &mut Command) -> Ended {
    let ended = command.stdin(Stdio::null()).output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
}
