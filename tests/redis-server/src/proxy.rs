use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Stands between a client and a server: counts round trips, cuts connections, swallows what is sent on them.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    round_trips: AtomicUsize,
    accepted: AtomicUsize,
    closed: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(SeqCst) {
                    break;
                }
                // Without a server the client is closed at once.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) {
                    accepting.take(client, server);
                }
            }
        });
        Self { port, shared }
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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

    /// Closes the connections that there are.
    pub fn cut(&self) {
        for connection in self.shared.connections().drain(..) {
            connection.close();
        }
    }

    /// Keeps the connections that there are open, but forwards nothing more on them, as when a cable is cut.
    pub fn hang(&self) {
        for connection in self.shared.connections().drain(..) {
            *connection.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, SeqCst);
        self.cut();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let (open, opened, asked) = (Mutex::new(true), Condvar::new(), AtomicBool::new(false));
        let connection = Arc::new(Connection { client, server, asked, open, opened });
        self.accepted.fetch_add(1, SeqCst);
        self.connections().push(Arc::clone(&connection));
        for is_request in [true, false] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            thread::spawn(move || {
                connection.forward(is_request, &shared.round_trips);
                connection.close();
            });
        }
    }
}

impl Connection {
    /// Ends with either side.
    fn forward(&self, is_request: bool, round_trips: &AtomicUsize) {
        let (mut from, mut to) = if is_request { (&self.client, &self.server) } else { (&self.server, &self.client) };
        let _ = to.set_nodelay(true);
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if self.asked.swap(is_request, SeqCst) != is_request && is_request {
                round_trips.fetch_add(1, SeqCst);
            }
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.opened.wait_while(open, |open| !*open));
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
    }

    fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}
