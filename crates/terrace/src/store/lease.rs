//! One fetch for many processes. Never needed for correctness: two holders are two ordinary fetches.

use super::l2::L2;
use super::remote::{Fault, Token};
use crate::clock::Instant;
use crate::observe::stats::{L2Op, LockKind, LockResult};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::Handle;

/// The turn to fetch what other processes want as well. Dropped, it lets the next one fetch.
#[derive(Debug)]
#[must_use = "dropped, it lets the next one fetch"]
pub(crate) struct Lease {
    l2: Arc<L2>,
    key: Arc<[u8]>,
    token: Token,
    /// Unless it is known that somebody else has it.
    may_be_ours: bool,
}

/// Whose turn it is.
pub(crate) enum Turn {
    Ours(Lease),
    Theirs,
    /// Nobody says: everybody goes.
    Nobodys,
}

impl L2 {
    /// Takes the turn for a key, if it is free and the tier says so until then.
    pub(crate) async fn turn(self: &Arc<Self>, key: Arc<[u8]>, until: Instant) -> Turn {
        let life = self.settings.lease();
        if life.is_zero() || !self.has_room.load(Ordering::Relaxed) {
            return Turn::Nobodys;
        }
        // Before it is asked for: without an answer, whether it is lost or nobody waits for it any more, it may be ours all
        // the same, and then it has to be given back.
        let mut lease = Lease { l2: Arc::clone(self), key, token: Token::new(), may_be_ours: true };
        let asked = self.by(until, self.remote.lease(&lease.key, &lease.token, life));
        let answer = self.counted(L2Op::Lock, asked).await;
        let result = match answer {
            Ok(true) => LockResult::Acquired,
            Ok(false) => LockResult::Contended,
            Err(_) => LockResult::Error,
        };
        self.observe.lock(LockKind::Distributed, result);
        match answer {
            Ok(true) | Err(Fault::Timeout) => Turn::Ours(lease),
            Ok(false) => {
                lease.may_be_ours = false;
                Turn::Theirs
            }
            Err(fault) => {
                self.fault(fault);
                // After anything else the command was refused, or never sent.
                lease.may_be_ours = matches!(fault, Fault::Io | Fault::Protocol);
                Turn::Nobodys
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Ok(runtime), true) = (Handle::try_current(), self.may_be_ours && self.l2.is_on()) else {
            return;
        };
        let (l2, key, token) = (Arc::clone(&self.l2), Arc::clone(&self.key), self.token.clone());
        // If it fails, the lease ends by itself.
        drop(runtime.spawn(async move {
            let _ = l2.counted(L2Op::Lock, l2.remote.release(&key, &token)).await;
        }));
    }
}
