//! What runs came to.

use super::ledger::Status;
use crate::report::milliseconds;
use std::time::Duration;

/// Counts of one run, or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// In the order of [`Status`].
    pub(crate) of: [Counts; 5],
    pub(crate) undecided: u64,
    pub(crate) wrong: u64,
    /// Acknowledged; of one subject each.
    pub(crate) changes: u64,
    /// Those of them that take a right away.
    pub(crate) revocations: u64,
    /// In nanoseconds, as what follows: for how long, at most, memory answered with what was not to be used any more.
    pub(crate) longest: u64,
    /// For how long it may, as the processes export it.
    pub(crate) bound: u64,
    /// Checks that memory answered when Redis had been silent for longer than the bound.
    pub(crate) unproven: u64,
    /// Checks that the source answered then.
    pub(crate) bypassed: u64,
    /// Processes that were killed in the middle of a change.
    pub(crate) killed: u64,
    /// What they were changing, cached again later.
    pub(crate) cached_again: u64,
    pub(crate) longest_uncached: u64,
    /// Answers of the source that were held until what they say was revoked.
    pub(crate) held: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) checks: u64,
    /// On facts older than they may be.
    pub(crate) too_old: u64,
}

impl Verdict {
    pub(crate) const HEADING: &str = "| run | seconds | checks | by memory | by Redis | by the source | coalesced | bypass | undecided | acknowledged changes | of them revocations | old facts from memory, at most, ms | exported bound, ms | memory too old | Redis too old | source too old | memory unproven |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

    pub(crate) fn row(&self, name: &str, time: Duration) -> String {
        let [memory, redis, source, coalesced, bypass] = self.of.map(|counts| counts.too_old);
        let mut cells = vec![name.to_owned(), time.as_secs().to_string(), self.checks().to_string()];
        let mut count = |numbers: &[u64]| cells.extend(numbers.iter().map(u64::to_string));
        count(&self.of.map(|counts| counts.checks));
        count(&[self.undecided, self.changes, self.revocations]);
        cells.extend([self.longest, self.bound].map(|time| milliseconds(Duration::from_nanos(time))));
        let mut count = |numbers: &[u64]| cells.extend(numbers.iter().map(u64::to_string));
        count(&[memory + coalesced, redis, source + bypass, self.unproven]);
        format!("| {} |", cells.join(" | "))
    }

    /// What else there is to say.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let Self { held, bypassed, killed, cached_again, wrong, .. } = self;
        let again = milliseconds(Duration::from_nanos(self.longest_uncached));
        let remarks = [
            (*held, format!("Answers of the source that were held until what they said had been changed: {held}.")),
            (
                *bypassed,
                format!(
                    "Checks that the source answered while Redis had been out of reach for longer than the bound: {bypassed}."
                ),
            ),
            (
                *killed,
                format!(
                    "Processes killed in the middle of a change: {killed}; what they were changing was cached again: {cached_again}, after {again} ms at most."
                ),
            ),
            (*wrong, format!("Checks that came out otherwise than their facts say: {wrong}.")),
        ];
        remarks.into_iter().filter(|(count, _)| *count > 0).map(|(_, remark)| remark).collect()
    }

    pub(crate) fn checks(&self) -> u64 {
        self.of.iter().map(|counts| counts.checks).sum()
    }

    /// How many checks rest on facts that were not to be used.
    pub(crate) fn violations(&self) -> u64 {
        self.of.iter().map(|counts| counts.too_old).sum::<u64>() + self.unproven
    }

    /// Whether what is promised was broken, or was not tried.
    pub(crate) fn is_bad(&self) -> bool {
        let broken = self.violations() + self.wrong > 0 || self.cached_again < self.killed;
        let tiers = [Status::Memory, Status::Redis, Status::Source];
        broken || self.changes == 0 || tiers.iter().any(|tier| self.of[*tier as usize].checks == 0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (counts, others) in self.of.iter_mut().zip(other.of) {
            counts.checks += others.checks;
            counts.too_old += others.too_old;
        }
        self.undecided += other.undecided;
        self.wrong += other.wrong;
        self.changes += other.changes;
        self.revocations += other.revocations;
        self.longest = self.longest.max(other.longest);
        self.bound = self.bound.max(other.bound);
        self.unproven += other.unproven;
        self.bypassed += other.bypassed;
        self.killed += other.killed;
        self.cached_again += other.cached_again;
        self.longest_uncached = self.longest_uncached.max(other.longest_uncached);
        self.held += other.held;
    }
}
