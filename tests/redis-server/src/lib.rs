//! Real redis-servers for tests: on free loopback ports, in directories of their own, gone when dropped.
//!
//! What a server says on its standard output is awaited, not the clock: it is ready, in sync or promoted when it says
//! so. Everything here blocks; a test with tasks of its own gives it a thread, or does not mind.

use redis::Value;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

mod monitor;
mod port;
mod proxy;
mod tls;

pub use monitor::Monitor;
pub use port::Port;
pub use proxy::Proxy;
pub use tls::Certificates;

/// Nothing here takes this long unless it will never happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limits that a busy machine keeps, for tests that are about something else: a machine that stands still for a moment
/// is not a server that fails.
pub const PATIENT: [(&str, &str); 4] = [
    ("CACHE_L2_READ_BUDGET", "10s"),
    ("CACHE_L2_WRITE_BUDGET", "10s"),
    ("CACHE_L2_POOL_WAIT", "10s"),
    ("REDIS_SOCKET_TIMEOUT", "30s"),
];

/// Takes every setting from what a program is to inherit, so that it knows what it is told and nothing else.
pub fn unset(command: &mut Command) {
    let ours = ["CACHE_", "AUTHZ_", "REDIS_", "TERRACE_"].map(str::as_bytes);
    for (name, _) in std::env::vars_os() {
        if ours.iter().any(|ours| name.as_encoded_bytes().starts_with(ours)) {
            command.env_remove(name);
        }
    }
}

/// A running server, or one that was killed and can be started again.
#[derive(Debug)]
pub struct Server {
    port: Port,
    /// That of a cluster's bus.
    bus: Option<Port>,
    options: Vec<String>,
    sentinel: bool,
    login: Option<(String, String)>,
    tls: Option<Certificates>,
    running: Option<Running>,
    directory: TempDir,
}

#[derive(Debug)]
struct Running {
    process: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL also ends a process that is stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a server that keeps nothing on disk.
    ///
    /// # Panics
    ///
    /// As everything here, if redis-server is not installed or does not do what it is told.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with further options, as on its command line: `["--maxmemory", "10mb"]`.
    #[must_use]
    pub fn with(options: &[&str]) -> Self {
        let mut all = vec!["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"];
        all.extend(options);
        Self::new(&all, None, None)
    }

    /// Starts a server that asks for the password of the default user.
    #[must_use]
    pub fn with_password(password: &str) -> Self {
        Self::new(&["--save", "", "--requirepass", password], Some(("default", password)), None)
    }

    /// Starts a server that accepts TLS alone.
    #[must_use]
    pub fn with_tls(certificates: &Certificates) -> Self {
        Self::new(&["--save", ""], None, Some(certificates))
    }

    /// Starts a replica of `primary`, and waits until it is in sync.
    #[must_use]
    pub fn replica_of(primary: &Self) -> Self {
        let port = primary.port().to_string();
        let mut replica = Self::with(&["--replicaof", "127.0.0.1", &port]);
        replica.wait_for("MASTER <-> REPLICA sync: Finished with success");
        replica
    }

    /// Starts a Sentinel that watches `primary` under the name `main`, and with `quorum` others takes half a second of
    /// silence for its death. `more` are further lines of its configuration.
    #[must_use]
    pub fn sentinel_of(primary: &Self, quorum: u8, more: &str) -> Self {
        let (port, directory) = (Port::free(), scratch());
        let file = directory.path().join("sentinel.conf");
        let mut text = format!("port {}\nbind 127.0.0.1\ndir {}\n{more}\n", port.number(), directory.path().display());
        let _ = writeln!(text, "sentinel monitor main 127.0.0.1 {} {quorum}", primary.port());
        text.push_str("sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n");
        fs::write(&file, text).expect("a file in a new directory");
        let options = vec![file.display().to_string()];
        Self { port, bus: None, options, sentinel: true, login: None, tls: None, running: None, directory }.started()
    }

    /// Starts a node of a cluster, which has no slots yet.
    #[must_use]
    pub fn cluster_node() -> Self {
        Self::node(None)
    }

    /// The same, which accepts TLS alone, from other nodes too.
    #[must_use]
    pub fn cluster_node_with_tls(certificates: &Certificates) -> Self {
        Self::node(Some(certificates))
    }

    fn node(tls: Option<&Certificates>) -> Self {
        // The port of the cluster's bus is 10000 higher unless it is told.
        let bus = Port::free();
        let number = bus.number().to_string();
        let over = if tls.is_some() { "yes" } else { "no" };
        let options = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &number, "--tls-cluster", over];
        Self { bus: Some(bus), ..Self::prepared(&options, None, tls) }.started()
    }

    fn new(options: &[&str], login: Option<(&str, &str)>, tls: Option<&Certificates>) -> Self {
        Self::prepared(options, login, tls).started()
    }

    fn prepared(options: &[&str], login: Option<(&str, &str)>, tls: Option<&Certificates>) -> Self {
        let port = Port::free();
        let options = command_line(port.number(), options, tls);
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let (tls, directory) = (tls.cloned(), scratch());
        Self { port, bus: None, options, sentinel: false, login, tls, running: None, directory }
    }

    fn started(mut self) -> Self {
        self.run();
        self
    }

    /// Starts it, and waits until it is ready.
    fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(&self.options).current_dir(self.directory.path());
        if self.sentinel {
            command.arg("--sentinel");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) => panic!("these tests need redis-server 7 or later; scripts/test installs it ({error})"),
        };
        let output = process.stdout.take().expect("piped");
        let (sender, lines) = channel();
        // Reads to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        self.running = Some(Running { process, lines });
        self.wait_for(if self.sentinel { "Sentinel ID is" } else { "Ready to accept connections" });
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port())
    }

    /// Waits until the server says something that contains `text`, and forgets what it said before.
    pub fn wait_for(&mut self, text: &str) {
        let running = self.running.as_ref().expect("the server runs");
        let mut said = String::new();
        loop {
            match running.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => drop(writeln!(said, "{line}")),
                Err(RecvTimeoutError::Timeout) => panic!("redis-server never said {text:?}, but\n{said}"),
                Err(RecvTimeoutError::Disconnected) => panic!("redis-server ended without {text:?}:\n{said}"),
            }
        }
    }

    /// Runs one command on a connection of its own, with every right.
    ///
    /// # Panics
    ///
    /// If the server answers with an error.
    pub fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// As [`command`](Self::command).
    ///
    /// # Errors
    ///
    /// What the server or the connection answered.
    ///
    /// # Panics
    ///
    /// Without a word.
    pub fn try_command(&self, words: &[&str]) -> Result<Value, redis::RedisError> {
        if self.tls.is_some() {
            return Ok(tls::command(self.port(), words));
        }
        let mut info = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some((user, password)) = &self.login {
            info = info.set_username(user).set_password(password);
        }
        let address = redis::ConnectionAddr::Tcp("127.0.0.1".into(), self.port());
        let info = redis::IntoConnectionInfo::into_connection_info(address)?.set_redis_settings(info);
        let mut connection = redis::Client::open(info)?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let (name, arguments) = words.split_first().expect("a command");
        redis::cmd(name).arg(arguments).query(&mut connection)
    }

    /// Listens to every command that it carries out from here on.
    ///
    /// # Panics
    ///
    /// If it asks for a password or for TLS.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor::of(self.port())
    }

    /// A field of a section of `INFO`.
    ///
    /// # Panics
    ///
    /// If there is no such field.
    #[must_use]
    pub fn info(&self, section: &str, field: &str) -> String {
        let Value::BulkString(text) = self.command(&["INFO", section]) else { panic!("INFO answers with text") };
        let text = String::from_utf8_lossy(&text);
        let field = format!("{field}:");
        let line = text.lines().find_map(|line| line.strip_prefix(&field));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
    }

    /// Whether it says that it is a primary. While it becomes one, by the word of a Sentinel, it closes connections and says
    /// nothing.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        let Ok(Value::Array(role)) = self.try_command(&["ROLE"]) else { return false };
        role.first() == Some(&Value::BulkString(b"master".into()))
    }

    /// Has this Sentinel promote a replica though the primary lives, as soon as it knows one that will do.
    ///
    /// # Panics
    ///
    /// If it never does.
    pub fn fails_over(&self) {
        let begun = Instant::now();
        while let Err(error) = self.try_command(&["SENTINEL", "FAILOVER", "main"]) {
            assert!(begun.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once, as `kill -9`. What it has on disk stays.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again where it was, after [`kill`](Self::kill), with what it has on disk.
    pub fn restart(&mut self) {
        self.kill();
        self.run();
    }

    /// Stops it from doing anything, as SIGSTOP: connections are accepted by the system, and nobody answers.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn pause(&self) {
        let running = self.running.as_ref().expect("the server runs");
        self.signal(Signal::STOP);
        // The signal is on its way until then.
        waitid(WaitId::Pid(Pid::from_child(&running.process)), WaitIdOptions::STOPPED).expect("a child of ours");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("the server runs");
        kill_process(Pid::from_child(&running.process), signal).expect("a process of ours");
    }
}

fn command_line(port: u16, options: &[&str], tls: Option<&Certificates>) -> Vec<String> {
    let port = port.to_string();
    let mut all: Vec<String> = ["--bind", "127.0.0.1", "--logfile", ""].map(str::to_owned).to_vec();
    match tls {
        None => all.extend(["--port".to_owned(), port]),
        Some(certificates) => {
            all.extend(["--port", "0", "--tls-port", &port].map(str::to_owned));
            all.extend(certificates.options());
        }
    }
    all.extend(options.iter().map(|&option| option.to_owned()));
    all
}

/// Joins nodes to a cluster in which each has its share of the slots, and waits until all say that it works.
///
/// # Panics
///
/// As everything here.
pub fn form_cluster(nodes: &mut [Server]) {
    let share = 16_384_usize.div_ceil(nodes.len());
    let first = nodes[0].port();
    for (at, node) in nodes.iter().enumerate() {
        let (from, to) = ((at * share).to_string(), ((at + 1) * share).min(16_384) - 1);
        node.command(&["CLUSTER", "ADDSLOTSRANGE", &from, &to.to_string()]);
        node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        let bus = node_bus(&nodes[0]);
        node.command(&["CLUSTER", "MEET", "127.0.0.1", &first.to_string(), &bus]);
    }
    for node in nodes {
        node.wait_for("Cluster state changed: ok");
    }
}

fn node_bus(node: &Server) -> String {
    node.bus.as_ref().expect("a node of a cluster").number().to_string()
}

fn scratch() -> TempDir {
    TempDir::new().expect("a temporary directory")
}
