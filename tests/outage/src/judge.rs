//! What the numbers of a run say, and which promises they break.

use crate::clock::milliseconds;
use crate::fault::Fault;
use crate::load::{Sample, Way};
use crate::phase::{Record, Span};
use crate::stalls::{Stall, overlap, running_for};
use crate::state::State;

/// What Redis may cost a request: `CACHE_L2_READ_BUDGET`, and what comes on top of it.
const BUDGET: u64 = milliseconds(30);
const ON_TOP: u64 = milliseconds(5);
/// What it may cost when it is not asked any more, at the 99th percentile.
const ONCE_OPEN: u64 = milliseconds(1) / 10;
/// When it has to be noticed that Redis is back.
const RECOVERY: u64 = milliseconds(2000);
/// The same after a failover: where nobody wins the first election, polls have come to pause for a second.
const FAILED_OVER: u64 = milliseconds(3500);
/// Look-ups that were sent before the breaker opened may end after it.
const SETTLES: u64 = milliseconds(100);
/// What a breaker does when the machine goes on is seen within this time.
const SEEN: u64 = milliseconds(600);
/// `CACHE_L1_MAX_LAG`, and a tick of whoever watches.
const MAX_LAG: u64 = milliseconds(1100);
/// A server that takes no writes is found out by a probe, once a second.
const FOUND_OUT: u64 = milliseconds(1300);

/// The numbers of a run. Times are in nanoseconds.
pub(crate) struct Verdict {
    pub(crate) fault: Fault,
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    /// With Redis switched off; in a storm, if that is what the run is about.
    pub(crate) off: Option<Times>,
    pub(crate) healthy: Times,
    pub(crate) broken: Times,
    /// What a request waited in the fault beyond the origin's work and what the same way takes without Redis, at most.
    pub(crate) added: u64,
    /// The same, without the time in which the machine stood still.
    pub(crate) added_running: u64,
    /// From the fault until Redis was not asked any more.
    pub(crate) opened: Option<u64>,
    /// At the 99th percentile once it was open: what the app took, beyond what it takes for the same without Redis.
    pub(crate) once_open: Option<i64>,
    pub(crate) probes: Option<u64>,
    /// Probes that were sent while another was under way.
    pub(crate) together: Option<usize>,
    pub(crate) connects: Option<usize>,
    pub(crate) recovery: Option<u64>,
    pub(crate) shares: [Shares; 3],
    pub(crate) shed: u64,
    /// Promises that are broken.
    pub(crate) problems: Vec<Problem>,
}

/// A promise that is broken.
pub(crate) struct Problem {
    pub(crate) text: String,
    /// Whether a machine with other things to do can be the reason.
    pub(crate) is_timing: bool,
}

/// What clients waited beyond the origin's work.
#[derive(Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// Which part of the answers came from where, in per cent: memory, Redis, the origin. Rounded up: a few are not none.
#[derive(Clone, Copy)]
pub(crate) struct Shares(pub(crate) [u8; 3]);

impl Times {
    pub(crate) fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        Self { p50: percentile(&all, 50), p99: percentile(&all, 99), max: all.last().copied().unwrap_or_default() }
    }
}

fn percentile(sorted: &[u64], part: usize) -> u64 {
    sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Shares {
    fn of(samples: &[Sample]) -> Self {
        let part = |ways: &[Way]| {
            let count = samples.iter().filter(|sample| ways.contains(&sample.way)).count();
            u8::try_from((100 * count).div_ceil(samples.len().max(1))).unwrap_or(100)
        };
        Self([part(&[Way::Memory, Way::Unproven]), part(&[Way::Shared]), part(&[Way::Origin, Way::Collapsed])])
    }
}

impl Record {
    fn during(&self, span: &Span) -> &[Sample] {
        let at = |time| self.samples.partition_point(|sample| sample.due < time);
        &self.samples[at(span.start)..at(span.end)]
    }

    /// When the machine has run for so long since then: who stands still finds out nothing.
    fn running_for(&self, time: u64, since: u64) -> u64 {
        running_for(time, &self.stalls, since)
    }

    /// What the app had counted then.
    fn state_at(&self, time: u64) -> State {
        let at = self.seen.partition_point(|(seen, _)| *seen <= time);
        self.seen[..at].last().map_or_else(State::default, |(_, state)| *state)
    }

    /// When the app was first seen, in the fault, in a state like this.
    fn first(&self, is_so: impl Fn(&State) -> bool) -> Option<u64> {
        let found = self.seen.iter().find(|(at, state)| self.broken.contains(at) && is_so(state));
        found.map(|(at, _)| *at)
    }

    /// When Redis was not asked any more.
    fn opened(&self) -> Option<u64> {
        let before = self.state_at(self.broken.start);
        self.first(|state| state.closed == 0 || state.skipped > before.skipped)
    }

    /// While Redis was not asked.
    fn open(&self) -> Option<Span> {
        let opened = self.opened()?;
        let start = self.running_for(SETTLES, opened);
        let end = self.found_in_time(start).unwrap_or(self.broken.end);
        Some(start..end).filter(|open| !open.is_empty())
    }

    /// When the machine stood still for so long that a slow reply was there, and so in time, when it went on: then the
    /// breaker closes as it should, and Redis is asked until it opens again.
    fn found_in_time(&self, open: u64) -> Option<u64> {
        if self.fault != Fault::Slow {
            return None;
        }
        let later = self.seen.iter().filter(|(at, _)| (open..self.broken.end).contains(at));
        let (closed, _) = later.skip_while(|(_, state)| state.closed == 1).find(|(_, state)| state.closed == 1)?;
        let before = closed.saturating_sub(SEEN)..*closed;
        let is_why = |(due, awake): &&Stall| *due > open && awake - due > BUDGET / 3 && before.contains(awake);
        self.stalls.iter().find(is_why).map(|(due, _)| *due)
    }

    fn recovery(&self) -> Option<u64> {
        let shared = self.samples.iter().filter(|it| it.due > self.broken.end && it.way == Way::Shared);
        shared.map(|it| it.done - self.broken.end).min()
    }

    /// What clients wait for the origin, or for what needs none, when there is no Redis.
    fn base(&self, way: Way) -> u64 {
        let from_origin = matches!(way, Way::Origin | Way::Collapsed);
        let way = if from_origin { Way::Origin } else { Way::Memory };
        let quiet = self.during(self.off.as_ref().unwrap_or(&self.healthy));
        let waited = quiet.iter().filter(|sample| sample.way == way).map(Sample::waited).collect();
        Times::of(waited).p50
    }

    /// What Redis added to each answer of the fault: in all, and while the machine ran.
    fn added(&self) -> (u64, u64) {
        let (memory, origin) = (self.base(Way::Memory), self.base(Way::Origin));
        let (mut all, mut running) = (0, 0);
        for sample in self.during(&self.broken).iter().filter(|sample| sample.way != Way::Failed) {
            let base = if matches!(sample.way, Way::Origin | Way::Collapsed) { origin } else { memory };
            let added = sample.waited().saturating_sub(base);
            all = all.max(added);
            running = running.max(added.saturating_sub(overlap(&self.stalls, sample.due, sample.done)));
        }
        (all, running)
    }

    /// At the 99th percentile, what the app took more in a time than without Redis: the larger of the two ways.
    fn more_than_off(&self, span: &Span) -> Option<i64> {
        let off = self.off.as_ref()?;
        let p99 = |span: &Span, ways: &[Way]| {
            let them = self.during(span).iter().filter(|sample| ways.contains(&sample.way));
            Times::of(them.map(Sample::overhead).collect()).p99.cast_signed()
        };
        let ways: [(&[Way], &[Way]); 2] =
            [(&[Way::Memory, Way::Unproven], &[Way::Memory]), (&[Way::Origin], &[Way::Origin])];
        ways.iter().map(|(now, then)| p99(span, now) - p99(off, then)).max()
    }

    /// GETs that were sent while an earlier one was still waited for.
    fn together(&self, span: &Span) -> Option<usize> {
        let gets: Vec<_> = self.gets.as_ref()?.iter().filter(|(asked, _)| span.contains(asked)).collect();
        let is_waited_for = |(asked, answered): (u64, Option<u64>), at: u64| {
            at < (asked + BUDGET - milliseconds(1)).min(answered.unwrap_or(u64::MAX))
        };
        Some(gets.windows(2).filter(|pair| is_waited_for(*pair[0], pair[1].0)).count())
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let (added, added_running) = self.added();
        let open = self.open().filter(|_| self.fault.is_outage());
        let waited = |span: &Span| Times::of(self.during(span).iter().map(Sample::waited).collect());
        let asked = |open: &Span| self.state_at(open.end).asked - self.state_at(open.start).asked;
        let (before, after) = (self.state_at(self.broken.start), self.state_at(self.broken.end));
        let mut verdict = Verdict {
            fault: self.fault,
            requests: self.samples.len(),
            failed: self.samples.iter().filter(|sample| sample.way == Way::Failed).count(),
            off: self.off.as_ref().map(waited),
            healthy: waited(&self.healthy),
            broken: waited(&self.broken),
            added,
            added_running,
            opened: self.opened().filter(|_| self.fault.is_outage()).map(|at| at - self.broken.start),
            once_open: open.as_ref().and_then(|open| self.more_than_off(open)),
            probes: open.as_ref().map(asked),
            together: open.as_ref().and_then(|open| self.together(open)),
            connects: self.connects,
            recovery: self.recovery(),
            shares: [&self.healthy, &self.broken, &self.healed].map(|span| Shares::of(self.during(span))),
            shed: after.shed - before.shed,
            problems: Vec::new(),
        };
        verdict.problems = self.problems(&verdict, open.as_ref());
        verdict
    }

    fn problems(&self, verdict: &Verdict, open: Option<&Span>) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.check(verdict.failed == 0, || format!("{} requests failed", verdict.failed));
        for (name, shares) in ["healthy", "broken", "healed"].iter().zip(&verdict.shares) {
            let [memory, shared, origin] = shares.0;
            let has_all = memory > 0 && origin > 0 && (shared > 0 || *name == "broken");
            problems.check(has_all, || format!("{name}: not all tiers were asked ({memory}, {shared}, {origin} %)"));
        }
        let is_back_within = |time: u64| {
            let in_time = self.running_for(time, self.broken.end) - self.broken.end;
            verdict.recovery.is_some_and(|time| time <= in_time)
        };
        let late = || format!("Redis is used again after {:?} ns", verdict.recovery);
        if self.fault == Fault::Failover {
            problems.check(is_back_within(FAILED_OVER), late);
            problems.time(is_back_within(RECOVERY), late);
        } else {
            problems.check(is_back_within(RECOVERY), late);
        }
        if !self.fault.is_storm() {
            problems.time(verdict.added_running <= BUDGET + ON_TOP, || {
                format!("{} µs were added to an answer", verdict.added_running / 1000)
            });
        }
        if self.fault.is_outage() {
            self.outage(verdict, open, &mut problems);
        }
        if self.fault.hides_invalidations() {
            self.memory(&mut problems);
        }
        if self.fault.is_storm() {
            self.storm(verdict, &mut problems);
        }
        if self.fault == Fault::Full {
            let [_, shared, _] = verdict.shares[1].0;
            problems.check(shared > 0, || "what a full Redis has was not asked for".to_owned());
        }
        let clients = self.clients_while_off.unwrap_or_default();
        problems.check(clients == 0, || format!("{clients} connections to Redis while it is switched off"));
        let left = self.left.unwrap_or_default();
        problems.time(left == 0, || format!("{left} connections to Redis half a second after it was switched off"));
        if self.fault == Fault::SwitchedOff {
            let settled = self.state_at(self.running_for(SETTLES, self.broken.start));
            let asked = self.state_at(self.broken.end).asked - settled.asked;
            problems.check(asked == 0, || format!("{asked} look-ups while it is switched off"));
        }
        problems.0
    }

    fn outage(&self, verdict: &Verdict, open: Option<&Span>, problems: &mut Problems) {
        let Some(open) = open else {
            // A failover can be over before anything has to open.
            return problems.check(self.fault == Fault::Failover, || "Redis was asked all the time".to_owned());
        };
        let half_opened = self.state_at(open.end).half_opened - self.state_at(open.start).half_opened;
        let probes = verdict.probes.unwrap_or_default();
        // One may have begun before, and one may not have ended.
        problems.check(probes <= half_opened + 1, || format!("{probes} look-ups, but {half_opened} probes"));
        let together = verdict.together.unwrap_or_default();
        problems.check(together == 0, || format!("{together} look-ups beside another one"));
        let more = verdict.once_open.unwrap_or_default();
        problems.time(more <= ONCE_OPEN.cast_signed(), || format!("{} µs more once open, at p99", more / 1000));
    }

    /// What memory answers without proof.
    fn memory(&self, problems: &mut Problems) {
        let slack = if self.fault == Fault::ReadOnly { FOUND_OUT } else { 0 };
        let proven = self.running_for(slack, self.broken.start);
        let broken = self.during(&self.broken);
        let unproven = || broken.iter().filter(|sample| sample.way == Way::Unproven);
        problems.check(unproven().count() > 0, || "memory never answered without proof".to_owned());
        let is_over = self.running_for(MAX_LAG, proven);
        let silent = broken.iter().filter(|it| it.way == Way::Memory && it.due > is_over).count();
        problems.check(silent == 0, || format!("{silent} answers without proof do not say so"));
        let until = |sample: &Sample| sample.made.max(proven) + self.degraded_max + MAX_LAG - milliseconds(1000);
        let old = unproven().filter(|sample| sample.due > until(sample)).count();
        problems.check(old == 0, || format!("{old} answers without proof are too old"));
    }

    fn storm(&self, verdict: &Verdict, problems: &mut Problems) {
        let (before, after) = (self.state_at(self.broken.start), self.state_at(self.broken.end));
        // All that is under way when the machine stands still is late at once, which is what a breaker is for.
        let stood_still = |(due, awake): &&Stall| self.broken.contains(due) && awake - due > BUDGET / 3;
        let stood_still = self.stalls.iter().filter(stood_still).count() as u64;
        let opened = after.opened - before.opened;
        let too_often = || format!("the breaker of look-ups opened {opened} times");
        problems.time(opened <= stood_still, too_often);
        // When Redis alone stands still, nobody here sees it.
        problems.check(opened <= stood_still + 1, too_often);
        let skipped = after.skipped - before.skipped;
        problems.check(skipped == 0 || opened > 0, || format!("{skipped} look-ups were not made"));
        // The storm itself takes the processors, of those who are measured too: what it takes without Redis is known.
        let p99 = verdict.off.map_or(u64::MAX, |off| verdict.broken.p99.saturating_sub(off.p99));
        problems.time(p99 <= BUDGET + ON_TOP, || format!("{} µs more at p99 in the storm", p99 / 1000));
        let [healthy, broken, _] = verdict.shares.map(|shares| shares.0[1]);
        problems.check(2 * broken >= healthy, || format!("Redis answered {broken} % instead of {healthy} %"));
        let is_shed = verdict.shed > 0 || self.fault == Fault::Storm;
        problems.check(is_shed, || "nothing was shed, so this was no storm".to_owned());
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn check(&mut self, holds: bool, text: impl Fn() -> String) {
        if !holds {
            self.0.push(Problem { text: text(), is_timing: false });
        }
    }

    fn time(&mut self, holds: bool, text: impl Fn() -> String) {
        if !holds {
            self.0.push(Problem { text: text(), is_timing: true });
        }
    }
}
