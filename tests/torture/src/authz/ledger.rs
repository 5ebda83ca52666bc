//! What happened when, and whether that was allowed.

use super::verdict::Verdict;
use crate::ledger::{Log, now};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::PathBuf;
use terrace::stats::CheckStatus;

/// How a check was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Memory,
    Redis,
    Source,
    /// With another check's load.
    Coalesced,
    /// By the source, because what is cached was not to be used.
    Bypass,
}

impl Status {
    pub(crate) fn of(status: CheckStatus) -> Self {
        match status {
            CheckStatus::L1CacheHit => Self::Memory,
            CheckStatus::L2CacheHit => Self::Redis,
            CheckStatus::Miss => Self::Source,
            CheckStatus::Coalesced => Self::Coalesced,
            CheckStatus::Bypass => Self::Bypass,
            other => panic!("{other:?} is not how a check is decided"),
        }
    }

    /// Whether it is memory that vouches for the facts, by what it has heard of the others.
    fn is_of_memory(self) -> bool {
        matches!(self, Self::Memory | Self::Coalesced)
    }
}

/// What a process writes down, of a subject and a version of its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A check, and the version of the facts that it rests on.
    Check(Status),
    /// A check to which the source gave no answer in time.
    Undecided,
    /// A check that came out otherwise than its facts say.
    Wrong,
    /// A change is acknowledged: from now on nothing before it is used.
    Acknowledged,
    /// An announced change was made: the same.
    Made,
    /// The process is about to be killed in the middle of a change.
    Dies,
}

impl Line {
    const LETTERS: [(Self, &'static str); 10] = [
        (Self::Check(Status::Memory), "m"),
        (Self::Check(Status::Redis), "r"),
        (Self::Check(Status::Source), "s"),
        (Self::Check(Status::Coalesced), "c"),
        (Self::Check(Status::Bypass), "b"),
        (Self::Undecided, "u"),
        (Self::Wrong, "w"),
        (Self::Acknowledged, "a"),
        (Self::Made, "g"),
        (Self::Dies, "d"),
    ];

    fn letter(self) -> &'static str {
        Self::LETTERS.iter().find(|(known, _)| *known == self).map_or("", |(_, letter)| letter)
    }

    fn of(letter: &str) -> Self {
        let known = Self::LETTERS.iter().find(|(_, known)| *known == letter);
        known.unwrap_or_else(|| panic!("{letter:?} is no letter that is known")).0
    }

    /// It happens now.
    pub(crate) fn write(self, log: &Log, subject: u64, version: u64) {
        log.line(format_args!("{} {subject} {version} {}", self.letter(), now()));
    }

    /// It was asked for then, and has come out now.
    pub(crate) fn write_since(self, log: &Log, subject: u64, version: u64, asked: u64) {
        log.line(format_args!("{} {subject} {version} {asked} {}", self.letter(), now()));
    }
}

/// Everything that was written down.
#[derive(Default)]
pub(crate) struct Ledger {
    checks: Vec<Check>,
    /// For each subject from when on which version was owed, in order of time, the greatest so far.
    owed: HashMap<u64, Vec<(u64, u64)>>,
    /// Which subjects' changes were cut off, and when.
    cut_off: Vec<(u64, u64)>,
    /// Until the checks are judged: what needs no judgement.
    counted: Verdict,
}

struct Check {
    subject: u64,
    version: u64,
    asked: u64,
    answered: u64,
    status: Status,
}

impl Ledger {
    /// The logs of processes, of which some may have been killed.
    pub(crate) fn read(logs: &[PathBuf]) -> Self {
        let mut ledger = Self::default();
        for log in logs {
            let mut file = BufReader::new(File::open(log).expect("each process has written down what happened"));
            let mut line = String::new();
            // What a process was writing when it was killed is no line.
            while file.read_line(&mut line).expect("text") > 0 && line.ends_with('\n') {
                ledger.take(line.trim_end());
                line.clear();
            }
        }
        ledger.sort();
        ledger
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let kind = Line::of(words.next().unwrap_or_default());
        let mut numbers = words.map(|word| word.parse().expect("a number"));
        let mut number = || numbers.next();
        let [Some(subject), Some(version), Some(time)] = [number(), number(), number()] else {
            panic!("three numbers: {line}")
        };
        match kind {
            Line::Check(status) => {
                let answered = number().unwrap_or(time);
                self.checks.push(Check { subject, version, asked: time, answered, status });
            }
            Line::Undecided => self.counted.undecided += 1,
            Line::Wrong => self.counted.wrong += 1,
            Line::Made => self.owed.entry(subject).or_default().push((time, version)),
            Line::Acknowledged => {
                self.counted.changes += 1;
                self.counted.revocations += u64::from(!super::source::allows(version));
                self.owed.entry(subject).or_default().push((time, version));
            }
            Line::Dies => self.cut_off.push((subject, time)),
        }
    }

    fn sort(&mut self) {
        for owed in self.owed.values_mut() {
            owed.sort_unstable();
            let mut greatest = 0;
            for (_, version) in owed {
                greatest = greatest.max(*version);
                *version = greatest;
            }
        }
        self.checks.sort_unstable_by_key(|check| check.asked);
    }

    /// For how long, when a check was asked for, a later version than its facts' had been owed; 0 if it was not.
    fn overdue(&self, check: &Check) -> u64 {
        let owed = self.owed.get(&check.subject).map_or(&[][..], Vec::as_slice);
        let earlier = owed.partition_point(|(_, version)| *version <= check.version);
        owed.get(earlier).map_or(0, |(since, _)| check.asked.saturating_sub(*since))
    }

    /// By the bound that the processes export, in nanoseconds, and the times in which no Redis answered.
    /// `shared` is the bound on what Redis answers.
    pub(crate) fn verdict(&self, (bound, shared): (u64, u64), outages: &[Range<u64>]) -> Verdict {
        let mut verdict = Verdict { bound, killed: self.cut_off.len() as u64, ..self.counted.clone() };
        for check in &self.checks {
            let (overdue, is_of_memory) = (self.overdue(check), check.status.is_of_memory());
            let counts = &mut verdict.of[check.status as usize];
            counts.checks += 1;
            let allowance = match check.status {
                _ if is_of_memory => bound,
                Status::Redis => shared,
                _ => 0,
            };
            counts.too_old += u64::from(overdue > allowance);
            if is_of_memory {
                verdict.longest = verdict.longest.max(overdue);
            }
            // What was asked for shortly before the end may have been answered, and proven, after it.
            let unproven = |outage: &Range<u64>| outage.start + bound < check.asked && check.answered < outage.end;
            if outages.iter().any(unproven) {
                verdict.unproven += u64::from(check.status == Status::Memory);
                verdict.bypassed += u64::from(check.status == Status::Bypass);
            }
        }
        let again = self.cut_off.iter().filter_map(|(subject, time)| self.cached_again(*subject, *time, bound));
        let again: Vec<u64> = again.collect();
        verdict.cached_again = again.len() as u64;
        verdict.longest_uncached = again.into_iter().max().unwrap_or_default();
        verdict
    }

    /// How long it took until somebody's rights were answered from a cache again, once no memory had them any more.
    fn cached_again(&self, subject: u64, since: u64, bound: u64) -> Option<u64> {
        let later = &self.checks[self.checks.partition_point(|check| check.asked <= since + bound)..];
        let hit = |check: &&Check| check.subject == subject && matches!(check.status, Status::Memory | Status::Redis);
        later.iter().find(hit).map(|check| check.asked - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: u64 = 1000;

    fn verdict(lines: &[&str], outage: &Range<u64>) -> Verdict {
        let mut ledger = Ledger::default();
        for line in lines {
            ledger.take(line);
        }
        ledger.sort();
        ledger.verdict((BOUND, 0), std::slice::from_ref(outage))
    }

    fn violations(lines: &[&str]) -> u64 {
        verdict(lines, &(0..0)).violations()
    }

    #[test]
    fn what_redis_and_the_source_answer_is_not_older_than_any_change_acknowledged_before() {
        for kind in ["r", "s", "b"] {
            let check = |version: u64, asked: u64| format!("{kind} 7 {version} {asked}");
            assert_eq!(violations(&["a 7 2 100", &check(1, 101)]), 1, "{kind}");
            assert_eq!(violations(&[&check(1, 101), "a 7 2 100"]), 1, "in whatever order it was written down");
            assert_eq!(violations(&["a 7 2 100", &check(1, 100)]), 0);
            assert_eq!(violations(&["a 7 2 100", &check(2, 101)]), 0);
            assert_eq!(violations(&["a 8 2 100", &check(1, 101)]), 0);
            assert_eq!(violations(&["g 7 2 100", &check(1, 101)]), 1, "announced");
            assert_eq!(violations(&["a 7 3 90", "a 7 2 100", &check(2, 101)]), 1, "a later version came first");
        }
    }

    #[test]
    fn what_memory_answers_is_not_older_than_a_change_acknowledged_the_bound_before() {
        for kind in ["m", "c"] {
            assert_eq!(violations(&["a 7 2 100", &format!("{kind} 7 1 {}", 100 + BOUND)]), 0);
            assert_eq!(violations(&["a 7 2 100", "a 7 4 900", &format!("{kind} 7 1 {}", 101 + BOUND)]), 1);
        }
        let verdict = verdict(&["a 7 2 100", "a 7 4 900", "m 7 1 700", "m 7 3 905", "r 7 4 1905"], &(0..0));
        assert_eq!((verdict.longest, verdict.violations()), (600, 0));
        assert_eq!((verdict.changes, verdict.revocations), (2, 0));
    }

    #[test]
    fn memory_answers_nothing_once_redis_has_been_silent_for_longer_than_the_bound() {
        let lines = ["m 7 0 3000", "m 7 0 3001 3002", "m 7 0 4998 5000", "b 7 0 3001", "m 7 0 5000", "b 7 0 5000"];
        let verdict = verdict(&lines, &(2000..5000));
        assert_eq!((verdict.unproven, verdict.bypassed, verdict.violations()), (1, 1, 1));
    }

    #[test]
    fn what_a_process_was_killed_in_the_middle_of_has_to_be_cached_again() {
        let lines = ["a 1 2 5", "r 1 2 6", "s 7 3 10", "g 7 3 100", "d 7 3 100", "m 7 2 1000", "b 7 3 1500"];
        let never = verdict(&lines, &(0..0));
        assert!((never.killed, never.cached_again, never.violations()) == (1, 0, 0) && never.is_bad());
        let again = verdict(&[&lines[..], &["r 7 3 3100"]].concat(), &(0..0));
        assert!((again.cached_again, again.longest_uncached) == (1, 3000) && !again.is_bad());
    }
}
