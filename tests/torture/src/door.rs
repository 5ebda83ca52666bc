//! An address that leads to one server now and to another later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Forwards connections. Those that were made before the door leads elsewhere stay where they are.
pub(crate) struct Door {
    port: u16,
    target: Arc<AtomicU16>,
    _runtime: Runtime,
}

impl Door {
    pub(crate) fn to(target: u16) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        let target = Arc::new(AtomicU16::new(target));
        runtime.spawn(forward(listener, Arc::clone(&target)));
        Self { port, target, _runtime: runtime }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn leads_to(&self, target: u16) {
        self.target.store(target, Ordering::SeqCst);
    }
}

async fn forward(listener: TcpListener, target: Arc<AtomicU16>) {
    while let Ok((mut from, _)) = listener.accept().await {
        let target = target.load(Ordering::SeqCst);
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect(("127.0.0.1", target)).await {
                let _ = (from.set_nodelay(true), to.set_nodelay(true));
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
