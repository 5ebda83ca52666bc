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
    held: Held,
}

/// What is known of who has it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Ours,
    /// Nobody has said.
    Perhaps,
    Theirs,
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
        let mut lease = Lease { l2: Arc::clone(self), key, token: Token::new(), held: Held::Perhaps };
        let asked = self.by(until, self.remote.lease(&lease.key, &lease.token, life));
        let answer = self.counted(L2Op::Lock, asked).await;
        let result = match answer {
            Ok(true) => LockResult::Acquired,
            Ok(false) => LockResult::Contended,
            Err(_) => LockResult::Error,
        };
        self.observe.lock(LockKind::Distributed, result);
        match answer {
            Ok(true) => {
                lease.held = Held::Ours;
                Turn::Ours(lease)
            }
            Err(Fault::Timeout) => Turn::Ours(lease),
            Ok(false) => {
                lease.held = Held::Theirs;
                Turn::Theirs
            }
            Err(fault) => {
                self.fault(fault);
                // After anything else the command was refused, or never sent.
                if !matches!(fault, Fault::Io | Fault::Protocol) {
                    lease.held = Held::Theirs;
                }
                Turn::Nobodys
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Ok(runtime), true) = (Handle::try_current(), self.held != Held::Theirs && self.l2.is_on()) else {
            return;
        };
        let (l2, key, token, held) = (Arc::clone(&self.l2), Arc::clone(&self.key), self.token.clone(), self.held);
        // If it fails, the lease ends by itself.
        drop(runtime.spawn(async move {
            let released = l2.counted(L2Op::Lock, l2.remote.release(&key, &token)).await;
            if held == Held::Ours && released == Ok(false) {
                l2.observe.lock(LockKind::Distributed, LockResult::Lost);
            }
        }));
    }
}
