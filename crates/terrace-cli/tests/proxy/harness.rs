//! The binary on a free port, origins that tests control, and a client that shows every byte.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Fails the test instead of hanging it.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The command without anything of this environment that could change it.
pub(crate) fn terrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
    for (name, _) in std::env::vars() {
        let ours = ["TERRACE_", "CACHE_", "AUTHZ_", "REDIS_", "LOG_LEVEL"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// A running `terrace proxy`.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) lines: mpsc::Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    pub(crate) fn start(origin: SocketAddr, flags: &[&str]) -> Self {
        Self::start_at(&format!("http://{origin}"), flags)
    }

    pub(crate) fn start_at(origin: &str, flags: &[&str]) -> Self {
        Self::start_with(origin, flags, &[])
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(origin: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = terrace()
            .envs(variables.iter().copied())
            .args(["proxy", "--origin", origin])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut proxy = Self { child, lines, address: ([127, 0, 0, 1], 0).into(), admin: ([127, 0, 0, 1], 0).into() };
        proxy.address = proxy.said("listening on http://");
        proxy.admin = proxy.said("admin on http://");
        proxy
    }

    fn said(&self, prefix: &str) -> SocketAddr {
        let line = self.line();
        let address = line.strip_prefix(prefix);
        let address = address.unwrap_or_else(|| panic!("{line:?} is not {prefix:?}…"));
        address.parse().expect("an address")
    }

    /// The next line on standard output.
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        line.expect("a line on standard output")
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the process lives");
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(self) -> ExitStatus {
        self.in_the_end(|proxy| proxy.child.wait().expect("a child can be waited for")).await
    }

    /// Waits for the process to end by itself, and gives all further lines on standard output.
    pub(crate) async fn output(self) -> Vec<String> {
        self.in_the_end(|proxy| proxy.lines.iter().collect()).await
    }

    /// Blocks a thread of its own, which a test that gave up does not wait for.
    async fn in_the_end<T: Send + 'static>(mut self, wait: fn(&mut Self) -> T) -> T {
        let pid = self.pid();
        let (sender, ended) = oneshot::channel();
        std::thread::spawn(move || sender.send(wait(&mut self)));
        let Ok(result) = tokio::time::timeout(PATIENCE, ended).await else {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it still lives");
            panic!("the proxy did not end");
        };
        result.expect("no panic")
    }

    /// Waits until it follows its Redis: what it fetches before, it keeps to itself.
    pub(crate) async fn joined(&self) {
        let joined = async {
            loop {
                let mut client = Raw::connect(self.admin).await;
                client.send("GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await;
                if client.answer("GET").await.text().contains("cache_coherence_state{state=\"coherent\"} 1\n") {
                    return;
                }
            }
        };
        within("the proxy to follow its Redis", joined).await;
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn exchange(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer(request.split(' ').next().unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: test.example\r\n\r\n")).await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end.
pub(crate) fn run_to_end(command: &mut Command) -> (Option<i32>, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut text = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    stderr.read_to_string(&mut text).expect("text");
    (child.wait().expect("ended").code(), text)
}

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

/// An HTTP/1.1 origin served by hyper.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) async fn start<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let handler = handler.clone();
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Self { address, connections }
    }

    /// Answers with the request's head as text, `no-store`.
    pub(crate) async fn mirror() -> Self {
        Self::start(|request| async move {
            let line = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
            let fields = request.headers().iter();
            let fields = fields.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
            let mut text = line + &fields.collect::<Vec<_>>().concat() + "\n";
            let body = request.into_body().collect().await.unwrap().to_bytes();
            text += &String::from_utf8_lossy(&body);
            no_store(full(text))
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub(crate) fn no_store(body: Body) -> Response<Body> {
    Response::builder().header("cache-control", "no-store").body(body).unwrap()
}

/// An origin that speaks bytes: `script` gets each connection and its number from 0.
pub(crate) async fn raw_origin<F>(script: impl Fn(Raw, usize) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(Raw::new(stream), number));
        }
    });
    address
}

/// A socket with a buffer: a client towards the proxy, or an origin towards it.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await;
        Self::new(stream.expect("the proxy accepts"))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the peer reads");
    }

    /// Reads more; `false` at the end of the stream, however it ends.
    async fn fill(&mut self) -> bool {
        let read = within("bytes", self.stream.read_buf(&mut self.buffer)).await;
        read.unwrap_or(0) > 0
    }

    /// The next `count` bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill().await, "ended early: {:?}", self.text());
        }
        self.buffer.drain(..count).collect()
    }

    /// Everything up to and with `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.buffer.windows(end.len()).position(|part| part == end.as_bytes());
            if let Some(at) = found {
                let part: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                return String::from_utf8(part).expect("text");
            }
            assert!(self.fill().await, "no {end:?} in {:?}", self.text());
        }
    }

    /// Everything to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// A message's head, of a request or a response.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// A whole response to a request with `method`.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let mut answer = Answer::parse(&self.head().await);
        if method == "HEAD" || [204, 304, 101].contains(&answer.status) {
            return answer;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer).await;
        } else if let Some(length) = answer.header("content-length") {
            answer.body = self.take(length.parse().expect("a length")).await;
        } else {
            answer.body = self.rest().await;
        }
        answer
    }

    async fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let size = self.until("\r\n").await;
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
            if size == 0 {
                break;
            }
            answer.body.extend(self.take(size).await);
            assert_eq!(self.take(2).await, b"\r\n");
        }
        loop {
            let line = self.until("\r\n").await;
            match line.trim().split_once(": ") {
                Some((name, value)) => answer.trailers.push((name.into(), value.into())),
                None => break,
            }
        }
    }
}

/// A response as it was on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: String,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    fn parse(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines.next().expect("a status line");
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            version: status[..8].into(),
            status: status[9..12].parse().expect("a status"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.into())).collect(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.headers.iter().filter(move |(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.headers(name).next()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The lines of a mirrored request that start with `name: `.
    pub(crate) fn mirrored(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}: ");
        let text = self.text();
        let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.map(str::to_owned).collect()
    }
}
