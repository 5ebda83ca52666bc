//! Which process of a fleet warms what all of them were asked to warm.

use crate::clock::{Clock, Instant};
use crate::observe::stats::{L2Op, PrewarmResult};
use crate::store::l2::L2;
use crate::store::remote::Token;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// How long a message is nobody else's. Longer than one process may be behind another.
const CLAIM: Duration = Duration::from_secs(30);
/// Other processes that listen carry out the same invalidations at about the same time: what was warmed before theirs
/// would be lost again.
const SETTLE: Duration = Duration::from_millis(100);
/// How long Redis is asked whose a message is: nobody waits for what is warmed, and a slow reply is soon made up for.
const TRIES: Duration = Duration::from_secs(5);

/// A list to be warmed.
pub(super) struct Asked {
    urls: Vec<String>,
    digest: [u8; 32],
    heard: Instant,
}

impl Asked {
    pub(super) fn new(urls: Vec<String>, text: &[u8], heard: Instant) -> Self {
        Self { urls, digest: Sha256::digest(text).into(), heard }
    }
}

/// What other programs want to be in the cache before somebody asks, for this process to fetch.
///
/// Of all processes that listen, one gets each message.
pub struct Prewarms {
    l2: Arc<L2>,
    asked: Receiver<Asked>,
    claims: Claims,
}

impl fmt::Debug for Prewarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prewarms").field("waiting", &self.asked.len()).finish_non_exhaustive()
    }
}

impl Prewarms {
    pub(super) fn new(l2: Arc<L2>, asked: Receiver<Asked>) -> Self {
        let claims = Claims { clock: l2.clock.clone(), ours: HashMap::new() };
        Self { l2, asked, claims }
    }

    /// The next list, of absolute URLs (`https://example.com/a`) and of paths (`/a?b=c`), as they were sent: request
    /// them of the fleet, so that it stores what it answers. `None` once the listener is dropped.
    ///
    /// A few lists wait for this to be called; more are dropped, and counted. A process that ends while it warms leaves the
    /// rest undone.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, it may lose a list.
    pub async fn next(&mut self) -> Option<Vec<String>> {
        loop {
            let asked = self.asked.recv().await?;
            let waited = self.l2.clock.now().duration_since(asked.heard);
            tokio::time::sleep(SETTLE.saturating_sub(waited)).await;
            let result = self.claim(asked.digest).await;
            self.l2.observe.bridge_prewarm(result);
            if result != PrewarmResult::Elsewhere {
                return Some(asked.urls);
            }
        }
    }

    async fn claim(&mut self, digest: [u8; 32]) -> PrewarmResult {
        if self.claims.has(&digest) {
            return PrewarmResult::Claimed;
        }
        let key = [&b"prewarm"[..], &digest].concat();
        let (token, begun) = (Token::new(), self.l2.clock.now());
        loop {
            match self.l2.counted(L2Op::Lock, self.l2.remote.lease(&key, &token, CLAIM)).await {
                Ok(true) => {
                    self.claims.add(digest);
                    return PrewarmResult::Claimed;
                }
                Ok(false) => return PrewarmResult::Elsewhere,
                Err(_) if self.l2.clock.now().duration_since(begun) < TRIES => tokio::time::sleep(SETTLE).await,
                // Twice is better than never.
                Err(_) => return PrewarmResult::Unclaimed,
            }
        }
    }
}

/// What this process has claimed. Each process hears a message once, so what is heard again is another message with the
/// same words, and as much ours as the first.
struct Claims {
    clock: Clock,
    ours: HashMap<[u8; 32], Instant>,
}

impl Claims {
    /// More are forgotten, and left to nobody for as long as they would have been ours.
    const MOST: usize = 10_000;

    fn has(&mut self, digest: &[u8; 32]) -> bool {
        let now = self.clock.now();
        self.ours.get(digest).is_some_and(|until| *until > now)
    }

    fn add(&mut self, digest: [u8; 32]) {
        let now = self.clock.now();
        self.ours.retain(|_, until| *until > now);
        if self.ours.len() < Self::MOST {
            self.ours.insert(digest, now + CLAIM);
        }
    }
}
