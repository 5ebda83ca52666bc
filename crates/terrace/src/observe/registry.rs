//! What the stores of a process have in common: the names of their namespaces, and the sum of what they count.

use super::catalogue::{FAMILIES, Family, FamilyKind, NAMESPACES, first_cell};
use super::stats::{Cells, Stats};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "metrics")]
use super::catalogue::{COMPAT_METRICS, Exists, Id, Merge, Values, cell, values_of};

/// The place of a namespace in the catalogue's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Namespace(u8);

impl Namespace {
    /// All that have no place of their own.
    pub(super) const OTHER: Self = Self(NAMESPACES);

    #[inline]
    pub(super) fn place(self) -> usize {
        usize::from(self.0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    namespaces: Vec<Arc<str>>,
    live: Vec<Cells>,
    /// What stores counted that are gone: a published counter never falls.
    retired: Option<Stats>,
    /// Whether one of those stores had a tier that processes share.
    retired_shared: bool,
    /// Whether one of them was published under the other names too.
    retired_compatible: bool,
}

impl Registry {
    /// The process's.
    pub(super) fn global() -> Arc<Self> {
        static GLOBAL: LazyLock<Arc<Registry>> = LazyLock::new(Arc::default);
        Arc::clone(&GLOBAL)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a namespace its place, for good. From the 33rd on they share one.
    pub(super) fn namespace(&self, name: &str) -> Namespace {
        let mut state = self.state();
        let place = match state.namespaces.iter().position(|known| &**known == name) {
            Some(place) => place,
            None if state.namespaces.len() < usize::from(NAMESPACES) && name != "other" => {
                state.namespaces.push(name.into());
                state.namespaces.len() - 1
            }
            None => return Namespace::OTHER,
        };
        Namespace(u8::try_from(place).unwrap_or(NAMESPACES))
    }

    #[cfg(feature = "tracing")]
    pub(super) fn name(&self, namespace: Namespace) -> Arc<str> {
        let state = self.state();
        state.namespaces.get(namespace.place()).cloned().unwrap_or_else(|| "other".into())
    }

    pub(super) fn join(&self, cells: Cells) {
        self.state().live.push(cells);
    }

    /// Under one lock, so that no reader misses the store's counts or sees them twice.
    pub(super) fn retire(&self, cells: &Cells) {
        let mut state = self.state();
        state.live.retain(|live| !live.same(cells));
        let mut retired = state.retired.take().unwrap_or_else(Stats::zero);
        let gone = cells.read();
        state.retired_shared |= gone.is_shared();
        state.retired_compatible |= gone.is_compatible();
        merge(&mut retired, &gone, |family| lasting(family.kind));
        state.retired = Some(retired);
    }

    /// The sum over all stores, living and gone.
    #[cfg(feature = "metrics")]
    pub(super) fn totals(&self) -> Totals {
        let state = self.state();
        let mut living: Vec<Stats> = state.live.iter().map(Cells::read).collect();
        // Those that share a tier first: the others have nothing to say of it, not even zero.
        living.sort_by_key(|stats| !stats.is_shared());
        let shared = state.retired_shared || living.first().is_some_and(Stats::is_shared);
        let compatible = state.retired_compatible || living.iter().any(Stats::is_compatible);
        let mut living = living.into_iter();
        let mut sum = living.next().unwrap_or_else(Stats::zero);
        for stats in living {
            let says = |family: &Family| family.exists != Exists::Shared || stats.is_shared();
            merge(&mut sum, &stats, |family| says(family).then(|| combine(family.kind)));
        }
        if let Some(retired) = &state.retired {
            merge(&mut sum, retired, |family| lasting(family.kind));
        }
        // One store of the process is enough.
        sum.cells_mut()[cell(Id::FeatureEnabled, [COMPAT_METRICS])] = u64::from(compatible);
        Totals { namespaces: state.namespaces.clone(), shared, stats: sum }
    }
}

type Combine = fn(u64, u64) -> u64;

/// What counts on after its store is gone is added.
fn lasting(kind: FamilyKind) -> Option<Combine> {
    match kind {
        FamilyKind::Counter | FamilyKind::Histogram(_) => Some(u64::wrapping_add),
        FamilyKind::Gauge(_) | FamilyKind::Seconds(_) => None,
    }
}

#[cfg(feature = "metrics")]
fn combine(kind: FamilyKind) -> Combine {
    match kind {
        FamilyKind::Counter | FamilyKind::Histogram(_) => u64::wrapping_add,
        FamilyKind::Gauge(merge) | FamilyKind::Seconds(merge) => match merge {
            Merge::Sum => u64::wrapping_add,
            Merge::Min => u64::min,
            Merge::Max | Merge::One => u64::max,
        },
    }
}

/// Combines family by family; a family without a rule keeps what `into` has.
fn merge(into: &mut Stats, from: &Stats, rule: impl Fn(&Family) -> Option<Combine>) {
    for family in &FAMILIES {
        let Some(combine) = rule(family) else {
            continue;
        };
        let cells = first_cell(family.id)..first_cell(family.id) + family.places() * family.cells_per_series();
        for (into, from) in into.cells_mut()[cells.clone()].iter_mut().zip(&from.cells()[cells]) {
            *into = combine(*into, *from);
        }
    }
}

/// What a process publishes.
#[cfg(feature = "metrics")]
pub(super) struct Totals {
    namespaces: Vec<Arc<str>>,
    /// Whether a store has, or had, a tier that processes share.
    shared: bool,
    stats: Stats,
}

/// The labels of one series.
#[cfg(feature = "metrics")]
pub(super) type Labels = Vec<(&'static str, Arc<str>)>;

#[cfg(feature = "metrics")]
impl Totals {
    /// Whether a family exists.
    pub(super) fn have(&self, family: &Family) -> bool {
        match family.exists {
            Exists::Always => true,
            Exists::Shared => self.shared,
            Exists::Tasks => self.stats.reports_tasks(),
            Exists::Compat => self.stats.is_compatible(),
        }
    }

    /// Every series of a family that exists, with its cells.
    pub(super) fn series(&self, family: &'static Family) -> impl Iterator<Item = (Labels, &[u64])> {
        let cells = &self.stats.cells()[first_cell(family.id)..];
        let places = if self.have(family) { family.places() } else { 0 };
        let each = cells.chunks_exact(family.cells_per_series()).take(places);
        each.enumerate().filter_map(move |(at, cells)| Some((self.labels(family, at)?, cells)))
    }

    fn labels(&self, family: &Family, series: usize) -> Option<Labels> {
        let values = values_of(family, series);
        let each = family.labels.iter().zip(values);
        each.map(|(label, value)| Some((label.name, self.word(label.values, value)?))).collect()
    }

    /// The word of a label value, if it has series.
    fn word(&self, values: Values, at: usize) -> Option<Arc<str>> {
        match values {
            Values::Closed(words) => Some(words[at].into()),
            Values::First(count, words) => (at < count || self.shared).then(|| words[at].into()),
            Values::Namespaces if at == Namespace::OTHER.place() => Some("other".into()),
            Values::Namespaces => self.namespaces.get(at).cloned(),
        }
    }
}
