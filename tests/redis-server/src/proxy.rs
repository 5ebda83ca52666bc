use crate::Port;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Stands between a client and a server: counts round trips, cuts connections, swallows what is sent on them, delays it,
/// or is not there.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    server: u16,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    round_trips: AtomicUsize,
    accepted: AtomicUsize,
    closed: AtomicBool,
    /// Nothing is forwarded on new connections.
    hung: AtomicBool,
    road: Mutex<Road>,
    connections: Mutex<Vec<Arc<Connection>>>,
    gets: Mutex<Gets>,
}

/// What the way between client and server is like.
#[derive(Clone, Copy, Debug, Default)]
struct Road {
    /// How long each reply is kept.
    delay: Duration,
    /// How many bytes a connection takes from its client in a second.
    upward: Option<u32>,
}

/// A look-up (`GETRANGE`) that a client has sent.
#[derive(Clone, Copy, Debug)]
pub struct Get {
    /// When it was sent.
    pub asked: Instant,
    /// When the server had said something on its connection, if it did.
    pub answered: Option<Instant>,
}

/// The look-ups in their order, and those without an answer by connection.
#[derive(Debug, Default)]
struct Gets {
    all: Vec<Get>,
    open: HashMap<usize, Vec<usize>>,
}

#[derive(Debug)]
struct Connection {
    number: usize,
    client: TcpStream,
    server: TcpStream,
    asked: AtomicBool,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Proxy {
    /// Leads to a port on 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    #[must_use]
    pub fn to(server: u16) -> Self {
        let proxy = Self { port: Port::free(), server, shared: Arc::default(), accepting: Mutex::default() };
        proxy.accept();
        proxy
    }

    fn accept(&self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port())).expect("our port");
        let (shared, server) = (Arc::clone(&self.shared), self.server);
        let accepting = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.closed.load(SeqCst) {
                    break;
                }
                shared.accepted.fetch_add(1, SeqCst);
                // Without a server the client is closed at once.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) {
                    shared.take(client, server);
                }
            }
        });
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepting);
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How often a client has said something after the server had answered, over all connections.
    #[must_use]
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(SeqCst)
    }

    /// How many connections were made.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// Every look-up so far.
    #[must_use]
    pub fn gets(&self) -> Vec<Get> {
        self.shared.gets().all.clone()
    }

    /// Closes the connections that there are.
    pub fn cut(&self) {
        for connection in self.shared.connections().drain(..) {
            connection.close();
        }
    }

    /// Keeps the connections that there are open, but forwards nothing more on them, as when a cable is cut.
    pub fn hang(&self) {
        for connection in self.shared.connections().drain(..) {
            connection.hang();
        }
    }

    /// Also keeps those silent that are made from now on, until [`mend`](Self::mend).
    pub fn hang_all(&self) {
        self.shared.hung.store(true, SeqCst);
        self.hang();
    }

    /// Keeps every reply for a while.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared.road().delay = delay;
    }

    /// Takes so many bytes a second from the client of each connection, so that what is large takes long and what is
    /// small does not.
    pub fn narrow(&self, bytes_per_second: u32) {
        self.shared.road().upward = Some(bytes_per_second);
    }

    /// Closes its port and all connections: clients are refused, until [`mend`](Self::mend).
    pub fn refuse(&self) {
        self.stop();
        self.cut();
    }

    /// Forwards as if nothing had been, on new connections: those that hang go on hanging.
    pub fn mend(&self) {
        *self.shared.road() = Road::default();
        self.shared.hung.store(false, SeqCst);
        if self.shared.closed.swap(false, SeqCst) {
            self.accept();
        }
    }

    fn stop(&self) {
        self.shared.closed.store(true, SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port()));
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = accepting.map(JoinHandle::join);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn road(&self) -> MutexGuard<'_, Road> {
        self.road.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gets(&self) -> MutexGuard<'_, Gets> {
        self.gets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let (open, opened, asked) = (Mutex::new(true), Condvar::new(), AtomicBool::new(false));
        let number = self.accepted.load(SeqCst);
        let connection = Arc::new(Connection { number, client, server, asked, open, opened });
        if self.hung.load(SeqCst) {
            connection.hang();
        } else {
            self.connections().push(Arc::clone(&connection));
        }
        for is_request in [true, false] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::spawn(move || {
                connection.forward(is_request, &shared);
                connection.close();
            });
        }
    }
}

impl Connection {
    /// Ends with either side.
    fn forward(&self, is_request: bool, shared: &Shared) {
        let (mut from, mut to) = if is_request { (&self.client, &self.server) } else { (&self.server, &self.client) };
        let _ = to.set_nodelay(true);
        let (mut buffer, mut owed) = (vec![0; 64 * 1024], Duration::ZERO);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if self.asked.swap(is_request, SeqCst) != is_request && is_request {
                shared.round_trips.fetch_add(1, SeqCst);
            }
            if is_request {
                shared.gets().ask(self.number, &buffer[..length]);
            }
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.opened.wait_while(open, |open| !*open));
            let road = *shared.road();
            owed += if is_request { road.upward_time(length) } else { road.delay };
            // What is shorter cannot be slept.
            if owed >= Duration::from_millis(1) {
                thread::sleep(std::mem::take(&mut owed));
            }
            if !is_request {
                shared.gets().answer(self.number);
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    }

    fn hang(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Road {
    fn upward_time(self, length: usize) -> Duration {
        let bytes = u32::try_from(length).expect("a buffer's length");
        self.upward.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * bytes / rate)
    }
}

impl Gets {
    fn ask(&mut self, connection: usize, sent: &[u8]) {
        const GET: &[u8] = b"\r\n$8\r\nGETRANGE\r\n";
        for _ in sent.windows(GET.len()).filter(|window| *window == GET) {
            self.open.entry(connection).or_default().push(self.all.len());
            self.all.push(Get { asked: Instant::now(), answered: None });
        }
    }

    fn answer(&mut self, connection: usize) {
        for open in self.open.remove(&connection).unwrap_or_default() {
            self.all[open].answered = Some(Instant::now());
        }
    }
}
