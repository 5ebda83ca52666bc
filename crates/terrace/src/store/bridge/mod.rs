//! Messages of programs that do not use this library, turned into invalidations and lists of what to warm.
//!
//! Such messages can be lost: whoever can should call [`Store::purge_url`] and the like, or the command, whose
//! invalidations are confirmed. What is heard is from then on an invalidation like any other, in all processes, so that it
//! does no harm if several processes hear it.

#[cfg(fuzzing)]
pub mod fuzzing;
mod message;
mod prewarm;

pub use prewarm::Prewarms;

use super::coherence::Tag;
use super::l2::L2;
use super::remote::{Ear, Fault, Heard};
use super::{Store, split_url};
use crate::Error;
use crate::observe::Observe;
use crate::observe::stats::{BridgeChannel, BridgeResult, InvalidationResult, Kind, L2Op, Scope};
use message::{MAX_MESSAGE, Message};
use prewarm::Asked;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinHandle};

/// The channels, by what is to be done. Those without prewarming come first.
const CHANNELS: [&str; 3] = ["cache:invalidate", "cache:update", "cache:prewarm"];

/// The first wait before listening again, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];
/// How soon it is noticed that the tier was switched off, or on again.
const OFF: Duration = Duration::from_millis(100);
/// Messages that wait; more are not heard.
const QUEUED: usize = 256;
/// Lists that wait to be warmed.
const PREWARMS: usize = 64;
/// Tags in one call of the server.
const AT_ONCE: usize = 512;

/// Listens to other programs until it is dropped.
#[derive(Debug)]
#[must_use = "dropped, it no longer listens"]
pub struct Listener {
    listening: AbortHandle,
    carrying_out: JoinHandle<()>,
}

impl Listener {
    /// Stops listening, and waits until what was heard is carried out.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its end, the rest is not carried out.
    pub async fn close(mut self) {
        self.listening.abort();
        // The queue ends with those who fill it.
        let _ = (&mut self.carrying_out).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listening.abort();
        self.carrying_out.abort();
    }
}

/// Messages of programs in other languages. The manual's chapter on [other languages](crate::manual::languages) says
/// what they look like and what can be relied on.
impl Store {
    /// Invalidates, in all processes, what other programs name on the Redis channels `cache:invalidate` (hard) and
    /// `cache:update` (soft), until the listener is dropped.
    ///
    /// One process of a fleet is enough, and more do no harm. It waits for nothing: while Redis cannot be reached,
    /// nothing is heard, and what was published meanwhile is lost, which is counted.
    ///
    /// # Errors
    ///
    /// If the store has no Redis.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen(&self) -> Result<Listener, Error> {
        self.listen_to(&CHANNELS[..2], None)
    }

    /// As [`listen`](Self::listen), and hears on `cache:prewarm` what is to be fetched before somebody asks for it.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen_and_prewarm(&self) -> Result<(Listener, Prewarms), Error> {
        let (asked, lists) = channel(PREWARMS);
        let listener = self.listen_to(&CHANNELS, Some(asked))?;
        // There is a tier, for there is a listener.
        let prewarms = self.inner.l2.clone().map(|l2| Prewarms::new(l2, lists));
        Ok((listener, prewarms.ok_or_else(no_redis)?))
    }

    fn listen_to(&self, channels: &'static [&'static str], asked: Option<Sender<Asked>>) -> Result<Listener, Error> {
        let l2 = self.inner.l2.clone().ok_or_else(no_redis)?;
        let counter = Arc::new(Counter { observe: l2.observe.clone(), said: Mutex::default() });
        let (ear, queue) = ear(Arc::clone(&counter));
        let bridge = Bridge { l2: Arc::clone(&l2), namespace: self.namespace().to_owned(), asked, counter };
        let listening = tokio::spawn(listen(l2, channels, ear)).abort_handle();
        Ok(Listener { listening, carrying_out: tokio::spawn(bridge.run(queue)) })
    }
}

#[cold]
fn no_redis() -> Error {
    let places = "REDIS_URL, REDIS_HOST, REDIS_SENTINELS or REDIS_CLUSTER_NODES";
    Error::config(format!("listening to other programs needs Redis, but none of {places} is set"))
}

/// A message as it came.
struct Published {
    channel: BridgeChannel,
    text: Vec<u8>,
}

/// What is told of messages, and where they then wait. It is called by those who read the connection, who wait for
/// nobody.
fn ear(counter: Arc<Counter>) -> (Ear, Receiver<Published>) {
    let (heard, queue) = channel(QUEUED);
    let begun = AtomicBool::new(false);
    let ear = move |said: Heard<'_>| {
        let Heard::Message { channel, text } = said else {
            return counter.observe.bridge_listens(begun.swap(true, Relaxed));
        };
        let known = CHANNELS.iter().zip(BridgeChannel::ALL).find(|(name, _)| name.as_bytes() == channel);
        let Some((_, channel)) = known else { return };
        if text.len() > MAX_MESSAGE {
            return counter.tell(*channel, BridgeResult::TooLarge);
        }
        if heard.try_send(Published { channel: *channel, text: text.to_vec() }).is_err() {
            counter.tell(*channel, BridgeResult::Dropped);
        }
    };
    (Arc::new(ear), queue)
}

/// Listens again whenever the connection has ended.
async fn listen(l2: Arc<L2>, channels: &'static [&'static str], ear: Ear) {
    let ([mut wait, longest], mut first) = (WAITS, true);
    loop {
        if !l2.is_on() {
            tokio::time::sleep(OFF).await;
            continue;
        }
        let ended = l2.counted(L2Op::Subscribe, listen_once(&l2, channels, Arc::clone(&ear))).await;
        l2.observe.bridge_is_deaf(first);
        first = false;
        if ended.is_ok() {
            [wait, _] = WAITS;
        }
        // Not all processes at once, after a restart of the server.
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
        wait = (wait * 2).min(longest);
    }
}

/// Listens until the connection ends, or the tier is switched off.
async fn listen_once(l2: &L2, channels: &'static [&'static str], ear: Ear) -> Result<(), Fault> {
    let mut listening = l2.remote.listen(channels, ear);
    loop {
        match tokio::time::timeout(OFF, &mut listening).await {
            Ok(ended) => return ended,
            Err(_) if !l2.is_on() => return Ok(()),
            Err(_) => {}
        }
    }
}

/// Carries out what was heard.
struct Bridge {
    l2: Arc<L2>,
    namespace: String,
    asked: Option<Sender<Asked>>,
    counter: Arc<Counter>,
}

/// Counts messages. Each way of being refused is said once.
struct Counter {
    observe: Observe,
    said: Mutex<HashSet<(BridgeChannel, BridgeResult)>>,
}

impl Counter {
    fn tell(&self, channel: BridgeChannel, result: BridgeResult) {
        self.observe.bridge_heard(channel, result);
        if matches!(result, BridgeResult::Ok | BridgeResult::Foreign) {
            return;
        }
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert((channel, result)) {
            self.observe.bridge_refused(channel, result);
        }
    }
}

/// What several messages ask for.
#[derive(Default)]
struct Work {
    hard: Vec<(Scope, Tag)>,
    soft: Vec<(Scope, Tag)>,
    asked: Vec<Asked>,
}

impl Bridge {
    /// What came together is invalidated together, and before it is warmed.
    async fn run(self, mut queue: Receiver<Published>) {
        let mut heard = Vec::new();
        while queue.recv_many(&mut heard, QUEUED).await > 0 {
            let mut work = Work::default();
            for published in heard.drain(..) {
                self.add(&mut work, &published);
            }
            self.invalidate(work.hard, false).await;
            self.invalidate(work.soft, true).await;
            for asked in work.asked {
                self.ask(asked);
            }
        }
    }

    fn add(&self, work: &mut Work, Published { channel, text }: &Published) {
        let message = match Message::read(*channel, text, &self.namespace) {
            Ok(message) => message,
            Err(reason) => return self.counter.tell(*channel, reason),
        };
        self.counter.tell(*channel, if message.refused == 0 { BridgeResult::Ok } else { BridgeResult::Partial });
        match channel {
            BridgeChannel::Invalidate => work.hard.extend(self.tags(&message)),
            BridgeChannel::Update => work.soft.extend(self.tags(&message)),
            BridgeChannel::Prewarm => work.asked.push(Asked::new(message.urls, text, self.l2.clock.now())),
        }
    }

    fn tags(&self, message: &Message) -> Vec<(Scope, Tag)> {
        let tags = self.l2.mirror.tags();
        let urls = message.urls.iter().filter_map(|url| {
            let (host, path, query) = split_url(url).ok()?;
            Some((Scope::Key, tags.url(host, path, query)))
        });
        let prefixes = message.prefixes.iter().filter_map(|prefix| {
            let (host, path, _) = split_url(prefix).ok()?;
            let tag = tags.prefix(host, path);
            Some((if tag == Tag::EVERYTHING { Scope::All } else { Scope::Prefix }, tag))
        });
        let names = message.tags.iter().map(|name| (Scope::Tag, tags.name(name)));
        urls.chain(prefixes).chain(names).collect()
    }

    /// What Redis does not confirm is repeated until it does, as ever.
    async fn invalidate(&self, what: Vec<(Scope, Tag)>, soft: bool) {
        let kind = if soft { Kind::Soft } else { Kind::Hard };
        for part in what.chunks(AT_ONCE) {
            let tags = part.iter().map(|(_, tag)| *tag).collect();
            let issued = self.l2.invalidate(tags, soft, None).await;
            let result = if issued.is_ok() { InvalidationResult::Acked } else { InvalidationResult::Pending };
            for (scope, _) in part {
                self.l2.observe.invalidation(*scope, kind, result);
            }
        }
    }

    fn ask(&self, asked: Asked) {
        let queue = self.asked.as_ref();
        if queue.is_some_and(|queue| queue.try_send(asked).is_err()) {
            self.counter.tell(BridgeChannel::Prewarm, BridgeResult::Dropped);
        }
    }
}
