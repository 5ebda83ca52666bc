//! The app's process, from outside.

use crate::clock::now;
use crate::load::{Web, web};
use crate::state::State;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use terrace_redis_server::unset;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// How often the app is asked for what it has counted.
const WATCH: Duration = Duration::from_millis(10);
/// A running app. Ends when dropped.
pub(crate) struct App {
    process: Child,
    pub(crate) port: u16,
    controls: Controls,
    watch: AbortHandle,
    seen: Arc<Mutex<Vec<(u64, State)>>>,
}

#[derive(Clone)]
struct Controls {
    web: Web,
    port: u16,
}

impl App {
    /// Starts it with these variables. With `names`, in a namespace of its own, where that file says what addresses names
    /// have, and there is no other resolver.
    pub(crate) fn start(runtime: &Handle, variables: &[(String, String)], names: Option<&Path>) -> Self {
        let mut command = command(names);
        unset(&mut command);
        command.arg("app").envs(variables.iter().cloned()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program can be started again");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut port = || {
            let line = lines.next().and_then(Result::ok).unwrap_or_default();
            line.parse().unwrap_or_else(|_| panic!("the app did not start: {line}"))
        };
        let (port, controls) = (port(), Controls { web: web(), port: port() });
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let watch = runtime.spawn(watch(controls.clone(), Arc::clone(&seen))).abort_handle();
        Self { process, port, controls, watch, seen }
    }

    /// Switches `l2` or `storm` on or off.
    pub(crate) fn switch(&self, runtime: &Handle, what: &str, on: bool) {
        let path = format!("{what}/{}", if on { "on" } else { "off" });
        runtime.block_on(self.controls.ask(Method::POST, &path)).expect("the app answers");
    }

    /// What it has counted, over time.
    pub(crate) fn seen(&self) -> Vec<(u64, State)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn last(&self) -> State {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().map_or_else(State::default, |(_, state)| *state)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.watch.abort();
        let _ = (self.process.kill(), self.process.wait());
    }
}

fn command(names: Option<&Path>) -> Command {
    // A private namespace keeps what is mounted here from everybody else. Without a name server, a name that is not in the
    // file is answered at once: it does not exist.
    const SCRIPT: &str = "mount --bind \"$1/hosts\" /etc/hosts && mount --bind \"$1/resolv.conf\" /etc/resolv.conf \
        && shift && exec \"$@\"";
    let program = std::env::current_exe().expect("the name of this program");
    let Some(names) = names else { return Command::new(program) };
    let mut command = apart();
    command.args(["sh", "-c", SCRIPT, "sh"]).arg(names).arg(program);
    command
}

/// A command with mounts of its own.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--mount");
    command
}

/// Whether an app can be given names of its own: in a container that is not always permitted.
pub(crate) fn may_have_names() -> bool {
    const SCRIPT: &str = "mount --bind /etc/hosts /etc/hosts && mount --bind /etc/resolv.conf /etc/resolv.conf";
    let tried = apart().args(["sh", "-c", SCRIPT]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

async fn watch(controls: Controls, seen: Arc<Mutex<Vec<(u64, State)>>>) {
    let mut ticks = tokio::time::interval(WATCH);
    loop {
        ticks.tick().await;
        let Some(line) = controls.ask(Method::GET, "state").await else { continue };
        let state = line.parse().unwrap_or_else(|error| panic!("{error}"));
        seen.lock().unwrap_or_else(PoisonError::into_inner).push((now(), state));
    }
}

impl Controls {
    async fn ask(&self, method: Method, path: &str) -> Option<String> {
        let uri = format!("http://127.0.0.1:{}/{path}", self.port);
        let request = Request::builder().method(method).uri(uri).body(Empty::<Bytes>::new()).expect("a request");
        let answer = self.web.request(request).await.ok()?;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        String::from_utf8(body.to_vec()).ok()
    }
}
