//! Connections on which messages arrive.
//!
//! Those of our own processes say that there is something to poll for, not what: one that is lost costs time, never
//! truth. Those of other programs are what they are, so a connection that has died must not go unnoticed for long.

use super::connect::{Connector, Hearing};
use super::fault::classify;
use super::link::Line;
use super::pool::Pool;
use crate::store::remote::{Ear, Fault, Heard, Rung};
use redis::{PushInfo, PushKind, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Listens from when it is made until it is dropped.
#[derive(Debug)]
pub(super) struct Bell {
    heard: Arc<Hammer>,
    task: AbortHandle,
}

/// What has arrived since it was last waited for.
#[derive(Debug, Default)]
pub(super) struct Hammer {
    rung: Notify,
    has_news: AtomicBool,
}

impl Hammer {
    fn ring(&self, rung: Rung) {
        if rung == Rung::News {
            self.has_news.store(true, SeqCst);
        }
        self.rung.notify_one();
    }

    /// Waits until a message arrives, or has arrived since the last was waited for.
    pub(super) async fn rung(&self) -> Rung {
        self.rung.notified().await;
        if self.has_news.swap(false, SeqCst) { Rung::News } else { Rung::Lease }
    }
}

/// What `release.lua` says, and `rights.lua`, which has nothing to say: nobody need poll for it.
const LEASE: &[u8] = b"-";

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first wait before listening again, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// How often the connection is looked at: one to a server that no longer is the primary stays open and silent.
const CHECK: Duration = Duration::from_secs(1);
/// How often the other side is asked whether it is there.
const PING: Duration = Duration::from_secs(5);

impl Bell {
    /// Finds the server through the connections of `pool`. Needs a runtime.
    pub(super) fn new(connector: Arc<Connector>, pool: Pool) -> Self {
        let heard = Arc::<Hammer>::default();
        let task = tokio::spawn(listen(connector, pool, Arc::clone(&heard))).abort_handle();
        Self { heard, task }
    }

    /// What it hears, for those who outlive it.
    pub(super) fn heard(&self) -> Arc<Hammer> {
        Arc::clone(&self.heard)
    }
}

async fn listen(connector: Arc<Connector>, pool: Pool, heard: Arc<Hammer>) {
    let [mut wait, longest] = WAITS;
    let _deaf = Deaf(Arc::clone(&connector));
    let hearing = Arc::clone(&connector);
    let ear: Ear = Arc::new(move |said| {
        let rung = match said {
            Heard::Message { text: LEASE, .. } => Rung::Lease,
            Heard::Message { .. } => Rung::News,
            Heard::Begun => {
                hearing.hears(Hearing::Messages);
                // Something may have happened while nobody listened.
                Rung::News
            }
        };
        heard.ring(rung);
    });
    loop {
        let ended = attend(&connector, &pool, &[connector.bell()], Arc::clone(&ear)).await;
        connector.hears(if ended == Err(Fault::Auth) { Hearing::Denied } else { Hearing::Nothing });
        if ended.is_ok() {
            [wait, _] = WAITS;
        }
        // Not all processes at once, after a restart of the server.
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(longest);
    }
}

/// No message arrives any more: the task that listened is gone.
struct Deaf(Arc<Connector>);

impl Drop for Deaf {
    fn drop(&mut self) {
        self.0.hears(Hearing::Nothing);
    }
}

/// Listens until the connection ends or leads to the wrong server.
pub(super) async fn attend(connector: &Connector, pool: &Pool, channels: &[&str], ear: Ear) -> Result<(), Fault> {
    // Which server it is, and no more: a connection that others give up because one reply was late is no reason to be deaf.
    let (address, generation) = pool.link().await.map(|link| (link.address, link.generation))?;
    let ended = Arc::new(Notify::new());
    let (on_message, on_end) = (Arc::clone(&ear), Arc::clone(&ended));
    let listener = move |push: PushInfo| match (push.kind, &*push.data) {
        (PushKind::Message, [Value::BulkString(channel), Value::BulkString(text)]) => {
            on_message(Heard::Message { channel, text });
        }
        (PushKind::Disconnection, _) => on_end.notify_one(),
        _ => {}
    };
    let listening = connector.listen(&address, channels, Box::new(listener));
    let listening = tokio::time::timeout(connector.settings().socket_timeout, listening).await;
    let listening = listening.map_err(|_| Fault::Timeout)?.map_err(|error| classify(&error))?;
    ear(Heard::Begun);
    let mut quiet = Duration::ZERO;
    while connector.is_current(generation) {
        if tokio::time::timeout(CHECK, ended.notified()).await.is_ok() {
            break;
        }
        quiet += CHECK;
        if quiet >= PING {
            quiet = Duration::ZERO;
            if !answers(&listening).await {
                break;
            }
        }
    }
    Ok(())
}

/// Whether the other side is still there: a connection that only listens would learn it minutes later.
async fn answers(line: &Line) -> bool {
    let pong: RedisResult<Value> = redis::cmd("PING").query_async(&mut line.connection()).await;
    // That a user may not ask is an answer too.
    !matches!(pong.map_err(|error| classify(&error)), Err(Fault::Timeout | Fault::Io))
}
