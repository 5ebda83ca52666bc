//! Looking for entries, each with the proof that it is valid. Look-ups that are asked for while others are under way go
//! together: in one write, with one proof for all of them.

use super::reply::{self, FLOOR, SEQUENCE};
use super::{Names, Pools};
use crate::clock::{Clock, Instant};
use crate::store::race::in_time;
use crate::store::remote::{Epoch, Fault, Looked, Polled};
use futures_util::future::join;
use redis::{Cmd, Pipeline};
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;

/// Where look-ups wait for one another.
#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
    names: Arc<Names>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    /// How many batches are under way.
    under_way: usize,
}

/// A look-up.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) epoch: Epoch,
    /// What happened after this is not known.
    pub(super) since: u64,
    /// Of the entry.
    pub(super) name: Vec<u8>,
    /// It is not read if it is longer.
    pub(super) most: usize,
}

#[derive(Debug)]
struct Waiting {
    lookup: Lookup,
    asker: Asker,
}

/// Who waits for a look-up.
#[derive(Debug)]
struct Asker {
    /// When it is told that there is no answer.
    until: Instant,
    /// Until it is told.
    answer: Option<oneshot::Sender<Result<Looked, Fault>>>,
}

/// With so many batches under way, look-ups wait for one to end: fewer and larger ones cost less.
const AT_ONCE: usize = 2;

/// More look-ups do not go together: each waits for the values of all.
const TOGETHER: usize = 64;

/// For the same reason what is longer is then asked for again, on its own.
const MAX_TOGETHER: usize = 64 << 10;

impl Desk {
    pub(super) fn new(names: Arc<Names>, clock: Clock) -> Self {
        Self { state: Mutex::default(), names, clock }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for an entry, within `budget`.
    pub(super) async fn look(
        self: &Arc<Self>,
        pools: Arc<Pools>,
        lookup: Lookup,
        budget: Duration,
    ) -> Result<Looked, Fault> {
        let until = self.clock.now() + budget;
        match self.begin(pools, lookup, until) {
            Begun::Asks(turn, lookup) => {
                // Apart, so that the many who wait need no room for it.
                let looked = Box::pin(self.ask_alone(&lookup, until, &turn.pools)).await;
                drop(turn);
                looked
            }
            Begun::Waits(looked) => looked.await.unwrap_or(Err(Fault::Other)),
        }
    }

    fn begin(self: &Arc<Self>, pools: Arc<Pools>, lookup: Lookup, until: Instant) -> Begun {
        let mut state = self.state();
        if state.under_way < AT_ONCE {
            state.under_way += 1;
            return Begun::Asks(Turn { desk: Some(Arc::clone(self)), pools, carries: false }, lookup);
        }
        let (answer, looked) = oneshot::channel();
        state.waiting.push(Waiting { lookup, asker: Asker { until, answer: Some(answer) } });
        Begun::Waits(looked)
    }

    async fn ask_alone(&self, lookup: &Lookup, until: Instant, pools: &Pools) -> Result<Looked, Fault> {
        self.ask(&[lookup], lookup.most, until, pools).await?.pop().ok_or(Fault::Protocol)
    }

    /// Asks for entries of one epoch, and of each for no more than tells that it has more than `most` bytes.
    async fn ask(&self, batch: &[&Lookup], most: usize, until: Instant, pools: &Pools) -> Result<Vec<Looked>, Fault> {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let (epoch, since) = (&first.epoch, batch.iter().map(|lookup| lookup.since).min().unwrap_or_default());
        let mut all = Pipeline::with_capacity(batch.len() + 1);
        for lookup in batch {
            all.add_command(get(&lookup.name, most.min(lookup.most)));
        }
        all.cmd("GET").arg(&self.names.latest);
        let read = |replies| reply::looked(replies, epoch, since);
        let left = until.duration_since(self.clock.now());
        let (entries, told) = pools.reads.send(left, all, read).await?;
        let news = self.news(told, pools, epoch, until).await?;
        Ok(entries.into_iter().map(|entry| Looked { entry, news: news.clone() }).collect())
    }

    /// Looks for an entry that is on another node than the control record: on both at the same time, within `budget`. What
    /// counts is that the proof is read after the look-up began, not whether before or after the entry.
    pub(super) async fn look_apart(&self, pools: &Pools, lookup: Lookup, budget: Duration) -> Result<Looked, Fault> {
        let (until, Lookup { epoch, since, name, most }) = (self.clock.now() + budget, lookup);
        let entries = pools.entries.as_ref().unwrap_or(&pools.reads);
        let (mut entry, mut latest) = (Pipeline::with_capacity(1), Pipeline::with_capacity(1));
        entry.add_command(get(&name, most));
        latest.cmd("GET").arg(&self.names.latest);
        let read = |replies| reply::latest(reply::only(replies)?, &epoch, since);
        let entry = entries.send(budget, entry, |replies| reply::entry(reply::only(replies)?));
        let (entry, told) = join(entry, pools.reads.send(budget, latest, read)).await;
        Ok(Looked { entry: entry?, news: self.news(told?, pools, &epoch, until).await? })
    }

    /// What was told; if nothing was, for the key was lost, then what the control record says. The next poll writes it.
    async fn news(&self, told: Option<Polled>, pools: &Pools, epoch: &Epoch, until: Instant) -> Result<Polled, Fault> {
        if let Some(told) = told {
            return Ok(told);
        }
        let mut all = Pipeline::with_capacity(1);
        all.cmd("ZMSCORE").arg(&self.names.control).arg(epoch.as_bytes()).arg(SEQUENCE).arg(FLOOR);
        let left = until.duration_since(self.clock.now());
        let read = |replies| reply::positions(reply::only(replies)?);
        let now = pools.reads.send(left, all, read).await?;
        Ok(now.map_or(Polled::OtherEpoch, |now| Polled::TooMany { position: now.position }))
    }
}

/// Reads so many bytes, and one more if there are more.
fn get(name: &[u8], most: usize) -> Cmd {
    // With room for all of it at once.
    let mut range = Cmd::with_capacity(4, 24 + name.len());
    range.arg("GETRANGE").arg(name).arg(0).arg(most);
    range
}

impl State {
    /// What goes together next, in the order in which it was asked for.
    fn next(&mut self) -> Vec<Waiting> {
        self.waiting.retain(|waiting| !waiting.asker.has_left());
        let Some(epoch) = self.waiting.first().map(|first| first.lookup.epoch.clone()) else { return Vec::new() };
        let among = ..self.waiting.len().min(TOGETHER);
        self.waiting.extract_if(among, |waiting| waiting.lookup.epoch == epoch).collect()
    }
}

impl Asker {
    fn has_left(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn tell(&mut self, looked: Result<Looked, Fault>) {
        if let Some(answer) = self.answer.take() {
            // Whoever has left is not told.
            let _ = answer.send(looked);
        }
    }
}

/// Asks for what was too long to be asked for together with others.
async fn ask_apart(lookup: Lookup, mut asker: Asker, desk: Arc<Desk>, pools: Arc<Pools>) {
    let looked = desk.ask_alone(&lookup, asker.until, &pools).await;
    asker.tell(looked);
}

/// How a look-up begins.
enum Begun {
    /// It is asked for at once.
    Asks(Turn, Lookup),
    /// It is asked for together with others.
    Waits(oneshot::Receiver<Result<Looked, Fault>>),
}

/// The right to have a batch under way.
struct Turn {
    /// Until it is given back.
    desk: Option<Arc<Desk>>,
    pools: Arc<Pools>,
    /// Whether it is for those who wait.
    carries: bool,
}

impl Turn {
    /// Asks for what waits, again and again, until nothing does.
    async fn carry(mut self) {
        loop {
            // First those who were answered just now: they may ask for more.
            yield_now().await;
            let Some((desk, batch)) = self.next() else { return };
            let (lookups, mut askers): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.lookup, one.asker)).unzip();
            match self.ask_in_time(&desk, &lookups, &mut askers).await {
                Ok(answers) => {
                    let asked = lookups.into_iter().zip(askers);
                    asked.zip(answers).for_each(|(one, looked)| self.answer(&desk, one, looked));
                }
                Err(fault) => askers.iter_mut().for_each(|asker| asker.tell(Err(fault))),
            }
        }
    }

    /// Asks for those who wait. Whoever has less time than others is not kept waiting for theirs.
    async fn ask_in_time(&self, desk: &Desk, lookups: &[Lookup], askers: &mut [Asker]) -> Result<Vec<Looked>, Fault> {
        let last = askers.iter().map(|asker| asker.until).max().ok_or(Fault::Other)?;
        let lookups: Vec<&Lookup> = lookups.iter().collect();
        let mut asked = pin!(desk.ask(&lookups, MAX_TOGETHER, last, &self.pools));
        loop {
            let waiting = askers.iter().filter(|asker| !asker.has_left());
            let Some(next) = waiting.map(|asker| asker.until).min().filter(|next| *next < last) else {
                return asked.await;
            };
            let left = next.duration_since(desk.clock.now());
            if let Some(looked) = in_time(asked.as_mut(), sleep(left)).await {
                return looked;
            }
            let over = next.max(desk.clock.now());
            let late = askers.iter_mut().filter(|asker| asker.until <= over);
            late.for_each(|asker| asker.tell(Err(Fault::Timeout)));
        }
    }

    fn answer(&self, desk: &Arc<Desk>, (lookup, mut asker): (Lookup, Asker), looked: Looked) {
        if looked.entry.as_ref().is_some_and(|entry| entry.len() > MAX_TOGETHER && MAX_TOGETHER < lookup.most) {
            // Ends by its time limit, with the request that waits for it.
            drop(tokio::spawn(ask_apart(lookup, asker, Arc::clone(desk), Arc::clone(&self.pools))));
        } else {
            asker.tell(Ok(looked));
        }
    }

    /// What waits. If nothing does, the turn is over, before anybody can begin to wait for it.
    fn next(&mut self) -> Option<(Arc<Desk>, Vec<Waiting>)> {
        let desk = self.desk.take()?;
        let mut state = desk.state();
        let batch = state.next();
        if batch.is_empty() {
            state.under_way -= 1;
            return None;
        }
        drop(state);
        self.desk = Some(Arc::clone(&desk));
        Some((desk, batch))
    }

    fn give_back(&self, desk: Arc<Desk>) {
        let mut state = desk.state();
        let is_awaited = !state.waiting.is_empty();
        match Handle::try_current() {
            Ok(runtime) if is_awaited && !self.carries => {
                drop(state);
                let next = Self { desk: Some(desk), pools: Arc::clone(&self.pools), carries: true };
                drop(runtime.spawn(next.carry()));
            }
            // Nobody waits; or the runtime ends, and nobody will ask.
            _ => {
                state.under_way -= 1;
                let unanswered = take(&mut state.waiting);
                drop(state);
                drop(unanswered);
            }
        }
    }
}

/// Whoever has it at its end, or is dropped with it, sees to those who wait.
impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            self.give_back(desk);
        }
    }
}
