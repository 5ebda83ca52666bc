//! A tier that processes share, without a server: for tests of what caches do when that tier fails.
//!
//! It keeps the same record of invalidations as Redis does, in this process, and several stores may share it as if each
//! were a process of its own. What a test breaks stays broken until it mends it.

use crate::Error;
use crate::clock::{Clock, FakeClock, Instant};
use crate::observe::stats::RejectReason;
use crate::store::remote::{
    Ear, Envelope, Epoch, Family, Fault, Format, Looked, Mark, Marker, Polled, Positions, Receipt, Remote, Reply,
    RingState, Rung, ServerTime, TagName, Token, Vault,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A shared tier in memory. Clones are the same tier.
#[derive(Clone, Debug)]
pub struct Chaos {
    record: Arc<Mutex<Record>>,
    bell: Arc<Notify>,
    clock: Clock,
}

/// How the tier fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Not at all.
    #[default]
    None,
    /// Every call fails at once.
    Refuses,
    /// No call ever ends by itself.
    Hangs,
    /// Reads are answered; writes are refused, and so are polls.
    ReadOnly,
    /// The same, because there is no memory left.
    Full,
    /// Entries take longer to be stored than they may. All else is answered.
    StoresHang,
    /// Who asks what was invalidated is not answered in time. All else is answered.
    PollsHang,
    /// Every answer takes this long.
    Slow(Duration),
}

#[derive(Debug)]
struct Record {
    epoch: u64,
    position: u64,
    floor: u64,
    marks: HashMap<Marker, Mark>,
    entries: HashMap<Vec<u8>, (Bytes, Instant)>,
    /// Open changes: what they hold, and until when.
    changes: HashMap<String, (Vec<TagName>, Instant)>,
    leases: HashMap<Vec<u8>, (String, Instant)>,
    /// What [`Format::encode`] was given; the bytes say where.
    envelopes: Vec<Envelope>,
    failure: Failure,
    /// How long a call that a request waits for may take, and one that it does not wait for.
    budgets: [Duration; 2],
    silent: bool,
    /// By how much its clock was set back.
    behind: Duration,
    lookups: u64,
    /// What is switched for the fleet.
    switches: String,
}

impl Chaos {
    /// An empty tier whose time is that of `clock`.
    pub fn new(clock: &FakeClock) -> Self {
        let record = Record {
            epoch: 1,
            position: 0,
            floor: 0,
            marks: HashMap::new(),
            entries: HashMap::new(),
            changes: HashMap::new(),
            leases: HashMap::new(),
            envelopes: Vec::new(),
            failure: Failure::None,
            budgets: [30, 250].map(Duration::from_millis),
            silent: false,
            behind: Duration::ZERO,
            lookups: 0,
            switches: String::new(),
        };
        Self { record: Arc::new(Mutex::new(record)), bell: Arc::default(), clock: clock.clock() }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it fails like this.
    pub fn fails(&self, failure: Failure) {
        self.record().failure = failure;
    }

    /// Whether messages about invalidations are lost.
    pub fn is_silent(&self, silent: bool) {
        self.record().silent = silent;
    }

    /// Loses everything: the server restarted without data.
    pub fn restarts(&self) {
        let mut record = self.record();
        record.epoch += 1;
        (record.position, record.floor) = (0, 0);
        record.marks.clear();
        record.entries.clear();
    }

    /// The server restarted, or another took its place, and has data of some time ago: the invalidations since then are
    /// lost.
    pub fn restarts_with_entries(&self) {
        let mut record = self.record();
        record.epoch += 1;
        record.marks.clear();
    }

    /// Sets its clock back, by which entries end and say how old they are.
    pub fn sets_clock_back(&self, by: Duration) {
        self.record().behind += by;
    }

    /// How many times it was asked for an entry.
    pub fn lookups(&self) -> u64 {
        self.record().lookups
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.record().entries.len()
    }

    /// Replaces what is kept under every key with bytes that are no entry.
    pub fn corrupts(&self) {
        self.record().entries.values_mut().for_each(|(bytes, _)| *bytes = Bytes::from_static(b"corrupt"));
    }

    /// What the clock of the tier says.
    fn now(&self) -> Instant {
        let now = self.clock.now();
        now.checked_sub(self.record().behind).unwrap_or(now)
    }

    fn rings(&self) {
        if !self.record().silent {
            self.bell.notify_waiters();
        }
    }

    /// Answers, as far as the failure lets it.
    fn answer<T: Send + 'static>(&self, writes: bool, work: impl FnOnce(&mut Record) -> T) -> Reply<'static, T> {
        let mut record = self.record();
        match record.failure {
            Failure::Hangs => {
                let [budget, _] = record.budgets;
                Box::pin(late(budget))
            }
            Failure::Slow(time) => {
                let ([budget, _], answer) = (record.budgets, work(&mut record));
                Box::pin(async move {
                    tokio::time::sleep(time.min(budget)).await;
                    if time < budget { Ok(answer) } else { Err(Fault::Timeout) }
                })
            }
            Failure::Refuses => Box::pin(ready(Err(Fault::Connect))),
            Failure::ReadOnly if writes => Box::pin(ready(Err(Fault::ReadOnly))),
            Failure::Full if writes => Box::pin(ready(Err(Fault::Oom))),
            Failure::None | Failure::ReadOnly | Failure::Full | Failure::StoresHang | Failure::PollsHang => {
                Box::pin(ready(Ok(work(&mut record))))
            }
        }
    }

    /// The same, for those who ask what was invalidated: a server that takes no writes does not answer them at all.
    fn polled<T: Send + 'static>(&self, writes: bool, work: impl FnOnce(&mut Record) -> T) -> Reply<'static, T> {
        let (failure, [_, budget]) = {
            let record = self.record();
            (record.failure, record.budgets)
        };
        match failure {
            Failure::PollsHang => Box::pin(late(budget)),
            _ => self.answer(writes || failure == Failure::ReadOnly, work),
        }
    }
}

async fn late<T>(budget: Duration) -> Result<T, Fault> {
    tokio::time::sleep(budget).await;
    Err(Fault::Timeout)
}

impl Record {
    fn epoch(&self) -> Epoch {
        Epoch::new(&self.epoch.to_be_bytes())
    }

    fn receipt(&self) -> Receipt {
        Receipt { epoch: self.epoch(), position: self.position }
    }

    /// Gives these a new position, unless another change holds them.
    fn let_go(&mut self, tags: &[TagName]) {
        self.position += 1;
        for tag in tags {
            let held = self.changes.values().any(|(tags, _)| tags.contains(tag));
            let mark = if held { Mark::Held } else { Mark::At(self.position) };
            self.marks.insert(Marker { tag: *tag, soft: false }, mark);
        }
    }

    /// Ends the changes whose time is over.
    fn sweep(&mut self, now: Instant) {
        let over = self.changes.extract_if(|_, (_, until)| *until < now);
        let tags: Vec<TagName> = over.flat_map(|(_, (tags, _))| tags).collect();
        if !tags.is_empty() {
            self.let_go(&tags);
        }
    }

    fn since(&self, epoch: &Epoch, since: u64) -> Polled {
        if *epoch != self.epoch() {
            return Polled::OtherEpoch;
        }
        let later = |mark: &Mark| matches!(mark, Mark::Held) || matches!(mark, Mark::At(at) if *at > since);
        let marks = self.marks.iter().filter(|(_, mark)| later(mark)).map(|(marker, mark)| (*marker, *mark));
        Polled::Changes { marks: marks.collect(), position: self.position, floor: self.floor }
    }

    fn positions(&self, epoch: &Epoch, tags: &[TagName]) -> Option<Positions> {
        let mark = |tag, soft| self.marks.get(&Marker { tag, soft }).copied().unwrap_or(Mark::Unmarked);
        let marks = tags.iter().map(|tag| (mark(*tag, false), mark(*tag, true))).collect();
        (*epoch == self.epoch()).then_some(Positions { position: self.position, floor: self.floor, marks })
    }
}

impl Remote for Chaos {
    fn lookup<'a>(&'a self, epoch: &'a Epoch, since: u64, (name, most): (Vec<u8>, usize)) -> Reply<'a, Looked> {
        let now = self.now();
        self.answer(false, |record| {
            record.lookups += 1;
            let entry = record.entries.get(&name).filter(|(_, until)| *until > now);
            let entry = entry.map(|(value, _)| value.clone()).filter(|value| value.len() <= most);
            Looked { entry, news: record.since(epoch, since) }
        })
    }

    fn positions<'a>(&'a self, epoch: &'a Epoch, tags: &'a [TagName]) -> Reply<'a, Option<Positions>> {
        self.answer(false, |record| record.positions(epoch, tags))
    }

    fn current(&self) -> Reply<'_, Receipt> {
        self.answer(false, |record| record.receipt())
    }

    fn uptime(&self) -> Reply<'_, Option<Duration>> {
        self.answer(false, |_| Some(Duration::ZERO))
    }

    fn store(&self, name: Vec<u8>, value: Bytes, life: Duration) -> Reply<'_, ()> {
        let until = self.now() + life;
        let (failure, [_, budget]) = {
            let record = self.record();
            (record.failure, record.budgets)
        };
        if failure == Failure::StoresHang {
            return Box::pin(late(budget));
        }
        self.answer(true, |record| {
            record.entries.insert(name, (value, until));
        })
    }

    fn invalidate<'a>(&'a self, tags: &'a [Marker]) -> Reply<'a, Receipt> {
        let reply = self.answer(true, |record| {
            record.position += 1;
            let at = Mark::At(record.position);
            for marker in tags {
                let mark = record.marks.entry(*marker).or_insert(at);
                // What is held stays held.
                *mark = if *mark == Mark::Held { Mark::Held } else { at };
            }
            record.receipt()
        });
        self.rings();
        reply
    }

    fn invalidate_replicated<'a>(&'a self, tags: &'a [Marker], _: u32, _: Duration) -> Reply<'a, (Receipt, u32)> {
        let invalidated = self.invalidate(tags);
        Box::pin(async { invalidated.await.map(|receipt| (receipt, 0)) })
    }

    fn hold<'a>(&'a self, change: &'a Token, tags: &'a [TagName], hold: Duration) -> Reply<'a, (Receipt, bool)> {
        let until = self.clock.now() + hold;
        let reply = self.answer(true, |record| {
            let renewed = record.changes.insert(change.as_str().to_owned(), (tags.to_vec(), until));
            record.marks.extend(tags.iter().map(|tag| (Marker { tag: *tag, soft: false }, Mark::Held)));
            (record.receipt(), renewed.is_none())
        });
        self.rings();
        reply
    }

    fn end<'a>(&'a self, change: &'a Token, tags: &'a [TagName]) -> Reply<'a, Receipt> {
        let reply = self.answer(true, |record| {
            record.changes.remove(change.as_str());
            record.let_go(tags);
            record.receipt()
        });
        self.rings();
        reply
    }

    fn lease<'a>(&'a self, key: &'a [u8], token: &'a Token, life: Duration) -> Reply<'a, bool> {
        let now = self.clock.now();
        self.answer(true, |record| {
            let free = record.leases.get(key).is_none_or(|(_, until)| *until <= now);
            if free {
                record.leases.insert(key.to_vec(), (token.as_str().to_owned(), now + life));
            }
            free
        })
    }

    fn release<'a>(&'a self, key: &'a [u8], token: &'a Token) -> Reply<'a, bool> {
        let now = self.clock.now();
        let reply = self.answer(true, |record| {
            record.leases.retain(|_, (_, until)| *until > now);
            let before = record.leases.len();
            record.leases.retain(|leased, (owner, _)| leased != key || owner != token.as_str());
            record.leases.len() < before
        });
        self.rings();
        reply
    }

    fn poll<'a>(&'a self, epoch: &'a Epoch, since: u64) -> Reply<'a, Polled> {
        let now = self.clock.now();
        self.polled(false, |record| {
            record.sweep(now);
            record.since(epoch, since)
        })
    }

    fn probe(&self) -> Reply<'_, ()> {
        self.polled(true, |_| ())
    }

    fn set_limits(&self, read: Duration, write: Duration) {
        self.record().budgets = [read, write];
    }

    fn disconnect(&self) {}

    fn time(&self) -> Option<ServerTime> {
        let now = self.now().as_nanos() / 1_000_000;
        Some(ServerTime { earliest: now, latest: now })
    }

    fn join_ring<'a>(&'a self, _: &'a [String]) -> Reply<'a, RingState> {
        self.answer(true, |_| RingState::Joined)
    }

    fn switches(&self) -> Reply<'_, Bytes> {
        self.answer(false, |record| Bytes::copy_from_slice(record.switches.as_bytes()))
    }

    fn switch<'a>(&'a self, line: &'a str) -> Reply<'a, ()> {
        let now = self.now().as_nanos() / 1_000_000;
        let line = format!("{now} {line}\n");
        self.answer(true, |record| record.switches += &line)
    }

    fn open_format(&self) -> Arc<dyn Format> {
        Arc::new(self.clone())
    }

    fn vaults(&self, _: &str, _: &str, _: Family) -> Result<Vec<Arc<dyn Vault>>, Error> {
        Ok(vec![Arc::new(self.clone())])
    }

    fn bell(&self) -> Pin<Box<dyn Future<Output = Rung> + Send + '_>> {
        if self.record().silent {
            return Box::pin(pending());
        }
        let rung = self.bell.notified();
        Box::pin(async move {
            rung.await;
            Rung::News
        })
    }

    /// Nobody publishes anything.
    fn listen(&self, _: &'static [&'static str], _: Ear) -> Reply<'_, ()> {
        Box::pin(pending())
    }
}

impl Format for Chaos {
    fn name(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    fn max_bytes(&self) -> usize {
        usize::MAX
    }

    fn encode(&self, _: &[u8], envelope: &Envelope) -> Option<Bytes> {
        let mut record = self.record();
        record.envelopes.push(envelope.clone());
        Some(Bytes::copy_from_slice(&(record.envelopes.len() - 1).to_be_bytes()))
    }

    fn decode(&self, _: &[u8], value: Bytes) -> Result<Envelope, RejectReason> {
        let at = value.as_ref().try_into().map(usize::from_be_bytes);
        let record = self.record();
        at.ok().and_then(|at| record.envelopes.get(at).cloned()).ok_or(RejectReason::Schema)
    }
}

/// Not sealed: what it keeps does not leave this process.
impl Vault for Chaos {
    fn tag(&self, about: &[u8]) -> TagName {
        TagName(*Sha256::digest(about).first_chunk().expect("there are twice as many"))
    }

    fn fingerprint(&self) -> String {
        "chaos".to_owned()
    }
}
