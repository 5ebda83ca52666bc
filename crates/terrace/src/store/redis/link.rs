//! One connection, from its first byte to its end.

use super::facts::ServerFacts;
use super::fault::{classify, ends_all, ends_connection};
use super::reply::Misread;
use super::settings::{Address, Login};
use crate::store::remote::Fault;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, PushInfo, RedisConnectionInfo, RedisFuture, RedisResult, Value};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// A connection on which the fence has run. Clones share its socket, and their commands follow one another without
/// waiting for replies.
#[derive(Clone, Debug)]
pub(super) struct Link {
    line: Line,
    /// Where it leads.
    pub(super) address: Arc<Address>,
    /// What the server said when the connection was made.
    pub(super) facts: Arc<ServerFacts>,
    /// Of the connections that may be used together; see [`Connector`](super::connect::Connector).
    pub(super) generation: u64,
}

impl Link {
    pub(super) fn new(line: Line, address: Address, facts: ServerFacts, generation: u64) -> Self {
        Self { line, address: Arc::new(address), facts: Arc::new(facts), generation }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.line.state.broken.load(Relaxed)
    }

    /// Keeps the connection from being used again. What is under way on it goes on.
    pub(super) fn give_up(&self) {
        self.line.state.broken.store(true, Relaxed);
    }

    /// Whether nobody waits for a reply on it, and none is late.
    pub(super) fn is_free(&self) -> bool {
        self.line.state.calls.load(Relaxed) == 0 && !self.line.state.watched.load(Relaxed)
    }

    /// Whether both are clones of one connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.line.state, &other.line.state)
    }

    /// Counts the connection among `all` until what is returned is dropped, unless it is counted already.
    pub(super) fn used<'a>(&'a self, all: &'a AtomicU32) -> InUse<'a> {
        let calls = &self.line.state.calls;
        if calls.fetch_add(1, Relaxed) == 0 {
            all.fetch_add(1, Relaxed);
        }
        InUse { calls, all }
    }

    /// What to send commands on.
    pub(super) fn connection(&self) -> Connection {
        self.line.connection.clone()
    }

    /// What an error on this connection means; the connection may be of no more use.
    pub(super) fn failed(&self, error: &redis::RedisError) -> Fault {
        let fault = classify(error);
        let is_over = match self.line.connection {
            Connection::Server(_) => ends_connection(fault, error),
            // Nodes that are silent or gone are the library's to find again, and no reason to leave the others.
            Connection::Nodes(_) => ends_all(error),
        };
        if is_over {
            self.give_up();
        }
        fault
    }

    /// What it means that a reply cannot be read.
    pub(super) fn misread(&self, misread: &Misread) -> Fault {
        match misread {
            Misread::Error(error) => self.failed(error),
            Misread::Shape => Fault::Protocol,
        }
    }

    /// Waits in the background for a reply that is late: the connection is fine if it comes at all, and given up if it
    /// does not come within the socket's own time limit. One such reply at a time is enough to know.
    pub(super) fn watch<T: Send + 'static>(&self, reply: impl Future<Output = RedisResult<T>> + Send + 'static) {
        if self.line.state.watched.swap(true, Relaxed) {
            return;
        }
        let link = self.clone();
        tokio::spawn(async move {
            if let Err(error) = reply.await {
                link.failed(&error);
            }
            link.line.state.watched.store(false, Relaxed);
        });
    }
}

/// What takes commands.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    /// To all nodes of a cluster: each command goes to the one that has its key.
    Nodes(ClusterConnection),
}

impl Connection {
    /// For a command that takes longer than others. All nodes together have one limit.
    pub(super) fn set_response_timeout(&mut self, timeout: Duration) {
        match self {
            Self::Server(connection) => connection.set_response_timeout(timeout),
            Self::Nodes(_) => {}
        }
    }

    /// Sends a command that has no key: to the node at this address, if there are several.
    pub(super) async fn send_to(&mut self, address: &Address, command: Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(&command).await,
            Self::Nodes(connection) => {
                let Address { host, port } = address.clone();
                let node = SingleNodeRoutingInfo::ByAddress { host, port };
                connection.route_command(command, RoutingInfo::SingleNode(node)).await
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(command),
            Self::Nodes(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Nodes(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Nodes(connection) => connection.get_db(),
        }
    }
}

/// Sockets on which the login is done: one, or one to each node of a cluster.
#[derive(Clone)]
pub(super) struct Line {
    connection: Connection,
    state: Arc<State>,
    /// That of a cluster ends by itself.
    _driver: Option<Arc<Driver>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    broken: AtomicBool,
    watched: AtomicBool,
    /// How many wait for a reply on it.
    calls: AtomicU32,
}

/// Somebody waits for a reply.
pub(super) struct InUse<'a> {
    calls: &'a AtomicU32,
    /// Connections on which somebody does.
    all: &'a AtomicU32,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if self.calls.fetch_sub(1, Relaxed) == 1 {
            self.all.fetch_sub(1, Relaxed);
        }
    }
}

/// The task that reads and writes; it ends with the last clone of the connection.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How to open connections.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) socket_timeout: Duration,
    #[cfg(feature = "redis-tls")]
    pub(super) tls: Option<super::tls::Tls>,
}

/// What is told when a message arrives, or when the connection ends.
pub(super) type Listener = Box<dyn Fn(PushInfo) + Send + Sync>;

/// How many commands may wait for their turn to be written, before those who bring more wait too.
const QUEUED: usize = 1024;
/// How much may be written at once.
const WRITTEN_AT_ONCE: usize = 64 * 1024;
/// After this time of silence the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

impl Opener {
    /// Connects and logs in.
    pub(super) async fn open(&self, address: &Address, login: &Login, db: u16) -> RedisResult<Line> {
        self.start(address, login_of(login, db), self.config()).await
    }

    /// The same, for the messages of these channels.
    pub(super) async fn listen(
        &self,
        address: &Address,
        login: &Login,
        channels: &[&str],
        listener: Listener,
    ) -> RedisResult<Line> {
        let config = self.config().set_push_sender(move |message| {
            listener(message);
            Ok::<(), redis::aio::SendError>(())
        });
        let login = login_of(login, 0).set_protocol(redis::ProtocolVersion::RESP3);
        let line = self.start(address, login, config).await?;
        redis::cmd("SUBSCRIBE").arg(channels).exec_async(&mut line.connection()).await?;
        Ok(line)
    }

    fn config(&self) -> AsyncConnectionConfig {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.socket_timeout));
        config.set_pipeline_buffer_size(QUEUED).set_write_backpressure_boundary(WRITTEN_AT_ONCE)
    }

    async fn start(
        &self,
        address: &Address,
        login: RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Line> {
        let stream = socket(address).await?;
        #[cfg(feature = "redis-tls")]
        if let Some(tls) = &self.tls {
            let stream = tls.wrap(&address.host, stream).await?;
            let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
            return Ok(Line::drive(connection, Box::pin(driver)));
        }
        let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
        Ok(Line::drive(connection, Box::pin(driver)))
    }
}

/// Connects, and says nothing.
pub(super) async fn socket(address: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((&*address.host, address.port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

impl Line {
    fn drive(connection: MultiplexedConnection, driver: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        let state = Arc::new(State::default());
        let ended = Arc::clone(&state);
        // It ends when the other side closes the socket, which is known then before anybody uses it.
        let task = tokio::spawn(async move {
            driver.await;
            ended.broken.store(true, Relaxed);
        });
        let driver = Arc::new(Driver(task.abort_handle()));
        Self { connection: Connection::Server(connection), state, _driver: Some(driver) }
    }

    pub(super) fn to_nodes(connection: ClusterConnection) -> Self {
        Self { connection: Connection::Nodes(connection), state: Arc::default(), _driver: None }
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }
}

fn login_of(login: &Login, db: u16) -> RedisConnectionInfo {
    // The library's name is of no use to anybody, and a command more that a user would have to be permitted.
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(i64::from(db));
    if let Some(username) = &login.username {
        info = info.set_username(username);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password.expose());
    }
    info
}
