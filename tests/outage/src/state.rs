//! What the app has counted, as it tells it.

use std::fmt;
use std::str::FromStr;
use terrace::Store;
use terrace::stats::{BreakerName, BreakerState, CoherenceState, ErrorKind, L2Op, LookupResult, StoreResult, Tier};

/// One line of numbers, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Look-ups in Redis that ended, in whatever way.
    pub(crate) asked: u64,
    /// Those that were not made, because Redis is not to be asked.
    pub(crate) skipped: u64,
    pub(crate) half_opened: u64,
    pub(crate) opened: u64,
    /// Whether the breaker of look-ups is closed.
    pub(crate) closed: u64,
    /// Whether memory is proven to be current.
    pub(crate) coherent: u64,
    pub(crate) stored: u64,
    /// Entries that were not sent, because too many are on their way.
    pub(crate) shed: u64,
    /// Entries that were sent and did not arrive.
    pub(crate) lost: u64,
    /// Calls that failed, of whatever kind.
    pub(crate) errors: u64,
}

impl State {
    pub(crate) fn of(store: &Store) -> Self {
        let stats = store.stats();
        let lookups = |result| stats.lookups(Tier::L2, result);
        let answers = [LookupResult::Hit, LookupResult::Stale, LookupResult::Miss, LookupResult::Rejected];
        let faults = [LookupResult::Error, LookupResult::Timeout];
        let stores = |result| stats.stores(Tier::L2, result);
        let moved = |to| stats.breaker_transitions(BreakerName::Data, to);
        let errors = L2Op::ALL.iter().flat_map(|op| ErrorKind::ALL.iter().map(move |kind| (*op, *kind)));
        Self {
            asked: answers.into_iter().chain(faults).map(lookups).sum(),
            skipped: lookups(LookupResult::Skipped),
            half_opened: moved(BreakerState::HalfOpen),
            opened: moved(BreakerState::Open),
            closed: u64::from(stats.breaker(BreakerName::Data) == Some(BreakerState::Closed)),
            coherent: u64::from(stats.coherence() == Some(CoherenceState::Coherent)),
            stored: stores(StoreResult::Ok),
            shed: stores(StoreResult::Dropped),
            lost: [StoreResult::Timeout, StoreResult::Error, StoreResult::Rejected].into_iter().map(stores).sum(),
            errors: errors.map(|(op, kind)| stats.l2_errors(op, kind)).sum(),
        }
    }

    fn numbers(self) -> [u64; 10] {
        let Self { asked, skipped, half_opened, opened, closed, coherent, stored, shed, lost, errors } = self;
        [asked, skipped, half_opened, opened, closed, coherent, stored, shed, lost, errors]
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.numbers().iter().try_for_each(|number| write!(f, "{number} "))
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        let numbers = numbers.ok().and_then(|numbers| <[u64; 10]>::try_from(numbers).ok());
        let [asked, skipped, half_opened, opened, closed, coherent, stored, shed, lost, errors] =
            numbers.ok_or_else(|| format!("no state: {line}"))?;
        Ok(Self { asked, skipped, half_opened, opened, closed, coherent, stored, shed, lost, errors })
    }
}
