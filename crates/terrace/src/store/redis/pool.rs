//! The connections of one purpose.

use super::connect::Connector;
use super::link::{InUse, Link};
use super::nodes::Nodes;
use crate::store::race::first;
use crate::store::remote::Fault;
use bb8_redis::bb8::{self, ManageConnection, RunError};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Connections that are checked out for an instant, to be cloned: many commands follow one another on few sockets.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    links: bb8::Pool<Manager>,
    /// Those of them that were checked out so far, in that order.
    known: Arc<Mutex<Vec<Link>>>,
    pub(super) connector: Arc<Connector>,
    failures: Arc<Failures>,
    in_use: Arc<AtomicU32>,
    pub(super) manners: Manners,
}

/// How a call uses a connection, and what happens to one that leaves it unanswered for as long as it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// Shared. It stays in use unless the socket's own time limit passes too: one large value is no defect.
    Patient,
    /// Shared. It is given up, so that the next call has another.
    Strict,
    /// Given up too, and nobody else uses it meanwhile: the call blocks it.
    Alone,
}

/// A connection out of the pool.
pub(super) type Checkout<'a> = bb8::PooledConnection<'a, Manager>;

/// Rings when a connection cannot be made, so that nobody waits for it any longer: the pool wakes those who wait only for
/// one that was made.
#[derive(Debug, Default)]
struct Failures {
    rung: Notify,
    last: Mutex<Option<Fault>>,
}

impl Failures {
    fn ring(&self, fault: Fault) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.rung.notify_waiters();
    }

    /// Why a connection could not be made, from this call on and not from its first poll.
    fn next(&self) -> impl Future<Output = Fault> {
        let rung = self.rung.notified();
        async move {
            rung.await;
            self.last.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Fault::Connect)
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Manager {
    connector: Arc<Connector>,
    /// Whom to connect to, if not to the primary.
    nodes: Option<Arc<Nodes>>,
    failures: Arc<Failures>,
}

impl ManageConnection for Manager {
    type Connection = Link;
    type Error = Fault;

    async fn connect(&self) -> Result<Link, Fault> {
        let made = match &self.nodes {
            None => self.connector.connect().await,
            Some(nodes) => self.connector.connect_to_nodes(nodes).await,
        };
        made.inspect_err(|fault| self.failures.ring(*fault))
    }

    /// Nobody asks: a PING for every checkout would double the round trips.
    async fn is_valid(&self, link: &mut Link) -> Result<(), Fault> {
        if self.connector.is_usable(link) { Ok(()) } else { Err(Fault::Io) }
    }

    fn has_broken(&self, link: &mut Link) -> bool {
        !self.connector.is_usable(link)
    }
}

impl Pool {
    /// At most `size` connections, of which `ready` are made before somebody asks. Needs a runtime; waits for nothing.
    pub(super) fn new(
        (connector, nodes): (&Arc<Connector>, Option<&Arc<Nodes>>),
        (size, ready): (u32, u32),
        wait: Duration,
        manners: Manners,
    ) -> Self {
        // Connections end when they break or are retired, not at an age.
        let pool = bb8::Pool::builder().max_size(size).min_idle(ready).max_lifetime(None).idle_timeout(None);
        let pool = pool.test_on_check_out(false).retry_connection(false).connection_timeout(wait);
        let (connector, failures) = (Arc::clone(connector), Arc::<Failures>::default());
        let manager =
            Manager { connector: Arc::clone(&connector), nodes: nodes.cloned(), failures: Arc::clone(&failures) };
        let (known, in_use) = (Arc::default(), Arc::default());
        Self { links: pool.build_unchecked(manager), known, connector, failures, in_use, manners }
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> u32 {
        self.links.state().connections
    }

    /// On how many of them somebody waits for a reply.
    pub(super) fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    /// Counts a connection as in use until what is returned is dropped.
    pub(super) fn uses<'a>(&'a self, link: &'a Link) -> InUse<'a> {
        link.used(&self.in_use)
    }

    /// A usable connection, to be shared.
    pub(super) async fn link(&self) -> Result<Link, Fault> {
        self.check_out().await.map(|link| link.clone())
    }

    /// A known connection that is free, to be shared. Where one after another asks, all of them use the same one, and what it
    /// needs stays in the processor's caches; one that is silent is left alone until its late reply is there.
    pub(super) fn at_hand(&self) -> Option<Link> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|link| self.connector.is_usable(link));
        known.iter().find(|link| link.is_free()).cloned()
    }

    /// Keeps a connection at hand.
    pub(super) fn knows(&self, link: &Link) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|other| other.is_same(link)) {
            known.push(link.clone());
        }
    }

    /// A usable connection, at once if there is one; else as soon as one is made, or cannot be made.
    pub(super) async fn check_out(&self) -> Result<Checkout<'_>, Fault> {
        let mut failure = pin!(self.failures.next());
        loop {
            let link = match first(self.links.get(), failure.as_mut()).await {
                Ok(Ok(link)) => link,
                Ok(Err(RunError::User(fault))) | Err(fault) => return Err(fault),
                Ok(Err(RunError::TimedOut)) => return Err(Fault::Pool),
            };
            // The pool looks only at what comes back to it. Each turn takes one broken connection out of it.
            if self.connector.is_usable(&link) {
                return Ok(link);
            }
        }
    }
}
