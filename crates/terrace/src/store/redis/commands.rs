//! The words of the protocol as commands.

use super::bell::{Bell, attend};
use super::call::{run, send};
use super::connect::{fence, nonce, section};
use super::facts::uptime;
use super::link::Link;
use super::lookups::Lookup;
use super::pool::Pool;
use super::reply::{self, FLOOR, Misread, Reading, SEQUENCE, member};
use super::{Redis, scripts};
use crate::Error;
use crate::store::codec::SealedVault;
use crate::store::remote::{
    Ear, Epoch, Family, Fault, Format, Looked, Marker, Polled, Positions, Receipt, Remote, Reply, RingState, Rung,
    ServerTime, TagName, Token, Vault,
};
use crate::store::switches;
use bytes::Bytes;
use redis::{Cmd, Pipeline, ScriptInvocation, Value, cmd, pipe};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// More markers than this, and the oldest are forgotten.
const MAX_MARKERS: usize = 100_000;
/// A poll that finds more does not read the rest.
const MAX_POLLED: usize = 10_000;
/// How often changes that were left open are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the mark of a process that could write stays.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a process that does not say again which keys it has counts as living.
const RING_LIFE: Duration = Duration::from_secs(60);
/// What is held for longer counts as forged, and is swept (`change.lua`).
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// Redis adds a time to its clock, and refuses what then is too much.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Remote for Redis {
    fn lookup<'a>(&'a self, epoch: &'a Epoch, since: u64, (name, most): (Vec<u8>, usize)) -> Reply<'a, Looked> {
        let (pools, budget) = (self.pools(), self.budgets.read.get());
        let lookup = Lookup { epoch: epoch.clone(), since, name, most };
        if pools.entries.is_some() {
            return Box::pin(async move { self.desk.look_apart(&pools, lookup, budget).await });
        }
        Box::pin(self.desk.look(pools, lookup, budget))
    }

    fn positions<'a>(&'a self, epoch: &'a Epoch, tags: &'a [TagName]) -> Reply<'a, Option<Positions>> {
        Box::pin(async move {
            let pools = self.pools();
            self.positions_on(&pools.reads, epoch, tags).await
        })
    }

    fn current(&self) -> Reply<'_, Receipt> {
        Box::pin(async move {
            let (pools, budget) = (self.pools(), self.budgets.read.get());
            let now = self.ask_current(&pools.reads, budget).await?;
            // One that was left is back only if somebody has put it back, or if writes were lost.
            let dead = match now {
                Some(receipt) if !self.left.has(&receipt.epoch) => return Ok(receipt),
                other => other.map(|receipt| receipt.epoch),
            };
            self.fence(&pools.reads, budget, dead.as_ref()).await?;
            self.ask_current(&pools.reads, budget).await?.ok_or(Fault::Moved)
        })
    }

    fn uptime(&self) -> Reply<'_, Option<Duration>> {
        Box::pin(async move {
            let request = |link: Link| async move {
                let mut info = cmd("INFO");
                info.arg("server");
                section(info.query_async(&mut link.connection()).await?)
            };
            let read = |text: String| Ok(uptime(&text));
            self.pools().control.call(self.budgets.read.get(), request, read).await
        })
    }

    fn store(&self, name: Vec<u8>, value: Bytes, life: Duration) -> Reply<'_, ()> {
        Box::pin(async move {
            let life = milliseconds(life);
            if life == 0 {
                return Ok(());
            }
            let mut set = pipe();
            set.cmd("SET").arg(name).arg(&*value).arg("PX").arg(life);
            let fills = &self.pools().fills;
            fills.send(self.budgets.write.get(), set, |replies| done(reply::only(replies)?)).await
        })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Marker]) -> Reply<'a, Receipt> {
        Box::pin(async move {
            let (pools, budget) = (self.pools(), self.budgets.write.get());
            let request = |link: Link| {
                let call = self.invalidation(&link, tags);
                run(link, call)
            };
            pools.control.call(budget, request, reply::receipt).await
        })
    }

    fn invalidate_replicated<'a>(
        &'a self,
        tags: &'a [Marker],
        replicas: u32,
        wait: Duration,
    ) -> Reply<'a, (Receipt, u32)> {
        Box::pin(async move {
            // So that more can be added to it.
            let wait = wait.min(LONGEST);
            // WAIT is about what its own connection has written, and blocks it.
            let patience = wait + self.connector.settings().socket_timeout;
            let request = |link: Link| {
                let call = self.invalidation(&link, tags);
                async move {
                    let receipt = run(link.clone(), call).await?;
                    let mut wait_for = cmd("WAIT");
                    wait_for.arg(replicas).arg(milliseconds(wait).max(1));
                    let mut connection = link.connection();
                    connection.set_response_timeout(patience);
                    let reached: u32 = wait_for.query_async(&mut connection).await?;
                    Ok((receipt, reached))
                }
            };
            let read = |(receipt, reached)| Ok((reply::receipt(receipt)?, reached));
            let replicated = &self.pools().replicated;
            replicated.call(self.budgets.write.get() + wait, request, read).await
        })
    }

    fn poll<'a>(&'a self, epoch: &'a Epoch, since: u64) -> Reply<'a, Polled> {
        let (sent, sweeps) = (self.clock.now(), self.is_time_to_sweep());
        self.left.follows(epoch);
        Box::pin(async move {
            let request = |link: Link| {
                let mut call = scripts::POLL.call(link.facts.has_script_flags());
                call.key(&self.names.control).key(&self.names.latest).arg(since).arg(MAX_POLLED).arg(epoch.as_bytes());
                call.arg(u8::from(sweeps));
                run(link, call)
            };
            let read = |reply| reply::seen(reply, epoch, since, MAX_POLLED);
            let (pools, budget) = (self.pools(), self.budgets.poll.get());
            let (seen, markers, time) = pools.control.call(budget, request, read).await?;
            self.markers.store(markers, Relaxed);
            self.times.told(time, sent, self.clock.now());
            if seen.polled == Polled::WentBack {
                self.fence(&pools.control, budget, Some(epoch)).await?;
            }
            if seen.has_changes && sweeps {
                // The next poll sees what came of it, and whoever polls next tries again.
                let _ = self.let_go(Step::Sweep, None, &[]).await;
            }
            Ok(seen.polled)
        })
    }

    fn probe(&self) -> Reply<'_, ()> {
        Box::pin(async move {
            let mut all = Pipeline::with_capacity(2);
            all.cmd("INFO").arg("replication").cmd("SET").arg(&self.names.heartbeat).arg(1);
            all.arg("PX").arg(milliseconds(HEARTBEAT)).ignore_errors();
            let all = Arc::new(all);
            let request = |link: Link| {
                let all = Arc::clone(&all);
                async move { Ok((send(link.clone(), all).await?, link)) }
            };
            let control = &self.pools().control;
            match control.call(self.budgets.write.get(), request, probed).await? {
                None => Ok(()),
                Some(link) => {
                    self.connector.retire(&link);
                    Err(Fault::Moved)
                }
            }
        })
    }

    fn hold<'a>(&'a self, change: &'a Token, tags: &'a [TagName], hold: Duration) -> Reply<'a, (Receipt, bool)> {
        Box::pin(async move {
            let (receipt, new) = self.change(Step::Hold(hold), Some(change), tags).await?;
            Ok((receipt, new > 0))
        })
    }

    fn end<'a>(&'a self, change: &'a Token, tags: &'a [TagName]) -> Reply<'a, Receipt> {
        Box::pin(self.let_go(Step::End, Some(change), tags))
    }

    fn lease<'a>(&'a self, key: &'a [u8], token: &'a Token, life: Duration) -> Reply<'a, bool> {
        Box::pin(async move {
            let (lease, mut set) = (self.names.lease(key), Pipeline::with_capacity(2));
            set.cmd("SET").arg(&lease).arg(token.as_str()).arg("NX").arg("PX").arg(milliseconds(life).max(1));
            // Whose it is then: if the commands are sent again, it may be ours since the first time.
            set.cmd("GET").arg(&lease);
            let reads = &self.pools().reads;
            reads.send(self.budgets.read.get(), set, |replies| reply::has_lease(replies, token)).await
        })
    }

    fn release<'a>(&'a self, key: &'a [u8], token: &'a Token) -> Reply<'a, bool> {
        Box::pin(async move {
            let lease = self.names.lease(key);
            let request = |link: Link| {
                let mut call = scripts::RELEASE.call(link.facts.has_script_flags());
                call.key(&lease).arg(token.as_str()).arg(&self.names.bell);
                run(link, call)
            };
            let reads = &self.pools().reads;
            reads.call(self.budgets.write.get(), request, reply::flag).await
        })
    }

    fn time(&self) -> Option<ServerTime> {
        self.times.at(self.clock.now())
    }

    fn join_ring<'a>(&'a self, fingerprints: &'a [String]) -> Reply<'a, RingState> {
        Box::pin(async move {
            let request = |link: Link| {
                let mut call = scripts::RING.call(link.facts.has_script_flags());
                call.key(&self.names.ring).arg(milliseconds(RING_LIFE)).arg(fingerprints.join(","));
                let is_hidden = link.facts.identity.is_none();
                async move { Ok((run(link, call).await?, is_hidden)) }
            };
            let read = |(joined, is_hidden)| match reply::flag(joined)? {
                false => Ok(RingState::Differs),
                true if is_hidden => Ok(RingState::Hidden),
                true => Ok(RingState::Joined),
            };
            self.pools().control.call(self.budgets.write.get(), request, read).await
        })
    }

    fn switches(&self) -> Reply<'_, Bytes> {
        Box::pin(async move {
            let mut get = pipe();
            // One byte more than we would write shows that it was not us.
            get.cmd("GETRANGE").arg(&self.names.switches).arg(0).arg(switches::MAX_BYTES);
            let read = |replies| match reply::entry(reply::only(replies)?)? {
                Some(text) if text.len() > switches::MAX_BYTES => Err(Misread::Shape),
                text => Ok(text.unwrap_or_default()),
            };
            self.pools().control.send(self.budgets.read.get(), get, read).await
        })
    }

    fn switch<'a>(&'a self, line: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = |link: Link| {
                let mut call = scripts::SWITCH.call(link.facts.has_script_flags());
                call.key(&self.names.switches).arg(line).arg(switches::MAX_LINES).arg(switches::MAX_BYTES);
                run(link, call)
            };
            self.pools().control.call(self.budgets.write.get(), request, done).await
        })
    }

    fn open_format(&self) -> Arc<dyn Format> {
        Arc::clone(&self.open) as Arc<dyn Format>
    }

    fn vaults(&self, setting: &str, keys: &str, family: Family) -> Result<Vec<Arc<dyn Vault>>, Error> {
        let all = SealedVault::all(self.names.namespace(), (setting, keys), family)?;
        Ok(all.into_iter().map(|vault| Arc::new(vault) as Arc<dyn Vault>).collect())
    }

    fn set_limits(&self, read: Duration, write: Duration) {
        self.budgets.read.set(read);
        self.budgets.write.set(write);
    }

    fn disconnect(&self) {
        Redis::disconnect(self);
    }

    fn bell(&self) -> Pin<Box<dyn Future<Output = Rung> + Send + '_>> {
        Box::pin(async move {
            let pools = self.pools();
            let bell = pools.bell.get_or_init(|| Bell::new(Arc::clone(&self.connector), pools.control.clone()));
            let heard = bell.heard();
            drop(pools);
            heard.rung().await
        })
    }

    fn listen(&self, channels: &'static [&'static str], ear: Ear) -> Reply<'_, ()> {
        Box::pin(async move {
            let control = self.pools().control.clone();
            attend(&self.connector, &control, channels, ear).await
        })
    }
}

/// What a change does next.
enum Step {
    Hold(Duration),
    End,
    Sweep,
}

impl Redis {
    async fn positions_on(&self, pool: &Pool, epoch: &Epoch, tags: &[TagName]) -> Result<Option<Positions>, Fault> {
        let mut all = Pipeline::with_capacity(1);
        all.add_command(self.scores(epoch, tags));
        let read = |replies| reply::positions(reply::only(replies)?);
        pool.send(self.budgets.read.get(), all, read).await
    }

    /// The scores of the epoch, the sequence, the floor, and both markers of each tag.
    fn scores(&self, epoch: &Epoch, tags: &[TagName]) -> Cmd {
        let mut scores = cmd("ZMSCORE");
        scores.arg(&self.names.control).arg(epoch.as_bytes()).arg(SEQUENCE).arg(FLOOR);
        for tag in tags {
            for soft in [false, true] {
                scores.arg(member(Marker { tag: *tag, soft }));
            }
        }
        scores
    }

    async fn ask_current(&self, pool: &Pool, budget: Duration) -> Result<Option<Receipt>, Fault> {
        let control = &self.names.control;
        let mut all = Pipeline::with_capacity(3);
        all.cmd("ZRANGE").arg(control).arg(0).arg(0);
        all.cmd("ZSCORE").arg(control).arg(SEQUENCE);
        all.cmd("ZRANGE").arg(control).arg(0).arg(0);
        pool.send(budget, all, reply::current).await
    }

    async fn fence(&self, pool: &Pool, budget: Duration, dead: Option<&Epoch>) -> Result<(), Fault> {
        let request = |link: Link| {
            let call = fence(&self.names, &link.facts, &nonce(), dead.map_or(b"", Epoch::as_bytes));
            run(link, call)
        };
        pool.call(budget, request, done).await
    }

    fn invalidation(&self, link: &Link, tags: &[Marker]) -> ScriptInvocation<'static> {
        let mut call = scripts::INVALIDATE.call(link.facts.has_script_flags());
        call.key(&self.names.control)
            .key(&self.names.latest)
            .arg(new_epoch(link))
            .arg(MAX_MARKERS)
            .arg(&self.names.bell);
        for tag in tags {
            call.arg(member(*tag));
        }
        call
    }

    /// Ends a change, or those that nobody has renewed.
    async fn let_go(&self, step: Step, change: Option<&Token>, tags: &[TagName]) -> Result<Receipt, Fault> {
        let (receipt, others) = self.change(step, change, tags).await?;
        self.ended.fetch_add(others, Relaxed);
        Ok(receipt)
    }

    async fn change(&self, step: Step, change: Option<&Token>, tags: &[TagName]) -> Result<(Receipt, u64), Fault> {
        let request = |link: Link| {
            let (word, hold) = match step {
                Step::Hold(hold) => ("hold", milliseconds(hold.min(LONGEST_HOLD))),
                Step::End => ("end", 0),
                Step::Sweep => ("sweep", 0),
            };
            let mut call = scripts::CHANGE.call(link.facts.has_script_flags());
            call.key(&self.names.control).key(&self.names.latest).arg(word).arg(new_epoch(&link)).arg(MAX_MARKERS);
            call.arg(&self.names.bell).arg(change.map_or("", Token::as_str)).arg(hold);
            for tag in tags {
                call.arg(member(Marker { tag: *tag, soft: false }));
            }
            run(link, call)
        };
        let control = &self.pools().control;
        control.call(self.budgets.write.get(), request, reply::stepped).await
    }

    fn is_time_to_sweep(&self) -> bool {
        let now = self.clock.now();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = swept.is_none_or(|last| now.duration_since(last) >= SWEEP);
        if is_time {
            *swept = Some(now);
        }
        is_time
    }
}

/// The name that an epoch gets if the record turns out to be gone.
fn new_epoch(link: &Link) -> String {
    link.facts.identity.as_deref().unwrap_or_default().to_owned() + &nonce()
}

/// The connection, if its server is no longer what it was when that was made. An error if it takes no writes.
fn probed((replies, link): (Vec<Value>, Link)) -> Reading<Option<Link>> {
    let [replication, written] = <[Value; 2]>::try_from(replies).map_err(|_| Misread::Shape)?;
    let replication = section(replication)?;
    if !link.facts.is_still(&replication) {
        return Ok(Some(link));
    }
    written.extract_error()?;
    Ok(None)
}

pub(super) fn done(reply: Value) -> Reading<()> {
    reply.extract_error()?;
    Ok(())
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.min(LONGEST).as_millis()).unwrap_or(u64::MAX)
}
