//! A connection on which messages arrive. They say that there is something to poll for, not what: one that is lost costs
//! time, never truth.

use super::connect::{Connector, Hearing};
use super::fault::classify;
use super::pool::Pool;
use crate::store::remote::Fault;
use redis::PushKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Listens from when it is made until it is dropped.
#[derive(Debug)]
pub(super) struct Bell {
    rung: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first wait before listening again, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// How often the connection is looked at: one to a server that no longer is the primary stays open and silent.
const CHECK: Duration = Duration::from_secs(1);

impl Bell {
    /// Finds the server through the connections of `pool`. Needs a runtime.
    pub(super) fn new(connector: Arc<Connector>, pool: Pool) -> Self {
        let rung = Arc::new(Notify::new());
        let task = tokio::spawn(listen(connector, pool, Arc::clone(&rung))).abort_handle();
        Self { rung, task }
    }

    /// What completes when a message arrives, or has arrived since the last was waited for.
    pub(super) fn rung(&self) -> Arc<Notify> {
        Arc::clone(&self.rung)
    }
}

async fn listen(connector: Arc<Connector>, pool: Pool, rung: Arc<Notify>) {
    let [mut wait, longest] = WAITS;
    loop {
        if listen_once(&connector, &pool, &rung).await.is_ok() {
            [wait, _] = WAITS;
        }
        // Not all processes at once, after a restart of the server.
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(longest);
    }
}

/// Messages arrive until it is dropped: also with the task that listens.
struct Heard<'a>(&'a Connector);

impl<'a> Heard<'a> {
    fn begin(connector: &'a Connector) -> Self {
        connector.hears(Hearing::Messages);
        Self(connector)
    }
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        self.0.hears(Hearing::Nothing);
    }
}

/// Listens until the connection ends or leads to the wrong server.
async fn listen_once(connector: &Connector, pool: &Pool, rung: &Arc<Notify>) -> Result<(), Fault> {
    let link = pool.link().await?;
    let ended = Arc::new(Notify::new());
    let (on_message, on_end) = (Arc::clone(rung), Arc::clone(&ended));
    let listener = move |message: redis::PushInfo| match message.kind {
        PushKind::Message => on_message.notify_one(),
        PushKind::Disconnection => on_end.notify_one(),
        _ => {}
    };
    let listening = connector.listen(&link.address, Box::new(listener)).await.map_err(|error| {
        let is_denied = error.code() == Some("NOPERM");
        connector.hears(if is_denied { Hearing::Denied } else { Hearing::Nothing });
        classify(&error)
    })?;
    let _hearing = Heard::begin(connector);
    // Something may have happened while nobody listened.
    rung.notify_one();
    while connector.is_usable(&link) {
        if tokio::time::timeout(CHECK, ended.notified()).await.is_ok() {
            break;
        }
    }
    drop(listening);
    Ok(())
}
