//! Look-ups that are asked for while others are under way go together: in one write, with one proof for all of them.

use super::call::send;
use super::reply::{self, FLOOR, SEQUENCE};
use super::{Names, Pools};
use crate::clock::{Clock, Instant};
use crate::store::remote::{Epoch, Fault, Looked};
use redis::{Cmd, Pipeline};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;

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
}

#[derive(Debug)]
struct Waiting {
    lookup: Lookup,
    /// When it is no longer waited for.
    until: Instant,
    answer: oneshot::Sender<Result<Looked, Fault>>,
}

/// With so many batches under way, look-ups wait for one to end: fewer and larger ones cost less.
const AT_ONCE: usize = 2;

/// More look-ups do not go together: each waits for the values of all.
const TOGETHER: usize = 64;

/// If more has happened since the last poll, the markers of an entry are read one by one.
const MAX_NEWS: usize = 1_000;

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
                let looked = self.ask(&[&lookup], until, &turn.pools).await;
                drop(turn);
                looked?.pop().ok_or(Fault::Protocol)
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
        state.waiting.push(Waiting { lookup, until, answer });
        Begun::Waits(looked)
    }

    /// Asks for entries of one epoch.
    async fn ask(&self, batch: &[&Lookup], until: Instant, pools: &Pools) -> Result<Vec<Looked>, Fault> {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let since = batch.iter().map(|lookup| lookup.since).min().unwrap_or_default();
        let left = until.duration_since(self.clock.now());
        let request = |link| send(link, self.commands(&first.epoch, since, batch));
        let read = |replies| reply::looked(replies, since, MAX_NEWS);
        let (entries, news) = pools.reads.call(left, request, read).await?;
        Ok(entries.into_iter().map(|entry| Looked { entry, news: news.clone() }).collect())
    }

    fn commands(&self, epoch: &Epoch, since: u64, batch: &[&Lookup]) -> Pipeline {
        let (mut all, control) = (Pipeline::with_capacity(2 * batch.len() + 2), &self.names.control);
        for name in batch.iter().map(|lookup| &lookup.name) {
            for word in ["GET", "PTTL"] {
                // With room for all of it at once.
                let mut command = Cmd::with_capacity(2, word.len() + name.len());
                command.arg(word).arg(name);
                all.add_command(command);
            }
        }
        all.cmd("ZRANGEBYSCORE").arg(control).arg(format!("({since}")).arg("+inf").arg("WITHSCORES");
        all.arg("LIMIT").arg(0).arg(MAX_NEWS);
        all.cmd("ZMSCORE").arg(control).arg(epoch.as_bytes()).arg(SEQUENCE).arg(FLOOR);
        all
    }
}

impl State {
    /// What goes together next, in the order in which it was asked for.
    fn next(&mut self) -> Vec<Waiting> {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        let Some(epoch) = self.waiting.first().map(|first| first.lookup.epoch.clone()) else { return Vec::new() };
        let among = ..self.waiting.len().min(TOGETHER);
        self.waiting.extract_if(among, |waiting| waiting.lookup.epoch == epoch).collect()
    }
}

fn answer(batch: Vec<Waiting>, answers: Result<Vec<Looked>, Fault>) {
    // Whoever has left is not told.
    match answers {
        Ok(answers) => batch.into_iter().zip(answers).for_each(|(one, looked)| drop(one.answer.send(Ok(looked)))),
        Err(fault) => batch.into_iter().for_each(|one| drop(one.answer.send(Err(fault)))),
    }
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
            let lookups: Vec<&Lookup> = batch.iter().map(|waiting| &waiting.lookup).collect();
            let answers = desk.ask(&lookups, batch[0].until, &self.pools).await;
            answer(batch, answers);
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
