//! Finding the primary, and making a connection to it usable: what it is, may it be used, the fence.

use super::Names;
use super::facts::ServerFacts;
use super::fault::classify;
use super::link::{Line, Link, Listener, Opener};
use super::nodes::Nodes;
use super::scripts;
use super::settings::{Address, Login, Place, RedisSettings};
use crate::danger::{Protection, is_off};
use crate::observe::stats::FenceResult;
use crate::store::remote::Fault;
use redis::{ErrorKind, RedisError, RedisResult, ScriptInvocation, ServerErrorKind, Value};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Makes the connections of one tier.
pub(super) struct Connector {
    settings: RedisSettings,
    names: Arc<Names>,
    opener: Opener,
    /// Connections of an older generation are not used again.
    generation: AtomicU64,
    /// The server that the current generation leads to.
    known: Mutex<Option<String>>,
    status: watch::Sender<Status>,
    hearing: watch::Sender<Hearing>,
    /// How many connections were begun.
    begun: AtomicU64,
    /// Which of them the status is of: what is asked earlier may be heard later.
    told: AtomicU64,
    /// How connections to the primary ended up, by result.
    fences: [AtomicU64; FenceResult::ALL.len()],
    /// Whether the Sentinels are being asked for another primary.
    looking: AtomicBool,
}

/// What is known about the server, for whoever publishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// The connection that was begun last was made, to a server that says this about itself.
    Up(Arc<ServerFacts>),
    /// The connection that was begun last could not be made. The text says to whom and why.
    Down(Fault, Arc<str>),
}

/// Whether messages arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hearing {
    #[default]
    Nothing,
    Messages,
    /// The user may not subscribe, or not even log in.
    Denied,
}

/// Somebody asks the Sentinels for another primary; ends with it.
struct Looking(Arc<Connector>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.store(false, SeqCst);
    }
}

/// How far apart they are asked.
const APART: Duration = Duration::from_secs(1);

/// Why there is no connection.
pub(super) struct Failure {
    fault: Fault,
    text: String,
}

impl Connector {
    pub(super) fn new(settings: RedisSettings, names: Arc<Names>, opener: Opener) -> Self {
        let (generation, known, status) = (AtomicU64::new(0), Mutex::default(), watch::Sender::default());
        let (hearing, begun, told) = (watch::Sender::default(), AtomicU64::new(0), AtomicU64::new(0));
        let (fences, looking) = Default::default();
        Self { settings, names, opener, generation, known, status, hearing, begun, told, fences, looking }
    }

    fn fenced(&self, result: FenceResult) {
        self.fences[result as usize].fetch_add(1, SeqCst);
    }

    /// How many connections were made or not made since the last time, by what the fence found.
    pub(super) fn take_fences(&self) -> impl Iterator<Item = (FenceResult, u64)> {
        FenceResult::ALL.iter().map(|result| (*result, self.fences[*result as usize].swap(0, SeqCst)))
    }

    pub(super) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    pub(super) fn opener(&self) -> &Opener {
        &self.opener
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn hearing(&self) -> watch::Receiver<Hearing> {
        self.hearing.subscribe()
    }

    pub(super) fn hears(&self, hearing: Hearing) {
        self.hearing.send_if_modified(|known| std::mem::replace(known, hearing) != hearing);
    }

    /// Keeps every connection of the generation of `link` from being used again.
    pub(super) fn retire(&self, link: &Link) {
        let (ends, next) = (link.generation, link.generation + 1);
        // Else somebody else has seen the same.
        let _ = self.generation.compare_exchange(ends, next, SeqCst, SeqCst);
    }

    pub(super) fn is_usable(&self, link: &Link) -> bool {
        !link.is_broken() && self.is_current(link.generation)
    }

    /// Whether connections of this generation lead where they should.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        generation == self.generation.load(SeqCst)
    }

    /// A server that takes no writes may have been replaced, which the Sentinels know before it does: asks them in the
    /// background, at most once a second. To find another retires the connections to this one.
    pub(super) fn look_for_another(self: &Arc<Self>) {
        if !self.settings.place.is_watched() || self.looking.swap(true, SeqCst) {
            return;
        }
        let looking = Looking(Arc::clone(self));
        drop(tokio::spawn(async move {
            let Looking(this) = &looking;
            let _ = tokio::time::timeout(this.settings.socket_timeout, this.find()).await;
            tokio::time::sleep(APART).await;
        }));
    }

    /// Makes a connection that is ready for use.
    pub(super) async fn connect(&self) -> Result<Link, Fault> {
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        let late =
            || Failure { fault: Fault::Timeout, text: format!("connecting to {} took too long", self.settings.place) };
        let made = tokio::time::timeout(self.settings.socket_timeout, self.find()).await;
        let made = made.unwrap_or_else(|_| Err(late()));
        let status = match &made {
            Ok(link) => Status::Up(Arc::clone(&link.facts)),
            Err(failure) => {
                self.fenced(result_of(failure.fault));
                Status::Down(failure.fault, failure.text.as_str().into())
            }
        };
        self.tell(number, &status);
        made.map_err(|failure| failure.fault)
    }

    pub(super) fn tell(&self, number: u64, status: &Status) {
        // The channel runs one of these at a time.
        self.status.send_if_modified(|known| {
            let is_newer = self.told.fetch_max(number, SeqCst) < number;
            is_newer && std::mem::replace(known, status.clone()) != *status
        });
    }

    /// Makes a connection to all nodes of a cluster, for entries.
    pub(super) async fn connect_to_nodes(&self, nodes: &Nodes) -> Result<Link, Fault> {
        let generation = self.generation.load(SeqCst);
        let made = tokio::time::timeout(self.settings.socket_timeout, nodes.connect()).await;
        let line = made.map_err(|_| Fault::Timeout)?.map_err(|error| not_connected(&error))?;
        Ok(Link::new(line, nodes.seed().clone(), ServerFacts::default(), generation))
    }

    /// The primary, whoever that is now.
    async fn find(&self) -> Result<Link, Failure> {
        match &self.settings.place {
            Place::Server(address) => self.try_server(address).await,
            Place::Sentinels { sentinels, primary, login } => self.ask_sentinels(sentinels, primary, login).await,
            Place::Cluster(nodes) => self.ask_nodes(nodes).await,
        }
    }

    async fn try_server(&self, address: &Address) -> Result<Link, Failure> {
        // Before anything is asked: what happens meanwhile may be about this server.
        let generation = self.generation.load(SeqCst);
        self.greet(address, self.open(address).await?, generation).await
    }

    /// Leaves time for another one.
    async fn try_briefly(&self, address: &Address) -> Result<Link, Failure> {
        let made = tokio::time::timeout(self.settings.socket_timeout / 2, self.try_server(address)).await;
        made.unwrap_or_else(|_| Err(Failure::late(address)))
    }

    async fn open(&self, address: &Address) -> Result<Line, Failure> {
        let line = self.opener.open(address, &self.settings.login, self.settings.db).await;
        line.map_err(|error| Failure::new("cannot connect to Redis at", address, &error))
    }

    /// Asks what the server is, and runs the fence unless it cannot be used.
    async fn greet(&self, address: &Address, line: Line, generation: u64) -> Result<Link, Failure> {
        let failed = |error: RedisError| Failure::new("cannot use Redis at", address, &error);
        let mut facts = ask_facts(&line).await.map_err(failed)?;
        if let Some((fault, why)) = facts.refusal() {
            return Err(Failure { fault, text: format!("Redis at {address} {why}") });
        }
        let mut result = FenceResult::Ok;
        if !is_off(Protection::FenceOnConnect) {
            let nonce = nonce();
            let call = fence(&self.names, &facts, &nonce, b"");
            let epoch: Vec<u8> = call.invoke_async(&mut line.connection()).await.map_err(failed)?;
            if epoch.ends_with(nonce.as_bytes()) {
                result = FenceResult::NewEpoch;
            }
        }
        facts.deny(ask_rights(&self.names, &line, &facts).await.map_err(failed)?);
        self.fenced(result);
        let generation = self.generation_of(facts.identity.as_deref(), generation);
        Ok(Link::new(line, address.clone(), facts, generation))
    }

    /// A server that is not the known one retires the connections to that. `begun` was current when the connection was
    /// begun; if it no longer is, the connection is too old before it is used.
    fn generation_of(&self, identity: Option<&str>, begun: u64) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = known.as_deref() == identity;
        let is_first = std::mem::replace(&mut *known, identity.map(str::to_owned)).is_none();
        if is_known || is_first || self.generation.compare_exchange(begun, begun + 1, SeqCst, SeqCst).is_err() {
            begun
        } else {
            begun + 1
        }
    }

    /// Asks all Sentinels at once, because one of them may hang. The first that names a primary which says of itself
    /// that it is one has found it: for a while after a failover, some still name the old one.
    async fn ask_sentinels(&self, all: &[Address], primary: &str, login: &Login) -> Result<Link, Failure> {
        let mut answers = JoinSet::new();
        for sentinel in all {
            let (opener, sentinel) = (self.opener.clone(), sentinel.clone());
            let (primary, login) = (primary.to_owned(), login.clone());
            answers.spawn(async move { ask_sentinel(&opener, &sentinel, &primary, &login).await });
        }
        let (mut tried, mut failure) = (Vec::new(), None);
        while let Some(answer) = answers.join_next().await {
            let found = match answer.map_err(|_| no_primary(primary)) {
                Ok(Ok(address)) if tried.contains(&address) => continue,
                Ok(Ok(address)) => {
                    tried.push(address.clone());
                    self.try_briefly(&address).await
                }
                Ok(Err(why)) | Err(why) => Err(why),
            };
            match found {
                Ok(link) => return Ok(link),
                Err(why) => failure = Some(why),
            }
        }
        Err(failure.unwrap_or_else(|| no_primary(primary)))
    }

    /// Any node of a cluster knows which of them has the control record.
    async fn ask_nodes(&self, nodes: &[Address]) -> Result<Link, Failure> {
        let mut failure = no_node();
        // Not always the same one first: it may hang.
        let start = fastrand::usize(..nodes.len());
        for node in nodes.iter().cycle().skip(start).take(nodes.len()) {
            let asked = tokio::time::timeout(self.settings.socket_timeout / 2, self.ask_node(node)).await;
            match asked.unwrap_or_else(|_| Err(Failure::late(node))) {
                Ok(link) => return Ok(link),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    async fn ask_node(&self, node: &Address) -> Result<Link, Failure> {
        let generation = self.generation.load(SeqCst);
        let line = self.open(node).await?;
        let asked = redis::cmd("ZCARD").arg(&self.names.control).query_async::<Value>(&mut line.connection()).await;
        let Err(error) = asked else { return self.greet(node, line, generation).await };
        match owner(&error, node) {
            Some(owner) => self.try_server(&owner).await,
            None => Err(Failure::new("cannot use cluster node", node, &error)),
        }
    }

    /// A connection to a server, whatever it is.
    pub(super) async fn look_at(&self, address: &Address) -> Result<(Address, Line), Failure> {
        Ok((address.clone(), self.open(address).await?))
    }

    /// The same, to the node of a cluster that has the control record, as another node knows it.
    pub(super) async fn look_from(&self, node: &Address) -> Result<(Address, Line), Failure> {
        let line = self.open(node).await?;
        let asked = redis::cmd("ZCARD").arg(&self.names.control).query_async::<Value>(&mut line.connection()).await;
        match asked.err().and_then(|error| owner(&error, node)) {
            Some(owner) => self.look_at(&owner).await,
            None => Ok((node.clone(), line)),
        }
    }

    /// The primary, as a Sentinel knows it.
    pub(super) async fn primary_of(&self, at: &Address, name: &str, login: &Login) -> Result<Address, Failure> {
        ask_sentinel(&self.opener, at, name, login).await
    }

    /// Opens a connection on which messages of these channels arrive.
    pub(super) async fn listen(&self, address: &Address, channels: &[&str], listener: Listener) -> RedisResult<Line> {
        self.opener.listen(address, &self.settings.login, channels, listener).await
    }

    /// The channel on which invalidations ring.
    pub(super) fn bell(&self) -> &str {
        &self.names.bell
    }
}

/// Begins a new epoch unless the control record was made on this server in its present life, and is not that of the
/// epoch `dead`. Answers the name of the epoch, which ends with `nonce` if it is new.
pub(super) fn fence(names: &Names, facts: &ServerFacts, nonce: &str, dead: &[u8]) -> ScriptInvocation<'static> {
    let identity = facts.identity.as_deref().unwrap_or_default();
    let mut call = scripts::FENCE.call(facts.has_script_flags());
    call.key(&names.control).key(&names.latest).arg(identity).arg(nonce).arg(&names.bell).arg(dead);
    call
}

/// Tells an epoch from every other that the server has begun.
pub(super) fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}

async fn ask_facts(line: &Line) -> RedisResult<ServerFacts> {
    let mut pipe = redis::pipe();
    // Several sections in one command need Redis 7.
    for section in ["server", "replication", "memory"] {
        pipe.cmd("INFO").arg(section);
    }
    let replies: Vec<Value> = pipe.ignore_errors().query_async(&mut line.connection()).await?;
    let mut texts = Vec::new();
    for reply in replies {
        texts.push(section(reply)?);
    }
    let [server, replication, memory] = texts.as_slice() else { unreachable!("one reply to each command") };
    Ok(ServerFacts::parse(server, replication, memory))
}

/// What a proxy hides, or the user may not read, is empty.
pub(super) fn section(reply: Value) -> RedisResult<String> {
    match reply.extract_error() {
        Ok(text) => Ok(redis::from_redis_value(text)?),
        Err(error) if matches!(error.code(), Some("ERR" | "NOPERM")) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

pub(super) async fn ask_rights(names: &Names, line: &Line, facts: &ServerFacts) -> RedisResult<Vec<String>> {
    let mut call = scripts::RIGHTS.call(facts.has_script_flags());
    call.key(&names.scratch).key(&names.control).arg(&names.bell);
    call.invoke_async(&mut line.connection()).await
}

async fn ask_sentinel(opener: &Opener, sentinel: &Address, primary: &str, login: &Login) -> Result<Address, Failure> {
    let failed = |error: RedisError| Failure::new("cannot ask Sentinel at", sentinel, &error);
    let line = opener.open(sentinel, login, 0).await.map_err(failed)?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(primary);
    let found: Option<(String, u16)> = command.query_async(&mut line.connection()).await.map_err(failed)?;
    found.map(|(host, port)| Address { host, port }).ok_or_else(|| no_primary(primary))
}

/// The node to which a cluster's node sends us on. A host that it does not name is its own.
fn owner(error: &RedisError, asked: &Address) -> Option<Address> {
    let is_moved = matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved));
    let (to, _) = error.redirect_node().filter(|_| is_moved)?;
    let (host, port) = to.rsplit_once(':')?;
    let host = if host.is_empty() { &asked.host } else { host };
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

impl Failure {
    pub(super) fn unreachable(place: &Place) -> Self {
        Self { fault: Fault::Timeout, text: format!("{place} does not answer in time") }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn late(address: &Address) -> Self {
        Self { fault: Fault::Timeout, text: format!("Redis at {address} takes too long") }
    }

    fn new(doing: &str, address: &Address, error: &RedisError) -> Self {
        Self { fault: not_connected(error), text: format!("{doing} {address}: {error}") }
    }
}

fn result_of(fault: Fault) -> FenceResult {
    match fault {
        Fault::Auth => FenceResult::Denied,
        Fault::ReadOnly => FenceResult::NotPrimary,
        _ => FenceResult::Error,
    }
}

/// Before there is a connection, none can break.
fn not_connected(error: &RedisError) -> Fault {
    match classify(error) {
        Fault::Io => Fault::Connect,
        fault => fault,
    }
}

fn no_primary(name: &str) -> Failure {
    Failure { fault: Fault::Connect, text: format!("no Sentinel knows a primary called `{name}`") }
}

fn no_node() -> Failure {
    Failure { fault: Fault::Connect, text: "no node of the cluster answers".to_owned() }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}
